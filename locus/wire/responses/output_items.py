"""Parses the output items of a response, and selects those that have to be sent back unchanged.

A response is a list of items: messages, tool calls, reasoning, and the results of the server's own
tools. A Locus message holds the text, the refusal and the tool calls. Items which it cannot express
(encrypted reasoning, the phase of a text, searches, calls of free-text tools) are stored in the
message's native state. The next request sends them from there, as long as the message has the same
text, refusal and calls as they.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, ClassVar, Final, TypeAlias

import attrs
import msgspec

from locus.core.errors import ResponseParseError
from locus.core.messages import Message, ToolCall
from locus.core.model_family import strip_model_snapshot
from locus.core.native_state_routing import NativeStateRule, remove_native_state
from locus.wire.lenient_conversion import convert_leniently
from locus.wire.outgoing_tool_call_ids import with_issued_id
from locus.wire.provider_json import ResponseStruct, convert_body_to_text
from locus.wire.response_parts import UNNAMED_TOOL_NAME, is_empty_call, make_tool_call

Item: TypeAlias = dict[str, Any]

WIRE_FORMAT: Final = "responses"
REASONING_SEPARATOR: Final = "\n\n"
"""Separates two parts of reasoning: each part starts with its own heading."""


class ContentPart(ResponseStruct):
    """A part of a message or of reasoning."""

    needed_members: ClassVar = frozenset({"text"})

    type: str | None = None
    text: str | None = None
    refusal: str | None = None
    annotations: list[Any] | None = None
    logprobs: list[Any] | None = None


class MessageItem(ResponseStruct):
    needed_members: ClassVar = frozenset({"content"})

    content: list[ContentPart] | str | None = None

    @property
    def parts(self) -> list[ContentPart]:
        """The parts; content that is only text is one part."""
        content = self.content
        return [ContentPart("output_text", content)] if isinstance(content, str) else content or []


class ReasoningItem(ResponseStruct):
    summary: list[ContentPart] | None = None
    content: list[ContentPart] | None = None
    encrypted_content: str | None = None


class ToolCallItem(ResponseStruct):
    """A call of a function (with ``arguments``) or of a free-text tool (with ``input``)."""

    needed_members: ClassVar = frozenset({"name", "input"})

    type: str
    call_id: str | None = None
    id: str | None = None
    name: str | None = None
    arguments: Any = None
    input: str | None = None


ParsedItem: TypeAlias = MessageItem | ReasoningItem | ToolCallItem

_CALL_TYPES: Final = ("function_call", "custom_tool_call")
_ITEM_STRUCTS: Final[Mapping[str, type[ParsedItem]]] = {
    "message": MessageItem,
    "reasoning": ReasoningItem,
    **dict.fromkeys(_CALL_TYPES, ToolCallItem),
}


def parse_item_if_known(item: Item) -> ParsedItem | None:
    """Parse an item of a type that Locus reads; return None for an item of another type.

    :raises ResponseParseError: if the item does not follow the format.
    """
    item_type = item.get("type")
    struct = _ITEM_STRUCTS.get(item_type) if isinstance(item_type, str) else None
    if struct is None:
        return None
    try:
        return msgspec.convert(item, struct)
    except (msgspec.ValidationError, RecursionError):
        pass
    try:
        return convert_leniently(item, struct)
    except (msgspec.ValidationError, RecursionError) as exc:
        raise ResponseParseError(
            f"an output item cannot be read: {exc}", body=convert_body_to_text(item)
        ) from exc


@attrs.define
class ParsedOutput:
    """The contents of all output items of a response."""

    text: str = ""
    reasoning: str = ""
    refusal: str = ""
    calls: tuple[ToolCall, ...] = ()
    annotations: list[Any] = attrs.field(factory=list)
    logprobs: list[Any] = attrs.field(factory=list)


def parse_items(items: Iterable[Item], *, skip_unnamed_calls: bool = False) -> ParsedOutput:
    """Parse output items.

    :param skip_unnamed_calls: ignore calls whose name has not arrived yet.
    :raises ResponseParseError: if an item does not follow the format.
    """
    output = ParsedOutput()
    texts: list[str] = []
    reasoning_texts: list[str] = []
    refusals: list[str] = []
    calls: list[ToolCall] = []
    for position, item in enumerate(items):
        if _is_empty_call(item):
            continue
        match parse_item_if_known(item):
            case MessageItem() as message:
                for part in message.parts:
                    texts.append(part.text or "")
                    refusals.append(part.refusal or "")
                    output.annotations += part.annotations or ()
                    output.logprobs += part.logprobs or ()
            case ReasoningItem() as reasoning:
                parts = [*(reasoning.summary or ()), *(reasoning.content or ())]
                reasoning_texts += [part.text for part in parts if part.text]
            case ToolCallItem() as call if call.name or not skip_unnamed_calls:
                calls.append(_build_tool_call(position, call))
    output.text, output.refusal = "".join(texts), "".join(refusals)
    output.reasoning = REASONING_SEPARATOR.join(reasoning_texts)
    output.calls = _make_call_ids_unique(calls)
    return output


def _build_tool_call(position: int, call: ToolCallItem) -> ToolCall:
    """Build the call of an item; malformed arguments stay text."""
    name = call.name or UNNAMED_TOOL_NAME
    arguments = call.input if call.type == "custom_tool_call" else call.arguments
    call_id = call.call_id or call.id
    if not call_id:
        # The id depends on the call only, so a complete response and a streamed one give the same.
        seed = f"{position}\0{name}\0{arguments}".encode(errors="replace")
        call_id = f"call_{hashlib.sha256(seed).hexdigest()[:24]}"
    if call.type == "custom_tool_call":
        tool_call = ToolCall(call_id, name, malformed_arguments=arguments or "")
    else:
        tool_call = make_tool_call(call_id, name, arguments)  # some send the object itself
    return with_issued_id(tool_call, call.call_id or call.id, NATIVE_STATE_RULE)


def _make_call_ids_unique(calls: list[ToolCall]) -> tuple[ToolCall, ...]:
    """Rename repeated ids, which some servers give to parallel calls."""
    seen: set[str] = set()
    for position, call in enumerate(calls):
        if call.id in seen:
            calls[position] = call = attrs.evolve(call, id=f"{call.id}_{position}")
        seen.add(call.id)
    return tuple(calls)


# Items that a message cannot express.


def select_items_to_store(items: Sequence[Item], output: ParsedOutput) -> list[Item]:
    """Select the items of a response to store on its message, in the form of a request.

    The list is empty if the message expresses all of them. Calls get the ids in ``output``.
    """
    ids = (call.id for call in output.calls)
    request_items = []
    for item in items:
        if _is_empty_call(item):
            continue
        request_item = _to_request_item(item)
        if request_item.get("type") in _CALL_TYPES:
            request_item["call_id"] = next(ids)  # it may have had none, or the id of another call
        if not _is_unfinished(request_item) and (
            request_item.get("type") != "message" or request_item["content"]
        ):
            request_items.append(request_item)
    native_items = _strip_trailing_reasoning(request_items)
    if any(map(_is_reasoning_reference, native_items)):
        native_items = strip_reasoning(native_items)
    return (
        []
        if [_to_comparable_item(item) for item in native_items]
        == _build_items_for_comparison(output)
        else native_items
    )


def find_matching_native_items(message: Message) -> list[Item]:
    """Return the native items of a message; an empty list if the message was changed since."""
    state = message.native_state
    if state is None or state.maker.wire_format != WIRE_FORMAT:
        return []
    native_items = state.data.get("items")
    if not isinstance(native_items, (list, tuple)) or not all(
        isinstance(item, Mapping) for item in native_items
    ):
        return []  # not from a response: somebody has made this state
    items = [dict(item) for item in native_items]
    try:
        output = parse_items(items)
    except ResponseParseError:
        return []
    is_unchanged = (output.text, output.refusal, _to_comparable_calls(output.calls)) == (
        message.text,
        message.refusal or "",
        _to_comparable_calls(message.tool_calls),
    )
    return items if is_unchanged else []


def _to_comparable_calls(calls: Iterable[ToolCall]) -> list[ToolCall]:
    """Return the calls without native state: that of a message is bound to a server."""
    return [attrs.evolve(call, native_state=None) for call in calls]


def has_sendable_native_items(message: Message) -> bool:
    """Return whether a message has native items that can be sent without other content."""
    return any(item.get("type") != "reasoning" for item in find_matching_native_items(message))


def strip_reasoning(items: Iterable[Item]) -> list[Item]:
    """Return the items without reasoning, and without what the server accepts only after it.

    These are the ids of messages and calls, and the items of the server's own tools: it rejects
    them without the reasoning that led to them.
    """
    items = list(items)
    if any(item.get("type") == "reasoning" for item in items):
        items = [item for item in items if _is_message_or_call(item)]
    return [
        {
            name: value
            for name, value in item.items()
            if name != "id" or not _is_message_or_call(item)
        }
        for item in items
    ]


def _is_message_or_call(item: Item) -> bool:
    return item.get("type") in ("message", *_CALL_TYPES)


def _is_unfinished(item: Item) -> bool:
    """Return whether one of the server's own tools had not finished when the response ended."""
    return not _is_known_item(item) and item.get("status") in _UNFINISHED


def _is_empty_call(item: Item) -> bool:
    """Return whether an item is a call with neither a name nor arguments."""
    is_call = item.get("type") in _CALL_TYPES
    return is_call and is_empty_call(item.get("name"), item.get("arguments") or item.get("input"))


def _is_known_item(item: Item) -> bool:
    item_type = item.get("type")
    return isinstance(item_type, str) and item_type in _ITEM_STRUCTS


def _is_reasoning_reference(item: Item) -> bool:
    """Return whether this is reasoning without content, stored by the server that made it."""
    return item.get("type") == "reasoning" and not (
        item.get("encrypted_content") or item.get("content")
    )


def _strip_trailing_reasoning(items: list[Item]) -> list[Item]:
    """Return the items without reasoning at the end, which the API rejects."""
    while items and items[-1].get("type") == "reasoning":
        items = items[:-1]
    return items


def _to_request_item(item: Item) -> Item:
    """Convert an output item for a request: without null members and token probabilities.

    An item of a type that Locus does not read stays unchanged.
    """
    item_type = item.get("type")
    if not _is_known_item(item):
        return dict(item)
    request_item = _strip_null_members(item)
    if item_type == "message":
        request_item.setdefault("role", "assistant")
        content = request_item.get("content") or []
        if not isinstance(content, list):
            content = [{"type": "output_text", "text": str(content)}]
        parts = [_strip_null_members(part) for part in content]
        for part in parts:
            part.pop("logprobs", None)
        request_item["content"] = [
            part for part in parts if part.get("text") or part.get("refusal")
        ]
    elif item_type == "reasoning":
        request_item.setdefault("summary", [])
        if not request_item.get("encrypted_content"):
            request_item.pop("encrypted_content", None)
    elif item_type in _CALL_TYPES:
        request_item["name"] = request_item.get("name") or UNNAMED_TOOL_NAME
    if item_type == "function_call":
        arguments = request_item.setdefault("arguments", "")
        if isinstance(arguments, dict):
            request_item["arguments"] = json.dumps(arguments)
    elif item_type == "custom_tool_call":
        request_item.setdefault("input", "")
    return request_item


def _strip_null_members(values: Item) -> Item:
    return {name: value for name, value in values.items() if value is not None}


_UNFINISHED: Final = ("in_progress", "searching", "generating", "interpreting", "incomplete")
_UNCOMPARED_MEMBERS: Final = ("id", "status", "arguments")
_DIRECT_CALLER: Final = {"type": "direct"}


def _to_comparable_item(item: Item) -> Item:
    """Return what a message has to express of an item, except the arguments of a call."""
    comparable = {name: value for name, value in item.items() if name not in _UNCOMPARED_MEMBERS}
    if comparable.get("caller") == _DIRECT_CALLER:
        del comparable["caller"]
    if comparable.get("type") == "message":
        comparable["content"] = [
            {name: value for name, value in part.items() if name != "annotations" or value}
            for part in comparable["content"]
        ]
    return comparable


def _build_items_for_comparison(output: ParsedOutput) -> list[Item]:
    """Build the items that a message with this output is sent as, in comparable form."""
    content: list[Item] = []
    if output.text:
        content.append({"type": "output_text", "text": output.text})
    if output.refusal:
        content.append({"type": "refusal", "refusal": output.refusal})
    calls = [
        {"type": "function_call", "call_id": call.id, "name": call.name} for call in output.calls
    ]
    message = {"type": "message", "role": "assistant", "content": content}
    return [message, *calls] if content else calls


def _remove_model_state(message: Message) -> Message:
    """Return a message without its reasoning, which another model rejects."""
    state = message.native_state
    bare = remove_native_state(message)
    if state is not None and isinstance(state.data.get("items"), (list, tuple)):
        items = strip_reasoning(map(dict, state.data["items"]))
        state = attrs.evolve(state, data={**state.data, "items": items})
    return attrs.evolve(bare, native_state=state)


NATIVE_STATE_RULE: Final = NativeStateRule(WIRE_FORMAT, strip_model_snapshot, _remove_model_state)
"""The items are bound to the server, and reasoning to the model: a model that does not reason
rejects it, and another one cannot decrypt it."""
