"""Every pooling through a whole export, loaded as a server loads it, in one fresh process."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tfrec_llm.encoders.text_encoder import TextEncoder
from tfrec_llm.fusion.poolings import FIXED_POOLINGS, LEARNED_POOLINGS
from tfrec_llm.keras_api import keras, tf
from tfrec_llm.models.two_tower_model import TwoTowerModel
from tfrec_llm.retrieval.brute_force_index import BruteForceIndex
from tfrec_llm.serving.export_check import ask
from tfrec_llm.serving.plain_tensors import from_json, to_json
from tfrec_llm.serving.servable import Servable
from tfrec_llm.testing.layer_checks import randomise
from tfrec_llm.testing.tiny_models import tiny_preset
from tfrec_llm.towers.item_tower import ItemTower
from tfrec_llm.towers.user_tower import UserTower

pytestmark = pytest.mark.slow

NAMES = (*FIXED_POOLINGS, "layers", *LEARNED_POOLINGS)
TITLES = ["space opera", "the man is eating food", "the sea", "old young king", "space war"]
TEXTS = ["space", "日本 💥", "the " * 50, "a river by night", "king queen"]
IDS = [f"i{n}" for n in range(len(TITLES))]
REQUESTS: list[tuple[str, dict[str, Any]]] = [
    ("encode_items", {"item_ids": [*IDS, *[""] * 5], "item_text": [*TITLES, *TEXTS]}),
    ("encode_users", {"user_text": [*TEXTS, ""], "history": [["i1"]] * 5 + [["i3"]]}),
    ("recommend", {"user_text": TEXTS, "history": [[]] * 5, "exclude_ids": [["i0"]] * 5, "k": 3}),
]

_ASK_IN_ONE_PROCESS = """
import sys
from tfrec_llm.serving.fresh_process import main
folder = sys.argv[1]
for name in sys.argv[2:]:
    main(f"{folder}/{name}", f"{folder}/requests.json", f"{folder}/{name}.json")
"""


def servable_of(name: str, preset: Path) -> Servable:
    encoder = TextEncoder.from_preset(preset, pooling=name, pooling_layers=2, max_tokens=12)
    encoder.fit(TITLES)
    keras.utils.set_random_seed(4)
    learned = {"pooling": name} if name in LEARNED_POOLINGS else {}
    tower = ItemTower(len(TITLES), 8, **learned)
    user_tower = UserTower("transformer", max_history=3)
    model = TwoTowerModel(tower, user_tower, feature_dim=encoder.dim)
    if tower.text_pooling is not None:
        randomise(tower.text_pooling)  # it starts as the mean, which could hide anything
    embeddings = model.embed_corpus(encoder.encode(TITLES))
    shares = np.full(len(TITLES), 0.2, np.float32)
    index = BruteForceIndex(embeddings)
    return Servable(model, encoder, IDS, TITLES, embeddings, shares, index, 4, 3)


@pytest.fixture(scope="module")
def servables(tmp_path_factory: Any) -> dict[str, Servable]:
    preset = tiny_preset(tmp_path_factory.mktemp("poolings") / "preset")
    return {name: servable_of(name, preset) for name in NAMES}


@pytest.fixture(scope="module")
def served(servables: dict[str, Servable], tmp_path_factory: Any) -> dict[str, Any]:
    """The answers of the loaded exports: a list of dicts for each pooling."""
    folder = tmp_path_factory.mktemp("exports")
    options = tf.saved_model.SaveOptions(namespace_whitelist=["TFText"])
    for name, servable in servables.items():
        signatures = {key: getattr(servable, key).get_concrete_function() for key, _ in REQUESTS}
        tf.saved_model.save(servable, str(folder / name), signatures=signatures, options=options)
    plain = [[name, {k: to_json(v) for k, v in inputs.items()}] for name, inputs in REQUESTS]
    (folder / "requests.json").write_text(json.dumps(plain))
    subprocess.run([sys.executable, "-c", _ASK_IN_ONE_PROCESS, folder, *NAMES], check=True)
    replies = {name: json.loads((folder / f"{name}.json").read_text()) for name in NAMES}
    return {
        name: [{k: from_json(v) for k, v in answer.items()} for answer in reply["answers"]]
        for name, reply in replies.items()
    }


@pytest.mark.parametrize("name", NAMES)
def test_a_loaded_export_answers_as_the_model_in_memory(
    name: str, servables: dict[str, Servable], served: dict[str, Any]
) -> None:
    for (signature, inputs), answer in zip(REQUESTS, served[name], strict=True):
        expected = ask(servables[name], signature, inputs)
        assert set(answer) == set(expected)
        for output, value in expected.items():
            if value.dtype == object:
                assert answer[output] == value.tolist(), signature
            else:
                np.testing.assert_allclose(answer[output], value, atol=1e-4, err_msg=signature)


@pytest.mark.parametrize("name", NAMES)
def test_stored_embeddings_are_those_of_the_served_encoder(
    name: str, servables: dict[str, Servable], served: dict[str, Any]
) -> None:
    # Token features of a corpus are kept in float16.
    tolerance = 5e-3 if name in LEARNED_POOLINGS else 1e-4
    found = served[name][0]["embeddings"][: len(TITLES)]
    np.testing.assert_allclose(found, servables[name].embeddings.numpy(), atol=tolerance)


def test_every_pooling_gives_embeddings_of_its_own(served: dict[str, Any]) -> None:
    found = {name: np.array(answers[0]["embeddings"]) for name, answers in served.items()}
    for first, second in [(a, b) for a in NAMES for b in NAMES if a < b]:
        assert np.abs(found[first] - found[second]).max() > 1e-3, (first, second)
