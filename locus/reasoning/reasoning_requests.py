"""What reflexion, grounding and GSAR ask their caller to do: call a model, or a user's function.

An evaluation is a generator that yields such requests, is sent their results, and returns its own
result. It does no I/O. The agent's loop performs the requests with its own effects;
:func:`perform_requests_sync` and :func:`perform_requests` do so outside an agent.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Generator, Mapping
from contextlib import ExitStack
from functools import partial
from inspect import isawaitable
from typing import Any, TypeAlias, TypeVar

import attrs

from locus.core.frozendict import EMPTY
from locus.core.messages import Message
from locus.core.response import ModelResponse

T = TypeVar("T")


@attrs.frozen(eq=False)
class ModelRequest:
    """Call a model without tools. The result is a :class:`~locus.core.response.ModelResponse`."""

    model: Any
    messages: tuple[Message, ...]
    options: Mapping[str, Any] = EMPTY


@attrs.frozen(eq=False)
class FunctionRequest:
    """Call a function of the user's, blocking or async. The result is what it returns."""

    function: Callable[..., Any]
    args: tuple[Any, ...] = ()


ReasoningRequest: TypeAlias = ModelRequest | FunctionRequest
ReasoningGenerator: TypeAlias = Generator[ReasoningRequest, Any, T]
"""A generator that yields requests, is sent their results, and returns a result."""


def perform_requests_sync(generator: ReasoningGenerator[T]) -> T:
    """Perform the requests of a generator, blocking, and return its result.

    Async functions run in an event loop in another thread, which ends with this call.
    """
    with ExitStack() as stack:
        awaiter = _Awaiter(stack)
        outcome: Callable[[], ReasoningRequest] = partial(next, generator)
        while True:
            try:
                request = outcome()
            except StopIteration as stop:
                result: T = stop.value
                return result
            try:
                value = _perform_request_sync(request, awaiter)
            except BaseException as exc:  # noqa: BLE001 - the generator raises it
                outcome = partial(generator.throw, exc)
            else:
                outcome = partial(generator.send, value)


async def perform_requests(generator: ReasoningGenerator[T]) -> T:
    """Perform the requests of a generator under asyncio or trio, and return its result.

    Blocking functions run in a thread. If the caller is cancelled, that thread is left behind.
    """
    outcome: Callable[[], ReasoningRequest] = partial(next, generator)
    while True:
        try:
            request = outcome()
        except StopIteration as stop:
            result: T = stop.value
            return result
        try:
            value = await _perform_request(request)
        except BaseException as exc:  # noqa: BLE001 - the generator raises it
            outcome = partial(generator.throw, exc)
        else:
            outcome = partial(generator.send, value)


class _Awaiter:
    """Awaits what async functions return, in an event loop that starts when the first one does.

    :param stack: ends the event loop.
    """

    def __init__(self, stack: ExitStack) -> None:
        self._stack = stack
        self._portal: Any = None

    def await_if_awaitable(self, value: Any) -> Any:
        """Return a value; if it is awaitable, await it and return its result."""
        if not isawaitable(value):
            return value
        if self._portal is None:
            from anyio.from_thread import start_blocking_portal

            self._portal = self._stack.enter_context(start_blocking_portal())
        return self._portal.call(_await_value, value)


async def _await_value(value: Awaitable[Any]) -> Any:
    """Await a value: a coroutine function that every awaitable can be passed to."""
    return await value


def _perform_request_sync(request: ReasoningRequest, awaiter: _Awaiter) -> Any:
    """Perform one request, blocking."""
    if isinstance(request, FunctionRequest):
        return awaiter.await_if_awaitable(request.function(*request.args))
    model = request.model
    call = getattr(model, "complete_sync", None) or model.complete
    response = awaiter.await_if_awaitable(call(request.messages, (), **request.options))
    return _check_response(model, response)


async def _perform_request(request: ReasoningRequest) -> Any:
    """Perform one request under asyncio or trio."""
    if isinstance(request, FunctionRequest):
        from locus.tools.signature import is_coroutine_function

        if is_coroutine_function(request.function):
            return await request.function(*request.args)
        from anyio import to_thread

        (value,) = await to_thread.run_sync(_call_function, request, abandon_on_cancel=True)
        return await value if isawaitable(value) else value
    response = await request.model.complete(request.messages, (), **request.options)
    return _check_response(request.model, response)


def _call_function(request: FunctionRequest) -> tuple[Any]:
    """Call a function in this thread; return its result in a tuple: trio refuses a coroutine."""
    return (request.function(*request.args),)


def _check_response(model: Any, response: Any) -> ModelResponse:
    """Check that a model, which may be an object of a user's class, returned a response."""
    if not isinstance(response, ModelResponse):
        raise TypeError(
            f"the model {type(model).__name__} gave {type(response).__name__}, not a ModelResponse"
        )
    return response
