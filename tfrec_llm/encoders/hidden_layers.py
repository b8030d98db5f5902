"""The hidden states of the last layers of a language model, side by side."""

from __future__ import annotations

from typing import Any

from tfrec_llm.errors import EncoderError
from tfrec_llm.keras_api import keras


def last_hidden_layers(backbone: Any, num_layers: int) -> Any:
    """Makes a model of the hidden states of the last transformer layers of a backbone.

    The states are taken from the graph of the backbone, and its weights are shared. The last of
    them is the output of the backbone itself, so after the final normalisation where it has one
    (GPT-2, Gemma 3, Qwen3, T5); the others are what their layer gives to the next. Layers that
    share weights (ALBERT) count as often as they are called.

    Args:
        backbone: functional keras-nlp backbone.
        num_layers: int >= 1, how many of the last layers.

    Returns: a functional `keras.Model` from the inputs of the backbone to float `(batch, tokens,
        num_layers * dim)`, in the dtype of the backbone, the earliest layer first.

    Raises: EncoderError when the backbone has fewer layers, or hides them.

    Example:
        >>> from tfrec_llm.keras_api import keras_nlp
        >>> backbone = keras_nlp.models.DistilBertBackbone(
        ...     vocabulary_size=9, num_layers=3, num_heads=2, hidden_dim=4, intermediate_dim=8
        ... )
        >>> last_hidden_layers(backbone, 2).output.shape
        (None, None, 8)

    Reference: Devlin et al., 2019, BERT, doi:10.18653/v1/N19-1423, table 7
    """
    output = backbone.output
    if isinstance(output, dict):
        output = output["sequence_output"]
    states = _hidden_states(output)
    name = type(backbone).__name__
    if not states:
        raise EncoderError(
            f"The transformer layers of this {name} cannot be read one by one. Choose another "
            "encoder.pooling than `layers`, such as `mean`."
        )
    if not 1 <= num_layers <= len(states):
        raise EncoderError(
            f"The last {num_layers} hidden layers were asked for, but this {name} has "
            f"{len(states)}. Set encoder.pooling_layers from 1 to {len(states)}."
        )
    chosen = [*states[:-1], output][-num_layers:]
    joined = chosen[0] if num_layers == 1 else keras.ops.concatenate(chosen, axis=-1)
    return keras.Model(backbone.input, joined, name="last_hidden_layers")


def _hidden_states(output: Any) -> list[Any]:
    """Walks from the output to the tokens, from first input to first input."""
    states: list[Any] = []
    tensor = output
    while True:
        operation, node_index, _ = tensor._keras_history
        if is_transformer_layer(operation):
            states.insert(0, tensor)
        inputs = operation._inbound_nodes[node_index].input_tensors
        if not inputs:
            return states
        tensor = inputs[0]


def is_transformer_layer(operation: Any) -> bool:
    """Says whether an operation of a backbone is a layer with attention inside."""
    if isinstance(operation, keras.Model) or not isinstance(operation, keras.layers.Layer):
        return False
    parts = operation._flatten_layers(include_self=False)
    return any("Attention" in type(part).__name__ for part in parts)
