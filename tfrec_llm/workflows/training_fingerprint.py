"""What a checkpoint is bound to."""

from __future__ import annotations

import hashlib
import json

from tfrec_llm.config.run_config import RunConfig
from tfrec_llm.data.schema import Dataset
from tfrec_llm.data.shards.sharded_dataset import ShardedDataset
from tfrec_llm.workflows.run_folder import RunFolder


def training_fingerprint(config: RunConfig, dataset: Dataset | ShardedDataset) -> str:
    """Hashes all that shapes the weights; what only shapes reports or the index is left out."""
    shaping = config.model_dump(
        mode="json", include={"split", "text", "encoder", "towers", "model", "train", "ranker"}
    )
    shaping["encoder"].pop("cache_folder")
    if isinstance(dataset, ShardedDataset):  # it bounds the start
        shaping["data"] = {"start_memory_gb": config.data.start_memory_gb}
    for key in ("strategy", "worker_timeout"):  # where it is trained may change on the way
        shaping["train"].pop(key)
    if not config.towers.time_gaps:  # as it was before there was such a setting
        shaping["towers"].pop("time_gaps")
    if not dataset.has_order:  # such data trains in another way, and did not always
        shaping.setdefault("data", {})["ordered"] = False
    if config.train.start_from is not None:  # what that run is counts, not where it lies
        shaping["train"]["start_from"] = RunFolder(config.train.start_from).fingerprint
    return hashlib.sha256(
        json.dumps([shaping, dataset.sha256], sort_keys=True).encode()
    ).hexdigest()
