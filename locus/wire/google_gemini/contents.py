"""Builds ``contents``: the messages of a request, without the system messages."""

from __future__ import annotations

import base64
from collections.abc import Mapping, Sequence
from typing import Any, assert_never

from locus.core.conversation import IndexedMessage
from locus.core.messages import ImagePart, RefusalPart, Role, TextPart, ThinkingPart
from locus.wire.google_gemini.native_parts import SIGNATURE, find_signatures, get_native_parts
from locus.wire.outgoing_images import read_image_bytes
from locus.wire.request_parts import build_arguments_object


def build_contents(
    conversation: Sequence[IndexedMessage], call_ids: Mapping[Any, str], model: str
) -> list[dict[str, Any]]:
    """Build the contents. The results of the calls in one message are one content, as Gemini
    wants, and so are messages of the user that follow each other.

    Messages without a visible character are left out: Gemini refuses parts without text.
    """
    names = {
        (one.position, index): call.name
        for one in conversation
        for index, call in enumerate(one.message.tool_calls)
    }
    contents: list[dict[str, Any]] = []
    previous_role = None
    for indexed in conversation:
        role = indexed.message.role
        if role is Role.SYSTEM:
            continue
        if role is Role.TOOL:
            part = _build_result(indexed, call_ids, names)
            if previous_role is Role.TOOL:
                contents[-1]["parts"].append(part)
            else:
                contents.append({"role": "user", "parts": [part]})
        elif role is Role.USER:
            if parts := _build_parts(indexed):
                if previous_role is Role.USER:
                    contents[-1]["parts"] += parts
                    continue
                contents.append({"role": "user", "parts": parts})
            else:
                continue
        elif parts := _build_model_parts(indexed, call_ids, model):
            contents.append({"role": "model", "parts": parts})
        else:
            continue
        previous_role = role
    return contents


def _build_model_parts(
    indexed: IndexedMessage, call_ids: Mapping[Any, str], model: str
) -> list[dict[str, Any]]:
    message, position = indexed.message, indexed.position
    parts = get_native_parts(message)
    if parts is None:
        parts = _build_parts(indexed)
    signatures = find_signatures(model, message.tool_calls)
    for index, (call, signature) in enumerate(zip(message.tool_calls, signatures, strict=True)):
        path = f"messages[{position}].tool_calls[{index}]"
        arguments = build_arguments_object(path, call)
        function = {"id": call_ids[position, index], "name": call.name, "args": arguments}
        parts.append({"functionCall": function, **({SIGNATURE: signature} if signature else {})})
    return parts


def _build_result(
    indexed: IndexedMessage, call_ids: Mapping[Any, str], names: Mapping[Any, str]
) -> dict[str, Any]:
    """Build a result: Gemini knows the members ``output`` and ``error`` of a response."""
    message, call = indexed.message, indexed.call_position
    member = "error" if "error" in message.metadata else "output"
    return {
        "functionResponse": {
            "id": call_ids[call],
            "name": names[call],
            "response": {member: message.text},
        }
    }


def _build_parts(indexed: IndexedMessage) -> list[dict[str, Any]]:
    content = indexed.message.all_content
    parts: list[dict[str, Any]] = []
    for part in (TextPart(content),) if isinstance(content, str) else content or ():
        match part:
            case TextPart() | RefusalPart():
                if part.text.strip():
                    parts.append({"text": part.text})
            case ImagePart():
                parts.append({"inlineData": _build_image(indexed.position, part)})
            case ThinkingPart():
                pass  # of another provider: `accepted_parts` say so
            case _:
                assert_never(part)
    return parts


def _build_image(position: int, image: ImagePart) -> dict[str, str]:
    """Build the image's bytes.

    :raises ConfigurationError: if the image is a URL that has to be fetched.
    """
    media_type, data = read_image_bytes(f"messages[{position}]", image, "Gemini")
    encoded = base64.b64encode(data).decode()
    return {"mimeType": media_type, "data": encoded}
