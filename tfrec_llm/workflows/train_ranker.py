"""A trained retriever and its data → a ranker of its candidates, and what it is worth."""

from __future__ import annotations

import dataclasses
import math
from typing import Any

import numpy as np
import polars as pl

from tfrec_llm.baselines.tfidf_logistic import TfidfLogistic
from tfrec_llm.config.run_config import RunConfig
from tfrec_llm.data.queries import Queries
from tfrec_llm.data.shards.streamed_interactions import as_frame
from tfrec_llm.encoders.feature_cache import FeatureCache
from tfrec_llm.encoders.words_beside_encoder import text_encoder_of
from tfrec_llm.errors import ConfigError
from tfrec_llm.evaluation.auc import auc
from tfrec_llm.evaluation.ndcg import ndcg_at_k
from tfrec_llm.evaluation.ranking_evaluator import evaluate_ranking
from tfrec_llm.evaluation.recommended_lists import recommended_lists, target_ranks
from tfrec_llm.evaluation.top_k import tie_order
from tfrec_llm.keras_api import keras
from tfrec_llm.models.pointwise_ranker import PointwiseRanker
from tfrec_llm.models.ranker_features import RankerFeatures
from tfrec_llm.models.ranker_scorer import RankerScorer
from tfrec_llm.models.reranked_scorer import RerankedScorer, combined_score
from tfrec_llm.models.retrieval_model import RetrievalModel
from tfrec_llm.models.retrieval_scorer import RetrievalScorer
from tfrec_llm.neighbours.neighbour_table import NeighbourTable
from tfrec_llm.progress import Progress, Silent
from tfrec_llm.seeds import child_generator, child_seed
from tfrec_llm.serving.trained import TrainedModel
from tfrec_llm.serving.trained_ranker import TrainedRanker
from tfrec_llm.trainer.ranking_pairs import RankingPairs, ranking_cases, sample_pairs
from tfrec_llm.trainer.train_ranker import (
    MAX_PAIRS,
    RankerFit,
    RankerOptimisation,
    RankingExamples,
    fit_ranker,
)
from tfrec_llm.workflows.build import Prepared

WEIGHTS = (0.0, 0.1, 0.25, 0.5, 1.0, 2.0, 4.0, 8.0)
_REGULARISATIONS = (100.0, 10.0, 1.0, 0.1, 0.01)
_MAX_VALIDATION_CASES = 1000


def check_ranker(config: RunConfig) -> None:
    """Refuses a ranker that cannot be trained, before anything long is done.

    Raises: ConfigError when the encoder of the configuration has no tokens, or those of two models.
    """
    if config.ranker.train and config.encoder.kind != "language_model":
        raise ConfigError(
            "config: ranker.train: the ranker reads the tokens of a language model, but "
            f"encoder.kind is {config.encoder.kind}. Set encoder.kind: language_model, or "
            "ranker.train: false."
        )
    if config.ranker.train and config.encoder.preset_zh is not None:
        raise ConfigError(
            "config: ranker.train: the ranker reads the tokens of one language model, but "
            "encoder.preset_zh names a second one. Leave encoder.preset_zh out and give one model "
            "that reads both languages as encoder.preset, or set ranker.train: false."
        )


def train_ranker(
    config: RunConfig,
    prepared: Prepared,
    selected: tuple[RetrievalModel, NeighbourTable],
    refitted: tuple[RetrievalModel, NeighbourTable],
    progress: Progress | None = None,
) -> tuple[TrainedRanker, dict[str, Any]]:
    """Trains a ranker as the retriever was: selected on validation, then refitted.

    Args:
        config: the run.
        prepared: its data.
        selected: the retriever of the training part and its neighbours, whose candidates are the
            hard negatives.
        refitted: the retriever of training + validation; `selected` where `train.refit` is false.
        progress: listener.

    Returns: the ranker and a summary of its training, JSON values.
    """
    progress = progress or Silent()
    check_ranker(config)
    features = ranker_features(config, prepared, progress)
    parts = prepared.split
    retriever = _retriever(prepared, *selected, as_frame(parts.train))
    ranker = _build(config, prepared)
    validation = _validation_cases(config, parts.validation)
    pairs = held_out_pairs(
        config, prepared, validation, retriever, config.ranker.hard_share, "validation"
    )

    def evaluate() -> float:
        scores = RankerScorer(ranker, features).logits(pairs.cases, pairs.rows, pairs.items)
        return auc(pairs.labels, scores)

    fit = fit_ranker(
        ranker,
        features,
        ranking_examples(config, prepared, as_frame(parts.train), retriever),
        _optimisation(config, config.ranker.epochs),
        phase="ranker",
        evaluate=evaluate if 0 < pairs.labels.sum() < len(pairs) else None,
        progress=progress,
    )
    scorer = RerankedScorer(retriever, RankerScorer(ranker, features), config.ranker.candidates)
    weight, choice = _choose_weight(config, prepared, scorer, validation)
    progress.message(f"ranker: weight {weight} of the retriever is best on validation")
    again = RankerFit()
    if config.train.refit:
        ranker = _build(config, prepared)
        again = fit_ranker(
            ranker,
            features,
            ranking_examples(
                config,
                prepared,
                as_frame(parts.train_and_validation),
                _retriever(prepared, *refitted, as_frame(parts.train_and_validation)),
            ),
            _optimisation(config, fit.best_epoch),
            phase="ranker refit",
            progress=progress,
        )
    trained = TrainedRanker(
        ranker=ranker,
        item_tokens=ranker.project_corpus(features.item_tokens),
        num_candidates=config.ranker.candidates,
        retriever_weight=weight,
    )
    summary = {
        "fusion": config.ranker.fusion,
        "best_epoch": fit.best_epoch,
        "validation_auc": fit.best_auc if math.isfinite(fit.best_auc) else None,
        "validation_auc_by_epoch": fit.aucs,
        "training_log_loss_by_epoch": fit.losses,
        "training_accuracy_by_epoch": fit.accuracies,
        "pairs_per_epoch": max(fit.pairs_per_epoch, again.pairs_per_epoch),
        "most_pairs_per_epoch": MAX_PAIRS,
        "retriever_weight": weight,
        "validation_ndcg@10_by_retriever_weight": choice,
        "item_tokens_bytes": int(trained.item_tokens.nbytes),
        "training_seconds": round(fit.seconds + again.seconds, 1),
    }
    return trained, summary


def ranker_features(
    config: RunConfig, prepared: Prepared, progress: Progress | None = None
) -> RankerFeatures:
    """Encodes the tokens of all texts, through the cache."""
    encoder = text_encoder_of(prepared.encoder)
    texts = [*prepared.text_features]
    tokens = FeatureCache(config.encoder.cache_folder).features(
        encoder.token_encoder(config.ranker.max_tokens),
        [*prepared.catalogue.texts, *texts],
        batch_size=config.encoder.batch_size,
        progress=progress,
    )
    num_items = len(prepared.catalogue)
    rows = {text: row for row, text in enumerate(texts)}
    return RankerFeatures(tokens[:num_items], tokens[num_items:], rows)


def ranking_examples(
    config: RunConfig, prepared: Prepared, interactions: pl.DataFrame, retriever: RetrievalScorer
) -> RankingExamples:
    """Returns what training pairs are sampled from, with the retriever's candidates."""
    frame = (
        interactions.sort("user_id", "position")
        .group_by("user_id", maintain_order=True)
        .agg("item_number")
    )
    users = frame["user_id"].to_list()
    own = [np.asarray(items, np.int32) for items in frame["item_number"].to_list()]
    texts = dict(prepared.dataset.users.select("user_id", "text").iter_rows())
    whole = Queries(
        user_ids=users,
        histories=own,
        texts=[texts.get(user, "") for user in users],
        targets=np.zeros(len(users), np.int32),
        is_cold_user=np.zeros(len(users), bool),
    )
    order = tie_order(prepared.catalogue.item_ids)
    cases = ranking_cases(interactions, texts, config.ranker.max_history)
    number_of = {user: number for number, user in enumerate(users)}
    return RankingExamples(
        cases=cases,
        owners=np.asarray([number_of[user] for user in cases.user_ids], np.int64),
        own_items=own,
        candidates=recommended_lists(retriever, whole, config.ranker.candidates, order),
    )


def held_out_pairs(
    config: RunConfig,
    prepared: Prepared,
    queries: Queries,
    retriever: RetrievalScorer,
    hard_share: float,
    name: str,
) -> RankingPairs:
    """Joins the target of each held-out case with negatives that the user never took."""
    order = tie_order(prepared.catalogue.item_ids)
    return sample_pairs(
        queries,
        queries.histories,
        np.arange(len(queries)),
        len(prepared.catalogue),
        child_generator(config.train.seed, "ranking pairs", name, hard_share),
        num_negatives=config.ranker.negatives,
        hard_share=hard_share,
        candidates=recommended_lists(retriever, queries, config.ranker.candidates, order),
    )


def evaluate_ranker(
    config: RunConfig,
    prepared: Prepared,
    trained: TrainedModel,
    queries: Queries,
    progress: Progress | None = None,
) -> tuple[dict[str, Any], RerankedScorer]:
    """Measures the ranker on test pairs, a TF-IDF logistic regression beside it.

    Args:
        config: the run.
        prepared: its data.
        trained: with a ranker.
        queries: test cases.
        progress: listener.

    Returns: the metrics of both by kind of negative, and the reranked retriever, to be evaluated
        as any recommender.
    """
    progress = progress or Silent()
    assert trained.ranker is not None
    features = ranker_features(config, prepared, progress)
    scorer = RankerScorer(trained.ranker.ranker, features)
    retriever = RetrievalScorer(
        trained.model,
        prepared.item_features,
        trained.popularity,
        prepared.text_features,
        neighbours=trained.neighbours,
        with_gaps=False,  # a request to the ranker comes without times
    )
    baseline, settings = _tuned_baseline(config, prepared, retriever, progress)
    ranking: dict[str, Any] = {
        "pairs": f"the test item and {config.ranker.negatives} sampled negatives a case",
        "lstm_ranker": {"retriever_weight": trained.ranker.retriever_weight},
        "tfidf_logistic": {"settings": settings},
    }
    for name, share in (("uniform_negatives", 0.0), ("hard_negatives", 1.0)):
        pairs = held_out_pairs(config, prepared, queries, retriever, share, "test")
        for model in (scorer, baseline):
            logits = model.logits(pairs.cases, pairs.rows, pairs.items)
            key = "lstm_ranker" if model is scorer else "tfidf_logistic"
            ranking[key][name] = evaluate_ranking(pairs.labels, logits)
            progress.message(f"{key}, {name}: AUC {ranking[key][name]['auc']:.4f}")
    reranked = RerankedScorer(
        retriever,
        scorer,
        trained.ranker.num_candidates,
        trained.ranker.retriever_weight,
        name=f"{trained.model.kind}_reranked",
    )
    return ranking, reranked


def _tuned_baseline(
    config: RunConfig, prepared: Prepared, retriever: RetrievalScorer, progress: Progress
) -> tuple[TfidfLogistic, dict[str, Any]]:
    """Chooses the penalty on validation pairs, then fits on training + validation."""
    parts = prepared.split
    model = TfidfLogistic(prepared.catalogue.texts)
    pairs = _training_pairs(config, prepared, as_frame(parts.train), retriever)
    held_out = held_out_pairs(
        config,
        prepared,
        _validation_cases(config, parts.validation),
        retriever,
        config.ranker.hard_share,
        "validation",
    )
    progress.message(f"tfidf_logistic: fitting on {len(pairs)} pairs")
    features = model.features(pairs.cases, pairs.rows, pairs.items)
    validation = model.features(held_out.cases, held_out.rows, held_out.items)
    best, best_auc = 1.0, -1.0
    for regularisation in _REGULARISATIONS:
        model.regularisation = regularisation
        model.fit_features(features, pairs.labels)
        reached = auc(held_out.labels, model.logits_of_features(validation))
        if reached > best_auc:
            best, best_auc = regularisation, reached
    model.regularisation = best
    if config.train.refit:
        pairs = _training_pairs(config, prepared, as_frame(parts.train_and_validation), retriever)
        features = model.features(pairs.cases, pairs.rows, pairs.items)
    model.fit_features(features, pairs.labels)
    return model, {"C": 1.0 / best, "validation_auc": best_auc}


def _training_pairs(
    config: RunConfig, prepared: Prepared, interactions: pl.DataFrame, retriever: RetrievalScorer
) -> RankingPairs:
    examples = ranking_examples(config, prepared, interactions, retriever)
    generator = child_generator(config.train.seed, "tfidf_logistic")
    most = MAX_PAIRS // (1 + config.ranker.negatives)
    rows = np.sort(generator.permutation(len(examples.cases))[:most])
    return sample_pairs(
        examples.cases.take(rows),
        examples.own_items,
        examples.owners[rows],
        len(prepared.catalogue),
        generator,
        num_negatives=config.ranker.negatives,
        hard_share=config.ranker.hard_share,
        candidates=examples.candidates,
    )


def _choose_weight(
    config: RunConfig, prepared: Prepared, scorer: RerankedScorer, queries: Queries
) -> tuple[float, dict[str, float]]:
    """Tries weights of the retriever on validation; the smallest of the best by NDCG@10."""
    order = tie_order(prepared.catalogue.item_ids)
    retrieved = recommended_lists(scorer.retriever, queries, 10, order)
    choice = {
        "retriever_alone": float(ndcg_at_k(target_ranks(retrieved, queries.targets), 10).mean())
    }
    numbers, logits, scores = scorer.candidates(queries)
    best, best_ndcg = 0.0, -1.0
    for weight in WEIGHTS:
        combined = np.where(numbers >= 0, combined_score(logits, scores, weight), -np.inf)
        places = np.argsort(-combined, axis=1, kind="stable")[:, :10]
        lists = np.take_along_axis(numbers, places, axis=1)
        ndcg = float(ndcg_at_k(target_ranks(lists, queries.targets), 10).mean())
        choice[str(weight)] = ndcg
        if ndcg > best_ndcg:
            best, best_ndcg = weight, ndcg
    return best, choice


def _retriever(
    prepared: Prepared,
    model: RetrievalModel,
    neighbours: NeighbourTable,
    interactions: pl.DataFrame,
) -> RetrievalScorer:
    clicks = prepared.num_clicks(interactions)
    return RetrievalScorer(
        model,
        prepared.item_features,
        clicks / max(1, int(clicks.sum())),
        prepared.text_features,
        neighbours=neighbours,
        with_gaps=False,  # as it is served
    )


def _build(config: RunConfig, prepared: Prepared) -> PointwiseRanker:
    keras.utils.set_random_seed(child_seed(config.train.seed, "ranker weights"))
    options = config.ranker
    return PointwiseRanker(
        feature_dim=text_encoder_of(prepared.encoder).dim,
        fusion=options.fusion,
        token_dim=options.token_dim,
        lstm_units=options.lstm_units,
        max_tokens=options.max_tokens,
        max_history=options.max_history,
    )


def _optimisation(config: RunConfig, epochs: int) -> RankerOptimisation:
    options = config.ranker
    return dataclasses.replace(
        RankerOptimisation(),
        batch_size=options.batch_size,
        epochs=epochs,
        learning_rate=options.learning_rate,
        negatives=options.negatives,
        hard_share=options.hard_share,
        seed=config.train.seed,
    )


def _validation_cases(config: RunConfig, validation: Queries) -> Queries:
    return validation.sample(
        _MAX_VALIDATION_CASES, child_generator(config.train.seed, "ranker validation")
    )
