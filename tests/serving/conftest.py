"""A small model, encoder and catalogue, and what they should answer, worked out in NumPy."""

from __future__ import annotations

import http.client
import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy import sparse

from tfrec_llm.keras_api import keras, tf
from tfrec_llm.neighbours.neighbour_table import NeighbourTable
from tfrec_llm.retrieval.add_neighbours import AddNeighbours
from tfrec_llm.retrieval.brute_force_index import BruteForceIndex
from tfrec_llm.retrieval.ivf_index import IvfIndex
from tfrec_llm.retrieval.scann_index import ScannIndex
from tfrec_llm.serving.saved_model import write_export
from tfrec_llm.serving.servable import Servable

LOWEST = np.finfo(np.float32).min
DIM, FEATURES = 6, 5


class WordEncoder:
    """The mean of a vector for each word; a table gives one known word a vector of its own."""

    dim = FEATURES
    num_tokens = None

    def __init__(self) -> None:
        draw = np.random.default_rng(3)
        self.calls = 0
        self._table = tf.Variable(draw.normal(size=(64, FEATURES)).astype(np.float32))
        self._vocabulary = tf.lookup.StaticHashTable(
            tf.lookup.KeyValueTensorInitializer(["opera"], tf.constant([63], tf.int64)), -1
        )
        self.variables = [self._table]
        self.trackables = [self._vocabulary]

    def embed(self, texts: Any) -> Any:
        words = tf.strings.split(texts)
        number = self._vocabulary.lookup(words.values)
        bucket = tf.strings.to_hash_bucket_fast(words.values, 63)
        rows = tf.gather(self._table, tf.where(number < 0, bucket, number))
        return tf.reduce_mean(words.with_values(rows), axis=1)


class TwoTowers(keras.Model):
    """Text and id added; a user is the mean of history and text. All zeros for nothing known."""

    def __init__(self, num_items: int) -> None:
        super().__init__()
        start = keras.initializers.RandomNormal(seed=5)
        self.text = keras.layers.Dense(DIM, kernel_initializer=start)
        self.ids = keras.layers.Embedding(num_items, DIM, embeddings_initializer=start)
        self.user = keras.layers.Dense(DIM, kernel_initializer=start, use_bias=False)
        self.text.build((None, FEATURES))
        self.ids.build((None,))
        self.user.build((None, DIM))
        self.built = True

    def embed_items(self, text_features: Any, item_numbers: Any) -> Any:
        known = tf.cast(item_numbers >= 0, tf.float32)[:, None]
        ids = self.ids(tf.maximum(item_numbers, 0)) * known
        return tf.math.l2_normalize(self.text(text_features) + 3.0 * ids, axis=1)

    def embed_users(
        self, history_embeddings: Any, history_mask: Any, text_features: Any, text_mask: Any
    ) -> Any:
        mask = tf.cast(history_mask, tf.float32)[:, :, None]
        # The newest item counts most, so that the order of a history matters.
        age = tf.cumsum(mask, axis=1, reverse=True, exclusive=True)
        history = tf.reduce_sum(history_embeddings * mask * 0.7**age, axis=1)
        text = self.text(text_features) * tf.cast(text_mask, tf.float32)[:, None]
        return tf.math.l2_normalize(self.user(history) + 2.0 * text, axis=1)


ODD_IDS = ['"quoted, id"', "🚀📚", "with space", "日本", "'; --"]


class World:
    """Everything that a servable is made of, and the servable."""

    def __init__(self, num_items: int, kind: str, max_k: int = 12, max_history: int = 4) -> None:
        draw = np.random.default_rng(num_items)
        self.encoder = WordEncoder()
        self.model = TwoTowers(num_items)
        self.item_ids = [*ODD_IDS, *(f"i{n}" for n in range(num_items))][:num_items]
        self.titles = [f"title {n}" for n in range(num_items)]
        features = self.encoder.embed(tf.constant(self.titles))
        self.embeddings = self.model.embed_items(features, tf.range(num_items)).numpy()
        self.popularity = draw.permutation(num_items).astype(np.float32)
        self.popularity /= max(1.0, self.popularity.sum())
        self.max_k, self.max_history = max_k, max_history
        build = {
            "brute_force": BruteForceIndex,
            "brute_force_and_neighbours": BruteForceIndex,
            "scann": ScannIndex,
            "ivf_lists": lambda rows: IvfIndex(rows, num_lists=3, num_lists_to_search=3),
            "scann_hashed": lambda rows: ScannIndex(rows, num_leaves=4, num_leaves_to_search=4),
        }[kind]
        # Weights of neighbours that change the order, and none where they are left out.
        self.near = draw.random((num_items, num_items)).astype(np.float32)
        self.near *= (self.near > 0.8) * kind.endswith("neighbours")
        np.fill_diagonal(self.near, 0.0)
        table = NeighbourTable.from_matrix(sparse.csr_matrix(self.near), decay=0.5)
        self.servable = Servable(
            self.model,
            self.encoder,
            self.item_ids,
            self.titles,
            self.embeddings,
            self.popularity,
            build(self.embeddings),
            max_k=max_k,
            max_history=max_history,
            texts=self.titles,
            neighbours=None if table.is_empty else AddNeighbours(table),
        )

    def user_embedding(self, text: str, history: list[str]) -> np.ndarray:
        known = [self.item_ids.index(i) for i in history if i in self.item_ids]
        known = known[-self.max_history :]
        rows = self.embeddings[known].reshape(1, -1, DIM)
        has_text = bool(text.strip())
        features = self.encoder.embed(tf.constant([text])) if has_text else tf.zeros((1, FEATURES))
        mask = tf.ones((1, len(known)), tf.bool)
        return self.model.embed_users(rows, mask, features, tf.constant([has_text])).numpy()[0]

    def added(self, history: list[str]) -> np.ndarray:
        """What neighbours add: half as much for each item further back, adding up to 1."""
        known = [self.item_ids.index(i) for i in history if i in self.item_ids]
        known = known[-self.max_history :]
        weights = [0.5 ** (len(known) - 1 - place) for place in range(len(known))]
        total = np.zeros(len(self.item_ids), np.float32)
        for item, weight in zip(known, weights, strict=True):
            total += weight / sum(weights) * self.near[item]
        return total

    def expected(
        self, text: str, history: list[str], exclude: list[str], k: int
    ) -> tuple[list[str], np.ndarray]:
        """Ranks by plain NumPy."""
        if text.strip() or any(i in self.item_ids for i in history):
            scores = self.embeddings @ self.user_embedding(text, history) + self.added(history)
        else:
            scores = self.popularity
        gone = {*history, *exclude}
        order = [n for n in np.argsort(-scores, kind="stable") if self.item_ids[n] not in gone]
        width = min(k, self.max_k)
        order = order[:width]
        ids = [self.item_ids[n] for n in order] + [""] * (width - len(order))
        padding = np.full(width - len(order), LOWEST, np.float32)
        return ids, np.concatenate([scores[order], padding])


@pytest.fixture(scope="session", params=["brute_force", "brute_force_and_neighbours"])
def world(request: Any) -> World:
    return World(40, request.param)


@pytest.fixture(scope="session", params=["brute_force_and_neighbours", "scann_hashed"])
def exported(request: Any, tmp_path_factory: Any) -> tuple[World, Path]:
    """A world and the version folder of its export, for each way to search."""
    made = World(40, request.param)
    out = tmp_path_factory.mktemp(request.param) / "export"
    return made, write_export(made.servable, out, metadata={"name": "tiny", "data": {"users": 3}})


@pytest.fixture(scope="session")
def make_world() -> type[World]:
    return World


@dataclass(frozen=True)
class RunningServer:
    """A process of `tfrec-llm serve`, and where it listens."""

    process: subprocess.Popen[str]
    name: str
    rest: str
    grpc: str

    def request(
        self, method: str, path: str, body: bytes | None = None
    ) -> tuple[int, dict[str, Any]]:
        """Sends one HTTP request on a connection of its own: the status and the JSON."""
        connection = http.client.HTTPConnection(self.rest.removeprefix("http://"), timeout=60)
        try:
            connection.request(method, path, body)
            answer = connection.getresponse()
            return answer.status, json.loads(answer.read())
        finally:
            connection.close()

    def predict(self, request: dict[str, Any], which: str = "") -> tuple[int, dict[str, Any]]:
        path = f"/v1/models/{self.name}{which}:predict"
        return self.request("POST", path, json.dumps(request).encode())


@pytest.fixture(scope="session")
def serve() -> Iterator[Callable[..., RunningServer]]:
    """Starts servers on free ports, and ends them after the tests."""
    started: list[subprocess.Popen[str]] = []

    def start(export: Path, *options: str) -> RunningServer:
        command = [sys.executable, "-m", "tfrec_llm", "serve", str(export), "--json"]
        process = subprocess.Popen(
            [*command, "--rest-port", "0", "--grpc-port", "0", *options],
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
            env={**os.environ, "CUDA_VISIBLE_DEVICES": "-1"},
        )
        started.append(process)
        assert process.stdout is not None
        told = json.loads("".join(iter(process.stdout.readline, "}\n")) + "}")
        return RunningServer(process, told["model"], told["rest"], told["grpc"])

    yield start
    for process in started:
        process.kill()
        process.wait()


@pytest.fixture(scope="session")
def served(
    exported: tuple[World, Path], serve: Callable[..., RunningServer]
) -> Iterator[tuple[World, RunningServer]]:
    """A server for each way to search, with batching."""
    server = serve(exported[1].parent, "--name", "tiny", "--max-body-mb", "0.25")
    yield exported[0], server
    server.process.kill()
