"""What a model may answer, as a grammar of llguidance: words, or calls of its tools.

llama.cpp drops a grammar that llguidance cannot read, and says so to nobody but its log. So of a
schema no more goes into the grammar than what it reads for certain: the shape of the values, and
not their bounds, patterns and formats. Whoever runs the tool checks those.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Any, Final

from locus.core.frozendict import EMPTY
from locus.wire.json import encode

OPEN: Final = "<tool_call>"
CLOSE: Final = "</tool_call>"
HEAD: Final = f'{OPEN}{{"name": '
MIDDLE: Final = ', "arguments": '
TAIL: Final = f"}}{CLOSE}"
"""A call is written head, name, middle, arguments, tail; the name and the arguments as JSON. It is
all in one line, so that a stop string may be the end of a line."""

_TEXT: Final = f"/(.|\\n)*/ & ~/(.|\\n)*{OPEN}(.|\\n)*/"
"""Words: any text that holds no call."""

_STYLE: Final = {
    # Small models would fill the page with white space where any is allowed.
    "whitespace_flexible": False,
    "item_separator": ", ",
    "key_separator": ": ",
    "lenient": True,
}

_TYPES: Final = frozenset({"string", "number", "integer", "boolean", "object", "array", "null"})
_NO_ARGUMENTS: Final = {"type": "object", "properties": {}, "additionalProperties": False}
"""OpenAI: "Omitting ``parameters`` defines a function with an empty parameter list."""


def grammar(
    functions: Sequence[Mapping[str, Any]],
    *,
    several: bool = False,
    words: bool = True,
    schema: Mapping[str, Any] | None = None,
) -> str:
    """The grammar of an answer.

    :param functions: what may be called: plain dictionaries.
    :param several: whether an answer may hold more than one call.
    :param words: whether it may be words.
    :param schema: what words have to fit, if anything.
    """
    rules = ["%llguidance {}"]
    start = []
    if functions:
        start.append("call+" if several else "call")
        named = [f"call_{at}" for at in range(len(functions))]
        rules.append(f"call: {' | '.join(named)}")
        for name, function in zip(named, functions, strict=True):
            head = f"{HEAD}{_written(function['name'])}{MIDDLE}"
            rules.append(f"{name}: {_written(head)} {_json(arguments(function))} {_written(TAIL)}")
    if words:
        start.append("words")
        rules.append(f"words: {'TEXT' if schema is None else _json(schema)}")
        rules += [f"TEXT: {_TEXT}"] if schema is None else []
    return "\n".join([*rules, f"start: {' | '.join(start)}"])


def arguments(function: Mapping[str, Any]) -> Any:
    """The schema of a function's arguments."""
    schema = function.get("parameters")
    return _NO_ARGUMENTS if schema is None else schema


def _json(schema: Any) -> str:
    return f"%json {_written({**shape(schema), 'x-guidance': _STYLE})}"


def _written(value: Any) -> str:
    return encode(value).decode()


def shape(schema: Any) -> dict[str, Any]:
    """The shape that a schema asks for, in a schema that llguidance can read."""
    if not isinstance(schema, Mapping):
        return {}
    places = {place: schema.get(place) for place in ("$defs", "definitions")}
    defined = {
        f"#/{place}/{name}"
        for place, members in places.items()
        if isinstance(members, Mapping)
        for name in members
        if not {"/", "~", "%"} & set(name)  # which a pointer would have to write in other words
    }
    found = _shape(schema, defined | {"#"})
    for place, members in places.items():
        if isinstance(members, Mapping):
            kept = [name for name in members if f"#/{place}/{name}" in defined]
            found[place] = {name: _shape(members[name], defined | {"#"}) for name in kept}
    return found


def _shape(schema: Any, defined: Collection[str]) -> dict[str, Any]:
    if not isinstance(schema, Mapping):
        return {}  # True: anything. False is looked for where it stands.
    pointer = schema.get("$ref")
    if isinstance(pointer, str) and pointer in defined:
        return {"$ref": pointer}
    for several in ("anyOf", "oneOf", "allOf"):
        parts = schema.get(several)
        if isinstance(parts, list) and parts:
            if several != "allOf":
                return {"anyOf": [_shape(part, defined) for part in parts]}
            if len(parts) == 1:
                return _shape(parts[0], defined)
    if "const" in schema:
        return {"const": schema["const"]}
    if isinstance(schema.get("enum"), list) and schema["enum"]:
        return {"enum": schema["enum"]}
    return _typed(schema, defined)


def _typed(schema: Mapping[str, Any], defined: Collection[str]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    kinds = schema.get("type")
    kinds = [kinds] if isinstance(kinds, str) else kinds
    if isinstance(kinds, list) and kinds and _TYPES.issuperset(map(str, kinds)):
        found["type"] = kinds[0] if len(kinds) == 1 else kinds
    members = schema.get("properties")
    members = members if isinstance(members, Mapping) else EMPTY
    kept = {name: member for name, member in members.items() if member is not False}
    if kept:
        found["properties"] = {name: _shape(member, defined) for name, member in kept.items()}
    other = schema.get("additionalProperties")
    if isinstance(other, bool):
        found["additionalProperties"] = other
    elif other is not None:
        found["additionalProperties"] = _shape(other, defined)
    required = schema.get("required")
    if isinstance(required, list):
        found["required"] = [name for name in required if name in kept or other is not False]
    for name in ("items", "prefixItems"):
        held = schema.get(name)
        if isinstance(held, list):
            found["prefixItems"] = [_shape(member, defined) for member in held]
        elif held is not None:
            found[name] = _shape(held, defined)
    return found
