"""Rows through a network chunk by chunk, in the memory of one chunk, gradients included."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from tfrec_llm.keras_api import keras, tf


def chunked_with_recompute(
    function: Callable[..., Any],
    inputs: Sequence[Any],
    chunk_rows: int,
    random_states: Sequence[Any] = (),
) -> Any:
    """Returns `function(*inputs)`, computed `chunk_rows` rows at a time, twice.

    The first pass keeps only the answers. The backward pass computes each chunk once more, now
    with what its gradient needs, and lets go of it before the next one. So a loss over many rows
    costs the memory of a chunk, for a third more work. That holds in a graph; eagerly the values
    are the same, but TensorFlow keeps the first pass too.

    Layers that draw at random take up their draws from `random_states`: each chunk goes on where
    the one before stopped, the second pass starts where the first did, and what comes after draws
    on from where the first ended. With one chunk the draws are those of the plain computation.

    Args:
        function: tensors of some rows → float32 tensor of as many rows; each row of the answer
            depends on the same row of the inputs alone. The gradients of the trainable
            variables it uses are returned too.
        inputs: tensors of equally many rows.
        chunk_rows: int ≥ 1.
        random_states: Keras variables, states of the seed generators that the function uses, see
            `random_states_of`.

    Returns: float32 `(num_rows, …)`.

    Raises: ValueError when `chunk_rows` is below 1.

    Example:
        >>> chunked_with_recompute(lambda x: 2.0 * x, [tf.range(3.0)], 2).numpy().tolist()
        [0.0, 2.0, 4.0]

    Reference: Gao et al., 2021, arXiv:2101.06983; Chen et al., 2016, arXiv:1604.06174
    """
    if chunk_rows < 1:
        raise ValueError(f"`chunk_rows` must be at least 1, got {chunk_rows!r}.")
    before = [tf.identity(tf.convert_to_tensor(state.value)) for state in random_states]

    @tf.custom_gradient
    def embed(*rows: Any) -> Any:
        answer, after = _forward(function, rows, chunk_rows, random_states, before)
        for state, value in zip(random_states, after, strict=True):
            state.assign(value)

        def gradient(upstream: Any, variables: Sequence[Any] | None = None) -> Any:
            for_rows, for_variables = _backward(
                function,
                rows,
                chunk_rows,
                random_states,
                before,
                variables or [],
                tf.convert_to_tensor(upstream),  # of an answer that is only looked up, slices
            )
            return for_rows if variables is None else (for_rows, for_variables)

        return answer, gradient

    return embed(*inputs)


def random_states_of(layer: Any) -> list[Any]:
    """Returns the states of all seed generators of a layer, Keras variables."""
    weights = {id(v) for v in layer.non_trainable_weights}
    return [v for v in layer.non_trainable_variables if id(v) not in weights]


def _forward(
    function: Any, rows: Any, chunk_rows: int, random_states: Sequence[Any], before: list[Any]
) -> tuple[Any, list[Any]]:
    num_chunks = _num_chunks(rows, chunk_rows)
    shape = tf.TensorShape(None)

    def step(i: Any, states: list[Any], parts: Any) -> Any:
        nonlocal shape
        part, states = _drawing(function, _chunk(rows, i, chunk_rows), random_states, states)
        shape = tf.TensorShape([None, *part.shape[1:]])
        return i + 1, states, parts.write(i, part)

    parts = tf.TensorArray(tf.float32, num_chunks, infer_shape=False)
    _, after, parts = tf.while_loop(
        lambda i, *_: i < num_chunks, step, (0, before, parts), parallel_iterations=1
    )
    return tf.ensure_shape(parts.concat(), shape), after


def _backward(
    function: Any,
    rows: Any,
    chunk_rows: int,
    random_states: Sequence[Any],
    before: list[Any],
    variables: Sequence[Any],
    upstream: Any,
) -> tuple[list[Any], list[Any]]:
    """Returns the gradients of the rows (None for integers) and of the variables."""
    num_chunks = _num_chunks(rows, chunk_rows)
    places = [place for place, tensor in enumerate(rows) if tensor.dtype.is_floating]

    def step(i: Any, states: list[Any], parts: list[Any], totals: list[Any]) -> Any:
        chunk = [tf.identity(tensor) for tensor in _chunk(rows, i, chunk_rows)]
        floats = [chunk[place] for place in places]
        with tf.GradientTape() as tape:
            tape.watch([*floats, *variables])
            part, states = _drawing(function, chunk, random_states, states)
        found = tape.gradient(
            part,
            [*floats, *variables],
            output_gradients=_chunk([upstream], i, chunk_rows)[0],
            unconnected_gradients=tf.UnconnectedGradients.ZERO,
        )
        parts = [
            array.write(i, tf.convert_to_tensor(gradient))
            for array, gradient in zip(parts, found, strict=False)
        ]
        of_variables = found[len(floats) :]
        totals = [_sum(total, g) for total, g in zip(totals, of_variables, strict=True)]
        return i + 1, states, parts, totals

    parts = [tf.TensorArray(rows[p].dtype, num_chunks, infer_shape=False) for p in places]
    totals = [tf.zeros_like(variable) for variable in variables]
    _, _, parts, totals = tf.while_loop(
        lambda i, *_: i < num_chunks, step, (0, before, parts, totals), parallel_iterations=1
    )
    for_rows: list[Any] = [None] * len(rows)
    for place, array in zip(places, parts, strict=True):
        for_rows[place] = tf.ensure_shape(array.concat(), rows[place].shape)
    return for_rows, totals


def _drawing(
    function: Any, chunk: Sequence[Any], random_states: Sequence[Any], states: list[Any]
) -> tuple[Any, list[Any]]:
    """Calls the function with given random states; returns its answer and the states after it."""
    with keras.StatelessScope(list(zip(random_states, states, strict=True))) as scope:
        answer = function(*chunk)
    after = [scope.get_current_value(state) for state in random_states]
    return answer, [
        tf.ensure_shape(tf.cast(new, old.dtype), old.shape)
        for new, old in zip(after, states, strict=True)
    ]


def _num_chunks(rows: Sequence[Any], chunk_rows: int) -> Any:
    """At least one, so that the width of an answer without rows is known."""
    return tf.maximum((tf.shape(rows[0])[0] + chunk_rows - 1) // chunk_rows, 1)


def _chunk(rows: Sequence[Any], number: Any, chunk_rows: int) -> list[Any]:
    begin = number * chunk_rows
    return [tensor[begin : begin + chunk_rows] for tensor in rows]


def _sum(total: Any, gradient: Any) -> Any:
    """Adds a gradient, and of a looked-up table only the rows that it has."""
    if isinstance(gradient, tf.IndexedSlices):
        return tf.tensor_scatter_nd_add(total, gradient.indices[:, None], gradient.values)
    return total + gradient
