"""Executes one tool call: runs the function, calls the after-hooks, records the execution."""

from __future__ import annotations

import logging
from typing import Any, Final

import attrs

from locus.agent.describe_error import describe_error
from locus.agent.effects import EffectGenerator, RunTool, ToolOutcome
from locus.agent.idempotent_calls import find_earlier_execution
from locus.agent.prepare_tool_call import PreparedCall
from locus.agent.round_executions import RoundExecutions
from locus.agent.run_context import RunContext
from locus.core.state import ToolExecution
from locus.hooks.events import AfterToolCallEvent
from locus.tools.context import ToolContext
from locus.tools.errors import ToolArgumentsError
from locus.tools.result_renderer import render_result

MAX_RETRIES: Final = 3
"""How often hooks may have one call run again."""

_logger = logging.getLogger("locus.agent")


def execute_tool_call(
    run: RunContext,
    prepared: PreparedCall,
    executions: RoundExecutions,
    repeated: ToolExecution | None = None,
) -> EffectGenerator[None]:
    """Execute a call and record it. A repeated idempotent call gets the earlier result.

    :param repeated: the execution of an equal call in the same round, if there is one.
    """
    key = prepared.idempotency_key
    if key is not None and repeated is None:
        repeated = find_earlier_execution(run.state.tool_executions, prepared.call, key)
    execution, retry = yield from _execute_once(run, prepared, executions, repeated)
    for _ in range(MAX_RETRIES):
        if not retry:
            break
        executions.discard(prepared)
        execution, retry = yield from _execute_once(run, prepared, executions, None)
    yield from executions.finish(prepared, execution)


def _execute_once(
    run: RunContext,
    prepared: PreparedCall,
    executions: RoundExecutions,
    repeated: ToolExecution | None,
) -> EffectGenerator[tuple[ToolExecution, bool]]:
    """Execute a call once and call the after-hooks; return whether they want to retry it."""
    call = prepared.call
    result, error, duration = None, prepared.rejection_reason, None
    if repeated is not None:
        result, error = repeated.result, repeated.error
    elif prepared.rejection_reason is None:
        result, error, duration = yield from _run_function(run, prepared)
    if repeated is not None:
        idempotent = repeated.idempotent
    else:  # a call that failed may run again, even if the hooks replace its error by a result
        idempotent = prepared.idempotency_key is not None and error is None
    execution = ToolExecution(
        tool_name=call.name,
        tool_call_id=call.id,
        arguments=call.arguments,
        result=result,
        error=error,
        duration_ms=duration,
        iteration=run.state.iteration,
        idempotent=idempotent,
    )
    if not run.has_hooks("on_after_tool_call"):
        return execution, False
    executions.record(prepared, execution)  # the tool has run, whatever happens in the hooks
    event = AfterToolCallEvent(
        thread_id=run.thread_id,
        metadata=run.metadata,
        tool_name=call.name,
        tool_call_id=call.id,
        iteration=run.state.iteration,
        arguments=call.arguments,
        result=result,
        error=error,
        duration_ms=duration,
    )
    try:
        yield from run.call_hooks("on_after_tool_call", event)
    except Exception:
        yield from executions.finish(prepared, execution)  # save it: other calls may take long
        raise
    if repeated is not None:  # its result stays as the hooks left it the first time
        return execution, False
    if event.result is not result:
        result, error = _render_result(event.result, "a hook on_after_tool_call")
        execution = attrs.evolve(execution, result=result, error=error)
    return execution, event.retry and prepared.rejection_reason is None


def _run_function(
    run: RunContext, prepared: PreparedCall
) -> EffectGenerator[tuple[str | None, str | None, float | None]]:
    """Run the tool's function; return result, error (as the model reads them) and milliseconds."""
    tool, call = prepared.tool, prepared.call
    assert tool is not None  # else the call would have been rejected
    context = ToolContext(
        tool_call_id=call.id,
        tool_name=call.name,
        thread_id=run.thread_id,
        iteration=run.state.iteration,
        state=run.state,
        metadata=run.metadata,
    )
    try:
        arguments = tool.bind_call(call, context)
    except ToolArgumentsError as exc:
        return None, str(exc), None
    except Exception as exc:  # constructors of the argument classes may raise anything
        _logger.info("tool %s: its arguments", tool.name, exc_info=exc)
        return None, describe_error(exc), None
    timeout = tool.timeout if tool.timeout is not None else run.settings.tool_timeout
    outcome: ToolOutcome = yield RunTool(tool.function, arguments, tool.is_async, timeout)
    if outcome.error is not None:
        _logger.info("tool %s failed", tool.name, exc_info=outcome.error)
        return None, describe_error(outcome.error), outcome.duration_ms
    return *_render_result(outcome.value, f"tool {tool.name}"), outcome.duration_ms


def _render_result(value: Any, source: str) -> tuple[str | None, str | None]:
    """Return a value as text for the model, or the error if it cannot be rendered.

    :param source: who gave the value, for the log.
    """
    try:
        return render_result(value), None
    except Exception as exc:  # noqa: BLE001 - methods of a user's class may raise anything
        _logger.warning("%s: %s", source, describe_error(exc))
        return None, str(exc) if isinstance(exc, TypeError) else describe_error(exc)
