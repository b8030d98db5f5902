"""How likely a user is to take an item, from the tokens of what is known of both."""

from __future__ import annotations

from typing import Any

import numpy as np

from tfrec_llm.fusion.padding_mask import mask_of_features, mean_of_tokens
from tfrec_llm.keras_api import keras, tf
from tfrec_llm.seeds import child_generator

FUSIONS = ("concat", "correlation")
_TOKEN_BATCH = 512
_START_ITEMS = 2000


class PointwiseRanker(keras.Model):
    """Tokens of user and item, fused, read by an LSTM, and one sigmoid unit at its end.

    The tokens of a user are those of their free text and one for each item of their history, the
    mean of the tokens of its text times a learned gain. Rows of zeros are padding, and stay so
    when projected.

    Args:
        feature_dim: int >= 1, width of the token features of the language model.
        fusion: `concat` (`TokenConcat`) or `correlation` (`CorrelationFusion`).
        token_dim: int >= 2, the width that tokens are projected to before the fusion; None for
            tokens as they are, as in the article that this ranker follows. Defaults to 64.
        lstm_units: int >= 1. Defaults to 128.
        max_tokens: int >= 1, tokens of a text that were or will be read. Defaults to 32.
        max_history: int >= 1, items of a history that are read. Defaults to 20.

    Raises: ValueError when an argument is out of its bounds.

    Example:
        >>> ranker = PointwiseRanker(feature_dim=8, token_dim=4)
        >>> features = tf.ones((2, 3, 8))
        >>> tokens = ranker.project_tokens(features)
        >>> ranker.logits(tokens, tokens).shape
        TensorShape([2])
    """

    def __init__(
        self,
        feature_dim: int,
        fusion: str = "concat",
        token_dim: int | None = 64,
        lstm_units: int = 128,
        max_tokens: int = 32,
        max_history: int = 20,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        for name, value in {
            "feature_dim": feature_dim,
            "lstm_units": lstm_units,
            "max_tokens": max_tokens,
            "max_history": max_history,
        }.items():
            if value < 1:
                raise ValueError(f"`{name}` must be at least 1, got {value!r}.")
        if token_dim is not None and token_dim < 2:
            raise ValueError(f"`token_dim` must be None or at least 2, got {token_dim!r}.")
        self.feature_dim = feature_dim
        self.fusion = fusion
        self.token_dim = token_dim
        self.lstm_units = lstm_units
        self.max_tokens = max_tokens
        self.max_history = max_history

        self.fuse = _make_fusion(fusion)
        self.lstm = keras.layers.LSTM(lstm_units, use_cudnn=False, name="lstm")
        self.output_unit = keras.layers.Dense(1, name="output_unit")
        self.projection = None
        self.centre = self.add_weight(
            shape=(feature_dim,), initializer="zeros", trainable=False, name="centre"
        )
        self.history_gain = self.add_weight(shape=(), initializer="ones", name="history_gain")
        if token_dim is not None:
            self.projection = keras.layers.Dense(token_dim, use_bias=False, name="projection")
            self.projection.build((None, feature_dim))
        self.width = feature_dim if token_dim is None else token_dim
        # A first call builds the fusion, whatever it learns, and what reads it.
        tokens = tf.ones((1, 1, self.width))
        fused, mask = self.fuse(tokens, tokens[:, :, 0] > 0, tokens, tokens[:, :, 0] > 0)
        self.output_unit(self.lstm(fused, mask=mask))
        self.built = True

    def set_start(self, item_tokens: np.ndarray, share_of_positives: float, seed: int) -> None:
        """Sets what can be known before training: the geometry of the tokens, and the base rate.

        The projection starts as the whitened principal components of the tokens, which a language
        model leaves far from the origin and near each other; without a projection nothing but the
        gain of histories and the base rate is set.

        Args:
            item_tokens: float16 `(num_items, tokens, feature_dim)`, zeros at padding.
            share_of_positives: float in (0, 1), of the pairs to be trained on.
            seed: int, of the sample of items that is looked at.
        """
        draw = child_generator(seed, "ranker start")
        rows = draw.permutation(len(item_tokens))[:_START_ITEMS]
        sample = item_tokens[np.sort(rows)].astype(np.float32)
        real = sample[sample.any(axis=2)]
        if self.projection is not None and len(real) > 1:
            centre = real.mean(axis=0)
            values, vectors = np.linalg.eigh(np.cov((real - centre).T))
            values, vectors = values[::-1][: self.width], vectors[:, ::-1][:, : self.width]
            kernel = np.zeros((self.feature_dim, self.width), np.float32)
            kernel[:, : vectors.shape[1]] = vectors / np.sqrt(np.maximum(values, 1e-3 * values[0]))
            self.centre.assign(centre)
            self.projection.kernel.assign(kernel)
        means = mean_of_tokens(self.project_tokens(sample).numpy())
        deviation = float(means.std()) if len(real) else 1.0
        self.history_gain.assign(1.0 / max(deviation, 1e-3))
        self.output_unit.bias.assign([np.log(share_of_positives / (1.0 - share_of_positives))])

    def project_tokens(self, features: Any) -> Any:
        """Makes tokens of features; zeros stay zeros.

        Args:
            features: float `(…, feature_dim)`.

        Returns: float32 `(…, width)`.
        """
        features = tf.cast(features, tf.float32)
        if self.projection is None:
            return features
        is_token = tf.reduce_any(features != 0.0, axis=-1, keepdims=True)
        return self.projection(tf.where(is_token, features - self.centre.value, 0.0))

    def project_history(self, features: Any) -> Any:
        """Makes tokens of the mean features of items, times the gain; zeros stay zeros."""
        return self.project_tokens(features) * self.history_gain.value

    def history_tokens(self, item_tokens: np.ndarray) -> np.ndarray:
        """Returns what stands for each item in a history, worked out of its projected tokens.

        Args:
            item_tokens: float16 `(num_items, tokens, width)`, see `project_corpus`.

        Returns: float16 `(num_items, width)`, as `project_history` of the mean features.
        """
        means = mean_of_tokens(item_tokens) * float(self.history_gain.numpy())
        return np.asarray(means, np.float16)

    def logits(self, user_tokens: Any, item_tokens: Any, training: bool = False) -> Any:
        """Scores pairs; in the graph or eagerly.

        Args:
            user_tokens: float32 `(batch, U, width)`, projected, zeros at padding.
            item_tokens: float32 `(batch, I, width)`, projected, zeros at padding.
            training: bool.

        Returns: float32 `(batch,)`, before the sigmoid.
        """
        fused, mask = self.fuse(
            user_tokens, mask_of_features(user_tokens), item_tokens, mask_of_features(item_tokens)
        )
        state = self.lstm(fused, mask=mask, training=training)
        return tf.cast(self.output_unit(state)[:, 0], tf.float32)

    def call(
        self,
        user_features: Any,
        item_features: Any,
        history_features: Any = None,
        training: bool = False,
    ) -> Any:
        """Returns probabilities.

        Args:
            user_features: float `(batch, U, feature_dim)`, tokens of a text, zeros at padding.
            item_features: float `(batch, I, feature_dim)`, zeros at padding.
            history_features: float `(batch, H, feature_dim)`, the mean tokens of the items of a
                history, oldest first, zeros at padding; None for no history.
            training: bool.

        Returns: float32 `(batch,)` in [0, 1].
        """
        user, item = self.project_tokens(user_features), self.project_tokens(item_features)
        if history_features is not None:
            user = tf.concat([user, self.project_history(history_features)], axis=1)
        return tf.sigmoid(self.logits(user, item, training=training))

    def project_corpus(self, features: np.ndarray) -> np.ndarray:
        """Projects the tokens of many texts, as they are served.

        Args:
            features: float16 `(num_texts, tokens, feature_dim)`, zeros at padding.

        Returns: float16 `(num_texts, tokens, width)`.
        """
        blocks = [
            self.project_tokens(features[i : i + _TOKEN_BATCH]).numpy().astype(np.float16)
            for i in range(0, len(features), _TOKEN_BATCH)
        ]
        empty = np.zeros((0, features.shape[1], self.width), np.float16)
        return np.concatenate(blocks) if blocks else empty

    def get_config(self) -> dict[str, Any]:
        """Returns the constructor arguments."""
        return {
            "feature_dim": self.feature_dim,
            "fusion": self.fusion,
            "token_dim": self.token_dim,
            "lstm_units": self.lstm_units,
            "max_tokens": self.max_tokens,
            "max_history": self.max_history,
        }


def _make_fusion(name: str) -> Any:
    if name == "concat":
        from tfrec_llm.fusion.token_concat import TokenConcat

        return TokenConcat(name="fuse")
    if name == "correlation":
        from tfrec_llm.fusion.correlation_fusion import CorrelationFusion

        return CorrelationFusion(name="fuse")
    raise ValueError(f"`fusion` must be one of {', '.join(FUSIONS)}, got {name!r}.")
