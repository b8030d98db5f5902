"""An export of a model with time gaps: `recommend_timed`, wherever it can be asked."""

from __future__ import annotations

import json
import shutil
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import polars as pl
import pytest

from tfrec_llm.cli.main import main
from tfrec_llm.data.time_gaps import gap_buckets
from tfrec_llm.errors import RequestError, UsageError
from tfrec_llm.keras_api import keras, tf
from tfrec_llm.models.two_tower_model import TwoTowerModel
from tfrec_llm.retrieval.brute_force_index import BruteForceIndex
from tfrec_llm.serving import saved_model
from tfrec_llm.serving.client import GrpcClient, Query, RestClient
from tfrec_llm.serving.examination import Examination
from tfrec_llm.serving.export_check import ask, ask_in_fresh_process
from tfrec_llm.serving.loaded import LoadedRecommender, load
from tfrec_llm.serving.saved_model import write_export
from tfrec_llm.serving.servable import Servable
from tfrec_llm.serving.server.batcher import join
from tfrec_llm.serving.server.json_requests import arrays_of
from tfrec_llm.serving.signatures import SIGNATURES, TIME_SIGNATURES, Tensor
from tfrec_llm.testing.layer_checks import randomise
from tfrec_llm.towers.item_tower import ItemTower
from tfrec_llm.towers.user_tower import UserTower
from tfrec_llm.workflows import check as check_module
from tfrec_llm.workflows.refresh import refresh

NUM_ITEMS, MAX_HISTORY, K = 15, 3, 5
IDS = [f"i{n}" for n in range(NUM_ITEMS)]
NOW = 1_700_000_000
# Padding, unknown items and an item that stands there twice, beside known and unknown times.
HISTORIES = [
    ["i1", "i2", "i3", "i4"],
    ["", "i5", "?", "i6"],
    ["i7", "i7", "", ""],
    ["i8", "i9", "i1", ""],
]
TIMES = [
    [NOW, NOW + 60, NOW + 90_000, NOW + 90_001],
    [0, NOW, NOW + 7, NOW + 9],
    [NOW, NOW + 3600, 0, 0],
    [NOW + 50, NOW, -1, 0],
]
GAPS = [[0, 6, 17, 2], [0, 0, 4, 2], [0, 12, 0, 0], [0, 0, 0, 0]]
USERS = {"user_text": [""] * 4, "history": HISTORIES, "exclude_ids": [["i0"]] * 4, "k": K}


@dataclass
class Timed:
    """A model with random weights, and the servable that it is in."""

    model: TwoTowerModel
    servable: Servable
    embeddings: np.ndarray

    def expected(self, row: int, gaps: list[int]) -> list[str]:
        """Ranks by the model in Python: the most recent known items with their gaps."""
        known = [(IDS.index(i), g) for i, g in zip(HISTORIES[row], gaps, strict=True) if i in IDS]
        numbers, of_items = map(list, zip(*known[-MAX_HISTORY:], strict=True))
        user = self.model.embed_users(
            tf.constant(self.embeddings[numbers][None]),
            tf.ones((1, len(numbers)), tf.bool),
            tf.zeros((1, 5)),
            tf.constant([False]),
            tf.constant([of_items]),
        ).numpy()[0]
        order = [IDS[n] for n in np.argsort(-(self.embeddings @ user), kind="stable")]
        return [i for i in order if i not in {*HISTORIES[row], "i0"}][:K]


@pytest.fixture(scope="module")
def timed(make_world: Any) -> Timed:
    keras.utils.set_random_seed(3)
    model = TwoTowerModel(
        ItemTower(NUM_ITEMS, 6), UserTower("gru", MAX_HISTORY, time_gaps=True), feature_dim=5
    )
    randomise(model, scale=1.0)
    encoder = make_world(NUM_ITEMS, "brute_force").encoder
    titles = [f"title {n}" for n in range(NUM_ITEMS)]
    embeddings = model.embed_corpus(encoder.embed(tf.constant(titles)).numpy())
    servable = Servable(
        model,
        encoder,
        IDS,
        titles,
        embeddings,
        np.full(NUM_ITEMS, 1 / NUM_ITEMS, np.float32),
        BruteForceIndex(embeddings),
        max_k=10,
        max_history=MAX_HISTORY,
        texts=titles,
        time_gaps=True,
    )
    return Timed(model, servable, embeddings)


@pytest.fixture(scope="module")
def exported(timed: Timed, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The version folder of the export; the tests ask it in a fresh process themselves."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(saved_model, "check_export", lambda *_: [])
        return write_export(timed.servable, tmp_path_factory.mktemp("timed") / "export")


@pytest.fixture(scope="module")
def recommender(exported: Path) -> LoadedRecommender:
    return load(exported)


def ids(answer: dict[str, np.ndarray]) -> list[list[str]]:
    return [[item_id.decode() for item_id in row] for row in answer["item_ids"]]


def test_the_buckets_of_this_test_are_those_of_training() -> None:
    for times, gaps in zip(TIMES, GAPS, strict=True):
        assert gap_buckets(np.array(times)).tolist() == gaps


def test_an_export_answers_as_the_model_in_python_does(timed: Timed, exported: Path) -> None:
    asked = [("recommend_timed", {**USERS, "history_times": TIMES}), ("recommend", USERS)]
    _, (with_times, without) = ask_in_fresh_process(exported, asked)
    assert ids(with_times) == [timed.expected(row, gaps) for row, gaps in enumerate(GAPS)]
    assert ids(without) == [timed.expected(row, [0] * 4) for row in range(4)]
    changes = np.abs(with_times["scores"] - without["scores"]).max(axis=1)
    assert changes[:3].min() > 1e-3 and changes[3] < 1e-5  # no gap of the last user is known


def test_without_times_the_answers_are_those_of_recommend(timed: Timed) -> None:
    unknown = {**USERS, "history_times": [[0] * 4] * 4}
    found = ask(timed.servable, "recommend_timed", unknown)
    wanted = ask(timed.servable, "recommend", USERS)
    np.testing.assert_array_equal(found["item_ids"], wanted["item_ids"])
    np.testing.assert_allclose(found["scores"], wanted["scores"], atol=1e-6)


def test_an_export_with_times_has_one_signature_more(exported: Path) -> None:
    requires = json.loads((exported / "requires.json").read_text())
    assert set(requires["signatures"]) == {*SIGNATURES, *TIME_SIGNATURES}
    assert (
        "| `recommend_timed` | `user_text`, `history`, `history_times`,"
        in (exported / "model_card.md").read_text()
    )


def test_times_of_another_width_than_the_history_are_refused(timed: Timed) -> None:
    wrong = {**USERS, "history_times": [[NOW]] * 4}
    with pytest.raises(tf.errors.InvalidArgumentError, match="must have the same shape"):
        ask(timed.servable, "recommend_timed", wrong)


def test_a_user_of_whom_nothing_is_known_gets_the_popular_items(timed: Timed) -> None:
    nobody = {"user_text": [""], "history": [[]], "exclude_ids": [[]], "k": 2}
    found = ask(timed.servable, "recommend_timed", {**nobody, "history_times": [[]]})
    assert ids(found) == [["i0", "i1"]]


def test_python_tells_the_times_of_one_user(timed: Timed, recommender: Any) -> None:
    found = recommender.recommend(
        history=HISTORIES[0], exclude=["i0"], k=K, history_times=[t + 0.5 for t in TIMES[0]]
    )
    assert [item.item_id for item in found] == timed.expected(0, GAPS[0])
    assert recommender.recommend(k=2, history_times=[]) == recommender.recommend(k=2)


def test_the_command_line_tells_the_times_of_one_user(
    timed: Timed, exported: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    ids_and_times = ["--history", ",".join(HISTORIES[0]), "--history-times"]
    asked = [*ids_and_times, ",".join(map(str, TIMES[0])), "--exclude", "i0", "-k", str(K)]
    assert main(["recommend", str(exported), *asked, "--json"]) == 0
    found = [item["item_id"] for item in json.loads(capsys.readouterr().out)["items"]]
    assert found == timed.expected(0, GAPS[0])


@pytest.mark.parametrize(
    ("times", "message"), [([NOW], "one time for each of the 2"), ([NOW, np.nan], "seconds since")]
)
def test_times_that_do_not_fit_are_refused_in_python(
    recommender: LoadedRecommender, times: list[float], message: str
) -> None:
    with pytest.raises(UsageError, match=message):
        recommender.recommend(history=["i1", "i2"], history_times=times)


def test_an_export_without_time_gaps_says_so() -> None:
    model = SimpleNamespace(signatures=dict.fromkeys(SIGNATURES))
    plain = LoadedRecommender(Path("books/1"), {}, model, {"i1": ""}, np.eye(1), np.ones(1))
    with pytest.raises(UsageError, match=r"books/1 makes no use of times.*towers\.time_gaps: true"):
        plain.recommend(history=["i1"], history_times=[NOW])


@pytest.mark.parametrize("change", [0.0, 0.5])
def test_a_check_compares_the_answers_of_unknown_times_with_those_of_none(
    change: float, timed: Timed, exported: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def without_a_process(folder: Path, requests: list[Any]) -> Examination:
        answers = [ask(timed.servable, name, inputs) for name, inputs in requests]
        last = max(row for row, (name, _) in enumerate(requests) if name == "recommend_timed")
        answers[last]["scores"] = answers[last]["scores"] - change
        return Examination([], None, list(answers), [None] * len(requests))

    monkeypatch.setattr(check_module, "examine", without_a_process)
    report = check_module.check(exported)
    assert report["ok"] is (change == 0.0)
    detail = next(entry for entry in report["checks"] if entry["name"] == "answers")["detail"]
    wanted = "recommend_timed differs from recommend: scores" if change else "to 7 signatures"
    assert wanted in detail


@pytest.mark.slow
def test_a_refreshed_export_makes_use_of_times_too(
    timed: Timed, exported: Path, tmp_path: Path
) -> None:
    shutil.copytree(exported, tmp_path / "export/1")
    titles = [*timed.servable.titles, "new"]
    table = pl.DataFrame({"item_id": [*IDS, "new"], "title": titles})
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(saved_model, "check_export", lambda *_: [])
        refresh(tmp_path / "export", table)
    second = tf.saved_model.load(str(tmp_path / "export/2"))
    timed_users = {**USERS, "history_times": TIMES, "exclude_ids": [["i0", "new"]] * 4}
    found = ask(second, "recommend_timed", timed_users)
    assert ids(found) == [timed.expected(row, gaps) for row, gaps in enumerate(GAPS)]


@pytest.mark.slow
def test_servers_and_both_clients_tell_times(timed: Timed, exported: Path, serve: Any) -> None:
    server = serve(exported.parent, "--name", "timed")
    rest, grpc = RestClient(server.rest, "timed"), GrpcClient(server.grpc, "timed")
    queries = [
        Query(history=h, exclude=["i0"], history_times=t)
        for h, t in zip(HISTORIES, TIMES, strict=True)
    ]
    wanted = [timed.expected(row, gaps) for row, gaps in enumerate(GAPS)]
    for client in (rest, grpc):
        found = client.batch(queries, k=K)
        assert [[item_id for item_id, _ in row] for row in found] == wanted
        alone = client.recommend(history=HISTORIES[0], exclude=["i0"], k=K, history_times=TIMES[0])
        assert [item_id for item_id, _ in alone] == wanted[0]
    with pytest.raises(RequestError, match="history and history_times must have the same shape"):
        rest.predict("recommend_timed", {**USERS, "history_times": [[NOW]] * 4})
    server.process.kill()


def test_a_query_has_a_time_for_each_item_or_none() -> None:
    with pytest.raises(UsageError, match="one time for each of the 1 items"):
        Query(history=["a"], history_times=[NOW, NOW])


def test_times_of_joined_requests_are_padded_with_unknown_ones() -> None:
    one, two = np.array([[NOW]], np.int64), np.array([[NOW, NOW + 1]], np.int64)
    joined = join([{"history_times": one}, {"history_times": two}])["history_times"]
    assert joined.dtype == np.int64 and joined.tolist() == [[NOW, 0], [NOW, NOW + 1]]


def test_json_takes_whole_numbers_of_64_bits() -> None:
    inputs = {"history_times": Tensor("int64", (None, None))}
    _, arrays = arrays_of({"inputs": [[2**40, -1]]}, inputs)
    assert arrays["history_times"].dtype == np.int64
    assert arrays["history_times"].tolist() == [[2**40, -1]]
    for wrong in (2**63, 0.5, True, "1"):
        with pytest.raises(RequestError, match="not of expected type: int64"):
            arrays_of({"inputs": [[wrong]]}, inputs)
