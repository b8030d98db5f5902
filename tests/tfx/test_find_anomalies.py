from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tfrec_llm.errors import DataError

_SCHEMA = """
feature { name: "item_id" type: BYTES drift_comparator { infinity_norm { threshold: 0.05 } } }
"""


def _statistics(path: Path, item_ids: list[Any]) -> Path:
    import pandas as pd
    import tensorflow_data_validation as tfdv

    frame = pd.DataFrame({"item_id": item_ids})
    statistics = tfdv.generate_statistics_from_dataframe(frame)
    path.write_bytes(statistics.SerializeToString())
    return path


def test_drift_names_the_feature_and_only_what_moved_too_far(tmp_path: Path) -> None:
    from tfrec_llm.pipelines.on_tfx.find_anomalies import drift

    schema = tmp_path / "schema.pbtxt"
    schema.write_text(_SCHEMA)
    before = _statistics(tmp_path / "before", ["a"] * 50 + ["b"] * 50)
    little = _statistics(tmp_path / "little", ["a"] * 52 + ["b"] * 48)
    much = _statistics(tmp_path / "much", ["a"] * 80 + ["b"] * 20)
    assert drift(little, schema, before) == []
    [found] = drift(much, schema, before)
    assert found.startswith("`item_id`:")
    assert "0.3" in found and "0.05" in found


def test_another_type_than_that_of_the_schema_is_named(tmp_path: Path) -> None:
    from tfrec_llm.pipelines.on_tfx.find_anomalies import drift

    schema = tmp_path / "schema.pbtxt"
    schema.write_text(_SCHEMA)
    numbers = _statistics(tmp_path / "numbers", [7, 8])
    assert any("BYTES" in found and "INT" in found for found in drift(numbers, schema, numbers))


def test_missing_statistics_are_named(tmp_path: Path) -> None:
    from tfrec_llm.pipelines.on_tfx.find_anomalies import drift

    with pytest.raises(DataError, match="no statistics .*nowhere"):
        drift(tmp_path / "a", tmp_path / "b", tmp_path / "nowhere")
