from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
VERBS = {  # the contract: each verb, its arguments and options
    "train": ["CONFIG.yaml", "--out", "--set", "--resume", "--debug"],
    "evaluate": ["RUN", "--baselines", "--sasrec", "--rankings", "--json", "--debug"],
    "export": ["RUN", "--out", "--index", "--serve-on", "--max-k", "--debug"],
    "recommend": [
        *("EXPORT", "--text", "--history", "--exclude", "-k", "--json", "--debug", "--rerank"),
        *("--diversity", "--diversity-method", "--popularity-penalty", "--max-per-category"),
        *("--categories", "--candidates"),
    ],
    "recommend-all": [
        *("EXPORT", "--users", "--out", "-k", "--runner", "--beam-option", "--shards", "--user-id"),
        *("--history-column", "--text-column", "--batch-size", "--max-quarantined-share"),
        *("--json", "--debug"),
    ],
    "similar": ["EXPORT", "ITEM_ID", "-k", "--json", "--debug"],
    "serve": [
        *("EXPORT", "--rest-port", "--grpc-port", "--name", "--host", "--label", "--poll-seconds"),
        *("--batching", "--no-batching", "--max-batch", "--batch-timeout-ms", "--max-body-mb"),
        *("--timeout-seconds", "--json", "--debug"),
    ],
    "check": ["EXPORT", "--json", "--native", "--debug"],
    "refresh": [
        *["EXPORT", "--items", "--keep", "--columns", "--force", "--quarantine", "--json"],
        "--debug",
    ],
    "encode": [
        *("ITEMS.csv", "--encoder", "--out", "--runner", "--beam-option", "--shards"),
        *("--max-quarantined-share", "--debug"),
    ],
    "shard": ["CONFIG.yaml", "--out", "--shards", "--set", "--json", "--debug"],
    "tune": [
        *("CONFIG.yaml", "--trials", "--out", "--space", "--set", "--timeout", "--resume"),
        *("--json", "--debug"),
    ],
    "encoders": ["--suggest", "--items", "--language", "--device", "--task", "--minutes", "--json"],
    "pretrain-encoder": ["TEXTS", "--out", "--from", "--add-tokens", "--resume", "--debug"],
    "demo": ["--out", "--debug"],
    "doctor": ["--json", "--debug"],
}
# A few verbs more, so that the real handler meets every kind of error in a real process.
WITH_FAULTY_VERBS = """
import errno, sys, time
from tfrec_llm import errors
from tfrec_llm.cli import main, output

def fail(kind: str, debug: bool = False):
    print("half a result")
    raise {
        "usage": errors.UsageError("k is 0. Ask for one item or more."),
        "corrupt": errors.CorruptFileError("a.bin was changed since."),
        "bug": ValueError("first line\\nsecond line"),
        "full": OSError(errno.ENOSPC, "No space left on device", "/disk/a"),
        "denied": PermissionError(errno.EACCES, "Permission denied", "/srv/a"),
        "absent": FileNotFoundError(errno.ENOENT, "No such file or directory", "b.csv"),
        "memory": MemoryError(),
        "interrupt": KeyboardInterrupt(),
    }[kind]

def wait(debug: bool = False):
    with output.working() as progress:
        progress.message("waiting")
        time.sleep(60)

def say(debug: bool = False):
    output.print_lines("a result")

main.app.command("fail")(fail)
main.app.command("say")(say)
main.app.command("wait")(wait)
sys.exit(main.main())
"""


def run(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "tfrec_llm", *arguments],
        capture_output=True,
        text=True,
        env={**os.environ, **environment},
    )


def fail(kind: str, *options: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", WITH_FAULTY_VERBS, "fail", kind, *options],
        capture_output=True,
        text=True,
    )


def test_help_of_every_verb_has_an_example_and_loads_nothing_heavy() -> None:
    code = f"""
import contextlib, io, json, sys
from tfrec_llm.cli.main import main
texts = {{}}
for verb in {list(VERBS)!r}:
    with contextlib.redirect_stdout(io.StringIO()) as out:
        assert main([verb, "--help"]) == 0
    texts[verb] = out.getvalue()
heavy = ["tensorflow", "keras", "tf_keras", "polars", "numpy", "scipy", "yaml", "absl"]
print(json.dumps([texts, [name for name in heavy if name in sys.modules]]))
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    texts, loaded = json.loads(done.stdout)
    assert loaded == []
    for verb, words in VERBS.items():
        assert f"Example:\n    tfrec-llm {verb}" in texts[verb]
        for word in words:
            assert word in texts[verb], (verb, word)


def test_help_lists_every_verb_and_no_other() -> None:
    done = run("--help")
    listed = done.stdout.partition("Commands:\n")[2].partition("\n\n")[0]
    assert [line.split()[0] for line in listed.splitlines()] == list(VERBS)
    assert (done.returncode, done.stderr) == (0, "")


def test_no_arguments_show_the_help_on_stderr() -> None:
    done = run()
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith("Usage: tfrec-llm")


def test_the_version_is_the_packages() -> None:
    import tfrec_llm

    assert run("--version").stdout == f"{tfrec_llm.__version__}\n"


@pytest.mark.parametrize(
    ("script", "verb"), [("training/train.py", "train"), ("export/export_model.py", "export")]
)
def test_the_scripts_take_the_arguments_of_their_verb(script: str, verb: str) -> None:
    done = subprocess.run(
        [sys.executable, str(ROOT / script), "--help"], capture_output=True, text=True, cwd="/"
    )
    assert (done.returncode, done.stdout) == (0, run(verb, "--help").stdout)


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["trian"], "No such command 'trian'"),
        (["train"], "Missing argument 'CONFIG.yaml'"),
        (["train", "run.yaml"], "Missing option '--out'"),
        (["train", "run.yaml", "--out", "a", "--fast"], "No such option: --fast"),
        (["recommend", "books", "-k", "0"], "Invalid value for '-k'"),
        (["recommend", "books", "-k", "ten"], "Invalid value for '-k'"),
        (["recommend", "books", "--diversity", "1.1"], "Invalid value for '--diversity'"),
        (["recommend", "books", "--diversity", "nan"], "Invalid value for '--diversity'"),
        (["recommend", "books", "--diversity-method", "best"], "one of mmr, dpp, got 'best'"),
        (["recommend", "books", "--popularity-penalty", "-1"], "Invalid value for '--popularity-p"),
        (["recommend", "books", "--max-per-category", "0"], "Invalid value for '--max-per-cat"),
        (["recommend", "books", "--max-per-category", "1"], "belong together"),
        (["recommend", "b", "--max-per-category", "1", "--categories", "i.csv"], "FILE:COLUMN"),
        (["export", "run", "--out", "a", "--index", "tree"], "Invalid value for '--index'"),
        (["recommend", "books", "--history", '"a'], "--history '\"a' is not a list of ids"),
    ],
)
def test_bad_usage_is_one_line_with_exit_code_2(arguments: list[str], told: str) -> None:
    done = run(*arguments)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith("Error: ") and told in done.stderr
    assert done.stderr.count("\n") == 1


def test_a_faulty_configuration_ends_with_exit_code_2_before_any_work(tmp_path: Path) -> None:
    config = tmp_path / "run.yaml"
    config.write_text("data: {source: bookshop}\ntrain: {epoch: 3}\n")
    done = run("train", str(config), "--out", str(tmp_path / "run"), "--set", "train.seed=x")
    assert (done.returncode, done.stdout) == (2, "")
    assert "the nearest known key is train.epochs." in done.stderr
    assert '--set train.seed=x: train.seed: got "x"' in done.stderr
    assert "Traceback" not in done.stderr
    assert not (tmp_path / "run").exists()


def test_debug_adds_the_traceback(tmp_path: Path) -> None:
    done = run("train", str(tmp_path / "none.yaml"), "--out", "x", "--debug")
    assert done.returncode == 2
    assert done.stderr.startswith("Traceback")
    assert done.stderr.splitlines()[-1].startswith("Error: ")


@pytest.mark.parametrize(
    ("kind", "code", "told"),
    [
        ("usage", 2, "Error: k is 0. Ask for one item or more."),
        ("corrupt", 1, "Error: a.bin was changed since."),
        ("bug", 1, "Internal error: ValueError: first line second line."),
        ("full", 1, "Error: No space left on device: /disk/a. Make room there"),
        ("denied", 1, "Error: Permission denied: /srv/a."),
        ("absent", 2, "Error: No such file or directory: b.csv."),
        ("memory", 1, "Error: there is not enough memory."),
        ("interrupt", 130, "Interrupted."),
    ],
)
def test_each_error_has_its_exit_code_and_one_paragraph(kind: str, code: int, told: str) -> None:
    done = fail(kind)
    assert done.returncode == code
    assert done.stderr.strip().startswith(told)
    assert done.stderr.strip().count("\n") == 0


def test_an_internal_error_shows_its_traceback_with_debug_alone() -> None:
    assert "Traceback" not in fail("bug").stderr
    assert fail("bug", "--debug").stderr.startswith("Traceback")


def test_an_interrupt_from_the_keyboard_ends_with_130() -> None:
    # What a shell runs in its background inherits that interrupts are ignored.
    heeded = "import signal; signal.signal(signal.SIGINT, signal.default_int_handler)"
    with subprocess.Popen(
        [sys.executable, "-c", heeded + WITH_FAULTY_VERBS, "wait"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stderr is not None
        assert process.stderr.readline() == "waiting\n"
        process.send_signal(signal.SIGINT)
        rest = process.stderr.read()
    assert process.returncode == 130
    assert rest.strip() == "Interrupted."


@pytest.mark.parametrize("argument", ["say", "--help"])
@pytest.mark.parametrize("unbuffered", ["", "1"])
def test_a_reader_that_has_seen_enough_causes_no_traceback(argument: str, unbuffered: str) -> None:
    with subprocess.Popen(
        [sys.executable, "-c", WITH_FAULTY_VERBS, argument],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONUNBUFFERED": unbuffered},
    ) as process:
        assert process.stdout is not None and process.stderr is not None
        process.stdout.close()
        assert process.stderr.read() == ""
    assert process.returncode == 1


@pytest.mark.parametrize(("given", "expected"), [({}, "3"), ({"TF_CPP_MIN_LOG_LEVEL": "0"}, "0")])
def test_a_log_level_that_the_user_set_stays(given: dict[str, str], expected: str) -> None:
    code = (
        "import os; from tfrec_llm.cli.main import main; main(['--version']); "
        "print(os.environ['TF_CPP_MIN_LOG_LEVEL'])"
    )
    others = {k: v for k, v in os.environ.items() if k != "TF_CPP_MIN_LOG_LEVEL"}
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, env={**others, **given}
    )
    assert done.stdout.split()[-1] == expected
