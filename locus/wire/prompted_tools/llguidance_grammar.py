"""Builds the llguidance grammar that restricts a model's output to text or tool calls.

llama.cpp ignores a grammar that llguidance cannot parse, and reports that only in its log. So a
JSON Schema goes into the grammar without the keywords that llguidance may not support: the
structure of the values stays, their bounds, patterns and formats are left out. Whoever runs the
tool validates those.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Any, Final

from locus.core.frozendict import EMPTY
from locus.wire.provider_json import encode_json

CALL_START: Final = "<tool_call>"
CALL_END: Final = "</tool_call>"
BEFORE_NAME: Final = f'{CALL_START}{{"name": '
BEFORE_ARGUMENTS: Final = ', "arguments": '
AFTER_ARGUMENTS: Final = f"}}{CALL_END}"
"""A tool call is written as BEFORE_NAME, name, BEFORE_ARGUMENTS, arguments, AFTER_ARGUMENTS; the
name and the arguments are JSON. All is on one line, so that a stop string may be a line end."""

_TEXT: Final = f"/(.|\\n)*/ & ~/(.|\\n)*{CALL_START}(.|\\n)*/"
"""Any text that contains no tool call."""

_JSON_STYLE: Final = {
    # Small models would fill the page with white space if any is allowed.
    "whitespace_flexible": False,
    "item_separator": ", ",
    "key_separator": ": ",
    "lenient": True,
}

_JSON_TYPES: Final = frozenset(
    {"string", "number", "integer", "boolean", "object", "array", "null"}
)
_NO_PARAMETERS: Final = {"type": "object", "properties": {}, "additionalProperties": False}
"""OpenAI: "Omitting ``parameters`` defines a function with an empty parameter list."""


def build_grammar(
    functions: Sequence[Mapping[str, Any]],
    *,
    parallel_calls: bool = False,
    allow_text: bool = True,
    schema: Mapping[str, Any] | None = None,
) -> str:
    """Build the grammar of a response.

    :param functions: the functions that the model may call, as builtin dictionaries.
    :param parallel_calls: whether a response may contain more than one call.
    :param allow_text: whether a response may be text.
    :param schema: the JSON Schema that the text has to match, if any.
    """
    rules = ["%llguidance {}"]
    start = []
    if functions:
        start.append("call+" if parallel_calls else "call")
        rule_names = [f"call_{index}" for index in range(len(functions))]
        rules.append(f"call: {' | '.join(rule_names)}")
        for rule_name, function in zip(rule_names, functions, strict=True):
            head = _encode_json_text(
                f"{BEFORE_NAME}{_encode_json_text(function['name'])}{BEFORE_ARGUMENTS}"
            )
            parameters = _build_json_rule(get_parameters_schema(function))
            rules.append(f"{rule_name}: {head} {parameters} {_encode_json_text(AFTER_ARGUMENTS)}")
    if allow_text:
        start.append("words")
        rules.append(f"words: {'TEXT' if schema is None else _build_json_rule(schema)}")
        rules += [f"TEXT: {_TEXT}"] if schema is None else []
    return "\n".join([*rules, f"start: {' | '.join(start)}"])


def get_parameters_schema(function: Mapping[str, Any]) -> Any:
    """Return the JSON Schema of a function's parameters."""
    schema = function.get("parameters")
    return _NO_PARAMETERS if schema is None else schema


def _build_json_rule(schema: Any) -> str:
    """Return the part of a rule that matches JSON of this schema."""
    return f"%json {_encode_json_text({**simplify_schema(schema), 'x-guidance': _JSON_STYLE})}"


def _encode_json_text(value: Any) -> str:
    return encode_json(value).decode()


def simplify_schema(schema: Any) -> dict[str, Any]:
    """Return a JSON Schema reduced to the keywords that llguidance supports."""
    if not isinstance(schema, Mapping):
        return {}
    definitions = {keyword: schema.get(keyword) for keyword in ("$defs", "definitions")}
    pointers = {
        f"#/{keyword}/{name}"
        for keyword, members in definitions.items()
        if isinstance(members, Mapping)
        for name in members
        if not {"/", "~", "%"} & set(name)  # which a JSON pointer would have to escape
    }
    all_pointers = pointers | {"#"}
    simplified = _simplify_subschema(schema, all_pointers)
    for keyword, members in definitions.items():
        if isinstance(members, Mapping):
            names = [name for name in members if f"#/{keyword}/{name}" in pointers]
            simplified[keyword] = {
                name: _simplify_subschema(members[name], all_pointers) for name in names
            }
    return simplified


def _simplify_subschema(schema: Any, pointers: Collection[str]) -> dict[str, Any]:
    """Simplify a subschema; ``pointers`` are the references that can be resolved."""
    if not isinstance(schema, Mapping):
        return {}  # True: any value. False is handled by whoever holds this schema.
    pointer = schema.get("$ref")
    if isinstance(pointer, str) and pointer in pointers:
        return {"$ref": pointer}
    for keyword in ("anyOf", "oneOf", "allOf"):
        subschemas = schema.get(keyword)
        if isinstance(subschemas, list) and subschemas:
            if keyword != "allOf":
                return {
                    "anyOf": [_simplify_subschema(subschema, pointers) for subschema in subschemas]
                }
            if len(subschemas) == 1:
                return _simplify_subschema(subschemas[0], pointers)
    if "const" in schema:
        return {"const": schema["const"]}
    if isinstance(schema.get("enum"), list) and schema["enum"]:
        return {"enum": schema["enum"]}
    return _simplify_typed_subschema(schema, pointers)


def _simplify_typed_subschema(
    schema: Mapping[str, Any], pointers: Collection[str]
) -> dict[str, Any]:
    simplified: dict[str, Any] = {}
    types = schema.get("type")
    types = [types] if isinstance(types, str) else types
    if isinstance(types, list) and types and _JSON_TYPES.issuperset(map(str, types)):
        simplified["type"] = types[0] if len(types) == 1 else types
    properties = schema.get("properties")
    properties = properties if isinstance(properties, Mapping) else EMPTY
    allowed = {name: member for name, member in properties.items() if member is not False}
    if allowed:
        simplified["properties"] = {
            name: _simplify_subschema(member, pointers) for name, member in allowed.items()
        }
    additional = schema.get("additionalProperties")
    if isinstance(additional, bool):
        simplified["additionalProperties"] = additional
    elif additional is not None:
        simplified["additionalProperties"] = _simplify_subschema(additional, pointers)
    required = schema.get("required")
    if isinstance(required, list):
        simplified["required"] = [
            name for name in required if name in allowed or additional is not False
        ]
    for keyword in ("items", "prefixItems"):
        items = schema.get(keyword)
        if isinstance(items, list):
            simplified["prefixItems"] = [_simplify_subschema(member, pointers) for member in items]
        elif items is not None:
            simplified[keyword] = _simplify_subschema(items, pointers)
    return simplified
