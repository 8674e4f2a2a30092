"""Binding a model's arguments: which values are converted, and the issues of invalid ones."""

from __future__ import annotations

import dataclasses
import datetime
import enum
import json
import math
import pickle
import re
import uuid
from collections.abc import Mapping
from decimal import Decimal
from pathlib import Path, PurePosixPath
from types import MappingProxyType
from typing import Annotated, Any, Literal, NotRequired, TypedDict

import attrs
import msgspec
import pytest

from locus.core.errors import LocusError
from locus.core.frozendict import FrozenDict
from locus.core.messages import ToolCall
from locus.tools import ToolArgumentsError, ToolContext, tool
from tests.support.timing import count_calls

_NOON = datetime.datetime(2024, 2, 29, 12, tzinfo=datetime.UTC)
_TOO_MANY_DIGITS = "x: a number with so many digits has to be a string, got 0.1234567890123456"
_TOO_LONG = "x: expected str of length <= 1, got the string 'ab'"
_MISSPELT = "x.prize: no such member; did you mean 'price'? (known: name, price, unit)"


class Unit(enum.Enum):
    CELSIUS = "celsius"
    KELVIN = "kelvin"


@attrs.frozen
class Item:
    name: str
    price: float
    unit: Unit = Unit.CELSIUS


@dataclasses.dataclass
class Box:
    items: list[Item]
    lid: Item | None = None


class Note(TypedDict):
    text: str
    stars: NotRequired[int]


def validate_argument(hint: Any, raw: Any) -> Any:
    def function(x: Any) -> Any:
        return x

    function.__annotations__["x"] = hint
    return tool(function).bind({"x": raw})["x"]


def get_issues(tool_: Any, raw: Any) -> list[str]:
    with pytest.raises(ToolArgumentsError) as exc_info:
        tool_.bind(raw)
    return list(exc_info.value.issues)


def get_only_issue(hint: Any, raw: Any) -> str:
    def function(x: Any) -> Any:
        return x

    function.__annotations__["x"] = hint
    (issue,) = get_issues(tool(function), {"x": raw})
    return issue


# Valid values.


@pytest.mark.parametrize(
    ("hint", "raw", "value"),
    [
        (int, 3, 3),
        (int, 3.0, 3),
        (int, 2**70, 2**70),
        (int, 1e300, int(1e300)),
        (Annotated[int, msgspec.Meta(ge=0)], 3.0, 3),
        (float, 3, 3.0),
        (int | float, 3, 3),
        (int | float, 3.0, 3.0),
        (list[int], [1.0, 2], [1, 2]),
        (str | None, None, None),
        (Decimal, "1.10", Decimal("1.10")),
        (Decimal, 9.99, Decimal("9.99")),
        (Decimal, 12, Decimal(12)),
        (datetime.date, "2024-02-29", datetime.date(2024, 2, 29)),
        (datetime.datetime, "2024-02-29T12:00:00Z", _NOON),
        (datetime.timedelta, "PT90S", datetime.timedelta(seconds=90)),
        (uuid.UUID, str(uuid.UUID(int=2**90)), uuid.UUID(int=2**90)),
        (bytes, "aGk=", b"hi"),
        (Path, "/tmp/x", Path("/tmp/x")),
        (PurePosixPath | None, "a/b", PurePosixPath("a/b")),
        (Unit, "kelvin", Unit.KELVIN),
        (Literal["a", 1], 1, 1),
        (set[str], ["a", "a"], {"a"}),
        (tuple[int, str], [1, "a"], (1, "a")),
        (dict[int, str], {"1": "a"}, {1: "a"}),
        (Item, {"name": "a", "price": 1}, Item("a", 1.0)),
        (Box, {"items": [], "lid": {"name": "a", "price": 1}}, Box([], Item("a", 1.0))),
        (Note, {"text": "a"}, {"text": "a"}),
        (Item | Note, {"text": "a", "stars": 2}, {"text": "a", "stars": 2}),
        (Any, {"a": [1, None]}, {"a": [1, None]}),
        (object, "x", "x"),
    ],
)  # fmt: skip
def test_a_value_is_converted_if_nothing_is_lost(hint: Any, raw: Any, value: Any) -> None:
    converted = validate_argument(hint, raw)
    assert converted == value
    assert type(converted) is type(value)


@pytest.mark.parametrize(
    ("hint", "raw", "issue"),
    [
        (int, "5", "x: expected an integer, got the string '5'"),
        (int, 5.5, "x: expected an integer, got 5.5"),
        (int, True, "x: expected an integer, got true"),
        (float, True, "x: expected a number, got true"),
        (float, "1", "x: expected a number, got the string '1'"),
        (bool, 1, "x: expected true or false, got 1"),
        (bool, "true", "x: expected true or false, got the string 'true'"),
        (str, 5, "x: expected a string, got 5"),
        (str, None, "x: expected a string, got null"),
        (str, ["a"], "x: expected a string, got an array"),
        (list[str], "a", "x: expected an array, got the string 'a'"),
        (Unit, "Kelvin", 'x: expected one of "celsius", "kelvin", got the string \'Kelvin\''),
        (Literal[1], True, "x: expected 1, got true"),
        (datetime.date, "tomorrow", "x: invalid RFC3339 encoded date, got the string 'tomorrow'"),
        (Path, 3, "x: expected a string (path), got 3"),
        (Annotated[int, msgspec.Meta(ge=0)], -1, "x: expected int >= 0, got -1"),
        (Annotated[str, msgspec.Meta(max_length=1)], "ab", _TOO_LONG),
        (Decimal, 0.1234567890123456, _TOO_MANY_DIGITS),
        (float, math.nan, "x: nan cannot be represented in JSON"),
        (Any, {"a": [math.inf]}, "x.a[0]: inf cannot be represented in JSON"),
        (Any, {1: 2}, "x: the keys of an object have to be strings, not 1"),
        (list[float], [0.5, -math.inf], "x[1]: -inf cannot be represented in JSON"),
        (float, 10**400, f"x: number out of range, got 1{'0' * 55} ..."),
        (dict[int, str], {"a": "b"}, "x.a (the key): expected an integer, got the string 'a'"),
        (Item | None, 3, "x: expected an object (Item) or null, got 3"),
        (Item, {"name": "a", "price": 1, "prize": 2}, _MISSPELT),
    ],
)  # fmt: skip
def test_an_invalid_value_is_an_issue(hint: Any, raw: Any, issue: str) -> None:
    assert get_only_issue(hint, raw) == issue


def test_a_misspelled_member_is_an_issue() -> None:
    """If it were ignored, its default would be used instead."""
    assert get_only_issue(Note, {"text": "a", "star": 1}) == (
        "x.star: no such member; did you mean 'stars'? (known: text, stars)"
    )


def test_an_unannotated_parameter_accepts_any_json() -> None:
    def anything(x, y=3): ...  # type: ignore[no-untyped-def]

    anything_tool = tool(anything)
    assert anything_tool.parameters["properties"] == {"x": {}, "y": {"default": 3}}
    for raw in (None, True, 3, 3.5, "x", [1, "a", {"b": None}], {"a": {}}):
        assert anything_tool.bind({"x": raw}) == {"x": raw}


def test_a_parameter_with_default_none_accepts_null_whatever_its_type() -> None:
    def implicit(x: str = None, y: "Item" = None): ...  # type: ignore[no-untyped-def, assignment]  # noqa: RUF013, UP037

    implicit_tool = tool(implicit)
    assert implicit_tool.parameters["properties"]["x"] == {
        "anyOf": [{"type": "string"}, {"type": "null"}],
        "default": None,
    }
    assert implicit_tool.bind({"x": None, "y": None}) == {"x": None, "y": None}


# Issues.


@tool
def order(
    items: list[Item], note: str, count: int = 1, regions: dict[str, list[int]] | None = None
) -> None:
    """Order."""


def test_all_issues_are_reported_at_once_each_with_its_path() -> None:
    raw = {
        "items": [{"name": 1, "price": 2}, {"name": "a"}, {"name": "b", "price": "3"}],
        "cuont": 3,
        "regions": {"north pole": [1, "x"]},
        "count": "1",
    }
    assert get_issues(order, raw) == [
        "items[0].name: expected a string, got 1",
        "items[1].price: required, but missing",
        "items[2].price: expected a number, got the string '3'",
        "note: required, but missing",
        "count: expected an integer, got the string '1'",
        "regions[\"north pole\"][1]: expected an integer, got the string 'x'",
        "cuont: no such argument; did you mean 'count'? (known: items, note, count, regions)",
    ]


def test_the_message_names_the_tool_and_says_that_it_was_not_run() -> None:
    with pytest.raises(ToolArgumentsError) as exc_info:
        order.bind({"items": []})
    error = exc_info.value
    assert str(error) == (
        "order was not run, because its arguments are invalid: note: required, but missing"
    )
    assert error.tool_name == "order"
    assert isinstance(error, LocusError)
    assert isinstance(error, ValueError)
    copy = pickle.loads(pickle.dumps(error))
    assert (str(copy), copy.tool_name, copy.issues) == (str(error), "order", error.issues)


def test_of_many_issues_the_message_lists_twenty() -> None:
    with pytest.raises(ToolArgumentsError, match=r"; and 80 more$") as exc_info:
        order.bind({"items": [3] * 99})
    assert len(exc_info.value.issues) == 100
    assert len(str(exc_info.value)) < 2000


def test_an_argument_for_a_tool_without_parameters() -> None:
    @tool
    def now() -> str:
        return "now"

    assert now.bind({}) == {}
    assert get_issues(now, {"zone": "utc"}) == ["zone: no such argument (known: none)"]
    assert get_issues(now, {"a b\n": 1}) == ['"a b\\n": no such argument (known: none)']


def test_arguments_that_are_no_object_are_an_error() -> None:
    for raw in ([1], "x", None, 3):
        assert get_issues(order, raw)[0].startswith("the arguments have to be an object, not ")


def test_an_exception_of_a_constructor_is_an_issue() -> None:
    @attrs.frozen
    class Even:
        number: int = attrs.field()

        @number.validator
        def _validate(self, _: Any, value: int) -> None:
            if value % 2:
                raise ValueError("only even numbers")

    def halve(x: Any) -> None: ...

    halve.__annotations__["x"] = list[Even]
    assert get_issues(tool(halve), {"x": [{"number": 2}, {"number": 3}]}) == [
        "x[1]: only even numbers"
    ]


def test_further_arguments_have_a_type_too() -> None:
    def tag(name: str, **tags: int) -> None: ...

    tag_tool = tool(tag)
    assert tag_tool.parameters["additionalProperties"] == {"type": "integer"}
    assert tag_tool.bind({"name": "a", "b": 1, "c d": 2.0}) == {
        "name": "a",
        "b": 1,
        "c d": 2,
    }
    assert get_issues(tag_tool, {"name": "a", "b": "1"}) == [
        "b: expected an integer, got the string '1'"
    ]

    def loose(**more: Any) -> None: ...

    assert tool(loose).parameters["additionalProperties"] is True


def test_nesting_that_is_too_deep_is_an_issue() -> None:
    deep: Any = []
    for _ in range(100_000):
        deep = [deep]
    assert get_only_issue(Any, deep) == "x: nested too deeply"
    assert get_only_issue(list[Any], deep) == "x: nested too deeply"
    while deep:  # freed level by level, because freeing it at once is recursive
        deep = deep.pop()


def test_parameters_may_have_names_that_no_member_of_a_class_can_have() -> None:
    def odd(self_: int, __x: int, _: int, __class__: int, name: str, None_: int = 0) -> None: ...

    raw = {"self_": 1, "__x": 2, "_": 3, "__class__": 4, "name": "n", "None_": 5}
    assert tool(odd).bind(raw) == raw


# Copies and defaults.


def test_any_mapping_is_accepted_and_the_values_are_copies() -> None:
    def change(x: Any, y: dict[str, Any], z: list[str]) -> None: ...

    change_tool = tool(change)
    raw = {"x": {"a": [1]}, "y": {"b": {"c": []}}, "z": ["d"]}
    original = json.dumps(raw)
    for mapping in (raw, FrozenDict(raw), MappingProxyType(raw)):
        arguments = change_tool.bind(mapping)
        assert arguments == raw
        arguments["x"]["a"].append(2)
        arguments["y"]["b"]["c"].append(3)
        arguments["z"].append("e")
        assert json.dumps(raw) == original


def test_a_missing_argument_is_left_to_its_default() -> None:
    assert order.bind({"items": [], "note": "n"}) == {"items": [], "note": "n"}


def test_a_value_of_the_type_is_accepted_as_hooks_may_add_one() -> None:
    day = datetime.date(2024, 1, 1)
    assert validate_argument(datetime.date, day) == day
    assert validate_argument(list[int], (1, 2)) == [1, 2]
    assert validate_argument(dict[str, Any], MappingProxyType({"a": (1,)})) == {"a": [1]}


# Tool calls.


def test_a_tool_call_is_bound() -> None:
    call = ToolCall.from_json("1", "order", '{"items": [], "note": "n"}')
    assert order.bind_call(call) == {"items": [], "note": "n"}


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ('{"items": [', "truncated"),
        ("[1, 2]", "array"),
        ('{"note": NaN}', "malformed"),
        ("ls -l", "malformed"),
        ("{}" + "x" * 500, r"trailing|malformed"),
        ("[" * 5000, r"not a JSON object \(.*truncated|nested too deeply \(more than 100 levels\)"),
    ],
)
def test_arguments_that_are_no_json_object_are_an_error(text: str, reason: str) -> None:
    call = ToolCall.from_json("1", "order", text)
    with pytest.raises(ToolArgumentsError, match=f"(?i){reason}") as exc_info:
        order.bind_call(call)
    message = str(exc_info.value)
    assert re.match(
        r"order was not run, because its arguments are (not a JSON obj|nested )", message
    )
    assert text[:200] in message
    assert len(message) < 500
    assert exc_info.value.issues


@pytest.mark.parametrize("text", ["", " \n"])
def test_an_empty_text_means_no_arguments(text: str) -> None:
    call = ToolCall("1", "x", malformed_arguments=text)
    assert tool(lambda: 1, name="x").bind_call(call) == {}
    with pytest.raises(ToolArgumentsError, match="note: required, but missing"):
        order.bind_call(call)


def test_a_context_is_made_from_the_call_if_none_is_passed() -> None:
    def get_call_id(ctx: ToolContext) -> str:
        return ctx.tool_call_id

    context_tool = tool(get_call_id)
    call = ToolCall("c1", "get_call_id")
    assert context_tool.function(**context_tool.bind_call(call)) == "c1"
    context = ToolContext("c2", "get_call_id", iteration=3)
    assert context_tool.bind_call(call, context) == {"ctx": context}


# Speed.


def test_many_values_are_converted_in_one_fast_call() -> None:
    def total(numbers: list[int], names: dict[str, float | None]) -> None: ...

    total_tool = tool(total)
    raw: Mapping[str, Any] = {
        "numbers": list(range(100_000)),
        "names": {str(i): i / 7 for i in range(50_000)},
    }
    assert total_tool.bind(raw) == raw
    assert count_calls(lambda: total_tool.bind(raw)) < 1000  # not one for each value
