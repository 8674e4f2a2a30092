"""The content blocks of an assistant's turn, to and from Locus's message.

A message keeps text, thinking and tool calls. The API knows many more blocks (searches it ran
itself, citations, whatever it comes up with next), and it wants a turn back as it came: thinking
before the call it led to, unchanged. So a turn that a message cannot repeat to the letter is kept
beside it, in ``metadata["blocks"]``, and goes back from there for as long as the message still
says the same.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from typing import Any, Final

from locus.core.errors import ResponseParseError
from locus.core.messages import (
    Content,
    ImagePart,
    Message,
    Part,
    RefusalPart,
    TextPart,
    ThinkingPart,
    ToolCall,
)
from locus.wire.anthropic_messages.structured_output import RESPOND, canonical

Block = dict[str, Any]

KEPT: Final = "blocks"
"""The metadata key under which a turn's blocks are kept."""
MALFORMED: Final = "malformed_arguments"
"""The one member of a call's input where the arguments were no JSON object: the API takes objects
only."""
_DIRECT: Final = {"type": "direct"}


def is_blank(text: str) -> bool:
    """Whether the API would refuse ``text``: it takes none without a visible character."""
    return not text or text.isspace()


# From a message.


def blocks_of(message: Message) -> list[Block]:
    """The blocks of an assistant's message. Blank text, and thinking without a seal, are left out.

    :raises ValueError: it holds an image; the API takes none from the assistant.
    """
    if holds_blocks(message):
        # A refusal is the API's own account of the answer, and none of its blocks.
        refusals = [part for part in message.content or () if isinstance(part, RefusalPart)]
        return [_sendable(block) for block in message.metadata[KEPT]] + _written(refusals, ())
    return _written(message.content, message.tool_calls)


def _written(content: Content | Sequence[Part], calls: Sequence[ToolCall]) -> list[Block]:
    parts = (TextPart(content),) if isinstance(content, str) else content or ()
    blocks = [block for part in parts if (block := _block(part)) is not None]
    for call in calls:
        told: Any = call.arguments if call.malformed_arguments is None else call.malformed_arguments
        blocks.append({"type": "tool_use", "id": call.id, "name": call.name, "input": _input(told)})
    return blocks


def _input(told: Mapping[str, Any] | str) -> dict[str, Any]:
    return {MALFORMED: told} if isinstance(told, str) else dict(told)


def _block(part: Part) -> Block | None:
    if isinstance(part, ThinkingPart):
        if part.redacted is not None:
            return {"type": "redacted_thinking", "data": part.redacted}
        if part.signature:
            return {"type": "thinking", "thinking": part.text, "signature": part.signature}
        return None
    if isinstance(part, ImagePart):
        raise ValueError("the API takes images from the user and from tools only")
    return None if is_blank(part.text) else {"type": "text", "text": part.text}


def holds_blocks(message: Message) -> bool:
    """Whether blocks are kept beside a message, and still say what it says."""
    kept = message.metadata.get(KEPT)
    return bool(kept) and _says_the_same(kept, message)


def _says_the_same(kept: Any, message: Message) -> bool:
    if not isinstance(kept, (list, tuple)) or not all(
        isinstance(block, Mapping) and isinstance(block.get("type"), str) for block in kept
    ):
        return False  # the caller's own note of that name
    try:
        parts, calls = read(kept)
    except (ResponseParseError, TypeError, ValueError):
        return False
    return calls == message.tool_calls and _said(parts) == _said(message.content)


def _said(content: Content) -> tuple[str, list[Part]]:
    """The text and the thinking, for comparing; without what is not kept, see :func:`_refused`."""
    parts = (TextPart(content),) if isinstance(content, str) else content or ()
    text = "".join(part.text for part in parts if isinstance(part, TextPart))
    # A refusal is the answer's, and not a block; and with an image it cannot be the same.
    others: list[Part] = [
        part
        for part in parts
        if isinstance(part, ImagePart)
        or (isinstance(part, ThinkingPart) and (part.signature or part.redacted is not None))
    ]
    return "".join(text.split()), others


# To a message.


def read(blocks: Sequence[Mapping[str, Any]]) -> tuple[tuple[Part, ...], tuple[ToolCall, ...]]:
    """The parts and the calls that whole blocks hold.

    :raises ResponseParseError: a tool call has no name.
    """
    parts: list[Part] = []
    calls: list[ToolCall] = []
    for position, block in enumerate(blocks):
        match block.get("type"):
            case "text":
                parts.append(TextPart(text_in(block, "text")))
            case "thinking":
                seal = text_in(block, "signature") or None
                parts.append(ThinkingPart(text_in(block, "thinking"), seal))
            case "redacted_thinking":
                parts.append(ThinkingPart(redacted=text_in(block, "data")))
            case "tool_use" if block.get("name") == RESPOND:
                parts.append(TextPart(canonical(block.get("input"))))
            case "tool_use":
                calls.append(_call(position, block))
    return tuple(part for part in parts if part != TextPart("")), _distinct(calls)


def text_in(block: Mapping[str, Any], name: str) -> str:
    """A block's member that should be text; empty where it is none."""
    value = block.get(name)
    return value if isinstance(value, str) else ""


def _call(position: int, block: Mapping[str, Any]) -> ToolCall:
    name, identity, told = text_in(block, "name"), text_in(block, "id"), block.get("input")
    if not name:
        raise ResponseParseError(f"content[{position}] is a tool call without a name")
    if not identity:
        # Made from the answer, so that it is the same however the answer was read.
        seed = f"{position}\0{name}\0{canonical(told)}".encode(errors="replace")
        identity = f"toolu_{hashlib.sha256(seed).hexdigest()[:24]}"
    if told is None or isinstance(told, Mapping):
        return ToolCall(identity, name, told or {})
    return ToolCall.from_json(identity, name, told if isinstance(told, str) else canonical(told))


def _distinct(calls: list[ToolCall]) -> tuple[ToolCall, ...]:
    """Servers of this format that give parallel calls one id: their results must be told apart."""
    seen: set[str] = set()
    for position, call in enumerate(calls):
        if call.id in seen:
            calls[position] = call = ToolCall(
                f"{call.id}_{position}", call.name, call.arguments, call.malformed_arguments
            )
        seen.add(call.id)
    return tuple(calls)


def content_of(parts: Sequence[Part], calls: Sequence[ToolCall]) -> Content:
    """Parts as a message's content: plain text where there is nothing else."""
    words = [part.text for part in parts if isinstance(part, TextPart)]
    if len(words) < len(parts):
        return tuple(parts)
    text = "".join(words)
    return text if text or not calls else None


def to_keep(
    blocks: Sequence[Mapping[str, Any]], content: Content, calls: Sequence[ToolCall]
) -> list[Block]:
    """The blocks, where the message made of them could not repeat them; else nothing."""
    came = [block for block in map(_as_text, blocks) if not _refused(block)]
    ids = (call.id for call in calls)
    for block in came:
        if block.get("type") == "tool_use":
            block["id"] = next(ids)  # it may have had none, or another call's
    spoken = content
    if isinstance(content, tuple):
        spoken = tuple(part for part in content if not isinstance(part, RefusalPart))
    return [] if [_sendable(block) for block in came] == _written(spoken, calls) else came


def _as_text(block: Mapping[str, Any]) -> Block:
    """A copy of a block; of a call of the synthetic tool, the text that it stands for."""
    if block.get("type") == "tool_use" and block.get("name") == RESPOND:
        return {"type": "text", "text": canonical(block.get("input"))}
    return dict(block)


def _sendable(block: Mapping[str, Any]) -> Block:
    """A block of an answer as requests have it: nothing that is null, or goes without saying."""
    sendable = {
        name: value
        for name, value in block.items()
        if value is not None and not (name == "caller" and value == _DIRECT)
    }
    if isinstance(sendable.get("input"), str):
        sendable["input"] = _input(sendable["input"])
    return sendable


def _refused(block: Mapping[str, Any]) -> bool:
    match block.get("type"):
        case "text":
            return is_blank(text_in(block, "text"))
        case "thinking":
            return not block.get("signature")
    return False
