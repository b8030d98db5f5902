from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from tfrec_llm.keras_api import tf
from tfrec_llm.losses.bpr_loss import bpr_loss
from tfrec_llm.losses.warp_loss import warp_loss

Losses = [bpr_loss, lambda *scores: warp_loss(*scores, num_items=50)]


def tensors(positive: Any, negative: Any, is_negative: Any = None) -> tuple[Any, Any, Any]:
    negative = np.asarray(negative, np.float32)
    mask = np.ones(negative.shape, bool) if is_negative is None else np.asarray(is_negative, bool)
    return tf.constant(positive, tf.float32), tf.constant(negative), tf.constant(mask)


def test_bpr_is_the_mean_over_all_pairs_that_count() -> None:
    generator = np.random.default_rng(5)
    positive, negative = generator.normal(size=3), generator.normal(size=(3, 4))
    mask = generator.random((3, 4)) < 0.6
    pairs = [
        -math.log(1.0 / (1.0 + math.exp(negative[i, j] - positive[i])))
        for i in range(3)
        for j in range(4)
        if mask[i, j]
    ]
    found = float(bpr_loss(*tensors(positive, negative, mask)))
    assert found == pytest.approx(sum(pairs) / len(pairs), rel=1e-5)


def test_bpr_stays_finite_for_scores_far_apart() -> None:
    assert float(bpr_loss(*tensors([-1e4], [[1e4]]))) == pytest.approx(2e4)
    assert float(bpr_loss(*tensors([1e4], [[-1e4]]))) == 0.0


def test_warp_weights_the_hinge_of_the_violators_by_the_log_of_the_rank() -> None:
    # 5 - 1 = 4 is passed by 4.5 and 6: 2 of 4, so rank 50 of 100 others; hinges 0.5 and 2.
    arguments = tensors([5.0], [[4.5, 6.0, 1.0, 3.9]])
    expected = math.log(51) * (0.5 + 2.0) / 2
    assert float(warp_loss(*arguments, num_items=101)) == pytest.approx(expected, rel=1e-5)


def test_warp_is_zero_where_every_positive_leads_by_the_margin() -> None:
    assert float(warp_loss(*tensors([3.0, 2.0], [[1.9], [0.0]]), num_items=9)) == 0.0


def test_warp_counts_a_positive_without_violators_in_the_mean() -> None:
    alone = float(warp_loss(*tensors([0.0], [[0.0]]), num_items=11))
    both = float(warp_loss(*tensors([0.0, 9.0], [[0.0], [0.0]]), num_items=11))
    assert alone == pytest.approx(math.log(11)) and both == pytest.approx(alone / 2)


def test_warp_sends_no_gradient_through_the_weight() -> None:
    positive, negative, mask = tensors([1.0], [[1.5, -9.0]])
    with tf.GradientTape() as tape:
        tape.watch(positive)
        loss = warp_loss(positive, negative, mask, num_items=11)
    assert float(tape.gradient(loss, positive)[0]) == pytest.approx(-math.log(6), rel=1e-5)


def test_a_larger_margin_finds_more_violators() -> None:
    arguments = tensors([1.0], [[0.5, -0.5]])
    narrow = float(warp_loss(*arguments, num_items=11, margin=0.6))
    wide = float(warp_loss(*arguments, num_items=11, margin=2.0))
    assert narrow == pytest.approx(0.1 * math.log(6), rel=1e-4)
    assert wide == pytest.approx(math.log(11), rel=1e-5)


@pytest.mark.parametrize("loss", Losses)
def test_pairs_that_do_not_count_change_nothing(loss: Callable[..., Any]) -> None:
    few = loss(*tensors([1.0, 0.5], [[0.8], [0.4]]))
    more = loss(*tensors([1.0, 0.5], [[0.8, 7.0], [0.4, 9.0]], [[1, 0], [1, 0]]))
    assert float(few) == pytest.approx(float(more))


@pytest.mark.parametrize("loss", Losses)
def test_nothing_to_compare_with_gives_zero(loss: Callable[..., Any]) -> None:
    assert float(loss(*tensors([1.0], [[2.0]], [[False]]))) == 0.0
    assert float(loss(*tensors([1.0], np.zeros((1, 0))))) == 0.0
    assert float(loss(*tensors([], np.zeros((0, 2))))) == 0.0
