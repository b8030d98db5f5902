"""Interactions larger than the memory: what writing shards and a pass over them cost.

Interactions are drawn in parts: users of a hundred groups, popularity like 1/rank within a group,
one item in seven from anywhere. Each phase runs in a process of its own, so that its peak memory
is its own.

    python benchmarks/large_data.py --interactions 1000000 --items 100000
    python benchmarks/large_data.py --interactions 10000000 --items 1000000 --folder big
"""

from __future__ import annotations

import argparse
import json
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import yaml

PHASES = ("generate", "shard", "train", "evaluate")
MEAN_HISTORY = 20
_GROUPS = 100
_USERS_AT_ONCE = 50_000
_WORDS = np.array([f"{a}{b}" for a in "bdfgklmnprst" for b in ("ana", "elo", "iru", "oma", "uti")])


class Clock:
    """A listener that notes when each message came."""

    def __init__(self) -> None:
        self.began = time.monotonic()

    def message(self, text: str) -> None:
        """Writes the line and when it came."""
        print(f"{time.monotonic() - self.began:8.1f} s  {text}", file=sys.stderr, flush=True)

    def advance(self, task: str, done: int, total: int, note: str = "") -> None:
        """Writes a line at each fifth of a task."""
        if done == total or done % max(1, total // 5) == 0:
            self.message(f"{task}: {done} of {total} {note}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--interactions", type=int, default=1_000_000)
    parser.add_argument("--items", type=int, default=100_000)
    parser.add_argument("--shards", type=int, default=32)
    parser.add_argument("--dim", type=int, default=32)
    parser.add_argument("--batch-size", type=int, default=1024)
    parser.add_argument("--max-users", type=int, default=1000, help="test cases")
    parser.add_argument("--seed", type=int, default=7)
    parser.add_argument("--folder", type=Path, help="kept afterwards; default: a temporary one")
    parser.add_argument("--phase", choices=PHASES, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.phase:
        run_phase(arguments)
        return
    with tempfile.TemporaryDirectory() as temporary:
        folder = arguments.folder or Path(temporary)
        folder.mkdir(parents=True, exist_ok=True)
        told = [measured(phase, folder) for phase in PHASES]
    print(table(told, arguments.interactions))


def measured(phase: str, folder: Path) -> dict[str, Any]:
    """Runs a phase in a process of its own and returns what it wrote."""
    command = [sys.executable, __file__, *sys.argv[1:], "--folder", str(folder), "--phase", phase]
    subprocess.run(command, check=True)
    result: dict[str, Any] = json.loads((folder / f"{phase}.json").read_text())
    return result


def run_phase(arguments: argparse.Namespace) -> None:
    """Does one phase and writes PHASE.json: seconds, peak memory in bytes, and what it found."""
    began = time.monotonic()
    found = globals()[arguments.phase](arguments)
    peak = 1024 * resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    result = {
        "phase": arguments.phase,
        "seconds": time.monotonic() - began,
        "peak_bytes": peak,
        **found,
    }
    (arguments.folder / f"{arguments.phase}.json").write_text(json.dumps(result) + "\n")


def generate(arguments: argparse.Namespace) -> dict[str, Any]:
    """Writes items.parquet, and interactions in parts."""
    draw = np.random.default_rng(arguments.seed)
    num_items = arguments.items
    group = np.arange(num_items) % _GROUPS
    words = np.where(
        draw.random((num_items, 5)) < 0.6,
        (group[:, None] * 7 + draw.integers(6, size=(num_items, 5))) % len(_WORDS),
        draw.integers(len(_WORDS), size=(num_items, 5)),
    )
    titles = [" ".join(row) for row in _WORDS[words]]
    ids = pl.Series("item_id", np.arange(num_items)).cast(pl.String)
    items = pl.DataFrame({"item_id": "i" + ids, "title": titles})
    items.write_parquet(arguments.folder / "items.parquet")
    folder = arguments.folder / "interactions"
    folder.mkdir()
    num_users = max(2, arguments.interactions // (MEAN_HISTORY - 2))  # less repeated pairs
    for part, first in enumerate(range(0, num_users, _USERS_AT_ONCE)):
        users = np.arange(first, min(first + _USERS_AT_ONCE, num_users))
        lengths = 2 + draw.geometric(1 / (MEAN_HISTORY - 1), size=len(users))
        user = np.repeat(users, lengths)
        rank = ((num_items // _GROUPS) ** draw.random(len(user))).astype(np.int64) - 1
        item = rank * _GROUPS + user % _GROUPS
        anywhere = draw.integers(num_items, size=len(user))
        item = np.where(draw.random(len(user)) < 1 / 7, anywhere, item)
        frame = pl.DataFrame(
            {
                "user_id": "u" + pl.Series(user).cast(pl.String),
                "item_id": "i" + pl.Series(item).cast(pl.String),
                "timestamp": 1.6e9 + draw.integers(10**8, size=len(user)),
            }
        ).unique(["user_id", "item_id"], keep="first", maintain_order=True)
        frame.write_parquet(folder / f"{part:05d}.parquet")
    return {}


def configuration(arguments: argparse.Namespace, source: dict[str, str]) -> Path:
    """Writes the configuration of the run and returns its path."""
    path: Path = arguments.folder / f"{arguments.phase}.yaml"
    tree = {
        "data": source,
        "encoder": {
            "kind": "tfidf",
            "num_words": 1000,
            "dim": arguments.dim,
            "cache_folder": str(arguments.folder / "cache"),
        },
        "towers": {"embedding_dim": arguments.dim, "history": "mean", "max_history": 20},
        "train": {
            "epochs": 1,
            "batch_size": arguments.batch_size,
            "refit": False,
            "seed": arguments.seed,
        },
        "evaluate": {"max_users": arguments.max_users, "bootstrap_samples": 100},
    }
    path.write_text(yaml.safe_dump(tree))
    return path


def shard(arguments: argparse.Namespace) -> dict[str, Any]:
    """Writes the shards."""
    from tfrec_llm.config.load import load_config
    from tfrec_llm.workflows.shard import shard as write

    source = {"items": "items.parquet", "interactions": "interactions"}
    config = load_config(configuration(arguments, source))
    out = arguments.folder / "shards"
    summary = write(config, out, num_shards=arguments.shards, progress=Clock())
    return {name: summary[name] for name in ("interactions", "users", "items", "bytes")}


def train(arguments: argparse.Namespace) -> dict[str, Any]:
    """Trains one pass from the shards."""
    from tfrec_llm.config.load import load_config
    from tfrec_llm.workflows.train import train as train_run

    config = load_config(configuration(arguments, {"source": "shards", "folder": "shards"}))
    summary = train_run(config, arguments.folder / "run", progress=Clock())
    return {
        "training_seconds": summary["training_seconds"],
        "start": summary["start"],
        "validation": summary["validation_ndcg@10_by_epoch"],
    }


def evaluate(arguments: argparse.Namespace) -> dict[str, Any]:
    """Evaluates a sample of the test users, with the baselines that fit."""
    from tfrec_llm.workflows.evaluate import evaluate as evaluate_run

    metrics = evaluate_run(arguments.folder / "run", baselines=True, progress=Clock())
    return {
        "recall@10": {name: of["all"]["recall@10"] for name, of in metrics["models"].items()},
        "protocol": metrics["protocol"],
    }


def table(phases: list[dict[str, Any]], interactions: int) -> str:
    """Returns a Markdown table of the phases.

    Args:
        phases: what `run_phase` wrote of each.
        interactions: int, how many were asked for.
    """
    by_name = {phase["phase"]: phase for phase in phases}
    told = by_name["shard"]
    lines = [
        f"{told['interactions']} interactions of {told['users']} users and {told['items']} items; "
        f"shards of {told['bytes'] / 1e6:.0f} MB.",
        "",
        "| phase | seconds | seconds for a million | peak memory, GB |",
        "|---|---|---|---|",
    ]
    for phase in phases:
        seconds = phase["seconds"]
        each = 1e6 * seconds / max(1, told["interactions"])
        lines.append(
            f"| {phase['phase']} | {seconds:.0f} | {each:.1f} | {phase['peak_bytes'] / 1e9:.2f} |"
        )
    trained, evaluated = by_name["train"], by_name["evaluate"]
    start = "random" if trained["start"]["text_share"] is None else "factorised"
    lines += [
        "",
        f"Of the training {trained['training_seconds']:.0f} s were steps; start {start}; "
        f"validation NDCG@10 by epoch {[round(value, 4) for value in trained['validation']]}.",
        f"Recall@10 of {evaluated['protocol']['test_queries']} test users: "
        + ", ".join(f"{name} {value:.4f}" for name, value in evaluated["recall@10"].items())
        + ".",
    ]
    return "\n".join(lines)


if __name__ == "__main__":
    main()
