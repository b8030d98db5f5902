from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tfrec_llm.errors import CorruptFileError, UsageError
from tfrec_llm.keras_api import keras, tf
from tfrec_llm.models.pointwise_ranker import PointwiseRanker
from tfrec_llm.serving import saved_model
from tfrec_llm.serving.export_check import ask, ask_in_fresh_process
from tfrec_llm.serving.loaded import load
from tfrec_llm.serving.plain_tensors import Request
from tfrec_llm.serving.reranking import Reranking
from tfrec_llm.serving.restored_parts import restored_parts
from tfrec_llm.serving.sample_requests import sample_requests
from tfrec_llm.serving.saved_model import write_export
from tfrec_llm.serving.servable import Servable
from tfrec_llm.serving.signatures import ALL_SIGNATURES, RANKER_SIGNATURES, SIGNATURES
from tfrec_llm.serving.trained_ranker import TrainedRanker
from tfrec_llm.workflows.refresh import refresh

LOWEST = np.finfo(np.float32).min
DIM, CANDIDATES = 5, 8
IDS = ['"quoted, id"', "日本", *(f"i{n}" for n in range(6)), "unknown", ""]
lists = st.lists(st.sampled_from(IDS), max_size=7)
users = st.tuples(st.sampled_from(["", " ", "space opera", "💥"]), lists, lists)


class WordTokens(tf.Module):
    """A vector for each word, as a language model gives one for each token."""

    def __init__(self) -> None:
        super().__init__()
        table = np.random.default_rng(8).normal(0.5, 1.0, (32, DIM)).astype(np.float32)
        self._table = tf.Variable(table)

    @property
    def variables(self) -> list[Any]:
        return [self._table]

    def embed(self, texts: Any) -> Any:
        words = tf.strings.split(texts)
        rows = tf.gather(self._table, tf.strings.to_hash_bucket_fast(words.values, 32))
        return words.with_values(rows).to_tensor(shape=[None, None, DIM])


class Ranked:
    """A world whose servable has a ranker."""

    def __init__(self, world: Any, weight: float) -> None:
        keras.utils.set_random_seed(2)
        self.world = world
        self.encoder = WordTokens()
        self.ranker = PointwiseRanker(DIM, "correlation", 4, 6, max_history=3)
        self.features = np.random.default_rng(1).normal(0.3, 1.0, (40, 3, DIM)).astype(np.float16)
        self.features[5, 1:] = 0
        self.features[6] = 0  # an item without a text
        self.ranker.set_start(self.features, 0.2, seed=3)
        noise = np.random.default_rng(1)
        for variable in self.ranker.trainable_variables:
            variable.assign_add(noise.normal(0, 0.3, variable.shape).astype(np.float32))
        self.trained = TrainedRanker(
            self.ranker, self.ranker.project_corpus(self.features), CANDIDATES, weight
        )
        self.servable = Servable(
            world.model,
            world.encoder,
            world.item_ids,
            world.titles,
            world.embeddings,
            world.popularity,
            world.servable.index,
            max_k=world.max_k,
            max_history=world.max_history,
            neighbours=world.servable.neighbours,
            reranking=Reranking(
                self.ranker, self.encoder, self.trained.item_tokens, CANDIDATES, weight
            ),
        )

    def logits(self, text: str, history: list[str], item_ids: list[str]) -> np.ndarray:
        """Scores known items by the model itself, from features in full precision."""
        ids = self.world.item_ids
        known = [ids.index(i) for i in history if i in ids][-3:]
        counts = np.maximum(self.features.any(axis=2).sum(axis=1), 1)[:, None]
        means = self.features.astype(np.float32).sum(axis=1) / counts
        texts = self.encoder.embed(tf.constant([text])).numpy() if text.strip() else None
        numbers = [ids.index(i) for i in item_ids]
        user = np.zeros((1, 1, DIM), np.float32) if texts is None else texts
        past = means[known][None] if known else np.zeros((1, 1, DIM), np.float32)
        tile = (len(numbers), 1, 1)
        tokens = self.ranker.project_tokens(self.features[numbers])
        side = tf.concat(
            [
                self.ranker.project_tokens(np.tile(user, tile)),
                self.ranker.project_history(np.tile(past, tile)),
            ],
            axis=1,
        )
        return self.ranker.logits(side, tokens).numpy()

    def expected(
        self, text: str, history: list[str], exclude: list[str], weight: float
    ) -> tuple[list[str], np.ndarray]:
        """Ranks the candidates by plain NumPy."""
        ids, scores = self.world.expected(text, history, exclude, CANDIDATES)
        ids = [i for i in ids if i]
        scores = scores[: len(ids)]
        if not ids or (not text.strip() and not any(i in self.world.item_ids for i in history)):
            return ids, scores
        combined = self.logits(text, history, ids) + 10 * weight * scores
        order = np.argsort(-combined, kind="stable")
        return [ids[n] for n in order], combined[order]


@pytest.fixture(scope="module")
def ranked(world: Any) -> Ranked:
    return Ranked(world, weight=0.25)


@pytest.fixture(scope="module")
def exported(ranked: Ranked, tmp_path_factory: Any) -> Path:
    return write_export(ranked.servable, tmp_path_factory.mktemp("ranked") / "export")


def _padded(rows: list[list[str]]) -> list[list[str]]:
    width = max(map(len, rows))
    return [row + [""] * (width - len(row)) for row in rows]


def _requests(ranked: Ranked) -> list[Request]:
    world = ranked.world
    return [
        *sample_requests(world.item_ids, world.titles, world.max_k, 4, has_ranker=True),
        (
            "recommend_reranked",
            {
                "user_text": ["opera", ""],
                "history": [["日本", "i3"], ["", "i4"]],
                "exclude_ids": [["i1"], ["i2"]],
                "k": 10**6,
            },
        ),
    ]


@settings(deadline=None, max_examples=30)
@given(users=st.lists(users, min_size=1, max_size=3), k=st.integers(1, 15))
def test_reranked_answers_are_those_of_a_plain_numpy_ranking(
    ranked: Ranked, users: list[tuple[str, list[str], list[str]]], k: int
) -> None:
    texts, histories, excluded = (list(column) for column in zip(*users, strict=True))
    answer = ask(
        ranked.servable,
        "recommend_reranked",
        {
            "user_text": texts,
            "history": _padded(histories),
            "exclude_ids": _padded(excluded),
            "k": k,
        },
    )
    width = min(k, ranked.world.max_k)
    assert answer["scores"].shape == answer["item_ids"].shape == (len(users), width)
    for row, (text, history, exclude) in enumerate(users):
        ids, scores = ranked.expected(text, history, exclude, 0.25)
        found = [i.decode() for i in answer["item_ids"][row]]
        kept = found[: len(ids)]
        by_id = dict(zip(ids, scores.tolist(), strict=True))
        assert len([i for i in found if i]) == len(kept) == min(width, len(ids))
        assert not {*history, *exclude} & {i for i in found if i}
        given_scores = answer["scores"][row, : len(kept)]
        np.testing.assert_allclose(given_scores, [by_id[i] for i in kept], atol=0.03)
        np.testing.assert_allclose(given_scores, scores[: len(kept)], atol=0.03)
        assert (answer["scores"][row, len(kept) :] == LOWEST).all()


@settings(deadline=None, max_examples=30)
@given(users=st.lists(users, min_size=1, max_size=3))
def test_rank_gives_probabilities_and_the_lowest_score_to_what_is_no_item(
    ranked: Ranked, users: list[tuple[str, list[str], list[str]]]
) -> None:
    texts, histories, asked = (list(column) for column in zip(*users, strict=True))
    inputs = {"user_text": texts, "history": _padded(histories), "item_ids": _padded(asked)}
    scores = ask(ranked.servable, "rank", inputs)["scores"]
    for row, (text, history, _) in enumerate(users):
        for column, item_id in enumerate(inputs["item_ids"][row]):
            if item_id in ranked.world.item_ids:
                logit = ranked.logits(text, history, [item_id])[0]
                assert scores[row, column] == pytest.approx(1 / (1 + np.exp(-logit)), abs=0.01)
            else:
                assert scores[row, column] == LOWEST


def test_a_user_of_whom_nothing_is_known_gets_the_popular_items_in_their_order(
    ranked: Ranked,
) -> None:
    request = {"user_text": [" "], "history": [["?"]], "exclude_ids": [["i1"]], "k": 5}
    plain, reranked = (
        ask(ranked.servable, name, request) for name in ("recommend", "recommend_reranked")
    )
    np.testing.assert_array_equal(plain["item_ids"], reranked["item_ids"])
    np.testing.assert_array_equal(plain["scores"], reranked["scores"])


@pytest.mark.slow
def test_a_fresh_process_with_the_loader_of_servers_answers_as_memory_does(
    ranked: Ranked, exported: Path
) -> None:
    requests = _requests(ranked)
    _, answers = ask_in_fresh_process(exported, requests)
    assert {name for name, _ in requests} == set(SIGNATURES | RANKER_SIGNATURES)
    for (name, inputs), answer in zip(requests, answers, strict=True):
        expected = ask(ranked.servable, name, inputs)
        assert set(expected) == set(answer) == set(ALL_SIGNATURES[name].outputs)
        for key, value in expected.items():
            if value.dtype == object:
                np.testing.assert_array_equal(answer[key], value)
            else:
                assert np.isfinite(answer[key]).all()
                np.testing.assert_allclose(answer[key], value, atol=1e-5)


@pytest.mark.slow
def test_an_export_with_a_ranker_has_two_signatures_more_and_says_its_size(
    ranked: Ranked, exported: Path
) -> None:
    assert set(load(exported).model.signatures) == set(SIGNATURES) | set(RANKER_SIGNATURES)
    assert set(ranked.world.servable.signature_table) == set(SIGNATURES)
    card = (exported / "model_card.md").read_text()
    assert "item tokens, bytes: 960" in card  # 40 items x 3 tokens x 4 wide x 2 bytes
    assert "`recommend_reranked`" in card


@pytest.mark.slow
def test_a_loaded_export_reranks_on_request(ranked: Ranked, exported: Path) -> None:
    recommender = load(exported)
    found = recommender.recommend("opera", ["i3"], k=4, rerank=True)
    ids, _ = ranked.expected("opera", ["i3"], [], 0.25)
    assert [item.item_id for item in found] == ids[:4]


@pytest.mark.slow
def test_a_reranked_list_can_be_diverse_too(ranked: Ranked, exported: Path) -> None:
    recommender = load(exported)
    every = recommender.recommend("opera", ["i3"], k=CANDIDATES, rerank=True)
    limited = recommender.recommend(
        "opera",
        ["i3"],
        k=2,
        rerank=True,
        max_per_category=1,
        categories=dict.fromkeys([item.item_id for item in every[:3]], "a"),
    )
    assert limited == [every[0], every[3]]


@pytest.mark.slow
def test_a_refresh_of_an_export_with_a_ranker_is_told_that_the_ranker_stays_behind(
    exported: Path,
) -> None:
    model, encoder = restored_parts(exported)
    assert model.has_ranker
    assert encoder.embed(tf.constant(["opera"])).shape == (1, 5)


def test_a_saved_ranker_comes_back_the_same_and_a_changed_file_does_not(
    ranked: Ranked, tmp_path: Path
) -> None:
    ranked.trained.save(tmp_path / "ranker")
    loaded = TrainedRanker.load(tmp_path / "ranker")
    tokens = tf.constant(loaded.item_tokens[:3], tf.float32)
    np.testing.assert_array_equal(
        loaded.ranker.logits(tokens, tokens), ranked.ranker.logits(tokens, tokens)
    )
    assert dataclasses.replace(loaded, ranker=ranked.ranker).retriever_weight == 0.25
    path = tmp_path / "ranker" / "item_tokens.npy"
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)
    with pytest.raises(CorruptFileError, match="item_tokens.npy is missing or not as it was"):
        TrainedRanker.load(tmp_path / "ranker")


def test_a_table_of_other_items_is_refused(world: Any, ranked: Ranked) -> None:
    short = Reranking(ranked.ranker, ranked.encoder, ranked.trained.item_tokens[:9])
    with pytest.raises(UsageError, match="`reranking` has 9 rows, but there are 40 item ids"):
        Servable(
            world.model,
            world.encoder,
            world.item_ids,
            world.titles,
            world.embeddings,
            world.popularity,
            world.servable.index,
            reranking=short,
        )


@pytest.mark.slow
def test_a_refresh_keeps_the_ranker_and_reads_new_texts(
    ranked: Ranked, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(saved_model, "check_export", lambda *_: [])
    world, out = ranked.world, tmp_path / "export"
    monkeypatch.setattr(ranked.servable, "texts", list(world.titles))
    write_export(ranked.servable, out)
    texts = dict(zip(world.item_ids, world.titles, strict=True))
    texts |= {
        "i3": "sand worm",
        "added": "space opera of a long long night",
    }  # more tokens than any
    for number in (2, 3):  # a refresh of a refresh answers the same
        table = pl.DataFrame({"item_id": list(texts), "title": list(texts.values())})
        assert refresh(out, table, force=True)["version"] == number
        new, old = load(out).model, load(out / "1").model
        assert set(new.signatures) == set(SIGNATURES) | set(RANKER_SIGNATURES)

        user = {"user_text": ["space opera"], "history": [["日本", "i5"]]}
        unchanged = [i for i in world.item_ids if i != "i3"]
        request = {**user, "item_ids": [unchanged]}
        before, now = ask(old, "rank", request), ask(new, "rank", request)
        np.testing.assert_allclose(now["scores"], before["scores"], atol=1e-6)

        features = ranked.encoder.embed(tf.constant([texts["i3"], texts["added"]]))
        tokens = ranked.ranker.project_corpus(np.asarray(features, np.float16))
        numbers = [world.item_ids.index(i) for i in user["history"][0]]
        past = ranked.features[numbers].astype(np.float32)
        means = np.stack([rows[rows.any(axis=1)].mean(axis=0) for rows in past])[None]
        side = tf.concat(
            [
                ranked.ranker.project_tokens(ranked.encoder.embed(tf.constant(user["user_text"]))),
                ranked.ranker.project_history(means),
            ],
            axis=1,
        )
        logits = ranked.ranker.logits(tf.repeat(side, 2, axis=0), tf.cast(tokens, tf.float32))
        found = ask(new, "rank", {**user, "item_ids": [["i3", "added"]]})["scores"][0]
        np.testing.assert_allclose(found, tf.sigmoid(logits), atol=5e-3)
