"""Builds the messages of a request in Cohere's second chat format, in Cohere's own spelling.

Messages have roles and typed contents, images among them. Tool calls have ids, and arguments as
JSON text. Thinking is sent back as it was received, and so is the plan that a model makes before it
calls tools: it is in the message's native state.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, assert_never

from locus.core.conversation import IndexedMessage, ToolCallPosition
from locus.core.messages import (
    ImagePart,
    Message,
    Part,
    RefusalPart,
    Role,
    TextPart,
    ThinkingPart,
)
from locus.core.native_state_routing import NativeStateRule
from locus.wire.cohere_chat.response_accumulator import PLAN_KEY
from locus.wire.cohere_chat.tools_and_messages import join_text_and_refusal
from locus.wire.outgoing_images import build_image_url
from locus.wire.request_parts import encode_arguments


def build_chat_messages(
    conversation: Iterable[IndexedMessage],
    call_ids: Mapping[ToolCallPosition, str],
    native_state_rule: NativeStateRule,
    *,
    results_as_documents: bool,
) -> list[dict[str, Any]]:
    """Build the messages of a request.

    :param native_state_rule: the rule of the spelling that the messages are for.
    :param results_as_documents: whether the result of a tool is a document, which the model can
        cite; else it is text.
    :raises ConfigurationError: if the format cannot represent something; the message names it and
        its position.
    """
    return [
        _build_message(
            indexed, call_ids, native_state_rule, results_as_documents=results_as_documents
        )
        for indexed in conversation
    ]


def _build_message(
    indexed_message: IndexedMessage,
    call_ids: Mapping[ToolCallPosition, str],
    native_state_rule: NativeStateRule,
    *,
    results_as_documents: bool,
) -> dict[str, Any]:
    message = indexed_message.message
    match message.role:
        case Role.USER:
            return {"role": "user", "content": _build_contents(indexed_message)}
        case Role.ASSISTANT:
            return _build_assistant_message(
                indexed_message, call_ids, native_state_rule.wire_format
            )
        case Role.TOOL:
            content = _build_result(message) if results_as_documents else _build_text(message)
            call_id = indexed_message.call_position and call_ids[indexed_message.call_position]
            return {"role": "tool", "tool_call_id": call_id, "content": [content]}
    return {"role": "system", "content": [_build_text(message)]}


def _build_assistant_message(
    indexed_message: IndexedMessage, call_ids: Mapping[ToolCallPosition, str], wire_format: str
) -> dict[str, Any]:
    position, message = indexed_message.position, indexed_message.message
    built: dict[str, Any] = {"role": "assistant"}
    contents = _build_contents(indexed_message)
    if contents:
        built["content"] = contents
    state = message.native_state
    plan = None
    if state is not None and state.maker.wire_format == wire_format:
        plan = state.data.get(PLAN_KEY)
    if isinstance(plan, str) and plan:
        built["tool_plan"] = plan
    if message.tool_calls:
        built["tool_calls"] = [
            {
                "id": call_ids[position, index],
                "type": "function",
                "function": {
                    "name": call.name,
                    "arguments": encode_arguments(
                        f"messages[{position}].tool_calls[{index}]", call
                    ),
                },
            }
            for index, call in enumerate(message.tool_calls)
        ]
    return built


def _build_text(message: Message) -> dict[str, Any]:
    return {"type": "text", "text": join_text_and_refusal(message)}


def _build_result(message: Message) -> dict[str, Any]:
    """Build the result of a tool as a document.

    The text of a failed call describes the error; the member's name marks it as one.
    """
    name = "output" if message.metadata.get("error") is None else "error"
    return {"type": "document", "document": {"data": {name: join_text_and_refusal(message)}}}


def _build_contents(indexed_message: IndexedMessage) -> list[dict[str, Any]]:
    content = indexed_message.message.all_content
    if content is None or isinstance(content, str):
        if content or not indexed_message.message.tool_calls:
            return [{"type": "text", "text": content or ""}]
        return []
    contents = (_build_content(indexed_message.position, part) for part in content)
    return [chat_content for chat_content in contents if chat_content is not None]


def _build_content(position: int, part: Part) -> dict[str, Any] | None:
    """Build the content of a part; None for thinking that belongs to another provider."""
    match part:
        case TextPart() | RefusalPart():  # a refusal becomes part of the assistant's text
            return {"type": "text", "text": part.text}
        case ImagePart():
            image_url = {"url": build_image_url(f"messages[{position}]", part)}
            if part.detail:
                image_url["detail"] = part.detail
            return {"type": "image_url", "image_url": image_url}
        case ThinkingPart(signature=None, redacted=None):
            return {"type": "thinking", "thinking": part.text}
        case ThinkingPart():
            return None  # another provider's, which alone can verify its signature
        case _:
            assert_never(part)
