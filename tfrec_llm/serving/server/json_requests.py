"""JSON ↔ arrays, in the row and the columnar format of TensorFlow Serving's REST API."""

from __future__ import annotations

import base64
import binascii
import json
from collections.abc import Mapping
from typing import Any

import numpy as np

from tfrec_llm.errors import RequestError
from tfrec_llm.serving.server.checked_inputs import check_size
from tfrec_llm.serving.signatures import Tensor

Arrays = dict[str, np.ndarray]
Inputs = Mapping[str, Tensor]
_INTEGERS = {"int32": range(-(2**31), 2**31), "int64": range(-(2**63), 2**63)}
_MAX_RANK = 8  # no signature has more than two; a list nested deeper is refused


def parse_body(body: bytes) -> dict[str, Any]:
    """Reads the JSON object of a request.

    Args:
        body: UTF-8.

    Raises: RequestError when it is no JSON object.

    Example:
        >>> parse_body(b'{"instances": ["a"]}')
        {'instances': ['a']}
    """
    if not body:
        raise RequestError("JSON Parse error: The document is empty")
    try:
        document = json.loads(body.decode())
    except json.JSONDecodeError as error:
        raise RequestError(f"JSON Parse error: {error.msg} at offset: {error.pos}") from error
    except UnicodeDecodeError as error:
        message = f"JSON Parse error: Invalid encoding in string. at offset: {error.start}"
        raise RequestError(message) from error
    except RecursionError as error:
        raise RequestError("JSON Parse error: Values are nested too deeply.") from error
    except ValueError as error:  # a whole number of thousands of digits
        raise RequestError(f"JSON Parse error: {error}") from error
    if not isinstance(document, dict):
        raise RequestError(f"JSON Value: {_shown(document)} Is not object")
    return document


def signature_name(document: Mapping[str, Any]) -> str:
    """Returns the signature that a request names, `serving_default` if none.

    Raises: RequestError when it is no string.
    """
    name = document.get("signature_name", "")
    if not isinstance(name, str):
        raise RequestError(
            f"JSON Value: {_shown(document)} not formatted correctly. 'signature_name' key must "
            "be a string value."
        )
    return name or "serving_default"


def arrays_of(document: Mapping[str, Any], inputs: Inputs) -> tuple[bool, dict[str, np.ndarray]]:
    """Makes the arrays of a request from `instances` (rows) or `inputs` (columns).

    Args:
        document: the request.
        inputs: what its signature takes.

    Returns: whether it is in row format, and an array for each input.

    Raises: RequestError that says what is wrong and where.

    Example:
        >>> texts = {"text": Tensor("string", (None,))}
        >>> arrays_of({"instances": ["a", {"b64": "Yg=="}]}, texts)
        (True, {'text': array([b'a', b'b'], dtype=object)})
    """
    if "instances" in document and "inputs" in document:
        raise RequestError(
            f"JSON Value: {_shown(document)} Not formatted correctly expecting only one of "
            "'inputs' or 'instances' keys to exist "
        )
    if "instances" in document:
        return True, _from_rows(document["instances"], inputs)
    if "inputs" in document:
        return False, _from_columns(document["inputs"], inputs)
    raise RequestError("Missing 'inputs' or 'instances' key")


def answer_body(outputs: Mapping[str, np.ndarray], is_row_format: bool) -> bytes:
    """Writes the answer of a request: `predictions` for rows, `outputs` for columns.

    Args:
        outputs: arrays with rows; a name that ends in `_bytes` is written as base64.
        is_row_format: of the request.

    Returns: UTF-8. One output alone is written without its name.

    Example:
        >>> scores = np.array([[0.1], [0.2]], np.float32)
        >>> answer_body({"scores": scores}, True)
        b'{"predictions": [[0.1], [0.2]]}'
        >>> answer_body({"a": scores, "b_bytes": np.array([b"x", b"y"], object)}, False)
        b'{"outputs": {"a": [[0.1], [0.2]], "b_bytes": [{"b64": "eA=="}, {"b64": "eQ=="}]}}'
    """
    columns = {name: _plain(name, array) for name, array in sorted(outputs.items())}
    only = next(iter(columns.values())) if len(columns) == 1 else None
    answer: Any
    if not is_row_format:
        answer = {"outputs": columns if only is None else only}
    elif only is not None:
        answer = {"predictions": only}
    else:
        rows = zip(*columns.values(), strict=True)
        answer = {"predictions": [dict(zip(columns, row, strict=True)) for row in rows]}
    return json.dumps(answer, ensure_ascii=False).encode("utf-8", "replace")


def _from_rows(rows: Any, inputs: Inputs) -> dict[str, np.ndarray]:
    if not isinstance(rows, list):
        raise RequestError(f"JSON Value: {_shown(rows)} Excepting 'instances' to be an list/array")
    if not rows:
        raise RequestError("JSON Value: [] No values in 'instances' array")
    if not isinstance(rows[0], dict) and len(inputs) > 1:
        raise RequestError(
            "instances is a plain list, but expecting list of objects as multiple input tensors "
            "required as per tensorinfo_map"
        )
    if not _is_object(rows[0]):
        named = [{next(iter(inputs)): row} for row in rows]
        for number, row in enumerate(rows):
            if _is_object(row):
                raise RequestError(
                    f"Expecting value/list but got object at item {number} of input list"
                )
    else:
        named = rows
    values: dict[str, list[Any]] = {name: [] for name in inputs}
    shapes: dict[str, list[int]] = {}
    for number, row in enumerate(named):
        if not _is_object(row):
            raise RequestError(f"Expecting object but got list at item {number} of input list")
        if set(row) != set(inputs):
            raise RequestError(
                f"Failed to process element: {number} of 'instances' list. JSON object: "
                f"{_shown(row)} keys must be equal to: {','.join(sorted(inputs))}"
            )
        for name, value in row.items():
            shape = _shape(value)
            try:
                _fill(value, shape, 0, inputs[name].dtype, values[name])
                if shapes.setdefault(name, shape) != shape:
                    raise RequestError(
                        f"Expecting shape {_dims(shapes[name])} but got: {_dims(shape)}. Rows of "
                        'a request have the same width: pad them with "".'
                    )
            except RequestError as error:
                raise RequestError(
                    f"Failed to process element: {number} key: {name} of 'instances' list. "
                    f"Error: INVALID_ARGUMENT: {error}"
                ) from None
    return {
        name: _array(name, values[name], [len(named), *shapes[name]], tensor.dtype)
        for name, tensor in inputs.items()
    }


def _from_columns(columns: Any, inputs: Inputs) -> dict[str, np.ndarray]:
    if not _is_object(columns):
        if len(inputs) > 1:
            raise RequestError(
                "inputs is a plain value/list, but expecting an object as multiple input tensors "
                "required as per tensorinfo_map"
            )
        columns = {next(iter(inputs)): columns}
    arrays = {}
    for name, tensor in inputs.items():
        if name not in columns:
            raise RequestError(f"Missing named input: {name} in 'inputs' object.")
        shape = _shape(columns[name])
        values: list[Any] = []
        _fill(columns[name], shape, 0, tensor.dtype, values)
        if len(shape) == 1 and len(tensor.shape) == 2 and not shape[0]:
            shape = [0, 0]  # no rows: JSON cannot say how wide they are
        arrays[name] = _array(name, values, shape, tensor.dtype)
    return arrays


def _is_object(value: Any) -> bool:
    """Returns whether a value is an object, and not the base64 form of one string."""
    return isinstance(value, dict) and not _is_base64(value)


def _is_base64(value: dict[str, Any]) -> bool:
    return len(value) == 1 and isinstance(value.get("b64"), str)


def _shape(value: Any) -> list[int]:
    """Returns the shape that the first elements give."""
    shape: list[int] = []
    while isinstance(value, list) and len(shape) < _MAX_RANK:
        shape.append(len(value))
        if not value:
            break
        value = value[0]
    return shape


def _fill(value: Any, shape: list[int], level: int, dtype: str, values: list[Any]) -> None:
    if not isinstance(value, list):
        if level != len(shape):
            raise RequestError(
                f"JSON Value: {_shown(value)} found at incorrect level: {level + 1} in the JSON "
                f"DOM. Expected at level: {len(shape)}"
            )
        values.append(_scalar(value, dtype))
        return
    if level >= len(shape):
        raise RequestError(f"Encountered list at unexpected level: {level} expected < {len(shape)}")
    if len(value) != shape[level]:
        raise RequestError(
            f"Encountered list at unexpected size: {len(value)} at level: {level} expected size: "
            f'{shape[level]}. Lists beside each other have the same width: pad them with "".'
        )
    for part in value:
        _fill(part, shape, level + 1, dtype, values)


def _scalar(value: Any, dtype: str) -> Any:
    if dtype == "string":
        if isinstance(value, str):
            try:
                return value.encode()
            except UnicodeEncodeError:
                raise RequestError(
                    "JSON Parse error: The surrogate pair in string is invalid."
                ) from None
        if isinstance(value, dict):
            return _decoded(value)
    elif type(value) is int and value in _INTEGERS.get(dtype, ()):
        return value
    raise RequestError(
        f"JSON Value: {_shown(value)} Type: {_TYPES[type(value)]} is not of expected type: {dtype}"
    )


def _decoded(value: dict[str, Any]) -> bytes:
    if not _is_base64(value):
        raise RequestError(f"JSON Value: {_shown(value)} not formatted correctly for base64 data")
    text = value["b64"]
    try:
        return base64.b64decode(text + "=" * (-len(text) % 4), validate=True)
    except (binascii.Error, ValueError):
        raise RequestError("Unable to base64 decode") from None


def _array(name: str, values: list[Any], shape: list[int], dtype: str) -> np.ndarray:
    check_size(name, shape)
    array = np.empty(len(values), object if dtype == "string" else dtype)
    array[:] = values
    return array.reshape(shape)


def _plain(name: str, array: np.ndarray) -> Any:
    if array.dtype == np.float32:
        # The shortest digits that give the float32 again, not those of the float64 beside it.
        return array.astype("U").astype(np.float64).tolist()
    if array.dtype != object:
        return array.tolist()
    if name.endswith("_bytes"):
        return _mapped(array.tolist(), lambda raw: {"b64": base64.b64encode(raw).decode()})
    return _mapped(array.tolist(), lambda raw: raw.decode("utf-8", "replace"))


def _mapped(value: Any, function: Any) -> Any:
    if isinstance(value, list):
        return [_mapped(part, function) for part in value]
    return function(value)


def _dims(shape: list[int]) -> str:
    return "[" + ",".join(map(str, shape)) + "]"


def _shown(value: Any) -> str:
    text = json.dumps(value)
    return text if len(text) <= 200 else f"{text[:200]}…"


_TYPES = {
    type(None): "Null",
    bool: "Bool",
    dict: "Object",
    list: "Array",
    str: "String",
    int: "Number",
    float: "Number",
}
