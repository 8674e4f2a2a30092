"""Answers as chat completions JSON, whole and in chunks, and what Locus has to make of them."""

from __future__ import annotations

import json
from typing import Any

from hypothesis import strategies as st

from locus.core.messages import Message, RefusalPart, TextPart, ToolCall
from locus.core.response import Candidate, ModelResponse
from locus.wire.chat_completions import ChatCompletionsParser
from tests.support.decoding import Reading, object_in
from tests.support.decoding import check_law as check_law
from tests.support.strategies import Answered, Said, SaidCall, pieces

CREATED = 1_700_000_000


# What Locus has to make of an answer, written down a second time.


def expected(answered: Answered) -> ModelResponse:
    """The value that an answer has to be read as."""
    candidates = tuple(_candidate(said) for said in answered.candidates)
    first = candidates[0]
    return ModelResponse(
        message=first.message,
        usage=answered.usage,
        stop_reason=first.stop_reason,
        reasoning=first.reasoning,
        model=answered.model,
        response_id=answered.id,
        logprobs=first.logprobs,
        candidates=candidates if len(candidates) > 1 else (),
    )


def _candidate(said: Said) -> Candidate:
    content: Any = said.text or None
    if said.refusal:
        content = [*([TextPart(said.text)] if said.text else []), RefusalPart(said.refusal)]
    elif not content and not said.calls:
        content = ""
    notes = {"annotations": list(said.annotations)} if said.annotations else {}
    return Candidate(
        Message.assistant(content, [call_of(call) for call in said.calls], metadata=notes),
        said.stop,
        said.reasoning,
        said.logprobs,
    )


def call_of(call: SaidCall) -> ToolCall:
    """A call as Locus has to give it: decoded by the standard library, or kept to the letter."""
    found = call.text if call.custom else object_in(call.text)
    if isinstance(found, dict):
        return ToolCall(call.id, call.name, found)
    return ToolCall(call.id, call.name, malformed_arguments=call.text)


# Whole answers.


def whole(answered: Answered, ids: bool = True) -> dict[str, Any]:
    """The body of a whole answer, as OpenAI sends it; ``ids=False`` leaves out those of calls."""
    body: dict[str, Any] = {
        "id": answered.id,
        "object": "chat.completion",
        "created": CREATED,
        "model": answered.model,
        "choices": [
            {
                "index": index,
                "message": _message(said, ids),
                "logprobs": said.logprobs,
                "finish_reason": said.stop,
            }
            for index, said in enumerate(answered.candidates)
        ],
        "system_fingerprint": "fp_1",
    }
    if answered.usage:
        body["usage"] = usage(answered)
    return body


def _message(said: Said, ids: bool) -> dict[str, Any]:
    message: dict[str, Any] = {"role": "assistant", "content": said.text, "refusal": said.refusal}
    if said.reasoning is not None:
        message["reasoning_content"] = said.reasoning
    if said.calls:
        message["tool_calls"] = [_call(call, ids) for call in said.calls]
    if said.annotations:
        message["annotations"] = list(said.annotations)
    return message


def _call(call: SaidCall, ids: bool) -> dict[str, Any]:
    kind = "custom" if call.custom else "function"
    what = {"name": call.name, "input" if call.custom else "arguments": call.text}
    return ({"id": call.id} if ids else {}) | {"type": kind, kind: what}


def usage(answered: Answered) -> dict[str, Any]:
    """Token counts as OpenAI sends them."""
    counts: dict[str, Any] = {
        "prompt_tokens": answered.prompt_tokens,
        "completion_tokens": answered.completion_tokens,
        "total_tokens": (answered.prompt_tokens or 0) + (answered.completion_tokens or 0),
    }
    if answered.cached_tokens is not None:
        counts["prompt_tokens_details"] = {
            "cached_tokens": answered.cached_tokens,
            "audio_tokens": 0,
        }
    if answered.reasoning_tokens is not None:
        counts["completion_tokens_details"] = {
            "reasoning_tokens": answered.reasoning_tokens,
            "audio_tokens": None,
        }
    return counts


# Answers in chunks. How servers send tool calls:

STYLES = (
    "openai",  # an index in every fragment, id and name in the first
    "ids",  # no index, the id in every fragment
    "neither",  # no index, the id in the first fragment, one call after the other
    "names",  # as "openai", with the name in every fragment
    "noids",  # an index, and no id at all
    "whole",  # each call in one fragment, no index
    "zero",  # one call after the other, all with the index 0
    "zero-whole",  # each call in one fragment, all with the index 0, no ids (Gemini)
    "object",  # each call in one fragment, the arguments an object and not text
)
WITHOUT_IDS = ("noids", "zero-whole")
CALL_AFTER_CALL = ("neither", "zero", "zero-whole", "whole", "object")


@st.composite
def chunks(
    draw: st.DrawFn, answered: Answered, style: str = "openai", plain: bool = False
) -> list[dict[str, Any]]:
    """The chunks of a streamed answer.

    The deltas of text, reasoning, refusal and each call are cut anywhere and come interleaved.
    ``plain`` leaves out what only other servers than OpenAI do.
    """
    queues: list[list[tuple[int, dict[str, Any]]]] = []
    for index, said in enumerate(answered.candidates):
        queues += [
            [(index, delta) for delta in deltas] for deltas in draw(_deltas(said, style)) if deltas
        ]
    mixed: list[tuple[int, dict[str, Any]]] = []
    if plain or style == "ids":  # where nothing else tells their order
        mixed += [queue.pop(0) for queue in queues]
    while queues := [queue for queue in queues if queue]:
        mixed.append(queues[draw(st.integers(0, len(queues) - 1))].pop(0))

    found = [
        _chunk(
            answered, index, {"role": "assistant", "content": "" if draw(st.booleans()) else None}
        )
        for index in range(len(answered.candidates))
    ]
    together = draw(st.integers(1, 3))
    found += [_chunk(answered, index, delta) for index, delta in _joined(mixed, together)]
    for index, said in enumerate(answered.candidates):
        last = _chunk(answered, index, {}, said.stop)
        if not plain and draw(st.booleans()):
            last["choices"][0]["delta"] = None
        found.append(last)
    if answered.usage:
        if draw(st.booleans()):
            found.append(_chunk(answered) | {"usage": usage(answered)})
        else:
            found[-1]["usage"] = usage(answered)
    if not plain:
        for _ in range(draw(st.integers(0, 2))):
            noise = draw(st.sampled_from(NOISE))
            found.insert(draw(st.integers(0, len(found))), noise)
    return found


def _joined(
    deltas: list[tuple[int, dict[str, Any]]], most: int
) -> list[tuple[int, dict[str, Any]]]:
    """Up to ``most`` deltas of one candidate in one, where they speak of different things."""
    found: list[tuple[int, dict[str, Any]]] = []
    for index, delta in deltas:
        before, said = found[-1] if found else (None, {})
        if before == index and len(said) < most and not said.keys() & delta.keys():
            found[-1] = (index, said | delta)
        else:
            found.append((index, delta))
    return found


# Chunks that say nothing, as some servers send them.
NOISE: tuple[dict[str, Any], ...] = (
    {"choices": []},
    {"id": "", "model": "", "choices": [], "prompt_filter_results": []},  # Azure's first chunk
    {"choices": [{"index": 0, "delta": None, "finish_reason": None}]},
    {"choices": [{"index": 0, "delta": {}, "finish_reason": ""}], "usage": None},
    {"choices": [{"delta": {"content": None, "tool_calls": None, "reasoning": None}}]},
    {"choices": None, "id": None, "error": None},
    {"object": "ping"},
)


def _chunk(
    answered: Answered,
    index: int | None = None,
    delta: dict[str, Any] | None = None,
    finish: str | None = None,
) -> dict[str, Any]:
    choices = []
    if index is not None:
        choice = {"index": index, "delta": delta, "logprobs": None, "finish_reason": finish}
        choices.append(choice)
    return {
        "id": answered.id,
        "object": "chat.completion.chunk",
        "created": CREATED,
        "model": answered.model,
        "choices": choices,
    }


@st.composite
def _deltas(draw: st.DrawFn, said: Said, style: str) -> list[list[dict[str, Any]]]:
    """The deltas of one candidate: sequences that may be interleaved with one another."""
    found = []
    for name, text in (
        ("content", said.text),
        ("reasoning_content", said.reasoning),
        ("refusal", said.refusal),
    ):
        if text is not None:
            found.append([{name: piece} for piece in draw(pieces(text))])
    calls = [
        [{"tool_calls": [fragment]} for fragment in draw(_fragments(call, index, style))]
        for index, call in enumerate(said.calls)
    ]
    if style in CALL_AFTER_CALL:
        joined = [delta for deltas in calls for delta in deltas]
        if style in ("whole", "object") and joined and draw(st.booleans()):  # all in one chunk
            joined = [{"tool_calls": [delta["tool_calls"][0] for delta in joined]}]
        calls = [joined]
    return found + calls


@st.composite
def _fragments(draw: st.DrawFn, call: SaidCall, index: int, style: str) -> list[dict[str, Any]]:
    kind, content = ("custom", "input") if call.custom else ("function", "arguments")
    if style == "object" and not call.custom:
        arguments = json.loads(call.text)
        return [{"id": call.id, "type": kind, kind: {"name": call.name, "arguments": arguments}}]
    cut = [call.text] if style in ("whole", "zero-whole", "object") else draw(pieces(call.text))
    fragments: list[dict[str, Any]] = [{kind: {content: piece}} for piece in cut]
    fragments[0] |= {"id": call.id, "type": kind}
    fragments[0][kind]["name"] = call.name
    for fragment in fragments:
        if style in ("openai", "names", "noids"):
            fragment["index"] = index
        if style in ("zero", "zero-whole"):
            fragment["index"] = 0
        if style == "ids":
            fragment["id"] = call.id
        if style == "names":
            fragment[kind]["name"] = call.name
        if style in WITHOUT_IDS:
            fragment.pop("id", None)
    return fragments


# Bytes.


@st.composite
def framed(
    draw: st.DrawFn, found: list[dict[str, Any]], done: bool = True, plain: bool = False
) -> bytes:
    """Chunks as server-sent events, with whatever line ends, comments and fields servers use."""
    end = draw(st.sampled_from(["\n", "\n", "\r\n", "\r"]))
    space = draw(st.sampled_from([" ", "" if not plain else " "]))
    ascii_ = draw(st.booleans())
    indent = draw(st.sampled_from([None, None, None, 1]))
    noise = ["", ": keep-alive" + end + end, "event: message" + end, ":" + end]
    if not plain:  # once there was an id, the SDK takes a comment for an event
        noise.append("id: 7" + end)
    events = []
    for chunk in found:
        text = json.dumps(chunk, ensure_ascii=ascii_, indent=indent)
        lines = "".join(f"data:{space}{line}{end}" for line in text.split("\n"))
        events.append(draw(st.sampled_from(noise)) + lines + end)
    if done:
        events.append(f"data:{space}[DONE]{end}{end}")
    return "".join(events).encode()


def sse(*found: dict[str, Any] | str, done: bool = False) -> bytes:
    """Chunks as OpenAI frames them; text goes as it is."""
    events = [chunk if isinstance(chunk, str) else json.dumps(chunk) for chunk in found]
    return "".join(f"data: {event}\n\n" for event in events + ["[DONE]"] * done).encode()


def delta(said: dict[str, Any] | None = None, finish: str | None = None) -> dict[str, Any]:
    """A chunk with one delta."""
    return {"id": "1", "choices": [{"index": 0, "delta": said, "finish_reason": finish}]}


def ends_well(prefix: bytes) -> bool:
    """Whether a stream that ends here can be believed, decided without Locus.

    It holds ``[DONE]``; or every candidate that has begun has its finish reason, and the end is
    no cut: it is between lines, or right after a message.
    """
    text = prefix.decode(errors="replace").replace("\r\n", "\n").replace("\r", "\n")
    *blocks, rest = text.split("\n\n")
    finished = {0: False}
    for at, block in enumerate([*blocks, rest]):
        lines = [line[5:].removeprefix(" ") for line in block.split("\n") if line[:5] == "data:"]
        data = "\n".join(lines)
        if data == "[DONE]":
            return True
        if data:
            try:
                chunk = json.loads(data)
            except ValueError:
                assert at == len(blocks)
                return False
            for choice in chunk.get("choices") or ():
                index = choice.get("index", 0)
                finished[index] = finished.get(index, False) or bool(choice.get("finish_reason"))
        elif at == len(blocks) and not ("\n" + block).endswith("\n"):
            return False
    return all(finished.values())


# Reading.

_reading = Reading(ChatCompletionsParser())
read, answer_of, failure_of = _reading.read, _reading.answer_of, _reading.failure_of
