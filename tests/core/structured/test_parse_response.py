"""Parsing a response into a type: valid values, and the issues of invalid ones."""

from __future__ import annotations

import bisect
import dataclasses
import datetime
import enum
import json
import pickle
from collections.abc import Callable, Mapping, Sequence
from decimal import Decimal
from typing import Annotated, Any, Literal, NamedTuple, NewType, TypedDict

import attrs
import msgspec
import pytest

from locus.core.errors import ConfigurationError
from locus.core.structured import StructuredOutput, StructuredOutputError, parse_structured
from locus.core.structured.extract_json import extract_json_values
from tests.support.timing import assert_linear, count_calls


class Size(enum.Enum):
    SMALL = "s"
    LARGE = "l"


@attrs.frozen
class Item:
    name: str
    price: float
    size: Size | None = None


@attrs.frozen
class Order:
    items: list[Item]
    note: str = ""


def parse_and_unwrap(raw: Any, type: Any) -> Any:
    return parse_structured(raw if isinstance(raw, str) else json.dumps(raw), type).unwrap()


def get_issues(raw: Any, type: Any) -> list[str]:
    output = parse_structured(raw if isinstance(raw, str) else json.dumps(raw), type)
    assert not output.success
    return str(output.error).partition(": ")[2].split("; ")


# The result.


def test_success_and_failure_are_values() -> None:
    good = parse_structured('{"name": "a", "price": 1}', Item)
    assert good == StructuredOutput(Item("a", 1.0))
    assert good.success
    assert good.error is None
    assert good.unwrap() == Item("a", 1.0)
    bad = parse_structured("no", Item)
    assert not bad.success
    assert bad.parsed is None
    with pytest.raises(StructuredOutputError) as exc_info:
        bad.unwrap()
    assert exc_info.value is bad.error
    assert exc_info.value.content == "no"


def test_none_may_be_the_value() -> None:
    output = parse_structured("null", Item | None)
    assert output.success
    assert output.unwrap() is None


def test_a_result_can_be_pickled() -> None:
    bad = pickle.loads(pickle.dumps(parse_structured("no", Item)))
    assert bad.error.content == "no"
    assert "Item" in str(bad.error)


def test_a_type_that_json_has_no_form_for_is_a_configuration_error() -> None:
    with pytest.raises(ConfigurationError):
        parse_structured("{}", complex)


# Issues.


def test_every_issue_is_reported_with_its_path() -> None:
    raw = {"items": [{"name": 1, "price": "x"}, {"nam": "b", "price": 2, "size": "m"}, 3]}
    assert get_issues(raw, Order) == [
        "$.items[0].name: expected a string, got 1",
        "$.items[0].price: expected a number, got the string 'x'",
        "$.items[1].name: required, but missing (no field is named 'nam')",
        '$.items[1].size: expected one of "s", "l" or null, got the string \'m\'',
        "$.items[2]: expected an object (Item), got 3",
    ]


def test_of_many_issues_the_first_ten_are_listed() -> None:
    issues = get_issues({"items": [{} for _ in range(20)]}, Order)
    assert len(issues) == 11
    assert issues[-1] == "and 30 more"


@pytest.mark.parametrize(
    ("raw", "type", "issue"),
    [
        ("3", int, None),
        ("3.0", int, "$: expected an integer, got 3.0"),
        ("true", int, "$: expected an integer, got true"),
        ('"3"', int, "$: expected an integer, got the string '3'"),
        ("3", str, "$: expected a string, got 3"),
        ("3", float, None),
        ('"3"', float, "$: expected a number, got the string '3'"),
        ("1", bool, "$: expected true or false, got 1"),
        ("null", str, "$: expected a string, got null"),
        ("1", Literal[True], "$: expected true, got 1"),
        ("true", Literal[1], "$: expected 1, got true"),
        ('"2024-02-30"', datetime.date,
         "$: invalid RFC3339 encoded date, got the string '2024-02-30'"),
        ("5", datetime.date, "$: expected a string (date), got 5"),
        ('"?"', bytes, "$: invalid base64 encoded string, got the string '?'"),
        ("-1", Annotated[int, msgspec.Meta(ge=0)], "$: expected int >= 0, got -1"),
        ("[1]", Annotated[list[int], msgspec.Meta(min_length=2)],
         "$: expected at least 2 items, got 1"),
        ("[1, 2]", Annotated[list[int], msgspec.Meta(max_length=1)],
         "$: expected at most 1 item, got 2"),
        ("-1", Annotated[int | None, msgspec.Meta(ge=0)], "$: expected int >= 0, got -1"),
        ("[1]", tuple[int, int], "$: expected an array of 2 items, got 1"),
        ("{}", list[int], "$: expected an array, got an object"),
        ("{}", tuple[int, int], "$: expected an array of 2 items, got an object"),
        ("1", tuple[int, int] | dict[str, int] | None,
         "$: expected an array of 2 items or an object or null, got 1"),
        ('"x"', Annotated[Item, msgspec.Meta(description="?")] | None,
         "$: expected an object (Item) or null, got the string 'x'"),
        ("[]", dict[str, int], "$: expected an object, got an array"),
        ('{"a b": "x"}', dict[str, int], "$[\"a b\"]: expected an integer, got the string 'x'"),
        ('{"x": 1}', dict[int, int], "$.x (the key): expected an integer, got the string 'x'"),
        ("[[1]]", set[Any], "$: unhashable type: 'list'"),
        ('"x"', Item | int | None,
         "$: expected an object (Item) or an integer or null, got the string 'x'"),
        ("1" + "0" * 400, float, "$: number out of range, got 1" + "0" * 55 + " ..."),
    ],
)  # fmt: skip
def test_scalars_and_collections_are_validated_strictly(
    raw: str, type: Any, issue: str | None
) -> None:
    if issue is None:
        assert parse_and_unwrap(raw, type) == json.loads(raw)
    else:
        assert get_issues(raw, type) == [issue]


# Classes.


@attrs.define(kw_only=True)
class Full:
    _hidden: int
    aliased: int = attrs.field(alias="alias")
    upper: str = attrs.field(converter=str.upper)
    even: int = attrs.field(default=2, validator=lambda _, __, value: Full.check(value))
    derived: list[int] = attrs.Factory(lambda self: [self.even], takes_self=True)
    computed: int = attrs.field(init=False, default=7)

    @staticmethod
    def check(value: int) -> None:
        if value % 2:
            raise ValueError("must be even")


def test_attrs_classes_are_constructed_with_converters_and_validators() -> None:
    raw = {"_hidden": 1, "aliased": 2, "upper": "x", "even": 4}
    assert parse_and_unwrap(raw, Full) == Full(hidden=1, alias=2, upper="x", even=4)
    assert parse_and_unwrap(raw, Full).derived == [4]
    assert get_issues({**raw, "even": 3}, Full) == ["$: must be even"]


@attrs.frozen
class Validated:
    number: Any = attrs.field(validator=attrs.validators.instance_of(int))


def test_the_message_of_an_attrs_validator_is_kept() -> None:
    (issue,) = get_issues({"number": "x"}, Validated)
    assert issue.startswith("$: 'number' must be <class 'int'>")


@dataclasses.dataclass
class Base:
    first: int
    skipped: int = dataclasses.field(init=False, default=5)


@dataclasses.dataclass
class Derived(Base):
    second: list[Base] = dataclasses.field(default_factory=list)

    def __post_init__(self) -> None:
        if self.first < 0:
            raise ValueError("first must not be negative")


def test_dataclasses_inherit_fields_and_validate() -> None:
    assert parse_and_unwrap({"first": 1, "second": [{"first": 2}]}, Derived) == Derived(
        1, [Base(2)]
    )
    assert get_issues({"first": -1}, Derived) == ["$: first must not be negative"]


class RequiredKeys(TypedDict):
    needed: int


class OptionalKeys(RequiredKeys, total=False):
    maybe: str
    nullable: str | None


def test_typed_dicts_need_their_required_keys_only() -> None:
    assert parse_and_unwrap({"needed": 1}, OptionalKeys) == {"needed": 1}
    assert get_issues({"maybe": "x"}, OptionalKeys) == ["$.needed: required, but missing"]


def test_null_means_that_an_optional_key_is_absent_unless_its_type_allows_null() -> None:
    assert parse_and_unwrap({"needed": 1, "maybe": None, "nullable": None}, OptionalKeys) == {
        "needed": 1,
        "nullable": None,
    }


def test_members_that_are_no_field_are_ignored() -> None:
    assert parse_and_unwrap({"name": "a", "price": 1, "reason": {}}, Item) == Item("a", 1.0)


class Point(NamedTuple):
    x: int
    y: int = 0


class Tree(msgspec.Struct):
    value: int
    children: list[Tree] = []


def test_a_named_tuple_is_an_array_and_an_object_for_it_is_an_issue() -> None:
    assert parse_and_unwrap([1], Point) == Point(1)
    assert get_issues({"x": 1}, Point) == ["$: expected an array (x, y), got an object"]


def test_structs_are_validated_field_by_field() -> None:
    assert parse_and_unwrap({"value": 1, "children": [{"value": 2}]}, Tree) == Tree(1, [Tree(2)])
    raw = {"value": 1, "children": [{"value": "x"}]}
    assert get_issues(raw, Tree) == ["$.children[0].value: expected an integer, got the string 'x'"]


Described = Annotated[Item, msgspec.Meta(description="a thing")]


def test_a_description_does_not_change_the_value() -> None:
    raw = {"name": "a", "price": 1}
    assert parse_and_unwrap([raw, None], list[Described | None]) == [Item("a", 1.0), None]


Names = NewType("Names", Sequence[str])


def test_abstract_collections_and_new_types_are_supported() -> None:
    assert parse_and_unwrap(["a"], Names) == ["a"]
    assert parse_and_unwrap({"1": {"a": 2}}, Mapping[int, dict[str, float]]) == {1: {"a": 2.0}}
    assert parse_and_unwrap({"s": 1}, dict[Size, int]) == {Size.SMALL: 1}
    assert parse_and_unwrap([1, [2]], list) == [1, [2]]
    assert parse_and_unwrap({"a": 1}, dict) == {"a": 1}
    assert parse_and_unwrap([1, 1], set[int]) == {1}


# Unions.


@attrs.frozen
class Circle:
    kind: Literal["circle"]
    radius: float


@attrs.frozen
class Square:
    kind: Literal["square"]
    side: float


@attrs.frozen
class Box:
    side: float
    lid: bool = False


@attrs.frozen
class Crate:
    side: float
    depth: float = 1.0


Shape = Circle | Square


def test_a_discriminator_selects_the_class_and_issues_are_about_that_class() -> None:
    assert parse_and_unwrap({"kind": "square", "side": 1}, Shape) == Square("square", 1.0)
    assert get_issues({"kind": "square", "radius": 1}, Shape) == [
        "$.side: required, but missing (no field is named 'radius')"
    ]
    either = 'one of "circle", "square"'
    assert get_issues({"kind": "blob", "side": 1}, Shape) == [
        f"$.kind: expected {either}, got the string 'blob'"
    ]
    assert get_issues({"side": 1}, Shape) == [f"$.kind: required, but missing: expected {either}"]


def test_classes_without_a_discriminator_are_selected_by_their_members() -> None:
    union = Box | Crate | Item
    assert parse_and_unwrap({"side": 1}, union) == Box(1.0)
    assert parse_and_unwrap({"side": 1, "depth": 2}, union) == Crate(1.0, 2.0)
    assert parse_and_unwrap({"name": "x", "price": 1}, union) == Item("x", 1.0)
    assert parse_and_unwrap([{"side": 1, "lid": True}, None], list[union | None]) == [
        Box(1.0, True),
        None,
    ]


def test_scalars_of_a_union_keep_their_json_type() -> None:
    assert repr(parse_and_unwrap("3", float | int)) == "3"
    assert repr(parse_and_unwrap("3.0", int | float)) == "3.0"
    assert repr(parse_and_unwrap("3", Decimal | int)) == "3"
    assert repr(parse_and_unwrap("3.5", Decimal | int)) == "Decimal('3.5')"
    assert parse_and_unwrap('"3"', int | str) == "3"
    assert parse_and_unwrap('"2024-01-01"', datetime.date | str) == datetime.date(2024, 1, 1)
    assert parse_and_unwrap('"soon"', datetime.date | str) == "soon"
    assert parse_and_unwrap('["a"]', list[int] | list[str]) == ["a"]


@attrs.frozen
class Plus:
    left: Expression
    right: Expression


@attrs.frozen
class Times:
    left: Expression
    right: Expression


Expression = Plus | Times | int


def test_an_ambiguous_recursive_union_does_not_take_exponential_time() -> None:
    def parse(depth: int) -> None:
        deep: Any = "wrong"
        for _ in range(depth):
            deep = {"left": deep, "right": deep if deep == "wrong" else 1}
        assert not parse_structured(json.dumps(deep), Plus | Times).success

    parse(2)
    assert count_calls(lambda: parse(16)) < 16 * count_calls(lambda: parse(4))
    parse(60)


# Wrapping.


@attrs.frozen
class HasValue:
    value: list[int]


def test_a_wrapped_value_is_unwrapped_and_an_unwrapped_one_is_accepted() -> None:
    assert parse_and_unwrap('{"value": [1]}', list[int]) == [1]
    assert parse_and_unwrap("[1]", list[int]) == [1]
    assert parse_and_unwrap('{"value": {"side": 1}}', Box | None) == Box(1.0)
    assert parse_and_unwrap('{"side": 1}', Box | None) == Box(1.0)
    assert parse_and_unwrap('{"value": [1]}', HasValue) == HasValue([1])
    assert parse_and_unwrap('{"value": [1]}', HasValue | None) == HasValue([1])
    assert parse_and_unwrap('{"value": {"value": [1]}}', HasValue | None) == HasValue([1])
    assert parse_and_unwrap('{"value": 1}', dict[str, int]) == {"value": 1}
    assert get_issues('{"value": ["x"]}', list[int]) == [
        "$.value[0]: expected an integer, got the string 'x'"
    ]


# Extracting the JSON.

JSON = '{"name": "a", "price": 1}'


@pytest.mark.parametrize(
    "text",
    [
        f"\ufeff{JSON}",
        f"Sure!\n```json\n{JSON}\n```\nHope that helps {{smile}}.",
        f"```\n{JSON}\n```",
        f"~~~\n{JSON}\n~~~",
        f"````md\n```json\n{JSON}\n```\n````",
        f"```json\n{JSON}",
        f"```{JSON}```",
        f"As [1] says in {{2}}: {JSON}. See [1, 2].",
        f'First {{"name": "draft", "price": 0}}, then {JSON}',
        f'```json\n{{"name": "draft", "price": 0}}\n```\nBetter:\n```json\n{JSON}\n```\n',
        f'```json\n{JSON}\n```\nI omitted {{"name": "b", "price": 2}}.',
        f"```json\n{{'name': 'a'}}\n```\nis no JSON, this is:\n{JSON}",
        f'In JS: {{"name": "a", price: 1}}. In JSON: {JSON}',
        f'print("{{" + x) {JSON}',
        f'Use "{{" and then: {JSON}',
        f'{JSON} {{}} {{"other": []}}',
        f"\\frac{{1}}{{2}} {JSON}",
        f"[Answer: {JSON}]",
    ],
)
def test_json_is_extracted_from_prose_and_fences(text: str) -> None:
    assert parse_and_unwrap(text, Item) == Item("a", 1.0)


def test_fences_and_braces_inside_a_string_do_not_end_it() -> None:
    code = "```json\n{}\n```\n}]"
    content = json.dumps({"name": code, "price": 1}, indent=1)
    assert parse_and_unwrap(f"Here:\n```json\n{content}\n```\nBye", Item).name == code
    assert parse_and_unwrap(f"Here: {content} Bye", Item).name == code


@attrs.frozen
class Chain:
    value: int = 0
    next: Chain | None = None


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("", "it is empty"),
        ("Sorry, I cannot.", "there is no JSON in it"),
        ('{"value": 1, "next": {"value": 2}', "the JSON that begins at character 0 is cut off"),
        ('So: {"value": 1, "next": {"value": 2}, "', "that begins at character 4 is cut off"),
        (
            '{"value": 1, "note": "a "quote" here", "next": {"value": 2}}',
            "the JSON that begins at character 0 is malformed at character 25: 'quote",
        ),
        ('{"value": 1,}', "character 0 is malformed at character 12: '}'"),
        ("{'value': 1}", "it begins like JSON, but JSON is malformed"),
        ('{"value": NaN}', "is malformed at character 10: 'NaN}'"),
        ('{"value": "\ud800"}', "surrogates not allowed"),
    ],
)  # fmt: skip
def test_malformed_json_and_what_is_inside_it_are_no_value(text: str, problem: str) -> None:
    output = parse_structured(text, Chain)
    assert not output.success
    assert problem in str(output.error)


def test_the_issues_are_those_of_the_closest_json() -> None:
    text = 'See [1]. {"name": "a", "price": "1"} and {"other": 2} [2]'
    assert get_issues(text, Item) == ["$.price: expected a number, got the string '1'"]


class Link(msgspec.Struct):
    next: Link | None = None


def test_deep_nesting_is_an_error_and_no_crash() -> None:
    deep = '{"next":' * 50_000 + "null" + "}" * 50_000
    assert not parse_structured(deep, Chain).success
    assert not parse_structured(f"so: {deep}", Chain).success
    assert not parse_structured(f"so: {deep[:-1]}", Chain).success


def test_the_deepest_nesting_that_can_be_decoded_is_no_crash() -> None:
    def nest(depth: int) -> str:
        return '{"next":' * depth + "null" + "}" * depth

    def is_decodable(depth: int) -> bool:
        try:
            msgspec.json.decode(nest(depth))
        except RecursionError:
            return False
        return True

    deepest = bisect.bisect_left(range(20_000), True, key=lambda depth: not is_decodable(depth))
    for depth in range(deepest - 12, deepest + 1):
        for type in (Chain, Link):
            output = parse_structured(nest(depth), type)
            assert output.success or "deep" in str(output.error)


@pytest.mark.parametrize(
    "unit",
    [
        "{",
        "[",
        '{"',
        '["',
        "[1,",
        '{"a":',
        '["\\',
        "[]",
        '{"k":"{',
        '{"a":1x}',
        "[1,2,x]",
        "```\n",
        '{"{x',
        '[ "a" ',
    ],
)
def test_hostile_text_is_searched_in_linear_time(unit: str) -> None:
    def prepare(size: int) -> Callable[[], object]:
        text = "x " + unit * (size // len(unit))
        return lambda: extract_json_values(text)

    assert_linear(prepare, 4_000)


# Other mistakes of callers and models.


@pytest.mark.parametrize("content", [None, b'{"name": "x", "price": 1}', 3, Item("x", 1)])
def test_content_that_is_no_string_is_a_type_error_that_says_what_to_pass(content: Any) -> None:
    with pytest.raises(TypeError, match=f"response.content, not {type(content).__name__}"):
        parse_structured(content, Item)


def _make_failing_class(error: Exception) -> Any:
    def convert(value: Any) -> Any:
        raise error

    return attrs.make_class("Failing", {"x": attrs.field(type=int, converter=convert)})


@pytest.mark.parametrize(
    ("error", "issue"),
    [
        (ValueError("too dear"), "$: too dear"),
        (KeyError("mauve"), "$: KeyError mauve"),
        (ZeroDivisionError("division by zero"), "$: ZeroDivisionError division by zero"),
        (OverflowError(), "$: OverflowError"),
        (OSError(75, "too large"), "$: OSError [Errno 75] too large"),
    ],
)
def test_an_exception_of_a_constructor_about_the_value_is_an_issue(
    error: Exception, issue: str
) -> None:
    output = parse_structured('{"x": 1}', _make_failing_class(error))
    assert str(output.error).endswith(issue)


def test_an_invalid_decimal_in_a_converter_is_an_issue() -> None:
    priced: Any = attrs.make_class("Priced", {"x": attrs.field(type=str, converter=Decimal)})
    assert parse_structured('{"x": "1.5"}', priced).unwrap().x == Decimal("1.5")
    assert "InvalidOperation" in str(parse_structured('{"x": "dear"}', priced).error)


def test_a_bug_of_a_constructor_is_raised() -> None:
    with pytest.raises(AttributeError, match="typo"):
        parse_structured('{"x": 1}', _make_failing_class(AttributeError("typo")))


def test_of_many_extra_members_a_few_are_named_and_quickly() -> None:
    wide: Any = attrs.make_class("Wide", {f"m{i}": attrs.field(type=int) for i in range(300)})

    def prepare(count: int) -> Callable[[], Any]:
        text = json.dumps({f"f{i:06}": i for i in range(count)})
        return lambda: parse_structured(text, wide)

    assert_linear(prepare, 2_500)
    output = prepare(50_000)()
    message = str(output.error)
    assert "'f000000', 'f000001', 'f000002', 'f000003', 'f000004' and 49995 more)" in message
    assert len(message) < 5000


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        ('{"name": "a\nb", "price": 1}', "malformed at character 11: '\\nb\""),
        ('{"name": "a\x00", "price": 1}', "malformed at character 11: '\\x00\""),
        ('{"name": "a\\q", "price": 1}', "malformed at character 11: '\\\\q\""),
        ('{"name": "a', "cut off"),
        ('{"name": "a\\', "cut off"),
        ('{"name": "a\\u00', "cut off"),
    ],
)
def test_a_string_with_an_invalid_character_is_not_reported_as_cut_off(
    content: str, problem: str
) -> None:
    message = str(parse_structured(content, Item).error)
    assert problem in message
    assert ("cut off" in message) == (problem == "cut off")


class Floor(enum.IntEnum):
    GROUND = 0
    FIRST = 1


Year = Annotated[int, msgspec.Meta(description="of the common era")]


@pytest.mark.parametrize(
    ("key_type", "key", "value"),
    [
        (Floor, "1", Floor.FIRST),
        (Literal[1, "a"], "1", 1),
        (Literal[1, "a"], "a", "a"),
        (Year, "2020", 2020),
        (int | None, "3", 3),
        (Size, "s", Size.SMALL),
    ],
)
def test_a_key_is_converted_from_its_string(key_type: Any, key: str, value: Any) -> None:
    (parsed,) = parse_structured(json.dumps({key: 1}), dict[key_type, int]).unwrap()
    assert (parsed, type(parsed)) == (value, type(value))


@pytest.mark.parametrize("key_type", [tuple[int, int], list[int], Item])
def test_keys_that_are_no_strings_are_a_configuration_error(key_type: Any) -> None:
    with pytest.raises(ConfigurationError, match="keys are always strings"):
        parse_structured("{}", dict[key_type, int])
