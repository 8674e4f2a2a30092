"""One run under way: what it was told, and how far it has got.

The loop and its parts share this object, and all of them run in one thread at a time, so it needs
no locks. Nothing in it outlives the run but ``state``, which is immutable.
"""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import AbstractContextManager
from functools import partial
from typing import TYPE_CHECKING, Any

import attrs

from locus.agent.effects import CallHook, Steps, UseStore
from locus.core.frozendict import EMPTY
from locus.core.messages import Message
from locus.core.state import AgentState
from locus.core.termination import RunSnapshot
from locus.hooks.registry import Hooks

if TYPE_CHECKING:
    from locus.agent.agent import Agent
    from locus.agent.output_schema import Shape
    from locus.core.errors import StructuredOutputError


@attrs.define(eq=False)
class Run:
    """A run of an agent.

    :ivar prompt: what the caller asked; empty where a thread is resumed.
    :ivar state: everything so far; only the loop assigns it.
    :ivar before: the state that the run began with.
    :ivar saved: the state as the checkpointer has it; in a new thread the empty one, which is
        not worth saving.
    :ivar system: the system message, if any.
    :ivar message: the model's last answer.
    :ivar tool_calls: how many calls have been answered.
    :ivar shape: what the final answer is to be, where ``output_schema`` says so.
    :ivar asks_again: the final answer could not be read, and is asked for again.
    :ivar times_asked_again: how often it was.
    :ivar continues: the server goes on from what it knows, and is sent what is new.
    :ivar streams: the caller sees answers as they arrive.
    :ivar claim: on the thread, once it is held.
    :ivar begun: the state is loaded, and the hooks have heard of the run.
    """

    agent: Agent
    model: Any
    hooks: Hooks
    prompt: tuple[Message, ...] = ()
    resumed: bool = False
    thread_id: str | None = None
    metadata: Mapping[str, Any] = EMPTY
    state: AgentState = attrs.field(factory=AgentState)
    before: AgentState = attrs.field(init=False)
    saved: AgentState = attrs.field(init=False)
    system: Message | None = None
    message: Message | None = None
    tool_calls: int = 0
    began: float = 0.0
    ended: float = 0.0
    parsed: Any = None
    parse_error: StructuredOutputError | None = None
    shape: Shape | None = None
    asks_again: bool = False
    times_asked_again: int = 0
    continues: bool = False
    streams: bool = False
    begun: bool = False
    claim: AbstractContextManager[None] | None = None

    def __attrs_post_init__(self) -> None:
        self.before = self.saved = self.state

    @property
    def iterations(self) -> int:
        """The model calls of this run."""
        return self.state.iteration - self.before.iteration

    @property
    def usage(self) -> dict[str, int]:
        """The tokens of this run."""
        before = self.before.usage
        return {name: count - before.get(name, 0) for name, count in self.state.usage.items()}

    @property
    def text(self) -> str | None:
        """The last answer's text; None where it was not in words."""
        said = self.message
        if said is None:
            return None
        return said.text or said.refusal or (None if said.tool_calls else "")

    def snapshot(self, now: float) -> RunSnapshot:
        """What termination conditions look at."""
        return RunSnapshot(self.state, now - self.began, self.message, self.before)

    def call_hooks(self, name: str, event: Any) -> Steps[None]:
        """Tell the hooks that have the method ``name``."""
        for method in self.hooks[name]:
            yield CallHook(method, event)

    def save(self) -> Steps[None]:
        """Save the state, where there is somewhere to save it and something new in it."""
        checkpointer, state = self.agent.checkpointer, self.state
        if checkpointer is None or self.thread_id is None or state is self.saved:
            return
        yield UseStore(partial(checkpointer.save, self.thread_id, state))
        self.saved = state
