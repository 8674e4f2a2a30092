"""Uses of the public API, for type checkers: ``tox run -e types`` runs mypy and pyright over them.

Nothing here is run. ``assert_type`` fails where a checker sees another type; a line with an ignore
comment fails where a checker sees no error, since ignores that are not needed are errors.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass
from typing import Any, assert_type

import locus
from locus import (
    Agent,
    AgentResult,
    AnthropicModel,
    APIError,
    APIStatusError,
    ImagePart,
    LocalModel,
    Message,
    OCIModel,
    OCIResponsesModel,
    OllamaModel,
    OpenAIModel,
    Role,
    StreamInterruptedError,
    TextPart,
    ToolCall,
    ToolResult,
    get_model,
    tool,
)
from locus.agent import AgentState
from locus.core.events import ModelChunkEvent, TerminateEvent, ThinkEvent
from locus.core.response import FinishReason
from locus.core.structured import StructuredOutput, build_response_format, parse_structured
from locus.core.termination import MaxIterations, TextMention, TimeLimit
from locus.hooks import AfterToolCallEvent, HookProvider
from locus.memory import SlidingWindowManager, SQLiteCheckpointer
from locus.models import ModelProtocol, ModelResponse
from locus.testing import ScriptedModel, check_model_conformance, text
from locus.tools import ToolContext


def blocking_calls() -> None:
    model = OpenAIModel("gpt-4o", temperature=0.2, max_tokens=500)
    assert_type(model.copy(max_tokens=50), OpenAIModel)
    assert_type(model.bind_tools([weather]), OpenAIModel)
    response = model.complete_sync("What is the capital of France?", temperature=0)
    assert_type(response, ModelResponse)
    assert_type(response.message, Message)
    assert_type(response.usage, Mapping[str, int])
    assert_type(response.finish_reason, FinishReason)
    assert_type(response.tool_calls, tuple[ToolCall, ...])
    assert_type(model.invoke([Message.user("Hello")]), Message)
    with model.stream_sync("Tell me a story.") as events:
        for event in events:
            assert_type(event, ModelChunkEvent)
            assert_type(event.content, str | None)
            assert_type(event.response, ModelResponse | None)
    with model as opened:
        assert_type(opened, OpenAIModel)
    model.complete_sync(42)  # type: ignore[arg-type] # pyright: ignore[reportArgumentType]


class OwnModel:
    async def complete(self, messages: Any, tools: Any = None, **kwargs: Any) -> ModelResponse:
        return ModelResponse(Message.assistant("x"))

    def stream(
        self, messages: Any, tools: Any = None, **kwargs: Any
    ) -> AsyncIterator[ModelChunkEvent]:
        raise NotImplementedError


def keywords_of_calls() -> None:
    own: ModelProtocol = OwnModel()
    Agent(own)
    model = AnthropicModel()
    model.complete_sync("x", stop="END", tool_choice={"type": "auto"}, logit_bias={"50256": -100})
    model.stream_sync("x", stop_sequences=("END",), extra_body={"top_k": 4}, deadline=2.5)
    options: dict[str, Any] = {"seed": 1}
    model.invoke("x", None, **options)
    model.invoke("x", temprature=0)  # type: ignore[call-arg] # pyright: ignore[reportCallIssue]
    model.bind_tools([], seed="1")  # type: ignore[arg-type] # pyright: ignore[reportArgumentType]
    model.request("x", stream=True, max_token=5)  # type: ignore[call-arg] # pyright: ignore[reportCallIssue]


async def async_calls() -> None:
    async with AnthropicModel(prompt_cache=True) as model:
        assert_type(model, AnthropicModel)
        assert_type(await model.complete("Hello"), ModelResponse)
        assert_type(await model.ainvoke("Hello"), Message)
        async with model.stream("Hello") as events:
            async for event in events:
                assert_type(event, ModelChunkEvent)


def every_model_is_one() -> None:
    models: list[ModelProtocol] = [
        OpenAIModel(),
        AnthropicModel(),
        OllamaModel("qwen3:8b"),
        OCIModel("cohere.command-r-plus"),
        OCIResponsesModel("openai.gpt-5", profile="DEFAULT", store=False),
        LocalModel("smollm2"),
        ScriptedModel([text("Hello")]),
        get_model("openai:gpt-4o"),
    ]
    for model in models:
        check_model_conformance(model)


def messages() -> None:
    message = Message.user([TextPart("What is this?"), ImagePart(data=b"", media_type="image/png")])
    assert_type(message.role, Role)
    assert_type(message.text, str)
    call = ToolCall(name="weather", arguments={"city": "Rome"})
    assert_type(call.arguments, Mapping[str, Any])
    assert_type(Message.tool(ToolResult(call.id, call.name, "sunny")), Message)
    message.role = Role.USER  # type: ignore[misc] # pyright: ignore[reportAttributeAccessIssue]


@tool
def weather(city: str) -> str:
    """Say what the weather is like in a city."""
    return f"It is sunny in {city}."


@tool(name="look_up", idempotent=True)
async def look_up(key: str, ctx: ToolContext) -> dict[str, int]:
    """Look a number up."""
    return {key: ctx.iteration}


async def tools_stay_functions() -> None:
    assert_type(weather("Rome"), str)
    assert_type(await look_up("a", ctx=context()), dict[str, int])
    assert_type(weather.to_openai_schema(), Mapping[str, Any])
    weather(1)  # type: ignore[arg-type] # pyright: ignore[reportArgumentType]


def context() -> ToolContext:
    raise NotImplementedError


class Timing(HookProvider):
    """A hook with one method of each colour."""

    def on_after_tool_call(self, event: AfterToolCallEvent) -> None:
        assert_type(event.tool_name, str)
        event.result = "another"
        event.retry = True


def blocking_agent() -> None:
    agent = Agent(
        "openai:gpt-4o",
        [weather, look_up],
        "Be brief.",
        termination=MaxIterations(5) | TimeLimit(60) & TextMention("DONE"),
        hooks=[Timing()],
        conversation_manager=SlidingWindowManager(20),
        checkpointer=SQLiteCheckpointer("threads.db"),
    )
    result = agent.run_sync("Rome?", thread_id="t-1")
    assert_type(result, AgentResult)
    assert_type(result.message, str)
    assert_type(result.state, AgentState)
    assert_type(AgentState.from_json(result.state.to_json()), AgentState)
    assert_type(agent.resume_sync(thread_id="t-1"), AgentResult)
    for event in agent.stream_sync("Rome?"):
        if isinstance(event, ThinkEvent):
            assert_type(event.tool_calls, tuple[ToolCall, ...])
        elif isinstance(event, TerminateEvent):
            assert_type(event.reason, str)


async def async_agent() -> None:
    agent = Agent(OpenAIModel(), [weather])
    assert_type(await agent.arun("Rome?"), AgentResult)
    async with agent.run("Rome?") as events:
        async for event in events:
            assert_type(event.__class__.__name__, str)


@dataclass
class City:
    """A place to live."""

    name: str
    inhabitants: int


def structured_output() -> None:
    response = get_model("openai:gpt-4o").complete_sync(
        "Describe Paris.", response_format=build_response_format(City)
    )
    output = parse_structured(response.content, City)
    assert_type(output, StructuredOutput[City])
    assert_type(output.unwrap(), City)
    assert_type(output.parsed, City | None)


def errors(model: OpenAIModel) -> None:
    try:
        model.complete_sync("Hello")
    except StreamInterruptedError as error:
        assert_type(error.partial, ModelResponse | None)
    except APIStatusError as error:
        assert_type(error.status_code, int)
        assert_type(error.retry_after, float | None)
    except APIError as error:
        assert_type(error.provider, str | None)
    except locus.ConfigurationError:
        pass
