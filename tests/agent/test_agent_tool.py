"""Agents that are tools of other agents."""

from __future__ import annotations

from typing import Any

import anyio
import attrs
import pytest

from locus.agent import Agent
from locus.core.errors import ConfigurationError
from locus.core.events import SubAgentEvent
from locus.core.messages import Message, ToolCall
from locus.core.response import ModelResponse
from locus.testing import FunctionModel, ScriptedModel, text, tool_call
from locus.tools import ToolContext, tool
from tests.agent.recorded_runs import RUNTIMES, record_run, run_to_end

SEEN: list[Any] = []


@tool
def fail(ctx: ToolContext) -> str:
    """Fail."""
    SEEN.append(dict(ctx.metadata))
    raise LookupError("no such table")


def ask(expert: Agent, runtime: str = "blocking", **kw: Any) -> Any:
    helper = expert.as_tool(name="ask_expert", description="Ask the expert.")
    script = ScriptedModel(
        [tool_call("ask_expert", prompt="What?"), tool_call("ask_expert", prompt="And why?")],
        text("So it is.", usage={"prompt_tokens": 10}),
    )
    return run_to_end(runtime, Agent(script, [helper]), "?", **kw)


def get_results(result: Any) -> list[str]:
    return [message.text for message in result.state.messages if message.role == "tool"]


@pytest.mark.parametrize("runtime", RUNTIMES)
def test_an_agent_answers_another_and_its_tokens_are_counted(runtime: str) -> None:
    model = ScriptedModel(text("42", usage={"prompt_tokens": 900}), cycle=True)
    result = ask(Agent(model), runtime)
    assert get_results(result) == ["42", "42"]
    assert dict(result.usage) == {"prompt_tokens": 1810}
    assert sorted(call.messages[-1].text for call in model.calls) == ["And why?", "What?"]


@pytest.mark.parametrize("runtime", RUNTIMES)
def test_the_tokens_of_an_agent_that_failed_are_counted(runtime: str) -> None:
    def answer(messages: Any, tools: Any) -> Any:
        if messages[-1].role == "tool":
            raise LookupError("the model is gone")
        return attrs.evolve(tool_call("fail"), usage={"prompt_tokens": 5})

    model = FunctionModel(answer)
    SEEN.clear()
    result = ask(Agent(model, [fail]), runtime, metadata={"user": "ada"})
    assert all("LookupError: the model is gone" in text for text in get_results(result))
    assert SEEN == [{"user": "ada"}] * 2
    assert dict(result.usage) == {"prompt_tokens": 20}


def test_an_agent_that_ends_without_an_answer_has_failed() -> None:
    model = ScriptedModel(text("", stop_reason="length", usage={"prompt_tokens": 7}), cycle=True)
    result = ask(Agent(model))
    assert all("without an answer: length" in text for text in get_results(result))
    assert dict(result.usage) == {"prompt_tokens": 24}


def test_the_schema_asks_for_a_prompt() -> None:
    schema = Agent(ScriptedModel("x")).as_tool(name="ask", description="Ask.").to_openai_schema()
    assert schema["function"]["parameters"]["required"] == ["prompt"]
    assert schema["function"]["description"] == "Ask."
    with pytest.raises(ConfigurationError):
        Agent(ScriptedModel("x")).as_tool(name="not a name", description="")


@pytest.mark.parametrize("runtime", RUNTIMES)
def test_the_events_of_agents_are_nested_in_the_order_of_the_calls(runtime: str) -> None:
    inner = Agent(ScriptedModel("42", cycle=True)).as_tool(name="inner", description="Ask.")

    def answer(messages: Any, tools: Any) -> Any:
        if messages[-1].role == "tool":
            return f"{messages[0].text}: {messages[-1].text}"
        return tool_call("inner", "inner_1", prompt="How many?")

    middle = Agent(FunctionModel(answer), [inner]).as_tool(name="middle", description="Ask.")
    calls = [
        tool_call("middle", "a", prompt="first"),
        tool_call("fail", "b"),
        tool_call("middle", "c", prompt="second"),
    ]
    recorded = record_run(runtime, Agent(ScriptedModel(calls, "end"), [middle, fail]), "Go.")

    def describe(event: Any) -> str:
        if isinstance(event, SubAgentEvent):
            return f"{event.tool_call_id}>{describe(event.event)}"
        return type(event).__name__.removesuffix("Event")

    of_inner = ["inner_1>Think", "inner_1>Terminate"]
    of_middle = ["Think", "ToolStart", *of_inner, "ToolComplete", "Think", "Terminate"]
    assert [describe(event) for event in recorded.events if not hasattr(event, "content")] == [
        "Think",
        *["ToolStart"] * 3,
        *(f"a>{name}" for name in of_middle),
        "ToolComplete",
        "ToolComplete",
        *(f"c>{name}" for name in of_middle),
        "ToolComplete",
        "Think",
        "Terminate",
    ]
    nested = recorded.select_events_of_type(SubAgentEvent)
    assert nested[6].event.final_message == "first: 42"


@pytest.mark.parametrize("runtime", RUNTIMES)
def test_the_events_of_an_agent_that_failed_are_nested_too(runtime: str) -> None:
    def break_down(messages: Any, tools: Any) -> Any:
        raise LookupError("the model is gone")

    helper = Agent(FunctionModel(break_down)).as_tool(name="ask_expert", description="Ask.")
    script = ScriptedModel(tool_call("ask_expert", prompt="What?"), "end")
    (event,) = record_run(runtime, Agent(script, [helper]), "Go.").select_events_of_type(
        SubAgentEvent
    )
    assert event.event.reason == "error: LookupError: the model is gone"


@pytest.mark.parametrize("runtime", RUNTIMES)
def test_the_tokens_of_an_agent_that_ran_out_of_time_are_counted(runtime: str) -> None:
    @tool
    async def wait() -> None:
        """Wait."""
        await anyio.sleep_forever()

    called = Message.assistant(None, [ToolCall("1", "wait")])
    inner = ScriptedModel(ModelResponse(called, usage={"prompt_tokens": 50}))
    helper = Agent(inner, [wait]).as_tool(name="ask", description="Ask.")
    model = ScriptedModel(
        tool_call("ask", prompt="Which?"), text("end", usage={"prompt_tokens": 1})
    )
    result = run_to_end(runtime, Agent(model, [attrs.evolve(helper, timeout=0.2)]), "?")
    assert dict(result.usage) == {"prompt_tokens": 51}
    assert "did not finish within" in result.state.messages[2].text


@attrs.frozen
class City:
    name: str


def test_an_answer_of_a_type_is_the_json_of_its_value() -> None:
    expert = Agent(ScriptedModel('Here it is: {"name": "Oslo"}'), output_schema=City)
    helper = expert.as_tool(name="ask", description="Ask.")
    model = ScriptedModel(tool_call("ask", prompt="Which?"), "end")
    result = Agent(model, [helper]).run_sync("?")
    assert result.state.messages[2].text == '{"name":"Oslo"}'


def test_an_agent_is_made_a_tool_before_it_is_passed() -> None:
    with pytest.raises(TypeError, match=r"as_tool\(name=…, description=…\) makes a tool of it"):
        Agent(ScriptedModel("x"), [Agent(ScriptedModel("y"))])
