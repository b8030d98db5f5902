"""How many texts a second are encoded: sorted by length and bucketed, against file order.

    python benchmarks/encode_text.py [--texts 384] [--encoder all_minilm_l6_v2_en]

Both ways run the same weights in the same process, in turns, and the best turn of each counts,
which is what a machine shared with others disturbs least. File order pads every batch to
`max_tokens`, as a preprocessing layer with a fixed sequence length does.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable

import numpy as np

from tfrec_llm.encoders.text_encoder import TextEncoder
from tfrec_llm.keras_api import tf


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--texts", type=int, default=384)
    parser.add_argument("--encoder", default="all_minilm_l6_v2_en")
    parser.add_argument("--precision", default="float32", choices=["float32", "mixed_bfloat16"])
    parser.add_argument("--max-tokens", type=int, default=64)
    parser.add_argument("--batch-size", type=int, default=32)
    parser.add_argument("--turns", type=int, default=3)
    options = parser.parse_args()

    encoder = TextEncoder.from_preset(
        options.encoder, max_tokens=options.max_tokens, precision=options.precision
    )
    texts = make_texts(options.texts)
    lengths = encoder.preprocessor.token_ids(tf.constant(texts)).row_lengths().numpy()

    def ours() -> np.ndarray:
        return encoder.encode(texts, batch_size=options.batch_size)

    naive = in_file_order(encoder, texts, options.batch_size)
    largest_difference = float(np.abs(ours() - naive()).max())  # warms both up, too
    seconds = {"ours": [], "naive": []}
    for _ in range(options.turns):
        for name, run in (("ours", ours), ("naive", naive)):
            began = time.perf_counter()
            run()
            seconds[name].append(time.perf_counter() - began)
    best = {name: min(times) for name, times in seconds.items()}
    result = {
        **vars(options),
        "mean_tokens": round(float(lengths.mean()), 1),
        "ours_texts_per_second": round(len(texts) / best["ours"], 1),
        "naive_texts_per_second": round(len(texts) / best["naive"], 1),
        "ratio": round(best["naive"] / best["ours"], 2),
        "largest_difference": largest_difference,
    }
    print(json.dumps(result))


def make_texts(number: int) -> list[str]:
    """Returns seeded texts of 2 to 60 words, about 36 tokens on average with a limit of 64."""
    generator = np.random.default_rng(7)
    words = np.array(
        "the of a man house river story war love old young king night train city sea gold who "
        "lost found between under secret garden last summer winter black winds island code".split()
    )
    counts = np.clip(generator.gamma(4.0, 8.5, number), 2, 60).astype(int)
    return [" ".join(generator.choice(words, count)) for count in counts]


def in_file_order(
    encoder: TextEncoder, texts: list[str], batch_size: int
) -> Callable[[], np.ndarray]:
    """Returns a function that encodes batches as they come, all padded to `max_tokens`."""

    @tf.function(input_signature=[tf.TensorSpec([None], tf.string)])
    def embed(batch):
        width = encoder.max_tokens
        token_ids = encoder.preprocessor.token_ids(batch)
        mask = tf.sequence_mask(token_ids.row_lengths(), width, dtype=tf.int32)
        padded = token_ids.to_tensor(encoder.preprocessor.pad_token_id, shape=[None, width])
        return encoder.embed_tokens(padded, mask)

    def run() -> np.ndarray:
        starts = range(0, len(texts), batch_size)
        batches = [embed(tf.constant(texts[i : i + batch_size])).numpy() for i in starts]
        return np.concatenate(batches)

    return run


if __name__ == "__main__":
    main()
