"""The retriever's best candidates, ordered anew by a ranker, as something to evaluate."""

from __future__ import annotations

from typing import Any, Protocol

import numpy as np

from tfrec_llm.data.queries import Queries
from tfrec_llm.models.ranker_scorer import RankerScorer

RETRIEVER_SCALE = 0.1


class _Scorer(Protocol):
    name: str

    def score(self, queries: Queries) -> np.ndarray:
        """Returns float32 `(len(queries), num_items)`."""


def combined_score(logits: Any, retriever_scores: Any, weight: float) -> Any:
    """Returns `logit + weight * cosine / 0.1`, by which candidates are ordered anew.

    Args:
        logits: float of any shape, of the ranker.
        retriever_scores: float of that shape, cosines.
        weight: float >= 0; 0 is the ranker alone.

    Example:
        >>> combined_score(1.0, 0.5, 2.0)
        11.0
    """
    return logits + weight / RETRIEVER_SCALE * retriever_scores


class RerankedScorer:
    """Puts the candidates first, in their new order; all other items keep the retriever's.

    A user of whom nothing is known keeps the whole order of the retriever.

    Args:
        retriever: a scorer of the corpus, such as `RetrievalScorer`.
        ranker: `RankerScorer`.
        num_candidates: int >= 1, how many of the best unseen items are ordered anew.
        weight: float >= 0, of the retriever's score, see `combined_score`.
        name: str, in reports. Defaults to `two_tower_reranked`.
    """

    def __init__(
        self,
        retriever: _Scorer,
        ranker: RankerScorer,
        num_candidates: int = 100,
        weight: float = 0.0,
        name: str = "two_tower_reranked",
    ) -> None:
        self.name = name
        self.retriever = retriever
        self.ranker = ranker
        self.num_candidates = num_candidates
        self.weight = weight

    def candidates(self, queries: Queries) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Returns the best unseen items of each query, and what both models make of them.

        Returns: item numbers int32 `(n, C)`, logits and the retriever's scores float32 `(n, C)`.
            A number of -1 is no candidate: the history left fewer.
        """
        return self._candidates(queries, self.retriever.score(queries))

    def score(self, queries: Queries) -> np.ndarray:
        """Returns float32 `(len(queries), num_items)`, candidates above all others."""
        scores = np.array(self.retriever.score(queries), np.float32)
        numbers, logits, cosines = self._candidates(queries, scores)
        combined = combined_score(logits, cosines, self.weight)
        combined[numbers < 0] = -np.inf
        order = np.argsort(-combined, axis=1, kind="stable")
        width = order.shape[1]
        for row, (history, text) in enumerate(zip(queries.histories, queries.texts, strict=True)):
            if len(history) or text:  # places count down to 1 above the best score
                ordered = numbers[row, order[row]]
                places = scores[row].max() + width - np.arange(width, dtype=np.float32)
                scores[row, ordered[ordered >= 0]] = places[ordered >= 0]
        return scores

    def _candidates(
        self, queries: Queries, scores: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        unseen = np.array(scores, np.float32)
        for row, history in enumerate(queries.histories):
            unseen[row, np.asarray(history)[np.asarray(history) >= 0]] = -np.inf
        width = min(self.num_candidates, unseen.shape[1])
        best = np.argpartition(-unseen, width - 1, axis=1)[:, :width]
        by_score = np.argsort(-np.take_along_axis(unseen, best, axis=1), axis=1, kind="stable")
        numbers = np.take_along_axis(best, by_score, axis=1).astype(np.int32)
        cosines = np.take_along_axis(unseen, numbers, axis=1)
        seen = ~np.isfinite(cosines)
        rows = np.repeat(np.arange(len(queries)), width)
        logits = self.ranker.logits(queries, rows, numbers.reshape(-1)).reshape(numbers.shape)
        numbers[seen], cosines[seen] = -1, 0.0
        return numbers, logits, cosines
