"""An export and another catalogue → a servable, without training."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from tfrec_llm.data.catalogue_changes import CatalogueChanges
from tfrec_llm.errors import CorruptFileError, ExportError
from tfrec_llm.keras_api import tf
from tfrec_llm.neighbours.carry_over import carry_over
from tfrec_llm.progress import Progress, Silent
from tfrec_llm.retrieval.add_neighbours import AddNeighbours
from tfrec_llm.retrieval.build_index import KINDS, build_index
from tfrec_llm.serving.reranking import Reranking
from tfrec_llm.serving.restored_parts import RestoredExport
from tfrec_llm.serving.servable import Servable

_BATCH = 64


def refreshed_servable(
    restored: RestoredExport, changes: CatalogueChanges, progress: Progress | None = None
) -> Servable:
    """Joins the towers and the encoder of an export to another catalogue.

    Vectors, learned ids, popularity and neighbours of items whose text did not change are carried
    over as they are. A changed text is encoded again, with the learned id of its item. A new item
    is known by its text alone, and embedded as training embeds an item without clicks.

    Args:
        restored: the export.
        changes: how the new catalogue differs from that of the export.
        progress: listener.

    Returns: `Servable` over the new catalogue, with an index of the same kind, built anew.

    Raises:
        ExportError: when a text gets a vector that is not finite.
        CorruptFileError: when a part of the export is missing.
    """
    progress = progress or Silent()
    previous, is_kept = changes.previous, changes.previous >= 0
    texts: list[str] = changes.items["text"].to_list()
    model_numbers = _carried(restored.items["model_number"].to_numpy(), previous, -1)

    embeddings = _carried(restored.embeddings, previous, 0.0)
    rows = np.flatnonzero(changes.has_new_text)
    fresh = [texts[row] for row in rows]
    if len(rows):

        def embed(texts: Any, places: np.ndarray) -> Any:
            numbers = tf.constant(model_numbers[rows[places]], tf.int32)
            features = tf.cast(restored.encoder.embed(texts), tf.float32)
            return restored.model.embed_items(features, numbers)

        blocks = _by_length(embed, fresh, "encode new texts", progress)
        for places, block in blocks:
            embeddings[rows[places]] = block
        _check_finite(embeddings, rows, texts)

    near = carry_over(
        restored.neighbours,
        previous,
        model_numbers >= 0,
        changes.has_new_text,
        texts,
        restored.facts.neighbours,
    )
    progress.message(f"building the {restored.facts.index['kind']} index over {len(texts)} items")
    return Servable(
        restored.model,
        restored.encoder,
        changes.items["item_id"].to_list(),
        changes.items["title"].to_list(),
        embeddings,
        np.where(is_kept, _carried(restored.items["popularity"].to_numpy(), previous, 0.0), 0.0),
        _index(restored, embeddings, progress),
        max_k=restored.facts.max_k,
        max_history=restored.facts.max_history,
        texts=texts,
        model_numbers=model_numbers,
        reranking=_reranking(restored, previous, rows, fresh, progress),
        neighbours=None if near.is_empty else AddNeighbours(near),
        similarity_mask=restored.model.similarity_mask,
        time_gaps=restored.model.time_gaps,
    )


def _carried(values: np.ndarray, previous: np.ndarray, of_new: float) -> np.ndarray:
    """Returns the rows that items had before, and one value for those of new items."""
    carried = np.full((len(previous), *values.shape[1:]), of_new, values.dtype)
    carried[previous >= 0] = values[previous[previous >= 0]]
    return carried


def _by_length(
    call: Callable[[Any, np.ndarray], Any], texts: Sequence[str], task: str, progress: Progress
) -> list[tuple[np.ndarray, np.ndarray]]:
    """Calls with texts of like length together: places of the texts, and what came of them."""
    order = np.argsort([len(text) for text in texts], kind="stable")
    blocks = []
    for begin in range(0, len(order), _BATCH):
        places = order[begin : begin + _BATCH]
        batch = tf.constant([texts[place].encode("utf-8", "replace") for place in places])
        blocks.append((places, np.asarray(call(batch, places))))
        progress.advance(task, begin + len(places), len(texts))
    return blocks


def _check_finite(embeddings: np.ndarray, rows: np.ndarray, texts: Sequence[str]) -> None:
    broken = rows[~np.isfinite(embeddings[rows]).all(axis=1)]
    if len(broken):
        raise ExportError(
            f"The export gives a vector that is not finite for {len(broken)} texts, the first "
            f"{texts[broken[0]][:80]!r}. Nothing was written. Leave these items out, or export a "
            "sound model first."
        )


def _index(restored: RestoredExport, embeddings: np.ndarray, progress: Progress) -> Any:
    kind, options = restored.facts.index["kind"], dict(restored.facts.index["options"])
    for parts in ("num_leaves", "num_lists"):
        if (options.get(parts) or 0) > len(embeddings):
            progress.message(
                f"{len(embeddings)} items do not fill `{parts}` {options[parts]}: the number "
                "follows the size of the catalogue now"
            )
            options[parts] = options[f"{parts}_to_search"] = None
    if kind not in KINDS:
        raise CorruptFileError(
            f"The export names an index of the kind {kind!r}, which tfrec_llm does not know. "
            "Export the model again."
        )
    return build_index(kind, embeddings, options, restored.sample_queries)


def _reranking(
    restored: RestoredExport,
    previous: np.ndarray,
    rows: np.ndarray,
    fresh: Sequence[str],
    progress: Progress,
) -> Reranking | None:
    """Carries the ranker over; the tokens of new texts are computed by its language model."""
    loaded = restored.reranking
    if loaded is None:
        return None
    if restored.facts.ranker is None or not hasattr(loaded, "part_text_tokens"):
        raise CorruptFileError(
            "The export has a ranker, but lacks what its items' tokens are computed by. Nothing "
            "was written, since the new version would lose the ranker. Export the run again."
        )
    tokens = _carried(loaded.item_tokens.numpy(), previous, 0.0)
    blocks = _by_length(
        lambda texts, _: loaded.part_text_tokens(texts), fresh, "tokens for the ranker", progress
    )
    for places, block in blocks:
        is_token = block.any(axis=2)
        width = int(is_token.any(axis=0).sum())  # padding stands at the end
        if width > tokens.shape[1]:
            tokens = np.pad(tokens, [(0, 0), (0, width - tokens.shape[1]), (0, 0)])
        tokens[rows[places]] = 0.0
        tokens[rows[places], :width] = block[:, :width]
    return Reranking.restored(loaded, tokens, **restored.facts.ranker)
