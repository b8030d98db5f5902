"""A small shop, trained once in this process."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tfrec_llm.config.load import load_config
from tfrec_llm.config.run_config import RunConfig
from tfrec_llm.testing.small_tables import small_tables


@pytest.fixture(scope="session", autouse=True)
def cache_folder_of_workflows(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TFREC_LLM_CACHE", str(tmp_path_factory.mktemp("cache")))
        yield


@pytest.fixture(scope="session")
def shop_tables(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return small_tables(tmp_path_factory.mktemp("tables"))


@pytest.fixture(scope="session")
def tiny_bert(tmp_path_factory: pytest.TempPathFactory) -> Path:
    from tfrec_llm.testing.tiny_models import tiny_preset

    return tiny_preset(tmp_path_factory.mktemp("preset"))


@pytest.fixture(scope="session")
def shop_config(
    shop_tables: Path, tiny_bert: Path, tmp_path_factory: pytest.TempPathFactory
) -> Callable[..., RunConfig]:
    """Returns the configuration of a quick run on the shop, changed by `section.key=value`s."""
    path = tmp_path_factory.mktemp("config") / "run.yaml"
    path.write_text(
        f"data: {{items: {shop_tables}/items.csv, interactions: {shop_tables}/interactions.csv, "
        f"users: {shop_tables}/users.csv}}\n"
        f"encoder: {{preset: {tiny_bert}}}\ntext: {{max_tokens: 16}}\n"
        "towers: {embedding_dim: 8, max_history: 5, text_start_share: 1.0, history: mean}\n"
        "train: {epochs: 1, batch_size: 32, uniform_negatives: 16, learning_rate: 0.02}\n"
        "evaluate: {ks: [5, 10], bootstrap_samples: 20}\nindex: {kind: brute_force, max_k: 50}\n"
    )
    return lambda *overrides: load_config(path, overrides)


@pytest.fixture(scope="session")
def trained_shop(
    shop_config: Callable[..., RunConfig], tmp_path_factory: pytest.TempPathFactory
) -> Path:
    """The run folder of a transformer trained for two epochs."""
    from tfrec_llm.workflows.train import train

    folder = tmp_path_factory.mktemp("trained") / "run"
    train(shop_config("towers.history=transformer", "train.epochs=2", "train.patience=2"), folder)
    return folder


@pytest.fixture(scope="session")
def exported_shop(trained_shop: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The export of that run, loaded once in a process of its own; not to be changed."""
    from tfrec_llm.workflows.export import export

    folder = tmp_path_factory.mktemp("exported_shop") / "export"
    export(trained_shop, folder)
    return folder


@pytest.fixture
def without_fresh_process(monkeypatch: pytest.MonkeyPatch) -> None:
    """Leaves out the check of an export in a process of its own, which takes seconds."""
    from tfrec_llm.serving import saved_model

    def no_ops(*_: Any) -> list[dict[str, str | None]]:
        return []

    monkeypatch.setattr(saved_model, "check_export", no_ops)
