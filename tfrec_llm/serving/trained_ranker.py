"""A trained ranker as one folder: its weights, and the tokens of all items."""

from __future__ import annotations

import io
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from tfrec_llm.encoders.words_beside_encoder import text_encoder_of
from tfrec_llm.errors import CorruptFileError
from tfrec_llm.files import atomic_folder, sha256_of_file
from tfrec_llm.models.pointwise_ranker import PointwiseRanker
from tfrec_llm.serving.reranking import Reranking
from tfrec_llm.variables_file import restore_variables, save_variables

_FORMAT = 1
_WEIGHTS, _TOKENS = "ranker.safetensors", "item_tokens.npy"


@dataclass(frozen=True)
class TrainedRanker:
    """A trained ranker, whole but for the language model, which is the retriever's.

    Attributes:
        ranker: `PointwiseRanker`.
        item_tokens: float16 `(num_items, tokens, width)`, projected.
        num_candidates: int, how many of the retriever's items are ordered anew.
        retriever_weight: float, what the retriever's score counts; chosen on validation.
    """

    ranker: PointwiseRanker
    item_tokens: np.ndarray
    num_candidates: int
    retriever_weight: float

    def save(self, folder: str | Path) -> None:
        """Writes the folder, whole or not at all.

        Args:
            folder: must not exist, or be empty.
        """
        with atomic_folder(folder) as temporary:
            save_variables(temporary / _WEIGHTS, self.ranker.variables, {})
            content = io.BytesIO()  # NumPy's own error of a full disk does not say so
            np.save(content, self.item_tokens, allow_pickle=False)
            (temporary / _TOKENS).write_bytes(content.getbuffer())
            about = {
                "format": _FORMAT,
                "ranker": self.ranker.get_config(),
                "num_candidates": self.num_candidates,
                "retriever_weight": self.retriever_weight,
                "sha256": {name: sha256_of_file(temporary / name) for name in (_WEIGHTS, _TOKENS)},
            }
            (temporary / "ranker.json").write_text(json.dumps(about, indent=1) + "\n")

    @classmethod
    def load(cls, folder: str | Path) -> TrainedRanker:
        """Reads what `save` wrote.

        Raises: CorruptFileError when a file is missing or not as it was written.
        """
        folder = Path(folder)
        try:
            about = json.loads((folder / "ranker.json").read_text())
            digests = dict(about["sha256"])
            ranker = PointwiseRanker(**about["ranker"])
            num_candidates = int(about["num_candidates"])
            weight = float(about["retriever_weight"])
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise CorruptFileError(
                f"{folder / 'ranker.json'} is missing or not as it was written ({error!r}). "
                "Restore it from a copy, or train again."
            ) from error
        for name, digest in digests.items():
            if not (folder / name).is_file() or sha256_of_file(folder / name) != digest:
                raise CorruptFileError(
                    f"{folder / name} is missing or not as it was written (sha256 differs). "
                    "Restore it from a copy, or train again."
                )
        restore_variables(folder / _WEIGHTS, ranker.variables)
        item_tokens = np.load(folder / _TOKENS, allow_pickle=False)
        return cls(ranker, item_tokens, num_candidates, weight)

    def reranking(self, encoder: Any) -> Reranking:
        """Joins the ranker with a language model to what a servable takes.

        Args:
            encoder: the one whose tokens the ranker was trained on, see `text_encoder_of`.
        """
        return Reranking(
            self.ranker,
            text_encoder_of(encoder).token_encoder(self.ranker.max_tokens),
            self.item_tokens,
            self.num_candidates,
            self.retriever_weight,
        )
