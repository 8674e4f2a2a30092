"""Reads arguments that a model wrote in quotes: ``"3"`` for 3, ``"[1]"`` for a list.

Weaker models do so often, above all with numbers, and with objects inside of objects. They write
JSON as Python does, in a code fence, and null for what they leave out. A tool has to ask for it
(``lenient=True``), because a text that looks like a number may be meant as text.
"""

from __future__ import annotations

import ast
import json
import re
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from typing import Any, Final

from locus.core.structured.validation_context import ValidationContext, join_path
from locus.tools.argument_validation import copy_json_value

_MAX_DEPTH: Final = 10
"""How deep objects in quotes may be inside of objects in quotes."""

_WORDS: Final = {"true": True, "false": False, "none": None, "null": None}
_CODE_FENCE: Final = re.compile(r"\s*```\w*\n(.*)```\s*", re.S)
_MAX_LITERAL_LENGTH: Final = 100_000
"""Characters: Python's parser may need very much memory for more."""


def read_malformed_arguments(text: str) -> dict[str, Any] | None:
    """Return the object in a text that is not JSON: in a code fence, or as Python writes it."""
    fenced = _CODE_FENCE.fullmatch(text)
    value = _unquote_value(text if fenced is None else fenced[1])
    return value if isinstance(value, dict) else None


def unquote_arguments(
    arguments: Mapping[str, Any],
    find_invalid_paths: Callable[[Mapping[str, Any]], Sequence[str]],
    optional_names: Collection[str] = (),
) -> dict[str, Any]:
    """Return a copy of the arguments with the invalid values read once more.

    A text becomes the JSON value that it holds, and any other value the text of it. What is valid
    is not changed, and neither is what stays invalid. Null is left out where an argument has a
    default that is not null.

    :param find_invalid_paths: returns the paths of the values that are not of their types.
    :param optional_names: the names of the arguments that have a default.
    """
    copy: dict[str, Any] = copy_json_value(arguments, "", ValidationContext())
    invalid_paths = set(find_invalid_paths(copy))
    for _ in range(_MAX_DEPTH):
        replaced = []
        for path, container, key in list(_iter_places(copy, "")):
            if path in invalid_paths:
                original = container[key]
                container[key] = _unquote_value(original)
                replaced.append((path, container, key, original))
        invalid_paths_before, invalid_paths = invalid_paths, set(find_invalid_paths(copy))
        for path, container, key, original in replaced:
            if path in invalid_paths:  # it is wrong either way: report what the model wrote
                container[key] = original
        if invalid_paths >= invalid_paths_before:
            break
    for name in invalid_paths.intersection(optional_names):
        if name in copy and _is_null(copy[name]):
            del copy[name]
    return copy


def _iter_places(value: Any, path: str) -> Iterator[tuple[str, Any, Any]]:
    """Yield the path of each value inside ``value``, with the container and the key of it."""
    if isinstance(value, dict):
        for key, item in value.items():
            name = key if key.isidentifier() else json.dumps(key[:60])
            item_path = join_path(path, key) if path else name
            yield item_path, value, key
            yield from _iter_places(item, item_path)
    elif isinstance(value, list):
        for index, item in enumerate(value):
            item_path = f"{path}[{index}]"
            yield item_path, value, index
            yield from _iter_places(item, item_path)


def _is_null(value: Any) -> bool:
    return value is None or (
        isinstance(value, str) and _WORDS.get(value.strip().lower(), 1) is None
    )


def _unquote_value(value: Any) -> Any:
    """Return what a value may stand for; the value itself if there is no such thing."""
    if value is not None and not isinstance(value, str):
        return json.dumps(value, ensure_ascii=False)
    unquoted: Any = value
    while isinstance(unquoted, str):  # JSON may be encoded in JSON
        text = unquoted.strip()
        word = text.lower()
        try:
            unquoted = _WORDS[word] if word in _WORDS else _decode_json(text)
        except (ValueError, RecursionError):
            literal = _decode_literal(text)
            return value if literal is None else literal
    return unquoted


def _decode_literal(text: str) -> Any:
    """Return the list or dictionary that a text is in Python; None if it is none of JSON's."""
    text = text.strip()
    if not text.startswith(("[", "{")) or len(text) > _MAX_LITERAL_LENGTH:
        return None
    try:
        return _decode_json(json.dumps(ast.literal_eval(text)))
    except (ValueError, TypeError, SyntaxError, MemoryError, RecursionError):
        return None


def _decode_json(text: str) -> Any:
    return json.loads(text, parse_constant=_reject_constant)


def _reject_constant(name: str) -> Any:
    raise ValueError(f"{name} is not JSON")
