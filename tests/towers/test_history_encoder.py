from __future__ import annotations

import warnings

import numpy as np
import pytest

from tfrec_llm.keras_api import tf
from tfrec_llm.testing.layer_checks import check_layer, randomise
from tfrec_llm.towers.history_encoder import KINDS, HistoryEncoder
from tfrec_llm.towers.recency_mean import RecencyMean

every_kind = pytest.mark.parametrize("kind", KINDS)


def encoder(kind: str, *, learned: bool = True, **options: float) -> HistoryEncoder:
    layer = HistoryEncoder(kind, max_history=5, **options)
    layer.build((None, None, 4))
    if learned:
        randomise(layer)
    return layer


def test_the_five_kinds_of_the_configuration_are_there() -> None:
    assert sorted(KINDS) == ["attention", "gru", "lstm", "mean", "transformer"]


@every_kind
def test_it_is_a_sound_layer(kind: str, history: np.ndarray, left_mask: np.ndarray) -> None:
    layer = HistoryEncoder(kind, max_history=5, num_layers=1, num_heads=2, dropout=0.1)
    inputs = {"history": history, "history_mask": left_mask}
    check_layer(layer, inputs, {"history_mask": "history"})


@every_kind
def test_every_kind_starts_as_the_recency_mean(
    kind: str, history: np.ndarray, left_mask: np.ndarray
) -> None:
    mean = RecencyMean(5)(history, left_mask) * 2.0  # √4, the width
    found = encoder(kind, learned=False)(history, left_mask)
    np.testing.assert_allclose(found, mean, atol=1e-6)


@every_kind
def test_for_histories_without_order_every_kind_starts_as_the_plain_mean(
    kind: str, history: np.ndarray, left_mask: np.ndarray
) -> None:
    layer = HistoryEncoder(kind, max_history=5, num_layers=1, num_heads=2, recency=1.0)
    found = np.asarray(layer(history, left_mask))[:, -1]
    total = (history * left_mask[..., None]).sum(axis=1)
    length = np.maximum(np.linalg.norm(total, axis=-1, keepdims=True), 1e-12)
    np.testing.assert_allclose(found, 2.0 * total / length, atol=1e-6)


@every_kind
def test_a_position_does_not_see_later_items(
    kind: str, history: np.ndarray, left_mask: np.ndarray
) -> None:
    layer = encoder(kind)
    before = np.asarray(layer(history, left_mask))
    for place in range(1, 5):
        changed = history.copy()
        changed[:, place:] = np.random.default_rng(place).normal(size=changed[:, place:].shape)
        after = np.asarray(layer(changed, left_mask))
        np.testing.assert_allclose(after[:, :place], before[:, :place], atol=1e-5)
        assert np.abs(after[:, place:] - before[:, place:]).max() > 1e-2


@every_kind
def test_a_position_does_not_see_whether_a_later_item_is_there(
    kind: str, history: np.ndarray, left_mask: np.ndarray
) -> None:
    layer = encoder(kind)
    shorter = left_mask.copy()
    shorter[:, 3:] = False
    np.testing.assert_allclose(
        layer(history, shorter)[:, :3], layer(history, left_mask)[:, :3], atol=1e-5
    )


@every_kind
def test_padding_on_the_left_changes_nothing(kind: str, history: np.ndarray) -> None:
    layer = encoder(kind)
    alone = np.asarray(layer(history, np.ones((3, 5), bool)))
    padded = np.pad(history, ((0, 0), (3, 0), (0, 0)), constant_values=7.0)
    mask = np.pad(np.ones((3, 5), bool), ((0, 0), (3, 0)))
    np.testing.assert_allclose(np.asarray(layer(padded, mask))[:, 3:], alone, atol=1e-5)


@every_kind
def test_positions_before_the_first_item_are_zero(
    kind: str, history: np.ndarray, left_mask: np.ndarray
) -> None:
    found = np.asarray(encoder(kind)(history, left_mask))
    np.testing.assert_array_equal(found[~left_mask], 0.0)
    nothing = encoder(kind)(history, np.zeros_like(left_mask))
    np.testing.assert_array_equal(nothing, 0.0)


@every_kind
def test_the_order_of_a_history_counts(kind: str, history: np.ndarray) -> None:
    layer, mask = encoder(kind), np.ones((3, 5), bool)
    forth, back = layer(history, mask)[:, -1], layer(history[:, ::-1], mask)[:, -1]
    assert np.abs(np.asarray(forth) - back).max() > 1e-3


@every_kind
def test_no_kind_warns(kind: str, history: np.ndarray, left_mask: np.ndarray) -> None:
    layer = encoder(kind, dropout=0.1)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        tf.function(lambda: layer(history, tf.constant(left_mask), training=True))()


@pytest.mark.parametrize("kind", ["gru", "lstm"])
def test_padding_on_the_left_also_works_where_keras_would_take_cudnn(
    kind: str, history: np.ndarray, left_mask: np.ndarray, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tf.config, "list_logical_devices", lambda *_: ["a GPU"])
    layer = encoder(kind)
    in_graph = tf.function(lambda: layer(tf.constant(history), tf.constant(left_mask)))
    assert np.isfinite(in_graph()).all()


def test_an_unknown_kind_is_an_error_that_names_the_known_ones() -> None:
    with pytest.raises(ValueError, match="mean, attention, gru, lstm, transformer, got 'rnn'"):
        HistoryEncoder("rnn")


GAPS = np.array([[0, 3, 9, 1, 17], [0, 0, 0, 5, 31], [0, 0, 0, 0, 0]], np.int32)


@every_kind
def test_it_is_a_sound_layer_with_time_gaps(
    kind: str, history: np.ndarray, left_mask: np.ndarray
) -> None:
    layer = HistoryEncoder(kind, max_history=5, dropout=0.1, time_gaps=True)
    inputs = {"history": history, "history_mask": left_mask, "gaps": GAPS}
    check_layer(layer, inputs, {"history_mask": "history"})


@every_kind
def test_with_time_gaps_too_every_kind_starts_as_the_recency_mean(
    kind: str, history: np.ndarray, left_mask: np.ndarray
) -> None:
    mean = RecencyMean(5)(history, left_mask) * 2.0
    found = encoder(kind, learned=False, time_gaps=True)(history, left_mask, GAPS)
    np.testing.assert_allclose(found, mean, atol=1e-6)


@every_kind
def test_unknown_gaps_are_as_no_gaps(kind: str, history: np.ndarray, left_mask: np.ndarray) -> None:
    layer = encoder(kind, time_gaps=True)
    unknown = layer(history, left_mask, np.zeros_like(GAPS))
    np.testing.assert_allclose(unknown, layer(history, left_mask), atol=1e-6)


@every_kind
def test_a_position_sees_its_own_gap_and_no_later_one(
    kind: str, history: np.ndarray, left_mask: np.ndarray
) -> None:
    layer = encoder(kind, time_gaps=True)
    before = np.asarray(layer(history, left_mask, GAPS))
    for place in range(1, 5):
        changed = GAPS.copy()
        changed[:1, place] += 7
        after = np.asarray(layer(history, left_mask, changed))
        np.testing.assert_allclose(after[:, :place], before[:, :place], atol=1e-5)
        assert np.abs(after[0, place] - before[0, place]).max() > 1e-3


def test_gaps_that_the_layer_was_not_made_for_are_refused(
    history: np.ndarray, left_mask: np.ndarray
) -> None:
    with pytest.raises(ValueError, match="made without `time_gaps`"):
        encoder("gru")(history, left_mask, GAPS)
