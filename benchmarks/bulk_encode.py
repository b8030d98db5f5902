"""What a pipeline costs beside encoding in one process, and whether its memory stays flat.

Each way runs in a process of its own. The encoder is a small random one: the less it costs, the
more of the time is the pipeline's own.

    python benchmarks/bulk_encode.py --texts 10000 50000 100000
    python benchmarks/bulk_encode.py --texts 2000 --encoder all_minilm_l6_v2_en
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

WAYS = ("in_process", "pipeline")
_WORDS = (
    "the man food person stock market space opera sand worm planet love story war king queen"
).split()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--texts", type=int, nargs="+", default=[10_000, 50_000, 100_000])
    parser.add_argument("--encoder", help="preset or folder; default: a small random one")
    parser.add_argument("--files", type=int, default=10, help="files that the texts lie in")
    parser.add_argument("--beam-option", action="append", default=[])
    parser.add_argument("--way", choices=WAYS, help=argparse.SUPPRESS)
    parser.add_argument("--folder", type=Path, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.way:
        run_way(arguments)
        return
    with tempfile.TemporaryDirectory() as temporary:
        print(table(measure(Path(temporary), arguments)))


def measure(folder: Path, arguments: argparse.Namespace) -> list[dict[str, Any]]:
    """Runs both ways on each number of texts, and returns what came of them."""
    results = []
    encoder = arguments.encoder or small_encoder(folder / "encoder")
    for number in arguments.texts:
        place = folder / str(number)
        make_items(place / "items", number, arguments.files)
        for way in WAYS:
            options = [f"--beam-option={option}" for option in arguments.beam_option]
            command = [sys.executable, __file__, "--way", way, "--folder", str(place), *options]
            environment = {**os.environ, "TFREC_LLM_CACHE": str(place / "cache")}
            subprocess.run(
                [*command, "--encoder", str(encoder)],
                check=True,
                env=environment,
                stdout=subprocess.DEVNULL,
            )
            results.append(json.loads((place / f"{way}.json").read_text()) | {"texts": number})
            print(results[-1], file=sys.stderr, flush=True)
    return results


def small_encoder(folder: Path) -> Path:
    """Writes a random BERT of two layers, 64 wide, over some words."""
    from tfrec_llm.testing.tiny_models import tiny_preset

    return tiny_preset(folder, dim=64)


def make_items(folder: Path, number: int, files: int) -> None:
    """Writes texts of 1 to 40 words, in several files and in one."""
    folder.mkdir(parents=True)
    draw = np.random.default_rng(7)
    lengths = draw.integers(1, 41, size=number)
    words = draw.choice(_WORDS, size=int(lengths.sum())).tolist()
    ends = np.cumsum(lengths).tolist()
    texts = [" ".join(words[end - n : end]) for end, n in zip(ends, lengths.tolist(), strict=True)]
    frame = pl.DataFrame({"item_id": [f"i{n}" for n in range(number)], "title": texts})
    size = -(-number // files)
    for part in range(files):
        frame[part * size : (part + 1) * size].write_parquet(folder / f"{part:03d}.parquet")
    frame.write_parquet(folder.parent / "items.parquet")


def run_way(arguments: argparse.Namespace) -> None:
    """Encodes in one way and writes WAY.json: seconds, and peak memory in bytes."""
    from tfrec_llm.encoders.text_encoder import TextEncoder

    folder = arguments.folder
    settings: dict[str, Any] = {"encoder": arguments.encoder, "batch_size": 32}
    # Loaded once before, so that neither way counts the import of TensorFlow.
    TextEncoder.from_preset(arguments.encoder).encode(["warm up"])
    began, spent = time.monotonic(), cpu_seconds()
    if arguments.way == "in_process":
        from tfrec_llm.workflows.encode import encode_table

        encode_table(folder / "items.parquet", out=folder / "vectors.parquet", **settings)
    else:
        from tfrec_llm.workflows.bulk import encode_in_bulk

        encode_in_bulk(
            str(folder / "items"),
            out=str(folder / "vectors"),
            beam_options=arguments.beam_option,
            **settings,
        )
    seconds = time.monotonic() - began
    peak = 1024 * resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    result = {
        "way": arguments.way,
        "seconds": seconds,
        "cpu_seconds": cpu_seconds() - spent,
        "peak_bytes": peak,
    }
    (folder / f"{arguments.way}.json").write_text(json.dumps(result) + "\n")


def cpu_seconds() -> float:
    """Returns the processor time of this process so far, which other programs do not stretch."""
    usage = resource.getrusage(resource.RUSAGE_SELF)
    return usage.ru_utime + usage.ru_stime


def table(results: list[dict[str, Any]]) -> str:
    """Returns a Markdown table, a line for each number of texts.

    Args:
        results: what `run_way` wrote, with `texts`.
    """
    lines = [
        "| texts | in one process, s | pipeline, s | ratio of processor time | "
        "peak in one process, GB | peak of pipeline, GB |",
        "|---|---|---|---|---|---|",
    ]
    by_number: dict[int, dict[str, dict[str, Any]]] = {}
    for result in results:
        by_number.setdefault(result["texts"], {})[result["way"]] = result
    for number, ways in by_number.items():
        one, many = ways["in_process"], ways["pipeline"]
        lines.append(
            f"| {number} | {one['seconds']:.1f} | {many['seconds']:.1f} | "
            f"{many['cpu_seconds'] / one['cpu_seconds']:.2f} | {one['peak_bytes'] / 1e9:.2f} | "
            f"{many['peak_bytes'] / 1e9:.2f} |"
        )
    return "\n".join(lines)


if __name__ == "__main__":
    main()
