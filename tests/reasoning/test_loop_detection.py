"""Loops of identical or cyclic tool calls."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from locus.core.messages import ToolCall
from locus.reasoning.loop_detection import find_cycle_length, make_round_digest


def make_rounds(letters: str) -> list[Any]:
    return [make_round_digest([ToolCall(name=letter)]) for letter in letters]


@pytest.mark.parametrize(
    ("letters", "length"),
    [
        ("", None),
        ("A", None),
        ("AA", None),
        ("AAA", 1),
        ("BAAA", 1),
        ("AAAA", 1),
        ("AAAB", None),
        ("ABA", None),
        ("ABAB", 2),
        ("XABAB", 2),
        ("ABABA", 2),
        ("ABCAB", None),
        ("ABCABC", 3),
        ("ABCABCD", None),
        ("AABAAB", 3),
        ("ABBABB", 3),
    ],
)
def test_a_round_three_times_or_a_cycle_twice_is_a_loop(letters: str, length: int | None) -> None:
    assert find_cycle_length(make_rounds(letters), 3) == length


@pytest.mark.parametrize(
    ("threshold", "letters", "length"),
    [(2, "AA", 1), (2, "ABAB", 2), (5, "AAAA", None), (5, "AAAAA", 1), (5, "ABAB", None),
     (5, "ABABAB", 2), (5, "ABCABC", 3)],
)  # fmt: skip
def test_the_threshold_is_a_number_of_rounds(
    threshold: int, letters: str, length: int | None
) -> None:
    assert find_cycle_length(make_rounds(letters), threshold) == length


@given(st.text("ABC", max_size=6), st.text("ABC", min_size=1, max_size=4), st.integers(2, 5))
def test_whatever_is_repeated_is_found(before: str, cycle: str, threshold: int) -> None:
    rounds = make_rounds(before + cycle * threshold)
    length = find_cycle_length(rounds, threshold)
    assert length is not None
    assert length <= len(cycle)


@given(st.lists(st.integers(), unique=True, max_size=8), st.integers(2, 4))
def test_different_rounds_are_no_loop(numbers: list[int], threshold: int) -> None:
    rounds = [make_round_digest([ToolCall(name="f", arguments={"n": n})]) for n in numbers]
    assert find_cycle_length(rounds, threshold) is None


def test_rounds_are_equal_whatever_the_order_of_their_calls_and_arguments() -> None:
    first = ToolCall("1", "f", {"a": 1, "b": [{"c": 2, "d": 3}]})
    same = ToolCall("2", "f", {"b": [{"d": 3, "c": 2}], "a": 1})
    other = ToolCall("3", "g", {})
    assert make_round_digest([first, other]) == make_round_digest([other, same])
    for different in (
        ToolCall("1", "f", {"a": 1}),
        ToolCall("1", "f", {}, "{a: 1"),
        ToolCall("1", "f", {"a": "\ud800"}),
        ToolCall("1", "f", {"a": True, "b": [{"c": 2, "d": 3}]}),
    ):
        assert (
            make_round_digest([first])
            != make_round_digest([different])
            == make_round_digest([different])
        )
    assert make_round_digest([first, first]) != make_round_digest([first])
