"""A folder that an encoder was saved in → the encoder, of whichever kind."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from tfrec_llm.encoders.encoder import Encoder
from tfrec_llm.encoders.language_encoder import KIND as LANGUAGE_ENCODER
from tfrec_llm.encoders.language_encoder import LanguageEncoder
from tfrec_llm.encoders.no_text_encoder import NoTextEncoder
from tfrec_llm.encoders.presets import read_json
from tfrec_llm.encoders.sparse_coding_encoder import SparseCodingEncoder
from tfrec_llm.encoders.text_encoder import TextEncoder
from tfrec_llm.encoders.word_embedding_encoder import WordEmbeddingEncoder
from tfrec_llm.encoders.word_encoder import WORD_WEIGHTS, WordEncoder
from tfrec_llm.encoders.words_beside_encoder import KIND as WORDS_BESIDE
from tfrec_llm.encoders.words_beside_encoder import WordsBesideEncoder
from tfrec_llm.errors import EncoderError


def _load_sparse_coding(folder: Path) -> Encoder:
    return SparseCodingEncoder.load(folder, load_encoder)


def _load_words_beside(folder: Path) -> Encoder:
    return WordsBesideEncoder.load(folder, load_encoder)


LOADERS: dict[str, Callable[[Path], Encoder]] = {
    "language_model": TextEncoder.load,
    **dict.fromkeys(WORD_WEIGHTS, WordEncoder.load),
    "word_embedding": WordEmbeddingEncoder.load,
    "sparse_coding": _load_sparse_coding,
    LANGUAGE_ENCODER: LanguageEncoder.load,
    WORDS_BESIDE: _load_words_beside,
    "none": NoTextEncoder.load,
}


def load_encoder(folder: str | Path) -> Encoder:
    """Reads what an encoder's `save` wrote.

    Args:
        folder: the folder that was given to `save`.

    Returns: an encoder with the same fingerprint.

    Raises:
        EncoderError: when the folder holds no encoder of a known kind.
        CorruptFileError: when a file in it changed.
    """
    folder = Path(folder)
    kind = read_json(folder / "encoder.json").get("kind", "language_model")
    if kind not in LOADERS:
        raise EncoderError(
            f"{folder / 'encoder.json'} holds an encoder of the kind {kind!r}; this version reads "
            f"{', '.join(LOADERS)}."
        )
    return LOADERS[kind](folder)
