"""BERT in NumPy, from the papers: tokens by hand, weights from a safetensors file.

Shares nothing with the package. Devlin et al., 2019, arXiv:1810.04805; word pieces by greedy
longest match, Schuster & Nakajima, 2012; GELU with the exact error function.
"""

from __future__ import annotations

import json
import math
import struct
import unicodedata
from pathlib import Path

import numpy as np


class NumpyBert:
    """Mean-pooled vectors of an uncased BERT in a Hugging Face folder."""

    def __init__(self, folder: Path) -> None:
        config = json.loads((folder / "config.json").read_text())
        self.num_layers = config["num_hidden_layers"]
        self.num_heads = config["num_attention_heads"]
        self.weights = _read_safetensors(folder / "model.safetensors")
        lines = (folder / "vocab.txt").read_text(encoding="utf-8").split("\n")
        self.vocabulary = {token: number for number, token in enumerate(lines)}

    def embed(self, text: str) -> np.ndarray:
        return self.hidden(self.token_ids(text)).mean(axis=0)

    def token_ids(self, text: str) -> list[int]:
        pieces = [piece for word in _words(text) for piece in self._pieces(word)]
        return [self.vocabulary[piece] for piece in ["[CLS]", *pieces, "[SEP]"]]

    def hidden(self, token_ids: list[int]) -> np.ndarray:
        x = self.weights["embeddings.word_embeddings.weight"][token_ids]
        x = x + self.weights["embeddings.position_embeddings.weight"][: len(token_ids)]
        x = x + self.weights["embeddings.token_type_embeddings.weight"][0]
        x = self._norm(x, "embeddings.LayerNorm")
        for number in range(self.num_layers):
            layer = f"encoder.layer.{number}"
            attended = self._attention(x, f"{layer}.attention.self")
            attended = self._dense(attended, f"{layer}.attention.output.dense")
            x = self._norm(x + attended, f"{layer}.attention.output.LayerNorm")
            inner = _gelu(self._dense(x, f"{layer}.intermediate.dense"))
            x = self._norm(
                x + self._dense(inner, f"{layer}.output.dense"), f"{layer}.output.LayerNorm"
            )
        return x

    def _attention(self, x: np.ndarray, name: str) -> np.ndarray:
        def heads(part: str) -> np.ndarray:
            return np.stack(np.split(self._dense(x, f"{name}.{part}"), self.num_heads, axis=1))

        query, key, value = heads("query"), heads("key"), heads("value")
        scores = query @ np.swapaxes(key, 1, 2) / math.sqrt(query.shape[-1])
        weights = np.exp(scores - scores.max(axis=-1, keepdims=True))
        weights /= weights.sum(axis=-1, keepdims=True)
        return np.concatenate(list(weights @ value), axis=1)

    def _dense(self, x: np.ndarray, name: str) -> np.ndarray:
        return x @ self.weights[f"{name}.weight"].T + self.weights[f"{name}.bias"]

    def _norm(self, x: np.ndarray, name: str) -> np.ndarray:
        centred = x - x.mean(axis=-1, keepdims=True)
        scaled = centred / np.sqrt((centred**2).mean(axis=-1, keepdims=True) + 1e-12)
        return scaled * self.weights[f"{name}.weight"] + self.weights[f"{name}.bias"]

    def _pieces(self, word: str) -> list[str]:
        pieces, start = [], 0
        while start < len(word):
            prefix = "##" if start else ""
            ends = range(len(word), start, -1)
            end = next((e for e in ends if prefix + word[start:e] in self.vocabulary), None)
            if end is None:
                return ["[UNK]"]
            pieces.append(prefix + word[start:end])
            start = end
        return pieces


def _words(text: str) -> list[str]:
    text = unicodedata.normalize("NFD", text.lower())
    spaced = ""
    for letter in text:
        if unicodedata.category(letter) == "Mn":
            continue
        alone = unicodedata.category(letter).startswith("P") or 0x4E00 <= ord(letter) <= 0x9FFF
        alone = alone or (letter.isascii() and letter in "$+<=>^`|~")
        spaced += f" {letter} " if alone else letter
    return spaced.split()


def _gelu(x: np.ndarray) -> np.ndarray:
    return x * 0.5 * (1.0 + np.vectorize(math.erf)(x / math.sqrt(2.0)))


def _read_safetensors(path: Path) -> dict[str, np.ndarray]:
    """Reads float32 tensors: 8 bytes of header length, a JSON header, then the data."""
    content = path.read_bytes()
    (header_bytes,) = struct.unpack("<Q", content[:8])
    header = json.loads(content[8 : 8 + header_bytes])
    data = memoryview(content)[8 + header_bytes :]
    tensors = {}
    for name, about in header.items():
        if name != "__metadata__" and about["dtype"] == "F32":
            first, last = about["data_offsets"]
            tensors[name] = np.frombuffer(data[first:last], "<f4").reshape(about["shape"])
    return tensors
