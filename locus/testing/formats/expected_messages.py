"""What a request has to hold: the messages that a reader has to find, by a format's record."""

from __future__ import annotations

import base64
import itertools
import re
from collections.abc import Sequence
from urllib.parse import unquote_to_bytes

import attrs

from locus.core.messages import (
    ImagePart,
    Message,
    Part,
    RefusalPart,
    Role,
    TextPart,
    ThinkingPart,
    ToolCall,
)
from locus.core.native_state_routing import NativeStateRule
from locus.testing.formats.decoded_messages import ReadCall, ReadImage, ReadMessage, ReadThinking
from locus.testing.formats.wire_format import WireFormat


def replace_call_ids_by_names(read_messages: list[ReadMessage]) -> list[ReadMessage]:
    """Replace the ids of calls by their names, which are unique."""
    names = {call.id: call.name for read_message in read_messages for call in read_message.calls}
    return [
        attrs.evolve(
            read_message,
            calls=tuple(attrs.evolve(call, id=call.name) for call in read_message.calls),
            tool_call_id=read_message.tool_call_id and names[read_message.tool_call_id],
        )
        for read_message in read_messages
    ]


def build_expected_messages(messages: Sequence[Message], wire: WireFormat) -> list[ReadMessage]:
    """Build the messages that a request in this format has to hold."""
    read_messages: list[ReadMessage] = []
    for message in messages:
        if message.role is Role.TOOL:
            continue
        read_messages.append(_build_expected_message(message, wire))
        names = [call.name for call in message.tool_calls]
        results = [other for other in messages if other.role is Role.TOOL and other.name in names]
        if wire.orders_results:
            results.sort(key=lambda result: names.index(result.name or ""))
        if wire.moves_result_images:
            results = _move_images_behind_results(results)
        read_messages += [_build_expected_message(result, wire) for result in results]
    if wire.system_position != "in place":
        read_messages = _merge_system_messages(read_messages, wire)
    if not wire.accepts_blank_text:
        read_messages = [
            read_message
            for read_message in read_messages
            if read_message not in (ReadMessage("user"), ReadMessage("assistant"))
        ]
    if wire.filler_text is not None:
        read_messages = _insert_filler_messages(read_messages, wire.filler_text)
    return _merge_messages(read_messages, wire.merged_roles)


def _move_images_behind_results(results: Sequence[Message]) -> list[Message]:
    """Number the images of results, and add messages of the user's that show them."""
    numbered: list[Message] = []
    shown: list[Message] = []
    count = 0
    for result in results:
        texts: list[Part] = []
        pictures: list[Part] = []
        for part in _get_parts(result):
            if isinstance(part, ImagePart):
                count += 1
                texts.append(TextPart(f"[Image {count}, which the user shows next]"))
                label = f"[Image {count}, from the result of {result.name}]"
                pictures += [TextPart(label), part]
            else:
                texts.append(part)
        numbered.append(attrs.evolve(result, content=texts) if pictures else result)
        shown += [Message.user(pictures)] if pictures else []
    return numbered + shown


def _merge_system_messages(read_messages: list[ReadMessage], wire: WireFormat) -> list[ReadMessage]:
    """Merge system messages into one prompt: all of them, or those at the beginning."""
    first = read_messages
    if wire.system_position == "opening":
        first = list(
            itertools.takewhile(lambda read_message: read_message.role == "system", read_messages)
        )
    systems = [
        part
        for read_message in first
        if read_message.role == "system"
        for part in read_message.parts
    ]
    rest = [
        read_message for read_message in first if read_message.role != "system"
    ] + read_messages[len(first) :]
    if wire.empty_text is not None:
        rest = [
            read_message
            if read_message.parts or read_message.role == "tool"
            else attrs.evolve(read_message, parts=(wire.empty_text,))
            for read_message in rest
        ]
    return [ReadMessage("system", ("\n\n".join(map(str, systems)),)), *rest] if systems else rest


def _insert_filler_messages(read_messages: list[ReadMessage], filler: str) -> list[ReadMessage]:
    """Add a message of the assistant between results and a user message after them."""
    with_filler: list[ReadMessage] = []
    for read_message in read_messages:
        previous = [one.role for one in with_filler if one.role != "system"]
        if read_message.role == "user" and previous[-1:] == ["tool"]:
            with_filler.append(ReadMessage("assistant", (filler,)))
        with_filler.append(read_message)
    return with_filler


def _merge_messages(read_messages: list[ReadMessage], roles: Sequence[str]) -> list[ReadMessage]:
    merged: list[ReadMessage] = []
    for read_message in read_messages:
        if not merged or read_message.role not in roles or read_message.role != merged[-1].role:
            merged.append(read_message)
            continue
        previous = merged.pop()
        parts = (*previous.parts, *read_message.parts)
        if read_message.role == "assistant" and parts:
            parts = ("".join(map(str, parts)),)
        calls, thinking = (
            previous.calls + read_message.calls,
            previous.thinking + read_message.thinking,
        )
        refusal = (previous.refusal or "") + (read_message.refusal or "") or None
        merged.append(ReadMessage(read_message.role, parts, calls, thinking, refusal))
    return merged


def _build_expected_message(message: Message, wire: WireFormat) -> ReadMessage:
    parts = _get_parts(message)
    refusal = "".join(part.text for part in parts if isinstance(part, RefusalPart)) or None
    return ReadMessage(
        str(message.role),
        _build_expected_parts(message, parts, wire),
        tuple(_build_expected_call(call, wire) for call in message.tool_calls),
        _build_expected_thinking(parts, wire) if _is_for(wire, message) else (),
        refusal if wire.refusal_form == "apart" else None,
        _normalize_name(message.name)
        if wire.keeps_names and message.role is not Role.TOOL
        else None,
        message.name if message.role is Role.TOOL else None,
        wire.marks_failures and "error" in message.metadata,
    )


def _get_parts(message: Message) -> Sequence[Part]:
    content = message.all_content
    return (TextPart(content),) if isinstance(content, str) else content or ()


def _normalize_name(name: str | None) -> str | None:
    return re.sub(r"[\s<>|/\\]", "_", name)[:64] if name else None


def _build_expected_parts(
    message: Message, parts: Sequence[Part], wire: WireFormat
) -> tuple[str | ReadImage, ...]:
    read_messages: list[str | ReadImage] = []
    for part in parts:
        if isinstance(part, ImagePart):
            read_messages.append(_build_expected_image(part, wire))
        elif isinstance(part, TextPart) and (wire.accepts_blank_text or part.text.strip()):
            read_messages.append(part.text)
    if wire.refusal_form != "apart":
        read_messages += _build_expected_refusal_texts(parts, wire)
    is_image_allowed = message.role is Role.TOOL and message.role in wire.image_roles
    if wire.keeps_part_order and (message.role is Role.USER or is_image_allowed):
        return tuple(read_messages)
    text = "".join(part for part in read_messages if isinstance(part, str))
    images = [part for part in read_messages if isinstance(part, ReadImage)]
    always_text = message.role is Role.SYSTEM and wire.keeps_part_order and wire.accepts_blank_text
    return (*([text] if text or always_text else []), *images)


def _build_expected_refusal_texts(parts: Sequence[Part], wire: WireFormat) -> list[str]:
    """Refusals as text, in separate parts or in a separate paragraph."""
    refusals = [part.text for part in parts if isinstance(part, RefusalPart) and part.text]
    if wire.refusal_form == "part":
        return [text for text in refusals if wire.accepts_blank_text or text.strip()]
    text = "".join(part.text for part in parts if isinstance(part, TextPart))
    return ["\n\n" * bool(text) + "".join(refusals)] if refusals else []


def _build_expected_image(part: ImagePart, wire: WireFormat) -> ReadImage:
    media_type, data = part.media_type, part.data
    if data is None:
        url = part.url or ""
        if url[:5].lower() != "data:":
            return ReadImage(url)
        head, _, body = url[5:].partition(",")
        media_type = head.partition(";")[0]
        data = unquote_to_bytes(body)
        if ";base64" in head.lower():
            data = base64.b64decode(data)
    media_type = "image/jpeg" if media_type == "image/jpg" else media_type
    return ReadImage(None, data, None if wire.image_types == () else media_type)


def _build_expected_call(call: ToolCall, wire: WireFormat) -> ReadCall:
    text = call.malformed_arguments
    if text is None:
        return ReadCall(call.name, call.name, dict(call.arguments))
    return ReadCall(call.name, call.name, {"malformed_arguments": text})


def _is_for(wire: WireFormat, message: Message) -> bool:
    """Return whether a format may be sent what the maker of a message wants to see again."""
    state = message.native_state
    return state is None or state.maker.wire_format == get_native_format(wire)


def get_native_format(wire: WireFormat) -> str | None:
    """Return the name under which a format's native state is made; None if it has none."""
    rule: NativeStateRule | None = getattr(wire.builder, "native_state_rule", None)
    return None if rule is None else rule.wire_format


def _build_expected_thinking(parts: Sequence[Part], wire: WireFormat) -> tuple[ReadThinking, ...]:
    thinking = [part for part in parts if isinstance(part, ThinkingPart)]
    if wire.thinking_form == "signed":
        return tuple(
            ReadThinking(part.text, part.signature, part.redacted)
            for part in thinking
            if part.signature or part.redacted is not None
        )
    if wire.thinking_form == "unsigned":
        text = "".join(
            part.text for part in thinking if part.signature is None and part.redacted is None
        )
        return (ReadThinking(text),) if text else ()
    return ()


def get_unsupported_images(message: Message, wire: WireFormat) -> list[ImagePart]:
    """Return the images of a message that a format does not support."""
    return [
        part
        for part in _get_parts(message)
        if isinstance(part, ImagePart)
        and (
            not wire.can_hold_images(message.role)
            or (
                (picture := _build_expected_image(part, wire)).url is not None
                and not wire.accepts_image_urls
            )
            or (
                picture.data is not None
                and wire.image_types
                and picture.media_type not in wire.image_types
            )
        )
    ]


def replace_unsupported_images(message: Message, wire: WireFormat) -> Message:
    """Replace the images that a format does not support by text."""
    if not (unsupported := get_unsupported_images(message, wire)):
        return message
    parts = [
        TextPart("(a picture)") if part in unsupported else part for part in _get_parts(message)
    ]
    return attrs.evolve(message, content=parts)
