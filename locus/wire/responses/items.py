"""The items of an answer, to and from Locus's message.

An answer is a list of items: messages, tool calls, reasoning, and whatever the server's own tools
did. A message keeps the text, the refusal and the calls. What it cannot repeat (reasoning that the
server has encrypted, the phase of a text, searches, free-text tools) is kept beside it, in
``metadata["output_items"]``, and goes back from there for as long as the message still says the
same. Other formats never send it.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final, TypeAlias

import attrs
import msgspec

from locus.core.errors import ResponseParseError
from locus.core.messages import Message, ToolCall
from locus.wire.json import Read, text_of

Item: TypeAlias = dict[str, Any]

KEPT: Final = "output_items"
"""The metadata key under which a turn's items are kept."""
PARAGRAPH: Final = "\n\n"
"""What stands between two parts of reasoning: each begins with a heading of its own."""


class Part(Read):
    """A part of a message or of reasoning."""

    type: str | None = None
    text: str | None = None
    refusal: str | None = None
    annotations: list[Any] | None = None
    logprobs: list[Any] | None = None


class MessageItem(Read):
    content: list[Part] | str | None = None

    @property
    def parts(self) -> list[Part]:
        """The parts; text that is not in one is one."""
        said = self.content
        return [Part("output_text", said)] if isinstance(said, str) else said or []


class ReasoningItem(Read):
    summary: list[Part] | None = None
    content: list[Part] | None = None
    encrypted_content: str | None = None


class CallItem(Read):
    """A call of a function, or of a free-text tool, which has an ``input``."""

    type: str
    call_id: str | None = None
    id: str | None = None
    name: str | None = None
    arguments: str | dict[str, Any] | None = None
    input: str | None = None


Shape: TypeAlias = MessageItem | ReasoningItem | CallItem

_CALLS: Final = ("function_call", "custom_tool_call")
_SHAPES: Final[Mapping[str, type[Shape]]] = {
    "message": MessageItem,
    "reasoning": ReasoningItem,
    **dict.fromkeys(_CALLS, CallItem),
}


def shape_of(item: Item) -> Shape | None:
    """An item that Locus reads; None for one of another kind.

    :raises ResponseParseError: it is not what the format promises.
    """
    kind = item.get("type")
    shape = _SHAPES.get(kind) if isinstance(kind, str) else None
    if shape is None:
        return None
    try:
        return msgspec.convert(item, shape)
    except (msgspec.ValidationError, RecursionError) as why:
        raise ResponseParseError(
            f"an output item cannot be read: {why}", body=text_of(item)
        ) from why


@attrs.define
class Output:
    """What the items of an answer say."""

    text: str = ""
    reasoning: str = ""
    refusal: str = ""
    calls: tuple[ToolCall, ...] = ()
    annotations: list[Any] = attrs.field(factory=list)
    logprobs: list[Any] = attrs.field(factory=list)


def read(items: Iterable[Item], *, unfinished: bool = False) -> Output:
    """What ``items`` say.

    :param unfinished: pass over calls whose name has not arrived.
    :raises ResponseParseError: an item is not what the format promises, or a call has no name.
    """
    found = Output()
    texts: list[str] = []
    thoughts: list[str] = []
    refusals: list[str] = []
    calls: list[ToolCall] = []
    for position, item in enumerate(items):
        match shape_of(item):
            case MessageItem() as message:
                for part in message.parts:
                    texts.append(part.text or "")
                    refusals.append(part.refusal or "")
                    found.annotations += part.annotations or ()
                    found.logprobs += part.logprobs or ()
            case ReasoningItem() as reasoning:
                parts = [*(reasoning.summary or ()), *(reasoning.content or ())]
                thoughts += [part.text for part in parts if part.text]
            case CallItem() as call if call.name or not unfinished:
                calls.append(_call(position, call))
    found.text, found.refusal = "".join(texts), "".join(refusals)
    found.reasoning = PARAGRAPH.join(thoughts)
    found.calls = _distinct(calls)
    return found


def _call(position: int, call: CallItem) -> ToolCall:
    if not call.name:
        raise ResponseParseError(f"output[{position}] is a tool call without a name")
    told = call.input if call.type == "custom_tool_call" else call.arguments
    identity = call.call_id or call.id
    if not identity:
        # Made from the answer, so that it is the same however the answer was read.
        seed = f"{position}\0{call.name}\0{told}".encode(errors="replace")
        identity = f"call_{hashlib.sha256(seed).hexdigest()[:24]}"
    if isinstance(told, dict):  # some servers send the object itself
        return ToolCall(identity, call.name, told)
    if call.type == "custom_tool_call":
        return ToolCall(identity, call.name, malformed_arguments=told or "")
    return ToolCall.from_json(identity, call.name, told or "")


def _distinct(calls: list[ToolCall]) -> tuple[ToolCall, ...]:
    """Some servers give parallel calls one id: their results could not be told apart."""
    seen: set[str] = set()
    for position, call in enumerate(calls):
        if call.id in seen:
            calls[position] = call = attrs.evolve(call, id=f"{call.id}_{position}")
        seen.add(call.id)
    return tuple(calls)


# What a message cannot repeat.


def to_keep(items: Sequence[Item], output: Output) -> list[Item]:
    """The items as a request has them, where the message made of them cannot repeat them."""
    ids = (call.id for call in output.calls)
    came = []
    for item in items:
        sent = _sendable(item)
        if sent.get("type") in _CALLS:
            sent["call_id"] = next(ids)  # it may have had none, or another call's
        if sent.get("type") != "message" or sent["content"]:
            came.append(sent)
    kept = _followed([item for item in came if not _only_refers(item)])
    if len(kept) < len(came) and not any(item.get("type") == "reasoning" for item in kept):
        kept = without_reasoning(kept)
    return [] if [_bare(item) for item in kept] == _written(output) else kept


def kept_by(message: Message) -> list[Item]:
    """The items kept beside a message, if they still say what it says; else nothing."""
    kept = message.metadata.get(KEPT)
    if not isinstance(kept, (list, tuple)) or not all(isinstance(item, Mapping) for item in kept):
        return []  # the caller's own note of that name
    items = [dict(item) for item in kept]
    try:
        said = read(items)
    except ResponseParseError:
        return []
    same = (said.text, said.refusal, said.calls) == (
        message.text,
        message.refusal or "",
        message.tool_calls,
    )
    return items if same else []


def holds_items(message: Message) -> bool:
    """Whether items kept beside a message are something to send, whatever else it says."""
    return any(item.get("type") != "reasoning" for item in kept_by(message))


def without_reasoning(items: Iterable[Item]) -> list[Item]:
    """The items without reasoning, and without the ids by which a server would miss it."""
    return [
        {name: value for name, value in item.items() if name != "id" or not _is_own(item)}
        for item in items
        if item.get("type") != "reasoning"
    ]


def _is_own(item: Item) -> bool:
    return item.get("type") in ("message", *_CALLS)


def _only_refers(item: Item) -> bool:
    """Whether this is reasoning that only the server which stored it could look up."""
    return item.get("type") == "reasoning" and not (
        item.get("encrypted_content") or item.get("content")
    )


def _followed(items: list[Item]) -> list[Item]:
    """The items without reasoning at their end: the API takes none that leads to nothing."""
    while items and items[-1].get("type") == "reasoning":
        items = items[:-1]
    return items


def _sendable(item: Item) -> Item:
    """An item of an answer as requests have it: nothing that is null, no token probabilities.

    An item that Locus does not read goes as it is.
    """
    kind = item.get("type")
    if not isinstance(kind, str) or kind not in _SHAPES:
        return dict(item)
    sent = _told(item)
    if kind == "message":
        sent.setdefault("role", "assistant")
        content = sent.get("content") or []
        if isinstance(content, str):
            content = [{"type": "output_text", "text": content}]
        parts = [_told(part) for part in content]
        for part in parts:
            part.pop("logprobs", None)
        sent["content"] = [part for part in parts if part.get("text") or part.get("refusal")]
    elif kind == "reasoning":
        sent.setdefault("summary", [])
        if not sent.get("encrypted_content"):
            sent.pop("encrypted_content", None)
    elif kind == "function_call":
        arguments = sent.setdefault("arguments", "")
        if isinstance(arguments, dict):
            sent["arguments"] = json.dumps(arguments)
    elif kind == "custom_tool_call":
        sent.setdefault("input", "")
    return sent


def _told(values: Item) -> Item:
    return {name: value for name, value in values.items() if value is not None}


_PASSING: Final = ("id", "status", "arguments")
_DIRECT: Final = {"type": "direct"}


def _bare(item: Item) -> Item:
    """What of an item a message would have to repeat, besides the arguments of a call."""
    bare = {name: value for name, value in item.items() if name not in _PASSING}
    if bare.get("caller") == _DIRECT:
        del bare["caller"]
    if bare.get("type") == "message":
        bare["content"] = [
            {name: value for name, value in part.items() if name != "annotations" or value}
            for part in bare["content"]
        ]
    return bare


def _written(output: Output) -> list[Item]:
    """The items, bare, that a message with this output is written as."""
    content: list[Item] = []
    if output.text:
        content.append({"type": "output_text", "text": output.text})
    if output.refusal:
        content.append({"type": "refusal", "refusal": output.refusal})
    calls = [
        {"type": "function_call", "call_id": call.id, "name": call.name} for call in output.calls
    ]
    said = {"type": "message", "role": "assistant", "content": content}
    return [said, *calls] if content else calls
