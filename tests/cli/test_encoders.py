"""`tfrec-llm encoders` as a process: its output, exit codes and what it loads."""

import json
import subprocess
import sys

import pytest

from tfrec_llm.cli.main import main
from tfrec_llm.workflows import encoders as workflow


def run(*arguments):
    return subprocess.run(
        [sys.executable, "-m", "tfrec_llm", "encoders", *arguments], capture_output=True, text=True
    )


@pytest.mark.parametrize("arguments", [["--help"], [], ["--suggest", "--items", "1000"]])
def test_no_tensorflow_is_loaded(arguments):
    code = (
        "import sys\n"
        "from tfrec_llm.cli.main import main\n"
        f"code = main(['encoders', *{arguments!r}])\n"
        "assert not {'tensorflow', 'keras'} & set(sys.modules)\n"
        "sys.exit(code)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert done.stdout


def test_the_list_is_one_json_object():
    done = run("--json")
    models = json.loads(done.stdout)["encoders"]
    assert done.returncode == 0 and len(models) >= 25
    names = {model["name"]: model for model in models}
    assert names["bert_base_zh"]["languages"] == ["zh"]
    assert {model["rate"] for model in models} == {"measured", "estimated"}


def test_a_language_leaves_out_models_that_do_not_read_it(capsys):
    assert main(["encoders", "--language", "zh", "--json"]) == 0
    models = json.loads(capsys.readouterr().out)["encoders"]
    assert models and all({"zh", "multi"} & set(model["languages"]) for model in models)


def test_the_table_shows_every_name_uncut(capsys):
    assert main(["encoders"]) == 0
    shown = capsys.readouterr().out
    assert "electra_small_discriminator_uncased_en" in shown and "licence" in shown


@pytest.fixture(params=["0.25.1", "0.32.0"])
def keras_nlp_version(request, monkeypatch, tmp_path):
    """Each of the two, whichever is installed, and a machine that keeps no copy of a model."""
    monkeypatch.setattr(workflow, "installed_keras_nlp", lambda: request.param)
    monkeypatch.setattr(workflow, "where_at_hand", lambda name: None)
    return request.param


def test_a_preset_that_needs_a_newer_keras_nlp_is_marked(keras_nlp_version, capsys):
    assert main(["encoders", "--json"]) == 0
    models = {model["name"]: model for model in json.loads(capsys.readouterr().out)["encoders"]}
    assert models["bert_base_zh"]["usable"]
    assert models["bge_m3"]["usable"] == (keras_nlp_version == "0.32.0")
    assert models["bge_m3"]["since"] == "0.30"
    assert main(["encoders"]) == 0
    shown = " ".join(capsys.readouterr().out.split())
    assert ("bge_m3 (0.30)" in shown) == (keras_nlp_version == "0.25.1")
    assert ("(0.30) needs keras-nlp 0.30" in shown) == (keras_nlp_version == "0.25.1")
    assert "bert_base_zh (" not in shown


def test_a_better_model_of_a_newer_keras_nlp_is_told(monkeypatch, capsys):
    monkeypatch.setattr(workflow, "installed_keras_nlp", lambda: "0.25.1")
    monkeypatch.setattr(workflow, "where_at_hand", lambda name: None)
    assert main(["encoders", "--suggest", "--items", "2000", "--language", "zh"]) == 0
    shown = capsys.readouterr().out
    assert shown.startswith("encoder.preset: qwen3_embedding_0.6b_en\n")
    assert "With keras-nlp 0.30 or newer bge_base_v1.5_zh would be taken" in shown
    assert "keras-nlp 0.25.1 is installed" in shown


def test_a_suggestion_says_what_to_set_and_why(monkeypatch, capsys):
    monkeypatch.setattr(workflow, "installed_keras_nlp", lambda: "0.32.0")
    assert main(["encoders", "--suggest", "--items", "2000", "--language", "zh"]) == 0
    shown = capsys.readouterr().out
    assert shown.startswith("encoder.preset: bge_base_v1.5_zh\nencoder.pooling: cls\n")
    assert "why:" in shown and "Next best is" in shown and "what would change it:" in shown


def test_a_suggestion_as_json_holds_the_runner_up(capsys):
    arguments = ["--items", "9", "--device", "gpu", "--task", "ranking", "--minutes", "5", "--json"]
    assert main(["encoders", "--suggest", *arguments]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["in_time"] and found["runner_up"]["name"] != found["encoder"]["name"]
    assert found["encoder"]["rate"] == "estimated"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--suggest"], "--suggest needs --items"),
        (["--items", "5"], "--items is of use with --suggest alone"),
        (["--suggest", "--items", "5", "--minutes", "0"], "`minutes` must be a number above 0"),
        (["--suggest", "--items", "0"], "--items"),
        (["--language", "fr"], "--language"),
    ],
)
def test_wrong_usage_exits_with_2(arguments, message, capsys):
    assert main(["encoders", *arguments]) == 2
    assert message in capsys.readouterr().err
