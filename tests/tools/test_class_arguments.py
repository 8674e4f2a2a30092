"""Classes in a tool's arguments: members that none of them has, and code of theirs that fails."""

from __future__ import annotations

import abc
import dataclasses
import enum
from decimal import Decimal
from typing import Annotated, Any, Generic, Literal, NamedTuple, TypedDict, TypeVar

import attrs
import msgspec
import pytest

from locus.core.errors import ConfigurationError
from locus.core.structured import build_response_format, parse_structured
from locus.tools import tool
from tests.tools.test_arguments import bound, problem, problems

at: Any = pytest.importorskip("annotated_types")

T = TypeVar("T")


def refusal(hint: Any) -> str:
    """What is said of a type that no tool can take."""
    with pytest.raises(ConfigurationError) as caught:
        bound(hint, None)
    assert "parameter x: " in str(caught.value)
    return str(caught.value).partition("parameter x: ")[2]


def schema_of(hint: Any) -> Any:
    def function(x: Any) -> None: ...

    function.__annotations__["x"] = hint
    return tool(function).parameters["properties"]["x"]


# Code of the caller's that fails.


@dataclasses.dataclass
class Fails:
    x: int

    def __post_init__(self) -> None:
        if self.x < 0:
            raise RuntimeError("no such thing")


def _raise(*_: Any) -> Any:
    raise AttributeError("typo")


class FailingStruct(msgspec.Struct):
    x: int

    def __post_init__(self) -> None:
        raise RuntimeError("no such struct")


class FailingRow(msgspec.Struct, array_like=True):
    x: int

    def __post_init__(self) -> None:
        raise RuntimeError("no such row")


@pytest.mark.parametrize(
    ("hint", "raw", "said"),
    [
        (Fails, {"x": -1}, "x: RuntimeError no such thing"),
        (list[Fails] | None, [{"x": -1}], "x[0]: RuntimeError no such thing"),
        (attrs.make_class("V", {"x": attrs.field(validator=_raise)}), {"x": 1}, "typo"),
        (attrs.make_class("C", {"x": attrs.field(converter=_raise)}), {"x": 1}, "typo"),
        (FailingStruct, {"x": 1}, "x: RuntimeError no such struct"),
        (FailingRow, [1], "x: its class says: RuntimeError no such row"),
    ],
)
def test_whatever_a_class_raises_is_told_to_the_model(hint: Any, raw: Any, said: str) -> None:
    assert said in problem(hint, raw)


def test_a_name_that_is_half_a_surrogate_pair_is_told_to_the_model() -> None:
    @tool
    def say(x: str = "") -> str:
        return x

    assert problems(say, {"\ud800": 1}) == ['"\\ud800": no such argument (known: x)']
    assert "no such member" in problem(Fails, {"x": 1, "\ud800": 1})
    assert "a whole number is wanted" in problem(dict[int, str], {"\ud800": "a"})


@pytest.mark.parametrize("hint", [str, float, Literal["a"], list[str], Fails, bool, Decimal | None])
def test_a_number_too_long_to_be_written_is_told_to_the_model(hint: Any) -> None:
    huge = 10**5000
    if hint in (float, Decimal | None):
        huge = -huge
    if hint == Decimal | None:
        assert bound(hint, huge) == Decimal(-1).scaleb(5000)
    else:
        assert "number of very many digits" in problem(hint, huge)


# What a predicate checks.


def test_a_predicate_is_called_with_the_value() -> None:
    def even(value: int) -> bool:
        return value % 2 == 0

    assert bound(Annotated[int, at.Predicate(even)], 2) == 2
    assert "does not pass the check" in problem(Annotated[int, at.Predicate(even)], 3)
    assert bound(Annotated[int | None, at.Predicate(even)], None) is None
    assert problem(at.LowerCase[str], "A") == "x: does not pass the check str.islower"
    assert bound(dict[at.LowerCase[str], int], {"a": 1}) == {"a": 1}
    assert "str.islower" in problem(dict[at.LowerCase[str], int], {"A": 1})
    assert "not " in problem(Annotated[str, at.Predicate(at.Not(str.isdigit))], "1")


def test_a_predicate_that_fails_is_told_to_the_model() -> None:
    said = problem(Annotated[int, at.Predicate(lambda value: 1 / value > 0)], 0)
    assert said.endswith("failed: ZeroDivisionError division by zero")


def test_grouped_annotations_are_taken_apart() -> None:
    @dataclasses.dataclass(frozen=True)
    class Small(at.GroupedMetadata):
        def __iter__(self) -> Any:
            yield at.Lt(10)
            yield at.Predicate(lambda value: value != 7)

    assert bound(Annotated[int, Small()], 9) == 9
    assert problem(Annotated[int, Small()], 10) == "x: expected int <= 9, not 10"
    assert "does not pass the check" in problem(Annotated[int, Small()], 7)


# Decimal numbers.


@pytest.mark.parametrize(
    "text", ["NaN", "sNaN", "Infinity", "-inf", "1_0", "\u0661", " 1", "", "+1"]
)
def test_a_decimal_is_written_as_json_writes_numbers(text: str) -> None:
    assert problem(Decimal, text) == f"x: a decimal number is wanted, not text {text!r}"
    assert bound(Decimal | str, text) == text
    assert "a decimal number" in problem(dict[Decimal, int], {text: 1})


def test_a_decimal_keeps_its_digits() -> None:
    assert str(bound(Decimal, "-1.50")) == "-1.50"
    assert bound(Decimal, "1e3") == 1000
    assert bound(dict[Decimal, int], {"1.5": 1}) == {Decimal("1.5"): 1}


def test_a_decimal_may_have_bounds() -> None:
    price = Annotated[Decimal, at.Ge(0), at.Lt(Decimal("2.5")), at.MultipleOf(0.1)]
    assert bound(price, "2.4") == Decimal("2.4")
    assert problem(price, "-1") == "x: at least 0 is wanted, not text '-1'"
    assert problem(price, 2.5) == "x: below 2.5 is wanted, not 2.5"
    assert problem(price, "0.15") == "x: a multiple of 0.1 is wanted, not text '0.15'"
    assert "a multiple of" in problem(Annotated[Decimal, at.MultipleOf(3)], "1e999999")
    assert schema_of(Annotated[Decimal, at.Ge(0)])["minimum"] == 0
    assert refusal(Annotated[Decimal, at.MinLen(1)]) == "a Decimal has no min_length"


def test_strict_mode_has_the_bounds_of_a_decimal_in_words() -> None:
    order = TypedDict("order", {"price": Annotated[Decimal, at.Ge(0)]})  # noqa: UP013
    schema = build_response_format(order)["json_schema"]["schema"]["properties"]["price"]
    assert schema == {"type": "string", "description": '(format: "decimal"; minimum: 0)'}


# Structs.


class Circle(msgspec.Struct, tag="circle"):
    r: float


class Square(msgspec.Struct, tag="square"):
    side: float


class Camel(msgspec.Struct, rename="camel"):
    how_many: int = 1
    b: int = 0
    more: int | msgspec.UnsetType = msgspec.UNSET


class Closed(msgspec.Struct, forbid_unknown_fields=True):
    a: int = 0


class Both(msgspec.Struct, Generic[T]):
    one: T
    other: Annotated[int, at.Predicate(bool)] = 1


def test_misspelt_members_of_a_struct_are_refused() -> None:
    known = "(known: howMany, b, more)"
    assert problem(Camel, {"howMany": 1, "B": 5}) == f"x.B: no such member {known}"
    assert "did you mean 'howMany'" in problem(Camel, {"how_many": 1})
    assert bound(Camel, {"howMany": 2}) == Camel(2)
    assert problem(list[Camel], [{"c": 1}]).startswith("x[0].c: no such member")


def test_a_struct_that_can_be_unset_stays_so() -> None:
    assert bound(Camel, {}).more is msgspec.UNSET
    assert bound(Camel, {"more": 3}).more == 3


def test_a_tagged_struct_wants_its_tag() -> None:
    assert bound(Circle, {"type": "circle", "r": 1}) == Circle(1.0)
    assert problem(Circle, {"r": 1}) == "x.type: required, but missing"
    assert bound(Circle | Square, {"type": "square", "side": 2}) == Square(2.0)
    either = 'x.type: one of "circle", "square" is wanted, not text \'z\''
    assert problem(Circle | Square, {"type": "z", "r": 1}) == either


def test_generic_structs_and_their_checks_are_read() -> None:
    assert bound(Both[int], {"one": 1}) == Both(1, 1)
    assert problem(Both[int], {"one": "a"}) == "x.one: a whole number is wanted, not text 'a'"
    assert "x.other: does not pass" in problem(Both[int], {"one": 1, "other": 0})


def test_a_struct_that_forbids_other_members_does_so_in_an_answer_too() -> None:
    assert "$.b: no such member" in str(parse_structured('{"b": 1}', Closed).error)
    assert parse_structured('{"c": 1}', Camel).unwrap() == Camel()


# What can not be made.


@dataclasses.dataclass
class Initiated:
    seed: dataclasses.InitVar[int]
    q: int = 0


@dataclasses.dataclass
class Seeded:
    seed: dataclasses.InitVar[int] = 3
    q: int = 0


@attrs.define(init=False)
class Own:
    a: int
    b: int = 0

    def __init__(self, a: int) -> None:
        self.a = a


@dataclasses.dataclass
class Abstract(abc.ABC):
    a: int

    @abc.abstractmethod
    def run(self) -> None: ...


class Nothing(enum.Enum):
    pass


@pytest.mark.parametrize(
    ("hint", "said"),
    [
        (Initiated, "the constructor of Initiated wants 'seed', which is no field"),
        (Own, "the constructor of Own does not take its field 'b'"),
        (Abstract, "Abstract is abstract"),
        (Nothing, "the enum Nothing has no members"),
    ],
)
def test_what_nothing_could_be_made_of_is_refused_where_the_tool_is_defined(
    hint: Any, said: str
) -> None:
    assert refusal(hint).startswith(said)


def test_a_constructor_may_want_more_where_it_has_a_default() -> None:
    assert bound(Seeded, {"q": 2}).q == 2


class Place(NamedTuple):
    x: int
    y: int


def test_an_object_for_a_named_tuple_is_told_what_is_wanted() -> None:
    assert problem(Place, {"x": 1, "y": 2}) == "x: an array (x, y) is wanted, not an object"
