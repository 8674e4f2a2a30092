"""Accumulates one candidate of a response, from a complete message or from the deltas of a stream.

Servers of this format differ in how they send tool calls and reasoning. These classes handle the
differences, so that a complete response and a streamed one give the same result.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

import attrs
import msgspec

from locus.core.frozendict import EMPTY
from locus.core.messages import Message, RefusalPart, Role, TextPart, ToolCall
from locus.core.response import Candidate
from locus.wire.chat_completions.json_types import (
    ChoiceMessage,
    FunctionCall,
    ToolCallDelta,
)
from locus.wire.chat_completions.native_accumulator import (
    NativeAccumulator,
    collect_call_members,
)
from locus.wire.chat_completions.native_members import make_call_state
from locus.wire.chat_completions.parse_content_parts import parse_content_parts
from locus.wire.response_parts import (
    UNNAMED_TOOL_NAME,
    make_tool_call_id,
    remove_repeated_objects,
)


class ToolCallAccumulator:
    """Accumulates a tool call from its deltas."""

    __slots__ = (
        "arguments",
        "custom",
        "id",
        "index",
        "name",
        "native_members",
        "starts_anonymously",
    )

    def __init__(self, index: int | None) -> None:
        self.index = index
        self.id = ""
        self.name = ""
        self.arguments: list[str] | dict[str, Any] = []
        self.custom = False
        self.native_members: dict[str, Any] = {}
        self.starts_anonymously = False
        """Whether the first delta had a name and a type, but no id."""

    def add_delta(self, delta: ToolCallDelta) -> None:
        """Add one delta."""
        if not self.name and not self.arguments:
            self.starts_anonymously = delta.starts_call and not delta.id
        self.id = self.id or delta.id or ""
        collect_call_members(self.native_members, delta)
        if delta.function is not None:
            self.add_function_delta(delta.function)
        elif delta.custom is not None:
            self.custom = True
            self.add_function_delta(FunctionCall(delta.custom.name, delta.custom.input))

    def add_function_delta(self, function: FunctionCall) -> None:
        """Add the name, the arguments, or a part of either."""
        # Some servers repeat the complete name in every delta.
        if function.name and function.name != self.name:
            self.name += function.name
        arguments = function.arguments
        if isinstance(arguments, dict):
            self.arguments = arguments or self.arguments
        elif arguments and not isinstance(arguments, str):
            self.arguments = [json.dumps(arguments, ensure_ascii=False)]
        elif arguments:
            if isinstance(self.arguments, dict):  # an object, and then text
                self.arguments = [json.dumps(self.arguments, ensure_ascii=False)]
            self.arguments.append(arguments)

    def build_tool_call(self, position: int, response_id: str | None) -> ToolCall:
        """Build the finished call.

        :param response_id: goes into the id that is made where the server sent none.
        """
        arguments, name = self.arguments, self.name or UNNAMED_TOOL_NAME
        if isinstance(arguments, dict):
            call_id = self.id or make_tool_call_id(response_id, position, name, repr(arguments))
            return self._with_native_state(ToolCall(call_id, name, arguments))
        text = "".join(arguments)
        call_id = self.id or make_tool_call_id(response_id, position, name, text)
        if self.custom:
            return self._with_native_state(ToolCall(call_id, name, malformed_arguments=text))
        text = remove_repeated_objects(text)
        return self._with_native_state(ToolCall.from_json(call_id, name, text))

    def _with_native_state(self, call: ToolCall) -> ToolCall:
        state = make_call_state(self.id, self.native_members, is_custom=self.custom)
        return call if state is None else attrs.evolve(call, native_state=state)

    @property
    def is_placeholder(self) -> bool:
        """Whether the call has neither a name nor arguments: a member that a server only filled."""
        if self.name or self.custom:
            return False
        arguments = self.arguments
        if isinstance(arguments, dict):
            return not arguments
        return "".join(arguments).strip() in ("", "{}", "null")

    def has_complete_arguments(self) -> bool:
        """Return whether the arguments received so far are a JSON object."""
        if isinstance(self.arguments, dict):
            return True
        # An object ends with a brace. Where a server repeats the name in every delta, this runs for
        # each delta, and joining all of them every time would take quadratic time.
        if not (self.name and self.arguments and self.arguments[-1].rstrip().endswith("}")):
            return False
        text = "".join(self.arguments)
        return ToolCall.from_json("any", self.name, text).malformed_arguments is None


class CandidateAccumulator:
    """Accumulates one candidate (OpenAI calls it a choice)."""

    __slots__ = (
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
        self.reasoning_chunks: list[str] = []
        self.refusal_chunks: list[str] = []
        self.calls: list[ToolCallAccumulator] = []
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
            call = self._start_call(None) if is_complete else self._find_or_start_call(delta)
            call.add_delta(delta)
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
        text, content = "".join(self.text_chunks), message.content
        if text and isinstance(content, str) and content.startswith(text):
            return msgspec.structs.replace(message, content=content[len(text) :])
        return message

    def _find_or_start_call(self, delta: ToolCallDelta) -> ToolCallAccumulator:
        """Return the call that a delta belongs to, by index, by id, or the latest; or start one."""
        has_name = delta.name is not None
        if delta.index is not None:
            for call in reversed(self.calls):
                if call.index == delta.index:
                    # Some servers give all parallel calls the index 0, and different ids, or no
                    # ids at all (Gemini): then a delta with a name, after a call whose arguments
                    # are complete, starts the next call.
                    if delta.id and call.id:
                        is_new_call = has_name and delta.id != call.id
                    elif delta.starts_call and call.starts_anonymously and delta.name != call.name:
                        is_new_call = True
                    else:
                        is_new_call = (
                            has_name and delta.has_arguments and call.has_complete_arguments()
                        )
                    if is_new_call:
                        break
                    return call
        elif delta.id:
            for call in reversed(self.calls):
                if call.id == delta.id:
                    if has_name and delta.has_arguments and call.has_complete_arguments():
                        break
                    return call
        elif self.calls and not has_name:
            return self.calls[-1]
        return self._start_call(delta.index)

    def _start_call(self, index: int | None) -> ToolCallAccumulator:
        call = ToolCallAccumulator(index)
        self.calls.append(call)
        return call

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
        audio = self.audio | {name: "".join(chunks) for name, chunks in self.audio_chunks.items()}
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
        self.calls = [call for call in self.calls if call.name]
        if self.legacy_call is not None and not self.legacy_call.name:
            self.legacy_call = None

    def _get_ordered_calls(self) -> Sequence[ToolCallAccumulator]:
        calls = [call for call in self.calls if not call.is_placeholder]
        if not calls and not self.text_chunks:
            calls = [call for call in self.calls if call.id]  # an answer without anything else
        legacy_call = self.legacy_call
        if legacy_call is not None and not legacy_call.is_placeholder and not calls:
            return [legacy_call]  # a server that sends both sends the same call twice
        if all(call.index is not None for call in calls):
            return sorted(calls, key=lambda call: call.index or 0)
        return calls


def _make_call_ids_unique(calls: list[ToolCall]) -> tuple[ToolCall, ...]:
    """Rename repeated ids, which some servers give to parallel calls."""
    seen: set[str] = set()
    for position, call in enumerate(calls):
        if call.id in seen:
            calls[position] = call = attrs.evolve(call, id=f"{call.id}_{position}")
        seen.add(call.id)
    return tuple(calls)
