"""Parameters of tools whose root is not one plain object, in every format."""

from __future__ import annotations

import json
from typing import Any

import pytest

from locus.core.errors import ConfigurationError
from locus.testing.server import LoopbackServer
from tests.support.formats import FORMATS, WireFormat

TEXT = {"type": "string"}
REFUSED = {"oneOf", "anyOf", "allOf", "enum", "not"}
SCHEMAS: list[dict[str, Any]] = [
    {"anyOf": [{"type": "object", "properties": {"zq": TEXT}}, {"type": "null"}]},
    {"type": "object", "properties": {"zq": TEXT}, "oneOf": [{"required": ["zq"]}, {}]},
    {
        "type": "object",
        "allOf": [{"$ref": "#/$defs/A"}],
        "$defs": {"A": {"properties": {"zq": TEXT}}},
    },
    {"type": "object", "properties": {"zq": TEXT}, "not": {"required": ["zq"]}},
    {"$ref": "#/$defs/A", "$defs": {"A": {"type": "object", "properties": {"zq": TEXT}}}},
    {"properties": {"zq": TEXT}},
    {"type": ["object", "null"], "properties": {"zq": TEXT}},
    {"$ref": "#/$defs/A", "$defs": {"A": {"anyOf": [{"properties": {"zq": TEXT}}]}}},
]


@pytest.mark.parametrize("wire", FORMATS, ids=repr)
@pytest.mark.parametrize("schema", SCHEMAS, ids=json.dumps)
def test_the_parameters_are_one_plain_object(wire: WireFormat, schema: dict[str, Any]) -> None:
    if wire.name == "prompted_tools":
        pytest.skip("the model reads the schema itself")
    tool = {"type": "function", "function": {"name": "f", "parameters": schema}}
    ((_, _, parameters),) = wire.read_tools(wire.encode_request("x", [tool]))
    assert not REFUSED & parameters.keys()
    assert parameters.get("type", "object") == "object"
    assert "zq" in parameters.get("properties", parameters)  # Cohere's first format has no root


@pytest.mark.usefixtures("formats_environment")
def test_endless_nesting_is_a_clear_error(server: LoopbackServer) -> None:
    schema: dict[str, Any] = TEXT
    for _ in range(2_000):
        schema = {"allOf": [schema]}
    tool = {"type": "function", "function": {"name": "f", "parameters": schema}}
    for wire in FORMATS:
        with pytest.raises(ConfigurationError, match=r"nested too deeply|as JSON"):
            wire.make_model(server).request("x", [tool])
