"""Reads arguments that a model wrote in quotes: ``"3"`` for 3, ``"[1]"`` for a list.

Weaker models do so often, above all with numbers, and with objects inside of objects. A tool has to
ask for it (``lenient=True``), because a text that looks like a number may be meant as text.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, Final

from locus.core.structured.validation_context import ValidationContext, join_path
from locus.tools.argument_validation import copy_json_value

_MAX_DEPTH: Final = 10
"""How deep objects in quotes may be inside of objects in quotes."""

_PYTHON_WORDS: Final = {"True": True, "False": False, "None": None}


def unquote_arguments(
    arguments: Mapping[str, Any], find_invalid_paths: Callable[[Mapping[str, Any]], Sequence[str]]
) -> dict[str, Any]:
    """Return a copy of the arguments with the invalid values read once more.

    A text becomes the JSON value that it holds, and a number the text of it. What is valid is not
    changed, and neither is what stays invalid.

    :param find_invalid_paths: returns the paths of the values that are not of their types.
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


def _unquote_value(value: Any) -> Any:
    """Return what a value may stand for; the value itself if there is no such thing."""
    if isinstance(value, (int, float)) and not isinstance(value, bool):
        return json.dumps(value)
    unquoted = value
    while isinstance(unquoted, str):  # JSON may be encoded in JSON
        text = unquoted.strip()
        try:
            unquoted = _PYTHON_WORDS[text] if text in _PYTHON_WORDS else _decode_json(text)
        except (ValueError, RecursionError):
            return value
    return unquoted


def _decode_json(text: str) -> Any:
    return json.loads(text, parse_constant=_reject_constant)


def _reject_constant(name: str) -> Any:
    raise ValueError(f"{name} is not JSON")
