from __future__ import annotations

from typing import Any

import pytest

from tfrec_llm.encoders.layer_levels import layer_levels
from tfrec_llm.testing.tiny_models import FAMILIES

SHAPE = {"num_heads": 2, "hidden_dim": 8, "intermediate_dim": 16, "max_sequence_length": 16}


def made(family: str, num_layers: int = 3) -> Any:
    return FAMILIES[family](num_layers=num_layers, **SHAPE)[1]


def test_levels_go_from_the_last_layer_down_to_the_embeddings() -> None:
    levels = [[w.path for w in level] for level in layer_levels(made("bert"))]
    assert len(levels) == 4
    for number, level in zip((2, 1, 0), levels, strict=False):
        assert level and all(f"transformer_layer_{number}/" in path for path in level)
    assert all("embedding" in path for path in levels[-1])


def test_the_pooler_that_no_token_depends_on_is_left_out() -> None:
    backbone = made("bert")
    found = {w.path for level in layer_levels(backbone) for w in level}
    left_out = {w.path for w in backbone.weights} - found
    assert left_out == {"pooled_dense/kernel", "pooled_dense/bias"}


def test_a_last_normalisation_belongs_to_the_top_layer() -> None:
    top, below, *_ = layer_levels(made("gpt2"))
    assert {w.path for w in top} >= {"layer_norm/gamma", "layer_norm/beta"}
    assert len(top) == len(below) + 2


def test_layers_that_share_weights_are_one_level() -> None:
    assert len(layer_levels(made("albert"))) == 2


@pytest.mark.parametrize("family", sorted(set(FAMILIES) - {"albert", "t5", "gemma3_embedder"}))
def test_every_family_has_a_level_for_each_layer_and_one_for_its_tokens(family: str) -> None:
    levels = layer_levels(made(family, num_layers=2))
    assert len(levels) == 3 and all(levels)
    assert len({id(w) for level in levels for w in level}) == sum(map(len, levels))
