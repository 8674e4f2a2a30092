"""A round of tool calls: each call of an answer is answered exactly once, whatever it is.

Hooks see the calls first, in their order, and may change or cancel them. Then they start, run at
the same time, and are recorded (and saved) one by one as they finish. Their results enter the
conversation in the order of the calls. A call that cannot be run, or fails, is answered with an
error that the model can read.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator, Sequence
from difflib import get_close_matches
from typing import TYPE_CHECKING, Any, Final, TypeAlias

import attrs
import msgspec

from locus.agent.effects import Emit, Outcome, RunTool, Steps, Together
from locus.agent.generator_exit_guard import Guarded
from locus.agent.normalize_message import CUT_OFF
from locus.core.events import ToolCompleteEvent, ToolStartEvent
from locus.core.frozendict import EMPTY
from locus.core.messages import Message, ToolCall, ToolResult
from locus.core.state import AgentState, ToolExecution
from locus.hooks.events import AfterToolCallEvent, BeforeToolCallEvent
from locus.tools.context import ToolContext
from locus.tools.errors import ToolArgumentsError
from locus.tools.render_result import render_result

if TYPE_CHECKING:
    from locus.agent.run_context import Run
    from locus.tools.function import FunctionTool

MAX_RETRIES: Final = 3
"""How often a hook may have one call run again."""

Key: TypeAlias = tuple[str, bytes]
"""An idempotent call: the tool, and its arguments as canonical JSON."""

_logger = logging.getLogger("locus.agent")


@attrs.define(eq=False)
class Job:
    """A call on its way to its answer.

    :ivar call: as the hooks left it.
    :ivar position: its place among the calls of the answer.
    :ivar refusal: why it is not run, in words for the model; None where it is.
    :ivar key: what makes two idempotent calls the same; None for other tools.
    """

    call: ToolCall
    position: int
    tool: FunctionTool[..., Any] | None
    refusal: str | None = None
    key: Key | None = None
    execution: ToolExecution | None = None


def answer_calls(run: Run, message: Message) -> Steps[None]:
    """Answer the calls of the model's last message that have no answer yet."""
    calls = run.state.pending_calls()
    # Where the answer ended at its token limit its last call may not be whole.
    broken = message.tool_calls[-1].id if message.metadata.get(CUT_OFF) else None
    done = _recorded(run.state, calls)
    first: dict[Key, Job] = {}
    each = enumerate(calls)
    batches = [[one] for one in each] if run.agent.tool_execution == "sequential" else [list(each)]
    for batch in batches:
        jobs = []
        for position, call in batch:
            if position not in done:
                cut_off = call.id == broken
                jobs.append((yield from _prepare(run, call, position, cut_off=cut_off)))
        if jobs:
            yield from _round(run, jobs, done, first)
        answers = (_answer(call, done[position]) for position, call in batch)
        run.state = run.state.with_messages(*answers)
        yield from run.save()
        for job in jobs:
            yield Emit(_completed(done[job.position]))


def _answer(call: ToolCall, execution: ToolExecution) -> Message:
    content, error = execution.result or "", execution.error
    return Message.tool(ToolResult(call.id, call.name, content, error, execution.duration_ms))


def _completed(execution: ToolExecution) -> ToolCompleteEvent:
    return ToolCompleteEvent(
        execution.tool_name,
        execution.tool_call_id,
        execution.result,
        execution.error,
        execution.duration_ms,
    )


def _recorded(state: AgentState, calls: Sequence[ToolCall]) -> dict[int, ToolExecution]:
    """What has been run of these calls before the run was interrupted, by their positions."""
    places = {call.id: position for position, call in enumerate(calls)}
    found = {}
    for execution in _of_this_round(state):
        position = places.get(execution.tool_call_id)
        if position is not None:
            found[position] = execution
    return found


def _of_this_round(state: AgentState) -> Iterator[ToolExecution]:
    for execution in reversed(state.tool_executions):
        if execution.iteration != state.iteration:
            break
        yield execution


# Before a call is run.


def _prepare(run: Run, call: ToolCall, position: int, *, cut_off: bool) -> Steps[Job]:
    """The call as the hooks leave it, and whether there is anything to run."""
    refusal = None
    if call.malformed_arguments is not None and not call.malformed_arguments.strip():
        call = attrs.evolve(call, malformed_arguments=None)  # how some models give no arguments
    if run.hooks["on_before_tool_call"]:
        event = BeforeToolCallEvent(
            thread_id=run.thread_id,
            metadata=run.metadata,
            tool_name=call.name,
            tool_call_id=call.id,
            iteration=run.state.iteration,
            arguments=call.arguments,
            malformed_arguments=call.malformed_arguments,
            cut_off=cut_off,
        )
        yield from run.call_hooks("on_before_tool_call", event)
        malformed = event.malformed_arguments
        mended = malformed is None and call.malformed_arguments is not None
        cut_off = event.cut_off and not mended
        given = event.arguments if malformed is None else EMPTY
        call = attrs.evolve(call, arguments=given, malformed_arguments=malformed)
        if event.cancel:
            why = event.cancel if isinstance(event.cancel, str) else "no reason was given"
            refusal = f"the call was cancelled: {why}"
    job = Job(call, position, run.agent.tool_named(call.name), refusal)
    if refusal is None:
        job.refusal = _refusal(run, job, cut_off=cut_off)
    if job.refusal is None and job.tool is not None and job.tool.idempotent:
        job.key = _key(call)
    return job


def _refusal(run: Run, job: Job, *, cut_off: bool) -> str | None:
    if job.tool is None:
        names = [tool.name for tool in run.agent.tools]
        near = get_close_matches(job.call.name, names, n=1)
        hint = f" Did you mean {near[0]!r}?" if near else ""
        known = f"The tools are: {', '.join(names)}" if names else "There are no tools"
        return f"there is no tool {job.call.name!r}.{hint} {known}."
    if cut_off:
        return (
            "your answer was cut off at its token limit, so the arguments of this call may not be "
            "whole and it was not run. Make the call again, with less around it."
        )
    return None


def _key(call: ToolCall) -> Key | None:
    """What the call has in common with those that repeat it; None where it cannot be read."""
    if call.malformed_arguments is not None:
        return None
    return call.name, canonical(call.arguments)


def canonical(arguments: Any) -> bytes:
    """JSON that is the same for equal arguments."""
    try:
        return msgspec.json.encode(arguments, order="sorted")
    except UnicodeEncodeError:  # half a surrogate pair
        return json.dumps(arguments, sort_keys=True, separators=(",", ":")).encode()


# Running.


def _round(
    run: Run, jobs: Sequence[Job], done: dict[int, ToolExecution], first: dict[Key, Job]
) -> Steps[None]:
    """Run these calls; ``first`` has the first of each idempotent call of the answer."""
    for job in jobs:
        yield Emit(ToolStartEvent(job.call.name, job.call.id, job.call.arguments))
    leaders = [job for job in jobs if job.key is None or first.setdefault(job.key, job) is job]
    # What must be put together again where a call finishes before an earlier one.
    record = _Record(run, done, len(jobs))
    each = [Guarded(_run_job(run, job, record)) for job in leaders]
    for came in (yield Together(each, run.agent.max_concurrency)) if each else ():
        if came is not None:
            raise came
    for job in jobs:
        if job.key is not None and (leader := first[job.key]) is not job:
            yield from _run_job(run, job, record, repeats=leader.execution)


@attrs.define(eq=False)
class _Record:
    """What has finished of a round: in the state, in the order of the calls."""

    run: Run
    done: dict[int, ToolExecution]
    waiting: int
    earlier: tuple[ToolExecution, ...] = attrs.field(init=False)

    def __attrs_post_init__(self) -> None:
        executions = self.run.state.tool_executions
        self.earlier = executions[: len(executions) - len(self.done)]

    def note(self, job: Job, execution: ToolExecution) -> None:
        """Put it into the state, which has yet to be saved."""
        run, done = self.run, self.done
        if done.get(job.position) is execution:
            return
        in_order = not done or job.position > max(done)
        job.execution = done[job.position] = execution
        if in_order:
            run.state = run.state.with_execution(execution)
        else:
            self._put_together()

    def drop(self, job: Job) -> None:
        """Forget it: the call is made again."""
        if self.done.pop(job.position, None) is not None:
            self._put_together()

    def _put_together(self) -> None:
        ordered = (self.done[position] for position in sorted(self.done))
        self.run.state = self.run.state.evolve(tool_executions=(*self.earlier, *ordered))

    def add(self, job: Job, execution: ToolExecution) -> Steps[None]:
        """A call has been answered."""
        self.note(job, execution)
        self.run.tool_calls += 1
        self.waiting -= 1
        if self.waiting:  # after the last one the results are saved, in the conversation
            yield from self.run.save()


def _run_job(
    run: Run, job: Job, record: _Record, repeats: ToolExecution | None = None
) -> Steps[None]:
    """Run a call and record it. An idempotent call is given what an equal one had before."""
    if job.key is not None and repeats is None:
        repeats = _repeated(run, job.call, job.key)
    execution, retry = yield from _attempt(run, job, record, repeats)
    for _ in range(MAX_RETRIES):
        if not retry:
            break
        record.drop(job)
        execution, retry = yield from _attempt(run, job, record, None)
    yield from record.add(job, execution)


def _repeated(run: Run, call: ToolCall, key: Key) -> ToolExecution | None:
    """The first execution of an equal call in the thread; one that failed may be tried again."""
    for execution in run.state.tool_executions:
        if (
            execution.idempotent
            and execution.error is None
            and execution.tool_name == call.name
            and execution.arguments == call.arguments  # at a glance, where 1 is True
            and canonical(execution.arguments) == key[1]
        ):
            return execution
    return None


def _attempt(
    run: Run, job: Job, record: _Record, repeats: ToolExecution | None
) -> Steps[tuple[ToolExecution, bool]]:
    """One try, seen by the hooks: the execution, and whether they want another."""
    call = job.call
    result, error, duration = None, job.refusal, None
    if repeats is not None:
        result, error = repeats.result, repeats.error
    elif job.refusal is None:
        result, error, duration = yield from _call_tool(run, job)
    execution = ToolExecution(
        tool_name=call.name,
        tool_call_id=call.id,
        arguments=call.arguments,
        result=result,
        error=error,
        duration_ms=duration,
        iteration=run.state.iteration,
        # A call that has failed may be made again, whatever the hooks make of its error.
        idempotent=job.key is not None and error is None if repeats is None else repeats.idempotent,
    )
    if not run.hooks["on_after_tool_call"]:
        return execution, False
    record.note(job, execution)  # it has run, whatever becomes of the hooks
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
        yield from record.add(job, execution)  # others of the round may go on for long
        raise
    if repeats is not None:  # the result is as the hooks have left it the first time
        return execution, False
    if event.result is not result:
        result, error = _rendered(event.result, "a hook on_after_tool_call")
        execution = attrs.evolve(execution, result=result, error=error)
    return execution, event.retry and job.refusal is None


def _rendered(value: Any, whose: str) -> tuple[str | None, str | None]:
    """A result as the model reads it, or the error that it has none."""
    try:
        return render_result(value), None
    except Exception as error:  # noqa: BLE001 - the value's own code may raise anything
        _logger.warning("%s: %s", whose, describe(error))
        return None, str(error) if isinstance(error, TypeError) else describe(error)


def _call_tool(run: Run, job: Job) -> Steps[tuple[str | None, str | None, float | None]]:
    """The result or the error, as the model reads it, and the duration in milliseconds."""
    tool, call = job.tool, job.call
    assert tool is not None  # or it would have been refused
    context = ToolContext(
        tool_call_id=call.id,
        tool_name=call.name,
        thread_id=run.thread_id,
        iteration=run.state.iteration,
        state=run.state,
        metadata=run.metadata,
    )
    try:
        bound = tool.bind_call(call, context)
    except ToolArgumentsError as error:
        return None, str(error), None
    except Exception as error:  # the classes of the arguments may raise anything
        _logger.info("tool %s: its arguments", tool.name, exc_info=error)
        return None, describe(error), None
    timeout = tool.timeout if tool.timeout is not None else run.agent.tool_timeout
    outcome: Outcome = yield RunTool(tool.function, bound, tool.is_async, timeout)
    if outcome.error is not None:
        _logger.info("tool %s failed", tool.name, exc_info=outcome.error)
        return None, describe(outcome.error), outcome.duration_ms
    return *_rendered(outcome.value, f"tool {tool.name}"), outcome.duration_ms


def describe(error: BaseException) -> str:
    """An error in a line: its kind, and what it says."""
    stopped = error.__cause__
    if type(error) is RuntimeError and isinstance(stopped, (StopIteration, StopAsyncIteration)):
        # What Python makes of one that a coroutine raises; a plain function's stays as it is.
        error = stopped if str(error).endswith(f"raised {type(stopped).__name__}") else error
    kind = type(error).__name__
    try:
        said = str(error)
    except Exception:  # noqa: BLE001 - errors are classes of anybody's
        return kind
    return f"{kind}: {said}" if said else kind
