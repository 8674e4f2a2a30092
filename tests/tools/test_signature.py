"""Any signature: what a tool asks for, what it reads, and what it refuses, each by a property."""

from __future__ import annotations

import inspect
import json
from keyword import iskeyword
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from locus.core.messages import ToolCall
from locus.tools import FunctionTool, ToolArgumentsError
from tests.support.strategies import json_values, names
from tests.support.structured_types import LEAVES, Typed, typed

jsonschema = pytest.importorskip("jsonschema")

# Of these, JSON Schema alone says all that there is to say.
_PLAIN = [leaf for leaf in LEAVES if "format" not in repr(leaf) and leaf.shape != "string"]
_PLAIN += [leaf for leaf in LEAVES if leaf.hint is str or not isinstance(leaf.hint, type)]


def made(parameters: dict[str, Typed], loose: frozenset[str]) -> FunctionTool[..., Any]:
    """A tool that takes these; those in ``loose`` have a default."""

    def function(**given: Any) -> dict[str, Any]:
        return given

    function.__signature__ = inspect.Signature(  # type: ignore[attr-defined]
        [
            inspect.Parameter(
                name,
                inspect.Parameter.KEYWORD_ONLY,
                annotation=of.hint,
                default=Ellipsis if name in loose else inspect.Parameter.empty,
            )
            for name, of in parameters.items()
        ]
    )
    return FunctionTool(function, "made")


@st.composite
def calls(draw: st.DrawFn, leaves: Any = LEAVES) -> tuple[FunctionTool[..., Any], dict[str, Any]]:
    """A tool, and values of the types that it takes."""
    identifiers = names(max_size=8).map(lambda name: name.replace("-", "_"))
    identifiers = identifiers.filter(lambda name: not iskeyword(name))
    parameters = draw(st.dictionaries(identifiers, typed(3, leaves), max_size=4))
    loose = frozenset(draw(st.sets(st.sampled_from(sorted(parameters) or ["none"]))))
    given = {
        name: draw(of.values)
        for name, of in parameters.items()
        if name not in loose or draw(st.booleans())
    }
    return made(parameters, loose), given


def as_json(value: Any) -> Any:
    return msgspec.json.decode(msgspec.json.encode(value))


def valid(of: FunctionTool[..., Any], raw: Any) -> bool:
    schema = json.loads(json.dumps(of.parameters))
    return bool(jsonschema.Draft202012Validator(schema).is_valid(raw))


def refused(of: FunctionTool[..., Any], raw: Any) -> ToolArgumentsError | None:
    try:
        of.bind(raw)
    except ToolArgumentsError as error:
        return error
    return None


@given(calls())
def test_what_has_the_types_binds_back_equal_and_is_what_the_schema_asks_for(case: Any) -> None:
    of, given = case
    raw = as_json(given)
    bound = of.bind_call(ToolCall.from_json("1", "made", json.dumps(raw)))
    assert bound == given
    assert [type(bound[name]) for name in given] == [type(value) for value in given.values()]
    jsonschema.Draft202012Validator.check_schema(json.loads(json.dumps(of.parameters)))
    assert valid(of, raw)


@given(calls())
def test_what_is_bound_shares_nothing_with_the_call(case: Any) -> None:
    of, given = case
    raw = as_json(given)
    for value in of.bind(raw).values():
        if isinstance(value, list):
            value.append("more")
        elif isinstance(value, dict):
            value["more"] = "more"
    assert raw == as_json(given)


def _places(value: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    inner: list[tuple[Any, Any]] = []
    if isinstance(value, dict):
        inner = list(value.items())
    elif isinstance(value, list):
        inner = list(enumerate(value))
    return [path, *(place for key, part in inner for place in _places(part, (*path, key)))]


def _changed(value: Any, path: tuple[Any, ...], new: Any) -> Any:
    if not path:
        return new
    copy = value.copy()
    copy[path[0]] = _changed(value[path[0]], path[1:], new)
    return copy


@st.composite
def spoiled(draw: st.DrawFn) -> tuple[FunctionTool[..., Any], dict[str, Any]]:
    """A tool, and arguments of which one part may be anything, or missing, or too many."""
    of, given = draw(calls(_PLAIN))
    raw = as_json(given)
    places = _places(raw)
    place = draw(st.sampled_from(places[1:] or places))
    match draw(st.integers(0, 2)):
        case 0 if place:
            raw = _changed(raw, place, draw(json_values(3) | st.integers(-3, 3).map(float)))
        case 1 if place and isinstance(place[-1], str):
            outer: Any = raw
            for step in place[:-1]:
                outer = outer[step]
            del outer[place[-1]]
        case _:
            raw = {**raw, draw(names(5)): draw(json_values(1))}
    return of, raw


def without_nulls(value: Any) -> Any:
    """What a ``TypedDict`` may leave out is null in strict mode, and so it may be elsewhere."""
    if isinstance(value, dict):
        return {key: without_nulls(part) for key, part in value.items() if part is not None}
    return [without_nulls(part) for part in value] if isinstance(value, list) else value


@given(spoiled())
def test_what_the_schema_accepts_is_bound_and_what_it_does_not_is_refused(case: Any) -> None:
    of, raw = case
    refusal = refused(of, raw)
    if valid(of, raw):
        assert refusal is None
    elif refusal is None:
        assert valid(of, without_nulls(raw))
    else:
        assert refusal.problems
        assert str(refusal).startswith("made was not run")


@given(calls(), st.data())
def test_of_a_wrong_type_the_name_is_said(case: Any, data: Any) -> None:
    of, given = case
    if not given:
        return
    name = data.draw(st.sampled_from(sorted(given)))
    raw = {**as_json(given), name: {"\u2603": [object]}}
    if of.parameters["properties"][name].get("type") == "object":
        raw[name] = 7
    with pytest.raises(ToolArgumentsError) as caught:
        of.bind(raw)
    assert all(problem.startswith(name) for problem in caught.value.problems)


@given(st.dictionaries(st.text(max_size=5), json_values(), max_size=4))
def test_any_json_is_bound_or_refused_and_nothing_else(raw: Any) -> None:
    def function(
        city: str, days: int = 1, *, ratio: float = 0.5, more: dict[str, list[int]]
    ) -> None: ...

    of = FunctionTool(function, "made")
    refusal = refused(of, raw)
    assert refusal.problems if refusal else {"city", "more"} <= raw.keys()
