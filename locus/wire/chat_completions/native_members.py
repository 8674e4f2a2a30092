"""The members of a message and of its calls that a server wants to see again.

OpenAI's own API has few of them: the id of a spoken answer, and calls of free-text tools. Other
servers of this format add more, each under names of its own, and refuse or misread the next
request without them:

- plain reasoning, ``reasoning_content`` or ``reasoning``, with tool calls
  (https://api-docs.deepseek.com/guides/thinking_mode, Kimi, MiMo, GLM, vLLM);
- signed or encrypted reasoning: OpenRouter's ``reasoning_details``, LiteLLM's ``thinking_blocks``,
  GitHub Copilot's ``reasoning_opaque``, and typed parts of the content (Mistral, Databricks);
- Gemini's thought signatures, in ``extra_content`` of a call or of the message
  (https://ai.google.dev/gemini-api/docs/thought-signatures), or where a gateway puts them.

They are sent back as they came, under the same names, and to the same server only. What a model has
thought is also for models of the same family only.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, Final

import attrs

from locus.core.messages import Message, ToolCall
from locus.core.model_family import get_model_family, strip_model_snapshot
from locus.core.native_state import NativeState
from locus.core.native_state_routing import NativeStateRule, remove_native_state
from locus.wire.chat_completions.parse_content_parts import parse_content_parts
from locus.wire.outgoing_tool_call_ids import get_unusual_id_member

WIRE_FORMAT: Final = "chat_completions"

PLAIN_REASONING_MEMBERS: Final = ("reasoning_content", "reasoning", "reasoning_text")
"""The names of plain reasoning: text that servers want back only in conversations with calls."""
REPLACED_MEMBERS: Final = ("reasoning_opaque", "thought_signature")
"""Members of a message that are text which never comes in pieces."""
LIST_MEMBERS: Final = ("reasoning_details", "thinking_blocks")
"""Members of a message that are lists of objects, whose pieces are merged."""
OBJECT_MEMBERS: Final = ("extra_content", "provider_specific_fields")
"""Members of a message that are objects."""
CALL_MEMBERS: Final = ("extra_content", "provider_specific_fields", "thought_signature")
"""Members of a call, or of the function in it."""

_SERVER_MEMBERS: Final = ("audio", "images")
"""The members of a message's state that another model of the same server receives as well."""
_SERVER_CALL_MEMBERS: Final = ("type",)
"""The same for the state of a call. Not an unusual id: a gateway's other models may refuse it."""
_SIGNED_GEMINI: Final = re.compile(r"gemini-(?:[3-9]|[1-9]\d)")
"""Gemini 3 and later: they refuse a call that has no signature."""
_SKIP_VALIDATION: Final = {"google": {"thought_signature": "skip_thought_signature_validator"}}
"""What Google documents for calls that another model made, and that so have no signature:
https://ai.google.dev/gemini-api/docs/thought-signatures#faqs."""


def _keep_members(state: NativeState | None, names: tuple[str, ...]) -> NativeState | None:
    """Return the state with these members only; None if it has none of them."""
    if state is None:
        return None
    data = {name: value for name, value in state.data.items() if name in names}
    return attrs.evolve(state, data=data) if data else None


def _remove_model_state(message: Message) -> Message:
    """Return a message without what only the family of models that made it understands."""
    bare = remove_native_state(message)
    calls = tuple(
        attrs.evolve(call, native_state=_keep_members(old.native_state, _SERVER_CALL_MEMBERS))
        for call, old in zip(bare.tool_calls, message.tool_calls, strict=True)
    )
    state = _keep_members(message.native_state, _SERVER_MEMBERS)
    return attrs.evolve(bare, tool_calls=calls, native_state=state)


NATIVE_STATE_RULE: Final = NativeStateRule(WIRE_FORMAT, get_model_family, _remove_model_state)
"""The state is bound to the server; reasoning and signatures also to the family of models."""


# From a response.


def make_call_state(call_id: str, members: Mapping[str, Any], *, is_custom: bool) -> Any:
    """Make the native state of a call; None if the server needs nothing back.

    :param call_id: the id that the server has given to the call; empty if it gave none.
    :param members: what the call has besides id, name and arguments; those of its function are
        under ``"function"``.
    """
    data: dict[str, Any] = dict(members)
    if is_custom:
        data["type"] = "custom"
    data |= get_unusual_id_member(call_id)
    return NATIVE_STATE_RULE.make_state(data) if data else None


def make_message_state(data: Mapping[str, Any]) -> NativeState | None:
    """Make the native state of a message; None if the server needs nothing back."""
    return NATIVE_STATE_RULE.make_state(data) if data else None


def remove_thought_marks(extra_content: Mapping[str, Any]) -> dict[str, Any]:
    """Return ``extra_content`` without Gemini's marks of deltas that hold thoughts."""
    kept: dict[str, Any] = {}
    for vendor, members in extra_content.items():
        if isinstance(members, Mapping):
            members = {name: value for name, value in members.items() if name != "thought"}
        if members:
            kept[vendor] = members
    return kept


# To a request.


def has_native_content(message: Message) -> bool:
    """Return whether a message without text has content that only its server knows."""
    state = message.native_state
    return (
        state is not None
        and state.maker.wire_format == WIRE_FORMAT
        and any(name in state.data for name in _SERVER_MEMBERS)
    )


def build_message_members(message: Message, *, with_plain_reasoning: bool) -> dict[str, Any]:
    """Build the members of a request's message that its server wants to see again.

    :param with_plain_reasoning: whether plain reasoning is one of them.
    """
    state = message.native_state
    if state is None or state.maker.wire_format != WIRE_FORMAT:
        return {}
    members = {
        name: value
        for name, value in state.data.items()
        if with_plain_reasoning or name not in PLAIN_REASONING_MEMBERS
    }
    if members.pop("images", None):
        members["images"] = message.metadata.get("attachments") or []
    if "content" in members and parse_content_parts(members["content"])[0] != message.text:
        del members["content"]  # the text was changed since
    return members


def find_call_members(call: ToolCall) -> Mapping[str, Any]:
    """Return the members of a call that its server wants to see again."""
    state = call.native_state
    if state is None or state.maker.wire_format != WIRE_FORMAT:
        return {}
    return state.data


def find_missing_signature(model: str, message: Message) -> Mapping[str, Any] | None:
    """Return the ``extra_content`` of the first call in a message that has no signature.

    None unless the model requires one. Of several calls in a message, Gemini signs only the first.
    """
    if not _SIGNED_GEMINI.match(strip_model_snapshot(model)):
        return None
    if any(name in find_call_members(call) for call in message.tool_calls for name in CALL_MEMBERS):
        return None
    state = message.native_state
    if state is not None and (state.data.keys() & {*LIST_MEMBERS, *OBJECT_MEMBERS}):
        return None  # the signature is on the message
    return _SKIP_VALIDATION
