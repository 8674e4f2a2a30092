"""Lenient tools read values that a model wrote in quotes."""

from __future__ import annotations

from typing import Any

import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st

from locus.core.messages import ToolCall
from locus.tools import ToolArgumentsError, tool


@attrs.frozen
class Place:
    city: str
    size: int = 0


@tool(lenient=True)
def plan(
    days: int = 0,
    tags: list[str] | None = None,
    place: Place | None = None,
    places: dict[str, list[Place]] | None = None,
    deep: bool = False,
    share: float = 0,
    note: str = "",
    sizes: list[int] | None = None,
) -> None:
    """Plan a trip."""


@pytest.mark.parametrize(
    ("given_arguments", "expected"),
    [
        ({"days": "3"}, {"days": 3}),
        ({"days": " 3 "}, {"days": 3}),
        ({"days": "3.0"}, {"days": 3}),
        ({"days": '"3"'}, {"days": 3}),
        ({"share": "0.5"}, {"share": 0.5}),
        ({"deep": "true"}, {"deep": True}),
        ({"deep": "False"}, {"deep": False}),
        ({"place": "None"}, {"place": None}),
        ({"tags": '["sea", "3"]'}, {"tags": ["sea", "3"]}),
        ({"tags": [1, 2.5]}, {"tags": ["1", "2.5"]}),
        ({"tags": "[1]"}, {"tags": ["1"]}),
        ({"sizes": ["1", 2]}, {"sizes": [1, 2]}),
        ({"place": '{"city": "Rome", "size": "2"}'}, {"place": Place("Rome", 2)}),
        ({"place": {"city": 12}}, {"place": Place("12")}),
        ({"places": {"a b": '[{"city": "Rome"}]'}}, {"places": {"a b": [Place("Rome")]}}),
        ({"note": 7}, {"note": "7"}),
        ({"note": True}, {"note": "true"}),
        ({"note": {"a": ["é"]}}, {"note": '{"a": ["é"]}'}),
        ({"deep": " FALSE"}, {"deep": False}),
        ({"sizes": "[1, '2']"}, {"sizes": [1, 2]}),
        ({"place": "{'city': 'Rome', 'size': 2}"}, {"place": Place("Rome", 2)}),
        ({"days": None, "note": "null", "deep": "None"}, {"note": "null"}),
        ({"note": "7", "days": "7"}, {"note": "7", "days": 7}),
        ({"note": '{"a": 1}'}, {"note": '{"a": 1}'}),
    ],
)
def test_a_value_in_quotes_is_read(given_arguments: Any, expected: Any) -> None:
    assert plan.bind(given_arguments) == expected
    if given_arguments != expected:
        with pytest.raises(ToolArgumentsError):
            attrs.evolve(plan, lenient=False).bind(given_arguments)


@pytest.mark.parametrize(
    ("given_arguments", "message"),
    [
        ({"days": "soon"}, "days: expected an integer, got the string 'soon'"),
        ({"days": "3.5"}, "days: expected an integer, got the string '3.5'"),
        ({"deep": "yes"}, "deep: expected true or false, got the string 'yes'"),
        ({"days": "NaN"}, "days: expected an integer, got the string 'NaN'"),
        ({"place": "Rome"}, "place: "),
        ({"tags": 3}, "tags: "),
        ({"dayz": "3"}, "dayz: no such argument"),
        ({"sizes": "[__import__('os')]"}, "sizes: expected an array"),
        ({"sizes": [None]}, "sizes[0]: expected an integer, got null"),
    ],
)
def test_what_stays_wrong_is_reported_as_the_model_wrote_it(
    given_arguments: Any, message: str
) -> None:
    with pytest.raises(ToolArgumentsError) as exc_info:
        plan.bind(given_arguments)
    assert message in str(exc_info.value)


@pytest.mark.parametrize(
    "text",
    [
        '```json\n{"days": "3"}\n```',
        '```\n{"days": 3}```',
        "{'days': 3}",
        '{"days": 3,}',
        "\"{'days': 3}\"",
    ],
)
def test_arguments_that_are_no_json_are_read_where_they_are_an_object(text: str) -> None:
    call = ToolCall.from_json("1", "plan", text)
    assert call.malformed_arguments == text
    assert plan.bind_call(call) == {"days": 3}
    with pytest.raises(ToolArgumentsError):
        attrs.evolve(plan, lenient=False).bind_call(call)
    for wrong in ("{'days': exit()}", "[3]", "{3: 4", "{'days': 3}" + "," * 200_000, "```\n3\n```"):
        with pytest.raises(ToolArgumentsError):
            plan.bind_call(ToolCall.from_json("1", "plan", wrong))


@given(st.integers(), st.lists(st.text(), max_size=3), st.text(), st.booleans())
def test_what_is_valid_is_not_changed(days: int, tags: list[str], note: str, deep: bool) -> None:
    arguments = {"days": days, "tags": tags, "note": note, "deep": deep}
    try:
        strict = attrs.evolve(plan, lenient=False).bind(arguments)
    except ToolArgumentsError:  # an integer beyond 64 bits
        return
    assert plan.bind(arguments) == strict
