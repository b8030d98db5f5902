"""The real encoder and towers, tiny and untrained, through a whole export."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tfrec_llm.encoders.text_encoder import TextEncoder
from tfrec_llm.keras_api import tf
from tfrec_llm.models.two_tower_model import TwoTowerModel
from tfrec_llm.retrieval.brute_force_index import BruteForceIndex
from tfrec_llm.serving.export_check import ask
from tfrec_llm.serving.loaded import load
from tfrec_llm.serving.saved_model import write_export
from tfrec_llm.serving.servable import Servable
from tfrec_llm.testing.tiny_models import tiny_preset
from tfrec_llm.towers.item_tower import ItemTower
from tfrec_llm.towers.user_tower import UserTower

pytestmark = pytest.mark.slow

TITLES = ["space opera", "a cook book", "the sea", "two friends", "space war"]


@pytest.fixture(scope="module")
def exported(tmp_path_factory: Any) -> tuple[Servable, Path]:
    folder = tmp_path_factory.mktemp("language_model")
    encoder = TextEncoder.from_preset(tiny_preset(str(folder / "preset")), max_tokens=16)
    tower = ItemTower(len(TITLES), 8)
    model = TwoTowerModel(tower, UserTower("transformer", max_history=3), feature_dim=encoder.dim)
    embeddings = model.embed_corpus(encoder.encode(TITLES))
    servable = Servable(
        model,
        encoder,
        [f"i{n}" for n in range(len(TITLES))],
        TITLES,
        embeddings,
        np.full(len(TITLES), 0.2, np.float32),
        BruteForceIndex(embeddings),
        max_k=4,
        max_history=3,
    )
    return servable, write_export(servable, folder / "export")


def test_a_tokenizer_and_brute_force_run_on_a_stock_server(exported: tuple[Any, Path]) -> None:
    requires = json.loads((exported[1] / "requires.json").read_text())
    assert {entry["library"] for entry in requires["custom_ops"]} == {"tensorflow-text"}
    assert requires["stock_tensorflow_serving"] is True


def test_stored_embeddings_are_those_of_the_served_encoder(exported: tuple[Any, Path]) -> None:
    servable, folder = exported
    loaded = tf.saved_model.load(str(folder))
    ids = [f"i{n}" for n in range(len(TITLES))]
    embedded = ask(loaded, "encode_items", {"item_ids": ids, "item_text": TITLES})["embeddings"]
    np.testing.assert_allclose(embedded, servable.embeddings.numpy(), atol=1e-4)


def test_a_loaded_export_answers_any_text(exported: tuple[Any, Path]) -> None:
    servable, folder = exported
    recommender = load(folder)
    for text in ("space", "日本 💥", "\x00", "word " * 500, ""):
        found = recommender.recommend(text, ["i1"], k=3)
        users = {"user_text": [text], "history": [["i1"]], "exclude_ids": [[]], "k": 3}
        expected = ask(servable, "recommend", users)
        assert [r.item_id.encode() for r in found] == expected["item_ids"][0].tolist()
