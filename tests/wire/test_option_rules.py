"""The rules of options as values, what models do by them, and the page that lists them.

That each format does what it declares is in the shipped suite, ``tests/testing/formats``.
"""

from __future__ import annotations

import inspect
import pickle
import pkgutil
import re
from importlib import import_module
from pathlib import Path
from types import MappingProxyType
from typing import Any, ClassVar

import attrs
import pytest

import locus.models
import locus.wire
from locus.core.errors import ConfigurationError
from locus.core.option_rules import (
    NO_PENALTIES,
    NO_SUCH_PARAMETER,
    Carried,
    OptionRules,
)
from locus.models.http_model import HttpModel
from locus.models.native.anthropic import AnthropicModel
from locus.models.native.openai import OpenAIModel
from locus.models.providers.oci.openai_compatible_model import OpenAICompatibleModel
from locus.testing.formats.option_suite import KEYWORDS, get_rules
from locus.wire.chat_completions import ChatCompletionsBuilder
from tests.support.formats import FORMATS, REQUEST_FORMATS

PAGE = Path(__file__).parents[2] / "docs" / "options.md"


def test_every_builder_is_tested() -> None:
    builders = {
        cls
        for package in Path(locus.wire.__path__[0]).iterdir()
        if (package / "__init__.py").exists()
        for cls in vars(__import__(f"locus.wire.{package.name}", fromlist=["x"])).values()
        if inspect.isclass(cls) and hasattr(cls, "build")
    }
    assert builders == {type(wire.builder) for wire in FORMATS}


# The rules as values.


def test_rules_are_values() -> None:
    rules = OptionRules("the API", seed=Carried("seed"), stop=NO_SUCH_PARAMETER)
    assert rules == pickle.loads(pickle.dumps(rules)) == rules.evolve()
    assert hash(rules) == hash(rules.evolve())
    assert (len(rules), list(rules)) == (2, ["seed", "stop"])
    other = rules.evolve("another", stop=Carried("stop"))
    assert (other.api, other["stop"], other["seed"]) == ("another", Carried("stop"), rules["seed"])
    assert rules.remove_refused({"seed": 1}, has_tools=False) == {"seed": 1}


@pytest.mark.parametrize("empty", [None, (), [], "", {}, MappingProxyType({})])
def test_an_empty_value_requests_nothing(empty: Any) -> None:
    rules = OptionRules("the API", seed=Carried("seed"), stop=NO_SUCH_PARAMETER)
    assert rules.remove_refused({"stop": empty, "seed": 1}, has_tools=True) == {"seed": 1}


@pytest.mark.parametrize("value", [0, 0.0, False])
def test_zero_requests_something_unless_it_is_harmless(value: Any) -> None:
    rules = OptionRules("the API", seed=NO_SUCH_PARAMETER, frequency_penalty=NO_PENALTIES)
    with pytest.raises(ConfigurationError, match="seed="):
        rules.remove_refused({"seed": value}, has_tools=False)
    assert not rules.remove_refused({"frequency_penalty": value}, has_tools=False)


def test_options_of_tools_request_nothing_without_tools() -> None:
    rules = OptionRules("the API")
    for option in ({"tool_choice": "required"}, {"parallel_tool_calls": False}):
        assert not rules.remove_refused(option, has_tools=False)
        with pytest.raises(ConfigurationError, match="the API does not declare"):
            rules.remove_refused(option, has_tools=True)
    tools_chosen = OptionRules("the API", tool_choice=Carried("choice"))
    no_calls = {"tool_choice": "none", "parallel_tool_calls": False}
    assert tools_chosen.remove_refused(no_calls, has_tools=True) == {"tool_choice": "none"}
    with pytest.raises(ConfigurationError, match="tool_choice='none'"):
        rules.remove_refused({"tool_choice": "none"}, has_tools=True)


def test_a_long_value_is_shown_in_part() -> None:
    with pytest.raises(ConfigurationError) as exc_info:
        OptionRules("the API").remove_refused({"seed": "zq" * 500}, has_tools=False)
    assert "…: the API" in str(exc_info.value)
    assert len(str(exc_info.value)) < 200


# The models: what the call, ``bind_tools`` and the config ask for.


@attrs.frozen
class StrictBuilder(ChatCompletionsBuilder):
    """A format without ``top_p``, ``seed`` and ``stop``."""

    option_rules: ClassVar[OptionRules] = ChatCompletionsBuilder.option_rules.evolve(
        "the strict API",
        temperature=NO_SUCH_PARAMETER,
        top_p=NO_SUCH_PARAMETER,
        seed=NO_SUCH_PARAMETER,
        stop=NO_SUCH_PARAMETER,
    )


def make_strict_model(**kw: Any) -> OpenAIModel:
    return OpenAIModel("m", "key", "http://127.0.0.1:9", request_builder=StrictBuilder(), **kw)


def test_a_default_of_the_config_is_left_out() -> None:
    model = make_strict_model()
    assert (model.config.temperature, model.config.top_p) == (0.7, 0.9)
    assert model.request("x") == {
        "model": "m",
        "messages": [{"role": "user", "content": "x"}],
        "max_tokens": 4096,
    }
    assert make_strict_model(top_p=None, seed=None).request("x") == model.request("x")
    assert model.request("x", top_p=None, stop=()) == model.request("x")


@pytest.mark.parametrize(
    ("config", "bound", "call", "message"),
    [
        ({"top_p": 0.5}, {}, {}, "top_p=0.5 (of the model's config): the strict API"),
        ({"seed": 0}, {}, {}, "seed=0 (of the model's config): the strict API"),
        ({"stop_sequences": "A"}, {}, {}, "stop=('A',) (of the model's config): the strict API"),
        ({}, {"top_p": 0.9}, {}, "top_p=0.9 (bound to the model): the strict API"),
        ({}, {"seed": 1}, {"seed": None}, "seed=1 (bound to the model): the strict API"),
        ({}, {}, {"top_p": 0.9}, "top_p=0.9: the strict API"),
        ({}, {}, {"seed": 2}, "seed=2: the strict API has no such parameter"),
        ({}, {}, {"temperature": 0.7}, "temperature=0.7: the strict API"),
    ],
)
def test_what_was_asked_for_is_refused(config: Any, bound: Any, call: Any, message: str) -> None:
    with pytest.raises(ConfigurationError) as exc_info:
        make_strict_model(**config).bind_tools([], **bound).request("x", **call)
    assert str(exc_info.value).startswith(message)
    assert str(exc_info.value).endswith("leave it out")


@pytest.mark.parametrize("change", [{"seed": 1}, {"stop": "A"}, {"stop_sequences": ["A"]}])
def test_a_copy_is_refused_like_a_new_model(change: Any) -> None:
    model = make_strict_model()
    with pytest.raises(ConfigurationError, match=r"of the model's config.*the strict API"):
        model.copy(**change)
    with pytest.raises(ConfigurationError, match=r"of the model's config.*the strict API"):
        make_strict_model(**change)


def test_the_choice_between_sampling_options_asks_for_neither() -> None:
    model = AnthropicModel("claude-1", "key", request_builder=StrictBuilder())
    body = model.request("x")
    assert not {"temperature", "top_p"} & body.keys()
    for option in ({"temperature": 0.7}, {"top_p": 0.9}):
        with pytest.raises(ConfigurationError, match="the strict API has no such parameter"):
            model.request("x", **option)
        with pytest.raises(ConfigurationError, match="bound to the model"):
            model.bind_tools([], **option)


def test_a_builder_without_rules_gets_every_option() -> None:
    class CustomBuilder:
        def build(self, messages: Any, tools: Any = None, **options: Any) -> dict[str, Any]:
            return {name: str(value) for name, value in options.items()}

    model = OpenAIModel("m", "key", "http://127.0.0.1:9", request_builder=CustomBuilder())
    body = model.request("x", seed=1, provider_state={"a": 1}, parallel_tool_calls=False)
    assert body["provider_state"] == "{'a': 1}"
    assert (body["seed"], body["top_p"], body["parallel_tool_calls"]) == ("1", "0.9", "False")


# The page.


def build_table() -> list[str]:
    """Build the lines of the page's table of options from the rules."""
    columns = [wire.title for wire in REQUEST_FORMATS]
    rows = [["", *columns], ["---"] * (len(columns) + 1)]
    for keyword in KEYWORDS:
        cells = [get_rules(wire)[keyword].describe() for wire in REQUEST_FORMATS]
        rows.append([f"`{keyword}`", *cells])
    return ["|" + "|".join(_pad_cell(cell) for cell in row) + "|" for row in rows]


def _pad_cell(cell: str) -> str:
    return cell if cell == "---" else f" {cell} ".replace("  ", " ")


def read_tables() -> list[list[str]]:
    """Return the lines of each table of the page."""
    tables: list[list[str]] = [[]]
    for line in PAGE.read_text(encoding="utf-8").splitlines():
        if line.startswith("|"):
            tables[-1].append(line)
        elif tables[-1]:
            tables.append([])
    return [table for table in tables if table]


def test_the_page_has_the_rules_of_every_format() -> None:
    """Rows are keywords, columns are formats, cells are the rules' own descriptions."""
    assert read_tables()[0] == build_table()


# URLs and credentials.

CREDENTIAL_FIELDS = ("api_key", "auth_token", "profile_name")


def find_model_classes() -> dict[str, Any]:
    """Return Locus's own models that send requests, by name."""
    for module in pkgutil.walk_packages(locus.models.__path__, "locus.models."):
        import_module(module.name)
    found, classes = {}, [HttpModel]
    while classes:
        cls = classes.pop()
        classes += cls.__subclasses__()
        is_base = inspect.isabstract(cls) or not hasattr(cls, "prefix")
        if cls.__module__.startswith("locus.") and not is_base:
            found[cls.__name__] = cls
    return found


def read_sources(name: str, column: int) -> list[str]:
    """Return what the page says a model's URL or credentials come from, in order."""
    for line in read_tables()[1][2:]:
        cells = [cell.strip() for cell in line.strip("|").split("|")]
        if cells[0] == f"`{name}`":
            return re.findall(r"`([^`]+)`", cells[column])
    raise AssertionError(f"docs/options.md says nothing about {name}")


def make_model_with(
    monkeypatch: pytest.MonkeyPatch, cls: Any, sources: list[str], values: list[str], **kw: Any
) -> Any:
    """Make a model with values for arguments (``name=``) and environment variables."""
    for source, value in zip(sources, values, strict=True):
        if source.endswith("="):
            kw[source[:-1]] = value
        elif source.isupper():
            monkeypatch.setenv(source, value)
    if issubclass(cls, OpenAICompatibleModel):
        kw.setdefault("api_key", "zq")
    return cls("m", **kw)


def test_the_page_has_a_row_for_every_model() -> None:
    rows = [line.split("|")[1].strip(" `") for line in read_tables()[1][2:]]
    assert sorted(rows) == sorted(find_model_classes())


@pytest.mark.usefixtures("formats_environment")
@pytest.mark.parametrize("name", sorted(find_model_classes()))
def test_a_model_gets_its_url_as_the_page_says(name: str) -> None:
    cls, sources = find_model_classes()[name], read_sources(name, 1)
    if not sources:
        with pytest.raises(TypeError, match="unknown keyword 'base_url'"):
            cls(base_url="http://127.0.0.1:9")
        return
    urls = [*(f"http://127.0.0.1:{port}" for port in range(9, 8 + len(sources))), sources[-1]]
    for first in range(len(sources)):
        with pytest.MonkeyPatch.context() as monkeypatch:
            model = make_model_with(monkeypatch, cls, sources[first:], urls[first:])
            assert model.build_url().startswith(f"{urls[first]}/")


@pytest.mark.usefixtures("formats_environment")
@pytest.mark.parametrize("name", sorted(find_model_classes()))
def test_a_model_gets_its_credentials_as_the_page_says(name: str) -> None:
    cls, sources = find_model_classes()[name], read_sources(name, 2)
    keys = [f"zq-key-{index}" for index in range(len(sources))]
    for first in range(len(sources)):
        with pytest.MonkeyPatch.context() as monkeypatch:
            config = make_model_with(monkeypatch, cls, sources[first:], keys[first:]).config
            values = [getattr(config, field, None) for field in CREDENTIAL_FIELDS]
            assert [value for value in values if value and "zq" in value] == [keys[first]]
            if hasattr(config, "build_credential_headers"):
                assert keys[first] in str(config.build_credential_headers())
