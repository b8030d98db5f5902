from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import textwrap
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tfrec_llm.errors import CorruptFileError, ExportError, MissingPackageError, UsageError
from tfrec_llm.serving.loaded import LoadedRecommender, load


@pytest.fixture(scope="module")
def recommender(exported: tuple[Any, Path]) -> LoadedRecommender:
    return load(exported[1].parent)


@pytest.fixture
def copied(exported: tuple[Any, Path], tmp_path: Path) -> Path:
    return Path(shutil.copytree(exported[1], tmp_path / "export" / "1"))


def test_recommendations_are_ranked_with_titles_and_leave_out_what_was_named(
    exported: tuple[Any, Path], recommender: LoadedRecommender
) -> None:
    world = exported[0]
    history, exclude = world.item_ids[:2], world.item_ids[5:7]
    found = recommender.recommend("space opera", history, exclude, k=4)
    expected, scores = world.expected("space opera", history, exclude, 4)
    assert [r.item_id for r in found] == expected
    assert [r.title for r in found] == [world.titles[world.item_ids.index(i)] for i in expected]
    assert [r.score for r in found] == pytest.approx(scores.tolist(), abs=1e-5)


def test_nothing_known_gives_the_popular_items(
    exported: tuple[Any, Path], recommender: LoadedRecommender
) -> None:
    assert [r.item_id for r in recommender.recommend(k=3)] == exported[0].expected("", [], [], 3)[0]


def test_padding_is_not_shown(exported: tuple[Any, Path], recommender: LoadedRecommender) -> None:
    assert recommender.recommend(history=exported[0].item_ids) == []
    assert len(recommender.recommend("x", k=10**9)) == exported[0].max_k


def test_similar_items_leave_out_the_item(
    exported: tuple[Any, Path], recommender: LoadedRecommender
) -> None:
    for item_id in exported[0].item_ids[:6]:
        found = [r.item_id for r in recommender.similar(item_id, k=3)]
        assert len(found) == 3
        assert item_id not in found


def test_an_unknown_item_is_an_error_with_the_nearest_ids(recommender: LoadedRecommender) -> None:
    with pytest.raises(UsageError, match="There is no item 'with spaces'.*'with space'"):
        recommender.similar("with spaces")


def test_k_below_one_and_a_single_string_are_usage_errors(recommender: LoadedRecommender) -> None:
    with pytest.raises(UsageError, match="`k` must be at least 1, got 0"):
        recommender.recommend("x", k=0)
    with pytest.raises(UsageError, match="`k` must be at least 1, got 0"):
        recommender.similar("i1", k=0)
    with pytest.raises(UsageError, match="`history` must be a list of item ids"):
        recommender.recommend(history="i1")


def test_diversity_chooses_from_the_candidates_alone_and_keeps_the_scores_of_the_model(
    exported: tuple[Any, Path], recommender: LoadedRecommender
) -> None:
    history, exclude = exported[0].item_ids[:2], exported[0].item_ids[5:7]
    pool = {r.item_id: r for r in recommender.recommend("space opera", history, exclude, k=8)}
    found = recommender.recommend(
        "space opera", history, exclude, k=4, diversity=0.9, popularity_penalty=0.5, candidates=8
    )
    assert len(found) == 4 and [pool[r.item_id] for r in found] == found
    assert found != list(pool.values())[:4]


@pytest.mark.parametrize("method", ["mmr", "dpp"])
def test_a_diverse_list_is_less_alike(
    exported: tuple[Any, Path], recommender: LoadedRecommender, method: str
) -> None:
    vectors = np.load(exported[1] / "assets.extra/item_embeddings.npy")
    vectors = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)

    def likeness(**knobs: Any) -> float:
        found = recommender.recommend("space opera", k=4, diversity_method=method, **knobs)
        rows = [exported[0].item_ids.index(r.item_id) for r in found]
        return float((vectors[rows] @ vectors[rows].T).mean())

    assert likeness(diversity=0.9) < likeness()


def test_a_strong_penalty_brings_the_least_popular_candidates(
    exported: tuple[Any, Path], recommender: LoadedRecommender
) -> None:
    shares = dict(zip(exported[0].item_ids, exported[0].popularity.tolist(), strict=True))
    every = recommender.recommend("space opera", k=8)
    found = recommender.recommend("space opera", k=4, popularity_penalty=100.0, candidates=8)
    least = sorted(shares[r.item_id] for r in every)[:4]
    assert sorted(shares[r.item_id] for r in found) == least


def test_full_categories_are_filled_up_from_beyond_the_candidates(
    exported: tuple[Any, Path], recommender: LoadedRecommender
) -> None:
    plain = [r.item_id for r in recommender.recommend("space opera", k=8)]
    categories = dict.fromkeys(plain[:5], "crowded")
    found = recommender.recommend(
        "space opera", k=3, max_per_category=1, categories=categories, candidates=3
    )
    assert [r.item_id for r in found] == [plain[0], *plain[5:7]]


def test_a_list_is_short_only_where_nothing_more_is_allowed(
    exported: tuple[Any, Path], recommender: LoadedRecommender
) -> None:
    categories = dict.fromkeys(exported[0].item_ids, "one")
    found = recommender.recommend(
        "space opera", k=5, max_per_category=2, categories=categories, candidates=2
    )
    assert found == recommender.recommend("space opera", k=2)


def test_knobs_that_cannot_be_meant_are_usage_errors(recommender: LoadedRecommender) -> None:
    for knobs, message in (
        ({"diversity": 1.5}, "`diversity` must lie between 0"),
        ({"diversity": 0.5, "candidates": 0}, "`candidates` must be at least 1, got 0"),
        ({"diversity": 0.5, "k": 0}, "`k` must be at least 1, got 0"),
        ({"max_per_category": 1}, "belong together"),
        ({"categories": {"i1": "a"}}, "belong together"),
        ({"max_per_category": 1, "categories": {"nix": "a"}}, "names no item of"),
    ):
        with pytest.raises(UsageError, match=message):
            recommender.recommend("x", **knobs)


@pytest.mark.slow
@pytest.mark.parametrize("exported", ["scann_hashed"], indirect=True)
def test_a_new_process_loads_an_export_without_keras(exported: tuple[Any, Path]) -> None:
    world, folder = exported
    program = """
        import json, sys
        from tfrec_llm.serving.loaded import load
        recommender = load(sys.argv[1])
        found = [r.item_id for r in recommender.recommend("opera", sys.argv[2:], k=3)]
        foreign = [m for m in ("keras", "keras_nlp", "keras_hub") if m in sys.modules]
        print(json.dumps([found, foreign]))
    """
    history = world.item_ids[:2]
    result = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(program), str(folder), *history],
        capture_output=True,
        text=True,
        check=True,
        env={**os.environ, "PYTHONIOENCODING": "utf-8"},
    )
    found, foreign = json.loads(result.stdout.splitlines()[-1])
    assert found == world.expected("opera", history, [], 3)[0]
    assert foreign == []


def test_the_newest_version_is_loaded(copied: Path) -> None:
    newer = Path(shutil.copytree(copied, copied.with_name("10")))
    shutil.copytree(copied, copied.with_name("2"))
    assert load(copied.parent).folder == newer
    assert load(copied).folder == copied


def test_a_missing_or_empty_folder_is_a_usage_error(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="There is no export"):
        load(tmp_path / "nowhere")
    with pytest.raises(UsageError, match="holds no version"):
        load(tmp_path)
    (tmp_path / "1").mkdir()
    with pytest.raises(UsageError, match="holds no requires.json"):
        load(tmp_path)


@pytest.mark.parametrize(
    "name",
    [
        "saved_model.pb",
        "variables/variables.data-00000-of-00001",
        "assets.extra/items.parquet",
        "model_card.md",
    ],
)
def test_one_changed_byte_is_found_and_the_file_named(copied: Path, name: str) -> None:
    contents = bytearray((copied / name).read_bytes())
    contents[len(contents) // 2] ^= 1
    (copied / name).write_bytes(contents)
    with pytest.raises(CorruptFileError, match=f"{name} was changed or cut"):
        load(copied)


def test_a_cut_model_is_named_even_where_nothing_is_verified_first(copied: Path) -> None:
    path = copied / "saved_model.pb"
    path.write_bytes(path.read_bytes()[:1000])
    with pytest.raises(CorruptFileError, match=r"saved_model\.pb was changed or cut"):
        load(copied, verify=False)


def test_a_missing_file_is_named(copied: Path) -> None:
    (copied / "variables" / "variables.index").unlink()
    with pytest.raises(CorruptFileError, match=r"variables/variables\.index is missing"):
        load(copied)


@pytest.mark.parametrize("contents", ["{", "[]", "{}", '{"sha256": {}, "custom_ops": 3}'])
def test_broken_requirements_are_a_corrupt_file(copied: Path, contents: str) -> None:
    (copied / "requires.json").write_text(contents)
    with pytest.raises(CorruptFileError, match=r"requires\.json"):
        load(copied)


def _ask_for(copied: Path, library: str) -> None:
    path = copied / "requires.json"
    requires = json.loads(path.read_text())
    requires["custom_ops"].append({"op": "X", "library": library, "version": "1"})
    path.write_text(json.dumps(requires))


def test_a_library_that_we_do_not_know_is_never_imported(copied: Path) -> None:
    _ask_for(copied, "antigravity")
    with pytest.raises(ExportError, match="antigravity"):
        load(copied)
    assert "antigravity" not in sys.modules


def test_a_missing_library_names_its_extra(copied: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    _ask_for(copied, "scann")
    monkeypatch.setitem(sys.modules, "scann", None)
    with pytest.raises(MissingPackageError, match=r"`scann`.*tfrec_llm\[scann\]"):
        load(copied)
