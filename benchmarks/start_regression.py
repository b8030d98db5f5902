"""The regression that the start of an item tower solves, beside scikit-learn's `RidgeCV`.

    python benchmarks/start_regression.py [--items 19220] [--features 896] [--targets 256]

Both choose one of the same strengths by leaving one row out and give the same line. Each runs in
a process of its own, in turn; processor time is printed, so that other work beside it matters less.
"""

from __future__ import annotations

import argparse
import multiprocessing
import resource
import statistics
import time

import numpy as np

from tfrec_llm.seeds import child_generator


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--items", type=int, default=19_220)
    parser.add_argument("--features", type=int, default=896)
    parser.add_argument("--targets", type=int, default=256)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--seed", type=int, default=7)
    arguments = parser.parse_args()

    found: dict[str, list[tuple[float, float, float]]] = {"scikit-learn": [], "ours": []}
    with multiprocessing.get_context("spawn").Pool(1, maxtasksperchild=1) as pool:
        for _ in range(arguments.repeats):
            for name, runs in found.items():
                runs.append(pool.apply(measure, (name, arguments)))
    print(f"{'':14}{'processor s':>12}{'more memory, GB':>17}{'length of the map':>19}")
    for name, runs in found.items():
        seconds, memory, length = (statistics.median(column) for column in zip(*runs, strict=True))
        print(f"{name:14}{seconds:>12.1f}{memory:>17.2f}{length:>19.9f}")
    medians = [statistics.median(run[0] for run in runs) for runs in found.values()]
    print(f"ratio of the processor times: {medians[0] / medians[1]:.2f}")


def measure(name: str, arguments: argparse.Namespace) -> tuple[float, float, float]:
    """Returns the processor seconds, the gigabytes beyond the data, and the length of the map."""
    from sklearn.linear_model import RidgeCV

    from tfrec_llm.towers.ridge import STRENGTHS, ridge_regression

    draw = child_generator(arguments.seed, "regression")
    # Columns that matter less and less, as those of text features do.
    scales = np.linspace(1.0, 0.01, arguments.features) / np.sqrt(arguments.features)
    features = draw.normal(size=(arguments.items, arguments.features)) * scales
    line = draw.normal(size=(arguments.features, arguments.targets))
    targets = 0.5 * features @ line + draw.normal(size=(arguments.items, arguments.targets))
    weights = np.minimum(draw.integers(1, 100, size=arguments.items), 20.0)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    begin = time.process_time()
    if name == "ours":
        kernel, _ = ridge_regression(features, targets, weights)
    else:
        kernel = RidgeCV(alphas=STRENGTHS).fit(features, targets, sample_weight=weights).coef_
    seconds = time.process_time() - begin
    memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
    return seconds, memory * 1024 / 1e9, float(np.linalg.norm(kernel))


if __name__ == "__main__":
    main()
