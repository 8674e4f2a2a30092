"""Conversations for what shortens them, and what has to hold of the result."""

from __future__ import annotations

from collections.abc import Sequence

from hypothesis import strategies as st

from locus.core.conversation import conversation, in_order
from locus.core.messages import ImagePart, Message, Role, ToolCall, ToolResult

IMAGE = ImagePart(data=b"\x89PNG", media_type="image/png")


@st.composite
def long_conversations(draw: st.DrawFn) -> tuple[Message, ...]:
    """Conversations as agents meet them, in few words and many shapes.

    Parallel calls with their results in any order, one call id in several rounds, words between a
    call and its result, system messages anywhere, images; it may begin with the assistant, end in
    a tool round or an answer, and have nothing from the user. Each message is an object of its
    own, so that it can be found again.
    """
    turns: list[Message] = []
    for at, kind in enumerate(draw(st.lists(st.sampled_from("suuiarrr"), min_size=1, max_size=8))):
        said = f"{kind}{at}" * draw(st.sampled_from((1, 1, 10)))
        if kind == "s":
            turns.append(Message.system(said))
        elif kind in "ui":
            turns.append(Message.user([said, IMAGE] if kind == "i" else said))
        elif kind == "a":
            turns.append(Message.assistant(said))
        else:
            turns += draw(tool_rounds(at, said))
    return tuple(turns)


@st.composite
def tool_rounds(draw: st.DrawFn, at: int, said: str) -> list[Message]:
    """Calls and their results, at times with something between the two."""
    again = draw(st.booleans())
    ids = [f"call_{number}" if again else f"call_{at}_{number}" for number in range(3)]
    if draw(st.integers(0, 5)) == 5:
        ids = ids[:1] * 3  # as some models do
    calls = [ToolCall(id, "f") for id in ids[: draw(st.integers(1, 3))]]
    results = [Message.tool(ToolResult(call.id, "f", said)) for call in calls]
    results = draw(st.permutations(results))
    between = draw(st.sampled_from([None, None, None, "user", "system"]))
    if between is not None:
        results.insert(draw(st.integers(0, len(results))), Message(between, f"meanwhile {said}"))
    return [Message.assistant(None, calls), *results]


def answered(turns: Sequence[Message]) -> dict[int, int]:
    """The object that each result is, and the one with the call that it answers."""
    return {
        id(turn.message): id(turns[turn.answers[0]])
        for turn in in_order(turns)
        if turn.answers is not None
    }


def check_shortened(before: Sequence[Message], after: Sequence[Message]) -> None:
    """``after`` is a part of ``before`` that a provider accepts, with nothing parted or moved."""
    assert conversation(tuple(after)) == tuple(after)
    places = {id(message): place for place, message in enumerate(before)}
    kept = [places[id(message)] for message in after if id(message) in places]
    assert kept == sorted(set(kept))
    of = set(map(id, after))
    for result, asked in answered(before).items():
        assert (result in of) == (asked in of)
    assert answered(after) == {r: a for r, a in answered(before).items() if r in of}
    for message in before:
        if message.role is not Role.SYSTEM:
            break
        assert id(message) in of
    spoken = [message for message in before if message.role is Role.USER]
    if spoken:
        assert id(spoken[-1]) in of
