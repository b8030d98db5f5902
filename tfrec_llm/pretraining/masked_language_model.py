"""A backbone and a head that guesses hidden tokens."""

from __future__ import annotations

from typing import Any

from tfrec_llm.keras_api import tf
from tfrec_llm.pretraining.seeded_weights import seed_dropouts, start_weights


class MaskedLanguageModel:
    """Guesses tokens from the text around them; the output weights are the token embeddings.

    Args:
        backbone: keras-nlp BERT backbone, in float32.
        seed: int, of the start of the head and of the drop-out.

    Attributes:
        trainable_variables: Keras variables of backbone and head.
        variables: these and the states of the drop-outs: all that training changes.
        head_variables: those of the head alone, the embeddings not among them.

    Example:
        >>> from tfrec_llm.pretraining.small_bert import small_bert
        >>> _, backbone = small_bert(["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "a"], dim=8)
        >>> model = MaskedLanguageModel(backbone)
        >>> ids = tf.constant([[2, 4, 3]])
        >>> model.logits(ids, tf.ones_like(ids), tf.constant([1])).shape
        TensorShape([1, 6])
    """

    def __init__(self, backbone: Any, seed: int = 7) -> None:
        from tfrec_llm.keras_api import keras_nlp

        self.backbone = backbone
        self.head = keras_nlp.layers.MaskedLMHead(
            token_embedding=backbone.token_embedding,
            intermediate_activation="gelu",
            layer_norm_epsilon=1e-12,
            name="mlm_head",
        )
        self.head.build((None, None, backbone.hidden_dim))
        tied = {id(weight) for weight in backbone.weights}
        self.head_variables = [w for w in self.head.weights if id(w) not in tied]
        start_weights(self.head_variables, seed + 1)
        dropouts = seed_dropouts(backbone, seed)
        self.trainable_variables = [*backbone.trainable_variables, *self.head_variables]
        self.variables = [*backbone.weights, *self.head_variables, *dropouts]

    def logits(self, token_ids: Any, padding_mask: Any, places: Any, training: bool = False) -> Any:
        """Returns the scores of every token at some places.

        Args:
            token_ids: int32 `(batch, tokens)`.
            padding_mask: int32 `(batch, tokens)`, 1 for a token.
            places: int32 `(n,)`, into the flattened `(batch * tokens)`.
            training: bool, whether drop-out is on.

        Returns: float32 `(n, vocabulary_size)`.
        """
        hidden = self._hidden(token_ids, padding_mask, training)
        chosen = tf.gather(tf.reshape(hidden, [-1, self.backbone.hidden_dim]), places)
        return self.head(chosen[None], mask_positions=tf.range(tf.shape(places)[0])[None])[0]

    def mean_vectors(self, token_ids: Any, padding_mask: Any, training: bool = False) -> Any:
        """Returns the mean of the token vectors of each text, float32 `(batch, dim)`."""
        hidden = self._hidden(token_ids, padding_mask, training)
        weights = tf.cast(padding_mask, tf.float32)[..., None]
        num_tokens = tf.maximum(tf.reduce_sum(weights, axis=1), 1.0)
        return tf.reduce_sum(hidden * weights, axis=1) / num_tokens

    def _hidden(self, token_ids: Any, padding_mask: Any, training: bool) -> Any:
        inputs = {
            "token_ids": token_ids,
            "segment_ids": tf.zeros_like(token_ids),
            "padding_mask": padding_mask,
        }
        return self.backbone(inputs, training=training)["sequence_output"]
