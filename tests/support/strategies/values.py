"""Locus's own values, for what has to keep them whole."""

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
from tests.support.strategies.conversations import assistant_messages, conversations, tool_calls
from tests.support.strategies.plain import arguments, json_objects, texts


@cache
def messages() -> st.SearchStrategy[Message]:
    """Single messages of every role."""
    return conversations().flatmap(st.sampled_from)


@cache
def responses() -> st.SearchStrategy[ModelResponse]:
    """Answers as Locus gives them."""
    usage = st.dictionaries(
        st.sampled_from(["prompt_tokens", "completion_tokens", "cached_tokens"]),
        st.integers(0, 2**40),
    )
    words = st.none() | texts()
    message = st.lists(tool_calls(), max_size=2).flatmap(assistant_messages)
    candidate = st.builds(Candidate, message, words, words, st.none() | json_objects())
    return st.builds(
        ModelResponse,
        message,
        usage,
        stop_reason=words,
        provider_state=st.none() | json_objects(),
        reasoning=words,
        model=words,
        response_id=words,
        logprobs=st.none() | json_objects(),
        candidates=st.just(()) | st.lists(candidate, min_size=2, max_size=2).map(tuple),
    )


@cache
def events() -> st.SearchStrategy[Any]:
    """Every event of ``locus.core.events``."""
    words = st.none() | texts()
    numbers = st.floats(0, 1) | st.integers(0, 1)
    calls = st.lists(tool_calls(), max_size=2).map(tuple)
    counts = st.dictionaries(texts(max_size=5), st.integers(), max_size=2)
    return st.one_of(
        st.builds(
            ModelChunkEvent,
            content=words,
            reasoning=words,
            tool_calls=calls,
            done=st.booleans(),
            usage=st.none() | counts,
            stop_reason=words,
            provider_state=st.none() | json_objects(),
            response=st.none() | responses(),
        ),
        st.builds(ThinkEvent, st.integers(), words, calls),
        st.builds(ToolStartEvent, texts(), texts(), arguments()),
        st.builds(ToolCompleteEvent, texts(), texts(), words, words, st.none() | numbers),
        st.builds(ReflectEvent, st.integers(), texts(), numbers, words),
        st.builds(GroundingEvent, numbers, st.lists(json_objects(), max_size=2), words),
        st.builds(TerminateEvent, texts(), st.integers(), st.integers(), words, counts),
    )
