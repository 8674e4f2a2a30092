"""``OllamaModel``: its options, its requests, its responses, and its errors."""

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
from locus.testing.formats.runtimes import Runtime, run_async
from locus.testing.server import LoopbackServer, Reply
from tests.support.chat_replies import TEXT, TEXT_CHUNKS, join_text
from tests.support.processes import PROJECT_ROOT
from tests.support.servers.ollama_server import (
    API_KEY,
    LOOK_TOOL,
    UNUSED_ADDRESS,
    build_error_reply,
    build_reply,
    build_stream_reply,
    get_last_body,
    make_model,
)
from tests.support.subprocess_scripts import run_script
from tests.support.wire_json.ollama_json import make_chunk, make_last_chunk

pytestmark = pytest.mark.usefixtures("clean_environment", "no_leaks")

# -- options -----------------------------------------------------------------------------------


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
    config = OllamaModel("m", UNUSED_ADDRESS, 5, 0.1).config
    assert (config.model, config.base_url, config.max_tokens, config.temperature) == (
        "m",
        UNUSED_ADDRESS,
        5,
        0.1,
    )


@pytest.mark.parametrize(
    "options",
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
def test_an_invalid_option_is_an_error(options: dict[str, Any]) -> None:
    with pytest.raises(ConfigurationError) as exc_info:
        OllamaModel(**options)
    assert "sesame" not in str(exc_info.value)


@pytest.mark.parametrize(
    ("option", "keyword"),
    [("num_predict", "max_tokens"), ("temperature", "temperature"), ("stop", "stop_sequences")],
)
def test_a_runtime_option_that_has_a_keyword_is_an_error(option: str, keyword: str) -> None:
    with pytest.raises(ConfigurationError, match=f"'{option}': use {keyword}="):
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


def test_it_is_a_model() -> None:
    model = OllamaModel()
    assert isinstance(model, ModelProtocol)
    assert model.supports_structured_output is False
    assert model.server_stateful is False
    builder: RequestBuilder = model.request_builder
    parser: ResponseParser = model.response_parser
    assert builder.build("hello", model="m")["messages"] == [{"role": "user", "content": "hello"}]
    assert parser.parse(build_reply().content).content == TEXT


def test_it_is_compared_by_value() -> None:
    options: dict[str, Any] = {
        "options": {"num_ctx": 9, "list": [1]},
        "think": "low",
        "api_key": API_KEY,
    }
    one, same, other = (OllamaModel(name, UNUSED_ADDRESS, **options) for name in ("a", "a", "b"))
    assert one == same
    assert hash(one) == hash(same)
    assert one != other
    assert one != one.copy(options={"num_ctx": 8})
    bound = one.bind_tools([LOOK_TOOL], stop="END")
    assert bound == same.bind_tools([LOOK_TOOL], stop="END") != one
    assert copy.copy(one) == one == copy.deepcopy(one)
    assert pickle.loads(pickle.dumps(bound)) == bound


def test_a_copy_has_the_changes() -> None:
    model = OllamaModel("a", UNUSED_ADDRESS, options={"num_ctx": 9}).bind_tools([LOOK_TOOL], seed=1)
    other = model.copy(model="b", options={"num_ctx": 8}, base_url="gpu-box")
    assert other.config == attrs.evolve(
        model.config, model="b", options={"num_ctx": 8}, base_url="http://gpu-box:11434"
    )
    assert (other.tools, other.options) == (model.tools, model.options)


def test_the_key_is_not_shown(server: LoopbackServer, runtime: Runtime) -> None:
    model = make_model(server, api_key=API_KEY)
    server.always(build_error_reply(401, f"no such key {API_KEY}"))
    with pytest.raises(AuthenticationError) as exc_info:
        runtime.complete(model, "hello")
    for value in (model, model.config, exc_info.value, exc_info.value.body):
        assert API_KEY not in repr(value)
        assert API_KEY not in str(value)
    assert server.requests[0].headers["authorization"] == f"Bearer {API_KEY}"
    assert "ollama signin" in str(exc_info.value)


# -- requests ----------------------------------------------------------------------------------


def test_the_smallest_request(server: LoopbackServer, runtime: Runtime) -> None:
    server.always(build_reply(), build_stream_reply())
    model = make_model(server)
    plain = {
        "model": "loop-1",
        "messages": [{"role": "user", "content": "hello"}],
        "options": {"num_predict": 4096, "temperature": 0.7, "top_p": 0.9},
    }
    runtime.complete(model, "hello")
    assert get_last_body(server) == {**plain, "stream": False}
    runtime.collect_events(model, "hello")
    assert get_last_body(server) == {**plain, "stream": True}
    for request in server.requests:
        assert (request.method, request.path) == ("POST", "/api/chat")
        assert request.headers["content-type"] == "application/json"
        assert request.headers["user-agent"].startswith("locus-llm/")
        assert "authorization" not in request.headers


def test_every_option_is_sent_by_complete_and_stream(
    server: LoopbackServer, runtime: Runtime
) -> None:
    server.always(build_reply())
    model = make_model(
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
    for call_model in (runtime.complete, runtime.collect_events):
        call_model(model, "hello", [LOOK_TOOL])
        body = get_last_body(server)
        assert body["options"] == {
            "num_ctx": 8192,
            "top_k": 5,
            "seed": 3,
            "frequency_penalty": 0.1,
            "presence_penalty": 0.2,
            "stop": ["END"],
        }
        assert (body["keep_alive"], body["think"], body["tools"]) == ("10m", "high", [LOOK_TOOL])
        call_model(
            model,
            "hello",
            max_tokens=5,
            seed=4,
            stop=["X"],
            extra_body={"options": {"num_ctx": 1}, "think": False, "truncate": False},
            extra_headers={"X-Mine": "1"},
        )
        body = get_last_body(server)
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
def test_keep_alive_may_be_zero_or_negative(server: LoopbackServer, value: float) -> None:
    server.always(build_reply())
    make_model(server, keep_alive=value, think=False).complete_sync("hello")
    assert (get_last_body(server)["keep_alive"], get_last_body(server)["think"]) == (value, False)


def test_a_schema_is_sent_as_format(server: LoopbackServer, runtime: Runtime) -> None:
    server.always(build_reply('{"a": 1}'))
    schema = {"type": "object", "properties": {"a": {"type": "integer"}}, "required": ["a"]}
    response_format = {
        "type": "json_schema",
        "json_schema": {"name": "n", "schema": schema, "strict": True},
    }
    for call_model in (runtime.complete, runtime.collect_events):
        call_model(make_model(server), "hello", response_format=response_format)
        assert get_last_body(server)["format"] == schema
    assert json.loads(runtime.invoke(make_model(server), "hello").text) == {"a": 1}


def test_a_conversation_with_tools_thinking_and_images(
    server: LoopbackServer, runtime: Runtime
) -> None:
    call = {"function": {"name": "look", "arguments": {"at": "it"}}}
    chunks = [
        make_chunk(thinking="hm"),
        make_chunk(tool_calls=[call]),
        make_chunk(tool_calls=[call]),
        make_last_chunk(),
    ]
    server.always(Reply.ndjson(chunks), build_reply("a cat"))
    model = make_model(server, think=True).bind_tools([LOOK_TOOL])
    messages = [Message.user(["what?", ImagePart(data=b"abc", media_type="image/png")])]
    response = runtime.collect_events(model, messages)[-1].response
    assert response is not None
    first, second = response.tool_calls
    assert first.id != second.id
    assert response.reasoning == "hm"
    messages += [
        response.message,
        *(Message.tool(ToolResult(call.id, "look", call.id)) for call in (second, first)),
    ]
    assert runtime.complete(model, messages).content == "a cat"
    ids = [first.id, second.id]
    assert get_last_body(server)["messages"] == [
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


def test_what_cannot_be_sent_is_an_error_before_anything_is_sent(
    server: LoopbackServer, runtime: Runtime
) -> None:
    model = make_model(server)
    picture = Message.user([ImagePart(url="https://example.com/cat.png")])
    for call_model in (runtime.complete, runtime.collect_events, runtime.invoke):
        with pytest.raises(ConfigurationError, match="ImagePart"):
            call_model(model, [picture])
        with pytest.raises(ConfigurationError, match="tool_choice"):
            call_model(model, "hello", [LOOK_TOOL], tool_choice="required")
    assert server.connections_total == 0


# -- responses ---------------------------------------------------------------------------------


def test_every_way_of_calling(server: LoopbackServer, runtime: Runtime) -> None:
    server.always(build_reply(), build_reply(), build_stream_reply(), build_stream_reply())
    model = make_model(server)
    response = runtime.complete(model, "hello")
    assert response == ModelResponse(
        Message.assistant(TEXT),
        {"prompt_tokens": 9, "completion_tokens": 5},
        stop_reason="stop",
        model="m",
    )
    assert response.total_tokens == 14
    assert runtime.invoke(model, "hello") == response.message
    events = runtime.collect_events(model, "hello")
    assert [event.content for event in events] == [*TEXT_CHUNKS, None]
    assert events[-1].response == response
    with runtime.open_stream(model, "hello") as opened:
        assert next(opened).content == TEXT_CHUNKS[0]
    server.wait_closed()
    runtime.run_in_context(model, lambda same: None)
    runtime.close(model)
    server.always(build_reply())
    assert runtime.complete(model, "hello") == response


def test_it_passes_the_conformance_checks(server: LoopbackServer) -> None:
    def response(request: Any) -> Reply:
        return build_stream_reply() if request.json()["stream"] else build_reply()

    server.always(response)
    check_model_conformance(make_model(server))


# -- errors ------------------------------------------------------------------------------------


def test_a_server_that_is_not_running_is_an_error_with_a_hint(
    runtime: Runtime,
) -> None:
    with LoopbackServer() as stopped_server:
        model = make_model(stopped_server)
    for call_model in (runtime.complete, runtime.collect_events, runtime.invoke):
        with pytest.raises(APIConnectionError) as exc_info:
            call_model(model, "hello")
        assert type(exc_info.value) is APIConnectionError
        assert stopped_server.url in str(exc_info.value)
        assert "type `ollama serve`" in str(exc_info.value)
        assert "set base_url= or OLLAMA_HOST" in str(exc_info.value)


@pytest.mark.parametrize(
    "error", ['model "qwen3:8b" not found, try pulling it first', "model 'qwen3:8b' not found"]
)
def test_a_model_that_is_not_pulled_is_an_error_with_a_hint(
    server: LoopbackServer, runtime: Runtime, error: str
) -> None:
    server.always(build_error_reply(404, error))
    for call_model in (runtime.complete, runtime.collect_events):
        with pytest.raises(NotFoundError) as exc_info:
            call_model(make_model(server, model="qwen3:8b"), "hello")
        assert error in str(exc_info.value)
        assert "type `ollama pull qwen3:8b`" in str(exc_info.value)
        again = pickle.loads(pickle.dumps(exc_info.value))
        assert str(again) == str(exc_info.value)


@pytest.mark.parametrize(
    ("reply", "error_class", "pattern"),
    [
        (
            build_error_reply(400, '"loop-1" does not support tools'),
            BadRequestError,
            "does not support tools",
        ),
        (
            build_error_reply(400, '"loop-1" does not support thinking'),
            BadRequestError,
            "does not support thinking",
        ),
        (
            build_error_reply(401, "unauthorized", signin_url="https://ollama.com/connect"),
            AuthenticationError,
            "`ollama signin`",
        ),
        (
            build_error_reply(500, "llama runner process has terminated"),
            InternalServerError,
            "terminated",
        ),
        (
            build_error_reply(
                503, "server busy, please try again. maximum pending requests exceeded"
            ),
            InternalServerError,
            "server busy",
        ),
    ],
    ids=lambda value: getattr(value, "__name__", None),
)
def test_the_servers_error_messages_are_in_the_errors(
    server: LoopbackServer,
    runtime: Runtime,
    reply: Reply,
    error_class: type[APIError],
    pattern: str,
) -> None:
    server.always(reply)
    for call_model in (runtime.complete, runtime.collect_events):
        with pytest.raises(error_class, match=pattern) as exc_info:
            call_model(make_model(server), "hello", [LOOK_TOOL])
        assert (exc_info.value.provider, exc_info.value.model) == ("ollama", "loop-1")


def test_a_busy_server_is_retried(server: LoopbackServer, runtime: Runtime) -> None:
    server.always(build_error_reply(503, "server busy"), build_stream_reply())
    assert join_text(runtime.collect_events(make_model(server, max_retries=1), "hello")) == TEXT


def test_an_error_in_the_stream_is_raised_after_the_events_before_it(
    server: LoopbackServer, runtime: Runtime
) -> None:
    server.always(Reply.ndjson([make_chunk(content="x"), {"error": "an error was encountered"}]))
    events: list[ModelChunkEvent] = []
    with pytest.raises(InternalServerError, match="an error was encountered") as exc_info:
        events.extend(runtime.open_stream(make_model(server), "hello"))
    assert join_text(events) == "x"
    assert exc_info.value.partial is not None
    assert exc_info.value.partial.content == "x"


# -- the package's client ----------------------------------------------------------------------


@pytest.mark.sdk
def test_client_is_the_packages_with_this_models_settings(server: LoopbackServer) -> None:
    ollama = pytest.importorskip("ollama")
    server.always(build_reply())
    model = make_model(server, api_key=API_KEY)
    clients = []

    async def main() -> None:
        client = model.client
        assert isinstance(client, ollama.AsyncClient)
        assert model.client is client
        clients.append(client)
        response = await client.chat("m", [{"role": "user", "content": "hello"}])
        assert response.message.content == TEXT
        await client.close()

    for backend in ("asyncio", "trio", "asyncio"):
        run_async(backend, main)
    assert len({id(client) for client in clients}) == 3
    for request in server.requests:
        assert request.headers["authorization"] == f"Bearer {API_KEY}"


@pytest.mark.sdk
def test_client_is_closed_at_the_end_of_its_loop(server: LoopbackServer) -> None:
    pytest.importorskip("ollama")
    server.always(build_reply())
    run_script(
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
    server.wait_closed()


def test_client_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "ollama", None)
    with pytest.raises(ConfigurationError, match=r'pip install "locus-llm\[ollama\]"') as exc_info:
        _ = OllamaModel("m", UNUSED_ADDRESS).client
    assert "\n" not in str(exc_info.value)


def test_the_package_is_not_needed_to_send(server: LoopbackServer) -> None:
    server.always(build_reply())
    run_script(
        f"""
        import sys
        sys.modules["ollama"] = None
        from locus.models.native.ollama import OllamaModel
        assert OllamaModel("m", "{server.url}").complete_sync("hello").content
        """
    )


# -- the documentation -------------------------------------------------------------------------


@pytest.mark.sdk
def test_the_code_of_its_documentation_page_runs(
    server: LoopbackServer, clean_environment: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("ollama")
    clean_environment.setenv("OLLAMA_HOST", server.url)
    server.always(build_reply())
    page = (PROJECT_ROOT / "docs" / "ollama.md").read_text()
    snippets = re.findall(r"^```(?:python|{code-block} python)\n(.*?)^```$", page, re.S | re.M)
    names: dict[str, Any] = {}
    for source in snippets:
        exec(source, names)
    names["sdk_model"].client.close()
    assert len(server.requests) == len(re.findall(r"complete_sync\(", page)) == 3
