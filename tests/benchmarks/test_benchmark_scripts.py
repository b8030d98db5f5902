from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import ablation
import cell_figures
import cells
import numpy as np
import plots
import pytest
import sparsity
from cell import Cell

from tfrec_llm.errors import UsageError
from tfrec_llm.evaluation.ndcg import ndcg_at_k


def result(places: list[int], name: str = "cell", seed: int = 7, **changes: Any) -> dict[str, Any]:
    return {
        "name": name,
        "overrides": ["train.epochs=6"],
        "model": "trained",
        "seed": seed,
        "seconds": 90.0,
        "data": {"name": "shop", "users": 3, "items": 9, "interactions": 20, "sha256": "a" * 64},
        "protocol": {"split": "leave_one_out", "test_queries": len(places)},
        "cases_sha256": "same",
        "users": list(range(len(places))),
        "places": places,
        **changes,
    }


# Cells


def test_every_cell_of_both_benchmarks_has_its_own_name_and_a_sound_configuration() -> None:
    made = sparsity.make_cells(["movielens", "microlens"], [1.0, 0.05], [7, 8], augmented=True)
    factors = ablation.factors(None, "random_weights")
    of_ablation = ablation.make_cells(["movielens"], list(ablation.PROTOCOLS), 7, factors)
    unique = {cell.name: cell for cell in of_ablation.values()}
    assert len({cell.name for cell in made}) == len(made) == 2 * 2 * 2 * 6
    assert len(unique) == 2 * (1 + 2 + 9 + 1 + 7 + 3 + 2 + 6)
    for cell in [*made, *unique.values()]:
        assert cell.load().train.seed in (7, 8)
        assert "/" not in cell.name


def test_a_setting_that_changes_nothing_is_the_default_cell() -> None:
    factors = ablation.factors("folder", "random_weights")
    made = ablation.make_cells(["movielens"], ["cold_items"], 7, factors)
    default = made["movielens", "cold_items", "default", "default"]
    for factor, setting in (
        ("cleaning", "none"),
        ("pooling", "mean"),
        ("encoder", "all_minilm_l6_v2_en"),
        ("encoding", "language_model"),
        ("model", "two_tower"),
    ):
        assert made["movielens", "cold_items", factor, setting] == default
    pretrained = made["movielens", "cold_items", "encoder", "pretrained_on_corpus"]
    assert "encoder.preset=folder" in pretrained.overrides


def test_only_takes_names_parts_and_patterns_and_refuses_what_is_not_there() -> None:
    made = sparsity.make_cells(["movielens", "microlens"], [1.0, 0.05], [7])
    assert len(cells.chosen(made, ["microlens"])) == 8
    assert len(cells.chosen(made, ["movielens.*.share-1.seed-7", "nothing*", "knn"][:1])) == 4
    assert cells.chosen(made, []) == made
    with pytest.raises(UsageError, match="--only nix"):
        cells.chosen(made, ["nix"])


def test_a_finished_cell_is_not_measured_again_and_a_failing_one_stops_no_other(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[str] = []

    def measure(cell: Cell, out: Path, progress: Any) -> dict[str, Any]:
        asked.append(cell.name)
        if cell.name == "b":
            raise NotImplementedError("no such feature yet")
        return {
            "overrides": list(cell.overrides),
            "model": cell.model,
            "metrics": {"all": {"ndcg@10": 0.5}},
        }

    monkeypatch.setattr(cells, "measure", measure)
    made = [Cell(name, "movielens", ("train.seed=7",)) for name in "abc"]
    for _ in range(2):
        failed = cells.run_cells(made, tmp_path, say=lambda text: None)
        assert failed == {"b": "NotImplementedError: no such feature yet"}
    assert asked == ["a", "b", "c", "b"]
    assert sorted(p.name for p in tmp_path.glob("*.json")) == ["a.json", "c.json"]
    assert cells.exit_with(failed) == 1 and cells.exit_with({}) == 0


def test_a_cell_measured_with_other_settings_is_refused(tmp_path: Path) -> None:
    cell = Cell("a", "movielens", ("train.seed=7",))
    assert cells.read_cell(cell, tmp_path) is None
    stored = {"overrides": ["train.seed=8"], "model": "trained"}
    (tmp_path / "a.json").write_text(json.dumps(stored))
    with pytest.raises(UsageError, match="measured with other settings"):
        cells.read_cell(cell, tmp_path)


def test_settings_of_a_cell_count_in_whatever_order_they_are_given(tmp_path: Path) -> None:
    stored = {"overrides": ["train.epochs=3", "train.seed=9", "train.seed=7"], "model": "trained"}
    (tmp_path / "a.json").write_text(json.dumps(stored))
    cell = Cell("a", "movielens", ("train.seed=7", "train.epochs=3"))
    assert cells.read_cell(cell, tmp_path) == stored


# Figures


def test_a_difference_is_paired_and_needs_the_same_cases() -> None:
    generator = np.random.default_rng(0)
    places = generator.integers(-1, 30, size=200).tolist()
    better = [max(place - 1, 0) if place >= 0 else -1 for place in places]
    ours, theirs = result(better), result(places)
    mean, low, high = cell_figures.difference_with_interval([ours], [theirs], "ndcg@10")
    wanted = ndcg_at_k(np.array(better), 10) - ndcg_at_k(np.array(places), 10)
    assert mean == pytest.approx(wanted.mean()) and 0 < low < mean < high
    assert ablation.verdict((mean, low, high)) == "helps"
    assert ablation.verdict((-mean, -high, -low)) == "hurts"
    assert ablation.verdict((0.0, -0.1, 0.1)) == "open"
    apart = cell_figures.mean_with_interval([ours], "ndcg@10")
    assert high - low < apart[2] - apart[1]
    with pytest.raises(UsageError, match="different test cases"):
        cell_figures.difference_with_interval([ours], [result(places, cases_sha256="x")], "ndcg@10")


def test_results_of_other_tables_are_not_put_together() -> None:
    other = result([0], data={**result([0])["data"], "sha256": "b" * 64})
    with pytest.raises(UsageError, match="different tables"):
        cell_figures.about([result([0]), other])


def test_the_table_of_sparsity_has_intervals_data_and_differences() -> None:
    results = {
        (1.0, "features_and_ids"): [result([0, 0, 1])],
        (0.1, "features_and_ids"): [result([0, 3, 5], seed=7), result([1, 3, 5], seed=8)],
        (1.0, "ids_only"): [result([0, 0, 1])],
        (0.1, "ids_only"): [result([-1, -1, 5], seed=7)],
    }
    table = sparsity.table("movielens", results, "ndcg@10")
    assert "sha256 of the tables `aaaaaaaaaaaaaaaa…`, seed 7, 8, 3 test cases" in table
    assert "| ndcg@10 | 100 % | 10 % |" in table
    assert "| features_and_ids − ids_only | +.0000 (+.0000 … +.0000) | +" in table
    assert "Settings: train.epochs=6" in table


def test_the_table_of_the_ablation_says_what_helps_and_what_changed_nothing() -> None:
    default = result([5] * 30, name="default")
    rows = {
        "pooling": {
            "mean": default,
            "gru": result([0] * 30, name="gru"),
            "max": result([5] * 30, name="max"),
        }
    }
    table = ablation.table(default, rows, "leave_one_out")
    assert "| pooling | mean |" in table and "| default | 1.5 |" in table
    assert "| helps |" in table and "| no place differs from the default |" in table


# Plots


@pytest.mark.needs("matplotlib", "plots are drawn in the main environment")
def test_plots_are_written_and_are_the_same_for_the_same_figures(tmp_path: Path) -> None:
    written = []
    for name in ("a", "b"):
        lines = {"ids": [(5.0, 0.1, 0.05, 0.2), (100.0, 0.3, 0.2, 0.4)]}
        line = plots.line_plot(
            tmp_path / name / "line.svg", lines, title="t", x_label="share", y_label="ndcg"
        )
        rows = {"pooling": [("max", 0.1, -0.1, 0.2)], "cleaning": [("full", 0.0, 0.0, 0.0)]}
        intervals = plots.interval_plot(tmp_path / name / "i.svg", rows, title="t", x_label="x")
        written.append((line.read_bytes(), intervals.read_bytes()))
    assert written[0] == written[1]
    assert b"<svg" in written[0][0] and b"pooling" in written[0][1] and b"max" in written[0][1]


# The whole way


@pytest.mark.slow
@pytest.mark.needs("matplotlib", "plots are drawn in the main environment")
def test_both_benchmarks_run_on_the_bookshop(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from tfrec_llm.testing.tiny_models import tiny_preset

    monkeypatch.setenv("TFREC_LLM_CACHE", str(tmp_path / "cache"))
    preset = tiny_preset(tmp_path / "preset")
    config = tmp_path / "bookshop.yaml"
    config.write_text(
        f"data: {{source: bookshop}}\nencoder: {{preset: {preset}}}\ntext: {{max_tokens: 8}}\n"
        "evaluate: {bootstrap_samples: 20, max_users: 60}\n"
    )
    quick = ["--set", "train.epochs=1", "--set", "train.refit=false"]
    places = ["--data", str(config), "--plots", str(tmp_path / "plots")]
    out = ["--out", str(tmp_path / "sparsity")]
    only = ["--only", "features_and_ids.share", "item_knn", "--shares", "1", "0.1"]
    for _ in range(2):  # the second time all is there
        assert sparsity.main([*out, *places, *quick, *only]) == 0
        captured = capsys.readouterr()
        assert "| features_and_ids − item_knn |" in captured.out
    assert " s\n" not in captured.err and (tmp_path / "plots" / "sparsity_bookshop.svg").is_file()

    out = ["--out", str(tmp_path / "ablation"), "--encoder", str(preset)]
    only = ["--only", "default", "random_weights", "popularity", "--protocols", "leave_one_out"]
    assert ablation.main([*out, *places, *quick, *only]) == 0
    table = capsys.readouterr().out
    assert "| encoder | random_weights |" in table and "| model | baseline_popularity |" in table
    assert (tmp_path / "plots" / "ablation_bookshop_leave_one_out.svg").is_file()
