"""Prints the metrics of runs as the Markdown tables of README.md: RUN [RUN …]."""

from __future__ import annotations

import json
import sys
from pathlib import Path

COLUMNS = ("recall@10", "ndcg@10", "recall@100", "coverage@10")
SLICES = {
    "all": "all",
    "tail_items": "tail items",
    "cold_items": "cold items",
    "cold_users": "cold users",
}


def figure(value: float | None, interval: list[float] | None) -> str:
    """Returns a metric with its 95 % interval."""
    if value is None:
        return "–"
    ends = f" ({interval[0]:.4f}–{interval[1]:.4f})" if interval else ""
    return f"{value:.4f}{ends}".replace("0.", ".")


def table(run: Path) -> str:
    """Returns one run as Markdown."""
    metrics = json.loads((run / "metrics.json").read_text())
    data, protocol = metrics["data"], metrics["protocol"]
    lines = [
        f"**{data['name']}**: {data['users']} users, {data['items']} items, "
        f"{data['interactions']} interactions, sha256 of the tables `{data['sha256'][:16]}…`, seed "
        f"{metrics['seed']}, split {protocol['split']}, {protocol['test_queries']} test cases, "
        f"fitted on {protocol['fitted_on']}.",
    ]
    for key, title in SLICES.items():
        rows = {name: parts.get(key, {}) for name, parts in metrics["models"].items()}
        queries = max(row.get("queries", 0) for row in rows.values())
        if not queries:
            continue
        columns = [c for c in COLUMNS if key != "cold_items" or "coverage" not in c]
        if key == "cold_items":
            columns.append("recall@10_among_cold")
        lines += ["", f"| {title} ({queries}) | " + " | ".join(columns) + " |"]
        lines.append("|---" * (len(columns) + 1) + "|")
        for name, row in rows.items():
            cells = [
                figure(row.get(c), row.get(f"{c}_ci95") if "@10" in c else None) for c in columns
            ]
            lines.append(f"| {name} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


if __name__ == "__main__":
    if len(sys.argv) < 2:
        sys.exit("usage: quality_table.py RUN [RUN …], each a run that was evaluated")
    print("\n\n".join(table(Path(run)) for run in sys.argv[1:]))
