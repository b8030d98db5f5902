"""How many texts a second language models of common shapes read on this machine.

    python benchmarks/encoder_speed.py [--turns 3] [--json]

The weights are random: speed depends on the shape alone, so nothing is fetched. A batch is 32 texts
of 36 tokens in float32, tokenising left out. Two rates are printed, each of the best turn: by the
clock, and by processor time spread over all cores. The second comes out too high where processor
time is counted coarsely, but other work on the machine hardly changes its ratios between models.
`TEXTS_PER_SECOND` in tfrec_llm/encoders/model_list.py holds the first model's rate by the clock and
the others in the ratio of their second; further models are estimated from the work for a token,
which the last column relates to.
"""

from __future__ import annotations

import argparse
import json
import os
import time
from typing import Any

import numpy as np

from tfrec_llm.encoders.model_list import language_model
from tfrec_llm.keras_api import keras_nlp, tf

BATCH, TOKENS = 32, 36
BASE = {"num_layers": 12, "num_heads": 12, "hidden_dim": 768, "intermediate_dim": 3072}
MINILM = {"num_layers": 6, "num_heads": 12, "hidden_dim": 384, "intermediate_dim": 1536}
SHAPES: dict[str, tuple[str, dict[str, int]]] = {
    "all_minilm_l6_v2_en": ("BertBackbone", {"vocabulary_size": 30522, **MINILM}),
    "distil_bert_base_en_uncased": (
        "DistilBertBackbone",
        {"vocabulary_size": 30522, **BASE, "num_layers": 6},
    ),
    "bert_base_en_uncased": ("BertBackbone", {"vocabulary_size": 30522, **BASE}),
    "albert_base_en_uncased": (
        "AlbertBackbone",
        {"vocabulary_size": 30000, "embedding_dim": 128, **BASE},
    ),
    "gpt2_base_en": ("GPT2Backbone", {"vocabulary_size": 50257, **BASE}),
    "roberta_base_en": ("RobertaBackbone", {"vocabulary_size": 50265, **BASE}),
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--turns", type=int, default=3)
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()

    rates = {}
    for name, (family, shape) in SHAPES.items():
        backbone = getattr(keras_nlp.models, family)(**shape)
        by_clock, by_processor = texts_per_second(backbone, options.turns)
        rates[name] = {"by_clock": round(by_clock, 1), "by_processor": round(by_processor, 1)}
        if not options.json:
            work = 2 * language_model(name).work_per_token / 1e9
            flops = by_processor * TOKENS * work
            print(
                f"{name:<30}{by_clock:>8.1f} by the clock{by_processor:>8.1f} by processor time"
                f"{flops:>8.0f} GFLOP/s",
                flush=True,
            )
    if options.json:
        print(json.dumps(rates))


def texts_per_second(backbone: Any, turns: int) -> tuple[float, float]:
    generator = np.random.default_rng(0)
    inputs = {
        "token_ids": tf.constant(generator.integers(5, 20000, (BATCH, TOKENS)), tf.int32),
        "segment_ids": tf.zeros((BATCH, TOKENS), tf.int32),
        "padding_mask": tf.ones((BATCH, TOKENS), tf.int32),
    }
    inputs = {name: inputs[name] for name in backbone.input}
    read = tf.function(lambda: tokens_of(backbone(inputs, training=False)))
    read()
    cores = len(os.sched_getaffinity(0))
    clock, processor = [], []
    for _ in range(turns):
        began, processor_began = time.perf_counter(), time.process_time()
        np.asarray(read())
        clock.append(time.perf_counter() - began)
        processor.append((time.process_time() - processor_began) / cores)
    return BATCH / min(clock), BATCH / min(processor)


def tokens_of(outputs: Any) -> Any:
    return outputs["sequence_output"] if isinstance(outputs, dict) else outputs


if __name__ == "__main__":
    main()
