"""A language model that is trained along with the towers."""

from __future__ import annotations

from typing import Any

import numpy as np

from tfrec_llm.encoders.layer_levels import layer_levels
from tfrec_llm.encoders.length_batches import length_batches
from tfrec_llm.encoders.text_encoder import TextEncoder
from tfrec_llm.errors import EncoderError, UsageError
from tfrec_llm.keras_api import keras, tf
from tfrec_llm.progress import Progress, Silent

MODES = ("lora", "last_layers", "full")

# Query and value of T5, which keras-nlp does not list as such.
_OTHER_PROJECTIONS = ("query_projector", "value_projector")


class FineTuning(keras.layers.Layer):
    """Turns tokens into one vector a text, by a language model some of whose weights are trained.

    It works on a copy of an encoder and computes the same function; drop-out is that of the
    model. What is trained:

    - `lora`: matrices of a low rank beside the query and value projections of each layer;
    - `last_layers`: the last transformer layers, and a normalisation that follows them;
    - `full`: every weight that the vectors depend on.

    `variables` are those weights and the states of the drop-out, so a checkpoint stays as small
    as the mode allows. All others are as the encoder was, which must be had again to go on.

    Args:
        encoder: `TextEncoder` with a fixed pooling; it is left as it is.
        mode: one of `MODES`.
        lora_rank: int ≥ 1, of `lora`. Defaults to 8.
        train_layers: int ≥ 1, of `last_layers`. Defaults to 2.
        seed: int, of the drop-out and of the start of `lora`. Defaults to 0.

    Attributes:
        dim: int, width of the vectors.
        levels: lists of the trained variables by transformer layer, the top one first.

    Call arguments:
        tokens: int32 `(num_texts, tokens)`, see `token_rows`; a row of zeros is no text.
        training: bool, whether drop-out is on.

    Returns: float32 `(num_texts, dim)`; zeros for no text.

    Raises:
        UsageError: when a setting is none of the above, or the encoder gives token vectors.
        EncoderError: when the model has fewer layers, or no projections for `lora`.

    Example:
        >>> import tempfile
        >>> from tfrec_llm.encoders.token_rows import token_rows
        >>> from tfrec_llm.testing.tiny_models import tiny_preset
        >>> encoder = TextEncoder.from_preset(tiny_preset(tempfile.mkdtemp()), max_tokens=8)
        >>> layer = FineTuning(encoder, "lora", lora_rank=2)
        >>> layer(token_rows(encoder, ["space opera", ""])).shape
        TensorShape([2, 16])
        >>> [len(level) for level in layer.levels]  # query and value, two matrices each
        [4, 4, 0]

    Reference: Hu et al., 2021, arXiv:2106.09685 (LoRA)
    """

    def __init__(
        self,
        encoder: TextEncoder,
        mode: str,
        *,
        lora_rank: int = 8,
        train_layers: int = 2,
        seed: int = 0,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        if mode not in MODES:
            raise UsageError(f"`mode` must be one of {', '.join(MODES)}, got {mode!r}")
        for name, value in (("lora_rank", lora_rank), ("train_layers", train_layers)):
            if value < 1:
                raise UsageError(f"`{name}` must be at least 1, got {value!r}")
        if encoder.num_tokens is not None:
            raise UsageError(
                f"The pooling {encoder.pooling!r} is learned from token vectors; a language model "
                "is fine-tuned under a fixed one. Set encoder.pooling to mean, cls, max, last, sif "
                "or layers, or encoder.mode to frozen."
            )
        self.mode = mode
        self.dim = encoder.dim
        self._encoder = encoder.copy(name=f"{encoder.name}, fine-tuned ({mode})")
        backbone = self._encoder.backbone
        self._kernels: dict[int, Any] = {}  # of the layers with LoRA: id of the kernel → layer
        if mode == "lora":
            self._kernels = _with_lora(backbone, lora_rank, seed)
        levels = layer_levels(backbone)
        if mode == "lora":
            trained = {id(weight) for weight in _lora_weights(self._kernels)}
        elif mode == "last_layers":
            if not train_layers < len(levels):
                raise EncoderError(
                    f"The last {train_layers} layers of {encoder.name} were to be trained, but it "
                    f"has {len(levels) - 1}. Set encoder.train_layers to that or less, or "
                    "encoder.mode to full."
                )
            trained = {id(weight) for level in levels[:train_layers] for weight in level}
        else:
            trained = {id(weight) for level in levels for weight in level}
        weights = backbone.weights
        for weight in weights:
            weight.trainable = id(weight) in trained
        self.levels = [[weight for weight in level if weight.trainable] for level in levels]

        ids = {id(weight) for weight in weights}
        states = [state for state in backbone.variables if id(state) not in ids]
        generator = np.random.default_rng(seed)
        for state in states:  # they start at random otherwise
            state.assign(generator.integers(2**32, size=state.shape, dtype=np.uint32))
        self._states = states
        self._encode_batch = tf.function(
            self.__call__,
            input_signature=[tf.TensorSpec([None, None], tf.int32)],
            autograph=False,
        )
        self.built = True

    @property
    def weights(self) -> list[Any]:
        """The weights that are trained."""
        return [weight for level in self.levels for weight in level]

    @property
    def variables(self) -> list[Any]:
        """What training changes: the trained weights, and the states of the drop-out."""
        return [*self.weights, *self._states]

    def call(self, tokens: Any, training: bool = False) -> Any:
        """Encodes rows of tokens."""
        tokens = tf.convert_to_tensor(tokens)
        is_text = tf.reduce_any(tokens > 0, axis=1)
        texts = tf.boolean_mask(tokens, is_text)
        num_texts = tf.shape(texts)[0]
        # Most backbones cannot encode a batch of nothing: an empty row stands in, and is cut off.
        texts = tf.pad(texts, [[0, tf.cast(num_texts == 0, tf.int32)], [0, 0]])
        longest = tf.reduce_max(tf.math.count_nonzero(texts, axis=1, dtype=tf.int32))
        texts = texts[:, : tf.maximum(longest, 1)]
        is_token = texts > 0
        token_ids = tf.where(is_token, texts - 1, self._encoder.preprocessor.pad_token_id)
        vectors = self._encoder.embed_tokens(token_ids, tf.cast(is_token, tf.int32), training)
        shape = tf.stack([tf.shape(tokens, tf.int64)[0], self.dim])
        placed = tf.scatter_nd(tf.where(is_text), vectors[:num_texts], shape)
        return tf.ensure_shape(placed, [tokens.shape[0], self.dim])

    def encode(
        self, tokens: np.ndarray, *, batch_size: int = 32, progress: Progress | None = None
    ) -> np.ndarray:
        """Encodes many texts with the weights as they stand, those of like length together.

        Args:
            tokens: int32 `(n, tokens)`, see `token_rows`.
            batch_size: int ≥ 1. It changes speed and memory, not the vectors.
            progress: told after each batch.

        Returns: float32 `(n, dim)`.
        """
        progress = progress or Silent()
        vectors = np.zeros((len(tokens), self.dim), np.float32)
        done = 0
        for rows, width in length_batches((tokens > 0).sum(axis=1), batch_size, tokens.shape[1]):
            vectors[rows] = self._encode_batch(tf.constant(tokens[rows, :width])).numpy()
            done += len(rows)
            progress.advance("encode texts", done, len(tokens))
        return vectors

    def tuned(self) -> TextEncoder:
        """Returns the encoder as it stands, `lora` merged into its weights, with none of it left.

        Returns: `TextEncoder`, a copy. Its fingerprint is another one as soon as a weight changed.
        """
        backbone = self._encoder.backbone
        added = {id(weight) for weight in _lora_weights(self._kernels)}
        values = []
        for weight in backbone.weights:
            if id(weight) not in added:
                layer = self._kernels.get(id(weight))
                values.append(np.asarray(weight.value if layer is None else layer.kernel))
        return self._encoder.copy(weights=values)


def _with_lora(backbone: Any, rank: int, seed: int) -> dict[int, Any]:
    """Adds LoRA to a backbone; returns the id of each kernel that it changes with its layer."""
    layers = [part for part in backbone._flatten_layers() if hasattr(part, "enable_lora")]
    kernels = {id(layer): layer.kernel for layer in layers if hasattr(layer, "kernel")}
    backbone.enable_lora(rank, [*backbone.default_lora_layer_names(), *_OTHER_PROJECTIONS])
    found = {id(kernels[id(layer)]): layer for layer in layers if _has_lora(layer)}
    if not found:
        raise EncoderError(
            f"This {type(backbone).__name__} has no query and value projections that keras-nlp "
            "can add LoRA to. Set encoder.mode to last_layers or full."
        )
    for number, layer in enumerate(found.values()):
        start = keras.initializers.HeUniform(seed=seed + number)
        layer.lora_kernel_a.assign(start(layer.lora_kernel_a.shape))
    return found


def _has_lora(layer: Any) -> bool:
    return bool(getattr(layer, "lora_enabled", False)) and hasattr(layer, "kernel")


def _lora_weights(kernels: dict[int, Any]) -> list[Any]:
    return [w for layer in kernels.values() for w in (layer.lora_kernel_a, layer.lora_kernel_b)]
