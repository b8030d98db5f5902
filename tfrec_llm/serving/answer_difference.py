"""Whether two answers to one request say the same."""

from __future__ import annotations

import numpy as np

_TOLERANCE = 5e-3  # of the largest number, at least 1; the other process may run on other kernels


def difference(expected: dict[str, np.ndarray], answer: dict[str, np.ndarray]) -> str | None:
    """Says how two answers differ, or returns None.

    Args:
        expected: arrays by output name.
        answer: the same, of another way to ask; two items may change places where their scores
            are all but equal.

    Example:
        >>> difference({"scores": np.ones(2)}, {"scores": np.array([1.0, 2.0])})
        'scores differ by up to 1'
    """
    if set(expected) != set(answer):
        return f"outputs {sorted(answer)} instead of {sorted(expected)}"
    for name, value in expected.items():
        if value.shape != answer[name].shape:
            return f"{name} of shape {answer[name].shape} instead of {value.shape}"
        if value.dtype == object:
            continue
        if not np.isfinite(answer[name]).all():
            return f"{name} hold NaN or infinity"
        if not np.allclose(value, answer[name], rtol=0, atol=_tolerance(value)):
            return f"{name} differ by up to {np.abs(value - answer[name]).max():.2g}"
    if "item_ids" in expected:
        return _ranking_difference(expected, answer)
    return None


def _ranking_difference(
    expected: dict[str, np.ndarray], answer: dict[str, np.ndarray]
) -> str | None:
    """Compares ranked ids; two items may change places where their scores are all but equal."""
    tolerance = _tolerance(expected["scores"])
    rows, columns = np.nonzero(expected["item_ids"] != answer["item_ids"])
    for row, column in zip(rows, columns, strict=True):
        scores = {
            item: score
            for item, score in zip(expected["item_ids"][row], expected["scores"][row], strict=True)
        }
        item = answer["item_ids"][row, column]
        # An item that was not among the expected ones must tie with the last of them.
        usual = scores.get(item, expected["scores"][row, -1])
        if item == b"" or abs(usual - answer["scores"][row, column]) > tolerance:
            wanted = expected["item_ids"][row, column]
            return f"place {column} of row {row} holds {item!r} instead of {wanted!r}"
    return None


def _tolerance(values: np.ndarray) -> float:
    """Returns how far two answers may differ; dot products of long vectors differ by more."""
    shown = np.abs(values[values > np.finfo(np.float32).min])  # the lowest stands for "nothing"
    return _TOLERANCE * max(1.0, float(shown.max(initial=0.0)))
