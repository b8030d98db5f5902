"""TensorFlow's file system in memory, `ram://`, stands for a bucket."""

from __future__ import annotations

from pathlib import Path

import pytest

from tfrec_llm.keras_api import tf
from tfrec_llm.pipelines.remote_files import copy_folder, local_input, local_output


@pytest.fixture
def small_folder(tmp_path: Path) -> Path:
    folder = tmp_path / "small"
    (folder / "variables" / "deep").mkdir(parents=True)
    (folder / "saved_model.pb").write_bytes(b"graph")
    (folder / "variables" / "deep" / "data").write_bytes(b"\x00\xff")
    return folder


def _files(folder: Path) -> dict[str, bytes]:
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file()
    }


def test_a_folder_comes_back_from_a_bucket_as_it_went(small_folder: Path, tmp_path: Path) -> None:
    copy_folder(small_folder, "ram://bucket/there")
    copy_folder("ram://bucket/there/", tmp_path / "back")
    assert _files(tmp_path / "back") == _files(small_folder)


def test_what_is_written_for_a_bucket_is_there_after_success_alone(small_folder: Path) -> None:
    with pytest.raises(RuntimeError), local_output("ram://bucket/failed") as folder:
        (folder / "half").write_text("")
        raise RuntimeError
    assert not tf.io.gfile.exists("ram://bucket/failed")
    with local_output("ram://bucket/written") as folder:
        copy_folder(small_folder, folder)
    with local_input("ram://bucket/written") as copy:
        assert _files(copy) == _files(small_folder)
    assert not copy.exists()


def test_a_folder_of_this_machine_is_used_where_it_lies(tmp_path: Path) -> None:
    with local_output(str(tmp_path / "new")) as folder:
        assert folder == tmp_path / "new"
    with local_input(str(tmp_path / "new")) as same:
        assert same == folder
    assert folder.is_dir()
