"""The parts of checking an export that need no export."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tfrec_llm.errors import CorruptFileError
from tfrec_llm.serving.answer_faults import answer_fault
from tfrec_llm.serving.op_libraries import library_files
from tfrec_llm.serving.op_verdicts import op_verdicts, sentence_on_ops, servers_with_ops
from tfrec_llm.serving.requirements_file import file_faults
from tfrec_llm.serving.stock_serving_ops import is_in_stock_serving
from tfrec_llm.serving.warmup import WARMUP_FILE, read_warmup, write_warmup
from tfrec_llm.serving.warmup_requests import BATCH_SIZES, warmup_requests

LOWEST = np.finfo(np.float32).min
CORPUS = {b"a", b"b", b"c"}
USERS = {"user_text": ["x", ""], "history": [["a"], [""]]}


def ranked(ids: list[list[bytes]], scores: list[list[float]]) -> dict[str, np.ndarray]:
    return {"item_ids": np.array(ids, object), "scores": np.array(scores, np.float32)}


GOOD = ranked([[b"c", b"b", b""], [b"a", b"b", b"c"]], [[2, 1, LOWEST], [3, 2, 1]])


def fault_of(answer: dict[str, np.ndarray]) -> str | None:
    return answer_fault(
        "serving_default", USERS, answer, item_ids=CORPUS, max_k=3, dimensions=2, is_exact=True
    )


def test_an_answer_that_holds_what_it_should_has_no_fault() -> None:
    assert fault_of(GOOD) is None


@pytest.mark.parametrize(
    ("row", "ids", "scores", "fault"),
    [
        (0, [b"d", b"b", b""], [2, 1, LOWEST], "row 0 holds b'd', which is no item"),
        (0, [b"a", b"b", b""], [2, 1, LOWEST], "row 0 holds b'a', which was to be left out"),
        (1, [b"a", b"a", b"c"], [3, 2, 1], "row 1 holds an item twice"),
        (1, [b"a", b"", b"c"], [3, LOWEST, LOWEST], "row 1 has an empty place before an item"),
        (0, [b"c", b"b", b""], [2, 1, 0], "row 0 scores an empty place above the lowest number"),
        (1, [b"a", b"b", b"c"], [1, 2, 3], "row 1 is not in the order of its scores"),
        (1, [b"a", b"b", b"c"], [3, 2, np.nan], "scores holds NaN or infinity"),
        (1, [b"a", b"", b""], [3, LOWEST, LOWEST], "row 1 holds 1 items though 3 are left"),
    ],
)
def test_a_fault_of_an_answer_is_named(
    row: int, ids: list[bytes], scores: list[float], fault: str
) -> None:
    answer = {name: value.copy() for name, value in GOOD.items()}
    answer["item_ids"][row], answer["scores"][row] = ids, scores
    assert fault_of(answer) == fault


def test_wrong_outputs_and_shapes_are_named() -> None:
    assert fault_of({"scores": GOOD["scores"]}) == "the outputs are scores"
    narrow = {name: value[:, :2] for name, value in GOOD.items()}
    assert fault_of(narrow) == "item_ids has the shape (2, 2) instead of (2, 3)"
    assert (
        answer_fault(
            "encode_users",
            USERS,
            {"embeddings": np.zeros((2, 3), np.float32)},
            item_ids=CORPUS,
            max_k=3,
            dimensions=2,
        )
        == "embeddings has the shape (2, 3) instead of (2, 2)"
    )


def test_an_unknown_item_has_no_similar_ones_and_k_above_max_k_gives_max_k_columns() -> None:
    inputs = {"item_ids": ["?"], "k": 10}
    nothing = ranked([[b"", b"", b""]], [[LOWEST] * 3])
    limits: dict[str, Any] = {"item_ids": CORPUS, "max_k": 3, "dimensions": 2, "is_exact": True}
    assert answer_fault("similar_items", inputs, nothing, **limits) is None
    something = ranked([[b"a", b"", b""]], [[1.0, LOWEST, LOWEST]])
    fault = answer_fault("similar_items", inputs, something, **limits)
    assert fault == "row 0 holds b'a', which was to be left out"


@given(st.permutations(sorted(CORPUS)), st.integers(1, 3))
def test_every_full_ranking_of_what_is_left_is_right(order: list[bytes], k: int) -> None:
    left = [item_id for item_id in order if item_id != b"a"]
    ids = [*left, b""][:k]
    scores = [-float(place) if item_id else LOWEST for place, item_id in enumerate(ids)]
    inputs = {"user_text": [""], "history": [["a"]], "exclude_ids": [["?"]], "k": k}
    limits: dict[str, Any] = {"item_ids": CORPUS, "max_k": 3, "dimensions": 2, "is_exact": True}
    assert answer_fault("recommend", inputs, ranked([ids], [scores]), **limits) is None


def test_the_table_of_stock_ops_names_ops_that_the_installed_libraries_register() -> None:
    from tensorflow.python.framework import op_def_registry

    from tfrec_llm.keras_api import tf
    from tfrec_llm.serving import stock_serving_ops

    for file in [*library_files("tensorflow-text"), *library_files("scann")]:
        tf.load_op_library(str(file))
    _, newest = stock_serving_ops._RELEASES["2.20"]
    assert [op for op in sorted(newest) if op_def_registry.get(op) is None] == []
    assert op_def_registry.get("Scann>ScannSearchBatched") is not None
    assert not is_in_stock_serving("Scann>ScannSearchBatched", tf.__version__)


def test_ops_are_judged_by_the_release_of_the_tensorflow_that_wrote_them() -> None:
    trim = {"op": "TFText>RoundRobinTrim", "library": "tensorflow-text", "version": "2.19.0"}
    counts = {"AddV2": 3, "TFText>RoundRobinTrim": 1}
    for version, stock in (("2.19.1", False), ("2.20.0", True)):
        verdicts = op_verdicts(counts, [trim], version)
        assert servers_with_ops(verdicts) == {"stock": stock, "with_scann": stock}
    assert "TensorFlow Serving 2.19 lacks TFText>RoundRobinTrim" in sentence_on_ops(
        op_verdicts(counts, [trim], "2.19.1"), "2.19.1"
    )


def test_an_op_of_no_known_library_can_be_served_nowhere() -> None:
    # Its name is one that stock servers have, but it is not known who registers it here.
    mystery = {"op": "RegexSplitWithOffsets", "library": None, "version": None}
    verdicts = op_verdicts({"RegexSplitWithOffsets": 1}, [mystery], "2.20.0")
    assert servers_with_ops(verdicts) == {"stock": False, "with_scann": False}
    assert "1 of no known library (RegexSplitWithOffsets)" in sentence_on_ops(verdicts, "2.20.0")


def test_warm_up_batches_have_the_usual_sizes_for_every_signature_with_rows(
    tmp_path: Path,
) -> None:
    ids = [f"i{n}" for n in range(5)]
    requests = warmup_requests(ids, ["A", "", "B", "", ""], max_history=3, has_ranker=True)
    sizes: dict[str, list[int]] = {}
    for name, inputs in requests:
        (rows,) = {len(value) for value in inputs.values()}
        sizes.setdefault(name, []).append(rows)
    assert sizes == dict.fromkeys(
        ("serving_default", "encode_users", "encode_items", "serve_examples", "rank"),
        list(BATCH_SIZES),
    )
    write_warmup(tmp_path, requests)
    read = read_warmup(tmp_path)
    assert [name for name, _ in read] == [name for name, _ in requests]
    for (_, inputs), (_, again) in zip(requests, read, strict=True):
        for key, value in inputs.items():
            plain = [[i.encode() for i in row] if isinstance(row, list) else row for row in value]
            plain = [row.encode() if isinstance(row, str) else row for row in plain]
            assert again[key].tolist() == plain


def test_a_warm_up_file_that_was_cut_or_is_missing_is_told(tmp_path: Path) -> None:
    with pytest.raises(CorruptFileError, match="is missing"):
        read_warmup(tmp_path)
    write_warmup(tmp_path, warmup_requests(["a"], ["A"], max_history=3))
    path = tmp_path / WARMUP_FILE
    path.write_bytes(path.read_bytes()[:-3])
    with pytest.raises(CorruptFileError, match="cannot be read to its end"):
        read_warmup(tmp_path)


def test_files_are_compared_one_by_one(exported: tuple[Any, Path], tmp_path: Path) -> None:
    folder = Path(shutil.copytree(exported[1], tmp_path / "1"))
    requires = json.loads((folder / "requires.json").read_text())
    (folder / "model_card.md").write_text("other")
    (folder / "fingerprint.pb").unlink()
    (folder / "notes.txt").write_text("mine")
    faults = file_faults(folder, requires)
    assert (faults.missing, faults.changed, faults.extra) == (
        ["fingerprint.pb"],
        ["model_card.md"],
        ["notes.txt"],
    )
