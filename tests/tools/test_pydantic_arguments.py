"""Pydantic models in a tool's arguments: extra members, exceptions of validators."""

# No postponed annotations, because pydantic could not resolve the names of local models.
from typing import Annotated, Any

import pytest

from locus.core.structured import parse_structured
from locus.tools import ToolArgumentsError, tool
from tests.tools.test_argument_validation import get_only_issue, validate_argument

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


class BeforeModel(pydantic.BaseModel):
    a: int = 1

    @pydantic.model_validator(mode="before")
    @classmethod
    def convert_old_name(cls, raw: Any) -> Any:
        return {"a": raw["z"]} if "z" in raw else raw


def _convert_old_name(raw: Any) -> Any:
    return {"x": raw["old"]}


class BeforeField(pydantic.BaseModel):
    inner: Annotated[Inner, pydantic.BeforeValidator(_convert_old_name)]


class Root(pydantic.RootModel[list[Inner]]):
    pass


@pydantic.dataclasses.dataclass
class Data:
    x: int = 1


@pytest.mark.parametrize(
    ("hint", "raw", "path"),
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
def test_a_member_that_is_no_field_is_an_issue(hint: Any, raw: Any, path: str) -> None:
    assert get_only_issue(hint, raw).startswith(f"{path}: no such member")


@pytest.mark.parametrize(
    ("hint", "raw"),
    [
        (Outer, {"aa": 1, "b1": 2}),
        (Outer, {"b2": [3]}),
        (ByName, {"a": 1}),
        (ByName, {"aa": 1}),
        (Open, {"other": 1}),
        (BeforeModel, {"z": 3}),
        (BeforeField, {"inner": {"old": 1}}),
    ],
)
def test_a_member_may_have_any_alias_that_the_model_accepts(hint: Any, raw: Any) -> None:
    assert isinstance(validate_argument(hint, raw), hint)


def test_a_response_may_have_extra_members() -> None:
    assert parse_structured('{"x": 1, "q": 2}', Inner).unwrap() == Inner(x=1)


def test_an_exception_of_a_validator_is_an_issue_for_the_model() -> None:
    class Fails(pydantic.BaseModel):
        x: int

        @pydantic.field_validator("x")
        @classmethod
        def validate_x(cls, value: int) -> int:
            raise RuntimeError("no such thing")

    assert get_only_issue(Fails, {"x": 1}) == "x: RuntimeError no such thing"
    with pytest.raises(RuntimeError):
        parse_structured('{"x": 1}', Fails)


def test_numbers_beyond_64_bits_and_unpaired_surrogates_do_not_raise() -> None:
    assert validate_argument(Inner, {"x": 10**30}).x == 10**30
    assert "4300 digits" in get_only_issue(Inner, {"x": 10**5000})
    assert "surrogates not allowed" in get_only_issue(Inner, {"x": "\ud800"})


def test_pydantics_own_types_are_left_to_pydantic() -> None:
    def function(
        url: pydantic.HttpUrl,
        rows: pydantic.Json[list[int]],
        secret: pydantic.SecretStr | None = None,
        size: Any = None,
    ) -> None: ...

    function.__annotations__["size"] = pydantic.ByteSize
    made = tool(function)
    properties = made.parameters["properties"]
    assert (properties["url"]["type"], properties["url"]["format"]) == ("string", "uri")
    assert properties["rows"]["type"] == "string"
    assert "$ref" not in str(made.parameters)
    arguments = {"url": "https://example.com/a", "rows": "[1, 2]", "secret": "x", "size": 3}
    bound = made.bind(arguments)
    assert isinstance(bound["url"], pydantic.HttpUrl)
    assert bound["rows"] == [1, 2]
    assert bound["secret"].get_secret_value() == "x"
    for name, value in {"url": "no address", "rows": '["x"]', "secret": 1}.items():
        with pytest.raises(ToolArgumentsError, match=name):
            made.bind(arguments | {name: value})
