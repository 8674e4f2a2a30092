"""Answers in Cohere's two formats on OCI, whole and in events, and what Locus has to make of them.

The events are of the shapes that were seen on the service; see ``cohere_stream`` and
``cohere_v2_stream`` in ``locus.wire.oci_chat``.
"""

from __future__ import annotations

import json
from typing import Any

import attrs
from hypothesis import strategies as st

from locus.core.messages import Message, TextPart, ThinkingPart
from locus.core.response import ModelResponse
from locus.wire.oci_chat.cohere_formats import CohereChatParser, CohereV2ChatParser
from tests.support.decoding import Reading
from tests.support.strategies import Answered, SaidCall, answers, pieces, texts
from tests.support.wire_json.chat_json import call_of
from tests.support.wire_json.oci_generic_json import usage

USER = {"role": "USER", "message": "hello"}


def essence(answer: ModelResponse) -> ModelResponse:
    """An answer with the ids of its calls replaced by those of ``tests.support.strategies``."""
    calls = [
        attrs.evolve(call, id=f"call_{position}")
        for position, call in enumerate(answer.message.tool_calls)
    ]
    return attrs.evolve(answer, message=attrs.evolve(answer.message, tool_calls=calls))


# -- the first format ----------------------------------------------------------------------------

ENDS = ("COMPLETE", "MAX_TOKENS", "ERROR_TOXIC", "ERROR_LIMIT", "USER_CANCEL", "NEXT_YEARS")


@st.composite
def sayable(draw: st.DrawFn, legible: bool = False, whole: bool = False) -> Answered:
    """Answers that the first format can say. Only a ``whole`` one names the model."""
    answered = draw(answers(legible=legible))
    cited = {"start": 0, "end": 3, "text": draw(texts()), "documentIds": ["doc_0"]}
    said = attrs.evolve(
        answered.first,
        reasoning=None,
        refusal=None,
        stop=draw(st.sampled_from(ENDS)),
        annotations=(cited,) if draw(st.booleans()) else (),
    )
    return attrs.evolve(answered, candidates=(said,), model=answered.model if whole else "")


def expected(answered: Answered) -> ModelResponse:
    """The :func:`essence` of what a sayable answer has to be read as."""
    said = answered.first
    return ModelResponse(
        message=Message.assistant(
            said.text or (None if said.calls else ""),
            [call_of(call) for call in said.calls],
            metadata={"citations": list(said.annotations)} if said.annotations else {},
        ),
        usage=answered.usage,
        stop_reason=said.stop,
        model=answered.model or None,
    )


def whole(answered: Answered) -> dict[str, Any]:
    """The body of a whole answer."""
    body = {"modelVersion": "1.7", "chatResponse": chat(answered)}
    return body | ({"modelId": answered.model} if answered.model else {})


def chat(answered: Answered) -> dict[str, Any]:
    """The ``chatResponse``."""
    said = answered.first
    calls = [called(call) for call in said.calls]
    bot = {"role": "CHATBOT", "message": said.text} | ({"toolCalls": calls} if calls else {})
    found: dict[str, Any] = {
        "apiFormat": "COHERE",
        "text": said.text or "",
        "chatHistory": [USER, bot],
        "finishReason": said.stop,
    }
    if calls:
        found["toolCalls"] = calls
    if said.annotations:
        found["citations"] = list(said.annotations)
    if answered.usage:
        found["usage"] = usage(answered)
    return found


def called(call: SaidCall) -> dict[str, Any]:
    """A tool call; arguments that are no object go as text."""
    well = call_of(call).malformed_arguments is None
    return {"name": call.name, "parameters": json.loads(call.text) if well else call.text}


@st.composite
def events(draw: st.DrawFn, answered: Answered) -> list[dict[str, Any]]:
    """The events of a streamed answer; those with calls, and the last, repeat the text."""
    said = answered.first
    found = [piece(cut) for cut in draw(pieces(said.text or ""))]
    last = chat(answered)
    if said.calls and draw(st.booleans()):
        found.append({"apiFormat": "COHERE", "text": last["text"], "toolCalls": last["toolCalls"]})
        if draw(st.booleans()):
            del last["toolCalls"]
    if draw(st.integers(0, 3)) == 3:  # some gateway that knows what an event is
        last["text"] = ""
    counts = {"usage": last.pop("usage")} if answered.usage and draw(st.booleans()) else None
    found += [last] if counts is None else [last, counts]
    for _ in range(draw(st.integers(0, 2))):
        found.insert(draw(st.integers(0, len(found))), draw(st.sampled_from(NOISE)))
    return [event | {"pad": "a" * (at % 12)} for at, event in enumerate(found)]


NOISE: tuple[dict[str, Any], ...] = (
    {},
    {"apiFormat": "COHERE"},
    {"apiFormat": "COHERE", "text": ""},
    {"text": None, "toolCalls": None, "finishReason": None, "usage": None, "chatHistory": None},
    {"toolCalls": [], "finishReason": "", "errorMessage": ""},
    {"isSearchRequired": False, "searchQueries": [], "citations": []},
)
"""Events that say nothing."""


def piece(text: str) -> dict[str, Any]:
    """An event with a piece of text."""
    return {"apiFormat": "COHERE", "text": text}


def end(text: str = "", **more: Any) -> dict[str, Any]:
    """The event that ends an answer."""
    return {"apiFormat": "COHERE", "text": text, "finishReason": "COMPLETE", **more}


# -- the second format ---------------------------------------------------------------------------

V2_ENDS = ("COMPLETE", "STOP_SEQUENCE", "MAX_TOKENS", "TOOL_CALL", "NEXT_YEARS")


@st.composite
def v2_sayable(draw: st.DrawFn, legible: bool = False, whole: bool = False) -> Answered:
    """Answers that the second format can say; what would be a refusal is the plan."""
    answered = draw(answers(legible=legible))
    cited = {"start": 0, "end": 3, "text": draw(texts()), "contentIndex": 0, "type": "PLAN"}
    token = {"tokenIds": [1], "text": draw(texts()), "logProbabilities": [-0.5]}
    said = attrs.evolve(
        answered.first,
        stop=draw(st.sampled_from(V2_ENDS)),
        annotations=(cited,) if draw(st.booleans()) else (),
        logprobs={"content": [token]} if draw(st.integers(0, 3)) == 3 else None,
    )
    return attrs.evolve(answered, candidates=(said,), model=answered.model if whole else "")


def v2_expected(answered: Answered) -> ModelResponse:
    """What a sayable answer has to be read as."""
    said = answered.first
    content: Any = said.text or (None if said.calls else "")
    if said.reasoning:
        content = [ThinkingPart(said.reasoning), *([TextPart(said.text)] if said.text else [])]
    notes: dict[str, Any] = {"citations": list(said.annotations)} if said.annotations else {}
    if said.refusal:
        notes["tool_plan"] = said.refusal
    return ModelResponse(
        message=Message.assistant(content, [call_of(call) for call in said.calls], metadata=notes),
        usage=answered.usage,
        stop_reason=said.stop,
        reasoning="".join(filter(None, (said.reasoning, said.refusal))) or None,
        model=answered.model or None,
        response_id=answered.id,
        logprobs=said.logprobs,
    )


def v2_whole(answered: Answered) -> dict[str, Any]:
    """The body of a whole answer."""
    body = {"modelVersion": "2.0", "chatResponse": v2_chat(answered)}
    return body | ({"modelId": answered.model} if answered.model else {})


def v2_chat(answered: Answered) -> dict[str, Any]:
    """The ``chatResponse``."""
    said = answered.first
    message: dict[str, Any] = {"role": "ASSISTANT", "content": []}
    if said.reasoning is not None:
        message["content"].append(thinking(said.reasoning))
    if said.text is not None:
        message["content"].append(text(said.text))
    if said.refusal is not None:
        message["toolPlan"] = said.refusal
    if said.calls:
        message["toolCalls"] = [v2_call(call) for call in said.calls]
    if said.annotations:
        message["citations"] = list(said.annotations)
    found = {
        "apiFormat": "COHEREV2",
        "id": answered.id,
        "message": message,
        "finishReason": said.stop,
    }
    if said.logprobs is not None:
        found["logProbabilities"] = said.logprobs["content"]
    return found | ({"usage": usage(answered)} if answered.usage else {})


def text(said: str) -> dict[str, Any]:
    return {"type": "TEXT", "text": said}


def thinking(thought: str) -> dict[str, Any]:
    return {"type": "THINKING", "thinking": thought}


def v2_call(call: SaidCall) -> dict[str, Any]:
    """A whole tool call."""
    function = {"name": call.name, "arguments": call.text}
    return {"id": call.id, "type": "FUNCTION", "function": function}


@st.composite
def v2_events(draw: st.DrawFn, answered: Answered) -> list[dict[str, Any]]:
    """The events of a streamed answer: first the thinking, and its other parts in any order."""
    said = answered.first
    found = [{"content": [thinking(cut)]} for cut in draw(pieces(said.reasoning or ""))]
    words = [{"content": [text(cut)]} for cut in draw(pieces(said.text or ""))]
    plan = [{"toolPlan": cut} for cut in draw(pieces(said.refusal or ""))]
    calls = [fragment for call in said.calls for fragment in draw(_v2_fragments(call))]
    if calls and draw(st.booleans()):  # all at once
        calls = [{"toolCalls": [v2_call(call) for call in said.calls]}]
    queues = [words, plan, calls]
    while queues := [queue for queue in queues if queue]:
        found.append(queues[draw(st.integers(0, len(queues) - 1))].pop(0))
    messages = [{"role": "ASSISTANT", **delta} for delta in found]
    last: dict[str, Any] = {"apiFormat": "COHEREV2", "id": answered.id, "finishReason": said.stop}
    whole = v2_chat(answered)
    way = draw(st.sampled_from(["empty", "bare", "repeated"]))
    if way != "bare":
        last["message"] = {"role": "ASSISTANT", "content": []}
    if way == "repeated":
        last["message"] = {key: it for key, it in whole["message"].items() if key != "citations"}
    if said.annotations:
        last.setdefault("message", {"role": "ASSISTANT"})["citations"] = list(said.annotations)
    if said.logprobs is not None:
        last["logProbabilities"] = said.logprobs["content"]
    made = [*({"apiFormat": "COHEREV2", "message": message} for message in messages), last]
    if answered.usage:
        if draw(st.booleans()):
            made.append({"usage": usage(answered)})
        else:
            last["usage"] = usage(answered)
    for _ in range(draw(st.integers(0, 2))):
        made.insert(draw(st.integers(0, len(made))), draw(st.sampled_from(V2_NOISE)))
    return made


@st.composite
def _v2_fragments(draw: st.DrawFn, call: SaidCall) -> list[dict[str, Any]]:
    cuts = draw(pieces(call.text))
    fragments: list[dict[str, Any]] = [{"function": {"arguments": cut}} for cut in cuts]
    fragments[0] |= {"id": call.id, "type": "FUNCTION"}
    fragments[0]["function"]["name"] = call.name
    if draw(st.booleans()):
        for fragment in fragments:
            fragment["id"] = call.id
    return [{"toolCalls": [fragment]} for fragment in fragments]


V2_NOISE: tuple[dict[str, Any], ...] = (
    {},
    {"apiFormat": "COHEREV2", "message": {"role": "ASSISTANT"}},
    {"message": {"role": "ASSISTANT", "content": [text("")]}},
    {"message": {"content": None, "toolCalls": None, "toolPlan": None, "citations": None}},
    {"message": None, "finishReason": None, "usage": None, "logProbabilities": None},
    {"message": {"toolCalls": [], "toolPlan": ""}, "finishReason": "", "errorMessage": ""},
)
"""Events that say nothing."""


def v2_piece(said: str, **more: Any) -> dict[str, Any]:
    """An event with a piece of text."""
    message = {"role": "ASSISTANT", "content": [text(said)] if said else []}
    return {"apiFormat": "COHEREV2", "message": message | more}


def v2_end(said: str = "", **more: Any) -> dict[str, Any]:
    """The event that ends an answer."""
    return v2_piece(said) | {"finishReason": "COMPLETE", **more}


# -- reading -------------------------------------------------------------------------------------


def ends_well(prefix: bytes) -> bool:
    """Whether a stream that ends here can be believed, decided without Locus.

    It holds ``[DONE]``; or an event with a finish reason, and the end is no cut: it is between
    lines, or right after an event.
    """
    stream = prefix.decode(errors="replace").replace("\r\n", "\n").replace("\r", "\n")
    *blocks, rest = stream.split("\n\n")
    finished = False
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
            finished = finished or bool(event.get("finishReason"))
        elif at == len(blocks) and not ("\n" + block).endswith("\n"):
            return False
    return finished


reading = Reading(CohereChatParser())
v2_reading = Reading(CohereV2ChatParser())
