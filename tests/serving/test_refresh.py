"""What a refresh carries over, what it makes anew, and what a killed one leaves."""

from __future__ import annotations

import json
import shutil
import signal
import subprocess
import sys
import textwrap
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest

from tfrec_llm.errors import CorruptFileError, DataError, ExportError, UsageError
from tfrec_llm.keras_api import tf
from tfrec_llm.serving import saved_model
from tfrec_llm.serving.loaded import load
from tfrec_llm.serving.saved_model import write_export
from tfrec_llm.serving.versions import keep_newest, versions
from tfrec_llm.workflows.refresh import refresh

ADDED, CHANGED, REMOVED = "added", "i9", "i4"
NEW_TEXT = {ADDED: "space opera", CHANGED: "opera opera"}


def _table(world: Any, texts: dict[str, str], without: tuple[str, ...] = ()) -> pl.DataFrame:
    found = dict(zip(world.item_ids, world.titles, strict=True)) | texts
    rows = [(i, text) for i, text in reversed(found.items()) if i not in without]
    return pl.DataFrame(rows, ["item_id", "title"], orient="row")


def _items(version: Path) -> pl.DataFrame:
    return pl.read_parquet(version / "assets.extra/items.parquet").with_columns(
        vector=pl.Series(np.load(version / "assets.extra/item_embeddings.npy").tolist())
    )


@dataclass
class Refreshed:
    world: Any
    out: Path
    summary: dict[str, Any]

    def version(self, number: int) -> Path:
        return self.out / str(number)

    def items(self, number: int) -> dict[str, dict[str, Any]]:
        return {row["item_id"]: row for row in _items(self.version(number)).to_dicts()}


@pytest.fixture(scope="module")
def refreshed(exported: tuple[Any, Path], tmp_path_factory: Any) -> Refreshed:
    """One item new, one changed, one gone, in another order; checked in a fresh process."""
    world, folder = exported
    out = tmp_path_factory.mktemp("refreshed") / "export"
    shutil.copytree(folder, out / "1")
    return Refreshed(world, out, refresh(out, _table(world, NEW_TEXT, (REMOVED,))))


@pytest.fixture(scope="module")
def plain(make_world: Any, tmp_path_factory: Any) -> tuple[Any, Path]:
    """A small export that is searched exactly, written without the fresh process."""
    world, out = make_world(12, "brute_force"), tmp_path_factory.mktemp("plain") / "export"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(saved_model, "check_export", lambda *_: [])
        write_export(world.servable, out, metadata={"name": "tiny", "seed": 3})
    return world, out


@pytest.fixture
def unchecked(monkeypatch: pytest.MonkeyPatch) -> None:
    """Spares a test the fresh process."""
    monkeypatch.setattr(saved_model, "check_export", lambda *_: [])


@pytest.fixture
def small(plain: tuple[Any, Path], tmp_path: Path) -> tuple[Any, Path]:
    """A copy of the small export."""
    return plain[0], Path(shutil.copytree(plain[1], tmp_path / "export"))


@pytest.mark.slow
def test_what_was_done_is_told(refreshed: Refreshed) -> None:
    summary = refreshed.summary
    assert (summary["from_version"], summary["version"]) == (1, 2)
    counts = {n: summary[n] for n in ("items", "new", "changed", "removed", "unchanged")}
    assert counts == {"items": 40, "new": 1, "changed": 1, "removed": 1, "unchanged": 38}
    assert summary["encoded"] == 2, "texts that stayed are not encoded again"
    card = (refreshed.version(2) / "model_card.md").read_text()
    assert card.startswith("# tiny\n") and "## Data\n\n- users: 3" in card
    assert "- made from version: 1" in card and "- removed items: 1" in card
    assert json.loads((refreshed.version(2) / "requires.json").read_text())["sha256"]


@pytest.mark.slow
def test_unchanged_items_keep_every_bit_of_what_they_had(refreshed: Refreshed) -> None:
    before, now = refreshed.items(1), refreshed.items(2)
    unchanged = set(before) - {CHANGED, REMOVED}
    assert unchanged < set(now)
    for item_id in unchanged:
        assert now[item_id] == before[item_id]
    assert list(now) == [*(i for i in before if i != REMOVED), ADDED], "the order is that of before"


@pytest.mark.slow
def test_new_and_changed_texts_get_the_vectors_of_the_towers(refreshed: Refreshed) -> None:
    world, now = refreshed.world, refreshed.items(2)
    number = world.item_ids.index(CHANGED)
    for item_id, model_number in ((ADDED, -1), (CHANGED, number)):
        features = world.encoder.embed(tf.constant([NEW_TEXT[item_id]]))
        expected = world.model.embed_items(features, tf.constant([model_number])).numpy()[0]
        np.testing.assert_allclose(now[item_id]["vector"], expected, atol=1e-6)
        assert now[item_id]["model_number"] == model_number
        assert (now[item_id]["title"], now[item_id]["text"]) == (NEW_TEXT[item_id],) * 2
    before = refreshed.items(1)
    assert now[ADDED]["popularity"] == 0.0
    assert now[CHANGED]["popularity"] == before[CHANGED]["popularity"]
    assert not np.allclose(now[CHANGED]["vector"], before[CHANGED]["vector"], atol=1e-3)


@pytest.mark.slow
def test_a_removed_item_never_comes_back_and_a_new_one_does_at_once(refreshed: Refreshed) -> None:
    old, new = load(refreshed.version(1)), load(refreshed.version(2))
    requests = [
        {"text": "space opera"},
        {"history": ["i7", "i8"]},
        {"text": "x", "history": ["i2"]},
    ]
    # By parts of the catalogue, since an answer is at most max_k items long.
    parts = [[i for n, i in enumerate([*refreshed.items(1), ADDED]) if n % 5 != part]
             for part in range(5)]  # fmt: skip
    for request in requests:
        shown = {r.item_id for part in parts for r in new.recommend(**request, exclude=part, k=12)}
        assert REMOVED not in shown
        was = {r.item_id for part in parts for r in old.recommend(**request, exclude=part, k=12)}
        assert REMOVED in was
        assert ADDED in shown
    with pytest.raises(UsageError, match="no item 'i4'"):
        new.similar(REMOVED)
    assert new.recommend(history=[REMOVED]) == new.recommend(), "its id is unknown now"


@pytest.mark.slow
def test_neighbours_keep_their_weights_under_new_numbers(refreshed: Refreshed) -> None:
    world = refreshed.world
    if world.servable.neighbours is None:
        pytest.skip("this export has no neighbours")
    loaded = tf.saved_model.load(str(refreshed.version(2)))
    numbers, weights = loaded.neighbours.numbers.numpy(), loaded.neighbours.weights.numpy()
    ids, found = list(refreshed.items(2)), {}
    for row, (near, added) in enumerate(zip(numbers, weights, strict=True)):
        found |= {(ids[row], ids[n]): w for n, w in zip(near, added, strict=True) if n >= 0}
    expected = {
        (one, other): world.near[a, b]
        for a, one in enumerate(world.item_ids)
        for b, other in enumerate(world.item_ids)
        if world.near[a, b] > 0 and REMOVED not in (one, other)
    }
    assert found == expected


@pytest.mark.slow
def test_answers_without_the_new_item_are_those_of_before(
    exported: tuple[Any, Path], tmp_path: Path, unchecked: None
) -> None:
    world, folder = exported
    shutil.copytree(folder, tmp_path / "export" / "1")
    refresh(tmp_path / "export", _table(world, {ADDED: "nothing alike"}))
    old, new = load(folder), load(tmp_path / "export")
    for request in ({"text": "space opera"}, {"history": world.item_ids[:6]}, {"history": ["i3"]}):
        before = old.recommend(**request, k=10)
        now = new.recommend(**request, exclude=[ADDED], k=10)
        assert [r.item_id for r in now] == [r.item_id for r in before]
        np.testing.assert_allclose([r.score for r in now], [r.score for r in before], atol=1e-5)


@pytest.mark.slow
def test_a_refresh_of_a_refresh_takes_a_returning_item_for_new(
    refreshed: Refreshed, unchecked: None, tmp_path: Path
) -> None:
    world, out = refreshed.world, Path(shutil.copytree(refreshed.out, tmp_path / "export"))
    summary = refresh(out, _table(world, NEW_TEXT))
    assert (summary["from_version"], summary["new"], summary["encoded"]) == (2, 1, 1)
    items = {row["item_id"]: row for row in _items(out / "3").to_dicts()}
    assert items[REMOVED]["model_number"] == -1 and items[REMOVED]["popularity"] == 0.0
    assert items[CHANGED] == refreshed.items(2)[CHANGED]
    features = world.encoder.embed(tf.constant([items[REMOVED]["text"]]))
    expected = world.model.embed_items(features, tf.constant([-1])).numpy()[0]
    np.testing.assert_allclose(items[REMOVED]["vector"], expected, atol=1e-6)
    sizes = [(out / f"{n}/saved_model.pb").stat().st_size for n in (2, 3)]
    assert sizes[1] < 1.02 * sizes[0], "the graph does not grow by being refreshed"
    facts = [(out / f"{n}/assets.extra/refresh.json").read_text() for n in (2, 3)]
    assert facts[0] == facts[1]


def test_nothing_is_written_when_nothing_changed(small: tuple[Any, Path], unchecked: None) -> None:
    world, out = small
    summary = refresh(out, _table(world, {}))
    assert (summary["version"], summary["unchanged"], versions(out)) == (None, 12, [1])
    forced = refresh(out, _table(world, {}), force=True)
    assert (forced["version"], forced["encoded"], versions(out)) == (2, 0, [1, 2])


def test_older_versions_go_and_what_is_no_version_stays(
    small: tuple[Any, Path], unchecked: None
) -> None:
    world, out = small
    shutil.copytree(out / "1", out / "2")
    (out / "0").mkdir()
    summary = refresh(out, _table(world, {ADDED: "space"}), keep=1)
    assert summary["removed_versions"] == [1, 2] and versions(out) == [0, 3]
    assert len(load(out)) == 13
    with pytest.raises(UsageError, match="at least 1"):
        refresh(out, _table(world, {}), keep=0)
    with pytest.raises(UsageError, match="at least 1"):
        keep_newest(out, 3, 0)
    assert keep_newest(out, 3, 5) == [] and versions(out) == [0, 3]


def test_a_version_that_came_meanwhile_stays_the_newest(small: tuple[Any, Path]) -> None:
    world, out = small
    with pytest.raises(ExportError, match="got the version 1 while this one was made from 0"):
        write_export(world.servable, out, after_version=0)
    assert versions(out) == [1]


def test_rows_that_cannot_be_used_are_set_aside(
    small: tuple[Any, Path], unchecked: None, tmp_path: Path
) -> None:
    world, out = small
    table = _table(world, {ADDED: "space"})
    more = pl.DataFrame([("", "no id"), (ADDED, "twice")], ["item_id", "title"], orient="row")
    summary = refresh(out, pl.concat([table, more]), quarantine=tmp_path / "aside")
    assert summary["quarantined"] == {"items: duplicate_item": 1, "items: missing_id": 1}
    assert summary["items"] == 13
    rows = [json.loads(line) for line in (tmp_path / "aside/items.jsonl").read_text().splitlines()]
    assert [(row["row"], row["reason"]) for row in rows] == [
        (14, "missing_id"),
        (15, "duplicate_item"),
    ]


@pytest.mark.parametrize(
    ("content", "says"),
    [
        ("", "items.csv"),
        ("item_id,title\n", "items.csv"),
        ("id,title\na,b\n", "no column 'item_id'.*--columns NAME=COLUMN"),
        ("item_id,title\n,a\n,b\nc,d\n", "2 of 3 rows cannot be used"),
    ],
)
def test_tables_that_cannot_be_used_are_refused(
    small: tuple[Any, Path], tmp_path: Path, content: str, says: str
) -> None:
    (tmp_path / "items.csv").write_text(content)
    with pytest.raises(DataError, match=says):
        refresh(small[1], tmp_path / "items.csv")
    assert versions(small[1]) == [1]


def test_columns_may_be_called_otherwise(small: tuple[Any, Path]) -> None:
    world, out = small
    table = _table(world, {}).rename({"item_id": "sku", "title": "name"})
    summary = refresh(out, table, columns={"item_id": "sku", "title": "name"})
    assert summary["unchanged"] == 12
    facts = out / "1/assets.extra/refresh.json"
    facts.write_text(facts.read_text().replace('"item_text": null', '"item_text": ["title"]'))
    table = table.with_columns(other=pl.lit("left out"))
    assert refresh(out, table, columns={"item_id": "sku", "title": "name"})["unchanged"] == 12
    with pytest.raises(UsageError, match="names blurb, but the model was trained on .*title"):
        refresh(out, table, columns={"blurb": "name"})


def test_what_is_no_folder_of_versions_is_refused(small: tuple[Any, Path], tmp_path: Path) -> None:
    world, out = small
    with pytest.raises(UsageError, match="is one version of an export"):
        refresh(out / "1", _table(world, {}))
    with pytest.raises(UsageError, match="There is no export"):
        refresh(tmp_path / "nix", _table(world, {}))
    assert not (tmp_path / "nix").exists()
    facts = out / "1/assets.extra/refresh.json"
    facts.write_text("{")
    with pytest.raises(CorruptFileError, match=r"refresh\.json is not as it was written"):
        refresh(out, _table(world, {}))
    facts.unlink()
    with pytest.raises(UsageError, match="Export the run once more"):
        refresh(out, _table(world, {}))


def test_a_file_that_was_changed_is_named(small: tuple[Any, Path]) -> None:
    world, out = small
    with open(out / "1/assets.extra/item_embeddings.npy", "r+b") as file:
        file.seek(200)
        file.write(b"\x00\x01")
    with pytest.raises(CorruptFileError, match=r"item_embeddings\.npy was changed"):
        refresh(out, _table(world, {ADDED: "space"}))
    assert versions(out) == [1]


KILLED_AT = {
    "while the graph is written": "saved_model._write_items = killed",
    "before the rename": "saved_model._check_and_note = killed",
    # of that module alone: temporary folders are removed by the same function
    "while an old version is removed": "versions.shutil = types.SimpleNamespace(rmtree=killed)",
}


@pytest.mark.slow
@pytest.mark.parametrize("point", KILLED_AT)
def test_a_killed_refresh_leaves_a_version_that_serves(
    small: tuple[Any, Path], unchecked: None, tmp_path: Path, point: str
) -> None:
    world, out = small
    table = tmp_path / "items.csv"
    _table(world, {ADDED: "space"}).write_csv(table)
    program = f"""
        import os, signal, sys, types
        from tfrec_llm.serving import saved_model, versions
        from tfrec_llm.workflows.refresh import refresh
        saved_model.check_export = lambda *_: []
        def killed(*_, **__):
            os.kill(os.getpid(), signal.SIGKILL)
        {KILLED_AT[point]}
        refresh(sys.argv[1], sys.argv[2], keep=1)
    """
    result = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(program), str(out), str(table)],
        capture_output=True,
        text=True,
        check=False,
    )
    assert result.returncode == -signal.SIGKILL, result.stderr[-2000:]
    hidden = [path.name for path in out.glob(".*.tmp")]
    assert len(hidden) == 1, "what was being written or removed is out of a server's sight"
    served = versions(out)
    assert served == ([2] if "removed" in point else [1])
    assert load(out).recommend(text="title", k=3)

    summary = refresh(out, table, force=True)
    assert summary["version"] == served[-1] + 1
    assert not list(out.glob(".*.tmp")), "the next refresh clears up"


@pytest.mark.slow
def test_inverted_lists_are_built_anew_as_they_were_asked_for(
    make_world: Any, unchecked: None, tmp_path: Path
) -> None:
    world = make_world(12, "ivf_lists")
    assert world.servable.index.parameters["num_lists"] == 3
    write_export(world.servable, tmp_path / "export")
    summary = refresh(tmp_path / "export", _table(world, {ADDED: "space"}))
    assert summary["index"]["kind"] == "ivf" and summary["index"]["num_lists"] == 3
    found = load(tmp_path / "export").recommend(text="space", k=13)
    assert ADDED in [recommendation.item_id for recommendation in found]
    removed = _table(world, {}).head(2)
    summary = refresh(tmp_path / "export", removed)
    assert summary["items"] == 2 and summary["index"]["is_exact"], "three lists were too many"
