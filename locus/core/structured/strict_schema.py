"""OpenAI's strict subset of JSON Schema: what it wants is added, what it cannot say is refused.

The subset (OpenAI's guide "Structured Outputs", "Supported schemas"): the root is an object;
every object names all its members, requires each, and takes no others; ``anyOf`` is the only
composition; a ``$ref`` stands alone. Keywords that only narrow a value, and that it does not know
(``minLength``, ``uniqueItems``, a ``default``), move into the description: the model reads them
there, and :func:`~locus.core.structured.parse_response.parse_structured` checks them.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, Final

import attrs
import msgspec

from locus.core.errors import ConfigurationError
from locus.core.structured.schema_definitions import PREFIX, Schema
from locus.core.structured.validation import json_type

_SHAPES: Final = {"type", "properties", "required", "additionalProperties", "items", "anyOf"}
_RANGES: Final = {"minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum", "multipleOf"}
_LIMITS: Final = {"enum", "const", "pattern", "format", "minItems", "maxItems"}
_KNOWN: Final = _SHAPES | _RANGES | _LIMITS | {"$ref", "$defs", "title", "description"}
_TIMES: Final = {"date-time", "time", "date", "duration"}
_FORMATS: Final = _TIMES | {"email", "hostname", "ipv4", "ipv6", "uuid"}
_CONDITIONS: Final = {"not", "if", "then", "else", "dependentRequired", "dependentSchemas"}
_NOT_SAID: Final = _CONDITIONS | {"allOf", "patternProperties", "prefixItems"}
_SILENT: Final = {"discriminator", "$schema", "$id", "$comment"}
_LOOKAROUND: Final = re.compile(r"(?<!\\)\(\?(?!:)")
_MOST_PROPERTIES: Final = 5000
_MOST_VALUES: Final = 1000
_DEEPEST: Final = 10


def to_strict(schema: Schema, name: str) -> Schema:
    """A schema, whose root is an object, in the strict subset.

    :param name: what errors call the root.
    :raises ConfigurationError: the subset has no words for it; says where, and what to do.
    """
    parts = schema.get("$defs", {})
    writer = _Writer(parts)
    body = {key: value for key, value in schema.items() if key != "$defs"}
    strict = writer.write(body, name, ())
    if parts:
        strict["$defs"] = {key: writer.write(part, key, (key,)) for key, part in parts.items()}
    if writer.properties > _MOST_PROPERTIES:
        raise _unsaid(name, f"has more than {_MOST_PROPERTIES} members in all")
    if writer.values > _MOST_VALUES:
        raise _unsaid(name, f"has more than {_MOST_VALUES} enum values in all")
    if _depth(strict, strict.get("$defs", {}), {}) > _DEEPEST:
        raise _unsaid(name, f"nests objects more than {_DEEPEST} levels deep")
    return strict


def _unsaid(where: str, why: str, instead: str = "make it smaller") -> ConfigurationError:
    return ConfigurationError(
        f"{where} {why}, which strict mode cannot say; {instead}, or use strict=False"
    )


@attrs.define
class _Writer:
    parts: Mapping[str, Schema]
    properties: int = 0
    values: int = 0

    def write(self, schema: Any, where: str, inside: tuple[str, ...]) -> Schema:
        """``schema`` in the subset; ``inside`` are the definitions that it stands in."""
        if not isinstance(schema, dict) or not schema:
            raise _unsaid(where, "may be anything", "give it a type")
        schema = dict(schema)
        if len(several := schema.get("allOf", ())) == 1:
            schema = {**several[0], **{k: v for k, v in schema.items() if k != "allOf"}}
        if "oneOf" in schema:
            schema["anyOf"] = schema.pop("oneOf")
        for keyword in _NOT_SAID & schema.keys():
            instead = "give it a class" if keyword == "prefixItems" else "leave that out"
            raise _unsaid(where, f"has the keyword {keyword}", instead)
        strict: Schema = {}
        aside = []
        for keyword, value in schema.items():
            if keyword in _SILENT or (keyword == "default" and value is None):
                continue
            ranged = keyword in _RANGES and schema.get("type") == "string"  # of a Decimal
            if ranged or keyword not in _KNOWN or not self._sayable(keyword, value):
                aside.append(f"{keyword}: {msgspec.json.encode(value).decode()}")
            else:
                strict[keyword] = value
        if aside:
            said = strict.get("description", "")
            strict["description"] = f"{said} ({'; '.join(aside)})".strip()
        return self._members(strict, where, inside)

    def _sayable(self, keyword: str, value: Any) -> bool:
        if keyword == "pattern":
            return not _LOOKAROUND.search(value)
        return keyword != "format" or value in _FORMATS

    def _members(self, strict: Schema, where: str, inside: tuple[str, ...]) -> Schema:
        if "$ref" in strict:
            return self._reference(strict, where, inside)
        if "anyOf" in strict:
            strict["anyOf"] = [self.write(one, where, inside) for one in strict["anyOf"]]
        elif "enum" in strict or "const" in strict:
            values = strict.get("enum", [strict.get("const")])
            self.values += len(values)
            types = list(dict.fromkeys(map(json_type, values)))
            strict.setdefault("type", types[0] if len(types) == 1 else types)
        elif strict.get("type") == "object":
            self._object(strict, where, inside)
        elif strict.get("type") == "array":
            items = strict.get("items")
            strict["items"] = self.write(items, f"{where}[]", inside)
        elif "type" not in strict:
            raise _unsaid(where, "may be anything", "give it a type")
        return strict

    def _object(self, strict: Schema, where: str, inside: tuple[str, ...]) -> None:
        others = strict.get("additionalProperties", "properties" not in strict)
        if isinstance(others, dict) or (others and "properties" not in strict):
            raise _unsaid(
                where,
                "has keys that are not known beforehand",
                "use a list of classes with two fields, the key and the value",
            )
        properties = strict.get("properties", {})
        self.properties += len(properties)
        strict["properties"] = {
            name: self.write(part, f"{where}.{name}", inside) for name, part in properties.items()
        }
        strict["required"] = list(properties)
        strict["additionalProperties"] = False

    def _reference(self, strict: Schema, where: str, inside: tuple[str, ...]) -> Schema:
        if len(strict) == 1:
            return strict
        name = strict.pop("$ref").removeprefix(PREFIX)
        if name in inside:
            return {"anyOf": [{"$ref": PREFIX + name}], **strict}
        # What stands beside a $ref is refused, so what it leads to stands here instead.
        return self.write({**self.parts[name], **strict}, where, (*inside, name))


def _depth(schema: Any, parts: Mapping[str, Schema], known: dict[str, int]) -> int:
    """How many objects are inside one another at most, recursion aside."""
    if "$ref" in schema:
        name = schema["$ref"].removeprefix(PREFIX)
        if name not in known:
            known[name] = 0  # where it comes round to itself
            known[name] = _depth(parts[name], parts, known)
        return known[name]
    inner = [*schema.get("properties", {}).values(), *schema.get("anyOf", ())]
    inner += [schema["items"]] if "items" in schema else []
    deepest = max((_depth(part, parts, known) for part in inner), default=0)
    return deepest + ("properties" in schema)
