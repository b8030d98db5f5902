from __future__ import annotations

from pathlib import Path
from typing import Any

import polars as pl
import pytest

import tfrec_llm as tr
from tfrec_llm.encoders.text_encoder import TextEncoder
from tfrec_llm.testing.small_tables import ODD_IDS

CONFIG = {
    "text": {"max_tokens": 16},
    "towers": {"embedding_dim": 8, "max_history": 5},
    "train": {"epochs": 0},
    "evaluate": {"ks": [5, 10], "bootstrap_samples": 20},
    "index": {"kind": "brute_force", "max_k": 50},
}


@pytest.fixture(scope="module")
def data(shop_tables: Path) -> Any:
    return tr.read_tables(shop_tables / "items.csv", shop_tables / "interactions.csv")


@pytest.fixture(scope="module")
def recommender(data: Any, tiny_bert: Path) -> Any:
    return tr.train(data, encoder=str(tiny_bert), config=CONFIG)


def test_recommendations_have_ids_titles_and_scores(recommender: Any) -> None:
    found = recommender.recommend(text="space opera", history=[ODD_IDS[0]], k=5)
    assert len(found) == 5 and ODD_IDS[0] not in {r.item_id for r in found}
    assert all(isinstance(r.title, str) and isinstance(r.score, float) for r in found)
    assert recommender.recommend(exclude=[found[0].item_id], k=50)[0].item_id
    assert len(recommender.similar("space-2", k=3)) == 3


def test_an_export_answers_as_the_recommender_does(
    recommender: Any, tmp_path: Path, without_fresh_process: None
) -> None:
    summary = recommender.export(tmp_path / "export", max_k=9)
    assert summary["version"] == 1
    loaded = tr.load(tmp_path / "export")
    for text, history in (("space", []), ("", ["king-2"]), ("", []), ("food", ["nix"])):
        ours = recommender.recommend(text, history, k=9)
        served = loaded.recommend(text, history, k=50)
        assert [r.item_id for r in ours] == [r.item_id for r in served]


def test_diversity_is_asked_for_as_of_an_export(recommender: Any) -> None:
    plain = [r.item_id for r in recommender.recommend("space opera", k=42)]
    knobs = {"diversity": 0.9, "diversity_method": "dpp", "popularity_penalty": 0.2}
    diverse = [r.item_id for r in recommender.recommend("space opera", k=5, **knobs)]
    assert len(set(diverse)) == 5 and set(diverse) <= set(plain) and diverse != plain[:5]
    limited = recommender.recommend(
        "space opera", k=2, max_per_category=1, categories=dict.fromkeys(plain[:9], "a")
    )
    assert [r.item_id for r in limited] == [plain[0], plain[9]]


def test_metrics_are_measured_and_written(recommender: Any) -> None:
    metrics = recommender.evaluate()
    assert metrics["models"]["two_tower"]["all"]["queries"] == 60
    assert (recommender.run / "metrics.json").is_file()


def test_wrong_arguments_are_told(recommender: Any) -> None:
    with pytest.raises(tr.UsageError, match="`k`"):
        recommender.recommend(k=0)
    with pytest.raises(tr.UsageError, match="one string"):
        recommender.recommend(history="space-2")
    with pytest.raises(tr.UsageError, match="'space-2'"):
        recommender.similar("space2")


@pytest.mark.parametrize(
    ("config", "words"),
    [
        ({"train": {"epochs": -1}}, ["train.epochs", "-1", "at least 0"]),
        ({"train": {"epocs": 1}}, ["train.epocs", "nearest known key is train.epochs"]),
        ({"train": 3}, ["config: train", "3"]),
        ({"trian": {}, "text": {"max_tokens": "a"}}, ["2 faults", "is train", "text.max_tokens"]),
        ({"data": {"items": "a.csv"}}, ["read_tables"]),
        ({"text": [1]}, ["text"]),
    ],
)
def test_faults_of_a_configuration_are_told(
    config: Any, words: list[str], data: Any, tiny_bert: Path
) -> None:
    with pytest.raises(tr.ConfigError) as told:
        tr.train(data, encoder=str(tiny_bert), config=config)
    for word in words:
        assert word in str(told.value)


def test_an_encoder_in_memory_keeps_its_own_settings(
    data: Any, tiny_bert: Path, tmp_path: Path
) -> None:
    encoder = TextEncoder.from_preset(tiny_bert, max_tokens=8)
    made = tr.train(data, encoder=encoder, out=tmp_path / "run", config=CONFIG)
    assert made.trained.encoder.language_model.max_tokens == 8
    assert "max_tokens: 8" in (tmp_path / "run" / "config.yaml").read_text()
    assert made.summary["encoder"]["preset"] == encoder.preset.name


def test_a_folder_in_use_is_refused_and_a_finished_run_taken_up(
    data: Any, recommender: Any, tiny_bert: Path
) -> None:
    with pytest.raises(tr.UsageError, match="not empty"):
        tr.train(data, encoder=str(tiny_bert), out=recommender.run, config=CONFIG)
    again = tr.train(data, encoder=str(tiny_bert), out=recommender.run, config=CONFIG, resume=True)
    assert again.recommend("space") == recommender.recommend("space")
    with pytest.raises(tr.CheckpointError, match="another configuration"):
        tr.train(data, encoder=str(tiny_bert), out=recommender.run, resume=True)


def test_too_little_data_is_told(tiny_bert: Path) -> None:
    items = pl.DataFrame({"item_id": ["a", "b"], "title": ["Dune", "Emma"]})
    clicks = pl.DataFrame({"user_id": ["u", "v"], "item_id": ["a", "b"]})
    with pytest.raises(tr.DataError, match="three interactions"):
        tr.train(tr.read_tables(items, clicks), encoder=str(tiny_bert), config=CONFIG)
