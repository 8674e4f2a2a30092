"""``@tool``: what it makes of which functions, and what it refuses when the program starts."""

from __future__ import annotations

import copy
import functools
import inspect
import pickle
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from typing import Any

import anyio
import attrs
import pytest

from locus.core.errors import ConfigurationError
from locus.core.tool_schemas import tool_schemas
from locus.testing import FunctionModel, ScriptedModel
from locus.tools import FunctionTool, ToolContext, as_tool, tool
from locus.tools.decorator import tool as same_tool
from tests.support.runtimes import ROOT
from tests.support.tool_functions import Station, plain, renamed, slowly, weather, whose


def names(of: FunctionTool[..., Any]) -> list[str]:
    return list(of.parameters["properties"])


# What it makes.


def test_a_decorated_function_is_a_tool_and_still_the_function() -> None:
    assert same_tool is tool
    assert isinstance(weather, FunctionTool)
    assert weather("Rome") == "Rome: 3 days of rain"
    assert weather.__name__ == "weather"
    assert weather.__qualname__ == "weather"
    assert weather.__module__ == "tests.support.tool_functions"
    assert (weather.__doc__ or "").startswith("The weather in a city.")
    assert list(inspect.signature(weather).parameters) == ["city", "days"]
    assert weather.__wrapped__ is weather.function  # type: ignore[attr-defined]
    assert repr(weather) == "<tool weather(city: 'str', days: 'int' = 3) -> 'str'>"


def test_the_schema_has_openais_form_and_is_made_once() -> None:
    assert weather.to_openai_schema() == {
        "type": "function",
        "function": {
            "name": "weather",
            "description": "The weather in a city.",
            "parameters": {
                "type": "object",
                "properties": {
                    "city": {"type": "string", "description": "where"},
                    "days": {
                        "type": "integer",
                        "description": "how many days ahead",
                        "default": 3,
                    },
                },
                "required": ["city"],
                "additionalProperties": False,
            },
        },
    }
    assert weather.to_openai_schema() is weather.to_openai_schema()


def test_settings_are_said_to_the_decorator() -> None:
    assert (slowly.name, slowly.idempotent, slowly.timeout) == ("slow", True, 2.5)
    assert slowly.is_async
    assert (weather.name, weather.idempotent, weather.timeout) == ("weather", False, None)
    assert not weather.is_async
    assert renamed.description == "Doubles."
    assert tool(plain, description="").to_openai_schema()["function"].keys() == {
        "name",
        "parameters",
    }


def test_an_async_tool_is_still_awaited(anyio_backend: str) -> None:
    assert anyio.run(slowly, "again", backend=anyio_backend) == "again"


def test_models_take_tools_as_they_are() -> None:
    seen: list[Any] = []

    def answer(messages: Any, tools: Any, **options: Any) -> str:
        seen.extend(tools)
        return "ok"

    model = FunctionModel(answer)
    model.complete_sync("?", tools=[weather, slowly])
    model.bind_tools([renamed]).complete_sync("?")
    assert [schema["function"]["name"] for schema in seen] == ["weather", "slow", "double"]
    assert tool_schemas([weather]) == (weather.to_openai_schema(),)
    assert ScriptedModel("hi").complete_sync("?", tools=[weather]).content == "hi"


def test_the_official_sdk_takes_the_schema() -> None:
    pydantic = pytest.importorskip("pydantic")
    chat = pytest.importorskip("openai.types.chat")
    adapter = pydantic.TypeAdapter(chat.ChatCompletionToolParam)
    for each in (weather, slowly, attrs.evolve(weather, strict=True)):
        adapter.validate_python(each.to_openai_schema())


# A value.


def test_a_tool_cannot_be_changed_but_copied_with_changes() -> None:
    with pytest.raises(attrs.exceptions.FrozenInstanceError):
        weather.name = "x"  # type: ignore[misc]
    with pytest.raises(TypeError):
        weather.parameters["properties"]["city"]["type"] = "integer"
    other = attrs.evolve(weather, name="forecast", timeout=1)
    assert (other.name, other.timeout, other.function) == ("forecast", 1, weather.function)
    assert other.description == weather.description
    assert other.to_openai_schema()["function"]["name"] == "forecast"


def test_tools_are_equal_and_hash_by_function_and_settings() -> None:
    again = tool(weather.function)
    assert again == weather
    assert hash(again) == hash(weather)
    assert attrs.evolve(weather, timeout=1) != weather
    assert renamed != tool(plain)
    assert copy.copy(weather) is copy.deepcopy(weather) is weather


@pytest.mark.parametrize(
    "of",
    [weather, slowly, renamed, attrs.evolve(weather, timeout=1, strict=True), tool(whose)],
    ids=repr,
)
def test_a_tool_is_pickled_by_its_functions_name(of: FunctionTool[..., Any]) -> None:
    for protocol in range(2, pickle.HIGHEST_PROTOCOL + 1):
        back = pickle.loads(pickle.dumps(of, protocol))
        assert back == of
        assert back.parameters == of.parameters
        assert (back.timeout, back.strict, back.is_async) == (of.timeout, of.strict, of.is_async)


def test_a_tool_of_an_object_is_pickled_with_the_object() -> None:
    for of in (Station("Oslo").forecast, tool(Station("Oslo").plain)):
        back = pickle.loads(pickle.dumps(of))
        assert back(days=2) == "Oslo in 2"
        assert back.parameters == of.parameters
        assert back.name == of.name


@pytest.mark.slow
def test_a_tool_runs_in_another_process() -> None:
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool:
        assert pool.submit(weather, "Rome", days=1).result(30) == "Rome: 1 days of rain"


def test_a_tool_whose_function_cannot_be_imported_is_not_pickled() -> None:
    @tool
    def local(x: int) -> int:
        return x

    with pytest.raises(
        pickle.PicklingError, match=r"'local' cannot .* tests.tools.test_decorator.*local"
    ):
        pickle.dumps(local)


@pytest.mark.slow
def test_a_checker_sees_the_functions_own_types(tmp_path: Any) -> None:
    pytest.importorskip("mypy")
    (tmp_path / "use.py").write_text(
        "from tests.support.tool_functions import Station, slowly, weather\n"
        "reveal_type(weather)\n"
        "reveal_type(weather('Rome', days=1))\n"
        "reveal_type(Station('x').forecast)\n"
        "async def f() -> None: reveal_type(await slowly('x'))\n"
        "weather(1)\n"
        "Station('x').forecast('1')\n"
    )
    command = [sys.executable, "-m", "mypy", "--no-incremental", "--follow-imports=silent"]
    done = subprocess.run(
        [*command, str(tmp_path / "use.py")], cwd=ROOT, capture_output=True, text=True, check=False
    )
    told = [line.partition("use.py:")[2] for line in done.stdout.splitlines() if "use.py:" in line]
    shown = [line.rpartition("Revealed type is ")[2].strip('"') for line in told if "note" in line]
    kind = "locus.tools.function.FunctionTool"
    assert [text.replace("builtins.", "") for text in shown] == [
        f"{kind}[[city: str, days: int =], str]",
        "str",
        f"{kind}[[days: int =], str]",
        "str",
    ]
    assert [line.partition(":")[0] for line in told if "error" in line] == ["6", "7"]


# Methods, partials, and other callables.


def test_a_method_is_a_tool_of_each_object() -> None:
    oslo, rome = Station("Oslo"), Station("Rome")
    assert oslo.forecast.name == "forecast"
    assert oslo.forecast.description == "The forecast here."
    assert names(oslo.forecast) == ["days"]
    assert oslo.forecast(days=2) == "Oslo in 2"
    assert rome.forecast.function(**rome.forecast.bind({"days": 5})) == "Rome in 5"
    assert oslo.forecast == oslo.forecast
    assert oslo.forecast != rome.forecast
    assert tool(oslo.plain).function(**tool(oslo.plain).bind({})) == "Oslo in 1"


def test_a_method_without_its_object_does_not_bind() -> None:
    assert names(Station.forecast) == ["days"]
    with pytest.raises(TypeError, match="is a method; take it from an object"):
        Station.forecast.bind({})
    with pytest.raises(TypeError, match="'forecast' is a method"):
        as_tool(Station.forecast)


def test_static_and_class_methods() -> None:
    class Sums:
        start = 1

        @tool
        @staticmethod
        def twice(number: int) -> int:
            return 2 * number

        @classmethod
        def more(cls, number: int) -> int:
            return cls.start + number

    assert Sums.twice.bind({"number": 2}) == {"number": 2}
    assert Sums().twice(3) == 6
    of = tool(Sums.more)
    assert names(of) == ["number"]
    assert of(number=1) == 2
    with pytest.raises(TypeError, match=r"more is a class method: .* outside the class"):
        tool(Sums.__dict__["more"])
    with pytest.raises(ConfigurationError, match=r"class method: .* tool\(Wrong\.f\)"):

        class Wrong:
            @classmethod
            @tool
            def f(cls) -> None: ...


def test_what_a_partial_has_fixed_is_neither_shown_nor_taken() -> None:
    def fetch(session: object, path: str, *, token: str = "none", limit: int = 5) -> str:
        """Fetch a page."""
        return f"{path} {token} {limit}"

    of = tool(functools.partial(functools.partial(fetch, object()), token="secret"))
    assert (of.name, of.description) == ("fetch", "Fetch a page.")
    assert names(of) == ["path", "limit"]
    assert "secret" not in str(of.to_openai_schema())
    assert of.function(**of.bind({"path": "/"})) == "/ secret 5"
    with pytest.raises(ValueError, match="token: no such argument"):
        of.bind({"path": "/", "token": "mine"})


def test_further_arguments_cannot_take_a_parameters_place() -> None:
    def log(message: str, ctx: ToolContext | None = None, *, to: str = "me", **more: Any) -> Any:
        return ctx, to, more

    of = tool(functools.partial(log, to="you"))
    assert of.function(**of.bind({"message": "x", "level": 3})) == (None, "you", {"level": 3})
    for name in ("ctx", "to"):
        with pytest.raises(ValueError, match=f"{name}: no such argument"):
            of.bind({"message": "x", name: {}})

    class Log:
        def write(self, **more: Any) -> Any:
            return more

    with pytest.raises(ValueError, match="self: no such argument"):
        tool(Log().write).bind({"self": 1})


def test_a_lambda_or_an_object_wants_a_name() -> None:
    class Adder:
        """Adds."""

        async def __call__(self, a: int, b: int) -> int:
            return a + b

    with pytest.raises(ConfigurationError, match="has no name for a tool; pass name="):
        tool(lambda x: x)
    with pytest.raises(ConfigurationError, match="has no name for a tool; pass name="):
        tool(Adder())
    assert tool(lambda x: x, name="echo")(3) == 3
    adder = tool(Adder(), name="add")
    assert adder.is_async
    assert names(adder) == ["a", "b"]
    assert adder.description == "Adds."


def test_a_wrapped_function_takes_what_it_wraps() -> None:
    def logged(function: Any) -> Any:
        @functools.wraps(function)
        def wrapper(*args: Any, **kwargs: Any) -> Any:
            return ["logged", function(*args, **kwargs)]

        return wrapper

    @tool
    @logged
    def twice(number: int) -> int:
        """Twice as much."""
        return 2 * number

    assert names(twice) == ["number"]
    assert twice.function(**twice.bind({"number": 2})) == ["logged", 4]


def test_an_agent_takes_tools_and_plain_functions() -> None:
    assert as_tool(weather) is weather
    assert as_tool(plain) == tool(plain)
    for thing, said in [
        (3, "not of 3"),
        (Station, "not of the class Station"),
        (weather.to_openai_schema(), "give its function"),
        (None, "not of None"),
    ]:
        with pytest.raises(TypeError, match=said):
            as_tool(thing) if thing is not None else tool(thing, name="x")(None)  # type: ignore[call-overload]


# What is refused.


def generator(x: int) -> Iterator[int]:
    yield x


async def async_generator(x: int) -> AsyncIterator[int]:
    yield x


def starred(x: int, *rest: int) -> None: ...
def positional(x: int, /) -> None: ...
def umlaut(größe: int) -> None: ...
def unsayable(x: int, number: complex) -> None: ...
def unknown(x: int, thing: Missing) -> None: ...  # type: ignore[name-defined]  # noqa: F821
def untyped(x: "not a type") -> None: ...  # type: ignore[valid-type]  # noqa: F722
def mixed(x: ToolContext | int) -> None: ...
def keyed(x: dict[tuple[int, int], str]) -> None: ...


@pytest.mark.parametrize(
    ("function", "said"),
    [
        (generator, r"tool 'generator' yields"),
        (async_generator, r"tool 'async_generator' yields"),
        (starred, r"tool 'starred', parameter 'rest': .* take a list"),
        (positional, r"tool 'positional', parameter 'x': .* positional-only"),
        (umlaut, r"parameter 'größe': not every provider takes this name"),
        (unsayable, r"tool 'unsayable', parameter number: JSON has no form for complex"),
        (unknown, r"tool 'unknown', parameter 'thing': name 'Missing' is not defined"),
        (untyped, r"tool 'untyped', parameter 'x': .* is not a type"),
        (mixed, r"tool 'mixed', parameter 'x': it is either a ToolContext"),
        (keyed, r"tool 'keyed', parameter x: JSON has no form for its keys"),
        (dict.update, r"tool 'update'"),
    ],
    ids=lambda value: getattr(value, "__name__", None),
)
def test_what_a_model_cannot_call_is_refused_by_name(function: Any, said: str) -> None:
    with pytest.raises(ConfigurationError, match=said):
        tool(function)


def test_a_type_inside_a_function_is_refused_where_annotations_are_text() -> None:
    @attrs.frozen
    class Local:
        x: int

    def local(thing: Local) -> None: ...

    with pytest.raises(ConfigurationError, match=r"'thing': name 'Local' is not .* visible"):
        tool(local)


@pytest.mark.parametrize(
    "name", ["", "two words", "a.b", "größe", "1st", "-x", "x" * 65, "x\n", 3], ids=repr
)
def test_a_name_that_a_provider_refuses_is_refused_here(name: Any) -> None:
    with pytest.raises(ConfigurationError, match="a tool cannot be called"):
        tool(plain, name=name)
    assert tool(plain, name="x" * 64).name == "x" * 64
    assert tool(plain, name="get-weather_2").name == "get-weather_2"


@pytest.mark.parametrize("timeout", [0, -1, float("nan"), float("inf"), "3", True], ids=repr)
def test_a_timeout_is_seconds_above_nothing(timeout: Any) -> None:
    with pytest.raises(ConfigurationError, match="tool 'plain': timeout is seconds above 0"):
        tool(plain, timeout=timeout)


def test_what_is_no_function_is_a_type_error() -> None:
    for thing, said in [("name", "not of 'name'"), (weather, "'weather' is a tool already")]:
        with pytest.raises(TypeError, match=said):
            tool(thing)  # type: ignore[call-overload]
    with pytest.raises(TypeError):
        tool(plain, idempotent="yes")  # type: ignore[call-overload]
    with pytest.raises(TypeError, match="description is text"):
        tool(plain, description=3)  # type: ignore[call-overload]


# The context.


def test_the_context_is_given_and_not_asked_for() -> None:
    of = tool(whose)  # whose annotation only type checkers see
    assert names(of) == ["key"]
    context = ToolContext("call_1", "whose", thread_id="t", metadata={"user": 3})
    assert of.function(**of.bind({"key": "k"}, context)) == "call_1 k"
    assert context.metadata == {"user": 3}
    with pytest.raises(TypeError, match=r"'whose' wants a ToolContext; pass context="):
        of.bind({"key": "k"})
    with pytest.raises(ValueError, match=r"ctx: no such argument .*known: key"):
        of.bind({"key": "k", "ctx": {}}, context)


def test_a_context_that_has_a_default_may_be_missing() -> None:
    def who(ctx: ToolContext | None = None) -> str:
        return ctx.tool_name if ctx else "nobody"

    of = tool(who)
    assert names(of) == []
    assert of.function(**of.bind({})) == "nobody"
    assert of.function(**of.bind({}, ToolContext("1", "who"))) == "who"
    assert who() == "nobody"


def test_a_context_is_a_value() -> None:
    context = ToolContext("1", "x", metadata={"a": 1})
    assert pickle.loads(pickle.dumps(context)) == context
    assert hash(context) == hash(ToolContext("1", "x", metadata={"a": 1}))
    with pytest.raises(TypeError, match=r"ToolContext\.metadata must be a mapping"):
        ToolContext("1", "x", metadata=3)  # type: ignore[arg-type]
