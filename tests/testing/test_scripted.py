"""The models that users test with: every kind of response, on every runtime, no traces left."""

from __future__ import annotations

import copy
import pickle
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import anyio
import pytest
from hypothesis import given
from hypothesis import strategies as st

from locus import Message, RefusalPart, ToolCall, ToolResult
from locus.core.errors import (
    APIConnectionError,
    ConfigurationError,
    OverloadedError,
    RateLimitError,
    StreamInterruptedError,
)
from locus.core.events import ModelChunkEvent
from locus.core.messages import ImagePart
from locus.core.response import ModelResponse
from locus.models.base import ModelProtocol
from locus.testing import (
    FunctionModel,
    ScriptedModel,
    ScriptExhaustedError,
    interrupted_text,
    text,
    tool_call,
)
from locus.testing.formats.runtimes import Runtime, run_async
from locus.testing.scripted import ScriptEntry
from tests.support.subprocess_scripts import run_script
from tests.support.timing import HANG_SECONDS

TOOL = {
    "type": "function",
    "function": {"name": "weather", "parameters": {"type": "object", "properties": {}}},
}
OTHER = {"type": "function", "function": {"name": "clock"}}


def make_overloaded_error() -> OverloadedError:
    return OverloadedError("no room", status_code=529)


# -- responses -----------------------------------------------------------------------------------


def test_responses_come_in_order_on_every_runtime(runtime: Runtime) -> None:
    model = ScriptedModel("one", "two", "three")
    assert runtime.complete(model, "?").content == "one"
    assert runtime.collect_events(model, "?")[-1].response.content == "two"
    assert runtime.invoke(model, "?") == Message.assistant("three")


def test_parallel_calls_are_one_response(runtime: Runtime) -> None:
    entry = [tool_call("weather", city="Oslo"), tool_call("weather", city="Rome")]
    model = ScriptedModel(entry, cycle=True)
    response = runtime.complete(model, "?")
    assert [call.arguments for call in response.tool_calls] == [{"city": "Oslo"}, {"city": "Rome"}]
    assert len({call.id for call in response.tool_calls}) == 2
    assert (response.message.content, response.finish_reason) == (None, "tool_calls")
    assert runtime.collect_events(model, "?")[-1].tool_calls == response.tool_calls


def test_a_call_can_have_any_argument_and_an_id_of_its_own() -> None:
    call = tool_call("weather", "call_1", id="a", name="b", self="c").tool_calls[0]
    assert call == ToolCall("call_1", "weather", {"id": "a", "name": "b", "self": "c"})


def test_text_and_calls_make_one_response_that_ends_as_a_call_does() -> None:
    response = ScriptedModel([tool_call("weather"), "Let me ", text("see.")]).complete_sync("?")
    assert response.content == "Let me see."
    assert [call.name for call in response.tool_calls] == ["weather"]
    assert response.stop_reason == "tool_calls"


def test_chunks_join_reasoning_and_usage() -> None:
    entry = [
        text("a", reasoning="x", usage={"prompt_tokens": 3}),
        text("b", reasoning="y", usage={"completion_tokens": 2}, stop_reason="length"),
    ]
    response = ScriptedModel(entry).complete_sync("?")
    assert (response.content, response.reasoning, response.finish_reason) == ("ab", "xy", "length")
    assert response.usage == {"prompt_tokens": 3, "completion_tokens": 2}


def test_a_refusal_can_be_one_part_of_several() -> None:
    refusal = Message.assistant([RefusalPart("No.")])
    assert ScriptedModel(refusal).complete_sync("?").refusal == "No."
    response = ScriptedModel(["I am sorry.", refusal]).complete_sync("?")
    assert (response.content, response.refusal) == ("I am sorry.", "No.")


def test_a_response_is_returned_unchanged(runtime: Runtime) -> None:
    response = ModelResponse(
        Message.assistant("Hi"),
        usage={"prompt_tokens": 1},
        stop_reason="end_turn",
        provider_state={"previous_response_id": "r1"},
        reasoning="Greet.",
        model="big-1",
        response_id="r2",
        logprobs={"content": []},
    )
    model = ScriptedModel(response, cycle=True)
    assert runtime.complete(model, "?") == response
    last = runtime.collect_events(model, "?")[-1]
    assert last.response == response
    assert (last.usage, last.stop_reason) == (response.usage, "end_turn")
    assert last.provider_state == response.provider_state


entries: st.SearchStrategy[ScriptEntry] = st.lists(
    st.text().map(text)
    | st.text()
    | st.builds(text, st.text(), reasoning=st.text(min_size=1))
    | st.builds(tool_call, st.text(min_size=1)),
    min_size=1,
    max_size=4,
)


@given(entry=entries)
def test_the_chunks_of_a_stream_joined_are_the_complete_response(entry: ScriptEntry) -> None:
    model = ScriptedModel(entry, cycle=True)
    response = model.complete_sync("?")
    events = list(model.stream_sync("?"))

    async def read() -> list[ModelChunkEvent]:
        return [event async for event in model.stream("?")]

    assert events == anyio.run(read, backend="asyncio")
    assert [event.done for event in events] == [False] * (len(events) - 1) + [True]
    assert events[-1].response == response
    assert "".join(event.content or "" for event in events) == response.content
    assert "".join(event.reasoning or "" for event in events) == (response.reasoning or "")


def test_a_stream_comes_word_by_word() -> None:
    events = list(ScriptedModel("The sky\nis  blue. ").stream_sync("?"))
    assert [event.content for event in events] == ["The", " sky", "\nis", "  blue.", " ", None]


# -- errors ------------------------------------------------------------------------------------


@pytest.mark.parametrize("error", [RateLimitError("slow", status_code=429), KeyError("x")])
def test_an_error_is_raised_and_the_script_goes_on(runtime: Runtime, error: Exception) -> None:
    model = ScriptedModel(error, "fine", error)
    with pytest.raises(type(error), match=r"slow|x"):
        runtime.complete(model, "?")
    assert runtime.complete(model, "?").content == "fine"
    with pytest.raises(type(error)):
        runtime.collect_events(model, "?")


def read_interrupted_stream(runtime: Runtime, model: Any) -> tuple[str, Exception]:
    text_so_far = []
    with runtime.open_stream(model, "?") as stream:
        try:
            for event in stream:
                text_so_far.append(event.content or "")
                assert not event.done
        except APIConnectionError as error:
            return "".join(text_so_far), error
        except OverloadedError as error:
            return "".join(text_so_far), error
    pytest.fail("the stream looks finished")


def test_a_stream_that_is_interrupted_yields_its_text_and_raises(runtime: Runtime) -> None:
    text_so_far, error = read_interrupted_stream(
        runtime, ScriptedModel(interrupted_text("half an ans"))
    )
    assert text_so_far == "half an ans"
    assert isinstance(error, StreamInterruptedError)
    assert error.partial is not None
    assert (error.partial.content, error.partial.stop_reason) == (text_so_far, None)


def test_any_error_can_come_in_the_middle_of_a_stream(runtime: Runtime) -> None:
    model = ScriptedModel(
        [text("half", reasoning="Hm."), " an ans", make_overloaded_error()], cycle=True
    )
    text_so_far, error = read_interrupted_stream(runtime, model)
    assert (text_so_far, type(error)) == ("half an ans", OverloadedError)
    assert isinstance(error, OverloadedError)
    assert error.partial is not None
    assert (error.partial.content, error.partial.reasoning) == ("half an ans", "Hm.")
    with pytest.raises(OverloadedError, match="no room"):
        runtime.complete(model, "?")


def test_an_error_shared_by_responses_has_the_partial_response_of_each() -> None:
    shared = make_overloaded_error()
    model = ScriptedModel(["a", shared], ["b", shared], shared)
    partials = []
    for _ in range(3):
        with pytest.raises(OverloadedError) as caught:
            list(model.stream_sync("?"))
        partials.append(caught.value.partial and caught.value.partial.content)
    assert partials == ["a", "b", None]
    assert (shared.partial, shared.__traceback__) == (None, None)


def test_a_used_up_script_raises(runtime: Runtime) -> None:
    model = ScriptedModel("one")
    runtime.complete(model, "?")
    with pytest.raises(ScriptExhaustedError, match=r"it has 1 response, and this is call 2"):
        runtime.complete(model, "?")
    with pytest.raises(ScriptExhaustedError, match=r"this is call 3"):
        runtime.collect_events(model, "?")


def test_a_cycle_begins_again() -> None:
    model = ScriptedModel("a", "b", cycle=True)
    assert [model.complete_sync("?").content for _ in range(5)] == ["a", "b", "a", "b", "a"]


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: ScriptedModel(), "at least one response"),
        (lambda: ScriptedModel("a", []), "response 2 of the script is empty"),
        (lambda: ScriptedModel(None), "response 1 of the script is NoneType"),
        (lambda: ScriptedModel("a", ["b", 3]), "response 2 of the script is int"),
        (lambda: ScriptedModel(RateLimitError), "response 1 of the script is RateLimitError"),
        (lambda: ScriptedModel({"content": "a"}), "response 1 of the script is dict"),
        (lambda: ScriptedModel(b"a"), "response 1 of the script is bytes"),
        (
            lambda: ScriptedModel(Message.user("a")),
            "response 1 of the script is a message of the us",
        ),
        (lambda: FunctionModel("a"), "takes a function, not str"),
        (
            lambda: FunctionModel(lambda *_: None).complete_sync("?"),
            "the function returned is NoneTyp",
        ),
    ],
)
def test_what_is_no_response_is_rejected_by_position(make: Callable[[], Any], message: str) -> None:
    with pytest.raises((TypeError, ValueError), match=message):
        make()


# -- what a call is checked for, and what is recorded ------------------------------------------


@pytest.mark.parametrize(
    ("arguments", "keywords", "error_type", "message"),
    [
        (([],), {}, ValueError, "empty"),
        (([Message.user("a"), Message.assistant(None)],), {}, ValueError, r"messages\[1\]"),
        (([Message.tool(ToolResult("c", "n", ""))],), {}, ValueError, r"messages\[0\]"),
        (("?",), {"temprature": 0}, TypeError, "did you mean 'temperature'"),
        (("?", ["weather"]), {}, ValueError, r"tools\[0\] is str"),
        (("?",), {"response_format": "json"}, ValueError, "response_format takes a mapping"),
    ],
)
def test_a_call_that_no_provider_accepts_is_refused_before_anything(
    runtime: Runtime,
    arguments: tuple[Any, ...],
    keywords: dict[str, Any],
    error_type: type[Exception],
    message: str,
) -> None:
    model = ScriptedModel("one")
    for ask in (runtime.complete, runtime.collect_events):
        with pytest.raises(error_type, match=message):
            ask(model, *arguments, **keywords)
    assert model.calls == []
    assert runtime.complete(model, "?").content == "one"


def test_a_stream_is_checked_when_it_is_made_and_asks_when_it_is_read() -> None:
    model = ScriptedModel("one")
    for stream in (model.stream_sync, model.stream):
        with pytest.raises(ValueError, match="empty"):
            stream([])
        stream("never read")
    assert model.calls == []
    assert model.complete_sync("?").content == "one"


def test_calls_are_recorded_with_all_arguments(runtime: Runtime) -> None:
    model = ScriptedModel("one", "two")
    schema = {"type": "json_object"}
    runtime.complete(model, "Hi", [TOOL], response_format=schema, max_tokens=5)
    conversation = [Message.system("Be brief."), Message.user("Hi")]
    runtime.collect_events(model, conversation, stop=["x"], extra_body={"k": 1})
    first, second = model.calls
    assert first.messages == (Message.user("Hi"),)
    assert first.tools == (TOOL,)
    assert first.options == {"response_format": schema, "max_tokens": 5}
    assert not first.streamed
    assert second.messages == tuple(conversation)
    assert second.tools == ()
    assert second.options == {"stop": ["x"], "extra_body": {"k": 1}}
    assert second.streamed


def test_bound_tools_and_keywords_are_used_where_a_call_has_none(runtime: Runtime) -> None:
    model = ScriptedModel("ok", cycle=True)
    bound = model.bind_tools([TOOL], temperature=0, seed=7)
    runtime.complete(bound, "?")
    runtime.collect_events(bound, "?", [OTHER], temperature=1)
    runtime.complete(bound, "?", [])
    runtime.complete(model, "?")
    assert [call.tools for call in model.calls] == [(TOOL,), (OTHER,), (), ()]
    assert [dict(call.options) for call in model.calls] == [
        {"temperature": 0, "seed": 7},
        {"temperature": 1, "seed": 7},
        {"temperature": 0, "seed": 7},
        {},
    ]


def test_binding_keeps_what_was_bound_before_and_checks_the_keywords() -> None:
    twice = ScriptedModel("ok").bind_tools([TOOL], seed=1).bind_tools([OTHER], stop="x")
    twice.complete_sync("?")
    assert twice.calls[0].tools == (OTHER,)
    assert twice.calls[0].options == {"seed": 1, "stop": "x"}
    with pytest.raises(TypeError, match="did you mean 'seed'"):
        twice.bind_tools([], sed=1)


def test_a_bound_copy_goes_on_with_the_same_script() -> None:
    model = ScriptedModel("one", "two")
    assert model.complete_sync("?").content == "one"
    assert model.bind_tools([TOOL]).complete_sync("?").content == "two"


# -- functions ---------------------------------------------------------------------------------


def test_a_function_sees_the_call_and_gives_any_response(runtime: Runtime) -> None:
    def respond(messages: tuple[Message, ...], tools: Any, **options: Any) -> ScriptEntry:
        if tools:
            return [tool_call(tools[0]["function"]["name"]), f"{options}"]
        return messages[-1].text.upper()

    model = FunctionModel(respond)
    assert runtime.complete(model, "hello").content == "HELLO"
    response = runtime.collect_events(model, "hello", [TOOL], seed=3)[-1].response
    assert (response.content, response.tool_calls[0].name) == ("{'seed': 3}", "weather")


@pytest.mark.parametrize("streamed", [False, True])
def test_an_async_function_is_awaited(backend: str, streamed: bool) -> None:
    async def respond(messages: tuple[Message, ...], tools: Any, **options: Any) -> ScriptEntry:
        await anyio.sleep(0.001)
        if messages[-1].text == "fail":
            raise make_overloaded_error()
        return [messages[-1].text.upper(), " ok"]

    async def ask(prompt: str) -> str:
        model = FunctionModel(respond)
        if not streamed:
            return (await model.complete(prompt)).content
        async with model.stream(prompt) as stream:
            return "".join([event.content or "" async for event in stream])

    assert run_async(backend, ask, "hello") == "HELLO ok"
    with pytest.raises(OverloadedError):
        run_async(backend, ask, "fail")


@pytest.mark.usefixtures("no_leaks")
def test_an_async_function_cannot_be_called_blocking() -> None:
    async def respond(*_: Any, **__: Any) -> str:
        return "never"

    model = FunctionModel(respond)
    with pytest.raises(ConfigurationError, match="async: it cannot be called blocking"):
        model.complete_sync("?")
    with pytest.raises(ConfigurationError, match="async"):
        next(model.stream_sync("?"))


def test_an_error_of_the_function_passes(runtime: Runtime) -> None:
    def respond(*_: Any, **__: Any) -> str:
        return str(1 / 0)

    for ask in (runtime.complete, runtime.collect_events):
        with pytest.raises(ZeroDivisionError):
            ask(FunctionModel(respond), "?")


# -- runtimes ----------------------------------------------------------------------------------


def test_other_tasks_run_between_the_words(backend: str) -> None:
    heard: list[str] = []

    async def read(name: str) -> None:
        async for _ in ScriptedModel("a b c").stream("?"):
            heard.append(name)  # noqa: PERF401  # one at a time, to see the order

    async def both() -> None:
        async with anyio.create_task_group() as group:
            group.start_soon(read, "1")
            group.start_soon(read, "2")

    run_async(backend, both)
    assert len(heard) == 8
    assert heard != sorted(heard)


def test_a_call_can_be_cancelled(backend: str) -> None:
    async def cancelled() -> bool:
        with anyio.move_on_after(0) as scope:
            await ScriptedModel("one").complete("?")
        return scope.cancelled_caught

    assert run_async(backend, cancelled)


ABANDONED = """
    import gc, sys
    import anyio
    from locus.testing import FunctionModel, ScriptedModel

    async def later(*_, **__):
        await anyio.sleep(60)
        return "never"

    async def main():
        ScriptedModel("a b").stream("?")                    # never asked
        FunctionModel(later).stream("?")
        async for event in ScriptedModel("a b").stream("?"):  # left early
            break
        async with FunctionModel(later).stream("?") as stream:
            with anyio.move_on_after(0.01):
                await anext(stream)                         # cancelled in the function
        stream = ScriptedModel("a b").stream("?")
        await anext(stream)                                 # dropped in the middle
        del stream
        gc.collect()

    anyio.run(main, backend=sys.argv[1])
    ScriptedModel("a b").stream_sync("?")
    for event in ScriptedModel("a b").stream_sync("?"):
        break
    gc.collect()
    print("fine")
"""


def test_abandoned_streams_leave_no_warning(backend: str) -> None:
    assert run_script(ABANDONED, backend) == "fine\n"


def test_32_threads_get_32_responses() -> None:
    model = ScriptedModel(*(f"answer {number}" for number in range(320)))
    together = threading.Barrier(32)

    def ask(_: int) -> list[str]:
        together.wait(HANG_SECONDS)
        return [model.complete_sync("?").content for _ in range(10)]

    with ThreadPoolExecutor(32) as threads:
        contents = [content for part in threads.map(ask, range(32)) for content in part]
    assert sorted(contents) == sorted(f"answer {number}" for number in range(320))
    assert len(model.calls) == 320


# -- values ------------------------------------------------------------------------------------


@pytest.mark.parametrize("duplicate", [lambda m: pickle.loads(pickle.dumps(m)), copy.deepcopy])
def test_a_copy_goes_on_where_the_model_was_and_by_itself(duplicate: Any) -> None:
    model = ScriptedModel(tool_call("weather", cities=["Oslo"]), "two", "three")
    model.complete_sync("?")
    other = duplicate(model)
    assert other == model
    assert hash(other) == hash(model)
    assert other.complete_sync("?").content == "two"
    assert model.complete_sync("?").content == "two"
    assert (len(model.calls), len(other.calls)) == (2, 2)


def test_an_error_survives_the_pickle() -> None:
    model = pickle.loads(pickle.dumps(ScriptedModel(["half", make_overloaded_error()])))
    with pytest.raises(OverloadedError, match="no room") as caught:
        list(model.stream_sync("?"))
    assert caught.value.partial is not None


def test_models_are_equal_by_what_they_were_made_from() -> None:
    model = ScriptedModel("a", "b")
    assert model == ScriptedModel("a", "b")
    assert hash(model) == hash(ScriptedModel("a", "b"))
    model.complete_sync("?")
    assert model == ScriptedModel("a", "b"), "how far it has got is not its value"
    assert model != ScriptedModel("a", "c")
    assert model != ScriptedModel("a", "b", cycle=True)
    assert model != model.bind_tools([TOOL])
    assert model.bind_tools([TOOL], seed=1) == ScriptedModel("a", "b").bind_tools([TOOL], seed=1)
    assert FunctionModel(str) == FunctionModel(str) != FunctionModel(repr)
    assert FunctionModel(str) != ScriptedModel("a")


def test_a_model_cannot_be_changed() -> None:
    for name in ("function", "tools", "other"):
        with pytest.raises(AttributeError):
            setattr(ScriptedModel("a"), name, "b")


def test_a_model_can_be_closed_and_used_again(runtime: Runtime) -> None:
    model = ScriptedModel("ok", cycle=True)
    assert isinstance(model, ModelProtocol)
    assert runtime.run_in_context(model, lambda same: same is model)
    runtime.close(model)
    runtime.close(model)
    assert runtime.complete(model, "?").content == "ok"


def test_images_are_passed_on() -> None:
    picture = Message.user(["What is this?", ImagePart(data=b"\x89PNG", media_type="image/png")])
    model = ScriptedModel("A cat.")
    model.complete_sync(picture)
    assert model.calls[0].messages == (picture,)
