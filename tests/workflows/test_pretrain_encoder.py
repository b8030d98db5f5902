"""A file of texts → a preset, through the workflow."""

from __future__ import annotations

import gzip
import json

import pytest

from tfrec_llm.errors import DataError, UsageError
from tfrec_llm.workflows.build import build_encoder
from tfrec_llm.workflows.pretrain_encoder import pretrain_encoder, read_corpus

TEXTS = [f"{a}的{b}" for a in "三体流浪" for b in "地球人心"]
TINY = {"num_layers": 1, "dim": 8, "max_tokens": 8, "steps": 2}


@pytest.mark.slow
def test_a_configuration_takes_the_preset_for_its_chinese_texts(tmp_path, shop_config):
    path = tmp_path / "texts.csv"
    path.write_text("id,title,text\n" + "".join(f"{n},书,{t}\n" for n, t in enumerate(TEXTS)))
    out = tmp_path / "zh"
    summary = pretrain_encoder(path, out=out, text_columns=["text"], **TINY)
    assert summary["texts"] + summary["held_out_texts"] == len(TEXTS)
    assert json.loads((out / "pretraining.json").read_text())["epochs"]
    config = shop_config(
        f"encoder.preset_zh={json.dumps(str(out))}", "text.max_tokens=8", "encoder.word_columns=0"
    )
    encoder = build_encoder(config, ["war", "三体"])
    features = encoder.encode(["war", "三体"])
    assert features.shape == (2, 16 + 8)
    assert (features[0, 16:] == 0).all() and (features[1, :16] == 0).all()


def test_lines_and_tables_are_read(tmp_path):
    (tmp_path / "a.txt").write_text("\ufeff三体\n\n  sea \n")
    assert read_corpus(tmp_path / "a.txt") == ["三体", "sea"]
    (tmp_path / "a.txt.gz").write_bytes(gzip.compress("三体\n".encode()))
    assert read_corpus(tmp_path / "a.txt.gz") == ["三体"]
    (tmp_path / "a.jsonl").write_text(
        '{"id": 1, "a": "x", "b": "y"}\n{"id": 2, "a": "", "b": ""}\n'
    )
    assert read_corpus(tmp_path / "a.jsonl") == ["x. y"]
    assert read_corpus(tmp_path / "a.jsonl", ["b"]) == ["y"]


def test_a_corpus_that_cannot_be_used_is_told(tmp_path):
    empty = tmp_path / "empty.txt"
    empty.write_text("\n \n")
    with pytest.raises(DataError, match="empty.txt holds no text"):
        read_corpus(empty)
    with pytest.raises(DataError, match="does not exist"):
        read_corpus(tmp_path / "none.txt")
    empty.write_bytes(b"\xff\xfe")
    with pytest.raises(DataError, match="is not UTF-8"):
        read_corpus(empty)
    with pytest.raises(UsageError, match="has lines and no columns"):
        read_corpus(empty, ["a"])
    with pytest.raises(UsageError, match="exists already"):
        pretrain_encoder(empty, out=tmp_path)
