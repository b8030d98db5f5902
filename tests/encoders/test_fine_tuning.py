from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tfrec_llm.encoders.fine_tuning import MODES, FineTuning
from tfrec_llm.encoders.text_encoder import TextEncoder
from tfrec_llm.encoders.token_rows import token_rows
from tfrec_llm.errors import EncoderError, UsageError
from tfrec_llm.keras_api import keras, tf
from tfrec_llm.testing.tiny_models import FAMILIES, tiny_preset

TEXTS = ["the man is eating food", "", "love story of the old king and the young queen", "三体"]
POOLINGS = ("mean", "cls", "max", "last", "sif", "layers")

NAMED: dict[str, Callable[[str], bool]] = {
    "lora": lambda path: "lora_kernel" in path,
    "last_layers": lambda path: "transformer_layer_1/" in path,
    "full": lambda path: "pooled_dense" not in path,  # no token depends on the pooler
}


def weights_of(layer: FineTuning) -> dict[str, np.ndarray]:
    return {w.path: np.array(w.value) for w in layer._encoder.backbone.weights}


def step(layer: FineTuning, rows: np.ndarray, rate: float = 0.05) -> None:
    """One step of gradient descent on everything that the layer calls trainable."""
    variables = layer.trainable_variables
    wanted = np.random.default_rng(0).normal(size=(len(rows), layer.dim)).astype(np.float32)
    with tf.GradientTape() as tape:
        loss = tf.reduce_mean((layer(rows, training=True) - wanted) ** 2)
    gradients = tape.gradient(loss, [v.value for v in variables])
    for variable, gradient in zip(variables, gradients, strict=True):
        variable.assign_sub(rate * tf.convert_to_tensor(gradient))


@pytest.fixture(scope="module")
def rows(tiny_encoder: TextEncoder) -> np.ndarray:
    return token_rows(tiny_encoder, TEXTS)


@pytest.fixture(scope="module", params=MODES)
def tuned(request: Any, tiny_encoder: TextEncoder, rows: np.ndarray) -> FineTuning:
    """A layer after two steps: at the first a LoRA has no gradient on one of its matrices."""
    layer = FineTuning(tiny_encoder, request.param, lora_rank=2, train_layers=1)
    for _ in range(2):
        step(layer, rows)
    return layer


@pytest.fixture(scope="module", params=sorted(FAMILIES))
def of_a_family(
    request: Any, tmp_path_factory: pytest.TempPathFactory
) -> tuple[TextEncoder, np.ndarray, np.ndarray]:
    """A tiny encoder of a family, and the tokens and the vectors of the texts."""
    folder = tmp_path_factory.mktemp(request.param)
    encoder = TextEncoder.from_preset(tiny_preset(folder, request.param), max_tokens=16)
    return encoder, token_rows(encoder, TEXTS), encoder.encode(TEXTS)


@pytest.mark.parametrize("pooling", POOLINGS)
def test_before_a_step_it_is_the_encoder(pooling: str, tiny_folder: Path) -> None:
    settings = {"pooling": pooling, "pooling_layers": 2, "max_tokens": 16}
    encoder = TextEncoder.from_preset(tiny_folder, **settings)
    encoder.fit(TEXTS)
    layer = FineTuning(encoder, "lora")
    found = layer(token_rows(encoder, TEXTS)).numpy()
    np.testing.assert_allclose(found, encoder.embed(tf.constant(TEXTS)), atol=1e-5)


@pytest.mark.slow
@pytest.mark.parametrize(
    "mode",
    # All layers are those of which the mode of the last layers takes some.
    [pytest.param(m, marks=[pytest.mark.exhaustive] if m == "full" else []) for m in MODES],
)
def test_every_family_can_be_tuned_in_every_mode(
    mode: str, of_a_family: tuple[TextEncoder, np.ndarray, np.ndarray]
) -> None:
    encoder, rows, before = of_a_family
    layer = FineTuning(encoder, mode, lora_rank=2, train_layers=1)
    np.testing.assert_allclose(layer.encode(rows, batch_size=2), before, atol=1e-5)
    for _ in range(2):
        step(layer, rows)
    after = layer.encode(rows)
    assert np.isfinite(after).all() and np.abs(after - before).max() > 1e-4
    np.testing.assert_allclose(layer.tuned().encode(TEXTS), after, atol=1e-5)


def test_training_changes_the_weights_that_the_mode_names_and_no_other(
    tuned: FineTuning, tiny_encoder: TextEncoder
) -> None:
    fresh = FineTuning(tiny_encoder, tuned.mode, lora_rank=2, train_layers=1)
    before, after = weights_of(fresh), weights_of(tuned)
    assert before.keys() == after.keys()
    changed = {path for path in before if not np.array_equal(before[path], after[path])}
    # The key has no gradient in its bias: a softmax does not see what all its scores share.
    named = {path for path in before if NAMED[tuned.mode](path)}
    assert changed <= named
    assert {path for path in named - changed if "key/bias" not in path} == set()


def test_the_encoder_it_was_made_of_is_left_as_it_is(
    tuned: FineTuning, tiny_encoder: TextEncoder, tiny_folder: Path
) -> None:
    untouched = TextEncoder.from_preset(tiny_folder, max_tokens=16)
    assert tiny_encoder.fingerprint == untouched.fingerprint


def test_the_tuned_encoder_computes_what_the_layer_does(
    tuned: FineTuning, rows: np.ndarray
) -> None:
    np.testing.assert_allclose(tuned.tuned().encode(TEXTS), tuned.encode(rows), atol=1e-5)


def test_the_tuned_encoder_has_the_weights_of_a_plain_one(
    tuned: FineTuning, tiny_encoder: TextEncoder
) -> None:
    shapes = [[w.shape for w in e.backbone.weights] for e in (tuned.tuned(), tiny_encoder)]
    assert shapes[0] == shapes[1]


def test_the_tuned_encoder_is_another_one_and_comes_back_from_its_folder(
    tuned: FineTuning, tiny_encoder: TextEncoder, tmp_path: Path
) -> None:
    encoder = tuned.tuned()
    assert encoder.fingerprint != tiny_encoder.fingerprint
    encoder.save(tmp_path / "encoder")
    loaded = TextEncoder.load(tmp_path / "encoder")
    assert loaded.fingerprint == encoder.fingerprint
    np.testing.assert_allclose(loaded.encode(TEXTS), encoder.encode(TEXTS), atol=1e-5)


@pytest.mark.parametrize("mode", MODES)
def test_untrained_it_gives_the_encoder_back(mode: str, tiny_encoder: TextEncoder) -> None:
    assert FineTuning(tiny_encoder, mode).tuned().fingerprint == tiny_encoder.fingerprint


def test_a_merged_lora_is_kernel_plus_product_of_the_two_matrices(
    tiny_encoder: TextEncoder, rows: np.ndarray
) -> None:
    layer = FineTuning(tiny_encoder, "lora", lora_rank=2)
    for _ in range(2):
        step(layer, rows)
    found = {w.path: np.array(w.value) for w in layer.tuned().backbone.weights}
    weights = weights_of(layer)
    name = "transformer_layer_0/self_attention_layer/query"
    a, b = (weights[f"{name}/lora_kernel_{part}"] for part in "ab")
    assert np.abs(b).max() > 0.0
    expected = weights[f"{name}/kernel"] + np.einsum("ihr,rd->ihd", a, b)
    np.testing.assert_allclose(found[f"{name}/kernel"], expected, atol=1e-6)


def test_what_goes_into_a_checkpoint_brings_the_function_back(
    tuned: FineTuning, tiny_encoder: TextEncoder, rows: np.ndarray
) -> None:
    again = FineTuning(tiny_encoder, tuned.mode, lora_rank=2, train_layers=1, seed=5)
    for variable, kept in zip(again.variables, tuned.variables, strict=True):
        variable.assign(kept.value)
    np.testing.assert_allclose(again.encode(rows), tuned.encode(rows), atol=1e-6)
    pair = [layer(rows, training=True).numpy() for layer in (again, tuned)]
    np.testing.assert_allclose(*pair, atol=1e-6)  # the next draws of the drop-out too


def test_a_checkpoint_of_lora_holds_no_weight_of_the_model_itself(
    tiny_encoder: TextEncoder,
) -> None:
    layer = FineTuning(tiny_encoder, "lora", lora_rank=2)
    model = keras.Sequential([layer])
    kept = [v.path for v in model.variables]
    assert kept and all("lora_kernel" in path or "seed_generator" in path for path in kept)


def test_one_seed_draws_one_dropout_and_one_start(
    tiny_encoder: TextEncoder, rows: np.ndarray
) -> None:
    first, same, other = (FineTuning(tiny_encoder, "lora", seed=seed) for seed in (3, 3, 4))
    for one, another, is_equal in ((first, same, True), (first, other, False)):
        values = [np.array(v.value) for v in one.variables if np.any(v.value)]
        others = [np.array(v.value) for v in another.variables if np.any(v.value)]
        assert all(map(np.array_equal, values, others)) == is_equal
    drawn = [layer(rows, training=True).numpy() for layer in (first, same, other)]
    np.testing.assert_array_equal(drawn[0], drawn[1])


def test_rows_of_zeros_give_zeros_and_change_nothing_for_the_others(
    tiny_encoder: TextEncoder, rows: np.ndarray
) -> None:
    layer = FineTuning(tiny_encoder, "full")
    mixed = np.zeros((6, 20), np.int32)
    mixed[[1, 2, 4, 5], :16] = rows
    found = layer(mixed).numpy()
    np.testing.assert_array_equal(found[[0, 3]], 0.0)
    np.testing.assert_allclose(found[[1, 2, 4, 5]], tiny_encoder.encode(TEXTS), atol=1e-5)


@pytest.mark.parametrize("num_rows", [0, 3])
def test_nothing_but_empty_rows_can_be_encoded(num_rows: int, tiny_encoder: TextEncoder) -> None:
    layer = FineTuning(tiny_encoder, "full")
    nothing = np.zeros((num_rows, 4), np.int32)
    assert np.array_equal(layer(nothing), np.zeros((num_rows, tiny_encoder.dim)))
    assert np.array_equal(layer.encode(nothing), np.zeros((num_rows, tiny_encoder.dim)))


def test_only_as_many_tokens_are_read_as_the_longest_text_has(
    tiny_encoder: TextEncoder, monkeypatch: pytest.MonkeyPatch
) -> None:
    layer, seen = FineTuning(tiny_encoder, "full"), []
    embed = layer._encoder.embed_tokens

    def recorded(token_ids: Any, *arguments: Any) -> Any:
        seen.append(tuple(token_ids.shape))
        return embed(token_ids, *arguments)

    monkeypatch.setattr(layer._encoder, "embed_tokens", recorded)
    layer(np.pad(token_rows(tiny_encoder, ["king queen", "sea"]), [[0, 3], [0, 0]]))
    assert seen == [(2, 4)]


def test_bfloat16_is_computed_in_and_the_weights_stay_float32(tiny_folder: Path) -> None:
    coarse = TextEncoder.from_preset(tiny_folder, max_tokens=16, precision="mixed_bfloat16")
    rows = token_rows(coarse, TEXTS)
    layer = FineTuning(coarse, "full")
    assert layer._encoder.backbone.compute_dtype == "bfloat16"
    assert {w.dtype for w in layer.weights} == {"float32"}
    np.testing.assert_allclose(layer.encode(rows), coarse.encode(TEXTS), atol=0.05)
    step(layer, rows)
    assert all(np.isfinite(w.numpy()).all() for w in layer.weights)
    assert layer.tuned().precision == "mixed_bfloat16"


def test_settings_that_do_not_fit_are_told(tiny_encoder: TextEncoder, tiny_folder: Path) -> None:
    with pytest.raises(UsageError, match="`mode` must be one of lora, last_layers, full"):
        FineTuning(tiny_encoder, "frozen")
    with pytest.raises(UsageError, match="`lora_rank` must be at least 1, got 0"):
        FineTuning(tiny_encoder, "lora", lora_rank=0)
    with pytest.raises(EncoderError, match="last 3 layers .* has 2. Set encoder.train_layers"):
        FineTuning(tiny_encoder, "last_layers", train_layers=3)
    tokens = TextEncoder.from_preset(tiny_folder, max_tokens=16, pooling="attention")
    with pytest.raises(UsageError, match="'attention' is learned from token vectors"):
        FineTuning(tokens, "lora")
