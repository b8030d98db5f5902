"""Every kind of encoder goes the whole way: train, evaluate, export, answer from strings."""

from __future__ import annotations

import json

import pytest

from tfrec_llm.errors import ConfigError


@pytest.mark.slow
@pytest.mark.parametrize(
    ("kind", "model"),
    [
        pytest.param("bm25", "two_tower", marks=pytest.mark.exhaustive),
        ("word_embedding", "two_tower"),
        pytest.param("sparse_coding", "two_tower", marks=pytest.mark.exhaustive),
        pytest.param("none", "two_tower", marks=pytest.mark.exhaustive),
        ("language_model", "matrix_factorisation"),
    ],
)
def test_a_kind_is_trained_measured_and_exported(kind, model, shop_config, tmp_path):
    from tfrec_llm.serving.loaded import load
    from tfrec_llm.workflows.evaluate import evaluate
    from tfrec_llm.workflows.export import export
    from tfrec_llm.workflows.train import train

    config = shop_config(
        f"encoder.kind={kind}",
        f"model.kind={model}",
        "encoder.dim=6",
        "towers.text_start_share=0.4",
    )
    train(config, tmp_path / "run")
    evaluate(tmp_path / "run")
    metrics = json.loads((tmp_path / "run" / "metrics.json").read_text())
    assert 0.0 <= metrics["models"][model]["all"]["ndcg@10"] <= 1.0
    # Writing an export asks it once in a process that loads it as TensorFlow Serving does.
    export(tmp_path / "run", tmp_path / "export")
    served = load(tmp_path / "export")
    found = served.recommend(history=["space-1", "space-2"], k=3)
    assert len(found) == 3


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        (["encoder.kind=sparse_coding", "encoder.pooling=lstm"], "codes one vector a text"),
        (["encoder.kind=none", "towers.item_ids=false"], "leaves nothing but ids"),
        (
            ["encoder.kind=word_embedding", "model.kind=matrix_factorisation"],
            "is learned with two towers",
        ),
        (["encoder.kind=tfidf", "encoder.word_columns=8"], "words beside one vector a text"),
        (["encoder.pooling=lstm", "encoder.word_columns=8"], "words beside one vector a text"),
    ],
)
def test_settings_that_do_not_fit_a_kind_are_told(settings, message, shop_config):
    with pytest.raises(ConfigError, match=message):
        shop_config(*settings)


def test_a_ranker_beside_two_language_models_is_refused(shop_config):
    from tfrec_llm.workflows.train_ranker import check_ranker

    with pytest.raises(ConfigError, match="tokens of one language model"):
        check_ranker(shop_config("ranker.train=true", "encoder.preset_zh=bert_base_zh"))
