"""Classes in a tool's arguments: extra members, and exceptions of the classes' own code."""

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
from tests.tools.test_argument_validation import get_issues, get_only_issue, validate_argument

annotated_types: Any = pytest.importorskip("annotated_types")

T = TypeVar("T")


def get_configuration_error(hint: Any) -> str:
    """The message about a type that no tool can accept."""
    with pytest.raises(ConfigurationError) as exc_info:
        validate_argument(hint, None)
    assert "parameter x: " in str(exc_info.value)
    return str(exc_info.value).partition("parameter x: ")[2]


def build_schema(hint: Any) -> Any:
    def function(x: Any) -> None: ...

    function.__annotations__["x"] = hint
    return tool(function).parameters["properties"]["x"]


# The caller's own code raises.


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


class FailingArray(msgspec.Struct, array_like=True):
    x: int

    def __post_init__(self) -> None:
        raise RuntimeError("no such array")


@pytest.mark.parametrize(
    ("hint", "raw", "issue"),
    [
        (Fails, {"x": -1}, "x: RuntimeError no such thing"),
        (list[Fails] | None, [{"x": -1}], "x[0]: RuntimeError no such thing"),
        (attrs.make_class("V", {"x": attrs.field(validator=_raise)}), {"x": 1}, "typo"),
        (attrs.make_class("C", {"x": attrs.field(converter=_raise)}), {"x": 1}, "typo"),
        (FailingStruct, {"x": 1}, "x: RuntimeError no such struct"),
        (FailingArray, [1], "x: its class raised: RuntimeError no such array"),
    ],
)
def test_an_exception_of_a_class_is_an_issue_for_the_model(hint: Any, raw: Any, issue: str) -> None:
    assert issue in get_only_issue(hint, raw)


def test_a_name_that_is_an_unpaired_surrogate_is_an_issue_for_the_model() -> None:
    @tool
    def say(x: str = "") -> str:
        return x

    assert get_issues(say, {"\ud800": 1}) == ['"\\ud800": no such argument (known: x)']
    assert "no such member" in get_only_issue(Fails, {"x": 1, "\ud800": 1})
    assert "expected an integer" in get_only_issue(dict[int, str], {"\ud800": "a"})


@pytest.mark.parametrize("hint", [str, float, Literal["a"], list[str], Fails, bool, Decimal | None])
def test_a_number_with_too_many_digits_to_write_is_an_issue_for_the_model(hint: Any) -> None:
    huge = 10**5000
    if hint in (float, Decimal | None):
        huge = -huge
    if hint == Decimal | None:
        assert validate_argument(hint, huge) == Decimal(-1).scaleb(5000)
    else:
        assert "number with very many digits" in get_only_issue(hint, huge)


# Predicates.


def test_a_predicate_is_called_with_the_value() -> None:
    def is_even(value: int) -> bool:
        return value % 2 == 0

    assert validate_argument(Annotated[int, annotated_types.Predicate(is_even)], 2) == 2
    assert "does not satisfy the predicate" in get_only_issue(
        Annotated[int, annotated_types.Predicate(is_even)], 3
    )
    assert (
        validate_argument(Annotated[int | None, annotated_types.Predicate(is_even)], None) is None
    )
    assert (
        get_only_issue(annotated_types.LowerCase[str], "A")
        == "x: does not satisfy the predicate str.islower"
    )
    assert validate_argument(dict[annotated_types.LowerCase[str], int], {"a": 1}) == {"a": 1}
    assert "str.islower" in get_only_issue(dict[annotated_types.LowerCase[str], int], {"A": 1})
    assert "not " in get_only_issue(
        Annotated[str, annotated_types.Predicate(annotated_types.Not(str.isdigit))], "1"
    )


def test_a_predicate_that_raises_is_an_issue_for_the_model() -> None:
    issue = get_only_issue(
        Annotated[int, annotated_types.Predicate(lambda value: 1 / value > 0)], 0
    )
    assert issue.endswith("failed: ZeroDivisionError division by zero")


def test_grouped_metadata_is_expanded() -> None:
    @dataclasses.dataclass(frozen=True)
    class Small(annotated_types.GroupedMetadata):
        def __iter__(self) -> Any:
            yield annotated_types.Lt(10)
            yield annotated_types.Predicate(lambda value: value != 7)

    assert validate_argument(Annotated[int, Small()], 9) == 9
    assert get_only_issue(Annotated[int, Small()], 10) == "x: expected int <= 9, got 10"
    assert "does not satisfy the predicate" in get_only_issue(Annotated[int, Small()], 7)


# Decimal numbers.


@pytest.mark.parametrize(
    "text", ["NaN", "sNaN", "Infinity", "-inf", "1_0", "\u0661", " 1", "", "+1"]
)
def test_a_decimal_has_to_be_written_as_json_writes_numbers(text: str) -> None:
    assert get_only_issue(Decimal, text) == f"x: expected a decimal number, got the string {text!r}"
    assert validate_argument(Decimal | str, text) == text
    assert "a decimal number" in get_only_issue(dict[Decimal, int], {text: 1})


def test_a_decimal_keeps_its_digits() -> None:
    assert str(validate_argument(Decimal, "-1.50")) == "-1.50"
    assert validate_argument(Decimal, "1e3") == 1000
    assert validate_argument(dict[Decimal, int], {"1.5": 1}) == {Decimal("1.5"): 1}


def test_a_decimal_may_have_bounds() -> None:
    price = Annotated[
        Decimal,
        annotated_types.Ge(0),
        annotated_types.Lt(Decimal("2.5")),
        annotated_types.MultipleOf(0.1),
    ]
    assert validate_argument(price, "2.4") == Decimal("2.4")
    assert get_only_issue(price, "-1") == "x: expected a number of at least 0, got the string '-1'"
    assert get_only_issue(price, 2.5) == "x: expected a number below 2.5, got 2.5"
    assert get_only_issue(price, "0.15") == "x: expected a multiple of 0.1, got the string '0.15'"
    assert "a multiple of" in get_only_issue(
        Annotated[Decimal, annotated_types.MultipleOf(3)], "1e999999"
    )
    assert build_schema(Annotated[Decimal, annotated_types.Ge(0)])["minimum"] == 0
    assert (
        get_configuration_error(Annotated[Decimal, annotated_types.MinLen(1)])
        == "a Decimal has no min_length"
    )


def test_in_strict_mode_the_bounds_of_a_decimal_move_into_the_description() -> None:
    order = TypedDict("order", {"price": Annotated[Decimal, annotated_types.Ge(0)]})  # noqa: UP013
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


class GenericStruct(msgspec.Struct, Generic[T]):
    one: T
    other: Annotated[int, annotated_types.Predicate(bool)] = 1


def test_misspelled_members_of_a_struct_are_an_issue() -> None:
    known = "(known: howMany, b, more)"
    assert get_only_issue(Camel, {"howMany": 1, "B": 5}) == f"x.B: no such member {known}"
    assert "did you mean 'howMany'" in get_only_issue(Camel, {"how_many": 1})
    assert validate_argument(Camel, {"howMany": 2}) == Camel(2)
    assert get_only_issue(list[Camel], [{"c": 1}]).startswith("x[0].c: no such member")


def test_a_member_that_may_be_unset_stays_unset() -> None:
    assert validate_argument(Camel, {}).more is msgspec.UNSET
    assert validate_argument(Camel, {"more": 3}).more == 3


def test_a_tagged_struct_requires_its_tag() -> None:
    assert validate_argument(Circle, {"type": "circle", "r": 1}) == Circle(1.0)
    assert get_only_issue(Circle, {"r": 1}) == "x.type: required, but missing"
    assert validate_argument(Circle | Square, {"type": "square", "side": 2}) == Square(2.0)
    issue = 'x.type: expected one of "circle", "square", got the string \'z\''
    assert get_only_issue(Circle | Square, {"type": "z", "r": 1}) == issue


def test_generic_structs_and_their_predicates_are_supported() -> None:
    assert validate_argument(GenericStruct[int], {"one": 1}) == GenericStruct(1, 1)
    assert (
        get_only_issue(GenericStruct[int], {"one": "a"})
        == "x.one: expected an integer, got the string 'a'"
    )
    assert "x.other: does not satisfy" in get_only_issue(GenericStruct[int], {"one": 1, "other": 0})


def test_a_struct_that_forbids_extra_members_does_so_in_a_response_too() -> None:
    assert "$.b: no such member" in str(parse_structured('{"b": 1}', Closed).error)
    assert parse_structured('{"c": 1}', Camel).unwrap() == Camel()


# Classes that cannot be constructed.


@dataclasses.dataclass
class RequiredInitVar:
    seed: dataclasses.InitVar[int]
    q: int = 0


@dataclasses.dataclass
class OptionalInitVar:
    seed: dataclasses.InitVar[int] = 3
    q: int = 0


@attrs.define(init=False)
class CustomInit:
    a: int
    b: int = 0

    def __init__(self, a: int) -> None:
        self.a = a


@dataclasses.dataclass
class Abstract(abc.ABC):
    a: int

    @abc.abstractmethod
    def run(self) -> None: ...


class EmptyEnum(enum.Enum):
    pass


@pytest.mark.parametrize(
    ("hint", "message"),
    [
        (
            RequiredInitVar,
            "the constructor of RequiredInitVar requires 'seed', which is not a field",
        ),
        (CustomInit, "the constructor of CustomInit does not take its field 'b'"),
        (Abstract, "Abstract is abstract"),
        (EmptyEnum, "the enum EmptyEnum has no members"),
    ],
)
def test_a_class_that_cannot_be_constructed_is_an_error_when_the_tool_is_defined(
    hint: Any, message: str
) -> None:
    assert get_configuration_error(hint).startswith(message)


def test_a_constructor_may_have_further_parameters_with_a_default() -> None:
    assert validate_argument(OptionalInitVar, {"q": 2}).q == 2


class Place(NamedTuple):
    x: int
    y: int


def test_an_object_for_a_named_tuple_is_an_issue() -> None:
    assert get_only_issue(Place, {"x": 1, "y": 2}) == "x: expected an array (x, y), got an object"
