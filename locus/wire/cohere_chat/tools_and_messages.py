"""What every spelling of Cohere's chat format builds alike: tools, the choice of one, texts."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from typing import Any, assert_never

import attrs

from locus.core.call_options import CallOptions
from locus.core.errors import ConfigurationError
from locus.core.messages import (
    ImagePart,
    Message,
    RefusalPart,
    TextPart,
    ThinkingPart,
    ToolCall,
)
from locus.wire.request_parts import make_tool_choice_error


def extract_functions(schemas: Iterable[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    """Return the ``function`` of each tool.

    :raises ConfigurationError: if a tool is not a function.
    """
    functions = []
    for index, schema in enumerate(schemas):
        function = schema.get("function")
        if schema.get("type", "function") != "function" or not isinstance(function, Mapping):
            raise ConfigurationError(
                f"tools[{index}]: Cohere takes functions only, not {schema.get('type')!r}"
            )
        functions.append(function)
    return functions


def select_tool_choice_and_functions(
    call_options: CallOptions, functions: list[Mapping[str, Any]]
) -> tuple[str | None, list[Mapping[str, Any]]]:
    """Return the choice, ``"NONE"``, ``"REQUIRED"`` or None, and the functions to send.

    Cohere's second format can require some tool, but not a certain one. So if one is chosen, only
    that is sent.

    :raises ConfigurationError: if the choice names no tool.
    """
    if not functions:
        return None, functions
    match call_options.tool_choice:
        case None | "auto":
            return None, functions
        case "none":
            return "NONE", functions
        case "required":
            return "REQUIRED", functions
        case str(name) | {"type": "function", "function": {"name": str(name)}}:
            selected = [function for function in functions if function["name"] == name]
            if selected:
                return "REQUIRED", selected
    names = (function["name"] for function in functions)
    raise make_tool_choice_error(call_options.tool_choice, names)


def are_strict(functions: Collection[Mapping[str, Any]]) -> bool:
    """Return whether there are functions, and all are strict: the format has one member for all."""
    return bool(functions) and all(function.get("strict") is True for function in functions)


def join_text_and_refusal(message: Message) -> str:
    """Return the text of a message, followed by its refusal.

    The formats have no member for a refusal: it becomes part of the assistant's text. Thinking is
    left out. Images are refused before: the builder's ``accepted_parts`` do not list them.
    """
    if not isinstance(message.all_content, tuple):
        return message.text
    text = refusal = ""
    for part in message.all_content:
        match part:
            case TextPart():
                text += part.text
            case RefusalPart():
                refusal += part.text
            case ThinkingPart() | ImagePart():
                pass
            case _:
                assert_never(part)
    return "\n\n".join(filter(None, (text, refusal)))


def make_call_ids_unique(
    calls: Iterable[ToolCall], used_call_ids: Collection[str] = ()
) -> tuple[ToolCall, ...]:
    """Return the calls, each with an id that no other of them and none of ``used_call_ids`` has."""
    unique: list[ToolCall] = []
    seen = set(used_call_ids)
    suffixes: dict[str, int] = {}
    for call in calls:
        call_id = call.id
        while call_id in seen:
            suffix = suffixes[call.id] = suffixes.get(call.id, 0) + 1
            call_id = f"{call.id}_{suffix}"
        seen.add(call_id)
        unique.append(call if call_id == call.id else attrs.evolve(call, id=call_id))
    return tuple(unique)
