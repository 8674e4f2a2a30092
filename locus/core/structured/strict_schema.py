"""Convert a JSON Schema to OpenAI's strict subset; what the subset cannot express is an error.

The subset (OpenAI's guide "Structured Outputs", "Supported schemas"): the root is an object; every
object names all its members, requires each, and accepts no others; ``anyOf`` is the only
composition; a ``$ref`` has no other keyword beside it. A keyword that only restricts a value and
that is not in the subset (``minLength``, ``uniqueItems``, also a ``default``) moves into the
description: the model reads it there, and
:func:`~locus.core.structured.parse_response.parse_structured` checks it.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, Final

import attrs

from locus.core.errors import ConfigurationError
from locus.core.json_schema.move_unsupported_keywords import add_keywords_to_description
from locus.core.structured.describe_invalid_values import get_json_type
from locus.core.structured.schema_definitions import REF_PREFIX, Schema

_STRUCTURE: Final = {"type", "properties", "required", "additionalProperties", "items", "anyOf"}
_RANGES: Final = {"minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum", "multipleOf"}
_RESTRICTIONS: Final = {"enum", "const", "pattern", "format", "minItems", "maxItems"}
_SUPPORTED: Final = _STRUCTURE | _RANGES | _RESTRICTIONS | {"$ref", "$defs", "title", "description"}
_TIME_FORMATS: Final = {"date-time", "time", "date", "duration"}
_SUPPORTED_FORMATS: Final = _TIME_FORMATS | {"email", "hostname", "ipv4", "ipv6", "uuid"}
_CONDITIONS: Final = {"not", "if", "then", "else", "dependentRequired", "dependentSchemas"}
_UNSUPPORTED: Final = _CONDITIONS | {"allOf", "patternProperties", "prefixItems"}
_DROPPED: Final = {"discriminator", "$schema", "$id", "$comment"}
_LOOKAROUND: Final = re.compile(r"(?<!\\)\(\?(?!:)")
_MAX_PROPERTIES: Final = 5000
_MAX_ENUM_VALUES: Final = 1000
_MAX_DEPTH: Final = 10


def convert_to_strict_schema(schema: Schema, name: str) -> Schema:
    """Convert a schema whose root is an object to the strict subset.

    :param name: the name of the root in errors.
    :raises ConfigurationError: if the subset cannot express it; the error says where, and what to
        do.
    """
    definitions = schema.get("$defs", {})
    converter = _StrictSchemaConverter(definitions)
    root = {key: value for key, value in schema.items() if key != "$defs"}
    strict = converter.convert_schema(root, name, ())
    if definitions:
        strict["$defs"] = {
            key: converter.convert_schema(definition, key, (key,))
            for key, definition in definitions.items()
        }
    if converter.property_count > _MAX_PROPERTIES:
        raise _make_unsupported_error(name, f"has more than {_MAX_PROPERTIES} members in total")
    if converter.enum_value_count > _MAX_ENUM_VALUES:
        raise _make_unsupported_error(
            name, f"has more than {_MAX_ENUM_VALUES} enum values in total"
        )
    if _compute_object_depth(strict, strict.get("$defs", {}), {}) > _MAX_DEPTH:
        raise _make_unsupported_error(name, f"nests objects more than {_MAX_DEPTH} levels deep")
    return strict


def _make_unsupported_error(
    path: str, problem: str, solution: str = "make it smaller"
) -> ConfigurationError:
    return ConfigurationError(
        f"{path} {problem}, which strict mode cannot express; {solution}, or use strict=False"
    )


@attrs.define
class _StrictSchemaConverter:
    """Converts schemas and counts what the subset limits."""

    definitions: Mapping[str, Schema]
    property_count: int = 0
    enum_value_count: int = 0

    def convert_schema(self, schema: Any, path: str, parent_names: tuple[str, ...]) -> Schema:
        """Convert a schema; ``parent_names`` are the definitions that it is inside of."""
        if not isinstance(schema, dict) or not schema:
            raise _make_unsupported_error(path, "may be anything", "give it a type")
        schema = dict(schema)
        if len(all_of := schema.get("allOf", ())) == 1:
            schema = {**all_of[0], **{k: v for k, v in schema.items() if k != "allOf"}}
        if "oneOf" in schema:
            schema["anyOf"] = schema.pop("oneOf")
        for keyword in _UNSUPPORTED & schema.keys():
            solution = "use a class instead" if keyword == "prefixItems" else "leave that out"
            raise _make_unsupported_error(path, f"has the keyword {keyword}", solution)
        strict: Schema = {}
        moved: Schema = {}
        for keyword, value in schema.items():
            if keyword in _DROPPED or (keyword == "default" and value is None):
                continue
            # The range of a Decimal, which is a string.
            is_string_range = keyword in _RANGES and schema.get("type") == "string"
            if is_string_range or not self._is_keyword_supported(keyword, value):
                moved[keyword] = value
            else:
                strict[keyword] = value
        strict = add_keywords_to_description(strict, moved)
        return self._convert_subschemas(strict, path, parent_names)

    def _is_keyword_supported(self, keyword: str, value: Any) -> bool:
        if keyword not in _SUPPORTED:
            return False
        if keyword == "pattern":
            return not _LOOKAROUND.search(value)
        return keyword != "format" or value in _SUPPORTED_FORMATS

    def _convert_subschemas(
        self, strict_schema: Schema, path: str, parent_names: tuple[str, ...]
    ) -> Schema:
        """Convert the schemas inside ``strict``, in place, and return it."""
        if "$ref" in strict_schema:
            return self._convert_reference(strict_schema, path, parent_names)
        if "anyOf" in strict_schema:
            strict_schema["anyOf"] = [
                self.convert_schema(member, path, parent_names) for member in strict_schema["anyOf"]
            ]
        elif "enum" in strict_schema or "const" in strict_schema:
            values = strict_schema.get("enum", [strict_schema.get("const")])
            self.enum_value_count += len(values)
            types = list(dict.fromkeys(map(get_json_type, values)))
            strict_schema.setdefault("type", types[0] if len(types) == 1 else types)
        elif strict_schema.get("type") == "object":
            self._convert_object_members(strict_schema, path, parent_names)
        elif strict_schema.get("type") == "array":
            items = strict_schema.get("items")
            strict_schema["items"] = self.convert_schema(items, f"{path}[]", parent_names)
        elif "type" not in strict_schema:
            raise _make_unsupported_error(path, "may be anything", "give it a type")
        return strict_schema

    def _convert_object_members(
        self, object_schema: Schema, path: str, parent_names: tuple[str, ...]
    ) -> None:
        """Convert the members of an object schema, in place; require all, and allow no others."""
        extra = object_schema.get("additionalProperties", "properties" not in object_schema)
        if isinstance(extra, dict) or (extra and "properties" not in object_schema):
            raise _make_unsupported_error(
                path,
                "has keys that are not known in advance",
                "use a list of classes with two fields, the key and the value",
            )
        properties = object_schema.get("properties", {})
        self.property_count += len(properties)
        object_schema["properties"] = {
            name: self.convert_schema(member, f"{path}.{name}", parent_names)
            for name, member in properties.items()
        }
        object_schema["required"] = list(properties)
        object_schema["additionalProperties"] = False

    def _convert_reference(
        self, strict_schema: Schema, path: str, parent_names: tuple[str, ...]
    ) -> Schema:
        """Convert a ``$ref``, which may have no other keyword beside it."""
        if len(strict_schema) == 1:
            return strict_schema
        name = strict_schema.pop("$ref").removeprefix(REF_PREFIX)
        if name in parent_names:
            return {"anyOf": [{"$ref": REF_PREFIX + name}], **strict_schema}
        # OpenAI rejects keywords beside a $ref, so the definition is copied in its place.
        return self.convert_schema(
            {**self.definitions[name], **strict_schema}, path, (*parent_names, name)
        )


def _compute_object_depth(
    schema: Any, definitions: Mapping[str, Schema], known_depths: dict[str, int]
) -> int:
    """Compute how many objects are nested inside one another, without counting recursion."""
    if "$ref" in schema:
        name = schema["$ref"].removeprefix(REF_PREFIX)
        if name not in known_depths:
            known_depths[name] = 0  # for a definition that refers to itself
            known_depths[name] = _compute_object_depth(definitions[name], definitions, known_depths)
        return known_depths[name]
    members = [*schema.get("properties", {}).values(), *schema.get("anyOf", ())]
    members += [schema["items"]] if "items" in schema else []
    depths = (_compute_object_depth(member, definitions, known_depths) for member in members)
    return max(depths, default=0) + ("properties" in schema)
