"""A small encoder and a small export, made once for the tests of this folder."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest

WORDS = "the man food person stock market space opera sand worm planet love story war king".split()


@pytest.fixture(scope="session", autouse=True)
def cache_folder_of_bulk(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TFREC_LLM_CACHE", str(tmp_path_factory.mktemp("cache")))
        yield


@pytest.fixture(scope="session")
def preset(tmp_path_factory: pytest.TempPathFactory) -> Path:
    from tfrec_llm.testing.tiny_models import tiny_preset

    return tiny_preset(tmp_path_factory.mktemp("preset"))


@pytest.fixture(scope="session")
def texts() -> dict[str, str]:
    """Item id → text, of lengths from nothing to 30 words."""
    draw = np.random.default_rng(5)
    return {f"i{n}": " ".join(draw.choice(WORDS, size=n % 31)) for n in range(100)}


@pytest.fixture(scope="session")
def export(preset: Path, texts: dict[str, str], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of versions: untrained towers over the items, all of which are found exactly."""
    from tfrec_llm.encoders.text_encoder import TextEncoder
    from tfrec_llm.models.two_tower_model import TwoTowerModel
    from tfrec_llm.retrieval.brute_force_index import BruteForceIndex
    from tfrec_llm.serving.saved_model import write_export
    from tfrec_llm.serving.servable import Servable
    from tfrec_llm.towers.item_tower import ItemTower
    from tfrec_llm.towers.user_tower import UserTower

    encoder = TextEncoder.from_preset(preset, max_tokens=16)
    model = TwoTowerModel(ItemTower(len(texts), 8), UserTower("mean", 8), feature_dim=encoder.dim)
    embeddings = model.embed_corpus(encoder.encode(list(texts.values())))
    servable = Servable(
        model=model,
        encoder=encoder,
        item_ids=list(texts),
        titles=list(texts.values()),
        item_embeddings=embeddings,
        popularity=np.full(len(texts), 1 / len(texts), np.float32),
        index=BruteForceIndex(embeddings),
        max_k=20,
        max_history=8,
        texts=list(texts.values()),
    )
    folder = tmp_path_factory.mktemp("export") / "export"
    write_export(servable, folder, metadata={"name": "bulk"})
    return folder


@pytest.fixture(scope="session")
def write_records() -> Callable[..., None]:
    """Writes dicts of lists of texts as tf.train.Examples, bytes as they are."""
    from tfrec_llm.keras_api import tf

    def made(record: dict[str, list[str]] | bytes) -> bytes:
        if isinstance(record, bytes):
            return record
        example = tf.train.Example()
        for name, values in record.items():
            example.features.feature[name].bytes_list.value.extend(v.encode() for v in values)
        return bytes(example.SerializeToString())

    def write(path: Path, records: list[dict[str, list[str]] | bytes], form: str = "") -> None:
        with tf.io.TFRecordWriter(str(path), form) as writer:
            for record in records:
                writer.write(made(record))

    return write


@pytest.fixture(scope="session")
def rejected() -> Callable[[Path], list[tuple[str, int, str]]]:
    """File, row and reason of each row that was set aside."""

    def read(out: Path) -> list[tuple[str, int, str]]:
        lines = [line for path in out.glob("rejected-*") for line in path.read_text().splitlines()]
        rows = [json.loads(line) for line in lines]
        return sorted((Path(row["file"]).name, row["row"], row["reason"]) for row in rows)

    return read
