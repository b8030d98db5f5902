"""Batches of texts → tables of their vectors, the encoder loaded once in a process."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import apache_beam as beam
import pyarrow as pa
from apache_beam.utils.shared import Shared

from tfrec_llm.bulk.rows import count

SCHEMA = pa.schema([("item_id", pa.string()), ("embedding", pa.list_(pa.float32()))])
TEXTS_AT_ONCE = 2048  # among which those of like length are encoded together
WRITTEN = "written"


class EncodeTexts(beam.DoFn):
    """Encodes as `TextEncoder.encode` does, texts of like length together.

    Takes lists of `(id, text)`, yields `pyarrow.Table`s of `SCHEMA`.

    Args:
        encoder: name of a preset or a folder of a model, as the workers see it.
        max_tokens: int, longer texts are cut.
        precision: "float32" or "mixed_bfloat16".
        batch_size: int >= 1, texts encoded at a time.
    """

    def __init__(self, encoder: str, max_tokens: int, precision: str, batch_size: int) -> None:
        self._encoder_name = encoder
        self._settings: dict[str, Any] = {"max_tokens": max_tokens, "precision": precision}
        self._batch_size = batch_size
        self._shared = Shared()  # the threads of a process have one encoder among them
        self._encoder: Any = None

    def setup(self) -> None:
        """Loads the encoder, or takes the one of another thread."""

        def load() -> Any:
            from tfrec_llm.encoders.text_encoder import TextEncoder

            return TextEncoder.from_preset(self._encoder_name, **self._settings)

        self._encoder = self._shared.acquire(load)

    def process(self, batch: Sequence[tuple[str, str]]) -> Iterator[pa.Table]:
        """Encodes one batch."""
        vectors = self._encoder.encode([text for _, text in batch], batch_size=self._batch_size)
        count(WRITTEN, len(batch))
        ends = range(0, vectors.size + 1, vectors.shape[1])
        embedding = pa.ListArray.from_arrays(
            pa.array(ends, pa.int32()), pa.array(vectors.ravel(), pa.float32())
        )
        ids = pa.array([row_id for row_id, _ in batch], pa.string())
        yield pa.Table.from_arrays([ids, embedding], schema=SCHEMA)
