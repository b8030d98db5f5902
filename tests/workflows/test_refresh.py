"""A trained shop gets other items, without training."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest

from tfrec_llm.cli.main import main
from tfrec_llm.serving import saved_model
from tfrec_llm.serving.loaded import load
from tfrec_llm.testing.small_tables import SILENT, UNREAD
from tfrec_llm.workflows.export import export
from tfrec_llm.workflows.refresh import refresh

pytestmark = pytest.mark.slow

NEW = "brand new"


def _now(shop_tables: Path, added: str = "king queen dragon king") -> pl.DataFrame:
    """The items as training read them, and one more."""
    from tfrec_llm.data.tables import read_items

    frame = read_items(shop_tables / "items.csv")[0]
    frame = frame.select("item_id", "title", text=pl.col("text").str.strip_prefix(pl.col("title")))
    frame = frame.with_columns(pl.col("text").str.strip_prefix(". "))
    new = pl.DataFrame({"item_id": [NEW], "title": ["king 1"], "text": [added]})
    return pl.concat([frame, new])


@pytest.fixture(scope="module")
def versions(trained_shop: Path, shop_tables: Path, tmp_path_factory: Any) -> Path:
    """The export of the trained shop, and its refresh."""
    out = tmp_path_factory.mktemp("refreshed") / "export"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(saved_model, "check_export", lambda *_: [])
        export(trained_shop, out)
        summary = refresh(out, _now(shop_tables))
    assert (summary["new"], summary["changed"], summary["removed"]) == (1, 0, 0)
    assert summary["encoded"] == 1
    return out


def test_a_new_item_is_found_at_once_by_text_and_by_likeness(versions: Path) -> None:
    recommender = load(versions)
    text = "king 1. king queen dragon king"
    assert NEW in [r.item_id for r in recommender.recommend(text=text, k=12)]
    assert NEW in [r.item_id for r in recommender.recommend(history=["king-1", "king-2"], k=20)]


def test_a_new_item_is_as_long_as_training_made_those_without_clicks(versions: Path) -> None:
    items = pl.read_parquet(versions / "2/assets.extra/items.parquet")
    lengths = np.linalg.norm(np.load(versions / "2/assets.extra/item_embeddings.npy"), axis=1)
    by_id = dict(zip(items["item_id"].to_list(), lengths.tolist(), strict=True))
    numbers = dict(zip(items["item_id"].to_list(), items["model_number"].to_list(), strict=True))
    assert numbers[NEW] == numbers[UNREAD] == numbers[SILENT] == -1
    assert by_id[NEW] == pytest.approx(by_id[UNREAD], abs=1e-5)


def test_the_export_notes_how_neighbours_were_found(versions: Path, trained_shop: Path) -> None:
    training = json.loads((trained_shop / "training.json").read_text())
    for version in (1, 2):
        facts = json.loads((versions / f"{version}/assets.extra/refresh.json").read_text())
        assert facts["neighbours"] == training["neighbours"]["settings"]
        assert facts["index"] == {"kind": "brute_force", "options": {}}
        assert facts["max_k"] == 50 and facts["max_history"] == 5
        assert facts["item_text"] == training["data"]["item_text_columns"] != []


def test_the_command_says_what_it_did(
    versions: Path, shop_tables: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    table = tmp_path / "items.csv"
    _now(shop_tables).rename({"title": "name"}).write_csv(table)
    arguments = ["refresh", str(versions), "--items", str(table)]
    assert main([*arguments, "--columns", "title=name,text=text", "--json"]) == 0
    out, err = capsys.readouterr()
    assert json.loads(out)["version"] is None and json.loads(out)["unchanged"] == 43
    assert "nothing was written" in err
    assert main([*arguments, "--columns", "title"]) == 2
    assert "is not NAME=COLUMN" in capsys.readouterr().err
    table.write_text("item_id,title\n")
    assert main(arguments) == 2
    assert str(table) in capsys.readouterr().err
