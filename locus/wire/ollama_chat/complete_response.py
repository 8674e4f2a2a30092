"""Parses a complete response of ``POST /api/chat``; streams share its accumulator.

The server makes a complete response by joining the chunks of a stream: texts and lists are
appended, everything else is from the last chunk. So one accumulator serves both.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, Final

import attrs

from locus.core.error_body import says_error
from locus.core.error_words import COMMON_ERROR_WORDS
from locus.core.errors import StreamInterruptedError
from locus.core.frozendict import EMPTY
from locus.core.make_status_error import make_status_error
from locus.core.messages import Message, Part, Role, TextPart, ThinkingPart, ToolCall
from locus.core.model_family import get_model_family
from locus.core.native_state_routing import NativeStateRule
from locus.core.response import ModelResponse
from locus.wire.provider_json import ResponseStruct, StructDecoder, convert_body_to_text
from locus.wire.response_errors import make_incomplete_response_error
from locus.wire.response_parts import (
    UNNAMED_TOOL_NAME,
    build_usage,
    make_tool_call,
    make_tool_call_id,
)

NATIVE_STATE_RULE: Final = NativeStateRule("ollama_chat", get_model_family)
"""Thinking is bound to the server and to the family of models. It is a part of the message; the
native state only says who made it."""


class FunctionCall(ResponseStruct):
    needed_members: ClassVar = frozenset({"name"})

    name: str | None = None
    arguments: Any = None
    """An object according to the documentation; with some models' templates it is text."""


class ChatToolCall(ResponseStruct):
    needed_members: ClassVar = frozenset({"function"})

    id: str | None = None
    """Only newer servers send one."""
    function: FunctionCall | None = None


class ChatMessage(ResponseStruct):
    """The ``message`` of a response, or of a chunk."""

    needed_members: ClassVar = frozenset({"content", "tool_calls"})

    content: str | None = None
    thinking: str | None = None
    tool_calls: list[ChatToolCall] | None = None
    images: list[Any] | None = None


class ChatResponse(ResponseStruct):
    """A complete response, a chunk of a stream, or an error object."""

    needed_members: ClassVar = frozenset({"message", "done"})

    model: str | None = None
    created_at: Any = None
    message: ChatMessage | None = None
    done: bool | None = None
    done_reason: str | None = None
    prompt_eval_count: Any = None
    eval_count: Any = None
    total_duration: Any = None
    logprobs: list[Any] | None = None
    error: Any = None
    status: Any = None


response_decoder: Final = StructDecoder(ChatResponse)
_object_decoder: Final = StructDecoder(dict[str, Any])


def parse_response(body: bytes | str | Mapping[str, Any]) -> ModelResponse:
    """Parse the body of a complete response.

    :raises APIStatusError: if the body is an error object.
    :raises ResponseParseError: if the body does not match the format.
    :raises StreamInterruptedError: if the body itself says that the response is incomplete.
    """
    chat_response = response_decoder.decode(body)
    raise_for_error(chat_response, body)
    if chat_response.message is None:
        raise_for_oddly_named_error(body)
        raise make_incomplete_response_error("the response has no message", body)
    accumulator = ResponseAccumulator()
    accumulator.add_chunk(chat_response)
    if chat_response.done is False:
        accumulator.drop_unnamed_calls()
        raise StreamInterruptedError(
            "the server ended the response before it was complete",
            partial=accumulator.build_response().with_source(body),
        )
    return accumulator.build_response().with_source(body)


def raise_for_error(chunk: ChatResponse, body: bytes | str | Mapping[str, Any]) -> None:
    """Raise an ``APIStatusError`` if a response, or a chunk of a stream, is an error object.

    An error without a ``status`` is a 500: outside of a stream the server sends it with that one.
    A conversation that is too long is a 400, whatever the server calls it.
    """
    if says_error(chunk.error):
        status = chunk.status if isinstance(chunk.status, int) and chunk.status >= 400 else 500
        error = chunk.error
        text = error if isinstance(error, str) else ""
        if COMMON_ERROR_WORDS.find_special_class((), text, 400) is not None:
            status = 400
        if not isinstance(error, Mapping):
            error = {"message": error, "code": status}
        raise make_status_error(convert_body_to_text(body), error_object=error)


def raise_for_oddly_named_error(body: bytes | str | Mapping[str, Any]) -> None:
    """Raise an ``APIStatusError`` if an object without a message has an error under another name.

    Some versions put the error under its own words, ``{"error parsing tool call": "…"}`` (Ollama's
    issue 11781).
    """
    for name, value in _object_decoder.decode(body).items():
        if "error" in name.lower() and value and isinstance(value, (str, Mapping)):
            text = value if isinstance(value, str) else value.get("message") or value
            error = {"message": f"{name}: {text}", "code": 500}
            raise make_status_error(convert_body_to_text(body), error_object=error)


class ResponseAccumulator:
    """Collects the chunks of a response, or a complete one, and builds its value."""

    __slots__ = (
        "_calls",
        "_images",
        "_last_chunk",
        "_logprobs",
        "_model",
        "_text_chunks",
        "_thinking_chunks",
    )

    def __init__(self) -> None:
        self._text_chunks: list[str] = []
        self._thinking_chunks: list[str] = []
        self._calls: list[ChatToolCall] = []
        self._images: list[Any] = []
        self._logprobs: list[Any] | None = None
        self._model: str | None = None
        self._last_chunk = ChatResponse()

    def add_chunk(self, chunk: ChatResponse) -> tuple[str, str]:
        """Add a chunk; return the text and the thinking that it adds."""
        self._last_chunk = chunk
        if chunk.model:
            self._model = chunk.model
        if chunk.logprobs is not None:
            self._logprobs = (self._logprobs or []) + chunk.logprobs
        message = chunk.message
        if message is None:
            return "", ""
        text, thinking = message.content or "", message.thinking or ""
        if text:
            self._text_chunks.append(text)
        if thinking:
            self._thinking_chunks.append(thinking)
        if message.tool_calls:
            self._calls += message.tool_calls
        if message.images:
            self._images += message.images
        return text, thinking

    def drop_unnamed_calls(self) -> None:
        """Remove the tool calls that have no name."""
        self._calls = [call for call in self._calls if call.function and call.function.name]

    def build_response(self) -> ModelResponse:
        """Build the response from what was added."""
        last_chunk, thinking = self._last_chunk, "".join(self._thinking_chunks) or None
        return ModelResponse(
            message=self._build_message(thinking),
            usage=_build_usage(last_chunk),
            stop_reason=last_chunk.done_reason or None,
            reasoning=thinking,
            model=self._model,
            logprobs=None if self._logprobs is None else {"content": self._logprobs},
        )

    def _build_message(self, thinking: str | None) -> Message:
        text = "".join(self._text_chunks)
        response_key = f"{self._last_chunk.created_at}\0{self._last_chunk.total_duration}"
        calls = _build_tool_calls(self._calls, response_key)
        content: str | tuple[Part, ...] | None = text if text or not calls else None
        if thinking is not None:
            # In the message too: models that think before a tool call need to see it again.
            thinking_part = ThinkingPart(thinking)
            content = (thinking_part, TextPart(text)) if text else (thinking_part,)
        metadata = {"images": self._images} if self._images else EMPTY
        return Message(
            Role.ASSISTANT,
            content,
            calls,
            metadata=metadata,
            native_state=None if thinking is None else NATIVE_STATE_RULE.make_state(),
        )


def _build_usage(last_chunk: ChatResponse) -> Mapping[str, int]:
    """Return the token counts under Locus's names.

    The server may leave some out if the prompt was cached.
    """
    return build_usage(
        prompt_tokens=last_chunk.prompt_eval_count, completion_tokens=last_chunk.eval_count
    )


# Tool calls.


def _build_tool_calls(calls: Sequence[ChatToolCall], response_key: str) -> tuple[ToolCall, ...]:
    """Return the tool calls, each with a unique id.

    :param response_key: text that is different for each response, to make ids from.
    """
    tool_calls: list[ToolCall] = []
    seen: set[str] = set()
    for index, call in enumerate(calls):
        tool_call = _build_tool_call(index, call, response_key)
        while tool_call.id in seen:
            tool_call = attrs.evolve(tool_call, id=f"{tool_call.id}_{index}")
        seen.add(tool_call.id)
        tool_calls.append(tool_call)
    return tuple(tool_calls)


def _build_tool_call(index: int, call: ChatToolCall, response_key: str) -> ToolCall:
    function = call.function or FunctionCall()
    name, arguments = function.name or UNNAMED_TOOL_NAME, function.arguments
    call_id = call.id or make_tool_call_id(response_key, index, name, repr(arguments))
    return make_tool_call(call_id, name, arguments)
