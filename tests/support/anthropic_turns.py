"""Answers of Anthropic in plain values, and what Locus has to make of them."""

from __future__ import annotations

from typing import Any

import attrs
import msgspec
from hypothesis import strategies as st

from locus.core.messages import Message, RefusalPart, TextPart, ThinkingPart, ToolCall
from locus.core.response import ModelResponse
from tests.support.decoding import object_in
from tests.support.strategies import call_ids, malformed, names, texts, written_arguments

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
        written = draw(written_arguments())
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
    written = draw(written_arguments())
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
