"""The agent as its user sees it: immutable settings, and the ways to run them."""

from __future__ import annotations

import threading
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Literal, Self, TypeAlias

import attrs

from locus.agent import validators
from locus.agent.loop import run_agent
from locus.agent.run_context import Run
from locus.core.conversation import Messages
from locus.core.errors import ConfigurationError
from locus.core.frozendict import EMPTY, frozen_dict
from locus.core.termination import TerminationCondition
from locus.hooks.registry import Hooks, check_hooks
from locus.models.base import ModelProtocol

if TYPE_CHECKING:
    from locus.agent.async_driver import AsyncRun
    from locus.agent.blocking_driver import BlockingRun
    from locus.agent.result import AgentResult
    from locus.memory.checkpointers.base import BaseCheckpointer
    from locus.memory.managers.base import ConversationManager
    from locus.memory.stores.base import MemoryStore
    from locus.tools.function import FunctionTool

ToolExecutionMode: TypeAlias = Literal["concurrent", "sequential"]


class _Resolved:
    """The model of a registry string, once somebody has asked for it."""

    __slots__ = ("lock", "model")

    def __init__(self) -> None:
        self.model: Any = None
        self.lock = threading.Lock()

    def __reduce__(self) -> tuple[type[_Resolved], tuple[()]]:
        return _Resolved, ()


@attrs.frozen
class Agent:
    """A model with tools, and everything that makes a run of it. Immutable; equal by value.

    One agent may be used from many threads and tasks at the same time.

    :param model: a model, or a registry string such as ``"openai:gpt-4o"``, which is looked up at
        the first run. Any :class:`~locus.models.base.ModelProtocol` will do; one without blocking
        calls is asked in an event loop of its own in blocking use.
    :param tools: what the model may call: ``@tool`` objects, or plain functions.
    :param system_prompt: comes before the conversation in each request; no part of the state.
    :param max_iterations: the most calls of the model in one run.
    :param hooks: objects with any of the methods of :class:`~locus.hooks.HookProvider`.
    :param termination: further reasons to stop, looked at when the tools of an answer have run.
    :param checkpointer: where threads are saved; used where a run is given a ``thread_id``.
    :param conversation_manager: keeps the requests within bounds.
    :param memory: a store of facts, those of ``memory_namespace`` shown in the system prompt.
    :param output_schema: the type of the final answer, as
        :func:`~locus.core.structured.build_response_format` takes it.
    :param output_schema_retries: how often the model is asked again for an answer of that type.
    :param tool_choice: ``"required"`` or the name of a tool: the model has to call before it
        answers. It holds until a tool has answered; ``model_options={"tool_choice": …}`` would
        hold for ever.
    :param tool_execution: ``"concurrent"`` runs the calls of an answer at the same time,
        ``"sequential"`` one after another.
    :param max_concurrency: the most tools of a run at the same time.
    :param tool_timeout: seconds for a tool that has no ``timeout`` of its own; None is for ever.
    :param stream: whether :meth:`run` and :meth:`stream_sync` show answers as they arrive.
    :param model_options: keywords of every model call, such as ``{"temperature": 0}``.
    :raises ConfigurationError: a value that cannot work; names the argument.
    :raises TypeError: the model, a tool, a hook or the like is none.
    """

    model: ModelProtocol | str = attrs.field(validator=validators.model, hash=False)
    tools: tuple[FunctionTool[..., Any], ...] = attrs.field(default=(), converter=validators.tools)
    system_prompt: str | None = attrs.field(default=None, validator=validators.text_or_none)
    max_iterations: int = attrs.field(default=20, validator=validators.count_from(1))
    # Objects of anybody's may have no hash. The other fields are enough for one.
    hooks: tuple[Any, ...] = attrs.field(
        default=(), converter=check_hooks, hash=False, kw_only=True
    )
    termination: TerminationCondition | None = attrs.field(
        default=None, validator=validators.condition, hash=False, kw_only=True
    )
    checkpointer: BaseCheckpointer | None = attrs.field(
        default=None,
        validator=validators.having("a checkpointer of locus.memory", "claim", "load", "save"),
        hash=False,
        kw_only=True,
    )
    conversation_manager: ConversationManager | None = attrs.field(
        default=None,
        validator=validators.having("a conversation manager of locus.memory", "apply", "reduce"),
        hash=False,
        kw_only=True,
    )
    memory: MemoryStore | None = attrs.field(
        default=None,
        validator=validators.having("a memory store of locus.memory", "render"),
        hash=False,
        kw_only=True,
    )
    memory_namespace: str | tuple[str, ...] = attrs.field(
        default="default", converter=validators.namespace, kw_only=True
    )
    output_schema: Any = attrs.field(
        default=None, validator=validators.a_type, hash=False, kw_only=True
    )
    output_schema_retries: int = attrs.field(
        default=2, validator=validators.count_from(0), kw_only=True
    )
    tool_choice: str | None = attrs.field(
        default=None, validator=validators.text_or_none, kw_only=True
    )
    tool_execution: ToolExecutionMode = attrs.field(
        default="concurrent", validator=validators.execution_mode, kw_only=True
    )
    max_concurrency: int = attrs.field(default=10, validator=validators.count_from(1), kw_only=True)
    tool_timeout: float | None = attrs.field(
        default=None, validator=validators.seconds, kw_only=True
    )
    stream: bool = attrs.field(default=True, validator=validators.flag, kw_only=True)
    model_options: Mapping[str, Any] = attrs.field(
        default=EMPTY, converter=validators.options, hash=False, kw_only=True
    )
    tool_schemas: tuple[Mapping[str, Any], ...] = attrs.field(init=False, eq=False, repr=False)
    _by_name: Mapping[str, FunctionTool[..., Any]] = attrs.field(init=False, eq=False, repr=False)
    _hooks: Hooks = attrs.field(init=False, eq=False, repr=False)
    _resolved: _Resolved = attrs.field(init=False, eq=False, repr=False, factory=_Resolved)

    def __attrs_post_init__(self) -> None:
        set_ = object.__setattr__
        set_(self, "tool_schemas", tuple(tool.to_openai_schema() for tool in self.tools))
        set_(self, "_by_name", {tool.name: tool for tool in self.tools})
        set_(self, "_hooks", Hooks.of(self.hooks))
        validators.forced_tool(self.tool_choice, self._by_name)

    # Blocking.

    def run_sync(
        self,
        prompt: Messages,
        thread_id: str | None = None,
        *,
        metadata: Mapping[str, Any] | None = None,
    ) -> AgentResult:
        """Run to the end, blocking.

        :param prompt: a string, a message, or several.
        :param thread_id: the conversation to go on with, or to begin, in the checkpointer. Without
            a checkpointer it is but a name, for tools and hooks.
        :param metadata: for tools (:class:`~locus.tools.ToolContext`) and hooks; not saved.
        :raises Exception: whatever the model or a hook raised. A tool's errors go to the model.
        """
        return self._blocking(self._run(prompt, thread_id, metadata), streams=False).to_end()

    invoke = run_sync

    def stream_sync(
        self,
        prompt: Messages,
        thread_id: str | None = None,
        *,
        metadata: Mapping[str, Any] | None = None,
    ) -> BlockingRun:
        """A run as its events, blocking: an iterator and a context manager."""
        return self._blocking(self._run(prompt, thread_id, metadata), streams=self.stream)

    def resume_sync(
        self, *, thread_id: str, metadata: Mapping[str, Any] | None = None
    ) -> AgentResult:
        """Go on with a thread that was interrupted, to the end, blocking.

        What had been done is not done again: calls that were answered keep their answers, the
        others of that round are run. A thread that had come to its end gives its last answer.

        :raises ConfigurationError: there is no such thread, or no checkpointer.
        :raises ThreadBusyError: another run is working on it.
        """
        return self._blocking(self._resumption(thread_id, metadata), streams=False).to_end()

    def resume_stream_sync(
        self, *, thread_id: str, metadata: Mapping[str, Any] | None = None
    ) -> BlockingRun:
        """The same as :meth:`resume_sync`, as events."""
        return self._blocking(self._resumption(thread_id, metadata), streams=self.stream)

    # Under asyncio and trio.

    def run(
        self,
        prompt: Messages,
        thread_id: str | None = None,
        *,
        metadata: Mapping[str, Any] | None = None,
    ) -> AsyncRun:
        """A run as its events, under asyncio or trio: an async iterator and a context manager."""
        return self._nonblocking(self._run(prompt, thread_id, metadata), streams=self.stream)

    async def arun(
        self,
        prompt: Messages,
        thread_id: str | None = None,
        *,
        metadata: Mapping[str, Any] | None = None,
    ) -> AgentResult:
        """The same as :meth:`run_sync`, under asyncio or trio."""
        run = self._run(prompt, thread_id, metadata)
        return await self._nonblocking(run, streams=False).to_end()

    def resume(self, *, thread_id: str, metadata: Mapping[str, Any] | None = None) -> AsyncRun:
        """The same as :meth:`resume_sync`, as events, under asyncio or trio."""
        return self._nonblocking(self._resumption(thread_id, metadata), streams=self.stream)

    async def aresume(
        self, *, thread_id: str, metadata: Mapping[str, Any] | None = None
    ) -> AgentResult:
        """The same as :meth:`resume_sync`, under asyncio or trio."""
        run = self._resumption(thread_id, metadata)
        return await self._nonblocking(run, streams=False).to_end()

    # Copies, and what the loop asks.

    def copy(self, **changes: Any) -> Self:
        """A copy with other constructor arguments, such as ``agent.copy(max_iterations=5)``."""
        return attrs.evolve(self, **changes)

    __replace__ = copy

    def tool_named(self, name: str) -> FunctionTool[..., Any] | None:
        """The tool that the model knows as ``name``, or None."""
        return self._by_name.get(name)

    def resolved_model(self) -> Any:
        """The model itself, looked up in the registry if need be.

        :raises ConfigurationError: the registry does not know it.
        """
        if not isinstance(self.model, str):
            return self.model
        with self._resolved.lock:
            if self._resolved.model is None:
                from locus.models.registry import get_model

                self._resolved.model = get_model(self.model)
            return self._resolved.model

    def _run(
        self, prompt: Messages, thread_id: str | None, metadata: Mapping[str, Any] | None
    ) -> Run:
        continues = thread_id is not None and self.checkpointer is not None
        messages = validators.prompt_messages(prompt, continues=continues)
        return self._started(metadata, thread_id, prompt=messages)

    def _resumption(self, thread_id: str, metadata: Mapping[str, Any] | None) -> Run:
        if thread_id is None:
            raise ConfigurationError("thread_id names the conversation to resume; it is not None")
        if self.checkpointer is None:
            raise ConfigurationError("there is nothing to resume from: pass checkpointer=")
        return self._started(metadata, thread_id, resumed=True)

    def _started(
        self, metadata: Mapping[str, Any] | None, thread_id: str | None, **fields: Any
    ) -> Run:
        if thread_id is not None and (not isinstance(thread_id, str) or not thread_id):
            raise ConfigurationError(f"thread_id is the name of a conversation, not {thread_id!r}")
        return Run(
            agent=self,
            model=self.resolved_model(),
            hooks=self._hooks,
            thread_id=thread_id,
            metadata=frozen_dict(metadata, "metadata"),
            **fields,
        )

    def _blocking(self, run: Run, *, streams: bool) -> BlockingRun:
        from locus.agent.blocking_driver import BlockingRun

        run.streams = streams
        return BlockingRun(run_agent(run), streams=streams)

    def _nonblocking(self, run: Run, *, streams: bool) -> AsyncRun:
        from locus.agent.async_driver import AsyncRun

        run.streams = streams
        return AsyncRun(run_agent(run), streams=streams)
