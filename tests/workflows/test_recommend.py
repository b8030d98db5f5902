from __future__ import annotations

import csv
import functools
from collections.abc import Iterator
from pathlib import Path

import pytest

from tfrec_llm.errors import DataError, UsageError
from tfrec_llm.serving.loaded import load
from tfrec_llm.serving.saved_model import write_export
from tfrec_llm.serving.trained import TrainedModel
from tfrec_llm.testing.small_tables import ODD_IDS
from tfrec_llm.workflows.recommend import recommend, similar


@pytest.fixture(scope="module")
def exported(trained_shop: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    servable = TrainedModel.load(trained_shop / "model").servable(index="brute_force", max_k=50)
    folder = tmp_path_factory.mktemp("exported") / "export"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("tfrec_llm.serving.saved_model.check_export", lambda *_: [])
        write_export(servable, folder)
        patch.setattr("tfrec_llm.workflows.recommend.load", functools.cache(load))
        yield folder


def test_answers_are_plain_values_best_first(exported: Path) -> None:
    items = recommend(exported, text="space", history=["space-2"], k=5)
    assert [set(item) for item in items] == [{"item_id", "title", "score"}] * 5
    scores = [item["score"] for item in items]
    assert scores == sorted(scores, reverse=True) and type(scores[0]) is float


def test_history_and_excluded_items_stay_out(exported: Path) -> None:
    out = {ODD_IDS[0], ODD_IDS[1], "space-2"}
    items = recommend(exported, history=ODD_IDS[:2], exclude=["space-2", "nix"], k=50)
    assert len(items) == 42 - 3 and not out & {item["item_id"] for item in items}


def test_an_item_is_not_similar_to_itself(exported: Path) -> None:
    items = similar(exported, ODD_IDS[1], k=50)
    assert len(items) == 41 and ODD_IDS[1] not in {item["item_id"] for item in items}


def test_an_unknown_item_and_k_below_one_are_refused(exported: Path) -> None:
    with pytest.raises(UsageError, match="'space-2'"):
        similar(exported, "space2")
    with pytest.raises(UsageError, match="`k`"):
        similar(exported, "space-2", k=0)
    with pytest.raises(UsageError, match="`k`"):
        recommend(exported, k=0)


def test_categories_come_from_a_table_of_items(exported: Path, tmp_path: Path) -> None:
    first = [item["item_id"] for item in recommend(exported, text="space", k=6)]
    table = tmp_path / "items.tsv"
    with open(table, "w", newline="") as file:
        csv.writer(file, "excel-tab").writerows([["id", "shelf"], *([i, "a"] for i in first[:5])])
    items = recommend(
        exported, text="space", k=3, max_per_category=2, categories=f"{table}:shelf:id"
    )
    assert [item["item_id"] for item in items] == [*first[:2], first[5]]


def test_a_wrong_knob_or_column_is_told_before_the_export_is_loaded(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="one of mmr, dpp, got 'best'"):
        recommend(tmp_path, diversity=0.5, diversity_method="best")
    (tmp_path / "items.csv").write_text("item_id,genre\na,b\n")
    with pytest.raises(DataError, match="has no column 'shelf'"):
        recommend(tmp_path, max_per_category=1, categories=f"{tmp_path}/items.csv:shelf")
