"""Strategies for the states of an agent."""

from __future__ import annotations

from functools import cache

from hypothesis import strategies as st

from locus.core.messages import TextPart
from locus.core.state import AgentState, OutputRetries, ServerKnowledge, ToolExecution
from locus.testing.formats.strategies.basic_values import (
    arguments,
    call_ids,
    json_objects,
    names,
    texts,
    texts_with_lone_surrogates,
)
from locus.testing.formats.strategies.conversations import conversations, images


@cache
def executions() -> st.SearchStrategy[ToolExecution]:
    """Executions of tools."""
    optional_text = st.none() | texts() | texts_with_lone_surrogates()
    return st.builds(
        ToolExecution,
        tool_name=names(),
        tool_call_id=call_ids(),
        arguments=arguments(),
        result=optional_text,
        error=optional_text,
        duration_ms=st.none() | st.floats(0, 1e6),
        iteration=st.integers(0, 100),
        idempotent=st.booleans(),
        parts=st.just(()) | st.lists(images() | st.builds(TextPart, texts()), max_size=2),
    )


@cache
def states() -> st.SearchStrategy[AgentState]:
    """States with any field set."""
    return st.builds(
        AgentState,
        messages=st.just(()) | conversations(),
        tool_executions=st.lists(executions(), max_size=3),
        iteration=st.integers(0, 100),
        provider_state=st.none() | json_objects(),
        metadata=json_objects(),
        usage=st.dictionaries(texts(max_size=5), st.integers(0, 2**70), max_size=2),
        confidence=st.floats(0, 1),
        server_knowledge=st.none()
        | st.builds(
            ServerKnowledge,
            messages=st.none() | st.integers(),
            server=st.none() | texts(),
            system_prompt=st.none() | texts(),
        ),
        empty_response_after=st.none() | st.integers(),
        output_retries=st.none() | st.builds(OutputRetries, st.integers(), st.integers()),
        cut_off_call_id=st.none() | call_ids(),
        hidden_tools=st.lists(texts(), max_size=2),
    )


@cache
def thread_ids() -> st.SearchStrategy[str]:
    """Ids of threads, many of them difficult for file systems and databases."""
    odd = [
        "a", "A", "a ", "é", "e\u0301", "a/b", "../a", "..", ".", "/etc/passwd", "\\\\host\\x",
        "C:\\a", "con", "nul.json", "a\x00b", "\x00", "a" * 5000, "👩\u200d👧", "\ud800", "%2e%2e",
        "'; DROP TABLE checkpoints; --", "*", "-", "a.json", "a.lock", "\n", " ",
    ]  # fmt: skip
    return st.sampled_from(odd) | st.text(min_size=1, max_size=10) | texts_with_lone_surrogates()
