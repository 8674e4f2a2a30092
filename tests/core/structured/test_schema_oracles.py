"""The schemas, judged by others: the ``jsonschema`` package, and a second reading of the guide."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given

from locus.core.structured import build_response_format, parse_structured
from tests.support.structured_types import Typed, valued

jsonschema = pytest.importorskip("jsonschema")


def schema_of(of: Typed, strict: bool) -> dict[str, Any]:
    schema = build_response_format(of.hint, strict)["json_schema"]["schema"]
    assert isinstance(schema, dict)
    return schema


@given(valued())
def test_the_schema_accepts_the_json_bare_or_as_the_member_value(
    case: tuple[Typed, Any, str],
) -> None:
    of, value, text = case
    schema = schema_of(of, strict=False)
    jsonschema.Draft202012Validator.check_schema(schema)
    validator = jsonschema.Draft202012Validator(schema)
    plain = json.loads(text)
    wrapped = {"value": plain}
    assert validator.is_valid(plain) or validator.is_valid(wrapped)
    if validator.is_valid(wrapped) and not validator.is_valid(plain):
        assert parse_structured(json.dumps(wrapped), of.hint).unwrap() == value


# Strict mode, by a reading of OpenAI's guide that is not ours.

_ALLOWED = {
    "object": {"properties", "required", "additionalProperties"},
    "array": {"items", "minItems", "maxItems"},
    "string": {"pattern", "format"},
    "number": {"multipleOf", "maximum", "exclusiveMaximum", "minimum", "exclusiveMinimum"},
    "integer": {"multipleOf", "maximum", "exclusiveMaximum", "minimum", "exclusiveMinimum"},
    "boolean": set(),
    "null": set(),
}
_FORMATS = {"date-time", "time", "date", "duration", "email", "hostname", "ipv4", "ipv6", "uuid"}


def assert_strict(schema: Any) -> None:
    """The guide's rules, for a whole schema."""
    assert schema["type"] == "object"
    names = schema.get("$defs", {}).keys()
    root = {key: value for key, value in schema.items() if key != "$defs"}
    for part in (root, *schema.get("$defs", {}).values()):
        _assert_strict(part, names)


def _assert_strict(schema: dict[str, Any], names: Any) -> None:
    if "$ref" in schema:
        assert schema.keys() == {"$ref"}
        assert schema["$ref"].removeprefix("#/$defs/") in names
        return
    keywords = schema.keys() - {"description", "title"}
    if "anyOf" in schema:
        assert keywords == {"anyOf"}
        for part in schema["anyOf"]:
            _assert_strict(part, names)
        return
    types = schema["type"] if isinstance(schema["type"], list) else [schema["type"]]
    allowed = set().union(*(_ALLOWED[name] for name in types))
    assert keywords <= allowed | {"type", "enum", "const"}
    if types == ["object"]:
        assert schema["additionalProperties"] is False
        assert schema["required"] == list(schema["properties"])
        for part in schema["properties"].values():
            _assert_strict(part, names)
    if types == ["array"]:
        _assert_strict(schema["items"], names)
    assert schema.get("format", "date") in _FORMATS


@given(valued())
def test_the_strict_schema_keeps_to_the_subset_and_accepts_the_whole_value(
    case: tuple[Typed, Any, str],
) -> None:
    of, _, text = case
    if not of.sayable:
        return
    schema = schema_of(of, strict=True)
    assert_strict(schema)
    plain = json.loads(text)
    validator = jsonschema.Draft202012Validator(schema)
    whole = filled_up(plain, schema, schema.get("$defs", {}))
    wrapped = {
        "value": filled_up(plain, schema["properties"].get("value", {}), schema.get("$defs", {}))
    }
    assert validator.is_valid(whole) or validator.is_valid(wrapped)


def filled_up(plain: Any, schema: dict[str, Any], parts: dict[str, Any]) -> Any:
    """The JSON with null where strict mode wants what a ``TypedDict`` may leave out."""
    if "$ref" in schema:
        return filled_up(plain, parts[schema["$ref"].removeprefix("#/$defs/")], parts)
    for one in schema.get("anyOf", ()):
        full = filled_up(plain, one, parts)
        if jsonschema.Draft202012Validator({**one, "$defs": parts}).is_valid(full):
            return full
    if isinstance(plain, list) and isinstance(schema.get("items"), dict):
        return [filled_up(item, schema["items"], parts) for item in plain]
    if isinstance(plain, dict) and "properties" in schema:
        return {
            name: filled_up(plain[name], part, parts) if name in plain else None
            for name, part in schema["properties"].items()
        }
    return plain
