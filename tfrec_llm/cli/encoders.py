"""`tfrec-llm encoders`."""

from __future__ import annotations

from enum import Enum
from typing import Annotated, Any

import typer

from tfrec_llm.cli import output
from tfrec_llm.cli.options import Debug, Json
from tfrec_llm.errors import UsageError


class Language(str, Enum):
    """What the texts are written in."""

    en = "en"
    zh = "zh"
    multi = "multi"


class Device(str, Enum):
    """What computes."""

    cpu = "cpu"
    gpu = "gpu"


class Task(str, Enum):
    """What the vectors are for."""

    retrieval = "retrieval"
    ranking = "ranking"


def encoders(
    suggest: Annotated[
        bool, typer.Option("--suggest", help="Suggest one, with reasons; needs --items.")
    ] = False,
    items: Annotated[
        int | None, typer.Option(min=1, metavar="N", help="How many texts there are to encode.")
    ] = None,
    language: Annotated[
        Language | None, typer.Option(help="What the texts are written in; en if not given.")
    ] = None,
    device: Annotated[Device, typer.Option(help="What computes.")] = Device.cpu,
    task: Annotated[Task, typer.Option(help="What the vectors are for.")] = Task.retrieval,
    minutes: Annotated[
        float, typer.Option(metavar="M", help="How long encoding all items once may take.")
    ] = 30.0,
    as_json: Json = False,
    debug: Debug = False,
) -> None:
    """List language models, or suggest one.

    Without --suggest: the presets of keras-nlp that can be an encoder; --language leaves out those
    that do not read it, and those that need a newer keras-nlp than is installed are marked. The
    model in use is named in encoder.preset of a run.
    """
    from tfrec_llm.workflows import encoders as workflow

    if suggest:
        if items is None:
            raise UsageError("--suggest needs --items, the number of texts to encode.")
        spoken: Any = language.value if language is not None else "en"
        found = workflow.suggest(items, spoken, device.value, task=task.value, minutes=minutes)
        if as_json:
            output.print_json(found)
        else:
            output.print_lines(*_as_lines(found))
        return
    if items is not None:
        raise UsageError("--items is of use with --suggest alone. Add --suggest.")
    models = workflow.list_encoders()
    if language is not None:
        models = [m for m in models if {language.value, "multi"} & set(m["languages"])]
    if as_json:
        output.print_json({"encoders": models})
    else:
        output.print_rich(_as_table(models))


def _as_lines(found: dict[str, Any]) -> list[str]:
    lines = [f"encoder.preset: {found['encoder']['name']}"]
    lines += [f"encoder.pooling: {found['encoder']['pooling']}", ""]
    lines += ["why:", *(f"  {sentence}" for sentence in found["reasons"])]
    if found["changes"]:
        lines += ["", "what would change it:", *(f"  {line}" for line in found["changes"])]
    return lines


def _as_table(models: list[dict[str, Any]]) -> Any:
    from rich.table import Table
    from rich.text import Text

    caption = (
        "texts/s: two cores, float32, texts of 36 tokens; ~ estimated from the work of a token. "
        "* can be had here without a network."
    )
    if not all(model["usable"] for model in models):
        caption += " (0.30) needs keras-nlp 0.30 or newer, which is not installed here."
    table = Table(caption=caption, caption_justify="left")
    right = ("M", "dim", "MB", "texts/s")
    for heading in ("name", "family", "M", "dim", "reads", "licence", "MB", "texts/s", "good for"):
        justify: Any = "right" if heading in right else "left"
        table.add_column(heading, justify=justify, no_wrap=heading in (*right, "name"))
    for model in models:
        cells = (
            model["name"] + _mark(model),
            model["family"],
            f"{model['parameters_millions']:.0f}",
            str(model["dim"]),
            " ".join(model["languages"]),
            model["licence"],
            f"{model['memory_mb']:.0f}",
            ("~" if model["rate"] == "estimated" else "") + f"{model['texts_per_second']:.0f}",
            model["good_for"],
        )
        table.add_row(*map(Text, cells))
    return table


def _mark(model: dict[str, Any]) -> str:
    if not model["usable"]:
        return f" ({model['since']})"
    return "*" if model["at_hand"] else ""
