"""Executes one tool call: runs the function, calls the after-hooks, records the execution."""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator
from typing import Any, Final

import attrs

from locus.agent.bind_arguments import bind_arguments_in_steps
from locus.agent.convert_tool_error import try_convert_to_tool_error
from locus.agent.describe_error import describe_error
from locus.agent.effects import CallFunction, EffectGenerator, RunTool, ToolOutcome
from locus.agent.fit_result_to_model import describe_content, fit_result_to_model
from locus.agent.idempotent_calls import find_earlier_execution
from locus.agent.prepare_tool_call import PreparedCall
from locus.agent.record_executions import RoundExecutions
from locus.agent.run_context import RunContext
from locus.core.frozendict import EMPTY
from locus.core.messages import Part, ResultContent
from locus.core.state import ToolExecution
from locus.hooks.events import AfterToolCallEvent
from locus.tools.errors import ModelRetry, ToolArgumentsError, find_model_retry
from locus.tools.metered_result import MeteredResult
from locus.tools.read_iterators import make_iterator_reader
from locus.tools.result_content import render_result_content
from locus.tools.slow_rendering import is_slow_to_render

MAX_RETRIES: Final = 3
"""How often hooks may have one call run again."""

_logger = logging.getLogger("locus.agent")


def execute_tool_call_in_steps(
    run: RunContext,
    prepared: PreparedCall,
    executions: RoundExecutions,
    equal_execution: ToolExecution | None = None,
) -> EffectGenerator[None]:
    """Execute a call and record it. A repeated idempotent call gets the earlier result.

    :param equal_execution: the execution of an equal call in the same round, if there is one.
    """
    key = prepared.idempotency_key
    if key is not None and equal_execution is None:
        equal_execution = find_earlier_execution(run.state.tool_executions, prepared.call, key)
    execution, retry = yield from _execute_call_once_in_steps(
        run, prepared, executions, equal_execution
    )
    for _ in range(MAX_RETRIES):
        if not retry:
            break
        executions.discard_execution(prepared)
        execution, retry = yield from _execute_call_once_in_steps(run, prepared, executions, None)
    yield from executions.finish_call_in_steps(prepared, execution)


def _execute_call_once_in_steps(
    run: RunContext,
    prepared: PreparedCall,
    executions: RoundExecutions,
    equal_execution: ToolExecution | None,
) -> EffectGenerator[tuple[ToolExecution, bool]]:
    """Execute a call once and call the after-hooks; return whether they want to retry it."""
    call = prepared.call
    outcome = _CallOutcome(error=prepared.rejection_reason)
    if equal_execution is not None:
        outcome = _CallOutcome.of_execution(equal_execution)
    elif prepared.rejection_reason is None:
        outcome = yield from _run_tool_function_in_steps(run, prepared)
    if equal_execution is not None:
        idempotent = equal_execution.idempotent
    else:  # a call that failed may run again, even if the hooks replace its error by a result
        idempotent = prepared.idempotency_key is not None and outcome.error is None
    execution = ToolExecution(
        tool_name=call.name,
        tool_call_id=call.id,
        arguments=call.arguments,
        result=outcome.text,
        error=outcome.error,
        duration_ms=outcome.duration_ms,
        iteration=run.state.iteration,
        idempotent=idempotent,
        parts=outcome.parts,
    )
    if not run.has_hooks("on_after_tool_call"):
        return execution, False
    # The tool has run, whatever happens in the hooks.
    executions.record_execution(prepared, execution)
    event = AfterToolCallEvent(
        thread_id=run.thread_id,
        metadata=run.metadata,
        tool_name=call.name,
        tool_call_id=call.id,
        iteration=run.state.iteration,
        arguments=call.arguments,
        result=outcome.content,
        error=outcome.error,
        duration_ms=outcome.duration_ms,
    )
    try:
        yield from run.call_hooks_in_steps("on_after_tool_call", event, prepared.variables)
    except Exception:
        # Save it: other calls may take long.
        yield from executions.finish_call_in_steps(prepared, execution)
        raise
    if equal_execution is not None:  # its result stays as the hooks left it the first time
        return execution, False
    if event.result is not outcome.content:
        outcome = yield from _render_result_in_steps(
            run, prepared, event.result, "a hook on_after_tool_call"
        )
        execution = attrs.evolve(
            execution, result=outcome.text, error=outcome.error, parts=outcome.parts
        )
    return execution, event.retry and prepared.rejection_reason is None


@attrs.frozen(eq=False)
class _CallOutcome:
    """The result or the error of a call, as the model reads it.

    :ivar duration_ms: how long the tool ran; None if it did not.
    """

    content: ResultContent | None = None
    error: str | None = None
    duration_ms: float | None = None

    @classmethod
    def of_execution(cls, execution: ToolExecution) -> _CallOutcome:
        """Return the outcome of an earlier execution, for an equal call."""
        return cls(execution.parts or execution.result, execution.error)

    @property
    def text(self) -> str | None:
        """The content as text, in which images are described."""
        return None if self.content is None else describe_content(self.content)

    @property
    def parts(self) -> tuple[Part, ...]:
        """The content as parts; empty if it is text."""
        return self.content if isinstance(self.content, tuple) else ()


def _run_tool_function_in_steps(
    run: RunContext, prepared: PreparedCall
) -> EffectGenerator[_CallOutcome]:
    """Run the tool's function."""
    tool, call = prepared.tool, prepared.call
    assert tool is not None  # else the call would have been rejected
    context = run.make_tool_context(call)
    try:
        arguments = yield from bind_arguments_in_steps(
            tool, call, context, prepared.make_function_context()
        )
    except GeneratorExit:  # the driver is gone, and no effect can be performed any more
        raise
    except ToolArgumentsError as exc:
        return _CallOutcome(error=str(exc))
    except ModelRetry as exc:
        return _CallOutcome(error=str(exc) or "try again")
    except BaseException as exc:  # constructors of the argument classes may raise anything
        error = try_convert_to_tool_error(exc)
        if error is None:
            raise
        _logger.info("tool %s: its arguments", tool.name, exc_info=exc)
        return _CallOutcome(error=describe_error(error))
    timeout = tool.timeout if tool.timeout is not None else run.settings.tool_timeout
    outcome: ToolOutcome = yield RunTool(
        tool.function, arguments, tool.is_async, prepared.make_function_context(), timeout
    )
    read = make_iterator_reader(outcome.value)
    if read is not None:  # it runs the tool's own code
        is_async = isinstance(outcome.value, AsyncIterator)
        of_function = outcome.duration_ms or 0.0
        outcome = yield RunTool(read, EMPTY, is_async, prepared.make_function_context(), timeout)
        outcome = attrs.evolve(outcome, duration_ms=of_function + (outcome.duration_ms or 0.0))
    if isinstance(outcome.value, MeteredResult):
        metered = outcome.value
        run.state = run.state.with_usage(metered.usage)
        prepared.nested_events = metered.events
        outcome = attrs.evolve(outcome, value=metered.value, error=metered.error)
    else:  # an agent that ran out of time has returned nothing
        for nested_run in context.nested_runs:
            run.state = run.state.with_usage(nested_run.usage)
    retry = find_model_retry(outcome.error)
    if retry is not None:
        return _CallOutcome(None, str(retry) or "try again", outcome.duration_ms)
    if outcome.error is not None:
        if run.settings.on_tool_error == "raise":
            raise outcome.error
        _logger.info("tool %s failed", tool.name, exc_info=outcome.error)
        return _CallOutcome(None, describe_error(outcome.error), outcome.duration_ms)
    rendered = yield from _render_result_in_steps(run, prepared, outcome.value, f"tool {tool.name}")
    return _CallOutcome(rendered.content, rendered.error, outcome.duration_ms)


def _render_result_in_steps(
    run: RunContext, prepared: PreparedCall, value: Any, source: str
) -> EffectGenerator[_CallOutcome]:
    """Return a value as the model reads it, or the error if it cannot be rendered.

    What may take long does not happen in the event loop.

    :param source: who gave the value, for the log.
    """
    if not is_slow_to_render(value):
        return _render_result_or_error(run.model, value, source)
    rendered: _CallOutcome = yield CallFunction(
        _render_result_or_error, (run.model, value, source), prepared.make_function_context()
    )
    return rendered


def _render_result_or_error(model: Any, value: Any, source: str) -> _CallOutcome:
    """Return a value as the model reads it, or the error if it cannot be rendered.

    :param source: who gave the value, for the log.
    """
    try:
        return _CallOutcome(fit_result_to_model(model, render_result_content(value)))
    except BaseException as exc:  # methods of a user's class may raise anything
        error = try_convert_to_tool_error(exc)
        if error is None:
            raise
        _logger.warning("%s: %s", source, describe_error(error))
        return _CallOutcome(
            error=str(error) if isinstance(error, TypeError) else describe_error(error)
        )
