"""The ``response_format`` of a type: its schema, with and without strict mode."""

from __future__ import annotations

import dataclasses
import datetime
import enum
import sys
from types import ModuleType
from typing import Annotated, Any, Generic, Literal, NewType, NotRequired, TypedDict, TypeVar

import attrs
import msgspec
import pytest

from locus.core.errors import ConfigurationError
from locus.core.structured import build_response_format, parse_structured
from locus.core.structured.strict_schema import convert_to_strict_schema

T = TypeVar("T")


class Size(enum.Enum):
    """How big it is."""

    SMALL = "s"
    LARGE = "l"


@attrs.frozen
class Item:
    """Something for sale."""

    name: str
    price: Annotated[float, msgspec.Meta(ge=0, description="in euros")]
    size: Size | None = None


@attrs.frozen
class Order:
    items: Annotated[list[Item], msgspec.Meta(min_length=1)]
    best: Item = attrs.field(metadata={"description": "the dearest one"})
    count: int = 1


@attrs.frozen
class Node:
    value: int
    next: Node | None = attrs.field(default=None, metadata={"description": "what follows"})
    twin: Node = attrs.field(default=None, metadata={"description": "the same again"})


@attrs.frozen
class Pair(Generic[T]):
    first: T
    second: list[T]


@dataclasses.dataclass
class Series(Generic[T]):
    first: T


@dataclasses.dataclass
class Measured(Series[list[T]], Generic[T]):
    unit: str = dataclasses.field(default="m", metadata={"description": "SI"})


class Loose(TypedDict):
    needed: int
    maybe: NotRequired[str]


def build_schema(type: Any, strict: bool = True) -> dict[str, Any]:
    return build_response_format(type, strict)["json_schema"]["schema"]


def test_the_format_is_openais() -> None:
    response_format = build_response_format(Item)
    assert response_format["type"] == "json_schema"
    assert response_format["json_schema"].keys() == {"name", "schema", "strict"}
    assert response_format["json_schema"]["name"] == "Item"
    assert response_format["json_schema"]["strict"] is True
    assert build_response_format(Item, strict=False)["json_schema"]["strict"] is False
    assert msgspec.json.decode(msgspec.json.encode(response_format)) == response_format


@pytest.mark.parametrize(
    ("type", "name", "expected"),
    [
        (list[Item], None, "list_Item"),
        (Item | None, None, "Item_None"),
        (Pair[int], None, "Pair_int"),
        (Item, "my order!", "my_order"),
        (Item, "x" * 80, "x" * 64),
        (Item, "?", "answer"),
    ],
)
def test_the_name_has_only_characters_that_openai_accepts(
    type: Any, name: str | None, expected: str
) -> None:
    assert build_response_format(type, name=name)["json_schema"]["name"] == expected


def test_strict_mode_requires_every_member_and_forbids_others() -> None:
    assert build_schema(Order) == {
        "type": "object",
        "properties": {
            "items": {"type": "array", "items": {"$ref": "#/$defs/Item"}, "minItems": 1},
            "best": {
                "description": "the dearest one",
                "type": "object",
                "properties": ITEM["properties"],
                "required": ["name", "price", "size"],
                "additionalProperties": False,
            },
            "count": {"type": "integer", "description": "(default: 1)"},
        },
        "required": ["items", "best", "count"],
        "additionalProperties": False,
        "$defs": {
            "Item": ITEM,
            "Size": {"description": "How big it is.", "type": "string", "enum": ["s", "l"]},
        },
    }


ITEM = {
    "description": "Something for sale.",
    "type": "object",
    "properties": {
        "name": {"type": "string"},
        "price": {"type": "number", "minimum": 0, "description": "in euros"},
        "size": {"anyOf": [{"$ref": "#/$defs/Size"}, {"type": "null"}]},
    },
    "required": ["name", "price", "size"],
    "additionalProperties": False,
}


def test_without_strict_mode_defaults_stay_optional() -> None:
    loose = build_schema(Order, strict=False)
    assert loose["required"] == ["items", "best"]
    assert loose["properties"]["count"] == {"type": "integer", "default": 1}
    assert loose["properties"]["best"] == {
        "$ref": "#/$defs/Item",
        "description": "the dearest one",
    }
    assert "additionalProperties" not in loose


@pytest.mark.parametrize("strict", [True, False])
@pytest.mark.parametrize(
    "type", [int, str, list[int], Item | None, Item | Loose, Size, Literal["a"], tuple[int, int]]
)
def test_a_type_that_is_no_object_is_wrapped_as_the_member_value(type: Any, strict: bool) -> None:
    schema = build_schema(type, strict)
    assert schema["type"] == "object"
    assert schema["required"] == ["value"]
    assert list(schema["properties"]) == ["value"]


def test_a_class_may_refer_to_itself() -> None:
    schema = build_schema(Node)
    node = {"$ref": "#/$defs/Node"}
    next_node = {"anyOf": [node, {"type": "null"}], "description": "what follows"}
    assert schema["properties"]["next"] == next_node
    twin = schema["properties"]["twin"]
    assert twin["description"] == "the same again"
    assert twin["properties"]["twin"] == {"anyOf": [node], "description": "the same again"}
    assert schema["$defs"].keys() == {"Node"}


def test_type_variables_are_replaced_also_if_they_are_inherited() -> None:
    assert build_schema(Pair[str])["properties"]["second"]["items"] == {"type": "string"}
    measured = build_schema(Measured[float])["properties"]
    assert measured["first"] == {"type": "array", "items": {"type": "number"}}
    assert measured["unit"] == {"type": "string", "description": 'SI (default: "m")'}


def test_two_types_with_one_name_get_two_definitions() -> None:
    schema = build_schema(tuple[Pair[int], Pair[str], OtherItem, Item], strict=False)
    references = [item["$ref"] for item in schema["properties"]["value"]["prefixItems"]]
    assert references == [f"#/$defs/{name}" for name in ("Pair_int", "Pair_str", "Item", "Item_2")]
    assert schema["$defs"]["Item"]["properties"].keys() == {"other"}
    assert schema["$defs"]["Item_2"]["properties"].keys() == {"name", "price", "size"}


OtherItem = attrs.make_class("Item", {"other": attrs.field(type=int)})
Inside = msgspec.defstruct("Inside", [("deep", int)])
AsItem = msgspec.defstruct("Item", [("inside", list[Inside])])


def test_definitions_of_msgspec_are_merged_under_unique_names() -> None:
    schema = build_schema(tuple[Item, AsItem, AsItem], strict=False)
    first, second, _ = (
        schema["$defs"][item["$ref"].removeprefix("#/$defs/")]
        for item in schema["properties"]["value"]["prefixItems"]
    )
    assert first["properties"].keys() == {"name", "price", "size"}
    assert second["properties"]["inside"]["items"] == {"$ref": "#/$defs/Inside"}
    assert schema["$defs"]["Inside"]["properties"] == {"deep": {"type": "integer"}}


Score = NewType("Score", Annotated[int, msgspec.Meta(ge=0, description="points")])
Bounded = TypeVar("Bounded", bound=int)
Either = TypeVar("Either", int, str)


@attrs.frozen
class Varied(Generic[T, Bounded, Either]):
    free: T
    bounded: Bounded
    either: Either
    score: Annotated[Score, msgspec.Meta(le=9)] = 3  # type: ignore[assignment]
    thing: object = attrs.field(default=complex(1))
    old: Any = attrs.field(default=None, metadata={"description": 5})


def test_new_types_and_unbound_type_variables_are_resolved() -> None:
    assert build_schema(Varied, strict=False)["properties"] == {
        "free": {},
        "bounded": {"type": "integer"},
        "either": {"anyOf": [{"type": "integer"}, {"type": "string"}]},
        "score": {
            "type": "integer",
            "minimum": 0,
            "maximum": 9,
            "description": "points",
            "default": 3,
        },
        "thing": {},
        "old": {"default": None},
    }


@pytest.mark.skipif(sys.version_info < (3, 12), reason="type statements need Python 3.12")
def test_a_type_alias_may_refer_to_itself() -> None:
    module = ModuleType("aliases")
    exec("type Tree[T] = T | list[Tree[T]]\ntype Ints = Tree[int]", module.__dict__)
    schema = build_schema(module.Ints)
    assert schema["properties"]["value"] == {"$ref": "#/$defs/Ints"}
    tree = schema["$defs"]["Tree_int"]
    assert tree["anyOf"][1] == {"type": "array", "items": {"$ref": "#/$defs/Tree_int"}}
    assert parse_structured("[1, [2, []]]", module.Ints).unwrap() == [1, [2, []]]
    assert "$[1]: expected an integer or" in str(parse_structured('[1, "x"]', module.Ints).error)


def test_an_optional_key_of_a_typed_dict_is_nullable_in_strict_mode() -> None:
    assert build_schema(Loose)["required"] == ["needed", "maybe"]
    assert build_schema(Loose)["properties"]["maybe"] == {
        "anyOf": [{"type": "string"}, {"type": "null"}]
    }
    assert build_schema(Loose, strict=False)["required"] == ["needed"]
    assert build_schema(Loose, strict=False)["properties"]["maybe"] == {"type": "string"}


def test_keywords_that_strict_mode_does_not_support_move_into_the_description() -> None:
    short_string = Annotated[
        str, msgspec.Meta(max_length=5, description="A code.", pattern="^(?!x)")
    ]
    code = build_schema(list[short_string])["properties"]["value"]["items"]
    assert code.keys() == {"type", "description"}
    assert code["description"] == 'A code. (maxLength: 5; pattern: "^(?!x)")'
    assert build_schema(list[bytes])["properties"]["value"]["items"] == {
        "type": "string",
        "description": '(contentEncoding: "base64")',
    }


def test_the_type_of_keys_is_in_the_schema_if_json_schema_can_express_it() -> None:
    assert build_schema(dict[Size, int], strict=False)["propertyNames"] == {"$ref": "#/$defs/Size"}
    assert build_schema(dict[datetime.date, int], strict=False)["propertyNames"]["format"] == "date"
    assert "propertyNames" not in build_schema(dict[int, int], strict=False)
    days = Annotated[dict[str, int], msgspec.Meta(min_length=1, max_length=7)]
    assert build_schema(days, strict=False) == {
        "type": "object",
        "additionalProperties": {"type": "integer"},
        "minProperties": 1,
        "maxProperties": 7,
    }


def test_keywords_that_strict_mode_supports_stay() -> None:
    number = Annotated[int, msgspec.Meta(ge=1, lt=9, multiple_of=2)]
    assert build_schema(list[number])["properties"]["value"]["items"] == {
        "type": "integer",
        "minimum": 1,
        "exclusiveMaximum": 9,
        "multipleOf": 2,
    }
    date_time = build_schema(list[datetime.datetime])["properties"]["value"]["items"]
    assert date_time == {"type": "string", "format": "date-time"}


@attrs.frozen
class Tagged:
    tags: dict[str, int]


@attrs.frozen
class Anything:
    inner: list[Tagged]
    value: Any = None


@pytest.mark.parametrize(
    ("type", "message_start", "solution"),
    [
        (Tagged, "Tagged.tags has keys that are not known in advance", "list of classes"),
        (list[Tagged], "Tagged.tags has keys", "list of classes"),
        (dict[str, int], "dict[str, int] has keys", "strict=False"),
        (list[Any], "list[Any].value[] may be anything", "give it a type"),
        (Pair[Any], "Pair[Any].first may be anything", "give it a type"),
        (tuple[int, str], "tuple[int, str].value has the keyword prefixItems", "class"),
    ],
)
def test_what_strict_mode_cannot_express_is_an_error_with_its_path(
    type: Any, message_start: str, solution: str
) -> None:
    with pytest.raises(ConfigurationError) as exc_info:
        build_response_format(type)
    assert str(exc_info.value).startswith(message_start)
    assert solution in str(exc_info.value)
    build_response_format(type, strict=False)


def test_a_schema_beyond_the_limits_of_strict_mode_is_an_error() -> None:
    many = enum.Enum("Many", {f"m{number}": number for number in range(1001)})
    with pytest.raises(ConfigurationError, match="more than 1000 enum values"):
        build_response_format(many)
    deep: Any = int
    for level in range(11):
        deep = attrs.make_class(f"Level{level}", {"inner": attrs.field(type=deep)})
    with pytest.raises(ConfigurationError, match="more than 10 levels"):
        build_response_format(deep)
    build_response_format(deep, strict=False)


def test_a_schema_with_too_many_members_is_an_error() -> None:
    properties = {f"m{number}": {"type": "null"} for number in range(5001)}
    with pytest.raises(ConfigurationError, match="T has more than 5000 members"):
        convert_to_strict_schema({"type": "object", "properties": properties}, "T")


def test_schemas_of_other_libraries_are_converted_to_the_subset() -> None:
    properties = {
        "one": {"oneOf": [{"const": 1}, {"enum": [None, "x"]}], "discriminator": {}},
        "all": {"allOf": [{"$ref": "#/$defs/A"}], "default": None, "deprecated": True},
        "object": {"type": "object", "properties": {}, "additionalProperties": True},
    }
    definitions = {"A": {"type": "string", "format": "uri"}}
    assert convert_to_strict_schema(
        {"type": "object", "properties": properties, "$defs": definitions}, "T"
    ) == {
        "type": "object",
        "properties": {
            "one": {
                "anyOf": [
                    {"const": 1, "type": "integer"},
                    {"enum": [None, "x"], "type": ["null", "string"]},
                ]
            },
            "all": {
                "type": "string",
                "description": '(deprecated: true) (format: "uri")',
            },
            "object": {
                "type": "object",
                "properties": {},
                "required": [],
                "additionalProperties": False,
            },
        },
        "required": ["one", "all", "object"],
        "additionalProperties": False,
        "$defs": {"A": {"type": "string", "description": '(format: "uri")'}},
    }


@pytest.mark.parametrize(
    ("member_schema", "message_start"),
    [
        ({"allOf": [{}, {}]}, "T.x has the keyword allOf"),
        ({"not": {}}, "T.x has the keyword not"),
        ({"type": "array"}, r"T.x[] may be anything"),
        ({"description": "any"}, "T.x may be anything"),
        ({"type": "object"}, "T.x has keys"),
        (True, "T.x may be anything"),
    ],
)
def test_keywords_of_other_libraries_that_strict_mode_cannot_express_are_an_error(
    member_schema: Any, message_start: str
) -> None:
    with pytest.raises(ConfigurationError) as exc_info:
        convert_to_strict_schema({"type": "object", "properties": {"x": member_schema}}, "T")
    assert str(exc_info.value).startswith(message_start)


class Unsupported:
    pass


@attrs.frozen
class Unresolved:
    field: Missing  # type: ignore[name-defined]  # noqa: F821


@attrs.frozen
class Holder:
    items: list[Unsupported]


class TupleValues(enum.Enum):
    PAIR = (1, 2)


@pytest.mark.parametrize("strict", [True, False])
@pytest.mark.parametrize(
    ("type", "message"),
    [
        (Holder, "Holder.items[]: Unsupported cannot be represented in JSON"),
        (Unresolved, "Unresolved: name 'Missing' is not defined"),
        (
            list[TupleValues],
            "list[TupleValues][]: <TupleValues.PAIR: (1, 2)> cannot be represented in JSON",
        ),
        (complex, "complex: complex cannot be represented in JSON"),
        (Annotated[str, msgspec.Meta(ge=1)], "cannot be represented in JSON"),
        ("Order", "cannot be represented in JSON"),
    ],
)
def test_a_type_that_json_has_no_form_for_is_an_error_with_its_path(
    type: Any, message: str, strict: bool
) -> None:
    with pytest.raises(ConfigurationError) as exc_info:
        build_response_format(type, strict)
    assert message in str(exc_info.value)


class Floor(enum.IntEnum):
    GROUND = 0


def test_keys_that_are_numbers_are_strings_in_the_schema() -> None:
    schema = build_response_format(dict[Floor, int], strict=False)["json_schema"]["schema"]
    assert schema["propertyNames"] == {"$ref": "#/$defs/Floor"}
    assert schema["$defs"] == {"Floor": {"type": "string", "enum": ["0"]}}
