"""The command `tfrec-llm`: its verbs, exit codes and errors."""

from __future__ import annotations

import errno
import os
import sys
import traceback
from collections.abc import Callable, Sequence
from typing import Annotated, Any

import typer

import tfrec_llm
from tfrec_llm.cli.check import check
from tfrec_llm.cli.demo import demo
from tfrec_llm.cli.doctor import doctor
from tfrec_llm.cli.encode import encode
from tfrec_llm.cli.encoders import encoders
from tfrec_llm.cli.evaluate import evaluate
from tfrec_llm.cli.export import export
from tfrec_llm.cli.pretrain_encoder import pretrain_encoder
from tfrec_llm.cli.recommend import recommend
from tfrec_llm.cli.recommend_all import recommend_all
from tfrec_llm.cli.refresh import refresh
from tfrec_llm.cli.serve import serve
from tfrec_llm.cli.shard import shard
from tfrec_llm.cli.similar import similar
from tfrec_llm.cli.train import train
from tfrec_llm.cli.tune import tune
from tfrec_llm.errors import TfrecLlmError

INTERRUPTED = 130
_VERBS: tuple[tuple[Callable[..., None], str], ...] = (
    (train, "tfrec-llm train run.yaml --out runs/books --set train.epochs=3"),
    (evaluate, "tfrec-llm evaluate runs/books --baselines"),
    (export, "tfrec-llm export runs/books --out exports/books --index brute_force"),
    (recommend, 'tfrec-llm recommend exports/books --text "space opera" --history dune -k 5'),
    (recommend_all, "tfrec-llm recommend-all exports/books --users users.parquet --out lists"),
    (similar, "tfrec-llm similar exports/books dune -k 5"),
    (serve, "tfrec-llm serve exports/books --rest-port 8501 --grpc-port 8500"),
    (check, "tfrec-llm check exports/books"),
    (refresh, "tfrec-llm refresh exports/books --items items.csv --keep 2"),
    (encode, "tfrec-llm encode items.csv --encoder all_minilm_l6_v2_en --out vectors.parquet"),
    (shard, "tfrec-llm shard run.yaml --out shards/books --shards 16"),
    (tune, "tfrec-llm tune run.yaml --trials 30 --out studies/books"),
    (encoders, "tfrec-llm encoders --suggest --items 20000 --language en --device cpu"),
    (pretrain_encoder, "tfrec-llm pretrain-encoder texts.txt --out encoders/mine --dim 128"),
    (demo, "tfrec-llm demo --out runs/demo"),
    (doctor, "tfrec-llm doctor"),
)

app = typer.Typer(
    add_completion=False,
    context_settings={"help_option_names": ["-h", "--help"]},
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)
for _verb, _example in _VERBS:
    app.command(_verb.__name__.replace("_", "-"), epilog=f"\b\nExample:\n  {_example}")(_verb)


@app.callback(
    invoke_without_command=True,
    epilog="\b\nExample:\n  tfrec-llm demo --out runs/demo\n  tfrec-llm train --help",
)
def root(
    context: typer.Context,
    version: Annotated[bool, typer.Option("--version", help="Print the version.")] = False,
) -> None:
    """From tables of text about users and items to a recommender that can be served.

    Exit codes: 0 done, 1 failed, 2 bad input or usage.
    """
    if version:
        print(tfrec_llm.__version__)
    elif context.invoked_subcommand is None:
        print(context.get_help(), file=sys.stderr)
        raise typer.Exit(2)


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the command line.

    Args:
        arguments: the words after the program's name. Defaults to those of the process.

    Returns: the exit code: 0 done, 1 failed, 2 bad input or usage, 130 interrupted.
    """
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    arguments = list(sys.argv[1:] if arguments is None else arguments)
    try:
        result = app(arguments, standalone_mode=False, prog_name="tfrec-llm")
        sys.stdout.flush()
        code = result if isinstance(result, int) else 0
    except BrokenPipeError:  # the reader, such as `head`, has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
        return 1
    except KeyboardInterrupt:
        code = INTERRUPTED
    except Exception as error:
        if "--debug" in arguments:
            traceback.print_exc()
        code, paragraph = _told(error)
        print(paragraph, file=sys.stderr)
    if code == INTERRUPTED:
        print("Interrupted.", file=sys.stderr)
    return code


def _told(error: Exception) -> tuple[int, str]:
    """Returns the exit code of an error and the one paragraph that tells a person about it."""
    if isinstance(error, TfrecLlmError):
        return error.exit_code, f"Error: {error}"
    if hasattr(error, "format_message"):  # the parser's own
        return int(getattr(error, "exit_code", 2)), _usage(error)
    if isinstance(error, OSError):
        return _told_by_system(error)
    if isinstance(error, MemoryError):
        return 1, "Error: there is not enough memory. Use a smaller batch, or a larger machine."
    text = " ".join(f"{type(error).__name__}: {error}".split())
    return 1, (
        f"Internal error: {text[:500]}. This is a fault of tfrec-llm, not of your input; run again "
        "with --debug to see where it happened, and report that."
    )


def _usage(error: Any) -> str:
    context = getattr(error, "ctx", None)
    command = context.command_path if context is not None else "tfrec-llm"
    return f"Error: {error.format_message()} See: {command} --help"


def _told_by_system(error: OSError) -> tuple[int, str]:
    what = error.strerror or str(error)
    where = f": {error.filename}" if error.filename else ""
    if error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
        return 1, f"Error: {what}{where}. Make room there, or write to another disk."
    if error.errno in (errno.EACCES, errno.EPERM, errno.EROFS):
        return 1, f"Error: {what}{where}. Choose another place, or mend its permissions."
    by_caller = (FileNotFoundError, FileExistsError, IsADirectoryError, NotADirectoryError)
    return (2 if isinstance(error, by_caller) else 1), f"Error: {what}{where}."
