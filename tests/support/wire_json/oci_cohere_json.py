"""Responses as the JSON of Cohere's two formats on OCI, and the expected Locus values.

The chunks are like those that were observed on the service; see ``cohere_v1_stream`` and
``cohere_v2_stream`` in ``locus.wire.oci_chat``.
"""

from __future__ import annotations

import json
from typing import Any

import attrs
from hypothesis import strategies as st

from locus.core.messages import Message, TextPart, ThinkingPart
from locus.core.response import ModelResponse
from locus.testing.formats.stream_reader import StreamReader
from locus.wire.oci_chat import CohereV1ChatParser, CohereV2ChatParser
from tests.support.native_state import make_state
from tests.support.strategies import (
    CallContent,
    ResponseContent,
    response_contents,
    text_splits,
    texts,
)
from tests.support.wire_json.chat_json import build_expected_call
from tests.support.wire_json.oci_generic_json import build_usage

USER_ENTRY = {"role": "USER", "message": "hello"}


def without_generated_ids(response: ModelResponse) -> ModelResponse:
    """Return a copy of a response with call ids as ``tests.support.strategies`` makes them."""
    calls = [
        attrs.evolve(call, id=f"call_{index}")
        for index, call in enumerate(response.message.tool_calls)
    ]
    return attrs.evolve(response, message=attrs.evolve(response.message, tool_calls=calls))


# -- the first format ----------------------------------------------------------------------------

V1_FINISH_REASONS = (
    "COMPLETE",
    "MAX_TOKENS",
    "ERROR_TOXIC",
    "ERROR_LIMIT",
    "USER_CANCEL",
    "NEXT_YEARS",
)


@st.composite
def v1_expressible_responses(
    draw: st.DrawFn, valid_arguments: bool = False, with_model: bool = False
) -> ResponseContent:
    """Responses that the first format can express.

    :param with_model: whether they name the model, which only complete responses do.
    """
    sample = draw(response_contents(valid_arguments=valid_arguments))
    citation = {"start": 0, "end": 3, "text": draw(texts()), "documentIds": ["doc_0"]}
    candidate = attrs.evolve(
        sample.first,
        reasoning=None,
        refusal=None,
        stop=draw(st.sampled_from(V1_FINISH_REASONS)),
        annotations=(citation,) if draw(st.booleans()) else (),
    )
    return attrs.evolve(sample, candidates=(candidate,), model=sample.model if with_model else "")


def build_v1_expected_response(sample: ResponseContent) -> ModelResponse:
    """Return the value that a response has to be parsed as, after :func:`without_generated_ids`."""
    candidate = sample.first
    return ModelResponse(
        message=Message.assistant(
            candidate.text or (None if candidate.calls else ""),
            [build_expected_call(call, None) for call in candidate.calls],
            metadata={"citations": list(candidate.annotations)} if candidate.annotations else {},
        ),
        usage=sample.usage,
        stop_reason=candidate.stop,
        model=sample.model or None,
    )


def build_v1_body(sample: ResponseContent) -> dict[str, Any]:
    """Return the body of a complete response."""
    body = {"modelVersion": "1.7", "chatResponse": build_v1_chat_response(sample)}
    return body | ({"modelId": sample.model} if sample.model else {})


def build_v1_chat_response(sample: ResponseContent) -> dict[str, Any]:
    """Return the ``chatResponse``."""
    candidate = sample.first
    calls = [build_v1_call(call) for call in candidate.calls]
    entry = {"role": "CHATBOT", "message": candidate.text} | ({"toolCalls": calls} if calls else {})
    chat_response: dict[str, Any] = {
        "apiFormat": "COHERE",
        "text": candidate.text or "",
        "chatHistory": [USER_ENTRY, entry],
        "finishReason": candidate.stop,
    }
    if calls:
        chat_response["toolCalls"] = calls
    if candidate.annotations:
        chat_response["citations"] = list(candidate.annotations)
    if sample.usage:
        chat_response["usage"] = build_usage(sample)
    return chat_response


def build_v1_call(call: CallContent) -> dict[str, Any]:
    """Return a tool call; arguments that are not an object are sent as text."""
    is_valid = build_expected_call(call).malformed_arguments is None
    return {"name": call.name, "parameters": json.loads(call.text) if is_valid else call.text}


@st.composite
def v1_stream_chunks(draw: st.DrawFn, sample: ResponseContent) -> list[dict[str, Any]]:
    """The chunks of a streamed response; those with calls, and the last, repeat the text."""
    candidate = sample.first
    chunks = [make_v1_chunk(chunk) for chunk in draw(text_splits(candidate.text or ""))]
    last_chunk = build_v1_chat_response(sample)
    if candidate.calls and draw(st.booleans()):
        chunks.append(
            {
                "apiFormat": "COHERE",
                "text": last_chunk["text"],
                "toolCalls": last_chunk["toolCalls"],
            }
        )
        if draw(st.booleans()):
            del last_chunk["toolCalls"]
    if draw(st.integers(0, 3)) == 3:  # a gateway that does not repeat the text
        last_chunk["text"] = ""
    usage = {"usage": last_chunk.pop("usage")} if sample.usage and draw(st.booleans()) else None
    chunks += [last_chunk] if usage is None else [last_chunk, usage]
    for _ in range(draw(st.integers(0, 2))):
        chunks.insert(draw(st.integers(0, len(chunks))), draw(st.sampled_from(V1_NOISE)))
    return [chunk | {"pad": "a" * (index % 12)} for index, chunk in enumerate(chunks)]


V1_NOISE: tuple[dict[str, Any], ...] = (
    {},
    {"apiFormat": "COHERE"},
    {"apiFormat": "COHERE", "text": ""},
    {"text": None, "toolCalls": None, "finishReason": None, "usage": None, "chatHistory": None},
    {"toolCalls": [], "finishReason": "", "errorMessage": ""},
    {"isSearchRequired": False, "searchQueries": [], "citations": []},
)
"""Chunks without content."""


def make_v1_chunk(text: str) -> dict[str, Any]:
    """Return a chunk with text."""
    return {"apiFormat": "COHERE", "text": text}


def make_v1_last_chunk(text: str = "", **members: Any) -> dict[str, Any]:
    """Return the chunk that ends a response."""
    return {"apiFormat": "COHERE", "text": text, "finishReason": "COMPLETE", **members}


# -- the second format ---------------------------------------------------------------------------

V2_FINISH_REASONS = ("COMPLETE", "STOP_SEQUENCE", "MAX_TOKENS", "TOOL_CALL", "NEXT_YEARS")


@st.composite
def v2_expressible_responses(
    draw: st.DrawFn, valid_arguments: bool = False, with_model: bool = False
) -> ResponseContent:
    """Responses that the second format can express. The text of ``refusal`` is used as the plan.

    :param with_model: whether they name the model, which only complete responses do.
    """
    sample = draw(response_contents(valid_arguments=valid_arguments))
    citation = {"start": 0, "end": 3, "text": draw(texts()), "contentIndex": 0, "type": "PLAN"}
    token = {"tokenIds": [1], "text": draw(texts()), "logProbabilities": [-0.5]}
    candidate = attrs.evolve(
        sample.first,
        stop=draw(st.sampled_from(V2_FINISH_REASONS)),
        annotations=(citation,) if draw(st.booleans()) else (),
        logprobs={"content": [token]} if draw(st.integers(0, 3)) == 3 else None,
    )
    return attrs.evolve(sample, candidates=(candidate,), model=sample.model if with_model else "")


def build_v2_expected_response(sample: ResponseContent) -> ModelResponse:
    """Return the value that a response has to be parsed as."""
    candidate = sample.first
    content: Any = candidate.text or (None if candidate.calls else "")
    if candidate.reasoning:
        text_parts = [TextPart(candidate.text)] if candidate.text else []
        content = [ThinkingPart(candidate.reasoning), *text_parts]
    metadata: dict[str, Any] = {}
    if candidate.annotations:
        metadata["citations"] = list(candidate.annotations)
    state = None
    if candidate.refusal or candidate.reasoning:
        state = make_state(
            "oci_cohere_v2", {"tool_plan": candidate.refusal} if candidate.refusal else {}
        )
    calls = [build_expected_call(call, None) for call in candidate.calls]
    return ModelResponse(
        message=Message.assistant(content, calls, metadata=metadata, native_state=state),
        usage=sample.usage,
        stop_reason=candidate.stop,
        reasoning="".join(filter(None, (candidate.reasoning, candidate.refusal))) or None,
        model=sample.model or None,
        response_id=sample.id,
        logprobs=candidate.logprobs,
    )


def build_v2_body(sample: ResponseContent) -> dict[str, Any]:
    """Return the body of a complete response."""
    body = {"modelVersion": "2.0", "chatResponse": build_v2_chat_response(sample)}
    return body | ({"modelId": sample.model} if sample.model else {})


def build_v2_chat_response(sample: ResponseContent) -> dict[str, Any]:
    """Return the ``chatResponse``."""
    candidate = sample.first
    message: dict[str, Any] = {"role": "ASSISTANT", "content": []}
    if candidate.reasoning is not None:
        message["content"].append(make_v2_thinking_content(candidate.reasoning))
    if candidate.text is not None:
        message["content"].append(make_v2_text_content(candidate.text))
    if candidate.refusal is not None:
        message["toolPlan"] = candidate.refusal
    if candidate.calls:
        message["toolCalls"] = [build_v2_call(call) for call in candidate.calls]
    if candidate.annotations:
        message["citations"] = list(candidate.annotations)
    chat_response = {
        "apiFormat": "COHEREV2",
        "id": sample.id,
        "message": message,
        "finishReason": candidate.stop,
    }
    if candidate.logprobs is not None:
        chat_response["logProbabilities"] = candidate.logprobs["content"]
    return chat_response | ({"usage": build_usage(sample)} if sample.usage else {})


def make_v2_text_content(text: str) -> dict[str, Any]:
    """Return a text part of a message."""
    return {"type": "TEXT", "text": text}


def make_v2_thinking_content(thinking: str) -> dict[str, Any]:
    """Return a thinking part of a message."""
    return {"type": "THINKING", "thinking": thinking}


def build_v2_call(call: CallContent) -> dict[str, Any]:
    """Return a complete tool call."""
    function = {"name": call.name, "arguments": call.text}
    return {"id": call.id, "type": "FUNCTION", "function": function}


@st.composite
def v2_stream_chunks(draw: st.DrawFn, sample: ResponseContent) -> list[dict[str, Any]]:
    """The chunks of a streamed response: first the thinking, then the other parts in any order."""
    candidate = sample.first
    deltas = [
        {"content": [make_v2_thinking_content(chunk)]}
        for chunk in draw(text_splits(candidate.reasoning or ""))
    ]
    text_deltas = [
        {"content": [make_v2_text_content(chunk)]}
        for chunk in draw(text_splits(candidate.text or ""))
    ]
    plan_deltas = [{"toolPlan": chunk} for chunk in draw(text_splits(candidate.refusal or ""))]
    call_deltas = [delta for call in candidate.calls for delta in draw(_v2_call_deltas(call))]
    if call_deltas and draw(st.booleans()):  # all at once
        call_deltas = [{"toolCalls": [build_v2_call(call) for call in candidate.calls]}]
    queues = [text_deltas, plan_deltas, call_deltas]
    while queues := [queue for queue in queues if queue]:
        deltas.append(queues[draw(st.integers(0, len(queues) - 1))].pop(0))
    messages = [{"role": "ASSISTANT", **delta} for delta in deltas]
    last_chunk: dict[str, Any] = {
        "apiFormat": "COHEREV2",
        "id": sample.id,
        "finishReason": candidate.stop,
    }
    complete_message = build_v2_chat_response(sample)["message"]
    last_message = draw(st.sampled_from(["empty", "missing", "repeated"]))
    if last_message != "missing":
        last_chunk["message"] = {"role": "ASSISTANT", "content": []}
    if last_message == "repeated":
        last_chunk["message"] = {
            name: value for name, value in complete_message.items() if name != "citations"
        }
    if candidate.annotations:
        message = last_chunk.setdefault("message", {"role": "ASSISTANT"})
        message["citations"] = list(candidate.annotations)
    if candidate.logprobs is not None:
        last_chunk["logProbabilities"] = candidate.logprobs["content"]
    chunks = [
        *({"apiFormat": "COHEREV2", "message": message} for message in messages),
        last_chunk,
    ]
    if sample.usage:
        if draw(st.booleans()):
            chunks.append({"usage": build_usage(sample)})
        else:
            last_chunk["usage"] = build_usage(sample)
    for _ in range(draw(st.integers(0, 2))):
        chunks.insert(draw(st.integers(0, len(chunks))), draw(st.sampled_from(V2_NOISE)))
    return chunks


@st.composite
def _v2_call_deltas(draw: st.DrawFn, call: CallContent) -> list[dict[str, Any]]:
    argument_chunks = draw(text_splits(call.text))
    deltas: list[dict[str, Any]] = [{"function": {"arguments": chunk}} for chunk in argument_chunks]
    deltas[0] |= {"id": call.id, "type": "FUNCTION"}
    deltas[0]["function"]["name"] = call.name
    if draw(st.booleans()):
        for delta in deltas:
            delta["id"] = call.id
    return [{"toolCalls": [delta]} for delta in deltas]


V2_NOISE: tuple[dict[str, Any], ...] = (
    {},
    {"apiFormat": "COHEREV2", "message": {"role": "ASSISTANT"}},
    {"message": {"role": "ASSISTANT", "content": [make_v2_text_content("")]}},
    {"message": {"content": None, "toolCalls": None, "toolPlan": None, "citations": None}},
    {"message": None, "finishReason": None, "usage": None, "logProbabilities": None},
    {"message": {"toolCalls": [], "toolPlan": ""}, "finishReason": "", "errorMessage": ""},
)
"""Chunks without content."""


def make_v2_chunk(text: str, **members: Any) -> dict[str, Any]:
    """Return a chunk with text; ``members`` are further members of its message."""
    message = {"role": "ASSISTANT", "content": [make_v2_text_content(text)] if text else []}
    return {"apiFormat": "COHEREV2", "message": message | members}


def make_v2_last_chunk(text: str = "", **members: Any) -> dict[str, Any]:
    """Return the chunk that ends a response."""
    return make_v2_chunk(text) | {"finishReason": "COMPLETE", **members}


# -- decoding ------------------------------------------------------------------------------------


def is_complete_stream(prefix: bytes) -> bool:
    """Return whether a stream that ends here is complete, decided without Locus.

    It contains ``[DONE]``; or a chunk with a finish reason, and the end is between lines or
    directly after a chunk.
    """
    stream = prefix.decode(errors="replace").replace("\r\n", "\n").replace("\r", "\n")
    *blocks, rest = stream.split("\n\n")
    is_finished = False
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
            is_finished = is_finished or bool(chunk.get("finishReason"))
        elif index == len(blocks) and not ("\n" + block).endswith("\n"):
            return False
    return is_finished


v1_reader = StreamReader(CohereV1ChatParser())
v2_reader = StreamReader(CohereV2ChatParser())
