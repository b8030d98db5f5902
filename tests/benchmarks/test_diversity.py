"""The benchmark of diversity: its grid, its figures, and the whole way on a small shop."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import diversity
import numpy as np
import plots
import pytest

from tfrec_llm.data.queries import Queries
from tfrec_llm.evaluation.ndcg import ndcg_at_k

NUM_ITEMS, NUM_QUERIES, WIDTH = 60, 40, 20


@pytest.fixture(scope="module")
def found() -> diversity.Candidates:
    generator = np.random.default_rng(0)
    numbers = np.array([generator.permutation(NUM_ITEMS)[:WIDTH] for _ in range(NUM_QUERIES)])
    numbers[-1, 6:] = -1  # a user who took nearly everything
    return diversity.Candidates(
        queries=Queries(
            user_ids=[f"u{n}" for n in range(NUM_QUERIES)],
            histories=[np.zeros(0, np.int32)] * NUM_QUERIES,
            texts=[""] * NUM_QUERIES,
            targets=numbers[:, 2].astype(np.int32),
            is_cold_user=np.zeros(NUM_QUERIES, bool),
        ),
        numbers=numbers,
        scores=-np.sort(generator.random((NUM_QUERIES, WIDTH)).astype(np.float32)),
        embeddings=generator.normal(size=(NUM_ITEMS, 4)).astype(np.float32),
        item_vectors=generator.normal(size=(NUM_ITEMS, 6)).astype(np.float32),
        counts=generator.integers(0, 50, NUM_ITEMS),
        categories=[None if n % 7 == 0 else "abc"[n % 3] for n in range(NUM_ITEMS)],
    )


@pytest.fixture(scope="module")
def results(found: diversity.Candidates) -> dict[tuple[str, str], dict[str, Any]]:
    return diversity.measure(found, diversity.grid(has_categories=True), samples=50)


def test_the_first_setting_leaves_the_lists_of_the_model_alone(
    found: diversity.Candidates, results: dict[tuple[str, str], dict[str, Any]]
) -> None:
    knobs = diversity.grid(has_categories=True)["none", ""]
    assert (diversity.lists_of(found, knobs) == found.numbers[:, : diversity.K]).all()
    plain = results["none", ""]
    third_place = ndcg_at_k(np.array([2]), 10)[0]
    assert plain["ndcg"][0] == pytest.approx(third_place) and plain["recall"][0] == 1.0
    assert plain["change"] == (0.0, 0.0, 0.0) and plain["short"] == 1


def test_each_knob_moves_the_figure_that_it_is_for(
    results: dict[tuple[str, str], dict[str, Any]],
) -> None:
    plain = results["none", ""]
    assert results["popularity penalty", "1"]["popularity"] < plain["popularity"]
    assert results["popularity penalty", "1"]["novelty"] > plain["novelty"]
    for knob in ("diversity, mmr", "diversity, dpp"):
        lost = results[knob, "0.9"]["change"]
        assert lost[1] < lost[0] < 0.0
        assert lost[0] == pytest.approx(results[knob, "0.9"]["ndcg"][0] - plain["ndcg"][0])
    assert results["max per category", "1"]["short"] > plain["short"]


def test_diverse_lists_are_less_alike_by_the_vectors_of_the_model(
    found: diversity.Candidates,
) -> None:
    judged = replace(found, item_vectors=found.embeddings)
    results = diversity.measure(judged, diversity.grid(has_categories=False), samples=5)
    assert not any(knob == "max per category" for knob, _ in results)
    for knob in ("diversity, mmr", "diversity, dpp"):
        assert results[knob, "0.9"]["distance"] > results["none", ""]["distance"] + 0.05


@pytest.mark.needs("matplotlib", "plots are drawn in the main environment")
def test_the_table_and_the_plot_have_every_setting(
    results: dict[tuple[str, str], dict[str, Any]], tmp_path: Path
) -> None:
    text = diversity.table(results)
    assert len([line for line in text.splitlines() if line.startswith("|")]) == len(results) + 2
    assert "| popularity penalty | 0.3 | ." in text and "Lists of fewer than 10 items" in text
    written = [
        diversity.plot(tmp_path / name / "a.svg", results, "shop").read_bytes() for name in "ab"
    ]
    assert written[0] == written[1]
    for label in (*diversity.BEYOND.values(), "diversity, dpp", "max per category"):
        assert label.encode() in written[0]


@pytest.mark.needs("matplotlib", "plots are drawn in the main environment")
def test_a_trade_off_plot_leaves_out_what_has_no_points(tmp_path: Path) -> None:
    panels = {"x": {"empty": [], "full": [(0.1, 0.2, 0.1, 0.3)]}}
    drawn = plots.trade_off_plot(tmp_path / "a.svg", panels, title="t", y_label="y").read_bytes()
    assert b"full" in drawn and b"empty" not in drawn


def test_a_run_that_is_not_there_is_one_line_and_exit_code_2(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert diversity.main([str(tmp_path / "nix"), "--out", str(tmp_path / "a.md")]) == 2
    assert "no run folder" in capsys.readouterr().err
    assert not (tmp_path / "a.md").exists()


@pytest.mark.slow
@pytest.mark.needs("matplotlib", "plots are drawn in the main environment")
def test_the_benchmark_runs_on_a_small_shop_and_agrees_with_the_evaluation(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from tfrec_llm.config.load import load_config
    from tfrec_llm.testing.small_tables import small_tables
    from tfrec_llm.testing.tiny_models import tiny_preset
    from tfrec_llm.workflows.evaluate import evaluate
    from tfrec_llm.workflows.train import train

    monkeypatch.setenv("TFREC_LLM_CACHE", str(tmp_path / "cache"))
    tables = small_tables(tmp_path / "tables")
    config = tmp_path / "run.yaml"
    config.write_text(
        f"data: {{items: {tables}/items.csv, interactions: {tables}/interactions.csv}}\n"
        f"encoder: {{preset: {tiny_preset(tmp_path / 'preset')}}}\ntext: {{max_tokens: 8}}\n"
        "towers: {embedding_dim: 8, history: mean, text_start_share: 1.0}\n"
        "train: {epochs: 1, refit: false}\nevaluate: {bootstrap_samples: 20, max_users: 30}\n"
    )
    run, out = tmp_path / "run", tmp_path / "out" / "diversity.md"
    train(load_config(config), run)
    arguments = [str(run), "--out", str(out), "--categories", f"{tables}/items.csv:title"]
    assert diversity.main(arguments) == 2
    assert "was not evaluated" in capsys.readouterr().err
    metrics = evaluate(run)
    assert diversity.main(arguments) == 0
    ndcg = f"{metrics['models']['two_tower']['all']['ndcg@10']:.4f}"
    text = out.read_text()
    assert f"| none |  | {ndcg[1:]} (" in text
    assert out.with_suffix(".svg").is_file() and "| max per category | 1 |" in text
    (run / "metrics.json").write_text((run / "metrics.json").read_text().replace(ndcg, "0.1"))
    assert diversity.main(arguments) == 1
    assert "in metrics.json" in capsys.readouterr().err
