"""Responses as the JSON of OCI's generic format, and the expected Locus values."""

from __future__ import annotations

import json
from typing import Any

import attrs
from hypothesis import strategies as st

from locus.core.messages import Message, RefusalPart, TextPart, ThinkingPart
from locus.core.response import Candidate, ModelResponse
from locus.testing.formats.stream_reader import StreamReader
from locus.wire.oci_chat import GenericChatParser
from tests.support.native_state import make_state
from tests.support.strategies import (
    CallContent,
    CandidateContent,
    ResponseContent,
    response_contents,
    text_splits,
    texts,
)
from tests.support.wire_json.chat_json import build_expected_call

CREATED = "2025-10-01T12:00:00.123000Z"


@st.composite
def expressible_responses(
    draw: st.DrawFn,
    max_candidates: int = 1,
    valid_arguments: bool = False,
    with_model: bool = False,
) -> ResponseContent:
    """Responses that this format can express.

    :param with_model: whether they name the model, which only complete responses do.
    """
    sample = draw(response_contents(max_candidates=max_candidates, valid_arguments=valid_arguments))
    candidates = tuple(_add_oci_members(draw, candidate) for candidate in sample.candidates)
    model = sample.model if with_model else ""
    return attrs.evolve(sample, candidates=candidates, model=model)


def _add_oci_members(draw: st.DrawFn, candidate: CandidateContent) -> CandidateContent:
    if draw(st.integers(0, 3)) == 3:
        tokens = draw(st.lists(texts(), max_size=3))
        count = len(tokens)
        candidate = attrs.evolve(
            candidate,
            logprobs={
                "tokens": tokens,
                "tokenLogprobs": draw(st.lists(st.floats(-9, 0), min_size=count, max_size=count)),
                "textOffset": list(range(count)),
                "topLogprobs": [{token: "-0.5"} for token in tokens],
            },
        )
    if draw(st.integers(0, 3)) == 3:
        citation = {"startIndex": 0, "endIndex": 3, "title": draw(texts()), "url": "https://x"}
        annotation = {"type": "url_citation", "urlCitation": citation}
        candidate = attrs.evolve(candidate, annotations=(annotation,))
    return candidate


# The expected Locus value, computed without Locus.


def build_expected_response(sample: ResponseContent) -> ModelResponse:
    """Return the value that a response has to be parsed as."""
    candidates = tuple(_build_expected_candidate(candidate) for candidate in sample.candidates)
    first = candidates[0]
    return ModelResponse(
        message=first.message,
        usage=sample.usage,
        stop_reason=first.stop_reason,
        reasoning=first.reasoning,
        model=sample.model or None,
        logprobs=first.logprobs,
        candidates=candidates if len(candidates) > 1 else (),
    )


def _build_expected_candidate(candidate: CandidateContent) -> Candidate:
    content: Any = candidate.text or (None if candidate.calls else "")
    if candidate.reasoning or candidate.refusal:
        content = [
            *([ThinkingPart(candidate.reasoning)] if candidate.reasoning else []),
            *([TextPart(candidate.text)] if candidate.text else []),
            *([RefusalPart(candidate.refusal)] if candidate.refusal else []),
        ]
    calls = [build_expected_call(call, "oci_generic") for call in candidate.calls]
    metadata = {"annotations": list(candidate.annotations)} if candidate.annotations else {}
    state = make_state("oci_generic") if candidate.reasoning else None
    return Candidate(
        Message.assistant(content, calls, metadata=metadata, native_state=state),
        candidate.stop,
        candidate.reasoning,
        candidate.logprobs,
    )


# Complete responses.


def build_body(sample: ResponseContent, with_ids: bool = True) -> dict[str, Any]:
    """Return the body of a complete response.

    :param with_ids: whether tool calls have ids; Gemini sends none.
    """
    chat_response: dict[str, Any] = {
        "apiFormat": "GENERIC",
        "timeCreated": CREATED,
        "choices": [
            build_choice(candidate, index, with_ids=with_ids)
            for index, candidate in enumerate(sample.candidates)
        ],
    }
    if sample.usage:
        chat_response["usage"] = build_usage(sample)
    body: dict[str, Any] = {"modelVersion": "1.0", "chatResponse": chat_response}
    return body | ({"modelId": sample.model} if sample.model else {})


def build_choice(
    candidate: CandidateContent, index: int = 0, with_ids: bool = True
) -> dict[str, Any]:
    """Return a choice of a complete response."""
    message: dict[str, Any] = {"role": "ASSISTANT"}
    if candidate.text is not None:
        message["content"] = [make_text_content(candidate.text)]
    if candidate.reasoning is not None:
        message["reasoningContent"] = candidate.reasoning
    if candidate.refusal is not None:
        message["refusal"] = candidate.refusal
    if candidate.calls:
        message["toolCalls"] = [build_function_call(call, with_ids) for call in candidate.calls]
    if candidate.annotations:
        message["annotations"] = list(candidate.annotations)
    choice = {"index": index, "message": message, "finishReason": candidate.stop}
    return choice | ({"logprobs": candidate.logprobs} if candidate.logprobs is not None else {})


def make_text_content(text: str) -> dict[str, Any]:
    """Return a text part of a message."""
    return {"type": "TEXT", "text": text}


def build_function_call(call: CallContent, with_id: bool = True) -> dict[str, Any]:
    """Return a complete tool call."""
    function_call = {"type": "FUNCTION", "name": call.name, "arguments": call.text}
    return ({"id": call.id} if with_id else {}) | function_call


def build_usage(sample: ResponseContent) -> dict[str, Any]:
    """Token counts, as OCI sends them."""
    usage: dict[str, Any] = {
        "promptTokens": sample.prompt_tokens,
        "completionTokens": sample.completion_tokens,
        "totalTokens": sample.total_tokens,
    }
    if sample.cached_tokens is not None:
        usage["promptTokensDetails"] = {"cachedTokens": sample.cached_tokens}
    if sample.reasoning_tokens is not None:
        usage["completionTokensDetails"] = {"reasoningTokens": sample.reasoning_tokens}
    return usage


# Streamed responses. How the models behind the service send tool calls:

CALL_STYLES = (
    "deltas",  # id and name in the first delta, only arguments in the others (Llama)
    "blank",  # the same, with an empty id and name in the others
    "last",  # the same, and an empty call in the chunk that ends the choice
    "complete",  # each complete call in a chunk (Grok)
    "together",  # all complete calls in one chunk
    "side by side",  # deltas of all calls in each chunk, in the order of the calls
    "noids",  # each complete call in a chunk, without ids (Gemini)
    "ids",  # the id in every delta, calls interleaved
    "indexes",  # OpenAI's index in every delta, calls interleaved
    "object",  # each complete call in a chunk, the arguments an object and not text
)
STYLES_WITHOUT_IDS = ("noids",)
_INTERLEAVED_STYLES = ("ids", "indexes")


@st.composite
def stream_chunks(
    draw: st.DrawFn, sample: ResponseContent, style: str = "deltas"
) -> list[dict[str, Any]]:
    """The chunks of a streamed response: its deltas split anywhere, and interleaved."""
    queues: list[list[dict[str, Any]]] = []
    for index, candidate in enumerate(sample.candidates):
        queues += [
            [_build_chunk(index, delta) for delta in deltas]
            for deltas in draw(_deltas(candidate, style))
        ]
    chunks: list[dict[str, Any]] = []
    while queues := [queue for queue in queues if queue]:
        chunks.append(queues[draw(st.integers(0, len(queues) - 1))].pop(0))
    for index, candidate in enumerate(sample.candidates):
        if candidate.logprobs is not None:
            chunks.append({"index": index, "logprobs": candidate.logprobs})
        last_chunk: dict[str, Any] = {"finishReason": candidate.stop}
        if index or draw(
            st.booleans()
        ):  # the service leaves out the index of the first choice here
            last_chunk["index"] = index
        if style == "last" and candidate.calls:
            empty_call = {"type": "FUNCTION", "arguments": ""}
            last_chunk["message"] = {"role": "ASSISTANT", "toolCalls": [empty_call]}
        elif draw(st.booleans()):
            last_chunk["message"] = {"role": "ASSISTANT", "content": [make_text_content("")]}
        chunks.append(last_chunk)
    if sample.usage:
        usage = {"usage": build_usage(sample)}
        if draw(st.booleans()):
            chunks.append(usage)
        else:
            chunks[-1] |= usage
    for _ in range(draw(st.integers(0, 2))):
        chunks.insert(draw(st.integers(0, len(chunks))), draw(st.sampled_from(NOISE)))
    return [chunk | {"pad": "a" * (index % 12)} for index, chunk in enumerate(chunks)]


NOISE: tuple[dict[str, Any], ...] = (
    {},
    {"serviceTier": "default"},
    {"index": 0, "message": {"role": "ASSISTANT"}},
    {"index": 0, "message": {"role": "ASSISTANT", "content": [make_text_content("")]}},
    {"index": 0, "message": {"role": "ASSISTANT", "content": None, "toolCalls": None}},
    {"message": {"role": "ASSISTANT", "toolCalls": [{"type": "FUNCTION", "arguments": ""}]}},
    {"message": None, "finishReason": None, "usage": None, "logprobs": None},
    {"finishReason": ""},
)
"""Chunks without content."""


def _build_chunk(index: int, delta: dict[str, Any]) -> dict[str, Any]:
    return {"index": index, "message": {"role": "ASSISTANT", **delta}}


@st.composite
def _deltas(draw: st.DrawFn, candidate: CandidateContent, style: str) -> list[list[dict[str, Any]]]:
    """The deltas of one candidate: sequences that may be interleaved with one another."""
    sequences: list[list[dict[str, Any]]] = []
    if candidate.text is not None:
        text_chunks = draw(text_splits(candidate.text))
        sequences.append([{"content": [make_text_content(chunk)]} for chunk in text_chunks])
    for name, text in (
        ("reasoningContent", candidate.reasoning),
        ("refusal", candidate.refusal),
    ):
        if text is not None:
            sequences.append([{name: chunk} for chunk in draw(text_splits(text))])
    if candidate.annotations:
        sequences.append([{"annotations": list(candidate.annotations)}])
    calls = [draw(_call_deltas(call, index, style)) for index, call in enumerate(candidate.calls)]
    if style == "side by side" and calls:
        longest = max(map(len, calls))
        empty = {"type": "FUNCTION", "arguments": ""}
        padded = [deltas + [empty] * (longest - len(deltas)) for deltas in calls]
        sequences.append([{"toolCalls": list(row)} for row in zip(*padded, strict=True)])
    elif style == "together" and calls:
        sequences.append([{"toolCalls": [delta for deltas in calls for delta in deltas]}])
    elif style in _INTERLEAVED_STYLES:
        heads = [{"toolCalls": [deltas.pop(0)]} for deltas in calls]
        order = draw(st.permutations(range(len(calls))))
        tails = [{"toolCalls": [delta]} for index in order for delta in calls[index]]
        sequences.append([*heads, *tails])  # calls begin in their order, and continue in any order
    else:
        sequences.append([{"toolCalls": [delta]} for deltas in calls for delta in deltas])
    return sequences


@st.composite
def _call_deltas(
    draw: st.DrawFn, call: CallContent, index: int, style: str
) -> list[dict[str, Any]]:
    if style in ("complete", "together", "noids", "object"):
        function_call = build_function_call(call, with_id=style not in STYLES_WITHOUT_IDS)
        if style == "object":
            function_call["arguments"] = json.loads(call.text)
        return [function_call]
    blank = {"id": "", "name": ""} if style == "blank" else {}
    first = {"id": call.id, "type": "FUNCTION", "name": call.name}
    if draw(st.booleans()):
        first["arguments"] = ""
    deltas = [
        first,
        *(
            {"type": "FUNCTION", "arguments": chunk, **blank}
            for chunk in draw(text_splits(call.text))
        ),
    ]
    for delta in deltas:
        if style == "ids":
            delta["id"] = call.id
        if style == "indexes":
            delta["index"] = index
    return deltas


def make_chunk(
    text: str | None = None, finish_reason: str | None = None, **members: Any
) -> dict[str, Any]:
    """Return a chunk with one delta; ``members`` are further members of its message."""
    message = {"role": "ASSISTANT"} | (
        {} if text is None else {"content": [make_text_content(text)]}
    )
    ending = {} if finish_reason is None else {"finishReason": finish_reason}
    return {"index": 0, "message": message | members, **ending}


def is_complete_stream(prefix: bytes) -> bool:
    """Return whether a stream that ends here is complete, decided without Locus.

    It contains ``[DONE]``; or every choice that has begun has its finish reason, and the end is
    between lines or directly after a chunk.
    """
    stream = prefix.decode(errors="replace").replace("\r\n", "\n").replace("\r", "\n")
    *blocks, rest = stream.split("\n\n")
    is_finished = {0: False}
    for block_index, block in enumerate([*blocks, rest]):
        lines = [line[5:].removeprefix(" ") for line in block.split("\n") if line[:5] == "data:"]
        data = "\n".join(lines)
        if data == "[DONE]":
            return True
        if data:
            try:
                chunk = json.loads(data)
            except ValueError:
                assert block_index == len(blocks)
                return False
            if chunk.keys() & {"message", "finishReason", "logprobs"}:
                index = chunk.get("index", 0)
                is_finished[index] = is_finished.get(index, False) or bool(
                    chunk.get("finishReason")
                )
        elif block_index == len(blocks) and not ("\n" + block).endswith("\n"):
            return False
    return all(is_finished.values())


_reader = StreamReader(GenericChatParser())
read_stream = _reader.read_stream
decode_response = _reader.decode_response
decode_failure = _reader.decode_failure
