"""Item ids ↔ item numbers inside the graph."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import Any

from tfrec_llm.errors import UsageError
from tfrec_llm.keras_api import tf
from tfrec_llm.retrieval.top_k_index import NOTHING


class ItemIds(tf.saved_model.experimental.TrackableResource):
    """A table from ids to numbers that is filled, when a model is loaded, from a variable.

    TensorFlow's own `StaticHashTable` would keep the ids a second time, as constants of the graph.

    Args:
        item_ids: n str, unique, not empty; number i is the item of place i.

    Raises: UsageError when an id is empty, stands twice, or is no valid text.

    Example:
        >>> item_ids = ItemIds(["b", "a"])
        >>> numbers = item_ids.numbers(tf.constant([["a", "?", ""]]))
        >>> numbers.numpy().tolist(), item_ids.ids(numbers).numpy().tolist()
        ([[1, -1, -1]], [[b'a', b'', b'']])
    """

    def __init__(self, item_ids: Sequence[str]) -> None:
        super().__init__()
        encoded = _encode(item_ids)
        digest = hashlib.sha256()
        for item_id in encoded:
            digest.update(len(item_id).to_bytes(8, "little") + item_id)
        # Named by its contents: two models in one process never take each other's table.
        self._name = f"item_ids_{digest.hexdigest()[:32]}"
        self.all_ids = tf.Variable(
            tf.constant(encoded, tf.string), trainable=False, name="item_ids"
        )
        self._initialize()

    def _create_resource(self) -> Any:
        return tf.raw_ops.HashTableV2(
            key_dtype=tf.string, value_dtype=tf.int32, shared_name=self._name
        )

    def _initialize(self) -> None:
        tf.raw_ops.LookupTableImportV2(
            table_handle=self.resource_handle,
            keys=self.all_ids.read_value(),
            values=tf.range(self.all_ids.shape[0]),
        )

    def numbers(self, item_ids: Any) -> Any:
        """Returns the int32 numbers of a string tensor of ids, -1 for unknown ones and ""."""
        return tf.raw_ops.LookupTableFindV2(
            table_handle=self.resource_handle, keys=item_ids, default_value=NOTHING
        )

    def ids(self, numbers: Any) -> Any:
        """Returns the ids of an int32 tensor of numbers, "" for -1."""
        return tf.where(numbers >= 0, tf.gather(self.all_ids, tf.maximum(numbers, 0)), "")


def _encode(item_ids: Sequence[str]) -> list[bytes]:
    encoded = []
    places: dict[str, int] = {}
    for place, item_id in enumerate(item_ids):
        if not item_id:
            raise UsageError(f"Item {place} has an empty id; an empty id means padding. Name it.")
        if places.setdefault(item_id, place) != place:
            raise UsageError(
                f"The item id {item_id!r} stands twice, for items {places[item_id]} and {place}. "
                "Give each item an id of its own."
            )
        try:
            encoded.append(item_id.encode())
        except UnicodeEncodeError as error:
            raise UsageError(f"The item id {item_id!r} is no valid Unicode text.") from error
    return encoded
