"""A pipeline → a folder of sharded files that appears whole, and what was counted on the way."""

from __future__ import annotations

import contextlib
import json
import shutil
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import apache_beam as beam
import pyarrow as pa
from apache_beam.io.filesystems import FileSystems
from apache_beam.metrics import MetricsFilter
from apache_beam.options.pipeline_options import PipelineOptions

from tfrec_llm.bulk.encode_texts import WRITTEN
from tfrec_llm.bulk.rows import NAMESPACE, REJECTED, ROWS
from tfrec_llm.errors import DataError, TfrecLlmError, UsageError
from tfrec_llm.files import atomic_folder
from tfrec_llm.progress import Progress

SUMMARY_FILE = "summary.json"
DIRECT_RUNNER = "DirectRunner"


def run_pipeline(
    build: Callable[[Any], tuple[Any, Any]],
    schema: pa.Schema,
    out: str,
    name: str,
    *,
    source: str,
    runner: str = DIRECT_RUNNER,
    beam_options: Sequence[str] = (),
    num_shards: int = 0,
    max_quarantined_share: float = 0.5,
    progress: Progress,
) -> dict[str, Any]:
    """Runs a pipeline and writes what it gives.

    A local folder appears by one rename, with `NAME-00000-of-00004.parquet` …,
    `rejected-00000-of-00001.jsonl` … and `summary.json`. In a bucket, where nothing can be renamed
    at once, `summary.json` comes last: a folder without it is not finished.

    Args:
        build: takes the pipeline, returns collections of `pyarrow.Table`s and of lines of JSON for
            the rows set aside.
        schema: of the tables.
        out: the folder to write, here or where Beam can write; must not exist, or be empty.
        name: what the files are called.
        source: where the rows come from, for messages.
        runner: name of a Beam runner.
        beam_options: `key=value` or `flag`, for the runner.
        num_shards: int, files to write; 0 leaves it to the runner, and the rows where they are.
        max_quarantined_share: float in [0, 1], more rejected rows than this share is an error.
        progress: listener.

    Returns: what summary.json says: `rows`, `written`, `rejected` (reason → rows), `shards`,
        `runner`, `seconds`.

    Raises:
        UsageError: when `out` holds something, or an option is not one of Beam's form.
        DataError: when too many rows were rejected; then nothing is left in a local `out`.
        TfrecLlmError: when the pipeline fails.
    """
    began = time.monotonic()
    options = _options(runner, beam_options)
    with _output(out) as folder:
        progress.message(f"running on {runner}")
        try:
            pipeline = beam.Pipeline(runner=_runner(runner, options), options=options)
            tables, rejected = build(pipeline)
            _ = tables | "write" >> beam.io.WriteToParquetBatched(
                FileSystems.join(folder, name),
                schema,
                file_name_suffix=".parquet",
                num_shards=num_shards,
                use_compliant_nested_type=True,
            )
            _ = rejected | "write rejected" >> beam.io.WriteToText(
                FileSystems.join(folder, REJECTED), file_name_suffix=".jsonl", skip_if_empty=True
            )
            result = pipeline.run()
            state = result.wait_until_finish()
        except TfrecLlmError:
            raise
        except Exception as error:  # whatever a runner, or a worker far away, raises
            raise TfrecLlmError(f"The pipeline failed on {runner}: {_paragraph(error)}") from error
        if state not in (None, "DONE"):
            raise TfrecLlmError(f"The pipeline ended in the state {state} on {runner}.")
        counters = _counters(result)
        summary = {
            "rows": counters.pop(ROWS, 0),
            "written": counters.pop(WRITTEN, 0),
            "rejected": {
                reason.removeprefix(f"{REJECTED}: "): number
                for reason, number in sorted(counters.items())
            },
            "shards": len(_files(folder, name)),
            "runner": runner,
            "seconds": round(time.monotonic() - began, 1),
        }
        _check(summary, source, max_quarantined_share)
        with FileSystems.create(FileSystems.join(folder, SUMMARY_FILE)) as file:
            file.write((json.dumps(summary, indent=1) + "\n").encode())
    return summary


def _check(summary: dict[str, Any], source: str, max_quarantined_share: float) -> None:
    rejected = sum(summary["rejected"].values())
    if rejected <= max_quarantined_share * summary["rows"] and summary["written"]:
        if summary["written"] + rejected != summary["rows"]:
            raise TfrecLlmError(
                f"Of {summary['rows']} rows of {source} {summary['written']} were written and "
                f"{rejected} set aside, which is not all of them. Run again, and report this."
            )
        return
    reasons = ", ".join(f"{reason} {count}" for reason, count in summary["rejected"].items())
    raise DataError(
        f"{source}: {rejected} of {summary['rows']} rows cannot be used ({reasons or 'none read'}),"
        f" more than --max-quarantined-share {max_quarantined_share:g} allows, or nothing is left. "
        "Check the columns, or allow more."
    )


@contextlib.contextmanager
def _output(out: str) -> Iterator[str]:
    if "://" in out:
        found = FileSystems.match([f"{out.rstrip('/')}/*"])[0].metadata_list
        if found:
            raise UsageError(f"{out} holds something already. Give another --out.")
        yield out
        return
    try:
        with atomic_folder(Path(out).expanduser()) as folder:
            yield str(folder.absolute())
            for left in folder.glob("beam-temp-*"):
                shutil.rmtree(left)
    except (FileExistsError, NotADirectoryError) as error:
        raise UsageError(
            f"{out} cannot be used: it holds something already, or is no folder. Give another "
            "--out."
        ) from error


def _options(runner: str, beam_options: Sequence[str]) -> PipelineOptions:
    flags = []
    for option in beam_options:
        if not option or option.startswith(("-", "=")) or any(c.isspace() for c in option[:1]):
            raise UsageError(
                f"--beam-option {option!r}: expected key=value or a flag, without dashes, for "
                "example --beam-option direct_num_workers=2"
            )
        flags.append(f"--{option}")
    return PipelineOptions(flags, runner=runner)


def _runner(name: str, options: PipelineOptions) -> Any:
    """Returns the runner; that of this machine is the one in Python, which fetches nothing."""
    if name.lower().removesuffix("runner") != "direct":
        return name
    from apache_beam.portability.api import beam_provision_api_pb2
    from apache_beam.runners.portability.fn_api_runner import fn_runner
    from apache_beam.runners.portability.portable_runner import JobServiceHandle

    encoded = JobServiceHandle.encode_pipeline_options(options.get_all_options())
    provision = beam_provision_api_pb2.ProvisionInfo(pipeline_options=encoded)
    return fn_runner.FnApiRunner(provision_info=fn_runner.ExtendedProvisionInfo(provision))


def _counters(result: Any) -> dict[str, int]:
    found = result.metrics().query(MetricsFilter().with_namespace(NAMESPACE))["counters"]
    counters: dict[str, int] = {}
    for metric in found:
        number = metric.committed if metric.committed is not None else metric.attempted
        counters[metric.key.metric.name] = counters.get(metric.key.metric.name, 0) + int(number)
    return counters


def _files(folder: str, name: str) -> list[str]:
    pattern = FileSystems.join(folder, f"{name}-*.parquet")
    return [about.path for about in FileSystems.match([pattern])[0].metadata_list]


def _paragraph(error: Exception) -> str:
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return f"{type(error).__name__}: {' '.join(lines[-3:])[-700:]}"
