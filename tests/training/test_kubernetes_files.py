"""The files of training/kubernetes, read as a cluster would read them."""

from __future__ import annotations

import json
import runpy
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from tfrec_llm.config.load import config_from

FOLDER = Path(__file__).resolve().parents[2] / "training" / "kubernetes"


def documents(name: str) -> list[Any]:
    return list(yaml.safe_load_all((FOLDER / name).read_text()))


@pytest.fixture(scope="module")
def job() -> Any:
    (found,) = documents("job.yaml")
    return found


@pytest.fixture(scope="module")
def entry() -> dict[str, Any]:
    return runpy.run_path(str(FOLDER / "worker.py"), run_name="entry")


def environment(job: Any) -> dict[str, str]:
    (container,) = job["spec"]["template"]["spec"]["containers"]
    return {variable["name"]: variable["value"] for variable in container["env"]}


def test_the_pods_of_the_job_are_one_cluster(job: Any, entry: dict[str, Any]) -> None:
    (service,) = documents("service.yaml")
    name, count = job["metadata"]["name"], job["spec"]["completions"]
    found = [
        json.loads(entry["tf_config"]({**environment(job), "JOB_COMPLETION_INDEX": str(index)}))
        for index in range(count)
    ]
    (port,) = service["spec"]["ports"]
    wanted = [f"{name}-{i}.{service['metadata']['name']}:{port['port']}" for i in range(count)]
    assert [config["cluster"] for config in found] == [{"worker": wanted}] * count
    assert [config["task"] for config in found] == [
        {"type": "worker", "index": index} for index in range(count)
    ]


def test_the_service_gives_the_pods_of_this_job_names(job: Any) -> None:
    (service,) = documents("service.yaml")
    assert service["spec"]["clusterIP"] == "None" or service["spec"]["clusterIP"] is None
    assert service["spec"]["selector"] == {"job-name": job["metadata"]["name"]}
    assert service["spec"]["publishNotReadyAddresses"] is True
    assert job["spec"]["template"]["spec"]["subdomain"] == service["metadata"]["name"]


def test_all_workers_run_at_once_and_a_lost_one_comes_back_with_its_index(job: Any) -> None:
    spec = job["spec"]
    assert spec["completionMode"] == "Indexed"
    assert spec["parallelism"] == spec["completions"] == int(environment(job)["WORKERS"])
    assert spec["template"]["spec"]["restartPolicy"] == "Never" and spec["backoffLimit"] > 0
    (container,) = spec["template"]["spec"]["containers"]
    assert "--resume" in container["args"]


def test_what_is_set_on_the_command_line_is_a_setting(job: Any) -> None:
    (container,) = job["spec"]["template"]["spec"]["containers"]
    key, _, value = container["args"][container["args"].index("--set") + 1].partition("=")
    section, name = key.split(".")
    config = config_from({"data": {"source": "bookshop"}, section: {name: value}})
    assert getattr(getattr(config, section), name) == value == "multi_worker"


def test_every_file_and_volume_that_is_named_is_there(job: Any) -> None:
    (kustomization,) = documents("kustomization.yaml")
    named = set(kustomization["resources"])
    (generated,) = kustomization["configMapGenerator"]
    named |= set(generated["files"])
    assert named == {file.name for file in FOLDER.iterdir() if file.is_file()} - {
        "kustomization.yaml"
    }
    pod = job["spec"]["template"]["spec"]
    (container,) = pod["containers"]
    mounts = {mount["name"]: mount["mountPath"] for mount in container["volumeMounts"]}
    volumes = {volume["name"]: volume for volume in pod["volumes"]}
    assert set(mounts) == set(volumes)
    assert volumes["entry"]["configMap"]["name"] == generated["name"]
    assert container["command"] == ["python", f"{mounts['entry']}/worker.py"]
    files = ("data_volume.yaml", "runs_volume.yaml")
    claims = {claim["metadata"]["name"] for name in files for claim in documents(name)}
    of_claims = [volume for volume in pod["volumes"] if "persistentVolumeClaim" in volume]
    asked = {volume["persistentVolumeClaim"]["claimName"] for volume in of_claims}
    assert asked == claims


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"JOB_COMPLETION_INDEX": None}, "'JOB_COMPLETION_INDEX' is not set"),
        ({"WORKERS": "many"}, "no number"),
        ({"JOB_COMPLETION_INDEX": "2"}, "WORKERS is 2"),
    ],
)
def test_a_wrong_environment_is_told_of(
    change: dict[str, str | None], told: str, job: Any, entry: dict[str, Any]
) -> None:
    given = {**environment(job), "JOB_COMPLETION_INDEX": "0", **change}
    with pytest.raises(SystemExit, match=told):
        entry["tf_config"]({name: value for name, value in given.items() if value is not None})


def test_the_entry_becomes_the_training(
    monkeypatch: pytest.MonkeyPatch, job: Any, entry: dict[str, Any]
) -> None:
    became: list[Any] = []
    for name, value in {**environment(job), "JOB_COMPLETION_INDEX": "1"}.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("TF_CONFIG", "")
    monkeypatch.setattr("os.execv", lambda *words: became.append(words))
    entry["main"](["run.yaml", "--out", "x"])
    assert became == [
        (sys.executable, [sys.executable, "-m", "tfrec_llm", "train", "run.yaml", "--out", "x"])
    ]
