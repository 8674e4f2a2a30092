"""Binding a model's arguments: what is converted, what is refused, and what the model is told."""

from __future__ import annotations

import dataclasses
import datetime
import enum
import json
import math
import pickle
import re
import time
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

_NOON = datetime.datetime(2024, 2, 29, 12, tzinfo=datetime.UTC)
_DIGITS = "x: a number of so many digits has to be written as text, not 0.1234567890123456"
_LONG = "x: expected str of length <= 1, not text 'ab'"
_PRIZE = "x.prize: no such member; did you mean 'price'? (known: name, price, unit)"


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


def bound(hint: Any, raw: Any) -> Any:
    def function(x: Any) -> Any:
        return x

    function.__annotations__["x"] = hint
    return tool(function).bind({"x": raw})["x"]


def problems(of: Any, raw: Any) -> list[str]:
    with pytest.raises(ToolArgumentsError) as caught:
        of.bind(raw)
    return list(caught.value.problems)


def problem(hint: Any, raw: Any) -> str:
    def function(x: Any) -> Any:
        return x

    function.__annotations__["x"] = hint
    (said,) = problems(tool(function), {"x": raw})
    return said


# What is converted.


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
def test_what_loses_nothing_is_converted(hint: Any, raw: Any, value: Any) -> None:
    got = bound(hint, raw)
    assert got == value
    assert type(got) is type(value)


@pytest.mark.parametrize(
    ("hint", "raw", "said"),
    [
        (int, "5", "x: a whole number is wanted, not text '5'"),
        (int, 5.5, "x: a whole number is wanted, not 5.5"),
        (int, True, "x: a whole number is wanted, not true"),
        (float, True, "x: a number is wanted, not true"),
        (float, "1", "x: a number is wanted, not text '1'"),
        (bool, 1, "x: true or false is wanted, not 1"),
        (bool, "true", "x: true or false is wanted, not text 'true'"),
        (str, 5, "x: text is wanted, not 5"),
        (str, None, "x: text is wanted, not null"),
        (str, ["a"], "x: text is wanted, not an array"),
        (list[str], "a", "x: an array is wanted, not text 'a'"),
        (Unit, "Kelvin", 'x: one of "celsius", "kelvin" is wanted, not text \'Kelvin\''),
        (Literal[1], True, "x: 1 is wanted, not true"),
        (datetime.date, "tomorrow", "x: invalid RFC3339 encoded date, not text 'tomorrow'"),
        (Path, 3, "x: text (path) is wanted, not 3"),
        (Annotated[int, msgspec.Meta(ge=0)], -1, "x: expected int >= 0, not -1"),
        (Annotated[str, msgspec.Meta(max_length=1)], "ab", _LONG),
        (Decimal, 0.1234567890123456, _DIGITS),
        (float, math.nan, "x: JSON has no nan"),
        (Any, {"a": [math.inf]}, "x.a[0]: JSON has no inf"),
        (Any, {1: 2}, "x: the keys of an object are text, not 1"),
        (list[float], [0.5, -math.inf], "x[1]: JSON has no -inf"),
        (float, 10**400, f"x: number out of range, not 1{'0' * 55} ..."),
        (dict[int, str], {"a": "b"}, "x.a (its name): a whole number is wanted, not text 'a'"),
        (Item | None, 3, "x: an object (Item) or null is wanted, not 3"),
        (Item, {"name": "a", "price": 1, "prize": 2}, _PRIZE),
    ],
)  # fmt: skip
def test_what_does_not_fit_is_told(hint: Any, raw: Any, said: str) -> None:
    assert problem(hint, raw) == said


def test_a_member_that_was_misspelt_is_not_passed_over() -> None:
    """Its default would be a wrong value."""
    assert problem(Note, {"text": "a", "star": 1}) == (
        "x.star: no such member; did you mean 'stars'? (known: text, stars)"
    )


def test_an_unannotated_parameter_takes_any_json() -> None:
    def anything(x, y=3): ...  # type: ignore[no-untyped-def]

    of = tool(anything)
    assert of.parameters["properties"] == {"x": {}, "y": {"default": 3}}
    for raw in (None, True, 3, 3.5, "x", [1, "a", {"b": None}], {"a": {}}):
        assert of.bind({"x": raw}) == {"x": raw}


def test_a_default_of_none_takes_null_also_where_the_type_forgets_it() -> None:
    def implicit(x: str = None, y: "Item" = None): ...  # type: ignore[no-untyped-def, assignment]  # noqa: RUF013, UP037

    of = tool(implicit)
    assert of.parameters["properties"]["x"] == {
        "anyOf": [{"type": "string"}, {"type": "null"}],
        "default": None,
    }
    assert of.bind({"x": None, "y": None}) == {"x": None, "y": None}


# What is told.


@tool
def order(
    items: list[Item], note: str, count: int = 1, where: dict[str, list[int]] | None = None
) -> None:
    """Order."""


def test_everything_that_is_wrong_is_told_at_once_each_with_its_place() -> None:
    raw = {
        "items": [{"name": 1, "price": 2}, {"name": "a"}, {"name": "b", "price": "3"}],
        "cuont": 3,
        "where": {"north pole": [1, "x"]},
        "count": "1",
    }
    assert problems(order, raw) == [
        "items[0].name: text is wanted, not 1",
        "items[1].price: required, but missing",
        "items[2].price: a number is wanted, not text '3'",
        "note: required, but missing",
        "count: a whole number is wanted, not text '1'",
        "where[\"north pole\"][1]: a whole number is wanted, not text 'x'",
        "cuont: no such argument; did you mean 'count'? (known: items, note, count, where)",
    ]


def test_the_text_names_the_tool_and_says_that_it_has_not_run() -> None:
    with pytest.raises(ToolArgumentsError) as caught:
        order.bind({"items": []})
    error = caught.value
    assert (
        str(error) == "order was not run, for its arguments are wrong: note: required, but missing"
    )
    assert error.tool_name == "order"
    assert isinstance(error, LocusError)
    assert isinstance(error, ValueError)
    back = pickle.loads(pickle.dumps(error))
    assert (str(back), back.tool_name, back.problems) == (str(error), "order", error.problems)


def test_of_many_problems_the_text_shows_twenty() -> None:
    with pytest.raises(ToolArgumentsError, match=r"; and 80 more$") as caught:
        order.bind({"items": [3] * 99})
    assert len(caught.value.problems) == 100
    assert len(str(caught.value)) < 2000


def test_an_argument_of_a_tool_that_takes_none() -> None:
    @tool
    def now() -> str:
        return "now"

    assert now.bind({}) == {}
    assert problems(now, {"zone": "utc"}) == ["zone: no such argument (known: none)"]
    assert problems(now, {"a b\n": 1}) == ['"a b\\n": no such argument (known: none)']


def test_what_is_no_object_at_all() -> None:
    for raw in ([1], "x", None, 3):
        assert problems(order, raw)[0].startswith("they are to be an object, not ")


def test_what_a_constructor_refuses_is_told() -> None:
    @attrs.frozen
    class Even:
        number: int = attrs.field()

        @number.validator
        def _check(self, _: Any, value: int) -> None:
            if value % 2:
                raise ValueError("only even numbers")

    def halve(x: Any) -> None: ...

    halve.__annotations__["x"] = list[Even]
    assert problems(tool(halve), {"x": [{"number": 2}, {"number": 3}]}) == [
        "x[1]: only even numbers"
    ]


def test_further_arguments_have_a_type_too() -> None:
    def tag(name: str, **tags: int) -> None: ...

    of = tool(tag)
    assert of.parameters["additionalProperties"] == {"type": "integer"}
    assert of.bind({"name": "a", "b": 1, "c d": 2.0}) == {"name": "a", "b": 1, "c d": 2}
    assert problems(of, {"name": "a", "b": "1"}) == ["b: a whole number is wanted, not text '1'"]

    def loose(**more: Any) -> None: ...

    assert tool(loose).parameters["additionalProperties"] is True


def test_nesting_too_deep_to_read_is_told() -> None:
    deep: Any = []
    for _ in range(100_000):
        deep = [deep]
    assert problem(Any, deep) == "x: nested too deeply"
    assert problem(list[Any], deep) == "x: nested too deeply"
    while deep:  # or freeing it would be as deep
        deep = deep.pop()


def test_parameters_may_be_called_what_members_of_a_class_cannot() -> None:
    def odd(self_: int, __x: int, _: int, __class__: int, name: str, None_: int = 0) -> None: ...

    raw = {"self_": 1, "__x": 2, "_": 3, "__class__": 4, "name": "n", "None_": 5}
    assert tool(odd).bind(raw) == raw


# What it leaves alone.


def test_any_mapping_will_do_and_the_values_are_the_tools_own() -> None:
    def change(x: Any, y: dict[str, Any], z: list[str]) -> None: ...

    of = tool(change)
    raw = {"x": {"a": [1]}, "y": {"b": {"c": []}}, "z": ["d"]}
    kept = json.dumps(raw)
    for mapping in (raw, FrozenDict(raw), MappingProxyType(raw)):
        got = of.bind(mapping)
        assert got == raw
        got["x"]["a"].append(2)
        got["y"]["b"]["c"].append(3)
        got["z"].append("e")
        assert json.dumps(raw) == kept


def test_what_was_not_given_is_left_to_the_defaults() -> None:
    assert order.bind({"items": [], "note": "n"}) == {"items": [], "note": "n"}


def test_what_a_hook_put_in_may_be_of_the_type_already() -> None:
    day = datetime.date(2024, 1, 1)
    assert bound(datetime.date, day) == day
    assert bound(list[int], (1, 2)) == [1, 2]
    assert bound(dict[str, Any], MappingProxyType({"a": (1,)})) == {"a": [1]}


# Calls.


def test_a_call_is_bound_as_it_came() -> None:
    call = ToolCall.from_json("1", "order", '{"items": [], "note": "n"}')
    assert order.bind_call(call) == {"items": [], "note": "n"}


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ('{"items": [', "truncated"),
        ("[1, 2]", "array"),
        ('{"note": NaN}', "malformed"),
        ("ls -l", "malformed"),
        ("{}" + "x" * 500, r"trailing|malformed"),
        ("[" * 5000, r"not a JSON object \(.*truncated|nested too deep \(more than 100 levels\)"),
        ("null", "null"),
    ],
)
def test_arguments_that_are_no_json_object_are_told(text: str, said: str) -> None:
    call = ToolCall.from_json("1", "order", text)
    with pytest.raises(ToolArgumentsError, match=f"(?i){said}") as caught:
        order.bind_call(call)
    message = str(caught.value)
    assert re.match(r"order was not run, for its arguments are (not a JSON obj|nested )", message)
    assert text[:200] in message
    assert len(message) < 500
    assert caught.value.problems


@pytest.mark.parametrize("text", ["", " \n"])
def test_no_text_is_no_arguments(text: str) -> None:
    call = ToolCall("1", "x", malformed_arguments=text)
    assert tool(lambda: 1, name="x").bind_call(call) == {}
    with pytest.raises(ToolArgumentsError, match="note: required, but missing"):
        order.bind_call(call)


def test_a_call_makes_its_own_context_where_there_is_none() -> None:
    def whose(ctx: ToolContext) -> str:
        return ctx.tool_call_id

    of = tool(whose)
    assert of.function(**of.bind_call(ToolCall("c1", "whose"))) == "c1"
    given = ToolContext("c2", "whose", iteration=3)
    assert of.bind_call(ToolCall("c1", "whose"), given) == {"ctx": given}


# The price.


def test_many_values_are_read_in_one_go() -> None:
    def total(numbers: list[int], names: dict[str, float | None]) -> None: ...

    of = tool(total)
    raw: Mapping[str, Any] = {
        "numbers": list(range(100_000)),
        "names": {str(i): i / 7 for i in range(50_000)},
    }
    began = time.process_time()
    assert of.bind(raw) == raw
    assert time.process_time() - began < 0.5  # one by one it is several seconds
