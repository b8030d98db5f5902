"""The files of export/tf_serving, parsed as a server, Docker and a cluster would parse them."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
import yaml
from google.protobuf import (
    descriptor_pb2,
    descriptor_pool,
    message_factory,
    text_format,
    wrappers_pb2,
)
from tensorflow_serving.config.model_server_config_pb2 import ModelServerConfig

FOLDER = Path(__file__).resolve().parents[2] / "export" / "tf_serving"
NAME, BASE_PATH = "recommender", "/models/recommender"
GRPC, REST = 8500, 8501


def _message(name: str, fields: dict[str, str], nested: dict[str, dict[str, str]]) -> Any:
    """Builds the class of a message whose definition no installed package holds."""
    pool = descriptor_pool.DescriptorPool()
    pool.AddSerializedFile(wrappers_pb2.DESCRIPTOR.serialized_pb)
    file = descriptor_pb2.FileDescriptorProto(
        name=f"{name}.proto",
        package="t",
        syntax="proto3",
        dependency=["google/protobuf/wrappers.proto"],
    )
    for message, kinds in {**nested, name: fields}.items():
        described = file.message_type.add(name=message)
        for number, (field, kind) in enumerate(kinds.items(), start=1):
            repeated = kind.startswith("repeated ")
            added = described.field.add(name=field, number=number, label=3 if repeated else 1)
            kind = kind.removeprefix("repeated ")
            if kind in ("bool", "string", "int64"):
                added.type = {"bool": 8, "string": 9, "int64": 3}[kind]
            else:
                added.type, added.type_name = 11, kind
    pool.AddSerializedFile(file.SerializeToString())
    found = pool.FindMessageTypeByName(f"t.{name}")
    if hasattr(message_factory, "GetMessageClass"):
        return message_factory.GetMessageClass(found)
    return message_factory.MessageFactory(pool).GetPrototype(found)  # protobuf 3.20, beside TFX


_INT, _TEXT = ".google.protobuf.Int64Value", ".google.protobuf.StringValue"
BATCHING = {
    "max_batch_size": _INT,
    "batch_timeout_micros": _INT,
    "max_enqueued_batches": _INT,
    "num_batch_threads": _INT,
    "thread_pool_name": _TEXT,
    "allowed_batch_sizes": "repeated int64",
    "pad_variable_length_inputs": "bool",
}


def _models(file: str) -> Any:
    (model,) = text_format.Parse(
        (FOLDER / file).read_text(), ModelServerConfig()
    ).model_config_list.config
    return model


def _yaml(path: str) -> Any:
    return yaml.safe_load((FOLDER / path).read_text())


@pytest.fixture(scope="module")
def container() -> dict[str, Any]:
    (found,) = _yaml("kubernetes/deployment.yaml")["spec"]["template"]["spec"]["containers"]
    return found


@pytest.mark.parametrize("file", ["models.config", "models.labels.config"])
def test_the_server_finds_one_model_under_the_name_that_clients_use(file: str) -> None:
    model = _models(file)
    assert (model.name, model.base_path, model.model_platform) == (NAME, BASE_PATH, "tensorflow")


def test_two_versions_stay_loaded_and_follow_what_is_written() -> None:
    assert _models("models.config").model_version_policy.latest.num_versions == 2


def test_every_label_names_a_version_that_is_loaded_for_good() -> None:
    model = _models("models.labels.config")
    assert set(model.version_labels) == {"stable", "canary"}
    assert set(model.version_labels.values()) <= set(model.model_version_policy.specific.versions)


def test_batches_are_bounded_and_padded() -> None:
    config = _message("BatchingParameters", BATCHING, {})()
    text_format.Parse((FOLDER / "batching.config").read_text(), config)
    assert config.max_batch_size.value == 32
    assert 0 < config.batch_timeout_micros.value <= 10_000
    assert config.max_enqueued_batches.value > config.num_batch_threads.value > 0
    assert config.pad_variable_length_inputs


def test_a_batching_field_that_is_misspelt_would_be_noticed() -> None:
    config = _message("BatchingParameters", BATCHING, {})()
    with pytest.raises(text_format.ParseError):
        text_format.Parse("max_batch_sizes { value: 32 }", config)


def test_prometheus_reads_where_the_pods_say(container: dict[str, Any]) -> None:
    kind = _message(
        "MonitoringConfig",
        {"prometheus_config": ".t.PrometheusConfig"},
        {"PrometheusConfig": {"enable": "bool", "path": "string"}},
    )
    config = text_format.Parse((FOLDER / "monitoring.config").read_text(), kind())
    assert config.prometheus_config.enable
    pod = _yaml("kubernetes/deployment.yaml")["spec"]["template"]["metadata"]["annotations"]
    assert pod["prometheus.io/path"] == config.prometheus_config.path
    assert pod["prometheus.io/port"] == str(REST)


def _command(dockerfile: str) -> list[str]:
    text = (FOLDER / dockerfile).read_text().replace("\\\n", "")
    return list(json.loads(re.findall(r"^CMD (\[.*\])$", text, re.MULTILINE)[0]))


def _arguments() -> dict[str, list[str]]:
    (deployed,) = _yaml("kubernetes/deployment.yaml")["spec"]["template"]["spec"]["containers"]
    return {
        "Dockerfile": _command("Dockerfile"),
        "Dockerfile.scann": _command("Dockerfile.scann"),
        "compose": _yaml("compose.yaml")["services"]["recommender-batching"]["command"],
        "kubernetes": deployed["args"],
    }


@pytest.mark.parametrize("where", ["Dockerfile", "Dockerfile.scann", "compose", "kubernetes"])
def test_the_server_listens_on_its_ports_and_its_files_are_there(where: str) -> None:
    found = dict(argument.removeprefix("--").split("=") for argument in _arguments()[where])
    assert (found["port"], found["rest_api_port"]) == (str(GRPC), str(REST))
    files = [value for name, value in found.items() if name.endswith("_file")]
    assert len(files) >= 2
    for path in files:
        assert Path(path).parent == Path("/etc/tf_serving")
        assert (FOLDER / Path(path).name).is_file()


@pytest.mark.parametrize("dockerfile", ["Dockerfile", "Dockerfile.scann"])
def test_images_hold_every_file_that_they_name(dockerfile: str) -> None:
    text = (FOLDER / dockerfile).read_text()
    (copied,) = re.findall(r"^COPY (\S+\.config .*) /etc/tf_serving/$", text, re.MULTILINE)
    assert set(copied.split()) == {path.name for path in FOLDER.glob("*.config")}


def test_the_scann_server_extends_the_list_of_ops() -> None:
    text = (FOLDER / "Dockerfile.scann").read_text()
    (name,) = re.findall(r'name = "(\w+)",\\n    alwayslink', text)
    assert f"scann_ops/cc:{name}" in text and f"grep -q {name}" in text


def test_composed_services_mount_one_export_and_share_no_port() -> None:
    services = _yaml("compose.yaml")["services"]
    published = [port.split(":")[0] for service in services.values() for port in service["ports"]]
    assert len(published) == len(set(published))
    for service in services.values():
        assert [port.split(":")[1] for port in service["ports"]] == [str(GRPC), str(REST)]
        (volume,) = service["volumes"]
        assert volume.endswith(f":{BASE_PATH}:ro")
        if "build" in service:
            assert (FOLDER / service["build"]["dockerfile"]).is_file()
    assert set(services) - {"recommender"} == {n for n, s in services.items() if "profiles" in s}


def test_pods_are_probed_on_ports_that_they_have(container: dict[str, Any]) -> None:
    ports = {port["name"]: port["containerPort"] for port in container["ports"]}
    assert ports == {"grpc": GRPC, "rest": REST}
    for probe in ("startupProbe", "readinessProbe"):
        assert container[probe]["httpGet"] == {"path": f"/v1/models/{NAME}", "port": "rest"}
    assert container["livenessProbe"]["tcpSocket"]["port"] in ports
    service = _yaml("kubernetes/service.yaml")["spec"]["ports"]
    assert {(p["port"], p["targetPort"]) for p in service} == {(GRPC, "grpc"), (REST, "rest")}


def test_names_agree_across_the_manifests(container: dict[str, Any]) -> None:
    kustomization = _yaml("kustomization.yaml")
    manifests = [_yaml(path) for path in kustomization["resources"]]
    listed = {Path(path).name for path in kustomization["resources"]}
    assert listed == {path.name for path in (FOLDER / "kubernetes").iterdir()}
    by_kind = {manifest["kind"]: manifest for manifest in manifests}
    deployment = by_kind["Deployment"]["spec"]
    labels = deployment["template"]["metadata"]["labels"]
    assert deployment["selector"]["matchLabels"] == labels
    assert by_kind["Service"]["spec"]["selector"] == labels
    assert by_kind["PodDisruptionBudget"]["spec"]["selector"]["matchLabels"] == labels
    target = by_kind["HorizontalPodAutoscaler"]["spec"]["scaleTargetRef"]
    assert (target["kind"], target["name"]) == (
        "Deployment",
        by_kind["Deployment"]["metadata"]["name"],
    )
    volumes = {v["name"]: v for v in deployment["template"]["spec"]["volumes"]}
    assert {m["name"] for m in container["volumeMounts"]} == set(volumes)
    claim = volumes["exports"]["persistentVolumeClaim"]["claimName"]
    assert claim == by_kind["PersistentVolumeClaim"]["metadata"]["name"]
    (generated,) = kustomization["configMapGenerator"]
    assert volumes["config"]["configMap"]["name"] == generated["name"]
    mounted = {m["name"]: m["mountPath"] for m in container["volumeMounts"]}
    assert mounted == {"config": "/etc/tf_serving", "exports": BASE_PATH}
    used = {Path(a.split("=")[1]).name for a in container["args"] if "_file=" in a}
    assert used == set(generated["files"])


def test_the_autoscaler_owns_the_number_of_pods() -> None:
    autoscaler = _yaml("kubernetes/autoscaler.yaml")["spec"]
    assert 2 <= autoscaler["minReplicas"] < autoscaler["maxReplicas"]
    assert "replicas" not in _yaml("kubernetes/deployment.yaml")["spec"]
    # A share of the processor is a share of what is requested, so a request must be there.
    (container,) = _yaml("kubernetes/deployment.yaml")["spec"]["template"]["spec"]["containers"]
    assert container["resources"]["requests"]["cpu"]
    assert autoscaler["metrics"][0]["resource"]["name"] == "cpu"
