from __future__ import annotations

import re
from pathlib import Path

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from tfrec_llm.config.load import dump_config, load_config
from tfrec_llm.config.run_config import RunConfig
from tfrec_llm.errors import ConfigError


def written(folder: Path, text: str | bytes) -> Path:
    path = folder / "run.yaml"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return path


def faults(folder: Path, text: str | bytes, *overrides: str) -> str:
    with pytest.raises(ConfigError) as raised:
        load_config(written(folder, text), overrides)
    return str(raised.value)


def test_data_alone_is_enough_and_the_rest_has_defaults(tmp_path: Path) -> None:
    config = load_config(written(tmp_path, "data: {source: bookshop}"))
    assert config == RunConfig(data={"source": "bookshop"})  # type: ignore[arg-type]


def test_relative_paths_are_relative_to_the_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir("/")
    config = load_config(
        written(
            tmp_path,
            "data: {items: a/items.csv, interactions: /b/clicks.csv}\n"
            "encoder: {cache_folder: cache, preset: ./encoder}",
        )
    )
    assert config.data.items == tmp_path / "a/items.csv"
    assert config.data.interactions == Path("/b/clicks.csv")
    assert config.encoder.cache_folder == tmp_path / "cache"
    assert Path(config.encoder.preset) == tmp_path / "encoder"


def test_the_file_itself_may_be_named_relatively(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    written(tmp_path, "data: {source: movielens, folder: ml}")
    monkeypatch.chdir(tmp_path)
    assert load_config("run.yaml").data.folder == tmp_path / "ml"


def test_relative_paths_of_overrides_are_relative_to_the_current_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    path = written(tmp_path, "data: {items: items.csv, interactions: clicks.csv}")
    whole = load_config(path, ["data={items: i.csv, interactions: c.csv}"]).data
    assert whole.interactions == tmp_path / "here/c.csv"
    assert load_config(path, ["data.items=i.csv"]).data.items == tmp_path / "here/i.csv"
    assert load_config(path, ["data.items=i.csv"]).data.interactions == tmp_path / "clicks.csv"


def test_home_is_written_as_a_tilde(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", "/home/me")
    config = load_config(written(tmp_path, "data: {source: goodbooks, folder: ~/books}"))
    assert config.data.folder == Path("/home/me/books")


def test_a_preset_without_a_slash_is_a_path_if_the_folder_is_there(tmp_path: Path) -> None:
    (tmp_path / "mine").mkdir()
    config = load_config(written(tmp_path, "data: {source: bookshop}\nencoder: {preset: mine}"))
    assert Path(config.encoder.preset) == tmp_path / "mine"


@pytest.mark.parametrize("preset", ["all_minilm_l6_v2_en", "hf://organisation/model"])
def test_names_of_presets_are_no_paths(tmp_path: Path, preset: str) -> None:
    text = f"data: {{source: bookshop}}\nencoder: {{preset: '{preset}'}}"
    assert load_config(written(tmp_path, text)).encoder.preset == preset


def test_overrides_win_over_the_file_and_later_ones_over_earlier(tmp_path: Path) -> None:
    path = written(tmp_path, "data: {source: bookshop}\ntrain: {epochs: 5, seed: 1}")
    config = load_config(path, ["train.epochs=6", "train.epochs=7", "index.kind=brute_force"])
    assert (config.train.epochs, config.train.seed, config.index.kind) == (7, 1, "brute_force")


def test_values_of_overrides_are_yaml(tmp_path: Path) -> None:
    path = written(tmp_path, "data: {source: bookshop, min_rating: 3}")
    config = load_config(
        path,
        [
            "evaluate.ks=[5, 50]",
            "data.min_rating=null",
            "data.columns={item_id: isbn, item_text: [title, blurb]}",
            "train.learning_rate=1e-4",
            "data.columns.user_id=a=b",
        ],
    )
    assert config.evaluate.ks == [5, 50]
    assert config.data.min_rating is None
    assert config.data.columns.item_text == ["title", "blurb"]
    assert config.data.columns.user_id == "a=b"
    assert config.train.learning_rate == 1e-4


def test_a_section_with_nothing_in_it_keeps_its_defaults(tmp_path: Path) -> None:
    config = load_config(written(tmp_path, "data: {source: bookshop}\ntrain:\n  # epochs: 3\n"))
    assert config.train == RunConfig(data={"source": "bookshop"}).train


def test_numbers_may_have_an_exponent_without_a_dot(tmp_path: Path) -> None:
    text = "data: {source: bookshop}\ntrain: {learning_rate: 2e-3}"
    assert load_config(written(tmp_path, text)).train.learning_rate == 0.002


def test_a_byte_order_mark_is_no_part_of_the_first_key(tmp_path: Path) -> None:
    text = b"\xef\xbb\xbfdata: {source: bookshop}\r\ntrain: {epochs: 2}\r\n"
    assert load_config(written(tmp_path, text)).train.epochs == 2


@pytest.mark.parametrize(
    ("line", "nearest"),
    [
        ("train: {batchsize: 3}", "train.batch_size"),
        ("train: {lr: 3}", "train.learning_rate"),
        ("towers: {max-history: 3}", "towers.max_history"),
        ("epochs: 3", "train.epochs"),
        ("encoder: {max_tokens: 3}", "text.max_tokens"),
        ("training: {epochs: 3}", "train"),
        ("towers: {Dropout: 0.1}", "towers.dropout"),
    ],
)
def test_an_unknown_key_names_the_nearest_known_one(
    tmp_path: Path, line: str, nearest: str
) -> None:
    message = faults(tmp_path, f"data: {{source: bookshop}}\n{line}")
    assert message.endswith(f"the nearest known key is {nearest}.")
    assert f"{tmp_path}/run.yaml, line 2: " in message


def test_an_unknown_key_of_an_override_names_the_override(tmp_path: Path) -> None:
    message = faults(tmp_path, "data: {source: bookshop}", "trian.epochs=3")
    assert message.startswith("--set trian.epochs=3: trian: got")
    assert "nearest known key is train." in message


@pytest.mark.parametrize(
    ("line", "told"),
    [
        ("text: {max_tokens: 3}", "text.max_tokens: got 3; allowed: a whole number, at least 4"),
        ("text: {max_tokens: '8'}", 'got "8"; allowed: a whole number'),
        ("text: {max_tokens: 8.5}", "got 8.5; allowed: a whole number"),
        ("train: {epochs: true}", "train.epochs: got true; allowed: a whole number, at least 0"),
        ("train: {learning_rate: .inf}", "got Infinity; allowed: a number, above 0"),
        ("train: {learning_rate: .nan}", "got NaN; allowed: a number, above 0"),
        ("train: {patience: null}", "got null; allowed: a whole number, at least 1"),
        ("towers: {history: transfomer}", "did you mean transformer?"),
        ("towers: {item_ids: 1}", "towers.item_ids: got 1; allowed: true or false"),
        ("evaluate: {ks: [10, 0]}", "evaluate.ks[1]: got 0; allowed: a list, each a whole number"),
        ("evaluate: {ks: 10}", "evaluate.ks: got 10; allowed: a list"),
        ("index: 3", "index: got 3; allowed: a section with the keys kind, max_k"),
        ("split: {test_share: 2020-01-01}", 'got "2020-01-01"; allowed: a number, above 0'),
    ],
)
def test_a_wrong_value_is_shown_with_what_is_allowed(tmp_path: Path, line: str, told: str) -> None:
    message = faults(tmp_path, f"data: {{source: bookshop}}\n{line}")
    assert told in message
    assert f"{tmp_path}/run.yaml, line 2: " in message


def test_negatives_that_a_factorisation_does_not_have_are_named(tmp_path: Path) -> None:
    shop, kind = "data: {source: bookshop}", "model.kind=matrix_factorisation"
    message = faults(tmp_path, shop, kind, "train.false_negative_margin=0", "train.debias_share=.1")
    assert "has no train.false_negative_margin, train.debias_share; leave it out" in message
    assert load_config(written(tmp_path, shop), [kind]).train.false_negative_margin is None


def test_all_faults_of_file_and_overrides_stand_in_one_message(tmp_path: Path) -> None:
    message = faults(
        tmp_path,
        "data: {source: bookshop}\ntrain:\n  epochs: many\n  epochs: 3\n  batchsize: 8\n",
        "no equals sign",
        "towers.dropout=2",
        "evaluate.ks=[10",
        "split.protocol.x=3",
        "train.epochs.x=3",
    )
    assert "has 8 faults:\n- " in message
    for told in (
        "line 4: train.epochs: the key stands here and in line 3",
        'line 3: train.epochs: got "many"',
        "line 5: train.batchsize: got 8",
        "--set no equals sign: expected section.key=value",
        "--set towers.dropout=2: towers.dropout: got 2; allowed: a number, at least 0 and below 1",
        "--set evaluate.ks=[10: this is not YAML",
        '--set split.protocol.x=3: split.protocol: got {"x": 3}; allowed: leave_one_out | random',
        '--set train.epochs.x=3: train.epochs holds "many", which is not a section',
    ):
        assert told in message


def test_a_key_that_stands_twice_is_a_fault_at_any_depth(tmp_path: Path) -> None:
    text = "data:\n  source: bookshop\n  columns:\n    item_id: a\n    item_id: a\n"
    message = faults(tmp_path, text)
    assert "line 5: data.columns.item_id: the key stands here and in line 4" in message


def test_tables_without_files_say_which_are_missing(tmp_path: Path) -> None:
    message = faults(tmp_path, "data: {items: items.csv}")
    assert "source `tables` needs data.interactions" in message


def test_a_missing_data_section_is_a_fault(tmp_path: Path) -> None:
    assert "data: missing; it must be a section with the keys source" in faults(
        tmp_path, "train: {epochs: 3}"
    )


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("data: [1\ntrain: 2", "run.yaml, line 2, column 6: this is not YAML"),
        ("data:\n\tsource: bookshop", "run.yaml, line 2, column 1: this is not YAML"),
        ("data: {source: bookshop}\n--- \ndata: 1", "run.yaml, line 2"),
        ("data: \x01", "run.yaml, line 1: this is not YAML"),
        (b"data:\n  name: \xff", "run.yaml, line 2, column 9: byte 0xff is not UTF-8"),
        ("", "the file is empty"),
        ("# nothing yet\n", "the file is empty"),
        ("- data", 'the file holds ["data"]. It must hold sections: data, split'),
        ("bookshop", 'the file holds "bookshop"'),
        ("data: &a [*a]", "too large or nested too deeply"),
        ("data: " + "[" * 3000, "too large or nested too deeply"),
        ("? [a, b]\n: 3\ndata: {source: bookshop}", "line 1: the whole file: a key must be a word"),
        ("data: {source: !!int many}", "'many' is not a tag:yaml.org,2002:int"),
    ],
)
def test_broken_yaml_is_told_with_its_place(tmp_path: Path, text: str | bytes, told: str) -> None:
    assert told in faults(tmp_path, text)


def test_a_text_that_unfolds_without_end_is_refused(tmp_path: Path) -> None:
    lines = ["a0: &a0 [x, x, x, x, x, x, x, x, x, x]"]
    lines += [f"a{i}: &a{i} [{', '.join([f'*a{i - 1}'] * 10)}]" for i in range(1, 9)]
    assert "too large" in faults(tmp_path, "\n".join(lines))


def test_nothing_in_a_file_is_executed(tmp_path: Path) -> None:
    mark = tmp_path / "executed"
    text = f"data: !!python/object/apply:os.mkdir [{mark}]"
    assert "the YAML tag tag:yaml.org,2002:python/object" in faults(tmp_path, text)
    assert not mark.exists()


def test_an_empty_path_is_a_fault(tmp_path: Path) -> None:
    message = faults(tmp_path, "data: {items: '', interactions: b.csv}")
    assert 'line 1: data.items: got ""; allowed: a path or null' in message


def test_a_missing_file_and_a_folder_are_told_plainly(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"none\.yaml: cannot read.*there is no such file"):
        load_config(tmp_path / "none.yaml")
    with pytest.raises(ConfigError, match="cannot read the configuration: Is a directory"):
        load_config(tmp_path)


def test_faults_of_overrides_are_told_even_when_the_file_is_missing(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"(?s)no such file.*--set x: expected"):
        load_config(tmp_path / "none.yaml", ["x"])


WORDS = st.text(st.characters(exclude_categories=["Cs", "Cc"]), min_size=1)
TRICKY = st.sampled_from(
    ["null", "yes", "1e5", "1_0", "0x1f", "~", "2020-01-01", "a: b", "=", "12:30"]
)
NAMES = WORDS | TRICKY
PATHS = st.text("abc é三.-", min_size=1).map(lambda name: "/" + name)
CONFIGS = st.fixed_dictionaries(
    {
        "data": st.fixed_dictionaries(
            {
                "items": PATHS,
                "interactions": PATHS,
                "columns": st.fixed_dictionaries(
                    {"item_id": NAMES, "item_text": st.none() | st.lists(NAMES)}
                ),
                "min_rating": st.none() | st.floats(allow_nan=False, allow_infinity=False),
            }
        ),
        "train": st.fixed_dictionaries(
            {
                "learning_rate": st.floats(min_value=1e-300, max_value=1e300),
                "seed": st.integers(min_value=0, max_value=2**70),
                "refit": st.booleans(),
            }
        ),
        "towers": st.fixed_dictionaries({"history": st.sampled_from(["mean", "gru"])}),
        "evaluate": st.fixed_dictionaries({"ks": st.lists(st.integers(1, 100))}),
    }
)


@given(tree=CONFIGS)
def test_a_dumped_configuration_is_read_back_the_same(
    tree: dict[str, object], tmp_path_factory: pytest.TempPathFactory
) -> None:
    config = RunConfig.model_validate(tree)
    path = tmp_path_factory.mktemp("dumped") / "run.yaml"
    path.write_text(dump_config(config), encoding="utf-8", newline="")
    assert load_config(path) == config


@given(tree=CONFIGS)
def test_a_dumped_configuration_means_the_same_to_any_reader_of_yaml(
    tree: dict[str, object],
) -> None:
    config = RunConfig.model_validate(tree)
    assert yaml.safe_load(dump_config(config)) == config.model_dump(mode="json")


def test_a_dumped_configuration_holds_every_key_and_no_anchors() -> None:
    config = RunConfig.model_validate({"data": {"source": "bookshop"}})
    text = dump_config(config)
    assert "max_reordering" not in text and not re.search(r"[&*]id\d", text)
    for section in type(config).model_fields:
        for key in type(getattr(config, section)).model_fields:
            assert f"\n  {key}:" in text


def test_two_starts_at_once_are_refused(tmp_path: Path) -> None:
    text = "data: {source: bookshop}\ntowers: {start: random, text_start_share: 0.4}"
    told = faults(tmp_path, text, "train.start_from=runs/a")
    assert "no room for train.start_from and towers.text_start_share" in told
    assert load_config(written(tmp_path, text), ["towers.start=factorised"])


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ("data: {source: bookshop}\nmodel: {kind: matrix_factorisation}", "has no.*time_gaps"),
        ("data: {source: shards, folder: shards}", "time_gaps needs times.*set it to false"),
    ],
)
def test_time_gaps_are_refused_where_nothing_can_learn_from_them(
    settings: str, message: str, tmp_path: Path
) -> None:
    text = faults(tmp_path, f"{settings}\ntowers: {{time_gaps: true}}")
    assert re.search(message, " ".join(text.split()))
