"""`tfrec-llm serve`."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from tfrec_llm.cli import output
from tfrec_llm.cli.options import Debug, Json


def serve(
    export: Annotated[Path, typer.Argument(metavar="EXPORT", help="Folder `export` wrote.")],
    rest_port: Annotated[
        int,
        typer.Option("--rest-port", min=0, max=65535, metavar="PORT", help="0 for a free one."),
    ] = 8501,
    grpc_port: Annotated[
        int,
        typer.Option("--grpc-port", min=0, max=65535, metavar="PORT", help="0 for a free one."),
    ] = 8500,
    name: Annotated[
        str | None,
        typer.Option("--name", metavar="NAME", help="Of the model; default: EXPORT's own."),
    ] = None,
    host: Annotated[
        str,
        typer.Option("--host", metavar="ADDRESS", help="To listen on; 0.0.0.0 for all of them."),
    ] = "127.0.0.1",
    labels: Annotated[
        list[str] | None,
        typer.Option(
            "--label",
            metavar="LABEL=VERSION",
            help="Serve a version under a label too, such as stable=3. May be repeated.",
        ),
    ] = None,
    poll_seconds: Annotated[
        float,
        typer.Option("--poll-seconds", min=0.05, help="Between two looks for new versions."),
    ] = 2.0,
    batching: Annotated[
        bool,
        typer.Option("--batching/--no-batching", help="Answer requests that wait together."),
    ] = True,
    max_batch: Annotated[
        int, typer.Option("--max-batch", min=1, metavar="ROWS", help="The most rows together.")
    ] = 32,
    batch_timeout_ms: Annotated[
        float,
        typer.Option(
            "--batch-timeout-ms", min=0, help="How long a request waits for others to join it."
        ),
    ] = 0.0,
    timeout_seconds: Annotated[
        float, typer.Option("--timeout-seconds", min=0.1, help="For a request, and to drain.")
    ] = 30.0,
    max_body_mb: Annotated[
        float, typer.Option("--max-body-mb", min=0.001, help="Longer requests are refused.")
    ] = 16.0,
    as_json: Json = False,
    debug: Debug = False,
) -> None:
    """Serve an export for development, with TensorFlow Serving's own REST and gRPC API.

    New versions in EXPORT take over as they appear; one that cannot be loaded leaves the old one
    serving. SIGTERM or Ctrl-C finishes what is under way and ends.
    """
    with output.working() as progress:
        from tfrec_llm.workflows.serve import serve as start

        service, served = start(
            export,
            name=name,
            labels=labels or (),
            progress=progress,
            host=host,
            rest_port=rest_port,
            grpc_port=grpc_port,
            poll_seconds=poll_seconds,
            max_batch=max_batch if batching else 1,
            batch_timeout_seconds=batch_timeout_ms / 1000,
            timeout_seconds=timeout_seconds,
            max_body_bytes=int(max_body_mb * (1 << 20)),
        )
    if as_json:
        output.print_json(served)
    else:
        output.print_summary(served)
    sys.stdout.flush()  # whoever started it waits for this
    service.run()
