"""metrics.json as one HTML file that needs nothing else."""

from __future__ import annotations

from collections.abc import Mapping
from html import escape
from pathlib import Path
from typing import Any

from tfrec_llm.evaluation.report_layout import Column, best_of, columns_of, slices_of, title_of
from tfrec_llm.files import atomic_file

_STYLE = """
:root{color-scheme:light dark;--ink:#1b1f24;--soft:#5d6671;--line:#dfe3e8;--page:#fff;
--band:#f5f7f9;--bar:#cfe0f5;--mark:#2f6db5}
@media (prefers-color-scheme:dark){:root{--ink:#e6e9ed;--soft:#9aa4af;--line:#333b44;
--page:#15191e;--band:#1d232a;--bar:#28466a;--mark:#7fb2ee}}
*{box-sizing:border-box}
body{margin:0 auto;max-width:76rem;padding:2.5rem 1.25rem 4rem;background:var(--page);
color:var(--ink);font:15px/1.5 system-ui,-apple-system,"Segoe UI",Roboto,"Noto Sans",sans-serif}
h1{font-size:1.7rem;margin:0 0 .25rem;line-height:1.2}h2{font-size:1.1rem;margin:2.5rem 0 .6rem}
p{max-width:48rem;margin:.4rem 0}.soft,caption,.ends{color:var(--soft)}
.wide{overflow-x:auto;border:1px solid var(--line);border-radius:8px}
table{border-collapse:collapse;width:100%;font-variant-numeric:tabular-nums}
th,td{padding:.5rem .8rem;text-align:right;white-space:nowrap;border-bottom:1px solid var(--line)}
th{font-weight:600;background:var(--band);color:var(--soft);font-size:.85rem}
th:first-child,td:first-child{text-align:left}
tbody th{background:none;color:var(--ink);font-size:1em}
tbody tr:last-child>*{border-bottom:0}.best{font-weight:700;color:var(--mark)}
.ends{display:block;font-size:.8rem}.track{display:block;height:6px;margin-top:.25rem;min-width:7rem;
border-radius:3px;background:var(--band);position:relative}
.track i{position:absolute;top:0;bottom:0;border-radius:3px;background:var(--bar)}
.track b{position:absolute;top:-2px;bottom:-2px;width:2px;background:var(--mark)}
dl{display:grid;grid-template-columns:max-content 1fr;gap:.25rem 1.5rem;margin:.5rem 0}
dt{color:var(--soft)}dd{margin:0;overflow-wrap:anywhere}code{font-size:.9em}
details{margin-top:1rem}summary{cursor:pointer}
"""


def report_html(metrics: Mapping[str, Any], *, title: str = "Evaluation report") -> str:
    """Returns metrics.json as a page for people: no scripts, nothing loaded from elsewhere.

    Args:
        metrics: see `build_metrics`.
        title: str, the heading.

    Returns: str, a whole HTML document; every text in it is escaped.

    Example:
        >>> page = report_html({"models": {"<b>": {"all": {"users": 1, "queries": 1, "mrr": 0.5}}}})
        >>> "&lt;b&gt;" in page, "<b>" in page.split("</style>")[1]
        (True, False)
    """
    models: Mapping[str, Any] = metrics["models"]
    sections = [_facts(metrics)]
    sections += [_slice_section(models, name) for name in slices_of(models)]
    sections += [_settings_section(models), _legend(), _versions_section(metrics)]
    return (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width,initial-scale=1">'
        f"<title>{escape(title)}</title><style>{_STYLE}</style></head>\n<body>\n"
        f"<h1>{escape(title)}</h1>\n" + "\n".join(s for s in sections if s) + "\n</body></html>\n"
    )


def write_report_html(
    path: str | Path, metrics: Mapping[str, Any], *, title: str = "Evaluation report"
) -> None:
    """Writes the page of `report_html` whole or not at all.

    Args:
        path: the file.
        metrics: see `build_metrics`.
        title: str, the heading.

    Example:
        >>> import tempfile
        >>> path = Path(tempfile.mkdtemp()) / "report.html"
        >>> write_report_html(path, {"models": {}})
        >>> path.read_text(encoding="utf-8")[:15]
        '<!doctype html>'
    """
    with atomic_file(path) as temporary:
        temporary.write_text(report_html(metrics, title=title), encoding="utf-8")


def _facts(metrics: Mapping[str, Any]) -> str:
    facts: dict[str, Any] = {}
    for key, value in (metrics.get("data") or {}).items():
        facts[key] = f"{value:,}" if isinstance(value, int) else value
    facts |= metrics.get("protocol") or {}
    if "seed" in metrics:
        facts["seed"] = metrics["seed"]
    return _definitions(facts)


def _slice_section(models: Mapping[str, Any], slice_name: str) -> str:
    columns = columns_of(models, slice_name)
    best = {column.metric: best_of(models, slice_name, column) for column in columns}
    scale = {column.metric: _highest_end(models, slice_name, column) for column in columns}
    head = "".join(f'<th scope="col">{escape(column.metric)}</th>' for column in columns)
    rows = []
    for model, slices in models.items():
        part = slices.get(slice_name) or {}
        cells = "".join(
            _cell(part, column, model in best[column.metric], scale[column.metric])
            for column in columns
        )
        rows.append(f'<tr><th scope="row">{escape(model)}</th>{cells}</tr>')
    return (
        f"<h2>{escape(title_of(models, slice_name))}</h2>\n"
        f'<div class="wide"><table><thead><tr><th scope="col">model</th>{head}</tr></thead>\n'
        "<tbody>" + "\n".join(rows) + "</tbody></table></div>"
    )


def _cell(part: Mapping[str, Any], column: Column, is_best: bool, scale: float) -> str:
    value = part.get(column.metric)
    text = escape(column.format(value))
    text = f'<span class="best">{text}</span>' if is_best else text
    ends = part.get(f"{column.metric}_ci95") if column.has_interval else None
    if value is None or not ends:
        return f"<td>{text}</td>"
    low, high, middle = (100.0 * place / scale for place in (*ends, value))
    return (
        f'<td>{text}<span class="ends">{escape(column.format_interval(ends))}</span>'
        f'<span class="track"><i style="left:{low:.1f}%;width:{max(high - low, 0.0):.1f}%"></i>'
        f'<b style="left:{middle:.1f}%"></b></span></td>'
    )


def _highest_end(models: Mapping[str, Any], slice_name: str, column: Column) -> float:
    """Returns where the scale of a column's bars ends: a little above its highest interval."""
    parts = [slices.get(slice_name) or {} for slices in models.values()]
    ends = [(part.get(f"{column.metric}_ci95") or [0.0])[-1] for part in parts]
    return 1.02 * max(ends, default=0.0) or 1.0


def _settings_section(models: Mapping[str, Any]) -> str:
    rows = []
    for model, slices in models.items():
        for key, value in (slices.get("settings") or {}).items():
            rows.append(
                f'<tr><th scope="row">{escape(model)}</th>'
                f"<td>{escape(str(key))}</td><td>{escape(str(value))}</td></tr>"
            )
    if not rows:
        return ""
    return (
        "<h2>Settings chosen on the validation set</h2>\n"
        '<div class="wide"><table><thead><tr><th scope="col">model</th><th scope="col">setting</th>'
        '<th scope="col">value</th></tr></thead>\n<tbody>'
        + "\n".join(rows)
        + "</tbody></table></div>"
    )


def _legend() -> str:
    return (
        "<h2>How to read this</h2>\n"
        "<p>Each query ranks the whole corpus without the user&#39;s own history; "
        "the target is the one item the user took next. Recall@k is the share of queries whose "
        "target is among the first k; NDCG@k also rewards a high place; MRR is the mean of "
        "1 / place. Small figures beside are 95&nbsp;% bootstrap intervals over users, drawn as "
        "a bar with the measured value as a line.</p>\n"
        "<p>Coverage@k is the share of the corpus that anybody is shown; gini@k how unequally the "
        "places are spread over it (0 = equally); intra-list distance@k the mean of 1 &minus; "
        "cosine over the pairs of a list, by their texts; novelty@k the mean "
        "surprise of what is shown, in bits; popularity bias@k how many times more popular it is "
        "than what users chose themselves (1 = equal). &ldquo;Among cold&rdquo; ranks the cold "
        "items alone. A dash is a figure that is not defined there.</p>"
    )


def _versions_section(metrics: Mapping[str, Any]) -> str:
    versions = metrics.get("versions") or {}
    if not versions:
        return ""
    return f"<details><summary>Versions</summary>{_definitions(versions)}</details>"


def _definitions(facts: Mapping[str, Any]) -> str:
    pairs = "".join(
        f"<dt>{escape(str(key).replace('_', ' '))}</dt><dd>{escape(str(value))}</dd>"
        for key, value in facts.items()
    )
    return f"<dl>{pairs}</dl>" if pairs else ""
