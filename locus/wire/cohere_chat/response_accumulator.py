"""Accumulates an answer in Cohere's second chat format, from plain pieces.

Cohere's own API and Oracle's service spell the format differently: ``tool_plan`` and ``toolPlan``,
``thinking`` and ``THINKING``, a stream of events and a stream of chunks. What an answer consists of
is the same: contents that are text or thinking, a plan that the model makes before it calls tools,
the calls, and citations. Both spellings are decoded elsewhere, and added here.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from locus.core.frozendict import EMPTY
from locus.core.messages import Message, Part, Role, TextPart, ThinkingPart, ToolCall
from locus.core.native_state_routing import NativeStateRule
from locus.core.response import ModelResponse
from locus.wire.cohere_chat.tools_and_messages import make_call_ids_unique
from locus.wire.response_parts import (
    UNNAMED_TOOL_NAME,
    is_empty_call,
    make_tool_call,
    make_tool_call_id,
)

PLAN_KEY = "tool_plan"
"""The member of the native state for the plan: the model needs to see it again."""


class Content(NamedTuple):
    """A content of the message, or a delta of one: text or thinking."""

    text: str | None = None
    thinking: str | None = None


class TextChunks:
    """A text, in the chunks in which it has arrived."""

    __slots__ = ("_chunks", "_length")

    def __init__(self) -> None:
        self._chunks: list[str] = []
        self._length = 0

    def __bool__(self) -> bool:
        return bool(self._chunks)

    def append(self, chunk: str) -> None:
        """Add a chunk at the end."""
        self._chunks.append(chunk)
        self._length += len(chunk)

    def equal(self, text: str) -> bool:
        """Return whether the chunks are this text. That takes no time if it is shorter."""
        return len(text) == self._length and text == self.join()

    def join(self) -> str:
        """Return the text so far."""
        return "".join(self._chunks)


class CallDelta(NamedTuple):
    """A tool call, or a delta of one.

    :ivar arguments: JSON text, or any other JSON value, which is not split into deltas.
    :ivar position: which call of the stream it is, where the deltas have no ids.
    """

    id: str | None = None
    name: str | None = None
    arguments: Any = None
    position: int | None = None


class _ToolCallAccumulator:
    """Collects the deltas of one tool call."""

    __slots__ = ("_chunks", "id", "name", "number", "other_arguments", "position")

    def __init__(self, position: int | None, number: int) -> None:
        self.id = ""
        self.name = ""
        self.position = position
        self.number = number
        """How many calls have begun before this one."""
        self._chunks = TextChunks()
        self.other_arguments: Any = None
        """Arguments that are not text; they are not split into deltas."""

    def add_delta(self, delta: CallDelta) -> None:
        """Add a delta of the call, or the complete call."""
        self.id = self.id or delta.id or ""
        self.name = self.name or delta.name or ""
        if isinstance(delta.arguments, str):
            self._chunks.append(delta.arguments)
        elif delta.arguments is not None:
            self.other_arguments = delta.arguments

    @property
    def arguments(self) -> Any:
        """The arguments so far."""
        if self.other_arguments is not None:
            return self.other_arguments
        return self._chunks.join() if self._chunks else None

    def is_repeated_by(self, call: CallDelta) -> bool:
        """Return whether ``call`` is this same call, complete."""
        if (call.id or "") != self.id or (call.name or "") != self.name:
            return False
        if self.other_arguments is None and isinstance(call.arguments, str) and self._chunks:
            return self._chunks.equal(call.arguments)
        return bool(call.arguments == self.arguments)


class ResponseAccumulator:
    """Collects the pieces of a response, or a complete one, and builds its value.

    :param native_state_rule: makes the native state of the message, for the plan and the thinking.
    :ivar finish_reason: why the response ended; None until it has.
    :ivar usage: the token counts under Locus's names.
    """

    __slots__ = (
        "_calls",
        "_contents",
        "_first_by_id",
        "_latest_by_position",
        "_metadata",
        "_native_state_rule",
        "_plan_chunks",
        "_reasoning_chunks",
        "_text_chunks",
        "_thinking_chunks",
        "finish_reason",
        "logprobs",
        "model",
        "response_id",
        "usage",
    )

    def __init__(self, native_state_rule: NativeStateRule) -> None:
        self._native_state_rule = native_state_rule
        self._contents: list[tuple[bool, list[str]]] = []
        """For each content: whether it is thinking, and its chunks."""
        self._text_chunks = TextChunks()
        self._thinking_chunks = TextChunks()
        self._plan_chunks = TextChunks()
        self._reasoning_chunks: list[str] = []
        """Thinking and plan, in the order in which they arrived."""
        self._calls: list[_ToolCallAccumulator] = []
        self._first_by_id: dict[str, _ToolCallAccumulator] = {}
        self._latest_by_position: dict[int, _ToolCallAccumulator] = {}
        self._metadata: dict[str, Any] = {}
        self.logprobs: list[Any] | None = None
        self.usage: Mapping[str, int] = EMPTY
        self.response_id: str | None = None
        self.model: str | None = None
        self.finish_reason: str | None = None

    @property
    def is_empty(self) -> bool:
        """Whether nothing of the answer itself has arrived."""
        return not (self._contents or self._plan_chunks or self._calls)

    def add_pieces(
        self,
        contents: Sequence[Content] = (),
        plan: str = "",
        calls: Sequence[CallDelta] = (),
        citations: Sequence[Any] = (),
        *,
        is_complete: bool = False,
        may_repeat: bool = False,
    ) -> tuple[str, str]:
        """Add pieces of the message; return the text and the reasoning that they add.

        :param is_complete: whether they are the complete message, not deltas.
        :param may_repeat: whether they may repeat all that arrived before.
        """
        if may_repeat:
            contents = self._drop_repeated_contents(contents)
        text = reasoning = ""
        for content in contents:
            if content.thinking:
                reasoning += content.thinking
                self._append_content(True, content.thinking)
            if content.text:
                text += content.text
                self._append_content(False, content.text)
        if plan and not (may_repeat and self._plan_chunks.equal(plan)):
            self._plan_chunks.append(plan)
            reasoning += plan
        if reasoning:
            self._reasoning_chunks.append(reasoning)
        if not (may_repeat and self._is_repetition_of_calls(calls)):
            for call in calls:
                self._add_call(call, is_complete)
        if citations:
            self._metadata.setdefault("citations", []).extend(citations)
        return text, reasoning

    def add_logprobs(self, logprobs: Sequence[Any]) -> None:
        """Add the probabilities of some tokens."""
        if self.logprobs is None:
            self.logprobs = []
        self.logprobs += logprobs

    def drop_unnamed_calls(self) -> None:
        """Remove the tool calls that have no name."""
        self._calls = [call for call in self._calls if call.name]

    def build_response(self) -> ModelResponse:
        """Build the response from what was added."""
        calls = self._build_tool_calls()
        plan = self._plan_chunks.join()
        content = self._build_content(bool(calls))
        state = None
        if plan:
            state = self._native_state_rule.make_state({PLAN_KEY: plan})
        elif isinstance(content, tuple):  # it has thinking; the state says who made it
            state = self._native_state_rule.make_state()
        return ModelResponse(
            message=Message(
                Role.ASSISTANT,
                content,
                calls,
                metadata=self._metadata or EMPTY,
                native_state=state,
            ),
            usage=self.usage,
            stop_reason=self.finish_reason,
            reasoning="".join(self._reasoning_chunks) or None,
            model=self.model,
            response_id=self.response_id,
            logprobs=None if self.logprobs is None else {"content": self.logprobs},
        )

    def _drop_repeated_contents(self, contents: Sequence[Content]) -> list[Content]:
        """Return the last contents, without text or thinking that repeats all that arrived."""
        text = "".join(content.text or "" for content in contents)
        thinking = "".join(content.thinking or "" for content in contents)
        repeats_text = self._text_chunks.equal(text)
        repeats_thinking = self._thinking_chunks.equal(thinking)
        return [
            Content(
                None if repeats_text else content.text,
                None if repeats_thinking else content.thinking,
            )
            for content in contents
        ]

    def _is_repetition_of_calls(self, calls: Sequence[CallDelta]) -> bool:
        known_calls = self._calls
        return len(calls) == len(known_calls) and all(
            known.is_repeated_by(call) for known, call in zip(known_calls, calls, strict=True)
        )

    def _append_content(self, is_thinking: bool, chunk: str) -> None:
        if not self._contents or self._contents[-1][0] is not is_thinking:
            self._contents.append((is_thinking, []))
        self._contents[-1][1].append(chunk)
        (self._thinking_chunks if is_thinking else self._text_chunks).append(chunk)

    def _add_call(self, delta: CallDelta, is_complete: bool) -> None:
        call = None if is_complete else self._find_call(delta)
        if call is None:
            call = _ToolCallAccumulator(delta.position, len(self._calls))
            self._calls.append(call)
            if delta.position is not None:
                self._latest_by_position[delta.position] = call
        call.add_delta(delta)
        if delta.id and call.id == delta.id:
            first = self._first_by_id.get(call.id)
            if first is None or call.number < first.number:
                self._first_by_id[call.id] = call

    def _find_call(self, delta: CallDelta) -> _ToolCallAccumulator | None:
        """Return the call that a delta belongs to, by id or position; None if it begins one."""
        if delta.id:
            return self._first_by_id.get(delta.id)
        if delta.name or not self._calls:
            return None
        latest = self._calls[-1]
        return (
            latest
            if delta.position is None
            else self._latest_by_position.get(delta.position, latest)
        )

    def _build_content(self, has_calls: bool) -> str | tuple[Part, ...] | None:
        if not any(is_thinking for is_thinking, _ in self._contents):
            text = self._text_chunks.join()
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
            if is_empty_call(call.name, arguments):
                continue
            name = call.name or UNNAMED_TOOL_NAME
            call_id = call.id or make_tool_call_id(
                self.response_id or "", index, name, repr(arguments)
            )
            tool_calls.append(make_tool_call(call_id, name, arguments))
        return make_call_ids_unique(tool_calls)
