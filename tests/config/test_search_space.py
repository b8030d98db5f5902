from __future__ import annotations

from pathlib import Path

import pytest

from tfrec_llm.config.load import config_from
from tfrec_llm.config.load_search_space import load_search_space
from tfrec_llm.config.run_config import RunConfig
from tfrec_llm.config.search_space import (
    Choices,
    Range,
    SearchSpace,
    default_search_space,
    setting,
    with_settings,
)
from tfrec_llm.errors import ConfigError

RUN = config_from({"data": {"source": "bookshop"}})


def space_of(folder: Path, text: str, config: RunConfig = RUN) -> SearchSpace:
    (folder / "space.yaml").write_text(text, encoding="utf-8")
    return load_search_space(folder / "space.yaml", config)


def test_ranges_and_lists_are_read_in_the_order_of_the_file(tmp_path: Path) -> None:
    space = space_of(
        tmp_path,
        "train.learning_rate: {low: 1e-4, high: 1e-2, log: true}\n"
        "towers.history: [mean, transformer]\ntowers.text_start_share: [null, 0.5]\n",
    )
    assert list(space.items()) == [
        ("train.learning_rate", Range(0.0001, 0.01, log=True)),
        ("towers.history", Choices(("mean", "transformer"))),
        ("towers.text_start_share", Choices((None, 0.5))),
    ]


def test_a_range_of_a_whole_number_holds_whole_numbers_alone(tmp_path: Path) -> None:
    choice = space_of(tmp_path, "train.epochs: {low: 0, high: 4}")["train.epochs"]
    assert choice.holds(3) and not choice.holds(3.5) and not choice.holds(True)


def test_a_key_that_may_be_null_takes_a_range_of_numbers(tmp_path: Path) -> None:
    choice = space_of(tmp_path, "towers.text_start_share: {low: 0, high: 1}")
    assert choice["towers.text_start_share"] == Range(0, 1)


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("train.batchsize: [32]", "no such key; the nearest known key is train.batch_size"),
        ("weight_decay: [0.1]", "no such key; the nearest known key is train.weight_decay"),
        ("train: {learning_rate: [0.1]}", "Name its keys with a dot: train.batch_size"),
        ("train.learning_rate: {low: 0, high: 1}", "got 0; allowed: a number, above 0"),
        ("towers.dropout: {low: 0.1, high: 1}", "got 1; allowed: a number, at least 0 and below 1"),
        ("towers.history: [mean, transfomer]", "(did you mean transformer?)"),
        ("train.batch_size: {low: 32, high: 64.5}", "got 64.5; allowed: a whole number"),
        ("train.batch_size: [32, '64']", 'got "64"; allowed: a whole number'),
        ("towers.history: {low: 1, high: 2}", "a range is for numbers; the key takes mean |"),
        ("train.learning_rate: 0.1", "got 0.1; allowed: a list of values"),
        ("train.learning_rate: []", "the list is empty"),
        ("train.learning_rate: [0.1, 0.1]", "0.1 stands twice"),
        ("train.learning_rate: [[0.1]]", "is a list or mapping"),
        ("train.learning_rate: {low: 0.1}", "got low"),
        ("train.learning_rate: {low: 0.1, high: 0.2, step: 1}", "got low, high, step"),
        ("train.learning_rate: {low: 0.1, high: true}", "high: got True; allowed: a number"),
        ("train.learning_rate: {low: 0.1, high: .inf}", "high: got inf; allowed: a number"),
        ("train.learning_rate: {low: 0.1, high: 0.2, log: 1}", "log: got 1; allowed: true or"),
        ("train.learning_rate: {low: 0.2, high: 0.1}", "low must be below high"),
        ("train.weight_decay: {low: 0, high: 0.1, log: true}", "it must be above 0"),
        ("train.seed: [1, 2]", "it cannot be searched"),
        ("split.protocol: [random]", "it cannot be searched"),
        ("[mean]", "holds no search space"),
        ("", "holds no search space"),
    ],
)
def test_a_fault_is_told_with_what_is_allowed(text: str, told: str, tmp_path: Path) -> None:
    with pytest.raises(ConfigError) as error:
        space_of(tmp_path, text)
    assert told in str(error.value) and str(tmp_path / "space.yaml") in str(error.value)


def test_all_faults_are_told_at_once_with_their_lines(tmp_path: Path) -> None:
    with pytest.raises(ConfigError) as error:
        space_of(tmp_path, "train.epoch: [1]\ntowers.dropout: [0.1]\ntrain.learning_rate: [-1]\n")
    first, second = str(error.value).splitlines()[1:]
    assert "space.yaml, line 1: train.epoch: there is no such key" in first
    assert "space.yaml, line 3: train.learning_rate: got -1; allowed" in second


def test_values_are_tried_in_the_run_that_is_given(tmp_path: Path) -> None:
    plain = config_from({"data": {"source": "bookshop"}, "model": {"kind": "matrix_factorisation"}})
    assert space_of(tmp_path, "encoder.pooling: [lstm]")
    with pytest.raises(ConfigError, match="cannot learn encoder.pooling `lstm`"):
        space_of(tmp_path, "encoder.pooling: [lstm]", plain)


def test_a_folder_of_a_language_model_is_relative_to_the_file(tmp_path: Path) -> None:
    space = space_of(tmp_path, "encoder.preset: [all_minilm_l6_v2_en, ./mine]")
    assert space["encoder.preset"] == Choices(("all_minilm_l6_v2_en", str(tmp_path / "mine")))


@pytest.mark.parametrize(
    "changes",
    [{}, {"towers.embedding_dim": 8, "train.learning_rate": 0.5, "train.weight_decay": 0.0}],
)
def test_the_default_space_holds_what_the_run_has(changes: dict[str, float]) -> None:
    config = with_settings(RUN, changes, "run")
    space = default_search_space(config)
    assert len(space) == 11
    assert all(choice.holds(setting(config, key)) for key, choice in space.items())


def test_every_value_of_the_default_space_is_allowed() -> None:
    for key, choice in default_search_space(RUN).items():
        ends = (choice.low, choice.high) if isinstance(choice, Range) else choice.values
        for value in ends:
            assert setting(with_settings(RUN, {key: value}, "run"), key) == value


@pytest.mark.parametrize(
    ("changes", "idle"),
    [
        (
            {"model.kind": "matrix_factorisation", "model.loss": "bpr"},
            {
                *("towers.history", "towers.text_start_share", "towers.item_id_rate"),
                *("train.temperature", "train.uniform_negatives"),
            },
        ),
        ({"encoder.kind": "none"}, {"towers.item_id_dropout", "towers.text_start_share"}),
        ({"towers.item_ids": False}, {"towers.item_id_dropout", "towers.item_id_rate"}),
        ({"train.start_from": "runs/a"}, {"towers.history", "towers.embedding_dim"}),
    ],
)
def test_the_default_space_leaves_out_what_has_no_effect(
    changes: dict[str, object], idle: set[str]
) -> None:
    everything = set(default_search_space(RUN))
    assert everything - set(default_search_space(with_settings(RUN, changes, "run"))) == idle


def test_settings_that_do_not_go_together_are_refused_by_name() -> None:
    changes = {"model.kind": "matrix_factorisation", "encoder.pooling": "lstm"}
    with pytest.raises(ConfigError, match="trial 3: .*cannot learn"):
        with_settings(RUN, changes, "trial 3")
