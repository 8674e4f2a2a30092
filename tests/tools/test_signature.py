"""Random signatures: the schema of a tool, and the arguments that it accepts and rejects."""

from __future__ import annotations

import inspect
import itertools
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
from tests.support.structured_types import LEAVES, TypeCase, type_cases

jsonschema = pytest.importorskip("jsonschema")

# The types for which JSON Schema alone decides which values are valid.
_SCHEMA_ONLY = [
    leaf for leaf in LEAVES if "format" not in repr(leaf) and leaf.json_type != "string"
]
_SCHEMA_ONLY += [leaf for leaf in LEAVES if leaf.hint is str or not isinstance(leaf.hint, type)]


def make_tool(
    parameters: dict[str, TypeCase], optional_names: frozenset[str]
) -> FunctionTool[..., Any]:
    """A tool with these parameters; those in ``optional_names`` have a default."""

    def function(**arguments: Any) -> dict[str, Any]:
        return arguments

    function.__signature__ = inspect.Signature(  # type: ignore[attr-defined]
        [
            inspect.Parameter(
                name,
                inspect.Parameter.KEYWORD_ONLY,
                annotation=type_case.hint,
                default=Ellipsis if name in optional_names else inspect.Parameter.empty,
            )
            for name, type_case in parameters.items()
        ]
    )
    return FunctionTool(function, "test_tool")


@st.composite
def tools_with_arguments(
    draw: st.DrawFn, leaves: Any = LEAVES
) -> tuple[FunctionTool[..., Any], dict[str, Any]]:
    """A tool, and values of the types of its parameters."""
    identifiers = names(max_size=8).map(lambda name: name.replace("-", "_"))
    identifiers = identifiers.filter(lambda name: not iskeyword(name))
    parameters = draw(st.dictionaries(identifiers, type_cases(3, leaves), max_size=4))
    optional_names = frozenset(draw(st.sets(st.sampled_from(sorted(parameters) or ["none"]))))
    arguments = {
        name: draw(type_case.values)
        for name, type_case in parameters.items()
        if name not in optional_names or draw(st.booleans())
    }
    return make_tool(parameters, optional_names), arguments


def convert_to_json(value: Any) -> Any:
    return msgspec.json.decode(msgspec.json.encode(value))


def fits_schema(tool: FunctionTool[..., Any], raw: Any) -> bool:
    schema = json.loads(json.dumps(tool.parameters))
    return bool(jsonschema.Draft202012Validator(schema).is_valid(raw))


def find_arguments_error(tool: FunctionTool[..., Any], raw: Any) -> ToolArgumentsError | None:
    try:
        tool.bind(raw)
    except ToolArgumentsError as exc:
        return exc
    return None


@given(tools_with_arguments())
def test_arguments_of_the_right_types_are_bound_and_fit_the_schema(case: Any) -> None:
    tool, arguments = case
    raw = convert_to_json(arguments)
    bound = tool.bind_call(ToolCall.from_json("1", "test_tool", json.dumps(raw)))
    assert bound == arguments
    assert [type(bound[name]) for name in arguments] == list(map(type, arguments.values()))
    jsonschema.Draft202012Validator.check_schema(json.loads(json.dumps(tool.parameters)))
    assert fits_schema(tool, raw)


@given(tools_with_arguments())
def test_bound_arguments_are_copies(case: Any) -> None:
    tool, arguments = case
    raw = convert_to_json(arguments)
    for value in tool.bind(raw).values():
        if isinstance(value, list):
            value.append("more")
        elif isinstance(value, dict):
            value["more"] = "more"
    assert raw == convert_to_json(arguments)


def _list_paths(value: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    members: list[tuple[Any, Any]] = []
    if isinstance(value, dict):
        members = list(value.items())
    elif isinstance(value, list):
        members = list(enumerate(value))
    inner = (_list_paths(member, (*path, key)) for key, member in members)
    return [path, *itertools.chain.from_iterable(inner)]


def _replace_at(value: Any, path: tuple[Any, ...], new: Any) -> Any:
    if not path:
        return new
    copy = value.copy()
    copy[path[0]] = _replace_at(value[path[0]], path[1:], new)
    return copy


@st.composite
def invalid_calls(draw: st.DrawFn) -> tuple[FunctionTool[..., Any], dict[str, Any]]:
    """A tool, and arguments of which one value was replaced, removed or added."""
    tool, arguments = draw(tools_with_arguments(_SCHEMA_ONLY))
    raw = convert_to_json(arguments)
    paths = _list_paths(raw)
    path = draw(st.sampled_from(paths[1:] or paths))
    match draw(st.integers(0, 2)):
        case 0 if path:
            raw = _replace_at(raw, path, draw(json_values(3) | st.integers(-3, 3).map(float)))
        case 1 if path and isinstance(path[-1], str):
            container: Any = raw
            for key in path[:-1]:
                container = container[key]
            del container[path[-1]]
        case _:
            raw = {**raw, draw(names(5)): draw(json_values(1))}
    return tool, raw


def copy_without_nulls(value: Any) -> Any:
    """Remove members that are null, which means that an optional key is absent."""
    if isinstance(value, dict):
        return {
            key: copy_without_nulls(member) for key, member in value.items() if member is not None
        }
    return [copy_without_nulls(item) for item in value] if isinstance(value, list) else value


@given(invalid_calls())
def test_a_tool_accepts_what_its_schema_accepts(case: Any) -> None:
    tool, raw = case
    error = find_arguments_error(tool, raw)
    if fits_schema(tool, raw):
        assert error is None
    elif error is None:
        assert fits_schema(tool, copy_without_nulls(raw))
    else:
        assert error.issues
        assert str(error).startswith("test_tool was not run")


@given(tools_with_arguments(), st.data())
def test_the_issues_of_an_argument_begin_with_its_name(case: Any, data: Any) -> None:
    tool, arguments = case
    if not arguments:
        return
    name = data.draw(st.sampled_from(sorted(arguments)))
    raw = {**convert_to_json(arguments), name: {"\u2603": [object]}}
    if tool.parameters["properties"][name].get("type") == "object":
        raw[name] = 7
    with pytest.raises(ToolArgumentsError) as exc_info:
        tool.bind(raw)
    assert all(issue.startswith(name) for issue in exc_info.value.issues)


@given(st.dictionaries(st.text(max_size=5), json_values(), max_size=4))
def test_any_json_is_bound_or_a_tool_arguments_error(raw: Any) -> None:
    def function(
        city: str, days: int = 1, *, ratio: float = 0.5, more: dict[str, list[int]]
    ) -> None: ...

    error = find_arguments_error(FunctionTool(function, "test_tool"), raw)
    assert error.issues if error else {"city", "more"} <= raw.keys()
