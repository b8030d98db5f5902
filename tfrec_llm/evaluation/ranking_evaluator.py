"""Labelled pairs and a model's probabilities → AUC, log loss, calibration, accuracy."""

from __future__ import annotations

from typing import Any

import numpy as np

from tfrec_llm.errors import TfrecLlmError
from tfrec_llm.evaluation.auc import auc
from tfrec_llm.evaluation.calibration import calibration
from tfrec_llm.evaluation.log_loss import log_loss


def evaluate_ranking(labels: np.ndarray, logits: np.ndarray) -> dict[str, Any]:
    """Measures how well a model tells taken items from sampled ones.

    Args:
        labels: float `(n,)`, 1 for taken, 0 for sampled.
        logits: float `(n,)`, before the sigmoid.

    Returns: `pairs`, `positives`, `auc`, `log_loss` (nats), `accuracy` (at a probability of 0.5),
        `expected_calibration_error` and `reliability`, see `calibration`.

    Raises:
        TfrecLlmError: when a logit is not finite.
        DataError: when all labels are the same.

    Example:
        >>> metrics = evaluate_ranking(np.array([1, 0]), np.array([2.0, -2.0]))
        >>> metrics["auc"], metrics["accuracy"], round(metrics["log_loss"], 3)
        (1.0, 1.0, 0.127)
    """
    logits = np.asarray(logits, np.float64)
    if not np.isfinite(logits).all():
        raise TfrecLlmError(
            f"{int((~np.isfinite(logits)).sum())} of {len(logits)} ranking scores are not finite. "
            "The training diverged: lower ranker.learning_rate and train again."
        )
    probabilities = np.where(
        logits >= 0.0,
        1.0 / (1.0 + np.exp(-np.abs(logits))),
        1.0 - 1.0 / (1.0 + np.exp(-np.abs(logits))),
    )
    return {
        "pairs": len(labels),
        "positives": int(np.sum(labels)),
        "auc": auc(labels, logits),
        "log_loss": log_loss(labels, probabilities),
        "accuracy": float(np.mean((logits > 0.0) == (np.asarray(labels) > 0.5))),
        **calibration(labels, probabilities),
    }
