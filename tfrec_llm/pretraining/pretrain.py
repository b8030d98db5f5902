"""Texts → a preset folder: vocabulary, masked language modelling, and what was measured."""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from tfrec_llm.encoders.load_preset import load_preset
from tfrec_llm.encoders.presets import ResolvedPreset, resolve_preset
from tfrec_llm.encoders.text_encoder import TextEncoder
from tfrec_llm.errors import EncoderError, UsageError
from tfrec_llm.files import atomic_file, atomic_folder
from tfrec_llm.keras_api import keras
from tfrec_llm.pretraining.add_tokens import add_tokens, unread_characters
from tfrec_llm.pretraining.held_out_texts import held_out_texts
from tfrec_llm.pretraining.masked_language_model import MaskedLanguageModel
from tfrec_llm.pretraining.small_bert import num_parameters, small_bert
from tfrec_llm.pretraining.token_windows import token_windows
from tfrec_llm.pretraining.train_masked_lm import MaskedLmOptions, train_masked_lm
from tfrec_llm.pretraining.word_pieces import word_pieces
from tfrec_llm.progress import Progress, Silent
from tfrec_llm.variables_file import read_state, restore_variables, save_variables

HEAD_FILE = "mlm_head.safetensors"
REPORT_FILE = "pretraining.json"
_RATE, _RATE_OF_PRETRAINED = 1e-3, 1e-4


def pretrain(
    texts: Sequence[str],
    out: str | Path,
    *,
    start_from: str | Path | None = None,
    more_tokens: bool = False,
    vocabulary_size: int = 8000,
    num_layers: int = 2,
    dim: int = 128,
    num_heads: int = 2,
    max_tokens: int = 64,
    epochs: int = 20,
    steps: int | None = None,
    batch_size: int = 32,
    learning_rate: float | None = None,
    mask_share: float = 0.15,
    halves_weight: float = 1.0,
    held_out: float = 0.1,
    seed: int = 7,
    resume: bool = False,
    progress: Progress | None = None,
) -> dict[str, Any]:
    """Trains a BERT on a corpus by masked language modelling and writes it as a preset.

    While it trains, its state lies beside `out`, in `.NAME.unfinished`. The preset folder appears
    when all is done.

    Args:
        texts: str each; those that repeat an earlier one are left out.
        out: folder of the preset, which must not exist. It gets `pretraining.json` too: the
            learning curve and what it was made with.
        start_from: preset name or folder of a BERT to go on from; None for a new one.
        more_tokens: bool, with `start_from`: add the characters that its vocabulary lacks.
        vocabulary_size: int, most tokens of a new vocabulary; with `start_from` most characters
            that are added.
        num_layers: int, of a new model.
        dim: int, width of the vectors of a new model.
        num_heads: int, of a new model.
        max_tokens: int ≥ 4, of a window; a new model reads as many at most.
        epochs: int ≥ 1.
        steps: int ≥ 1, instead of `epochs`.
        batch_size: int ≥ 1.
        learning_rate: float; None takes 0.001 for a new model, 0.0001 for one to go on from.
        mask_share: float in (0, 1).
        halves_weight: float ≥ 0, weight of the loss that makes the two halves of a text find each
            other, without which the mean of token vectors says little of a topic; 0 leaves it out.
        held_out: float in (0, 1), share of the distinct texts that are only measured by.
        seed: int.
        resume: bool, go on where a killed run with the same texts and settings was.
        progress: listener.

    Returns: the content of `pretraining.json`.

    Raises:
        DataError: when the corpus is too small.
        EncoderError: when `start_from` is no BERT or cannot be had.
        UsageError: when a setting is wrong, `out` exists, or an unfinished run lies beside it.

    Example:
        >>> import tempfile
        >>> texts = [f"{a} {b} {a}" for a in "rain snow sun".split() for b in "abcd"]
        >>> report = pretrain(texts, Path(tempfile.mkdtemp()) / "tiny", dim=8, steps=2)
        >>> report["texts"], report["held_out_texts"], [row["epoch"] for row in report["epochs"]]
        (11, 1, [0, 1, 2])
    """
    progress = progress or Silent()
    out = Path(out).expanduser()
    _check(out, start_from, more_tokens, epochs, steps, batch_size, learning_rate)
    for name, share in (("mask_share", mask_share), ("held_out", held_out)):
        if not 0.0 < share < 1.0:
            raise UsageError(f"`{name}` must lie between 0 and 1, got {share!r}")
    if not halves_weight >= 0.0:
        raise UsageError(f"`halves_weight` must be 0 or more, got {halves_weight!r}")
    settings = {
        "start_from": None if start_from is None else str(start_from),
        "more_tokens": more_tokens,
        "vocabulary_size": vocabulary_size,
        "shape": [num_layers, dim, num_heads, max_tokens],
        "mask_share": mask_share,
        "halves_weight": halves_weight,
        "held_out": held_out,
        "epochs": epochs,
        "steps": steps,
        "batch_size": batch_size,
        "learning_rate": learning_rate,
        "seed": seed,
    }
    train_texts, held_out_part = held_out_texts(texts, held_out, seed)
    state = _state_folder(out, resume)
    found = None if start_from is None else resolve_preset(start_from)
    if found is None:
        vocabulary = word_pieces(train_texts, vocabulary_size)
        tokenizer, backbone = small_bert(
            vocabulary,
            num_layers=num_layers,
            dim=dim,
            num_heads=num_heads,
            max_tokens=max_tokens,
            seed=seed,
        )
        num_added = 0
    else:
        tokenizer, backbone = _load_bert(found, max_tokens)
        added = unread_characters(tokenizer, train_texts, vocabulary_size) if more_tokens else []
        num_added = len(added)
        if added:
            tokenizer, backbone = add_tokens(tokenizer, backbone, added, seed)
    model = MaskedLanguageModel(backbone, seed)
    if found is not None:
        _restore_head(Path(found.location) / HEAD_FILE, model, num_added)
    progress.message(
        f"{len(train_texts)} texts to train on, {len(held_out_part)} held out; "
        f"{tokenizer.vocabulary_size()} tokens, {num_parameters(backbone)} weights"
    )
    digest = hashlib.sha256(json.dumps(settings, sort_keys=True).encode())
    for text in (*train_texts, "\0", *held_out_part):
        digest.update(f"\n{text}".encode("utf-8", "replace"))
    digest.update("\n".join(tokenizer.get_vocabulary()).encode())
    state.mkdir(parents=True, exist_ok=True)
    curve = train_masked_lm(
        model,
        tokenizer,
        token_windows(tokenizer, train_texts, max_tokens),
        token_windows(tokenizer, held_out_part, max_tokens),
        MaskedLmOptions(
            epochs=epochs,
            steps=steps,
            batch_size=batch_size,
            learning_rate=learning_rate or (_RATE if found is None else _RATE_OF_PRETRAINED),
            mask_share=mask_share,
            halves_weight=halves_weight,
            seed=seed,
        ),
        folder=state,
        fingerprint=digest.hexdigest(),
        resume=resume,
        progress=progress,
    )
    report = {
        "format": 1,
        "texts": len(train_texts),
        "held_out_texts": len(held_out_part),
        "repeated_or_empty_texts": len(texts) - len(train_texts) - len(held_out_part),
        "vocabulary": int(tokenizer.vocabulary_size()),
        "added_tokens": num_added,
        "weights": num_parameters(backbone),
        "settings": settings,
        **asdict(curve),
    }
    exact_gelu = found is not None and found.exact_gelu
    preset = ResolvedPreset(out.name, str(out), "keras_folder", None, exact_gelu)
    _write(out, preset, tokenizer, model, report, max_tokens)
    shutil.rmtree(state)
    return report


def _check(
    out: Path,
    start_from: str | Path | None,
    more_tokens: bool,
    epochs: int,
    steps: int | None,
    batch_size: int,
    learning_rate: float | None,
) -> None:
    if out.exists():
        raise UsageError(f"{out} exists already. Give a new folder for the preset.")
    if more_tokens and start_from is None:
        raise UsageError(
            "Tokens can only be added to a model that exists: give one with --from, or leave out "
            "--add-tokens, since a new model has the vocabulary of its corpus anyway."
        )
    numbers = {"epochs": epochs, "steps": steps, "batch_size": batch_size}
    for name, value in numbers.items():
        if value is not None and value < 1:
            raise UsageError(f"`{name}` must be at least 1, got {value!r}")
    if learning_rate is not None and not learning_rate > 0.0:
        raise UsageError(f"`learning_rate` must be above 0, got {learning_rate!r}")


def _state_folder(out: Path, resume: bool) -> Path:
    state = out.parent / f".{out.name}.unfinished"
    if not resume and state.exists() and any(state.iterdir()):
        raise UsageError(
            f"{state} holds an unfinished pretraining. Go on with --resume, or delete that folder "
            "to begin anew."
        )
    return state


def _load_bert(found: ResolvedPreset, max_tokens: int) -> tuple[Any, Any]:
    tokenizer, backbone = load_preset(found)
    if type(backbone).__name__ != "BertBackbone":
        raise EncoderError(
            f"{found.name} is a {type(backbone).__name__.removesuffix('Backbone')}. Only models "
            "of the BERT family, whose WordPiece vocabulary has a [MASK] token and can grow, can "
            "be pretrained further here. Give a BERT with --from."
        )
    if max_tokens > backbone.max_sequence_length:
        raise UsageError(
            f"`max_tokens` is {max_tokens}, but {found.name} reads at most "
            f"{backbone.max_sequence_length} tokens. Give --max-tokens "
            f"{backbone.max_sequence_length} or less."
        )
    return tokenizer, backbone


def _restore_head(path: Path, model: MaskedLanguageModel, num_added: int) -> None:
    """Sets the head as an earlier pretraining left it; models from elsewhere have none."""
    if not path.is_file():
        return
    bias = next(w for w in model.head_variables if w.path.endswith("output_bias"))
    old_size = int(read_state(path)["vocabulary"])
    if old_size + num_added != bias.shape[0]:
        raise EncoderError(
            f"{path} belongs to a vocabulary of {old_size} tokens, not to that of its folder. "
            "Delete the file to start with a new head."
        )
    old_bias = keras.Variable(bias[:old_size])
    restore_variables(path, [old_bias if w is bias else w for w in model.head_variables])
    bias.assign(keras.ops.concatenate([old_bias, keras.ops.zeros((num_added,))]))


def _write(
    out: Path,
    preset: ResolvedPreset,
    tokenizer: Any,
    model: MaskedLanguageModel,
    report: dict[str, Any],
    max_tokens: int,
) -> None:
    encoder = TextEncoder(preset, tokenizer, model.backbone, max_tokens=max_tokens)
    with atomic_folder(out) as temporary:
        encoder.save(temporary)
        size = int(tokenizer.vocabulary_size())
        save_variables(temporary / HEAD_FILE, model.head_variables, {"vocabulary": size})
        with atomic_file(temporary / REPORT_FILE) as file:
            file.write_text(json.dumps(report, indent=1, ensure_ascii=False) + "\n", "utf-8")
