"""metrics.json, the rankings table, and what people read."""

from __future__ import annotations

import html.parser
import io
import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
from rich.console import Console

from tfrec_llm.data.catalogue import Catalogue
from tfrec_llm.data.queries import Queries
from tfrec_llm.evaluation.report import build_metrics, rankings_frame, write_metrics
from tfrec_llm.evaluation.report_html import report_html, write_report_html
from tfrec_llm.evaluation.report_table import metrics_tables
from tfrec_llm.evaluation.retrieval_evaluator import ModelResult, evaluate_model

MakeQueries = Callable[..., Queries]
MakeCatalogue = Callable[..., Catalogue]
NOTHING = np.zeros((0, 100), np.int32)
WHAT = {"data": {"users": 3, "items": 5, "interactions": 9, "sha256": "ab"}, "seed": 7}


@pytest.fixture
def evaluated(
    make_queries: MakeQueries, make_catalogue: MakeCatalogue, fixed_scores: Any
) -> tuple[list[ModelResult], Queries, Catalogue]:
    generator = np.random.default_rng(0)
    catalogue = make_catalogue([f"i{n}" for n in range(149)] + ["<b>&\"'"])
    queries = make_queries(
        generator.integers(0, 75, 20), generator.integers(75, 150, (20, 4)), cold=[True] * 20
    )
    counts = generator.integers(0, 6, 150)
    scores = generator.random((20, 150), dtype=np.float32)
    scores[np.arange(20), queries.targets] += 0.45
    results = [
        evaluate_model(
            fixed_scores(scores, name),
            queries,
            catalogue,
            counts,
            bootstrap_samples=20,
        )
        for name in ("mine", "<script>alert(1)</script>")
    ]
    return results, queries, catalogue


def _metrics(results: list[ModelResult], **more: Any) -> dict[str, Any]:
    return build_metrics(
        results, protocol={"protocol": "leave_one_out"}, versions={"numpy": "2"}, **WHAT, **more
    )


def test_the_object_has_the_agreed_keys(evaluated: Any) -> None:
    metrics = _metrics(evaluated[0], settings={"mine": {"decay": 0.6}})
    assert list(metrics) == ["format", "data", "protocol", "seed", "versions", "models"]
    assert metrics["format"] == 1
    mine = metrics["models"]["mine"]
    assert list(mine) == ["all", "cold_items", "tail_items", "cold_users", "settings"]
    assert {"users", "recall@10", "recall@10_ci95", "ndcg@10", "recall@100", "coverage@10"} <= set(
        mine["all"]
    )
    assert mine["settings"] == {"decay": 0.6}
    assert "settings" not in metrics["models"]["<script>alert(1)</script>"]


def test_the_file_is_plain_json_and_reads_back(evaluated: Any, tmp_path: Path) -> None:
    metrics = _metrics(evaluated[0])
    write_metrics(tmp_path / "metrics.json", metrics)
    text = (tmp_path / "metrics.json").read_text(encoding="utf-8")
    assert json.loads(text) == metrics
    assert "NaN" not in text and "Infinity" not in text
    assert [path.name for path in tmp_path.iterdir()] == ["metrics.json"]


def test_numpy_values_become_json_and_undefined_ones_null() -> None:
    part = {
        "users": np.int64(2),
        "mrr": np.float32(0.5),
        "novelty@10": float("nan"),
        "flag": np.bool_(True),
        "path": Path("a"),
        "list": np.array([1, 2]),
        "none": None,
    }
    metrics = _metrics([ModelResult("mine", {"all": part}, NOTHING, NOTHING)])
    assert metrics["models"]["mine"]["all"] == {
        "users": 2,
        "mrr": 0.5,
        "novelty@10": None,
        "flag": True,
        "path": "a",
        "list": [1, 2],
        "none": None,
    }
    json.dumps(metrics, allow_nan=False)


def test_two_models_of_one_name_are_refused() -> None:
    results = [ModelResult("mine", {}, NOTHING, NOTHING)] * 2
    with pytest.raises(ValueError, match="two models are called 'mine'"):
        _metrics(results)


def test_metrics_can_be_computed_again_from_the_rankings(evaluated: Any, tmp_path: Path) -> None:
    results, queries, catalogue = evaluated
    rankings_frame(results, queries, catalogue).write_parquet(tmp_path / "rankings.parquet")
    models = _metrics(results)["models"]
    for (name,), rows in pl.read_parquet(tmp_path / "rankings.parquet").group_by("model"):
        places = [
            listed.index(target) if target in listed else None
            for listed, target in zip(
                rows["item_ids"].to_list(), rows["target_item_id"], strict=True
            )
        ]
        hits = [place for place in places if place is not None and place < 10]
        gain = sum(1 / math.log2(place + 2) for place in hits)
        assert models[name]["all"]["recall@10"] == pytest.approx(len(hits) / 20, abs=1e-6)
        assert models[name]["all"]["ndcg@10"] == pytest.approx(gain / 20, abs=1e-6)
        assert hits  # the check would pass on empty lists


def test_rankings_hold_strings_best_first_up_to_100(evaluated: Any) -> None:
    results, queries, catalogue = evaluated
    frame = rankings_frame(results, queries, catalogue)
    assert frame.schema == {
        "model": pl.String,
        "user_id": pl.String,
        "target_item_id": pl.String,
        "item_ids": pl.List(pl.String),
    }
    assert frame.height == 40
    assert frame["item_ids"].list.len().to_list() == [100] * 40
    first = results[0].lists[0]
    assert frame["item_ids"][0].to_list() == [catalogue.item_ids[i] for i in first]


def test_short_and_empty_lists_are_short_and_empty(
    make_queries: MakeQueries, make_catalogue: MakeCatalogue
) -> None:
    lists = np.array([[1, -1], [-1, -1], [0, 1]], np.int32)
    result = ModelResult("mine", {}, lists, np.zeros(3))
    frame = rankings_frame([result], make_queries([0, 1, 0]), make_catalogue(2))
    assert frame["item_ids"].to_list() == [["i1"], [], ["i0", "i1"]]


def test_no_models_and_no_queries_give_an_empty_table(
    make_queries: MakeQueries, make_catalogue: MakeCatalogue
) -> None:
    result = ModelResult("mine", {}, NOTHING, np.zeros(0))
    for results in ([], [result]):
        frame = rankings_frame(results, make_queries([]), make_catalogue(2))
        assert frame.height == 0 and frame.schema["item_ids"] == pl.List(pl.String)


def test_the_terminal_shows_each_slice_that_has_queries(evaluated: Any) -> None:
    stream = io.StringIO()
    metrics = _metrics(evaluated[0])
    metrics["models"]["mine"]["tail_items"] = {"users": 0, "queries": 0}
    metrics["models"]["<script>alert(1)</script>"]["tail_items"] = {"users": 0, "queries": 0}
    Console(file=stream, width=140).print(metrics_tables(metrics))
    shown = stream.getvalue()
    assert "All queries (20 users, 20 queries)" in shown and "Cold users" in shown
    assert "Tail items" not in shown
    figure = metrics["models"]["mine"]["all"]["recall@10"]
    assert f"{figure:.4f}"[1:] in shown


def test_markup_in_the_name_of_a_model_is_shown_as_it_is() -> None:
    stream = io.StringIO()
    part = {"users": 1, "queries": 1, "mrr": None, "recall@10": 0.5}
    Console(file=stream, width=80).print(
        metrics_tables({"models": {"[red]x[/red]": {"all": part}}})
    )
    assert "[red]x[/red]" in stream.getvalue()


class _Page(html.parser.HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.seen: list[str] = []
        self.links: list[str] = []
        self.text = ""

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.seen.append(tag)
        self.links += [f"{key}={value}" for key, value in attrs if key in ("src", "href", "onload")]
        if tag not in ("meta", "br"):
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text += data


def test_the_page_is_well_formed_escaped_and_needs_nothing_else(
    evaluated: Any, tmp_path: Path
) -> None:
    metrics = _metrics(evaluated[0], settings={"mine": {"<i>": "</td>"}})
    metrics["data"]["name"] = "<img src=x onerror=alert(1)>"
    write_report_html(tmp_path / "report.html", metrics, title="<u>Report</u>")
    text = (tmp_path / "report.html").read_text(encoding="utf-8")
    page = _Page()
    page.feed(text)
    assert page.open == [] and page.links == []
    assert not {"script", "img", "link", "u", "i2", "iframe"} & set(page.seen)
    assert "url(" not in text and "@import" not in text
    for shown in ("<script>alert(1)</script>", "<img src=x", "<u>Report</u>", "</td>", "<i>"):
        assert shown in page.text


def test_undefined_figures_are_dashes_on_the_page() -> None:
    part = {"users": 1, "queries": 1, "recall@10": 0.25, "popularity_bias@10": None}
    page = report_html({"models": {"mine": {"all": part, "cold_items": {"queries": 0}}}})
    assert "<td>–</td>" in page and ">.2500<" in page and "None" not in page
    assert "Cold items:" not in page
