"""Whole pretrainings of toy corpora."""

from __future__ import annotations

import json

import numpy as np
import pytest

from tfrec_llm.encoders.text_encoder import TextEncoder
from tfrec_llm.errors import CheckpointError, DataError, EncoderError, UsageError
from tfrec_llm.keras_api import keras, tf
from tfrec_llm.pretraining import train_masked_lm as training
from tfrec_llm.pretraining.add_tokens import add_tokens, unread_characters
from tfrec_llm.pretraining.pretrain import pretrain
from tfrec_llm.pretraining.small_bert import small_bert
from tfrec_llm.pretraining.token_windows import token_windows
from tfrec_llm.testing.tiny_models import tiny_preset

PAIRS = ["三体", "星球", "菜谱", "糖油", "sea ship", "king queen", "red blue", "day night"]
TOY = [f"{a} {b} {a} {c}" for a in PAIRS for b in PAIRS for c in PAIRS if a != b and b != c][:250]
SHAPE = {"num_layers": 1, "dim": 16, "num_heads": 2, "max_tokens": 16, "batch_size": 32}


@pytest.fixture(scope="module")
def toy(tmp_path_factory):
    folder = tmp_path_factory.mktemp("toy") / "preset"
    settings = {**SHAPE, "dim": 32, "batch_size": 16}
    return folder, pretrain(TOY, folder, epochs=15, learning_rate=0.01, **settings)


def test_the_loss_falls_and_held_out_tokens_are_guessed_better_than_by_the_floor(toy):
    _, report = toy
    first, best = report["epochs"][0], report["epochs"][report["best_epoch"]]
    assert best["held_out_loss"] < 0.8 * first["held_out_loss"]
    assert report["epochs"][-1]["training_loss"] < report["epochs"][1]["training_loss"]
    floor = report["most_frequent_token_accuracy"]
    assert 0.0 < floor < 0.5 and best["held_out_accuracy"] > floor + 0.1


def test_the_preset_is_read_by_an_encoder_and_tells_how_it_was_made(toy):
    folder, report = toy
    encoder = TextEncoder.from_preset(folder, max_tokens=16)
    vectors = encoder.encode(["三体", "sea ship", ""])
    assert vectors.shape == (3, 32) and np.isfinite(vectors).all()
    np.testing.assert_allclose(TextEncoder.load(folder).encode(["三体"])[0], vectors[0], atol=1e-5)
    written = json.loads((folder / "pretraining.json").read_text())
    assert written == json.loads(json.dumps(report)) and written["texts"] == 225
    assert not list(folder.parent.glob(".*"))


class _Killed(Exception):
    pass


class _KillAfter:
    """A listener in whose second epoch the power fails."""

    def message(self, text):
        if text.startswith("epoch 2"):
            raise _Killed

    def advance(self, *_):
        pass


@pytest.mark.slow
def test_a_killed_run_resumes_to_the_same_weights(tmp_path):
    settings = {**SHAPE, "epochs": 3}
    whole = pretrain(TOY, tmp_path / "whole", **settings)
    with pytest.raises(_Killed):
        pretrain(TOY, tmp_path / "part", progress=_KillAfter(), **settings)
    assert not (tmp_path / "part").exists()
    with pytest.raises(UsageError, match="unfinished pretraining. Go on with --resume"):
        pretrain(TOY, tmp_path / "part", **settings)
    with pytest.raises(CheckpointError, match="another corpus or other settings"):
        pretrain(TOY, tmp_path / "part", resume=True, **{**settings, "seed": 8, "epochs": 3})
    part = pretrain(TOY, tmp_path / "part", resume=True, **settings)
    assert part["epochs"] == whole["epochs"]
    encoders = [TextEncoder.from_preset(tmp_path / n, max_tokens=16) for n in ("whole", "part")]
    assert encoders[0].fingerprint == encoders[1].fingerprint


def test_steps_count_instead_of_epochs_and_each_masking_is_another(tmp_path, monkeypatch):
    seen = []
    original = training.mask_tokens

    def spy(*arguments, **options):
        result = original(*arguments, **options)
        seen.append(result[1].tobytes())
        return result

    monkeypatch.setattr(training, "mask_tokens", spy)
    report = pretrain(TOY[:12], tmp_path / "p", steps=3, **{**SHAPE, "batch_size": 16})
    assert [row["epoch"] for row in report["epochs"]] == [0, 1, 2, 3]
    assert len(set(seen)) == len(seen)


def test_a_continued_model_reads_new_characters_and_keeps_the_vectors_of_old_texts():
    tokenizer, backbone = small_bert([*_RESERVED, "a", "b", "##b"], dim=8, num_heads=2)
    for layer in backbone.layers:
        if hasattr(layer, "_feedforward_intermediate_dense"):
            layer._feedforward_intermediate_dense.activation = keras.activations.gelu
    tokens = unread_characters(tokenizer, ["ab 三体", "体", "ж"], 10)
    assert tokens[0] == "体"  # the most frequent
    assert sorted(tokens) == sorted(["体", "##a", "三", "ж", "##ж"])
    more, larger = add_tokens(tokenizer, backbone, tokens)
    old_rows = np.asarray(backbone.token_embedding.embeddings)
    new_rows = np.asarray(larger.token_embedding.embeddings)
    np.testing.assert_array_equal(new_rows[: len(old_rows)], old_rows)
    assert len(np.unique(new_rows[len(old_rows) :], axis=0)) == len(tokens)
    assert np.abs(new_rows[len(old_rows) :] - old_rows.mean(0)).max() < old_rows.std()
    windows = token_windows(more, ["三体 жж"], 16)
    assert more.token_to_id("[UNK]") not in windows[0]
    inputs = {
        "token_ids": tf.constant([[2, 5, 6, 3]]),
        "segment_ids": tf.zeros([1, 4], tf.int32),
        "padding_mask": tf.ones([1, 4], tf.int32),
    }
    answers = [model(inputs)["sequence_output"].numpy() for model in (backbone, larger)]
    np.testing.assert_array_equal(*answers)


_RESERVED = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]


@pytest.mark.slow
def test_a_continued_preset_starts_where_it_was_with_its_head(toy, tmp_path):
    folder, before = toy
    more = [text.replace("三", "山") for text in TOY]
    report = pretrain(
        more, tmp_path / "more", start_from=folder, more_tokens=True, steps=1, max_tokens=16
    )
    assert report["added_tokens"] == 1 and report["vocabulary"] == before["vocabulary"] + 1
    assert report["epochs"][0]["held_out_loss"] < before["epochs"][0]["held_out_loss"]


@pytest.mark.slow
def test_the_exact_gelu_survives_pretraining_and_saving(tmp_path):
    preset = tiny_preset(tmp_path / "exact")
    (preset / "encoder.json").write_text('{"exact_gelu": true}')
    plain = TextEncoder.from_preset(tiny_preset(tmp_path / "plain"), max_tokens=16)
    exact = TextEncoder.from_preset(preset, max_tokens=16)
    assert not np.array_equal(exact.encode(["king"]), plain.encode(["king"]))
    texts = [
        f"the {a} {b}" for a in ("king", "queen", "sea") for b in ("war", "love", "day", "sun")
    ]
    options = {"start_from": preset, "more_tokens": True, "steps": 1, "learning_rate": 1e-12}
    pretrain([*texts, "水 水"], tmp_path / "out", max_tokens=16, **options)
    # Nothing was learned at such a rate, so the vectors are those of before, GELU included.
    again = TextEncoder.from_preset(tmp_path / "out", max_tokens=16)
    assert again.preset.exact_gelu
    np.testing.assert_allclose(again.encode(texts), exact.encode(texts), atol=1e-6)


def test_what_cannot_be_done_is_told_before_it_begins(tmp_path):
    def attempt(texts=TOY, out=tmp_path / "new", **settings):
        pretrain(texts, out, **{**SHAPE, **settings})

    with pytest.raises(UsageError, match="exists already"):
        attempt(out=tmp_path)
    with pytest.raises(DataError, match="has 1 distinct texts"):
        attempt(texts=["a", "a", ""])
    with pytest.raises(DataError, match="has 0 distinct texts"):
        attempt(texts=[])
    with pytest.raises(UsageError, match="only be added to a model that exists"):
        attempt(more_tokens=True)
    with pytest.raises(UsageError, match="`mask_share` must lie between 0 and 1, got 1.5"):
        attempt(mask_share=1.5)
    with pytest.raises(UsageError, match="`dim` must be a multiple of `num_heads`"):
        attempt(dim=15)
    distil = tiny_preset(tmp_path / "distil", "distil_bert")
    with pytest.raises(EncoderError, match="is a DistilBert. Only models of the BERT family"):
        attempt(start_from=distil)
