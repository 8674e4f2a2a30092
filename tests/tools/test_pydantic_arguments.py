"""Pydantic models in a tool's arguments: what pydantic itself would pass over or let through."""

# No postponed annotations: pydantic looks for the models of the tests where these are defined.
from typing import Annotated, Any

import pytest

from locus.core.structured import parse_structured
from tests.tools.test_arguments import bound, problem

pydantic = pytest.importorskip("pydantic")


class Inner(pydantic.BaseModel):
    x: int
    y: int = 0


class Outer(pydantic.BaseModel):
    a: int = pydantic.Field(1, alias="aa")
    b: int = pydantic.Field(
        0, validation_alias=pydantic.AliasChoices("b1", pydantic.AliasPath("b2", 0))
    )
    items: list[Inner] = pydantic.Field(default_factory=list)
    named: dict[str, Inner] = pydantic.Field(default_factory=dict)
    either: Inner | int | None = None


class ByName(pydantic.BaseModel):
    model_config = pydantic.ConfigDict(populate_by_name=True)
    a: int = pydantic.Field(1, alias="aa")


class Open(pydantic.BaseModel):
    model_config = pydantic.ConfigDict(extra="allow")
    inner: Inner | None = None


class Before(pydantic.BaseModel):
    a: int = 1

    @pydantic.model_validator(mode="before")
    @classmethod
    def old(cls, raw: Any) -> Any:
        return {"a": raw["z"]} if "z" in raw else raw


def _older(raw: Any) -> Any:
    return {"x": raw["old"]}


class BeforeField(pydantic.BaseModel):
    inner: Annotated[Inner, pydantic.BeforeValidator(_older)]


class Root(pydantic.RootModel[list[Inner]]):
    pass


@pydantic.dataclasses.dataclass
class Data:
    x: int = 1


@pytest.mark.parametrize(
    ("hint", "raw", "place"),
    [
        (Inner, {"x": 1, "q": 2}, "x.q"),
        (Outer, {"a": 1}, "x.a"),
        (Outer, {"b": 1}, "x.b"),
        (Outer, {"items": [{"x": 1, "Y": 2}]}, "x.items[0].Y"),
        (Outer, {"named": {"k": {"x": 1, "Y": 2}}}, "x.named.k.Y"),
        (Outer, {"either": {"x": 1, "Y": 2}}, "x.either.Y"),
        (Open, {"inner": {"x": 1, "Y": 2}}, "x.inner.Y"),
        (Root, [{"x": 1, "Y": 2}], "x[0].Y"),
        (Data, {"x": 1, "Y": 2}, "x.Y"),
        (list[Inner] | None, [{"x": 1, "Y": 2}], "x[0].Y"),
    ],
)
def test_a_member_that_no_model_has_is_refused(hint: Any, raw: Any, place: str) -> None:
    assert problem(hint, raw).startswith(f"{place}: no such member")


@pytest.mark.parametrize(
    ("hint", "raw"),
    [
        (Outer, {"aa": 1, "b1": 2}),
        (Outer, {"b2": [3]}),
        (ByName, {"a": 1}),
        (ByName, {"aa": 1}),
        (Open, {"other": 1}),
        (Before, {"z": 3}),
        (BeforeField, {"inner": {"old": 1}}),
    ],
)
def test_a_member_by_any_name_that_a_model_knows_is_taken(hint: Any, raw: Any) -> None:
    assert isinstance(bound(hint, raw), hint)


def test_an_answer_may_have_more_members_than_a_model() -> None:
    assert parse_structured('{"x": 1, "q": 2}', Inner).unwrap() == Inner(x=1)


def test_whatever_a_validator_raises_is_told_to_the_model() -> None:
    class Fails(pydantic.BaseModel):
        x: int

        @pydantic.field_validator("x")
        @classmethod
        def check(cls, value: int) -> int:
            raise RuntimeError("no such thing")

    assert problem(Fails, {"x": 1}) == "x: RuntimeError no such thing"
    with pytest.raises(RuntimeError):
        parse_structured('{"x": 1}', Fails)


def test_numbers_beyond_64_bits_and_half_surrogate_pairs_do_not_end_the_run() -> None:
    assert bound(Inner, {"x": 10**30}).x == 10**30
    assert "4300 digits" in problem(Inner, {"x": 10**5000})
    assert "surrogates not allowed" in problem(Inner, {"x": "\ud800"})
