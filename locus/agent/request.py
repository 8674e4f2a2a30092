"""What the model is sent, and what the state has to remember about it.

Where the server keeps the conversation only what is new is sent, so the state counts the messages
that the server knows. An empty answer stays out of the conversation, since no provider takes one
back; a note is left instead, or whoever resumes the thread would ask again. Both are kept in the
state's metadata under ``"locus"``, which is no part of any request.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from locus.agent.effects import CallModel, Steps
from locus.agent.run import Run
from locus.core.frozendict import EMPTY, FrozenDict
from locus.core.messages import Message, Role
from locus.core.response import ModelResponse
from locus.core.state import AgentState

NOTES: Final = "locus"
"""The key of the loop's own notes in ``AgentState.metadata``."""

_KNOWN: Final = "server_knows"
_EMPTY_AFTER: Final = "empty_answer_after"


def ask(
    model: Any,
    messages: tuple[Message, ...],
    tools: tuple[Mapping[str, Any], ...] | None,
    options: Mapping[str, Any],
    *,
    aloud: bool = True,
) -> Steps[ModelResponse]:
    """The model's answer.

    :raises TypeError: what it gave is no answer; names the model.
    """
    response = yield CallModel(model, messages, tools, options, aloud=aloud)
    if not isinstance(response, ModelResponse):
        raise TypeError(
            f"the model {type(model).__name__} gave {type(response).__name__}, not a ModelResponse"
        )
    if response.message.role is not Role.ASSISTANT:
        raise TypeError(
            f"the model {type(model).__name__} gave a message of the {response.message.role}'s, "
            "not one of the assistant's"
        )
    return response


def answered(state: AgentState, response: ModelResponse, message: Message) -> AgentState:
    """The state with an answer in it, as ``message``, and the notes that go with it."""
    empty = not message.tool_calls and not message.says_something
    state = state.with_usage(response.usage)
    if not empty:
        state = state.with_messages(message)
    notes: dict[str, int] = {}
    if response.provider_state is not None:
        notes[_KNOWN] = len(state.messages)
    if empty:
        notes[_EMPTY_AFTER] = len(state.messages)
    state = _with_notes(state, notes)
    return state.evolve(iteration=state.iteration + 1, provider_state=response.provider_state)


def _with_notes(state: AgentState, notes: Mapping[str, int]) -> AgentState:
    """The state with these notes, and no others."""
    if not notes and NOTES not in state.metadata:
        return state
    others = {name: value for name, value in state.metadata.items() if name != NOTES}
    return state.evolve(metadata={**others, NOTES: notes} if notes else others)


def _note(state: AgentState, name: str) -> int | None:
    notes = state.metadata.get(NOTES)
    count = notes.get(name) if isinstance(notes, Mapping) else None
    return count if isinstance(count, int) else None


def ended_empty(state: AgentState) -> bool:
    """Whether the last thing that happened in the conversation was an empty answer."""
    return _note(state, _EMPTY_AFTER) == len(state.messages)


def request(run: Run) -> Steps[tuple[Message, ...]]:
    """The messages that the model is sent."""
    state, manager = run.state, run.agent.conversation_manager
    stateful = getattr(run.model, "server_stateful", False)
    if stateful and state.provider_state is not None:
        return _new_to_the_server(state)
    system = () if run.system is None else (run.system,)
    messages = (*system, *state.messages)
    if manager is None or stateful:
        return messages
    # The manager's own generator of effects: what it wants summarised, a model is asked.
    reduction = manager.reduce(messages)
    try:
        asked = next(reduction)
        while True:
            model = run.model if asked.model is None else asked.model
            answer = yield from ask(model, asked.messages, (), EMPTY, aloud=False)
            run.state = run.state.with_usage(answer.usage)
            asked = reduction.send(answer.content)
    except StopIteration as done:
        reduced: tuple[Message, ...] = done.value
    if manager.rewrites and reduced != messages:
        # No server knows these, and what was counted in the others counts no longer.
        rewritten = run.state.evolve(messages=reduced[len(system) :], provider_state=None)
        run.state = _with_notes(rewritten, {})
    return reduced


def _new_to_the_server(state: AgentState) -> tuple[Message, ...]:
    messages, start = state.messages, _note(state, _KNOWN)
    if start is None:  # saved without a count: its last answer is the last thing that it knows
        start = len(messages)
        while start and messages[start - 1].role is not Role.ASSISTANT:
            start -= 1
    return messages[start:]


def offer(run: Run) -> tuple[tuple[Mapping[str, Any], ...] | None, Mapping[str, Any]]:
    """The tools and keywords of a model call. No tools at all leaves it to the model's own."""
    agent, shape = run.agent, run.shape
    tools = agent.tool_schemas or None
    options = dict(agent.model_options)
    if agent.tool_choice is not None and not run.asks_again:
        last = run.state.last_message
        if last is None or last.role is not Role.TOOL:  # for ever, it would leave no way to answer
            options["tool_choice"] = agent.tool_choice
    if getattr(run.model, "server_stateful", False) and run.state.provider_state is not None:
        options["provider_state"] = run.state.provider_state
    if shape is not None and shape.options:
        if shape.always:
            options.update(shape.options)
        elif run.asks_again:
            options.update(shape.options)
            tools = ()  # held to the schema, the model could not call them
    return tools, FrozenDict(options)
