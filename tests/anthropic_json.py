"""Answers as Anthropic's messages JSON, whole and as events, and what Locus has to make of them."""

from __future__ import annotations

import json
from typing import Any

import attrs
from hypothesis import strategies as st

from locus.core.errors import APIError
from locus.core.events import ModelChunkEvent
from locus.core.messages import Message, RefusalPart, TextPart, ThinkingPart, ToolCall
from locus.core.response import ModelResponse
from locus.wire.anthropic_messages import AnthropicMessagesDecoder, AnthropicMessagesParser
from tests.chat_json import check_law
from tests.strategies import call_ids, json_objects, malformed, names, pieces, texts

Block = dict[str, Any]

RESPOND = "respond_with_schema"


@attrs.frozen
class Turn:
    """An answer: its blocks as the API sends them, and what stands around them.

    ``written`` is the input of each tool block as a stream writes it, by the block's place.
    """

    blocks: tuple[Block, ...]
    written: dict[int, str] = attrs.field(factory=dict, eq=False)
    stop: str = "end_turn"
    stop_sequence: str | None = None
    explanation: str | None = None
    id: str = "msg_1"
    model: str = "claude-sonnet-4"
    input_tokens: int = 7
    output_tokens: int = 5
    cache_read: int | None = None
    cache_written: int | None = None
    thinking_tokens: int | None = None


# Turns.

_CITATIONS = st.lists(
    st.builds(
        lambda text: {
            "type": "char_location",
            "cited_text": text,
            "document_index": 0,
            "document_title": None,
            "file_id": None,
            "start_char_index": 0,
            "end_char_index": 1,
        },
        texts(max_size=5),
    ),
    min_size=1,
    max_size=2,
)
_WRITTEN = st.builds(
    lambda value, marks, ascii_: json.dumps(value, separators=marks, ensure_ascii=ascii_),
    json_objects(),
    st.sampled_from([(",", ":"), (", ", ": ")]),
    st.booleans(),
)


@st.composite
def _block(draw: st.DrawFn, at: int, kind: str, legible: bool) -> tuple[Block, str]:
    written = ""
    block: Block = {"type": kind}
    if kind == "text":
        block |= {"citations": draw(st.none() | st.none() | _CITATIONS), "text": draw(texts())}
    elif kind == "thinking":
        block |= {"thinking": draw(texts()), "signature": draw(call_ids())}
    elif kind == "redacted_thinking":
        block["data"] = draw(call_ids())
    elif kind == "web_search_tool_result":
        found = {
            "type": "web_search_result",
            "encrypted_content": draw(call_ids()),
            "page_age": None,
            "title": draw(texts()),
            "url": "https://example.com",
        }
        block |= {"tool_use_id": f"srvtoolu_{at}", "caller": None, "content": [found]}
    else:
        written = draw(_WRITTEN)
        if not legible and draw(st.integers(0, 3)) == 3:
            written = draw(malformed().filter(str.strip))
        server = kind == "server_tool_use"
        block |= {
            "id": f"{'srvtoolu' if server else 'toolu'}_{at}",
            "name": "web_search" if server else draw(names()),
            "caller": {"type": "direct"},
            "input": object_in(written),
        }
    return block, written


def object_in(written: str) -> Any:
    """The JSON object that a text holds, or the text."""
    try:
        value = json.loads(written, parse_constant=_refuse)
    except ValueError:
        return written
    return value if isinstance(value, dict) else written


def _refuse(constant: str) -> Any:
    raise ValueError(constant)


KINDS = ("text", "thinking", "redacted_thinking", "tool_use")
ALL_KINDS = (*KINDS, "server_tool_use", "web_search_tool_result")


@st.composite
def turns(draw: st.DrawFn, kinds: tuple[str, ...] = ALL_KINDS, legible: bool = True) -> Turn:
    """Whole answers, of blocks in any order."""
    drawn = [
        draw(_block(at, draw(st.sampled_from(kinds)), legible))
        for at in range(draw(st.integers(0, 4)))
    ]
    calls = any(block["type"] == "tool_use" for block, _ in drawn)
    counts = st.none() | st.integers(0, 2**31)
    stop = (
        "tool_use"
        if calls
        else draw(
            st.sampled_from(["end_turn", "max_tokens", "stop_sequence", "pause_turn", "refusal"])
        )
    )
    return Turn(
        blocks=tuple(block for block, _ in drawn),
        written={at: written for at, (_, written) in enumerate(drawn)},
        stop=stop,
        stop_sequence=draw(texts(min_size=1)) if stop == "stop_sequence" else None,
        explanation=draw(st.none() | texts(min_size=1)) if stop == "refusal" else None,
        id=draw(call_ids()),
        model=draw(st.sampled_from(["claude-sonnet-4-20250514", "modèle\u2028"])),
        input_tokens=draw(st.integers(0, 2**31)),
        output_tokens=draw(st.integers(0, 2**31)),
        cache_read=draw(counts),
        cache_written=draw(counts),
        thinking_tokens=draw(counts),
    )


@st.composite
def structured(draw: st.DrawFn) -> Turn:
    """Answers by the synthetic tool."""
    written = draw(_WRITTEN)
    block = {
        "type": "tool_use",
        "id": "toolu_1",
        "name": RESPOND,
        "input": object_in(written),
    }
    return Turn((block,), {0: written}, stop="tool_use")


# What Locus has to make of one, written down a second time.


def expected(turn: Turn) -> ModelResponse:
    """The value that an answer has to be read as, without what the message's metadata keeps."""
    parts: list[Any] = []
    calls = []
    for block in turn.blocks:
        match block["type"]:
            case "text" if block["text"]:
                parts.append(TextPart(block["text"]))
            case "thinking":
                parts.append(ThinkingPart(block["thinking"], block["signature"]))
            case "redacted_thinking":
                parts.append(ThinkingPart(redacted=block["data"]))
            case "tool_use" if block["name"] == RESPOND:
                parts.append(TextPart(canonical(block["input"])))
            case "tool_use" if isinstance(block["input"], dict):
                calls.append(ToolCall(block["id"], block["name"], block["input"]))
            case "tool_use":
                calls.append(
                    ToolCall(block["id"], block["name"], malformed_arguments=block["input"])
                )
    if turn.explanation:
        parts.append(RefusalPart(turn.explanation))
    content: Any = parts
    if all(isinstance(part, TextPart) for part in parts):
        content = "".join(part.text for part in parts) or (None if calls else "")
    usage = {
        "prompt_tokens": turn.input_tokens,
        "completion_tokens": turn.output_tokens,
        "cache_read_input_tokens": turn.cache_read,
        "cache_creation_input_tokens": turn.cache_written,
        "reasoning_tokens": turn.thinking_tokens,
    }
    thought = "".join(block.get("thinking", "") for block in turn.blocks)
    return ModelResponse(
        message=Message.assistant(content, calls),
        usage={name: count for name, count in usage.items() if count is not None},
        stop_reason=turn.stop,
        reasoning=thought or None,
        model=turn.model,
        response_id=turn.id,
    )


def canonical(value: Any) -> str:
    """JSON in its one form, by the standard library where that and msgspec agree."""
    import msgspec

    return msgspec.json.encode(_sorted(value)).decode()


def _sorted(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: _sorted(value[name]) for name in sorted(value)}
    return [_sorted(item) for item in value] if isinstance(value, list) else value


def essence(response: ModelResponse) -> ModelResponse:
    """A response without its message's metadata."""
    message = attrs.evolve(response.message, metadata={})
    return attrs.evolve(response, message=message)


def sent_back(turn: Turn) -> list[Block]:
    """The blocks that a request has to hold where a turn goes back as it came."""
    found = []
    for block in turn.blocks:
        if block["type"] == "text" and not block["text"].strip():
            continue
        sent = {name: value for name, value in block.items() if value is not None}
        if sent.get("caller") == {"type": "direct"}:
            del sent["caller"]
        if isinstance(sent.get("input"), str):
            sent["input"] = {"malformed_arguments": sent["input"]}
        found.append(sent)
    return found


# JSON.


def whole(turn: Turn) -> dict[str, Any]:
    """The body of a whole answer."""
    return {
        "id": turn.id,
        "type": "message",
        "role": "assistant",
        "model": turn.model,
        "content": list(turn.blocks),
        **_ending(turn),
        "usage": {"input_tokens": turn.input_tokens, **_counts(turn)},
    }


def _ending(turn: Turn) -> dict[str, Any]:
    details = None
    if turn.stop == "refusal":
        details = {"type": "refusal", "category": None, "explanation": turn.explanation}
    return {
        "stop_reason": turn.stop,
        "stop_sequence": turn.stop_sequence,
        "stop_details": details,
    }


def _counts(turn: Turn) -> dict[str, Any]:
    counts: dict[str, Any] = {
        "cache_creation_input_tokens": turn.cache_written,
        "cache_read_input_tokens": turn.cache_read,
        "output_tokens": turn.output_tokens,
    }
    if turn.thinking_tokens is not None:
        counts["output_tokens_details"] = {"thinking_tokens": turn.thinking_tokens}
    return counts


NOISE: tuple[dict[str, Any], ...] = (
    {"type": "ping"},
    {"type": "an_event_of_next_year", "index": 0, "delta": {"text": "no"}},
    {"type": "content_block_delta", "index": 0},
    {"type": "message_delta", "delta": {}, "usage": None},
)


@st.composite
def events(draw: st.DrawFn, turn: Turn, plain: bool = False) -> list[dict[str, Any]]:
    """The events of a streamed answer. ``plain`` leaves out what the API does not send today."""
    start = whole(turn) | {"content": [], "stop_reason": None, "stop_sequence": None}
    start["stop_details"] = None
    start["usage"] = {"input_tokens": turn.input_tokens, "output_tokens": 1}
    if turn.cache_read is not None and draw(st.booleans()):  # all counts, or the last ones alone
        start["usage"]["cache_read_input_tokens"] = turn.cache_read // 2
    found: list[dict[str, Any]] = [{"type": "message_start", "message": start}]
    for index, block in enumerate(turn.blocks):
        begun, deltas = draw(_deltas(block, turn.written.get(index, "")))
        found.append({"type": "content_block_start", "index": index, "content_block": begun})
        found += [
            {"type": "content_block_delta", "index": index, "delta": delta} for delta in deltas
        ]
        found.append({"type": "content_block_stop", "index": index})
    usage = _counts(turn)
    if draw(st.booleans()):
        usage["input_tokens"] = turn.input_tokens
    found.append({"type": "message_delta", "delta": _ending(turn), "usage": usage})
    for _ in range(draw(st.integers(0, 2))):
        noise = {"type": "ping"} if plain else draw(st.sampled_from(NOISE))
        found.insert(draw(st.integers(1, len(found))), noise)
    return [*found, {"type": "message_stop"}]


@st.composite
def _deltas(draw: st.DrawFn, block: Block, written: str) -> tuple[Block, list[dict[str, Any]]]:
    """A block as it begins, and the deltas that make the rest of it."""
    match block["type"]:
        case "text":
            deltas = [{"type": "text_delta", "text": t} for t in draw(pieces(block["text"]))]
            begun = {**block, "text": ""}
            if block["citations"] is not None:
                begun["citations"] = []
                deltas += [
                    {"type": "citations_delta", "citation": citation}
                    for citation in block["citations"]
                ]
            return begun, deltas
        case "thinking":
            deltas = [
                {"type": "thinking_delta", "thinking": t} for t in draw(pieces(block["thinking"]))
            ]
            deltas.append({"type": "signature_delta", "signature": block["signature"]})
            return {**block, "thinking": "", "signature": ""}, deltas
        case "tool_use" | "server_tool_use":
            if block["input"] == {} and draw(st.booleans()):
                written = ""
            cut = draw(pieces(written))
            return {**block, "input": {}}, [
                {"type": "input_json_delta", "partial_json": piece} for piece in cut
            ]
    return block, []


# Bytes.


@st.composite
def framed(draw: st.DrawFn, found: list[dict[str, Any]]) -> bytes:
    """Events as server-sent events, with whatever line ends and comments servers use."""
    end = draw(st.sampled_from(["\n", "\n", "\r\n", "\r"]))
    ascii_ = draw(st.booleans())
    indent = draw(st.sampled_from([None, None, None, 1]))
    comments = ["", "", ": keep-alive" + end + end, "id: 7" + end]
    lines = []
    for event in found:
        text = json.dumps(event, ensure_ascii=ascii_, indent=indent)
        lines.append(draw(st.sampled_from(comments)) + f"event: {event['type']}{end}")
        lines += [f"data: {line}{end}" for line in text.split("\n")]
        lines.append(end)
    return "".join(lines).encode()


def sse(*found: dict[str, Any] | str) -> bytes:
    """Events as Anthropic frames them; text goes as it is."""
    lines = []
    for event in found:
        name = event["type"] if isinstance(event, dict) and "type" in event else "x"
        data = event if isinstance(event, str) else json.dumps(event)
        lines.append(f"event: {name}\ndata: {data}\n\n")
    return "".join(lines).encode(errors="replace")


def start(index: int = 0, **block: Any) -> dict[str, Any]:
    """The event that begins a block."""
    return {"type": "content_block_start", "index": index, "content_block": block}


def delta(index: int = 0, **said: Any) -> dict[str, Any]:
    """The event with a piece of a block."""
    return {"type": "content_block_delta", "index": index, "delta": said}


def stop(index: int = 0) -> dict[str, Any]:
    """The event that ends a block."""
    return {"type": "content_block_stop", "index": index}


def ending(reason: str = "end_turn", **usage: Any) -> tuple[dict[str, Any], ...]:
    """The two events that end an answer."""
    said = {"type": "message_delta", "delta": {"stop_reason": reason}, "usage": usage or None}
    return said, {"type": "message_stop"}


def text(said: str, index: int = 0) -> tuple[dict[str, Any], ...]:
    """The events of a block of text."""
    return (
        start(index, type="text", text=""),
        delta(index, type="text_delta", text=said),
        stop(index),
    )


# Reading.


def read(data: list[bytes]) -> tuple[list[ModelChunkEvent], AnthropicMessagesDecoder]:
    """The events of a stream, and the decoder as it is after the end."""
    decoder = AnthropicMessagesParser().decoder()
    assert isinstance(decoder, AnthropicMessagesDecoder)
    events = [event for piece in data for event in decoder.feed(piece)]
    return events + decoder.close(), decoder


def answer_of(data: list[bytes] | bytes) -> ModelResponse:
    """The whole answer of a stream that keeps the streaming law."""
    events, decoder = read([data] if isinstance(data, bytes) else data)
    assert decoder.failure is None
    assert decoder.done
    return check_law(events)


def failure_of(data: bytes) -> APIError:
    """Why a stream failed."""
    events, decoder = read([data])
    assert not any(event.done for event in events)
    assert not decoder.done
    assert decoder.failure is not None
    return decoder.failure
