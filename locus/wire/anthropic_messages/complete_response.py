"""Parses a complete response of ``POST /v1/messages``; streams share its accumulator."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, Final

from locus.core.error_body import says_error
from locus.core.errors import ResponseParseError
from locus.core.frozendict import EMPTY
from locus.core.make_status_error import make_status_error
from locus.core.messages import Content, Message, Part, RefusalPart, Role, ThinkingPart, ToolCall
from locus.core.native_state import NativeState
from locus.core.response import ModelResponse
from locus.wire.anthropic_messages.convert_assistant_blocks import (
    NATIVE_STATE_RULE,
    Block,
    build_message_content,
    get_text_member,
    parse_blocks,
    select_blocks_to_store,
)
from locus.wire.anthropic_messages.discard_refused_response_blocks import remove_declined_blocks
from locus.wire.provider_json import ResponseStruct, StructDecoder, convert_body_to_text
from locus.wire.response_errors import make_incomplete_response_error
from locus.wire.response_parts import (
    add_token_counts,
    build_usage,
    to_token_count,
)


class OutputTokensDetails(ResponseStruct):
    thinking_tokens: Any = None


class Usage(ResponseStruct):
    """Token counts; in a stream each count is the total so far."""

    input_tokens: Any = None
    """The input that was neither read from a cache nor written to one."""
    output_tokens: Any = None
    cache_creation_input_tokens: Any = None
    cache_read_input_tokens: Any = None
    output_tokens_details: OutputTokensDetails | None = None


class StopInfo(ResponseStruct):
    """The reason for the end of a response, and what the API says about it."""

    stop_reason: str | None = None
    stop_sequence: str | None = None
    stop_details: dict[str, Any] | None = None
    container: dict[str, Any] | None = None


class MessageBody(StopInfo):
    """A complete response; or an error object, if it has an ``error``."""

    needed_members: ClassVar = frozenset({"content"})

    id: str | None = None
    model: str | None = None
    content: list[dict[str, Any]] | None = None
    usage: Usage | None = None
    error: Any = None


class MessageStart(MessageBody):
    """What begins a streamed response: its content comes later."""

    needed_members: ClassVar = frozenset()


_message_decoder: Final = StructDecoder(MessageBody)


def parse_response(body: bytes | str | Mapping[str, Any]) -> ModelResponse:
    """Parse the body of a complete response.

    :raises APIStatusError: if the body is an error object.
    :raises ResponseParseError: if the body does not match the format.
    """
    message = _message_decoder.decode(body)
    if says_error(message.error):
        raise make_status_error(convert_body_to_text(body), error_object=message.error)
    if message.content is None:
        raise make_incomplete_response_error("the response has no content", body)
    accumulator = ResponseAccumulator()
    accumulator.add_message_start(message)
    accumulator.add_stop_info(message)
    accumulator.blocks = message.content
    try:
        return accumulator.build_response().with_source(body)
    except ResponseParseError as exc:
        exc.body = convert_body_to_text(body)[:2000]
        raise


class ResponseAccumulator:
    """Collects the parts of a response, all at once or from a stream, and builds its value."""

    __slots__ = ("_metadata", "_token_counts", "blocks", "id", "model", "stop_reason")

    def __init__(self) -> None:
        self.blocks: list[Block] = []
        self.id: str | None = None
        self.model: str | None = None
        self.stop_reason: str | None = None
        self._token_counts: dict[str, int] = {}
        self._metadata: dict[str, Any] = {}

    def add_message_start(self, message: MessageBody) -> None:
        """Add the id, the model and the first token counts."""
        self.id = message.id or self.id
        self.model = message.model or self.model
        self.add_usage(message.usage)

    def add_stop_info(self, stop_info: StopInfo) -> None:
        """Add the reason for the end of the response."""
        self.stop_reason = stop_info.stop_reason or self.stop_reason
        for name in ("stop_sequence", "stop_details", "container"):
            value = getattr(stop_info, name)
            if value is not None:
                self._metadata[name] = value

    def add_usage(self, usage: Usage | None) -> None:
        """Add token counts. Later counts replace earlier ones; a count that is missing does not."""
        if usage is None:
            return
        details = usage.output_tokens_details
        counts = {
            "input_tokens": usage.input_tokens,
            "completion_tokens": usage.output_tokens,
            "reasoning_tokens": details.thinking_tokens if details else None,
            "cache_creation_input_tokens": usage.cache_creation_input_tokens,
            "cached_tokens": usage.cache_read_input_tokens,
        }
        self._token_counts.update(
            (name, number)
            for name, count in counts.items()
            if (number := to_token_count(count)) is not None
        )

    def build_response(self) -> ModelResponse:
        """Build the response from what was added."""
        blocks = remove_declined_blocks(self.blocks, self.stop_reason)
        parts, calls = parse_blocks(blocks)
        reasoning = "".join(
            get_text_member(block, "thinking")
            for block in self.blocks
            if block.get("type") == "thinking"
        )
        content = build_message_content((*parts, *self._build_refusal_parts()), calls)
        return ModelResponse(
            message=Message(
                Role.ASSISTANT,
                content,
                calls,
                metadata=dict(self._metadata) or EMPTY,
                native_state=self._build_native_state(blocks, parts, content, calls),
            ),
            usage=self._build_usage(),
            stop_reason=self.stop_reason,
            reasoning=reasoning or None,
            model=self.model,
            response_id=self.id,
        )

    def _build_usage(self) -> Mapping[str, int]:
        """Return the token counts under Locus's names.

        Anthropic's ``input_tokens`` leave out what was read from a cache or written to one
        (https://platform.claude.com/docs/en/build-with-claude/prompt-caching).
        """
        counts = dict(self._token_counts)
        prompt_tokens = add_token_counts(
            counts.pop("input_tokens", None),
            counts.get("cached_tokens"),
            counts.get("cache_creation_input_tokens"),
        )
        return build_usage(prompt_tokens=prompt_tokens, **counts)

    def _build_native_state(
        self,
        blocks: Sequence[Block],
        parts: Sequence[Part],
        content: Content,
        calls: Sequence[ToolCall],
    ) -> NativeState | None:
        """Build what the server wants to see again; None if the message expresses all of it."""
        data: dict[str, Any] = {}
        native_blocks = select_blocks_to_store(blocks, content, calls)
        if native_blocks:
            data["blocks"] = native_blocks
        container_id = self._metadata.get("container", EMPTY).get("id")
        if isinstance(container_id, str):
            data["container"] = container_id
        thinking = [part for part in parts if isinstance(part, ThinkingPart)]
        if not data and not thinking:
            return None
        is_signed = any(part.signature or part.redacted is not None for part in thinking)
        return NATIVE_STATE_RULE.make_state(data, bound_to_history=is_signed)

    def _build_refusal_parts(self) -> tuple[Part, ...]:
        """Return the API's explanation of a refusal, if the response ended with one that has it."""
        details = self._metadata.get("stop_details")
        if self.stop_reason != "refusal" or details is None:
            return ()
        explanation = get_text_member(details, "explanation")
        return (RefusalPart(explanation),) if explanation else ()
