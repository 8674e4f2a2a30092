"""Whether a model keeps the contract: the checks that Locus's own models pass, for any other.

The least that a model is, :class:`~locus.models.base.ModelProtocol`, is checked of every model;
what a user of Locus's own may rely on besides, of those with the base class
:class:`~locus.models.model.Model`. Whatever a model raises is a finding like any other, so that
one run tells everything.
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
from locus.models.base import ModelProtocol
from locus.models.model import Model

USAGE_KEYS: Final = frozenset(
    {
        "prompt_tokens",
        "completion_tokens",
        "cached_tokens",
        "reasoning_tokens",
        "cache_creation_input_tokens",
        "cache_read_input_tokens",
    }
)
_UNACCEPTABLE: Final = {
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
    """Call ``model`` in every way, and check what it promises by being a model.

    Blocking calls are checked of models with Locus's base class; asyncio always; trio where it is
    installed. Each way of calling asks the model three to six times, for 16 tokens at the most:
    give a scripted model ``cycle=True``. Call this from plain code, where no event loop runs.

    :raises AssertionError: lists everything that is wrong; its cause is the first error that the
        model raised unasked, if there was one.
    """
    findings = _Findings()
    if not isinstance(model, ModelProtocol):
        findings.said.append(f"{type(model).__name__} has no complete() or no stream()")
        raise findings.told()
    if isinstance(model, Model):
        findings.runtime = "blocking"
        _check_blocking(model, prompt, findings)
    for backend in ("asyncio", "trio"):
        if importlib.util.find_spec(backend) is not None:
            findings.runtime = backend
            anyio.run(_check_async, model, prompt, findings, backend=backend)
    if findings.said:
        raise findings.told() from next(iter(findings.errors), None)


class _Findings:
    """What is wrong with the model."""

    def __init__(self) -> None:
        self.runtime = ""
        self.said: list[str] = []
        self.errors: list[Exception] = []

    def add(self, finding: str) -> None:
        self.said.append(f"{self.runtime}: {finding}")

    def told(self) -> AssertionError:
        return AssertionError("\n".join(["the model breaks the contract:", *self.said]))

    def extend(self, findings: Iterable[str]) -> None:
        for finding in findings:
            self.add(finding)

    def raised(self, what: str, error: Exception) -> None:
        self.add(f"{what} raised {type(error).__name__}: {error}")
        self.errors.append(error)


# -- what is called: the same checks twice, blocking and async ---------------------------------


def _check_blocking(model: Model, prompt: str, findings: _Findings) -> None:
    def attempt(what: str, action: Callable[[], None]) -> None:
        try:
            action()
        except Exception as error:  # noqa: BLE001  # whatever it is, it is the finding
            findings.raised(what, error)

    def complete() -> None:
        findings.extend(_answer(model.complete_sync(prompt, max_tokens=16)))

    def stream() -> None:
        findings.extend(_stream(list(model.stream_sync(Message.user(prompt), max_tokens=16))))

    def leave_early() -> None:
        with model.stream_sync([Message.user(prompt)], max_tokens=16) as events:
            next(events, None)

    def close_and_ask_again() -> None:
        model.close_sync()
        model.close_sync()
        if not isinstance(model.invoke(prompt, max_tokens=16), Message):
            findings.add("invoke() gives no Message")

    def bind() -> None:
        bound = model.bind_tools([_TOOL], temperature=0)
        if type(bound) is not type(model) or bound is model:
            findings.add("bind_tools() gives no copy of the model")

    attempt("complete_sync()", complete)
    attempt("stream_sync()", stream)
    attempt("leaving a stream early", leave_early)
    attempt("a call after closing twice", close_and_ask_again)
    attempt("bind_tools()", bind)

    calls = {"complete_sync()": model.complete_sync, "stream_sync()": model.stream_sync}
    for name, call in calls.items():
        for what, messages in _UNACCEPTABLE.items():
            findings.extend(_refused(name, what, ValueError, partial(call, messages)))
        odd = partial(call, prompt, no_such_keyword=1)
        findings.extend(_refused(name, "an unknown keyword", TypeError, odd))
    binding = partial(model.bind_tools, [], no_such_keyword=1)
    findings.extend(_refused("bind_tools()", "an unknown keyword", TypeError, binding))


async def _check_async(model: Any, prompt: str, findings: _Findings) -> None:
    async def attempt(what: str, action: Callable[[], Awaitable[None]]) -> None:
        try:
            await action()
        except Exception as error:  # noqa: BLE001  # whatever it is, it is the finding
            findings.raised(what, error)

    async def complete() -> None:
        answer = model.complete(prompt, max_tokens=16)
        if inspect.isawaitable(answer):
            findings.extend(_answer(await answer))
        else:
            findings.add("complete() is not async")

    async def stream() -> None:
        events = model.stream(Message.user(prompt), max_tokens=16)
        if inspect.iscoroutine(events):
            events.close()
            findings.add("stream() is a coroutine: it must give an async iterator as it is")
        else:
            findings.extend(_stream([event async for event in events]))

    async def leave_early() -> None:
        async with model.stream([Message.user(prompt)], max_tokens=16) as events:
            await anext(events, None)

    async def close_and_ask_again() -> None:
        await model.aclose()
        await model.close()
        if not isinstance(await model.ainvoke(prompt, max_tokens=16), Message):
            findings.add("ainvoke() gives no Message")

    await attempt("complete()", complete)
    await attempt("stream()", stream)
    calls: dict[str, Callable[..., Any]] = {"complete()": model.complete, "stream()": model.stream}
    for name, call in calls.items():
        for what, messages in _UNACCEPTABLE.items():
            findings.extend(await _refused_async(name, what, ValueError, partial(call, messages)))
    if isinstance(model, Model):
        await attempt("leaving a stream early", leave_early)
        await attempt("a call after aclose() and close()", close_and_ask_again)
        for name, call in calls.items():
            odd = partial(call, prompt, no_such_keyword=1)
            findings.extend(await _refused_async(name, "an unknown keyword", TypeError, odd))


_TOOL: Final = {
    "type": "function",
    "function": {"name": "nothing", "parameters": {"type": "object", "properties": {}}},
}


# -- what has to hold --------------------------------------------------------------------------


def _answer(response: Any) -> Iterator[str]:
    if not isinstance(response, ModelResponse):
        yield f"an answer is {type(response).__name__}, not ModelResponse"
        return
    message = response.message
    if not isinstance(message, Message) or message.role is not Role.ASSISTANT:
        yield "an answer's message is not an assistant's"
        return
    for name, count in response.usage.items():
        if name not in USAGE_KEYS:
            yield f"usage has the key {name!r}, which is none of {', '.join(sorted(USAGE_KEYS))}"
        if not isinstance(count, int) or isinstance(count, bool) or count < 0:
            yield f"usage counts {name} as {count!r}, not a whole number from 0"
    names = [call.id for call in message.tool_calls]
    if len(set(names)) < len(names):
        yield f"two tool calls of one answer have the same id: {names}"


def _stream(events: Sequence[Any]) -> Iterator[str]:
    strange = [event for event in events if not isinstance(event, ModelChunkEvent)]
    if strange or not events:
        yield f"a stream gave {type(strange[0]).__name__ if strange else 'nothing'}"
        return
    done = [position for position, event in enumerate(events) if event.done]
    if done != [len(events) - 1]:
        yield f"done is to be on the last event alone; of {len(events)} it is on {done or 'none'}"
        return
    last, whole = events[-1], events[-1].response
    if whole is None:
        yield "the last event has no response"
        return
    wrong = list(_answer(whole))
    if wrong:
        yield from (f"the streamed answer: {finding}" for finding in wrong)
        return
    for name, pieces, all_of_it in (
        ("content", [event.content for event in events], whole.content),
        ("reasoning", [event.reasoning for event in events], whole.reasoning or ""),
    ):
        if "".join(piece or "" for piece in pieces) != all_of_it:
            yield f"the pieces' {name} is not the whole answer's"
    if tuple(call for event in events for call in event.tool_calls) != whole.tool_calls:
        yield "the pieces' tool calls are not the whole answer's"
    for name in ("usage", "stop_reason", "provider_state"):
        if getattr(last, name) != getattr(whole, name):
            yield f"the last event's {name} is not the whole answer's"
        if any(getattr(event, name) is not None for event in events[:-1]):
            yield f"an event before the last one has {name}"


def _refused(call: str, what: str, kind: type[Exception], action: Callable[[], Any]) -> list[str]:
    try:
        answer = action()
        if isinstance(answer, Iterator):
            next(answer, None)
    except Exception as error:  # noqa: BLE001  # whatever it is, it is the finding
        return _wrong_kind(call, what, kind, error)
    return [f"{call} does not refuse {what} with {_a(kind)}"]


async def _refused_async(
    call: str, what: str, kind: type[Exception], action: Callable[[], Any]
) -> list[str]:
    try:
        answer = action()
        if inspect.isawaitable(answer):
            await answer
        elif isinstance(answer, AsyncIterator):
            await anext(answer, None)
            if isinstance(answer, AsyncGenerator):
                await answer.aclose()
    except Exception as error:  # noqa: BLE001  # whatever it is, it is the finding
        return _wrong_kind(call, what, kind, error)
    return [f"{call} does not refuse {what} with {_a(kind)}"]


def _wrong_kind(call: str, what: str, kind: type[Exception], error: Exception) -> list[str]:
    if isinstance(error, kind):
        return []
    return [f"{call} refuses {what} with {_a(type(error))}, not {_a(kind)}"]


def _a(kind: type[Exception]) -> str:
    return f"{'an' if kind.__name__[0] in 'AEIOU' else 'a'} {kind.__name__}"
