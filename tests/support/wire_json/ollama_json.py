"""Responses as the JSON of Ollama's chat API, and the expected Locus values."""

from __future__ import annotations

import json
from typing import Any

import attrs
from hypothesis import strategies as st

from locus.core.messages import Message, TextPart, ThinkingPart
from locus.core.response import ModelResponse
from locus.testing.formats.stream_reader import StreamReader
from locus.wire.ollama_chat import OllamaChatParser
from tests.support.native_state import make_state
from tests.support.strategies import (
    CallContent,
    CandidateContent,
    ResponseContent,
    response_contents,
    text_splits,
)
from tests.support.wire_json.chat_json import build_expected_call

CREATED = "2025-10-01T12:00:00.123456789Z"
"""When a response was complete. Each chunk of a stream has a time of its own."""


# The expected Locus value, computed without Locus.


@st.composite
def expressible_responses(draw: st.DrawFn, valid_arguments: bool = True) -> ResponseContent:
    """Responses that this format can express: no refusals, and at most two token counts."""
    sample = draw(response_contents(valid_arguments=valid_arguments))
    candidate = attrs.evolve(sample.first, refusal=None)
    return attrs.evolve(
        sample, candidates=(candidate,), cached_tokens=None, reasoning_tokens=None, has_total=False
    )


def build_expected_response(sample: ResponseContent) -> ModelResponse:
    """Return the value that a response has to be parsed as."""
    candidate = sample.first
    content: Any = candidate.text or (None if candidate.calls else "")
    if candidate.reasoning:
        text_parts = [TextPart(candidate.text)] if candidate.text else []
        content = [ThinkingPart(candidate.reasoning), *text_parts]
    return ModelResponse(
        message=Message.assistant(
            content,
            [build_expected_call(call, None) for call in candidate.calls],
            native_state=make_state("ollama_chat") if candidate.reasoning else None,
        ),
        usage=sample.usage,
        stop_reason=candidate.stop,
        reasoning=candidate.reasoning,
        model=sample.model,
        logprobs=candidate.logprobs,
    )


# Complete responses.


def build_body(
    sample: ResponseContent, with_ids: bool = True, arguments_as_text: bool = False
) -> dict[str, Any]:
    """Return the body of a complete response, as Ollama sends it.

    :param with_ids: whether tool calls have ids; only newer servers send them.
    :param arguments_as_text: whether arguments are JSON text instead of an object.
    """
    message = _build_message(sample.first, with_ids, arguments_as_text)
    return _build_last_chunk(sample) | {"message": message}


def _build_message(
    candidate: CandidateContent, with_ids: bool, arguments_as_text: bool
) -> dict[str, Any]:
    message: dict[str, Any] = {"role": "assistant", "content": candidate.text or ""}
    if candidate.reasoning is not None:
        message["thinking"] = candidate.reasoning
    if candidate.calls:
        message["tool_calls"] = [
            _build_call(call, with_ids, arguments_as_text) for call in candidate.calls
        ]
    return message


def _build_call(call: CallContent, with_id: bool, arguments_as_text: bool) -> dict[str, Any]:
    is_valid = build_expected_call(call).malformed_arguments is None
    arguments: Any = json.loads(call.text) if is_valid and not arguments_as_text else call.text
    return ({"id": call.id} if with_id else {}) | {
        "function": {"name": call.name, "arguments": arguments}
    }


def _build_last_chunk(sample: ResponseContent) -> dict[str, Any]:
    chunk: dict[str, Any] = {
        "model": sample.model,
        "created_at": CREATED,
        "message": {"role": "assistant", "content": ""},
        "done": True,
        "done_reason": sample.first.stop,
        "total_duration": 5_043_500_667,
        "load_duration": 5_025_959,
    }
    if sample.prompt_tokens is not None:
        chunk |= {"prompt_eval_count": sample.prompt_tokens, "prompt_eval_duration": 325_953_000}
    if sample.completion_tokens is not None:
        chunk |= {"eval_count": sample.completion_tokens, "eval_duration": 4_709_213_000}
    return chunk


# Streamed responses.


@st.composite
def stream_chunks(
    draw: st.DrawFn,
    sample: ResponseContent,
    with_ids: bool = True,
    arguments_as_text: bool = False,
    without_noise: bool = False,
) -> list[dict[str, Any]]:
    """The chunks of a streamed response: text, thinking and calls split anywhere and interleaved.

    :param without_noise: leave out chunks without content.
    """
    message = _build_message(sample.first, with_ids, arguments_as_text)
    queues: list[list[dict[str, Any]]] = [
        [{name: delta} for delta in draw(text_splits(message[name]))]
        for name in ("content", "thinking")
        if message.get(name)
    ]
    calls = message.get("tool_calls", [])
    cuts = sorted(draw(st.lists(st.integers(0, len(calls)), max_size=2))) if calls else []
    groups = [calls[a:b] for a, b in zip([0, *cuts], [*cuts, len(calls)], strict=True)]
    queues.append([{"tool_calls": group} for group in groups if group])
    messages: list[dict[str, Any]] = []
    while queues := [queue for queue in queues if queue]:
        delta = queues[draw(st.integers(0, len(queues) - 1))].pop(0)
        messages.append({"role": "assistant", "content": ""} | delta)
    last_chunk = _build_last_chunk(sample)
    if messages and draw(st.booleans()):  # the last text may be in the last chunk
        last_chunk["message"] = messages.pop()
    chunks = [
        {
            "model": sample.model,
            "created_at": f"2025-10-01T12:00:00.{index:09}Z",
            "message": delta_message,
        }
        | draw(st.sampled_from([{"done": False}, {}]))
        for index, delta_message in enumerate(messages)
    ]
    for _ in range(0 if without_noise else draw(st.integers(0, 2))):
        chunks.insert(draw(st.integers(0, len(chunks))), draw(st.sampled_from(NOISE)))
    return [*chunks, last_chunk]


NOISE: tuple[dict[str, Any], ...] = (
    {},
    {"done": False},
    {"message": None, "done": None, "error": None},
    {"message": {"role": "assistant", "content": ""}},
    {"message": {"content": None, "thinking": None, "tool_calls": None}, "logprobs": None},
    {"model": "", "message": {"tool_calls": []}},
    {"future": {"member": [1]}},
)
"""Chunks without content."""


# Bytes.


@st.composite
def framed_streams(
    draw: st.DrawFn, chunks: list[dict[str, Any]], official_only: bool = False
) -> bytes:
    """The chunks as lines, with line ends and blank lines as servers may send them.

    :param official_only: only what the ``ollama`` package can parse: no blank lines, and in strings
        nothing that Unicode counts as a line end.
    """
    line_end = draw(st.sampled_from(["\n", "\n", "\r\n"]))
    ensure_ascii = official_only or draw(st.booleans())
    blank_lines = (
        st.just("") if official_only else st.sampled_from(["", "", "", line_end, " " + line_end])
    )
    lines = [
        draw(blank_lines) + json.dumps(chunk, ensure_ascii=ensure_ascii) + line_end
        for chunk in chunks
    ]
    text = "".join(lines)
    return (text.removesuffix(line_end) if draw(st.booleans()) else text).encode()


def encode_ndjson(*chunks: dict[str, Any] | str) -> bytes:
    """Return the chunks as newline-delimited JSON; a string is sent unchanged."""
    lines = [chunk if isinstance(chunk, str) else json.dumps(chunk) for chunk in chunks]
    return "".join(f"{line}\n" for line in lines).encode()


def make_chunk(**message: Any) -> dict[str, Any]:
    """Return a chunk that is not the last one."""
    return {
        "model": "m",
        "created_at": "t",
        "message": {"role": "assistant", "content": "", **message},
        "done": False,
    }


def make_last_chunk(**members: Any) -> dict[str, Any]:
    """Return the chunk that ends a response."""
    return {
        "model": "m",
        "created_at": CREATED,
        "message": {"role": "assistant", "content": ""},
        "done": True,
        "done_reason": "stop",
        **members,
    }


def is_complete_stream(prefix: bytes) -> bool:
    """Return whether the line that ends the response is there, decided without Locus."""
    for line in prefix.decode(errors="replace").split("\n"):
        try:
            if line.strip() and json.loads(line).get("done"):
                return True
        except ValueError:
            return False
    return False


# Decoding.

_reader = StreamReader(OllamaChatParser())
read_stream = _reader.read_stream
decode_response = _reader.decode_response
decode_failure = _reader.decode_failure
