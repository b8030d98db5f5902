"""How much a step of training counts, as a run hands it to the training."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest

from tfrec_llm.config.run_config import RunConfig
from tfrec_llm.data.tables import read_items
from tfrec_llm.workflows import training_phases
from tfrec_llm.workflows.train import train


class _Stop(Exception):
    """The training was about to begin."""


@pytest.fixture(scope="module")
def drifting(shop_tables: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Clicks of users who go from item to newer item."""
    draw = np.random.default_rng(1)
    items = read_items(shop_tables / "items.csv")[0]["item_id"].to_list()
    rows = []
    for user in range(80):
        place = 0
        for day in range(8):
            place += int(draw.integers(1, 5))
            rows.append((f"u{user}", items[min(place, len(items) - 1)], day))
    clicks = pl.DataFrame(rows, schema=["user_id", "item_id", "timestamp"], orient="row")
    clicks = clicks.unique(["user_id", "item_id"], keep="first", maintain_order=True)
    folder = tmp_path_factory.mktemp("drifting")
    clicks.write_csv(folder / "timed.csv")
    clicks.drop("timestamp").write_csv(folder / "untimed.csv")
    return folder


@pytest.fixture
def weights_of(
    shop_config: Callable[..., RunConfig],
    drifting: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> Callable[..., np.ndarray | None]:
    """Starts a run with these settings and returns what its training is given."""
    given: dict[str, Any] = {}

    def note(*_: Any, **options: Any) -> None:
        given.update(options)
        raise _Stop

    monkeypatch.setattr(training_phases, "fit", note)

    def start(*settings: str, clicks: str = "timed") -> np.ndarray | None:
        given.clear()
        path = drifting / f"{clicks}.csv"
        config = shop_config(f"data.interactions={path}", "data.users=null", *settings)
        with pytest.raises(_Stop):
            train(config, tmp_path / f"run{len(list(tmp_path.iterdir()))}")
        weights: np.ndarray | None = given["context_weights"]
        return weights

    return start


def test_steps_from_late_items_weigh_more(weights_of: Callable[..., np.ndarray]) -> None:
    weights = weights_of()
    assert weights.max() > 1.3 and weights.min() < 0.8


@pytest.mark.parametrize(
    "setting",
    ["train.late_steps=false", "model.kind=matrix_factorisation"],
)
def test_all_count_alike_where_they_are_not_to_be_weighed(
    setting: str, weights_of: Callable[..., np.ndarray | None]
) -> None:
    assert weights_of(setting) is None


def test_nothing_is_late_where_histories_have_no_order(
    weights_of: Callable[..., np.ndarray | None],
) -> None:
    assert weights_of("data.ordered=false", "split.protocol=random", clicks="untimed") is None
