"""Responses as the JSON of Anthropic's Messages API: complete bodies, and the chunks of streams."""

from __future__ import annotations

import json
from typing import Any

from hypothesis import strategies as st

from locus.testing.formats.stream_reader import StreamReader
from locus.wire.anthropic_messages import AnthropicMessagesParser
from tests.support.anthropic_responses import AnthropicResponse, Block
from tests.support.strategies import text_splits

# Complete responses.


def build_body(sample: AnthropicResponse) -> dict[str, Any]:
    """Return the body of a complete response."""
    return {
        "id": sample.id,
        "type": "message",
        "role": "assistant",
        "model": sample.model,
        "content": list(sample.blocks),
        **_build_stop_members(sample),
        "usage": {"input_tokens": sample.input_tokens, **_build_final_usage(sample)},
    }


def _build_stop_members(sample: AnthropicResponse) -> dict[str, Any]:
    details = None
    if sample.stop_reason == "refusal":
        explanation = sample.refusal_explanation
        details = {"type": "refusal", "category": None, "explanation": explanation}
    return {
        "stop_reason": sample.stop_reason,
        "stop_sequence": sample.stop_sequence,
        "stop_details": details,
    }


def _build_final_usage(sample: AnthropicResponse) -> dict[str, Any]:
    usage: dict[str, Any] = {
        "cache_creation_input_tokens": sample.cache_creation_tokens,
        "cache_read_input_tokens": sample.cache_read_tokens,
        "output_tokens": sample.output_tokens,
    }
    if sample.thinking_tokens is not None:
        usage["output_tokens_details"] = {"thinking_tokens": sample.thinking_tokens}
    return usage


# Streamed responses.

NOISE: tuple[dict[str, Any], ...] = (
    {"type": "ping"},
    {"type": "an_event_of_next_year", "index": 0, "delta": {"text": "no"}},
    {"type": "content_block_delta", "index": 0},
    {"type": "message_delta", "delta": {}, "usage": None},
)
"""Chunks that a decoder has to ignore."""


@st.composite
def stream_chunks(
    draw: st.DrawFn, sample: AnthropicResponse, official_only: bool = False
) -> list[dict[str, Any]]:
    """The chunks of a streamed response.

    :param official_only: leave out what the API does not send today.
    """
    message = build_body(sample) | {"content": [], "stop_reason": None, "stop_sequence": None}
    message["stop_details"] = None
    message["usage"] = {"input_tokens": sample.input_tokens, "output_tokens": 1}
    if sample.cache_read_tokens is not None and draw(st.booleans()):  # a first count, or none
        message["usage"]["cache_read_input_tokens"] = sample.cache_read_tokens // 2
    chunks: list[dict[str, Any]] = [{"type": "message_start", "message": message}]
    for index, block in enumerate(sample.blocks):
        start_block, deltas = draw(_block_deltas(block, sample.input_json.get(index, "")))
        chunks.append({"type": "content_block_start", "index": index, "content_block": start_block})
        chunks += [
            {"type": "content_block_delta", "index": index, "delta": delta} for delta in deltas
        ]
        chunks.append({"type": "content_block_stop", "index": index})
    usage = _build_final_usage(sample)
    if draw(st.booleans()):
        usage["input_tokens"] = sample.input_tokens
    chunks.append({"type": "message_delta", "delta": _build_stop_members(sample), "usage": usage})
    for _ in range(draw(st.integers(0, 2))):
        noise = {"type": "ping"} if official_only else draw(st.sampled_from(NOISE))
        chunks.insert(draw(st.integers(1, len(chunks))), noise)
    return [*chunks, {"type": "message_stop"}]


@st.composite
def _block_deltas(
    draw: st.DrawFn, block: Block, input_json: str
) -> tuple[Block, list[dict[str, Any]]]:
    """The block of ``content_block_start``, and the deltas that complete it."""
    match block["type"]:
        case "text":
            deltas = [{"type": "text_delta", "text": t} for t in draw(text_splits(block["text"]))]
            start_block = {**block, "text": ""}
            if block["citations"] is not None:
                start_block["citations"] = []
                deltas += [
                    {"type": "citations_delta", "citation": citation}
                    for citation in block["citations"]
                ]
            return start_block, deltas
        case "thinking":
            deltas = [
                {"type": "thinking_delta", "thinking": t}
                for t in draw(text_splits(block["thinking"]))
            ]
            deltas.append({"type": "signature_delta", "signature": block["signature"]})
            return {**block, "thinking": "", "signature": ""}, deltas
        case "tool_use" | "server_tool_use":
            if block["input"] == {} and draw(st.booleans()):
                input_json = ""
            return {**block, "input": {}}, [
                {"type": "input_json_delta", "partial_json": chunk}
                for chunk in draw(text_splits(input_json))
            ]
    return block, []


# Bytes.


@st.composite
def framed_streams(draw: st.DrawFn, chunks: list[dict[str, Any]]) -> bytes:
    """The chunks as server-sent events, with line ends and comments as servers may send them."""
    line_end = draw(st.sampled_from(["\n", "\n", "\r\n", "\r"]))
    ensure_ascii = draw(st.booleans())
    indent = draw(st.sampled_from([None, None, None, 1]))
    comments = ["", "", ": keep-alive" + line_end + line_end, "id: 7" + line_end]
    lines = []
    for chunk in chunks:
        text = json.dumps(chunk, ensure_ascii=ensure_ascii, indent=indent)
        lines.append(draw(st.sampled_from(comments)) + f"event: {chunk['type']}{line_end}")
        lines += [f"data: {line}{line_end}" for line in text.split("\n")]
        lines.append(line_end)
    return "".join(lines).encode()


def encode_sse(*chunks: dict[str, Any] | str) -> bytes:
    """Return the chunks as server-sent events in Anthropic's form; a string is sent unchanged."""
    lines = []
    for chunk in chunks:
        name = chunk["type"] if isinstance(chunk, dict) and "type" in chunk else "x"
        data = chunk if isinstance(chunk, str) else json.dumps(chunk)
        lines.append(f"event: {name}\ndata: {data}\n\n")
    return "".join(lines).encode(errors="replace")


def make_block_start(index: int = 0, **block: Any) -> dict[str, Any]:
    """Return the chunk that starts a block."""
    return {"type": "content_block_start", "index": index, "content_block": block}


def make_block_delta(index: int = 0, **delta: Any) -> dict[str, Any]:
    """Return the chunk with a delta of a block."""
    return {"type": "content_block_delta", "index": index, "delta": delta}


def make_block_stop(index: int = 0) -> dict[str, Any]:
    """Return the chunk that ends a block."""
    return {"type": "content_block_stop", "index": index}


def make_last_chunks(stop_reason: str = "end_turn", **usage: Any) -> tuple[dict[str, Any], ...]:
    """Return the two chunks that end a response."""
    delta = {"stop_reason": stop_reason}
    return (
        {"type": "message_delta", "delta": delta, "usage": usage or None},
        {"type": "message_stop"},
    )


def make_text_chunks(text: str, index: int = 0) -> tuple[dict[str, Any], ...]:
    """Return the chunks of a text block."""
    return (
        make_block_start(index, type="text", text=""),
        make_block_delta(index, type="text_delta", text=text),
        make_block_stop(index),
    )


# Decoding.

_reader = StreamReader(AnthropicMessagesParser())
read_stream = _reader.read_stream
decode_response = _reader.decode_response
decode_failure = _reader.decode_failure
