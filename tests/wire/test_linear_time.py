"""Reading a response and writing a conversation take time in proportion to their length.

Every format reads responses with many of everything that it can express, whole and streamed, and
writes long conversations. The tests of the formats have what only one of them can get wrong.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from functools import partial
from typing import Any

import pytest

from locus.core.messages import Message, ToolCall, ToolResult
from locus.testing.formats.strategies.response_contents import CallContent
from tests.support.formats import FORMATS, REQUEST_FORMATS, WireFormat
from tests.support.timing import assert_linear


def make_content(wire: WireFormat, size: int) -> Any:
    """A response with so many words of each kind, and a quarter as many calls."""
    words = "word " * size
    calls = [CallContent(f"call_{n}", f"tool_{n}", '{"a": 1}') for n in range(size // 4)]
    calls.append(CallContent("call_last", "tool_last", json.dumps({"a": words})))
    more = {"reasoning": words if wire.thinks else None}
    if wire.sends_refusals:
        more["refusal"] = words
    return wire.make_content(words, calls=tuple(calls), **more)


def split_into_words(text: str) -> list[str]:
    return text.split(" ") if " " not in text else [f"{word} " for word in text[:-1].split(" ")]


@pytest.mark.parametrize("way", ["whole", "streamed", "one long frame"])
@pytest.mark.parametrize("wire", FORMATS, ids=repr)
def test_a_long_response_is_read_in_linear_time(wire: WireFormat, way: str) -> None:
    def prepare(size: int) -> Callable[[], object]:
        content = make_content(wire, size)
        if way == "whole":
            body = json.dumps(wire.build_body(content)).encode()
            return lambda: wire.parser.parse(body)
        if way == "streamed":
            frames = wire.build_frames(content, split_into_words)
            chunks = [wire.encode_frames(frame) for frame in frames]
        else:  # in small reads
            stream = wire.encode_frames(*wire.build_frames(content, lambda text: (text,)))
            chunks = [stream[start : start + 64] for start in range(0, len(stream), 64)]
        return lambda: wire.stream_reader.decode_response(chunks)

    assert_linear(prepare, 50)


def vary(value: Any, number: int, names: frozenset[str]) -> Any:
    """A frame with other values of some members, at any depth: ids, or indexes."""
    if isinstance(value, list):
        return [vary(item, number, names) for item in value]
    if not isinstance(value, dict):
        return value
    varied = {}
    for name, member in value.items():
        if name not in names or isinstance(member, (dict, list, bool)) or member is None:
            varied[name] = vary(member, number, names)
        else:
            varied[name] = member + number if isinstance(member, int) else f"{member}{number}"
    return varied


IDS = frozenset({"id", "item_id", "call_id", "tool_call_id"})
INDEXES = frozenset({"index", "output_index", "content_index", "summary_index"})


@pytest.mark.thorough
@pytest.mark.parametrize(
    "names",
    [frozenset(), IDS, INDEXES, IDS | INDEXES, frozenset({"name"})],
    ids=["same", "ids", "indexes", "both", "names"],
)
@pytest.mark.parametrize("wire", FORMATS, ids=repr)
def test_any_frame_many_times_is_read_in_linear_time(
    wire: WireFormat, names: frozenset[str]
) -> None:
    frames = wire.build_frames(make_content(wire, 4), split_into_words)
    shapes = set()
    for position, frame in enumerate(frames):
        shape = re.sub(r"\d+", "", json.dumps(frame))
        if shape in shapes or isinstance(frame, str):
            continue
        shapes.add(shape)

        def prepare(size: int, position: int = position, frame: Any = frame) -> Any:
            repeated = [vary(frame, number, names) for number in range(size)]
            stream = wire.encode_frames(*frames[:position], *repeated, *frames[position:])
            return partial(wire.stream_reader.read_stream, [stream])

        assert_linear(prepare, 100)


def make_conversation(size: int) -> list[Message]:
    """A long conversation: many turns, many calls with the same ids, many calls in one message."""
    return [
        *[Message.user("q"), Message.assistant("a"), Message.system("s")] * size,
        Message.user("x"),
        *make_calls_and_results("call_0", 1) * size,
        *make_calls_and_results("call:é", 1) * size,
        *make_calls_and_results("call_{}", size),
        *make_calls_and_results("call_0", size),
        Message.user("y"),
    ]


def make_calls_and_results(call_id: str, count: int) -> list[Message]:
    """A message with so many calls, and their results."""
    calls = [ToolCall(call_id.format(number), "f", {"a": 1}) for number in range(count)]
    results = [Message.tool(ToolResult(call.id, "f", "done")) for call in calls]
    return [Message.assistant(None, calls), *results]


@pytest.mark.parametrize("wire", REQUEST_FORMATS, ids=repr)
def test_a_long_conversation_is_written_in_linear_time(wire: WireFormat) -> None:
    def prepare(size: int) -> Callable[[], object]:
        messages = make_conversation(size)
        return lambda: wire.builder.build(messages, None, **wire.base_options)

    assert_linear(prepare, 20)


@pytest.mark.parametrize("wire", REQUEST_FORMATS, ids=repr)
def test_a_large_schema_is_written_in_linear_time(wire: WireFormat) -> None:
    def prepare(size: int) -> Callable[[], object]:
        parameters = {
            "type": "object",
            "properties": {f"p{n}": {"anyOf": [{"$ref": f"#/$defs/d{n}"}]} for n in range(size)},
            "$defs": {f"d{n}": {"type": "string"} for n in range(size)},
        }
        function = {"name": "f", "description": "d", "parameters": parameters}
        tools = [{"type": "function", "function": function}]
        return lambda: wire.builder.build([Message.user("x")], tools, **wire.base_options)

    assert_linear(prepare, 100)
