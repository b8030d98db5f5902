"""Interactions larger than the memory: TFRecord shards, written once and streamed."""
