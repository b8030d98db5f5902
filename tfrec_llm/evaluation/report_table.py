"""metrics.json as tables for a terminal."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from rich.console import Group, RenderableType
from rich.markup import escape
from rich.table import Table
from rich.text import Text

from tfrec_llm.evaluation.report_layout import Column, best_of, columns_of, slices_of, title_of


def metrics_tables(metrics: Mapping[str, Any]) -> RenderableType:
    """Returns a table for each slice that has queries: models in rows, the best figures bold.

    Args:
        metrics: see `build_metrics`.

    Returns: something that rich prints.

    Example:
        >>> from rich.console import Console
        >>> part = {"users": 2, "queries": 2, "recall@10": 0.5, "recall@10_ci95": [0.0, 1.0]}
        >>> Console(width=60).print(metrics_tables({"models": {"mine": {"all": part}}}))
        All queries (2 users, 2 queries)
        ┏━━━━━━━┳━━━━━━━━━━━━━━━━━━━┓
        ┃ model ┃         recall@10 ┃
        ┡━━━━━━━╇━━━━━━━━━━━━━━━━━━━┩
        │ mine  │ .5000 .0000–1.000 │
        └───────┴───────────────────┘
    """
    models: Mapping[str, Any] = metrics["models"]
    parts: list[RenderableType] = []
    for name in slices_of(models):
        parts += [Text(title_of(models, name), style="bold"), _slice_table(models, name)]
    if metrics.get("ranking"):
        parts += [Text("Rankers on labelled pairs", style="bold"), _ranking_table(metrics)]
    return Group(*parts)


def _ranking_table(metrics: Mapping[str, Any]) -> Table:
    table = Table()
    for name in ("ranker", "negatives", "AUC", "log loss", "accuracy", "calibration error"):
        table.add_column(name, justify="left" if name in ("ranker", "negatives") else "right")
    for ranker, kinds in metrics["ranking"].items():
        for kind, figures in kinds.items() if isinstance(kinds, Mapping) else ():
            if isinstance(figures, Mapping) and "auc" in figures:
                keys = ("auc", "log_loss", "accuracy", "expected_calibration_error")
                cells = [f"{figures[key]:.4f}" for key in keys]
                table.add_row(escape(ranker), kind.removesuffix("_negatives"), *cells)
    return table


def _slice_table(models: Mapping[str, Any], slice_name: str) -> Table:
    columns = columns_of(models, slice_name, only_main=True)
    table = Table()
    table.add_column("model", overflow="fold")
    for column in columns:
        table.add_column(column.metric, justify="right")
    best = {column.metric: best_of(models, slice_name, column) for column in columns}
    for model, slices in models.items():
        part = slices.get(slice_name) or {}
        cells = [_cell(part, column, model in best[column.metric]) for column in columns]
        table.add_row(escape(model), *cells)
    return table


def _cell(part: Mapping[str, Any], column: Column, is_best: bool) -> str:
    value = column.format(part.get(column.metric))
    interval = column.format_interval(part.get(f"{column.metric}_ci95"))
    text = f"[bold]{value}[/bold]" if is_best else value
    return f"{text} [dim]{interval}[/dim]" if interval else text
