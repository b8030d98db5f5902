"""The tables of the quality benchmark, from figures made up by hand."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import bench_quality
import cells
import pytest
from cell import Cell, read_config

from tfrec_llm.baselines.tuning import GRIDS
from tfrec_llm.data.catalogue import Catalogue
from tfrec_llm.workflows.build import measured_queries, read_dataset, split_dataset

CASES = 40


def result(model: str, places: list[int], seed: int = 7, **changes: Any) -> dict[str, Any]:
    return {
        "name": model,
        "config": "shop",
        "overrides": ["split.protocol=leave_one_out"],
        "model": "trained",
        "seed": seed,
        "seconds": 60.0,
        "peak_memory_bytes": 3 * 2**30,
        "training": {"best_epoch": 4, "training_seconds": 45.0},
        "data": {"name": "shop", "users": 40, "items": 9, "interactions": 99, "sha256": "a" * 64},
        "protocol": {"split": "leave_one_out", "test_queries": len(places)},
        "cases_sha256": f"cases of seed {seed}",
        "users": list(range(len(places))),
        "places": places,
        "metrics": {"all": {"queries": len(places)}},
        "slices": {
            "all": list(range(len(places))),
            "tail_items": [0, 1],
            "cold_items": [],
            "cold_users": [2],
        },
        **changes,
    }


def baselines(places: dict[str, list[int]], seed: int = 7) -> dict[str, Any]:
    parts = {
        name: {
            "places": found,
            "seconds": 5.0,
            "training": {"settings": {"decay": 0.5, "settings_tried": 4}, "training_seconds": 2.0},
            "metrics": {"all": {"queries": len(found)}},
        }
        for name, found in places.items()
    }
    return result("every_baseline", next(iter(places.values())), seed, models=parts)


@pytest.fixture
def found() -> dict[str, list[dict[str, Any]]]:
    return {
        "two_tower": [result("two_tower", [0] * CASES)],
        "every_baseline": [baselines({"knn": [1] * CASES, "popularity": [-1] * CASES})],
    }


def row(table: str, name: str) -> str:
    return next(line for line in table.splitlines() if line.startswith(f"| {name} "))


def test_every_cell_has_its_own_name_and_a_sound_configuration() -> None:
    data = [*bench_quality.DATA, *bench_quality.QUICK_DATA]
    made = bench_quality.make_cells(data, [7, 8])
    assert len({cell.name for cell in made.values()}) == len(made) == 4 * 2 * 6 * 2
    for (source, protocol, model, seed), cell in made.items():
        config = cell.load()
        assert (config.split.protocol, config.train.seed) == (protocol, seed)
        assert (config.encoder.kind == "none") == (config.towers.start == "random")
        assert config.towers.item_ids != (model == "two_tower_text_only")
        given = read_config(source)
        assert config.train.epochs == given.train.epochs * (1 + (config.towers.start == "random"))


def test_all_baselines_of_a_seed_are_one_cell_and_come_apart_in_the_tables(
    found: dict[str, list[dict[str, Any]]],
) -> None:
    results = bench_quality.by_model(found)
    assert list(results) == ["two_tower", "knn", "popularity"]
    assert results["knn"][0]["places"] == [1] * CASES
    assert results["knn"][0]["seconds"] == 5.0


def test_the_difference_is_to_the_baseline_that_is_best_on_the_slice(
    found: dict[str, list[dict[str, Any]]],
) -> None:
    results = bench_quality.by_model(found)
    names = ["knn", "popularity"]
    whole = bench_quality.quality_table(results, names, "all")
    assert "| all (40) | ndcg@10 | recall@10 | recall@100 | ndcg@10 − knn |" in whole
    # A target in the second place is worth 1 / log2(3) = .6309.
    assert "| 1.0000 (1.0000 … 1.0000) |" in row(whole, "two_tower")
    assert "+.3691 (+.3691 … +.3691) |" in row(whole, "two_tower")
    assert row(whole, "knn").endswith("|  |")
    assert "-.6309" in row(whole, "popularity")
    results["popularity"][0]["places"] = [0, 0] + [-1] * (CASES - 2)
    tail = bench_quality.quality_table(results, names, "tail_items")
    assert "| tail items (2) | ndcg@10 | recall@10 | recall@100 | ndcg@10 − popularity |" in tail
    assert "+.0000" in row(tail, "two_tower") and "-.3691" in row(tail, "knn")


def test_heads_rules_and_rows_have_as_many_columns(
    found: dict[str, list[dict[str, Any]]],
) -> None:
    results = bench_quality.by_model(found)
    tables = [bench_quality.quality_table(results, ["knn"], "all")]
    tables += [bench_quality.quality_table(results, [], "all"), bench_quality.cost_table(results)]
    for table in tables:
        assert len({line.count("|") for line in table.splitlines()}) == 1


def test_a_slice_without_cases_has_no_table(found: dict[str, list[dict[str, Any]]]) -> None:
    results = bench_quality.by_model(found)
    assert bench_quality.quality_table(results, ["knn"], "cold_items") == ""
    for table in bench_quality.STORED_TABLES:
        assert bench_quality.stored_table(results, *table) == ""


def test_seeds_are_put_together_and_paired_where_both_were_measured() -> None:
    results = bench_quality.by_model(
        {
            "two_tower": [result("two_tower", [0] * 4, s) for s in (7, 8)],
            "every_baseline": [baselines({"knn": [-1] * 4}, 8)],
        }
    )
    table = bench_quality.quality_table(results, ["knn"], "all")
    assert "| all (8) |" in table and "+1.0000 (+1.0000 … +1.0000) |" in row(table, "two_tower")
    results["knn"][0]["seed"] = 9
    assert row(bench_quality.quality_table(results, ["knn"], "all"), "two_tower").endswith("| – |")


def test_figures_measured_before_are_weighed_by_the_number_of_cases_of_a_seed() -> None:
    def asked(seed: int, queries: int, value: float) -> dict[str, Any]:
        names = [f"{metric}_among_cold" for metric in bench_quality.METRICS]
        figures = dict.fromkeys(names, value) | {"queries": queries}
        figures |= {f"{name}_ci95": [value - 0.1, value + 0.2] for name in names}
        return result("two_tower", [0], seed, metrics={"all": {}, "cold_items": figures})

    both = {"two_tower": [asked(7, 1, 0.1), asked(8, 3, 0.5)]}
    table = bench_quality.stored_table(both, "cold_items", "among themselves", "_among_cold")
    assert "| among themselves (4) | ndcg@10 | recall@10 | recall@100 |" in table
    assert row(table, "two_tower") == "| two_tower |" + " .4000 (.3000 … .6000) |" * 3


def test_a_section_tells_data_cost_and_settings(found: dict[str, list[dict[str, Any]]]) -> None:
    text = bench_quality.section(found)
    assert f"`{'a' * 64}`" in text and "seed 7, 40 test cases" in text
    assert "| two_tower | 60 | 45 | 3.0 | 4 |" in text
    found["two_tower"][0]["resumed"] = True
    assert "| two_tower | ≥ 60 | 45 | 3.0 | 4 |" in bench_quality.section(found)
    assert "| knn | 5 | 2 | 3.0 | decay 0.5 |" in text
    assert "two_tower: `split.protocol=leave_one_out`" in text


@pytest.mark.slow
@pytest.mark.needs("matplotlib", "plots are drawn in the main environment")
def test_the_benchmark_runs_on_the_bookshop_and_goes_on_where_it_was(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from tfrec_llm.testing.tiny_models import tiny_preset

    monkeypatch.setenv("TFREC_LLM_CACHE", str(tmp_path / "cache"))
    for name, grid in GRIDS.items():
        monkeypatch.setitem(GRIDS, name, {key: values[:1] for key, values in grid.items()})
    monkeypatch.setitem(GRIDS, "sasrec", {"embedding_dim": (8,), "max_epochs": (1,)})
    preset = tiny_preset(tmp_path / "preset")
    arguments = ["--quick", "--seeds", "7", "--cells", str(tmp_path / "cells"), "--only"]
    arguments += [
        "leave_one_out.two_tower.",
        "leave_one_out.every_baseline",
        "leave_one_out.sasrec",
    ]
    for setting in ("train.epochs=1", f"encoder.preset={preset}", "evaluate.max_users=60"):
        arguments += ["--set", setting]
    assert bench_quality.main([*arguments, "--list"]) == 0
    assert capsys.readouterr().out.count("bookshop.leave_one_out") == 3
    assert bench_quality.main(arguments, apart=False) == 0
    printed = capsys.readouterr().out
    assert all(f"\n| {name} |" in printed for name in ("two_tower", "item_knn", "sasrec"))
    assert "cold users, text only" in printed
    assert (tmp_path / "cells" / "plots" / "quality_bookshop_leave_one_out.svg").is_file()

    out = tmp_path / "tables.md"
    assert bench_quality.main([*arguments, "--report", "--out", str(out)]) == 0
    told = out.read_text()
    assert told.split("\n\n", 1)[1].strip() == printed.split("\n\n", 1)[1].strip()


@pytest.mark.slow
def test_a_cell_in_a_process_of_its_own_tells_its_own_memory(tmp_path: Path) -> None:
    cell = Cell("a", "bookshop", ("train.seed=7",), "popularity")
    assert cells.run_cells([cell], tmp_path, apart=True, say=lambda text: None) == {}
    measured = cells.read_cell(cell, tmp_path)
    assert measured is not None and measured["measured"] == "popularity"
    assert 50e6 < measured["peak_memory_bytes"] < 20e9
    assert set(measured["slices"]) == {"all", "cold_items", "tail_items", "cold_users"}


def test_a_cell_numbers_its_users_alike_for_every_seed(tmp_path: Path) -> None:
    found = {}
    for seed in (7, 8):
        overrides = (f"train.seed={seed}", "evaluate.max_users=40")
        cell = Cell(f"seed-{seed}", "bookshop", overrides, "popularity")
        assert cells.run_cells([cell], tmp_path, say=lambda text: None) == {}
        found[seed] = cells.read_cell(cell, tmp_path) or {}
    config = Cell("a", "bookshop", ("train.seed=8", "evaluate.max_users=40")).load()
    dataset = read_dataset(config.data)
    users = dataset.interactions["user_id"].unique().sort().to_list()
    asked = measured_queries(config, split_dataset(config, dataset, Catalogue(dataset.items)))
    assert [users[number] for number in found[8]["users"]] == asked.user_ids
    assert found[7]["users"] != found[8]["users"]
    assert found[7]["cases_sha256"] != found[8]["cases_sha256"]


def test_the_results_that_are_kept_are_of_cells_as_they_are_now() -> None:
    made = {
        cell.name: cell for cell in bench_quality.make_cells(bench_quality.DATA, (7, 8, 9)).values()
    }
    kept = sorted(path.stem for path in bench_quality.RESULTS.glob("*.json"))
    assert kept and set(kept) <= set(made)
    for name in kept:
        measured = cells.read_cell(made[name], bench_quality.RESULTS)  # refuses other settings
        assert measured is not None and len(measured["places"]) == len(measured["users"])
