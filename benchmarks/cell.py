"""One cell of a benchmark: what to measure, under which configuration."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from tfrec_llm.baselines.tuning import SLOW_BASELINES
from tfrec_llm.config.load import load_config
from tfrec_llm.config.run_config import RunConfig

CONFIGS = Path(__file__).parent / "configs"
TRAINED = "trained"  # the model that a run trains, whatever it is called in the report
# Baselines whose cost is told alone: the slow ones, and the one that our models hold within them.
APART = ("slim", *SLOW_BASELINES)
EVERY_BASELINE = "every_baseline"  # but those


def read_config(name: str, overrides: Sequence[str] = ()) -> RunConfig:
    """Returns a checked configuration: a name in `configs/`, or the path of a file."""
    path = Path(name)
    return load_config(path if path.suffix else CONFIGS / f"{name}.yaml", list(overrides))


@dataclass(frozen=True)
class Cell:
    """One thing to measure.

    Attributes:
        name: str, unique in a benchmark; also the name of its file.
        config: name of a file in `configs/`, without `.yaml`, or a path.
        overrides: `section.key=value` texts, over the file.
        model: `TRAINED`, the name of a baseline (then no run is trained), `EVERY_BASELINE` for
            those not `APART` in one cell, or the name of another model in the report of the run.
    """

    name: str
    config: str
    overrides: tuple[str, ...]
    model: str = TRAINED

    def load(self) -> RunConfig:
        """Returns the checked configuration."""
        return read_config(self.config, self.overrides)
