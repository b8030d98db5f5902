"""The page that goes with an export: what it is, what it was trained on, how to ask it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from tfrec_llm.serving.signatures import ALL_SIGNATURES, SIGNATURES


def model_card(
    facts: Mapping[str, Any],
    metadata: Mapping[str, Any],
    signatures: Iterable[str] = tuple(SIGNATURES),
) -> str:
    """Returns the card as Markdown.

    Args:
        facts: what the export itself knows, one line each.
        metadata: what the caller knows of data, training and figures: values by name; a mapping
            becomes a section of its own. Its `name`, if any, is the title.
        signatures: names of what the export answers. Defaults to what every export does.

    Example:
        >>> print(model_card({"items": 3}, {"name": "books", "data": {"users": 2}})[:37])
        # books
        <BLANKLINE>
        A recommender: it takes text
    """
    title = str(metadata.get("name", "Recommender"))
    parts = [
        f"# {title}",
        "A recommender: it takes text about a user and the ids of items they took before, and "
        "answers with the ids of items they may like. Written by tfrec_llm.",
        "## Export",
        _list(facts),
    ]
    simple = {k: v for k, v in metadata.items() if k != "name" and not isinstance(v, Mapping)}
    if simple:
        parts += ["## Model", _list(simple)]
    for name, value in metadata.items():
        if isinstance(value, Mapping) and value:
            parts += [f"## {name.replace('_', ' ').capitalize()}", _list(value)]
    parts += ["## Requests", _signature_table(signatures), _LIMITS]
    return "\n\n".join(parts) + "\n"


_LIMITS = """## Limits

- Items of the history and excluded items are never recommended; unknown ids are ignored.
- Where fewer items remain than were asked for, the id is empty and the score the lowest float32.
- To a user without text and without known history the most popular items are recommended.
- Scores are dot products (of two towers: cosines), not probabilities; they order the items of one
  answer. Those of `rank`, where there is one, are probabilities."""


def _list(values: Mapping[str, Any], indent: str = "") -> str:
    lines = []
    for name, value in values.items():
        if isinstance(value, Mapping):
            lines.append(f"{indent}- {name}:")
            lines.append(_list(value, indent + "  "))
        else:
            lines.append(f"{indent}- {name}: {_line(value)}")
    return "\n".join(line for line in lines if line)


def _line(value: Any) -> str:
    if isinstance(value, float):
        return f"{value:.4g}"
    if isinstance(value, list | tuple):
        return ", ".join(map(_line, value))
    return " ".join(str(value).split())


def _signature_table(signatures: Iterable[str]) -> str:
    rows = ["| signature | inputs | outputs |", "|---|---|---|"]
    for name in signatures:
        signature = ALL_SIGNATURES[name]
        inputs = ", ".join(f"`{key}`" for key in signature.inputs)
        outputs = ", ".join(f"`{key}`" for key in signature.outputs)
        rows.append(f"| `{name}` | {inputs} | {outputs} |")
    return "\n".join(rows)
