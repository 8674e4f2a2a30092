"""Accumulates one candidate of a response, from a complete message or from the deltas of a stream.

Servers of this format differ in how they send text and reasoning, and in how they send tool calls
(``tool_call_accumulator``). These classes handle the differences, so that a complete response and a
streamed one give the same result.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import attrs
import msgspec

from locus.core.frozendict import EMPTY
from locus.core.messages import Message, RefusalPart, Role, TextPart, ToolCall
from locus.core.response import Candidate
from locus.wire.chat_completions.native_accumulator import NativeAccumulator
from locus.wire.chat_completions.parse_content_parts import parse_content_parts
from locus.wire.chat_completions.response_structs import ChoiceMessage
from locus.wire.chat_completions.tool_call_accumulator import (
    ToolCallAccumulator,
    ToolCallsAccumulator,
)


def make_candidate_sort_key(index: int | None) -> tuple[bool, int]:
    """Make the sort key of a candidate's index: 0 and none are first, also beside one below 0.

    A stream has given the text of that candidate by the time another one begins.
    """
    return (bool(index), index or 0)


class CandidateAccumulator:
    """Accumulates one candidate (OpenAI calls it a choice)."""

    __slots__ = (
        "_measured_chunks",
        "_measured_length",
        "annotations",
        "audio",
        "audio_chunks",
        "calls",
        "images",
        "legacy_call",
        "logprobs",
        "native",
        "reasoning_chunks",
        "refusal_chunks",
        "stop_reason",
        "text_chunks",
    )

    def __init__(self) -> None:
        self.text_chunks: list[str] = []
        self._measured_chunks = self._measured_length = 0
        self.reasoning_chunks: list[str] = []
        self.refusal_chunks: list[str] = []
        self.calls = ToolCallsAccumulator()
        self.legacy_call: ToolCallAccumulator | None = None
        self.annotations: list[Any] = []
        self.audio: dict[str, Any] = {}
        self.audio_chunks: dict[str, list[str]] = {}
        self.images: list[Any] = []
        self.native = NativeAccumulator()
        """What the server wants to see again of the message."""
        self.logprobs: dict[str, Any] | None = None
        self.stop_reason: str | None = None

    @property
    def is_in_thought(self) -> bool:
        """Whether the content so far ends inside of a thought that the server has marked."""
        return self.native.thoughts.is_open

    @property
    def has_begun(self) -> bool:
        """Whether anything of the candidate has arrived."""
        return bool(
            self.text_chunks
            or self.stop_reason is not None
            or self.reasoning_chunks
            or self.refusal_chunks
            or self.images
            or self.audio
            or self.legacy_call
            or self.calls
        )

    def add_message(self, message: ChoiceMessage, *, is_complete: bool = False) -> tuple[str, str]:
        """Add a delta, or a complete message; return the text and the reasoning that it adds."""
        content = message.content
        reasoning = self.native.add_message(message, is_complete=is_complete)
        if isinstance(content, list):
            self.native.add_content_parts(content, self.text_chunks)
            content, thinking = parse_content_parts(content)
            reasoning += thinking
        if content:
            content, thought = self.native.split_thought(content, message.extra_content)
            reasoning += thought
        if content:
            self.text_chunks.append(content)
        if reasoning:
            self.reasoning_chunks.append(reasoning)
        if message.refusal:
            self.refusal_chunks.append(message.refusal)
        for delta in message.tool_calls or ():
            self.calls.add_delta(delta, is_complete=is_complete)
        if message.function_call is not None:
            if self.legacy_call is None:
                self.legacy_call = ToolCallAccumulator(None)
            self.legacy_call.add_function_delta(message.function_call)
        if message.annotations:
            self.annotations += message.annotations
        if message.audio:
            self._add_audio(message.audio)
        if isinstance(message.images, list):
            self.images += message.images
        return content or "", reasoning

    def make_delta(self, message: ChoiceMessage | None) -> ChoiceMessage | None:
        """Make the delta of a chunk that has a ``message`` in its place.

        The message may hold the text so far as well; that is not added again.
        """
        if message is None:
            return None
        content = message.content
        if isinstance(content, str) and self._measure_text() <= len(content):
            text = "".join(self.text_chunks)
            if text and content.startswith(text):
                return msgspec.structs.replace(message, content=content[len(text) :])
        return message

    def _measure_text(self) -> int:
        """Return the length of the text so far."""
        new_chunks = self.text_chunks[self._measured_chunks :]
        self._measured_chunks += len(new_chunks)
        self._measured_length += sum(map(len, new_chunks))
        return self._measured_length

    def _add_audio(self, audio: Mapping[str, Any]) -> None:
        for name, value in audio.items():
            if name in ("data", "transcript") and isinstance(value, str):
                self.audio_chunks.setdefault(name, []).append(value)
            else:
                self.audio[name] = value

    def add_logprobs(self, logprobs: Mapping[str, Any]) -> None:
        """Add token probabilities: lists are extended, other members are replaced."""
        merged = self.logprobs = {} if self.logprobs is None else self.logprobs
        for name, value in logprobs.items():
            previous = merged.get(name)
            if isinstance(previous, list) and isinstance(value, list):
                previous += value  # in place, because this runs for every chunk
            elif value is not None or previous is None:
                merged[name] = list(value) if isinstance(value, list) else value

    def build_candidate(self, response_id: str | None) -> Candidate:
        """Build the candidate from everything that was added.

        :param response_id: goes into the ids of calls that the server sent without one.
        """
        text = "".join(self.text_chunks)
        calls = _make_call_ids_unique(
            [
                call.build_tool_call(position, response_id)
                for position, call in enumerate(self._get_ordered_calls())
            ]
        )
        content: Any = text if text or not (calls or self.refusal_chunks) else None
        if self.refusal_chunks:
            refusal = RefusalPart("".join(self.refusal_chunks))
            content = (TextPart(text), refusal) if text else (refusal,)
        metadata: dict[str, Any] = {}
        if self.annotations:
            metadata["annotations"] = self.annotations
        audio: dict[str, Any] = {}
        if self.audio or self.audio_chunks:
            spoken = {name: "".join(chunks) for name, chunks in self.audio_chunks.items()}
            audio = self.audio | spoken
        if audio:
            metadata["audio"] = audio
        if self.images:
            metadata["attachments"] = self.images
        state = self.native.build_state(
            self.text_chunks, audio.get("id"), has_images=bool(self.images)
        )
        return Candidate(
            message=Message(
                Role.ASSISTANT, content, calls, metadata=metadata or EMPTY, native_state=state
            ),
            stop_reason=self.stop_reason,
            reasoning="".join(self.reasoning_chunks) or None,
            logprobs=self.logprobs,
        )

    def drop_unnamed_calls(self) -> None:
        """Drop the calls whose name has not arrived yet."""
        self.calls.drop_unnamed_calls()
        if self.legacy_call is not None and not self.legacy_call.has_name:
            self.legacy_call = None

    def _get_ordered_calls(self) -> Sequence[ToolCallAccumulator]:
        if not self.calls and self.legacy_call is None:
            return ()
        calls = self.calls.get_filled_calls()
        if not calls and not self.text_chunks:
            calls = self.calls.get_calls_with_id()  # an answer without anything else
        legacy_call = self.legacy_call
        if legacy_call is not None and not legacy_call.is_placeholder and not calls:
            return [legacy_call]  # a server that sends both sends the same call twice
        return calls


def _make_call_ids_unique(calls: list[ToolCall]) -> tuple[ToolCall, ...]:
    """Rename repeated ids, which some servers give to parallel calls."""
    seen: set[str] = set()
    for position, call in enumerate(calls):
        if call.id in seen:
            calls[position] = call = attrs.evolve(call, id=f"{call.id}_{position}")
        seen.add(call.id)
    return tuple(calls)
