"""Parses Gemini's responses: a chunk of a stream is a response with a part of the content.

The JSON is a ``GenerateContentResponse`` (https://ai.google.dev/api/generate-content). A prompt
that was blocked has no candidate, but a ``promptFeedback``.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import msgspec

from locus.core.error_body import says_error
from locus.core.frozendict import EMPTY
from locus.core.make_status_error import make_status_error
from locus.core.messages import Message, ToolCall
from locus.core.response import ModelResponse
from locus.wire.google_gemini.native_parts import SIGNATURE, make_call_state, make_message_state
from locus.wire.provider_json import ResponseStruct, StructDecoder, convert_body_to_text
from locus.wire.response_errors import make_incomplete_response_error
from locus.wire.response_parts import (
    UNNAMED_TOOL_NAME,
    build_usage,
    is_empty_call,
    make_tool_call,
    make_tool_call_id,
)


class FunctionCall(ResponseStruct):
    """A complete call: Gemini does not split its arguments."""

    id: str | None = None
    name: str | None = None
    args: Any = None


class Part(ResponseStruct, rename="camel"):
    """A text, a thought, a call, or something else that the model made or that Google ran."""

    text: str | None = None
    thought: bool | None = None
    thought_signature: str | None = None
    function_call: FunctionCall | None = None
    inline_data: dict[str, Any] | None = None
    file_data: dict[str, Any] | None = None
    executable_code: dict[str, Any] | None = None
    code_execution_result: dict[str, Any] | None = None
    # What Google's tools did beside functions: https://ai.google.dev/api/caching#Part
    tool_call: dict[str, Any] | None = None
    tool_response: dict[str, Any] | None = None

    def build_other(self) -> dict[str, Any]:
        """Build the part as it came, if it is neither text nor a call; empty otherwise."""
        members = {
            "inlineData": self.inline_data,
            "fileData": self.file_data,
            "executableCode": self.executable_code,
            "codeExecutionResult": self.code_execution_result,
            "toolCall": self.tool_call,
            "toolResponse": self.tool_response,
        }
        other: dict[str, Any] = {name: value for name, value in members.items() if value}
        if other and self.thought:
            other["thought"] = True
        if other and self.thought_signature:
            other[SIGNATURE] = self.thought_signature
        return other


class Content(ResponseStruct):
    """A message of the model. A response that was blocked may have no parts."""

    parts: list[Part] | None = None


class Candidate(ResponseStruct, rename="camel"):
    """One of the responses; Locus asks for one only."""

    content: Content | None = None
    finish_reason: str | None = None


class PromptFeedback(ResponseStruct, rename="camel"):
    """Why a prompt was blocked, if it was."""

    block_reason: str | None = None


class Chunk(ResponseStruct, rename="camel"):
    """A complete response, a chunk of a stream, or an error."""

    candidates: list[Candidate] | None = None
    prompt_feedback: PromptFeedback | None = None
    usage_metadata: dict[str, Any] | None = None
    model_version: str | None = None
    response_id: str | None = None
    error: Any = None

    @property
    def parts(self) -> list[Part]:
        """The parts of the first candidate."""
        content = self.candidates[0].content if self.candidates else None
        return (content.parts if content else None) or []

    @property
    def stop_reason(self) -> str | None:
        """Why the response ends here; None if it goes on.

        For a prompt that was blocked, the word of Google's OpenAI-compatible endpoint.
        """
        if self.candidates:
            return self.candidates[0].finish_reason
        reason = self.prompt_feedback and self.prompt_feedback.block_reason
        return f"content_filter: {reason}" if reason else None


_chunk_decoder = StructDecoder(Chunk)


def decode_chunk(body: bytes | str | Mapping[str, Any]) -> Chunk:
    """Decode a response or a chunk.

    :raises APIStatusError: if it is an error object.
    """
    chunk = _chunk_decoder.decode(body)
    if chunk.error and says_error(chunk.error):
        raise make_status_error(convert_body_to_text(body), error_object={"error": chunk.error})
    return chunk


class Accumulator:
    """Collects the chunks of a response."""

    def __init__(self) -> None:
        self.stop_reason: str | None = None
        self._parts: list[tuple[list[str], bool, str | None] | dict[str, Any]] = []
        self._calls: list[tuple[FunctionCall, str | None]] = []
        self._counts: dict[str, Any] = {}
        self._model: str | None = None
        self._response_id: str | None = None

    def add(self, chunk: Chunk) -> None:
        """Add a chunk; each has the token counts and the names of the response again."""
        for part in chunk.parts:
            if part.function_call is not None:
                self._calls.append((part.function_call, part.thought_signature))
            elif not part.text and (other := part.build_other()):
                self._parts.append(other)
            elif part.text or part.thought_signature:
                self._add_text(part.text or "", bool(part.thought), part.thought_signature or None)
        self._counts |= chunk.usage_metadata or {}
        self._model = chunk.model_version or self._model
        self._response_id = self._response_id or chunk.response_id
        self.stop_reason = chunk.stop_reason or self.stop_reason

    def _add_text(self, text: str, is_thought: bool, signature: str | None) -> None:
        """Add a text to the last one, unless either has a signature."""
        last = self._parts[-1] if self._parts else None
        if isinstance(last, tuple) and signature is None:
            texts, is_last_thought, last_signature = last
            if last_signature is None and is_last_thought == is_thought:
                texts.append(text)
                return
        self._parts.append(([text], is_thought, signature))

    def build(self) -> ModelResponse:
        """Build the response."""
        native_parts = [
            part if isinstance(part, dict) else _build_text_part(*part) for part in self._parts
        ]
        texts = [
            (part["text"], part.get("thought", False)) for part in native_parts if "text" in part
        ]
        attachments = [part for part in native_parts if part.keys() & {"inlineData", "fileData"}]
        return ModelResponse(
            Message.assistant(
                "".join(text for text, is_thought in texts if not is_thought),
                [
                    self._build_call(index)
                    for index, (call, _) in enumerate(self._calls)
                    if not is_empty_call(call.name, call.args)
                ],
                metadata={"attachments": attachments} if attachments else EMPTY,
                native_state=make_message_state(native_parts),
            ),
            self._build_usage(),
            self.stop_reason,
            reasoning="".join(text for text, is_thought in texts if is_thought) or None,
            model=self._model,
            response_id=self._response_id,
        )

    def build_partial(self) -> ModelResponse:
        """Build what has come of the response."""
        self._calls = [pair for pair in self._calls if pair[0].name]
        return self.build()

    def _build_call(self, index: int) -> ToolCall:
        call, signature = self._calls[index]
        arguments = {} if call.args is None else call.args
        text = msgspec.json.encode(arguments, order="sorted").decode()
        name = call.name or UNNAMED_TOOL_NAME
        call_id = call.id or make_tool_call_id(self._response_id, index, name, text)
        made = make_tool_call(call_id, name, arguments)
        return ToolCall(
            made.id,
            made.name,
            made.arguments,
            made.malformed_arguments,
            make_call_state(signature),
        )

    def _build_usage(self) -> Any:
        """Build the usage. ``candidatesTokenCount`` does not have the thoughts in it."""
        counts = self._counts
        thoughts = counts.get("thoughtsTokenCount")
        return build_usage(
            prompt_tokens=_add_counts(
                counts.get("promptTokenCount"), counts.get("toolUsePromptTokenCount")
            ),
            completion_tokens=_add_counts(counts.get("candidatesTokenCount"), thoughts),
            total_tokens=counts.get("totalTokenCount"),
            cached_tokens=counts.get("cachedContentTokenCount"),
            reasoning_tokens=thoughts,
        )


def _build_text_part(texts: list[str], is_thought: bool, signature: str | None) -> dict[str, Any]:
    return {
        "text": "".join(texts),
        **({"thought": True} if is_thought else {}),
        **({SIGNATURE: signature} if signature else {}),
    }


def _add_counts(*counts: Any) -> int | None:
    """Add the counts that are numbers; None if none is."""
    numbers = [count for count in counts if isinstance(count, int)]
    return sum(numbers) if numbers else None


def parse_response(body: bytes | str | Mapping[str, Any]) -> ModelResponse:
    """Parse a complete response.

    :raises APIError: if it is an error, or is not complete.
    """
    bodies = _split_array(body)
    accumulator = Accumulator()
    for chunk in map(decode_chunk, bodies):
        accumulator.add(chunk)
    if accumulator.stop_reason is None:
        raise make_incomplete_response_error(
            "the response has neither a finishReason nor a blockReason", body
        )
    return accumulator.build().with_source(*bodies)


def _split_array(body: bytes | str | Mapping[str, Any]) -> Sequence[Any]:
    """Return the chunks in an array, which is how the API streams without ``alt=sse``.

    Anything else is returned as the only chunk.
    """
    if isinstance(body, (bytes, str)) and body[:1] in (b"[", "["):
        try:
            chunks = msgspec.json.decode(body, type=list[msgspec.Raw])
        except (msgspec.DecodeError, UnicodeError):
            return (body,)
        if len(chunks) > 1:
            return [bytes(chunk) for chunk in chunks]
    return (body,)
