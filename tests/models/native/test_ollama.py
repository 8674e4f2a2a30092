"""``OllamaModel``: what it is told, what it sends, and what it says when things fail."""

from __future__ import annotations

import copy
import json
import pickle
import re
import sys
from typing import Any

import attrs
import pytest

from locus.core.errors import (
    APIConnectionError,
    APIError,
    AuthenticationError,
    BadRequestError,
    ConfigurationError,
    InternalServerError,
    NotFoundError,
)
from locus.core.events import ModelChunkEvent
from locus.core.messages import ImagePart, Message, ToolResult
from locus.core.response import ModelResponse
from locus.models.base import ModelConfig, ModelProtocol, RequestBuilder, ResponseParser
from locus.models.native.ollama import OllamaConfig, OllamaModel
from locus.testing import check_model_conformance
from locus.testing.loopback_server import LoopbackServer, Reply
from tests.support import runtimes
from tests.support.runtimes import TEXT, WORDS, Runtime, run, script, text
from tests.support.servers import ollama_server
from tests.support.servers.ollama_server import (
    HERE,
    KEY,
    LOOK,
    model_of,
    refusal,
    sent,
    streamed,
    whole,
)
from tests.support.wire_json.ollama_json import end, piece

no_leaks, runtime, server = runtimes.no_leaks, runtimes.runtime, runtimes.server
environment = ollama_server.environment
pytestmark = pytest.mark.usefixtures("environment", "no_leaks")

# -- what it is told ---------------------------------------------------------------------------


def test_the_defaults() -> None:
    config = OllamaModel().config
    assert config == OllamaConfig(
        model="llama3.3",
        base_url="http://localhost:11434",
        max_tokens=4096,
        temperature=0.7,
        top_p=0.9,
        stop_sequences=(),
        timeout=600.0,
        max_retries=2,
    )
    assert isinstance(config, ModelConfig)


def test_the_positions_of_the_arguments() -> None:
    config = OllamaModel("m", HERE, 5, 0.1).config
    assert (config.model, config.base_url, config.max_tokens, config.temperature) == (
        "m",
        HERE,
        5,
        0.1,
    )


@pytest.mark.parametrize(
    "said",
    [
        {"keep_alive": True},
        {"keep_alive": ["5m"]},
        {"keep_alive": float("nan")},
        {"base_url": 11434},
        {"base_url": b"gpu-box"},
        {"think": 3},
        {"api_key": "sesame\nopen"},
        {"max_tokens": 0},
        {"model": ""},
    ],
    ids=str,
)
def test_a_value_that_cannot_work_is_refused(said: dict[str, Any]) -> None:
    with pytest.raises(ConfigurationError) as caught:
        OllamaModel(**said)
    assert "sesame" not in str(caught.value)


@pytest.mark.parametrize(
    ("option", "keyword"),
    [("num_predict", "max_tokens"), ("temperature", "temperature"), ("stop", "stop_sequences")],
)
def test_an_option_that_has_a_keyword_is_said_by_that(option: str, keyword: str) -> None:
    with pytest.raises(ConfigurationError, match=f"'{option}': say {keyword}="):
        OllamaModel(options={option: 1})


def test_options_are_a_mapping() -> None:
    with pytest.raises(TypeError, match="options must be a mapping"):
        OllamaModel(options=["num_ctx"])


def test_an_unknown_argument_is_a_type_error_that_suggests() -> None:
    with pytest.raises(TypeError, match="'keepalive'; did you mean 'keep_alive'"):
        OllamaModel(keepalive="5m")
    with pytest.raises(TypeError, match="'host'"):
        OllamaModel(host="x")
    with pytest.raises(TypeError, match="an unknown keyword 'top_k'"):
        OllamaModel().complete_sync("hello", top_k=5)


def test_it_keeps_the_contract() -> None:
    model = OllamaModel()
    assert isinstance(model, ModelProtocol)
    assert model.supports_structured_output is False
    assert model.server_stateful is False
    builder: RequestBuilder = model.request_builder
    parser: ResponseParser = model.response_parser
    assert builder.build("hello", model="m")["messages"] == [{"role": "user", "content": "hello"}]
    assert parser.parse(whole().content).content == TEXT


def test_it_is_a_value() -> None:
    said: dict[str, Any] = {"options": {"num_ctx": 9, "list": [1]}, "think": "low", "api_key": KEY}
    one, same, other = (OllamaModel(name, HERE, **said) for name in ("a", "a", "b"))
    assert one == same
    assert hash(one) == hash(same)
    assert one != other
    assert one != one.copy(options={"num_ctx": 8})
    bound = one.bind_tools([LOOK], stop="END")
    assert bound == same.bind_tools([LOOK], stop="END") != one
    assert copy.copy(one) == one == copy.deepcopy(one)
    assert pickle.loads(pickle.dumps(bound)) == bound


def test_a_copy_has_the_changes() -> None:
    model = OllamaModel("a", HERE, options={"num_ctx": 9}).bind_tools([LOOK], seed=1)
    other = model.copy(model="b", options={"num_ctx": 8}, base_url="gpu-box")
    assert other.config == attrs.evolve(
        model.config, model="b", options={"num_ctx": 8}, base_url="http://gpu-box:11434"
    )
    assert (other.tools, other.options) == (model.tools, model.options)


def test_the_key_shows_nowhere(server: LoopbackServer, runtime: Runtime) -> None:
    model = model_of(server, api_key=KEY)
    server.always(refusal(401, f"no such key {KEY}"))
    with pytest.raises(AuthenticationError) as caught:
        runtime.ask(model, "hello")
    for value in (model, model.config, caught.value, caught.value.body):
        assert KEY not in repr(value)
        assert KEY not in str(value)
    assert server.requests[0].headers["authorization"] == f"Bearer {KEY}"
    assert "ollama signin" in str(caught.value)


# -- what it sends -----------------------------------------------------------------------------


def test_the_least_that_is_sent(server: LoopbackServer, runtime: Runtime) -> None:
    server.always(whole(), streamed())
    model = model_of(server)
    plain = {
        "model": "loop-1",
        "messages": [{"role": "user", "content": "hello"}],
        "options": {"num_predict": 4096, "temperature": 0.7, "top_p": 0.9},
    }
    runtime.ask(model, "hello")
    assert sent(server) == {**plain, "stream": False}
    runtime.stream(model, "hello")
    assert sent(server) == {**plain, "stream": True}
    for request in server.requests:
        assert (request.method, request.path) == ("POST", "/api/chat")
        assert request.headers["content-type"] == "application/json"
        assert request.headers["user-agent"].startswith("locus-llm/")
        assert "authorization" not in request.headers


def test_everything_it_can_be_told_is_sent_by_both(
    server: LoopbackServer, runtime: Runtime
) -> None:
    server.always(whole())
    model = model_of(
        server,
        keep_alive="10m",
        think="high",
        options={"num_ctx": 8192, "top_k": 5},
        seed=3,
        frequency_penalty=0.1,
        presence_penalty=0.2,
        stop_sequences="END",
        max_tokens=None,
        temperature=None,
        top_p=None,
    )
    for ask in (runtime.ask, runtime.stream):
        ask(model, "hello", [LOOK])
        body = sent(server)
        assert body["options"] == {
            "num_ctx": 8192,
            "top_k": 5,
            "seed": 3,
            "frequency_penalty": 0.1,
            "presence_penalty": 0.2,
            "stop": ["END"],
        }
        assert (body["keep_alive"], body["think"], body["tools"]) == ("10m", "high", [LOOK])
        ask(
            model,
            "hello",
            max_tokens=5,
            seed=4,
            stop=["X"],
            extra_body={"options": {"num_ctx": 1}, "think": False, "truncate": False},
            extra_headers={"X-Mine": "1"},
        )
        body = sent(server)
        assert body["options"] == {
            "num_ctx": 1,
            "top_k": 5,
            "num_predict": 5,
            "seed": 4,
            "frequency_penalty": 0.1,
            "presence_penalty": 0.2,
            "stop": ["X"],
        }
        assert (body["keep_alive"], body["think"], body["truncate"]) == ("10m", False, False)
        assert server.requests[-1].headers["x-mine"] == "1"


@pytest.mark.parametrize("value", [0, -1, 0.5])
def test_to_unload_at_once_and_never_are_values(server: LoopbackServer, value: float) -> None:
    server.always(whole())
    model_of(server, keep_alive=value, think=False).complete_sync("hello")
    assert (sent(server)["keep_alive"], sent(server)["think"]) == (value, False)


def test_a_schema_is_the_format_of_the_answer(server: LoopbackServer, runtime: Runtime) -> None:
    server.always(whole('{"a": 1}'))
    schema = {"type": "object", "properties": {"a": {"type": "integer"}}, "required": ["a"]}
    wanted = {"type": "json_schema", "json_schema": {"name": "n", "schema": schema, "strict": True}}
    for ask in (runtime.ask, runtime.stream):
        ask(model_of(server), "hello", response_format=wanted)
        assert sent(server)["format"] == schema
    assert json.loads(runtime.invoke(model_of(server), "hello").text) == {"a": 1}


def test_a_conversation_with_tools_thinking_and_images(
    server: LoopbackServer, runtime: Runtime
) -> None:
    call = {"function": {"name": "look", "arguments": {"at": "it"}}}
    asked = [piece(thinking="hm"), piece(tool_calls=[call]), piece(tool_calls=[call]), end()]
    server.always(Reply.ndjson(asked), whole("a cat"))
    model = model_of(server, think=True).bind_tools([LOOK])
    turns = [Message.user(["what?", ImagePart(data=b"abc", media_type="image/png")])]
    answer = runtime.stream(model, turns)[-1].response
    assert answer is not None
    first, second = answer.tool_calls
    assert first.id != second.id
    assert answer.reasoning == "hm"
    turns += [
        answer.message,
        *(Message.tool(ToolResult(call.id, "look", call.id)) for call in (second, first)),
    ]
    assert runtime.ask(model, turns).content == "a cat"
    ids = [first.id, second.id]
    assert sent(server)["messages"] == [
        {"role": "user", "content": "what?", "images": ["YWJj"]},
        {
            "role": "assistant",
            "content": "",
            "thinking": "hm",
            "tool_calls": [{"id": identity, **call} for identity in ids],
        },
        *(
            {"role": "tool", "content": identity, "tool_name": "look", "tool_call_id": identity}
            for identity in ids
        ),
    ]


def test_what_cannot_be_sent_is_said_before_anything_is(
    server: LoopbackServer, runtime: Runtime
) -> None:
    model = model_of(server)
    picture = Message.user([ImagePart(url="https://example.com/cat.png")])
    for ask in (runtime.ask, runtime.stream, runtime.invoke):
        with pytest.raises(ConfigurationError, match="ImagePart"):
            ask(model, [picture])
        with pytest.raises(ConfigurationError, match="tool_choice"):
            ask(model, "hello", [LOOK], tool_choice="required")
    assert server.connections_total == 0


# -- what it gives -----------------------------------------------------------------------------


def test_every_way_of_calling(server: LoopbackServer, runtime: Runtime) -> None:
    server.always(whole(), whole(), streamed(), streamed())
    model = model_of(server)
    answer = runtime.ask(model, "hello")
    assert answer == ModelResponse(
        Message.assistant(TEXT),
        {"prompt_tokens": 9, "completion_tokens": 5},
        stop_reason="stop",
        model="m",
    )
    assert answer.total_tokens == 14
    assert runtime.invoke(model, "hello") == answer.message
    events = runtime.stream(model, "hello")
    assert [event.content for event in events] == [*WORDS, None]
    assert events[-1].response == answer
    with runtime.open(model, "hello") as opened:
        assert next(opened).content == WORDS[0]
    server.wait_closed(timeout=1)
    runtime.within(model, lambda same: None)
    runtime.close(model)
    server.always(whole())
    assert runtime.ask(model, "hello") == answer


def test_it_passes_the_checks_for_every_model(server: LoopbackServer) -> None:
    def answer(request: Any) -> Reply:
        return streamed() if request.json()["stream"] else whole()

    server.always(answer)
    check_model_conformance(model_of(server))


# -- errors ------------------------------------------------------------------------------------


def test_a_server_that_is_not_running_is_an_error_that_says_what_to_type(
    runtime: Runtime,
) -> None:
    with LoopbackServer() as gone:
        model = model_of(gone)
    for ask in (runtime.ask, runtime.stream, runtime.invoke):
        with pytest.raises(APIConnectionError) as caught:
            ask(model, "hello")
        assert type(caught.value) is APIConnectionError
        assert gone.url in str(caught.value)
        assert "type `ollama serve`" in str(caught.value)
        assert "set base_url= or OLLAMA_HOST" in str(caught.value)


@pytest.mark.parametrize(
    "error", ['model "qwen3:8b" not found, try pulling it first', "model 'qwen3:8b' not found"]
)
def test_a_model_that_is_not_pulled_is_an_error_that_says_what_to_type(
    server: LoopbackServer, runtime: Runtime, error: str
) -> None:
    server.always(refusal(404, error))
    for ask in (runtime.ask, runtime.stream):
        with pytest.raises(NotFoundError) as caught:
            ask(model_of(server, model="qwen3:8b"), "hello")
        assert error in str(caught.value)
        assert "type `ollama pull qwen3:8b`" in str(caught.value)
        again = pickle.loads(pickle.dumps(caught.value))
        assert str(again) == str(caught.value)


@pytest.mark.parametrize(
    ("reply", "kind", "words"),
    [
        (
            refusal(400, '"loop-1" does not support tools'),
            BadRequestError,
            "does not support tools",
        ),
        (
            refusal(400, '"loop-1" does not support thinking'),
            BadRequestError,
            "does not support thinking",
        ),
        (
            refusal(401, "unauthorized", signin_url="https://ollama.com/connect"),
            AuthenticationError,
            "`ollama signin`",
        ),
        (refusal(500, "llama runner process has terminated"), InternalServerError, "terminated"),
        (
            refusal(503, "server busy, please try again. maximum pending requests exceeded"),
            InternalServerError,
            "server busy",
        ),
    ],
    ids=lambda value: getattr(value, "__name__", None),
)
def test_what_the_server_says_is_passed_on(
    server: LoopbackServer, runtime: Runtime, reply: Reply, kind: type[APIError], words: str
) -> None:
    server.always(reply)
    for ask in (runtime.ask, runtime.stream):
        with pytest.raises(kind, match=words) as caught:
            ask(model_of(server), "hello", [LOOK])
        assert (caught.value.provider, caught.value.model) == ("ollama", "loop-1")


def test_a_busy_server_is_asked_again(server: LoopbackServer, runtime: Runtime) -> None:
    server.always(refusal(503, "server busy"), streamed())
    assert text(runtime.stream(model_of(server, max_retries=1), "hello")) == TEXT


def test_an_error_in_the_stream_is_raised_after_what_came(
    server: LoopbackServer, runtime: Runtime
) -> None:
    server.always(Reply.ndjson([piece(content="x"), {"error": "an error was encountered"}]))
    got: list[ModelChunkEvent] = []
    with pytest.raises(InternalServerError, match="an error was encountered") as caught:
        got.extend(runtime.open(model_of(server), "hello"))
    assert text(got) == "x"
    assert caught.value.partial is not None
    assert caught.value.partial.content == "x"


# -- the package's client ----------------------------------------------------------------------


@pytest.mark.sdk
def test_client_is_the_packages_with_this_models_settings(server: LoopbackServer) -> None:
    ollama = pytest.importorskip("ollama")
    server.always(whole())
    model = model_of(server, api_key=KEY)
    clients = []

    async def main() -> None:
        client = model.client
        assert isinstance(client, ollama.AsyncClient)
        assert model.client is client
        clients.append(client)
        answer = await client.chat("m", [{"role": "user", "content": "hello"}])
        assert answer.message.content == TEXT
        await client.close()

    for kind in ("asyncio", "trio", "asyncio"):
        run(kind, main)
    assert len({id(client) for client in clients}) == 3
    for request in server.requests:
        assert request.headers["authorization"] == f"Bearer {KEY}"


@pytest.mark.sdk
def test_client_leaves_nothing_behind_at_the_end_of_its_loop(server: LoopbackServer) -> None:
    pytest.importorskip("ollama")
    server.always(whole())
    script(
        f"""
        import asyncio, gc, trio, ollama
        from locus.models.native.ollama import OllamaModel
        model = OllamaModel("m", "{server.url}")

        async def main():
            await model.client.chat("m", [{{"role": "user", "content": "hello"}}])

        asyncio.run(main())
        trio.run(main)
        gc.collect()
        """
    )
    server.wait_closed(timeout=1)


def test_client_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "ollama", None)
    with pytest.raises(ConfigurationError, match=r'pip install "locus-llm\[ollama\]"') as caught:
        _ = OllamaModel("m", HERE).client
    assert "\n" not in str(caught.value)


def test_the_package_is_not_needed_to_send(server: LoopbackServer) -> None:
    server.always(whole())
    script(
        f"""
        import sys
        sys.modules["ollama"] = None
        from locus.models.native.ollama import OllamaModel
        assert OllamaModel("m", "{server.url}").complete_sync("hello").content
        """
    )


# -- the documentation -------------------------------------------------------------------------


@pytest.mark.sdk
def test_the_snippets_of_its_page_run(
    server: LoopbackServer, environment: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("ollama")
    environment.setenv("OLLAMA_HOST", server.url)
    server.always(whole())
    page = (runtimes.ROOT / "docs" / "ollama.md").read_text()
    found = re.findall(r"^```(?:python|{code-block} python)\n(.*?)^```$", page, re.S | re.M)
    names: dict[str, Any] = {}
    for source in found:
        exec(source, names)
    names["through"].client.close()
    assert len(server.requests) == len(re.findall(r"complete_sync\(", page)) == 3
