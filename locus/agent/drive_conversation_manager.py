"""Runs the user's conversation manager: its steps, and the model calls that it asks for.

A manager of the user's, or one that counts tokens with a function of the user's, may take long or
be async. So in an async run its steps do not run in the event loop, unless the manager says that it
is quick.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterable, Mapping
from inspect import isawaitable
from typing import TYPE_CHECKING, Any

import attrs

from locus.agent.call_model import call_model_in_steps
from locus.agent.effects import CallFunction, EffectGenerator
from locus.agent.run_context import RunContext
from locus.core.frozendict import EMPTY
from locus.core.messages import Message
from locus.core.response import get_finished_text

if TYPE_CHECKING:
    from locus.memory.managers.base import ConversationManager, SummaryRequest


@attrs.frozen(eq=False)
class _Step:
    """Where a manager's generator has got to: a request, or else its result."""

    request: SummaryRequest | None = None
    result: Any = None


def run_manager_in_steps(
    run: RunContext, manager: ConversationManager, messages: tuple[Message, ...]
) -> EffectGenerator[tuple[Message, ...]]:
    """Return the messages as the manager shortens them. The tokens of its model calls are counted.

    ``apply`` may be async, and ``reduce`` may return the messages instead of a generator.

    :raises TypeError: if the result is no sequence of messages; the message names the manager.
    """
    is_quick = getattr(manager, "is_quick", None)
    calls_directly = is_quick is not None and is_quick(messages)

    def call_in_steps(function: Callable[..., Any], *args: Any) -> EffectGenerator[Any]:
        if calls_directly:
            return function(*args)
        return (yield CallFunction(function, args, run.make_function_context()))

    shortened: Any = yield from call_in_steps(manager.reduce, messages)
    if isinstance(shortened, Generator):
        generator = shortened
        step: _Step = yield from call_in_steps(_advance, generator, None)
        while step.request is not None:
            model = run.model if step.request.model is None else step.request.model
            response = yield from call_model_in_steps(
                run, model, step.request.messages, (), EMPTY, streamed=False
            )
            run.state = run.state.with_usage(response.usage)
            step = yield from call_in_steps(_advance, generator, get_finished_text(response))
        shortened = step.result
    if isawaitable(shortened):
        shortened = yield CallFunction(_return_value, (shortened,), run.make_function_context())
    return _to_messages(shortened, manager)


def _advance(generator: Generator[SummaryRequest, Any, Any], response_text: str | None) -> _Step:
    """Run a manager's generator to its next request, or else to its result.

    :param response_text: the response to the last request; None at the beginning.
    """
    try:
        return _Step(request=generator.send(response_text))
    except StopIteration as stop:
        return _Step(result=stop.value)


def _return_value(value: Any) -> Any:
    """Return a value, which the driver awaits if it is awaitable."""
    return value


def _to_messages(value: Any, manager: ConversationManager) -> tuple[Message, ...]:
    """Convert the result of a manager to a tuple, and check it."""
    if isinstance(value, Iterable) and not isinstance(value, (str, Mapping, Message)):
        messages = tuple(value)
        if all(isinstance(message, Message) for message in messages):
            return messages
    raise TypeError(
        f"{type(manager).__name__} returned {type(value).__name__}, not a sequence of Message"
    )
