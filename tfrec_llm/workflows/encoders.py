"""Which language models there are, and which to take."""

from __future__ import annotations

from typing import Any

from tfrec_llm.encoders.model_list import (
    Device,
    LanguageModel,
    installed_keras_nlp,
    language_models,
    where_at_hand,
)
from tfrec_llm.encoders.suggest import Language, Task, suggest_encoder


def list_encoders() -> list[dict[str, Any]]:
    """Returns the language models of the list as JSON values, the smallest first.

    Returns: a dict each of `name`, `family`, `parameters_millions`, `dim`, `languages`, `licence`,
        `pooling`, `memory_mb`, `texts_per_second` (on two cores), `rate` ("measured" or
        "estimated"), `at_hand` (where it can be had without a network, None if nowhere), `since`
        (the version of keras-nlp that it came with), `usable` (whether it can be named here: the
        installed keras-nlp has it, or it is at hand) and `good_for`.

    Example:
        >>> list_encoders()[0]["dim"]
        128
    """
    return [_as_dict(model) for model in language_models()]


def suggest(
    num_items: int,
    language: Language = "en",
    device: Device = "cpu",
    *,
    task: Task = "retrieval",
    minutes: float = 30.0,
) -> dict[str, Any]:
    """Suggests a language model for a machine like this one.

    Args:
        num_items: int ≥ 1, texts to encode.
        language: "en", "zh" or "multi".
        device: "cpu" or "gpu".
        task: "retrieval" or "ranking".
        minutes: float > 0, time that encoding them once may take.

    Only a usable model is suggested; where a newer keras-nlp has a better one, `changes` says so.

    Returns: a dict of JSON values: `encoder` and `runner_up` (as of `list_encoders`, the latter
        None where there is none), `minutes`, `in_time`, `reasons` and `changes`.
    Raises: UsageError when an argument is none of these.
    """
    at_hand = [model.name for model in language_models() if where_at_hand(model.name)]
    found = suggest_encoder(
        num_items,
        language,
        device,
        task=task,
        minutes=minutes,
        at_hand=at_hand,
        keras_nlp_version=installed_keras_nlp(),
    )
    return {
        "encoder": _as_dict(found.model, device),
        "runner_up": None if found.runner_up is None else _as_dict(found.runner_up, device),
        "minutes": round(found.minutes, 2),
        "in_time": found.fits,
        "reasons": list(found.reasons),
        "changes": list(found.changes),
    }


def _as_dict(model: LanguageModel, device: Device = "cpu") -> dict[str, Any]:
    is_measured = device == "cpu" and model.is_measured
    at_hand = where_at_hand(model.name)
    return {
        "name": model.name,
        "family": model.family,
        "parameters_millions": round(model.num_parameters / 1e6, 1),
        "dim": model.dim,
        "languages": list(model.languages),
        "licence": model.licence,
        "pooling": model.pooling,
        "memory_mb": round(model.memory_mb, 1),
        "texts_per_second": round(model.texts_per_second(device), 1),
        "rate": "measured" if is_measured else "estimated",
        "at_hand": at_hand,
        "since": model.since,
        "usable": at_hand is not None or model.is_in(installed_keras_nlp()),
        "good_for": model.good_for,
    }
