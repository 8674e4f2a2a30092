"""Answers as Anthropic's messages JSON, whole and as events."""

from __future__ import annotations

import json
from typing import Any

from hypothesis import strategies as st

from locus.wire.anthropic_messages import AnthropicMessagesParser
from tests.support.anthropic_turns import ALL_KINDS as ALL_KINDS
from tests.support.anthropic_turns import KINDS as KINDS
from tests.support.anthropic_turns import RESPOND as RESPOND
from tests.support.anthropic_turns import Block, Turn
from tests.support.anthropic_turns import canonical as canonical
from tests.support.anthropic_turns import essence as essence
from tests.support.anthropic_turns import expected as expected
from tests.support.anthropic_turns import sent_back as sent_back
from tests.support.anthropic_turns import structured as structured
from tests.support.anthropic_turns import turns as turns
from tests.support.decoding import Reading
from tests.support.strategies import pieces

# Whole answers, and answers in events.


def whole(turn: Turn) -> dict[str, Any]:
    """The body of a whole answer."""
    return {
        "id": turn.id,
        "type": "message",
        "role": "assistant",
        "model": turn.model,
        "content": list(turn.blocks),
        **_ending(turn),
        "usage": {"input_tokens": turn.input_tokens, **_counts(turn)},
    }


def _ending(turn: Turn) -> dict[str, Any]:
    details = None
    if turn.stop == "refusal":
        details = {"type": "refusal", "category": None, "explanation": turn.explanation}
    return {
        "stop_reason": turn.stop,
        "stop_sequence": turn.stop_sequence,
        "stop_details": details,
    }


def _counts(turn: Turn) -> dict[str, Any]:
    counts: dict[str, Any] = {
        "cache_creation_input_tokens": turn.cache_written,
        "cache_read_input_tokens": turn.cache_read,
        "output_tokens": turn.output_tokens,
    }
    if turn.thinking_tokens is not None:
        counts["output_tokens_details"] = {"thinking_tokens": turn.thinking_tokens}
    return counts


NOISE: tuple[dict[str, Any], ...] = (
    {"type": "ping"},
    {"type": "an_event_of_next_year", "index": 0, "delta": {"text": "no"}},
    {"type": "content_block_delta", "index": 0},
    {"type": "message_delta", "delta": {}, "usage": None},
)


@st.composite
def events(draw: st.DrawFn, turn: Turn, plain: bool = False) -> list[dict[str, Any]]:
    """The events of a streamed answer. ``plain`` leaves out what the API does not send today."""
    start = whole(turn) | {"content": [], "stop_reason": None, "stop_sequence": None}
    start["stop_details"] = None
    start["usage"] = {"input_tokens": turn.input_tokens, "output_tokens": 1}
    if turn.cache_read is not None and draw(st.booleans()):  # all counts, or the last ones alone
        start["usage"]["cache_read_input_tokens"] = turn.cache_read // 2
    found: list[dict[str, Any]] = [{"type": "message_start", "message": start}]
    for index, block in enumerate(turn.blocks):
        begun, deltas = draw(_deltas(block, turn.written.get(index, "")))
        found.append({"type": "content_block_start", "index": index, "content_block": begun})
        found += [
            {"type": "content_block_delta", "index": index, "delta": delta} for delta in deltas
        ]
        found.append({"type": "content_block_stop", "index": index})
    usage = _counts(turn)
    if draw(st.booleans()):
        usage["input_tokens"] = turn.input_tokens
    found.append({"type": "message_delta", "delta": _ending(turn), "usage": usage})
    for _ in range(draw(st.integers(0, 2))):
        noise = {"type": "ping"} if plain else draw(st.sampled_from(NOISE))
        found.insert(draw(st.integers(1, len(found))), noise)
    return [*found, {"type": "message_stop"}]


@st.composite
def _deltas(draw: st.DrawFn, block: Block, written: str) -> tuple[Block, list[dict[str, Any]]]:
    """A block as it begins, and the deltas that make the rest of it."""
    match block["type"]:
        case "text":
            deltas = [{"type": "text_delta", "text": t} for t in draw(pieces(block["text"]))]
            begun = {**block, "text": ""}
            if block["citations"] is not None:
                begun["citations"] = []
                deltas += [
                    {"type": "citations_delta", "citation": citation}
                    for citation in block["citations"]
                ]
            return begun, deltas
        case "thinking":
            deltas = [
                {"type": "thinking_delta", "thinking": t} for t in draw(pieces(block["thinking"]))
            ]
            deltas.append({"type": "signature_delta", "signature": block["signature"]})
            return {**block, "thinking": "", "signature": ""}, deltas
        case "tool_use" | "server_tool_use":
            if block["input"] == {} and draw(st.booleans()):
                written = ""
            cut = draw(pieces(written))
            return {**block, "input": {}}, [
                {"type": "input_json_delta", "partial_json": piece} for piece in cut
            ]
    return block, []


# Bytes.


@st.composite
def framed(draw: st.DrawFn, found: list[dict[str, Any]]) -> bytes:
    """Events as server-sent events, with whatever line ends and comments servers use."""
    end = draw(st.sampled_from(["\n", "\n", "\r\n", "\r"]))
    ascii_ = draw(st.booleans())
    indent = draw(st.sampled_from([None, None, None, 1]))
    comments = ["", "", ": keep-alive" + end + end, "id: 7" + end]
    lines = []
    for event in found:
        text = json.dumps(event, ensure_ascii=ascii_, indent=indent)
        lines.append(draw(st.sampled_from(comments)) + f"event: {event['type']}{end}")
        lines += [f"data: {line}{end}" for line in text.split("\n")]
        lines.append(end)
    return "".join(lines).encode()


def sse(*found: dict[str, Any] | str) -> bytes:
    """Events as Anthropic frames them; text goes as it is."""
    lines = []
    for event in found:
        name = event["type"] if isinstance(event, dict) and "type" in event else "x"
        data = event if isinstance(event, str) else json.dumps(event)
        lines.append(f"event: {name}\ndata: {data}\n\n")
    return "".join(lines).encode(errors="replace")


def start(index: int = 0, **block: Any) -> dict[str, Any]:
    """The event that begins a block."""
    return {"type": "content_block_start", "index": index, "content_block": block}


def delta(index: int = 0, **said: Any) -> dict[str, Any]:
    """The event with a piece of a block."""
    return {"type": "content_block_delta", "index": index, "delta": said}


def stop(index: int = 0) -> dict[str, Any]:
    """The event that ends a block."""
    return {"type": "content_block_stop", "index": index}


def ending(reason: str = "end_turn", **usage: Any) -> tuple[dict[str, Any], ...]:
    """The two events that end an answer."""
    said = {"type": "message_delta", "delta": {"stop_reason": reason}, "usage": usage or None}
    return said, {"type": "message_stop"}


def text(said: str, index: int = 0) -> tuple[dict[str, Any], ...]:
    """The events of a block of text."""
    return (
        start(index, type="text", text=""),
        delta(index, type="text_delta", text=said),
        stop(index),
    )


# Reading.

_reading = Reading(AnthropicMessagesParser())
read, answer_of, failure_of = _reading.read, _reading.answer_of, _reading.failure_of
