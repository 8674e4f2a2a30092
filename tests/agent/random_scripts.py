"""Random plans of conversations: the model's responses, the hooks, and where runs are interrupted.

A plan is data, so that the same agent can be made from it for each runtime, and hypothesis can
shrink it.
"""

from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

import anyio
import anyio.lowlevel
import attrs
from hypothesis import strategies as st

from locus.agent import Agent
from locus.core.messages import Message, ToolCall
from locus.core.response import ModelResponse
from locus.core.termination import TextMention, ToolCalled
from locus.testing import ScriptedModel
from locus.tools import FunctionTool, ToolContext, tool
from tests.support.timing import FOREVER

SHORT_TIME = 0.002


class CustomExit(BaseException):
    """Ends a program, like ``KeyboardInterrupt``, but is not one of Python's own."""


EXIT_ERRORS = (KeyboardInterrupt, SystemExit, CustomExit)
TOOL_EXIT_ERRORS = (KeyboardInterrupt, CustomExit)  # a tool that calls sys.exit has only failed


@attrs.frozen
class RunPlan:
    """The plan of one run of a conversation that has several.

    :ivar has_prompt: the run has a prompt; else the thread is resumed.
    :ivar leaves_after: after how many events the caller leaves; None waits for the end.
    :ivar result_only: the caller wants the result, and no events.
    """

    has_prompt: bool = False
    leaves_after: int | None = None
    result_only: bool = False


@attrs.frozen
class ConversationPlan:
    """The plan of a conversation.

    :ivar responses: the model's responses; an error among them is raised.
    :ivar hooks: for each hook if it is async, its action, the argument of the calls that it acts
        on, and its priority.
    :ivar stops_on_mention: the run has a termination condition.
    :ivar runs: the runs, if there are several; the first of them has a prompt.
    """

    responses: tuple[Any, ...]
    hooks: tuple[Any, ...] = ()
    sequential: bool = False
    max_concurrency: int = 10
    max_iterations: int = 20
    stops_on_mention: bool = False
    runs: tuple[RunPlan, ...] = ()

    @property
    def has_exiting_tool(self) -> bool:
        """Whether a tool is called that ends the program."""
        parts = [
            part for entry in self.responses for part in (entry if type(entry) is list else [entry])
        ]
        responses = [part for part in parts if isinstance(part, ModelResponse)]
        return any(
            call.name in EXITING_TOOLS for response in responses for call in response.tool_calls
        )

    @property
    def is_sequential(self) -> bool:
        """Whether no two tools run at the same time."""
        return self.sequential or self.max_concurrency == 1


class ToolBodies:
    """The functions of the tools, which count how often each was started and finished."""

    def __init__(self) -> None:
        self.started: Counter[tuple[str, Any]] = Counter()
        self.finished: Counter[tuple[str, Any]] = Counter()
        self._lock = threading.Lock()

    def _count_start(self, name: str, key: Any) -> None:
        with self._lock:
            self.started[name, key] += 1

    def _count_finish(self, name: str, key: Any) -> None:
        with self._lock:
            self.finished[name, key] += 1

    def _exit_once(self, name: str, n: int) -> None:
        """Raise an error that ends the program, but only the first time."""
        with self._lock:
            first = self.started[name, n] == 1
        if first:
            raise TOOL_EXIT_ERRORS[n % len(TOOL_EXIT_ERRORS)]("from a tool")

    def make_tools(self) -> list[FunctionTool[..., Any]]:
        @tool
        def quick(n: int) -> int:
            """Answer at once."""
            self._count_start("quick", n)
            self._count_finish("quick", n)
            return n * 2

        @tool
        def slow(n: int) -> dict[str, int]:
            """Take a moment."""
            self._count_start("slow", n)
            time.sleep(SHORT_TIME * (n % 3))
            self._count_finish("slow", n)
            return {"n": n}

        @tool
        async def awaits(n: int) -> str:
            """Await a moment."""
            self._count_start("awaits", n)
            await anyio.sleep(SHORT_TIME * (n % 3))
            self._count_finish("awaits", n)
            return f"awaited {n}"

        @tool
        def fails(n: int) -> str:
            """Fail."""
            self._count_start("fails", n)
            self._count_finish("fails", n)
            raise ValueError(f"no {n}")

        @tool
        async def fails_late(n: int) -> str:
            """Fail after a moment."""
            self._count_start("fails_late", n)
            await anyio.sleep(SHORT_TIME)
            self._count_finish("fails_late", n)
            raise KeyError(n)

        @tool(idempotent=True)
        def once(n: int) -> str:
            """Run once."""
            self._count_start("once", n)
            time.sleep(SHORT_TIME)
            self._count_finish("once", n)
            return f"once {n}"

        @tool(idempotent=True)
        async def once_async(n: int) -> str:
            """Run once, awaiting."""
            self._count_start("once_async", n)
            await anyio.sleep(SHORT_TIME)
            self._count_finish("once_async", n)
            return f"once {n}"

        @tool(timeout=0.05)
        async def never(n: int) -> str:
            """Take too long."""
            self._count_start("never", n)
            await anyio.sleep(FOREVER)
            return "never"

        @tool
        def knows(n: int, ctx: ToolContext) -> str:
            """Describe the call."""
            self._count_start("knows", n)
            self._count_finish("knows", n)
            assert ctx.state is not None
            return f"{ctx.tool_call_id} {ctx.iteration} {len(ctx.state.messages)}"

        @tool
        def no_json(n: int) -> object:
            """Return what has no JSON."""
            self._count_start("no_json", n)
            self._count_finish("no_json", n)
            return object

        @tool
        def ends(n: int) -> str:
            """End the program, once."""
            self._count_start("ends", n)
            self._exit_once("ends", n)
            self._count_finish("ends", n)
            return "not again"

        @tool(idempotent=True)
        async def ends_async(n: int) -> str:
            """End the program, once, after a moment."""
            self._count_start("ends_async", n)
            await anyio.sleep(SHORT_TIME)
            self._exit_once("ends_async", n)
            self._count_finish("ends_async", n)
            return "not again"

        return [
            quick, slow, awaits, fails, fails_late, once, once_async, never, knows, no_json, ends,
            ends_async,
        ]  # fmt: skip


TOOL_NAMES = (
    "quick", "slow", "awaits", "fails", "fails_late", "once", "once_async", "knows", "no_json",
    "unknown", "quik",
)  # fmt: skip
EXITING_TOOLS = ("ends", "ends_async")
HOOK_ACTIONS = (
    "watch",
    "change",
    "cancel",
    "rewrite",
    "retry",
    "fail_before",
    "fail_after",
    "fail_end",
)


class ScriptedHook:
    """Does one action to every call with a given argument. Blocking.

    A hook that fails does so only once for each call, else a thread could never be resumed.
    """

    def __init__(self, action: str, n: int, priority: int) -> None:
        self.action, self.n, self.priority = action, n, priority
        self.log: list[str] = []
        self.retries: Counter[str] = Counter()
        self._failed: set[tuple[str, int]] = set()

    def _fail(self, when: str, call: str = "", iteration: int = 0) -> None:
        if (call, iteration) not in self._failed:
            self._failed.add((call, iteration))
            raise RuntimeError(f"the hook fails {when}")

    def on_before_invocation(self, event: Any) -> None:
        self.log.append("begin")

    def on_after_invocation(self, event: Any) -> None:
        self.log.append(f"end {event.reason}")
        if self.action == "fail_end" and self.n == 0:
            self._fail("at the end")

    def on_before_model_call(self, event: Any) -> None:
        self.log.append(f"ask {len(event.messages)}")

    def on_after_model_call(self, event: Any) -> None:
        self.log.append(f"answered {len(event.response.tool_calls)}")

    def handle_before(self, event: Any) -> None:
        self.log.append(f"before {event.tool_call_id}")
        if event.arguments.get("n") != self.n:
            return
        if self.action == "change":
            event.arguments = {"n": self.n + 1}
        elif self.action == "cancel":
            event.cancel = "not today"
        elif self.action == "fail_before":
            self._fail("before", event.tool_call_id, event.iteration)

    def handle_after(self, event: Any) -> None:
        if event.arguments.get("n") != self.n:
            return
        if self.action == "rewrite":
            event.result = {"was": event.result, "error": event.error}
        elif self.action == "retry":
            self.retries[event.tool_call_id] += 1
            event.retry = self.retries[event.tool_call_id] == 1
        elif self.action == "fail_after":
            self._fail("after", event.tool_call_id, event.iteration)

    def on_before_tool_call(self, event: Any) -> None:
        self.handle_before(event)

    def on_after_tool_call(self, event: Any) -> None:
        self.handle_after(event)


class AsyncScriptedHook(ScriptedHook):
    """The same hook with async methods."""

    async def on_before_tool_call(self, event: Any) -> None:  # type: ignore[override]
        await anyio.lowlevel.checkpoint()
        self.handle_before(event)

    async def on_after_tool_call(self, event: Any) -> None:  # type: ignore[override]
        await anyio.lowlevel.checkpoint()
        self.handle_after(event)


MAX_RUNS = 16
"""Every planned conversation ends within so many runs."""


def make_agent(
    plan: ConversationPlan, bodies: ToolBodies, hooks: Sequence[Any] = (), **settings: Any
) -> Agent:
    """Make the agent of a plan."""
    return Agent(
        ScriptedModel(*plan.responses, *["That is all."] * (1 + 2 * MAX_RUNS)),
        bodies.make_tools(),
        max_iterations=plan.max_iterations,
        hooks=hooks,
        tool_execution="sequential" if plan.sequential else "concurrent",
        max_concurrency=plan.max_concurrency,
        termination=TextMention("stop") | ToolCalled("unknown") if plan.stops_on_mention else None,
        **settings,
    )


def make_hooks(plan: ConversationPlan) -> list[ScriptedHook]:
    """Make new hooks for a run."""
    return [
        (AsyncScriptedHook if is_async else ScriptedHook)(*args) for is_async, *args in plan.hooks
    ]


_numbers = st.integers(0, 3)


@st.composite
def parallel_calls(draw: st.DrawFn, names: Sequence[str] = TOOL_NAMES) -> list[ToolCall]:
    """Parallel calls; some have the same id, some have wrong or malformed arguments."""
    calls = []
    for _ in range(draw(st.integers(1, 5))):
        name = draw(st.sampled_from(names))
        call_id = draw(st.sampled_from(["a", "b", "c", "d", "e", "f"]))
        kind = draw(st.sampled_from(["good", "good", "good", "good", "malformed", "wrong"]))
        if kind == "malformed":
            calls.append(ToolCall(call_id, name, malformed_arguments='{"n": 1'))
        else:
            arguments: Mapping[str, Any] = {"n": draw(_numbers)} if kind == "good" else {"m": "x"}
            calls.append(ToolCall(call_id, name, arguments))
    return calls


USAGE = {"prompt_tokens": 3, "completion_tokens": 2}
_contents = st.sampled_from(["", "Let me see. ", "Please stop now. ", "One two three. "])


@st.composite
def model_responses(draw: st.DrawFn, interrupted: bool = False) -> Any:
    """A response of the model.

    :param interrupted: it may be an error that ends the program, or call a tool that does.
    """
    kind = draw(st.sampled_from(["calls"] * 6 + ["text", "fails"]))
    if kind == "fails":
        error_type = draw(
            st.sampled_from([ConnectionError, *EXIT_ERRORS] if interrupted else [ConnectionError])
        )
        error = error_type("the model is gone")
        return ["Let me ", error] if interrupted and draw(st.booleans()) else error
    content = draw(_contents)
    if kind == "text":
        return ModelResponse(Message.assistant(content), usage=USAGE, stop_reason="stop")
    reason = draw(st.sampled_from(["tool_calls", "tool_calls", "length"]))
    tool_calls = draw(
        parallel_calls((*TOOL_NAMES, *EXITING_TOOLS * 2) if interrupted else TOOL_NAMES)
    )
    reasoning = draw(st.sampled_from([None, "Hm."]))
    message = Message.assistant(content or None, tool_calls)
    return ModelResponse(message, usage=USAGE, stop_reason=reason, reasoning=reasoning)


_hooks = st.tuples(st.booleans(), st.sampled_from(HOOK_ACTIONS), _numbers, st.integers(0, 2))
_settings: dict[str, Any] = {
    "hooks": st.lists(_hooks, max_size=2).map(tuple),
    "sequential": st.booleans(),
    "max_concurrency": st.sampled_from([1, 2, 10]),
    "max_iterations": st.sampled_from([1, 3, 20]),
    "stops_on_mention": st.booleans(),
}
conversation_plans = st.builds(
    ConversationPlan, responses=st.lists(model_responses(), max_size=4).map(tuple), **_settings
)
"""Conversations of one run."""

_seldom = st.integers(0, 3).map(lambda n: n == 3)
_run_plans = st.one_of(
    st.builds(RunPlan, has_prompt=_seldom, leaves_after=st.integers(1, 12)),
    st.builds(RunPlan, has_prompt=_seldom, result_only=st.booleans()),
)
interrupted_plans = st.builds(
    ConversationPlan,
    responses=st.lists(model_responses(interrupted=True), min_size=1, max_size=4).map(tuple),
    runs=st.lists(_run_plans, min_size=1, max_size=4).map(tuple),
    **_settings,
)
"""Conversations that are interrupted and resumed."""
