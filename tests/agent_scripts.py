"""Random conversations of an agent: what the model answers, how tools behave, what hooks do.

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


@attrs.frozen
class Plan:
    """A run.

    :ivar answers: the model's; an Exception is raised where it stands.
    :ivar hooks: for each hook what it does to which call (by number), and its priority.
    """

    answers: tuple[Any, ...]
    hooks: tuple[Any, ...] = ()
    sequential: bool = False
    max_concurrency: int = 10
    max_iterations: int = 20
    mention: bool = False


class Body:
    """The bodies of the tools; counts their runs."""

    def __init__(self) -> None:
        self.runs: Counter[tuple[str, Any]] = Counter()
        self._lock = threading.Lock()

    def _ran(self, name: str, key: Any) -> None:
        with self._lock:
            self.runs[name, key] += 1

    def tools(self) -> list[FunctionTool[..., Any]]:
        @tool
        def quick(n: int) -> int:
            """Answer at once."""
            self._ran("quick", n)
            return n * 2

        @tool
        def slow(n: int) -> dict[str, int]:
            """Take a moment."""
            self._ran("slow", n)
            time.sleep(MOMENT * (n % 3))
            return {"n": n}

        @tool
        async def awaits(n: int) -> str:
            """Await a moment."""
            self._ran("awaits", n)
            await anyio.sleep(MOMENT * (n % 3))
            return f"awaited {n}"

        @tool
        def fails(n: int) -> str:
            """Fail."""
            self._ran("fails", n)
            raise ValueError(f"no {n}")

        @tool
        async def fails_late(n: int) -> str:
            """Fail after a moment."""
            self._ran("fails_late", n)
            await anyio.sleep(MOMENT)
            raise KeyError(n)

        @tool(idempotent=True)
        def once(n: int) -> str:
            """Run once."""
            self._ran("once", n)
            time.sleep(MOMENT)
            return f"once {n}"

        @tool(idempotent=True)
        async def once_async(n: int) -> str:
            """Run once, awaiting."""
            self._ran("once_async", n)
            await anyio.sleep(MOMENT)
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
            assert ctx.state is not None
            return f"{ctx.tool_call_id} {ctx.iteration} {len(ctx.state.messages)}"

        @tool
        def no_json(n: int) -> object:
            """Return what has no JSON."""
            self._ran("no_json", n)
            return object

        return [
            quick, slow, awaits, fails, fails_late, once, once_async, never, knows, no_json,
        ]  # fmt: skip


NAMES = (
    "quick", "slow", "awaits", "fails", "fails_late", "once", "once_async", "knows", "no_json",
    "unknown", "quik",
)  # fmt: skip
ACTIONS = ("watch", "change", "cancel", "rewrite", "retry", "fail_before", "fail_after", "fail_end")


class Hook:
    """Does one thing to every call whose argument it is told; blocking or async."""

    def __init__(self, action: str, n: int, priority: int) -> None:
        self.action, self.n, self.priority = action, n, priority
        self.seen: list[str] = []
        self.retries: Counter[str] = Counter()

    def on_before_invocation(self, event: Any) -> None:
        self.seen.append("begin")

    def on_after_invocation(self, event: Any) -> None:
        self.seen.append(f"end {event.reason}")
        if self.action == "fail_end" and self.n == 0:
            raise RuntimeError("the hook fails at the end")

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
            raise RuntimeError("the hook fails before")

    def after(self, event: Any) -> None:
        if event.arguments.get("n") != self.n:
            return
        if self.action == "rewrite":
            event.result = {"was": event.result, "error": event.error}
        elif self.action == "retry":
            self.retries[event.tool_call_id] += 1
            event.retry = self.retries[event.tool_call_id] == 1
        elif self.action == "fail_after":
            raise RuntimeError("the hook fails after")

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


def make(plan: Plan, body: Body, hooks: Sequence[Any] = (), **kw: Any) -> Agent:
    """The agent of a plan."""
    return Agent(
        ScriptedModel(*plan.answers, "That is all."),
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
def calls(draw: st.DrawFn) -> list[ToolCall]:
    """Parallel calls; some with the same id, some not as they should be."""
    found = []
    for _ in range(draw(st.integers(1, 5))):
        name = draw(st.sampled_from(NAMES))
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
def answers(draw: st.DrawFn) -> Any:
    """An answer of the model."""
    kind = draw(st.sampled_from(["calls"] * 6 + ["text", "fails"]))
    if kind == "fails":
        return ConnectionError("the model is gone")
    said = draw(_words)
    if kind == "text":
        return ModelResponse(Message.assistant(said), usage=USAGE, stop_reason="stop")
    reason = draw(st.sampled_from(["tool_calls", "tool_calls", "length"]))
    message = Message.assistant(said or None, draw(calls()))
    thought = draw(st.sampled_from([None, "Hm."]))
    return ModelResponse(message, usage=USAGE, stop_reason=reason, reasoning=thought)


_hooks = st.tuples(st.booleans(), st.sampled_from(ACTIONS), _numbers, st.integers(0, 2))
plans = st.builds(
    Plan,
    answers=st.lists(answers(), max_size=4).map(tuple),
    hooks=st.lists(_hooks, max_size=2).map(tuple),
    sequential=st.booleans(),
    max_concurrency=st.sampled_from([1, 2, 10]),
    max_iterations=st.sampled_from([1, 3, 20]),
    mention=st.booleans(),
)
