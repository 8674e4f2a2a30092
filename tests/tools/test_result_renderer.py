"""Rendering a tool's result as text for the model."""

from __future__ import annotations

import array
import collections
import dataclasses
import datetime
import enum
import json
import uuid
from decimal import Decimal
from itertools import count
from pathlib import Path
from types import MappingProxyType, SimpleNamespace
from typing import Any

import attrs
import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from locus.tools import render_result
from locus.tools.slow_rendering import is_slow_to_render
from tests.support.strategies import json_values
from tests.support.structured_types import TypeCase, type_cases

_DAY = datetime.date(2024, 1, 1)


class Colour(enum.Enum):
    RED = "red"


@attrs.frozen
class Point:
    x: int
    at: datetime.date | None = None


@dataclasses.dataclass
class Line:
    ends: tuple[Point, Point]


_ENDS = (Point(1), Point(2, _DAY))


@attrs.define(slots=False)
class Loose:
    z: int
    _a: int = 2
    later: int = attrs.field(init=False)

    def __attrs_post_init__(self) -> None:
        self.__dict__["other"] = object()


@attrs.define
class Table:
    rows: Any


@dataclasses.dataclass(slots=True)
class TableOfDataclass:
    rows: Any


class TableOfStruct(msgspec.Struct):
    rows: Any


class MappingOfItsOwn(collections.abc.Mapping[str, int]):
    """A mapping whose code fails."""

    def __getitem__(self, key: str) -> int:
        raise LookupError("the database is gone")

    __len__ = __iter__ = __getitem__  # type: ignore[assignment]


class StringSubclass(str):
    __slots__ = ()


class FloatSubclass(float):
    """Like numpy's ``float64``."""


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ("text", "text"),
        ("", ""),
        ("größe \u2028", "größe \u2028"),
        (StringSubclass("x"), "x"),
        (None, "null"),
        (True, "true"),
        (3, "3"),
        (2**80, str(2**80)),
        (0.5, "0.5"),
        (FloatSubclass(0.5), "0.5"),
        (float("nan"), "null"),
        ([1, (2, "ä")], '[1,[2,"ä"]]'),
        ({1: {"a"}}, '{"1":["a"]}'),
        (Line(_ENDS), '{"ends":[{"x":1,"at":null},{"x":2,"at":"2024-01-01"}]}'),
        ({"all": [Loose(1)]}, '{"all":[{"z":1,"_a":2}]}'),
        (Colour.RED, '"red"'),
        ([Decimal("1.10"), b"hi"], '["1.10","aGk="]'),
        (uuid.UUID(int=1), '"00000000-0000-0000-0000-000000000001"'),
        (datetime.timedelta(seconds=90), '"PT90S"'),
        (Path("a/b"), '"a/b"'),
        (collections.deque([1]), "[1]"),
        (range(3), "[0,1,2]"),
        ({"a": 1}.keys(), '["a"]'),
        (collections.ChainMap({"a": 1}), '{"a":1}'),
        (MappingProxyType({"a": [StringSubclass("b")]}), '{"a":["b"]}'),
        (array.array("i", [1, 2]), "[1,2]"),
    ],
)  # fmt: skip
def test_results_are_text_or_json(value: Any, text: str) -> None:
    assert render_result(value) == text
    assert type(render_result(value)) is str


@given(json_values())
def test_a_json_value_is_rendered_as_itself(value: Any) -> None:
    if not isinstance(value, str):
        assert json.loads(render_result(value)) == value


@given(type_cases(), st.data())
def test_every_type_of_arguments_is_a_type_of_results(type_case: TypeCase, data: Any) -> None:
    value = data.draw(type_case.values)
    text = render_result(value)
    expected = value if isinstance(value, str) else msgspec.json.decode(msgspec.json.encode(value))
    assert (text if isinstance(value, str) else json.loads(text)) == expected


def test_pydantic_models_are_serialized_by_their_own_rules() -> None:
    pydantic = pytest.importorskip("pydantic")
    model = pydantic.create_model("Made", x=(int, 1), day=(datetime.date, _DAY))
    assert render_result([model()]) == '[{"x":1,"day":"2024-01-01"}]'


@pytest.mark.parametrize(
    "value",
    [object(), {"a": [object()]}, count(), complex(1), int, {(1, 2): 3}, ValueError("x")],
    ids=lambda value: type(value).__name__,
)
def test_a_value_that_json_has_no_form_for_is_an_error_and_never_a_repr(value: Any) -> None:
    with pytest.raises(TypeError, match=r"^a tool's result of type \w+ cannot be written as JSON"):
        render_result(value)


def test_a_value_that_contains_itself_is_an_error() -> None:
    recursive: list[Any] = []
    recursive.append(recursive)
    with pytest.raises(TypeError, match="contains itself"):
        render_result(recursive)


def test_an_unpaired_surrogate_is_replaced_and_the_rest_stays() -> None:
    assert render_result("a\ud800é") == "a\ufffdé"
    assert render_result("\ud83d\ude00") == "😀"
    assert render_result({"name\udcff": ["ü\ud800", 2**70]}) == (
        '{"name\ufffd":["ü\ufffd",1180591620717411303424]}'
    )


# Exceptions of a value's own code, and keys.


class _FailingArray:
    def tolist(self) -> Any:
        raise RuntimeError("boom")


class _FailingMembers(dict[str, int]):
    def items(self) -> Any:
        raise RuntimeError("boom")


@pytest.mark.parametrize(
    "value", [_FailingArray(), [_FailingArray()], {"a": _FailingArray()}, _FailingMembers(a=1)]
)
def test_an_exception_of_the_values_own_code_is_a_type_error(value: Any) -> None:
    with pytest.raises(TypeError, match="cannot be written as JSON: RuntimeError boom"):
        render_result(value)


def test_an_iterator_beside_an_unpaired_surrogate_is_read_once() -> None:
    assert render_result({"a": iter([1, "\ud800"])}) == '{"a":[1,"\ufffd"]}'


def test_nan_is_null_also_beside_an_unpaired_surrogate() -> None:
    assert render_result(["\ud800", float("nan"), {"\ud800": 1}]) == '["\ufffd",null,{"\ufffd":1}]'


@pytest.mark.parametrize(
    "value",
    [
        {1: "a", "1": "b"},
        {None: 1, "null": 2},
        dict.fromkeys(["\ud800", "\ud801"]),
        [{"a": {1: 2, "1": 3}}],
    ],
)
def test_two_keys_that_are_equal_in_json_are_a_type_error(value: Any) -> None:
    with pytest.raises(TypeError, match="two of its keys are"):
        render_result(value)


def test_keys_become_the_strings_of_json_dumps() -> None:
    value = {None: 1, True: 2, False: 3, 7: 4, 1.5: 5}
    assert render_result(value) == json.dumps(value, separators=(",", ":"))
    assert render_result({_DAY: 1, Colour.RED: 2}) == '{"2024-01-01":1,"red":2}'


class Moment(datetime.datetime):
    """As those of pandas, pendulum and freezegun are."""


class Day(datetime.date):
    pass


class Clock(datetime.time):
    pass


class Span(datetime.timedelta):
    pass


class Amount(Decimal):
    pass


class NotATime(datetime.datetime):
    """As pandas' ``NaT``."""

    def __eq__(self, other: object) -> bool:
        return False

    def __ne__(self, other: object) -> bool:
        return True

    __hash__ = None  # type: ignore[assignment]


class Data(bytes):
    pass


PARIS = datetime.timezone(datetime.timedelta(hours=1))


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (Moment(2024, 1, 2, 3, 4, 5, 6), '"2024-01-02T03:04:05.000006"'),
        (Moment(2024, 1, 2, tzinfo=PARIS), '"2024-01-02T00:00:00+01:00"'),
        (Day(2024, 1, 2), '"2024-01-02"'),
        (Clock(3, 4, tzinfo=PARIS), '"03:04:00+01:00"'),
        (Span(1, 2), '"P1DT2S"'),
        (NotATime(2024, 1, 1), "null"),
        (Amount("1.50"), '"1.50"'),
        ({"a": 1, "b": [2]}.values(), "[1,[2]]"),
        ({"a": 1}.items(), '[["a",1]]'),
        (map(str, [1, 2]), '["1","2"]'),
        ({"rows": (n * n for n in range(3))}, '{"rows":[0,1,4]}'),
        (zip("ab", (1, 2), strict=True), '[["a",1],["b",2]]'),
        (Data(b"a"), '"YQ=="'),
        (collections.UserList([1, collections.UserString("a")]), '[1,"a"]'),
        (SimpleNamespace(a=Amount("1.50")), '{"a":"1.50"}'),
    ],
    ids=lambda value: type(value).__name__ if not isinstance(value, str) else "",
)
def test_subclasses_and_iterators_are_written_as_what_they_are(value: Any, text: str) -> None:
    assert render_result([value]) == f"[{text}]"


def test_an_open_file_is_not_read(tmp_path: Any) -> None:
    path = tmp_path / "file"
    path.write_text("line")
    with path.open() as file, pytest.raises(TypeError, match="TextIOWrapper is not supported"):
        render_result(file)


ROWS = [1] * 1000


@pytest.mark.parametrize(
    ("value", "is_slow"),
    [
        ("short", False),
        ([1] * 100, False),
        ({"a": [1, 2]}, False),
        (ROWS, True),
        ([[1] * 30] * 30, True),
        ("x" * 10**6, True),
        (b"x" * 10**6, True),
        (StringSubclass("x" * 10**6), True),
        (iter([1]), True),
        (SimpleNamespace(rows=ROWS), True),
        (Table(ROWS), True),
        (TableOfStruct(ROWS), True),
        (TableOfDataclass(ROWS), True),
        (collections.deque(ROWS), True),
        (Table([1]), False),
        ([_DAY, Decimal(1), Colour.RED, uuid.UUID(int=1), Path(), Point(1)], False),
        (MappingOfItsOwn(), True),
    ],
)  # fmt: skip
def test_what_takes_long_is_known_before(value: Any, is_slow: bool) -> None:
    assert is_slow_to_render(value) is is_slow
