"""Batches of users → tables of their best items, the export loaded once in a process."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import apache_beam as beam
import pyarrow as pa
from apache_beam.utils.shared import Shared

from tfrec_llm.bulk.encode_texts import WRITTEN
from tfrec_llm.bulk.rows import count

SCHEMA = pa.schema(
    [
        ("user_id", pa.string()),
        ("item_ids", pa.list_(pa.string())),
        ("scores", pa.list_(pa.float32())),
    ]
)
USERS_AT_ONCE = 4096  # among which those with histories of like length are asked together
_WIDTH = 8  # histories are padded to multiples of it


class RecommendUsers(beam.DoFn):
    """Asks the signature `recommend` of an export.

    Takes lists of `(user_id, (text, history))`, yields `pyarrow.Table`s of `SCHEMA`.

    Args:
        export: folder of the export, as the workers see it.
        k: int >= 1, how many items.
        batch_size: int >= 1, users asked at a time.
    """

    def __init__(self, export: str, k: int, batch_size: int) -> None:
        self._export = export
        self._k = k
        self._batch_size = batch_size
        self._shared = Shared()
        self._loaded: Any = None

    def setup(self) -> None:
        """Loads the export and the libraries of its ops, or takes the one of another thread."""

        def load_export() -> Any:
            from tfrec_llm.serving.loaded import load

            return load(self._export)

        self._loaded = self._shared.acquire(load_export)

    def process(self, batch: Sequence[tuple[str, tuple[str, list[str]]]]) -> Iterator[pa.Table]:
        """Asks for one batch."""
        in_order = sorted(batch, key=lambda user: len(user[1][1]))
        for begin in range(0, len(in_order), self._batch_size):
            yield self._asked(in_order[begin : begin + self._batch_size])
        count(WRITTEN, len(batch))

    def _asked(self, users: Sequence[tuple[str, tuple[str, list[str]]]]) -> pa.Table:
        from tfrec_llm.serving.plain_tensorflow import plain_tensorflow

        tf = plain_tensorflow()
        longest = max(len(history) for _, (_, history) in users)
        width = -(-longest // _WIDTH) * _WIDTH
        answer = self._loaded.model.signatures["recommend"](
            user_text=tf.constant([text.encode("utf-8", "replace") for _, (text, _) in users]),
            history=tf.constant(
                [_padded(history, width) for _, (_, history) in users],
                tf.string,
                shape=[len(users), width],
            ),
            exclude_ids=tf.zeros([len(users), 0], tf.string),
            k=tf.constant(self._k, tf.int32),
        )
        ids, scores = answer["item_ids"].numpy().tolist(), answer["scores"].numpy().tolist()
        # Where fewer items remain the answer is padded with "".
        lengths = [sum(1 for item_id in row if item_id) for row in ids]
        return pa.Table.from_arrays(
            [
                pa.array([user_id for user_id, _ in users], pa.string()),
                pa.array(
                    [[i.decode() for i in row[:n]] for row, n in zip(ids, lengths, strict=True)],
                    SCHEMA.field("item_ids").type,
                ),
                pa.array(
                    [row[:n] for row, n in zip(scores, lengths, strict=True)],
                    SCHEMA.field("scores").type,
                ),
            ],
            schema=SCHEMA,
        )


def _padded(history: Sequence[str], width: int) -> list[bytes]:
    ids = [item_id.encode("utf-8", "replace") for item_id in history]
    return ids + [b""] * (width - len(ids))
