"""What a training does more where the language model is trained along with the towers."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

import numpy as np

from tfrec_llm.config.run_config import RunConfig
from tfrec_llm.data.schema import Dataset
from tfrec_llm.data.shards.sharded_dataset import ShardedDataset
from tfrec_llm.encoders.encoder import Encoder
from tfrec_llm.encoders.fine_tuning import FineTuning
from tfrec_llm.encoders.text_encoder import TextEncoder
from tfrec_llm.encoders.token_rows import token_rows
from tfrec_llm.errors import UsageError
from tfrec_llm.models.retrieval_model import RetrievalModel
from tfrec_llm.models.two_tower_model import TwoTowerModel
from tfrec_llm.progress import Progress
from tfrec_llm.seeds import child_seed
from tfrec_llm.workflows.build import Prepared, build_model, prepare, with_encoder

# Item features, and user text → its features.
Features = tuple[np.ndarray, dict[str, np.ndarray]]


def language_model_to_train(config: RunConfig, encoder: Encoder) -> FineTuning | None:
    """Makes a trainable copy of the encoder, None where it stays frozen.

    The same configuration gives the same weights, those of the encoder as it is.

    Raises: UsageError when the encoder is no language model.
    """
    settings = config.encoder
    if settings.mode == "frozen":
        return None
    if not isinstance(encoder, TextEncoder):
        raise UsageError(
            f"encoder.mode `{settings.mode}` trains a language model, and {encoder.name} is none. "
            "Give a TextEncoder, or set encoder.mode to frozen."
        )
    return FineTuning(
        encoder,
        settings.mode,
        lora_rank=settings.lora_rank,
        train_layers=settings.train_layers,
        seed=child_seed(config.train.seed, "fine-tuning"),
    )


def language_model_of(model: RetrievalModel) -> FineTuning | None:
    """Returns the language model that is trained along with a model, None where there is none."""
    found: FineTuning | None = None
    if isinstance(model, TwoTowerModel):
        found = model.item_tower.language_model
    return found


def features_of_the_moment(
    config: RunConfig, prepared: Prepared, model: RetrievalModel, progress: Progress
) -> Callable[[], Features]:
    """Returns a function that encodes all texts with the weights as they then stand.

    Where the language model is frozen these are the features that are there already.
    """
    language_model = language_model_of(model)
    if language_model is None:
        return lambda: (prepared.item_features, prepared.text_features)
    assert isinstance(prepared.encoder, TextEncoder)
    texts = prepared.user_texts
    tokens = token_rows(prepared.encoder, [*prepared.catalogue.texts, *texts])
    num_items = len(prepared.catalogue)

    def encode() -> Features:
        vectors = language_model.encode(
            tokens, batch_size=config.encoder.batch_size, progress=progress
        )
        return vectors[:num_items], dict(zip(texts, vectors[num_items:], strict=True))

    return encode


def with_tuned_encoder(
    config: RunConfig, prepared: Prepared, model: Any, progress: Progress
) -> tuple[Prepared, Any]:
    """Takes the language model out of a trained model: an encoder, and towers over its vectors.

    Args:
        config: the run.
        prepared: what the training started from.
        model: trained.
        progress: told of the texts that are encoded anew.

    Returns: what was prepared, with the tuned encoder and its features, and the model that reads
        them; both as they are where nothing was tuned.
    """
    language_model = language_model_of(model)
    if language_model is None:
        return prepared, model
    ordered = prepared.dataset.has_order
    towers = build_model(config, len(prepared.catalogue), prepared.encoder, ordered=ordered)
    for variable, trained in zip(towers.served_variables, model.served_variables, strict=True):
        variable.assign(trained.value)
    return _tuned(config, prepared, language_model.tuned(), progress), towers


def prepare_tuned(
    config: RunConfig,
    dataset: Dataset | ShardedDataset,
    tuned: Encoder,
    language_model: TextEncoder | None = None,
    progress: Progress | None = None,
) -> Prepared:
    """Prepares as `prepare` does, with the encoder that a finished run holds.

    Args:
        config: the run.
        dataset: the checked tables.
        tuned: the encoder of the run.
        language_model: what it was tuned from; None loads that of the configuration.
        progress: listener.

    Returns: `Prepared`, with `untuned` where the run tuned its encoder.
    """
    if config.encoder.mode == "frozen":
        return prepare(config, dataset, tuned, progress)
    untuned = prepare(config, dataset, progress=progress, language_model=language_model)
    return _tuned(config, untuned, tuned, progress)


def _tuned(
    config: RunConfig, prepared: Prepared, encoder: Encoder, progress: Progress | None
) -> Prepared:
    after = with_encoder(config, prepared, encoder, progress)
    return dataclasses.replace(after, untuned=prepared)
