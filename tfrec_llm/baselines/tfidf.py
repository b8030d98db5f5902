"""Likeness of words: TF-IDF vectors of the item texts."""

from __future__ import annotations

import numpy as np
from scipy import sparse
from sklearn.feature_extraction.text import TfidfVectorizer

from tfrec_llm.baselines.interactions import Interactions
from tfrec_llm.baselines.popularity import popular_where_unknown
from tfrec_llm.data.queries import Queries
from tfrec_llm.neighbours.history_profile import history_profile
from tfrec_llm.neighbours.words_of import words_of


class Tfidf:
    """Items whose words are like those of the history, newer items of it with more weight.

    Works for new items and new users. A user without history is matched by the free text; where
    there is neither, or no word of it occurs in the corpus, the popularity order is given.

    Args:
        item_texts: num_items str, in the order of item numbers.
        decay: float in (0, 1], weight of an item of the history against the one after it.

    Example:
        >>> import polars as pl
        >>> frame = pl.DataFrame({"user_id": ["u"], "item_number": [0]})
        >>> interactions = Interactions.from_frame(frame, num_items=3)
        >>> model = Tfidf(["blue sea", "red rock", "sea food"]).fit(interactions)
        >>> queries = Queries(["w"], [np.array([0])], [""], np.array([2]), np.array([True]))
        >>> model.score(queries)[0].argsort().tolist()
        [1, 2, 0]
    """

    name = "tfidf"

    def __init__(self, item_texts: list[str], *, decay: float = 0.8) -> None:
        self.item_texts = item_texts
        self.decay = decay

    def fit(self, interactions: Interactions) -> Tfidf:
        """Weighs the words of the corpus; of the interactions only the counts are used.

        Args:
            interactions: the training set.

        Returns: itself.
        """
        self.item_counts = interactions.item_counts.astype(np.float32)
        self._vectorizer = TfidfVectorizer(analyzer=words_of, sublinear_tf=True, dtype=np.float32)
        try:
            self.item_vectors = self._vectorizer.fit_transform(self.item_texts)
        except ValueError:  # "empty vocabulary": no text holds a word
            self._vectorizer = None
            self.item_vectors = sparse.csr_matrix((len(self.item_texts), 1), dtype=np.float32)
        self._words_to_items = self.item_vectors.T.tocsr()
        return self

    def score(self, queries: Queries) -> np.ndarray:
        """Returns float32 `(len(queries), num_items)`."""
        profile = history_profile(queries.histories, len(self.item_counts), self.decay)
        vectors = profile @ self.item_vectors
        without = np.flatnonzero(np.diff(profile.indptr) == 0)
        if len(without) and self._vectorizer is not None:
            texts = self._vectorizer.transform([queries.texts[row] for row in without])
            place = sparse.csr_matrix(
                (np.ones(len(without), np.float32), (without, np.arange(len(without)))),
                shape=(len(queries), len(without)),
            )
            vectors = vectors + place @ texts
        scores: np.ndarray = (vectors @ self._words_to_items).toarray()
        return popular_where_unknown(scores, self.item_counts)
