"""The part of a larger language model that turns tokens into vectors, as a backbone of its own."""

from __future__ import annotations

from typing import Any

from tfrec_llm.keras_api import keras, keras_nlp

# Classes of whole keras-nlp backbones that have a part to take out.
PARTIAL_FAMILIES = ("Gemma3Backbone", "T5Backbone")

_NOT_ITS_OWN = ("name", "trainable", "dtype")


@keras.saving.register_keras_serializable(package="tfrec_llm")
class EncoderPart(keras_nlp.models.Backbone):
    """A backbone with the inputs `token_ids` and `padding_mask`, cut out of a larger one.

    Of T5 it is the encoder; the decoder is neither kept, saved nor exported. Of a Gemma 3 text
    embedder it is the transformer with its two projections applied to every token: they are
    linear, so the mean over the tokens is the vector that the embedder was trained to give, but
    for its length, which is not set to 1.

    It saves and loads as any keras-nlp backbone does, and shares the weights of the given one.

    Args:
        backbone: a keras-nlp backbone of one of `PARTIAL_FAMILIES`; a Gemma 3 must have been
            made with `is_embedding_model=True` and without a vision encoder.

    Attributes:
        vocabulary_size: int, rows of the token embedding.

    Raises: ValueError when the backbone is of another family.

    Example:
        >>> whole = keras_nlp.models.T5Backbone(
        ...     vocabulary_size=9, num_layers=1, num_heads=2, hidden_dim=4, intermediate_dim=8
        ... )
        >>> part = EncoderPart(whole)
        >>> inputs = {"token_ids": [[5, 1, 0]], "padding_mask": [[1, 1, 0]]}
        >>> part({name: keras.ops.array(value) for name, value in inputs.items()}).shape
        TensorShape([1, 3, 4])
        >>> part.count_params() < whole.count_params()
        True

    Reference: Ni et al., 2022, Sentence-T5, doi:10.18653/v1/2022.findings-acl.146
    """

    def __init__(self, backbone: Any, **kwargs: Any) -> None:
        family = type(backbone).__name__
        if family not in PARTIAL_FAMILIES:
            raise ValueError(
                f"`backbone` must be one of {', '.join(PARTIAL_FAMILIES)}, got a {family}."
            )
        token_ids = keras.Input((None,), dtype="int32", name="token_ids")
        padding_mask = keras.Input((None,), dtype="int32", name="padding_mask")
        take = _t5_encoder if family == "T5Backbone" else _gemma3_embedder
        output = take(backbone, token_ids, padding_mask)
        super().__init__(
            inputs={"token_ids": token_ids, "padding_mask": padding_mask},
            outputs=output,
            dtype=backbone.dtype_policy,
            **kwargs,
        )
        self.family = family
        self.vocabulary_size = int(backbone.vocabulary_size)
        config = backbone.get_config()
        self._whole_config = {k: v for k, v in config.items() if k not in _NOT_ITS_OWN}

    def get_config(self) -> dict[str, Any]:
        """Returns the family and settings of the whole backbone, from which the part is made."""
        return {**super().get_config(), "family": self.family, "whole": dict(self._whole_config)}

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> EncoderPart:
        """Makes the part of a fresh backbone.

        Raises: ValueError when the family is none of `PARTIAL_FAMILIES`.
        """
        family = config["family"]
        if family not in PARTIAL_FAMILIES:
            raise ValueError(f"`family` must be one of {', '.join(PARTIAL_FAMILIES)}: {family!r}")
        whole_class = getattr(keras_nlp.models, family)
        whole = whole_class.from_config({**config["whole"], "dtype": config.get("dtype")})
        return cls(whole, **{k: config[k] for k in ("name", "trainable") if k in config})


def _t5_encoder(backbone: Any, token_ids: Any, padding_mask: Any) -> Any:
    attention_mask = padding_mask[:, None, :]
    hidden, position_bias = backbone.token_embedding(token_ids), None
    for layer in backbone.encoder_transformer_layers:
        hidden, position_bias = layer(
            hidden,
            attention_mask=attention_mask,
            position_bias=position_bias,
            use_causal_mask=False,
        )
    return backbone.encoder_layer_norm(hidden)


def _gemma3_embedder(backbone: Any, token_ids: Any, padding_mask: Any) -> Any:
    # keras-nlp before 0.26 knows no embedder and has no such attribute.
    if not getattr(backbone, "is_embedding_model", False) or not backbone.text_only_model:
        raise ValueError(
            "`backbone` must be a Gemma 3 with `is_embedding_model=True` and without a vision "
            "encoder. Any other text-only Gemma 3 is an encoder as it is."
        )
    outputs = backbone({"token_ids": token_ids, "padding_mask": padding_mask})
    hidden = outputs["sequence_output"]
    for name in ("pooling_dense_1", "embedding_projection"):
        hidden = backbone.get_layer(name)(hidden)
    return hidden
