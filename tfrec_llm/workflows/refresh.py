"""An export and a new table of items → its next version, without training."""

from __future__ import annotations

import datetime
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import polars as pl

from tfrec_llm.data.catalogue_changes import CatalogueChanges, catalogue_changes
from tfrec_llm.data.raw_table import write_quarantine
from tfrec_llm.data.schema import Quarantine
from tfrec_llm.data.tables import read_items
from tfrec_llm.errors import DataError, ExportError, UsageError
from tfrec_llm.files import locked
from tfrec_llm.progress import Progress, Silent
from tfrec_llm.serving.export_files import ITEMS_FILE
from tfrec_llm.serving.refresh_facts import RefreshFacts
from tfrec_llm.serving.requirements_file import read_requirements
from tfrec_llm.serving.versions import keep_newest, version_folder


def refresh(
    export: str | Path,
    items: str | Path | pl.DataFrame,
    *,
    keep: int | None = None,
    columns: Mapping[str, str] | None = None,
    force: bool = False,
    max_quarantined_share: float = 0.5,
    quarantine: str | Path | None = None,
    progress: Progress | None = None,
) -> dict[str, Any]:
    """Writes the next version of an export for the items that there are now.

    The table is the whole new catalogue: items that are not in it are never recommended any more.
    Only new and changed texts are encoded. The new version is checked in a fresh process and
    appears by one rename; a process that is killed leaves the last version as it was.

    Args:
        export: folder of versions, as `export` wrote it; its newest version is the base.
        items: CSV, TSV or JSONL (or these and `.gz`), Parquet, or a frame.
        keep: int >= 1, how many versions stay, the new one included; None removes none.
        columns: what columns of the table of training are called in this one, `item_id` for that
            of the ids: `{"title": "name"}`. Columns that are not named are called the same.
        force: bool, write a version even if nothing changed.
        max_quarantined_share: float in [0, 1], more rejected rows than this share is an error.
        quarantine: folder that gets `items.jsonl` with the rejected rows; None writes none.
        progress: listener.

    Returns: dict of `path` and `version` (None where nothing changed), `from_version`, `items`,
        `new`, `changed`, `removed`, `unchanged`, `encoded` (texts), `quarantined` (counts by
        reason), `index` (its settings), `index_recall@10`, `neighbours_of_new_items`,
        `removed_versions`, `seconds`.

    Raises:
        UsageError: when there is no export, or an argument is wrong.
        DataError: when the table cannot be used.
        CorruptFileError: when a file of the export is not as it was written.
        ExportError: when the version cannot be written, or answers differently.
    """
    progress, began = progress or Silent(), time.monotonic()
    if keep is not None and keep < 1:
        raise UsageError(f"`keep` must be at least 1, the new version itself, got {keep}.")
    out = Path(export)
    if (out / "saved_model.pb").is_file():
        raise UsageError(
            f"{out} is one version of an export. Give the folder that holds the versions, "
            f"{out.absolute().parent}: the new one appears there."
        )
    base = version_folder(out)
    with locked(out / ".refresh.lock"):  # one after the other, each from what the last one wrote
        base = version_folder(out)
        facts = RefreshFacts.read(base)
        now, rejected = _read(items, facts, columns or {}, max_quarantined_share, progress)
        if quarantine is not None:
            write_quarantine(rejected, quarantine)
        before = pl.read_parquet(base / ITEMS_FILE, columns=["item_id", "title", "text"])
        changes = catalogue_changes(before, now)
        summary = _summary(base, changes, rejected)
        _tell(summary, before, progress)
        if changes.is_nothing and not force:
            progress.message(
                f"the catalogue is that of version {base.name}: nothing was written (--force "
                "writes a version all the same)"
            )
            return {**summary, "seconds": round(time.monotonic() - began, 1)}
        summary.update(_write(out, base, changes, summary, progress))
        if keep is not None:
            summary["removed_versions"] = _keep(out, int(summary["version"]), keep)
    return {**summary, "seconds": round(time.monotonic() - began, 1)}


def _read(
    items: str | Path | pl.DataFrame,
    facts: RefreshFacts,
    columns: Mapping[str, str],
    max_quarantined_share: float,
    progress: Progress,
) -> tuple[pl.DataFrame, Quarantine]:
    renamed = dict(columns)
    item_id = renamed.pop("item_id", renamed.pop(facts.item_id, facts.item_id))
    item_text = facts.item_text
    if item_text is not None:
        unknown = sorted(set(renamed) - set(item_text))
        if unknown:
            raise UsageError(
                f"`columns` names {', '.join(unknown)}, but the model was trained on the columns "
                f"{', '.join(('item_id', *item_text))}. Give these on the left: title=name."
            )
        item_text = tuple(renamed.get(name, name) for name in item_text)
    elif renamed:
        item_text = tuple(renamed.values())
    try:
        frame, rejected, warnings = read_items(
            items, item_id=item_id, item_text=item_text, max_quarantined_share=max_quarantined_share
        )
    except DataError as error:
        if "data.columns" not in str(error):
            raise
        raise DataError(
            f"{error} A refresh has no configuration: name columns with --columns NAME=COLUMN."
        ) from error
    for warning in warnings:
        progress.message(warning)
    if rejected.rows.height:
        first = rejected.rows.row(0, named=True)
        progress.message(
            f"set aside {rejected.rows.height} rows, first: {first['file']} row {first['row']}, "
            f"{first['detail']}"
        )
    return frame, rejected


def _summary(base: Path, changes: CatalogueChanges, rejected: Quarantine) -> dict[str, Any]:
    return {
        "path": None,
        "version": None,
        "from_version": int(base.name),
        "items": changes.items.height,
        "new": changes.num_new,
        "changed": changes.num_changed,
        "removed": changes.num_removed,
        "unchanged": changes.num_unchanged,
        "encoded": 0,
        "quarantined": rejected.counts,
    }


def _tell(summary: Mapping[str, Any], before: pl.DataFrame, progress: Progress) -> None:
    counts = ", ".join(f"{summary[n]} {n}" for n in ("new", "changed", "removed", "unchanged"))
    progress.message(f"since version {summary['from_version']}: {counts}")
    kept = before.height - summary["removed"]
    if kept < before.height / 2:
        progress.message(
            f"only {kept} of {before.height} items are left: the table must be the whole "
            "catalogue, and its ids those of training"
        )
    if summary["changed"] > kept / 2 > 1:
        progress.message(
            f"{summary['changed']} of {kept} items have another text: text is made of the same "
            "columns as in training, in the same order; name them with --columns if they differ"
        )


def _write(
    out: Path,
    base: Path,
    changes: CatalogueChanges,
    summary: Mapping[str, Any],
    progress: Progress,
) -> dict[str, Any]:
    # Here, not above: a fault in the table is told before TensorFlow is loaded.
    from tfrec_llm.serving.refreshed_servable import refreshed_servable
    from tfrec_llm.serving.restored_parts import restored_export
    from tfrec_llm.serving.saved_model import write_export

    progress.message(f"loading version {base.name}")
    restored = restored_export(base)
    facts = restored.facts
    servable = refreshed_servable(restored, changes, progress)
    found = facts.neighbours is not None and facts.neighbours.new_weight > 0
    neighbours = (
        "by words"
        if found
        else "none: training gave none to new items"
        if facts.neighbours is not None
        else "none: the export does not say how training found them"
    )
    encoded = int(changes.has_new_text.sum())
    noted = {
        "made from version": int(base.name),
        "on": datetime.datetime.now(datetime.timezone.utc).date().isoformat(),
        **{f"{name} items": summary[name] for name in ("new", "changed", "removed", "unchanged")},
        "texts encoded": encoded,
        "neighbours of new items": neighbours,
        "figures": "those above are of the trained model on its own catalogue",
    }
    progress.message("writing, then loading in a fresh process as a server would")
    version = write_export(
        servable,
        out,
        metadata={**facts.metadata, "refresh": noted},
        recall_queries=restored.sample_queries,
        min_index_recall=facts.min_index_recall,
        for_refresh={
            "item_id": facts.item_id,
            "item_text": facts.item_text,
            "neighbours": facts.neighbours,
            "metadata": facts.metadata,
        },
        after_version=int(base.name),
    )
    return {
        "path": str(version),
        "version": int(version.name),
        "encoded": encoded,
        "index": servable.index.parameters,
        "index_recall@10": read_requirements(version)["index_recall@10"],
        "neighbours_of_new_items": neighbours,
        "size_bytes": sum(p.stat().st_size for p in version.rglob("*") if p.is_file()),
        "removed_versions": [],
    }


def _keep(out: Path, version: int, count: int) -> list[int]:
    try:
        with locked(out / ".lock"):
            return keep_newest(out, version, count)
    except OSError as error:
        raise ExportError(
            f"Version {version} is in place, but older ones could not be removed from {out}: "
            f"{error.strerror or error}. Remove them by hand, or mend the permissions."
        ) from error
