"""What the model is sent, and what the state has to remember about it.

Where the server keeps the conversation only what is new is sent, so the state notes which server
knows how many messages, and what system prompt. An empty answer stays out of the conversation,
since no provider takes one back; a note is left instead, or whoever resumes the thread would ask
again. Another note says that the last answer could not be read and is asked for again. They are
kept in the state's metadata under ``"locus"``, which is no part of any request.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from locus.agent.effects import CallModel, Steps
from locus.agent.run_context import Run
from locus.core.frozendict import EMPTY, FrozenDict
from locus.core.messages import Message, Role
from locus.core.response import ModelResponse
from locus.core.state import AgentState
from locus.wire.tool_call_ids import checksum

NOTES: Final = "locus"
"""The key of the loop's own notes in ``AgentState.metadata``."""

_KNOWN: Final = "server_knows"
_SERVER: Final = "server"
_SYSTEM: Final = "server_system"
_EMPTY_AFTER: Final = "empty_answer_after"
_ASKED_AGAIN: Final = "asked_again"


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


def answered(run: Run, response: ModelResponse, message: Message) -> AgentState:
    """The state with an answer in it, as ``message``, and the notes that go with it."""
    empty = not message.tool_calls and not message.says_something
    state = run.state.with_usage(response.usage)
    if not empty:
        state = state.with_messages(message)
    notes: dict[str, Any] = {}
    if response.provider_state is not None:
        notes[_KNOWN] = len(state.messages)
        notes[_SERVER], notes[_SYSTEM] = _server(run.model), _system(run)
    if empty:
        notes[_EMPTY_AFTER] = len(state.messages)
    if run.times_asked_again:
        notes[_ASKED_AGAIN] = [run.times_asked_again, len(state.messages)]
    state = _with_notes(state, notes)
    return state.evolve(iteration=state.iteration + 1, provider_state=response.provider_state)


def asked_again(run: Run, message: Message) -> AgentState:
    """The state in which the model is asked for its last answer again."""
    state = run.state.with_messages(message)
    asked = [run.times_asked_again, len(state.messages)]
    return _with_notes(state, {**_notes(state), _ASKED_AGAIN: asked})


def times_asked_again(state: AgentState) -> int:
    """How often it was, where that is the last thing that happened in the conversation."""
    note = _notes(state).get(_ASKED_AGAIN)
    if not isinstance(note, list) or len(note) != 2 or note[1] != len(state.messages):
        return 0
    return note[0] if isinstance(note[0], int) else 0


def _server(model: Any) -> str:
    """What tells one server, and what it can make of a ``provider_state``, from another."""
    config, kind = getattr(model, "config", None), type(model)
    address = getattr(getattr(model, "sdk_client", None), "base_url", None)
    address = address or getattr(config, "base_url", "")
    project = getattr(config, "project_ocid", None)
    return checksum(f"{kind.__module__}.{kind.__qualname__} {address} {project}")


def _system(run: Run) -> str:
    return "" if run.system is None else checksum(run.system.text)


def _notes(state: AgentState) -> Mapping[str, Any]:
    notes = state.metadata.get(NOTES)
    return notes if isinstance(notes, Mapping) else EMPTY


def _with_notes(state: AgentState, notes: Mapping[str, Any]) -> AgentState:
    """The state with these notes, and no others."""
    if not notes and NOTES not in state.metadata:
        return state
    others = {name: value for name, value in state.metadata.items() if name != NOTES}
    return state.evolve(metadata={**others, NOTES: notes} if notes else others)


def _count(state: AgentState, name: str) -> int | None:
    count = _notes(state).get(name)
    return count if type(count) is int else None


def ended_empty(state: AgentState) -> bool:
    """Whether the last thing that happened in the conversation was an empty answer."""
    return _count(state, _EMPTY_AFTER) == len(state.messages)


def request(run: Run) -> Steps[tuple[Message, ...]]:
    """The messages that the model is sent."""
    state, manager = run.state, run.agent.conversation_manager
    stateful = getattr(run.model, "server_stateful", False)
    new = _new_to_the_server(run) if stateful and state.provider_state is not None else None
    run.continues = new is not None
    if new is not None:
        return new
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


def _new_to_the_server(run: Run) -> tuple[Message, ...] | None:
    """What the server does not know yet; None where it cannot go on from what it knows.

    It cannot where another one gave the ``provider_state``, nor where an assistant's words are new
    to it (models that keep the conversation take what comes after the last of those), nor where it
    knows what is no part of the conversation any more: messages, or a system prompt.
    """
    state = run.state
    messages, start = state.messages, _count(state, _KNOWN)
    if start is None:  # saved without a count: its last answer is the last thing that it knows
        start = len(messages)
        while start and messages[start - 1].role is not Role.ASSISTANT:
            start -= 1
    new = messages[start:]
    notes = _notes(state)
    if notes.get(_SERVER, _server(run.model)) != _server(run.model):
        return None
    if not new or start < 0 or any(message.role is Role.ASSISTANT for message in new):
        return None
    if notes.get(_SYSTEM, _system(run)) == _system(run):
        return new
    return None if run.system is None else (run.system, *new)


def offer(run: Run) -> tuple[tuple[Mapping[str, Any], ...] | None, Mapping[str, Any]]:
    """The tools and keywords of a model call. No tools at all leaves it to the model's own."""
    agent, shape = run.agent, run.shape
    tools = agent.tool_schemas or None
    options = dict(agent.model_options)
    if agent.tool_choice is not None and not run.asks_again:
        last = run.state.last_message
        if last is None or last.role is not Role.TOOL:  # for ever, it would leave no way to answer
            options["tool_choice"] = agent.tool_choice
    if run.continues and run.state.provider_state is not None:
        options["provider_state"] = run.state.provider_state
    if shape is not None and shape.options:
        if shape.always:
            options.update(shape.options)
        elif run.asks_again:
            options.update(shape.options)
            tools = ()  # held to the schema, the model could not call them
    return tools, FrozenDict(options)
