"""Parses a complete response of ``POST /v2/chat``; streams share its structs."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from locus.core.error_body import says_error
from locus.core.errors import APIStatusError
from locus.core.make_status_error import make_status_error
from locus.core.model_family import get_model_family
from locus.core.native_state_routing import NativeStateRule
from locus.core.response import ModelResponse
from locus.wire.cohere_chat.response_accumulator import CallDelta, Content, ResponseAccumulator
from locus.wire.provider_json import ResponseStruct, StructDecoder, convert_body_to_text
from locus.wire.response_errors import make_incomplete_response_error
from locus.wire.response_parts import build_usage

NATIVE_STATE_RULE: Final = NativeStateRule("cohere_chat", get_model_family)
"""Thinking, and the plan before calls, are bound to the server and to the family of models."""

_FAILED_REASONS: Final[Mapping[str, int]] = {"ERROR": 500, "TIMEOUT": 504}
"""The finish reasons of a response that failed, and the statuses that they stand for."""


class ChatContent(ResponseStruct):
    type: str | None = None
    text: str | None = None
    thinking: str | None = None

    def to_piece(self) -> Content:
        """Convert to the piece that is accumulated."""
        return Content(self.text, self.thinking)


class FunctionCall(ResponseStruct):
    name: str | None = None
    arguments: Any = None


class ToolCall(ResponseStruct):
    """A complete tool call, or a delta of one."""

    id: str | None = None
    function: FunctionCall | None = None

    def to_delta(self, position: int | None = None) -> CallDelta:
        """Convert to the piece that is accumulated."""
        function = self.function or FunctionCall()
        return CallDelta(self.id, function.name, function.arguments, position)


class AssistantMessage(ResponseStruct):
    content: list[ChatContent] | str | None = None
    tool_plan: str | None = None
    tool_calls: list[ToolCall] | None = None
    citations: list[Any] | None = None


class TokenCounts(ResponseStruct):
    input_tokens: Any = None
    output_tokens: Any = None


class Usage(ResponseStruct):
    """Token counts: ``tokens`` is what the model read and wrote, ``billed_units`` what costs."""

    tokens: TokenCounts | None = None
    billed_units: TokenCounts | None = None
    cached_tokens: Any = None


class ChatResponse(ResponseStruct):
    """A complete response; or an error, which has a text as its message."""

    id: str | None = None
    message: AssistantMessage | str | None = None
    finish_reason: str | None = None
    usage: Usage | None = None
    logprobs: list[Any] | None = None
    error: Any = None


response_decoder: Final = StructDecoder(ChatResponse)


def parse_response(body: bytes | str | Mapping[str, Any]) -> ModelResponse:
    """Parse the body of a complete response.

    :raises APIStatusError: if the body is an error object, or a response that failed.
    :raises ResponseParseError: if the body does not follow the format.
    """
    response = response_decoder.decode(body)
    message = response.message
    if says_error(response.error) or isinstance(message, str):
        raise make_error(response.error, body)
    if message is None:
        raise make_incomplete_response_error("the response has no message", body)
    accumulator = ResponseAccumulator(NATIVE_STATE_RULE)
    content = message.content or []
    accumulator.add_pieces(
        [Content(content)] if isinstance(content, str) else [item.to_piece() for item in content],
        message.tool_plan or "",
        [call.to_delta() for call in message.tool_calls or ()],
        message.citations or (),
        is_complete=True,
    )
    accumulator.response_id = response.id
    accumulator.usage = normalize_usage(response.usage)
    accumulator.logprobs = response.logprobs
    finish_response(accumulator, response.finish_reason, None, body)
    return accumulator.build_response().with_source(body)


def finish_response(
    accumulator: ResponseAccumulator,
    finish_reason: str | None,
    error_message: Any,
    body: bytes | str | Mapping[str, Any],
) -> None:
    """Store the finish reason, or raise an error if the response failed.

    A response that ran out of time is not an error if there is a part of it: its finish reason
    tells so.

    :raises APIStatusError: if the response failed.
    """
    reason = (finish_reason or "").upper()
    status = _FAILED_REASONS.get(reason)
    if error_message or reason == "ERROR" or (status is not None and accumulator.is_empty):
        message = error_message if isinstance(error_message, str) else None
        error = {"message": message or "the model failed", "status": status or 500}
        raise make_status_error(convert_body_to_text(body), error_object=error)
    accumulator.finish_reason = finish_reason


def make_error(error: Any, body: bytes | str | Mapping[str, Any]) -> APIStatusError:
    """Make the exception for an error object: ``{"message": …}``, or ``{"error": …}``."""
    is_object = isinstance(error, (Mapping, str)) and bool(error)
    return make_status_error(convert_body_to_text(body), error_object=error if is_object else None)


def normalize_usage(usage: Usage | None) -> Mapping[str, int]:
    """Return the token counts under Locus's names; what is billed has names of its own."""
    if usage is None:
        return build_usage()
    billed = usage.billed_units or TokenCounts()
    tokens = usage.tokens or billed
    return build_usage(
        prompt_tokens=tokens.input_tokens,
        completion_tokens=tokens.output_tokens,
        cached_tokens=usage.cached_tokens,
        billed_input_tokens=billed.input_tokens,
        billed_output_tokens=billed.output_tokens,
    )
