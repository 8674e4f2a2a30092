"""Sample responses as chat completions JSON, complete and streamed, and the expected values."""

from __future__ import annotations

import json
from typing import Any

from hypothesis import strategies as st

from locus.core.messages import Message, RefusalPart, TextPart, ToolCall
from locus.core.response import Candidate, ModelResponse
from locus.wire.chat_completions import ChatCompletionsParser
from tests.support.decoding import StreamReader, parse_json_object
from tests.support.native_state import make_state, with_expected_call_state
from tests.support.strategies import CallContent, CandidateContent, ResponseContent, text_splits

CREATED = 1_700_000_000


# The expected values, built without Locus's code.


def build_expected_response(sample: ResponseContent) -> ModelResponse:
    """Build the expected ``ModelResponse``."""
    candidates = tuple(_build_expected_candidate(candidate) for candidate in sample.candidates)
    first = candidates[0]
    return ModelResponse(
        message=first.message,
        usage=sample.usage,
        stop_reason=first.stop_reason,
        reasoning=first.reasoning,
        model=sample.model,
        response_id=sample.id,
        logprobs=first.logprobs,
        candidates=candidates if len(candidates) > 1 else (),
    )


def _build_expected_candidate(candidate: CandidateContent) -> Candidate:
    content: Any = candidate.text or None
    if candidate.refusal:
        content = [
            *([TextPart(candidate.text)] if candidate.text else []),
            RefusalPart(candidate.refusal),
        ]
    elif not content and not candidate.calls:
        content = ""
    metadata = {"annotations": list(candidate.annotations)} if candidate.annotations else {}
    return Candidate(
        Message.assistant(
            content,
            [build_expected_call(call) for call in candidate.calls],
            metadata=metadata,
            native_state=make_state("chat_completions", {"reasoning_content": candidate.reasoning})
            if candidate.reasoning
            else None,
        ),
        candidate.stop,
        candidate.reasoning,
        candidate.logprobs,
    )


def build_expected_call(
    call: CallContent, wire_format: str | None = "chat_completions"
) -> ToolCall:
    """Build the expected call; its arguments are decoded by the standard library.

    :param wire_format: the format of its native state; None for a format whose calls have none.
    """
    arguments = call.text if call.custom else parse_json_object(call.text)
    if isinstance(arguments, dict):
        return with_expected_call_state(ToolCall(call.id, call.name, arguments), wire_format)
    members = {"type": "custom"} if call.custom else {}
    malformed = ToolCall(call.id, call.name, malformed_arguments=call.text)
    return with_expected_call_state(malformed, wire_format, **members)


# Complete responses.


def build_body(sample: ResponseContent, with_ids: bool = True) -> dict[str, Any]:
    """Build the body of a complete response; ``with_ids=False`` leaves out the ids of calls."""
    body: dict[str, Any] = {
        "id": sample.id,
        "object": "chat.completion",
        "created": CREATED,
        "model": sample.model,
        "choices": [
            {
                "index": index,
                "message": _build_message(candidate, with_ids),
                "logprobs": candidate.logprobs,
                "finish_reason": candidate.stop,
            }
            for index, candidate in enumerate(sample.candidates)
        ],
        "system_fingerprint": "fp_1",
    }
    if sample.usage:
        body["usage"] = build_usage(sample)
    return body


def _build_message(candidate: CandidateContent, ids: bool) -> dict[str, Any]:
    message: dict[str, Any] = {
        "role": "assistant",
        "content": candidate.text,
        "refusal": candidate.refusal,
    }
    if candidate.reasoning is not None:
        message["reasoning_content"] = candidate.reasoning
    if candidate.calls:
        message["tool_calls"] = [_build_call(call, ids) for call in candidate.calls]
    if candidate.annotations:
        message["annotations"] = list(candidate.annotations)
    return message


def _build_call(call: CallContent, ids: bool) -> dict[str, Any]:
    call_type = "custom" if call.custom else "function"
    call_fields = {"name": call.name, "input" if call.custom else "arguments": call.text}
    return ({"id": call.id} if ids else {}) | {"type": call_type, call_type: call_fields}


def build_usage(sample: ResponseContent) -> dict[str, Any]:
    """Token counts as OpenAI sends them."""
    counts: dict[str, Any] = {
        "prompt_tokens": sample.prompt_tokens,
        "completion_tokens": sample.completion_tokens,
        "total_tokens": sample.total_tokens,
    }
    if sample.cached_tokens is not None:
        counts["prompt_tokens_details"] = {
            "cached_tokens": sample.cached_tokens,
            "audio_tokens": None,
        }
    if sample.reasoning_tokens is not None:
        counts["completion_tokens_details"] = {
            "reasoning_tokens": sample.reasoning_tokens,
            "audio_tokens": None,
        }
    return counts


# Responses in chunks. How servers send tool calls:

STYLES = (
    "openai",  # an index in every delta, id and name in the first
    "ids",  # no index, the id in every delta
    "neither",  # no index, the id in the first delta, one call after the other
    "names",  # as "openai", with the name in every delta
    "noids",  # an index, and no id at all
    "complete",  # each call in one delta, no index
    "zero",  # one call after the other, all with the index 0
    "zero-complete",  # each call in one delta, all with the index 0, no ids (Gemini)
    "object",  # each call in one delta, the arguments an object and not text
)
WITHOUT_IDS = ("noids", "zero-complete")
CALL_AFTER_CALL = ("neither", "zero", "zero-complete", "complete", "object")


@st.composite
def stream_chunks(
    draw: st.DrawFn, sample: ResponseContent, style: str = "openai", official_only: bool = False
) -> list[dict[str, Any]]:
    """The chunks of a streamed response.

    The deltas of text, reasoning, refusal and each call are split anywhere and interleaved.
    ``official_only`` leaves out what only other servers do.
    """
    queues: list[list[tuple[int, dict[str, Any]]]] = []
    for index, candidate in enumerate(sample.candidates):
        queues += [
            [(index, delta) for delta in deltas]
            for deltas in draw(_deltas(candidate, style))
            if deltas
        ]
    deltas: list[tuple[int, dict[str, Any]]] = []
    if official_only or style == "ids":  # where nothing else defines their order
        deltas += [queue.pop(0) for queue in queues]
    while queues := [queue for queue in queues if queue]:
        deltas.append(queues[draw(st.integers(0, len(queues) - 1))].pop(0))

    chunks = [
        _build_chunk(
            sample, index, {"role": "assistant", "content": "" if draw(st.booleans()) else None}
        )
        for index in range(len(sample.candidates))
    ]
    max_merged = draw(st.integers(1, 3))
    chunks += [
        _build_chunk(sample, index, delta) for index, delta in _merge_deltas(deltas, max_merged)
    ]
    for index, candidate in enumerate(sample.candidates):
        last = _build_chunk(sample, index, {}, candidate.stop)
        if not official_only and draw(st.booleans()):
            last["choices"][0]["delta"] = None
        chunks.append(last)
    if sample.usage:
        if draw(st.booleans()):
            chunks.append(_build_chunk(sample) | {"usage": build_usage(sample)})
        else:
            chunks[-1]["usage"] = build_usage(sample)
    if not official_only:
        for _ in range(draw(st.integers(0, 2))):
            noise = draw(st.sampled_from(NOISE))
            chunks.insert(draw(st.integers(0, len(chunks))), noise)
    return chunks


def _merge_deltas(
    deltas: list[tuple[int, dict[str, Any]]], most: int
) -> list[tuple[int, dict[str, Any]]]:
    """Up to ``most`` deltas of one candidate in one, if they have different members."""
    chunks: list[tuple[int, dict[str, Any]]] = []
    for index, delta in deltas:
        previous_index, candidate = chunks[-1] if chunks else (None, {})
        if (
            previous_index == index
            and len(candidate) < most
            and not candidate.keys() & delta.keys()
        ):
            chunks[-1] = (index, candidate | delta)
        else:
            chunks.append((index, delta))
    return chunks


# Chunks without content, as some servers send them.
NOISE: tuple[dict[str, Any], ...] = (
    {"choices": []},
    {"id": "", "model": "", "choices": [], "prompt_filter_results": []},  # Azure's first chunk
    {"choices": [{"index": 0, "delta": None, "finish_reason": None}]},
    {"choices": [{"index": 0, "delta": {}, "finish_reason": ""}], "usage": None},
    {"choices": [{"delta": {"content": None, "tool_calls": None, "reasoning": None}}]},
    {"choices": None, "id": None, "error": None},
    {"object": "ping"},
)


def _build_chunk(
    sample: ResponseContent,
    index: int | None = None,
    delta: dict[str, Any] | None = None,
    finish_reason: str | None = None,
) -> dict[str, Any]:
    choices = []
    if index is not None:
        choice = {"index": index, "delta": delta, "logprobs": None, "finish_reason": finish_reason}
        choices.append(choice)
    return {
        "id": sample.id,
        "object": "chat.completion.chunk",
        "created": CREATED,
        "model": sample.model,
        "choices": choices,
    }


@st.composite
def _deltas(draw: st.DrawFn, candidate: CandidateContent, style: str) -> list[list[dict[str, Any]]]:
    """The deltas of one candidate: sequences that may be interleaved with one another."""
    chunks = []
    for name, text in (
        ("content", candidate.text),
        ("reasoning_content", candidate.reasoning),
        ("refusal", candidate.refusal),
    ):
        if text is not None:
            chunks.append([{name: chunk} for chunk in draw(text_splits(text))])
    calls = [
        [{"tool_calls": [delta]} for delta in draw(_call_deltas(call, index, style))]
        for index, call in enumerate(candidate.calls)
    ]
    if style in CALL_AFTER_CALL:
        joined = [delta for deltas in calls for delta in deltas]
        if style in ("complete", "object") and joined and draw(st.booleans()):  # all in one chunk
            joined = [{"tool_calls": [delta["tool_calls"][0] for delta in joined]}]
        calls = [joined]
    return chunks + calls


@st.composite
def _call_deltas(
    draw: st.DrawFn, call: CallContent, index: int, style: str
) -> list[dict[str, Any]]:
    call_type, content = ("custom", "input") if call.custom else ("function", "arguments")
    if style == "object" and not call.custom:
        arguments = json.loads(call.text)
        return [
            {
                "id": call.id,
                "type": call_type,
                call_type: {"name": call.name, "arguments": arguments},
            }
        ]
    argument_deltas = (
        [call.text]
        if style in ("complete", "zero-complete", "object")
        else draw(text_splits(call.text))
    )
    deltas: list[dict[str, Any]] = [{call_type: {content: chunk}} for chunk in argument_deltas]
    deltas[0] |= {"id": call.id, "type": call_type}
    deltas[0][call_type]["name"] = call.name
    for delta in deltas:
        if style in ("openai", "names", "noids"):
            delta["index"] = index
        if style in ("zero", "zero-complete"):
            delta["index"] = 0
        if style == "ids":
            delta["id"] = call.id
        if style == "names":
            delta[call_type]["name"] = call.name
        if style in WITHOUT_IDS:
            delta.pop("id", None)
    return deltas


# Bytes.


@st.composite
def framed_streams(
    draw: st.DrawFn, chunks: list[dict[str, Any]], done: bool = True, official_only: bool = False
) -> bytes:
    """Encode chunks as server-sent events, with different line ends, comments and fields."""
    end = draw(st.sampled_from(["\n", "\n", "\r\n", "\r"]))
    space = draw(st.sampled_from([" ", "" if not official_only else " "]))
    ascii_ = draw(st.booleans())
    indent = draw(st.sampled_from([None, None, None, 1]))
    noise = ["", ": keep-alive" + end + end, "event: message" + end, ":" + end]
    if not official_only:  # once there was an id, the SDK takes a comment for an event
        noise.append("id: 7" + end)
    events = []
    for chunk in chunks:
        text = json.dumps(chunk, ensure_ascii=ascii_, indent=indent)
        lines = "".join(f"data:{space}{line}{end}" for line in text.split("\n"))
        events.append(draw(st.sampled_from(noise)) + lines + end)
    if done:
        events.append(f"data:{space}[DONE]{end}{end}")
    return "".join(events).encode()


def encode_sse(*chunks: dict[str, Any] | str, done: bool = False) -> bytes:
    """Encode chunks as OpenAI does; strings are sent unchanged."""
    events = [chunk if isinstance(chunk, str) else json.dumps(chunk) for chunk in chunks]
    return "".join(f"data: {event}\n\n" for event in events + ["[DONE]"] * done).encode()


def make_delta_chunk(
    candidate: dict[str, Any] | None = None, finish_reason: str | None = None
) -> dict[str, Any]:
    """Return a chunk with one delta."""
    return {
        "id": "1",
        "choices": [{"index": 0, "delta": candidate, "finish_reason": finish_reason}],
    }


def is_complete_stream(prefix: bytes) -> bool:
    """Return whether a stream that ends here is complete, by rules of its own.

    It holds ``[DONE]``; or every candidate has its finish reason, and the stream ends between lines
    or directly after an event.
    """
    text = prefix.decode(errors="replace").replace("\r\n", "\n").replace("\r", "\n")
    *blocks, rest = text.split("\n\n")
    finished = {0: False}
    for index, block in enumerate([*blocks, rest]):
        lines = [line[5:].removeprefix(" ") for line in block.split("\n") if line[:5] == "data:"]
        data = "\n".join(lines)
        if data == "[DONE]":
            return True
        if data:
            try:
                chunk = json.loads(data)
            except ValueError:
                assert index == len(blocks)
                return False
            for choice in chunk.get("choices") or ():
                index = choice.get("index", 0)
                finished[index] = finished.get(index, False) or bool(choice.get("finish_reason"))
        elif index == len(blocks) and not ("\n" + block).endswith("\n"):
            return False
    return all(finished.values())


# Reading.

_reader = StreamReader(ChatCompletionsParser())
read_stream, decode_response, decode_failure = (
    _reader.read_stream,
    _reader.decode_response,
    _reader.decode_failure,
)
