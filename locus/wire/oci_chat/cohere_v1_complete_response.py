"""Parses a complete ``CohereChatResponse`` (Cohere's first format); streams share its accumulator.

The tool calls of this format have no ids. Locus computes an id for each from the response: from
the position of the call, its parameters, and the ``chatHistory`` that is part of the response and
grows with every message. So a stream and a complete response give the same id, and the same call
in a later response has another one. If the server leaves the history out, the ids that the
conversation already has (``used_call_ids``) make sure of that.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar, Final

from locus.core.digest import compute_digest
from locus.core.frozendict import EMPTY
from locus.core.messages import Message, Role, ToolCall
from locus.core.response import ModelResponse
from locus.wire.cohere_chat.tools_and_messages import make_call_ids_unique
from locus.wire.oci_chat.cohere_common import (
    normalize_usage,
    raise_for_finish_reason,
)
from locus.wire.oci_chat.envelope import (
    ChatResult,
    OCIResponseStruct,
    make_missing_member_error,
    raise_for_error,
)
from locus.wire.oci_chat.generic_complete_response import Usage
from locus.wire.provider_json import StructDecoder
from locus.wire.response_parts import (
    UNNAMED_TOOL_NAME,
    is_empty_call,
    make_tool_call,
    make_tool_call_id,
)


class CohereToolCall(OCIResponseStruct):
    needed_members: ClassVar = frozenset({"name"})

    name: str | None = None
    parameters: Any = None


class CohereChatResult(ChatResult):
    """A ``ChatResult``; or the ``chatResponse`` in it, as which chunks are sent; or an error."""

    needed_members: ClassVar = frozenset({"chat_response", "text", "tool_calls"})

    chat_response: CohereChatResult | None = None
    text: str | None = None
    tool_calls: list[CohereToolCall] | None = None
    finish_reason: str | None = None
    error_message: str | None = None
    chat_history: Any = None
    usage: Usage | None = None
    citations: list[Any] | None = None
    documents: list[Any] | None = None
    search_queries: list[Any] | None = None


result_decoder: Final = StructDecoder(CohereChatResult)


def parse_response(
    body: bytes | str | Mapping[str, Any], used_call_ids: frozenset[str] = frozenset()
) -> ModelResponse:
    """Parse the body of a complete response.

    :param used_call_ids: ids that no tool call of the response may get.
    :raises APIStatusError: if the body is an error object, or a response that reports an error.
    :raises ResponseParseError: if the body does not match the format.
    """
    result = result_decoder.decode(body)
    raise_for_error(result, body)
    if result.chat_response is None:
        raise make_missing_member_error("chatResponse", body)
    accumulator = ResponseAccumulator(used_call_ids)
    accumulator.add_chunk(result, body)
    return accumulator.build_response().with_source(body)


class ResponseAccumulator:
    """Collects the chunks of a response, or a complete one, and builds its value."""

    __slots__ = (
        "_calls",
        "_chat_history",
        "_metadata",
        "_model",
        "_text_chunks",
        "_text_length",
        "_usage",
        "_used_call_ids",
        "finish_reason",
    )

    def __init__(self, used_call_ids: frozenset[str]) -> None:
        self._used_call_ids = used_call_ids
        self._text_chunks: list[str] = []
        self._text_length = 0
        self._calls: list[CohereToolCall] = []
        self._chat_history: Any = None
        self._metadata: dict[str, Any] = {}
        self._usage: Usage | None = None
        self._model: str | None = None
        self.finish_reason: str | None = None

    def add_chunk(
        self, chunk: CohereChatResult, body: bytes | str | Mapping[str, Any]
    ) -> tuple[str, str]:
        """Add a chunk; return the text and the reasoning that it adds.

        The format has no reasoning.

        :raises APIStatusError: if the chunk reports an error.
        """
        if chunk.model_id:
            self._model = chunk.model_id
        chunk = chunk.chat_response or chunk
        text = chunk.text or ""
        if chunk.tool_calls or chunk.finish_reason or chunk.chat_history is not None:
            text = self._remove_received_text(text)
        is_empty = not (text or self._text_chunks or chunk.tool_calls or self._calls)
        raise_for_finish_reason(chunk.finish_reason, chunk.error_message, is_empty, body)
        if text:
            self._text_chunks.append(text)
            self._text_length += len(text)
        if chunk.tool_calls:
            self._add_calls(chunk.tool_calls, bool(chunk.finish_reason))
        if chunk.chat_history is not None:
            self._chat_history = chunk.chat_history
        if chunk.usage is not None:
            self._usage = chunk.usage
        for name in ("citations", "documents", "search_queries"):
            if value := getattr(chunk, name):
                self._metadata[name] = value
        if chunk.finish_reason:
            self.finish_reason = chunk.finish_reason
        return text, ""

    def _remove_received_text(self, complete_text: str) -> str:
        """Return the complete text without the text so far; "" if it begins differently."""
        if len(complete_text) <= self._text_length:
            return ""
        text = "".join(self._text_chunks)
        return complete_text[len(text) :] if complete_text.startswith(text) else ""

    def _add_calls(self, calls: list[CohereToolCall], is_last: bool) -> None:
        known_calls = self._calls
        repeats_known = len(calls) > len(known_calls) and calls[: len(known_calls)] == known_calls
        if is_last or repeats_known:
            self._calls = list(calls)  # all calls of the response, including the earlier ones
        else:
            known_calls += calls

    def drop_unnamed_calls(self) -> None:
        """Remove the tool calls that have no name."""
        self._calls = [call for call in self._calls if call.name]

    def build_response(self) -> ModelResponse:
        """Build the response from what was added."""
        text, calls = "".join(self._text_chunks), self._build_tool_calls()
        return ModelResponse(
            message=Message(
                Role.ASSISTANT,
                text if text or not calls else None,
                calls,
                metadata=self._metadata or EMPTY,
            ),
            usage=normalize_usage(self._usage),
            stop_reason=self.finish_reason,
            model=self._model,
        )

    def _build_tool_calls(self) -> tuple[ToolCall, ...]:
        if not self._calls:
            return ()
        text, usage = "".join(self._text_chunks), normalize_usage(self._usage)
        response_key = compute_digest(f"{self._chat_history!r}\0{text}\0{usage!r}")
        tool_calls = []
        for index, call in enumerate(self._calls):
            if is_empty_call(call.name, call.parameters):
                continue
            name = call.name or UNNAMED_TOOL_NAME
            call_id = make_tool_call_id(response_key, index, name, repr(call.parameters))
            tool_calls.append(make_tool_call(call_id, name, call.parameters))
        return make_call_ids_unique(tool_calls, self._used_call_ids)
