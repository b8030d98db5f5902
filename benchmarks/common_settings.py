r"""Which settings are good on several data sets at once: the same trials of several searches.

    for set in movielens microlens goodbooks; do
      tfrec-llm tune benchmarks/configs/$set.yaml --space benchmarks/defaults_space.yaml \
        --trials 10 --out studies/$set
    done
    python benchmarks/common_settings.py studies/movielens studies/microlens studies/goodbooks

With one seed and one space the first ten trials of `tune` are drawn alike for every data set, trial
0 being the defaults. Each trial is judged by its validation NDCG@10 as a multiple of that of trial
0 on the same set, and by the geometric mean of these over the sets. A trial that was stopped early
or failed on a set is no candidate.
"""

from __future__ import annotations

import argparse
import math
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import polars as pl

from tfrec_llm.errors import DataError, TfrecLlmError
from tfrec_llm.workflows.study import COMPLETE
from tfrec_llm.workflows.study_files import TRIALS_FILE

METRIC = "validation_ndcg@10"


@dataclass(frozen=True)
class CommonTrial:
    """The same settings on several data sets.

    Attributes:
        number: int, of the trial.
        settings: key → value, as text.
        ratios: NDCG@10 over that of trial 0, one a study; None where it did not come to its end.
    """

    number: int
    settings: dict[str, str]
    ratios: list[float | None]

    @property
    def mean(self) -> float | None:
        """Geometric mean of the ratios; None when one is missing."""
        there = [ratio for ratio in self.ratios if ratio is not None]
        if len(there) < len(self.ratios):
            return None
        return math.prod(there) ** (1 / len(there))


def common_trials(folders: Sequence[Path]) -> list[CommonTrial]:
    """Reads the trials that all studies have, trial 0 first.

    Raises: DataError when a folder holds no study, its trial 0 has no NDCG@10 above 0, or a trial
        had other settings than in the first study.
    """
    tables = [_read(folder) for folder in folders]
    keys = [column for column in tables[0].columns if "." in column]  # results have none
    found = []
    for number in range(min(len(table) for table in tables)):
        settings = [{key: table[key][number] for key in keys} for table in tables]
        for folder, other in zip(folders, settings, strict=True):
            if other != settings[0]:
                raise DataError(
                    f"{folder / TRIALS_FILE}, trial {number}: {other}, but {settings[0]} in "
                    f"{folders[0]}. Search all with one space and one train.seed, and compare no "
                    "more than the first ten trials, which alone do not depend on the results."
                )
        found.append(CommonTrial(number, settings[0], [_ratio(table, number) for table in tables]))
    return found


def _read(folder: Path) -> pl.DataFrame:
    path = folder / TRIALS_FILE
    try:
        table = pl.read_csv(path, infer_schema=False)
    except (OSError, pl.exceptions.PolarsError) as error:
        raise DataError(f"{path}: {error}. Give the folder of a finished `tune`.") from error
    if not len(table) or not float(table[METRIC][0] or 0.0) > 0.0:
        raise DataError(f"{path}: trial 0 has no NDCG@10 above 0 that others could be compared to.")
    return table


def _ratio(table: pl.DataFrame, number: int) -> float | None:
    if table["state"][number] != COMPLETE:
        return None
    return float(table[METRIC][number]) / float(table[METRIC][0])


def table(trials: Sequence[CommonTrial], names: Sequence[str]) -> str:
    """Returns the trials as Markdown, the best mean first, those without one last."""
    keys = list(trials[0].settings)
    heads = ["trial", *(key.split(".")[-1] for key in keys), *names, "mean"]
    lines = [f"| {' | '.join(heads)} |", "|---" * len(heads) + "|"]
    for trial in sorted(trials, key=lambda trial: (-(trial.mean or 0.0), trial.number)):
        shown = [_short(value) for value in trial.settings.values()]
        ratios = ["stopped" if r is None else f"{r:.3f}" for r in trial.ratios]
        mean = "–" if trial.mean is None else f"{trial.mean:.3f}"
        name = "0, the defaults" if trial.number == 0 else str(trial.number)
        lines.append(f"| {' | '.join([name, *shown, *ratios, mean])} |")
    return "\n".join(lines)


def _short(value: str) -> str:
    try:
        return f"{float(value):.3g}"
    except ValueError:  # a name, or null
        return value


def main(arguments: Sequence[str] | None = None) -> int:
    """Prints the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("studies", type=Path, nargs="+", help="folders of `tfrec-llm tune`")
    options = parser.parse_args(arguments)
    try:
        trials = common_trials(options.studies)
    except TfrecLlmError as error:
        parser.error(str(error))
    print(table(trials, [folder.name for folder in options.studies]))
    return 0


if __name__ == "__main__":
    sys.exit(main())
