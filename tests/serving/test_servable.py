from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tfrec_llm.errors import UsageError
from tfrec_llm.keras_api import tf
from tfrec_llm.retrieval.brute_force_index import BruteForceIndex
from tfrec_llm.serving.export_check import ask
from tfrec_llm.serving.servable import Servable

LOWEST = np.finfo(np.float32).min
IDS = [*['"quoted, id"', "🚀📚", "日本"], *(f"i{n}" for n in range(6)), "unknown", "", '"', "🚀"]
TEXTS = ["", "  \n", "space opera", "opera", "💥 'quotes\"", "a\x00b"]
lists = st.lists(st.sampled_from(IDS), max_size=9)


def _ids(answer: dict[str, np.ndarray]) -> list[list[str]]:
    return [[item_id.decode() for item_id in row] for row in answer["item_ids"]]


def _padded(rows: list[list[str]], width: int) -> list[list[str]]:
    return [row + [""] * (width - len(row)) for row in rows]


@settings(deadline=None, max_examples=50)
@given(
    users=st.lists(st.tuples(st.sampled_from(TEXTS), lists, lists), min_size=1, max_size=3),
    k=st.integers(1, 15),
)
def test_answers_are_those_of_a_plain_numpy_ranking(
    world: Any, users: list[tuple[str, list[str], list[str]]], k: int
) -> None:
    texts, histories, excluded = (list(column) for column in zip(*users, strict=True))
    answer = ask(
        world.servable,
        "recommend",
        {
            "user_text": texts,
            "history": _padded(histories, max(map(len, histories))),
            "exclude_ids": _padded(excluded, max(map(len, excluded))),
            "k": k,
        },
    )
    assert answer["item_ids"].shape == answer["scores"].shape == (len(users), min(k, world.max_k))
    for row, ids in enumerate(_ids(answer)):
        expected, scores = world.expected(texts[row], histories[row], excluded[row], k)
        assert ids == expected
        np.testing.assert_allclose(answer["scores"][row], scores, atol=1e-5)


@pytest.mark.parametrize("kind", ["brute_force", "scann"])
@pytest.mark.parametrize("num_items", [1, 2, 3])
def test_tiny_corpora_are_padded_with_nothing(make_world: Any, kind: str, num_items: int) -> None:
    world = make_world(num_items, kind)
    for text, history in (("space opera", [""]), ("", [world.item_ids[0]]), ("", [""])):
        users = {"user_text": [text], "history": [history]}
        answer = ask(world.servable, "serving_default", users)
        expected, scores = world.expected(text, history, [], world.max_k)
        assert _ids(answer) == [expected]
        np.testing.assert_allclose(answer["scores"][0], scores, atol=1e-5)
    similar = ask(world.servable, "similar_items", {"item_ids": world.item_ids, "k": 5})
    for row, ids in enumerate(_ids(similar)):
        assert sorted(filter(None, ids)) == sorted({*world.item_ids} - {world.item_ids[row]})


def test_a_history_of_everything_leaves_nothing(world: Any) -> None:
    for text in ("", "opera"):
        users = {"user_text": [text], "history": [world.item_ids]}
        answer = ask(world.servable, "serving_default", users)
        assert set(answer["item_ids"][0]) == {b""}
        assert (answer["scores"] == LOWEST).all()


def test_all_but_two_items_excluded_twice_leaves_those_two(world: Any) -> None:
    excluded = world.item_ids[2:] * 2
    answer = ask(
        world.servable,
        "recommend",
        {"user_text": ["opera"], "history": [[]], "exclude_ids": [excluded], "k": 3},
    )
    ids = _ids(answer)[0]
    assert set(ids[:2]) == set(world.item_ids[:2])
    assert ids[2] == ""


def test_a_new_user_gets_the_popular_items_with_their_shares(world: Any) -> None:
    answer = ask(world.servable, "serving_default", {"user_text": [" "], "history": [["?"]]})
    order = np.argsort(-world.popularity, kind="stable")[: world.max_k]
    assert _ids(answer)[0] == [world.item_ids[n] for n in order]
    np.testing.assert_array_equal(answer["scores"][0], world.popularity[order])


@pytest.mark.parametrize("k", [0, -1])
@pytest.mark.parametrize("name", ["recommend", "similar_items"])
def test_k_below_one_is_an_error_that_says_so(world: Any, name: str, k: int) -> None:
    inputs = {
        "recommend": {"user_text": ["x"], "history": [[""]], "exclude_ids": [[""]], "k": k},
        "similar_items": {"item_ids": ["i1"], "k": k},
    }
    with pytest.raises(tf.errors.InvalidArgumentError, match="k, the number of items asked for"):
        ask(world.servable, name, inputs[name])


@pytest.mark.parametrize(
    ("name", "inputs", "told"),
    [
        (
            "serving_default",
            {"user_text": ["x", "y"], "history": [["i1"]]},
            "user_text and history",
        ),
        ("encode_users", {"user_text": ["x"], "history": [["i1"]] * 2}, "user_text and history"),
        (
            "recommend",
            {"user_text": ["x"], "history": [["i1"]], "exclude_ids": [[""]] * 3, "k": 2},
            "user_text and exclude_ids",
        ),
        ("encode_items", {"item_ids": ["i1"], "item_text": ["a", "b"]}, "item_ids and item_text"),
    ],
)
def test_rows_that_do_not_match_are_an_error_that_names_them(
    world: Any, name: str, inputs: dict[str, Any], told: str
) -> None:
    for _ in range(20):  # whatever else runs at the same time
        with pytest.raises(tf.errors.InvalidArgumentError, match=f"{told} must have"):
            ask(world.servable, name, inputs)


def test_only_the_most_recent_known_items_shape_the_embedding(world: Any) -> None:
    recent = world.item_ids[10:14]
    histories = [
        [*world.item_ids[:3], *recent, "unknown", "", ""],
        ["", *recent[:2], "unknown", "", *recent[2:]],
        recent,
    ]
    users = {"user_text": [""] * 3, "history": _padded(histories, 10)}
    first, second, third = ask(world.servable, "encode_users", users)["embeddings"]
    np.testing.assert_array_equal(first, third)
    np.testing.assert_array_equal(second, third)
    turned = {"user_text": [""], "history": [recent[::-1]]}
    assert not np.allclose(ask(world.servable, "encode_users", turned)["embeddings"][0], third)


def test_similar_items_are_the_nearest_ones_without_itself(world: Any) -> None:
    item_ids = [world.item_ids[7], "unknown", "", world.item_ids[0]]
    answer = ask(world.servable, "similar_items", {"item_ids": item_ids, "k": 100})
    assert answer["item_ids"].shape == (4, world.max_k)
    for row, number in ((0, 7), (3, 0)):
        order = np.argsort(-(world.embeddings @ world.embeddings[number]))
        order = [n for n in order if n != number][: world.max_k]
        assert _ids(answer)[row] == [world.item_ids[n] for n in order]
    for row in (1, 2):
        assert set(answer["item_ids"][row]) == {b""}
        assert (answer["scores"][row] == LOWEST).all()


def test_items_are_encoded_from_id_and_text_text_alone_or_as_stored(world: Any) -> None:
    item_ids = [world.item_ids[2], "unknown", world.item_ids[2], "unknown"]
    texts = ["opera", "opera", "", ""]
    answer = ask(world.servable, "encode_items", {"item_ids": item_ids, "item_text": texts})
    features = world.encoder.embed(tf.constant(["opera", "opera"]))
    by_model = world.model.embed_items(features, tf.constant([2, -1])).numpy()
    rows = answer["embeddings"]
    np.testing.assert_allclose(rows[:2], by_model, atol=1e-6)
    np.testing.assert_array_equal(rows[2], world.embeddings[2])
    np.testing.assert_array_equal(rows[3], np.zeros_like(rows[3]))


def test_examples_are_answered_like_plain_requests(world: Any) -> None:
    def example(**features: list[bytes]) -> bytes:
        message = tf.train.Example()
        for name, values in features.items():
            message.features.feature[name].bytes_list.value.extend(values)
        return message.SerializeToString()

    history = [i.encode() for i in world.item_ids[:3]]
    examples = [example(user_text=[b"opera"]), example(history=history), example()]
    users = {
        "user_text": ["opera", "", ""],
        "history": [["", "", ""], world.item_ids[:3], ["", "", ""]],
    }
    answer = ask(world.servable, "serve_examples", {"examples": examples})
    plain = ask(world.servable, "serving_default", users)
    np.testing.assert_array_equal(answer["item_ids"], plain["item_ids"])
    np.testing.assert_array_equal(answer["scores"], plain["scores"])


def test_any_bytes_are_taken_as_text(world: Any) -> None:
    users = {"user_text": [b"\xff\xfe \x00", "\ud83d".encode("utf-8", "surrogatepass")]}
    answer = ask(world.servable, "serving_default", {**users, "history": [[], []]})
    assert np.isfinite(answer["scores"]).all()


def test_an_answer_does_not_depend_on_the_other_rows(world: Any) -> None:
    users = {"user_text": ["opera", "", ""], "history": [["i1", ""], ["i2", "i3"], ["", ""]]}
    together = ask(world.servable, "serving_default", users)
    for row in range(3):
        alone = {name: rows[row : row + 1] for name, rows in users.items()}
        answer = ask(world.servable, "serving_default", alone)
        np.testing.assert_array_equal(answer["item_ids"][0], together["item_ids"][row])


def test_an_empty_batch_is_answered(world: Any) -> None:
    texts, history = tf.zeros((0,), tf.string), tf.zeros((0, 0), tf.string)
    answer = world.servable.serving_default(user_text=texts, history=history)
    assert answer["item_ids"].shape == answer["scores"].shape == (0, world.max_k)


def test_the_encoder_does_not_run_where_no_row_has_a_text(make_world: Any) -> None:
    world = make_world(5, "brute_force")
    users = {"user_text": ["", " "], "history": [["i0"], [""]]}
    usual = ask(world.servable, "serving_default", users)["scores"]
    world.encoder.variables[0].assign(world.encoder.variables[0] * np.nan)
    np.testing.assert_array_equal(ask(world.servable, "serving_default", users)["scores"], usual)


def test_an_index_over_other_vectors_is_refused(world: Any) -> None:
    with pytest.raises(UsageError, match="built on other vectors"):
        _servable(world, index=BruteForceIndex(world.embeddings[::-1]))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"titles": ["one"]}, "`titles` has 1 rows, but there are 40 item ids"),
        ({"item_ids": ["same"] * 40}, "'same' stands twice, for items 0 and 1"),
        ({"item_ids": ["a", "", *map(str, range(38))]}, "Item 1 has an empty id"),
        ({"max_k": 0}, "`max_k` must be at least 1, got 0"),
        ({"max_history": 0}, "`max_history` must be at least 1, got 0"),
        ({"popularity": np.full(40, np.nan)}, "`popularity` holds NaN"),
    ],
)
def test_arguments_that_do_not_fit_are_refused(world: Any, change: Any, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        _servable(world, **change)


def _servable(world: Any, **change: Any) -> Servable:
    arguments = {
        "model": world.model,
        "encoder": world.encoder,
        "item_ids": world.item_ids,
        "titles": world.titles,
        "item_embeddings": world.embeddings,
        "popularity": world.popularity,
        "index": world.servable.index,
    }
    return Servable(**{**arguments, **change})
