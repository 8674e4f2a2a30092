"""Reading an answer as a type: what fits, what does not, and what is said about that."""

from __future__ import annotations

import bisect
import dataclasses
import datetime
import enum
import json
import pickle
import time
from collections.abc import Mapping, Sequence
from decimal import Decimal
from typing import Annotated, Any, Literal, NamedTuple, NewType, TypedDict

import attrs
import msgspec
import pytest

from locus.core.errors import ConfigurationError
from locus.core.structured import StructuredOutput, StructuredOutputError, parse_structured
from locus.core.structured.extract_json import find_json


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


def parsed(raw: Any, type: Any) -> Any:
    return parse_structured(raw if isinstance(raw, str) else json.dumps(raw), type).unwrap()


def faults(raw: Any, type: Any) -> list[str]:
    output = parse_structured(raw if isinstance(raw, str) else json.dumps(raw), type)
    assert not output.success
    return str(output.error).partition(" that was asked for: ")[2].split("; ")


# The outcome.


def test_success_and_failure_are_values() -> None:
    good = parse_structured('{"name": "a", "price": 1}', Item)
    assert good == StructuredOutput(Item("a", 1.0))
    assert good.success
    assert good.error is None
    assert good.unwrap() == Item("a", 1.0)
    bad = parse_structured("no", Item)
    assert not bad.success
    assert bad.parsed is None
    with pytest.raises(StructuredOutputError) as caught:
        bad.unwrap()
    assert caught.value is bad.error
    assert caught.value.content == "no"


def test_none_may_be_the_value() -> None:
    output = parse_structured("null", Item | None)
    assert output.success
    assert output.unwrap() is None


def test_an_outcome_can_be_pickled() -> None:
    bad = pickle.loads(pickle.dumps(parse_structured("no", Item)))
    assert bad.error.content == "no"
    assert "Item" in str(bad.error)


def test_a_type_that_json_cannot_say_is_the_callers_mistake() -> None:
    with pytest.raises(ConfigurationError):
        parse_structured("{}", complex)


# Faults.


def test_every_fault_is_told_with_its_place() -> None:
    raw = {"items": [{"name": 1, "price": "x"}, {"nam": "b", "price": 2, "size": "m"}, 3]}
    assert faults(raw, Order) == [
        "$.items[0].name: text is wanted, not 1",
        "$.items[0].price: a number is wanted, not text 'x'",
        "$.items[1].name: required, but missing (no field is called 'nam')",
        '$.items[1].size: one of "s", "l" or null is wanted, not text \'m\'',
        "$.items[2]: an object (Item) is wanted, not 3",
    ]


def test_of_many_faults_the_first_ten_are_told() -> None:
    told = faults({"items": [{} for _ in range(20)]}, Order)
    assert len(told) == 11
    assert told[-1] == "and 30 more"


@pytest.mark.parametrize(
    ("raw", "type", "said"),
    [
        ("3", int, None),
        ("3.0", int, "$: a whole number is wanted, not 3.0"),
        ("true", int, "$: a whole number is wanted, not true"),
        ('"3"', int, "$: a whole number is wanted, not text '3'"),
        ("3", str, "$: text is wanted, not 3"),
        ("3", float, None),
        ('"3"', float, "$: a number is wanted, not text '3'"),
        ("1", bool, "$: true or false is wanted, not 1"),
        ("null", str, "$: text is wanted, not null"),
        ("1", Literal[True], "$: true is wanted, not 1"),
        ("true", Literal[1], "$: 1 is wanted, not true"),
        ('"2024-02-30"', datetime.date, "$: invalid RFC3339 encoded date, not text '2024-02-30'"),
        ("5", datetime.date, "$: text (date) is wanted, not 5"),
        ('"?"', bytes, "$: invalid base64 encoded string, not text '?'"),
        ("-1", Annotated[int, msgspec.Meta(ge=0)], "$: expected int >= 0, not -1"),
        ("[1]", Annotated[list[int], msgspec.Meta(min_length=2)], "$: at least 2 wanted, not 1"),
        ("[1, 2]", Annotated[list[int], msgspec.Meta(max_length=1)], "$: at most 1 wanted, not 2"),
        ("-1", Annotated[int | None, msgspec.Meta(ge=0)], "$: expected int >= 0, not -1"),
        ("[1]", tuple[int, int], "$: an array of 2 is wanted, not of 1"),
        ("{}", list[int], "$: an array is wanted, not an object"),
        ("{}", tuple[int, int], "$: an array of 2 is wanted, not an object"),
        ("1", tuple[int, int] | dict[str, int] | None, "$: an array of 2 or an object or null is "
         "wanted, not 1"),
        ('"x"', Annotated[Item, msgspec.Meta(description="?")] | None, "$: an object (Item) or "
         "null is wanted, not text 'x'"),
        ("[]", dict[str, int], "$: an object is wanted, not an array"),
        ('{"a b": "x"}', dict[str, int], "$[\"a b\"]: a whole number is wanted, not text 'x'"),
        ('{"x": 1}', dict[int, int], "$.x (its name): a whole number is wanted, not text 'x'"),
        ("[[1]]", set[Any], "$: unhashable type: 'list'"),
        ('"x"', Item | int | None, "$: an object (Item) or a whole number or null is wanted, "
         "not text 'x'"),
        ("1" + "0" * 400, float, "$: number out of range, not 1" + "0" * 55 + " ..."),
    ],
)  # fmt: skip
def test_scalars_and_collections_are_read_strictly(raw: str, type: Any, said: str | None) -> None:
    if said is None:
        assert parsed(raw, type) == json.loads(raw)
    else:
        assert faults(raw, type) == [said]


# Classes.


@attrs.define(kw_only=True)
class Full:
    _hidden: int
    named: int = attrs.field(alias="called")
    upper: str = attrs.field(converter=str.upper)
    even: int = attrs.field(default=2, validator=lambda _, __, value: Full.check(value))
    made: list[int] = attrs.Factory(lambda self: [self.even], takes_self=True)
    computed: int = attrs.field(init=False, default=7)

    @staticmethod
    def check(value: int) -> None:
        if value % 2:
            raise ValueError("must be even")


def test_attrs_classes_are_made_by_their_constructor() -> None:
    raw = {"_hidden": 1, "named": 2, "upper": "x", "even": 4}
    assert parsed(raw, Full) == Full(hidden=1, called=2, upper="x", even=4)
    assert parsed(raw, Full).made == [4]
    assert faults({**raw, "even": 3}, Full) == ["$: must be even"]


@attrs.frozen
class Checked:
    number: Any = attrs.field(validator=attrs.validators.instance_of(int))


def test_the_words_of_an_attrs_validator_are_kept() -> None:
    (said,) = faults({"number": "x"}, Checked)
    assert said.startswith("$: 'number' must be <class 'int'>")


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


def test_dataclasses_inherit_and_check() -> None:
    assert parsed({"first": 1, "second": [{"first": 2}]}, Derived) == Derived(1, [Base(2)])
    assert faults({"first": -1}, Derived) == ["$: first must not be negative"]


class Whole(TypedDict):
    needed: int


class Part(Whole, total=False):
    maybe: str
    nullable: str | None


def test_typed_dicts_have_what_they_require_and_may_have_the_rest() -> None:
    assert parsed({"needed": 1}, Part) == {"needed": 1}
    assert faults({"maybe": "x"}, Part) == ["$.needed: required, but missing"]


def test_null_says_that_a_typed_dict_does_not_have_a_member_unless_it_may_be_null() -> None:
    assert parsed({"needed": 1, "maybe": None, "nullable": None}, Part) == {
        "needed": 1,
        "nullable": None,
    }


def test_members_that_no_field_is_named_after_are_passed_over() -> None:
    assert parsed({"name": "a", "price": 1, "why": {}}, Item) == Item("a", 1.0)


class Point(NamedTuple):
    x: int
    y: int = 0


class Tree(msgspec.Struct):
    value: int
    children: list[Tree] = []


def test_named_tuples_are_arrays_and_an_object_for_one_is_told_so() -> None:
    assert parsed([1], Point) == Point(1)
    assert faults({"x": 1}, Point) == ["$: an array (x, y) is wanted, not an object"]


def test_structs_are_read_member_by_member() -> None:
    assert parsed({"value": 1, "children": [{"value": 2}]}, Tree) == Tree(1, [Tree(2)])
    raw = {"value": 1, "children": [{"value": "x"}]}
    assert faults(raw, Tree) == ["$.children[0].value: a whole number is wanted, not text 'x'"]


Described = Annotated[Item, msgspec.Meta(description="a thing")]


def test_a_description_makes_no_difference_to_what_is_read() -> None:
    raw = {"name": "a", "price": 1}
    assert parsed([raw, None], list[Described | None]) == [Item("a", 1.0), None]


Names = NewType("Names", Sequence[str])


def test_abstract_collections_and_new_types_are_read() -> None:
    assert parsed(["a"], Names) == ["a"]
    assert parsed({"1": {"a": 2}}, Mapping[int, dict[str, float]]) == {1: {"a": 2.0}}
    assert parsed({"s": 1}, dict[Size, int]) == {Size.SMALL: 1}
    assert parsed([1, [2]], list) == [1, [2]]
    assert parsed({"a": 1}, dict) == {"a": 1}
    assert parsed([1, 1], set[int]) == {1}


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


def test_a_tag_tells_one_class_from_another_and_faults_are_of_the_one_meant() -> None:
    assert parsed({"kind": "square", "side": 1}, Shape) == Square("square", 1.0)
    assert faults({"kind": "square", "radius": 1}, Shape) == [
        "$.side: required, but missing (no field is called 'radius')"
    ]
    either = 'one of "circle", "square"'
    assert faults({"kind": "blob", "side": 1}, Shape) == [
        f"$.kind: {either} is wanted, not text 'blob'"
    ]
    assert faults({"side": 1}, Shape) == [f"$.kind: required, but missing: {either}"]


def test_classes_without_tags_are_told_apart_by_their_members() -> None:
    either = Box | Crate | Item
    assert parsed({"side": 1}, either) == Box(1.0)
    assert parsed({"side": 1, "depth": 2}, either) == Crate(1.0, 2.0)
    assert parsed({"name": "x", "price": 1}, either) == Item("x", 1.0)
    assert parsed([{"side": 1, "lid": True}, None], list[either | None]) == [Box(1.0, True), None]


def test_scalars_of_a_union_keep_their_json_type() -> None:
    assert repr(parsed("3", float | int)) == "3"
    assert repr(parsed("3.0", int | float)) == "3.0"
    assert repr(parsed("3", Decimal | int)) == "3"
    assert repr(parsed("3.5", Decimal | int)) == "Decimal('3.5')"
    assert parsed('"3"', int | str) == "3"
    assert parsed('"2024-01-01"', datetime.date | str) == datetime.date(2024, 1, 1)
    assert parsed('"soon"', datetime.date | str) == "soon"
    assert parsed('["a"]', list[int] | list[str]) == ["a"]


@attrs.frozen
class Plus:
    left: Expression
    right: Expression


@attrs.frozen
class Times:
    left: Expression
    right: Expression


Expression = Plus | Times | int


def test_an_ambiguous_recursive_union_is_read_in_time() -> None:
    deep: Any = "wrong"
    for _ in range(60):
        deep = {"left": deep, "right": deep if deep == "wrong" else 1}
    began = time.process_time()
    assert not parse_structured(json.dumps(deep), Plus | Times).success
    assert time.process_time() - began < 5


# Wrapping.


@attrs.frozen
class Valued:
    value: list[int]


def test_what_was_asked_for_as_the_member_value_is_taken_out_of_it_or_stands_bare() -> None:
    assert parsed('{"value": [1]}', list[int]) == [1]
    assert parsed("[1]", list[int]) == [1]
    assert parsed('{"value": {"side": 1}}', Box | None) == Box(1.0)
    assert parsed('{"side": 1}', Box | None) == Box(1.0)
    assert parsed('{"value": [1]}', Valued) == Valued([1])
    assert parsed('{"value": [1]}', Valued | None) == Valued([1])
    assert parsed('{"value": {"value": [1]}}', Valued | None) == Valued([1])
    assert parsed('{"value": 1}', dict[str, int]) == {"value": 1}
    assert faults('{"value": ["x"]}', list[int]) == [
        "$.value[0]: a whole number is wanted, not text 'x'"
    ]


# Where the JSON is.

ANSWER = '{"name": "a", "price": 1}'


@pytest.mark.parametrize(
    "text",
    [
        f"\ufeff{ANSWER}",
        f"Sure!\n```json\n{ANSWER}\n```\nHope that helps {{smile}}.",
        f"```\n{ANSWER}\n```",
        f"~~~\n{ANSWER}\n~~~",
        f"````md\n```json\n{ANSWER}\n```\n````",
        f"```json\n{ANSWER}",
        f"```{ANSWER}```",
        f"As [1] says in {{2}}: {ANSWER}. See [1, 2].",
        f'First {{"name": "draft", "price": 0}}, then {ANSWER}',
        f'```json\n{{"name": "draft", "price": 0}}\n```\nBetter:\n```json\n{ANSWER}\n```\n',
        f'```json\n{ANSWER}\n```\nI left out {{"name": "b", "price": 2}}.',
        f"```json\n{{'name': 'a'}}\n```\nwas no JSON, this is:\n{ANSWER}",
        f'In JS: {{"name": "a", price: 1}}. In JSON: {ANSWER}',
        f'print("{{" + x) {ANSWER}',
        f'Use "{{" and then: {ANSWER}',
        f'{ANSWER} {{}} {{"other": []}}',
        f"\\frac{{1}}{{2}} {ANSWER}",
        f"[Answer: {ANSWER}]",
    ],
)
def test_json_is_found_in_prose_and_fences(text: str) -> None:
    assert parsed(text, Item) == Item("a", 1.0)


def test_fences_and_braces_inside_a_text_do_not_end_it() -> None:
    code = "```json\n{}\n```\n}]"
    answer = json.dumps({"name": code, "price": 1}, indent=1)
    assert parsed(f"Here:\n```json\n{answer}\n```\nBye", Item).name == code
    assert parsed(f"Here: {answer} Bye", Item).name == code


@attrs.frozen
class Chain:
    value: int = 0
    next: Chain | None = None


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "it is empty"),
        ("Sorry, I cannot.", "there is no JSON in it"),
        ('{"value": 1, "next": {"value": 2}', "the JSON that begins at character 0 is cut off"),
        ('So: {"value": 1, "next": {"value": 2}, "', "that begins at character 4 is cut off"),
        (
            '{"value": 1, "said": "a "quote" here", "next": {"value": 2}}',
            "the JSON that begins at character 0 is malformed at character 25: 'quote",
        ),
        ('{"value": 1,}', "character 0 is malformed at character 12: '}'"),
        ("{'value': 1}", "it begins like JSON, but JSON is malformed"),
        ('{"value": NaN}', "is malformed at character 10: 'NaN}'"),
        ('{"value": "\ud800"}', "surrogates not allowed"),
    ],
)  # fmt: skip
def test_nothing_is_made_of_broken_json_nor_of_what_stands_inside_it(text: str, said: str) -> None:
    output = parse_structured(text, Chain)
    assert not output.success
    assert said in str(output.error)


def test_faults_are_of_the_json_that_comes_nearest() -> None:
    text = 'See [1]. {"name": "a", "price": "1"} and {"other": 2} [2]'
    assert faults(text, Item) == ["$.price: a number is wanted, not text '1'"]


class Link(msgspec.Struct):
    next: Link | None = None


def test_deep_nesting_is_an_error_and_no_crash() -> None:
    deep = '{"next":' * 50_000 + "null" + "}" * 50_000
    assert not parse_structured(deep, Chain).success
    assert not parse_structured(f"so: {deep}", Chain).success
    assert not parse_structured(f"so: {deep[:-1]}", Chain).success


def test_nesting_as_deep_as_can_just_be_decoded_is_no_crash_either() -> None:
    def nested(depth: int) -> str:
        return '{"next":' * depth + "null" + "}" * depth

    def decodes(depth: int) -> bool:
        try:
            msgspec.json.decode(nested(depth))
        except RecursionError:
            return False
        return True

    deepest = bisect.bisect_left(range(20_000), True, key=lambda depth: not decodes(depth))
    for depth in range(deepest - 12, deepest + 1):
        for type in (Chain, Link):
            output = parse_structured(nested(depth), type)
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
def test_hostile_text_is_searched_in_time(unit: str) -> None:
    text = "x " + unit * (200_000 // len(unit))
    began = time.process_time()
    find_json(text)
    assert time.process_time() - began < 10  # it takes about one; in the square it would be hours


# What a caller or a model may get wrong besides.


@pytest.mark.parametrize("content", [None, b'{"name": "x", "price": 1}', 3, Item("x", 1)])
def test_what_is_no_text_is_a_type_error_that_says_what_to_pass(content: Any) -> None:
    with pytest.raises(TypeError, match=f"answer.content, not {type(content).__name__}"):
        parse_structured(content, Item)


def _boom(error: Exception) -> Any:
    def convert(value: Any) -> Any:
        raise error

    return attrs.make_class("Boom", {"x": attrs.field(type=int, converter=convert)})


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (ValueError("too dear"), "$: too dear"),
        (KeyError("mauve"), "$: KeyError mauve"),
        (ZeroDivisionError("division by zero"), "$: ZeroDivisionError division by zero"),
        (OverflowError(), "$: OverflowError"),
        (OSError(75, "too large"), "$: OSError [Errno 75] too large"),
    ],
)
def test_whatever_a_constructor_makes_of_a_value_is_said_not_raised(
    error: Exception, words: str
) -> None:
    output = parse_structured('{"x": 1}', _boom(error))
    assert str(output.error).endswith(words)


def test_a_decimal_that_is_none_is_a_fault() -> None:
    priced: Any = attrs.make_class("Priced", {"x": attrs.field(type=str, converter=Decimal)})
    assert parse_structured('{"x": "1.5"}', priced).unwrap().x == Decimal("1.5")
    assert "InvalidOperation" in str(parse_structured('{"x": "dear"}', priced).error)


def test_a_fault_of_the_constructor_s_own_is_raised() -> None:
    with pytest.raises(AttributeError, match="typo"):
        parse_structured('{"x": 1}', _boom(AttributeError("typo")))


def test_a_huge_stranger_is_named_in_part_and_quickly() -> None:
    wide: Any = attrs.make_class("Wide", {f"m{i}": attrs.field(type=int) for i in range(300)})
    begun = time.perf_counter()
    output = parse_structured(json.dumps({f"f{i:06}": i for i in range(50_000)}), wide)
    assert time.perf_counter() - begun < 4
    said = str(output.error)
    assert "'f000000', 'f000001', 'f000002', 'f000003', 'f000004' and 49995 more)" in said
    assert len(said) < 5000


@pytest.mark.parametrize(
    ("said", "why"),
    [
        ('{"name": "a\nb", "price": 1}', "malformed at character 11: '\\nb\""),
        ('{"name": "a\x00", "price": 1}', "malformed at character 11: '\\x00\""),
        ('{"name": "a\\q", "price": 1}', "malformed at character 11: '\\\\q\""),
        ('{"name": "a', "cut off"),
        ('{"name": "a\\', "cut off"),
        ('{"name": "a\\u00', "cut off"),
    ],
)
def test_a_text_with_what_it_may_not_hold_is_not_said_to_be_cut_off(said: str, why: str) -> None:
    error = str(parse_structured(said, Item).error)
    assert why in error
    assert ("cut off" in error) == (why == "cut off")


class Floor(enum.IntEnum):
    GROUND = 0
    FIRST = 1


Year = Annotated[int, msgspec.Meta(description="of the common era")]


@pytest.mark.parametrize(
    ("key", "said", "value"),
    [
        (Floor, "1", Floor.FIRST),
        (Literal[1, "a"], "1", 1),
        (Literal[1, "a"], "a", "a"),
        (Year, "2020", 2020),
        (int | None, "3", 3),
        (Size, "s", Size.SMALL),
    ],
)
def test_a_key_means_what_its_text_stands_for(key: Any, said: str, value: Any) -> None:
    (found,) = parse_structured(json.dumps({said: 1}), dict[key, int]).unwrap()
    assert (found, type(found)) == (value, type(value))


@pytest.mark.parametrize("key", [tuple[int, int], list[int], Item])
def test_keys_that_no_text_stands_for_are_a_configuration_error(key: Any) -> None:
    with pytest.raises(ConfigurationError, match="they are always text"):
        parse_structured("{}", dict[key, int])
