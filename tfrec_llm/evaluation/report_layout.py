"""What the terminal table and the HTML report show, in which order and with how many digits."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

_TITLES = {
    "all": "All queries",
    "cold_items": "Cold items: the target was never clicked in training",
    "tail_items": "Tail items: the target is among those holding the last 20 % of the clicks",
    "cold_users": "Cold users: absent from training",
    "cold_users_text_only": "Cold users by their text alone, without a history",
}
_MAIN = (
    ("recall@{k}", True, True),
    ("ndcg@{k}", True, True),
    ("recall@{k}_among_cold", True, True),
    ("ndcg@{k}_among_cold", True, True),
    ("recall@{longest}", False, True),
    ("coverage@{k}", False, True),
)
_FURTHER = (
    ("mrr", False, True),
    ("gini@{k}", False, False),
    ("intra_list_distance@{k}", False, False),
    ("novelty@{k}", False, False),
    ("popularity_bias@{k}", False, False),
)


@dataclass(frozen=True)
class Column:
    """One metric in a table.

    Attributes:
        metric: its key in metrics.json.
        has_interval: whether `metric_ci95` is shown beside it.
        higher_is_better: whether the highest figure deserves to stand out.
    """

    metric: str
    has_interval: bool
    higher_is_better: bool

    def format(self, value: float | None) -> str:
        """Returns four significant places, "–" for what is undefined.

        Example:
            >>> column = Column("recall@10", True, True)
            >>> column.format(0.05072), column.format(1.0)
            ('.0507', '1.000')
        """
        if value is None:
            return "–"
        if abs(value) >= 10:
            return f"{value:.1f}"
        return f"{value:.3f}" if abs(value) >= 0.99995 else f"{value:.4f}".replace("0.", ".", 1)

    def format_interval(self, ends: list[float] | None) -> str:
        """Returns "low–high", "" where there is no interval.

        Example:
            >>> Column("recall@10", True, True).format_interval([0.04, 0.06])
            '.0400–.0600'
        """
        if not self.has_interval or not ends:
            return ""
        return "–".join(self.format(end) for end in ends)


def slices_of(models: Mapping[str, Any]) -> list[str]:
    """Returns the slices in which any model answered a query, the known ones first.

    Example:
        >>> slices_of({"mine": {"cold_users": {"queries": 1}, "all": {"queries": 2},
        ...                     "cold_items": {"queries": 0}, "settings": {}}})
        ['all', 'cold_users']
    """
    names = [name for slices in models.values() for name in slices if name != "settings"]
    wanted = [*_TITLES, *(name for name in dict.fromkeys(names) if name not in _TITLES)]
    return [
        name
        for name in wanted
        if any((slices.get(name) or {}).get("queries") for slices in models.values())
    ]


def title_of(models: Mapping[str, Any], slice_name: str) -> str:
    """Returns a heading with the number of users and queries.

    Example:
        >>> title_of({"mine": {"all": {"users": 1200, "queries": 1300}}}, "all")
        'All queries (1,200 users, 1,300 queries)'
    """
    part = next(p for s in models.values() if (p := s.get(slice_name) or {}).get("queries"))
    title = _TITLES.get(slice_name, slice_name)
    return f"{title} ({part['users']:,} users, {part['queries']:,} queries)"


def columns_of(
    models: Mapping[str, Any], slice_name: str, *, only_main: bool = False
) -> list[Column]:
    """Returns the columns worth a place: metrics at one k, recall at the longest one too.

    That k is 10 where it was measured, else the smallest.

    Args:
        models: the part `models` of metrics.json.
        slice_name: str, such as "all".
        only_main: bool, leave out what a narrow table has no room for.

    Example:
        >>> part = {"queries": 1, "recall@10": 0.1, "recall@100": 0.2, "mrr": 0.1}
        >>> [column.metric for column in columns_of({"mine": {"all": part}}, "all")]
        ['recall@10', 'recall@100', 'mrr']
    """
    present = {key for slices in models.values() for key in slices.get(slice_name) or {}}
    ks = sorted({int(m[1]) for key in present if (m := re.fullmatch(r"recall@(\d+)", key))})
    k = 10 if 10 in ks else (ks[0] if ks else 0)
    columns: list[Column] = []
    for pattern, has_interval, higher_is_better in _MAIN if only_main else _MAIN + _FURTHER:
        metric = pattern.format(k=k, longest=ks[-1] if ks else 0)
        if metric in present and all(column.metric != metric for column in columns):
            columns.append(Column(metric, has_interval, higher_is_better))
    return columns


def best_of(models: Mapping[str, Any], slice_name: str, column: Column) -> set[str]:
    """Returns the models with the highest figure, none where highest is not best.

    Example:
        >>> models = {"a": {"all": {"mrr": 0.1}}, "b": {"all": {"mrr": 0.2}}}
        >>> best_of(models, "all", Column("mrr", False, True))
        {'b'}
    """
    values = {
        name: (slices.get(slice_name) or {}).get(column.metric) for name, slices in models.items()
    }
    known = {name: value for name, value in values.items() if value is not None}
    if not column.higher_is_better or not known or max(known.values()) <= 0:
        return set()
    return {name for name, value in known.items() if value == max(known.values())}
