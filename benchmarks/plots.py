"""Three kinds of plot, as SVG files that are the same for the same figures."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

# Colours that stay apart for colour-blind readers (Okabe and Ito).
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#56B4E9", "#E69F00", "#000000")
MARKERS = "osD^vP*"

Point = tuple[float, float, float, float]  # x, y, lower end, upper end
Row = tuple[str, float, float, float]  # label, value, lower end, upper end


def line_plot(
    path: str | Path,
    series: Mapping[str, Sequence[Point]],
    *,
    title: str,
    x_label: str,
    y_label: str,
) -> Path:
    """Draws one line a series over a logarithmic x axis, with 95 % intervals, and returns the file.

    Ticks stand at the x values that occur.
    """
    pyplot = _pyplot()
    figure, axes = pyplot.subplots(figsize=(6.4, 4.2), layout="constrained")
    ticks = sorted({point[0] for points in series.values() for point in points})
    for number, (name, points) in enumerate(series.items()):
        x, y, low, high = (list(column) for column in zip(*sorted(points), strict=True))
        colour = COLOURS[number % len(COLOURS)]
        marker = MARKERS[number % len(MARKERS)]
        axes.plot(x, y, color=colour, marker=marker, markersize=4, label=name)
        axes.fill_between(x, low, high, color=colour, alpha=0.15, linewidth=0)
    axes.set_xscale("log")
    axes.set_xticks(ticks, [f"{tick:g}" for tick in ticks])
    axes.minorticks_off()
    axes.set_ylim(bottom=0)
    axes.set(title=title, xlabel=x_label, ylabel=y_label)
    axes.grid(alpha=0.3)
    axes.legend(frameon=False)
    return _write(figure, path)


def interval_plot(
    path: str | Path, groups: Mapping[str, Sequence[Row]], *, title: str, x_label: str
) -> Path:
    """Draws one interval a row, rows in named groups, a line at zero, and returns the file."""
    pyplot = _pyplot()
    num_lines = sum(len(rows) + 1 for rows in groups.values())
    height = 0.9 + 0.2 * max(num_lines, 1)
    figure, axes = pyplot.subplots(figsize=(6.4, height), layout="constrained")
    ticks, labels, place = [], [], 0
    for number, (group, rows) in enumerate(groups.items()):
        ticks.append(place)
        labels.append(group)
        place -= 1
        for label, value, low, high in rows:
            colour = COLOURS[number % len(COLOURS)]
            axes.plot([low, high], [place, place], color=colour, linewidth=1.5)
            axes.plot([value], [place], "o", color=colour, markersize=4)
            ticks.append(place)
            labels.append(f"{label}   ")
            place -= 1
    axes.axvline(0.0, color="black", linewidth=0.8)
    axes.set_yticks(ticks, labels)
    for tick, label in zip(axes.get_yticklabels(), labels, strict=True):
        if label in groups:
            tick.set_fontweight("bold")
    axes.tick_params(axis="y", length=0)
    axes.set_ylim(place + 0.3, 0.7)
    axes.set(title=title, xlabel=x_label)
    axes.grid(axis="x", alpha=0.3)
    return _write(figure, path)


def trade_off_plot(
    path: str | Path,
    panels: Mapping[str, Mapping[str, Sequence[Point]]],
    *,
    title: str,
    y_label: str,
) -> Path:
    """Draws one panel an x axis, one line a series in the order of its points, returns the file.

    Every point has its 95 % interval; the legend stands in a panel of its own.
    """
    pyplot = _pyplot()
    columns = 3
    rows = -(-(len(panels) + 1) // columns)
    figure, grid = pyplot.subplots(
        rows, columns, figsize=(9.6, 3.0 * rows), sharey=True, squeeze=False, layout="constrained"
    )
    for axes, (x_label, series) in zip(grid.flat, panels.items(), strict=False):
        for number, (name, points) in enumerate(series.items()):
            if not points:
                continue
            x, y, low, high = (list(column) for column in zip(*points, strict=True))
            colour = COLOURS[number % len(COLOURS)]
            marker = MARKERS[number % len(MARKERS)]
            axes.vlines(x, low, high, color=colour, alpha=0.3, linewidth=1)
            axes.plot(x, y, color=colour, marker=marker, markersize=4, label=name)
        axes.set(xlabel=x_label, ylim=(0, None))
        axes.grid(alpha=0.3)
    for row in grid:
        row[0].set_ylabel(y_label)
    for axes in grid.flat[len(panels) :]:
        axes.axis("off")
    grid.flat[len(panels)].legend(*grid.flat[0].get_legend_handles_labels(), frameon=False)
    figure.suptitle(title)
    return _write(figure, path)


def _pyplot() -> Any:
    # Not before something is drawn: figures and tables can be had without matplotlib.
    import matplotlib

    matplotlib.use("Agg")
    matplotlib.rcParams |= {"svg.hashsalt": "tfrec_llm", "svg.fonttype": "none", "font.size": 9}
    from matplotlib import pyplot

    return pyplot


def _write(figure: Any, path: str | Path) -> Path:
    pyplot = _pyplot()
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, format="svg", metadata={"Date": None, "Creator": None})
    pyplot.close(figure)
    return path
