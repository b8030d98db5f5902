"""The weights of a language model by transformer layer, from the top down."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from tfrec_llm.encoders.hidden_layers import is_transformer_layer
from tfrec_llm.keras_api import keras


def layer_levels(backbone: Any) -> list[list[Any]]:
    """Returns the weights that the vectors of the tokens depend on, layer by layer.

    A layer that is called several times (ALBERT) is one level. Weights that only serve other
    outputs, such as the pooler of BERT, are left out.

    Args:
        backbone: functional keras-nlp backbone.

    Returns: lists of Keras variables: first the last transformer layer with all that follows it,
        then the layer before, …, at last the embeddings of the tokens.

    Example:
        >>> from tfrec_llm.keras_api import keras_nlp
        >>> backbone = keras_nlp.models.DistilBertBackbone(
        ...     vocabulary_size=9, num_layers=3, num_heads=2, hidden_dim=4, intermediate_dim=8
        ... )
        >>> [len(level) for level in layer_levels(backbone)]
        [16, 16, 16, 4]
    """
    output = backbone.output
    if isinstance(output, dict):
        output = output["sequence_output"]
    levels: list[list[Any]] = [[]]
    seen: set[int] = set()
    for layer in _layers_in_order(keras.Model(backbone.input, output)):
        if is_transformer_layer(layer):
            levels.append([])
        new = [weight for weight in layer.weights if id(weight) not in seen]
        seen.update(id(weight) for weight in new)
        levels[-1] += new
    return levels[::-1]


def _layers_in_order(model: Any) -> Iterator[Any]:
    for layer in model.layers:
        if isinstance(layer, keras.Model):
            yield from _layers_in_order(layer)
        else:
            yield layer
