"""Parses a complete ``CohereChatResponseV2`` (Cohere's second format); streams share its code.

The assistant's message has contents of several types, a plan (``toolPlan``) if it calls tools, and
tool calls whose ``function`` has a name and arguments as JSON text. That is what the service was
observed to send (NVIDIA NeMo-Relay, pull request 554); the ``oci`` package leaves it open.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar, Final

from locus.core.errors import ResponseParseError
from locus.core.frozendict import EMPTY
from locus.core.messages import Message, Part, Role, TextPart, ThinkingPart, ToolCall
from locus.core.model_family import get_model_family
from locus.core.native_state_routing import NativeStateRule
from locus.core.response import ModelResponse
from locus.wire.oci_chat.cohere_common import (
    make_call_ids_unique,
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
from locus.wire.provider_json import StructDecoder, convert_body_to_text
from locus.wire.usage_and_tool_calls import make_tool_call, make_tool_call_id

WIRE_FORMAT: Final = "oci_cohere_v2"
NATIVE_STATE_RULE: Final = NativeStateRule(WIRE_FORMAT, get_model_family)
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
    accumulator = ResponseAccumulator()
    accumulator.add_chunk(result, body, is_complete=True)
    return accumulator.build_response().with_source(body)


class _ToolCallAccumulator:
    """Collects the deltas of one tool call."""

    __slots__ = ("argument_chunks", "id", "name", "other_arguments")

    def __init__(self) -> None:
        self.id = ""
        self.name = ""
        self.argument_chunks: list[str] = []
        self.other_arguments: Any = None
        """Arguments that are not text; they are not split into deltas."""

    def add_delta(self, delta: ToolCallDelta) -> None:
        """Add a delta of the call, or the complete call."""
        self.id = self.id or delta.id or ""
        function = delta.function
        if function is None:
            return
        self.name = self.name or function.name or ""
        if isinstance(function.arguments, str):
            self.argument_chunks.append(function.arguments)
        elif function.arguments is not None:
            self.other_arguments = function.arguments

    @property
    def arguments(self) -> Any:
        """The arguments so far."""
        if self.other_arguments is not None:
            return self.other_arguments
        return "".join(self.argument_chunks) if self.argument_chunks else None

    def is_repeated_by(self, call: ToolCallDelta) -> bool:
        """Return whether ``call`` is this same call, complete."""
        function = call.function or FunctionCall()
        is_same = (call.id or "") == self.id and (function.name or "") == self.name
        return is_same and function.arguments == self.arguments


class ResponseAccumulator:
    """Collects the chunks of a response, or a complete one, and builds its value."""

    __slots__ = (
        "_calls",
        "_contents",
        "_logprobs",
        "_metadata",
        "_model",
        "_plan_chunks",
        "_reasoning_chunks",
        "_response_id",
        "_usage",
        "finish_reason",
    )

    def __init__(self) -> None:
        self._contents: list[tuple[bool, list[str]]] = []
        """For each content: whether it is thinking, and its chunks."""
        self._plan_chunks: list[str] = []
        self._reasoning_chunks: list[str] = []
        """Thinking and plan, in the order in which they arrived."""
        self._calls: list[_ToolCallAccumulator] = []
        self._metadata: dict[str, Any] = {}
        self._logprobs: list[Any] | None = None
        self._usage: Usage | None = None
        self._response_id: str | None = None
        self._model: str | None = None
        self.finish_reason: str | None = None

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
            self._model = chunk.model_id
        chunk = chunk.chat_response or chunk
        if chunk.id:
            self._response_id = chunk.id
        message = chunk.message if isinstance(chunk.message, AssistantMessage) else None
        is_empty = message is None or not (
            message.content or message.tool_plan or message.tool_calls
        )
        is_empty = is_empty and not (self._contents or self._plan_chunks or self._calls)
        raise_for_finish_reason(chunk.finish_reason, chunk.error_message, is_empty, body)
        if message is None and is_complete:
            raise make_missing_member_error("message", body)
        if chunk.usage is not None:
            self._usage = chunk.usage
        if chunk.log_probabilities is not None:
            self._logprobs = (self._logprobs or []) + chunk.log_probabilities
        is_last = bool(chunk.finish_reason)
        if is_last:
            self.finish_reason = chunk.finish_reason
        if message is None:
            return "", ""
        return self._add_message(message, is_last and not is_complete, is_complete)

    def _add_message(
        self, message: AssistantMessage, is_last_chunk: bool, is_complete: bool
    ) -> tuple[str, str]:
        contents = message.content or []
        if is_last_chunk:
            contents = self._drop_repeated_contents(contents)
        text = reasoning = ""
        for content in contents:
            if content.thinking:
                reasoning += content.thinking
                self._append_content(True, content.thinking)
            if content.text:
                text += content.text
                self._append_content(False, content.text)
        plan = message.tool_plan or ""
        if plan and not (is_last_chunk and plan == "".join(self._plan_chunks)):
            self._plan_chunks.append(plan)
            reasoning += plan
        if reasoning:
            self._reasoning_chunks.append(reasoning)
        calls = message.tool_calls or []
        if not (is_last_chunk and self._is_repetition_of_calls(calls)):
            for call in calls:
                self._find_or_start_call(call, is_complete).add_delta(call)
        if message.citations:
            self._metadata["citations"] = self._metadata.get("citations", []) + message.citations
        return text, reasoning

    def _drop_repeated_contents(self, contents: list[ChatContent]) -> list[ChatContent]:
        """Return the last chunk's contents, without text or thinking that repeats all chunks."""
        text = "".join(content.text or "" for content in contents)
        thinking = "".join(content.thinking or "" for content in contents)
        repeats_text = text == self._join_contents(False)
        repeats_thinking = thinking == self._join_contents(True)
        return [
            ChatContent(
                content.type,
                None if repeats_text else content.text,
                None if repeats_thinking else content.thinking,
            )
            for content in contents
        ]

    def _is_repetition_of_calls(self, calls: list[ToolCallDelta]) -> bool:
        known_calls = self._calls
        return len(calls) == len(known_calls) and all(
            known.is_repeated_by(call) for known, call in zip(known_calls, calls, strict=True)
        )

    def _append_content(self, is_thinking: bool, chunk: str) -> None:
        if not self._contents or self._contents[-1][0] is not is_thinking:
            self._contents.append((is_thinking, []))
        self._contents[-1][1].append(chunk)

    def _join_contents(self, is_thinking: bool) -> str:
        return "".join("".join(chunks) for flag, chunks in self._contents if flag is is_thinking)

    def _find_or_start_call(self, delta: ToolCallDelta, is_complete: bool) -> _ToolCallAccumulator:
        """Return the call that a delta belongs to, by id, or the latest; or start one."""
        if not is_complete and self._calls:
            if delta.id:
                for call in self._calls:
                    if call.id == delta.id:
                        return call
            elif not (delta.function and delta.function.name):
                return self._calls[-1]
        self._calls.append(_ToolCallAccumulator())
        return self._calls[-1]

    def drop_unnamed_calls(self) -> None:
        """Remove the tool calls that have no name."""
        self._calls = [call for call in self._calls if call.name]

    def build_response(self) -> ModelResponse:
        """Build the response from what was added.

        :raises ResponseParseError: if a tool call has no name.
        """
        calls = self._build_tool_calls()
        plan = "".join(self._plan_chunks)
        content = self._build_content(bool(calls))
        state = None
        if plan:
            state = NATIVE_STATE_RULE.make_state({"tool_plan": plan})
        elif isinstance(content, tuple):  # it has thinking; the state says who made it
            state = NATIVE_STATE_RULE.make_state()
        return ModelResponse(
            message=Message(
                Role.ASSISTANT,
                content,
                calls,
                metadata=self._metadata or EMPTY,
                native_state=state,
            ),
            usage=normalize_usage(self._usage),
            stop_reason=self.finish_reason,
            reasoning="".join(self._reasoning_chunks) or None,
            model=self._model,
            response_id=self._response_id,
            logprobs=None if self._logprobs is None else {"content": self._logprobs},
        )

    def _build_content(self, has_calls: bool) -> str | tuple[Part, ...] | None:
        if not any(is_thinking for is_thinking, _ in self._contents):
            text = self._join_contents(False)
            return text if text or not has_calls else None
        # Thinking is in the message too: the model needs to see it again.
        return tuple(
            ThinkingPart("".join(chunks)) if is_thinking else TextPart("".join(chunks))
            for is_thinking, chunks in self._contents
        )

    def _build_tool_calls(self) -> tuple[ToolCall, ...]:
        tool_calls = []
        for index, call in enumerate(self._calls):
            arguments = call.arguments
            if not call.name:
                body = convert_body_to_text({"arguments": arguments})
                raise ResponseParseError(f"tool call {index} has no name", body=body)
            call_id = call.id or make_tool_call_id(
                self._response_id or "", index, call.name, repr(arguments)
            )
            tool_calls.append(make_tool_call(call_id, call.name, arguments))
        return make_call_ids_unique(tool_calls)
