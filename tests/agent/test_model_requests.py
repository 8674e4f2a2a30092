"""What a run asks its model: refused prompts, full contexts, system prompts, last answers."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import attrs
import pytest

from locus.agent import Agent, PromptContext
from locus.core.errors import (
    APIStatusError,
    BadRequestError,
    ConfigurationError,
    ContextWindowExceededError,
    InternalServerError,
)
from locus.core.messages import Message
from locus.memory import (
    FileCheckpointer,
    MemoryCheckpointer,
    SlidingWindowManager,
    SQLiteCheckpointer,
    SummarizingManager,
    TruncatingManager,
)
from locus.testing import FunctionModel, ScriptedModel, text, tool_call
from locus.tools import tool
from tests.agent.recorded_runs import RUNTIMES, record_run, run_to_end


@tool
def look(q: str) -> str:
    """Look something up."""
    return f"found {q}"


def get_texts(messages: Any) -> list[str]:
    return [message.text for message in messages]


# Prompts that the provider refuses.


def refuse_pictures(messages: Any, tools: Any) -> Any:
    if any("PICTURE" in message.text for message in messages):
        raise BadRequestError("Invalid image data", status_code=400)
    return "ok"


@pytest.mark.parametrize("runtime", RUNTIMES)
@pytest.mark.parametrize("kind", ["memory", "file", "sqlite"])
def test_a_refused_prompt_does_not_stay_in_the_thread(
    runtime: str, kind: str, tmp_path: Path
) -> None:
    checkpointer: Any = {
        "memory": MemoryCheckpointer,
        "file": lambda: FileCheckpointer(tmp_path),
        "sqlite": lambda: SQLiteCheckpointer(tmp_path / "threads.db"),
    }[kind]()
    agent = Agent(FunctionModel(refuse_pictures), checkpointer=checkpointer)
    for thread_id in ("old", "new"):
        if thread_id == "old":
            run_to_end(runtime, agent, "hello", "old")
        recorded = record_run(runtime, agent, "PICTURE", thread_id)
        assert isinstance(recorded.error, BadRequestError)
        assert recorded.terminate_event.reason.startswith("error: BadRequestError")
    assert checkpointer.threads() == ("old",)
    assert get_texts(run_to_end(runtime, agent, "again", "old").state.messages) == [
        "hello",
        "ok",
        "again",
        "ok",
    ]
    assert get_texts(run_to_end(runtime, agent, "again", "new").state.messages) == ["again", "ok"]


@pytest.mark.parametrize("status", [401, 408, 429, 500, 503])
def test_a_prompt_that_is_not_at_fault_stays(status: int) -> None:
    def fail(messages: Any, tools: Any) -> Any:
        raise APIStatusError("no", status_code=status)

    checkpointer = MemoryCheckpointer()
    with pytest.raises(APIStatusError):
        Agent(FunctionModel(fail), checkpointer=checkpointer).run_sync("hello", "t")
    state = checkpointer.load("t")
    assert state is not None
    assert get_texts(state.messages) == ["hello"]


def test_a_prompt_stays_if_a_later_request_fails() -> None:
    answers = iter(
        [
            ContextWindowExceededError("too long", status_code=400),
            tool_call("look", q="x"),
            InternalServerError("broken", status_code=500),
        ]
    )

    def answer(messages: Any, tools: Any) -> Any:
        value = next(answers)
        if isinstance(value, Exception):
            raise value
        return value

    checkpointer = MemoryCheckpointer()
    manager = SlidingWindowManager(max_messages=1000)
    agent = Agent(
        FunctionModel(answer), [look], checkpointer=checkpointer, conversation_manager=manager
    )
    with pytest.raises(InternalServerError):
        agent.run_sync([*HISTORY, Message.user("hello")], "t")
    state = checkpointer.load("t")
    assert state is not None
    assert get_texts(state.messages)[-3:] == ["hello", "", "found x"]


# Contexts that are full.

HISTORY = [Message.user("a"), Message.assistant("b")] * 20


def make_small_model(limit: int, sent: list[Any]) -> FunctionModel:
    """A model whose context has room for so many characters."""

    def answer(messages: Any, tools: Any) -> Any:
        sent.append(messages)
        if sum(len(message.text) for message in messages) > limit:
            raise ContextWindowExceededError("too long", status_code=400)
        return "here"

    return FunctionModel(answer)


@pytest.mark.parametrize("runtime", RUNTIMES)
@pytest.mark.parametrize(
    "manager",
    [
        SlidingWindowManager(max_messages=1000),
        TruncatingManager(),
        SummarizingManager(ScriptedModel("a summary", cycle=True), threshold=10**6),
    ],
)
def test_a_full_context_is_asked_again_with_less(runtime: str, manager: Any) -> None:
    sent: list[Any] = []
    agent = Agent(
        make_small_model(50, sent), system_prompt="Be brief.", conversation_manager=manager
    )
    result = run_to_end(runtime, agent, [*HISTORY, Message.user("and now?")])
    assert result.message == "here"
    first, second = sent
    assert len(second) < len(first)
    assert (second[0].text, second[-1].text) == ("Be brief.", "and now?")
    assert len(result.state.messages) == len(HISTORY) + 2  # nothing is lost


def test_a_result_that_is_too_long_is_cut() -> None:
    @tool
    def read() -> str:
        """Read."""
        return "x" * 10_000

    sent: list[Any] = []

    small = make_small_model(5000, sent)

    def answer(messages: Any, tools: Any) -> Any:
        return tool_call("read") if len(messages) == 1 else small.function(messages, tools)

    manager = SlidingWindowManager(max_messages=1000)
    result = Agent(FunctionModel(answer), [read], conversation_manager=manager).run_sync("?")
    assert result.message == "here"
    assert len(sent) == 2


@pytest.mark.parametrize(
    ("manager", "prompt", "requests"),
    [
        (None, [*HISTORY, Message.user("x")], 1),
        (SlidingWindowManager(max_messages=1000), [*HISTORY, Message.user("x")], 2),
        (SlidingWindowManager(max_messages=1000), "x", 1),  # there is nothing to leave out
    ],
)
def test_a_context_that_stays_full_is_an_error(manager: Any, prompt: Any, requests: int) -> None:
    sent: list[Any] = []
    with pytest.raises(ContextWindowExceededError):
        Agent(make_small_model(0, sent), conversation_manager=manager).run_sync(prompt)
    assert len(sent) == requests


def test_the_next_requests_of_the_run_have_less_at_once() -> None:
    sent: list[Any] = []
    small = make_small_model(50, sent)

    def answer(messages: Any, tools: Any) -> Any:
        response = small.function(messages, tools)
        return tool_call("look", q="x") if messages[-1].role != "tool" else response

    manager = SlidingWindowManager(max_messages=1000)
    agent = Agent(FunctionModel(answer), [look], conversation_manager=manager)
    assert agent.run_sync([*HISTORY, Message.user("and now?")]).message == "here"
    assert len(sent) == 3


# What is no longer in the conversation.


def test_executions_go_with_the_calls_that_a_summary_replaces() -> None:
    runs: list[int] = []

    @tool(idempotent=True)
    def pay(order: int) -> str:
        """Pay."""
        runs.append(order)
        return "paid " * 100

    manager = SummarizingManager(ScriptedModel("a summary", cycle=True), keep_last=4, threshold=10)
    script = [tool_call("pay", order=7), *[tool_call("look", q="y" * 400) for _ in range(12)]]
    model = ScriptedModel(*script, tool_call("pay", order=7), "end")
    agent = Agent(model, [look, pay], conversation_manager=manager)
    state = agent.run_sync("go").state
    known = {call.id for message in state.messages for call in message.tool_calls}
    executions = [one for one in state.tool_executions if one.tool_call_id not in known]
    assert {one.tool_name for one in executions} <= {"pay"}
    assert known <= {one.tool_call_id for one in state.tool_executions}
    assert runs == [7]


# System prompts of a function.


@pytest.mark.parametrize("runtime", RUNTIMES)
def test_a_function_makes_the_system_prompt_of_each_run(runtime: str) -> None:
    contexts: list[PromptContext] = []

    def make_prompt(context: PromptContext) -> str:
        contexts.append(context)
        return f"You speak with {context.metadata['user']}."

    async def make_prompt_async(context: PromptContext) -> str | None:
        return None if context.metadata["user"] == "grace" else make_prompt(context)

    for function in (make_prompt, make_prompt_async):
        model = ScriptedModel(tool_call("look", q="x"), "ok", cycle=True)
        agent = Agent(model, [look], system_prompt=function)
        run_to_end(runtime, agent, "hi", "t", metadata={"user": "ada"})
        assert [call.messages[0].text for call in model.calls] == ["You speak with ada."] * 2
    run_to_end(runtime, agent, "hi", metadata={"user": "grace"})
    assert model.calls[-1].messages[0].text == "hi"
    assert len(contexts) == 2
    assert contexts[0].thread_id == "t"
    assert get_texts(contexts[0].state.messages) == ["hi"]


@pytest.mark.parametrize("runtime", RUNTIMES)
def test_a_function_of_a_system_prompt_may_take_nothing(runtime: str) -> None:
    async def make_prompt() -> str:
        return "async"

    for function, expected in ((lambda: "blocking", "blocking"), (make_prompt, "async")):
        model = ScriptedModel("ok")
        run_to_end(runtime, Agent(model, system_prompt=function), "hi")
        assert model.calls[0].messages[0].text == expected
    with pytest.raises(ConfigurationError, match=r"has the parameters \(a, b\)"):
        Agent(ScriptedModel("ok"), system_prompt=lambda a, b: "")


def test_a_system_prompt_is_text() -> None:
    with pytest.raises(TypeError, match="system_prompt returned int"):
        Agent(ScriptedModel("x"), system_prompt=lambda context: 1).run_sync("?")
    with pytest.raises(TypeError, match="system_prompt"):
        Agent(ScriptedModel("x"), system_prompt=1)


# The last answer.


@pytest.mark.parametrize("runtime", RUNTIMES)
def test_a_run_at_its_limit_asks_for_what_there_is(runtime: str) -> None:
    calls = [tool_call("look", q=str(n)) for n in range(2)]
    model = ScriptedModel(*calls, "As far as I know: 42.")
    agent = Agent(model, [look], max_iterations=2, final_answer=True, tool_choice="required")
    result = run_to_end(runtime, agent, "?")
    assert (result.message, result.stop_reason) == ("As far as I know: 42.", "MaxIterations(2)")
    assert result.iterations == 3
    last = model.calls[-1]
    assert not last.tools
    assert "tool_choice" not in last.options
    assert get_texts(last.messages)[0] == "?"


def test_the_last_answer_has_no_calls_and_fits_the_type() -> None:
    model = ScriptedModel(tool_call("look", q="x"), [text("7"), tool_call("look", q="y")])
    agent = Agent(model, [look], max_iterations=1, final_answer=True, output_schema=int)
    result = agent.run_sync("?")
    assert result.parsed == 7
    assert result.state.pending_calls() == ()
    assert result.tool_calls == 1


def test_a_run_that_ends_otherwise_is_not_asked_again() -> None:
    model = ScriptedModel("done")
    agent = Agent(model, [look], max_iterations=1, final_answer=True)
    assert agent.run_sync("?").stop_reason == "complete"
    assert len(model.calls) == 1
    with pytest.raises(ConfigurationError):
        Agent(model, final_answer="yes")


# Hooks that change a request.


class BeforeCall:
    def __init__(self, change: Any) -> None:
        self.change = change
        self.after: list[Any] = []

    def on_before_model_call(self, event: Any) -> None:
        self.change(event)

    def on_after_model_call(self, event: Any) -> None:
        self.after.append(event)


def hide(event: Any) -> None:
    event.messages = [Message.user("hidden") for _ in event.messages]


def offer_nothing(event: Any) -> None:
    event.tools = ()


def cool(event: Any) -> None:
    event.options = {**event.options, "temperature": 0}


@pytest.mark.parametrize("runtime", RUNTIMES)
def test_a_hook_changes_the_request_and_nothing_else(runtime: str) -> None:
    hooks = [BeforeCall(hide), BeforeCall(offer_nothing), BeforeCall(cool)]
    model = ScriptedModel("ok")
    agent = Agent(model, [look], hooks=hooks, model_options={"max_tokens": 9})
    result = run_to_end(runtime, agent, "Call 555.")
    (call,) = model.calls
    assert get_texts(call.messages) == ["hidden"]
    assert call.tools is not None
    assert not call.tools
    assert dict(call.options) == {"max_tokens": 9, "temperature": 0}
    assert get_texts(result.state.messages) == ["Call 555.", "ok"]
    (after,) = hooks[0].after
    assert (get_texts(after.messages), after.tools) == (["hidden"], ())
    with pytest.raises(attrs.exceptions.FrozenAttributeError):
        after.messages = ()


@pytest.mark.parametrize(
    ("name", "value", "error"),
    [
        ("messages", "text", TypeError),
        ("messages", ["text"], TypeError),
        ("tools", "look", TypeError),
        ("options", {"tools": []}, ConfigurationError),
        ("options", 1, TypeError),
        ("iteration", 2, AttributeError),
    ],
)
def test_a_request_that_cannot_be_sent_is_refused_where_it_is_assigned(
    name: str, value: Any, error: type[Exception]
) -> None:
    hook = BeforeCall(lambda event: setattr(event, name, value))
    model = ScriptedModel("ok")
    with pytest.raises(error):
        Agent(model, hooks=[hook]).run_sync("?")
    assert not model.calls


@tool
def leak() -> str:
    """What must not run."""
    raise AssertionError


def without_leak(event: Any) -> None:
    event.tools = [one for one in event.tools if one["function"]["name"] != "leak"]


@pytest.mark.parametrize("is_bound", [False, True])
@pytest.mark.parametrize("runtime", RUNTIMES)
def test_a_tool_that_a_hook_takes_out_is_not_run(runtime: str, is_bound: bool) -> None:
    model = ScriptedModel([tool_call("leak"), tool_call("look", q="x")], "end")
    agent = Agent(model, [look, leak], hooks=[BeforeCall(without_leak)], on_tool_error="raise")
    if is_bound:
        agent = agent.copy(model=model.bind_tools([look, leak]), tools=())
    result = run_to_end(runtime, agent, "?")
    refused, found = (message.text for message in result.state.messages if message.role == "tool")
    assert refused == "Error: there is no tool 'leak'. The tools are: look."
    assert found == "found x"
    for call in model.calls:
        assert [one["function"]["name"] for one in call.tools] == ["look"]


@pytest.mark.parametrize("runtime", RUNTIMES)
def test_a_tool_that_was_taken_out_is_not_run_after_a_resume_either(runtime: str) -> None:
    def fail(event: Any) -> None:
        raise ConnectionError

    interrupting = BeforeCall(without_leak)
    interrupting.on_before_tool_call = fail  # type: ignore[attr-defined]
    checkpointer = MemoryCheckpointer()
    model = ScriptedModel(tool_call("leak"), tool_call("look", q="x"), "end")
    agent = Agent(model, [look, leak], hooks=[interrupting], checkpointer=checkpointer)
    with pytest.raises(ConnectionError):
        run_to_end(runtime, agent, "?", "t")
    agent = agent.copy(hooks=(), on_tool_error="raise")
    result = run_to_end(runtime, agent, resume=True, thread_id="t")
    assert "there is no tool 'leak'" in result.state.messages[2].text
    assert len(model.calls[1].tools) == 2  # the hook is gone
    assert result.state.hidden_tools == ()
