"""Checks that a model class follows the contract that Locus's own models follow.

Every model is checked against :class:`~locus.models.ModelProtocol`. A model with the base class
:class:`~locus.models.base.Model` must also do everything else that Locus's own models do. An
exception that a model raises is reported like any other finding, so one run reports everything.
"""

from __future__ import annotations

import importlib.util
import inspect
from collections.abc import (
    AsyncGenerator,
    AsyncIterator,
    Awaitable,
    Callable,
    Iterable,
    Iterator,
    Sequence,
)
from functools import partial
from typing import Any, Final

import anyio

from locus.core.events import ModelChunkEvent
from locus.core.messages import Message, Role, ToolResult
from locus.core.response import ModelResponse
from locus.models.base import Model
from locus.models.protocols import ModelProtocol

USAGE_KEYS: Final = frozenset(
    {
        "prompt_tokens",
        "total_tokens",
        "prompt_audio_tokens",
        "completion_audio_tokens",
        "accepted_prediction_tokens",
        "rejected_prediction_tokens",
        "completion_tokens",
        "cached_tokens",
        "reasoning_tokens",
        "cache_creation_input_tokens",
        "cache_read_input_tokens",
    }
)
_INVALID_CONVERSATIONS: Final = {
    "an empty conversation": [],
    "an assistant message with neither text nor calls": [
        Message.user("Hello."),
        Message.assistant(None),
    ],
    "a tool result that answers no call": [
        Message.user("Hello."),
        Message.tool(ToolResult("call_of_nobody", "nothing", "")),
    ],
}


def check_model_conformance(model: Any, prompt: str = "Say hello.") -> None:
    """Call ``model`` in every way, and check that it follows the model contract.

    Blocking calls are checked if the model has Locus's base class; asyncio always; trio if it is
    installed. Each of these calls the model three to six times, for at most 16 tokens: a scripted
    model needs ``cycle=True``. Call this function from blocking code, where no event loop runs.

    :raises AssertionError: if anything is wrong; the text lists everything. Its cause is the first
        unexpected exception of the model, if there was one.
    """
    findings = _Findings()
    if not isinstance(model, ModelProtocol):
        findings.messages.append(f"{type(model).__name__} has no complete() or no stream()")
        raise findings.make_error()
    if isinstance(model, Model):
        findings.runtime = "blocking"
        _check_blocking_calls(model, prompt, findings)
    for backend in ("asyncio", "trio"):
        if importlib.util.find_spec(backend) is not None:
            findings.runtime = backend
            anyio.run(_check_async_calls, model, prompt, findings, backend=backend)
    if findings.messages:
        raise findings.make_error() from next(iter(findings.errors), None)


class _Findings:
    """Collects what is wrong with the model."""

    def __init__(self) -> None:
        self.runtime = ""
        self.messages: list[str] = []
        self.errors: list[Exception] = []

    def add_finding(self, finding: str) -> None:
        self.messages.append(f"{self.runtime}: {finding}")

    def make_error(self) -> AssertionError:
        return AssertionError("\n".join(["the model breaks the contract:", *self.messages]))

    def add_findings(self, findings: Iterable[str]) -> None:
        for finding in findings:
            self.add_finding(finding)

    def add_error(self, action_name: str, exc: Exception) -> None:
        self.add_finding(f"{action_name} raised {type(exc).__name__}: {exc}")
        self.errors.append(exc)


# -- the calls: the same checks twice, blocking and async --------------------------------------


def _check_blocking_calls(model: Model, prompt: str, findings: _Findings) -> None:
    """Call the model in every blocking way and add what is wrong to ``findings``."""

    def attempt(action_name: str, action: Callable[[], None]) -> None:
        try:
            action()
        except Exception as exc:  # noqa: BLE001  # every exception is a finding
            findings.add_error(action_name, exc)

    def complete() -> None:
        findings.add_findings(_iter_response_findings(model.complete_sync(prompt, max_tokens=16)))

    def stream() -> None:
        findings.add_findings(
            _iter_event_findings(list(model.stream_sync(Message.user(prompt), max_tokens=16)))
        )

    def leave_early() -> None:
        with model.stream_sync([Message.user(prompt)], max_tokens=16) as events:
            next(events, None)

    def close_and_call_again() -> None:
        model.close_sync()
        model.close_sync()
        if not isinstance(model.invoke(prompt, max_tokens=16), Message):
            findings.add_finding("invoke() returns no Message")

    def bind() -> None:
        bound = model.bind_tools([_TOOL], temperature=0)
        if type(bound) is not type(model) or bound is model:
            findings.add_finding("bind_tools() returns no copy of the model")

    attempt("complete_sync()", complete)
    attempt("stream_sync()", stream)
    attempt("leaving a stream early", leave_early)
    attempt("a call after closing twice", close_and_call_again)
    attempt("bind_tools()", bind)

    calls = {"complete_sync()": model.complete_sync, "stream_sync()": model.stream_sync}
    unknown_keyword: dict[str, Any] = {"no_such_keyword": 1}
    for name, call in calls.items():
        for argument, messages in _INVALID_CONVERSATIONS.items():
            findings.add_findings(
                _collect_rejection_findings(name, argument, ValueError, partial(call, messages))
            )
        with_unknown_keyword = partial(call, prompt, **unknown_keyword)
        findings.add_findings(
            _collect_rejection_findings(name, "an unknown keyword", TypeError, with_unknown_keyword)
        )
    bind_with_unknown_keyword = partial(model.bind_tools, [], **unknown_keyword)
    findings.add_findings(
        _collect_rejection_findings(
            "bind_tools()", "an unknown keyword", TypeError, bind_with_unknown_keyword
        )
    )


async def _check_async_calls(model: Any, prompt: str, findings: _Findings) -> None:
    """Call the model in every async way and add what is wrong to ``findings``."""

    async def attempt(action_name: str, action: Callable[[], Awaitable[None]]) -> None:
        try:
            await action()
        except Exception as exc:  # noqa: BLE001  # every exception is a finding
            findings.add_error(action_name, exc)

    async def complete() -> None:
        response = model.complete(prompt, max_tokens=16)
        if inspect.isawaitable(response):
            findings.add_findings(_iter_response_findings(await response))
        else:
            findings.add_finding("complete() is not async")

    async def stream() -> None:
        events = model.stream(Message.user(prompt), max_tokens=16)
        if inspect.iscoroutine(events):
            events.close()
            findings.add_finding(
                "stream() is a coroutine: it must return an async iterator directly"
            )
        else:
            findings.add_findings(_iter_event_findings([event async for event in events]))

    async def leave_early() -> None:
        async with model.stream([Message.user(prompt)], max_tokens=16) as events:
            await anext(events, None)

    async def close_and_call_again() -> None:
        await model.aclose()
        await model.close()
        if not isinstance(await model.ainvoke(prompt, max_tokens=16), Message):
            findings.add_finding("ainvoke() returns no Message")

    await attempt("complete()", complete)
    await attempt("stream()", stream)
    calls: dict[str, Callable[..., Any]] = {"complete()": model.complete, "stream()": model.stream}
    for name, call in calls.items():
        for argument, messages in _INVALID_CONVERSATIONS.items():
            findings.add_findings(
                await _collect_rejection_findings_async(
                    name, argument, ValueError, partial(call, messages)
                )
            )
    if isinstance(model, Model):
        await attempt("leaving a stream early", leave_early)
        await attempt("a call after aclose() and close()", close_and_call_again)
        for name, call in calls.items():
            with_unknown_keyword = partial(call, prompt, no_such_keyword=1)
            findings.add_findings(
                await _collect_rejection_findings_async(
                    name, "an unknown keyword", TypeError, with_unknown_keyword
                )
            )


_TOOL: Final = {
    "type": "function",
    "function": {"name": "nothing", "parameters": {"type": "object", "properties": {}}},
}


# -- the rules of the contract -----------------------------------------------------------------


def _iter_response_findings(response: Any) -> Iterator[str]:
    """Yield what is wrong with a complete response."""
    if not isinstance(response, ModelResponse):
        yield f"a response is {type(response).__name__}, not ModelResponse"
        return
    message = response.message
    if not isinstance(message, Message) or message.role is not Role.ASSISTANT:
        yield "the message of a response is not an assistant's"
        return
    for name, count in response.usage.items():
        if name not in USAGE_KEYS:
            yield f"usage has the key {name!r}, which is none of {', '.join(sorted(USAGE_KEYS))}"
        if not isinstance(count, int) or isinstance(count, bool) or count < 0:
            yield f"usage counts {name} as {count!r}, not an integer of 0 or more"
    call_ids = [call.id for call in message.tool_calls]
    if len(set(call_ids)) < len(call_ids):
        yield f"two tool calls of one response have the same id: {call_ids}"


def _iter_event_findings(events: Sequence[Any]) -> Iterator[str]:
    """Yield what is wrong with the events of a stream."""
    wrong_types = [event for event in events if not isinstance(event, ModelChunkEvent)]
    if wrong_types or not events:
        yield f"a stream yields {type(wrong_types[0]).__name__ if wrong_types else 'nothing'}"
        return
    done_positions = [position for position, event in enumerate(events) if event.done]
    if done_positions != [len(events) - 1]:
        yield (
            f"only the last event may have done=True; of {len(events)} events it is on "
            f"{done_positions or 'none'}"
        )
        return
    last, response = events[-1], events[-1].response
    if response is None:
        yield "the last event has no response"
        return
    findings = list(_iter_response_findings(response))
    if findings:
        yield from (f"the streamed response: {finding}" for finding in findings)
        return
    for name, chunks, complete in (
        ("content", [event.content for event in events], response.content),
        ("reasoning", [event.reasoning for event in events], response.reasoning or ""),
    ):
        if "".join(chunk or "" for chunk in chunks) != complete:
            yield f"the events' {name} is not the complete response's"
    if tuple(call for event in events for call in event.tool_calls) != response.tool_calls:
        yield "the events' tool calls are not the complete response's"
    for name in ("usage", "stop_reason", "provider_state"):
        if getattr(last, name) != getattr(response, name):
            yield f"the last event's {name} is not the response's"
        if any(getattr(event, name) is not None for event in events[:-1]):
            yield f"an event before the last one has {name}"


def _collect_rejection_findings(
    call_name: str, argument_name: str, error_type: type[Exception], make_call: Callable[[], Any]
) -> list[str]:
    """Make a call with an invalid argument; return a finding unless it raises ``error_type``."""
    try:
        result = make_call()
        if isinstance(result, Iterator):
            next(result, None)
    except Exception as exc:  # noqa: BLE001  # every exception is a finding
        return _collect_error_type_findings(call_name, argument_name, error_type, exc)
    return [
        f"{call_name} does not reject {argument_name} with {_format_type_with_article(error_type)}"
    ]


async def _collect_rejection_findings_async(
    call_name: str, argument_name: str, error_type: type[Exception], make_call: Callable[[], Any]
) -> list[str]:
    """Do as :func:`_collect_rejection_findings`, for an async call."""
    try:
        result = make_call()
        if inspect.isawaitable(result):
            await result
        elif isinstance(result, AsyncIterator):
            await anext(result, None)
            if isinstance(result, AsyncGenerator):
                await result.aclose()
    except Exception as exc:  # noqa: BLE001  # every exception is a finding
        return _collect_error_type_findings(call_name, argument_name, error_type, exc)
    return [
        f"{call_name} does not reject {argument_name} with {_format_type_with_article(error_type)}"
    ]


def _collect_error_type_findings(
    call_name: str, argument_name: str, error_type: type[Exception], exc: Exception
) -> list[str]:
    """Return a finding if the call raised another type of error than ``error_type``."""
    if isinstance(exc, error_type):
        return []
    return [
        f"{call_name} rejects {argument_name} with {_format_type_with_article(type(exc))}, not "
        f"{_format_type_with_article(error_type)}"
    ]


def _format_type_with_article(error_type: type[Exception]) -> str:
    return f"{'an' if error_type.__name__[0] in 'AEIOU' else 'a'} {error_type.__name__}"
