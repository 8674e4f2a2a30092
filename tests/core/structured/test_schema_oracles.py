"""The schemas, checked by the ``jsonschema`` package and by an independent check of strict mode."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given

from locus.core.structured import build_response_format, parse_structured
from tests.support.structured_types import TypeCase, values_with_type

jsonschema = pytest.importorskip("jsonschema")


def build_schema(type_case: TypeCase, strict: bool) -> dict[str, Any]:
    schema = build_response_format(type_case.hint, strict)["json_schema"]["schema"]
    assert isinstance(schema, dict)
    return schema


@given(values_with_type())
def test_the_schema_accepts_the_json_unwrapped_or_wrapped(
    case: tuple[TypeCase, Any, str],
) -> None:
    type_case, value, text = case
    schema = build_schema(type_case, strict=False)
    jsonschema.Draft202012Validator.check_schema(schema)
    validator = jsonschema.Draft202012Validator(schema)
    raw = json.loads(text)
    wrapped = {"value": raw}
    assert validator.is_valid(raw) or validator.is_valid(wrapped)
    if validator.is_valid(wrapped) and not validator.is_valid(raw):
        assert parse_structured(json.dumps(wrapped), type_case.hint).unwrap() == value


# The rules of OpenAI's guide for strict mode, implemented a second time.

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
    """Check a complete schema by the rules of the guide."""
    assert schema["type"] == "object"
    names = schema.get("$defs", {}).keys()
    root = {key: value for key, value in schema.items() if key != "$defs"}
    for definition in (root, *schema.get("$defs", {}).values()):
        _assert_strict(definition, names)


def _assert_strict(schema: dict[str, Any], names: Any) -> None:
    if "$ref" in schema:
        assert schema.keys() == {"$ref"}
        assert schema["$ref"].removeprefix("#/$defs/") in names
        return
    keywords = schema.keys() - {"description", "title"}
    if "anyOf" in schema:
        assert keywords == {"anyOf"}
        for member in schema["anyOf"]:
            _assert_strict(member, names)
        return
    types = schema["type"] if isinstance(schema["type"], list) else [schema["type"]]
    allowed = set().union(*(_ALLOWED[name] for name in types))
    assert keywords <= allowed | {"type", "enum", "const"}
    if types == ["object"]:
        assert schema["additionalProperties"] is False
        assert schema["required"] == list(schema["properties"])
        for member in schema["properties"].values():
            _assert_strict(member, names)
    if types == ["array"]:
        _assert_strict(schema["items"], names)
    assert schema.get("format", "date") in _FORMATS


@given(values_with_type())
def test_the_strict_schema_is_in_the_subset_and_accepts_the_value(
    case: tuple[TypeCase, Any, str],
) -> None:
    type_case, _, text = case
    if not type_case.supports_strict:
        return
    schema = build_schema(type_case, strict=True)
    assert_strict(schema)
    raw = json.loads(text)
    definitions = schema.get("$defs", {})
    validator = jsonschema.Draft202012Validator(schema)
    complete = copy_with_nulls(raw, schema, definitions)
    wrapped = {"value": copy_with_nulls(raw, schema["properties"].get("value", {}), definitions)}
    assert validator.is_valid(complete) or validator.is_valid(wrapped)


def copy_with_nulls(raw: Any, schema: dict[str, Any], definitions: dict[str, Any]) -> Any:
    """The JSON with null for each absent key of a ``TypedDict``, which strict mode requires."""
    if "$ref" in schema:
        definition = definitions[schema["$ref"].removeprefix("#/$defs/")]
        return copy_with_nulls(raw, definition, definitions)
    for member in schema.get("anyOf", ()):
        complete = copy_with_nulls(raw, member, definitions)
        validator = jsonschema.Draft202012Validator({**member, "$defs": definitions})
        if validator.is_valid(complete):
            return complete
    if isinstance(raw, list) and isinstance(schema.get("items"), dict):
        return [copy_with_nulls(item, schema["items"], definitions) for item in raw]
    if isinstance(raw, dict) and "properties" in schema:
        return {
            name: copy_with_nulls(raw[name], member, definitions) if name in raw else None
            for name, member in schema["properties"].items()
        }
    return raw
