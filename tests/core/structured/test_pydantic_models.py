"""Pydantic models, alone and among other types; the OpenAI SDK's strict schema is the oracle."""

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
    """What is inside."""

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
class Made:
    number: int


@attrs.frozen
class Mixed:
    outer: Outer
    pets: list[Cat | Dog]
    either: Inner | int | None = None


def plain(schema: Any) -> Any:
    """A schema without what does not change what it accepts."""
    if isinstance(schema, list):
        return [plain(part) for part in schema]
    if not isinstance(schema, dict):
        return schema
    return {
        key: plain(part)
        for key, part in schema.items()
        if key not in ("title", "description", "default")
    }


@pytest.mark.parametrize("model", [Inner, Outer, Chain, Cat, Dog, Strict])
def test_the_strict_schema_is_the_openai_sdks(model: Any) -> None:
    oracle = pytest.importorskip("openai.lib._pydantic")
    expected = oracle.to_strict_json_schema(model)
    expected.pop("$ref", None)
    found = build_response_format(model)["json_schema"]["schema"]
    assert plain(found) == plain(expected)


def test_descriptions_and_defaults_are_kept_in_words() -> None:
    found = build_response_format(Outer)["json_schema"]["schema"]["properties"]
    assert found["inner"]["description"] == "the inner one"
    assert found["shape"]["description"] == '(default: "a")'


def test_a_discriminated_union_is_plain_any_of_in_strict_mode() -> None:
    found = build_response_format(Owner)["json_schema"]["schema"]
    assert found["properties"]["pet"] == {
        "title": "Pet",
        "anyOf": [{"$ref": "#/$defs/Cat"}, {"$ref": "#/$defs/Dog"}],
    }


class Priced(BaseModel):
    price: decimal.Decimal


def test_a_pattern_that_openai_does_not_know_is_said_in_words() -> None:
    found = build_response_format(Priced)["json_schema"]["schema"]
    assert "pattern" not in json.dumps(plain(found))


class Open(BaseModel):
    model_config = ConfigDict(extra="allow")
    x: int


class Table(BaseModel):
    rows: dict[str, int]


def test_what_strict_mode_cannot_say_is_refused_with_its_place() -> None:
    assert build_response_format(Open)["json_schema"]["schema"]["additionalProperties"] is False
    with pytest.raises(ConfigurationError, match=r"^Table\.rows has keys that are not known"):
        build_response_format(Table)
    with pytest.raises(ConfigurationError, match=r"^Table\.rows has keys"):
        build_response_format(list[Table])


@attrs.frozen
class Foreign:
    x: int


def test_an_attrs_class_inside_a_pydantic_model_is_refused_clearly() -> None:
    model = pydantic.create_model(
        "Bad", __config__=ConfigDict(arbitrary_types_allowed=True), field=(Foreign, ...)
    )
    with pytest.raises(ConfigurationError, match="Bad: pydantic cannot describe it"):
        build_response_format(model)


def test_models_are_read_by_their_own_rules() -> None:
    raw = {"fullName": "n", "inner": {"x": "3", "colour": "red"}, "day": "2024-01-02"}
    found = parse_structured(json.dumps(raw), Outer).unwrap()
    assert found.inner == Inner(x=3, colour=Colour.RED)
    assert found.day == datetime.date(2024, 1, 2)
    assert not parse_structured('{"number": "3"}', Strict).success
    assert not parse_structured('{"number": 3, "extra": 1}', Strict).success
    assert parse_structured('{"number": 3}', Made).unwrap() == Made(3)


def test_faults_are_told_with_their_place() -> None:
    raw = {"outer": {"inner": {"x": -1}}, "pets": [{"kind": "dog"}], "either": "x"}
    said = str(parse_structured(json.dumps(raw), Mixed).error)
    assert "$.outer.fullName: Field required" in said
    assert "$.outer.inner.x: Input should be greater than or equal to 0, not -1" in said
    assert "$.pets[0].Dog.tricks: Field required" in said
    assert "$.either: an object (Inner) or a whole number or null is wanted, not text 'x'" in said
    deeper = {"fullName": "n", "inner": {"x": 1}, "more": [{"x": 1}, {"x": []}]}
    said = str(parse_structured(json.dumps(deeper), Outer).error)
    assert "$.more[1].x: Input should be a valid integer, not an array" in said


def test_models_mix_with_other_types() -> None:
    raw = {
        "outer": {"fullName": "n", "inner": {"x": 1}},
        "pets": [{"kind": "dog", "tricks": []}, {"kind": "cat", "lives": 9}],
        "either": {"x": 2},
    }
    found = parse_structured(json.dumps(raw), Mixed).unwrap()
    assert found.pets == [Dog(kind="dog", tricks=[]), Cat(kind="cat", lives=9)]
    assert found.either == Inner(x=2)
    schema = build_response_format(Mixed)["json_schema"]["schema"]
    assert schema["$defs"].keys() == {"Outer", "Inner", "Colour", "Cat", "Dog"}


class Few(BaseModel):
    side: float


class Many(BaseModel):
    side: float
    depth: float = 1.0


def test_pydantic_chooses_among_its_own_models() -> None:
    assert parse_structured('{"side": 1, "depth": 2}', Few | Many).unwrap() == Many(side=1, depth=2)
    assert parse_structured('{"side": 1}', Few | Many | None).unwrap() == Few(side=1)


class Numbers(RootModel[list[int]]):
    pass


def test_a_root_model_is_wrapped_as_what_it_holds() -> None:
    found = build_response_format(Numbers)["json_schema"]["schema"]
    assert list(found["properties"]) == ["value"]
    assert parse_structured('{"value": [1]}', Numbers).unwrap() == Numbers([1])
    assert parse_structured("[1]", Numbers).unwrap() == Numbers([1])


def test_a_model_fills_while_it_streams() -> None:
    chunks = ['{"fullName": "a', 'b", "inner": {"x": 1, "colour": "re', 'd"}, "shape": "a"}']
    assert list(parse_partial(chunks, Outer)) == [
        {"fullName": "a"},
        {"fullName": "ab", "inner": {"x": 1}},
        Outer(fullName="ab", inner=Inner(x=1, colour=Colour.RED)),
    ]


def test_whatever_a_validator_makes_of_a_value_is_said_not_raised() -> None:
    class Share(BaseModel):
        of: int

        @field_validator("of")
        def check(cls, value: int) -> int:
            return 1 // value

    assert parse_structured('{"of": 1}', Share).unwrap().of == 1
    assert "$: ZeroDivisionError" in str(parse_structured('{"of": 0}', Share).error)
