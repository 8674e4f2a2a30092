"""Conversations kept within bounds: whatever is dropped, no call loses its result."""

from __future__ import annotations

import math
import pickle
from typing import Any

import attrs
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from locus.core.errors import ConfigurationError
from locus.core.messages import (
    ImagePart,
    Message,
    RefusalPart,
    Role,
    TextPart,
    ThinkingPart,
    ToolCall,
    ToolResult,
)
from locus.memory import (
    ConversationManager,
    SlidingWindowManager,
    SummarizingManager,
    TruncatingManager,
)
from locus.memory.managers import estimate_tokens
from locus.memory.managers.tool_rounds import indispensable, newest
from tests.memory.managers.conversations import check_shortened, long_conversations
from tests.support.strategies import conversations, texts

BUDGETS = st.none() | st.integers(0, 12)
SYSTEM = Message.system("Be brief.")
ASKED = Message.user("How is Rome?")
CALLED = Message.assistant(None, [ToolCall("a", "weather"), ToolCall("b", "news")])
RESULTS = [Message.tool(ToolResult(id, "weather", "fine")) for id in "ab"]
ANSWER = Message.assistant("Fine.")
FOLLOWED = Message.user("And Oslo?")
WHOLE = (SYSTEM, ASKED, CALLED, *RESULTS, ANSWER, FOLLOWED)


def length(message: Message) -> int:
    return 1 + len(message.text) + 5 * len(message.tool_calls)


# -- the window --------------------------------------------------------------------------------


@given(long_conversations(), BUDGETS, st.none() | st.integers(0, 300))
def test_a_window_of_any_size_is_a_conversation(
    turns: tuple[Message, ...], messages: int | None, tokens: int | None
) -> None:
    assume(messages is not None or tokens is not None)
    manager = SlidingWindowManager(messages, tokens, counter=length)
    window = manager.apply(turns)
    check_shortened(turns, window)
    assert manager.apply(window) == window


@given(conversations(max_rounds=2), st.integers(0, 8))
@settings(max_examples=20)
def test_a_window_keeps_whatever_messages_hold(turns: tuple[Message, ...], size: int) -> None:
    turns = tuple(map(attrs.evolve, turns))  # each an object of its own
    check_shortened(turns, SlidingWindowManager(size).apply(turns))


@given(long_conversations(), BUDGETS, st.none() | st.integers(0, 300))
def test_a_window_is_within_its_budget_or_the_least_there_is(
    turns: tuple[Message, ...], messages: int | None, tokens: int | None
) -> None:
    assume(messages is not None or tokens is not None)
    manager = SlidingWindowManager(messages, tokens, counter=length)
    window = manager.apply(turns)
    least = SlidingWindowManager(0).apply(turns)
    too_long = len(window) > (math.inf if messages is None else messages)
    too_long |= sum(map(length, window)) > (math.inf if tokens is None else tokens)
    if too_long:
        assert window == least
    assert {id(message) for message in least} <= {id(message) for message in window}


@given(long_conversations(), st.integers(0, 12))
def test_a_conversation_that_fits_stays_whole(turns: tuple[Message, ...], more: int) -> None:
    assert SlidingWindowManager(len(turns) + more).apply(turns) == turns
    tokens = sum(map(estimate_tokens, turns))
    assert SlidingWindowManager(max_tokens=tokens + more).apply(list(turns)) == turns


@given(long_conversations(), st.integers(0, 12))
def test_a_window_that_drops_something_begins_with_the_user_if_it_can(
    turns: tuple[Message, ...], size: int
) -> None:
    window = SlidingWindowManager(size).apply(turns)
    if len(window) < len(turns):
        first = next((turn for turn in window if turn.role is not Role.SYSTEM), None)
        users = [at for at, turn in enumerate(turns) if turn.role is Role.USER]
        calls = [at for at, turn in enumerate(turns) if turn.role is Role.ASSISTANT][-1:]
        if users and not (calls and calls[0] < users[0]):
            assert first is not None
            assert first.role is Role.USER


@pytest.mark.parametrize(
    ("size", "left"),
    [
        (0, [SYSTEM, FOLLOWED]),
        (2, [SYSTEM, FOLLOWED]),
        (3, [SYSTEM, FOLLOWED]),  # the answer alone would begin with the assistant
        (6, [SYSTEM, FOLLOWED]),
        (7, WHOLE),
    ],
)
def test_a_window_drops_whole_rounds_and_answers_without_their_question(
    size: int, left: Any
) -> None:
    assert SlidingWindowManager(size).apply(WHOLE) == tuple(left)


def test_a_round_that_the_model_has_not_read_stays_with_its_question_at_any_budget() -> None:
    old = (Message.user("Hello"), Message.assistant("Hi."))
    turns = (SYSTEM, *old, ASKED, CALLED, *RESULTS)
    assert SlidingWindowManager(1).apply(turns) == (SYSTEM, ASKED, CALLED, *RESULTS)
    guided = (*turns, Message.user("Think again."))
    assert SlidingWindowManager(max_tokens=1).apply(guided) == (SYSTEM, *guided[3:])


def test_in_a_long_run_the_question_stays_and_the_newest_rounds() -> None:
    rounds = [
        (
            Message.assistant(None, [ToolCall(f"c{at}", "f")]),
            Message.tool(ToolResult(f"c{at}", "f", "y")),
        )
        for at in range(20)
    ]
    turns = (SYSTEM, ASKED, *(message for found in rounds for message in found))
    assert SlidingWindowManager(7).apply(turns) == (SYSTEM, ASKED, *turns[-4:])


def test_a_result_that_answers_no_call_is_refused_by_position() -> None:
    with pytest.raises(ConfigurationError, match=r"messages\[1\].*'a'"):
        SlidingWindowManager(1).apply((SYSTEM, RESULTS[0], ASKED))


def test_nothing_but_instructions_is_left_alone() -> None:
    assert SlidingWindowManager(0).apply((SYSTEM, SYSTEM)) == (SYSTEM, SYSTEM)
    assert SlidingWindowManager(0).apply(()) == ()
    assert SlidingWindowManager(0).apply((ANSWER,)) == (ANSWER,)


def test_a_window_on_a_long_conversation_costs_what_the_window_holds() -> None:
    counted = []

    def counter(message: Message) -> int:
        counted.append(message)
        return 1

    turns = (*((ASKED, CALLED, *RESULTS) * 2_500), FOLLOWED)
    window = SlidingWindowManager(max_tokens=40, counter=counter).apply(turns)
    assert len(window) == 37  # what else would fit is a round without its question
    assert len(counted) < 60


def test_no_more_of_a_long_conversation_is_read_than_its_window() -> None:
    read = set()

    class Read(list[Message]):
        def __getitem__(self, at: Any) -> Any:
            read.add(at)
            return super().__getitem__(at)

    turns = Read((ASKED, CALLED, *RESULTS) * 2_500)
    needed = indispensable(turns, 0)
    assert needed == [(9_997, 9_998, 9_999), (9_996,)]
    room = iter([True] * 4 + [False])
    assert len(newest(turns, 0, needed, lambda found: next(room))) == 6
    assert min(read) > 9_980


def test_the_estimate_counts_text_calls_and_images() -> None:
    assert estimate_tokens(Message.user("x" * 8)) == 4 + 2
    assert estimate_tokens(Message.user("x" * 9)) == 4 + 3
    assert estimate_tokens(Message.user([ImagePart(url="https://x"), "x" * 4])) == 1_005
    call = ToolCall("a", "f" * 6, {"x": "y" * 10})
    assert estimate_tokens(Message.assistant(None, [call])) == 4 + 7
    assert estimate_tokens(Message.assistant([ThinkingPart("x" * 40), "x"])) == 4 + 11
    odd = ToolCall("a", "f", {"x": "\ud800", "y": math.nan})
    assert estimate_tokens(Message.assistant(None, [odd])) > 4


# -- cutting -----------------------------------------------------------------------------------


@given(long_conversations(), st.integers(100, 400), st.integers(100, 400), st.data())
def test_cutting_keeps_every_message_and_is_done_once(
    turns: tuple[Message, ...], chars: int, result: int, data: st.DataObject
) -> None:
    longer = st.integers(1, 40)
    turns = tuple(
        attrs.evolve(turn, content=turn.content * data.draw(longer)) if turn.content else turn
        for turn in turns
    )
    manager = TruncatingManager(chars, result)
    cut = manager.apply(turns)
    assert len(cut) == len(turns)
    last = max((at for at, turn in enumerate(turns) if turn.role is Role.USER), default=None)
    for at, (before, after) in enumerate(zip(turns, cut, strict=True)):
        assert attrs.evolve(after, content=None) == attrs.evolve(before, content=None)
        limit = result if before.role is Role.TOOL else chars
        if before.role is Role.SYSTEM or at == last or len(before.text) <= limit:
            assert after is before
        else:
            assert len(after.text) <= limit
            assert "characters cut" in after.text
            assert others(after) == others(before)
    assert manager.apply(cut) == cut


def others(message: Message) -> list[Any]:
    """The parts that are no text."""
    if not isinstance(message.content, tuple):
        return []
    return [part for part in message.content if not isinstance(part, TextPart)]


@given(texts(min_size=1, max_size=60).map(lambda text: text * 20), st.integers(100, 200))
def test_a_cut_says_how_much_is_gone_and_loses_no_more(text: str, limit: int) -> None:
    said = TruncatingManager(limit).apply([Message.assistant(text)])[0].text
    if len(text) <= limit:
        assert said == text
        return
    note = said[said.index("\n[… ") : said.index(" cut …]\n") + len(" cut …]\n")]
    head, tail = said.split(note, 1)
    assert text.startswith(head)
    assert text.endswith(tail)
    gone = int(note.split()[1].replace(",", ""))
    assert len(head) + gone + len(tail) == len(text)
    assert len(said) <= limit
    assert len(said) >= limit - 70  # whole clusters, and room for the note


@pytest.mark.parametrize(
    "cluster", ["e\u0301", "👩\u200d👩\u200d👧", "👍🏽", "❤\ufe0f", "\r\n", "𝄞"]
)
def test_a_cut_does_not_fall_into_what_a_reader_sees_as_one_character(cluster: str) -> None:
    for shift in range(len(cluster)):
        text = "x" * shift + cluster * 200 + "x" * (len(cluster) - shift)
        said = TruncatingManager(120).apply([Message.assistant(text)])[0].text
        head, tail = said.split("\n[…", 1)[0], said.split("…]\n", 1)[1]
        assert head == "x" * shift + cluster * head.count(cluster)
        assert tail == cluster * tail.count(cluster) + "x" * (len(cluster) - shift)


def test_a_surrogate_pair_and_a_pile_of_marks_are_cut_within_bounds() -> None:
    pairs = TruncatingManager(101).apply([Message.assistant("\ud83d\ude00" * 200)])[0].text
    assert not pairs.split("\n[…")[0].endswith("\ud83d")
    assert not pairs.split("…]\n")[1].startswith("\ude00")
    piled = TruncatingManager(200).apply([Message.assistant("e" + "\u0301" * 500)])[0].text
    assert 100 < len(piled) <= 200


def test_text_in_parts_is_cut_as_a_whole_around_what_is_no_text() -> None:
    image = ImagePart(url="https://example.com/a.png")
    parts = ["a" * 80, image, "b" * 80, RefusalPart("no" * 200), "c" * 80]
    message = Message.assistant(parts)
    cut = TruncatingManager(100).apply([message])[0]
    assert isinstance(cut.content, tuple)
    assert [type(part) for part in cut.content] == [TextPart, ImagePart, RefusalPart, TextPart]
    assert cut.text.count("characters cut") == 1
    assert cut.text.startswith("a" * 30)
    assert cut.text.endswith("c" * 30)
    assert len(cut.text) <= 100


def test_arguments_of_calls_are_never_cut() -> None:
    call = ToolCall("a", "write", {"text": "x" * 5_000})
    ill = ToolCall("b", "write", malformed_arguments="y" * 5_000)
    turns = (ASKED, Message.assistant("z" * 5_000, [call, ill]))
    cut = TruncatingManager(100).apply(turns)[1]
    assert cut.tool_calls == (call, ill)
    assert len(cut.text) <= 100


# -- what all of them are ----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("make", "error", "named"),
    [
        (lambda: SlidingWindowManager(), ConfigurationError, "max_messages= or max_tokens="),
        (lambda: SlidingWindowManager(-1), ConfigurationError, "from 0; not -1"),
        (lambda: SlidingWindowManager(True), ConfigurationError, "not True"),
        (lambda: SlidingWindowManager(max_tokens=1.5), ConfigurationError, "not 1.5"),  # type: ignore[arg-type]
        (lambda: SlidingWindowManager(1, counter=3), TypeError, "counter"),  # type: ignore[arg-type]
        (lambda: TruncatingManager(99), ConfigurationError, "from 100.*not 99"),
        (lambda: TruncatingManager(100, 5), ConfigurationError, "max_result_chars.*not 5"),
        (lambda: SummarizingManager(threshold=None), ConfigurationError, "threshold= or max_tok"),
        (lambda: SummarizingManager(threshold=10), ConfigurationError, r"keep_last \(10\)"),
        (lambda: SummarizingManager(keep_last=None), TypeError, "keep_last"),  # type: ignore[arg-type]
        (lambda: SummarizingManager(prompt=" "), ConfigurationError, "prompt"),
        (lambda: SummarizingManager("nobody:x"), ConfigurationError, "nobody"),
    ],
)
def test_what_makes_no_sense_is_refused_when_it_is_made(make: Any, error: Any, named: str) -> None:
    with pytest.raises(error, match=named):
        make()


@pytest.mark.parametrize(
    "manager",
    [
        SlidingWindowManager(5, max_tokens=100),
        TruncatingManager(500),
        SummarizingManager("openai:gpt-4o", keep_last=2, threshold=5),
    ],
    ids=lambda manager: type(manager).__name__,
)
def test_a_manager_is_a_value(manager: ConversationManager, monkeypatch: Any) -> None:
    thawed = pickle.loads(pickle.dumps(manager))
    assert thawed == manager
    assert hash(thawed) == hash(manager)
    assert type(manager).__name__ in repr(manager)


def test_one_of_the_callers_own_needs_apply_alone() -> None:
    class LastThree(ConversationManager):
        def apply(self, messages: Any) -> tuple[Message, ...]:
            return tuple(messages)[-3:]

    effects = LastThree().reduce(WHOLE)
    with pytest.raises(StopIteration) as done:
        next(effects)
    assert done.value.value == WHOLE[-3:]
    assert LastThree().apply_sync(WHOLE) == WHOLE[-3:]
    assert not LastThree.rewrites


@pytest.mark.parametrize(
    "manager",
    [
        SlidingWindowManager(5),
        TruncatingManager(500),
        SummarizingManager("openai:gpt-4o", keep_last=2, threshold=5),
    ],
    ids=lambda manager: type(manager).__name__,
)
def test_a_text_or_one_message_is_a_conversation(manager: Any) -> None:
    assert manager.apply("Hello") == (Message.user("Hello"),)
    assert manager.apply(Message.user("Hello")) == (Message.user("Hello"),)
    with pytest.raises(TypeError, match="a conversation holds Message, not str"):
        manager.apply([Message.user("Hello"), "you"])
    with pytest.raises(TypeError, match="a conversation is a string"):
        manager.apply(None)


def test_the_error_of_a_tool_is_cut_where_it_is_sent_too() -> None:
    manager = TruncatingManager(100)
    call = ToolCall("1", "f")
    asked = (Message.user("x"), Message.assistant(None, [call]))
    failed = Message.tool(ToolResult("1", "f", "", "no " * 100))
    cut = manager.apply((*asked, failed))[-1]
    assert len(cut.text) <= 100
    assert len(cut.metadata["error"]) <= 100
    assert "characters cut" in cut.metadata["error"]
    assert manager.apply((*asked, cut))[-1] == cut
    own = Message.user("y", metadata={"error": "no " * 100})
    assert manager.apply((own, *asked, cut))[0] == own
