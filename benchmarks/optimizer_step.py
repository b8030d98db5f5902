"""A step of the optimiser of the towers, beside that of Keras, which computes the same.

    python benchmarks/optimizer_step.py [--items 19220] [--dim 256]

Variables are those of a table of item ids, a text part and two transformer layers. Processor time
is printed, so that other work beside it matters less: of building the graph, and of a step.
"""

from __future__ import annotations

import argparse
import statistics
import time
from typing import Any

import numpy as np

from tfrec_llm.keras_api import keras, tf
from tfrec_llm.seeds import child_generator
from tfrec_llm.trainer.optimizer import GLOBAL_CLIPNORM, make_optimizer


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--items", type=int, default=19_220)
    parser.add_argument("--dim", type=int, default=256)
    parser.add_argument("--steps", type=int, default=20)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--seed", type=int, default=7)
    arguments = parser.parse_args()

    found: dict[str, list[tuple[float, float]]] = {"Keras": [], "ours": []}
    ends: dict[str, np.ndarray] = {}
    for _ in range(arguments.repeats):
        for name, runs in found.items():
            graph, step, ends[name] = measure(name, arguments)
            runs.append((graph, step))
    print(f"{'':8}{'graph, s':>10}{'step, ms':>10}")
    medians = {}
    for name, runs in found.items():
        graph, step = (statistics.median(column) for column in zip(*runs, strict=True))
        medians[name] = step
        print(f"{name:8}{graph:>10.2f}{1000 * step:>10.1f}")
    apart = np.abs(ends["Keras"] - ends["ours"]).max()
    print(
        f"ratio of the steps: {medians['Keras'] / medians['ours']:.2f}; apart by {apart:.1g} after"
    )


def measure(name: str, arguments: argparse.Namespace) -> tuple[float, float, np.ndarray]:
    """Returns the processor seconds of a graph and of a step, and the text part after them."""
    draw = child_generator(arguments.seed, "optimizer step")
    dim = arguments.dim
    layer = [(dim, 3 * dim), (dim, dim), (dim, 4 * dim), (4 * dim, dim), (dim,), (dim,)]
    shapes = [(dim, dim), (arguments.items, dim), *layer, *layer]
    variables = [keras.Variable(draw.normal(size=shape), dtype="float32") for shape in shapes]
    gradients = [tf.constant(draw.normal(size=shape), tf.float32) for shape in shapes]
    optimizer: Any
    if name == "ours":
        optimizer = make_optimizer(variables, total_steps=1000, learning_rate=0.002)
    else:
        schedule = keras.optimizers.schedules.CosineDecay(
            0.0, decay_steps=900, alpha=0.02, warmup_target=0.002, warmup_steps=100
        )
        optimizer = keras.optimizers.AdamW(
            schedule, weight_decay=0.05, global_clipnorm=GLOBAL_CLIPNORM
        )
        optimizer.build(variables)

    @tf.function(autograph=False)
    def step(*gradients: Any) -> None:
        optimizer.apply(list(gradients), variables)

    begin = time.process_time()
    step(*gradients)
    graph = time.process_time() - begin
    begin = time.process_time()
    for _ in range(arguments.steps):
        step(*gradients)
    return graph, (time.process_time() - begin) / arguments.steps, variables[0].numpy()


if __name__ == "__main__":
    main()
