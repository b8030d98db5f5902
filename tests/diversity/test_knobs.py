from __future__ import annotations

from typing import Any

import pytest

from tfrec_llm.diversity.knobs import Knobs
from tfrec_llm.errors import UsageError


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"diversity": -0.1}, "`diversity` must lie between 0 .* and 1 .*, got -0.1"),
        ({"diversity": 1.1}, "got 1.1"),
        ({"diversity": float("nan")}, "got nan"),
        ({"method": "best"}, "one of mmr, dpp, got 'best'"),
        ({"popularity_penalty": -1.0}, "`popularity_penalty` must be 0 or more, got -1.0"),
        ({"popularity_penalty": float("inf")}, "got inf"),
        ({"popularity_penalty": float("nan")}, "got nan"),
        ({"max_per_category": 0}, "`max_per_category` must be at least 1, got 0"),
    ],
)
def test_values_out_of_range_are_usage_errors(values: dict[str, Any], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        Knobs(**values)


def test_a_method_alone_turns_nothing_and_each_other_knob_does() -> None:
    assert not Knobs(method="dpp").is_turned
    assert Knobs(diversity=0.1).is_turned
    assert Knobs(popularity_penalty=0.1).is_turned
    assert Knobs(max_per_category=1).is_turned
