"""The benchmarks of large data and of bulk work: what they generate, and their tables."""

from __future__ import annotations

import argparse
from pathlib import Path

import bulk_encode
import large_data
import polars as pl


def test_generated_interactions_are_as_many_and_as_uneven_as_asked_for(tmp_path: Path) -> None:
    arguments = argparse.Namespace(interactions=20_000, items=20_000, seed=7, folder=tmp_path)
    large_data.generate(arguments)
    items = pl.read_parquet(tmp_path / "items.parquet")
    clicks = pl.read_parquet(tmp_path / "interactions/*.parquet")
    assert items.height == 20_000 and items["item_id"].is_unique().all()
    assert 16_000 < clicks.height < 24_000
    assert clicks.select("user_id", "item_id").is_unique().all()
    assert clicks["item_id"].is_in(items["item_id"].implode()).all()
    counts = clicks["item_id"].value_counts()["count"].sort(descending=True)
    assert counts.head(2000).sum() > 0.4 * clicks.height  # a tenth of the items


def test_the_table_of_large_data_tells_seconds_for_a_million_and_memory() -> None:
    phases = [
        {"phase": "generate", "seconds": 2.0, "peak_bytes": 1e9},
        {
            "phase": "shard",
            "seconds": 30.0,
            "peak_bytes": 1.5e9,
            "interactions": 3_000_000,
            "users": 150_000,
            "items": 9,
            "bytes": 2e6,
        },
        {
            "phase": "train",
            "seconds": 90.0,
            "peak_bytes": 2e9,
            "training_seconds": 60.0,
            "start": {"text_share": None},
            "validation": [0.01, 0.25],
        },
        {
            "phase": "evaluate",
            "seconds": 3.0,
            "peak_bytes": 5e8,
            "protocol": {"test_queries": 10},
            "recall@10": {"two_tower": 0.5},
        },
    ]
    told = large_data.table(phases, 3_000_000)
    assert "| shard | 30 | 10.0 | 1.50 |" in told
    assert "| train | 90 | 30.0 | 2.00 |" in told
    assert "60 s were steps; start random; validation NDCG@10 by epoch [0.01, 0.25]" in told
    assert "Recall@10 of 10 test users: two_tower 0.5000." in told


def test_the_table_of_bulk_work_compares_both_ways() -> None:
    results = [
        {"texts": 10, "way": "in_process", "seconds": 2.0, "cpu_seconds": 4.0, "peak_bytes": 1e9},
        {"texts": 10, "way": "pipeline", "seconds": 3.0, "cpu_seconds": 6.0, "peak_bytes": 1.25e9},
    ]
    assert bulk_encode.table(results).splitlines()[-1] == (
        "| 10 | 2.0 | 3.0 | 1.50 | 1.00 | 1.25 |"
    )


def test_texts_lie_in_several_files_and_in_one(tmp_path: Path) -> None:
    bulk_encode.make_items(tmp_path / "items", number=25, files=4)
    parts = pl.read_parquet(tmp_path / "items/*.parquet")
    assert parts.equals(pl.read_parquet(tmp_path / "items.parquet"))
    lengths = parts["title"].str.split(" ").list.len()
    assert parts.height == 25 and lengths.min() >= 1 and lengths.max() <= 40
