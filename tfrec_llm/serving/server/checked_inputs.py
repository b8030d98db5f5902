"""Whether the arrays of a request are what a signature takes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from tfrec_llm.errors import RequestError
from tfrec_llm.serving.signatures import Tensor

MAX_ROWS = 1024
"""int, the most rows of a request: what a hostile one may cost is bounded."""

MAX_VALUES = 1_000_000
"""int, the most values of one input of a request."""


def check_inputs(
    signature: str, inputs: Mapping[str, Tensor], arrays: Mapping[str, np.ndarray]
) -> int:
    """Compares arrays with the inputs of a signature.

    Args:
        signature: its name, for the message.
        inputs: what it takes.
        arrays: what was sent, of the right dtypes.

    Returns: int, the number of rows.

    Raises: RequestError that says which input is missing, too much, or of a wrong shape.

    Example:
        >>> texts = Tensor("string", (None,))
        >>> check_inputs("f", {"text": texts}, {"text": np.array([b"a", b"b"], object)})
        2
    """
    if set(arrays) != set(inputs):
        extra, missing = sorted(set(arrays) - set(inputs)), sorted(set(inputs) - set(arrays))
        raise RequestError(
            f"input size does not match signature: {len(arrays)}!={len(inputs)} "
            f"len({{{','.join(sorted(arrays))}}}) != len({{{','.join(sorted(inputs))}}}). "
            f"Sent extra: {{{','.join(extra)}}}. Missing but required: {{{','.join(missing)}}}."
        )
    rows: dict[str, int] = {}
    for name, tensor in inputs.items():
        shape = arrays[name].shape
        check_size(name, shape)
        fits = len(shape) == len(tensor.shape) and all(
            want in (None, size) for want, size in zip(tensor.shape, shape, strict=True)
        )
        if not fits:
            raise RequestError(_wrong_shape(signature, name, tensor, shape))
        if tensor.shape:
            rows[name] = shape[0]
    for name, count in rows.items():
        first = next(iter(rows))
        if count != rows[first]:
            raise RequestError(
                f"{first} and {name} must have the same number of rows, got {rows[first]} and "
                f"{count}."
            )
    count = next(iter(rows.values()), 1)
    if count > MAX_ROWS:
        raise RequestError(
            f"Task size {count} is larger than maximum input batch size {MAX_ROWS}. Send the rows "
            "in several requests."
        )
    return count


def check_size(name: str, shape: Sequence[int]) -> None:
    """Refuses a shape that no tensor has, or that is larger than this server takes.

    Args:
        name: of the input, for the message.
        shape: int each.

    Raises: RequestError.
    """
    size = 1
    for width in shape:
        size *= width
    if min(shape, default=0) < 0 or size > MAX_VALUES:
        raise RequestError(
            f"Input {name} has shape {_shown(shape)}; this server takes {MAX_VALUES} values at "
            "most."
        )


def _wrong_shape(signature: str, name: str, tensor: Tensor, shape: Sequence[int]) -> str:
    text = (
        f"Input {name} of signature {signature} must have shape {_shown(tensor.shape)} but has "
        f"shape {_shown(shape)}."
    )
    if not tensor.shape:
        text += (
            f" {name} is one value for all rows, which 'instances' cannot express: use the "
            "columnar format, with 'inputs'."
        )
    return text


def _shown(shape: Sequence[int | None]) -> str:
    return "[" + ",".join("?" if size is None else str(size) for size in shape) + "]"
