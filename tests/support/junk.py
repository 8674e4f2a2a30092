"""JSON of each wire format with wrong values, for parsers and decoders that must not crash."""

from __future__ import annotations

from functools import cache
from typing import Any

from hypothesis import strategies as st

from locus.wire.responses.stream import HANDLED_EVENTS
from tests.support.anthropic_responses import RESPOND_TOOL_NAME
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
"""Values of wrong types."""


def partial_objects(**members: st.SearchStrategy[Any]) -> Objects:
    """Objects with any of these members."""
    return st.fixed_dictionaries({}, optional=members)


def short_lists(items: st.SearchStrategy[Any]) -> st.SearchStrategy[list[Any]]:
    return st.lists(items, max_size=2)


@cache
def chat_chunks() -> Objects:
    """Chunks, and complete responses, of chat completions."""
    function = partial_objects(name=JUNK | texts(), arguments=JUNK | texts())
    call = partial_objects(index=JUNK, id=JUNK, function=function, custom=JUNK)
    part = partial_objects(type=JUNK, text=JUNK, thinking=JUNK)
    message = partial_objects(
        content=JUNK | short_lists(part),
        tool_calls=JUNK | short_lists(call),
        function_call=JUNK | function,
        annotations=JUNK,
        audio=JUNK | partial_objects(data=JUNK, transcript=JUNK),
        reasoning=JUNK,
        refusal=JUNK,
    )
    choice = partial_objects(
        index=JUNK,
        delta=JUNK | message,
        message=JUNK | message,
        finish_reason=JUNK,
        logprobs=JUNK | partial_objects(content=JUNK, refusal=JUNK),
    )
    return partial_objects(
        id=JUNK,
        model=JUNK,
        choices=JUNK | short_lists(choice),
        usage=JUNK | partial_objects(prompt_tokens=JUNK, completion_tokens=JUNK),
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
    return partial_objects(
        type=_BLOCKS | JUNK,
        text=JUNK | texts(),
        thinking=JUNK,
        signature=JUNK,
        name=JUNK | st.just(RESPOND_TOOL_NAME),
        id=JUNK,
        input=JUNK,
        citations=JUNK,
    )


@cache
def anthropic_messages() -> st.SearchStrategy[Any]:
    """Complete responses of Anthropic, and what is no object at all."""
    return JUNK | partial_objects(
        id=JUNK,
        model=JUNK,
        content=JUNK | short_lists(_anthropic_blocks()),
        usage=JUNK | partial_objects(input_tokens=JUNK, output_tokens=JUNK),
    )


@cache
def anthropic_events() -> Objects:
    """Events of Anthropic's streams."""
    part = partial_objects(
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
    return partial_objects(
        type=_EVENTS | JUNK,
        index=st.integers(0, 2) | JUNK,
        delta=JUNK | part,
        content_block=JUNK | _anthropic_blocks(),
        message=anthropic_messages(),
        usage=JUNK,
        error=JUNK,
    )


@cache
def ollama_lines() -> Objects:
    """Pieces, and complete responses, of Ollama."""
    function = partial_objects(name=JUNK | texts(), arguments=JUNK)
    call = partial_objects(id=JUNK | texts(), function=JUNK | function)
    message = partial_objects(
        content=JUNK | texts(), thinking=JUNK, tool_calls=JUNK | short_lists(call), images=JUNK
    )
    return partial_objects(
        model=JUNK,
        created_at=JUNK,
        message=JUNK | message,
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
    return partial_objects(promptTokens=JUNK, completionTokens=JUNK, completionTokensDetails=JUNK)


@cache
def oci_generic_events() -> Objects:
    """Events of OCI's generic format, which are choices of its complete responses."""
    call = partial_objects(id=JUNK, name=JUNK | texts(), arguments=JUNK | texts(), index=JUNK)
    part = partial_objects(type=JUNK, text=JUNK | texts(), imageUrl=JUNK)
    message = partial_objects(
        content=JUNK | short_lists(part),
        toolCalls=JUNK | short_lists(call),
        reasoningContent=JUNK,
        refusal=JUNK,
        annotations=JUNK,
    )
    return partial_objects(
        index=JUNK,
        message=JUNK | message,
        finishReason=JUNK,
        usage=JUNK | _oci_usage(),
        logprobs=JUNK,
        groundingMetadata=JUNK,
        code=JUNK,
        error=JUNK,
    )


@cache
def oci_generic_bodies() -> Objects:
    """Complete responses of OCI's generic format."""
    chat = partial_objects(
        choices=JUNK | short_lists(oci_generic_events()), usage=JUNK | _oci_usage()
    )
    return partial_objects(
        chatResponse=JUNK | chat, modelId=JUNK, code=JUNK, message=JUNK, error=JUNK
    )


@cache
def oci_cohere_events() -> Objects:
    """Events, and complete responses, of Cohere's first format."""
    call = partial_objects(name=JUNK | texts(), parameters=JUNK)
    event = partial_objects(
        text=JUNK | texts(),
        toolCalls=JUNK | short_lists(call),
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
    return event | partial_objects(chatResponse=JUNK | event, modelId=JUNK)


@cache
def oci_cohere_v2_events() -> Objects:
    """Events, and complete responses, of Cohere's second format."""
    content = partial_objects(type=JUNK, text=JUNK | texts(), thinking=JUNK | texts())
    call = partial_objects(
        id=JUNK | texts(), function=JUNK | partial_objects(name=JUNK | texts(), arguments=JUNK)
    )
    message = partial_objects(
        content=JUNK | short_lists(content),
        toolPlan=JUNK,
        toolCalls=JUNK | short_lists(call),
        citations=JUNK,
    )
    event = partial_objects(
        id=JUNK,
        message=JUNK | message,
        finishReason=JUNK | st.just("COMPLETE"),
        errorMessage=JUNK,
        logProbabilities=JUNK,
        usage=JUNK | _oci_usage(),
        code=JUNK,
        error=JUNK,
    )
    return event | partial_objects(chatResponse=JUNK | event)


# Responses.

_ITEM_KINDS = st.sampled_from(["message", "function_call", "reasoning", "custom_tool_call"])


@cache
def _responses_items() -> Objects:
    part = partial_objects(type=JUNK, text=JUNK | texts(), refusal=JUNK, annotations=JUNK)
    return partial_objects(
        type=_ITEM_KINDS | JUNK,
        id=JUNK,
        call_id=JUNK,
        name=JUNK | texts(),
        arguments=JUNK | texts(),
        input=JUNK,
        content=JUNK | short_lists(part),
        summary=JUNK | short_lists(part),
        encrypted_content=JUNK,
        role=JUNK,
        status=JUNK,
    )


@st.composite
def _draw_body(draw: st.DrawFn, body: Any) -> Any:  # as above: the repr of a body fills pages
    return draw(body())


@cache
def _response_objects() -> Objects:
    return partial_objects(
        id=JUNK | texts(),
        model=JUNK,
        status=JUNK | st.sampled_from(["completed", "failed", "incomplete"]),
        output=JUNK | short_lists(_responses_items()),
        usage=JUNK,
        incomplete_details=JUNK,
        error=JUNK,
        message=JUNK,
        store=JUNK,
    )


def responses_bodies() -> Objects:
    """Complete responses of the responses format."""
    return _response_objects() | _responses_items()


@cache
def responses_events() -> Objects:
    """Events of the responses format, most of them of kinds that are read."""
    small_integers = st.integers(0, 1)
    members = {
        "output_index": small_integers | JUNK,
        "content_index": small_integers,
        "summary_index": small_integers,
        "item_id": texts() | st.none(),
        "delta": texts() | JUNK,
        "text": texts() | JUNK,
        "refusal": JUNK,
        "arguments": JUNK | texts(),
        "input": JUNK,
        "item": _responses_items() | JUNK,
        "part": partial_objects(type=JUNK, text=JUNK | texts(), refusal=JUNK) | JUNK,
        "response": _draw_body(_response_objects),
        "code": JUNK,
        "message": JUNK,
        "error": JUNK,
    }
    event_types = st.sampled_from(sorted(HANDLED_EVENTS))
    known_events = st.fixed_dictionaries({"type": event_types}, optional=members)
    return known_events | known_events | known_events | partial_objects(type=JUNK)
