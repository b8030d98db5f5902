from __future__ import annotations

import hashlib
import os
import subprocess
import sys
import threading
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tfrec_llm.files import atomic_file, atomic_folder, check_room, locked, sha256_of_file

LIMITED = """
import resource, sys
from tfrec_llm.files import check_room
resource.setrlimit(resource.RLIMIT_FSIZE, (1000, 1000))
check_room(sys.argv[1], 1000)
try:
    check_room(sys.argv[1], 1001)
except OSError as error:
    print(error.strerror)
"""


def test_a_file_that_does_not_fit_is_told_before_it_is_written(tmp_path: Path) -> None:
    done = subprocess.run([sys.executable, "-c", LIMITED, tmp_path], capture_output=True, text=True)
    assert (done.stdout, done.stderr) == ("File too large\n", "")
    check_room(tmp_path, 0)
    assert os.listdir(tmp_path) == []


@given(content=st.binary(max_size=100), repeats=st.sampled_from([1, 20_000]))
def test_the_sha256_is_that_of_the_whole_file(
    content: bytes, repeats: int, tmp_path_factory: pytest.TempPathFactory
) -> None:
    path = tmp_path_factory.mktemp("sha256") / "a"
    path.write_bytes(content * repeats)
    assert sha256_of_file(path) == hashlib.sha256(content * repeats).hexdigest()


def test_a_file_appears_whole_and_alone(tmp_path: Path) -> None:
    path = tmp_path / "new folder" / "a.txt"
    with atomic_file(path) as temporary:
        temporary.write_text("half")
        assert not path.exists()
        temporary.write_text("whole")
    assert path.read_text() == "whole"
    assert os.listdir(path.parent) == ["a.txt"]


def test_a_temporary_file_keeps_the_ending(tmp_path: Path) -> None:
    with atomic_file(tmp_path / "vectors.parquet") as temporary:
        assert temporary.suffix == ".parquet"
        assert temporary.parent == tmp_path
        temporary.touch()


@pytest.mark.parametrize("error", [OSError("disk full"), KeyboardInterrupt(), ValueError()])
def test_after_an_error_the_old_file_is_still_there(tmp_path: Path, error: BaseException) -> None:
    path = tmp_path / "a.txt"
    path.write_text("old")
    with pytest.raises(type(error)), atomic_file(path) as temporary:
        temporary.write_text("half")
        raise error
    assert path.read_text() == "old"
    assert os.listdir(tmp_path) == ["a.txt"]


def test_a_block_that_writes_nothing_is_an_error_and_leaves_the_old_file(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    path.write_text("old")
    with pytest.raises(FileNotFoundError), atomic_file(path):
        pass
    assert path.read_text() == "old"


def test_a_folder_appears_whole_with_all_below_it(tmp_path: Path) -> None:
    path = tmp_path / "models" / "1"
    with atomic_folder(path) as temporary:
        (temporary / "variables").mkdir()
        (temporary / "variables" / "a").write_text("x")
        assert not path.exists()
    assert (path / "variables" / "a").read_text() == "x"
    assert os.listdir(path.parent) == ["1"]
    assert path.stat().st_mode & 0o777 == 0o755


def test_after_an_error_no_folder_is_left(tmp_path: Path) -> None:
    with pytest.raises(OSError, match="disk full"), atomic_folder(tmp_path / "1") as temporary:
        (temporary / "a").write_text("x")
        raise OSError("disk full")
    assert os.listdir(tmp_path) == []


def test_a_folder_that_holds_something_is_never_replaced(tmp_path: Path) -> None:
    path = tmp_path / "1"
    path.mkdir()
    with atomic_folder(path) as temporary:
        (temporary / "a").write_text("mine")
    with pytest.raises(FileExistsError, match="exists already"), atomic_folder(path):
        raise AssertionError("the block must not run")
    assert (path / "a").read_text() == "mine"


def test_a_file_in_the_place_of_a_folder_is_never_replaced(tmp_path: Path) -> None:
    path = tmp_path / "1"
    path.write_text("mine")
    with pytest.raises(FileExistsError), atomic_folder(path):
        raise AssertionError("the block must not run")
    assert path.read_text() == "mine"


def test_of_two_writers_of_one_folder_one_fails_and_nothing_is_mixed(tmp_path: Path) -> None:
    path = tmp_path / "1"
    with pytest.raises(OSError), atomic_folder(path) as second:
        (second / "second").touch()
        with atomic_folder(path) as first:
            (first / "first").touch()
    assert os.listdir(path) == ["first"]


def test_a_lock_is_held_against_another_process(tmp_path: Path) -> None:
    lock = tmp_path / "lock"
    code = (
        "import sys; from tfrec_llm.files import locked\n"
        "with locked(sys.argv[1]): print('held', flush=True); sys.stdin.read()"
    )
    with subprocess.Popen(
        [sys.executable, "-c", code, str(lock)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as other:
        assert other.stdout is not None and other.stdin is not None
        assert other.stdout.readline() == "held\n"
        mine = threading.Event()

        def take() -> None:
            with locked(lock):
                mine.set()

        thread = threading.Thread(target=take)
        thread.start()
        assert not mine.wait(0.2)
        other.stdin.close()
        thread.join()
    assert mine.is_set()


def test_a_lock_is_given_back_after_an_error(tmp_path: Path) -> None:
    with pytest.raises(ValueError), locked(tmp_path / "lock"):
        raise ValueError
    with locked(tmp_path / "lock"):
        pass
