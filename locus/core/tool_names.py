"""Renames the tools of a request whose names its provider refuses, and names them back.

Providers differ in what the name of a tool may be, and refuse the whole request for another one: a
tool of an MCP server, as ``files.read``, or a name in the history that another provider's model, or
one of their own, has made up. Such a name is replaced wherever it is: in the tools, in
``tool_choice``, in the calls of the conversation and their results, and in what the provider wants
to see again of them. A new name depends on the old one only, so the same conversation always gives
the same request. The calls of the response have the caller's names again.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence, Set
from typing import Any, Final

import attrs

from locus.core.build_tool_schemas import ToolLike, build_tool_schemas
from locus.core.digest import compute_digest
from locus.core.frozendict import EMPTY
from locus.core.messages import Message, Role, ToolCall
from locus.core.native_state import NativeState
from locus.core.response import ModelResponse

UNNAMED_TOOL_NAME: Final = "unnamed_tool"
"""The name of a call that came without one. No tool has it, so the model is told that there is no
such tool, and can try again: small models forget the name now and then."""

_NOT_IN_NAMES: Final = re.compile(r"[^a-zA-Z0-9_]")
_MAX_KEPT_CHARACTERS: Final = 50
"""How much of a name stays: with what is added, it is short enough for every provider."""


def _to_pattern(pattern: str | re.Pattern[str]) -> re.Pattern[str]:
    return re.compile(pattern)


@attrs.frozen
class ToolNameRule:
    """Which names of tools a provider accepts.

    :param pattern: matches a complete name that is accepted. Each name of at most 60 characters is,
        of letters, digits and ``_``, that does not begin with a digit.
    """

    pattern: re.Pattern[str] = attrs.field(converter=_to_pattern)

    def is_accepted(self, name: str) -> bool:
        """Return whether the provider accepts a name."""
        return self.pattern.fullmatch(name) is not None

    def make_name(self, name: str, taken: Collection[str] = ()) -> str:
        """Make a name that is accepted from any other; different names give different results.

        :param taken: names that are not made: those of other tools.
        """
        if not name and UNNAMED_TOOL_NAME not in taken:
            return UNNAMED_TOOL_NAME
        kept = _NOT_IN_NAMES.sub("_", name or UNNAMED_TOOL_NAME)[:_MAX_KEPT_CHARACTERS]
        prefix = "_" if kept[0].isdigit() else ""
        digest = compute_digest(name)
        while (made := f"{prefix}{kept}_{digest[:8]}") in taken:
            digest = compute_digest(digest)
        return made


@attrs.frozen
class RenamedRequest:
    """What a caller passed, with names of tools that the provider accepts.

    :param original_names: the caller's names of its tools, by those that are sent.
    """

    messages: Any
    tools: Sequence[ToolLike]
    options: Mapping[str, Any]
    original_names: Mapping[str, str] = EMPTY

    def restore_names(self, response: ModelResponse) -> ModelResponse:
        """Return the response with the caller's names in its calls."""
        names = self.original_names
        if not names:
            return response
        candidates = tuple(
            attrs.evolve(candidate, message=_rename_calls(candidate.message, names))
            for candidate in response.candidates
        )
        message = _rename_calls(response.message, names)
        if message is response.message and candidates == response.candidates:
            return response
        return attrs.evolve(response, message=message, candidates=candidates)


def rename_refused_tools(
    messages: Any, tools: Sequence[ToolLike], options: Mapping[str, Any], rule: ToolNameRule
) -> RenamedRequest:
    """Return the request with names that the provider accepts.

    :param messages: what the caller passed; it may be no conversation at all.
    :raises ConfigurationError: if a tool is not one.
    """
    schemas = build_tool_schemas(tools)
    tool_names = {name for schema in schemas for name in _find_function_names(schema)}
    refused = _make_names(tool_names, _iter_names_in_messages(messages), rule)
    if not refused:
        return RenamedRequest(messages, tools, options)
    if tool_names & refused.keys():
        tools = [_rename_tool(schema, refused) for schema in schemas]
        choice = _rename_choice(options.get("tool_choice"), refused)
        options = {**options, "tool_choice": choice} if choice is not None else options
    if isinstance(messages, (list, tuple)):
        messages = [_rename_message(message, refused) for message in messages]
    original_names = {refused[name]: name for name in tool_names & refused.keys()}
    return RenamedRequest(messages, tools, options, original_names)


def _make_names(
    tool_names: Set[str], names_in_messages: Iterable[str], rule: ToolNameRule
) -> dict[str, str]:
    """Make a new name for each that is refused. No two of them are the same, nor a tool's own."""
    names = {*tool_names, *names_in_messages}
    if not names:
        return {}
    refused = {name for name in names if not rule.is_accepted(name)}
    taken = set(tool_names - refused)
    made = {}
    for name in sorted(refused):
        made[name] = rule.make_name(name, taken)
        taken.add(made[name])
    return made


_NAME_HOLDERS: Final = ("function", "custom")
"""The members of a tool, or of a choice of one, that hold its name."""


def _find_function_names(schema: Mapping[str, Any]) -> Iterator[str]:
    """Yield the name of a tool that is the caller's: a function, or a tool for free text."""
    # The responses API has the name of a tool for free text beside its type.
    beside_type = [schema] if schema.get("type") == "custom" else []
    for holder in (*beside_type, *map(schema.get, _NAME_HOLDERS)):
        if isinstance(holder, Mapping) and isinstance(holder.get("name"), str):
            yield holder["name"]


def _rename_tool(schema: Mapping[str, Any], names: Mapping[str, str]) -> Mapping[str, Any]:
    """Return a tool with another name; the same object if it keeps its own."""
    if names.keys().isdisjoint(_find_function_names(schema)):
        return schema
    renamed = _rename_member(schema, names) if schema.get("type") == "custom" else schema
    return {
        member: _rename_member(value, names) if member in _NAME_HOLDERS else value
        for member, value in renamed.items()
    }


def _rename_choice(choice: Any, names: Mapping[str, str]) -> Any:
    """Return a ``tool_choice``, of one tool or of several, with other names."""
    if isinstance(choice, str):
        return names.get(choice, choice)
    if not isinstance(choice, Mapping):
        return choice
    renamed = dict(_rename_member(choice, names))
    for member in {*_NAME_HOLDERS, "allowed_tools"} & renamed.keys():
        renamed[member] = _rename_choice(renamed[member], names)
    tools = renamed.get("tools")
    if isinstance(tools, (list, tuple)):
        renamed["tools"] = [_rename_choice(tool, names) for tool in tools]
    return renamed


def _rename_member(holder: Any, names: Mapping[str, str]) -> Any:
    """Return an object with another ``name``; anything else unchanged."""
    name = holder.get("name") if isinstance(holder, Mapping) else None
    return {**holder, "name": names[name]} if isinstance(name, str) and name in names else holder


def _iter_names_in_messages(messages: Any) -> Iterator[str]:
    """Yield the names of tools in calls and results, and in what providers want to see again."""
    for message in messages if isinstance(messages, (list, tuple)) else ():
        if not isinstance(message, Message):
            continue
        if message.role is Role.TOOL and message.name:
            yield message.name
        if message.tool_calls:
            for call in message.tool_calls:
                yield call.name
            if message.native_state is not None:
                yield from (item["name"] for item in _iter_named_calls(message.native_state.data))


_CALL_TYPES: Final = frozenset({"tool_use", "function_call", "custom_tool_call"})
"""The types of the calls of the caller's tools in the native state of the formats."""


def _iter_named_calls(data: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    """Yield the calls in native state: objects in its lists."""
    for value in data.values():
        for item in value if isinstance(value, (list, tuple)) else ():
            if (
                isinstance(item, Mapping)
                and item.get("type") in _CALL_TYPES
                and (isinstance(item.get("name"), str))
            ):
                yield item


def _rename_message(message: Any, names: Mapping[str, str]) -> Any:
    """Return a message with other names in its calls; anything else unchanged."""
    if not isinstance(message, Message):
        return message
    if message.role is Role.TOOL and message.name is not None and message.name in names:
        return attrs.evolve(message, name=names[message.name])
    renamed = _rename_calls(message, names)
    state = message.native_state
    if state is None or not any(item["name"] in names for item in _iter_named_calls(state.data)):
        return renamed
    return attrs.evolve(renamed, native_state=_rename_in_native_state(state, names))


def _rename_calls(message: Message, names: Mapping[str, str]) -> Message:
    if not any(call.name in names for call in message.tool_calls):
        return message
    return attrs.evolve(message, tool_calls=_rename_each(message.tool_calls, names))


def _rename_each(calls: Iterable[ToolCall], names: Mapping[str, str]) -> list[ToolCall]:
    return [
        attrs.evolve(call, name=names[call.name]) if call.name in names else call for call in calls
    ]


def _rename_in_native_state(state: NativeState, names: Mapping[str, str]) -> NativeState:
    data: dict[str, Any] = {}
    for member, value in state.data.items():
        if isinstance(value, (list, tuple)):
            value = [
                {**item, "name": names[item["name"]]}
                if isinstance(item, Mapping)
                and item.get("type") in _CALL_TYPES
                and item.get("name") in names
                else item
                for item in value
            ]
        data[member] = value
    return attrs.evolve(state, data=data)
