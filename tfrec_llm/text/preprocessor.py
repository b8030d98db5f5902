"""Texts → token ids, segment ids and padding mask, in the TensorFlow graph."""

from __future__ import annotations

import hashlib
import json
import tempfile
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from tfrec_llm.errors import UsageError
from tfrec_llm.keras_api import tf
from tfrec_llm.text.cleaning import check_level, clean_text, cleaning_sha256

_NOT_IN_DIGEST = ("name", "dtype", "trainable", "config_file", "vocabulary", "merges", "proto")


class TextPreprocessor(tf.Module):
    """Turns texts into what a backbone reads; the same ops in training and in the served graph.

    Bytes that are not UTF-8 and control characters count as spaces. The text stands between the
    start and the end token of the tokenizer, so an empty text is these two. Longer texts are cut
    to `max_tokens`, start and end included; tokens are counted after the cleaning.

    Args:
        tokenizer: a keras-nlp tokenizer; a start or end token that is None is not added.
        max_tokens: int ≥ 3, most tokens of a text.
        clean: "none", "light" or "full", see `clean_text`. Defaults to "none".
        stop_words: str each, dropped by the level "full" beside its own lists.

    Call arguments:
        texts: string `(batch,)`.

    Returns: dict of int32 `(batch, tokens)`: `token_ids`, `segment_ids` (zeros) and
        `padding_mask` (1 for a token), padded to the longest text of the batch.

    Raises: UsageError when `max_tokens`, `clean` or `stop_words` is not one of the above.

    Example:
        >>> from tfrec_llm.keras_api import keras_nlp
        >>> words = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "dune", "two"]
        >>> tokenizer = keras_nlp.models.BertTokenizer(words, lowercase=True)
        >>> inputs = TextPreprocessor(tokenizer, max_tokens=8)(tf.constant(["Dune two", ""]))
        >>> inputs["token_ids"].numpy().tolist()
        [[2, 5, 6, 3], [2, 3, 0, 0]]
    """

    def __init__(
        self,
        tokenizer: Any,
        max_tokens: int,
        clean: str = "none",
        stop_words: Iterable[str] = (),
    ) -> None:
        super().__init__(name="text_preprocessor")
        if max_tokens < 3:
            raise UsageError(
                f"`max_tokens` must be at least 3 (start, one token, end), got {max_tokens!r}"
            )
        self.tokenizer = tokenizer
        self.max_tokens = max_tokens
        self.clean = clean
        self.stop_words = check_level(clean, stop_words)
        self.pad_token_id = int(getattr(tokenizer, "pad_token_id", None) or 0)
        # Outside a graph a keras-nlp tokenizer returns Python lists, so it never runs there.
        self._token_ids = tf.function(
            self._token_ids_in_graph,
            input_signature=[tf.TensorSpec([None], tf.string)],
            autograph=False,
        )

    def __call__(self, texts: Any) -> dict[str, Any]:
        """Tokenises and pads a batch of texts."""
        token_ids = self.token_ids(texts)
        padding_mask = tf.sequence_mask(token_ids.row_lengths(), dtype=tf.int32)
        return self.inputs(token_ids.to_tensor(self.pad_token_id), padding_mask)

    def token_ids(self, texts: Any) -> Any:
        """Returns the token ids of string `(batch,)` as ragged int32 `(batch, None)`, cut."""
        return self._token_ids(texts)

    def inputs(self, token_ids: Any, padding_mask: Any) -> dict[str, Any]:
        """Names padded token ids and their mask, int32 `(batch, tokens)`, for a backbone."""
        return {
            "token_ids": token_ids,
            "segment_ids": tf.zeros_like(token_ids),
            "padding_mask": padding_mask,
        }

    @property
    def sha256(self) -> str:
        """Hex digest of all that shapes the token ids: vocabulary, options, limit, cleaning."""
        digest = hashlib.sha256()
        options = {k: v for k, v in self.tokenizer.get_config().items() if k not in _NOT_IN_DIGEST}
        options |= {"class": type(self.tokenizer).__name__, "start": self.tokenizer.start_token_id}
        options |= {"end": self.tokenizer.end_token_id, "pad": self.pad_token_id}
        options |= {"max_tokens": self.max_tokens, "clean": self.clean}
        if self.clean != "none":
            options |= {"cleaning": cleaning_sha256(self.clean, self.stop_words)}
        digest.update(json.dumps(options, sort_keys=True).encode())
        with tempfile.TemporaryDirectory() as folder:
            self.tokenizer.save_assets(folder)
            for file in sorted(Path(folder).iterdir()):
                digest.update(f"\n{file.name} {file.stat().st_size}\n".encode())
                digest.update(file.read_bytes())
        return digest.hexdigest()

    def _token_ids_in_graph(self, texts: Any) -> Any:
        texts = clean_text(texts, self.clean, self.stop_words)
        texts = tf.strings.unicode_transcode(
            texts,
            input_encoding="UTF-8",
            output_encoding="UTF-8",
            errors="replace",
            replacement_char=ord(" "),
            replace_control_characters=True,
        )
        edges = (self.tokenizer.start_token_id, self.tokenizer.end_token_id)
        num_tokens = self.max_tokens - sum(edge is not None for edge in edges)
        token_ids = tf.cast(self.tokenizer(texts), tf.int32)[:, :num_tokens]
        start, end = (
            []
            if edge is None  # the model was trained without it
            else [tf.fill([tf.shape(texts)[0], 1], tf.constant(edge, tf.int32))]
            for edge in edges
        )
        return tf.concat([*start, token_ids, *end], axis=1)
