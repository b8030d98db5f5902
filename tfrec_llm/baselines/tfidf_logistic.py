"""Logistic regression on a few likenesses of words: the ranker to beat."""

from __future__ import annotations

import numpy as np
from scipy import sparse
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LogisticRegression
from sklearn.preprocessing import StandardScaler

from tfrec_llm.data.queries import Queries
from tfrec_llm.neighbours.history_profile import history_profile
from tfrec_llm.neighbours.words_of import words_of

FEATURES = ("profile", "recent_profile", "nearest_of_history", "newest", "user_text")


class TfidfLogistic:
    """How likely a user is to take an item, by TF-IDF cosines and a logistic regression.

    The features of a pair: the item's cosine with the mean of the history, with its recency-
    weighted mean, with the nearest item of it, with the newest one, and with the user's text.
    How popular an item is is no feature: only what its text says.

    Args:
        item_texts: num_items str, in the order of item numbers.
        regularisation: float > 0, the inverse C of the penalty. Defaults to 1.
        decay: float in (0, 1], of the recency-weighted mean. Defaults to 0.8.

    Example:
        >>> model = TfidfLogistic(["blue sea", "sea food", "red rock"])
        >>> cases = Queries(["u"], [np.array([0])], [""], np.array([1]), np.array([False]))
        >>> rows, items = np.array([0, 0]), np.array([1, 2])
        >>> logits = model.fit(cases, rows, items, np.array([1, 0])).logits(cases, rows, items)
        >>> bool(logits[0] > logits[1])
        True
    """

    name = "tfidf_logistic"

    def __init__(
        self, item_texts: list[str], *, regularisation: float = 1.0, decay: float = 0.8
    ) -> None:
        self.regularisation = regularisation
        self.decay = decay
        vectorizer = TfidfVectorizer(analyzer=words_of, sublinear_tf=True, dtype=np.float32)
        self._vectorizer: TfidfVectorizer | None = vectorizer
        try:
            self.item_vectors = vectorizer.fit_transform(item_texts).tocsr()
        except ValueError:  # "empty vocabulary": no text holds a word
            self._vectorizer = None
            self.item_vectors = sparse.csr_matrix((len(item_texts), 1), dtype=np.float32)

    def features(self, cases: Queries, rows: np.ndarray, items: np.ndarray) -> np.ndarray:
        """Works out the likenesses of pairs.

        Args:
            cases: what is known of the users.
            rows: int `(n,)`, the case of each pair.
            items: int `(n,)`, item numbers.

        Returns: float32 `(n, 5)` in [0, 1], in the order of `FEATURES`.
        """
        num_items = self.item_vectors.shape[0]
        candidates = self.item_vectors[items]
        columns = []
        for decay in (1.0, self.decay):
            profile = history_profile(cases.histories, num_items, decay) @ self.item_vectors
            columns.append(_cosines(_unit_rows(profile)[rows], candidates))
        nearest, newest = self._of_history(cases, rows, items)
        texts = sparse.csr_matrix((len(cases), self.item_vectors.shape[1]), dtype=np.float32)
        if self._vectorizer is not None:
            texts = self._vectorizer.transform(cases.texts).tocsr()
        columns += [nearest, newest, _cosines(texts[rows], candidates)]
        return np.stack(columns, axis=1).astype(np.float32)

    def fit(
        self, cases: Queries, rows: np.ndarray, items: np.ndarray, labels: np.ndarray
    ) -> TfidfLogistic:
        """Learns the weights of the likenesses.

        Args:
            cases: what is known of the users.
            rows: int `(n,)`, the case of each pair.
            items: int `(n,)`, item numbers.
            labels: float or int `(n,)`, both 1 and 0 among them.

        Returns: itself.
        """
        return self.fit_features(self.features(cases, rows, items), labels)

    def fit_features(self, features: np.ndarray, labels: np.ndarray) -> TfidfLogistic:
        """Learns from features that are worked out already; see `fit`."""
        self._scaler = StandardScaler().fit(features)
        model = LogisticRegression(C=1.0 / self.regularisation, max_iter=1000)
        self._model = model.fit(self._scaler.transform(features), np.asarray(labels) > 0.5)
        return self

    def logits(self, cases: Queries, rows: np.ndarray, items: np.ndarray) -> np.ndarray:
        """Returns float64 `(n,)`, before the sigmoid."""
        return self.logits_of_features(self.features(cases, rows, items))

    def logits_of_features(self, features: np.ndarray) -> np.ndarray:
        """Returns float64 `(n,)` for features that are worked out already."""
        logits: np.ndarray = self._model.decision_function(self._scaler.transform(features))
        return logits

    def _of_history(
        self, cases: Queries, rows: np.ndarray, items: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray]:
        """Returns the greatest cosine with an item of the history, and that with the newest."""
        nearest = np.zeros(len(rows), np.float32)
        newest = np.zeros(len(rows), np.float32)
        order = np.argsort(rows, kind="stable")
        starts = np.searchsorted(rows[order], np.arange(len(cases) + 1))
        for row in np.unique(rows):
            pairs = order[starts[row] : starts[row + 1]]
            history = np.asarray(cases.histories[row], np.int64)
            history = history[history >= 0]
            if len(history):
                likeness = self.item_vectors[items[pairs]] @ self.item_vectors[history].T
                dense = likeness.toarray()
                nearest[pairs], newest[pairs] = dense.max(axis=1), dense[:, -1]
        return nearest, newest


def _unit_rows(vectors: sparse.csr_matrix) -> sparse.csr_matrix:
    lengths = np.sqrt(np.asarray(vectors.multiply(vectors).sum(axis=1)).ravel())
    return sparse.diags(1.0 / np.maximum(lengths, 1e-9)).dot(vectors).tocsr().astype(np.float32)


def _cosines(left: sparse.csr_matrix, right: sparse.csr_matrix) -> np.ndarray:
    return np.asarray(left.multiply(right).sum(axis=1)).ravel()
