"""The public class Agent: runs a model with tools, blocking or async, to a result or as events."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Self

import attrs

from locus.agent.merge_prompt import normalize_prompt
from locus.agent.run_context import RunContext
from locus.agent.run_lifecycle import run_agent_in_steps
from locus.agent.settings import AgentSettings
from locus.agent.tool_call_approval import Approvals, normalize_approvals
from locus.core.conversation import Messages
from locus.core.errors import ConfigurationError
from locus.core.frozendict import to_frozen_dict

if TYPE_CHECKING:
    from locus.agent.async_driver import AsyncRun
    from locus.agent.blocking_driver import BlockingRun
    from locus.agent.result import AgentResult
    from locus.tools.context import ToolContext
    from locus.tools.function_tool import FunctionTool


@attrs.frozen
class Agent(AgentSettings):
    """A model with tools, and the settings of its runs. Immutable, and equal by value.

    One agent may be used from many threads and tasks at the same time.

    :param model: a model, or a registry string such as ``"openai:gpt-4o"``, which is looked up at
        the first run. Any :class:`~locus.models.ModelProtocol` will do; one without blocking
        methods is called in a background event loop in blocking use.
    :param tools: what the model may call: ``@tool`` objects, plain functions, ``SchemaTool``, and
        objects of other libraries that have ``to_openai_schema()`` and can be called. A mapping is
        a tool of the provider's own server, which is sent as it is and runs there. Without any,
        the tools that are bound to the model are called.
    :param system_prompt: comes first in each request; no part of the state. It is text, or a
        function, blocking or async, that returns the text for a run: it is called once at its
        beginning, with a :class:`~locus.agent.PromptContext` if it has a parameter.
    :param max_iterations: the most model calls in one run.
    :param final_answer: a run that ends at ``max_iterations`` while the model still calls tools
        asks it once more, without tools, for an answer from what it has.
    :param hooks: objects with any of the methods of :class:`~locus.hooks.HookProvider`.
    :param termination: a further condition to stop, checked when the tool calls of a response have
        their results.
    :param checkpointer: where threads are saved; used in runs with a ``thread_id``.
    :param conversation_manager: limits the length of the requests.
    :param memory: a store of facts. Those of ``memory_namespace`` are added to the system prompt.
    :param output_schema: the type of the final answer, as
        :func:`~locus.core.structured.build_response_format` takes it.
    :param output_schema_retries: how often the model is asked again for an answer of that type.
    :param output_mode: how the model is asked for it: ``"native"`` (the provider's own form, as
        ``response_format`` is), ``"tool"`` (the arguments of a call are the answer), ``"prompted"``
        (in words alone), or ``"auto"``: the native form as far as the model has it and its server
        does not refuse it, else in words.
    :param reflexion: the agent assesses its last step after tool calls, and advises the model:
        True, or a :class:`~locus.reasoning.Reflector`.
    :param grounding: the claims of the final answer are checked against the results of tools:
        True, or a :class:`~locus.reasoning.GroundingEvaluator`.
    :param gsar: the final answer is judged by typed grounding: True (the agent's own model is the
        judge), or a :class:`~locus.reasoning.GSAREvaluator`.
    :param tool_choice: ``"required"`` or the name of a tool: the model has to call it before it
        answers. It applies until there is a tool result; ``model_options={"tool_choice": …}``
        would apply to every call.
    :param tool_execution: ``"concurrent"`` runs the calls of a response at the same time,
        ``"sequential"`` one after another.
    :param max_concurrency: the most tools of a run at the same time.
    :param tool_timeout: seconds for a tool that has no ``timeout`` of its own; None means no limit.
    :param on_tool_error: ``"report"`` answers the call of a tool that failed with its error, which
        the model reads. ``"raise"`` ends the run with the tool's exception, after the other calls
        of the round; a resumed run calls the tool again. Invalid arguments, and ``ModelRetry``, are
        for the model in any case.
    :param stream: whether :meth:`run` and :meth:`stream_sync` give responses while they arrive.
    :param model_options: keywords of every model call, such as ``{"temperature": 0}``.
    :raises ConfigurationError: if a value cannot work; the message names the argument.
    :raises TypeError: if the model, a tool, a hook or another argument has a wrong type.
    """

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
        :param thread_id: the conversation to continue, or to begin, in the checkpointer. Without a
            checkpointer it is only a name, for tools and hooks.
        :param metadata: for tools (:class:`~locus.tools.ToolContext`) and hooks; not saved.
        :raises Exception: if the model or a hook raised it. Errors of tools go to the model.
        """
        run = self._make_context_for_prompt(prompt, thread_id, metadata, streamed=False)
        return self._make_blocking_run(run).run_to_end()

    invoke = run_sync

    def stream_sync(
        self,
        prompt: Messages,
        thread_id: str | None = None,
        *,
        metadata: Mapping[str, Any] | None = None,
    ) -> BlockingRun:
        """Return the events of a run, blocking: an iterator that is a context manager, too."""
        run = self._make_context_for_prompt(prompt, thread_id, metadata, streamed=self.stream)
        return self._make_blocking_run(run)

    def resume_sync(
        self,
        *,
        thread_id: str,
        approvals: Approvals | None = None,
        metadata: Mapping[str, Any] | None = None,
    ) -> AgentResult:
        """Continue a thread that was interrupted, to the end, blocking.

        Nothing is done twice: tool calls that have a result keep it, the others of that round are
        run. A thread that had ended gives its last answer.

        :param approvals: what was decided about the calls that wait for approval, by their ``id``:
            True, or the reason why the call is not run, which the model reads. Calls without a
            decision go on waiting.
        :raises ConfigurationError: if there is no such thread, no such call, or no checkpointer.
        :raises ThreadBusyError: if another run is working on it.
        """
        run = self._make_context_for_resume(thread_id, approvals, metadata, streamed=False)
        return self._make_blocking_run(run).run_to_end()

    def resume_stream_sync(
        self,
        *,
        thread_id: str,
        approvals: Approvals | None = None,
        metadata: Mapping[str, Any] | None = None,
    ) -> BlockingRun:
        """Do the same as :meth:`resume_sync`, and return the events."""
        return self._make_blocking_run(
            self._make_context_for_resume(thread_id, approvals, metadata, streamed=self.stream)
        )

    # Under asyncio and trio.

    def run(
        self,
        prompt: Messages,
        thread_id: str | None = None,
        *,
        metadata: Mapping[str, Any] | None = None,
    ) -> AsyncRun:
        """Return the events of a run, async: an async iterator that is a context manager, too."""
        run = self._make_context_for_prompt(prompt, thread_id, metadata, streamed=self.stream)
        return self._make_async_run(run)

    async def arun(
        self,
        prompt: Messages,
        thread_id: str | None = None,
        *,
        metadata: Mapping[str, Any] | None = None,
    ) -> AgentResult:
        """Do the same as :meth:`run_sync`, under asyncio or trio."""
        run = self._make_context_for_prompt(prompt, thread_id, metadata, streamed=False)
        return await self._make_async_run(run).run_to_end()

    def resume(
        self,
        *,
        thread_id: str,
        approvals: Approvals | None = None,
        metadata: Mapping[str, Any] | None = None,
    ) -> AsyncRun:
        """Do the same as :meth:`resume_sync` under asyncio or trio, and return the events."""
        return self._make_async_run(
            self._make_context_for_resume(thread_id, approvals, metadata, streamed=self.stream)
        )

    async def aresume(
        self,
        *,
        thread_id: str,
        approvals: Approvals | None = None,
        metadata: Mapping[str, Any] | None = None,
    ) -> AgentResult:
        """Do the same as :meth:`resume_sync`, under asyncio or trio."""
        run = self._make_context_for_resume(thread_id, approvals, metadata, streamed=False)
        return await self._make_async_run(run).run_to_end()

    # Other agents.

    def as_tool(self, *, name: str, description: str) -> FunctionTool[..., Any]:
        """Make a tool for another agent: it runs this one with a prompt, and gives its answer.

        Each call is a conversation of its own, with the metadata of the calling run. Its tokens
        count among those of the calling run.

        :param name: the name of the tool, for the model that calls it.
        :param description: what that model reads about it: what to ask this agent for.
        """
        from locus.agent.agent_tool import make_agent_tool

        def start_run(prompt: str, context: ToolContext) -> tuple[RunContext, AsyncRun]:
            run = self._make_context_for_prompt(prompt, None, context.metadata, streamed=False)
            return run, self._make_async_run(run)

        return make_agent_tool(start_run, name, description)

    # Copies.

    def copy(self, **changes: Any) -> Self:
        """Return a copy with other arguments, such as ``agent.copy(max_iterations=5)``."""
        return attrs.evolve(self, **changes)

    __replace__ = copy

    # Runs.

    def _make_context_for_prompt(
        self,
        prompt: Messages,
        thread_id: str | None,
        metadata: Mapping[str, Any] | None,
        *,
        streamed: bool,
    ) -> RunContext:
        """Make the context of a run that begins with a prompt, which is validated first."""
        continues_thread = thread_id is not None and self.checkpointer is not None
        messages = normalize_prompt(prompt, continues_thread=continues_thread)
        return self._make_run_context(thread_id, metadata, streamed=streamed, prompt=messages)

    def _make_context_for_resume(
        self,
        thread_id: str,
        approvals: Approvals | None,
        metadata: Mapping[str, Any] | None,
        *,
        streamed: bool,
    ) -> RunContext:
        """Make the context of a run that continues a saved thread."""
        if thread_id is None:
            raise ConfigurationError("thread_id names the conversation to resume; it is not None")
        if self.checkpointer is None:
            raise ConfigurationError("there is nothing to resume from: pass checkpointer=")
        return self._make_run_context(
            thread_id,
            metadata,
            streamed=streamed,
            is_resumed=True,
            approvals=normalize_approvals(approvals),
        )

    def _make_run_context(
        self, thread_id: str | None, metadata: Mapping[str, Any] | None, **fields: Any
    ) -> RunContext:
        """Make the context of a run; ``fields`` are further fields of :class:`RunContext`."""
        if thread_id is not None and (not isinstance(thread_id, str) or not thread_id):
            raise ConfigurationError(f"thread_id is the name of a conversation, not {thread_id!r}")
        return RunContext(
            settings=self,
            model=self.resolve_model(),
            thread_id=thread_id,
            metadata=to_frozen_dict(metadata, "metadata"),
            **fields,
        )

    def _make_blocking_run(self, run: RunContext) -> BlockingRun:
        """Make the iterator that drives a run from blocking code; nothing runs yet."""
        from locus.agent.blocking_driver import BlockingRun

        return BlockingRun(run_agent_in_steps(run), streamed=run.streamed)

    def _make_async_run(self, run: RunContext) -> AsyncRun:
        """Make the iterator that drives a run under asyncio and trio; nothing runs yet."""
        from locus.agent.async_driver import AsyncRun

        return AsyncRun(run_agent_in_steps(run), streamed=run.streamed)
