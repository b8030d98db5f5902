"""An exported SavedModel as a recommender that the evaluation can judge."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from tfrec_llm.data.catalogue import Catalogue
from tfrec_llm.data.queries import Queries
from tfrec_llm.errors import UsageError
from tfrec_llm.evaluation.retrieval_evaluator import LIST_LENGTH
from tfrec_llm.serving.loaded import load
from tfrec_llm.serving.plain_tensorflow import plain_tensorflow


class ExportScorer:
    """Scores items by their place in the answers of a SavedModel, as a server would give them.

    The first item of an answer has the score 0, the next -1, and so on; what the export does not
    list is below all of them. Evaluated on these scores, the lists are the export's own.

    Args:
        export: folder of versions, or of one version.
        catalogue: the corpus of the evaluation; ids of the export that it lacks are passed over.
        name: str, the key of the model in reports.

    Raises:
        UsageError: when the export lists fewer items than are evaluated.
        CorruptFileError: when a file is not as it was written.
    """

    def __init__(self, export: str | Path, catalogue: Catalogue, name: str = "exported") -> None:
        self.name = name
        self._catalogue = catalogue
        self._signature = load(export).model.signatures["recommend"]
        tf = plain_tensorflow()
        nobody = {"user_text": tf.constant([""]), "history": tf.constant([[""]])}
        answer = self._signature(
            **nobody, exclude_ids=tf.constant([[""]]), k=tf.constant(LIST_LENGTH)
        )
        if answer["item_ids"].shape[1] < LIST_LENGTH:
            raise UsageError(
                f"{export} answers with {answer['item_ids'].shape[1]} items at most, and lists of "
                f"{LIST_LENGTH} are evaluated. Export with index.max_k: {LIST_LENGTH} or more."
            )

    def score(self, queries: Queries) -> np.ndarray:
        """Returns float32 `(len(queries), num_items)`, minus the place in the answer."""
        tf = plain_tensorflow()
        histories = [self._catalogue.ids(history) for history in queries.histories]
        width = max(map(len, histories), default=0) or 1
        rows = [[item_id.encode() for item_id in history] for history in histories]
        padded = [[*history, *[b""] * (width - len(history))] for history in rows]
        answer = self._signature(
            user_text=tf.constant([text.encode("utf-8", "replace") for text in queries.texts]),
            history=tf.constant(padded, tf.string),
            exclude_ids=tf.constant([[b""]] * len(queries)),
            k=tf.constant(LIST_LENGTH),
        )
        scores = np.full((len(queries), len(self._catalogue)), -LIST_LENGTH - 1, np.float32)
        for row, item_ids in enumerate(answer["item_ids"].numpy()):
            numbers = self._catalogue.numbers(item_id.decode() for item_id in item_ids)
            places = np.flatnonzero(numbers >= 0)
            scores[row, numbers[places]] = -places
        return scores
