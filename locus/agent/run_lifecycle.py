"""The lifecycle of a run: load its thread, run the loop, save the state, call the end hooks.

However a run ends, its last state is saved and its thread is unlocked before the end hooks are
called and the caller gets the last event.
"""

from __future__ import annotations

import logging
from functools import partial
from typing import TYPE_CHECKING

from locus.agent.agent_loop import run_agent_loop_in_steps
from locus.agent.describe_error import describe_error
from locus.agent.effects import (
    CallFunction,
    CallHook,
    EffectGenerator,
    EmitEvent,
    ReadClock,
    RunClosed,
    UseStorage,
)
from locus.agent.fit_result_to_model import describe_refused_images, find_result_images
from locus.agent.guard_against_generator_exit import GeneratorExitConverter
from locus.agent.merge_prompt import merge_prompt_into_state
from locus.agent.result import AgentResult
from locus.agent.run_context import RunContext
from locus.agent.schema_fallback import choose_output_schema
from locus.agent.system_message import build_system_texts_in_steps
from locus.agent.thread_lock import lock_thread_in_steps
from locus.agent.tool_call_approval import select_open_approvals
from locus.core.errors import APIStatusError, ConfigurationError
from locus.core.events import TerminateEvent
from locus.core.frozendict import FrozenDict
from locus.core.state import AgentState
from locus.hooks.events import AfterInvocationEvent, BeforeInvocationEvent

if TYPE_CHECKING:
    from locus.memory.checkpointers.base import BaseCheckpointer

_logger = logging.getLogger("locus.agent")


def run_agent_in_steps(run: RunContext) -> EffectGenerator[AgentResult]:
    """Run an agent from the prompt to the last event, as a generator of effects."""
    return GeneratorExitConverter(_run_lifecycle_in_steps(run))


def _run_lifecycle_in_steps(run: RunContext) -> EffectGenerator[AgentResult]:
    """Begin a run, run its loop, and end it; the cleanup is done after an error, too."""
    error: BaseException | None = None
    reason = ""
    try:
        run.started_at = yield ReadClock()
        yield from _begin_run_in_steps(run)
        reason = yield from run_agent_loop_in_steps(run)
        yield from run.save_state_in_steps()
        run.ended_at = yield ReadClock()
    except GeneratorExit:  # the driver is gone, and no effect can be performed any more
        raise
    except BaseException as exc:  # noqa: BLE001 - raised again below, after the cleanup
        error, reason = exc, f"error: {describe_error(exc)}"
    for clean_up in (
        _save_state_after_error_in_steps,
        _unlock_thread_in_steps,
        _call_end_hooks_in_steps,
    ):
        try:
            yield from clean_up(run, reason, error)
        except GeneratorExit:
            raise
        except BaseException as exc:
            if error is None:
                error, reason = exc, f"error: {describe_error(exc)}"
            else:  # the first error is the one that is raised
                _logger.warning("after a run had failed, too", exc_info=exc)
    if error is not None:
        if isinstance(error, Exception):  # nobody receives the events of a cancelled run
            yield EmitEvent(_make_terminate_event(run, reason))
        try:
            raise error
        finally:
            del error  # its traceback refers to this frame
    result = AgentResult(
        message=run.text or "",
        state=run.state,
        usage=FrozenDict(run.usage),
        iterations=run.iterations,
        tool_calls=run.tool_call_count,
        stop_reason=reason,
        parsed=run.parsed,
        parse_error=run.parse_error,
        duration=run.ended_at - run.started_at,
        thread_id=run.thread_id,
        finish_reason=run.finish_reason,
        pending=run.pending_calls,
        grounding_report=run.grounding_report,
        gsar=run.gsar,
    )
    yield EmitEvent(_make_terminate_event(run, reason), result)
    return result


# The beginning.


def _begin_run_in_steps(run: RunContext) -> EffectGenerator[None]:
    """Load the thread, call the hooks, add the prompt to the state, build the system message."""
    settings = run.settings
    if settings.hooks:
        from locus.agent.run_variables import RunVariables

        run.variables = RunVariables.copy_from_caller()
    choose_output_schema(run)
    if settings.checkpointer is not None and run.thread_id is not None:
        yield from _lock_and_load_thread_in_steps(run, settings.checkpointer, run.thread_id)
    state = run.state
    if run.prompt:
        state = _forget_reasoning(run, merge_prompt_into_state(state, run.prompt))
    run.is_started = True
    event = BeforeInvocationEvent(
        thread_id=run.thread_id, metadata=run.metadata, messages=run.prompt, state=run.state
    )
    yield from run.call_hooks_in_steps("on_before_invocation", event)
    run.state = state
    yield from run.save_state_in_steps()
    run.system_texts = yield from build_system_texts_in_steps(run)


def _forget_reasoning(run: RunContext, state: AgentState) -> AgentState:
    """Return the state without what the agent has found out about its work on earlier prompts."""
    if state.reasoning is not None:
        state = state.evolve(reasoning=None)
    if run.settings.reflexion is not None and state.confidence:
        state = state.evolve(confidence=0.0)
    return state


def _lock_and_load_thread_in_steps(
    run: RunContext, checkpointer: BaseCheckpointer, thread_id: str
) -> EffectGenerator[None]:
    """Lock the thread and load its saved state into the run.

    :raises ConfigurationError: if the run resumes a thread that was never saved.
    """
    run.thread_lock = yield from lock_thread_in_steps(checkpointer, thread_id)
    state = yield UseStorage(partial(checkpointer.load, thread_id), run.copy_variables())
    if state is not None:
        if not isinstance(state, AgentState):
            raise TypeError(
                f"{type(checkpointer).__name__}.load returned {type(state).__name__}, "
                "not an AgentState or None"
            )
        run.state = run.initial_state = run.saved_state = state
        images = find_result_images(state)
        if images:  # they may be those of another model, which can be shown more
            run.refused_images = yield CallFunction(
                describe_refused_images, (run.model, images), run.make_function_context()
            )
    elif run.is_resumed:
        raise ConfigurationError(
            f"there is no thread {thread_id!r} to resume; run(..., thread_id=) begins one"
        )
    run.approvals = select_open_approvals(run.approvals, run.state)


# The end.


def _save_state_after_error_in_steps(
    run: RunContext, reason: str, error: BaseException | None
) -> EffectGenerator[None]:
    """Save the last state of a run that has failed after its beginning.

    A prompt that the provider has refused is taken out of it first; a thread that began with that
    prompt is deleted.
    """
    if error is None or not run.is_started:
        return
    if run.is_prompt_refused and isinstance(error, APIStatusError):
        run.drop_refused_prompt()
        delete = getattr(run.settings.checkpointer, "delete", None)
        if not run.state.messages and run.thread_id is not None and delete is not None:
            yield UseStorage(partial(delete, run.thread_id), run.copy_variables())
            run.saved_state = run.state
    yield from run.save_state_in_steps()


def _unlock_thread_in_steps(
    run: RunContext, reason: str, error: BaseException | None
) -> EffectGenerator[None]:
    """Release the lock on the thread, if the run holds it."""
    if run.thread_lock is not None:
        yield from run.thread_lock.release_in_steps()


def _call_end_hooks_in_steps(
    run: RunContext, reason: str, error: BaseException | None
) -> EffectGenerator[None]:
    """Call every hook, even if another one raises an error."""
    if not run.is_started:
        return
    if isinstance(error, RunClosed):  # internal; hooks get the class that Python has for it
        error = GeneratorExit("the caller has left the run")
        reason = f"error: {describe_error(error)}"
    event = AfterInvocationEvent(
        thread_id=run.thread_id,
        metadata=run.metadata,
        state=run.state,
        reason=reason,
        error=error,
    )
    hook_errors: list[BaseException] = []
    for method in run.settings.hook_methods["on_after_invocation"]:
        try:
            assert run.variables is not None  # since there is a hook
            yield CallHook(method, event, run.variables)
        except GeneratorExit:
            raise
        except BaseException as exc:  # noqa: BLE001 - raised when all hooks have been called
            hook_errors.append(exc)
    if hook_errors:
        raise hook_errors[0]


def _make_terminate_event(run: RunContext, reason: str) -> TerminateEvent:
    """Make the last event of a run from its counts and its usage."""
    return TerminateEvent(
        reason=reason,
        iterations_used=run.iterations,
        total_tool_calls=run.tool_call_count,
        final_message=run.text,
        usage=FrozenDict(run.usage),
        finish_reason=run.finish_reason,
    )
