"""Bulk work on Apache Beam: the vectors of all items, the recommendations for all users."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from tfrec_llm.bulk.beam_package import require_beam
from tfrec_llm.errors import DataError, UsageError
from tfrec_llm.progress import Progress, Silent


def encode_in_bulk(
    items: str,
    *,
    encoder: str,
    out: str,
    runner: str = "DirectRunner",
    beam_options: Sequence[str] = (),
    num_shards: int = 0,
    item_id: str = "item_id",
    text_columns: Sequence[str] | None = None,
    max_tokens: int = 64,
    precision: str = "float32",
    batch_size: int = 32,
    max_quarantined_share: float = 0.5,
    progress: Progress | None = None,
) -> dict[str, Any]:
    """Encodes the text of each item in a pipeline; see `encode_table` for one process.

    Args:
        items: a file, a folder or a pattern of files: CSV, TSV, JSONL (or these and `.gz`),
            Parquet, or TFRecord of tf.train.Example; here or where Beam can read.
        encoder: name of a preset, or a folder of a model that all workers see.
        out: the folder to write: `vectors-00000-of-0000N.parquet` with `item_id` (str) and
            `embedding` (list of float32, not normalised), in no order; see `run_pipeline`.
        runner: name of a Beam runner.
        beam_options: options of the runner, `key=value`.
        num_shards: int, files to write; 0 leaves it to the runner.
        item_id: the column of ids.
        text_columns: the columns of text, joined in this order. `None` takes every column that
            holds more than numbers in the first 10 000 rows.
        max_tokens: int ≥ 3, longer texts are cut.
        precision: "float32" or "mixed_bfloat16".
        batch_size: int ≥ 1, texts encoded at a time.
        max_quarantined_share: float in [0, 1], more rejected rows than this share is an error.
        progress: told of the work.

    Returns: dict of `out`, `encoder` and what `run_pipeline` returns.
    Raises: MissingPackageError without Apache Beam; DataError when the tables cannot be used;
        UsageError when `out` holds something; TfrecLlmError when the pipeline fails.
    """
    require_beam("Encoding with a runner")
    from tfrec_llm.bulk import encode_texts
    from tfrec_llm.bulk.item_texts import ItemTexts
    from tfrec_llm.bulk.table_files import matching_files

    files = matching_files(items)
    columns = _text_columns(files[0], "items", item_id, text_columns, ())
    if not columns:
        raise DataError(f"{files[0]} has no column of text. Name one: --text-column COLUMN")
    encode = encode_texts.EncodeTexts(encoder, max_tokens, precision, batch_size)
    summary = _run(
        files,
        ("items", item_id, ItemTexts(columns), ()),
        ("encode", encode, encode_texts.TEXTS_AT_ONCE, encode_texts.SCHEMA),
        out,
        "vectors",
        source=items,
        runner=runner,
        beam_options=beam_options,
        num_shards=num_shards,
        max_quarantined_share=max_quarantined_share,
        progress=progress or Silent(),
    )
    return {"out": out, "encoder": encoder, **summary}


def recommend_in_bulk(
    export: str,
    users: str,
    *,
    out: str,
    k: int = 10,
    runner: str = "DirectRunner",
    beam_options: Sequence[str] = (),
    num_shards: int = 0,
    user_id: str = "user_id",
    history: str | None = None,
    text_columns: Sequence[str] | None = None,
    batch_size: int = 256,
    max_quarantined_share: float = 0.5,
    progress: Progress | None = None,
) -> dict[str, Any]:
    """Recommends items to each user of a table, in a pipeline.

    Args:
        export: folder of the export, which all workers see.
        users: a file, a folder or a pattern of files, as for `encode_in_bulk`.
        out: the folder to write: `recommendations-00000-of-0000N.parquet` with `user_id` (str),
            `item_ids` (list of str, best first) and `scores` (list of float32), in no order.
        k: int >= 1, how many items; at most the `max_k` of the export are returned.
        runner: name of a Beam runner.
        beam_options: options of the runner, `key=value`.
        num_shards: int, files to write; 0 leaves it to the runner.
        user_id: the column of ids.
        history: the column of items that the user took, oldest first: a list, or ids with commas
            between them. `None` takes `history` if it is there.
        text_columns: the columns of text about the user. `None` takes every other column that
            holds more than numbers in the first 10 000 rows.
        batch_size: int ≥ 1, users asked at a time.
        max_quarantined_share: float in [0, 1], more rejected rows than this share is an error.
        progress: told of the work.

    Returns: dict of `out`, `export` and what `run_pipeline` returns.
    Raises: as `encode_in_bulk`; UsageError when there is no export, or `k` is below 1.
    """
    require_beam("Recommending in bulk")
    from tfrec_llm.bulk import recommend_users
    from tfrec_llm.bulk.table_files import matching_files
    from tfrec_llm.bulk.user_requests import UserRequests
    from tfrec_llm.serving.versions import version_folder

    if k < 1:
        raise UsageError(f"`k` must be at least 1, got {k}.")
    version = version_folder(export)  # all workers ask the version that is the newest now
    files = matching_files(users)
    history = history or ("history" if "history" in _columns(files[0]) else None)
    others = () if history is None else (history,)
    columns = _text_columns(files[0], "users", user_id, text_columns, others)
    if history is None and not columns:
        raise DataError(
            f"{files[0]} has neither a history nor a text of users. Name the columns: "
            "--history-column COLUMN, --text-column COLUMN"
        )
    ask = recommend_users.RecommendUsers(str(version.absolute()), k, batch_size)
    summary = _run(
        files,
        ("users", user_id, UserRequests(history, columns), others),
        ("recommend", ask, recommend_users.USERS_AT_ONCE, recommend_users.SCHEMA),
        out,
        "recommendations",
        source=users,
        runner=runner,
        beam_options=beam_options,
        num_shards=num_shards,
        max_quarantined_share=max_quarantined_share,
        progress=progress or Silent(),
    )
    return {"out": out, "export": str(version), **summary}


def _run(
    files: Sequence[str],
    table: tuple[str, str, Any, Sequence[str]],
    work: tuple[str, Any, int, Any],
    out: str,
    name: str,
    **options: Any,
) -> dict[str, Any]:
    """Runs: read and check a table, do the work on batches of its rows, write."""
    from tfrec_llm.bulk.in_batches import in_batches
    from tfrec_llm.bulk.rows import unique_rows
    from tfrec_llm.bulk.run_pipeline import run_pipeline

    kind, id_column, check, list_columns = table
    step, do, rows_at_once, schema = work

    def build(pipeline: Any) -> tuple[Any, Any]:
        rows, rejected = unique_rows(pipeline, files, kind, id_column, check, list_columns)
        return in_batches(rows, step, do, rows_at_once), rejected

    return run_pipeline(build, schema, out, name, **options)


def _text_columns(
    file: str,
    table: str,
    id_column: str,
    text_columns: Sequence[str] | None,
    others: Sequence[str],
) -> list[str]:
    """Returns the columns of text, checked against the first part of the first file."""
    from tfrec_llm.bulk.table_files import table_parts
    from tfrec_llm.data.check_texts import columns_of_text

    first = next(table_parts(file, table, others), None)
    if first is None:
        raise DataError(f"{file} ({table}) has no rows")
    first.require_column(id_column, f"{table.removesuffix('s')}_id")
    if text_columns is None:
        return [name for name in columns_of_text(first, id_column) if name not in others]
    for column in text_columns:
        first.require_column(column, f"{table.removesuffix('s')}_text")
    return list(text_columns)


def _columns(file: str) -> list[str]:
    from tfrec_llm.bulk.table_files import table_parts

    first = next(table_parts(file, "users"), None)
    return [] if first is None else first.columns
