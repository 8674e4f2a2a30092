"""The agent's loop: think, act, look whether that is all.

    think     one call of the model
    act       the tools that it asked for, all of them answered (``calls``)
    look      is there a reason to stop? has the model said all it wanted to?

A generator of effects (``effects``), driven by ``blocking`` and ``nonblocking``. What is decided
here is decided once, for every runtime.

The state is saved when the caller has spoken, when the model has answered, and when a call has been
answered, each time before the caller hears of it, so that a run which is cut off anywhere can be
resumed with what had been done. However a run ends, its last state is saved and its thread given
back before anybody is told.
"""

from __future__ import annotations

import logging
from functools import partial
from typing import TYPE_CHECKING, Final

from locus.agent.effects import CallHook, Closed, Emit, Now, Steps, UseStore
from locus.agent.generator_exit_guard import Guarded
from locus.agent.merge_prompt import joined
from locus.agent.model_request import (
    answered,
    ask,
    asked_again,
    ended_empty,
    offer,
    request,
    times_asked_again,
)
from locus.agent.normalize_message import kept
from locus.agent.output_schema import Shape
from locus.agent.result import AgentResult
from locus.agent.run_context import Run
from locus.agent.tool_calls import answer_calls, describe
from locus.core.errors import ConfigurationError, StructuredOutputError
from locus.core.events import TerminateEvent, ThinkEvent
from locus.core.frozendict import FrozenDict
from locus.core.messages import Message, Role
from locus.core.termination import MaxIterations
from locus.hooks.events import (
    AfterInvocationEvent,
    AfterModelCallEvent,
    BeforeInvocationEvent,
    BeforeModelCallEvent,
)

if TYPE_CHECKING:
    from locus.memory.checkpointers.base import BaseCheckpointer

COMPLETE: Final = "complete"
"""The reason where the model has said all it wanted to."""

_logger = logging.getLogger("locus.agent")


def run_agent(run: Run) -> Steps[AgentResult]:
    """A whole run, from the caller's words to the last event."""
    return Guarded(_run(run))


def _run(run: Run) -> Steps[AgentResult]:
    error: BaseException | None = None
    reason = ""
    try:
        run.began = yield Now()
        yield from _begin(run)
        reason = yield from _turns(run)
        yield from run.save()
        run.ended = yield Now()
    except GeneratorExit:  # the driver is gone, and nothing can be done any more
        raise
    except BaseException as why:  # noqa: BLE001 - raised again below, when all is in order
        error, reason = why, f"error: {describe(why)}"
    for leave in (_save_the_rest, _release, _tell_hooks):
        try:
            yield from leave(run, reason, error)
        except GeneratorExit:
            raise
        except BaseException as why:
            if error is None:
                error, reason = why, f"error: {describe(why)}"
            else:  # the first error is the one that is raised
                _logger.warning("after a run had failed, too", exc_info=why)
    if error is not None:
        if isinstance(error, Exception):  # nobody listens any more to a run that was cancelled
            yield Emit(_terminated(run, reason))
        try:
            raise error
        finally:
            del error  # its traceback holds this frame
    result = AgentResult(
        message=run.text or "",
        state=run.state,
        usage=FrozenDict(run.usage),
        iterations=run.iterations,
        tool_calls=run.tool_calls,
        stop_reason=reason,
        parsed=run.parsed,
        parse_error=run.parse_error,
        duration=run.ended - run.began,
        thread_id=run.thread_id,
    )
    yield Emit(_terminated(run, reason), result)
    return result


# Beginning and end.


def _begin(run: Run) -> Steps[None]:
    """Take and load the thread, tell the hooks, and add what the caller says."""
    agent = run.agent
    if agent.output_schema is not None:  # which may be no type that a model could be told of
        run.shape = Shape.of(agent.output_schema, run.model, tools=bool(agent.tools))
    if agent.checkpointer is not None and run.thread_id is not None:
        yield from _load(run, agent.checkpointer, run.thread_id)
    state = joined(run.state, run.prompt) if run.prompt else run.state
    run.begun = True
    event = BeforeInvocationEvent(
        thread_id=run.thread_id, metadata=run.metadata, messages=run.prompt, state=run.state
    )
    yield from run.call_hooks("on_before_invocation", event)
    run.state = state
    yield from run.save()
    said = [agent.system_prompt] if agent.system_prompt else []
    if agent.memory is not None:
        known = yield UseStore(partial(agent.memory.render, agent.memory_namespace))
        said += [known] if known else []
    if run.shape is not None and run.shape.instructions:
        said.append(run.shape.instructions)
    run.system = Message.system("\n\n".join(said)) if said else None


def _load(run: Run, checkpointer: BaseCheckpointer, thread_id: str) -> Steps[None]:
    claim = checkpointer.claim(thread_id)
    yield UseStore(claim.__enter__)
    run.claim = claim
    state = yield UseStore(partial(checkpointer.load, thread_id))
    if state is not None:
        run.state = run.before = run.saved = state
    elif run.resumed:
        raise ConfigurationError(
            f"there is no thread {thread_id!r} to resume; run(..., thread_id=) begins one"
        )


def _save_the_rest(run: Run, reason: str, error: BaseException | None) -> Steps[None]:
    if error is not None and run.begun:
        yield from run.save()


def _release(run: Run, reason: str, error: BaseException | None) -> Steps[None]:
    if run.claim is not None:
        yield UseStore(partial(run.claim.__exit__, None, None, None))


def _tell_hooks(run: Run, reason: str, error: BaseException | None) -> Steps[None]:
    """Every hook hears of the end, whatever another one raises."""
    if not run.begun:
        return
    if isinstance(error, Closed):  # a class of ours; hooks are told in words that Python has
        error = GeneratorExit("the caller has left the run")
        reason = f"error: {describe(error)}"
    event = AfterInvocationEvent(
        thread_id=run.thread_id,
        metadata=run.metadata,
        state=run.state,
        reason=reason,
        error=error,
    )
    failures: list[BaseException] = []
    for method in run.hooks["on_after_invocation"]:
        try:
            yield CallHook(method, event)
        except GeneratorExit:
            raise
        except BaseException as why:  # noqa: BLE001 - raised when all have been told
            failures.append(why)
    if failures:
        raise failures[0]


def _terminated(run: Run, reason: str) -> TerminateEvent:
    return TerminateEvent(
        reason=reason,
        iterations_used=run.iterations,
        total_tool_calls=run.tool_calls,
        final_message=run.text,
        usage=FrozenDict(run.usage),
    )


# The turns of the conversation.


def _turns(run: Run) -> Steps[str]:
    """Think and act until there is a reason to stop; which."""
    agent = run.agent
    limit = MaxIterations(agent.max_iterations)
    message = _left_off(run)
    run.times_asked_again = times_asked_again(run.state) if run.resumed else 0
    run.asks_again = run.times_asked_again > 0
    while True:
        if message is None:
            message = yield from _think(run)
        run.message = message
        if message.tool_calls:
            yield from answer_calls(run, message)
        stop = None
        if agent.termination is not None:
            stop = agent.termination.check(run.snapshot((yield Now())))
        error = None if message.tool_calls else _settle(run, message)
        last = not message.tool_calls and not _is_asked_again(run, message, error)
        if stop is None and not last:
            stop = limit.check(run.snapshot(run.began))
        if stop is not None or last:
            if message.tool_calls and run.shape is not None:
                run.parsed, run.parse_error = None, run.shape.missing(stop)
            return stop or COMPLETE
        if error is not None and run.shape is not None:
            run.times_asked_again += 1
            run.asks_again = True
            run.state = asked_again(run, run.shape.ask_again(error))
            yield from run.save()
        message = None


def _is_asked_again(run: Run, message: Message, error: StructuredOutputError | None) -> bool:
    """Whether another answer is wanted: not where the model will not give one."""
    if error is None or message.refusal is not None:
        return False
    return run.times_asked_again < run.agent.output_schema_retries


def _left_off(run: Run) -> Message | None:
    """The answer that a resumed run has still to look at; None where the model is to be asked."""
    if not run.resumed:
        return None
    if ended_empty(run.state):
        return Message.assistant()
    pending = bool(run.state.pending_calls())
    for message in reversed(run.state.messages):
        if message.role is Role.ASSISTANT:
            return message
        if not pending:
            return None
    return None


def _settle(run: Run, message: Message) -> StructuredOutputError | None:
    """Read the final answer, where it is to be of a type; what is wrong with it."""
    if run.shape is None:
        return None
    answer = run.shape.read(message)
    run.parsed, run.parse_error = answer.parsed, answer.error
    return answer.error


def _think(run: Run) -> Steps[Message]:
    """Ask the model: its message."""
    messages = yield from request(run)
    tools, options = offer(run)
    iteration = run.state.iteration + 1
    about = {
        "thread_id": run.thread_id,
        "metadata": run.metadata,
        "model": run.model,
        "messages": messages,
        "tools": tools or (),
        "options": options,
        "iteration": iteration,
        "streamed": run.streams,
        "no_others": tools is not None,
    }
    if run.hooks["on_before_model_call"]:
        yield from run.call_hooks("on_before_model_call", BeforeModelCallEvent(**about))
    response = yield from ask(run.model, messages, tools, options)
    if run.hooks["on_after_model_call"]:
        event = AfterModelCallEvent(**about, response=response)
        yield from run.call_hooks("on_after_model_call", event)
    message = kept(response)
    run.state = answered(run, response, message)
    yield from run.save()
    yield Emit(ThinkEvent(iteration, response.reasoning, message.tool_calls))
    return message
