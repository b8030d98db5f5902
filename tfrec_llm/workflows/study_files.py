"""What a search for settings leaves for people: its trials, its report, its best configuration."""

from __future__ import annotations

import csv
import shlex
from collections import Counter
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import yaml

from tfrec_llm.config.load import dump_config
from tfrec_llm.config.run_config import RunConfig
from tfrec_llm.config.search_space import SearchSpace, setting, with_settings
from tfrec_llm.files import atomic_file
from tfrec_llm.workflows.study import COMPLETE, FAILED, PRUNED, Study, Trial

TRIALS_FILE, REPORT_FILE, BEST_FILE = "trials.csv", "report.md", "best.yaml"


def write_study_files(
    folder: Path, study: Study, config: RunConfig, space: SearchSpace, data: str
) -> None:
    """Writes trials.csv, report.md and, once a trial is complete, best.yaml.

    Each is written whole or not at all, so it can be read while the search goes on.

    Args:
        folder: where to write.
        study: its trials.
        config: the run that was given.
        space: what was searched.
        data: one line about the data, for the report.
    """
    trials, best = study.trials, study.best
    with (
        atomic_file(folder / TRIALS_FILE) as temporary,
        open(temporary, "w", encoding="utf-8", newline="") as file,
    ):
        csv.writer(file, lineterminator="\n").writerows(_rows(trials, space))
    report = "\n".join(_report(folder, study, config, space, data)) + "\n"
    _write(folder / REPORT_FILE, report)
    if best is not None:
        chosen = with_settings(config, best.settings, f"trial {best.number}")
        _write(folder / BEST_FILE, dump_config(chosen))


def _write(path: Path, text: str) -> None:
    with atomic_file(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


def _rows(trials: list[Trial], space: SearchSpace) -> Iterable[list[Any]]:
    """Yields header and rows of the table; a setting is YAML, so null differs from text."""
    yield [
        "trial",
        "state",
        "validation_ndcg@10",
        "best_epoch",
        "seconds",
        "validation_ndcg@10_by_epoch",
        *space,
        "reason",
    ]
    for trial in trials:
        yield [
            trial.number,
            trial.state,
            trial.best_metric if trial.metrics else "",
            trial.best_epoch if trial.metrics else "",
            trial.seconds,
            " ".join(map(repr, trial.metrics)),
            *(_yaml(trial.settings[key]) for key in space),
            trial.reason,
        ]


def _report(
    folder: Path, study: Study, config: RunConfig, space: SearchSpace, data: str
) -> Iterable[str]:
    trials, best = study.trials, study.best
    counts = Counter(trial.state for trial in trials)
    yield "# Search for settings"
    yield ""
    yield (
        f"{len(trials)} trials: {counts[COMPLETE]} complete, {counts[PRUNED]} stopped early, "
        f"{counts[FAILED]} failed; {sum(trial.seconds for trial in trials):.0f} s; seed "
        f"{config.train.seed}. Data: {data}."
    )
    yield ""
    yield (
        "Each trial was trained on the training part and measured by NDCG@10 on the validation "
        "set; the test set was not read. The best of many is flattered by having been picked: what "
        "it is worth, only the test says."
    )
    yield ""
    if best is None:
        yield "No trial is complete yet."
    else:
        given = trials[0]
        yield f"## Best: trial {best.number}, NDCG@10 {best.best_metric:.4f}"
        yield ""
        yield (
            f"The configuration as given (trial 0) has {given.best_metric:.4f}. `{BEST_FILE}` is "
            "the whole configuration of the best. Train it, then test it:"
        )
        yield "```"
        yield f"tfrec-llm train {shlex.quote(str(folder / BEST_FILE))} --out runs/best"
        yield "tfrec-llm evaluate runs/best --baselines"
        yield "```"
        yield from _table(
            ("key", "given", "best"),
            ((key, _short(setting(config, key)), _short(best.settings[key])) for key in space),
        )
    yield from _importance(study)
    yield ""
    yield "## What was searched"
    yield from _table(("key", "values"), ((key, str(choice)) for key, choice in space.items()))
    yield ""
    yield "## Trials"
    yield from _table(
        ("trial", "state", "NDCG@10", "by epoch, from 0", "seconds", "settings that differ"),
        (_trial_row(trial, config) for trial in trials),
    )


def _importance(study: Study) -> Iterable[str]:
    yield ""
    yield "## What mattered"
    yield ""
    importance = study.importance()
    if not importance:
        yield "Too few complete trials, or too little difference between them, to tell."
        return
    yield (
        "Share of the spread of NDCG@10 that a key explains (fANOVA over the complete trials). A "
        "guide, no proof: few trials make it rough."
    )
    yield from _table(("key", "share"), ((k, f"{share:.2f}") for k, share in importance.items()))


def _trial_row(trial: Trial, config: RunConfig) -> tuple[str, ...]:
    differing = ", ".join(
        f"{key} {_short(value)}"
        for key, value in trial.settings.items()
        if value != setting(config, key)
    )
    return (
        str(trial.number),
        f"{trial.state}: {trial.reason}" if trial.reason else trial.state,
        f"{trial.best_metric:.4f}" if trial.metrics else "",
        " ".join(f"{metric:.4f}" for metric in trial.metrics),
        f"{trial.seconds:.1f}",
        differing or "none",
    )


def _table(header: Iterable[str], rows: Iterable[Iterable[str]]) -> Iterable[str]:
    names = list(header)
    yield ""
    yield "| " + " | ".join(names) + " |"
    yield "|" + "---|" * len(names)
    for row in rows:
        yield "| " + " | ".join(" ".join(cell.split()).replace("|", "\\|") for cell in row) + " |"


def _short(value: Any) -> str:
    """Returns a single value as YAML, a number to the four digits that a person compares."""
    return f"{value:.4g}" if isinstance(value, float) else _yaml(value)


def _yaml(value: Any) -> str:
    text = str(yaml.safe_dump(value, allow_unicode=True, width=1000))
    return text.removesuffix("...\n").strip()
