"""Parses a complete response in the generic format; streams share its accumulator.

The format is OpenAI's chat completions with Oracle's names, so the accumulator is a subclass of
that format's. A choice of a complete response and a chunk of a stream have the same members
(``ChatChoice``).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar, Final

import attrs

from locus.core.messages import Message, Part, TextPart, ThinkingPart, generate_tool_call_id
from locus.core.model_family import get_model_family
from locus.core.native_state_routing import NativeStateRule
from locus.core.response import Candidate, ModelResponse
from locus.wire.chat_completions import response_structs as openai
from locus.wire.chat_completions.candidate_accumulator import (
    CandidateAccumulator,
    make_candidate_sort_key,
)
from locus.wire.chat_completions.complete_response import build_response_from_candidates
from locus.wire.oci_chat.envelope import (
    ChatResult,
    OCIResponseStruct,
    make_missing_member_error,
    raise_for_error,
)
from locus.wire.provider_json import StructDecoder

WIRE_FORMAT: Final = "oci_generic"
NATIVE_STATE_RULE: Final = NativeStateRule(WIRE_FORMAT, get_model_family)
"""Thinking and signatures are bound to the server and to the family of models."""


class PromptTokensDetails(OCIResponseStruct):
    cached_tokens: Any = None


class CompletionTokensDetails(OCIResponseStruct):
    reasoning_tokens: Any = None


class Usage(OCIResponseStruct):
    prompt_tokens: Any = None
    completion_tokens: Any = None
    total_tokens: Any = None
    prompt_tokens_details: PromptTokensDetails | None = None
    completion_tokens_details: CompletionTokensDetails | None = None


class ChatContent(OCIResponseStruct):
    """A part of a message: text, or the URL of something else."""

    type: str | None = None
    text: str | None = None
    image_url: dict[str, Any] | None = None
    document_url: dict[str, Any] | None = None
    video_url: dict[str, Any] | None = None
    audio_url: dict[str, Any] | None = None

    @property
    def attachment(self) -> dict[str, Any] | None:
        """The part as JSON if it is not text."""
        if self.text:
            return None
        members = {
            "imageUrl": self.image_url,
            "documentUrl": self.document_url,
            "videoUrl": self.video_url,
            "audioUrl": self.audio_url,
        }
        present = {name: value for name, value in members.items() if value is not None}
        return {"type": self.type, **present} if present else None


class FunctionCall(OCIResponseStruct):
    """A complete tool call, or a delta of one."""

    needed_members: ClassVar = frozenset({"name"})

    id: str | None = None
    name: str | None = None
    arguments: str | dict[str, Any] | None = None
    index: int | None = None
    """Not in Oracle's documentation; some gateways keep OpenAI's."""
    thought_signature: Any = None
    """Gemini's, which it wants to see again; not in Oracle's documentation either."""

    @property
    def has_content(self) -> bool:
        """Whether any member is set; some streams end with an empty call."""
        return bool(self.id or self.name or self.arguments)


class AssistantMessage(OCIResponseStruct):
    needed_members: ClassVar = frozenset({"content", "tool_calls"})

    content: list[ChatContent] | str | None = None
    tool_calls: list[FunctionCall] | None = None
    reasoning_content: str | None = None
    refusal: str | None = None
    annotations: list[Any] | None = None


class ChatChoice(OCIResponseStruct):
    """A choice of a complete response, a chunk of a stream, or an error, whose message is text."""

    needed_members: ClassVar = frozenset({"message"})

    index: int | None = 0
    message: AssistantMessage | str | None = None
    finish_reason: str | None = None
    usage: Usage | None = None
    logprobs: dict[str, Any] | None = None
    grounding_metadata: dict[str, Any] | None = None
    code: str | int | None = None
    error: Any = None


class GenericChatResponse(OCIResponseStruct):
    needed_members: ClassVar = frozenset({"choices"})

    choices: list[ChatChoice] | None = None
    usage: Usage | None = None


class GenericChatResult(ChatResult):
    needed_members: ClassVar = frozenset({"chat_response"})

    chat_response: GenericChatResponse | None = None


_result_decoder: Final = StructDecoder(GenericChatResult)


def parse_response(body: bytes | str | Mapping[str, Any]) -> ModelResponse:
    """Parse the body of a complete response. A tool call without an id gets a new random one.

    :raises APIStatusError: if the body is an error object.
    :raises ResponseParseError: if the body does not match the format.
    """
    result = _result_decoder.decode(body)
    if result.chat_response is None:
        raise_for_error(result, body)
        raise make_missing_member_error("chatResponse", body)
    choices = result.chat_response.choices
    if not choices:
        raise make_missing_member_error("choices", body)
    accumulators = []
    for choice in sorted(choices, key=lambda choice: make_candidate_sort_key(choice.index)):
        if not isinstance(choice.message, AssistantMessage):
            raise make_missing_member_error("message in one of its choices", body)
        accumulator = GenericCandidateAccumulator()
        accumulator.add_choice(choice, choice.message, is_complete=True)
        accumulators.append(accumulator)
    usage = result.chat_response.usage or next(
        (choice.usage for choice in choices if choice.usage), None
    )
    return build_response_from_candidates(
        accumulators, convert_usage_to_openai(usage), None, result.model_id or None
    ).with_source(body)


def convert_usage_to_openai(usage: Usage | None) -> openai.Usage | None:
    """Return the token counts under OpenAI's names."""
    if usage is None:
        return None
    prompt_details = usage.prompt_tokens_details
    completion_details = usage.completion_tokens_details
    return openai.Usage(
        usage.prompt_tokens,
        usage.completion_tokens,
        usage.total_tokens,
        None if prompt_details is None else openai.PromptDetails(prompt_details.cached_tokens),
        None
        if completion_details is None
        else openai.CompletionDetails(completion_details.reasoning_tokens),
    )


class GenericCandidateAccumulator(CandidateAccumulator):
    """Collects one choice, all at once or from a stream, and builds its value."""

    __slots__ = ("attachments", "grounding_metadata")

    def __init__(self) -> None:
        super().__init__()
        self.attachments: list[dict[str, Any]] = []
        self.grounding_metadata: dict[str, Any] | None = None

    def add_choice(
        self, choice: ChatChoice, message: AssistantMessage | None, *, is_complete: bool = False
    ) -> tuple[str, str]:
        """Add a choice or a chunk; return the text and the reasoning that it adds.

        :param message: that of the choice.
        :param is_complete: whether the choice is complete, and not a chunk of a stream.
        """
        if choice.finish_reason:
            self.stop_reason = choice.finish_reason
        if choice.logprobs is not None:
            self.add_logprobs(choice.logprobs)
        if choice.grounding_metadata is not None:
            self.grounding_metadata = choice.grounding_metadata
        if message is None:
            return "", ""
        text = message.content
        if isinstance(text, list):
            self.attachments += filter(None, (content.attachment for content in text))
            text = "".join(content.text or "" for content in text)
        calls = message.tool_calls or []
        if not is_complete:
            calls = self._consume_anonymous_deltas(calls)
        return self.add_message(
            openai.ChoiceMessage(
                content=text,
                tool_calls=[
                    openai.ToolCallDelta(
                        call.index,
                        call.id,
                        openai.FunctionCall(call.name, call.arguments),
                        thought_signature=call.thought_signature,
                    )
                    for call in calls
                ],
                reasoning_content=message.reasoning_content,
                refusal=message.refusal,
                annotations=message.annotations,
            ),
            is_complete=is_complete,
        )

    def _consume_anonymous_deltas(self, deltas: list[FunctionCall]) -> list[FunctionCall]:
        """Add the deltas if there are several without index, id and name; else return them.

        Such deltas belong to the latest calls, one to each, in the same order. Deltas without any
        content are never returned.
        """
        calls = self.calls.get_latest_calls(len(deltas)) if len(deltas) > 1 else ()
        if len(calls) < len(deltas) or any(
            delta.index is not None or delta.id or delta.name for delta in deltas
        ):
            return [delta for delta in deltas if delta.has_content]
        for call, delta in zip(calls, deltas, strict=True):
            call.add_function_delta(openai.FunctionCall(None, delta.arguments))
        return []

    def build_candidate(self, response_id: str | None) -> Candidate:
        """Build the candidate from everything that was added.

        A response of this API has no id. So a missing call id becomes a random one: the same call
        in a later message is another call.
        """
        if not all(call.id for call in self.calls):
            response_id = generate_tool_call_id()
        candidate = super().build_candidate(response_id)
        message = _with_generic_state(candidate.message, candidate.reasoning is not None)
        if candidate.reasoning is not None:
            content = _build_content_with_thinking(message, candidate.reasoning)
            message = attrs.evolve(message, content=content)
        metadata: dict[str, Any] = {}
        if self.attachments:
            metadata["attachments"] = self.attachments
        if self.grounding_metadata is not None:
            metadata["grounding_metadata"] = self.grounding_metadata
        if metadata:
            message = attrs.evolve(message, metadata={**message.metadata, **metadata})
        return (
            candidate if message is candidate.message else attrs.evolve(candidate, message=message)
        )


def _with_generic_state(message: Message, has_thinking: bool) -> Message:
    """Return the message with the native state of this format, in place of chat completions'."""
    calls = tuple(
        call
        if call.native_state is None
        else attrs.evolve(call, native_state=NATIVE_STATE_RULE.make_state(call.native_state.data))
        for call in message.tool_calls
    )
    # The thinking is a part of the message; the state only says who made it.
    state = NATIVE_STATE_RULE.make_state() if has_thinking else None
    if state is message.native_state and calls == message.tool_calls:
        return message
    return attrs.evolve(message, tool_calls=calls, native_state=state)


def _build_content_with_thinking(message: Message, reasoning: str) -> tuple[Part, ...]:
    """Return the content of a message with the reasoning as its first part."""
    # In the message too: models that think before a tool call need to see it again.
    content = message.all_content
    if not isinstance(content, tuple):
        content = (TextPart(content),) if content else ()
    return (ThinkingPart(reasoning), *content)
