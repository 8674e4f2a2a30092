"""Accumulates the tool calls of one candidate, and finds the call that a delta belongs to."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from typing import Any

import attrs

from locus.core.messages import ToolCall
from locus.wire.chat_completions.native_accumulator import collect_call_members
from locus.wire.chat_completions.native_members import make_call_state
from locus.wire.chat_completions.response_structs import FunctionCall, ToolCallDelta
from locus.wire.json_object_end import JsonObjectEnd
from locus.wire.merge_pieces import ObjectMerger
from locus.wire.response_parts import (
    UNNAMED_TOOL_NAME,
    make_tool_call_id,
    remove_repeated_objects,
)


class ToolCallAccumulator:
    """Accumulates a tool call from its deltas.

    :param position: how many calls of the candidate have begun before this one.
    """

    __slots__ = (
        "_end",
        "_name_chunks",
        "_name_length",
        "arguments",
        "custom",
        "id",
        "index",
        "native_members",
        "position",
        "starts_anonymously",
    )

    def __init__(self, index: int | None, position: int = 0) -> None:
        self.index = index
        self.position = position
        self.id = ""
        self._name_chunks: list[str] = []
        self._name_length = 0
        self.arguments: list[str] | dict[str, Any] = []
        self._end = JsonObjectEnd()
        self.custom = False
        self.native_members = ObjectMerger()
        self.starts_anonymously = False
        """Whether the first delta had a name and a type, but no id."""

    @property
    def name(self) -> str:
        """The name so far."""
        return "".join(self._name_chunks)

    @property
    def has_name(self) -> bool:
        """Whether a part of the name has arrived."""
        return bool(self._name_length)

    def is_named(self, name: str | None) -> bool:
        """Return whether the name so far is ``name``."""
        return len(name or "") == self._name_length and self.name == (name or "")

    def add_delta(self, delta: ToolCallDelta) -> None:
        """Add one delta."""
        if not self.has_name and not self.arguments:
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
        if function.name and not self.is_named(function.name):
            self._name_chunks.append(function.name)
            self._name_length += len(function.name)
        arguments = function.arguments
        if isinstance(arguments, dict):
            self.arguments = arguments or self.arguments
        elif arguments and not isinstance(arguments, str):
            self._replace_arguments(arguments)
        elif arguments:
            if isinstance(self.arguments, dict):  # an object, and then text
                self._replace_arguments(self.arguments)
            assert isinstance(self.arguments, list)
            self.arguments.append(arguments)

    def _replace_arguments(self, arguments: Any) -> None:
        """Replace the arguments so far by a JSON value, as text."""
        self.arguments = [json.dumps(arguments, ensure_ascii=False)]
        self._end = JsonObjectEnd()

    def build_tool_call(self, position: int, response_id: str | None) -> ToolCall:
        """Build the finished call.

        :param response_id: goes into the id that is made where the server sent none.
        """
        arguments, name = self.arguments, self.name or UNNAMED_TOOL_NAME
        if isinstance(arguments, dict):
            call_id = self.id or make_tool_call_id(response_id, position, name, repr(arguments))
            return self._with_native_state(ToolCall.from_object(call_id, name, arguments))
        text = "".join(arguments)
        call_id = self.id or make_tool_call_id(response_id, position, name, text)
        if self.custom:
            return self._with_native_state(ToolCall(call_id, name, malformed_arguments=text))
        text = remove_repeated_objects(text)
        return self._with_native_state(ToolCall.from_json(call_id, name, text))

    def _with_native_state(self, call: ToolCall) -> ToolCall:
        state = make_call_state(self.id, self.native_members.build(), is_custom=self.custom)
        return call if state is None else attrs.evolve(call, native_state=state)

    @property
    def is_placeholder(self) -> bool:
        """Whether the call has neither a name nor arguments: a member that a server only filled."""
        if self.has_name or self.custom:
            return False
        arguments = self.arguments
        if isinstance(arguments, dict):
            return not arguments
        return "".join(arguments).strip() in ("", "{}", "null")

    def has_complete_arguments(self) -> bool:
        """Return whether the arguments received so far are a JSON object.

        Where a server repeats the name in every delta, this is asked for each of them.
        """
        if isinstance(self.arguments, dict):
            return True
        if not self.has_name or not self._end.is_reached(self.arguments):
            return False
        text = "".join(self.arguments)
        return ToolCall.from_json("any", "any", text).malformed_arguments is None


class ToolCallsAccumulator:
    """The tool calls of one candidate, in the order in which they began."""

    __slots__ = ("_calls", "_latest_by_id", "_latest_by_index")

    def __init__(self) -> None:
        self._calls: list[ToolCallAccumulator] = []
        self._latest_by_index: dict[int, ToolCallAccumulator] = {}
        self._latest_by_id: dict[str, ToolCallAccumulator] = {}

    def __bool__(self) -> bool:
        return bool(self._calls)

    def __iter__(self) -> Iterator[ToolCallAccumulator]:
        return iter(self._calls)

    def add_delta(self, delta: ToolCallDelta, *, is_complete: bool = False) -> None:
        """Add a delta.

        :param is_complete: whether it is a complete call, and not a part of one.
        """
        call = None if is_complete else self._find_call(delta)
        if call is None:
            index = None if is_complete else delta.index
            call = ToolCallAccumulator(index, len(self._calls))
            self._calls.append(call)
            if index is not None:
                self._latest_by_index[index] = call
        call.add_delta(delta)
        if delta.id and call.id == delta.id:
            latest = self._latest_by_id.get(call.id)
            if latest is None or latest.position < call.position:
                self._latest_by_id[call.id] = call

    def _find_call(self, delta: ToolCallDelta) -> ToolCallAccumulator | None:
        """Return the call that a delta belongs to, by index, by id, or the latest.

        The result is None if the delta begins another call.
        """
        has_name = delta.name is not None
        if delta.index is not None:
            call = self._latest_by_index.get(delta.index)
            if call is None:
                call = self._find_call_to_continue(delta)
                if call is not None:
                    self._latest_by_index[delta.index] = call
                return call
            # Some servers give all parallel calls the index 0, and different ids, or no ids at all
            # (Gemini): then a delta with a name, after a call whose arguments are complete, starts
            # the next call.
            if delta.id and call.id:
                is_new_call = has_name and delta.id != call.id
            elif delta.starts_call and call.starts_anonymously and not call.is_named(delta.name):
                is_new_call = True
            else:
                is_new_call = has_name and delta.has_arguments and call.has_complete_arguments()
            return None if is_new_call else call
        if delta.id:
            call = self._latest_by_id.get(delta.id)
            if call and has_name and delta.has_arguments and call.has_complete_arguments():
                return None
            return call
        return self._calls[-1] if self._calls and not has_name else None

    def _find_call_to_continue(self, delta: ToolCallDelta) -> ToolCallAccumulator | None:
        """Return the latest call if a delta with a new index only has arguments that it lacks.

        DeepSeek's and SGLang's servers count the name and the arguments of a call as two:
        https://github.com/agno-agi/agno/pull/8880, https://github.com/sgl-project/sglang/issues/23071.
        """
        if delta.id or delta.name or not self._calls:
            return None
        latest = self._calls[-1]
        return None if not latest.has_name or latest.has_complete_arguments() else latest

    def get_latest_calls(self, count: int) -> Sequence[ToolCallAccumulator]:
        """Return so many of the calls that began last, or all if there are fewer."""
        return self._calls[-count:] if count else []

    def drop_unnamed_calls(self) -> None:
        """Drop the calls whose name has not arrived yet. Nothing is added after that."""
        self._calls = [call for call in self._calls if call.has_name]

    def get_filled_calls(self) -> Sequence[ToolCallAccumulator]:
        """Return the calls in the order of their indexes, without those that say nothing."""
        calls = [call for call in self._calls if not call.is_placeholder]
        return _sort_by_index(calls)

    def get_calls_with_id(self) -> Sequence[ToolCallAccumulator]:
        """Return the calls that have an id, in the order of their indexes."""
        return _sort_by_index([call for call in self._calls if call.id])


def _sort_by_index(calls: list[ToolCallAccumulator]) -> list[ToolCallAccumulator]:
    if all(call.index is not None for call in calls):
        return sorted(calls, key=lambda call: call.index or 0)
    return calls
