"""Random conversations for the tests of managers, and checks of a shortened conversation."""

from __future__ import annotations

from collections.abc import Sequence

from hypothesis import strategies as st

from locus.core.conversation import order_tool_results, validate_messages
from locus.core.messages import ImagePart, Message, Role, ToolCall, ToolResult

IMAGE = ImagePart(data=b"\x89PNG", media_type="image/png")


@st.composite
def long_conversations(draw: st.DrawFn) -> tuple[Message, ...]:
    """Conversations of many forms, as agents may have them.

    They have parallel calls with their results in any order, the same call id several times,
    messages between a call and its result, system messages anywhere, and images. A conversation may
    begin with the assistant, end with tool results or an answer, and have no message of the user.
    Each message is a separate object, so that it can be identified in the result.
    """
    conversation: list[Message] = []
    for index, role_code in enumerate(
        draw(st.lists(st.sampled_from("suuiarrr"), min_size=1, max_size=8))
    ):
        text = f"{role_code}{index}" * draw(st.sampled_from((1, 1, 10)))
        if role_code == "s":
            conversation.append(Message.system(text))
        elif role_code in "ui":
            conversation.append(Message.user([text, IMAGE] if role_code == "i" else text))
        elif role_code == "a":
            conversation.append(Message.assistant(text))
        else:
            conversation += draw(tool_call_groups(index, text))
    return tuple(conversation)


@st.composite
def tool_call_groups(draw: st.DrawFn, index: int, text: str) -> list[Message]:
    """Tool calls and their results, sometimes with a message between the two."""
    reuse_ids = draw(st.booleans())
    ids = [f"call_{number}" if reuse_ids else f"call_{index}_{number}" for number in range(3)]
    if draw(st.integers(0, 5)) == 5:
        ids = ids[:1] * 3  # as some models do
    calls = [ToolCall(id, "f") for id in ids[: draw(st.integers(1, 3))]]
    results = [Message.tool(ToolResult(call.id, "f", text)) for call in calls]
    results = draw(st.permutations(results))
    between = draw(st.sampled_from([None, None, None, "user", "system"]))
    if between is not None:
        results.insert(draw(st.integers(0, len(results))), Message(between, f"meanwhile {text}"))
    return [Message.assistant(None, calls), *results]


def map_results_to_calls(conversation: Sequence[Message]) -> dict[int, int]:
    """The id() of each result message, with the id() of the message that has its call."""
    return {
        id(indexed.message): id(conversation[indexed.call_position[0]])
        for indexed in order_tool_results(conversation)
        if indexed.call_position is not None
    }


def check_shortened(before: Sequence[Message], after: Sequence[Message]) -> None:
    """Check that ``after`` is a valid part of ``before``, in order, with complete tool calls."""
    assert validate_messages(tuple(after), accepted_parts=None) == tuple(after)
    positions = {id(message): position for position, message in enumerate(before)}
    remaining_positions = [positions[id(message)] for message in after if id(message) in positions]
    assert remaining_positions == sorted(set(remaining_positions))
    remaining = set(map(id, after))
    for result, call in map_results_to_calls(before).items():
        assert (result in remaining) == (call in remaining)
    assert map_results_to_calls(after) == {
        result: call for result, call in map_results_to_calls(before).items() if result in remaining
    }
    for message in before:
        if message.role is not Role.SYSTEM:
            break
        assert id(message) in remaining
    user_messages = [message for message in before if message.role is Role.USER]
    if user_messages:
        assert id(user_messages[-1]) in remaining
