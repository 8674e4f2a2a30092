"""Conversion between Locus's assistant messages and Anthropic's content blocks.

A Locus message holds text, thinking and tool calls. The API has many more block types (searches
that it ran itself, citations, and whatever it adds later), and it requires an assistant message
exactly as it sent it: thinking before the call that it led to, unchanged. So if a Locus message
cannot reproduce the API's blocks exactly, the blocks are stored in its native state. They are sent
back from there as long as the message still has the same content.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from typing import Any, Final, assert_never

import attrs

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
from locus.core.native_state import NativeState
from locus.core.native_state_routing import NativeStateRule, remove_native_state
from locus.wire.anthropic_messages.model_capabilities import get_thinking_model
from locus.wire.anthropic_messages.structured_output import (
    RESPOND_TOOL_NAME,
    canonicalize_tool_input,
)
from locus.wire.anthropic_messages.thinking_history_digest import THINKING_TYPES, compute_history
from locus.wire.outgoing_tool_call_ids import with_issued_id
from locus.wire.response_parts import UNNAMED_TOOL_NAME

Block = dict[str, Any]

WIRE_FORMAT: Final = "anthropic_messages"

MALFORMED_ARGUMENTS_KEY: Final = "malformed_arguments"
"""The only member of a tool call's input if its arguments were not a JSON object: the API accepts
objects only."""
_DIRECT_CALLER: Final = {"type": "direct"}


def is_blank(text: str) -> bool:
    """Return whether the API would reject ``text``: it must have a visible character."""
    return not text or text.isspace()


# From a Locus message to blocks.


def build_assistant_blocks(message: Message, *, unsigned_thinking: bool = False) -> list[Block]:
    """Build the blocks of an assistant message: the stored ones if they still match it.

    Blank text is left out.

    :param unsigned_thinking: whether the server accepts its own thinking without a signature.
    """
    unsigned_thinking = unsigned_thinking and find_state(message) is not None
    if has_matching_native_blocks(message):
        # A refusal is the API's own statement about the response, and not one of its blocks.
        refusals = [part for part in message.all_content or () if isinstance(part, RefusalPart)]
        return [
            _to_request_block(block)
            for block in _find_native_blocks(message)
            if unsigned_thinking or not _is_unsigned_thinking(block)
        ] + _build_blocks(refusals, ())
    return _build_blocks(message.all_content, message.tool_calls, unsigned_thinking)


def find_state(message: Message) -> NativeState | None:
    """Return the message's native state, if it is of this format."""
    state = message.native_state
    return state if state is not None and state.maker.wire_format == WIRE_FORMAT else None


def _find_native_blocks(message: Message) -> Any:
    """Return the blocks in the message's native state; an empty tuple if it has none."""
    state = find_state(message)
    return () if state is None else state.data.get("blocks", ())


def _build_blocks(
    content: Content | Sequence[Part], calls: Sequence[ToolCall], unsigned_thinking: bool = False
) -> list[Block]:
    """Build blocks from content and tool calls, without regard to stored blocks."""
    parts = (TextPart(content),) if isinstance(content, str) else content or ()
    blocks = [
        block
        for part in parts
        if (block := _build_block_if_sendable(part, unsigned_thinking)) is not None
    ]
    for call in calls:
        arguments: Any = (
            call.arguments if call.malformed_arguments is None else call.malformed_arguments
        )
        input_ = _build_tool_input(arguments)
        blocks.append({"type": "tool_use", "id": call.id, "name": call.name, "input": input_})
    return blocks


def _build_tool_input(arguments: Mapping[str, Any] | str) -> dict[str, Any]:
    """Return the input object of a call; malformed arguments become a member of it.

    Blank text and ``null`` are no arguments.
    """
    if isinstance(arguments, str) and arguments.strip() in ("", "null"):
        return {}
    return {MALFORMED_ARGUMENTS_KEY: arguments} if isinstance(arguments, str) else dict(arguments)


def _build_block_if_sendable(part: Part, unsigned_thinking: bool) -> Block | None:
    """Build the block of a part; None for blank text.

    None for thinking without a signature, too, unless the server accepts that. An image is refused
    before: the builder's ``accepted_parts`` list none for the assistant.
    """
    match part:
        case TextPart() | RefusalPart():
            return None if is_blank(part.text) else {"type": "text", "text": part.text}
        case ThinkingPart():
            if part.redacted is not None:
                return {"type": "redacted_thinking", "data": part.redacted}
            if part.signature:
                return {"type": "thinking", "thinking": part.text, "signature": part.signature}
            return {"type": "thinking", "thinking": part.text} if unsigned_thinking else None
        case ImagePart():
            return None
        case _:
            assert_never(part)


def has_matching_native_blocks(message: Message) -> bool:
    """Return whether a message has stored blocks whose content is still that of the message."""
    native_blocks = _find_native_blocks(message)
    return bool(native_blocks) and _has_same_content(native_blocks, message)


def _has_same_content(native_blocks: Any, message: Message) -> bool:
    """Return whether the stored blocks are valid and have the content and calls of the message."""
    if not isinstance(native_blocks, (list, tuple)) or not all(
        isinstance(block, Mapping) and isinstance(block.get("type"), str) for block in native_blocks
    ):
        return False  # not from a response: somebody has made this state
    try:
        parts, calls = parse_blocks(native_blocks)
    except (TypeError, ValueError):
        return False
    if list(map(_to_comparable_call, calls)) != list(map(_to_comparable_call, message.tool_calls)):
        return False
    return _build_comparable_content(parts) == _build_comparable_content(message.all_content)


def _to_comparable_call(call: ToolCall) -> ToolCall:
    """Return the call without native state: the state in a message is bound to a server."""
    return call if call.native_state is None else attrs.evolve(call, native_state=None)


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
    """Parse a list of complete blocks into message parts and tool calls."""
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
    name, input_ = name or UNNAMED_TOOL_NAME, block.get("input")
    if not call_id:
        # Computed from the response, so that a stream and a complete response give the same id.
        seed = f"{index}\0{name}\0{canonicalize_tool_input(input_)}".encode(errors="replace")
        call_id = f"toolu_{hashlib.sha256(seed).hexdigest()[:24]}"
    if input_ is None or isinstance(input_, Mapping):
        call = ToolCall.from_object(call_id, name, input_ or {})
    else:
        text = input_ if isinstance(input_, str) else canonicalize_tool_input(input_)
        call = ToolCall.from_json(call_id, name, text)
    return with_issued_id(call, get_text_member(block, "id"), NATIVE_STATE_RULE)


def _make_call_ids_unique(calls: list[ToolCall]) -> tuple[ToolCall, ...]:
    """Rename repeated ids. Some servers of this format give all parallel calls the same id."""
    seen: set[str] = set()
    for index, call in enumerate(calls):
        if call.id in seen:
            calls[index] = call = attrs.evolve(call, id=f"{call.id}_{index}")
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
    reproduced = _build_blocks(without_refusal, calls, unsigned_thinking=True)
    return [] if sent_back == reproduced else native_blocks


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
    """Return whether every server would reject this block in a request."""
    match block.get("type"):
        case "text":
            return is_blank(get_text_member(block, "text"))
        case "thinking":
            return not block.get("signature") and not get_text_member(block, "thinking")
    return False


def _is_unsigned_thinking(block: Mapping[str, Any]) -> bool:
    """Return whether this is thinking without a signature.

    Anthropic's own API never accepts it. Other servers of this format sign nothing, and some of
    them demand their thinking back with the results of tools: DeepSeek, Kimi.
    """
    return block.get("type") == "thinking" and not block.get("signature")


def _remove_model_state(message: Message) -> Message:
    """Return a message without its thinking, which other models do not accept.

    What the server's own tools have done, and its container, remain.
    """
    bare = remove_native_state(message)
    state = message.native_state
    if state is not None:
        data = dict(state.data)
        if "blocks" in data:
            data["blocks"] = [
                block for block in data["blocks"] if block.get("type") not in THINKING_TYPES
            ]
        state = attrs.evolve(state, data=data, bound_to_history=False, history=None)
    return attrs.evolve(bare, native_state=state)


NATIVE_STATE_RULE: Final = NativeStateRule(
    WIRE_FORMAT, get_thinking_model, _remove_model_state, compute_history
)
"""The state is bound to the server; thinking also to the model, and to the conversation before."""
