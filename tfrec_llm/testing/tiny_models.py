"""Language models of a few kilobytes, with random weights, for tests and examples."""

from __future__ import annotations

import io
import string
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from tfrec_llm.keras_api import keras_nlp

_WORDS = (
    "the man is eating food person eats stock market fell space opera sand worm planet love "
    "story war king queen dragon sea old young night day city train river house red blue green"
).split()
_CHINESE = list("三体书小说爱情的人大中国北京流浪地球")
_LETTERS = list(string.ascii_lowercase + string.digits + ".,!?-'&:()")

WORD_PIECES = [
    *["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"],
    *_WORDS,
    *_CHINESE,
    *_LETTERS,
    *[f"##{letter}" for letter in string.ascii_lowercase + string.digits],
]


def tiny_preset(folder: str | Path, family: str = "bert", *, dim: int = 16, seed: int = 0) -> Path:
    """Writes a preset folder of a two-layer encoder with seeded random weights.

    Args:
        folder: where to write; made if missing.
        family: one of `FAMILIES`.
        dim: int, width of the vectors; even. Defaults to 16.
        seed: int, seed of the weights. Defaults to 0.

    Returns: the folder, which `TextEncoder.from_preset` takes.

    Example:
        >>> import tempfile
        >>> sorted(p.name for p in tiny_preset(tempfile.mkdtemp()).glob("*.json"))
        ['config.json', 'metadata.json', 'tokenizer.json']
    """
    tokenizer, backbone = FAMILIES[family](
        num_layers=2, num_heads=2, hidden_dim=dim, intermediate_dim=2 * dim, max_sequence_length=64
    )
    generator = np.random.default_rng(seed)
    for weight in backbone.weights:
        centre = 1.0 if np.all(weight.numpy() == 1.0) else 0.0  # scales of a normalisation
        weight.assign(generator.normal(centre, 0.3, weight.shape).astype(np.float32))
    tokenizer.save_to_preset(str(folder))
    backbone.save_to_preset(str(folder))
    return Path(folder)


def _bert(**shape: int) -> tuple[Any, Any]:
    tokenizer = keras_nlp.models.BertTokenizer(vocabulary=WORD_PIECES, lowercase=True)
    return tokenizer, keras_nlp.models.BertBackbone(vocabulary_size=len(WORD_PIECES), **shape)


def _distil_bert(**shape: int) -> tuple[Any, Any]:
    tokenizer = keras_nlp.models.DistilBertTokenizer(vocabulary=WORD_PIECES, lowercase=True)
    return tokenizer, keras_nlp.models.DistilBertBackbone(vocabulary_size=len(WORD_PIECES), **shape)


def _electra(**shape: int) -> tuple[Any, Any]:
    tokenizer = keras_nlp.models.ElectraTokenizer(vocabulary=WORD_PIECES, lowercase=True)
    backbone = keras_nlp.models.ElectraBackbone(
        vocab_size=len(WORD_PIECES), embedding_dim=8, **shape
    )
    return tokenizer, backbone


def _albert(**shape: int) -> tuple[Any, Any]:
    pieces = {"pad": "<pad>", "unk": "<unk>", "bos": "[CLS]", "eos": "[SEP]"}
    proto = _sentence_pieces(pieces, user_defined_symbols="[MASK]")
    tokenizer = keras_nlp.models.AlbertTokenizer(proto=proto)
    backbone = keras_nlp.models.AlbertBackbone(
        vocabulary_size=tokenizer.vocabulary_size(), embedding_dim=8, **shape
    )
    return tokenizer, backbone


def _deberta_v3(**shape: int) -> tuple[Any, Any]:
    pieces = {"pad": "[PAD]", "bos": "[CLS]", "eos": "[SEP]", "unk": "[UNK]"}
    tokenizer = keras_nlp.models.DebertaV3Tokenizer(proto=_sentence_pieces(pieces))
    backbone = keras_nlp.models.DebertaV3Backbone(
        vocabulary_size=tokenizer.vocabulary_size(), bucket_size=32, **shape
    )
    return tokenizer, backbone


def _xlm_roberta(**shape: int) -> tuple[Any, Any]:
    proto = _sentence_pieces({"unk": "<unk>", "bos": "<s>", "eos": "</s>"})
    tokenizer = keras_nlp.models.XLMRobertaTokenizer(proto=proto)
    backbone = keras_nlp.models.XLMRobertaBackbone(
        vocabulary_size=tokenizer.vocabulary_size(), **shape
    )
    return tokenizer, backbone


def _roberta(**shape: int) -> tuple[Any, Any]:
    vocabulary, merges = _byte_pairs("<s>", "<pad>", "</s>", "<unk>", "<mask>")
    tokenizer = keras_nlp.models.RobertaTokenizer(vocabulary=vocabulary, merges=merges)
    return tokenizer, keras_nlp.models.RobertaBackbone(vocabulary_size=len(vocabulary), **shape)


def _gpt2(**shape: int) -> tuple[Any, Any]:
    vocabulary, merges = _byte_pairs("<|endoftext|>")
    tokenizer = keras_nlp.models.GPT2Tokenizer(vocabulary=vocabulary, merges=merges)
    return tokenizer, keras_nlp.models.GPT2Backbone(vocabulary_size=len(vocabulary), **shape)


def _t5(**shape: int) -> tuple[Any, Any]:
    proto = _sentence_pieces({"pad": "<pad>", "eos": "</s>", "unk": "<unk>"}, bos_id=-1)
    tokenizer = keras_nlp.models.T5Tokenizer(proto=proto)
    del shape["max_sequence_length"]  # its positions are relative
    backbone = keras_nlp.models.T5Backbone(vocabulary_size=tokenizer.vocabulary_size(), **shape)
    return tokenizer, backbone


def _gemma3(**shape: int) -> tuple[Any, Any]:
    return _gemma3_with(shape)


def _gemma3_embedder(**shape: int) -> tuple[Any, Any]:
    # As EmbeddingGemma: every token sees every other, in a window, and two projections follow.
    return _gemma3_with(
        shape,
        use_bidirectional_attention=True,
        use_sliding_window_attention=True,
        sliding_window_size=8,
        is_embedding_model=True,
        pooling_intermediate_dim=2 * shape["hidden_dim"],
        embedding_dim=shape["hidden_dim"],
    )


def _gemma3_with(shape: dict[str, int], **options: Any) -> tuple[Any, Any]:
    pieces = {"pad": "<pad>", "eos": "<eos>", "bos": "<bos>", "unk": "<unk>"}
    tokenizer = keras_nlp.models.Gemma3Tokenizer(
        proto=_sentence_pieces(pieces), has_vision_tokens=False
    )
    backbone = keras_nlp.models.Gemma3Backbone(
        vocabulary_size=tokenizer.vocabulary_size(),
        image_size=16,
        head_dim=8,
        use_post_ffw_norm=True,
        use_post_attention_norm=True,
        dtype="float32",
        **_grouped_heads(shape),
        **options,
    )
    return tokenizer, backbone


def _qwen3(**shape: int) -> tuple[Any, Any]:
    vocabulary, merges = _byte_pairs("<|endoftext|>", "<|im_end|>")
    tokenizer = keras_nlp.models.Qwen3Tokenizer(vocabulary=vocabulary, merges=merges)
    backbone = keras_nlp.models.Qwen3Backbone(
        vocabulary_size=len(vocabulary), head_dim=8, **_grouped_heads(shape)
    )
    return tokenizer, backbone


def _grouped_heads(shape: dict[str, int]) -> dict[str, int]:
    kept = {k: shape[k] for k in ("num_layers", "hidden_dim", "intermediate_dim")}
    return {**kept, "num_query_heads": shape["num_heads"], "num_key_value_heads": 1}


FAMILIES: dict[str, Callable[..., tuple[Any, Any]]] = {
    "albert": _albert,
    "bert": _bert,
    "deberta_v3": _deberta_v3,
    "distil_bert": _distil_bert,
    "electra": _electra,
    "gemma3": _gemma3,
    "gemma3_embedder": _gemma3_embedder,
    "gpt2": _gpt2,
    "qwen3": _qwen3,
    "roberta": _roberta,
    "t5": _t5,
    "xlm_roberta": _xlm_roberta,
}


def _sentence_pieces(pieces: dict[str, str], **options: Any) -> bytes:
    """Trains a SentencePiece model whose special pieces have the ids of their order."""
    import sentencepiece

    ids: dict[str, Any] = {f"{kind}_id": number for number, kind in enumerate(pieces)}
    names: dict[str, Any] = {f"{kind}_piece": piece for kind, piece in pieces.items()}
    model = io.BytesIO()
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter([" ".join(_WORDS), "".join(_CHINESE), *_WORDS] * 3),
        model_writer=model,
        model_type="unigram",
        vocab_size=100,
        hard_vocab_limit=False,
        num_threads=1,
        minloglevel=2,
        **{"pad_id": -1, **ids, **names, **options},
    )
    return model.getvalue()


def _byte_pairs(*special: str) -> tuple[dict[str, int], list[str]]:
    """Returns a byte-level vocabulary with a few merges."""
    printable = [*range(33, 127), *range(161, 173), *range(174, 256)]
    others = [byte for byte in range(256) if byte not in printable]
    letters = [chr(byte) for byte in printable] + [chr(256 + i) for i in range(len(others))]
    merges = ["t h", "th e", "Ġ the", "e a", "ea t", "m a", "ma n", "Ġ man"]
    tokens = [*special, *letters, *(merge.replace(" ", "") for merge in [*merges, "Ġ t"])]
    return {token: number for number, token in enumerate(dict.fromkeys(tokens))}, merges
