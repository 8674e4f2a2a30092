"""Random responses of the Messages API as plain values, and the expected Locus values."""

from __future__ import annotations

from typing import Any

import attrs
import msgspec
from hypothesis import strategies as st

from locus.core.messages import Message, RefusalPart, TextPart, ThinkingPart, ToolCall
from locus.core.response import ModelResponse
from tests.support.decoding import parse_json_object
from tests.support.native_state import strip_native_state
from tests.support.strategies import argument_texts, call_ids, malformed_arguments, names, texts

Block = dict[str, Any]

RESPOND_TOOL_NAME = "respond_with_schema"


@attrs.frozen
class AnthropicResponse:
    """A response: its content blocks as the API sends them, and its other members.

    ``input_json`` is the input of each tool block as a stream sends it, by the block's index.
    """

    blocks: tuple[Block, ...]
    input_json: dict[int, str] = attrs.field(factory=dict, eq=False)
    stop_reason: str = "end_turn"
    stop_sequence: str | None = None
    refusal_explanation: str | None = None
    id: str = "msg_1"
    model: str = "claude-sonnet-4"
    input_tokens: int = 7
    output_tokens: int = 5
    cache_read_tokens: int | None = None
    cache_creation_tokens: int | None = None
    thinking_tokens: int | None = None


# Random responses.

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
def _blocks(
    draw: st.DrawFn, index: int, block_type: str, valid_arguments: bool
) -> tuple[Block, str]:
    """A block, and its input as JSON text."""
    input_json = ""
    block: Block = {"type": block_type}
    if block_type == "text":
        block |= {"citations": draw(st.none() | st.none() | _CITATIONS), "text": draw(texts())}
    elif block_type == "thinking":
        block |= {"thinking": draw(texts()), "signature": draw(call_ids())}
    elif block_type == "redacted_thinking":
        block["data"] = draw(call_ids())
    elif block_type == "web_search_tool_result":
        search_result = {
            "type": "web_search_result",
            "encrypted_content": draw(call_ids()),
            "page_age": None,
            "title": draw(texts()),
            "url": "https://example.com",
        }
        block |= {"tool_use_id": f"srvtoolu_{index}", "caller": None, "content": [search_result]}
    else:
        input_json = draw(argument_texts())
        if not valid_arguments and draw(st.integers(0, 3)) == 3:
            input_json = draw(malformed_arguments().filter(str.strip))
        is_server_tool = block_type == "server_tool_use"
        block |= {
            "id": f"{'srvtoolu' if is_server_tool else 'toolu'}_{index}",
            "name": "web_search" if is_server_tool else draw(names()),
            "caller": {"type": "direct"},
            "input": parse_json_object(input_json),
        }
    return block, input_json


BLOCK_TYPES = ("text", "thinking", "redacted_thinking", "tool_use")
ALL_BLOCK_TYPES = (*BLOCK_TYPES, "server_tool_use", "web_search_tool_result")


@st.composite
def anthropic_responses(
    draw: st.DrawFn, block_types: tuple[str, ...] = ALL_BLOCK_TYPES, valid_arguments: bool = True
) -> AnthropicResponse:
    """Responses with blocks in any order."""
    blocks = [
        draw(_blocks(index, draw(st.sampled_from(block_types)), valid_arguments))
        for index in range(draw(st.integers(0, 4)))
    ]
    has_calls = any(block["type"] == "tool_use" for block, _ in blocks)
    counts = st.none() | st.integers(0, 2**31)
    stop_reason = (
        "tool_use"
        if has_calls
        else draw(
            st.sampled_from(["end_turn", "max_tokens", "stop_sequence", "pause_turn", "refusal"])
        )
    )
    return AnthropicResponse(
        blocks=tuple(block for block, _ in blocks),
        input_json={index: input_json for index, (_, input_json) in enumerate(blocks)},
        stop_reason=stop_reason,
        stop_sequence=draw(texts(min_size=1)) if stop_reason == "stop_sequence" else None,
        refusal_explanation=(
            draw(st.none() | texts(min_size=1)) if stop_reason == "refusal" else None
        ),
        id=draw(call_ids()),
        model=draw(st.sampled_from(["claude-sonnet-4-20250514", "modèle\u2028"])),
        input_tokens=draw(st.integers(0, 2**31)),
        output_tokens=draw(st.integers(0, 2**31)),
        cache_read_tokens=draw(counts),
        cache_creation_tokens=draw(counts),
        thinking_tokens=draw(counts),
    )


@st.composite
def structured_responses(draw: st.DrawFn) -> AnthropicResponse:
    """Responses with a call of the synthetic tool."""
    input_json = draw(argument_texts())
    block = {
        "type": "tool_use",
        "id": "toolu_1",
        "name": RESPOND_TOOL_NAME,
        "input": parse_json_object(input_json),
    }
    return AnthropicResponse((block,), {0: input_json}, stop_reason="tool_use")


# The expected Locus value, computed without Locus.


def build_expected_response(sample: AnthropicResponse) -> ModelResponse:
    """Build the value that a response has to be parsed as, without the message's metadata."""
    parts: list[Any] = []
    calls = []
    for block in sample.blocks:
        match block["type"]:
            case "text" if block["text"]:
                parts.append(TextPart(block["text"]))
            case "thinking":
                parts.append(ThinkingPart(block["thinking"], block["signature"]))
            case "redacted_thinking":
                parts.append(ThinkingPart(redacted=block["data"]))
            case "tool_use" if block["name"] == RESPOND_TOOL_NAME:
                parts.append(TextPart(encode_canonical_json(block["input"])))
            case "tool_use" if isinstance(block["input"], dict):
                calls.append(ToolCall(block["id"], block["name"], block["input"]))
            case "tool_use":
                calls.append(
                    ToolCall(block["id"], block["name"], malformed_arguments=block["input"])
                )
    if sample.refusal_explanation:
        parts.append(RefusalPart(sample.refusal_explanation))
    content: Any = parts
    if all(isinstance(part, TextPart) for part in parts):
        content = "".join(part.text for part in parts) or (None if calls else "")
    usage = {
        "prompt_tokens": sample.input_tokens
        + (sample.cache_read_tokens or 0)
        + (sample.cache_creation_tokens or 0),
        "completion_tokens": sample.output_tokens,
        "cached_tokens": sample.cache_read_tokens,
        "cache_read_input_tokens": sample.cache_read_tokens,
        "cache_creation_input_tokens": sample.cache_creation_tokens,
        "reasoning_tokens": sample.thinking_tokens,
    }
    reasoning = "".join(block.get("thinking", "") for block in sample.blocks)
    return ModelResponse(
        message=Message.assistant(content, calls),
        usage={name: count for name, count in usage.items() if count is not None},
        stop_reason=sample.stop_reason,
        reasoning=reasoning or None,
        model=sample.model,
        response_id=sample.id,
    )


def encode_canonical_json(value: Any) -> str:
    """Encode canonical JSON: members sorted by name, no white space."""
    return msgspec.json.encode(_sort_members(value)).decode()


def _sort_members(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: _sort_members(value[name]) for name in sorted(value)}
    return [_sort_members(item) for item in value] if isinstance(value, list) else value


def remove_metadata(response: ModelResponse) -> ModelResponse:
    """Remove the metadata and the native state of a response's message."""
    message = attrs.evolve(strip_native_state(response.message), metadata={})
    return attrs.evolve(response, message=message)


def build_replayed_blocks(sample: AnthropicResponse) -> list[Block]:
    """Build the blocks that a request has to contain if the response is sent back in it.

    A call of a tool of the API's own without its result is no part of them, as the turn is over,
    and no call of a refused response.
    """
    replayed = []
    answered = {block.get("tool_use_id") for block in sample.blocks}
    for block in sample.blocks:
        is_refused = block["type"] == "tool_use" and sample.stop_reason == "refusal"
        is_open = block["type"] == "server_tool_use" and block["id"] not in answered
        if is_refused or is_open:
            continue
        if block["type"] == "text" and not block["text"].strip():
            continue
        request_block = {name: value for name, value in block.items() if value is not None}
        if request_block.get("caller") == {"type": "direct"}:
            del request_block["caller"]
        if isinstance(request_block.get("input"), str):
            request_block["input"] = {"malformed_arguments": request_block["input"]}
        replayed.append(request_block)
    return replayed
