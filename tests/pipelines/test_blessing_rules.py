from __future__ import annotations

import math

import pytest

from tfrec_llm.errors import UsageError
from tfrec_llm.pipelines.blessing_rules import BlessingRules

GOOD = {"all": {"queries": 9, "recall@10": 0.30, "ndcg@10": 0.20}, "cold_items": {"queries": 0}}
POPULAR = {"all": {"queries": 9, "recall@10": 0.10, "ndcg@10": 0.05}, "cold_items": {"queries": 0}}


def test_a_good_model_has_nothing_against_it() -> None:
    assert BlessingRules().reasons_against(GOOD, POPULAR, GOOD) == []


def test_each_rule_that_is_broken_is_a_reason_with_both_figures() -> None:
    rules = BlessingRules(
        at_least={"all/recall@10": 0.4},
        over_popularity={"all/recall@10": 2.5},
        under_blessed={"all/ndcg@10": 0.1},
    )
    before = {"all": {"queries": 9, "ndcg@10": 0.3}}
    reasons = rules.reasons_against(GOOD, POPULAR, before)
    assert len(reasons) == 3
    assert "0.3000" in reasons[0] and "0.4000" in reasons[0]
    assert "250%" in reasons[1] and "0.1000" in reasons[1]
    assert "0.2000" in reasons[2] and "last blessed" in reasons[2]


def test_to_be_as_good_as_popularity_is_not_enough() -> None:
    assert len(BlessingRules().reasons_against(POPULAR, POPULAR)) == 2


def test_as_little_less_than_the_last_one_as_is_allowed_is_allowed() -> None:
    rules = BlessingRules(over_popularity={}, under_blessed={"all/recall@10": 0.5})
    before = {"all": {"queries": 9, "recall@10": 0.6}}
    assert rules.reasons_against(GOOD, POPULAR, before) == []
    before = {"all": {"queries": 9, "recall@10": 0.601}}
    assert len(rules.reasons_against(GOOD, POPULAR, before)) == 1


def test_a_figure_that_is_no_number_is_never_good_enough() -> None:
    odd = {"all": {**GOOD["all"], "recall@10": math.nan}}
    assert len(BlessingRules(at_least={"all/recall@10": 0.0}).reasons_against(odd, POPULAR)) == 2


def test_a_slice_without_queries_says_nothing() -> None:
    rules = BlessingRules(at_least={"cold_items/recall@10": 0.9}, over_popularity={})
    assert rules.reasons_against(GOOD, POPULAR) == []


@pytest.mark.parametrize("key", ["recall@10", "everything/recall@10", "all/recall@11"])
def test_a_rule_of_what_there_is_not_is_an_error(key: str) -> None:
    with pytest.raises(UsageError, match="there is no slice|has queries, recall@10"):
        BlessingRules(at_least={key: 0.1}).reasons_against(GOOD, POPULAR)


def test_a_rule_of_a_length_that_is_not_measured_is_told_before_any_training() -> None:
    BlessingRules().check_ks([5, 10])
    with pytest.raises(UsageError, match=r"'all/recall@10', but evaluate.ks is \[20\]"):
        BlessingRules().check_ks([20])
    with pytest.raises(UsageError, match="cold_items/recall@1_among_cold"):
        BlessingRules(at_least={"cold_items/recall@1_among_cold": 0.1}).check_ks([10])
