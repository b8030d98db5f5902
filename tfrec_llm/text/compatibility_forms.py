"""Full-width and other compatibility forms made plain, in the TensorFlow graph."""

from __future__ import annotations

from typing import Any

from tfrec_llm.keras_api import tf, tf_text
from tfrec_llm.text.cleaning_rules import UNTOUCHED_BY_NFKC
from tfrec_llm.text.pieces import joined, split_at_marks


def normalise_compatibility_forms(texts: Any) -> Any:
    """Applies NFKC to all but the characters of `UNTOUCHED_BY_NFKC`.

    Ｄｕｎｅ becomes Dune, ﬁ fi, ㎏ kg and ｶ カ; ， ： … ™ ½ ² stay, and so do simplified and
    traditional characters.

    Args:
        texts: string `(n,)`, UTF-8, without the character U+0001.

    Returns: string `(n,)`.

    Example:
        >>> normalise_compatibility_forms(tf.constant(["Ｄｕｎｅ，２"])).numpy()[0].decode()
        'Dune，2'
    """
    marked = tf.strings.regex_replace(texts, UNTOUCHED_BY_NFKC, "\x01\\1\x01")
    pieces, is_untouched = split_at_marks(marked)
    flat = pieces.flat_values
    plain = tf.where(is_untouched, flat, tf_text.normalize_utf8(flat, "NFKC"))
    return joined(pieces.with_flat_values(plain), texts)
