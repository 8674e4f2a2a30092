"""Strategies for values of Locus's own classes."""

from __future__ import annotations

from functools import cache
from typing import Any

from hypothesis import strategies as st

from locus.core.events import (
    GroundingEvent,
    ModelChunkEvent,
    ReflectEvent,
    TerminateEvent,
    ThinkEvent,
    ToolCompleteEvent,
    ToolStartEvent,
)
from locus.core.messages import Message
from locus.core.response import Candidate, ModelResponse
from locus.testing.formats.strategies.basic_values import arguments, json_objects, texts
from locus.testing.formats.strategies.conversations import (
    assistant_messages,
    conversations,
    tool_calls,
)


@cache
def messages() -> st.SearchStrategy[Message]:
    """Messages of every role."""
    return conversations().flatmap(st.sampled_from)


@cache
def responses() -> st.SearchStrategy[ModelResponse]:
    """Parsed responses."""
    usage = st.dictionaries(
        st.sampled_from(["prompt_tokens", "completion_tokens", "cached_tokens"]),
        st.integers(0, 2**40),
    )
    optional_text = st.none() | texts()
    message = st.lists(tool_calls(), max_size=2).flatmap(assistant_messages)
    candidate = st.builds(
        Candidate, message, optional_text, optional_text, st.none() | json_objects()
    )
    return st.builds(
        ModelResponse,
        message,
        usage,
        stop_reason=optional_text,
        provider_state=st.none() | json_objects(),
        reasoning=optional_text,
        model=optional_text,
        response_id=optional_text,
        logprobs=st.none() | json_objects(),
        candidates=st.just(()) | st.lists(candidate, min_size=2, max_size=2).map(tuple),
    )


@cache
def events() -> st.SearchStrategy[Any]:
    """Every event of ``locus.core.events``."""
    optional_text = st.none() | texts()
    numbers = st.floats(0, 1) | st.integers(0, 1)
    calls = st.lists(tool_calls(), max_size=2).map(tuple)
    counts = st.dictionaries(texts(max_size=5), st.integers(), max_size=2)
    return st.one_of(
        st.builds(
            ModelChunkEvent,
            content=optional_text,
            reasoning=optional_text,
            tool_calls=calls,
            done=st.booleans(),
            usage=st.none() | counts,
            stop_reason=optional_text,
            provider_state=st.none() | json_objects(),
            response=st.none() | responses(),
        ),
        st.builds(ThinkEvent, st.integers(), optional_text, calls),
        st.builds(ToolStartEvent, texts(), texts(), arguments()),
        st.builds(
            ToolCompleteEvent, texts(), texts(), optional_text, optional_text, st.none() | numbers
        ),
        st.builds(ReflectEvent, st.integers(), texts(), optional_text, numbers, st.booleans()),
        st.builds(
            GroundingEvent,
            numbers,
            st.lists(texts(), max_size=2),
            st.lists(texts(), max_size=2),
            st.booleans(),
        ),
        st.builds(TerminateEvent, texts(), st.integers(), st.integers(), optional_text, counts),
    )
