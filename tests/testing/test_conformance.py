"""The check of the model contract: passes for good models, and names each fault of a bad one."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Generator, Sequence
from typing import Any

import attrs
import pytest

from locus import LocalModel, Message, ToolCall
from locus.core.conversation import validate_messages
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
from tests.support.chat_replies import build_reply, build_stream_reply
from tests.support.servers.openai_server import make_model

pytestmark = pytest.mark.usefixtures("no_leaks")


# -- good models -------------------------------------------------------------------------------


def test_a_scripted_model_passes() -> None:
    response = text("Hello there.", reasoning="Be polite.", usage={"prompt_tokens": 3})
    check_model_conformance(ScriptedModel(response, [tool_call("a"), tool_call("b")], cycle=True))


def test_a_function_model_passes() -> None:
    check_model_conformance(FunctionModel(lambda messages, tools, **_: messages[-1].text))


def test_an_openai_model_passes(server: LoopbackServer) -> None:
    def reply(request: Received) -> Reply:
        return build_stream_reply() if b'"stream":true' in request.body else build_reply()

    server.always(reply)
    check_model_conformance(make_model(server))
    assert 9 <= len(server.requests) <= 12


@pytest.mark.engine
def test_a_local_model_passes() -> None:
    check_model_conformance(LocalModel(context=1024, threads=1, max_retries=0))


class Least:
    """A model with no base class of Locus's, and all that a model has to have."""

    async def complete(self, messages: Any, tools: Any = None, **kwargs: Any) -> Any:
        validate_messages(messages)
        return text("Hi.")

    async def stream(self, messages: Any, tools: Any = None, **kwargs: Any) -> AsyncIterator[Any]:
        validate_messages(messages)
        for event in list(ScriptedModel("Hi.").stream_sync("?")):
            yield event


def test_the_least_that_is_a_model_passes() -> None:
    check_model_conformance(Least())


def test_the_prompt_is_the_callers() -> None:
    model = ScriptedModel("ok", cycle=True)
    check_model_conformance(model, "Say goodbye.")
    assert {call.messages for call in model.calls} == {(Message.user("Say goodbye."),)}


# -- bad ones ----------------------------------------------------------------------------------


def collect_findings(model: Any) -> list[str]:
    with pytest.raises(AssertionError) as caught:
        check_model_conformance(model)
    first, *rest = str(caught.value).splitlines()
    assert first == "the model breaks the contract:"
    return rest


@pytest.mark.parametrize("model", [object(), "openai:gpt-4o", type("Half", (), {"complete": 1})()])
def test_what_is_no_model_is_reported(model: Any) -> None:
    assert collect_findings(model) == [f"{type(model).__name__} has no complete() or no stream()"]


@attrs.frozen(init=False)
class AlteredModel(FunctionModel):
    """A model that responds "Hi there.", with a changed response or changed events."""

    alter: Callable[[ModelResponse], Any] = attrs.field(default=lambda response: response, eq=False)
    alter_events: Callable[[list[ModelChunkEvent]], Sequence[Any]] = attrs.field(
        default=lambda events: events, eq=False
    )

    def __init__(
        self, alter: Any = lambda response: response, events: Any = lambda events: events
    ) -> None:
        self.__attrs_init__(lambda *_, **__: ["Hi", " there."], alter=alter, alter_events=events)

    def complete_sync(self, *args: Any, **kw: Any) -> Any:
        return self.alter(super().complete_sync(*args, **kw))

    async def complete(self, *args: Any, **kw: Any) -> Any:
        return self.alter(await super().complete(*args, **kw))

    def stream_sync(self, *args: Any, **kw: Any) -> BlockingStream:
        events = super().stream_sync(*args, **kw)

        def altered() -> Generator[Any, None, None]:
            yield from self.alter_events(list(events))

        return BlockingStream(altered())

    def stream(self, *args: Any, **kw: Any) -> AsyncStream:
        return AsyncStream(AlteredSource(self.stream_sync(*args, **kw)))


class AlteredSource:
    def __init__(self, events: BlockingStream) -> None:
        self.events = events

    async def read_next_events(self) -> list[Any]:
        return [event for event in [next(self.events, None)] if event is not None]

    async def close(self) -> None:
        self.events.close()

    def close_nowait(self) -> None:
        self.events.close()


def build_response(**changes: Any) -> ModelResponse:
    return attrs.evolve(text("Hi there."), **changes)


CALL = ToolCall("same", "weather")


@pytest.mark.parametrize(
    ("response", "expected"),
    [
        (None, "a response is NoneType, not ModelResponse"),
        ("Hi.", "a response is str, not ModelResponse"),
        (Message.assistant("Hi."), "a response is Message, not ModelResponse"),
        (ModelResponse(Message.user("Hi.")), "the message of a response is not an assistant's"),
        (ModelResponse("Hi."), "the message of a response is not an assistant's"),  # type: ignore[arg-type]
        (
            build_response(usage={"input_tokens": 1}),
            "usage has the key 'input_tokens', which is none of",
        ),
        (
            build_response(usage={"prompt_tokens": 1.5}),
            "usage counts prompt_tokens as 1.5, not an integer of 0 or more",
        ),
        (
            build_response(usage={"prompt_tokens": -1}),
            "usage counts prompt_tokens as -1, not an integer of 0 or more",
        ),
        (
            ModelResponse(Message.assistant(None, [CALL, CALL])),
            "two tool calls of one response have the same id: ['same', 'same']",
        ),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_a_bad_response_is_named_on_every_runtime(response: Any, expected: str) -> None:
    all_findings = collect_findings(AlteredModel(lambda _: response))
    for runtime in ("blocking", "asyncio", "trio"):
        assert any(finding.startswith(f"{runtime}: {expected}") for finding in all_findings), (
            all_findings
        )


def make_last_event_changer(
    **changes: Any,
) -> Callable[[list[ModelChunkEvent]], list[ModelChunkEvent]]:
    return lambda events: [*events[:-1], attrs.evolve(events[-1], **changes)]


def make_first_event_changer(
    **changes: Any,
) -> Callable[[list[ModelChunkEvent]], list[ModelChunkEvent]]:
    return lambda events: [attrs.evolve(events[0], **changes), *events[1:]]


@pytest.mark.parametrize(
    ("events", "expected"),
    [
        (lambda events: [], "a stream yields nothing"),
        (lambda events: ["Hi.", *events], "a stream yields str"),
        (
            lambda events: events[:-1],
            "only the last event may have done=True; of 2 events it is on none",
        ),
        (
            make_first_event_changer(done=True),
            "only the last event may have done=True; of 3 events it is on [0, 2]",
        ),
        (
            lambda events: [*events, ModelChunkEvent(content="!")],
            "only the last event may have done=True; of 4 events it is on [2]",
        ),
        (make_last_event_changer(response=None), "the last event has no response"),
        (make_last_event_changer(response="Hi."), "the streamed response: a response is str"),
        (lambda events: events[1:], "the events' content is not the complete response's"),
        (
            make_first_event_changer(reasoning="Hm."),
            "the events' reasoning is not the complete response's",
        ),
        (
            make_first_event_changer(tool_calls=(CALL,)),
            "the events' tool calls are not the complete response's",
        ),
        (
            make_last_event_changer(usage={"prompt_tokens": 1}),
            "the last event's usage is not the response's",
        ),
        (
            make_last_event_changer(stop_reason="length"),
            "the last event's stop_reason is not the response's",
        ),
        (
            make_last_event_changer(provider_state={"a": 1}),
            "the last event's provider_state is not the response's",
        ),
        (make_first_event_changer(usage={}), "an event before the last one has usage"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_a_bad_stream_is_named_on_every_runtime(events: Any, expected: str) -> None:
    all_findings = collect_findings(AlteredModel(events=events))
    for runtime in ("blocking", "asyncio", "trio"):
        assert any(finding.startswith(f"{runtime}: {expected}") for finding in all_findings), (
            all_findings
        )
        assert [finding for finding in all_findings if finding.startswith(runtime)] == [
            finding for finding in all_findings if finding.startswith(f"{runtime}: {expected}")
        ]


def test_whatever_a_model_raises_is_a_finding_and_the_first_is_the_cause() -> None:
    error = RateLimitError("slow down", status_code=429)
    model = ScriptedModel(error, cycle=True)
    with pytest.raises(AssertionError) as caught:
        check_model_conformance(model)
    message = str(caught.value)
    for action in (
        "blocking: complete_sync() raised RateLimitError: slow down",
        "blocking: stream_sync() raised RateLimitError",
        "blocking: leaving a stream early raised",
        "blocking: a call after closing twice raised",
        "asyncio: complete() raised",
        "trio: stream() raised",
        "trio: a call after aclose() and close() raised",
    ):
        assert action in message
    assert isinstance(caught.value.__cause__, RateLimitError)


def test_a_script_without_cycle_is_too_short() -> None:
    assert (
        "raised ScriptExhaustedError: the script is used up"
        in collect_findings(ScriptedModel("a"))[0]
    )


class Careless(Least):
    """A model that rejects nothing."""

    async def complete(self, messages: Any, tools: Any = None, **kwargs: Any) -> Any:
        return text("Hi.")

    async def stream(self, messages: Any, tools: Any = None, **kwargs: Any) -> AsyncIterator[Any]:
        for event in list(ScriptedModel("Hi.").stream_sync("?")):
            yield event


@pytest.mark.parametrize("call", ["complete()", "stream()"])
@pytest.mark.parametrize(
    "action",
    [
        "an empty conversation",
        "an assistant message with neither text nor calls",
        "a tool result that answers no call",
    ],
)
def test_conversations_that_are_not_rejected_are_named(call: str, action: str) -> None:
    all_findings = collect_findings(Careless())
    for backend in ("asyncio", "trio"):
        assert f"{backend}: {call} does not reject {action} with a ValueError" in all_findings


def test_the_wrong_error_type_is_named() -> None:
    class Grumpy(Least):
        async def complete(self, messages: Any, tools: Any = None, **kwargs: Any) -> Any:
            if not messages:
                raise IndexError
            return await super().complete(messages)

    assert collect_findings(Grumpy()) == [
        f"{backend}: complete() rejects an empty conversation with an IndexError, not a ValueError"
        for backend in ("asyncio", "trio")
    ]


class TakesAnyKeyword(FunctionModel):
    def _build_recorded_call(
        self, messages: Any, tools: Any, keywords: Any, *, streamed: bool
    ) -> Any:
        known = {name: value for name, value in keywords.items() if name == "max_tokens"}
        return super()._build_recorded_call(messages, tools, known, streamed=streamed)


def test_unknown_keywords_that_pass_are_named() -> None:
    all_findings = collect_findings(TakesAnyKeyword(lambda *_, **__: "Hi."))
    assert all_findings == [
        "blocking: complete_sync() does not reject an unknown keyword with a TypeError",
        "blocking: stream_sync() does not reject an unknown keyword with a TypeError",
        "asyncio: complete() does not reject an unknown keyword with a TypeError",
        "asyncio: stream() does not reject an unknown keyword with a TypeError",
        "trio: complete() does not reject an unknown keyword with a TypeError",
        "trio: stream() does not reject an unknown keyword with a TypeError",
    ]


def test_a_model_that_binds_in_place_is_named() -> None:
    class InPlace(FunctionModel):
        def bind_tools(self, tools: Any, **kwargs: Any) -> Any:
            return self

    assert collect_findings(InPlace(lambda *_, **__: "Hi.")) == [
        "blocking: bind_tools() returns no copy of the model",
        "blocking: bind_tools() does not reject an unknown keyword with a TypeError",
    ]


def test_a_model_that_invokes_wrongly_is_named() -> None:
    class Chatty(FunctionModel):
        def invoke(self, *args: Any, **kw: Any) -> Any:
            return "Hi."

        async def ainvoke(self, *args: Any, **kw: Any) -> Any:
            return "Hi."

    assert collect_findings(Chatty(lambda *_, **__: "Hi.")) == [
        "blocking: invoke() returns no Message",
        "asyncio: ainvoke() returns no Message",
        "trio: ainvoke() returns no Message",
    ]


def test_a_model_that_closes_once_is_named() -> None:
    class Once(FunctionModel):
        def close_sync(self) -> None:
            if self.calls[-1].messages[0].text == "closed":
                raise ConfigurationError("closed already")
            self.complete_sync("closed")

    assert collect_findings(Once(lambda *_, **__: "Hi.")) == [
        "blocking: a call after closing twice raised ConfigurationError: closed already"
    ]


def test_calls_that_are_not_async_are_named() -> None:
    class Plain(Least):
        def complete(self, messages: Any, tools: Any = None, **kwargs: Any) -> Any:
            return text(validate_messages(messages)[0].text)

    assert collect_findings(Plain()) == [
        f"{name}: complete() is not async" for name in ("asyncio", "trio")
    ]


def test_a_stream_that_has_to_be_awaited_is_named() -> None:
    class Awaited(Least):
        async def stream(self, messages: Any, tools: Any = None, **kwargs: Any) -> Any:
            return Least().stream(validate_messages(messages))

    assert collect_findings(Awaited()) == [
        f"{backend}: stream() is a coroutine: it must return an async iterator directly"
        for backend in ("asyncio", "trio")
    ]


def test_a_model_for_asyncio_alone_is_named() -> None:
    class AsyncioOnly(Least):
        async def complete(self, messages: Any, tools: Any = None, **kwargs: Any) -> Any:
            await asyncio.sleep(0)
            await asyncio.get_running_loop().run_in_executor(None, int)
            return await super().complete(messages)

    all_findings = collect_findings(AsyncioOnly())
    assert all_findings[0].startswith("trio: complete() raised ")
    assert not any(finding.startswith("asyncio") for finding in all_findings)


def test_the_check_is_not_for_async_code() -> None:
    async def check() -> None:
        check_model_conformance(Least())

    with pytest.raises(RuntimeError, match="Already running"):
        asyncio.run(check())
