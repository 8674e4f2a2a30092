"""Performs the requests of reflexion, grounding and GSAR with the effects of the agent's loop."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any, TypeVar

from locus.agent.call_model import call_model_in_steps
from locus.agent.effects import CallFunction, EffectGenerator
from locus.agent.run_context import RunContext
from locus.reasoning.reasoning_requests import (
    FunctionRequest,
    ReasoningGenerator,
    ReasoningRequest,
)

T = TypeVar("T")


def perform_reasoning_in_steps(
    run: RunContext, generator: ReasoningGenerator[T]
) -> EffectGenerator[T]:
    """Perform the requests of a generator, and return its result.

    The tokens of its model calls are part of the usage of the run.
    """
    proceed: Callable[[], ReasoningRequest] = partial(next, generator)
    while True:
        try:
            request = proceed()
        except StopIteration as stop:
            result: T = stop.value
            return result
        try:
            value = yield from _perform_request_in_steps(run, request)
        except GeneratorExit:  # the driver is gone, and no effect can be performed any more
            raise
        except BaseException as exc:  # noqa: BLE001 - the generator raises it
            proceed = partial(generator.throw, exc)
        else:
            proceed = partial(generator.send, value)


def _perform_request_in_steps(run: RunContext, request: ReasoningRequest) -> EffectGenerator[Any]:
    """Perform one request, and return its result."""
    if isinstance(request, FunctionRequest):
        return (yield CallFunction(request.function, request.args, run.make_function_context()))
    response = yield from call_model_in_steps(
        run, request.model, request.messages, (), request.options, streamed=False
    )
    run.state = run.state.with_usage(response.usage)
    return response
