"""Sliding windows and truncation: no manager separates a tool call from its result."""

from __future__ import annotations

import math
import pickle
from typing import Any

import attrs
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from locus.core.agent_added_message import make_agent_added_message
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
from locus.memory.managers.message_groups import (
    find_required_groups,
    select_required_and_newest_groups,
)
from tests.memory.managers.conversations import check_shortened, long_conversations
from tests.support.strategies import conversations, texts

BUDGETS = st.none() | st.integers(0, 12)
SYSTEM = Message.system("Be brief.")
QUESTION = Message.user("How is Rome?")
TOOL_CALLS = Message.assistant(None, [ToolCall("a", "weather"), ToolCall("b", "news")])
RESULTS = [Message.tool(ToolResult(id, "weather", "fine")) for id in "ab"]
ANSWER = Message.assistant("Fine.")
FOLLOW_UP = Message.user("And Oslo?")
CONVERSATION = (SYSTEM, QUESTION, TOOL_CALLS, *RESULTS, ANSWER, FOLLOW_UP)


def count_tokens(message: Message) -> int:
    return 1 + len(message.text) + 5 * len(message.tool_calls)


# -- the window --------------------------------------------------------------------------------


@given(long_conversations(), BUDGETS, st.none() | st.integers(0, 300))
def test_a_window_of_any_size_is_a_valid_conversation(
    conversation: tuple[Message, ...], max_messages: int | None, max_tokens: int | None
) -> None:
    assume(max_messages is not None or max_tokens is not None)
    manager = SlidingWindowManager(max_messages, max_tokens, counter=count_tokens)
    window = manager.apply(conversation)
    check_shortened(conversation, window)
    assert manager.apply(window) == window


@given(conversations(max_rounds=2), st.integers(0, 8))
@settings(max_examples=20)
def test_a_window_accepts_messages_with_any_content(
    conversation: tuple[Message, ...], size: int
) -> None:
    conversation = tuple(map(attrs.evolve, conversation))  # separate objects
    check_shortened(conversation, SlidingWindowManager(size).apply(conversation))


@given(long_conversations(), BUDGETS, st.none() | st.integers(0, 300))
def test_a_window_is_within_its_budget_or_the_minimum(
    conversation: tuple[Message, ...], max_messages: int | None, max_tokens: int | None
) -> None:
    assume(max_messages is not None or max_tokens is not None)
    manager = SlidingWindowManager(max_messages, max_tokens, counter=count_tokens)
    window = manager.apply(conversation)
    minimum = SlidingWindowManager(0).apply(conversation)
    too_long = len(window) > (math.inf if max_messages is None else max_messages)
    too_long |= sum(map(count_tokens, window)) > (math.inf if max_tokens is None else max_tokens)
    if too_long:
        assert window == minimum
    assert {id(message) for message in minimum} <= {id(message) for message in window}


@given(long_conversations(), st.integers(0, 12))
def test_a_conversation_that_fits_is_unchanged(
    conversation: tuple[Message, ...], extra: int
) -> None:
    assert SlidingWindowManager(len(conversation) + extra).apply(conversation) == conversation
    max_tokens = sum(map(estimate_tokens, conversation))
    assert (
        SlidingWindowManager(max_tokens=max_tokens + extra).apply(list(conversation))
        == conversation
    )


@given(long_conversations(), st.integers(0, 12))
def test_a_window_that_drops_messages_begins_with_the_user_if_possible(
    conversation: tuple[Message, ...], size: int
) -> None:
    window = SlidingWindowManager(size).apply(conversation)
    if len(window) < len(conversation):
        first = next((message for message in window if message.role is not Role.SYSTEM), None)
        users = [
            position for position, message in enumerate(conversation) if message.role is Role.USER
        ]
        calls = [
            position
            for position, message in enumerate(conversation)
            if message.role is Role.ASSISTANT
        ][-1:]
        if users and not (calls and calls[0] < users[0]):
            assert first is not None
            assert first.role is Role.USER


@pytest.mark.parametrize(
    ("size", "expected"),
    [
        (0, [SYSTEM, FOLLOW_UP]),
        (2, [SYSTEM, FOLLOW_UP]),
        (3, [SYSTEM, FOLLOW_UP]),  # the answer alone would begin with the assistant
        (6, [SYSTEM, FOLLOW_UP]),
        (7, CONVERSATION),
    ],
)
def test_a_window_drops_complete_groups_and_answers_without_their_question(
    size: int, expected: Any
) -> None:
    assert SlidingWindowManager(size).apply(CONVERSATION) == tuple(expected)


def test_unread_tool_results_and_their_question_are_kept_at_any_budget() -> None:
    earlier = (Message.user("Hello"), Message.assistant("Hi."))
    conversation = (SYSTEM, *earlier, QUESTION, TOOL_CALLS, *RESULTS)
    assert SlidingWindowManager(1).apply(conversation) == (
        SYSTEM,
        QUESTION,
        TOOL_CALLS,
        *RESULTS,
    )
    with_guidance = (*conversation, Message.user("Think again."))
    assert SlidingWindowManager(max_tokens=1).apply(with_guidance) == (
        SYSTEM,
        *with_guidance[3:],
    )


def test_in_a_long_run_the_question_and_the_newest_groups_are_kept() -> None:
    groups = [
        (
            Message.assistant(None, [ToolCall(f"c{position}", "f")]),
            Message.tool(ToolResult(f"c{position}", "f", "y")),
        )
        for position in range(20)
    ]
    conversation = (SYSTEM, QUESTION, *(message for group in groups for message in group))
    assert SlidingWindowManager(7).apply(conversation) == (
        SYSTEM,
        QUESTION,
        *conversation[-4:],
    )


def test_a_result_without_a_call_is_an_error_with_its_index() -> None:
    with pytest.raises(ConfigurationError, match=r"messages\[1\].*'a'"):
        SlidingWindowManager(1).apply((SYSTEM, RESULTS[0], QUESTION))


def test_the_minimum_of_a_conversation_without_user_messages() -> None:
    assert SlidingWindowManager(0).apply((SYSTEM, SYSTEM)) == (SYSTEM, SYSTEM)
    assert SlidingWindowManager(0).apply(()) == ()
    assert SlidingWindowManager(0).apply((ANSWER,)) == (ANSWER,)


def test_a_window_counts_the_tokens_of_few_other_messages() -> None:
    counted_messages = []

    def counter(message: Message) -> int:
        counted_messages.append(message)
        return 1

    conversation = (*((QUESTION, TOOL_CALLS, *RESULTS) * 2_500), FOLLOW_UP)
    window = SlidingWindowManager(max_tokens=40, counter=counter).apply(conversation)
    assert len(window) == 37  # the other groups that fit have no question
    assert len(counted_messages) < 60


def test_few_messages_outside_of_the_window_are_read() -> None:
    read_positions = set()

    class RecordingList(list[Message]):
        def __getitem__(self, position: Any) -> Any:
            read_positions.add(position)
            return super().__getitem__(position)

    conversation = RecordingList((QUESTION, TOOL_CALLS, *RESULTS) * 2_500)
    required = find_required_groups(conversation, 0)
    assert required == [(9_997, 9_998, 9_999), (9_996,)]
    answers = iter([True] * 4 + [False])
    assert (
        len(
            select_required_and_newest_groups(
                conversation, 0, required, lambda group: next(answers)
            )
        )
        == 6
    )
    assert min(read_positions) > 9_980


def test_the_estimate_counts_text_calls_and_images() -> None:
    assert estimate_tokens(Message.user("x" * 8)) == 4 + 2
    assert estimate_tokens(Message.user("x" * 9)) == 4 + 3
    assert estimate_tokens(Message.user([ImagePart(url="https://x"), "x" * 4])) == 1_005
    call = ToolCall("a", "f" * 6, {"x": "y" * 10})
    assert estimate_tokens(Message.assistant(None, [call])) == 4 + 7
    assert estimate_tokens(Message.assistant([ThinkingPart("x" * 40), "x"])) == 4 + 11
    odd = ToolCall("a", "f", {"x": "\ud800", "y": math.nan})
    assert estimate_tokens(Message.assistant(None, [odd])) > 4


# -- truncating --------------------------------------------------------------------------------


@given(long_conversations(), st.integers(100, 400), st.integers(100, 400), st.data())
def test_truncating_keeps_every_message_and_is_idempotent(
    conversation: tuple[Message, ...], max_chars: int, max_result_chars: int, data: st.DataObject
) -> None:
    factors = st.integers(1, 40)
    conversation = tuple(
        attrs.evolve(message, content=message.all_content * data.draw(factors))
        if message.all_content
        else message
        for message in conversation
    )
    manager = TruncatingManager(max_chars, max_result_chars)
    shortened = manager.apply(conversation)
    assert len(shortened) == len(conversation)
    last = max(
        (position for position, message in enumerate(conversation) if message.role is Role.USER),
        default=None,
    )
    for position, (before, after) in enumerate(zip(conversation, shortened, strict=True)):
        assert attrs.evolve(after, content=None) == attrs.evolve(before, content=None)
        limit = max_result_chars if before.role is Role.TOOL else max_chars
        if before.role is Role.SYSTEM or position == last or len(before.text) <= limit:
            assert after is before
        else:
            assert len(after.text) <= limit
            assert "characters cut" in after.text
            assert get_other_parts(after) == get_other_parts(before)
    assert manager.apply(shortened) == shortened


def get_other_parts(message: Message) -> list[Any]:
    """The parts other than text."""
    if not isinstance(message.all_content, tuple):
        return []
    return [part for part in message.all_content if not isinstance(part, TextPart)]


@given(texts(min_size=1, max_size=60).map(lambda text: text * 20), st.integers(100, 200))
def test_the_note_has_the_exact_number_of_cut_characters(text: str, limit: int) -> None:
    shortened_text = TruncatingManager(limit).apply([Message.assistant(text)])[0].text
    if len(text) <= limit:
        assert shortened_text == text
        return
    note = shortened_text[
        shortened_text.index("\n[… ") : shortened_text.index(" cut …]\n") + len(" cut …]\n")
    ]
    head, tail = shortened_text.split(note, 1)
    assert text.startswith(head)
    assert text.endswith(tail)
    cut_count = int(note.split()[1].replace(",", ""))
    assert len(head) + cut_count + len(tail) == len(text)
    assert len(shortened_text) <= limit
    assert (
        len(shortened_text) >= limit - 70
    )  # clusters are not split, and the note is reserved in full length


@pytest.mark.parametrize(
    "cluster", ["e\u0301", "👩\u200d👩\u200d👧", "👍🏽", "❤\ufe0f", "\r\n", "𝄞"]
)
def test_no_grapheme_cluster_is_split(cluster: str) -> None:
    for shift in range(len(cluster)):
        text = "x" * shift + cluster * 200 + "x" * (len(cluster) - shift)
        shortened_text = TruncatingManager(120).apply([Message.assistant(text)])[0].text
        head, tail = shortened_text.split("\n[…", 1)[0], shortened_text.split("…]\n", 1)[1]
        assert head == "x" * shift + cluster * head.count(cluster)
        assert tail == cluster * tail.count(cluster) + "x" * (len(cluster) - shift)


def test_surrogate_pairs_are_not_split_and_very_long_clusters_are() -> None:
    pairs = TruncatingManager(101).apply([Message.assistant("\ud83d\ude00" * 200)])[0].text
    assert not pairs.split("\n[…")[0].endswith("\ud83d")
    assert not pairs.split("…]\n")[1].startswith("\ude00")
    shortened_marks = (
        TruncatingManager(200).apply([Message.assistant("e" + "\u0301" * 500)])[0].text
    )
    assert 100 < len(shortened_marks) <= 200


def test_the_text_of_all_parts_is_cut_together_and_other_parts_are_kept() -> None:
    image = ImagePart(url="https://example.com/a.png")
    parts = ["a" * 80, image, "b" * 80, RefusalPart("no" * 200), "c" * 80]
    message = Message.assistant(parts)
    shortened = TruncatingManager(100).apply([message])[0]
    assert isinstance(shortened.content, tuple)
    assert [type(part) for part in shortened.content] == [
        TextPart,
        ImagePart,
        RefusalPart,
        TextPart,
    ]
    assert shortened.text.count("characters cut") == 1
    assert shortened.text.startswith("a" * 30)
    assert shortened.text.endswith("c" * 30)
    assert len(shortened.text) <= 100


def test_arguments_of_calls_are_never_cut() -> None:
    call = ToolCall("a", "write", {"text": "x" * 5_000})
    malformed = ToolCall("b", "write", malformed_arguments="y" * 5_000)
    conversation = (QUESTION, Message.assistant("z" * 5_000, [call, malformed]))
    shortened = TruncatingManager(100).apply(conversation)[1]
    assert shortened.tool_calls == (call, malformed)
    assert len(shortened.text) <= 100


# -- all managers ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("make_manager", "error", "pattern"),
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
def test_invalid_arguments_are_errors(make_manager: Any, error: Any, pattern: str) -> None:
    with pytest.raises(error, match=pattern):
        make_manager()


@pytest.mark.parametrize(
    "manager",
    [
        SlidingWindowManager(5, max_tokens=100),
        TruncatingManager(500),
        SummarizingManager("openai:gpt-4o", keep_last=2, threshold=5),
    ],
    ids=lambda manager: type(manager).__name__,
)
def test_a_manager_is_hashable_and_picklable(
    manager: ConversationManager, monkeypatch: Any
) -> None:
    unpickled = pickle.loads(pickle.dumps(manager))
    assert unpickled == manager
    assert hash(unpickled) == hash(manager)
    assert type(manager).__name__ in repr(manager)


def test_a_subclass_needs_only_shorten_without_model() -> None:
    class LastThree(ConversationManager):
        def apply(self, messages: Any) -> tuple[Message, ...]:
            return tuple(messages)[-3:]

    reduction = LastThree().reduce(CONVERSATION)
    with pytest.raises(StopIteration) as stop:
        next(reduction)
    assert stop.value.value == CONVERSATION[-3:]
    assert LastThree().apply_sync(CONVERSATION) == CONVERSATION[-3:]
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
def test_a_string_or_one_message_is_a_conversation(manager: Any) -> None:
    assert manager.apply("Hello") == (Message.user("Hello"),)
    assert manager.apply(Message.user("Hello")) == (Message.user("Hello"),)
    with pytest.raises(TypeError, match="a conversation holds Message, not str"):
        manager.apply([Message.user("Hello"), "you"])
    with pytest.raises(TypeError, match="a conversation is a string"):
        manager.apply(None)


def test_the_error_of_a_tool_in_the_metadata_is_cut_too() -> None:
    manager = TruncatingManager(100)
    call = ToolCall("1", "f")
    question_and_call = (Message.user("x"), Message.assistant(None, [call]))
    failed = Message.tool(ToolResult("1", "f", "", "no " * 100))
    shortened = manager.apply((*question_and_call, failed))[-1]
    assert len(shortened.text) <= 100
    assert len(shortened.metadata["error"]) <= 100
    assert "characters cut" in shortened.metadata["error"]
    assert manager.apply((*question_and_call, shortened))[-1] == shortened
    user_message = Message.user("y", metadata={"error": "no " * 100})
    assert manager.apply((user_message, *question_and_call, shortened))[0] == user_message


# -- messages of the agent's loop --------------------------------------------------------------

LONG_QUESTION = Message.user("the question " + "x" * 500)
ROUND = (
    Message.assistant(None, [ToolCall("c", "f")]),
    Message.tool(ToolResult("c", "f", "result")),
)
NOTE = make_agent_added_message("note", "reflexion")


@pytest.mark.parametrize(
    "conversation",
    [
        (LONG_QUESTION, Message.assistant("wrong"), NOTE),
        (LONG_QUESTION, *ROUND, NOTE),
        (LONG_QUESTION, *ROUND, make_agent_added_message("old note", "reflexion"), *ROUND, NOTE),
        (LONG_QUESTION, *ROUND, NOTE, Message.assistant("wrong"), NOTE),
    ],
)
@pytest.mark.parametrize("max_messages", [1, 2, 4])
def test_the_question_stays_whatever_the_loop_adds_and_so_does_its_last_message(
    conversation: tuple[Message, ...], max_messages: int
) -> None:
    window = SlidingWindowManager(max_messages=max_messages).apply(conversation)
    assert window[0] is LONG_QUESTION
    assert window[-1] is NOTE
    assert TruncatingManager(max_chars=100).apply(conversation)[0] is LONG_QUESTION
