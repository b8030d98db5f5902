"""More tokens for a pretrained BERT: what a new corpus holds and its vocabulary lacks."""

from __future__ import annotations

import unicodedata
from collections import Counter
from collections.abc import Sequence
from typing import Any

import numpy as np

from tfrec_llm.pretraining.word_pieces import is_alone
from tfrec_llm.seeds import child_generator

_NOISE = 0.1  # of the deviation of the known rows


def unread_characters(tokenizer: Any, texts: Sequence[str], max_characters: int) -> list[str]:
    """Returns the tokens that a vocabulary needs to read every word of a corpus.

    These are characters: words that it can read keep their pieces, whose vectors are trained
    already. A character that may stand inside a word (not Chinese) has a piece `##x` too.

    Args:
        tokenizer: keras-nlp WordPiece tokenizer.
        texts: str each.
        max_characters: int, most characters to add, the most frequent first.

    Returns: tokens that the vocabulary lacks.

    Example:
        >>> from tfrec_llm.keras_api import keras_nlp
        >>> words = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "a", "三"]
        >>> tokenizer = keras_nlp.models.BertTokenizer(words, lowercase=True)
        >>> unread_characters(tokenizer, ["A三体", "体ж"], 10)
        ['体', '##a', 'ж', '##ж']
    """
    known = set(tokenizer.get_vocabulary())
    counts = Counter(c for text in texts for c in _normalised(text, tokenizer) if c.isprintable())
    ranked = sorted(counts.items(), key=lambda item: (-item[1], item[0]))
    lacking = [
        [token for token in _forms(character) if token not in known]
        for character, _ in ranked
        if not character.isspace()
    ]
    found = [tokens for tokens in lacking if tokens][:max_characters]
    return [token for tokens in found for token in tokens]


def add_tokens(
    tokenizer: Any, backbone: Any, tokens: Sequence[str], seed: int = 7
) -> tuple[Any, Any]:
    """Makes a copy of a BERT whose vocabulary has more tokens at its end.

    A new token starts at the mean of the known ones, with a little seeded noise, so that new
    tokens can be told apart. All texts that hold none of them keep their vectors.

    Args:
        tokenizer: keras-nlp `BertTokenizer`.
        backbone: keras-nlp `BertBackbone`.
        tokens: str each, none of them known.
        seed: int.

    Returns: the new tokenizer and backbone.

    Example:
        >>> from tfrec_llm.pretraining.small_bert import small_bert
        >>> old = small_bert(["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "a"], dim=8)
        >>> tokenizer, backbone = add_tokens(*old, ["b"])
        >>> tokenizer.vocabulary_size(), backbone.token_embedding.input_dim
        (7, 7)
    """
    vocabulary = [*tokenizer.get_vocabulary(), *tokens]
    more = type(tokenizer).from_config({**tokenizer.get_config(), "vocabulary": vocabulary})
    old_rows = np.asarray(backbone.token_embedding.embeddings)
    # Rows beyond the old vocabulary, which some models have, belong to no token and are left out.
    old_rows = old_rows[: tokenizer.vocabulary_size()]
    noise = child_generator(seed, "new tokens").normal(size=(len(tokens), old_rows.shape[1]))
    rows = old_rows.mean(axis=0) + _NOISE * old_rows.std(axis=0) * noise
    larger = type(backbone).from_config(
        {**backbone.get_config(), "vocabulary_size": len(vocabulary)}
    )
    embeddings = larger.token_embedding.embeddings
    for old, new in zip(backbone.weights, larger.weights, strict=True):
        if new is embeddings:
            new.assign(np.concatenate([old_rows, rows]).astype(np.float32))
        else:
            new.assign(old)
    copy_activations(backbone, larger)
    return more, larger


def copy_activations(source: Any, target: Any) -> None:
    """Gives the layers of `target` the activations of `source`, which no config of BERT holds."""
    for old, new in zip(source.layers, target.layers, strict=True):
        dense = getattr(old, "_feedforward_intermediate_dense", None)
        if dense is not None:
            new._feedforward_intermediate_dense.activation = dense.activation


def _normalised(text: str, tokenizer: Any) -> str:
    """Returns a text as the tokenizer changes it before it looks words up."""
    config = tokenizer.get_config()
    if config["lowercase"]:
        text = text.casefold()
    if config["strip_accents"]:
        parts = unicodedata.normalize("NFD", text)
        text = "".join(c for c in parts if unicodedata.category(c) != "Mn")
    return text


def _forms(character: str) -> tuple[str, ...]:
    return (character,) if is_alone(character) else (character, f"##{character}")
