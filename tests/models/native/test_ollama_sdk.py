"""``sdk_client=`` with the clients of the package ``ollama``, and its types as a second opinion."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from locus.core.errors import (
    APIConnectionError,
    APIError,
    APITimeoutError,
    BadRequestError,
    ConfigurationError,
    InternalServerError,
    NotFoundError,
    ResponseParseError,
    StreamInterruptedError,
)
from locus.core.messages import ImagePart, Message, TextPart, ThinkingPart, ToolResult
from locus.models.native.ollama import OllamaModel
from locus.testing.formats.runtimes import Runtime, run_async
from locus.testing.server import LoopbackServer, Reply
from tests.support.chat_replies import TEXT, TEXT_CHUNKS, join_text
from tests.support.servers.ollama_server import (
    LOOK_TOOL,
    UNUSED_ADDRESS,
    WIRE_COUNTS,
    build_error_reply,
    build_reply,
    build_stream_reply,
    get_last_body,
    make_model,
)
from tests.support.timing import FOREVER, retry_slower
from tests.support.wire_json.ollama_json import make_chunk, make_last_chunk

pytestmark = pytest.mark.usefixtures("clean_environment", "no_leaks")

MakeClient = Callable[..., Any]

lets_generators_go = pytest.mark.filterwarnings("ignore:Async generator 'http:ResourceWarning")
"""If a stream ends early, the package drops httpx's generators, and trio warns about that."""


@pytest.fixture
def make_client(server: LoopbackServer, runtime: Runtime) -> Any:
    """Makes a client of the package for the runtime, and closes it after the test."""
    ollama = pytest.importorskip("ollama")
    client_class = ollama.Client if runtime.name == "blocking" else ollama.AsyncClient
    clients: list[Any] = []

    def make(**kw: Any) -> Any:
        clients.append(client_class(**{"host": server.url, "timeout": FOREVER, **kw}))
        return clients[-1]

    yield make
    for client in clients:
        if runtime.name == "blocking":
            client.close()
        else:
            runtime.close(Closer(client))


class Closer:
    def __init__(self, client: Any) -> None:
        self.aclose = client.close


def wrap_client(client: Any, **kw: Any) -> OllamaModel:
    return OllamaModel("loop-1", sdk_client=client, **{"max_retries": 0, **kw})


@pytest.mark.sdk
def test_it_sends_through_the_package(
    server: LoopbackServer, runtime: Runtime, make_client: MakeClient
) -> None:
    server.always(
        build_reply(thinking="hm"), Reply.ndjson([make_chunk(thinking="hm"), *build_lines()])
    )
    model = wrap_client(make_client(headers={"x-mine": "1"}))
    response = runtime.complete(model, "hello")
    events = runtime.collect_events(model, "hello")
    assert response.content == join_text(events) == TEXT
    assert events[-1].response == response
    assert (response.reasoning, response.total_tokens) == ("hm", 14)
    for request in server.requests:
        assert request.path == "/api/chat"
        assert request.headers["x-mine"] == "1"
        assert request.headers["user-agent"].startswith("ollama-python/")
    assert server.connections_total == 1


def build_lines() -> list[dict[str, Any]]:
    return [*(make_chunk(content=word) for word in TEXT_CHUNKS), make_last_chunk(**WIRE_COUNTS)]


@pytest.mark.sdk
def test_it_sends_what_locus_would_send(
    server: LoopbackServer, runtime: Runtime, make_client: MakeClient
) -> None:
    server.always(build_reply())
    call = {"id": "c1", "function": {"name": "look", "arguments": {"at": None, "b": [{"c": None}]}}}
    response = OllamaModel().response_parser.parse(
        make_last_chunk(message={"content": "so", "thinking": "hm", "tool_calls": [call]})
    )
    messages = [
        Message.system("be brief"),
        Message.user(["where?", ImagePart(data=b"i\xb7\x9e", media_type="image/png")]),
        response.message,
        Message.tool(ToolResult("c1", "look", "there")),
    ]
    options: dict[str, Any] = {
        "seed": 7,
        "stop": ["END"],
        "frequency_penalty": 0.5,
        "response_format": {"type": "json_object"},
        "extra_body": {"logprobs": True, "top_logprobs": 2},
    }
    config: dict[str, Any] = {"options": {"num_ctx": 5}, "think": "low", "keep_alive": 5}
    runtime.complete(wrap_client(make_client(), **config), messages, [LOOK_TOOL], **options)
    runtime.complete(make_model(server, **config), messages, [LOOK_TOOL], **options)
    package_body, own_body = (request.json() for request in server.requests)
    del own_body["messages"][2]["tool_calls"][0]["id"], own_body["messages"][3]["tool_call_id"]
    assert package_body == own_body


@pytest.mark.sdk
def test_an_image_that_looks_like_a_file_name_is_still_an_image(
    server: LoopbackServer, runtime: Runtime, make_client: MakeClient
) -> None:
    import base64

    server.always(build_reply())
    image = ImagePart(data=base64.b64decode("jpeg"), media_type="image/jpeg")
    runtime.complete(wrap_client(make_client()), [Message.user([image])])
    assert get_last_body(server)["messages"][0]["images"] == ["jpeg"]


@pytest.mark.sdk
@pytest.mark.parametrize(
    ("reply", "error_class", "pattern"),
    [
        (build_error_reply(404, 'model "loop-1" not found'), NotFoundError, "ollama pull loop-1"),
        (
            build_error_reply(400, "does not support tools"),
            BadRequestError,
            "does not support tools",
        ),
        (build_error_reply(500, "boom"), InternalServerError, "boom"),
        (Reply.html(), InternalServerError, "Bad gateway"),
        (Reply.error(529, "later"), InternalServerError, "later"),
    ],
    ids=["404", "400", "500", "page", "529"],
)
def test_the_packages_status_errors_are_locus_errors(
    server: LoopbackServer,
    runtime: Runtime,
    make_client: MakeClient,
    reply: Reply,
    error_class: type[APIError],
    pattern: str,
) -> None:
    server.always(reply)
    for call_model in (runtime.complete, runtime.collect_events):
        with pytest.raises(error_class, match=pattern) as exc_info:
            call_model(wrap_client(make_client()), "hello")
        assert (exc_info.value.provider, exc_info.value.model) == ("ollama", "loop-1")
        assert exc_info.value.status_code == reply.status  # type: ignore[attr-defined]


@pytest.mark.sdk
def test_the_packages_connection_errors_are_locus_errors(
    server: LoopbackServer, runtime: Runtime, make_client: MakeClient
) -> None:
    server.always(build_reply().reset(0, "head"))
    for call_model in (runtime.complete, runtime.collect_events):
        with pytest.raises(APIConnectionError):
            call_model(wrap_client(make_client()), "hello")
        with pytest.raises(APIConnectionError, match="ollama serve"):
            call_model(wrap_client(make_client(host=UNUSED_ADDRESS)), "hello")
    server.always(build_reply().stall(0, "head"))
    for call_model in (runtime.complete, runtime.collect_events):
        with pytest.raises(APITimeoutError):
            call_model(wrap_client(make_client(timeout=0.2)), "hello")


@pytest.mark.sdk
def test_the_package_does_not_retry_and_locus_does(
    server: LoopbackServer, runtime: Runtime, make_client: MakeClient
) -> None:
    for call_model in (runtime.complete, runtime.collect_events):
        server.always(
            build_error_reply(503, "server busy"),
            build_reply() if call_model == runtime.complete else build_stream_reply(),
        )
        call_model(wrap_client(make_client(), max_retries=1), "hello")
    assert len(server.requests) == 4


@pytest.mark.sdk
@lets_generators_go
def test_an_incomplete_stream_through_the_package_is_an_error(
    server: LoopbackServer, runtime: Runtime, make_client: MakeClient
) -> None:
    third = sum(map(len, build_stream_reply().body[:3]))  # type: ignore[arg-type]
    for reply, error_class in (
        (build_stream_reply().truncate(third), StreamInterruptedError),
        (build_stream_reply().framed("close").truncate(third), StreamInterruptedError),
        (build_stream_reply().stall(third), APITimeoutError),
        (Reply.ndjson([*build_lines()[:3], {"error": "boom"}]), InternalServerError),
        (Reply.ndjson([*build_lines()[:3], {"message": 5}]), ResponseParseError),
        (Reply.ndjson([*build_lines()[:3], "no object"]), ResponseParseError),
        (Reply.ndjson([*build_lines()[:3], {"error": {"no": "text"}}]), ResponseParseError),
        (build_stream_reply().framed("close").truncate(third + 9), ResponseParseError),
    ):
        server.always(reply)

        def check_interruption(factor: float, error_class: Any = error_class) -> None:
            with pytest.raises(error_class) as exc_info:
                runtime.collect_events(wrap_client(make_client(timeout=0.2 * factor)), "hello")
            assert exc_info.value.partial is not None
            assert exc_info.value.partial.content == "".join(TEXT_CHUNKS[:3])

        retry_slower(check_interruption)


@pytest.mark.sdk
@lets_generators_go
def test_a_response_that_the_package_cannot_parse_is_a_locus_error(
    server: LoopbackServer, runtime: Runtime, make_client: MakeClient
) -> None:
    bodies = (b"<html>", b'{"message": 5}', b'{"error": "boom"}', b"{}", b"", b'"text"', b"null")
    for body in bodies:
        server.always(Reply.json({}).with_body(body))
        for call_model in (runtime.complete, runtime.collect_events):
            with pytest.raises(APIError):
                call_model(wrap_client(make_client()), "hello")


@pytest.mark.sdk
def test_what_the_package_cannot_send_is_an_error_before_anything_is_sent(
    server: LoopbackServer, runtime: Runtime, make_client: MakeClient
) -> None:
    model = wrap_client(make_client())
    for options, pattern in (
        ({"extra_headers": {"X-Mine": "1"}}, r"no headers for a call \(x-mine\)"),
        ({"timeout": 3.0}, "no timeout for a call"),
        ({"extra_body": {"truncate": False}}, "does not take truncate"),
        ({"extra_body": {"keep_alive": {}}}, "client rejects the call"),
    ):
        for call_model in (runtime.complete, runtime.collect_events):
            with pytest.raises(ConfigurationError, match=pattern):
                call_model(model, "hello", **options)
    assert server.connections_total == 0


@pytest.mark.sdk
def test_an_instrumented_client_sees_the_call(
    server: LoopbackServer, runtime: Runtime, make_client: MakeClient
) -> None:
    server.always(build_reply(), build_stream_reply())
    client = make_client()
    original, seen = client.chat, []

    def chat(**kw: Any) -> Any:
        seen.append((kw["model"], kw["stream"]))
        return original(**kw)

    client.chat = chat
    model = wrap_client(client)
    runtime.complete(model, "hello")
    assert join_text(runtime.collect_events(model, "hello")) == TEXT
    assert seen == [("loop-1", False), ("loop-1", True)]


@pytest.mark.sdk
@lets_generators_go
def test_a_stream_through_the_package_that_is_left_early_closes_its_connection(
    server: LoopbackServer, runtime: Runtime, make_client: MakeClient
) -> None:
    server.always(build_stream_reply().stall(sum(map(len, build_stream_reply().body[:3]))))  # type: ignore[arg-type]
    with runtime.open_stream(wrap_client(make_client()), "hello") as events:
        next(events)
    server.wait_closed()


@pytest.mark.sdk
def test_the_packages_client_is_never_closed_and_is_the_models(
    server: LoopbackServer, runtime: Runtime, make_client: MakeClient
) -> None:
    server.always(build_reply())
    client = make_client()
    model = wrap_client(client)
    runtime.run_in_context(model, lambda same: runtime.complete(same, "hello"))
    runtime.close(model)
    assert runtime.complete(model, "hello").content == TEXT
    assert model.client is client


@pytest.mark.sdk
def test_a_client_for_the_other_runtime_is_a_clear_error(backend: str) -> None:
    ollama = pytest.importorskip("ollama")
    with ollama.Client() as client:
        blocking = wrap_client(client)

        async def main() -> None:
            with pytest.raises(ConfigurationError, match="only a blocking client"):
                await blocking.complete("hello")
            async with ollama.AsyncClient() as other:
                with pytest.raises(ConfigurationError, match="only an async client"):
                    wrap_client(other).complete_sync("hello")

        run_async(backend, main)
    for wrong in (object(), "ollama", ollama.Client, ollama.Message(role="user")):
        with pytest.raises(TypeError, match="sdk_client= takes a client of the package ollama"):
            wrap_client(wrong)


# -- the package's types as a second opinion ---------------------------------------------------


@pytest.mark.sdk
def test_responses_of_the_packages_types_are_parsed_equally(server: LoopbackServer) -> None:
    ollama = pytest.importorskip("ollama")
    call = {"function": {"name": "f", "arguments": {"a": [1]}}}
    message = {"role": "assistant", "content": "x", "thinking": "hm", "tool_calls": [call]}
    one = {"token": "x", "logprob": -0.5, "top_logprobs": [{"token": "y", "logprob": -1.0}]}
    body = make_last_chunk(message=message, logprobs=[one], **WIRE_COUNTS)
    theirs = ollama.ChatResponse(**body)
    ours = OllamaModel().response_parser.parse(theirs.model_dump_json())
    assert ours.message.content == (ThinkingPart("hm"), TextPart("x"))
    assert (ours.content, ours.reasoning) == (theirs.message.content, theirs.message.thinking)
    assert [(call.name, call.arguments) for call in ours.tool_calls] == [
        (call.function.name, call.function.arguments) for call in theirs.message.tool_calls
    ]
    assert (ours.stop_reason, ours.model) == (theirs.done_reason, theirs.model)
    assert ours.usage == {
        "prompt_tokens": theirs.prompt_eval_count,
        "completion_tokens": theirs.eval_count,
    }
    assert ours.logprobs == {"content": [one.model_dump() for one in theirs.logprobs]}
