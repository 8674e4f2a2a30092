"""The context of one run of an agent: its settings, its state and its progress.

The modules of the loop share one :class:`RunContext`. All of them run in one thread at a time, so
it needs no locks. Only ``state``, which is immutable, outlives the run.
"""

from __future__ import annotations

from collections.abc import Mapping
from contextvars import Context, copy_context
from functools import partial
from typing import TYPE_CHECKING, Any, Final

import attrs

from locus.agent.effects import CallFunction, CallHook, EffectGenerator, UseStorage
from locus.agent.output_schema import OutputSchema
from locus.agent.settings import AgentSettings, RunnableTool
from locus.agent.shorten_after_context_error import halve_budget
from locus.agent.tool_call_approval import Approvals
from locus.core.build_tool_schemas import ToolSchema, get_tool_name
from locus.core.errors import APIStatusError, StructuredOutputError
from locus.core.frozendict import EMPTY
from locus.core.messages import ImagePart, Message, TextPart, ToolCall
from locus.core.refused_schema import SchemaRefusal
from locus.core.state import AgentState
from locus.core.structured_output_support import StructuredOutputSupport
from locus.core.termination import RunSnapshot
from locus.models.capabilities import get_capabilities
from locus.tools.context import ToolContext

if TYPE_CHECKING:
    from locus.agent.run_variables import RunVariables
    from locus.agent.thread_lock import ThreadLock
    from locus.reasoning.grounding_evaluator import GroundingReport
    from locus.reasoning.gsar_evaluator import GSARResult


_REFUSED_STATUSES: Final = frozenset({400, 413, 422})
"""The statuses by which providers say that a request itself is at fault."""

_LONG_ANSWER: Final = 50_000
"""From this number of characters on, an event loop would notice how long parsing takes."""


@attrs.define(eq=False)
class RunContext:
    """The settings, the state and the progress of one run.

    :ivar settings: the settings of the agent.
    :ivar model: the model that is called.
    :ivar prompt: the caller's messages; empty if a thread is resumed.
    :ivar is_resumed: the run continues a thread without a new prompt.
    :ivar streamed: the caller receives responses while they arrive.
    :ivar state: the current state.
    :ivar initial_state: the state that the run began with.
    :ivar saved_state: the state that the checkpointer has. In a new thread it is the empty state,
        which is not worth saving.
    :ivar system_texts: the system prompt and the facts of the memory store.
    :ivar response_message: the message of the model's last response.
    :ivar approvals: what was decided about the tool calls that are open when a thread is resumed.
    :ivar pending_calls: the tool calls that wait for approval, as the hooks have changed them.
    :ivar is_last_answer: the run is at its limit, and the model is asked for what it has.
    :ivar sent_messages: the messages of the last model request.
    :ivar sent_tools: the schemas of the tools that it offered, those of the model included.
    :ivar sent_options: its keywords.
    :ivar hidden_tools: the names of the tools that a hook has taken out of it; a call of one is a
        call of a tool that does not exist.
    :ivar refused_images: descriptions of the images in the thread, from results of tools, that the
        model cannot be shown.
    :ivar token_budget: how many tokens a request may have, by estimate, because the provider has
        refused a longer one; None if it has not.
    :ivar is_prompt_refused: the provider has refused the first request with the prompt.
    :ivar tool_call_count: how many tool calls were answered in this run.
    :ivar started_at: the clock at the beginning of the run, in seconds.
    :ivar ended_at: the clock at its end, in seconds.
    :ivar output_schema: how the final answer gets the type that the caller requires; None if any
        text will do.
    :ivar structured_output_limit: the most that the model's server can be asked for in this run.
    :ivar unconfirmed_refusal: what the server has refused in the last request, until it is known
        whether that was the cause.
    :ivar output_retry_count: how often the model was asked again for an answer of that type.
    :ivar parsed: the final answer as a value of that type.
    :ivar parse_error: the error if there is no such value.
    :ivar grounding_report: what the check of the last answer has found; None if there was none.
    :ivar gsar: the GSAR evaluation of the last answer; None if there was none.
    :ivar is_incremental: the server has the conversation and is sent only what is new to it.
    :ivar is_started: the state is loaded, and ``on_before_invocation`` is or was called.
    :ivar thread_lock: the lock on the thread, while the run holds it.
    :ivar variables: the context variables of the run, which its hooks share; None if there are no
        hooks.
    """

    settings: AgentSettings
    model: Any
    prompt: tuple[Message, ...] = ()
    is_resumed: bool = False
    streamed: bool = False
    thread_id: str | None = None
    metadata: Mapping[str, Any] = EMPTY
    state: AgentState = attrs.field(factory=AgentState)
    initial_state: AgentState = attrs.field(init=False)
    saved_state: AgentState = attrs.field(init=False)
    system_texts: tuple[str, ...] = ()
    response_message: Message | None = None
    approvals: Approvals = EMPTY
    pending_calls: tuple[ToolCall, ...] = ()
    is_last_answer: bool = False
    sent_messages: tuple[Message, ...] = ()
    sent_tools: tuple[Mapping[str, Any], ...] = ()
    sent_options: Mapping[str, Any] = EMPTY
    hidden_tools: frozenset[str] = frozenset()
    refused_images: Mapping[ImagePart, TextPart] = EMPTY
    token_budget: int | None = None
    is_prompt_refused: bool = False
    tool_call_count: int = 0
    started_at: float = 0.0
    ended_at: float = 0.0
    output_schema: OutputSchema | None = None
    structured_output_limit: StructuredOutputSupport = "always"
    unconfirmed_refusal: SchemaRefusal | None = None
    output_retry_count: int = 0
    parsed: Any = None
    parse_error: StructuredOutputError | None = None
    grounding_report: GroundingReport | None = None
    gsar: GSARResult | None = None
    is_incremental: bool = False
    is_started: bool = False
    thread_lock: ThreadLock | None = None
    variables: RunVariables | None = None

    def __attrs_post_init__(self) -> None:
        self.initial_state = self.saved_state = self.state

    @property
    def iterations(self) -> int:
        """The number of model calls of this run."""
        return self.state.iteration - self.initial_state.iteration

    @property
    def usage(self) -> dict[str, int]:
        """The tokens of this run."""
        before = self.initial_state.usage
        return {name: count - before.get(name, 0) for name, count in self.state.usage.items()}

    @property
    def system_message(self) -> Message | None:
        """The system message of each request, if there is any; no part of the state."""
        texts = self.system_texts
        if self.output_schema is not None and self.output_schema.instructions:
            texts = (*texts, self.output_schema.instructions)
        return Message.system("\n\n".join(texts)) if texts else None

    @property
    def text(self) -> str | None:
        """The text of the last response; None if it has only tool calls, or if there is none."""
        message = self.response_message
        if message is None:
            return None
        return message.text or message.refusal or (None if message.tool_calls else "")

    @property
    def finish_reason(self) -> str | None:
        """Why the last response ended, in one vocabulary; None if there is no response."""
        return None if self.response_message is None else self.state.finish_reason

    def parse_final_answer_in_steps(
        self, message: Message
    ) -> EffectGenerator[StructuredOutputError | None]:
        """Parse the final answer into ``parsed``, if the agent has an ``output_schema``.

        Returns the error if the answer does not fit the type, and None otherwise. A long answer is
        not parsed in the event loop.
        """
        if self.output_schema is None:
            return None
        parse = self.output_schema.parse_final_message
        if len(message.text) < _LONG_ANSWER:
            output = parse(message)
        else:
            output = yield CallFunction(parse, (message,), self.make_function_context())
        self.parsed, self.parse_error = output.parsed, output.error
        return output.error

    def reduce_token_budget_in_steps(self) -> EffectGenerator[bool]:
        """Limit the next requests to half of the last one; return whether that shortens anything.

        Nothing is left out of a conversation that no manager was asked to keep short.
        """
        if self.settings.conversation_manager is None or get_capabilities(self.model).server_state:
            return False
        self.token_budget, is_shorter = yield CallFunction(
            halve_budget, (self.sent_messages,), self.make_function_context()
        )
        return bool(is_shorter)

    def note_refused_request(self, error: APIStatusError) -> None:
        """Drop the prompt if the provider refuses the first request that has it.

        Every later run of the thread would send it again, and fail as well. What tools have done
        since the prompt is kept, and so is a prompt that only met a broken server.
        """
        if not self.prompt or self.iterations or error.status_code not in _REFUSED_STATUSES:
            return
        self.is_prompt_refused = True

    def drop_refused_prompt(self) -> None:
        """Return to the state before the prompt, but with the tokens that were used since."""
        state = self.initial_state
        if self.state.usage != state.usage:
            state = state.evolve(usage=self.state.usage)
        self.state = state

    def note_missing_answer(self, reason: str | None) -> None:
        """Record that the run ends without a final answer of the type that the caller requires.

        :param reason: why it ends.
        """
        if self.output_schema is not None:
            self.parsed = None
            self.parse_error = self.output_schema.make_missing_answer_error(reason)

    @property
    def runnable_tools(self) -> tuple[RunnableTool, ...]:
        """The tools that this run can execute: the agent's, or those that are bound to its model.

        A model uses the bound tools only if it is passed no others.
        """
        if self.settings.tools:
            return self.settings.runnable_tools
        return tuple(schema.tool for schema in self.bound_tools if isinstance(schema, ToolSchema))

    @property
    def bound_tools(self) -> tuple[Mapping[str, Any], ...]:
        """The schemas of the tools that are bound to the model."""
        schemas = getattr(self.model, "tools", None)
        return schemas if isinstance(schemas, tuple) else ()

    @property
    def tool_names(self) -> frozenset[str]:
        """The names of all tools that the model may call, those of its server included."""
        return frozenset(
            get_tool_name(schema) for schema in self.settings.tool_schemas or self.bound_tools
        )

    def find_tool(self, name: str) -> RunnableTool | None:
        """Return the tool of that name that this run can execute, or None."""
        if name in self.hidden_tools:
            return None
        if self.settings.tools:
            return self.settings.find_tool(name)
        return next((tool for tool in self.runnable_tools if tool.name == name), None)

    def list_visible_tool_names(self) -> list[str]:
        """List the names of the tools that the model was offered and that this run can execute."""
        return [tool.name for tool in self.runnable_tools if tool.name not in self.hidden_tools]

    def has_hooks(self, method_name: str) -> bool:
        """Whether any hook has the method ``method_name``."""
        return bool(self.settings.hook_methods[method_name])

    def call_hooks_in_steps(
        self, method_name: str, event: Any, variables: RunVariables | None = None
    ) -> EffectGenerator[None]:
        """Call the method ``method_name`` of each hook that has it.

        :param variables: the context variables that the hooks share, if not those of the run.
        """
        for method in self.settings.hook_methods[method_name]:
            shared = variables or self.variables
            assert shared is not None  # since there is a hook
            yield CallHook(method, event, shared)

    def copy_variables(self) -> Context | None:
        """Return a context with the variables of the run; None if it has those of its caller."""
        return None if self.variables is None else self.variables.copy()

    def make_function_context(self) -> Context:
        """Return a context for one call of a function of the user's."""
        return self.copy_variables() or copy_context()

    def save_state_in_steps(self) -> EffectGenerator[None]:
        """Save the state, if there is a checkpointer and the state has changed."""
        checkpointer, state = self.settings.checkpointer, self.state
        if checkpointer is None or self.thread_id is None or state is self.saved_state:
            return
        yield UseStorage(partial(checkpointer.save, self.thread_id, state), self.copy_variables())
        self.saved_state = state

    def make_tool_context(self, call: ToolCall) -> ToolContext:
        """Make the context that a tool gets with a call."""
        return ToolContext(
            tool_call_id=call.id,
            tool_name=call.name,
            thread_id=self.thread_id,
            iteration=self.state.iteration,
            state=self.state,
            metadata=self.metadata,
        )

    def make_snapshot(self, now: float) -> RunSnapshot:
        """Make the view of the run that termination conditions check.

        :param now: the clock, in seconds.
        """
        elapsed = now - self.started_at
        return RunSnapshot(self.state, elapsed, self.response_message, self.initial_state)
