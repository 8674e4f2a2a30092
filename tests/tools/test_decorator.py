"""``@tool``: the tools that it makes of functions, and the functions that it rejects."""

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

from locus.core.build_tool_schemas import build_tool_schemas
from locus.core.errors import ConfigurationError
from locus.testing import FunctionModel, ScriptedModel
from locus.tools import FunctionTool, ToolContext, convert_to_tool, tool
from locus.tools.decorator import tool as same_tool
from tests.support.processes import PROJECT_ROOT
from tests.support.timing import HANG_SECONDS
from tests.support.tool_functions import (
    Station,
    double,
    format_call_id,
    renamed,
    repeat,
    weather,
)


def get_argument_names(tool_: FunctionTool[..., Any]) -> list[str]:
    return list(tool_.parameters["properties"])


# The tool.


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


def test_the_schema_has_openais_format_and_is_built_once() -> None:
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


def test_the_decorator_takes_settings() -> None:
    assert (repeat.name, repeat.idempotent, repeat.timeout) == ("slow", True, 2.5)
    assert repeat.is_async
    assert (weather.name, weather.idempotent, weather.timeout) == ("weather", False, None)
    assert not weather.is_async
    assert renamed.description == "Doubles."
    assert tool(double, description="").to_openai_schema()["function"].keys() == {
        "name",
        "parameters",
    }


def test_an_async_tool_is_awaited(anyio_backend: str) -> None:
    assert anyio.run(repeat, "again", backend=anyio_backend) == "again"


def test_models_accept_tools() -> None:
    received: list[Any] = []

    def respond(messages: Any, tools: Any, **options: Any) -> str:
        received.extend(tools)
        return "ok"

    model = FunctionModel(respond)
    model.complete_sync("?", tools=[weather, repeat])
    model.bind_tools([renamed]).complete_sync("?")
    assert [schema["function"]["name"] for schema in received] == ["weather", "slow", "twice"]
    assert build_tool_schemas([weather]) == (weather.to_openai_schema(),)
    assert ScriptedModel("hi").complete_sync("?", tools=[weather]).content == "hi"


def test_the_official_sdk_accepts_the_schema() -> None:
    pydantic = pytest.importorskip("pydantic")
    chat = pytest.importorskip("openai.types.chat")
    adapter = pydantic.TypeAdapter(chat.ChatCompletionToolParam)
    for tool_ in (weather, repeat, attrs.evolve(weather, strict=True)):
        adapter.validate_python(tool_.to_openai_schema())


# A tool is an immutable value.


def test_a_tool_is_immutable_and_can_be_copied_with_changes() -> None:
    with pytest.raises(attrs.exceptions.FrozenInstanceError):
        weather.name = "x"  # type: ignore[misc]
    with pytest.raises(TypeError):
        weather.parameters["properties"]["city"]["type"] = "integer"
    other = attrs.evolve(weather, name="forecast", timeout=1)
    assert (other.name, other.timeout, other.function) == ("forecast", 1, weather.function)
    assert other.description == weather.description
    assert other.to_openai_schema()["function"]["name"] == "forecast"


def test_tools_are_equal_and_hash_by_function_and_settings() -> None:
    same = tool(weather.function)
    assert same == weather
    assert hash(same) == hash(weather)
    assert attrs.evolve(weather, timeout=1) != weather
    assert renamed != tool(double)
    assert copy.copy(weather) is copy.deepcopy(weather) is weather


@pytest.mark.parametrize(
    "tool_",
    [
        weather,
        repeat,
        renamed,
        attrs.evolve(weather, timeout=1, strict=True),
        tool(format_call_id),
    ],
    ids=repr,
)
def test_a_tool_is_pickled_by_the_name_of_its_function(tool_: FunctionTool[..., Any]) -> None:
    for protocol in range(2, pickle.HIGHEST_PROTOCOL + 1):
        copy = pickle.loads(pickle.dumps(tool_, protocol))
        assert copy == tool_
        assert copy.parameters == tool_.parameters
        assert (copy.timeout, copy.strict) == (tool_.timeout, tool_.strict)
        assert copy.is_async == tool_.is_async


def test_a_tool_of_an_object_is_pickled_with_the_object() -> None:
    for tool_ in (Station("Oslo").forecast, tool(Station("Oslo").forecast_function)):
        copy = pickle.loads(pickle.dumps(tool_))
        assert copy(days=2) == "Oslo in 2"
        assert copy.parameters == tool_.parameters
        assert copy.name == tool_.name


def test_a_tool_runs_in_another_process() -> None:
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool:
        assert pool.submit(weather, "Rome", days=1).result(HANG_SECONDS) == "Rome: 1 days of rain"


def test_a_tool_whose_function_cannot_be_imported_is_not_pickled() -> None:
    @tool
    def local(x: int) -> int:
        return x

    with pytest.raises(
        pickle.PicklingError, match=r"'local' cannot .* tests.tools.test_decorator.*local"
    ):
        pickle.dumps(local)


def test_a_type_checker_sees_the_types_of_the_function(tmp_path: Any) -> None:
    pytest.importorskip("mypy")
    (tmp_path / "use.py").write_text(
        "from tests.support.tool_functions import Station, repeat, weather\n"
        "reveal_type(weather)\n"
        "reveal_type(weather('Rome', days=1))\n"
        "reveal_type(Station('x').forecast)\n"
        "async def f() -> None: reveal_type(await repeat('x'))\n"
        "weather(1)\n"
        "Station('x').forecast('1')\n"
    )
    command = [sys.executable, "-m", "mypy", "--no-incremental", "--follow-imports=silent"]
    process = subprocess.run(
        [*command, str(tmp_path / "use.py")],
        cwd=PROJECT_ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    lines = process.stdout.splitlines()
    messages = [line.partition("use.py:")[2] for line in lines if "use.py:" in line]
    revealed_types = [
        message.rpartition("Revealed type is ")[2].strip('"')
        for message in messages
        if "note" in message
    ]
    class_name = "locus.tools.function_tool.FunctionTool"
    assert [name.replace("builtins.", "") for name in revealed_types] == [
        f"{class_name}[[city: str, days: int =], str]",
        "str",
        f"{class_name}[[days: int =], str]",
        "str",
    ]
    error_lines = [message.partition(":")[0] for message in messages if "error" in message]
    assert error_lines == ["6", "7"]


# Methods, partials, and other callables.


def test_a_method_is_a_tool_of_each_object() -> None:
    oslo, rome = Station("Oslo"), Station("Rome")
    assert oslo.forecast.name == "forecast"
    assert oslo.forecast.description == "The forecast here."
    assert get_argument_names(oslo.forecast) == ["days"]
    assert oslo.forecast(days=2) == "Oslo in 2"
    assert rome.forecast.function(**rome.forecast.bind({"days": 5})) == "Rome in 5"
    assert oslo.forecast == oslo.forecast
    assert oslo.forecast != rome.forecast
    method_tool = tool(oslo.forecast_function)
    assert method_tool.function(**method_tool.bind({})) == "Oslo in 1"


def test_a_method_without_its_object_does_not_bind() -> None:
    assert get_argument_names(Station.forecast) == ["days"]
    with pytest.raises(TypeError, match="is a method; take it from an object"):
        Station.forecast.bind({})
    with pytest.raises(TypeError, match="'forecast' is a method"):
        convert_to_tool(Station.forecast)


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
    class_method_tool = tool(Sums.more)
    assert get_argument_names(class_method_tool) == ["number"]
    assert class_method_tool(number=1) == 2
    with pytest.raises(TypeError, match=r"more is a class method: .* outside the class"):
        tool(Sums.__dict__["more"])
    with pytest.raises(ConfigurationError, match=r"class method: .* tool\(Wrong\.f\)"):

        class Wrong:
            @classmethod
            @tool
            def f(cls) -> None: ...


def test_keywords_that_a_partial_has_fixed_are_hidden_from_the_model() -> None:
    def fetch(session: object, path: str, *, token: str = "none", limit: int = 5) -> str:
        """Fetch a page."""
        return f"{path} {token} {limit}"

    partial = functools.partial(functools.partial(fetch, object()), token="secret")
    fetch_tool = tool(partial)
    assert (fetch_tool.name, fetch_tool.description) == ("fetch", "Fetch a page.")
    assert get_argument_names(fetch_tool) == ["path", "limit"]
    assert "secret" not in str(fetch_tool.to_openai_schema())
    assert fetch_tool.function(**fetch_tool.bind({"path": "/"})) == "/ secret 5"
    with pytest.raises(ValueError, match="token: no such argument"):
        fetch_tool.bind({"path": "/", "token": "mine"})


def test_further_arguments_cannot_have_the_name_of_a_parameter() -> None:
    def log(message: str, ctx: ToolContext | None = None, *, to: str = "me", **more: Any) -> Any:
        return ctx, to, more

    log_tool = tool(functools.partial(log, to="you"))
    arguments = log_tool.bind({"message": "x", "level": 3})
    assert log_tool.function(**arguments) == (None, "you", {"level": 3})
    for name in ("ctx", "to"):
        with pytest.raises(ValueError, match=f"{name}: no such argument"):
            log_tool.bind({"message": "x", name: {}})

    class Log:
        def write(self, **more: Any) -> Any:
            return more

    with pytest.raises(ValueError, match="self: no such argument"):
        tool(Log().write).bind({"self": 1})


def test_a_lambda_or_an_object_needs_a_name() -> None:
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
    assert get_argument_names(adder) == ["a", "b"]
    assert adder.description == "Adds."


def test_a_wrapped_function_has_the_parameters_of_the_original() -> None:
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

    assert get_argument_names(twice) == ["number"]
    assert twice.function(**twice.bind({"number": 2})) == ["logged", 4]


def test_an_agent_accepts_tools_and_functions() -> None:
    assert convert_to_tool(weather) is weather
    assert convert_to_tool(double) == tool(double)
    for value, message in [
        (3, "not of 3"),
        (Station, "not of the class Station"),
        (weather.to_openai_schema(), "pass the function"),
        (None, "not of None"),
    ]:
        with pytest.raises(TypeError, match=message):
            convert_to_tool(value) if value is not None else tool(value, name="x")(None)  # type: ignore[call-overload]


# Functions that are rejected.


def generator(x: int) -> Iterator[int]:
    yield x


async def async_generator(x: int) -> AsyncIterator[int]:
    yield x


def variadic(x: int, *rest: int) -> None: ...
def positional(x: int, /) -> None: ...
def umlaut(größe: int) -> None: ...
def unsupported(x: int, number: complex) -> None: ...
def unknown(x: int, thing: Missing) -> None: ...  # type: ignore[name-defined]  # noqa: F821
def untyped(x: "not a type") -> None: ...  # type: ignore[valid-type]  # noqa: F722
def mixed(x: ToolContext | int) -> None: ...
def keyed(x: dict[tuple[int, int], str]) -> None: ...


@pytest.mark.parametrize(
    ("function", "message"),
    [
        (generator, r"tool 'generator' yields"),
        (async_generator, r"tool 'async_generator' yields"),
        (variadic, r"tool 'variadic', parameter 'rest': .* take a list"),
        (positional, r"tool 'positional', parameter 'x': .* positional-only"),
        (umlaut, r"parameter 'größe': not every provider accepts this name"),
        (
            unsupported,
            r"tool 'unsupported', parameter number: complex cannot be represented in JSON",
        ),
        (unknown, r"tool 'unknown', parameter 'thing': name 'Missing' is not defined"),
        (untyped, r"tool 'untyped', parameter 'x': .* is not a type"),
        (mixed, r"tool 'mixed', parameter 'x': a parameter is either a ToolContext"),
        (keyed, r"tool 'keyed', parameter x: its keys cannot be represented in JSON"),
        (dict.update, r"tool 'update'"),
    ],
    ids=lambda value: getattr(value, "__name__", None),
)
def test_a_function_that_a_model_cannot_call_is_rejected(function: Any, message: str) -> None:
    with pytest.raises(ConfigurationError, match=message):
        tool(function)


def test_a_local_type_in_a_postponed_annotation_is_rejected() -> None:
    @attrs.frozen
    class Local:
        x: int

    def local(thing: Local) -> None: ...

    with pytest.raises(ConfigurationError, match=r"'thing': name 'Local' is not .* visible"):
        tool(local)


@pytest.mark.parametrize(
    "name", ["", "two words", "a.b", "größe", "1st", "-x", "x" * 65, "x\n", 3], ids=repr
)
def test_a_name_that_a_provider_rejects_is_rejected(name: Any) -> None:
    with pytest.raises(ConfigurationError, match="cannot be the name of a tool"):
        tool(double, name=name)
    assert tool(double, name="x" * 64).name == "x" * 64
    assert tool(double, name="get-weather_2").name == "get-weather_2"


@pytest.mark.parametrize("timeout", [0, -1, float("nan"), float("inf"), "3", True], ids=repr)
def test_a_timeout_is_a_number_of_seconds_above_0(timeout: Any) -> None:
    with pytest.raises(
        ConfigurationError, match="tool 'double': timeout must be a number of seconds above 0"
    ):
        tool(double, timeout=timeout)


def test_a_value_that_is_no_function_is_a_type_error() -> None:
    for value, message in [("name", "not of 'name'"), (weather, "'weather' is a tool already")]:
        with pytest.raises(TypeError, match=message):
            tool(value)  # type: ignore[call-overload]
    with pytest.raises(TypeError):
        tool(double, idempotent="yes")  # type: ignore[call-overload]
    with pytest.raises(TypeError, match="description must be a string"):
        tool(double, description=3)  # type: ignore[call-overload]


# The context.


def test_the_context_is_passed_and_not_in_the_schema() -> None:
    context_tool = tool(format_call_id)  # in its module ToolContext is for type checkers only
    assert get_argument_names(context_tool) == ["key"]
    context = ToolContext("call_1", "format_call_id", thread_id="t", metadata={"user": 3})
    arguments = context_tool.bind({"key": "k"}, context)
    assert context_tool.function(**arguments) == "call_1 k"
    assert context.metadata == {"user": 3}
    with pytest.raises(TypeError, match=r"'format_call_id' requires a ToolContext; pass"):
        context_tool.bind({"key": "k"})
    with pytest.raises(ValueError, match=r"ctx: no such argument .*known: key"):
        context_tool.bind({"key": "k", "ctx": {}}, context)


def test_a_context_that_has_a_default_may_be_missing() -> None:
    def get_name(ctx: ToolContext | None = None) -> str:
        return ctx.tool_name if ctx else "none"

    context_tool = tool(get_name)
    assert get_argument_names(context_tool) == []
    assert context_tool.function(**context_tool.bind({})) == "none"
    arguments = context_tool.bind({}, ToolContext("1", "get_name"))
    assert context_tool.function(**arguments) == "get_name"
    assert get_name() == "none"


def test_a_context_is_a_value() -> None:
    context = ToolContext("1", "x", metadata={"a": 1})
    assert pickle.loads(pickle.dumps(context)) == context
    assert hash(context) == hash(ToolContext("1", "x", metadata={"a": 1}))
    with pytest.raises(TypeError, match=r"ToolContext\.metadata must be a mapping"):
        ToolContext("1", "x", metadata=3)  # type: ignore[arg-type]
