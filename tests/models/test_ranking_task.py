from __future__ import annotations

import math

import numpy as np
import pytest

from tfrec_llm.keras_api import tf
from tfrec_llm.models.ranking_task import RankingTask


def test_the_loss_is_binary_cross_entropy_worked_out_by_hand() -> None:
    loss = RankingTask()(tf.constant([1.0, 0.0, 0.0]), tf.constant([2.0, 0.0, -1.0]))
    by_hand = (math.log(1 + math.exp(-2)) + math.log(2) + math.log(1 + math.exp(-1))) / 3
    assert float(loss) == pytest.approx(by_hand, abs=1e-6)


def test_a_logit_as_far_off_as_can_be_gives_a_finite_loss_and_gradient() -> None:
    logits = tf.Variable([80.0, -80.0])
    with tf.GradientTape() as tape:
        loss = RankingTask()(tf.constant([0.0, 1.0]), logits)
    assert float(loss) == pytest.approx(80.0)
    np.testing.assert_allclose(tape.gradient(loss, logits), [0.5, -0.5], atol=1e-6)


def test_the_loss_is_a_mean_that_does_not_grow_with_the_batch() -> None:
    labels, logits = tf.constant([1.0, 0.0]), tf.constant([0.3, 0.9])
    twice = RankingTask()(tf.tile(labels, [2]), tf.tile(logits, [2]))
    assert float(twice) == pytest.approx(float(RankingTask()(labels, logits)))
