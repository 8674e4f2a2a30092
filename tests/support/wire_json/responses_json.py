"""Sample responses as responses JSON, complete and streamed, and the expected values."""

from __future__ import annotations

import json
from functools import cache
from typing import Any

import attrs
from hypothesis import strategies as st

from locus.core.messages import Message, RefusalPart, TextPart, ToolCall
from locus.core.response import ModelResponse
from locus.wire.responses import ResponsesParser
from tests.support.decoding import StreamReader, parse_json_object
from tests.support.native_state import with_expected_call_state
from tests.support.strategies import (
    argument_texts,
    call_ids,
    malformed_arguments,
    names,
    text_splits,
    texts,
)

Item = dict[str, Any]
Event = dict[str, Any]


@attrs.frozen
class SampleResponse:
    """A response: its items as the API sends them, and the other members."""

    items: tuple[Item, ...]
    status: str = "completed"
    reason: str | None = None
    id: str = "resp_1"
    model: str = "gpt-5"
    input_tokens: int = 7
    output_tokens: int = 5
    cached_tokens: int = 0
    cache_write_tokens: int = 0
    reasoning_tokens: int = 0


# Responses.

_ANNOTATIONS = st.lists(
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
_LOGPROBS = st.lists(
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
COMMON_ITEM_TYPES = ("message", "function_call", "reasoning")
ITEM_TYPES = (*COMMON_ITEM_TYPES, "custom_tool_call", "web_search_call", "image_generation_call")


@st.composite
def _part(draw: st.DrawFn) -> Item:
    if draw(st.integers(0, 4)) == 4:
        return {"type": "refusal", "refusal": draw(texts())}
    part = {
        "type": "output_text",
        "text": draw(texts()),
        "annotations": draw(st.just([]) | st.just([]) | _ANNOTATIONS),
    }
    return part | draw(
        st.just({}) | st.just({}) | _LOGPROBS.map(lambda logprobs: {"logprobs": logprobs})
    )


@st.composite
def _item(draw: st.DrawFn, index: int, item_type: str, valid_arguments: bool) -> Item:
    match item_type:
        case "message":
            content = draw(st.lists(_part(), max_size=2))
            fields: Item = {"id": f"msg_{index}", "role": "assistant", "content": content}
            fields["phase"] = draw(st.sampled_from([None, None, "commentary", "final_answer"]))
            return fields | {"type": item_type, "status": "completed"}
        case "function_call":
            is_malformed = not valid_arguments and draw(st.integers(0, 3)) == 3
            arguments = draw(malformed_arguments() if is_malformed else argument_texts())
            call_fields = {
                "call_id": f"call_{index}",
                "name": draw(names()),
                "arguments": arguments,
            }
            return {"id": f"fc_{index}", "type": item_type, "status": "completed", **call_fields}
        case "custom_tool_call":
            call_fields = {
                "call_id": f"call_{index}",
                "name": draw(names()),
                "input": draw(texts()),
            }
            return {"id": f"ctc_{index}", "type": item_type, **call_fields}
        case "reasoning":
            parts = st.lists(texts(), max_size=2)
            reasoning_item: Item = {"id": f"rs_{index}", "type": item_type}
            summary = [{"type": "summary_text", "text": text} for text in draw(parts)]
            content = [{"type": "reasoning_text", "text": text} for text in draw(parts)]
            return reasoning_item | {
                "summary": summary,
                "content": content or draw(st.sampled_from([None, []])),
                "encrypted_content": draw(st.none() | call_ids()),
            }
        case "web_search_call":
            action = {"type": "search", "query": draw(texts()), "queries": [draw(texts())]}
            return {"id": f"ws_{index}", "type": item_type, "status": "completed", "action": action}
    return {"id": f"ig_{index}", "type": item_type, "status": "completed", "result": "iVBORw0KGgo="}


@st.composite
def sample_responses(
    draw: st.DrawFn,
    item_types: tuple[str, ...] = ITEM_TYPES,
    valid_arguments: bool = True,
    reasons: tuple[str | None, ...] = ("max_output_tokens", "content_filter", "max_messages", None),
) -> SampleResponse:
    """Complete responses, of items in any order."""
    counts = st.integers(0, 2**31)
    items = [
        draw(_item(index, draw(st.sampled_from(item_types)), valid_arguments))
        for index in range(draw(st.integers(0, 4)))
    ]
    status = draw(st.sampled_from(["completed", "completed", "incomplete"]))
    return SampleResponse(
        items=tuple(items),
        status=status,
        reason=draw(st.sampled_from(reasons)) if status == "incomplete" else None,
        id="resp_" + draw(call_ids()),
        model=draw(st.sampled_from(["gpt-5-2025-08-07", "modèle\u2028"])),
        input_tokens=draw(counts),
        output_tokens=draw(counts),
        cached_tokens=draw(counts),
        cache_write_tokens=draw(counts),
        reasoning_tokens=draw(counts),
    )


# The expected values, built without Locus's code.


def build_expected_response(sample: SampleResponse, store: bool = True) -> ModelResponse:
    """Build the expected ``ModelResponse``, without native items."""
    text, refusal, reasoning_texts, annotations, tokens, calls = "", "", [], [], [], []
    for item in sample.items:
        match item["type"]:
            case "message":
                for part in item["content"]:
                    text += part.get("text", "")
                    refusal += part.get("refusal", "")
                    annotations += part.get("annotations", [])
                    tokens += part.get("logprobs", [])
            case "reasoning":
                parts = [*item["summary"], *(item["content"] or [])]
                reasoning_texts += [part["text"] for part in parts if part["text"]]
            case "function_call" | "custom_tool_call":
                calls.append(build_expected_call(item))
    content: Any = text or (None if calls else "")
    if refusal:
        content = [*([TextPart(text)] if text else []), RefusalPart(refusal)]
    return ModelResponse(
        message=Message.assistant(
            content, calls, metadata={"annotations": annotations} if annotations else {}
        ),
        usage={
            "prompt_tokens": sample.input_tokens,
            "completion_tokens": sample.output_tokens,
            "total_tokens": sample.input_tokens + sample.output_tokens,
            "cached_tokens": sample.cached_tokens,
            "cache_read_input_tokens": sample.cached_tokens,
            "cache_creation_input_tokens": sample.cache_write_tokens,
            "reasoning_tokens": sample.reasoning_tokens,
        },
        stop_reason=sample.reason or sample.status,
        provider_state={"previous_response_id": sample.id} if store else None,
        reasoning="\n\n".join(reasoning_texts) or None,
        model=sample.model,
        response_id=sample.id,
        logprobs={"content": tokens} if tokens else None,
    )


def build_expected_call(item: Item) -> ToolCall:
    """Build the expected call; its arguments are decoded by the standard library."""
    custom = item["type"] == "custom_tool_call"
    arguments = item["input"] if custom else parse_json_object(item["arguments"])
    if isinstance(arguments, dict):
        call = ToolCall(item["call_id"], item["name"], arguments)
    else:
        call = ToolCall(item["call_id"], item["name"], malformed_arguments=arguments)
    return with_expected_call_state(call, "responses")


def remove_native_items(response: ModelResponse) -> ModelResponse:
    """Remove the native items from a response's message."""
    return attrs.evolve(response, message=attrs.evolve(response.message, native_state=None))


ANNOTATIONS_KEY = "annotations"


# JSON.


def build_body(sample: SampleResponse) -> dict[str, Any]:
    """Build the body of a complete response, as OpenAI sends it."""
    return {
        **build_envelope(sample),
        "status": sample.status,
        "incomplete_details": {"reason": sample.reason} if sample.reason else None,
        "output": list(sample.items),
        "usage": {
            "input_tokens": sample.input_tokens,
            "input_tokens_details": {
                "cached_tokens": sample.cached_tokens,
                "cache_write_tokens": sample.cache_write_tokens,
            },
            "output_tokens": sample.output_tokens,
            "output_tokens_details": {"reasoning_tokens": sample.reasoning_tokens},
            "total_tokens": sample.input_tokens + sample.output_tokens,
        },
    }


def build_envelope(sample: SampleResponse) -> dict[str, Any]:
    return {
        "id": sample.id,
        "object": "response",
        "created_at": 1_700_000_000,
        "status": "in_progress",
        "error": None,
        "incomplete_details": None,
        "instructions": None,
        "metadata": {},
        "model": sample.model,
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
    "unnumbered",  # items and parts distinguished by the item's id alone (llama.cpp)
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
def stream_events(
    draw: st.DrawFn, sample: SampleResponse, style: str = "openai", official_only: bool = False
) -> list[Event]:
    """The events of a streamed response; ``official_only``: only those that OpenAI sends today."""
    envelope = build_envelope(sample)
    events: list[Event] = [{"type": "response.created", "response": envelope}]
    events.append({"type": "response.in_progress", "response": envelope})
    if style != "bare":
        for index, item in enumerate(sample.items):
            events += draw(_events_of_item(item, index, style))
    last_response = build_body(sample)
    if style == "emptied":
        last_response["output"] = draw(st.sampled_from([None, []]))
    if not official_only:
        for _ in range(draw(st.integers(0, 2))):
            events.insert(draw(st.integers(1, len(events))), draw(st.sampled_from(NOISE)))
    events.append({"type": f"response.{sample.status}", "response": last_response})
    if style == "unnumbered":
        return events
    return [{**event, "sequence_number": index} for index, event in enumerate(events)]


@st.composite
def _events_of_item(draw: st.DrawFn, item: Item, index: int, style: str) -> list[Event]:
    empty: Item = {"message": {"content": []}, "reasoning": {"summary": [], "content": []}}.get(
        item["type"], {}
    )
    for name in ("arguments", "input"):
        if name in item:
            empty[name] = ""
    item_events = [] if style == "items" else draw(_item_events(item))
    if style == "unnumbered":
        position: Event = {"item_id": item["id"]}
        item_events = [_without_numbers(event) for event in item_events]
        index_fields: Event = {}
    else:
        position = {"item_id": item["id"], "output_index": index}
        index_fields = {"output_index": index}
    return [
        {"type": "response.output_item.added", **index_fields, "item": {**item, **empty}},
        *({**event, **position} for event in item_events),
        {"type": "response.output_item.done", **index_fields, "item": item},
    ]


def _without_numbers(event: Event) -> Event:
    return {name: value for name, value in event.items() if not name.endswith("_index")}


@st.composite
def _item_events(draw: st.DrawFn, item: Item) -> list[Event]:
    """The events between the beginning of an item and its end."""
    events: list[Event] = []

    def add_text(name: str, text: str, index_fields: Event, full_text_name: str) -> None:
        for chunk in draw(text_splits(text)):
            fields: Event = {"type": f"response.{name}.delta", "delta": chunk, **index_fields}
            events.append(fields | ({"logprobs": []} if name == "output_text" else {}))
        events.append({"type": f"response.{name}.done", full_text_name: text, **index_fields})

    for index, part in enumerate(item.get("content") or ()):
        member = {"output_text": "text", "refusal": "refusal"}.get(part["type"], "text")
        index_fields = {"content_index": index}
        start = {**part, member: ""} | ({"annotations": []} if "annotations" in part else {})
        if part["type"] == "reasoning_text":
            with_part_events = draw(st.booleans())  # some servers send part events
            if with_part_events:
                events.append(
                    {"type": "response.content_part.added", "part": start, **index_fields}
                )
            add_text("reasoning_text", part["text"], index_fields, "text")
            if with_part_events:
                events.append({"type": "response.content_part.done", "part": part, **index_fields})
            continue
        events.append({"type": "response.content_part.added", "part": start, **index_fields})
        add_text(
            "output_text" if member == "text" else "refusal", part[member], index_fields, member
        )
        events.append({"type": "response.content_part.done", "part": part, **index_fields})
    if item["type"] == "reasoning":  # Locus puts the summary first
        content, events = events, []
        for index, part in enumerate(item["summary"]):
            index_fields = {"summary_index": index}
            start = {**part, "text": ""}
            events.append(
                {"type": "response.reasoning_summary_part.added", "part": start, **index_fields}
            )
            add_text("reasoning_summary_text", part["text"], index_fields, "text")
            events.append(
                {"type": "response.reasoning_summary_part.done", "part": part, **index_fields}
            )
        events += content
    if item["type"] == "function_call":
        add_text("function_call_arguments", item["arguments"], {}, "arguments")
    if item["type"] == "custom_tool_call":
        add_text("custom_tool_call_input", item["input"], {}, "input")
    return events


# Bytes.


@st.composite
def framed_streams(draw: st.DrawFn, events: list[Event]) -> bytes:
    """Encode events as server-sent events, with different line ends and comments."""
    end = draw(st.sampled_from(["\n", "\n", "\r\n", "\r"]))
    ascii_ = draw(st.booleans())
    indent = draw(st.sampled_from([None, None, None, 1]))
    comments = ["", "", ": keep-alive" + end + end]
    lines = []
    for event in events:
        text = json.dumps(event, ensure_ascii=ascii_, indent=indent)
        lines.append(draw(st.sampled_from(comments)) + f"event: {event['type']}{end}")
        lines += [f"data: {line}{end}" for line in text.split("\n")]
        lines.append(end)
    return "".join(lines).encode()


def encode_sse(*events: Event | str) -> bytes:
    """Encode events as OpenAI does; strings are sent unchanged."""
    lines = []
    for event in events:
        name = event.get("type", "x") if isinstance(event, dict) else "x"
        data = event if isinstance(event, str) else json.dumps(event)
        lines.append(f"event: {name}\ndata: {data}\n\n")
    return "".join(lines).encode(errors="replace")


def make_text_delta(text: str, index: int = 0, part: int = 0) -> Event:
    """Return a delta of text."""
    position = {"output_index": index, "content_index": part, "item_id": f"msg_{index}"}
    return {"type": "response.output_text.delta", "delta": text, **position}


def make_message_item(*texts: str, index: int = 0, **more: Any) -> Item:
    """Return a message of the assistant."""
    parts = [{"type": "output_text", "text": text, "annotations": []} for text in texts]
    fields = {"type": "message", "role": "assistant", "status": "completed", "content": parts}
    return {"id": f"msg_{index}", **fields, **more}


def make_last_event(*items: Item, status: str = "completed", **more: Any) -> Event:
    """Return the event that ends a response of these items."""
    sample = {**build_body(SampleResponse(items, status=status)), **more}
    return {"type": f"response.{status}", "response": sample}


@cache
def get_stream_reader(store: bool = True) -> StreamReader:
    """Make the reader of streams of this format."""
    return StreamReader(ResponsesParser(store))


read_stream, decode_response, decode_failure = (
    get_stream_reader().read_stream,
    get_stream_reader().decode_response,
    get_stream_reader().decode_failure,
)
