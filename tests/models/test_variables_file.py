from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from tfrec_llm.errors import CheckpointError, CorruptFileError
from tfrec_llm.keras_api import keras
from tfrec_llm.models.variables_file import read_state, restore_variables, save_variables

STATE = {"epoch": 3, "note": "größer, 書", "losses": [0.1, 2.0]}


def variables(fill: float) -> list[keras.Variable]:
    return [
        keras.Variable(np.full((2, 3), fill, np.float32), name="matrix"),
        keras.Variable(np.float32(fill), name="scalar"),
        keras.Variable(np.array([1, 2], np.uint32) * int(fill), dtype="uint32", name="seed"),
        keras.Variable(np.zeros((0, 4), np.float32), name="empty"),
    ]


@pytest.fixture
def saved(tmp_path: Path) -> Path:
    path = tmp_path / "deep" / "weights.safetensors"
    save_variables(path, variables(2.0), STATE)
    return path


def test_variables_and_state_come_back_as_they_were(saved: Path) -> None:
    fresh = variables(9.0)
    assert restore_variables(saved, fresh) == STATE
    for found, wanted in zip(fresh, variables(2.0), strict=True):
        np.testing.assert_array_equal(found.numpy(), wanted.numpy())
        assert found.dtype == wanted.dtype


def test_the_state_can_be_read_alone(saved: Path) -> None:
    assert read_state(saved) == STATE


def test_many_variables_keep_their_order(tmp_path: Path) -> None:
    many = [keras.Variable(np.float32(i)) for i in range(25)]
    save_variables(tmp_path / "a", many, {})
    fresh = [keras.Variable(np.float32(-1)) for _ in range(25)]
    restore_variables(tmp_path / "a", fresh)
    assert [float(v.numpy()) for v in fresh] == list(range(25))


def test_saving_again_replaces_the_file_and_leaves_nothing_beside_it(saved: Path) -> None:
    save_variables(saved, variables(5.0), {})
    assert read_state(saved) == {}
    assert [p.name for p in saved.parent.iterdir()] == [saved.name]


def test_a_cut_file_is_named_corrupt_wherever_it_was_cut(saved: Path) -> None:
    content = saved.read_bytes()
    for size in range(0, len(content), 7):
        saved.write_bytes(content[:size])
        with pytest.raises(CorruptFileError, match="weights.safetensors .*cut or changed.*Delete"):
            restore_variables(saved, variables(0.0))


def test_one_flipped_bit_anywhere_never_gives_other_values(saved: Path) -> None:
    content = saved.read_bytes()
    refused = 0
    for place in range(len(content)):
        changed = bytearray(content)
        changed[place] ^= 1 << (place % 8)
        saved.write_bytes(changed)
        fresh = variables(0.0)
        try:
            state = restore_variables(saved, fresh)
        except CorruptFileError as error:
            assert saved.name in str(error) and "Delete it and start again" in str(error)
            assert not np.any(fresh[0].numpy())
            refused += 1
            continue
        assert state == STATE
        for found, wanted in zip(fresh, variables(2.0), strict=True):
            np.testing.assert_array_equal(found.numpy(), wanted.numpy())
    assert refused > 0.9 * len(content)


def test_a_file_of_something_else_is_named_corrupt(tmp_path: Path) -> None:
    path = tmp_path / "notes.txt"
    path.write_text("not weights at all, but long enough to look at")
    with pytest.raises(CorruptFileError, match="notes.txt"):
        read_state(path)


def test_variables_of_other_shapes_are_refused_and_left_as_they_are(saved: Path) -> None:
    others = [keras.Variable(np.ones((3, 2), np.float32)), *variables(7.0)[1:]]
    with pytest.raises(CheckpointError, match=r"shape \(2, 3\) where \(3, 2\) is wanted"):
        restore_variables(saved, others)
    assert float(others[1].numpy()) == 7.0


def test_another_number_of_variables_is_refused(saved: Path) -> None:
    with pytest.raises(CheckpointError, match="holds 4 variables, not 2"):
        restore_variables(saved, variables(0.0)[:2])
