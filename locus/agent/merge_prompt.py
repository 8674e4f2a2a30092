"""What the caller says, joined to what was said before: no call is left open, no result is stray.

A conversation with a call that nothing answers, or with a result of no call, is refused by every
provider, in this run and in all later ones of its thread. So it is looked at before it becomes the
state.
"""

from __future__ import annotations

from collections.abc import Sequence

from locus.core.errors import ConfigurationError
from locus.core.messages import Message, Role, ToolCall, ToolResult
from locus.core.state import AgentState

_NOT_RUN = "not run: the conversation was interrupted"


def joined(state: AgentState, prompt: Sequence[Message]) -> AgentState:
    """The state with the caller's messages in it.

    Calls that an interrupted run has left are answered: by the results in ``prompt``; where a tool
    had run, by its result; else by words that it was not run.

    :raises ConfigurationError: the prompt holds the result of no open call, or a call without a
        result; names the position.
    """
    left = state.pending_calls()
    given, rest = _answers_to(left, prompt)
    _check(prompt, rest)
    ran = {
        execution.tool_call_id: execution
        for execution in state.tool_executions
        if execution.iteration == state.iteration
    }
    answers = []
    for place, call in enumerate(left):
        execution = ran.get(call.id)
        if place in given:
            answers.append(given[place])
        elif execution is not None:
            said = ToolResult(call.id, call.name, execution.result or "", execution.error)
            answers.append(Message.tool(said))
        else:
            answers.append(Message.tool(ToolResult(call.id, call.name, "", _NOT_RUN)))
    return state.with_messages(*answers, *(message for _, message in rest))


def _answers_to(
    left: Sequence[ToolCall], prompt: Sequence[Message]
) -> tuple[dict[int, Message], list[tuple[int, Message]]]:
    """The results in the prompt that answer these calls, and the rest with their positions."""
    given: dict[int, Message] = {}
    rest: list[tuple[int, Message]] = []
    theirs: set[str] = set()  # calls that the prompt itself makes are not the ones that were left
    for position, message in enumerate(prompt):
        theirs.update(call.id for call in message.tool_calls)
        place = None
        if message.role is Role.TOOL and message.tool_call_id not in theirs:
            matching = (at for at, call in enumerate(left) if call.id == message.tool_call_id)
            place = next((at for at in matching if at not in given), None)
        if place is None:
            rest.append((position, message))
        else:
            given[place] = message
    return given, rest


def _check(prompt: Sequence[Message], rest: Sequence[tuple[int, Message]]) -> None:
    waiting: list[tuple[int, ToolCall]] = []
    for position, message in rest:
        waiting += [(position, call) for call in message.tool_calls]
        if message.role is not Role.TOOL:
            continue
        # A result is that of the latest message with its id, and there of the first such call.
        asked = [one for one in waiting if one[1].id == message.tool_call_id]
        if not asked:
            raise ConfigurationError(
                f"messages[{position}] of the prompt is the result of tool call "
                f"{message.tool_call_id!r}, but the conversation has no open call of that id"
            )
        latest = max(where for where, _ in asked)
        waiting.remove(next(one for one in asked if one[0] == latest))
    if waiting:
        position, call = waiting[0]
        raise ConfigurationError(
            f"messages[{position}] of the prompt calls the tool {call.name!r} ({call.id!r}), and "
            "no message after it is the result: an agent runs the calls of its own model only. "
            "Add Message.tool(...), or leave the call out"
        )
