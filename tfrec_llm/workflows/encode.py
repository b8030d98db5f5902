"""A table of items → a Parquet file of their vectors."""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import Any

import polars as pl

from tfrec_llm.data.check_texts import check_texts
from tfrec_llm.data.file_formats import read_raw_table
from tfrec_llm.errors import UsageError
from tfrec_llm.files import atomic_file
from tfrec_llm.progress import Progress, Silent


def encode_table(
    items: str | Path,
    *,
    encoder: str,
    out: str | Path,
    item_id: str = "item_id",
    text_columns: list[str] | None = None,
    max_tokens: int = 64,
    precision: str = "float32",
    batch_size: int = 32,
    max_quarantined_share: float = 0.5,
    cache_folder: str | Path | None = None,
    progress: Progress | None = None,
) -> dict[str, Any]:
    """Encodes the text of each item; a run that was stopped goes on where it was.

    Rows without an id, or with the id of an earlier row, are left out and counted.

    Args:
        items: CSV, TSV or JSONL (or these and `.gz`) or Parquet file.
        encoder: name of a keras-nlp preset, or a folder of a model.
        out: the `.parquet` file to write, with the columns `item_id` (str) and `embedding`
            (float32 array, not normalised), one row an item in the order of `items`.
        item_id: the column of ids.
        text_columns: the columns of text, joined in this order. `None` takes every column that
            holds more than numbers.
        max_tokens: int ≥ 3, longer texts are cut.
        precision: "float32" or "mixed_bfloat16".
        batch_size: int ≥ 1, texts encoded at a time.
        max_quarantined_share: float in [0, 1], more rejected rows than this share is an error.
        cache_folder: see `FeatureCache`.
        progress: told of the work.

    Returns: dict of `out`, `items`, `rejected_rows`, `dim`, `encoder`, `fingerprint`, `seconds`.
    Raises: DataError when the table cannot be used; EncoderError when there is no such encoder;
        UsageError when `out` cannot be written.
    """
    progress = progress or Silent()
    out = _checked_out(Path(out).expanduser())
    raw = read_raw_table(items, "items")
    table, warnings = check_texts(raw, item_id, "item_id", text_columns, "item_text")
    raw.require_good_share(max_quarantined_share)
    rejected = raw.quarantine
    if rejected.height:
        warnings.append(f"{rejected.height} rows left out, first: {rejected['detail'][0]}")
    for warning in warnings:
        progress.message(warning)

    # Here, not above: a fault in the table is told before TensorFlow is loaded.
    from tfrec_llm.encoders.feature_cache import cached_features
    from tfrec_llm.encoders.text_encoder import TextEncoder

    began = time.perf_counter()
    text_encoder = TextEncoder.from_preset(encoder, max_tokens=max_tokens, precision=precision)
    vectors = cached_features(
        text_encoder,
        table["text"].to_list(),
        cache_folder,
        progress,
        batch_size=batch_size,
    )
    embedding = pl.Series("embedding", vectors, dtype=pl.Array(pl.Float32, text_encoder.dim))
    with atomic_file(out) as temporary:
        table.select("item_id").with_columns(embedding).write_parquet(temporary)
    return {
        "out": str(out),
        "items": table.height,
        "rejected_rows": rejected.height,
        "dim": text_encoder.dim,
        "encoder": text_encoder.preset.name,
        "fingerprint": text_encoder.fingerprint,
        "seconds": round(time.perf_counter() - began, 2),
    }


def _checked_out(out: Path) -> Path:
    """Tells before the work what would fail after it."""
    if out.suffix.lower() != ".parquet":
        raise UsageError(f"{out}: the file to write must end in .parquet")
    if out.is_dir():
        raise UsageError(f"{out} is a folder, not a file")
    existing = next(parent for parent in out.absolute().parents if parent.exists())
    if not existing.is_dir() or not os.access(existing, os.W_OK):
        raise UsageError(f"{out} cannot be written: {existing} is no folder that may be written to")
    return out
