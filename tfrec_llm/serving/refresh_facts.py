"""refresh.json: what the next version of an export is made by, beside graph, items and vectors."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from tfrec_llm.errors import CorruptFileError, UsageError
from tfrec_llm.neighbours.find_neighbours import NeighbourSettings

REFRESH_FILE = "assets.extra/refresh.json"
_FORMAT = 2


@dataclass(frozen=True)
class RefreshFacts:
    """What an export notes for its refresh.

    Attributes:
        max_k: int, columns of `serving_default`.
        max_history: int, items of a history that the model sees.
        index: `kind`, and `options`, what it was asked for; sizes that are None follow the corpus.
        min_index_recall: float, the recall@10 that an approximate index must reach.
        item_id: str, the column of ids in the table of items.
        item_text: columns of text in that table, in order; None for every column of text.
        neighbours: how neighbours were found in training; None when that is not known.
        neighbour_decay: float, weight of an item of a history against the one after it.
        ranker: `num_candidates`, `retriever_weight`, `max_history`, `history_gain`; None without.
        metadata: what the model card says beside the export's own facts.
    """

    max_k: int
    max_history: int
    index: Mapping[str, Any]
    min_index_recall: float = 0.5
    item_id: str = "item_id"
    item_text: tuple[str, ...] | None = None
    neighbours: NeighbourSettings | None = None
    neighbour_decay: float = 1.0
    ranker: Mapping[str, Any] | None = None
    metadata: Mapping[str, Any] = field(default_factory=dict)

    def write(self, version_folder: Path) -> None:
        """Writes the file into the folder of a version."""
        path = version_folder / REFRESH_FILE
        path.parent.mkdir(exist_ok=True)
        contents = {"format": _FORMAT, **asdict(self)}
        text = json.dumps(contents, indent=1, ensure_ascii=False, default=_plain)
        path.write_text(text + "\n", encoding="utf-8")

    @classmethod
    def read(cls, version_folder: Path) -> RefreshFacts:
        """Reads the file of a version.

        Raises:
            UsageError: when the version has none.
            CorruptFileError: when it is not what this package writes.
        """
        path = version_folder / REFRESH_FILE
        try:
            contents = json.loads(path.read_text(encoding="utf-8"))
            if contents.pop("format") != _FORMAT:
                raise ValueError("it was written by another version of tfrec_llm")
            if contents["neighbours"] is not None:
                contents["neighbours"] = NeighbourSettings(**contents["neighbours"])
            if contents["item_text"] is not None:
                contents["item_text"] = tuple(contents["item_text"])
            return cls(**contents)
        except FileNotFoundError:
            raise UsageError(
                f"{version_folder} holds no {REFRESH_FILE}, so it cannot be refreshed: it was "
                "exported by an earlier version of tfrec_llm. Export the run once more."
            ) from None
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise CorruptFileError(
                f"{path} is not as it was written ({error!r}). Copy the export again from where it "
                "came, or export the model again."
            ) from error


def _plain(value: Any) -> Any:
    """Returns NumPy values as Python's own, and anything else as a card would show it."""
    return value.tolist() if hasattr(value, "tolist") else str(value)
