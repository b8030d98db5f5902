"""Tables of a configuration → a folder of shards, from which larger data is trained."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

from tfrec_llm.config.run_config import RunConfig
from tfrec_llm.data.shards.write_shards import write_shards
from tfrec_llm.errors import UsageError
from tfrec_llm.progress import Progress, Silent
from tfrec_llm.workflows.build import reading_options


def shard(
    config: RunConfig,
    out: str | Path,
    *,
    num_shards: int = 16,
    progress: Progress | None = None,
) -> dict[str, Any]:
    """Writes the interactions of a run as TFRecord shards, and the tables beside them.

    A run with `data.source: shards` and `data.folder` at `out` trains from them.

    Args:
        config: the run; of it the section `data` counts, with the source `tables`.
        out: the folder to write; must not exist, or be empty.
        num_shards: int >= 1, see `write_shards`.
        progress: listener.

    Returns: `out`, `users`, `items`, `interactions`, `shards`, `bytes`, `quarantined`,
        `below_min_rating`, `seconds`.

    Raises:
        UsageError: when the data does not come from tables, or `out` holds something.
        DataError: when the tables cannot be used.
    """
    progress = progress or Silent()
    data = config.data
    if data.source != "tables" or data.items is None or data.interactions is None:
        raise UsageError(
            f"Shards are written from data.source tables, not from {data.source}. Name the files "
            "in data.items and data.interactions."
        )
    began = time.monotonic()
    try:
        meta = write_shards(
            data.items,
            data.interactions,
            data.users,
            out,
            num_shards=num_shards,
            **reading_options(data),
            name=data.items.stem,
            progress=progress,
        )
    except (FileExistsError, NotADirectoryError) as error:
        raise UsageError(
            f"{out} cannot be used: it holds something already, or is no folder. Give another "
            "--out."
        ) from error
    for warning in meta.warnings:
        progress.message(f"warning: {warning}")
    return {
        "out": str(out),
        "users": meta.users,
        "items": meta.items,
        "interactions": meta.interactions,
        "shards": len(meta.shards),
        "bytes": sum(about["bytes"] for about in meta.files.values()),
        "quarantined": meta.quarantined,
        "below_min_rating": meta.below_min_rating,
        "seconds": round(time.monotonic() - began, 1),
    }
