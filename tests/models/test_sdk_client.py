"""``sdk_client=`` with OpenAI's SDK, whose credentials, retries and instrumentation are used."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator
from typing import Any

import anyio
import pytest

from locus.core.errors import (
    APIConnectionError,
    APIStatusError,
    APITimeoutError,
    AuthenticationError,
    BadRequestError,
    ConfigurationError,
    ContextWindowExceededError,
    InternalServerError,
    NotFoundError,
    OverloadedError,
    RateLimitError,
    StreamInterruptedError,
)
from locus.core.messages import Message, ToolCall, ToolResult
from locus.models.native.openai import OpenAIModel
from locus.testing.formats.runtimes import Runtime, run_async
from locus.testing.server import LoopbackServer, Reply
from tests.support.chat_replies import (
    TEXT,
    TEXT_CHUNKS,
    USAGE,
    build_reply,
    build_stream_reply,
    join_text,
)
from tests.support.servers.openai_server import API_KEY, make_model
from tests.support.timing import FOREVER, HangGuard, retry_slower

openai = pytest.importorskip("openai")

pytestmark = [pytest.mark.sdk, pytest.mark.usefixtures("no_leaks")]

MakeClient = Callable[..., Any]

SOON = {"retry-after-ms": "1"}


@pytest.fixture
def make_client(server: LoopbackServer, runtime: Runtime) -> Iterator[MakeClient]:
    """Makes an SDK client for the runtime, blocking or async, and closes it after the test."""
    clients: list[Any] = []

    def make(azure: bool = False, client_class: Any = None, **kw: Any) -> Any:
        known: dict[str, Any] = {"api_key": API_KEY, "max_retries": 0, "timeout": FOREVER}
        if azure:
            known |= {"azure_endpoint": server.url, "api_version": "2024-10-21"}
            client_classes = (openai.AzureOpenAI, openai.AsyncAzureOpenAI)
        else:
            known |= {"base_url": f"{server.url}/v1"}
            client_classes = (openai.OpenAI, openai.AsyncOpenAI)
        client_class = client_class or client_classes[runtime.name != "blocking"]
        clients.append(client_class(**{**known, **kw}))
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


def wrap_client(client: Any, **kw: Any) -> OpenAIModel:
    return OpenAIModel("loop-1", sdk_client=client, **kw)


def test_it_sends_through_the_sdk(
    server: LoopbackServer, runtime: Runtime, make_client: MakeClient
) -> None:
    server.always(build_reply(), build_stream_reply())
    model = wrap_client(make_client(default_headers={"x-mine": "1"}))
    response = runtime.complete(model, "hello")
    events = runtime.collect_events(model, "hello")
    assert response.content == join_text(events) == TEXT
    assert events[-1].response == response
    assert response.usage["prompt_tokens"] == USAGE["prompt_tokens"]
    for request in server.requests:
        assert request.path == "/v1/chat/completions"
        assert request.headers["x-mine"] == "1"
        assert request.headers["authorization"] == f"Bearer {API_KEY}"
        assert "openai" in request.headers["user-agent"].lower()
    assert server.connections_total == 1


def test_it_sends_what_locus_would_send(
    server: LoopbackServer, runtime: Runtime, make_client: MakeClient
) -> None:
    server.always(build_reply())
    call = ToolCall("call_1", "look", {"up": "Zürich"})
    conversation = [
        Message.system("be brief"),
        Message.user("where?"),
        Message.assistant(tool_calls=[call]),
        Message.tool(ToolResult("call_1", "look", "there")),
    ]
    schema = {"type": "function", "function": {"name": "look", "parameters": {"type": "object"}}}
    options: dict[str, Any] = {
        "seed": 7,
        "stop": ["END"],
        "frequency_penalty": 0.5,
        "tool_choice": "look",
        "response_format": {"type": "json_object"},
        "parallel_tool_calls": False,
        "extra_body": {"top_k": 5, "reasoning_effort": "low"},
    }
    runtime.complete(wrap_client(make_client()), conversation, [schema], **options)
    runtime.complete(make_model(server), conversation, [schema], **options)
    sdk_body, own_body = (request.json() for request in server.requests)
    assert sdk_body == own_body
    assert sdk_body["top_k"] == 5


def test_azure(server: LoopbackServer, runtime: Runtime, make_client: MakeClient) -> None:
    server.always(build_reply(), build_stream_reply())
    model = wrap_client(make_client(azure=True))
    assert runtime.complete(model, "hello").content == TEXT
    assert join_text(runtime.collect_events(model, "hello")) == TEXT
    for request in server.requests:
        target = "/openai/deployments/loop-1/chat/completions?api-version=2024-10-21"
        assert request.target == target
        assert request.headers["api-key"] == API_KEY


@pytest.mark.parametrize(
    ("reply", "error_class"),
    [
        (Reply.error(400), BadRequestError),
        (
            Reply.error(400, "too long", code="context_length_exceeded"),
            ContextWindowExceededError,
        ),
        (Reply.error(401), AuthenticationError),
        (Reply.error(404), NotFoundError),
        (Reply.error(418), APIStatusError),
        (Reply.error(429), RateLimitError),
        (Reply.error(500), InternalServerError),
        (Reply.error(529), OverloadedError),
        (Reply.html(), InternalServerError),
    ],
    ids=lambda value: getattr(value, "__name__", ""),
)
def test_its_status_errors_are_locus_errors(
    server: LoopbackServer,
    runtime: Runtime,
    make_client: MakeClient,
    reply: Reply,
    error_class: type[APIStatusError],
) -> None:
    server.always(reply.with_header("x-request-id", "req_7"))
    model = wrap_client(make_client())
    for call_model in (runtime.complete, runtime.collect_events):
        with pytest.raises(error_class) as exc_info:
            call_model(model, "hello")
        error = exc_info.value
        assert type(error) is error_class
        assert error.status_code == reply.status
        assert error.body == reply.content.decode()
        assert error.request_id == "req_7"
        assert error.model == "loop-1"
        assert str(error).startswith(f"openai loop-1: POST {server.url}/v1/")
        assert isinstance(error.__cause__, openai.APIStatusError)


def test_its_connection_errors_are_locus_errors(
    server: LoopbackServer, runtime: Runtime, make_client: MakeClient
) -> None:
    server.always(build_reply().reset(0, "head"))
    for call_model in (runtime.complete, runtime.collect_events):
        with pytest.raises(APIConnectionError):
            call_model(wrap_client(make_client()), "hello")
    server.always(build_reply().stall(0, "head"))
    for call_model in (runtime.complete, runtime.collect_events):
        with pytest.raises(APITimeoutError):
            call_model(wrap_client(make_client(timeout=0.1)), "hello")


def test_an_incomplete_stream_through_it_is_an_error(
    server: LoopbackServer, runtime: Runtime, make_client: MakeClient
) -> None:
    third = sum(map(len, build_stream_reply().body[:3]))
    server.always(build_stream_reply().truncate(third))
    with pytest.raises(StreamInterruptedError) as exc_info:
        runtime.collect_events(wrap_client(make_client()), "hello")
    assert exc_info.value.partial is not None
    assert exc_info.value.partial.content == "".join(TEXT_CHUNKS[:2])
    server.always(build_stream_reply().stall(third))

    def check_interruption(factor: float) -> None:
        with pytest.raises(APITimeoutError) as silent:
            runtime.collect_events(wrap_client(make_client(timeout=0.2 * factor)), "hello")
        assert silent.value.partial is not None

    retry_slower(check_interruption)


def test_the_sdk_retries_and_locus_does_not(
    server: LoopbackServer, runtime: Runtime, make_client: MakeClient
) -> None:
    server.always(Reply.error(429, headers=SOON))
    for number, call_model in enumerate((runtime.complete, runtime.collect_events), 1):
        with pytest.raises(RateLimitError):
            call_model(wrap_client(make_client(max_retries=2), max_retries=5), "hello")
        assert len(server.requests) == 3 * number
    server.always(Reply.error(500, headers=SOON), build_reply())
    assert runtime.complete(wrap_client(make_client(max_retries=1)), "hello").content == TEXT


def test_keywords_of_a_call_pass_through(
    server: LoopbackServer, runtime: Runtime, make_client: MakeClient
) -> None:
    server.always(build_reply(), build_stream_reply())
    model = wrap_client(make_client())
    for call_model in (runtime.complete, runtime.collect_events):
        call_model(
            model,
            "hello",
            extra_headers={"X-Mine": "1"},
            extra_body={"top_k": 5, "user": "me"},
            max_tokens=7,
        )
    for request in server.requests:
        body = request.json()
        assert (body["top_k"], body["user"], body["max_tokens"]) == (5, "me", 7)
        assert request.headers["x-mine"] == "1"


def test_a_timeout_passes_through(
    server: LoopbackServer, runtime: Runtime, make_client: MakeClient
) -> None:
    server.always(build_reply().stall(0, "head"))
    with HangGuard():
        for call_model in (runtime.complete, runtime.collect_events):
            with pytest.raises(APITimeoutError):
                call_model(wrap_client(make_client(timeout=FOREVER)), "hello", timeout=0.1)
        with pytest.raises(APITimeoutError):
            runtime.complete(wrap_client(make_client(timeout=FOREVER), timeout=0.1), "hello")


def test_an_instrumented_method_sees_the_call(
    server: LoopbackServer,
    runtime: Runtime,
    make_client: MakeClient,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Tracing tools replace the class's method by a wrapper."""
    server.always(build_reply(), build_stream_reply())
    resources = openai.resources.chat.completions
    resource = resources.Completions if runtime.name == "blocking" else resources.AsyncCompletions
    original, seen = resource.create, []

    def create(self: Any, *args: Any, **kw: Any) -> Any:
        seen.append(kw)
        return original(self, *args, **kw)

    client = make_client()
    model = wrap_client(client)
    monkeypatch.setattr(resource, "create", create)
    runtime.complete(model, "hello")
    assert join_text(runtime.collect_events(model, "hello")) == TEXT
    assert [kw["model"] for kw in seen] == ["loop-1", "loop-1"]
    assert [kw.get("stream", False) for kw in seen] == [False, True]
    assert seen[0]["messages"] == [{"role": "user", "content": "hello"}]


def test_an_instrumented_client_sees_the_call(
    server: LoopbackServer, runtime: Runtime, make_client: MakeClient
) -> None:
    """Tracing tools that are passed a client replace the method of that client only."""
    server.always(build_reply(), build_stream_reply())
    client = make_client()
    completions, seen = client.chat.completions, []
    original = completions.create

    @functools.wraps(original)
    def create(*args: Any, **kw: Any) -> Any:
        seen.append(kw["model"])
        return original(*args, **kw)

    completions.create = create
    model = wrap_client(client)
    runtime.complete(model, "hello", extra_body={"top_k": 5})
    runtime.collect_events(model, "hello")
    assert seen == ["loop-1", "loop-1"]
    assert server.requests[0].json()["top_k"] == 5


def test_a_subclass_is_a_client(
    server: LoopbackServer, runtime: Runtime, make_client: MakeClient
) -> None:
    server.always(build_reply())
    base = openai.OpenAI if runtime.name == "blocking" else openai.AsyncOpenAI

    class CustomClient(base):  # type: ignore[misc, valid-type]
        @property
        def default_headers(self) -> dict[str, Any]:
            return {**super().default_headers, "x-mine": "1"}

    assert (
        runtime.complete(wrap_client(make_client(client_class=CustomClient)), "hello").content
        == TEXT
    )
    assert server.requests[0].headers["x-mine"] == "1"


def test_stream_options_are_left_out_for_a_server_that_does_not_know_them(
    server: LoopbackServer, runtime: Runtime, make_client: MakeClient
) -> None:
    server.always(Reply.error(400, "unknown field: stream_options"), build_stream_reply())
    assert join_text(runtime.collect_events(wrap_client(make_client()), "hello")) == TEXT
    assert ["stream_options" in request.json() for request in server.requests] == [True, False]


def test_a_stream_that_is_left_early_closes_its_connection(
    server: LoopbackServer, runtime: Runtime, make_client: MakeClient
) -> None:
    server.always(build_stream_reply().stall(sum(map(len, build_stream_reply().body[:3]))))
    model = wrap_client(make_client())
    with runtime.open_stream(model, "hello") as events:
        next(events)
    server.wait_closed()
    events = runtime.open_stream(model, "hello")
    next(events)
    del events
    server.wait_closed()


def test_a_stream_through_it_can_be_cancelled(server: LoopbackServer, backend: str) -> None:
    server.always(build_stream_reply().stall(sum(map(len, build_stream_reply().body[:3]))))

    async def main() -> None:
        async with openai.AsyncOpenAI(
            api_key=API_KEY, base_url=server.url, max_retries=0
        ) as client:
            with anyio.move_on_after(0.3) as scope:
                async for _ in wrap_client(client).stream("hello"):
                    pass
            assert scope.cancelled_caught
            await anyio.to_thread.run_sync(server.wait_closed)

    run_async(backend, main)


def test_it_is_never_closed(
    server: LoopbackServer, runtime: Runtime, make_client: MakeClient
) -> None:
    server.always(build_reply())
    client = make_client()
    model = wrap_client(client)
    runtime.run_in_context(model, lambda same: runtime.complete(same, "hello"))
    runtime.close(model)
    assert not client.is_closed()
    assert runtime.complete(model, "hello").content == TEXT


def test_it_is_the_models_client(make_client: MakeClient, runtime: Runtime) -> None:
    client = make_client()
    model = wrap_client(client)
    assert model.client is client
    assert model.copy(temperature=0.1).client is client
    assert model == wrap_client(client)
    assert API_KEY not in repr(model)


def test_a_client_for_the_other_runtime_is_a_clear_error(backend: str) -> None:
    blocking_model = wrap_client(openai.OpenAI(api_key=API_KEY))
    async_model = wrap_client(openai.AsyncOpenAI(api_key=API_KEY))
    with pytest.raises(ConfigurationError, match="only an async client"):
        async_model.complete_sync("hello")
    with pytest.raises(ConfigurationError, match="only an async client"):
        next(async_model.stream_sync("hello"))

    async def main() -> None:
        with pytest.raises(ConfigurationError, match="only a blocking client"):
            await blocking_model.complete("hello")
        with pytest.raises(ConfigurationError, match="only a blocking client"):
            await anext(blocking_model.stream("hello"))

    run_async(backend, main)


@pytest.mark.parametrize(
    "client", [object(), "openai", openai.OpenAI, 0], ids=["object", "name", "class", "number"]
)
def test_anything_else_is_a_type_error(client: Any) -> None:
    with pytest.raises(TypeError, match="sdk_client= takes a client of the package openai"):
        wrap_client(client)


def test_an_http_client_is_a_type_error() -> None:
    import httpx

    with httpx.Client() as client, pytest.raises(TypeError, match="not Client"):
        wrap_client(client)


def test_it_cannot_be_combined_with_an_http_client() -> None:
    import httpx

    with httpx.Client() as client, pytest.raises(ConfigurationError, match="exclude each other"):
        wrap_client(openai.OpenAI(api_key=API_KEY), http_client=client)


def test_an_error_of_the_sdk_itself_is_a_configuration_error(
    server: LoopbackServer, runtime: Runtime, make_client: MakeClient
) -> None:
    def key() -> str:
        raise openai.OpenAIError("the vault is closed")

    async def async_key() -> str:
        return key()

    client = make_client(api_key=key if runtime.name == "blocking" else async_key)
    for call_model in (runtime.complete, runtime.collect_events):
        with pytest.raises(
            ConfigurationError, match="client rejects the call: the vault is closed"
        ):
            call_model(wrap_client(client), "hello")
    assert server.connections_total == 0


def test_the_key_of_the_sdk_is_in_no_error(
    server: LoopbackServer, runtime: Runtime, make_client: MakeClient
) -> None:
    server.always(
        lambda received: Reply.error(401, f"I do not know {received.headers['authorization']}")
    )
    for call_model in (runtime.complete, runtime.collect_events):
        with pytest.raises(AuthenticationError) as exc_info:
            call_model(wrap_client(make_client()), "hello")
        assert API_KEY not in str(exc_info.value) + repr(vars(exc_info.value))
