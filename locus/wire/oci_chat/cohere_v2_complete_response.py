"""Parses a complete ``CohereChatResponseV2`` (Cohere's second format); streams share its code.

The assistant's message has contents of several types, a plan (``toolPlan``) if it calls tools, and
tool calls whose ``function`` has a name and arguments as JSON text. That is what the service was
observed to send (NVIDIA NeMo-Relay, pull request 554); the ``oci`` package leaves it open.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar, Final

from locus.core.model_family import get_model_family
from locus.core.native_state_routing import NativeStateRule
from locus.core.response import ModelResponse
from locus.wire.cohere_chat.response_accumulator import CallDelta, Content, ResponseAccumulator
from locus.wire.oci_chat.cohere_common import normalize_usage, raise_for_finish_reason
from locus.wire.oci_chat.envelope import (
    ChatResult,
    OCIResponseStruct,
    make_missing_member_error,
    raise_for_error,
)
from locus.wire.oci_chat.generic_complete_response import Usage
from locus.wire.provider_json import StructDecoder

NATIVE_STATE_RULE: Final = NativeStateRule("oci_cohere_v2", get_model_family)
"""Thinking, and the plan before calls, are bound to the server and to the family of models."""


class ChatContent(OCIResponseStruct):
    type: str | None = None
    text: str | None = None
    thinking: str | None = None


class FunctionCall(OCIResponseStruct):
    needed_members: ClassVar = frozenset({"name"})

    name: str | None = None
    arguments: Any = None


class ToolCallDelta(OCIResponseStruct):
    """A complete tool call, or a delta of one."""

    needed_members: ClassVar = frozenset({"function"})

    id: str | None = None
    function: FunctionCall | None = None

    def to_delta(self) -> CallDelta:
        """Convert to the piece that is accumulated."""
        function = self.function or FunctionCall()
        return CallDelta(self.id, function.name, function.arguments)


class AssistantMessage(OCIResponseStruct):
    needed_members: ClassVar = frozenset({"content", "tool_calls"})

    content: list[ChatContent] | None = None
    tool_plan: str | None = None
    tool_calls: list[ToolCallDelta] | None = None
    citations: list[Any] | None = None


class CohereChatResult(ChatResult):
    """A ``ChatResult``; or the ``chatResponse`` in it, as which chunks are sent; or an error."""

    needed_members: ClassVar = frozenset({"chat_response", "message"})

    chat_response: CohereChatResult | None = None
    id: str | None = None
    message: AssistantMessage | str | None = None  # text in errors
    finish_reason: str | None = None
    error_message: str | None = None
    log_probabilities: list[Any] | None = None
    usage: Usage | None = None


result_decoder: Final = StructDecoder(CohereChatResult)


def parse_response(body: bytes | str | Mapping[str, Any]) -> ModelResponse:
    """Parse the body of a complete response.

    :raises APIStatusError: if the body is an error object, or a response that reports an error.
    :raises ResponseParseError: if the body does not match the format.
    """
    result = result_decoder.decode(body)
    raise_for_error(result, body)
    if result.chat_response is None:
        raise make_missing_member_error("chatResponse", body)
    accumulator = OracleResponseAccumulator()
    accumulator.add_chunk(result, body, is_complete=True)
    return accumulator.build_response().with_source(body)


class OracleResponseAccumulator(ResponseAccumulator):
    """Adds chunks in Oracle's spelling to a response."""

    __slots__ = ()

    def __init__(self) -> None:
        super().__init__(NATIVE_STATE_RULE)

    def add_chunk(
        self,
        chunk: CohereChatResult,
        body: bytes | str | Mapping[str, Any],
        *,
        is_complete: bool = False,
    ) -> tuple[str, str]:
        """Add a chunk, or a complete response; return the text and the reasoning that it adds.

        :raises APIStatusError: if the chunk reports an error.
        :raises ResponseParseError: if the complete response has no message.
        """
        if chunk.model_id:
            self.model = chunk.model_id
        chunk = chunk.chat_response or chunk
        if chunk.id:
            self.response_id = chunk.id
        message = chunk.message if isinstance(chunk.message, AssistantMessage) else None
        is_empty = message is None or not (
            message.content or message.tool_plan or message.tool_calls
        )
        is_empty = is_empty and self.is_empty
        raise_for_finish_reason(chunk.finish_reason, chunk.error_message, is_empty, body)
        if message is None and is_complete:
            raise make_missing_member_error("message", body)
        if chunk.usage is not None:
            self.usage = normalize_usage(chunk.usage)
        if chunk.log_probabilities is not None:
            self.add_logprobs(chunk.log_probabilities)
        is_last = bool(chunk.finish_reason)
        if is_last:
            self.finish_reason = chunk.finish_reason
        if message is None:
            return "", ""
        return self.add_pieces(
            [Content(content.text, content.thinking) for content in message.content or ()],
            message.tool_plan or "",
            [call.to_delta() for call in message.tool_calls or ()],
            message.citations or (),
            is_complete=is_complete,
            may_repeat=is_last and not is_complete,
        )
