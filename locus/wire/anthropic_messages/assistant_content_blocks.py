"""Conversion between Locus's assistant messages and Anthropic's content blocks.

A Locus message holds text, thinking and tool calls. The API has many more block types (searches
that it ran itself, citations, and whatever it adds later), and it requires an assistant message
exactly as it sent it: thinking before the call that it led to, unchanged. So if a Locus message
cannot reproduce the API's blocks exactly, the blocks are stored beside it, in
``metadata["blocks"]``. They are sent back from there as long as the message still has the same
content.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from typing import Any, Final, assert_never

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
from locus.wire.anthropic_messages.structured_output import (
    RESPOND_TOOL_NAME,
    canonicalize_tool_input,
)

Block = dict[str, Any]

NATIVE_BLOCKS_KEY: Final = "blocks"
"""The metadata key under which the API's own blocks of a message are stored."""
MALFORMED_ARGUMENTS_KEY: Final = "malformed_arguments"
"""The only member of a tool call's input if its arguments were not a JSON object: the API accepts
objects only."""
_DIRECT_CALLER: Final = {"type": "direct"}


def is_blank(text: str) -> bool:
    """Return whether the API would reject ``text``: it must have a visible character."""
    return not text or text.isspace()


# From a Locus message to blocks.


def build_assistant_blocks(message: Message) -> list[Block]:
    """Build the blocks of an assistant message: the stored ones if they still match it.

    Blank text and thinking without a signature are left out.
    """
    if has_matching_native_blocks(message):
        # A refusal is the API's own statement about the response, and not one of its blocks.
        refusals = [part for part in message.content or () if isinstance(part, RefusalPart)]
        native_blocks = message.metadata[NATIVE_BLOCKS_KEY]
        return [_to_request_block(block) for block in native_blocks] + _build_blocks(refusals, ())
    return _build_blocks(message.content, message.tool_calls)


def _build_blocks(content: Content | Sequence[Part], calls: Sequence[ToolCall]) -> list[Block]:
    """Build blocks from content and tool calls, without regard to stored blocks."""
    parts = (TextPart(content),) if isinstance(content, str) else content or ()
    blocks = [block for part in parts if (block := _build_block_if_sendable(part)) is not None]
    for call in calls:
        arguments: Any = (
            call.arguments if call.malformed_arguments is None else call.malformed_arguments
        )
        input_ = _build_tool_input(arguments)
        blocks.append({"type": "tool_use", "id": call.id, "name": call.name, "input": input_})
    return blocks


def _build_tool_input(arguments: Mapping[str, Any] | str) -> dict[str, Any]:
    """Return the input object of a call; malformed arguments become a member of it."""
    return {MALFORMED_ARGUMENTS_KEY: arguments} if isinstance(arguments, str) else dict(arguments)


def _build_block_if_sendable(part: Part) -> Block | None:
    """Build the block of a part; None for blank text and for thinking without a signature.

    An image is refused before: the builder's ``accepted_parts`` list none for the assistant.
    """
    match part:
        case TextPart() | RefusalPart():
            return None if is_blank(part.text) else {"type": "text", "text": part.text}
        case ThinkingPart():
            if part.redacted is not None:
                return {"type": "redacted_thinking", "data": part.redacted}
            if part.signature:
                return {"type": "thinking", "thinking": part.text, "signature": part.signature}
            return None
        case ImagePart():
            return None
        case _:
            assert_never(part)


def has_matching_native_blocks(message: Message) -> bool:
    """Return whether a message has stored blocks whose content is still that of the message."""
    native_blocks = message.metadata.get(NATIVE_BLOCKS_KEY)
    return bool(native_blocks) and _has_same_content(native_blocks, message)


def _has_same_content(native_blocks: Any, message: Message) -> bool:
    """Return whether the stored blocks are valid and have the content and calls of the message."""
    if not isinstance(native_blocks, (list, tuple)) or not all(
        isinstance(block, Mapping) and isinstance(block.get("type"), str) for block in native_blocks
    ):
        return False  # the caller's own metadata under the same key
    try:
        parts, calls = parse_blocks(native_blocks)
    except (ResponseParseError, TypeError, ValueError):
        return False
    if calls != message.tool_calls:
        return False
    return _build_comparable_content(parts) == _build_comparable_content(message.content)


def _build_comparable_content(content: Content) -> tuple[str, list[Part]]:
    """Build the text and the thinking, for comparison, without unsendable blocks."""
    parts = (TextPart(content),) if isinstance(content, str) else content or ()
    text = "".join(part.text for part in parts if isinstance(part, TextPart))
    # A refusal belongs to the response and is no block. A message with an image can never match.
    others: list[Part] = [
        part
        for part in parts
        if isinstance(part, ImagePart)
        or (isinstance(part, ThinkingPart) and (part.signature or part.redacted is not None))
    ]
    return "".join(text.split()), others


# From blocks to a Locus message.


def parse_blocks(
    blocks: Sequence[Mapping[str, Any]],
) -> tuple[tuple[Part, ...], tuple[ToolCall, ...]]:
    """Parse a list of complete blocks into message parts and tool calls.

    :raises ResponseParseError: if a tool call has no name.
    """
    parts: list[Part] = []
    calls: list[ToolCall] = []
    for index, block in enumerate(blocks):
        match block.get("type"):
            case "text":
                parts.append(TextPart(get_text_member(block, "text")))
            case "thinking":
                signature = get_text_member(block, "signature") or None
                parts.append(ThinkingPart(get_text_member(block, "thinking"), signature))
            case "redacted_thinking":
                parts.append(ThinkingPart(redacted=get_text_member(block, "data")))
            case "tool_use" if block.get("name") == RESPOND_TOOL_NAME:
                parts.append(TextPart(canonicalize_tool_input(block.get("input"))))
            case "tool_use":
                calls.append(_parse_tool_call(index, block))
    return tuple(part for part in parts if part != TextPart("")), _make_call_ids_unique(calls)


def get_text_member(block: Mapping[str, Any], name: str) -> str:
    """Return a member of a block that should be text; an empty string if it is not."""
    value = block.get(name)
    return value if isinstance(value, str) else ""


def _parse_tool_call(index: int, block: Mapping[str, Any]) -> ToolCall:
    """Parse a block of the type ``tool_use``; a missing id is computed from the block."""
    name, call_id = get_text_member(block, "name"), get_text_member(block, "id")
    input_ = block.get("input")
    if not name:
        raise ResponseParseError(f"content[{index}] is a tool call without a name")
    if not call_id:
        # Computed from the response, so that a stream and a complete response give the same id.
        seed = f"{index}\0{name}\0{canonicalize_tool_input(input_)}".encode(errors="replace")
        call_id = f"toolu_{hashlib.sha256(seed).hexdigest()[:24]}"
    if input_ is None or isinstance(input_, Mapping):
        return ToolCall(call_id, name, input_ or {})
    text = input_ if isinstance(input_, str) else canonicalize_tool_input(input_)
    return ToolCall.from_json(call_id, name, text)


def _make_call_ids_unique(calls: list[ToolCall]) -> tuple[ToolCall, ...]:
    """Rename repeated ids. Some servers of this format give all parallel calls the same id."""
    seen: set[str] = set()
    for index, call in enumerate(calls):
        if call.id in seen:
            calls[index] = call = ToolCall(
                f"{call.id}_{index}", call.name, call.arguments, call.malformed_arguments
            )
        seen.add(call.id)
    return tuple(calls)


def build_message_content(parts: Sequence[Part], calls: Sequence[ToolCall]) -> Content:
    """Build the content of a message: a string if all parts are text, None if it has only calls."""
    texts = [part.text for part in parts if isinstance(part, TextPart)]
    if len(texts) < len(parts):
        return tuple(parts)
    text = "".join(texts)
    return text if text or not calls else None


def select_blocks_to_store(
    blocks: Sequence[Mapping[str, Any]], content: Content, calls: Sequence[ToolCall]
) -> list[Block]:
    """Select the blocks of a response to store on its message: all that can be sent back, or none.

    None are needed if the message itself, with this content and these calls, reproduces them. The
    blocks of tool calls get the ids of ``calls``.
    """
    native_blocks = [
        block
        for block in map(_replace_respond_call_by_text, blocks)
        if not _is_unsendable_block(block)
    ]
    ids = (call.id for call in calls)
    for block in native_blocks:
        if block.get("type") == "tool_use":
            block["id"] = next(ids)  # it may have had no id, or that of another call
    without_refusal = content
    if isinstance(content, tuple):
        without_refusal = tuple(part for part in content if not isinstance(part, RefusalPart))
    sent_back = [_to_request_block(block) for block in native_blocks]
    return [] if sent_back == _build_blocks(without_refusal, calls) else native_blocks


def _replace_respond_call_by_text(block: Mapping[str, Any]) -> Block:
    """Return a copy of a block; a call of the synthetic tool becomes its text."""
    if block.get("type") == "tool_use" and block.get("name") == RESPOND_TOOL_NAME:
        return {"type": "text", "text": canonicalize_tool_input(block.get("input"))}
    return dict(block)


def _to_request_block(block: Mapping[str, Any]) -> Block:
    """Convert a response block for a request: without null members and defaults."""
    request_block = {
        name: value
        for name, value in block.items()
        if value is not None and not (name == "caller" and value == _DIRECT_CALLER)
    }
    if isinstance(request_block.get("input"), str):
        request_block["input"] = _build_tool_input(request_block["input"])
    return request_block


def _is_unsendable_block(block: Mapping[str, Any]) -> bool:
    """Return whether the API would reject this block in a request."""
    match block.get("type"):
        case "text":
            return is_blank(get_text_member(block, "text"))
        case "thinking":
            return not block.get("signature")
    return False
