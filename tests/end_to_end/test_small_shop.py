"""The whole way by commands, each a process of its own: train, evaluate, export, ask."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import polars as pl
import pytest
import yaml

from tfrec_llm.cli.main import main
from tfrec_llm.testing.small_tables import LONG_TEXT, ODD_IDS, SILENT, UNREAD

Answers = Callable[..., list[dict[str, Any]]]
BASELINES = {"popularity", "item_knn", "slim", "als", "bpr", "tfidf", "zero_shot"}


def quoted(*ids: str) -> str:
    return ",".join('"' + i.replace('"', '""') + '"' for i in ids)


def test_training_leaves_the_files_of_the_contract(shop: Path) -> None:
    present = {p.name for p in (shop / "run").iterdir()}
    assert present >= {"config.yaml", "training.json", "checkpoints", "model", "logs", "quarantine"}
    assert not [p for p in (shop / "run").rglob("*.tmp*")]


def test_training_tells_where_the_run_is_and_how_good(shop: Path) -> None:
    told = dict(line.split(": ") for line in (shop / "train.out").read_text().splitlines())
    assert told["run"] == str(shop / "run")
    assert 0.0 < float(told["validation_ndcg@10"]) <= 1.0


def test_the_saved_configuration_names_absolute_paths_and_every_default(shop: Path) -> None:
    saved = yaml.safe_load((shop / "run" / "config.yaml").read_text())
    assert saved["data"]["items"] == str(shop / "items.csv")
    assert saved["encoder"]["preset"] == str(shop / "preset")
    assert saved["train"]["seed"] == 7


def test_rows_that_cannot_be_used_are_counted_told_and_kept_apart(shop: Path) -> None:
    counts = json.loads((shop / "run" / "training.json").read_text())["data"]["quarantined"]
    assert counts == {
        "items: bad_encoding": 1,
        "interactions: unknown_item": 1,
        "interactions: duplicate_pair": 1,
    }
    told = (shop / "train.err").read_text()
    assert "quarantined 3 rows" in told and "bad_encoding 1" in told
    folder = shop / "run" / "quarantine"
    (row,) = map(json.loads, (folder / "items.jsonl").read_text().splitlines())
    assert (row["row"], row["reason"]) == (43, "bad_encoding")
    assert "broken" in json.dumps(row["content"])
    assert len((folder / "interactions.jsonl").read_text().splitlines()) == 2


def test_a_row_without_text_is_told_and_stays(shop: Path, shop_export: Path) -> None:
    assert "1 of 42 rows have no text" in (shop / "train.err").read_text()
    assert pl.read_parquet(shop / "run" / "model" / "items.parquet")["item_id"].to_list()[-1] == (
        SILENT
    )


def test_what_evaluate_prints_is_metrics_json(shop: Path, shop_metrics: dict[str, Any]) -> None:
    assert shop_metrics == json.loads((shop / "run" / "metrics.json").read_text())
    assert set(shop_metrics) == {
        *("format", "data", "protocol", "seed", "versions", "models"),
    }
    assert shop_metrics["data"]["items"] == 42 and shop_metrics["data"]["users"] == 60
    assert set(shop_metrics["models"]) == {"two_tower", *BASELINES}
    for model in shop_metrics["models"].values():
        assert {"all", "cold_items", "tail_items", "cold_users"} <= set(model)
    assert {p.name for p in (shop / "run").iterdir()} >= {"report.html", "model_card.md"}


def test_the_figures_can_be_computed_again_from_the_lists(
    shop: Path, shop_metrics: dict[str, Any], recomputed: Any
) -> None:
    found = recomputed(shop / "run")
    assert set(found) == set(shop_metrics["models"])
    for name, figures in found.items():
        for key, value in figures.items():
            assert shop_metrics["models"][name]["all"][key] == pytest.approx(value, abs=1e-4)


def test_no_list_holds_what_its_user_took_before(shop: Path, shop_metrics: dict[str, Any]) -> None:
    clicks = pl.read_csv(shop / "interactions.csv")
    taken = {key[0]: set(rows["item_id"]) for key, rows in clicks.group_by("user_id")}
    lists = pl.read_parquet(shop / "run" / "rankings.parquet")
    assert lists.schema == {
        "model": pl.String,
        "user_id": pl.String,
        "target_item_id": pl.String,
        "item_ids": pl.List(pl.String),
    }
    for row in lists.iter_rows(named=True):
        assert not (taken[row["user_id"]] - {row["target_item_id"]}) & set(row["item_ids"])


def test_the_model_learns_the_tastes(shop_metrics: dict[str, Any]) -> None:
    ours = shop_metrics["models"]["two_tower"]["all"]["ndcg@10"]
    assert ours > 2 * shop_metrics["models"]["popularity"]["all"]["ndcg@10"]


def test_an_export_is_one_version_that_a_stock_server_runs(shop_export: Path) -> None:
    assert [p.name for p in shop_export.iterdir() if not p.name.startswith(".")] == ["1"]
    requires = json.loads((shop_export / "1" / "requires.json").read_text())
    assert requires["stock_tensorflow_serving"] is True
    assert (shop_export / "1" / "assets.extra" / "tf_serving_warmup_requests").is_file()


def test_a_process_answers_with_one_json_object(
    shop_export: Path, done: Any, load_once: Any
) -> None:
    history = quoted(*ODD_IDS[:2])
    ended = done("recommend", shop_export, "--text", "space 🚀", "--history", history, "--json")
    items = json.loads(ended.stdout)["items"]
    assert len(items) == 10 and set(items[0]) == {"item_id", "title", "score"}
    assert not {i["item_id"] for i in items} & set(ODD_IDS[:2])
    asked = load_once(shop_export).recommend("space 🚀", ODD_IDS[:2])
    assert [i["item_id"] for i in items] == [r.item_id for r in asked]


def test_similar_items_are_listed_for_a_person(
    shop_export: Path, capsys: pytest.CaptureFixture[str], load_once: Any
) -> None:
    assert main(["similar", str(shop_export), ODD_IDS[1], "-k", "3"]) == 0
    lines = capsys.readouterr().out.splitlines()
    expected = load_once(shop_export).similar(ODD_IDS[1], k=3)
    assert [line.split()[0] for line in lines] == ["1", "2", "3"]
    for line, item in zip(lines, expected, strict=True):
        assert item.item_id in line and line.endswith(f"\t{item.title}")


@pytest.mark.parametrize("item_id", ODD_IDS)
def test_an_odd_id_goes_the_whole_way(item_id: str, shop_export: Path, answers: Answers) -> None:
    everything = {i["item_id"] for i in answers("recommend", shop_export, "-k", 50)}
    assert item_id in everything
    after = answers("recommend", shop_export, "--history", quoted(item_id), "-k", 50)
    assert {i["item_id"] for i in after} == everything - {item_id}
    without = answers("recommend", shop_export, "--exclude", quoted(item_id), "-k", 50)
    assert {i["item_id"] for i in without} == everything - {item_id}
    assert item_id not in {i["item_id"] for i in answers("similar", shop_export, item_id)}


def test_text_and_history_both_matter(shop_export: Path, answers: Answers) -> None:
    texts = ["--text", "king queen dragon"]
    taken = ["--history", "space-2,space-3"]
    lists = [
        [i["item_id"] for i in answers("recommend", shop_export, *options)]
        for options in ([], texts, taken, texts + taken)
    ]
    assert len(set(map(tuple, lists))) == 4
    assert sum(i.startswith("space") or i == ODD_IDS[0] for i in lists[2][:4]) >= 3


def test_without_text_and_history_the_popular_items_come(
    shop: Path, shop_export: Path, answers: Answers
) -> None:
    expected = pl.read_parquet(shop / "run" / "model" / "items.parquet")
    clicks = dict(expected.select("item_id", "num_clicks").iter_rows())
    counts = [clicks[i["item_id"]] for i in answers("recommend", shop_export, "-k", 42)]
    assert counts == sorted(clicks.values(), reverse=True)
    assert answers("recommend", shop_export) == answers("recommend", shop_export, "--text", " ")


def test_unknown_ids_in_a_history_change_nothing(shop_export: Path, answers: Answers) -> None:
    known = answers("recommend", shop_export, "--history", "space-2")
    with_others = answers("recommend", shop_export, "--history", "nix,space-2,🤷")
    assert [one["item_id"] for one in with_others] == [one["item_id"] for one in known]
    # The sums are taken in another order.
    scores = [one["score"] for one in known]
    assert [one["score"] for one in with_others] == pytest.approx(scores, rel=1e-5)
    popular = answers("recommend", shop_export)
    assert answers("recommend", shop_export, "--history", "nix") == popular


def test_excluded_items_leave_the_order_of_the_others(shop_export: Path, answers: Answers) -> None:
    ids = [i["item_id"] for i in answers("recommend", shop_export, "--text", "love", "-k", 8)]
    without = answers(
        "recommend", shop_export, "--text", "love", "-k", 6, "--exclude", quoted(ids[0], ids[3])
    )
    assert [i["item_id"] for i in without] == [i for i in ids if i not in (ids[0], ids[3])]


def test_lists_can_be_made_diverse_and_categories_limited(
    shop: Path, shop_export: Path, answers: Answers
) -> None:
    asked = ("recommend", shop_export, "--text", "love", "--history", "love-1", "-k", 6)
    plain = [i["item_id"] for i in answers(*asked)]
    knobs = ("--diversity", 0.9, "--diversity-method", "dpp", "--popularity-penalty", 0.1)
    diverse = [i["item_id"] for i in answers(*asked, *knobs, "--candidates", 30)]
    assert len(set(diverse)) == 6 and diverse != plain and "love-1" not in diverse
    table = shop / "shelves.csv"
    table.write_text("item_id,shelf\n" + "".join(f"{i},a\n" for i in plain[:5] if "," not in i))
    limit = ("--max-per-category", 1, "--categories", f"{table}:shelf")
    on_shelf = set(table.read_text().replace(",a", "").split("\n"))
    limited = [i["item_id"] for i in answers(*asked, *limit, "--candidates", 6)]
    assert len(limited) == 6 and len(on_shelf & set(limited)) == 1


def test_more_than_there_is_gives_all_but_the_history(shop_export: Path, answers: Answers) -> None:
    found = answers("recommend", shop_export, "--history", "space-2", "-k", 10**6)
    ids = [i["item_id"] for i in found]
    assert len(ids) == len(set(ids)) == 41 and {UNREAD, SILENT} <= set(ids)


def test_a_text_of_any_length_is_answered(shop_export: Path, answers: Answers) -> None:
    # The language model reads its beginning, the words of the whole are counted.
    long = answers("recommend", shop_export, "--text", LONG_TEXT, "-k", 3)
    short = answers("recommend", shop_export, "--text", LONG_TEXT[:600], "-k", 3)
    assert [i["item_id"] for i in long] == [i["item_id"] for i in short]
    assert [i["score"] for i in long] == pytest.approx([i["score"] for i in short], abs=1e-3)


def test_where_no_item_is_left_the_list_is_empty(shop_export: Path, answers: Answers) -> None:
    everything = quoted(*(i["item_id"] for i in answers("recommend", shop_export, "-k", 50)))
    assert answers("recommend", shop_export, "--exclude", everything) == []
