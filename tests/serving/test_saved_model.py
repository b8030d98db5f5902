"""What an export holds, and that it appears whole or not at all."""

from __future__ import annotations

import errno
import json
import os
import subprocess
import sys
import textwrap
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest

from tfrec_llm.errors import ExportError, MissingPackageError
from tfrec_llm.files import sha256_of_file
from tfrec_llm.keras_api import tf
from tfrec_llm.serving import saved_model
from tfrec_llm.serving.export_check import ask, ask_in_fresh_process
from tfrec_llm.serving.plain_tensors import Request
from tfrec_llm.serving.requirements_file import verify_files
from tfrec_llm.serving.restored_parts import restored_parts
from tfrec_llm.serving.saved_model import write_export
from tfrec_llm.serving.servable import Servable
from tfrec_llm.serving.signatures import SIGNATURES
from tfrec_llm.serving.versions import versions

LOWEST = np.finfo(np.float32).min


def _requests(world: Any) -> list[Request]:
    """More than the requests that an export is checked with anyway."""
    ids = world.item_ids
    users = {
        "user_text": ["space opera", "", "", "💥"],
        "history": [ids[:2], ids[3:5], ["", "?"], ["", ""]],
    }
    excluded = [[ids[9], ids[9]], ids[:2], [ids[8], "?"], ["", ""]]
    everything = {"user_text": ["opera"], "history": [ids], "exclude_ids": [[]], "k": 3}
    asked: list[Request] = [
        ("serving_default", users),
        ("recommend", {**users, "exclude_ids": excluded, "k": 5}),
        ("recommend", {**users, "exclude_ids": excluded, "k": 10**6}),
        ("recommend", everything),
        ("similar_items", {"item_ids": [*ids[:5], "?"], "k": 100}),
        ("encode_users", users),
        ("encode_items", {"item_ids": [ids[0], "?", ids[1]], "item_text": ["", "opera", "x"]}),
    ]
    example = tf.train.Example()
    example.features.feature["user_text"].bytes_list.value.append(b"space opera")
    example.features.feature["history"].bytes_list.value.extend(i.encode() for i in ids[:2])
    return [*asked, ("serve_examples", {"examples": [example.SerializeToString()]})]


def test_the_loader_of_servers_in_a_fresh_process_gives_the_same_answers(
    exported: tuple[Any, Path],
) -> None:
    world, folder = exported
    requests = _requests(world)
    _, answers = ask_in_fresh_process(folder, requests)
    for (name, inputs), answer in zip(requests, answers, strict=True):
        expected = ask(world.servable, name, inputs)
        assert set(answer) == set(expected) == set(SIGNATURES[name].outputs)
        for key, value in expected.items():
            if value.dtype == object:
                np.testing.assert_array_equal(answer[key], value)
            else:
                np.testing.assert_allclose(answer[key], value, atol=1e-5)
    everything = answers[3]
    assert set(everything["item_ids"].ravel()) == {b""}
    assert (everything["scores"] == LOWEST).all()
    assert answers[2]["item_ids"].shape == (4, world.max_k)


def test_python_loads_the_same_answers(exported: tuple[Any, Path]) -> None:
    world, folder = exported
    loaded = tf.saved_model.load(str(folder))
    assert set(loaded.signatures) == set(SIGNATURES)
    for name, inputs in _requests(world):
        expected, answer = ask(world.servable, name, inputs), ask(loaded, name, inputs)
        for key, value in expected.items():
            np.testing.assert_array_equal(answer[key], value)


def test_signatures_have_the_promised_names_dtypes_and_shapes(exported: tuple[Any, Path]) -> None:
    world, folder = exported
    signatures = tf.saved_model.load(str(folder)).signatures
    for name, signature in SIGNATURES.items():
        _, inputs = signatures[name].structured_input_signature
        found = {key: (spec.dtype.name, tuple(spec.shape)) for key, spec in inputs.items()}
        assert found == {key: (t.dtype, t.shape) for key, t in signature.inputs.items()}
        outputs = signatures[name].structured_outputs
        assert set(outputs) == set(signature.outputs)
    wide = signatures["serving_default"].structured_outputs
    assert {tuple(spec.shape) for spec in wide.values()} == {(None, world.max_k)}


def test_requirements_name_foreign_ops_and_the_server_that_knows_them(
    exported: tuple[Any, Path],
) -> None:
    world, folder = exported
    requires = json.loads((folder / "requires.json").read_text())
    libraries = {entry["library"] for entry in requires["custom_ops"]}
    needs_scann = world.servable.index.kind == "scann"
    assert libraries == ({"scann"} if needs_scann else set())
    assert requires["stock_tensorflow_serving"] is not needs_scann
    assert requires["tensorflow"] == tf.__version__
    for entry in requires["custom_ops"]:
        assert entry["op"].startswith("Scann>")
        assert entry["version"]


def test_requirements_hold_the_sha256_of_every_other_file(exported: tuple[Any, Path]) -> None:
    folder = exported[1]
    noted = json.loads((folder / "requires.json").read_text())["sha256"]
    files = {str(p.relative_to(folder)) for p in folder.rglob("*") if p.is_file()}
    assert set(noted) == files - {"requires.json"}
    assert all(sha256_of_file(folder / name) == digest for name, digest in noted.items())
    assert {"model_card.md", "assets.extra/tf_serving_warmup_requests"} <= set(noted)


def test_warm_up_requests_can_be_replayed_and_none_has_a_scalar(
    exported: tuple[Any, Path],
) -> None:
    from tensorflow_serving.apis.prediction_log_pb2 import PredictionLog

    folder = exported[1]
    loaded = tf.saved_model.load(str(folder))
    path = str(folder / "assets.extra/tf_serving_warmup_requests")
    replayed = set()
    for record in tf.data.TFRecordDataset(path).as_numpy_iterator():
        request = PredictionLog.FromString(record).predict_log.request
        inputs = {name: tf.make_ndarray(proto) for name, proto in request.inputs.items()}
        assert all(value.ndim for value in inputs.values())
        name = request.model_spec.signature_name
        loaded.signatures[name](**{key: tf.constant(v, tf.string) for key, v in inputs.items()})
        replayed.add(name)
    assert replayed == {"serving_default", "encode_users", "encode_items", "serve_examples"}


def test_titles_texts_and_vectors_lie_beside_the_graph(exported: tuple[Any, Path]) -> None:
    world, folder = exported
    items = pl.read_parquet(folder / "assets.extra/items.parquet")
    assert items["item_id"].to_list() == world.item_ids
    assert items["title"].to_list() == items["text"].to_list() == world.titles
    vectors = np.load(folder / "assets.extra/item_embeddings.npy", allow_pickle=False)
    np.testing.assert_array_equal(vectors, world.embeddings)


def test_the_model_card_says_what_was_exported(exported: tuple[Any, Path]) -> None:
    card = (exported[1] / "model_card.md").read_text()
    assert card.startswith("# tiny\n")
    assert "- items: 40" in card
    assert "## Data\n\n- users: 3" in card
    assert f"kind: {exported[0].servable.index.kind}" in card


def test_the_next_version_can_be_made_from_an_export_alone(
    exported: tuple[Any, Path], tmp_path: Path
) -> None:
    world, folder = exported
    model, encoder = restored_parts(folder)
    # The last item goes, one is added whose id the model never saw.
    new_text = ["space opera"]
    added = model.embed_items(encoder.embed(tf.constant(new_text)), tf.constant([-1])).numpy()
    rows = np.concatenate([world.embeddings[:-1], added])
    refreshed = Servable(
        model,
        encoder,
        [*world.item_ids[:-1], "added"],
        [*world.titles[:-1], *new_text],
        rows,
        world.popularity,
        type(world.servable.index)(rows),
        max_k=world.max_k,
        max_history=world.max_history,
        model_numbers=np.array([*range(39), -1]),
    )
    saved_model._save(refreshed, tmp_path)
    with tf.compat.v1.Session(graph=tf.Graph()) as session:
        loader = tf.compat.v1.saved_model.loader
        signature = loader.load(session, ["serve"], str(tmp_path)).signature_def["encode_items"]
        feeds = {
            signature.inputs["item_ids"].name: ["added", world.item_ids[3], world.item_ids[-1]],
            signature.inputs["item_text"].name: [*new_text, "opera", "opera"],
        }
        embeddings = session.run(signature.outputs["embeddings"].name, feeds)
    features = world.encoder.embed(tf.constant([*new_text, "opera", "opera"]))
    expected = world.model.embed_items(features, tf.constant([-1, 3, -1])).numpy()
    np.testing.assert_allclose(embeddings, expected, atol=1e-6)
    # What only the old version needed is not carried along.
    old, new = folder / "saved_model.pb", tmp_path / "saved_model.pb"
    assert new.stat().st_size < 1.2 * old.stat().st_size


@pytest.fixture
def unchecked(monkeypatch: pytest.MonkeyPatch) -> None:
    """Spares a test the fresh process."""
    monkeypatch.setattr(saved_model, "check_export", lambda *_: [])


@pytest.mark.usefixtures("unchecked")
def test_versions_count_up_and_leave_the_old_ones_alone(world: Any, tmp_path: Path) -> None:
    (tmp_path / "notes").mkdir()
    (tmp_path / "9").mkdir()
    (tmp_path / "9" / "kept").write_text("as it was")
    assert write_export(world.servable, tmp_path).name == "10"
    assert write_export(world.servable, tmp_path).name == "11"
    assert versions(tmp_path) == [9, 10, 11]
    assert (tmp_path / "9" / "kept").read_text() == "as it was"


@pytest.mark.usefixtures("unchecked")
def test_a_disk_that_is_full_leaves_nothing_behind(
    world: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: Any, **__: Any) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    first = write_export(world.servable, tmp_path)
    before = {p: p.stat().st_mtime_ns for p in first.rglob("*")}
    monkeypatch.setattr(saved_model, "write_warmup", full)
    with pytest.raises(ExportError, match="No space left on device.*other versions are as they"):
        write_export(world.servable, tmp_path)
    assert {p: p.stat().st_mtime_ns for p in first.rglob("*")} == before
    assert [p.name for p in tmp_path.iterdir() if p.name != ".lock"] == ["1"]


@pytest.mark.slow
def test_a_file_that_cannot_grow_is_an_export_error(tmp_path: Path) -> None:
    # A limit on the size of files stops TensorFlow's own writers, as a full disk would.
    program = """
        import resource, sys
        sys.path.insert(0, sys.argv[1])
        import conftest
        from tfrec_llm.errors import ExportError
        world = conftest.World(40, "brute_force")
        resource.setrlimit(resource.RLIMIT_FSIZE, (int(sys.argv[3]), resource.RLIM_INFINITY))
        try:
            conftest.write_export(world.servable, sys.argv[2])
        except ExportError as error:
            print(error)
    """
    result = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(program), str(Path(__file__).parent),
         str(tmp_path), "2000"],
        capture_output=True,
        text=True,
        check=False,
    )  # fmt: skip
    assert "The export could not be written" in result.stdout, result.stderr[-2000:]
    assert [p.name for p in tmp_path.iterdir()] == [".lock"]


@pytest.mark.usefixtures("unchecked")
def test_a_folder_that_cannot_be_made_is_an_export_error(world: Any, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(ExportError, match="could not be written to"):
        write_export(world.servable, tmp_path / "file" / "export")


def test_an_answer_that_differs_in_the_fresh_process_is_refused(
    world: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from tfrec_llm.serving import export_check

    def other(folder: Path, requests: list[Request]) -> Any:
        answers = [ask(world.servable, name, inputs) for name, inputs in requests]
        answers[0]["item_ids"][1, :2] = answers[0]["item_ids"][1, 1::-1].copy()
        return [], answers

    monkeypatch.setattr(export_check, "ask_in_fresh_process", other)
    with pytest.raises(ExportError, match="does not answer as the model in memory does.*place 0"):
        write_export(world.servable, tmp_path)
    assert versions(tmp_path) == []


def test_an_op_of_no_known_library_is_refused(
    world: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    entry = {"op": "Mystery>Op", "library": None, "version": None}
    monkeypatch.setattr(saved_model, "check_export", lambda *_: [entry])
    with pytest.raises(ExportError, match="Mystery>Op"):
        write_export(world.servable, tmp_path)


def test_a_table_that_nobody_tracks_is_named(make_world: Any, tmp_path: Path) -> None:
    world = make_world(3, "brute_force")
    world.servable._saved_resources = []
    with pytest.raises(ExportError, match="Let the encoder or the model list it"):
        write_export(world.servable, tmp_path)


def test_an_index_that_finds_too_little_is_refused(world: Any, tmp_path: Path) -> None:
    class Blind(type(world.servable.index)):  # type: ignore[misc]
        is_exact = False

        def search(self, queries: Any, k: Any) -> Any:
            scores, numbers = super().search(queries, k)
            return scores, tf.zeros_like(numbers)

    exact = world.servable.index
    world.servable.index = Blind(world.embeddings)
    try:
        with pytest.raises(ExportError, match="brute_force index finds 1% of the exact ten"):
            write_export(world.servable, tmp_path, min_index_recall=0.5)
    finally:
        world.servable.index = exact


def test_without_the_serving_api_the_error_names_the_extra(
    world: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("tensorflow_serving.apis.prediction_log_pb2", "tensorflow_serving"):
        monkeypatch.setitem(sys.modules, name, None)
    with pytest.raises(MissingPackageError, match=r"pip install 'tfrec_llm\[serving\]'"):
        write_export(world.servable, tmp_path)


def test_files_are_verified_by_content(exported: tuple[Any, Path]) -> None:
    folder = exported[1]
    verify_files(folder, json.loads((folder / "requires.json").read_text()))
