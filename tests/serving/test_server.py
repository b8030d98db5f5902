"""A real server process, asked in every way that an export can be asked."""

from __future__ import annotations

import base64
import http.client
import math
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import grpc
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tensorflow_serving.apis import (
    get_model_metadata_pb2,
    get_model_status_pb2,
    model_service_pb2_grpc,
    predict_pb2,
    prediction_service_pb2_grpc,
)

from tfrec_llm.errors import RequestError
from tfrec_llm.keras_api import tf
from tfrec_llm.serving.client import GrpcClient, Query, RestClient
from tfrec_llm.serving.export_check import ask_in_fresh_process
from tfrec_llm.serving.loaded import load
from tfrec_llm.serving.sample_requests import serialized_example

LOWEST = float(np.finfo(np.float32).min)
Served = tuple[Any, Any]  # the world and its server


def users(world: Any) -> list[tuple[str, list[str]]]:
    """Users of every kind; all histories are three wide."""
    ids = world.item_ids
    return [
        ("space opera", ids[:3]),
        ("", [ids[7], "no such item", ""]),
        ("queen of sand", ["", "", ""]),
        ("", ["", "", ""]),
    ]


def test_every_way_to_ask_gives_the_same_ids(
    served: Served, exported: tuple[Any, Path], tmp_path: Path
) -> None:
    world, server = served
    asked = users(world)
    expected = [world.expected(text, history, [], world.max_k) for text, history in asked]
    ids = [row for row, _ in expected]

    rows = [{"user_text": text, "history": history} for text, history in asked]
    status, by_rows = server.predict({"instances": rows})
    assert status == 200
    assert [row["item_ids"] for row in by_rows["predictions"]] == ids
    scores = [row["scores"] for row in by_rows["predictions"]]
    np.testing.assert_allclose(scores, [s for _, s in expected], atol=1e-5)

    columns = {"user_text": [t for t, _ in asked], "history": [h for _, h in asked]}
    assert server.predict({"inputs": columns})[1]["outputs"]["item_ids"] == ids

    examples = [
        {"b64": base64.b64encode(serialized_example(text, history)).decode()}
        for text, history in asked
    ]
    request = {"signature_name": "serve_examples", "instances": examples}
    by_examples = server.predict(request)[1]["predictions"]
    assert [row["item_ids"] for row in by_examples] == ids

    over_grpc = GrpcClient(server.grpc, "tiny").predict("serving_default", columns)
    assert over_grpc["item_ids"] == ids

    recommender = load(exported[1])
    in_process = [recommender.recommend(t, h, k=world.max_k) for t, h in asked]
    assert [[item.item_id for item in items] for items in in_process] == [
        [item_id for item_id in row if item_id] for row in ids
    ]

    _, (by_session,) = ask_in_fresh_process(exported[1], [("serving_default", columns)])
    assert [[i.decode() for i in row] for row in by_session["item_ids"]] == ids


def test_both_clients_recommend_exclude_and_find_alike(
    served: Served, exported: tuple[Any, Path]
) -> None:
    world, server = served
    recommender = load(exported[1])
    history, exclude = world.item_ids[:2], world.item_ids[5:8]
    expected, scores = world.expected("space opera", history, exclude, 4)
    for client in (RestClient(server.rest, "tiny"), GrpcClient(server.grpc, "tiny", version=1)):
        found = client.recommend("space opera", history, exclude, 4)
        assert [item_id for item_id, _ in found] == expected
        assert [score for _, score in found] == pytest.approx(scores.tolist(), abs=1e-5)
        queries = [Query(), Query("sand", world.item_ids[3:8]), Query(exclude=["i9"])]
        lists = client.batch(queries, 3)
        assert [[i for i, _ in row] for row in lists] == [
            world.expected(q.text, list(q.history), list(q.exclude), 3)[0] for q in queries
        ]
        alike = [item.item_id for item in recommender.similar("i6", 5)]
        assert [item_id for item_id, _ in client.similar("i6", 5)] == alike
        assert client.similar("no such item") == []
        assert client.recommend(history=world.item_ids) == []
        assert client.batch([]) == []
        with pytest.raises(RequestError, match="must be at least 1") as refused:
            client.recommend("x", k=0)
        assert refused.value.code == "INVALID_ARGUMENT"
        client.close()


def test_many_clients_at_once_each_get_their_own_answer(served: Served) -> None:
    world, server = served
    asked = [("sand", world.item_ids[n : n + n % 5]) for n in range(30)] * 2
    client = RestClient(server.rest, "tiny")
    with ThreadPoolExecutor(16) as threads:
        found = list(threads.map(lambda one: client.recommend(*one, k=5), asked))
    for (text, history), items in zip(asked, found, strict=True):
        assert [item_id for item_id, _ in items] == world.expected(text, history, [], 5)[0]


def test_the_status_is_that_of_tensorflow_serving(served: Served) -> None:
    available = {
        "version": "1",
        "state": "AVAILABLE",
        "status": {"error_code": "OK", "error_message": ""},
    }
    _, server = served
    for path in ("/v1/models/tiny", "/v1/models/tiny/versions/1"):
        assert server.request("GET", path) == (200, {"model_version_status": [available]})
    assert server.request("GET", "/v1/models/tiny/versions/9") == (
        404,
        {"error": "Could not find version 9 of model tiny"},
    )
    assert server.request("GET", "/v1/models/other")[0] == 404
    with grpc.insecure_channel(server.grpc) as channel:
        request = get_model_status_pb2.GetModelStatusRequest()
        request.model_spec.name = "tiny"
        told = model_service_pb2_grpc.ModelServiceStub(channel).GetModelStatus(request)
    assert [(v.version, v.state, v.status.error_code) for v in told.model_version_status] == [
        (1, 30, 0)
    ]


def test_the_metadata_tell_names_types_and_shapes(served: Served) -> None:
    world, server = served
    status, told = server.request("GET", "/v1/models/tiny/metadata")
    assert status == 200
    assert told["model_spec"] == {"name": "tiny", "signature_name": "", "version": "1"}
    signatures = told["metadata"]["signature_def"]["signature_def"]
    history = signatures["recommend"]["inputs"]["history"]
    assert history["dtype"] == "DT_STRING"
    assert [d["size"] for d in history["tensor_shape"]["dim"]] == ["-1", "-1"]
    assert signatures["recommend"]["method_name"] == "tensorflow/serving/predict"
    width = signatures["serving_default"]["outputs"]["scores"]["tensor_shape"]["dim"][1]
    assert width["size"] == str(world.max_k)

    with grpc.insecure_channel(server.grpc) as channel:
        request = get_model_metadata_pb2.GetModelMetadataRequest(metadata_field=["signature_def"])
        request.model_spec.name = "tiny"
        stub = prediction_service_pb2_grpc.PredictionServiceStub(channel)
        found = stub.GetModelMetadata(request)
        signature_defs = get_model_metadata_pb2.SignatureDefMap()
        found.metadata["signature_def"].Unpack(signature_defs)
        assert set(signature_defs.signature_def) == set(signatures)
        request.metadata_field[0] = "else"
        with pytest.raises(grpc.RpcError) as refused:
            stub.GetModelMetadata(request)
        assert refused.value.code() is grpc.StatusCode.INVALID_ARGUMENT


def test_one_output_alone_has_no_name(served: Served) -> None:
    _, server = served
    inputs = {"user_text": ["sand"], "history": [[]]}
    rows = [{"user_text": "sand", "history": []}]
    request = {"signature_name": "encode_users"}
    by_column = server.predict({**request, "inputs": inputs})[1]["outputs"]
    by_row = server.predict({**request, "instances": rows})[1]["predictions"]
    assert by_column == by_row
    assert np.array(by_row).shape == (1, 6)


ROW = {"user_text": "a", "history": ["i1"]}
REFUSED: dict[str, tuple[Any, str]] = {
    "no request": ({}, "Missing 'inputs' or 'instances' key"),
    "both forms": ({"instances": [ROW], "inputs": {}}, "only one of"),
    "no rows": ({"instances": []}, "No values in 'instances' array"),
    "no list": ({"instances": ROW}, "to be an list/array"),
    "plain rows": ({"instances": ["a"]}, "expecting list of objects"),
    "an input missing": ({"instances": [{"user_text": "a"}]}, "keys must be equal to"),
    "a column missing": ({"inputs": {"user_text": ["a"]}}, "Missing named input: history"),
    "ragged rows": ({"instances": [ROW, {**ROW, "history": []}]}, "same width"),
    "ragged columns": ({"inputs": {"user_text": ["a", "b"], "history": [["a"], []]}}, "width"),
    "a number": ({"instances": [{**ROW, "user_text": 3}]}, "not of expected type: string"),
    "null": ({"instances": [{**ROW, "user_text": None}]}, "Type: Null"),
    "wrong base64": ({"instances": [{**ROW, "user_text": {"b64": "!"}}]}, "base64 decode"),
    "too flat": ({"instances": [{**ROW, "history": "i1"}]}, "must have shape"),
    "rows differ": ({"inputs": {"user_text": ["a"], "history": [["a"], ["b"]]}}, "number of rows"),
    "no such signature": ({"signature_name": "x", "instances": [ROW]}, "not found in signature"),
    "no name": ({"signature_name": 3, "instances": [ROW]}, "must be a string value"),
    "k in rows": (
        {"signature_name": "similar_items", "instances": [{"item_ids": "i1", "k": 3}]},
        "columnar format",
    ),
    "k of zero": (
        {"signature_name": "similar_items", "inputs": {"item_ids": ["i1"], "k": 0}},
        "at least 1",
    ),
    "k too large for its type": (
        {"signature_name": "similar_items", "inputs": {"item_ids": ["i1"], "k": 2**31}},
        "not of expected type: int32",
    ),
    "k with a point": (
        {"signature_name": "similar_items", "inputs": {"item_ids": ["i1"], "k": 3.0}},
        "not of expected type: int32",
    ),
    "too many rows": (
        {"inputs": {"user_text": [""] * 2000, "history": [[]] * 2000}},
        "larger than maximum",
    ),
}


@pytest.mark.parametrize("fault", REFUSED)
def test_a_wrong_request_is_told_what_is_wrong(served: Served, fault: str) -> None:
    request, message = REFUSED[fault]
    status, answer = served[1].predict(request)
    assert (status, list(answer)) == (400, ["error"])
    assert message in answer["error"]
    assert "Traceback" not in answer["error"] and "Graph execution" not in answer["error"]


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{",
        b"[]",
        b"\xff\xfe",
        b'{"instances": [{"user_text": "\\ud800", "history": []}]}',
        b"[" * 100_000,
        b'{"instances": ' + b"[" * 900 + b"]" * 900 + b"}",
        b'{"inputs": {"k": ' + b"9" * 5000 + b"}}",
    ],
    ids=range(8),
)
def test_a_body_that_is_no_request_is_refused(served: Served, body: bytes) -> None:
    status, answer = served[1].request("POST", "/v1/models/tiny:predict", body)
    assert (status, list(answer)) == (400, ["error"])


def test_another_model_version_label_or_path_is_not_found(served: Served) -> None:
    _, server = served
    request = {"instances": [ROW]}
    missing = "Servable not found for request: Specific(tiny, 7)"
    assert server.predict(request, "/versions/7") == (404, {"error": missing})
    status, answer = server.predict(request, "/labels/canary")
    assert (status, answer["error"]) == (400, "Unrecognized servable version label: canary")
    assert server.request("POST", "/v1/models/other:predict", b'{"instances": []}') == (
        404,
        {"error": "Servable not found for request: Latest(other)"},
    )
    assert server.request("POST", "/v1/models/tiny:classify", b"{}")[0] == 400
    assert server.request("POST", f"/v1/models/tiny/versions/{9**99}:predict", b"{}")[0] == 400
    assert server.request("PUT", "/v1/models/tiny", b"{}")[0] == 400
    assert server.request("GET", "/elsewhere")[0] == 404


def test_a_body_above_the_limit_is_refused_whether_its_length_is_told_or_not(
    served: Served,
) -> None:
    _, server = served
    connection = http.client.HTTPConnection(server.rest.removeprefix("http://"), timeout=60)
    for chunked in (False, True):
        connection.putrequest("POST", "/v1/models/tiny:predict")
        if chunked:
            connection.putheader("Transfer-Encoding", "chunked")
            connection.endheaders()
            connection.send(b"40001\r\n" + b" " * 0x40001 + b"\r\n")
        else:
            connection.putheader("Content-Length", str(10**9))
            connection.endheaders()
        answer = connection.getresponse()
        assert answer.status == 413
        assert b"--max-body-mb" in answer.read()
        connection.close()
    assert server.predict({"instances": [ROW]})[0] == 200


def grpc_request(server: Any, **inputs: Any) -> predict_pb2.PredictRequest:
    request = predict_pb2.PredictRequest()
    request.model_spec.name = "tiny"
    for name, value in inputs.items():
        request.inputs[name].CopyFrom(value)
    return request


def test_wrong_grpc_requests_get_the_code_of_their_fault(served: Served) -> None:
    _, server = served
    text, history = tf.make_tensor_proto(["a"]), tf.make_tensor_proto([["i1"]])
    lying, negative, bare = (tf.make_tensor_proto(["a"]) for _ in range(3))
    lying.tensor_shape.dim[0].size = 2**40
    negative.tensor_shape.dim[0].size = -1
    bare.tensor_shape.unknown_rank = True
    del bare.tensor_shape.dim[:]
    code = grpc.StatusCode
    faults = [
        (grpc_request(server, user_text=text), code.INVALID_ARGUMENT),
        (grpc_request(server, user_text=text, history=text), code.INVALID_ARGUMENT),
        (
            grpc_request(server, user_text=tf.make_tensor_proto([1.0]), history=history),
            code.INVALID_ARGUMENT,
        ),
        *(
            (grpc_request(server, user_text=wrong, history=history), code.INVALID_ARGUMENT)
            for wrong in (lying, negative, bare)
        ),
    ]
    other, signature, output = (
        grpc_request(server, user_text=text, history=history) for _ in range(3)
    )
    other.model_spec.name = "other"
    signature.model_spec.signature_name = "x"
    output.output_filter.append("x")
    faults += [
        (other, code.NOT_FOUND),
        (signature, code.FAILED_PRECONDITION),
        (output, code.INVALID_ARGUMENT),
    ]
    with grpc.insecure_channel(server.grpc) as channel:
        stub = prediction_service_pb2_grpc.PredictionServiceStub(channel)
        for request, expected in faults:
            with pytest.raises(grpc.RpcError) as refused:
                stub.Predict(request, timeout=60)
            assert refused.value.code() is expected, refused.value.details()
        good = grpc_request(server, user_text=text, history=history)
        good.output_filter.append("scores")
        answer = stub.Predict(good, timeout=60)
    assert (list(answer.outputs), answer.model_spec.version.value) == (["scores"], 1)


# Anything at all

IDS = st.one_of(st.sampled_from(["", "i1", "i7", "日本", "with space", "no such item"]), st.text())
ANY_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=9), inner, max_size=3)
    ),
    max_leaves=8,
)
slow_machine = settings(max_examples=40, deadline=None, derandomize=True)


@slow_machine
@given(data=st.data(), k=st.integers(-2, 60), rows=st.integers(0, 4))
def test_any_strings_and_widths_give_items_of_the_catalogue_or_a_clear_400(
    served: Served, data: Any, k: int, rows: int
) -> None:
    world, server = served
    width = st.lists(IDS, max_size=6)
    draw = data.draw
    texts = draw(st.lists(st.text(max_size=20), min_size=rows, max_size=rows))
    history = draw(st.lists(width, min_size=rows, max_size=rows))
    exclude = draw(st.lists(width, min_size=rows, max_size=rows))
    inputs = {"user_text": texts, "history": history, "exclude_ids": exclude, "k": k}
    status, answer = server.predict({"signature_name": "recommend", "inputs": inputs})
    ragged = len(set(map(len, history))) > 1 or len(set(map(len, exclude))) > 1
    if k < 1 or ragged:
        assert (status, list(answer)) == (400, ["error"])
        return
    assert status == 200, answer
    found = answer["outputs"]
    assert len(found["item_ids"]) == len(found["scores"]) == rows
    for row in range(rows):
        ids, scores = found["item_ids"][row], found["scores"][row]
        assert len(ids) == len(scores) == min(k, world.max_k)
        assert set(ids) <= {*world.item_ids, ""} - {i for i in history[row] + exclude[row] if i}
        assert all(map(math.isfinite, scores))
        assert all(score == LOWEST for i, score in zip(ids, scores, strict=True) if not i)


@slow_machine
@given(key=st.sampled_from(["instances", "inputs"]), value=ANY_JSON, name=st.none() | ANY_JSON)
def test_any_json_is_answered_or_refused_in_json(
    served: Served, key: str, value: Any, name: Any
) -> None:
    request = {key: value} if name is None else {key: value, "signature_name": name}
    status, answer = served[1].predict(request)
    assert (status == 200) != ("error" in answer)
    assert status in (200, 400)


@slow_machine
@given(st.binary(max_size=40))
def test_any_bytes_are_refused_in_json(served: Served, body: bytes) -> None:
    status, answer = served[1].request("POST", "/v1/models/tiny:predict", body)
    assert (status, list(answer)) == (400, ["error"])


@slow_machine
@given(st.binary(max_size=40))
def test_any_bytes_as_an_example_are_answered_or_refused(served: Served, raw: bytes) -> None:
    world, server = served
    example = {"b64": base64.b64encode(raw).decode()}
    request = {"signature_name": "serve_examples", "instances": [example]}
    status, answer = server.predict(request)
    if status == 200:
        assert set(answer["predictions"][0]["item_ids"]) <= {*world.item_ids, ""}
    else:
        assert (status, list(answer)) == (400, ["error"])


def test_the_metrics_count_requests_by_their_code(served: Served) -> None:
    _, server = served
    path = "/monitoring/prometheus/metrics"

    def counted() -> dict[str, float]:
        connection = http.client.HTTPConnection(server.rest.removeprefix("http://"), timeout=60)
        connection.request("GET", path)
        lines = connection.getresponse().read().decode().splitlines()
        connection.close()
        return {k: float(v) for k, v in (n.rsplit(" ", 1) for n in lines if n[0] != "#")}

    before = counted()
    server.predict({"instances": [ROW, ROW]})
    server.predict({"instances": []})
    GrpcClient(server.grpc, "tiny").recommend("sand")
    after = counted()
    for labels in (
        'api="REST",code="OK",model="tiny",signature="serving_default"',
        'api="REST",code="INVALID_ARGUMENT",model="tiny",signature="serving_default"',
        'api="gRPC",code="OK",model="tiny",signature="recommend"',
    ):
        name = f"tfrec_llm_requests_total{{{labels}}}"
        assert after[name] == before.get(name, 0) + 1
    rows = 'tfrec_llm_batch_rows_sum{model="tiny"}'
    assert after[rows] == before.get(rows, 0) + 3
    seconds = 'tfrec_llm_request_seconds_count{api="gRPC",model="tiny",signature="recommend"}'
    assert after[seconds] == before.get(seconds, 0) + 1
    assert after['tfrec_llm_version_available{model="tiny",version="1"}'] == 1
