"""Answers in OCI's generic format, whole and in events, and what Locus has to make of them."""

from __future__ import annotations

import json
from typing import Any

import attrs
from hypothesis import strategies as st

from locus.core.messages import Message, RefusalPart, TextPart, ThinkingPart
from locus.core.response import Candidate, ModelResponse
from locus.wire.oci_chat import GenericChatParser
from tests.support.decoding import Reading
from tests.support.strategies import Answered, Said, SaidCall, answers, pieces, texts
from tests.support.wire_json.chat_json import call_of

CREATED = "2025-10-01T12:00:00.123000Z"


@st.composite
def sayable(
    draw: st.DrawFn, max_candidates: int = 1, legible: bool = False, whole: bool = False
) -> Answered:
    """Answers that this format can say. Only a ``whole`` one names the model."""
    answered = draw(answers(max_candidates=max_candidates, legible=legible))
    candidates = tuple(_sayable(draw, said) for said in answered.candidates)
    model = answered.model if whole else ""
    return attrs.evolve(answered, candidates=candidates, model=model)


def _sayable(draw: st.DrawFn, said: Said) -> Said:
    if draw(st.integers(0, 3)) == 3:
        tokens = draw(st.lists(texts(), max_size=3))
        count = len(tokens)
        said = attrs.evolve(
            said,
            logprobs={
                "tokens": tokens,
                "tokenLogprobs": draw(st.lists(st.floats(-9, 0), min_size=count, max_size=count)),
                "textOffset": list(range(count)),
                "topLogprobs": [{token: "-0.5"} for token in tokens],
            },
        )
    if draw(st.integers(0, 3)) == 3:
        cited = {"startIndex": 0, "endIndex": 3, "title": draw(texts()), "url": "https://x"}
        said = attrs.evolve(said, annotations=({"type": "url_citation", "urlCitation": cited},))
    return said


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
        model=answered.model or None,
        logprobs=first.logprobs,
        candidates=candidates if len(candidates) > 1 else (),
    )


def _candidate(said: Said) -> Candidate:
    content: Any = said.text or (None if said.calls else "")
    if said.reasoning or said.refusal:
        content = [
            *([ThinkingPart(said.reasoning)] if said.reasoning else []),
            *([TextPart(said.text)] if said.text else []),
            *([RefusalPart(said.refusal)] if said.refusal else []),
        ]
    notes = {"annotations": list(said.annotations)} if said.annotations else {}
    return Candidate(
        Message.assistant(content, [call_of(call) for call in said.calls], metadata=notes),
        said.stop,
        said.reasoning,
        said.logprobs,
    )


# Whole answers.


def whole(answered: Answered, ids: bool = True) -> dict[str, Any]:
    """The body of a whole answer; ``ids=False`` leaves out those of calls, as Gemini does."""
    chat: dict[str, Any] = {
        "apiFormat": "GENERIC",
        "timeCreated": CREATED,
        "choices": [choice(said, index, ids=ids) for index, said in enumerate(answered.candidates)],
    }
    if answered.usage:
        chat["usage"] = usage(answered)
    body: dict[str, Any] = {"modelVersion": "1.0", "chatResponse": chat}
    return body | ({"modelId": answered.model} if answered.model else {})


def choice(said: Said, index: int = 0, ids: bool = True) -> dict[str, Any]:
    """A choice of a whole answer."""
    message: dict[str, Any] = {"role": "ASSISTANT"}
    if said.text is not None:
        message["content"] = [text(said.text)]
    if said.reasoning is not None:
        message["reasoningContent"] = said.reasoning
    if said.refusal is not None:
        message["refusal"] = said.refusal
    if said.calls:
        message["toolCalls"] = [call(called, ids) for called in said.calls]
    if said.annotations:
        message["annotations"] = list(said.annotations)
    found = {"index": index, "message": message, "finishReason": said.stop}
    return found | ({"logprobs": said.logprobs} if said.logprobs is not None else {})


def text(said: str) -> dict[str, Any]:
    """A part of text."""
    return {"type": "TEXT", "text": said}


def call(called: SaidCall, ids: bool = True) -> dict[str, Any]:
    """A whole tool call."""
    found = {"type": "FUNCTION", "name": called.name, "arguments": called.text}
    return ({"id": called.id} if ids else {}) | found


def usage(answered: Answered) -> dict[str, Any]:
    """Token counts, as OCI sends them."""
    counts: dict[str, Any] = {
        "promptTokens": answered.prompt_tokens,
        "completionTokens": answered.completion_tokens,
        "totalTokens": (answered.prompt_tokens or 0) + (answered.completion_tokens or 0),
    }
    if answered.cached_tokens is not None:
        counts["promptTokensDetails"] = {"cachedTokens": answered.cached_tokens}
    if answered.reasoning_tokens is not None:
        counts["completionTokensDetails"] = {"reasoningTokens": answered.reasoning_tokens}
    return counts


# Answers in events. How the models behind the service send tool calls:

STYLES = (
    "fragments",  # id and name in the first fragment, no more than arguments in the others (Llama)
    "blank",  # the same, with an empty id and name in the others
    "last",  # the same, and an empty call in the event that ends the choice
    "whole",  # each call in an event (Grok)
    "together",  # all calls in one event
    "side by side",  # fragments of all calls in each event, in the order of the calls
    "noids",  # each call in an event, without ids (Gemini)
    "ids",  # the id in every fragment, calls interleaved
    "indexes",  # OpenAI's index in every fragment, calls interleaved
    "object",  # each call in an event, the arguments an object and not text
)
WITHOUT_IDS = ("noids",)
_INTERLEAVED = ("ids", "indexes")


@st.composite
def events(draw: st.DrawFn, answered: Answered, style: str = "fragments") -> list[dict[str, Any]]:
    """The events of a streamed answer: its deltas cut anywhere, and interleaved."""
    queues: list[list[dict[str, Any]]] = []
    for index, said in enumerate(answered.candidates):
        queues += [
            [_event(index, delta) for delta in deltas] for deltas in draw(_deltas(said, style))
        ]
    found: list[dict[str, Any]] = []
    while queues := [queue for queue in queues if queue]:
        found.append(queues[draw(st.integers(0, len(queues) - 1))].pop(0))
    for index, said in enumerate(answered.candidates):
        if said.logprobs is not None:
            found.append({"index": index, "logprobs": said.logprobs})
        last: dict[str, Any] = {"finishReason": said.stop}
        if index or draw(st.booleans()):  # the service leaves out the first one's index here
            last["index"] = index
        if style == "last" and said.calls:
            empty = {"type": "FUNCTION", "arguments": ""}
            last["message"] = {"role": "ASSISTANT", "toolCalls": [empty]}
        elif draw(st.booleans()):
            last["message"] = {"role": "ASSISTANT", "content": [text("")]}
        found.append(last)
    if answered.usage:
        counts = {"usage": usage(answered)}
        if draw(st.booleans()):
            found.append(counts)
        else:
            found[-1] |= counts
    for _ in range(draw(st.integers(0, 2))):
        found.insert(draw(st.integers(0, len(found))), draw(st.sampled_from(NOISE)))
    return [event | {"pad": "a" * (at % 12)} for at, event in enumerate(found)]


NOISE: tuple[dict[str, Any], ...] = (
    {},
    {"serviceTier": "default"},
    {"index": 0, "message": {"role": "ASSISTANT"}},
    {"index": 0, "message": {"role": "ASSISTANT", "content": [text("")]}},
    {"index": 0, "message": {"role": "ASSISTANT", "content": None, "toolCalls": None}},
    {"message": {"role": "ASSISTANT", "toolCalls": [{"type": "FUNCTION", "arguments": ""}]}},
    {"message": None, "finishReason": None, "usage": None, "logprobs": None},
    {"finishReason": ""},
)
"""Events that say nothing."""


def _event(index: int, delta: dict[str, Any]) -> dict[str, Any]:
    return {"index": index, "message": {"role": "ASSISTANT", **delta}}


@st.composite
def _deltas(draw: st.DrawFn, said: Said, style: str) -> list[list[dict[str, Any]]]:
    """The deltas of one candidate: sequences that may be interleaved with one another."""
    found: list[list[dict[str, Any]]] = []
    if said.text is not None:
        found.append([{"content": [text(piece)]} for piece in draw(pieces(said.text))])
    for name, words in (("reasoningContent", said.reasoning), ("refusal", said.refusal)):
        if words is not None:
            found.append([{name: piece} for piece in draw(pieces(words))])
    if said.annotations:
        found.append([{"annotations": list(said.annotations)}])
    calls = [draw(_fragments(called, at, style)) for at, called in enumerate(said.calls)]
    if style == "side by side" and calls:
        most = max(map(len, calls))
        nothing = {"type": "FUNCTION", "arguments": ""}
        filled = [fragments + [nothing] * (most - len(fragments)) for fragments in calls]
        found.append([{"toolCalls": list(row)} for row in zip(*filled, strict=True)])
    elif style == "together" and calls:
        found.append([{"toolCalls": [fragment for fragments in calls for fragment in fragments]}])
    elif style in _INTERLEAVED:
        heads = [{"toolCalls": [fragments.pop(0)]} for fragments in calls]
        rest = draw(st.permutations(range(len(calls))))
        tails = [{"toolCalls": [fragment]} for at in rest for fragment in calls[at]]
        found.append([*heads, *tails])  # each call begins in its turn, and goes on in any
    else:
        found.append([{"toolCalls": [fragment]} for fragments in calls for fragment in fragments])
    return found


@st.composite
def _fragments(draw: st.DrawFn, called: SaidCall, at: int, style: str) -> list[dict[str, Any]]:
    if style in ("whole", "together", "noids", "object"):
        found = call(called, ids=style not in WITHOUT_IDS)
        if style == "object":
            found["arguments"] = json.loads(called.text)
        return [found]
    blank = {"id": "", "name": ""} if style == "blank" else {}
    first = {"id": called.id, "type": "FUNCTION", "name": called.name}
    if draw(st.booleans()):
        first["arguments"] = ""
    fragments = [
        first,
        *({"type": "FUNCTION", "arguments": cut, **blank} for cut in draw(pieces(called.text))),
    ]
    for fragment in fragments:
        if style == "ids":
            fragment["id"] = called.id
        if style == "indexes":
            fragment["index"] = at
    return fragments


def delta(said: str | None = None, finish: str | None = None, **more: Any) -> dict[str, Any]:
    """An event with one delta."""
    message = {"role": "ASSISTANT"} | ({} if said is None else {"content": [text(said)]})
    ending = {} if finish is None else {"finishReason": finish}
    return {"index": 0, "message": message | more, **ending}


def ends_well(prefix: bytes) -> bool:
    """Whether a stream that ends here can be believed, decided without Locus.

    It holds ``[DONE]``; or every choice that has begun has its finish reason, and the end is no
    cut: it is between lines, or right after an event.
    """
    stream = prefix.decode(errors="replace").replace("\r\n", "\n").replace("\r", "\n")
    *blocks, rest = stream.split("\n\n")
    finished = {0: False}
    for at, block in enumerate([*blocks, rest]):
        lines = [line[5:].removeprefix(" ") for line in block.split("\n") if line[:5] == "data:"]
        data = "\n".join(lines)
        if data == "[DONE]":
            return True
        if data:
            try:
                event = json.loads(data)
            except ValueError:
                assert at == len(blocks)
                return False
            if event.keys() & {"message", "finishReason", "logprobs"}:
                index = event.get("index", 0)
                finished[index] = finished.get(index, False) or bool(event.get("finishReason"))
        elif at == len(blocks) and not ("\n" + block).endswith("\n"):
            return False
    return all(finished.values())


_reading = Reading(GenericChatParser())
read, answer_of, failure_of = _reading.read, _reading.answer_of, _reading.failure_of
