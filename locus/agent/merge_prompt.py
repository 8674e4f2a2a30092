"""Checks the prompt of a run and merges it into the conversation.

Every provider refuses a conversation that has a tool call without a result, or a result without its
call, in this run and in all later runs of the thread. So a prompt is checked before it becomes part
of the state.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final

from locus.core.conversation import validate_messages
from locus.core.errors import ConfigurationError
from locus.core.messages import Message, Role, ToolCall, ToolResult
from locus.core.state import AgentState

_NOT_RUN: Final = "no result: the conversation was interrupted before the call was done"


def normalize_prompt(prompt: Any, *, continues_thread: bool) -> tuple[Message, ...]:
    """Validate the prompt and return it as messages.

    :param continues_thread: whether the conversation may exist already, with open calls that the
        prompt answers.
    :raises TypeError: if it is not a string, a message or several messages.
    :raises ConfigurationError: if no provider would accept it; the message names the position.
    """
    if isinstance(prompt, (bytes, bytearray, Mapping)):
        raise TypeError(
            f"a prompt is a string, a Message, or several messages; not {type(prompt).__name__}"
        )
    if isinstance(prompt, Iterable) and not isinstance(prompt, str):
        prompt = tuple(prompt)
    messages = validate_messages(prompt, server_has_history=continues_thread, accepted_parts=None)
    if not continues_thread:
        merge_prompt_into_state(AgentState(), messages)
    return messages


def merge_prompt_into_state(state: AgentState, prompt: Sequence[Message]) -> AgentState:
    """Return the state with the messages of the prompt at the end of the conversation.

    Tool calls that an interrupted run left without a result get one before that: the result in the
    prompt; or that of the tool, if it had run; or an error that says that the call was not run.

    :raises ConfigurationError: if the prompt has a result without an open call, or a call without a
        result; the message names the position.
    """
    open_calls = state.pending_calls()
    results, others = _split_off_results(open_calls, prompt)
    _check_calls_match_results(others)
    executions = {
        execution.tool_call_id: execution
        for execution in state.tool_executions
        if execution.iteration == state.iteration
    }
    answers = []
    for index, call in enumerate(open_calls):
        execution = executions.get(call.id)
        if index in results:
            answers.append(results[index])
        elif execution is not None:
            result = ToolResult(call.id, call.name, execution.content, execution.error)
            answers.append(Message.tool(result))
        else:
            answers.append(Message.tool(ToolResult(call.id, call.name, "", _NOT_RUN)))
    return state.with_messages(*answers, *(message for _, message in others))


def _split_off_results(
    open_calls: Sequence[ToolCall], prompt: Sequence[Message]
) -> tuple[dict[int, Message], list[tuple[int, Message]]]:
    """Split a prompt into results of open calls, by the call's index, and the other messages.

    The other messages come with their positions in the prompt.
    """
    results: dict[int, Message] = {}
    others: list[tuple[int, Message]] = []
    prompt_call_ids: set[str] = set()  # a result after a call in the prompt is that of this call
    for position, message in enumerate(prompt):
        prompt_call_ids.update(call.id for call in message.tool_calls)
        index = None
        if message.role is Role.TOOL and message.tool_call_id not in prompt_call_ids:
            candidates = (
                index for index, call in enumerate(open_calls) if call.id == message.tool_call_id
            )
            index = next((index for index in candidates if index not in results), None)
        if index is None:
            others.append((position, message))
        else:
            results[index] = message
    return results, others


def _check_calls_match_results(indexed_messages: Sequence[tuple[int, Message]]) -> None:
    """Check that each call has a result after it and each result a call before it.

    :param indexed_messages: messages of a prompt, each with its position.
    """
    open_calls: list[tuple[int, ToolCall]] = []
    for position, message in indexed_messages:
        open_calls += [(position, call) for call in message.tool_calls]
        if message.role is not Role.TOOL:
            continue
        # A result belongs to the latest message with a call of its id, and there to the first one.
        matching = [entry for entry in open_calls if entry[1].id == message.tool_call_id]
        if not matching:
            raise ConfigurationError(
                f"messages[{position}] of the prompt is the result of tool call "
                f"{message.tool_call_id!r}, but the conversation has no open call of that id"
            )
        latest_position = max(call_position for call_position, _ in matching)
        open_calls.remove(next(entry for entry in matching if entry[0] == latest_position))
    if open_calls:
        position, call = open_calls[0]
        raise ConfigurationError(
            f"messages[{position}] of the prompt calls the tool {call.name!r} ({call.id!r}), and "
            "no message after it is the result: an agent runs the calls of its own model only. "
            "Add Message.tool(...), or leave the call out"
        )
