"""Answers as responses JSON, whole and in events, and what Locus has to make of them."""

from __future__ import annotations

import json
from functools import cache
from typing import Any

import attrs
from hypothesis import strategies as st

from locus.core.messages import Message, RefusalPart, TextPart, ToolCall
from locus.core.response import ModelResponse
from locus.wire.responses import ResponsesParser
from tests.support.decoding import Reading, object_in
from tests.support.strategies import call_ids, malformed, names, pieces, texts, written_arguments

Item = dict[str, Any]
Event = dict[str, Any]


@attrs.frozen
class Answer:
    """An answer: its items as the API sends them, and what stands around them."""

    items: tuple[Item, ...]
    status: str = "completed"
    reason: str | None = None
    id: str = "resp_1"
    model: str = "gpt-5"
    input_tokens: int = 7
    output_tokens: int = 5
    cached: int = 0
    written: int = 0
    thought: int = 0


# Answers.

_NOTES = st.lists(
    st.builds(
        lambda title: {
            "type": "url_citation",
            "start_index": 0,
            "end_index": 1,
            "title": title,
            "url": "https://example.com",
        },
        texts(max_size=5),
    ),
    min_size=1,
    max_size=2,
)
_TOKENS = st.lists(
    st.fixed_dictionaries(
        {
            "token": texts(max_size=3),
            "logprob": st.floats(-100, 0),
            "bytes": st.lists(st.integers(0, 255), max_size=3),
            "top_logprobs": st.just([]),
        }
    ),
    min_size=1,
    max_size=2,
)
KINDS = ("message", "function_call", "reasoning")
ALL_KINDS = (*KINDS, "custom_tool_call", "web_search_call", "image_generation_call")


@st.composite
def _part(draw: st.DrawFn) -> Item:
    if draw(st.integers(0, 4)) == 4:
        return {"type": "refusal", "refusal": draw(texts())}
    part = {
        "type": "output_text",
        "text": draw(texts()),
        "annotations": draw(st.just([]) | st.just([]) | _NOTES),
    }
    return part | draw(st.just({}) | st.just({}) | _TOKENS.map(lambda found: {"logprobs": found}))


@st.composite
def _item(draw: st.DrawFn, at: int, kind: str, legible: bool) -> Item:
    match kind:
        case "message":
            content = draw(st.lists(_part(), max_size=2))
            said: Item = {"id": f"msg_{at}", "role": "assistant", "content": content}
            said["phase"] = draw(st.sampled_from([None, None, "commentary", "final_answer"]))
            return said | {"type": kind, "status": "completed"}
        case "function_call":
            ill = not legible and draw(st.integers(0, 3)) == 3
            arguments = draw(malformed() if ill else written_arguments())
            named = {"call_id": f"call_{at}", "name": draw(names()), "arguments": arguments}
            return {"id": f"fc_{at}", "type": kind, "status": "completed", **named}
        case "custom_tool_call":
            named = {"call_id": f"call_{at}", "name": draw(names()), "input": draw(texts())}
            return {"id": f"ctc_{at}", "type": kind, **named}
        case "reasoning":
            parts = st.lists(texts(), max_size=2)
            thought: Item = {"id": f"rs_{at}", "type": kind}
            summary = [{"type": "summary_text", "text": text} for text in draw(parts)]
            content = [{"type": "reasoning_text", "text": text} for text in draw(parts)]
            return thought | {
                "summary": summary,
                "content": content or draw(st.sampled_from([None, []])),
                "encrypted_content": draw(st.none() | call_ids()),
            }
        case "web_search_call":
            action = {"type": "search", "query": draw(texts()), "queries": [draw(texts())]}
            return {"id": f"ws_{at}", "type": kind, "status": "completed", "action": action}
    return {"id": f"ig_{at}", "type": kind, "status": "completed", "result": "iVBORw0KGgo="}


@st.composite
def response_answers(
    draw: st.DrawFn,
    kinds: tuple[str, ...] = ALL_KINDS,
    legible: bool = True,
    reasons: tuple[str | None, ...] = ("max_output_tokens", "content_filter", "max_messages", None),
) -> Answer:
    """Whole answers, of items in any order."""
    counts = st.integers(0, 2**31)
    drawn = [
        draw(_item(at, draw(st.sampled_from(kinds)), legible))
        for at in range(draw(st.integers(0, 4)))
    ]
    status = draw(st.sampled_from(["completed", "completed", "incomplete"]))
    return Answer(
        items=tuple(drawn),
        status=status,
        reason=draw(st.sampled_from(reasons)) if status == "incomplete" else None,
        id="resp_" + draw(call_ids()),
        model=draw(st.sampled_from(["gpt-5-2025-08-07", "modèle\u2028"])),
        input_tokens=draw(counts),
        output_tokens=draw(counts),
        cached=draw(counts),
        written=draw(counts),
        thought=draw(counts),
    )


# What Locus has to make of one, written down a second time.


def expected(answer: Answer, store: bool = True) -> ModelResponse:
    """The value that an answer has to be read as, without the items that the message keeps."""
    text, refusal, thoughts, notes, tokens, calls = "", "", [], [], [], []
    for item in answer.items:
        match item["type"]:
            case "message":
                for part in item["content"]:
                    text += part.get("text", "")
                    refusal += part.get("refusal", "")
                    notes += part.get("annotations", [])
                    tokens += part.get("logprobs", [])
            case "reasoning":
                said = [*item["summary"], *(item["content"] or [])]
                thoughts += [part["text"] for part in said if part["text"]]
            case "function_call" | "custom_tool_call":
                calls.append(call_of(item))
    content: Any = text or (None if calls else "")
    if refusal:
        content = [*([TextPart(text)] if text else []), RefusalPart(refusal)]
    return ModelResponse(
        message=Message.assistant(content, calls, metadata={"annotations": notes} if notes else {}),
        usage={
            "prompt_tokens": answer.input_tokens,
            "completion_tokens": answer.output_tokens,
            "cached_tokens": answer.cached,
            "cache_creation_input_tokens": answer.written,
            "reasoning_tokens": answer.thought,
        },
        stop_reason=answer.reason or answer.status,
        provider_state={"previous_response_id": answer.id} if store else None,
        reasoning="\n\n".join(thoughts) or None,
        model=answer.model,
        response_id=answer.id,
        logprobs={"content": tokens} if tokens else None,
    )


def call_of(item: Item) -> ToolCall:
    """A call as Locus has to give it: decoded by the standard library, or kept to the letter."""
    custom = item["type"] == "custom_tool_call"
    found = item["input"] if custom else object_in(item["arguments"])
    if isinstance(found, dict):
        return ToolCall(item["call_id"], item["name"], found)
    return ToolCall(item["call_id"], item["name"], malformed_arguments=found)


def essence(response: ModelResponse) -> ModelResponse:
    """A response without the items that its message keeps."""
    notes = {name: value for name, value in response.message.metadata.items() if name == NOTES}
    return attrs.evolve(response, message=attrs.evolve(response.message, metadata=notes))


NOTES = "annotations"


# JSON.


def whole(answer: Answer) -> dict[str, Any]:
    """The body of a whole answer, as OpenAI sends it."""
    return {
        **around(answer),
        "status": answer.status,
        "incomplete_details": {"reason": answer.reason} if answer.reason else None,
        "output": list(answer.items),
        "usage": {
            "input_tokens": answer.input_tokens,
            "input_tokens_details": {
                "cached_tokens": answer.cached,
                "cache_write_tokens": answer.written,
            },
            "output_tokens": answer.output_tokens,
            "output_tokens_details": {"reasoning_tokens": answer.thought},
            "total_tokens": answer.input_tokens + answer.output_tokens,
        },
    }


def around(answer: Answer) -> dict[str, Any]:
    return {
        "id": answer.id,
        "object": "response",
        "created_at": 1_700_000_000,
        "status": "in_progress",
        "error": None,
        "incomplete_details": None,
        "instructions": None,
        "metadata": {},
        "model": answer.model,
        "output": [],
        "parallel_tool_calls": True,
        "temperature": 1.0,
        "tool_choice": "auto",
        "tools": [],
        "top_p": 1.0,
        "usage": None,
    }


# How servers stream.
STYLES = (
    "openai",  # everything, numbered
    "unnumbered",  # items and parts told apart by the item's id alone (llama.cpp)
    "items",  # no deltas: each item at once
    "emptied",  # the last event has no output
    "bare",  # nothing but the last event
)

NOISE: tuple[Event, ...] = (
    {"type": "response.web_search_call.searching", "output_index": 0, "item_id": "ws_1"},
    {"type": "response.code_interpreter_call_code.done", "code": "1", "output_index": 0},
    {"type": "response.shell_call_output_content.delta", "delta": {"stdout": "no"}},
    {"type": "response.of_next_year", "item": 5, "delta": ["no"], "output_index": "x"},
    {"type": "response.output_item.added", "output_index": 99, "item": None},
    {"type": "response.output_text.delta", "output_index": 0, "content_index": 0, "delta": ""},
    {"type": "keepalive"},
)


@st.composite
def events(
    draw: st.DrawFn, answer: Answer, style: str = "openai", plain: bool = False
) -> list[Event]:
    """The events of a streamed answer. ``plain`` leaves out what OpenAI does not send today."""
    begun = around(answer)
    found: list[Event] = [{"type": "response.created", "response": begun}]
    found.append({"type": "response.in_progress", "response": begun})
    if style != "bare":
        for at, item in enumerate(answer.items):
            found += draw(_of_item(item, at, style))
    last = whole(answer)
    if style == "emptied":
        last["output"] = draw(st.sampled_from([None, []]))
    if not plain:
        for _ in range(draw(st.integers(0, 2))):
            found.insert(draw(st.integers(1, len(found))), draw(st.sampled_from(NOISE)))
    found.append({"type": f"response.{answer.status}", "response": last})
    if style == "unnumbered":
        return found
    return [{**event, "sequence_number": at} for at, event in enumerate(found)]


@st.composite
def _of_item(draw: st.DrawFn, item: Item, at: int, style: str) -> list[Event]:
    empty: Item = {"message": {"content": []}, "reasoning": {"summary": [], "content": []}}.get(
        item["type"], {}
    )
    for name in ("arguments", "input"):
        if name in item:
            empty[name] = ""
    inside = [] if style == "items" else draw(_inside(item))
    if style == "unnumbered":
        place: Event = {"item_id": item["id"]}
        inside = [_without_numbers(event) for event in inside]
        besides: Event = {}
    else:
        place = {"item_id": item["id"], "output_index": at}
        besides = {"output_index": at}
    return [
        {"type": "response.output_item.added", **besides, "item": {**item, **empty}},
        *({**event, **place} for event in inside),
        {"type": "response.output_item.done", **besides, "item": item},
    ]


def _without_numbers(event: Event) -> Event:
    return {name: value for name, value in event.items() if not name.endswith("_index")}


@st.composite
def _inside(draw: st.DrawFn, item: Item) -> list[Event]:
    """The events between the beginning of an item and its end."""
    found: list[Event] = []

    def spoken(name: str, text: str, index: Event, last: str) -> None:
        for piece in draw(pieces(text)):
            said: Event = {"type": f"response.{name}.delta", "delta": piece, **index}
            found.append(said | ({"logprobs": []} if name == "output_text" else {}))
        found.append({"type": f"response.{name}.done", last: text, **index})

    for at, part in enumerate(item.get("content") or ()):
        kind = {"output_text": "text", "refusal": "refusal"}.get(part["type"], "text")
        index = {"content_index": at}
        start = {**part, kind: ""} | ({"annotations": []} if "annotations" in part else {})
        if part["type"] == "reasoning_text":
            parts = draw(st.booleans())  # some servers announce them
            if parts:
                found.append({"type": "response.content_part.added", "part": start, **index})
            spoken("reasoning_text", part["text"], index, "text")
            if parts:
                found.append({"type": "response.content_part.done", "part": part, **index})
            continue
        found.append({"type": "response.content_part.added", "part": start, **index})
        spoken("output_text" if kind == "text" else "refusal", part[kind], index, kind)
        found.append({"type": "response.content_part.done", "part": part, **index})
    if item["type"] == "reasoning":  # of the two, the summary comes first in Locus's reading
        content, found = found, []
        for at, part in enumerate(item["summary"]):
            index = {"summary_index": at}
            start = {**part, "text": ""}
            found.append({"type": "response.reasoning_summary_part.added", "part": start, **index})
            spoken("reasoning_summary_text", part["text"], index, "text")
            found.append({"type": "response.reasoning_summary_part.done", "part": part, **index})
        found += content
    if item["type"] == "function_call":
        spoken("function_call_arguments", item["arguments"], {}, "arguments")
    if item["type"] == "custom_tool_call":
        spoken("custom_tool_call_input", item["input"], {}, "input")
    return found


# Bytes.


@st.composite
def framed(draw: st.DrawFn, found: list[Event]) -> bytes:
    """Events as server-sent events, with whatever line ends and comments servers use."""
    end = draw(st.sampled_from(["\n", "\n", "\r\n", "\r"]))
    ascii_ = draw(st.booleans())
    indent = draw(st.sampled_from([None, None, None, 1]))
    comments = ["", "", ": keep-alive" + end + end]
    lines = []
    for event in found:
        text = json.dumps(event, ensure_ascii=ascii_, indent=indent)
        lines.append(draw(st.sampled_from(comments)) + f"event: {event['type']}{end}")
        lines += [f"data: {line}{end}" for line in text.split("\n")]
        lines.append(end)
    return "".join(lines).encode()


def sse(*found: Event | str) -> bytes:
    """Events as OpenAI frames them; text goes as it is."""
    lines = []
    for event in found:
        name = event.get("type", "x") if isinstance(event, dict) else "x"
        data = event if isinstance(event, str) else json.dumps(event)
        lines.append(f"event: {name}\ndata: {data}\n\n")
    return "".join(lines).encode(errors="replace")


def delta(text: str, at: int = 0, part: int = 0) -> Event:
    """A piece of text."""
    place = {"output_index": at, "content_index": part, "item_id": f"msg_{at}"}
    return {"type": "response.output_text.delta", "delta": text, **place}


def message(*texts: str, at: int = 0, **more: Any) -> Item:
    """A message of the assistant."""
    parts = [{"type": "output_text", "text": text, "annotations": []} for text in texts]
    said = {"type": "message", "role": "assistant", "status": "completed", "content": parts}
    return {"id": f"msg_{at}", **said, **more}


def ending(*items: Item, status: str = "completed", **more: Any) -> Event:
    """The event that ends an answer of these items."""
    answer = {**whole(Answer(items, status=status)), **more}
    return {"type": f"response.{status}", "response": answer}


@cache
def reading(store: bool = True) -> Reading:
    """How streams of this format are read."""
    return Reading(ResponsesParser(store))


read, answer_of, failure_of = reading().read, reading().answer_of, reading().failure_of
