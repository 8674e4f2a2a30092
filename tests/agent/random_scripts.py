"""Random conversations of an agent: what the model answers, how tools behave, what hooks do, and
where it is interrupted.

A plan is plain data, so that one plan makes the same agent for each runtime, and hypothesis can
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

MOMENT = 0.002


class Stop(BaseException):
    """Ends a program, as ``KeyboardInterrupt`` does, and is none that Python knows."""


ENDS = (KeyboardInterrupt, SystemExit, Stop)


@attrs.frozen
class Leg:
    """One run of a conversation that has several.

    :ivar speaks: the caller says something; else the thread is resumed.
    :ivar leaves: after how many events the caller leaves; None waits for the end.
    :ivar quiet: the caller wants the result alone, and no events.
    """

    speaks: bool = False
    leaves: int | None = None
    quiet: bool = False


@attrs.frozen
class Plan:
    """A conversation.

    :ivar answers: the model's; an error is raised where it stands.
    :ivar hooks: for each hook what it does to which call (by number), and its priority.
    :ivar legs: the runs, where one is not all; the first of them speaks.
    """

    answers: tuple[Any, ...]
    hooks: tuple[Any, ...] = ()
    sequential: bool = False
    max_concurrency: int = 10
    max_iterations: int = 20
    mention: bool = False
    legs: tuple[Leg, ...] = ()

    @property
    def asks_for_an_end(self) -> bool:
        """Whether a tool is called that ends the program."""
        pieces = [piece for one in self.answers for piece in (one if type(one) is list else [one])]
        said = [piece for piece in pieces if isinstance(piece, ModelResponse)]
        return any(call.name in ENDING for one in said for call in one.tool_calls)

    @property
    def one_by_one(self) -> bool:
        """Whether no two tools are under way at the same time."""
        return self.sequential or self.max_concurrency == 1


class Body:
    """The bodies of the tools; counts how often each was begun, and brought to its end."""

    def __init__(self) -> None:
        self.runs: Counter[tuple[str, Any]] = Counter()
        self.ended: Counter[tuple[str, Any]] = Counter()
        self._lock = threading.Lock()

    def _ran(self, name: str, key: Any) -> None:
        with self._lock:
            self.runs[name, key] += 1

    def _ends(self, name: str, key: Any) -> None:
        with self._lock:
            self.ended[name, key] += 1

    def _end_the_program(self, name: str, n: int) -> None:
        """The first time; later it is a tool like others."""
        with self._lock:
            first = self.runs[name, n] == 1
        if first:
            raise ENDS[n % len(ENDS)]("from a tool")

    def tools(self) -> list[FunctionTool[..., Any]]:
        @tool
        def quick(n: int) -> int:
            """Answer at once."""
            self._ran("quick", n)
            self._ends("quick", n)
            return n * 2

        @tool
        def slow(n: int) -> dict[str, int]:
            """Take a moment."""
            self._ran("slow", n)
            time.sleep(MOMENT * (n % 3))
            self._ends("slow", n)
            return {"n": n}

        @tool
        async def awaits(n: int) -> str:
            """Await a moment."""
            self._ran("awaits", n)
            await anyio.sleep(MOMENT * (n % 3))
            self._ends("awaits", n)
            return f"awaited {n}"

        @tool
        def fails(n: int) -> str:
            """Fail."""
            self._ran("fails", n)
            self._ends("fails", n)
            raise ValueError(f"no {n}")

        @tool
        async def fails_late(n: int) -> str:
            """Fail after a moment."""
            self._ran("fails_late", n)
            await anyio.sleep(MOMENT)
            self._ends("fails_late", n)
            raise KeyError(n)

        @tool(idempotent=True)
        def once(n: int) -> str:
            """Run once."""
            self._ran("once", n)
            time.sleep(MOMENT)
            self._ends("once", n)
            return f"once {n}"

        @tool(idempotent=True)
        async def once_async(n: int) -> str:
            """Run once, awaiting."""
            self._ran("once_async", n)
            await anyio.sleep(MOMENT)
            self._ends("once_async", n)
            return f"once {n}"

        @tool(timeout=0.05)
        async def never(n: int) -> str:
            """Take too long."""
            self._ran("never", n)
            await anyio.sleep(30)
            return "never"

        @tool
        def knows(n: int, ctx: ToolContext) -> str:
            """Tell of the call."""
            self._ran("knows", n)
            self._ends("knows", n)
            assert ctx.state is not None
            return f"{ctx.tool_call_id} {ctx.iteration} {len(ctx.state.messages)}"

        @tool
        def no_json(n: int) -> object:
            """Return what has no JSON."""
            self._ran("no_json", n)
            self._ends("no_json", n)
            return object

        @tool
        def ends(n: int) -> str:
            """End the program, once."""
            self._ran("ends", n)
            self._end_the_program("ends", n)
            self._ends("ends", n)
            return "not again"

        @tool(idempotent=True)
        async def ends_async(n: int) -> str:
            """End the program, once, after a moment."""
            self._ran("ends_async", n)
            await anyio.sleep(MOMENT)
            self._end_the_program("ends_async", n)
            self._ends("ends_async", n)
            return "not again"

        return [
            quick, slow, awaits, fails, fails_late, once, once_async, never, knows, no_json, ends,
            ends_async,
        ]  # fmt: skip


NAMES = (
    "quick", "slow", "awaits", "fails", "fails_late", "once", "once_async", "knows", "no_json",
    "unknown", "quik",
)  # fmt: skip
ENDING = ("ends", "ends_async")
ACTIONS = ("watch", "change", "cancel", "rewrite", "retry", "fail_before", "fail_after", "fail_end")


class Hook:
    """Does one thing to every call whose argument it is told; blocking or async.

    What fails does so once for each call, or a thread could never be resumed.
    """

    def __init__(self, action: str, n: int, priority: int) -> None:
        self.action, self.n, self.priority = action, n, priority
        self.seen: list[str] = []
        self.retries: Counter[str] = Counter()
        self._failed: set[tuple[str, int]] = set()

    def _fail(self, where: str, call: str = "", iteration: int = 0) -> None:
        if (call, iteration) not in self._failed:
            self._failed.add((call, iteration))
            raise RuntimeError(f"the hook fails {where}")

    def on_before_invocation(self, event: Any) -> None:
        self.seen.append("begin")

    def on_after_invocation(self, event: Any) -> None:
        self.seen.append(f"end {event.reason}")
        if self.action == "fail_end" and self.n == 0:
            self._fail("at the end")

    def on_before_model_call(self, event: Any) -> None:
        self.seen.append(f"ask {len(event.messages)}")

    def on_after_model_call(self, event: Any) -> None:
        self.seen.append(f"answered {len(event.response.tool_calls)}")

    def before(self, event: Any) -> None:
        self.seen.append(f"before {event.tool_call_id}")
        if event.arguments.get("n") != self.n:
            return
        if self.action == "change":
            event.arguments = {"n": self.n + 1}
        elif self.action == "cancel":
            event.cancel = "not today"
        elif self.action == "fail_before":
            self._fail("before", event.tool_call_id, event.iteration)

    def after(self, event: Any) -> None:
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
        self.before(event)

    def on_after_tool_call(self, event: Any) -> None:
        self.after(event)


class AsyncHook(Hook):
    """The same, async."""

    async def on_before_tool_call(self, event: Any) -> None:  # type: ignore[override]
        await anyio.lowlevel.checkpoint()
        self.before(event)

    async def on_after_tool_call(self, event: Any) -> None:  # type: ignore[override]
        await anyio.lowlevel.checkpoint()
        self.after(event)


MOST_LEGS = 16
"""However a plan goes, its conversation is at its end after so many runs."""


def make(plan: Plan, body: Body, hooks: Sequence[Any] = (), **kw: Any) -> Agent:
    """The agent of a plan."""
    return Agent(
        ScriptedModel(*plan.answers, *["That is all."] * (1 + 2 * MOST_LEGS)),
        body.tools(),
        max_iterations=plan.max_iterations,
        hooks=hooks,
        tool_execution="sequential" if plan.sequential else "concurrent",
        max_concurrency=plan.max_concurrency,
        termination=TextMention("stop") | ToolCalled("unknown") if plan.mention else None,
        **kw,
    )


def make_hooks(plan: Plan) -> list[Hook]:
    """New hooks for a run."""
    return [(AsyncHook if is_async else Hook)(*about) for is_async, *about in plan.hooks]


_numbers = st.integers(0, 3)


@st.composite
def calls(draw: st.DrawFn, names: Sequence[str] = NAMES) -> list[ToolCall]:
    """Parallel calls; some with the same id, some not as they should be."""
    found = []
    for _ in range(draw(st.integers(1, 5))):
        name = draw(st.sampled_from(names))
        identity = draw(st.sampled_from(["a", "b", "c", "d", "e", "f"]))
        kind = draw(st.sampled_from(["good", "good", "good", "good", "malformed", "wrong"]))
        if kind == "malformed":
            found.append(ToolCall(identity, name, malformed_arguments='{"n": 1'))
        else:
            arguments: Mapping[str, Any] = {"n": draw(_numbers)} if kind == "good" else {"m": "x"}
            found.append(ToolCall(identity, name, arguments))
    return found


USAGE = {"prompt_tokens": 3, "completion_tokens": 2}
_words = st.sampled_from(["", "Let me see. ", "Please stop now. ", "One two three. "])


@st.composite
def answers(draw: st.DrawFn, interrupted: bool = False) -> Any:
    """An answer of the model; one that is interrupted may end the program, or calls what does."""
    kind = draw(st.sampled_from(["calls"] * 6 + ["text", "fails"]))
    if kind == "fails":
        error = draw(
            st.sampled_from([ConnectionError, *ENDS] if interrupted else [ConnectionError])
        )
        broken = error("the model is gone")
        return ["Let me ", broken] if interrupted and draw(st.booleans()) else broken
    said = draw(_words)
    if kind == "text":
        return ModelResponse(Message.assistant(said), usage=USAGE, stop_reason="stop")
    reason = draw(st.sampled_from(["tool_calls", "tool_calls", "length"]))
    asked = draw(calls((*NAMES, *ENDING * 2) if interrupted else NAMES))
    thought = draw(st.sampled_from([None, "Hm."]))
    message = Message.assistant(said or None, asked)
    return ModelResponse(message, usage=USAGE, stop_reason=reason, reasoning=thought)


_hooks = st.tuples(st.booleans(), st.sampled_from(ACTIONS), _numbers, st.integers(0, 2))
_settings: dict[str, Any] = {
    "hooks": st.lists(_hooks, max_size=2).map(tuple),
    "sequential": st.booleans(),
    "max_concurrency": st.sampled_from([1, 2, 10]),
    "max_iterations": st.sampled_from([1, 3, 20]),
    "mention": st.booleans(),
}
plans = st.builds(Plan, answers=st.lists(answers(), max_size=4).map(tuple), **_settings)
"""Conversations of one run."""

_legs = st.one_of(
    st.builds(Leg, speaks=st.integers(0, 3).map(lambda n: n == 3), leaves=st.integers(1, 12)),
    st.builds(Leg, speaks=st.integers(0, 3).map(lambda n: n == 3), quiet=st.booleans()),
)
interrupted_plans = st.builds(
    Plan,
    answers=st.lists(answers(interrupted=True), min_size=1, max_size=4).map(tuple),
    legs=st.lists(_legs, min_size=1, max_size=4).map(tuple),
    **_settings,
)
"""Conversations that are interrupted, and taken up again."""
