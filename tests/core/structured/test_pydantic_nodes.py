"""Pydantic models, alone and inside other types; the strict schemas are the OpenAI SDK's."""

from __future__ import annotations

import datetime
import decimal
import enum
import json
from typing import Annotated, Any, Literal

import attrs
import pytest

from locus.core.errors import ConfigurationError
from locus.core.structured import build_response_format, parse_partial, parse_structured

pydantic = pytest.importorskip("pydantic")
pytestmark = pytest.mark.sdk

from pydantic import BaseModel, ConfigDict, Field, RootModel, field_validator  # noqa: E402
from pydantic.dataclasses import dataclass  # noqa: E402


class Colour(enum.Enum):
    RED = "red"


class Inner(BaseModel):
    """An inner model."""

    x: int = Field(ge=0, description="how much")
    colour: Colour | None = None


class Outer(BaseModel):
    name: str = Field(alias="fullName")
    inner: Inner = Field(description="the inner one")
    more: list[Inner] = []
    day: datetime.date | None = None
    shape: Literal["a", "b"] = "a"


class Chain(BaseModel):
    value: int
    next: Chain | None = None


class Cat(BaseModel):
    kind: Literal["cat"]
    lives: int


class Dog(BaseModel):
    kind: Literal["dog"]
    tricks: list[str]


class Owner(BaseModel):
    pet: Annotated[Cat | Dog, Field(discriminator="kind")]


class Strict(BaseModel):
    model_config = ConfigDict(strict=True, extra="forbid")
    number: int


@dataclass
class Dataclass:
    number: int


@attrs.frozen
class Mixed:
    outer: Outer
    pets: list[Cat | Dog]
    either: Inner | int | None = None


def copy_without_annotations(schema: Any) -> Any:
    """A schema without the keywords that do not change which values are valid."""
    if isinstance(schema, list):
        return [copy_without_annotations(item) for item in schema]
    if not isinstance(schema, dict):
        return schema
    return {
        key: copy_without_annotations(value)
        for key, value in schema.items()
        if key not in ("title", "description", "default")
    }


def build_schema(model: Any) -> Any:
    return build_response_format(model)["json_schema"]["schema"]


@pytest.mark.parametrize("model", [Inner, Outer, Chain, Cat, Dog, Strict])
def test_the_strict_schema_is_the_openai_sdks(model: Any) -> None:
    openai_pydantic = pytest.importorskip("openai.lib._pydantic")
    expected = openai_pydantic.to_strict_json_schema(model)
    expected.pop("$ref", None)
    schema = build_schema(model)
    assert copy_without_annotations(schema) == copy_without_annotations(expected)


def test_descriptions_stay_and_defaults_move_into_them() -> None:
    properties = build_schema(Outer)["properties"]
    assert properties["inner"]["description"] == "the inner one"
    assert properties["shape"]["description"] == '(default: "a")'


def test_a_discriminated_union_is_any_of_in_strict_mode() -> None:
    assert build_schema(Owner)["properties"]["pet"] == {
        "title": "Pet",
        "anyOf": [{"$ref": "#/$defs/Cat"}, {"$ref": "#/$defs/Dog"}],
    }


class Priced(BaseModel):
    price: decimal.Decimal


def test_a_pattern_that_openai_does_not_support_is_moved_into_the_description() -> None:
    assert "pattern" not in json.dumps(copy_without_annotations(build_schema(Priced)))


class Open(BaseModel):
    model_config = ConfigDict(extra="allow")
    x: int


class Table(BaseModel):
    rows: dict[str, int]


def test_what_strict_mode_cannot_express_is_an_error_with_its_path() -> None:
    assert build_schema(Open)["additionalProperties"] is False
    with pytest.raises(ConfigurationError, match=r"^Table\.rows has keys that are not known"):
        build_response_format(Table)
    with pytest.raises(ConfigurationError, match=r"^Table\.rows has keys"):
        build_response_format(list[Table])


@attrs.frozen
class Foreign:
    x: int


def test_an_attrs_class_inside_a_pydantic_model_is_a_configuration_error() -> None:
    model = pydantic.create_model(
        "Bad", __config__=ConfigDict(arbitrary_types_allowed=True), field=(Foreign, ...)
    )
    with pytest.raises(ConfigurationError, match="Bad: pydantic has no schema for it"):
        build_response_format(model)


def test_models_are_validated_by_their_own_rules() -> None:
    raw = {"fullName": "n", "inner": {"x": "3", "colour": "red"}, "day": "2024-01-02"}
    value = parse_structured(json.dumps(raw), Outer).unwrap()
    assert value.inner == Inner(x=3, colour=Colour.RED)
    assert value.day == datetime.date(2024, 1, 2)
    assert not parse_structured('{"number": "3"}', Strict).success
    assert not parse_structured('{"number": 3, "extra": 1}', Strict).success
    assert parse_structured('{"number": 3}', Dataclass).unwrap() == Dataclass(3)


def test_issues_have_their_path() -> None:
    raw = {"outer": {"inner": {"x": -1}}, "pets": [{"kind": "dog"}], "either": "x"}
    message = str(parse_structured(json.dumps(raw), Mixed).error)
    assert "$.outer.fullName: Field required" in message
    assert "$.outer.inner.x: Input should be greater than or equal to 0, got -1" in message
    assert "$.pets[0].Dog.tricks: Field required" in message
    assert (
        "$.either: expected an object (Inner) or an integer or null, got the string 'x'" in message
    )
    deeper = {"fullName": "n", "inner": {"x": 1}, "more": [{"x": 1}, {"x": []}]}
    message = str(parse_structured(json.dumps(deeper), Outer).error)
    assert "$.more[1].x: Input should be a valid integer, got an array" in message


def test_models_mix_with_other_types() -> None:
    raw = {
        "outer": {"fullName": "n", "inner": {"x": 1}},
        "pets": [{"kind": "dog", "tricks": []}, {"kind": "cat", "lives": 9}],
        "either": {"x": 2},
    }
    value = parse_structured(json.dumps(raw), Mixed).unwrap()
    assert value.pets == [Dog(kind="dog", tricks=[]), Cat(kind="cat", lives=9)]
    assert value.either == Inner(x=2)
    assert build_schema(Mixed)["$defs"].keys() == {"Outer", "Inner", "Colour", "Cat", "Dog"}


class Side(BaseModel):
    side: float


class SideAndDepth(BaseModel):
    side: float
    depth: float = 1.0


def test_pydantic_selects_among_its_own_models() -> None:
    assert parse_structured(
        '{"side": 1, "depth": 2}', Side | SideAndDepth
    ).unwrap() == SideAndDepth(side=1, depth=2)
    assert parse_structured('{"side": 1}', Side | SideAndDepth | None).unwrap() == Side(side=1)


class Numbers(RootModel[list[int]]):
    pass


def test_a_root_model_that_is_no_object_is_wrapped() -> None:
    assert list(build_schema(Numbers)["properties"]) == ["value"]
    assert parse_structured('{"value": [1]}', Numbers).unwrap() == Numbers([1])
    assert parse_structured("[1]", Numbers).unwrap() == Numbers([1])


def test_a_model_is_parsed_while_it_streams() -> None:
    chunks = ['{"fullName": "a', 'b", "inner": {"x": 1, "colour": "re', 'd"}, "shape": "a"}']
    assert list(parse_partial(chunks, Outer)) == [
        {"fullName": "a"},
        {"fullName": "ab", "inner": {"x": 1}},
        Outer(fullName="ab", inner=Inner(x=1, colour=Colour.RED)),
    ]


def test_an_exception_of_a_validator_about_the_value_is_an_issue() -> None:
    class Share(BaseModel):
        people: int

        @field_validator("people")
        def check(cls, value: int) -> int:
            return 1 // value

    assert parse_structured('{"people": 1}', Share).unwrap().people == 1
    assert "$: ZeroDivisionError" in str(parse_structured('{"people": 0}', Share).error)
