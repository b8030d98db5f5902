"""The bookshop with the real language model: what a newcomer would try, and what servers ask."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import polars as pl
import pytest

pytestmark = pytest.mark.slow

FIRST_CONTACT = "a first contact novel in which an alien signal from another star is decoded"
UNREAD = "signal-from-tau"
Answers = Callable[..., list[dict[str, Any]]]
INDEXES = pytest.mark.parametrize("index", ["brute_force", "scann"])

# Written against the contract of requests alone: plain TensorFlow, and the loader of servers.
ASK_AS_A_SERVER = """
import json, os, sys
os.environ["TF_USE_LEGACY_KERAS"] = "1"
import numpy as np
import tensorflow as tf

path = sys.argv[1]
requires = open(f"{path}/requires.json").read()
if "tensorflow-text" in requires:
    import tensorflow_text
if "scann" in requires:
    import scann
with tf.compat.v1.Session(graph=tf.Graph()) as session:
    loaded = tf.compat.v1.saved_model.loader.load(session, ["serve"], path)

    def ask(name, **inputs):
        signature = loaded.signature_def[name]
        feeds = {signature.inputs[key].name: value for key, value in inputs.items()}
        outputs = {key: tensor.name for key, tensor in signature.outputs.items()}
        answer = session.run(outputs, feeds)
        return {
            key: [[v.decode() if isinstance(v, bytes) else float(v) for v in row] for row in value]
            for key, value in answer.items()
        }

    users = {"user_text": ["space opera", ""], "history": [["", ""], ["", ""]]}
    example = tf.train.Example()
    example.features.feature["user_text"].bytes_list.value.append(b"space opera")
    answers = {"signatures": sorted(loaded.signature_def)}
    answers["default"] = ask("serving_default", **users)
    top = answers["default"]["item_ids"][0][:3]
    history = [[top[0], "no-such-item"]]
    nobody = {"history": [[""]], "exclude_ids": [[""]]}
    answers |= {
        "excluded": ask("recommend", **users, exclude_ids=[top] * 2, k=5),
        "history": ask("serving_default", user_text=[""], history=history),
        "everything": ask("recommend", user_text=["x"], k=10**6, **nobody),
        "similar": ask("similar_items", item_ids=[top[0]], k=3),
        "example": ask("serve_examples", examples=[example.SerializeToString()]),
        "user": ask("encode_users", user_text=["space opera"], history=[[""]]),
        "item": ask("encode_items", item_ids=[top[0]], item_text=["x"]),
    }
print(json.dumps(answers))
"""


@INDEXES
def test_the_unread_book_about_it_comes_first(index: str, bookshop: Path, answers: Answers) -> None:
    items = pl.read_parquet(bookshop / "run" / "model" / "items.parquet")
    assert items.filter(pl.col("item_id") == UNREAD)["num_clicks"].item() == 0
    found = answers("recommend", bookshop / index, "--text", FIRST_CONTACT, "-k", 5)
    assert found[0]["item_id"] == UNREAD


def test_a_process_gives_the_answer_to_a_person(bookshop: Path, done: Any) -> None:
    lines = done("recommend", bookshop / "scann", "--text", FIRST_CONTACT, "-k", 3).stdout
    first, *others = lines.splitlines()
    assert UNREAD in first and first.endswith("\tSignal from Tau") and len(others) == 2


@INDEXES
def test_every_way_to_ask_is_answered(index: str, bookshop: Path, answers: Answers) -> None:
    export = bookshop / index
    text, history = ["--text", "cooking for friends"], ["--history", f"{UNREAD},no-such-book"]
    lists = [
        [i["item_id"] for i in answers("recommend", export, *options)]
        for options in ([], text, history, text + history)
    ]
    assert len(set(map(tuple, lists))) == 4 and all(len(set(ids)) == 10 for ids in lists)
    assert all(UNREAD not in ids for ids in lists[2:])
    excluded = answers("recommend", export, *text, "--exclude", ",".join(lists[1][:4]))
    assert not {i["item_id"] for i in excluded} & set(lists[1][:4])
    assert [i["item_id"] for i in excluded][:6] == lists[1][4:]
    similar = answers("similar", export, UNREAD)
    assert len(similar) == 10 and UNREAD not in {i["item_id"] for i in similar}
    scores = [i["score"] for i in similar]
    assert scores == sorted(scores, reverse=True)


def test_the_two_indexes_find_much_the_same(bookshop: Path, answers: Answers) -> None:
    exact, found = (
        {i["item_id"] for i in answers("recommend", bookshop / index, "--text", "war at sea")}
        for index in ("brute_force", "scann")
    )
    assert len(exact & found) >= 9


def test_ours_is_above_what_a_user_would_try_first(bookshop: Path) -> None:
    models = json.loads((bookshop / "run" / "metrics.json").read_text())["models"]
    ours = models["two_tower"]["all"]["ndcg@10"]
    for name in ("popularity", "tfidf", "zero_shot"):
        assert ours > models[name]["all"]["ndcg@10"], name


def test_the_figures_can_be_computed_again(bookshop: Path, recomputed: Any) -> None:
    models = json.loads((bookshop / "run" / "metrics.json").read_text())["models"]
    for name, figures in recomputed(bookshop / "run").items():
        for key, value in figures.items():
            assert models[name]["all"][key] == pytest.approx(value, abs=1e-4)


@INDEXES
def test_a_server_can_ask_every_signature(index: str, bookshop: Path) -> None:
    version = bookshop / index / "1"
    ended = subprocess.run(
        [sys.executable, "-c", ASK_AS_A_SERVER, str(version)], capture_output=True, text=True
    )
    assert ended.returncode == 0, ended.stderr[-2000:]
    said = json.loads(ended.stdout)
    assert set(said["signatures"]) >= {
        *("serving_default", "recommend", "similar_items"),
        *("encode_users", "encode_items", "serve_examples"),
    }
    ids, scores = said["default"]["item_ids"], said["default"]["scores"]
    assert len(ids[0]) == 100 and all(-1e38 < score < 1e38 for score in sum(scores, []))
    top = ids[0][:3]
    assert [len(row) for row in said["excluded"]["item_ids"]] == [5, 5]
    assert said["excluded"]["item_ids"][0] == ids[0][3:8]
    assert top[0] not in said["history"]["item_ids"][0]
    assert len(said["everything"]["item_ids"][0]) == 100, "k above max_k gives max_k"
    assert top[0] not in said["similar"]["item_ids"][0]
    assert said["example"]["item_ids"][0] == ids[0]
    (user,), (new_item,) = (said[name]["embeddings"] for name in ("user", "item"))
    assert sum(x * x for x in user) == pytest.approx(1.0, abs=1e-4)
    scale = json.loads((bookshop / "run/training.json").read_text())["neighbours"]["new_item_scale"]
    assert sum(x * x for x in new_item) == pytest.approx(scale**2, abs=1e-4)
    assert (version / "assets.extra" / "tf_serving_warmup_requests").stat().st_size > 0
    stock = json.loads((version / "requires.json").read_text())["stock_tensorflow_serving"]
    assert stock == (index == "brute_force")
