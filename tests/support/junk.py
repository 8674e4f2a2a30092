"""JSON of each wire format with something in the wrong place, for readers that must not trip."""

from __future__ import annotations

from functools import cache
from typing import Any

from hypothesis import strategies as st

from locus.wire.responses.stream import HANDLED
from tests.support.anthropic_turns import RESPOND
from tests.support.strategies import json_values, texts

Objects = st.SearchStrategy[dict[str, Any]]

_ODD = json_values() | st.sampled_from(
    [
        float("nan"),
        float("inf"),
        1e300,
        "\ud800",
        2**70,
        -1,
        [{}],
        {"index": 0},
        [{"index": 0}],
        {"name": 0},
        [{"id": 0}],
        {"type": "text"},
    ]
)


@st.composite
def _junk(draw: st.DrawFn) -> Any:  # a function, so that its repr is short
    return draw(_ODD)


JUNK = _junk()
"""What stands where something else was promised."""


def some(**members: st.SearchStrategy[Any]) -> Objects:
    """Objects with any of these members."""
    return st.fixed_dictionaries({}, optional=members)


def few(items: st.SearchStrategy[Any]) -> st.SearchStrategy[list[Any]]:
    return st.lists(items, max_size=2)


@cache
def chat_chunks() -> Objects:
    """Chunks, and whole answers, of chat completions."""
    function = some(name=JUNK | texts(), arguments=JUNK | texts())
    call = some(index=JUNK, id=JUNK, function=function, custom=JUNK)
    piece = some(type=JUNK, text=JUNK, thinking=JUNK)
    said = some(
        content=JUNK | few(piece),
        tool_calls=JUNK | few(call),
        function_call=JUNK | function,
        annotations=JUNK,
        audio=JUNK | some(data=JUNK, transcript=JUNK),
        reasoning=JUNK,
        refusal=JUNK,
    )
    choice = some(
        index=JUNK,
        delta=JUNK | said,
        message=JUNK | said,
        finish_reason=JUNK,
        logprobs=JUNK | some(content=JUNK, refusal=JUNK),
    )
    return some(
        id=JUNK,
        model=JUNK,
        choices=JUNK | few(choice),
        usage=JUNK | some(prompt_tokens=JUNK, completion_tokens=JUNK),
        error=JUNK,
        message=JUNK,
    )


_BLOCKS = st.sampled_from(
    ["text", "thinking", "redacted_thinking", "tool_use", "server_tool_use", "tool_of_next_year"]
)
_DELTAS = st.sampled_from(
    [
        "text_delta",
        "thinking_delta",
        "signature_delta",
        "input_json_delta",
        "citations_delta",
        "delta_of_next_year",
    ]
)
_EVENTS = st.sampled_from(
    [
        "message_start",
        "content_block_start",
        "content_block_delta",
        "content_block_stop",
        "message_delta",
        "message_stop",
        "ping",
        "error",
    ]
)


@cache
def _anthropic_blocks() -> Objects:
    return some(
        type=_BLOCKS | JUNK,
        text=JUNK | texts(),
        thinking=JUNK,
        signature=JUNK,
        name=JUNK | st.just(RESPOND),
        id=JUNK,
        input=JUNK,
        citations=JUNK,
    )


@cache
def anthropic_messages() -> st.SearchStrategy[Any]:
    """Whole answers of Anthropic, and what is no object at all."""
    return JUNK | some(
        id=JUNK,
        model=JUNK,
        content=JUNK | few(_anthropic_blocks()),
        usage=JUNK | some(input_tokens=JUNK, output_tokens=JUNK),
    )


@cache
def anthropic_events() -> Objects:
    """Events of Anthropic's streams."""
    piece = some(
        type=_DELTAS | JUNK,
        text=JUNK | texts(),
        thinking=JUNK | texts(),
        signature=JUNK,
        partial_json=JUNK | texts(),
        citation=JUNK,
        stop_reason=JUNK,
        stop_details=JUNK,
        container=JUNK,
    )
    return some(
        type=_EVENTS | JUNK,
        index=st.integers(0, 2) | JUNK,
        delta=JUNK | piece,
        content_block=JUNK | _anthropic_blocks(),
        message=anthropic_messages(),
        usage=JUNK,
        error=JUNK,
    )


@cache
def ollama_lines() -> Objects:
    """Pieces, and whole answers, of Ollama."""
    function = some(name=JUNK | texts(), arguments=JUNK)
    call = some(id=JUNK | texts(), function=JUNK | function)
    said = some(content=JUNK | texts(), thinking=JUNK, tool_calls=JUNK | few(call), images=JUNK)
    return some(
        model=JUNK,
        created_at=JUNK,
        message=JUNK | said,
        done=JUNK,
        done_reason=JUNK,
        prompt_eval_count=JUNK,
        eval_count=JUNK,
        logprobs=JUNK,
        error=JUNK,
        status=JUNK,
    )


# OCI.


def _oci_usage() -> Objects:
    return some(promptTokens=JUNK, completionTokens=JUNK, completionTokensDetails=JUNK)


@cache
def oci_generic_events() -> Objects:
    """Events of OCI's generic format, which are choices of its whole answers."""
    call = some(id=JUNK, name=JUNK | texts(), arguments=JUNK | texts(), index=JUNK)
    part = some(type=JUNK, text=JUNK | texts(), imageUrl=JUNK)
    said = some(
        content=JUNK | few(part),
        toolCalls=JUNK | few(call),
        reasoningContent=JUNK,
        refusal=JUNK,
        annotations=JUNK,
    )
    return some(
        index=JUNK,
        message=JUNK | said,
        finishReason=JUNK,
        usage=JUNK | _oci_usage(),
        logprobs=JUNK,
        groundingMetadata=JUNK,
        code=JUNK,
        error=JUNK,
    )


@cache
def oci_generic_answers() -> Objects:
    """Whole answers of OCI's generic format."""
    chat = some(choices=JUNK | few(oci_generic_events()), usage=JUNK | _oci_usage())
    return some(chatResponse=JUNK | chat, modelId=JUNK, code=JUNK, message=JUNK, error=JUNK)


@cache
def oci_cohere_events() -> Objects:
    """Events, and whole answers, of Cohere's first format."""
    call = some(name=JUNK | texts(), parameters=JUNK)
    event = some(
        text=JUNK | texts(),
        toolCalls=JUNK | few(call),
        finishReason=JUNK | st.just("COMPLETE"),
        errorMessage=JUNK,
        chatHistory=JUNK,
        usage=JUNK | _oci_usage(),
        citations=JUNK,
        code=JUNK,
        message=JUNK,
        error=JUNK,
        modelId=JUNK,
    )
    return event | some(chatResponse=JUNK | event, modelId=JUNK)


@cache
def oci_cohere_v2_events() -> Objects:
    """Events, and whole answers, of Cohere's second format."""
    content = some(type=JUNK, text=JUNK | texts(), thinking=JUNK | texts())
    call = some(id=JUNK | texts(), function=JUNK | some(name=JUNK | texts(), arguments=JUNK))
    message = some(
        content=JUNK | few(content),
        toolPlan=JUNK,
        toolCalls=JUNK | few(call),
        citations=JUNK,
    )
    event = some(
        id=JUNK,
        message=JUNK | message,
        finishReason=JUNK | st.just("COMPLETE"),
        errorMessage=JUNK,
        logProbabilities=JUNK,
        usage=JUNK | _oci_usage(),
        code=JUNK,
        error=JUNK,
    )
    return event | some(chatResponse=JUNK | event)


# Responses.

_ITEM_KINDS = st.sampled_from(["message", "function_call", "reasoning", "custom_tool_call"])


@cache
def _responses_items() -> Objects:
    part = some(type=JUNK, text=JUNK | texts(), refusal=JUNK, annotations=JUNK)
    return some(
        type=_ITEM_KINDS | JUNK,
        id=JUNK,
        call_id=JUNK,
        name=JUNK | texts(),
        arguments=JUNK | texts(),
        input=JUNK,
        content=JUNK | few(part),
        summary=JUNK | few(part),
        encrypted_content=JUNK,
        role=JUNK,
        status=JUNK,
    )


@st.composite
def _drawn(draw: st.DrawFn, body: Any) -> Any:  # as above: the repr of a body fills pages
    return draw(body())


@cache
def _responses_bodies() -> Objects:
    return some(
        id=JUNK | texts(),
        model=JUNK,
        status=JUNK | st.sampled_from(["completed", "failed", "incomplete"]),
        output=JUNK | few(_responses_items()),
        usage=JUNK,
        incomplete_details=JUNK,
        error=JUNK,
        message=JUNK,
        store=JUNK,
    )


def responses_answers() -> Objects:
    """Whole answers of the responses format."""
    return _responses_bodies() | _responses_items()


@cache
def responses_events() -> Objects:
    """Events of the responses format, most of them of kinds that are read."""
    small = st.integers(0, 1)
    members = {
        "output_index": small | JUNK,
        "content_index": small,
        "summary_index": small,
        "item_id": texts() | st.none(),
        "delta": texts() | JUNK,
        "text": texts() | JUNK,
        "refusal": JUNK,
        "arguments": JUNK | texts(),
        "input": JUNK,
        "item": _responses_items() | JUNK,
        "part": some(type=JUNK, text=JUNK | texts(), refusal=JUNK) | JUNK,
        "response": _drawn(_responses_bodies),
        "code": JUNK,
        "message": JUNK,
        "error": JUNK,
    }
    kinds = st.sampled_from(sorted(HANDLED))
    known = st.fixed_dictionaries({"type": kinds}, optional=members)
    return known | known | known | some(type=JUNK)
