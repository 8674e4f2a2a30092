"""The schema of a tool: its types, and the descriptions in its docstring."""

from __future__ import annotations

import copy
import enum
import inspect
import itertools
import json
import pickle
from typing import Annotated, Any, Literal, TypedDict, Unpack

import attrs
import msgspec
import pytest

from locus.core.errors import ConfigurationError
from locus.tools import tool
from locus.tools.docstring import parse_docstring


class Unit(enum.Enum):
    """A scale."""

    CELSIUS = "celsius"


@attrs.frozen
class Item:
    """Something to buy."""

    name: Annotated[str, "as in the catalogue"]
    count: int = 1


def build_properties(function: Any, **settings: Any) -> Any:
    return tool(function, **settings).parameters["properties"]


# Types.


def test_a_class_is_described_where_it_is_used() -> None:
    """Ollama, Gemini and OCI do not follow references (ollama issue 10091)."""

    def order(first: Item, others: list[Item], unit: Unit = Unit.CELSIUS) -> None: ...

    item = {
        "description": "Something to buy.",
        "type": "object",
        "properties": {
            "name": {"type": "string", "description": "as in the catalogue"},
            "count": {"type": "integer", "default": 1},
        },
        "required": ["name"],
        "additionalProperties": False,
    }
    schema = tool(order).parameters
    assert schema["properties"] == {
        "first": item,
        "others": {"type": "array", "items": item},
        "unit": {
            "description": "A scale.",
            "type": "string",
            "enum": ["celsius"],
            "default": "celsius",
        },
    }
    assert "$defs" not in schema
    assert schema["required"] == ["first", "others"]


def test_defaults_are_in_the_schema_if_json_has_a_form_for_them() -> None:
    def function(a: Item = Item("x"), b: Any = object(), c: set[int] = frozenset()) -> None: ...  # type: ignore[assignment]  # noqa: B008

    assert [schema.get("default", "none") for schema in build_properties(function).values()] == [
        {"name": "x", "count": 1},
        "none",
        [],
    ]


def test_annotations_add_descriptions_and_bounds() -> None:
    def function(
        a: Annotated[int, msgspec.Meta(ge=0, description="how many")],
        b: Annotated[str, "plain words"],
        c: Annotated[list[Annotated[str, "one of them"]], "all of them"],
        d: Annotated[str | None, msgspec.Meta(max_length=3)] = None,
    ) -> None:
        """Do.

        :param a: the docstring's own
        :param d: and here
        """

    assert build_properties(function) == {
        "a": {"type": "integer", "minimum": 0, "description": "how many"},
        "b": {"type": "string", "description": "plain words"},
        "c": {
            "type": "array",
            "items": {"type": "string", "description": "one of them"},
            "description": "all of them",
        },
        "d": {
            "anyOf": [{"type": "string", "maxLength": 3}, {"type": "null"}],
            "description": "and here",
            "default": None,
        },
    }


def test_doc_of_pep_727_is_a_description() -> None:
    extensions = pytest.importorskip("typing_extensions")
    if not hasattr(extensions, "Doc"):
        pytest.skip("needs typing_extensions.Doc")

    def function(a: Any) -> None: ...

    function.__annotations__["a"] = Annotated[int, extensions.Doc("how many")]
    assert build_properties(function) == {"a": {"type": "integer", "description": "how many"}}


def test_a_bound_that_json_schema_does_not_have_is_an_error() -> None:
    annotated = pytest.importorskip("annotated_types")

    def function(a: Any) -> None: ...

    function.__annotations__["a"] = Annotated[str, annotated.Ge("b")]
    with pytest.raises(ConfigurationError, match=r"tool 'function', parameter a: .*`ge`"):
        tool(function)
    function.__annotations__["a"] = Annotated[int, annotated.Interval(ge=1, lt=9)]
    assert build_properties(function)["a"] == {
        "type": "integer",
        "minimum": 1,
        "exclusiveMaximum": 9,
    }


def test_strict_mode_requires_every_argument() -> None:
    def function(city: str, days: int = 3, item: Item | None = None) -> None: ...

    strict = tool(function, strict=True)
    schema = strict.to_openai_schema()["function"]
    assert schema["strict"] is True
    assert schema["parameters"]["required"] == ["city", "days", "item"]
    assert schema["parameters"]["additionalProperties"] is False
    assert schema["parameters"]["properties"]["days"] == {
        "type": "integer",
        "description": "(default: 3)",
    }
    assert strict.bind({"city": "Rome", "days": 1, "item": None})["item"] is None


@pytest.mark.parametrize("hint", [dict[str, int], Any, tuple[int, str]], ids=str)
def test_a_type_that_strict_mode_cannot_express_is_an_error_at_once(hint: Any) -> None:
    def function(x: Any) -> None: ...

    function.__annotations__["x"] = hint
    tool(function)
    with pytest.raises(
        ConfigurationError, match=r"function\.x .* which strict mode cannot express"
    ):
        tool(function, strict=True)


def test_strict_mode_allows_no_further_arguments() -> None:
    def function(**more: int) -> None: ...

    with pytest.raises(ConfigurationError, match="'function' takes further arguments"):
        tool(function, strict=True)


# Docstrings.

GOOGLE = """Look up the weather.

    Works for cities only: not for countries.

    Args:
        city (str): The city,
            with its country: ``Rome, Italy``.
        days (Optional[int], optional): How many
          days. Defaults to 3.
        **more: Passed on.
        nothing: There is no such argument.

    Returns:
        The forecast.

    Raises:
        ValueError: There is no such city.

    Note:
        Ask once a day.
    """
NUMPY = """Look up the weather.

    Works for cities only: not for countries.

    Parameters
    ----------
    city : str
        The city,
        with its country: ``Rome, Italy``.
    days, hours : int, optional
        How many

        days. Defaults to 3.

    Returns
    -------
    str
        The forecast.

    Raises
    ------
    ValueError
        There is no such city.
    """
SPHINX = """Look up the weather.

    Works for cities only: not for countries.

    :param str city: The city,
        with its country: ``Rome, Italy``.
    :param days: How many
       days. Defaults to 3.
    :type days: int
    :returns: The forecast.
    :rtype: str
    :raises ValueError: There is no such city.
    """
EPYTEXT = """Look up the weather.

    Works for cities only: not for countries.

    @param city: The city,
      with its country: ``Rome, Italy``.
    @param days: How many days. Defaults to 3.
    @return: The forecast.
    """


@pytest.mark.parametrize("text", [GOOGLE, NUMPY, SPHINX, EPYTEXT], ids=["g", "n", "s", "e"])
def test_the_common_styles_are_parsed(text: str) -> None:
    docstring = parse_docstring(text, {"city", "days", "more"})
    assert docstring.arguments["city"] == "The city, with its country: ``Rome, Italy``."
    assert docstring.arguments["days"] == "How many days. Defaults to 3."
    assert docstring.arguments.get("more", "Passed on.") == "Passed on."
    assert docstring.description.startswith(
        "Look up the weather.\n\nWorks for cities only: not for countries."
    )
    assert "The forecast." in docstring.description
    assert ("There is no such argument." in docstring.description) == (text is GOOGLE)
    for omitted in ("The city", "no such city", "rtype", ":type", "\n\n\n"):
        assert omitted not in docstring.description
    assert ("Ask once a day." in docstring.description) == (text is GOOGLE)


@pytest.mark.parametrize(
    ("text", "description", "arguments"),
    [
        (None, "", {}),
        ("", "", {}),
        ("One line.", "One line.", {}),
        ("Args:\n    x: this", "", {"x": "this"}),
        ("Do.\nArgs:\n    x: this\n    y: that", "Do.", {"x": "this", "y": "that"}),
        ("Do.\n\nArgs:\n    x: this\nMore.", "Do.\n\nMore.", {"x": "this"}),
        ("Args:\n    x (dict(str, (int))): a: b", "", {"x": "a: b"}),
        ("Args:\n    x:\n        below", "", {"x": "below"}),
        ("Args:\n    x: see\n    http://a.b", "", {"x": "see http://a.b"}),
        ("Do.\nIn short:\n    x: no argument", "Do.\nIn short:\n    x: no argument", {}),
        ("The args: none", "The args: none", {}),
        ("Do.\n\nParameters\n----------\nx\n    this", "Do.", {"x": "this"}),
        ("Do.\n\nParameters\n----------\n*x : int\n    this", "Do.", {"x": "this"}),
        ("Title\n-----\nProse.", "Title\n-----\nProse.", {}),
        (":param x: a:b\n:param y:\n:param x: c", "", {"x": "a:b c"}),
        ("See :func:`x`.\n:class:`y` too.", "See :func:`x`.\n:class:`y` too.", {}),
        ("Parameters\n----------", "", {}),
        ("Do.\n\nArgs:\n    - x (int): this\n    * y: that", "Do.", {"x": "this", "y": "that"}),
        ("Args:\n    `x`: this\n    **y**: that", "", {"x": "this", "y": "that"}),
        ("Args:\n    x - this\n    y (a, b) \u2013 that", "", {"x": "this", "y": "that"}),
        ("Args:\n    x: up\n    to - but not with - 3", "", {"x": "up to - but not with - 3"}),
        ("Args:\n    x, y: both", "", {"x": "both", "y": "both"}),
        ("Args:\n    In cents.\n    x: this", "In cents.", {"x": "this"}),
        ("Args:\n    z: this\n      too\n    x: that", "z: this\n  too", {"x": "that"}),
        ("Args:\n    hidden: this\n    x: that", "", {"x": "that"}),
        ("Parameters\n----------\n- x : int\n    this\nz\n    that", "z\n    that", {"x": "this"}),
        ("Parameters\n----------\nx: this", "", {"x": "this"}),
        (":param x, y: both\n:param z: this", "z: this", {"x": "both", "y": "both"}),
        (":param hidden: this", "", {}),
        ("Args:", "", {}),
    ],
)
def test_unusual_docstrings_are_parsed(text: str, description: str, arguments: Any) -> None:
    docstring = parse_docstring(text, {"x", "y"}, {"hidden"})
    assert (docstring.description, docstring.arguments) == (description, arguments)


def test_docstring_parser_finds_the_same_arguments() -> None:
    parser = pytest.importorskip("docstring_parser")
    for text in (GOOGLE, NUMPY, SPHINX):
        descriptions = {}
        for param in parser.parse(inspect.cleandoc(text)).params:
            for name in param.arg_name.split(","):
                descriptions[name.strip(" *")] = " ".join((param.description or "").split())
        assert parse_docstring(text, descriptions.keys()).arguments == descriptions


# Pydantic: its classes in annotations, and its schemas for comparison.


def test_pydantics_fields_add_descriptions_and_bounds() -> None:
    pydantic = pytest.importorskip("pydantic")
    field = pydantic.Field

    def function(a: Any, b: Any, c: Any) -> None: ...

    function.__annotations__ |= {
        "a": Annotated[int, field(ge=0, description="how many", examples=[1])],
        "b": Annotated[str, field(pattern="^x", max_length=3)],
        "c": Annotated[int, pydantic.AfterValidator(lambda number: number + 1)],
    }
    tool_ = tool(function)
    assert tool_.parameters["properties"] == {
        "a": {"type": "integer", "minimum": 0, "description": "how many", "examples": [1]},
        "b": {"type": "string", "pattern": "^x", "maxLength": 3},
        "c": {"type": "integer"},
    }
    assert tool_.bind({"a": 1, "b": "x", "c": 1}) == {"a": 1, "b": "x", "c": 2}
    with pytest.raises(ValueError, match=r"a: expected an integer.*; b: expected str matching"):
        tool_.bind({"a": "1", "b": "y", "c": 1})

    def misplaced(a: int = field(3, ge=0)) -> None: ...

    with pytest.raises(ConfigurationError, match=r"parameter 'a': a Field is not a default"):
        tool(misplaced)


def test_pydantic_models_are_validated_by_their_own_rules() -> None:
    pydantic = pytest.importorskip("pydantic")
    model = pydantic.create_model("Model", x=(int, ...), tags=(list[str], []))

    def function(one: Any, many: Any) -> None: ...

    function.__annotations__ |= {"one": model, "many": list[model]}
    tool_ = tool(function)
    arguments = tool_.bind({"one": {"x": 1}, "many": [{"x": 2, "tags": ["a"]}]})
    assert arguments == {"one": model(x=1), "many": [model(x=2, tags=["a"])]}
    with pytest.raises(ValueError, match=r"one\.x: Field required; many\[0\]\.x: Input should"):
        tool_.bind({"one": {}, "many": [{"x": "y"}]})


def test_the_schema_accepts_what_pydantics_schema_of_the_function_accepts() -> None:
    pydantic = pytest.importorskip("pydantic")
    validator = pytest.importorskip("jsonschema").Draft202012Validator

    def function(
        name: str, unit: Literal["c", "f"], rows: list[dict[str, int]], ratio: float | None = None
    ) -> None: ...

    ours = validator(json.loads(json.dumps(tool(function).parameters)))
    theirs = validator(pydantic.TypeAdapter(function).json_schema())
    names: list[Any] = ["x", 3, None]
    rows: list[Any] = [[], [{"a": 1}], [{"a": "1"}], {}]
    results = set()
    for name, unit, row, ratio in itertools.product(names, ["c", "x", 1], rows, [None, 1, "1"]):
        raw = {"name": name, "unit": unit, "rows": row, "ratio": ratio}
        for case in (raw, {**raw, "more": 1}, {k: v for k, v in raw.items() if k != "ratio"}):
            assert ours.is_valid(case) == theirs.is_valid(case)
            results.add(ours.is_valid(case))
    assert results == {True, False}


def test_the_strict_schema_accepts_what_the_openai_sdks_accepts() -> None:
    pydantic = pytest.importorskip("pydantic")
    openai = pytest.importorskip("openai")
    validator = pytest.importorskip("jsonschema").Draft202012Validator

    def weather(city: str, days: int | None, kinds: list[Literal["sun", "rain"]]) -> None: ...

    fields: Any = {
        "city": (str, ...),
        "days": (int | None, ...),
        "kinds": (list[Literal["sun", "rain"]], ...),
    }
    model = pydantic.create_model("weather", **fields)
    ours = json.loads(json.dumps(tool(weather, strict=True).to_openai_schema()))["function"]
    theirs = openai.pydantic_function_tool(model)["function"]
    assert ours.keys() == theirs.keys()
    assert (ours["name"], ours["strict"]) == (theirs["name"], theirs["strict"])
    for case in itertools.product(["x", 1], [None, 3, "3"], [[], ["sun"], ["x"], None]):
        raw = dict(zip(("city", "days", "kinds"), case, strict=True))
        for arguments in (raw, {"city": "x"}, {**raw, "more": 1}):
            assert validator(ours["parameters"]).is_valid(arguments) == validator(
                theirs["parameters"]
            ).is_valid(arguments)


# The schema is immutable, and is JSON.


def test_a_default_of_nan_or_infinity_is_left_out() -> None:
    def function(
        n: float = float("nan"),
        items: list[float] = [float("inf")],  # noqa: B006
        by: dict[str, float] = {"a": -float("inf")},  # noqa: B006
        m: float = 1.5,
    ) -> None: ...

    schemas = build_properties(function)
    assert [name for name in schemas if "default" in schemas[name]] == ["m"]


def test_the_schema_is_immutable() -> None:
    @tool
    def choose(a: Literal["x", "y"], b: int | None = None) -> None: ...

    required, enums = choose.parameters["required"], choose.parameters["properties"]["a"]["enum"]
    for change in (
        lambda: required.append("b"),
        lambda: required.__setitem__(0, "b"),
        lambda: enums.clear(),
        lambda: required.__iadd__(["b"]),
        lambda: choose.to_openai_schema()["function"]["parameters"]["required"].remove("a"),
    ):
        with pytest.raises(TypeError, match="immutable"):
            change()
    assert required == ["a"]
    assert [*required, "b"] == required + ["b"]  # noqa: RUF005
    for make_copy in (copy.deepcopy, copy.copy, lambda value: pickle.loads(pickle.dumps(value))):
        assert make_copy(choose.parameters) == choose.parameters
    assert json.loads(json.dumps(choose.parameters)) == choose.parameters
    assert msgspec.json.decode(msgspec.json.encode(choose.parameters)) == choose.parameters


class Options(TypedDict):
    a: int


def test_an_unpacked_typed_dict_is_an_error_that_says_what_to_write() -> None:
    def function(x: int, **others: Unpack[Options]) -> None: ...

    with pytest.raises(ConfigurationError, match=r"parameter 'others': .*write the members"):
        tool(function)


# -- long descriptions -------------------------------------------------------------------------


def make_tool_with_docstring(docstring: str) -> Any:
    def search(x: int) -> None: ...

    search.__doc__ = docstring
    return tool(search)


LONG_SECTIONS = {
    "examples": "Examples:\n" + "    >>> search(1)  # an example\n" * 60,
    "a doctest": ">>> search(1)\n" * 120,
    "what it returns": "Returns:\n    A record.\n" + "        With a field more.\n" * 60,
    "numpydoc's returns": "Returns\n-------\n" + "a field more\n" * 120,
    "notes": "Note:\n" + "    A note more.\n" * 90,
}


@pytest.mark.parametrize("section", LONG_SECTIONS.values(), ids=LONG_SECTIONS)
def test_a_long_section_is_left_out_of_the_description(section: str) -> None:
    """OpenAI refuses a description of more than 1024 characters."""
    made = make_tool_with_docstring(f"Search.\n\nArgs:\n    x: A number.\n\n{section}\n\nOften.")
    assert made.description.startswith("Search.")
    assert len(made.description) < 100
    assert made.parameters["properties"]["x"]["description"] == "A number."


def test_short_examples_stay_in_the_description() -> None:
    made = make_tool_with_docstring("Search.\n\nExamples:\n    >>> search(1)\n")
    assert made.description == "Search.\n\nExamples:\n    >>> search(1)"


@pytest.mark.parametrize("sentence", ["It searches very well. ", "word", "ä. "])
@pytest.mark.parametrize("is_docstring", [True, False])
def test_a_description_that_is_too_long_is_cut_with_a_warning(
    sentence: str, is_docstring: bool
) -> None:
    text = "Search. " + sentence * 400

    def make_tool() -> Any:
        if is_docstring:
            return make_tool_with_docstring(text)
        return tool(lambda: None, name="search", description=text)

    with pytest.warns(UserWarning, match=r"tool 'search'.* accepts 1024: .*description="):
        description = make_tool().description
    assert 900 < len(description) <= 1024
    assert description.endswith("…")
    assert text.startswith(description[:-1])
