"""Text and an optional id → the embedding of an item."""

from __future__ import annotations

from typing import Any

from tfrec_llm.fusion.padding_mask import mask_of_features
from tfrec_llm.fusion.poolings import make_pooling
from tfrec_llm.keras_api import keras
from tfrec_llm.towers.id_embedding import IdEmbedding
from tfrec_llm.towers.text_projection import TextProjection
from tfrec_llm.towers.unit_length import unit_length


@keras.saving.register_keras_serializable(package="tfrec_llm")
class ItemTower(keras.layers.Layer):
    """Embeds an item as unit(text part + id part).

    The text part carries items that nobody has clicked; the id part adds what the text does not
    say about items that were. An unknown id falls back to the text. Masks are not used.

    Args:
        num_items: int, items with an id part; 0 for a tower of text alone.
        embedding_dim: int, width of the output. Defaults to 128.
        item_id_dropout: float in [0, 1), share of ids dropped in a training step. Defaults to 0.4.
        item_id_rate: float > 0, how many times as fast as the rest the ids learn, see
            `IdEmbedding`. Defaults to 1.
        dropout: float in [0, 1), inside the text network. Defaults to 0.3.
        seed: int, of the id drop-out. Defaults to 0.
        pooling: name of a pooling that is learned here, for features that are token vectors;
            "none" for features that are one vector a text. Defaults to "none".
        pooling_options: arguments of that pooling, JSON values. Defaults to none.
        language_model: layer from tokens to one vector a text, which is trained along, see
            `FineTuning`. It is no part of the configuration: what is served reads the vectors of
            the tuned encoder. Defaults to none.

    Call arguments:
        text_features: float32 `(num_items, feature_dim)`, as a text encoder gives them; with a
            pooling `(num_items, tokens, feature_dim)`, rows of zeros are padding. With a language
            model int32 `(num_items, tokens)` too, which it then reads.
        item_numbers: int32 `(num_items,)`, negative for an item without a learned id.
        training: bool, whether drop-out is on.

    Returns: float32 `(num_items, embedding_dim)`, of length 1.

    Example:
        >>> tower = ItemTower(num_items=5, embedding_dim=4)
        >>> tower(keras.ops.ones((2, 8)), keras.ops.array([3, -1])).shape
        TensorShape([2, 4])
    """

    def __init__(
        self,
        num_items: int,
        embedding_dim: int = 128,
        item_id_dropout: float = 0.4,
        item_id_rate: float = 1.0,
        dropout: float = 0.3,
        seed: int = 0,
        pooling: str = "none",
        pooling_options: dict[str, Any] | None = None,
        language_model: Any = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.num_items = num_items
        self.embedding_dim = embedding_dim
        self.item_id_dropout = item_id_dropout
        self.item_id_rate = item_id_rate
        self.dropout = dropout
        self.seed = seed
        self.pooling = pooling
        self.pooling_options = dict(pooling_options or {})
        self.text_pooling = (
            make_pooling(pooling, **self.pooling_options) if pooling != "none" else None
        )
        self.language_model = language_model
        self.text_projection = TextProjection(embedding_dim, dropout=dropout, name="text")
        self.id_embedding = (
            IdEmbedding(num_items, embedding_dim, item_id_dropout, seed, item_id_rate, name="ids")
            if num_items
            else None
        )

    def build(self, text_features_shape: tuple[int | None, ...], *_: Any) -> None:
        """Makes the weights for features of the given width."""
        width = text_features_shape[-1]
        if self.text_pooling is not None:
            self.text_pooling.build((None, None, width))
            width = self.text_pooling.compute_output_shape((None, None, width))[-1]
        self.text_projection.build((None, width))
        if self.id_embedding is not None:
            self.id_embedding.build()
        self.built = True

    def pool_text(self, text_features: Any, training: bool = False) -> Any:
        """Returns one vector a text, float32 `(num_texts, pooled_dim)`."""
        if self.language_model is not None and _are_tokens(text_features):
            return self.language_model(text_features, training=training)
        if self.text_pooling is None:
            return text_features
        return self.text_pooling(text_features, mask_of_features(text_features))

    def embed_text(self, text_features: Any, training: bool = False) -> Any:
        """Returns the text part alone, float32 `(num_texts, embedding_dim)`, not of unit length."""
        vectors = self.pool_text(text_features, training=training)
        return self.text_projection(vectors, training=training)

    def call(self, text_features: Any, item_numbers: Any, training: bool = False) -> Any:
        """Embeds items."""
        vectors = self.embed_text(text_features, training=training)
        if self.id_embedding is not None:
            vectors = vectors + self.id_embedding(item_numbers, training=training)
        return unit_length(vectors)

    def get_config(self) -> dict[str, Any]:
        """Returns the constructor arguments."""
        return {
            **super().get_config(),
            "num_items": self.num_items,
            "embedding_dim": self.embedding_dim,
            "item_id_dropout": self.item_id_dropout,
            "item_id_rate": self.item_id_rate,
            "dropout": self.dropout,
            "seed": self.seed,
            "pooling": self.pooling,
            "pooling_options": self.pooling_options,
        }


def _are_tokens(text_features: Any) -> bool:
    return str(keras.backend.standardize_dtype(text_features.dtype)).startswith("int")
