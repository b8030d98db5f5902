"""Model, encoder and index as one module: strings in, item ids out."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol

import numpy as np

from tfrec_llm.data.time_gaps import UNKNOWN, gap_buckets_in_graph
from tfrec_llm.errors import UsageError
from tfrec_llm.keras_api import tf
from tfrec_llm.retrieval.add_neighbours import AddNeighbours
from tfrec_llm.retrieval.seen_candidates import leave_out_seen
from tfrec_llm.retrieval.top_k_index import NOTHING, TopKIndex
from tfrec_llm.serving.item_ids import ItemIds
from tfrec_llm.serving.reranking import Reranking
from tfrec_llm.serving.saved_part import saved_part, tf_variable
from tfrec_llm.serving.signatures import (
    RANKER_SIGNATURES,
    SIGNATURES,
    TIME_SIGNATURES,
    Signature,
)


class ServedModel(Protocol):
    """What a servable needs of a model: both towers as graph functions, and their weights."""

    @property
    def variables(self) -> Sequence[Any]:
        """Keras 3 variables, or tf.Variables."""

    def embed_items(self, text_features: Any, item_numbers: Any) -> Any:
        """Embeds items: float32 `(n, F)` and int32 `(n,)` → float32 `(n, D)`."""

    def embed_users(
        self, history_embeddings: Any, history_mask: Any, text_features: Any, text_mask: Any
    ) -> Any:
        """Embeds users: `(B, H, D)`, bool `(B, H)`, `(B, F)`, bool `(B,)` → float32 `(B, D)`.

        With time gaps it takes int32 `(B, H)` too, see `time_gaps`.
        """


class ServedEncoder(Protocol):
    """What a servable needs of a text encoder.

    An encoder whose graph reads a vocabulary or other resources is a tf.Module that tracks them,
    or lists what to track in an attribute `trackables`.
    """

    @property
    def dim(self) -> int:
        """Width of the features."""

    @property
    def num_tokens(self) -> int | None:
        """None for one vector a text, else the most token vectors of a text."""

    @property
    def variables(self) -> Sequence[Any]:
        """Its tf.Variables."""

    def embed(self, texts: Any) -> Any:
        """Encodes texts in the graph: string `(n,)` → float32 `(n, dim)`.

        With `num_tokens` set `(n, tokens, dim)`, zeros at padding.
        """


class Servable(tf.Module):
    """Answers the requests of `signatures.py`, eagerly, and in a saved model.

    Args:
        model: its `embed_users` and `embed_items` are called in the graph.
        encoder: its `embed` is called in the graph, for rows that have a text only.
        item_ids: n str, unique, not empty.
        titles: n str, for people who read an answer.
        item_embeddings: float32 `(n, D)`, rows of the model's `embed_items`; the same that the
            index was built on.
        popularity: float32 `(n,)`, each item's share of the training interactions. They are the
            scores of the answer to a user of whom nothing is known.
        index: a top-k index over `item_embeddings`.
        max_k: int >= 1, columns of the answer of `serving_default`. Defaults to 100.
        max_history: int >= 1, how many of the most recent known items of a history the model
            sees; all of them are excluded from the answer. Defaults to 50.
        texts: n str, what the embeddings were made of, kept for a later refresh; optional.
        model_numbers: int32 `(n,)`, the model's own number of each item, -1 for an item that it
            never saw in training. Defaults to 0 … n-1.
        reranking: a ranker of the same items, which brings the signatures `rank` and
            `recommend_reranked`; optional.
        neighbours: what is added to dot products where items of the history have neighbours;
            optional.
        similarity_mask: float32 `(D,)`, what an item is multiplied with when its like are asked
            for: zeros leave out what speaks of the item alone. Defaults to ones.
        time_gaps: whether the model's `embed_users` takes gaps too, which brings the signature
            `recommend_timed`; to the others all gaps are unknown. Defaults to False.

    Raises: UsageError when an argument does not fit the others.
    """

    def __init__(
        self,
        model: ServedModel,
        encoder: ServedEncoder,
        item_ids: Sequence[str],
        titles: Sequence[str],
        item_embeddings: np.ndarray,
        popularity: np.ndarray,
        index: TopKIndex,
        max_k: int = 100,
        max_history: int = 50,
        texts: Sequence[str] | None = None,
        model_numbers: np.ndarray | None = None,
        reranking: Reranking | None = None,
        neighbours: AddNeighbours | None = None,
        similarity_mask: np.ndarray | None = None,
        time_gaps: bool = False,
    ) -> None:
        super().__init__(name="servable")
        num_items = len(item_ids)
        numbers = np.arange(num_items) if model_numbers is None else np.asarray(model_numbers)
        _check_lengths(
            num_items,
            titles=titles,
            item_embeddings=item_embeddings,
            popularity=popularity,
            model_numbers=numbers,
            texts=titles if texts is None else texts,
            reranking=item_ids if reranking is None else range(reranking.num_items),
            neighbours=item_ids if neighbours is None else range(neighbours.num_items),
        )
        _check_at_least_one(max_k=max_k, max_history=max_history)
        _check_index(index, item_embeddings)
        if not np.isfinite(popularity).all():
            raise UsageError("`popularity` holds NaN or infinity; give shares between 0 and 1.")

        self.titles = list(titles)
        self.texts = None if texts is None else list(texts)
        self.max_k = max_k
        self.max_history = max_history
        self.index = index
        self.reranking = reranking
        self.neighbours = neighbours
        self.time_gaps = time_gaps
        self.item_ids = ItemIds(item_ids)
        self._all_ids = self.item_ids.all_ids  # a resource does not track its variable
        tokens = () if encoder.num_tokens is None else (None,)
        self._feature_shape: tuple[int | None, ...] = (*tokens, encoder.dim)
        # A saved Keras 3 model loads in Python and then fails in a server ("Could not find
        # variable"): what is tracked is its variables, not the model.
        self._saved_variables = [tf_variable(v) for v in (*model.variables, *encoder.variables)]
        self._saved_resources = [
            *([encoder] if isinstance(encoder, tf.Module) else []),
            *getattr(encoder, "trackables", ()),
        ]
        shares = np.asarray(popularity, np.float32)
        self.popularity = _constant(shares, "popularity")
        self._popular_numbers = _constant(
            np.argsort(-shares, kind="stable").astype(np.int32), "popular_numbers"
        )
        self.model_numbers = _constant(numbers.astype(np.int32), "model_numbers")
        if similarity_mask is None:
            similarity_mask = np.ones(np.shape(item_embeddings)[1], np.float32)
        self.similarity_mask = _constant(similarity_mask, "similarity_mask")

        self._make_parts(model, encoder)
        for name, signature in self.signature_table.items():
            specs = [
                tf.TensorSpec(tensor.shape, tf.as_dtype(tensor.dtype), name=key)
                for key, tensor in signature.inputs.items()
            ]
            function = tf.function(
                getattr(self, f"_{name}"), input_signature=specs, autograph=False
            )
            setattr(self, name, function)

    @property
    def signature_table(self) -> dict[str, Signature]:
        """Returns what can be asked: of every servable, of a ranker, and of time gaps."""
        of_ranker = {} if self.reranking is None else RANKER_SIGNATURES
        return SIGNATURES | of_ranker | (TIME_SIGNATURES if self.time_gaps else {})

    @property
    def num_items(self) -> int:
        """Returns how many items can be recommended."""
        return self.index.num_items

    @property
    def embeddings(self) -> Any:
        """Returns the variable float32 `(num_items, D)` of item embeddings."""
        return self.index.embeddings

    def signatures(self) -> dict[str, Any]:
        """Returns the functions to save, by the names under which a server offers them."""
        return {name: getattr(self, name).get_concrete_function() for name in self.signature_table}

    def _make_parts(self, model: ServedModel, encoder: ServedEncoder) -> None:
        """Makes a function of each part: saved once, whatever the number of signatures.

        They also stay callable in a loaded export, so that it can be refreshed alone.
        """
        dim, features = int(self.embeddings.shape[1]), self._feature_shape

        def rows(*shape: int | None) -> Any:
            return tf.TensorSpec(shape, tf.float32)

        numbers, flags = tf.TensorSpec([None], tf.int32), tf.TensorSpec([None], tf.bool)
        mask = tf.TensorSpec([None, None], tf.bool)
        self.part_encode = saved_part(encoder.embed, tf.TensorSpec([None], tf.string))
        self.part_embed_items = saved_part(model.embed_items, rows(None, *features), numbers)
        users = [rows(None, None, dim), mask, rows(None, *features), flags]
        if self.time_gaps:
            users.append(tf.TensorSpec([None, None], tf.int32))
        self.part_embed_users = saved_part(model.embed_users, *users)
        self.part_search = saved_part(
            self.index.search, rows(None, dim), tf.TensorSpec([], tf.int32)
        )

    # The signatures of every servable. Their names and inputs are those of `SIGNATURES`.

    def _serving_default(self, user_text: Any, history: Any) -> dict[str, Any]:
        nothing = tf.fill([tf.shape(user_text)[0], 0], NOTHING)
        history = self.item_ids.numbers(history)
        answer = self._recommended(user_text, history, nothing, self.max_k)
        return {name: tf.ensure_shape(t, [None, self.max_k]) for name, t in answer.items()}

    def _recommend(self, user_text: Any, history: Any, exclude_ids: Any, k: Any) -> dict[str, Any]:
        history, excluded = self.item_ids.numbers(history), self.item_ids.numbers(exclude_ids)
        return self._recommended(user_text, history, excluded, self._checked(k))

    def _serve_examples(self, examples: Any) -> dict[str, Any]:
        parsed = tf.io.parse_example(
            examples,
            {
                "user_text": tf.io.FixedLenFeature([], tf.string, default_value=""),
                "history": tf.io.VarLenFeature(tf.string),
            },
        )
        history = tf.sparse.to_dense(parsed["history"], default_value="")
        return self._serving_default(parsed["user_text"], history)

    def _similar_items(self, item_ids: Any, k: Any) -> dict[str, Any]:
        k = self._checked(k)
        numbers = self.item_ids.numbers(item_ids)
        queries = tf.gather(self.embeddings, tf.maximum(numbers, 0)) * self.similarity_mask
        scores, found = self.part_search(queries, tf.minimum(self.max_k + 1, self.num_items))
        found = tf.where(numbers[:, None] >= 0, found, NOTHING)
        return self._answer(*leave_out_seen(scores, found, numbers[:, None], k))

    def _encode_users(self, user_text: Any, history: Any) -> dict[str, Any]:
        return {"embeddings": self._user_embeddings(user_text, self.item_ids.numbers(history))}

    def _encode_items(self, item_ids: Any, item_text: Any) -> dict[str, Any]:
        item_ids, item_text = _of_same_batch(item_ids=item_ids, item_text=item_text)
        numbers = self.item_ids.numbers(item_ids)
        is_known, has_text = numbers >= 0, _has_text(item_text)
        model_numbers = tf.where(
            is_known, tf.gather(self.model_numbers, tf.maximum(numbers, 0)), NOTHING
        )
        embedded = self.part_embed_items(self._text_features(item_text, has_text), model_numbers)
        stored = tf.gather(self.embeddings, tf.maximum(numbers, 0))
        stored = tf.where(is_known[:, None], stored, 0.0)  # neither id nor text: all zeros
        return {"embeddings": tf.where(has_text[:, None], tf.cast(embedded, tf.float32), stored)}

    # That of time gaps, `TIME_SIGNATURES`.

    def _recommend_timed(
        self, user_text: Any, history: Any, history_times: Any, exclude_ids: Any, k: Any
    ) -> dict[str, Any]:
        check = tf.debugging.assert_equal(
            tf.shape(history_times),
            tf.shape(history),
            message="history and history_times must have the same shape.",
        )
        history, history_times = _after([check], history, history_times)
        history, excluded = self.item_ids.numbers(history), self.item_ids.numbers(exclude_ids)
        gaps = gap_buckets_in_graph(history_times)
        return self._recommended(user_text, history, excluded, self._checked(k), gaps)

    # Those of a ranker, `RANKER_SIGNATURES`.

    def _rank(self, user_text: Any, history: Any, item_ids: Any) -> dict[str, Any]:
        user_text, history, item_ids = _of_same_batch(
            user_text=user_text, history=history, item_ids=item_ids
        )
        numbers = self.item_ids.numbers(item_ids)
        logits = self._ranker_logits(user_text, self.item_ids.numbers(history), numbers)
        return {"scores": tf.where(numbers >= 0, tf.sigmoid(logits), tf.float32.min)}

    def _recommend_reranked(
        self, user_text: Any, history: Any, exclude_ids: Any, k: Any
    ) -> dict[str, Any]:
        assert self.reranking is not None
        history, excluded = self.item_ids.numbers(history), self.item_ids.numbers(exclude_ids)
        width = min(self.reranking.num_candidates, self.num_items)
        scores, numbers, is_new = self._candidates(user_text, history, excluded, width)
        logits = self._ranker_logits(user_text, history, numbers)
        reranked = self.reranking.combine(logits, scores)
        scores = tf.where(is_new[:, None] | (numbers < 0), scores, reranked)
        k = self._checked(k)
        kept = tf.minimum(k, tf.shape(scores)[1])
        scores, places = tf.math.top_k(scores, kept)
        numbers = tf.gather(numbers, places, batch_dims=1)
        end = [[0, 0], [0, k - kept]]
        return self._answer(
            tf.pad(scores, end, constant_values=tf.float32.min),
            tf.pad(numbers, end, constant_values=NOTHING),
        )

    def _ranker_logits(self, user_text: Any, history: Any, numbers: Any) -> Any:
        assert self.reranking is not None
        recent = _most_recent(history, self.reranking.max_history)
        return self.reranking.logits(user_text, _has_text(user_text), recent, numbers)

    # What they are made of.

    def _recommended(
        self, user_text: Any, history: Any, excluded: Any, k: Any, gaps: Any = None
    ) -> dict[str, Any]:
        scores, numbers, _ = self._candidates(user_text, history, excluded, k, self.max_k, gaps)
        return self._answer(scores, numbers)

    def _candidates(
        self,
        user_text: Any,
        history: Any,
        excluded: Any,
        k: Any,
        most_k: int | None = None,
        gaps: Any = None,
    ) -> tuple[Any, Any, Any]:
        """Returns the best k not seen: scores, numbers, and which rows nothing is known of.

        `most_k` is the greatest k there can be, which fixes what is asked of the index; `gaps` are
        in step with the history, None: all are unknown.
        """
        most_k = k if most_k is None else most_k
        user_text, history, excluded = _of_same_batch(
            user_text=user_text, history=history, exclude_ids=excluded
        )
        excluded = tf.concat([history, excluded], axis=1)
        queries = self._user_embeddings(user_text, history, gaps)

        # With as many more as any row excludes, nothing that belongs into the answer is missed.
        num_excluded = tf.math.count_nonzero(excluded >= 0, axis=1, dtype=tf.int32)
        most = tf.reduce_max(tf.concat([[0], num_excluded], axis=0))
        fetch = tf.minimum(most_k + most, self.num_items)
        scores, numbers = self.part_search(queries, fetch)
        if self.neighbours is not None:
            recent = _most_recent(history, self.max_history)
            scores, numbers = self.neighbours(scores, numbers, queries, recent, self.embeddings)

        popular = self._popular_numbers[:fetch]
        is_new = ~_has_text(user_text) & ~tf.reduce_any(history >= 0, axis=1)
        numbers = tf.where(is_new[:, None], popular, numbers)
        scores = tf.where(is_new[:, None], tf.gather(self.popularity, popular), scores)
        return *leave_out_seen(scores, numbers, excluded, k), is_new

    def _user_embeddings(self, user_text: Any, history: Any, gaps: Any = None) -> Any:
        user_text, history = _of_same_batch(user_text=user_text, history=history)
        has_text = _has_text(user_text)
        numbers = _most_recent(history, self.max_history)
        arguments = [
            tf.gather(self.embeddings, tf.maximum(numbers, 0)),
            numbers >= 0,
            self._text_features(user_text, has_text),
            has_text,
        ]
        if self.time_gaps:
            recent = tf.fill(tf.shape(numbers), UNKNOWN)
            if gaps is not None:
                recent = _most_recent(history, self.max_history, gaps, UNKNOWN)
            arguments.append(recent)
        embeddings = self.part_embed_users(*arguments)
        return tf.cast(embeddings, tf.float32)

    def _text_features(self, texts: Any, has_text: Any) -> Any:
        """Encodes the rows that have a text; the others are zeros, and cost nothing."""
        num_texts = tf.shape(texts)[0]
        no_text = [1 if size is None else size for size in self._feature_shape]

        def encode() -> Any:
            rows = tf.where(has_text)
            features = tf.cast(self.part_encode(tf.gather_nd(texts, rows)), tf.float32)
            shape = tf.concat([[num_texts], tf.shape(features)[1:]], axis=0)
            return tf.scatter_nd(tf.cast(rows, tf.int32), features, shape)

        features = tf.cond(tf.reduce_any(has_text), encode, lambda: tf.zeros([num_texts, *no_text]))
        return tf.ensure_shape(features, [None, *self._feature_shape])

    def _checked(self, k: Any) -> Any:
        at_least_one = tf.debugging.assert_greater_equal(
            k, 1, message="k, the number of items asked for, must be at least 1."
        )
        return tf.minimum(*_after([at_least_one], k), self.max_k)

    def _answer(self, scores: Any, numbers: Any) -> dict[str, Any]:
        return {"item_ids": self.item_ids.ids(numbers), "scores": scores}


def _most_recent(history: Any, max_history: int, values: Any = None, padding: int = NOTHING) -> Any:
    """Returns the last known numbers of each row, oldest first, padded with -1 on the left.

    With `values`, in step with the history, those of the same places and their padding. The answer
    is at least one column wide: not every network takes a history of no column.
    """
    width = tf.shape(history)[1]
    place = tf.where(history >= 0, 1 + tf.range(width), 0)
    last, _ = tf.math.top_k(place, tf.minimum(width, max_history))
    last = tf.pad(tf.reverse(last, axis=[1]), [[0, 0], [tf.maximum(1 - width, 0), 0]])
    values = history if values is None else values
    padded = tf.pad(values, [[0, 0], [1, 0]], constant_values=padding)
    return tf.gather(padded, last, batch_dims=1)


def _has_text(texts: Any) -> Any:
    return tf.not_equal(tf.strings.strip(texts), "")


def _of_same_batch(**tensors: Any) -> list[Any]:
    """Returns the tensors, which are not read before it is known that they have as many rows.

    A check that nothing waits for races with the ops that fail by what it would have told.
    """
    (first, expected), *others = ((name, tf.shape(t)[0]) for name, t in tensors.items())
    checks = [
        tf.debugging.assert_equal(
            size, expected, message=f"{first} and {name} must have the same number of rows."
        )
        for name, size in others
    ]
    return _after(checks, *tensors.values())


def _after(checks: Sequence[Any], *tensors: Any) -> list[Any]:
    with tf.control_dependencies([check for check in checks if check is not None]):
        return [tf.identity(tensor) for tensor in tensors]


def _constant(values: np.ndarray, name: str) -> Any:
    return tf.Variable(values, trainable=False, name=name)


def _check_lengths(num_items: int, **columns: Any) -> None:
    for name, column in columns.items():
        if len(column) != num_items:
            raise UsageError(
                f"`{name}` has {len(column)} rows, but there are {num_items} item ids. "
                "Give one row for each item, in the same order."
            )


def _check_at_least_one(**counts: int) -> None:
    for name, count in counts.items():
        if count < 1:
            raise UsageError(f"`{name}` must be at least 1, got {count}.")


def _check_index(index: TopKIndex, item_embeddings: np.ndarray) -> None:
    if not np.array_equal(index.embeddings.numpy(), np.asarray(item_embeddings, np.float32)):
        raise UsageError(
            "The index was built on other vectors than `item_embeddings`. Build it on the same."
        )
