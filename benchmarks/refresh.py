"""How long a refresh takes against encoding and exporting the whole catalogue again.

Titles are generated, towers are not trained: neither changes what the work costs. Both ways end in
the same kind of version, checked in a fresh process.

    python benchmarks/refresh.py --items 100000 --changed 0.01
    python benchmarks/refresh.py --items 20000 --encoder all_minilm_l6_v2_en
"""

from __future__ import annotations

import argparse
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from tfrec_llm.encoders.text_encoder import TextEncoder
from tfrec_llm.models.two_tower_model import TwoTowerModel
from tfrec_llm.retrieval.brute_force_index import BruteForceIndex
from tfrec_llm.retrieval.scann_index import ScannIndex
from tfrec_llm.seeds import child_generator
from tfrec_llm.serving.saved_model import write_export
from tfrec_llm.serving.servable import Servable
from tfrec_llm.testing.tiny_models import tiny_preset
from tfrec_llm.towers.item_tower import ItemTower
from tfrec_llm.towers.user_tower import UserTower
from tfrec_llm.workflows.refresh import refresh

_WORDS = (
    "the man food person stock market space opera sand worm planet love story war king queen "
    "dragon sea old young night day city train river house red blue green"
).split()


@dataclass(frozen=True)
class Measured:
    """Seconds of both ways, and what the refresh did.

    Attributes:
        full: float, encoding, embedding, index, writing and checking of the whole catalogue.
        summary: what `refresh` returned, its `seconds` among it.
    """

    full: float
    summary: dict[str, Any]

    def markdown(self) -> str:
        """Returns a table of both ways, and their ratio."""
        done = self.summary
        seconds = float(done["seconds"])
        index = done["index"]["kind"]
        return "\n".join(
            [
                f"{done['items']} items, {done['new']} new, {done['changed']} changed, "
                f"{done['removed']} removed since version {done['from_version']}; index {index}.",
                "",
                "| way | texts encoded | seconds | of a full export |",
                "|---|---|---|---|",
                f"| full export | {done['items']} | {self.full:.1f} | 1 |",
                f"| refresh | {done['encoded']} | {seconds:.1f} | {seconds / self.full:.3f} |",
            ]
        )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--items", type=int, default=100_000)
    parser.add_argument("--changed", type=float, default=0.01, help="share of the catalogue")
    parser.add_argument("--encoder", help="preset or folder; default: a tiny random one")
    parser.add_argument("--dim", type=int, default=128)
    parser.add_argument("--index", choices=["brute_force", "scann"], default="brute_force")
    parser.add_argument("--seed", type=int, default=7)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        print(measure(Path(folder), **vars(arguments)).markdown())


def measure(
    folder: Path,
    items: int,
    changed: float,
    encoder: str | None,
    dim: int,
    index: str,
    seed: int,
) -> Measured:
    """Exports a catalogue in full, changes a share of it, and refreshes the export."""
    draw = child_generator(seed, "titles")
    preset = encoder or str(tiny_preset(folder / "preset"))
    language_model = TextEncoder.from_preset(preset, max_tokens=32)
    model = TwoTowerModel(ItemTower(items, dim), UserTower("mean"), language_model.dim)
    table = pl.DataFrame(
        {"item_id": [f"i{n}" for n in range(items)], "title": _titles(items, draw)}
    )
    begin = time.perf_counter()
    _export(folder / "export", table, language_model, model, index)
    full = time.perf_counter() - begin
    return Measured(full, refresh(folder / "export", _with_changes(table, changed, draw)))


def _titles(count: int, draw: np.random.Generator) -> list[str]:
    words = draw.choice(_WORDS, (count, 8))
    return [" ".join(row[: 3 + n % 6]) + f" {n}" for n, row in enumerate(words)]


def _with_changes(table: pl.DataFrame, share: float, draw: np.random.Generator) -> pl.DataFrame:
    """Removes a tenth of the share, adds as many items, and gives the rest of it new titles."""
    count = max(3, round(share * table.height))
    rows, tenth = draw.permutation(table.height)[:count], max(1, count // 10)
    titles = table["title"].to_list()
    for row in rows[2 * tenth :]:
        titles[row] += " new edition"
    stays = np.ones(table.height, bool)
    stays[rows[:tenth]] = False
    added = pl.DataFrame(
        {"item_id": [f"new{n}" for n in range(tenth)], "title": _titles(tenth, draw)}
    )
    changed = table.with_columns(title=pl.Series(titles)).filter(pl.Series(stays))
    return pl.concat([changed, added])


def _export(
    out: Path, table: pl.DataFrame, language_model: TextEncoder, model: TwoTowerModel, index: str
) -> None:
    titles = table["title"].to_list()
    vectors = model.embed_corpus(language_model.encode(titles))
    built = BruteForceIndex(vectors) if index == "brute_force" else ScannIndex(vectors)
    shares = 1.0 / np.arange(1, table.height + 1)
    servable = Servable(
        model,
        language_model,
        table["item_id"].to_list(),
        titles,
        vectors,
        (shares / shares.sum()).astype(np.float32),
        built,
        texts=titles,
    )
    write_export(servable, out)


if __name__ == "__main__":
    main()
