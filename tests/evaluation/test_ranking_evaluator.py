from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tfrec_llm.errors import DataError, TfrecLlmError
from tfrec_llm.evaluation.auc import auc
from tfrec_llm.evaluation.calibration import calibration
from tfrec_llm.evaluation.log_loss import log_loss
from tfrec_llm.evaluation.ranking_evaluator import evaluate_ranking

pairs = st.lists(st.tuples(st.booleans(), st.integers(-4, 4)), min_size=1, max_size=30)


@settings(deadline=None)
@given(pairs)
def test_auc_is_the_share_of_pairs_in_the_right_order_ties_half(
    drawn: list[tuple[bool, int]],
) -> None:
    labels, scores = (np.array(column, float) for column in zip(*drawn, strict=True))
    positive, negative = scores[labels == 1], scores[labels == 0]
    if not len(positive) or not len(negative):
        with pytest.raises(DataError, match="all .* pairs are of one kind"):
            auc(labels, scores)
        return
    difference = positive[:, None] - negative[None, :]
    by_counting = np.mean((difference > 0) + 0.5 * (difference == 0))
    assert auc(labels, scores) == pytest.approx(by_counting)


def test_log_loss_is_worked_out_by_hand_and_stays_finite_when_surely_wrong() -> None:
    labels = np.array([1.0, 0.0])
    by_hand = -(np.log(0.8) + np.log(0.7)) / 2
    assert log_loss(labels, np.array([0.8, 0.3])) == pytest.approx(by_hand)
    assert 15 < log_loss(labels, np.array([0.0, 1.0])) < 17


@settings(deadline=None)
@given(st.lists(st.tuples(st.booleans(), st.floats(0, 1)), min_size=1, max_size=40))
def test_every_pair_stands_in_one_bin_that_holds_its_probability(
    drawn: list[tuple[bool, float]],
) -> None:
    labels, given_ = (np.array(column, float) for column in zip(*drawn, strict=True))
    result = calibration(labels, given_)
    assert sum(row["pairs"] for row in result["reliability"]) == len(labels)
    for row in result["reliability"]:
        assert row["from"] - 1e-9 <= row["mean_probability"] <= row["to"] + 1e-9
    assert 0.0 <= result["expected_calibration_error"] <= 1.0


def test_calibration_error_is_zero_for_shares_as_said_and_one_for_sure_and_wrong() -> None:
    as_said = calibration(np.array([1, 0, 0, 0]), np.full(4, 0.25))
    assert as_said["expected_calibration_error"] == pytest.approx(0.0)
    wrong = calibration(np.array([1, 0]), np.array([0.0, 1.0]))
    assert wrong["expected_calibration_error"] == pytest.approx(1.0)


def test_a_logit_where_a_probability_belongs_is_refused() -> None:
    with pytest.raises(ValueError, match="Give the sigmoid"):
        calibration(np.array([1]), np.array([1.2]))


def test_the_evaluator_takes_the_sigmoid_even_of_far_logits() -> None:
    metrics = evaluate_ranking(np.array([1, 0, 0]), np.array([900.0, -900.0, 0.0]))
    assert metrics["auc"] == metrics["accuracy"] == 1.0
    assert metrics["log_loss"] == pytest.approx(np.log(2) / 3, abs=1e-4)


def test_a_score_that_is_no_number_is_told_and_not_measured() -> None:
    with pytest.raises(TfrecLlmError, match="1 of 2 ranking scores are not finite"):
        evaluate_ranking(np.array([1, 0]), np.array([np.nan, 0.0]))
