"""A corpus → the word pieces of a vocabulary made for it."""

from __future__ import annotations

import unicodedata
from collections import Counter
from collections.abc import Sequence

from tfrec_llm.errors import DataError, UsageError
from tfrec_llm.keras_api import tf

RESERVED = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]")

_MIN_COUNT = 2  # a character that stands in the corpus once has nothing to be learned from


def word_pieces(texts: Sequence[str], vocabulary_size: int = 8000) -> list[str]:
    """Builds a lower-case WordPiece vocabulary, single characters for Chinese.

    keras-nlp's builder takes the 1000 most frequent characters at most, too few for Chinese.
    Where there is room, further characters that the corpus holds twice or more follow, the most
    frequent first.

    Args:
        texts: str each.
        vocabulary_size: int, most tokens, the five of `RESERVED` counted.

    Returns: tokens, those of `RESERVED` first. The same texts give the same list.

    Raises:
        DataError: when the texts hold no word.
        UsageError: when `vocabulary_size` leaves no room for a token.

    Example:
        >>> word_pieces(["三体 三体 ab", "ab ab"], 40)[5:]
        ['a', 'b', '三', '体', '##a', '##b']
    """
    from tfrec_llm.keras_api import keras_nlp

    if vocabulary_size <= len(RESERVED):
        raise UsageError(
            f"`vocabulary_size` must be above {len(RESERVED)}, the tokens that every vocabulary "
            f"holds, got {vocabulary_size!r}"
        )
    encoded = [" ".join(text.encode("utf-8", "replace").decode().split()) for text in texts]
    nothing = "The corpus holds no word, so no vocabulary can be made from it."
    if not any(encoded):
        raise DataError(nothing)
    try:
        found = keras_nlp.tokenizers.compute_word_piece_vocabulary(
            tf.data.Dataset.from_tensor_slices(encoded),
            vocabulary_size,
            lowercase=True,
            reserved_tokens=list(RESERVED),
        )
    except IndexError as error:  # its search for a threshold fails without a single word
        raise DataError(nothing) from error
    # The builder breaks ties by the order of a set, which differs from process to process.
    used = [piece for piece in found if piece not in RESERVED and not _never_inside(piece)]
    pieces = sorted(used, key=lambda piece: (piece.startswith("##"), piece))
    known = set(pieces)
    counts = Counter(character for text in encoded for character in text.casefold())
    ranked = sorted(counts.items(), key=lambda item: (-item[1], item[0]))
    further = [
        character
        for character, count in ranked
        if count >= _MIN_COUNT and character not in known and character.isprintable()
        if not character.isspace()
    ]
    return [*RESERVED, *pieces, *further][:vocabulary_size]


def is_alone(character: str) -> bool:
    """Returns whether BERT's tokenizer makes a word of its own of a character.

    So it does of punctuation, symbols and the characters of Chinese.

    Example:
        >>> [is_alone(character) for character in "三,aж"]
        [True, True, False, False]
    """
    return not character.isalnum() or unicodedata.name(character, "").startswith("CJK")


def _never_inside(piece: str) -> bool:
    return piece.startswith("##") and len(piece) == 3 and is_alone(piece[2])
