"""Figures of a new model, of popularity and of the last blessed model → reasons against it."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from tfrec_llm.errors import UsageError

Slices = Mapping[str, Mapping[str, Any]]


@dataclass(frozen=True)
class BlessingRules:
    """What a model must reach to be pushed. Keys are `slice/metric`, as in `all/recall@10`.

    Attributes:
        at_least: key → the figure that it must reach.
        over_popularity: key → by how much it must exceed popularity's figure, 0.1 for a tenth of
            that.
        under_blessed: key → how much less than the last blessed model's figure it may be, 0.05 for
            a twentieth of that. Both are measured on the data of now.

    Example:
        >>> rules = BlessingRules(at_least={"all/recall@10": 0.2}, over_popularity={})
        >>> rules.reasons_against({"all": {"recall@10": 0.1}}, {"all": {"recall@10": 0.05}})
        ['all/recall@10 is 0.1000, below the 0.2000 that are asked for']
    """

    at_least: Mapping[str, float] = field(default_factory=dict)
    over_popularity: Mapping[str, float] = field(
        default_factory=lambda: {"all/recall@10": 0.0, "all/ndcg@10": 0.0}
    )
    under_blessed: Mapping[str, float] = field(
        default_factory=lambda: {"all/recall@10": 0.05, "all/ndcg@10": 0.05}
    )

    def to_text(self) -> str:
        """Returns the rules as JSON, to be handed to a component."""
        return json.dumps(
            {
                "at_least": dict(self.at_least),
                "over_popularity": dict(self.over_popularity),
                "under_blessed": dict(self.under_blessed),
            },
            sort_keys=True,
        )

    @classmethod
    def from_text(cls, text: str) -> BlessingRules:
        """Reads what `to_text` wrote.

        Example:
            >>> rules = BlessingRules(under_blessed={})
            >>> BlessingRules.from_text(rules.to_text()) == rules
            True
        """
        return cls(**json.loads(text))

    def check_ks(self, ks: Sequence[int]) -> None:
        """Raises where a rule names a figure that will not be measured, before anything is trained.

        Args:
            ks: `evaluate.ks` of the run.

        Raises: UsageError.

        Example:
            >>> BlessingRules().check_ks([10, 100])
        """
        for key in (*self.at_least, *self.over_popularity, *self.under_blessed):
            length = key.partition("@")[2].partition("_")[0]
            if length and length not in map(str, ks):
                raise UsageError(
                    f"A rule of blessing names {key!r}, but evaluate.ks is {list(ks)}. Add "
                    f"{length} to evaluate.ks, or give other rules."
                )

    def reasons_against(
        self, candidate: Slices, popularity: Slices, blessed: Slices | None = None
    ) -> list[str]:
        """Returns why the candidate is not good enough; nothing where it is.

        A slice without queries says nothing, neither for nor against.

        Args:
            candidate: slice → metric → figure.
            popularity: the same of the baseline, on the same queries.
            blessed: the same of the last blessed model, if there is one.

        Raises: UsageError when a rule names no slice or metric that there is.
        """
        reasons = []
        for key, least in self.at_least.items():
            value = _figure(candidate, key)
            if value is not None and not value >= least:
                reasons.append(f"{key} is {value:.4f}, below the {least:.4f} that are asked for")
        for key, margin in self.over_popularity.items():
            value, other = _figure(candidate, key), _figure(popularity, key)
            if value is not None and other is not None and not value > other * (1.0 + margin):
                reasons.append(
                    f"{key} is {value:.4f}, not more than {margin:.0%} over popularity's "
                    f"{other:.4f}"
                )
        for key, loss in self.under_blessed.items():
            if blessed is None:
                break
            value, other = _figure(candidate, key), _figure(blessed, key)
            if value is not None and other is not None and not value >= other * (1.0 - loss):
                reasons.append(
                    f"{key} is {value:.4f}, more than {loss:.0%} under the {other:.4f} of the last "
                    "blessed model"
                )
        return reasons


def _figure(slices: Slices, key: str) -> float | None:
    name, _, metric = key.partition("/")
    if name not in slices:
        raise UsageError(
            f"A rule of blessing names {key!r}, and there is no slice {name!r}. Slices are "
            f"{', '.join(slices)}; write slice/metric, such as all/recall@10."
        )
    if slices[name].get("queries") == 0:
        return None
    if metric not in slices[name]:
        known = ", ".join(k for k in slices[name] if not k.endswith("_ci95"))
        raise UsageError(f"A rule of blessing names {key!r}, and {name} has {known} only.")
    return float(slices[name][metric])
