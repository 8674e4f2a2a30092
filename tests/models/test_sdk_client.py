"""``sdk_client=``: an official client sends, and keeps its credentials, retries and instruments."""

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
from locus.testing.loopback_server import LoopbackServer, Reply
from tests.support import runtimes
from tests.support.runtimes import (
    KEY,
    TEXT,
    USAGE,
    WORDS,
    AtMost,
    Runtime,
    run,
    streamed,
    text,
    whole,
)

openai = pytest.importorskip("openai")

backend, no_leaks = runtimes.backend, runtimes.no_leaks
runtime, server = runtimes.runtime, runtimes.server
pytestmark = [pytest.mark.sdk, pytest.mark.usefixtures("no_leaks")]

Bring = Callable[..., Any]

SOON = {"retry-after-ms": "1"}


@pytest.fixture
def bring(server: LoopbackServer, runtime: Runtime) -> Iterator[Bring]:
    """Makes an SDK's client of the kind that the runtime wants, and closes it in the end."""
    made: list[Any] = []

    def make(azure: bool = False, kind: Any = None, **kw: Any) -> Any:
        known: dict[str, Any] = {"api_key": KEY, "max_retries": 0, "timeout": 5.0}
        if azure:
            known |= {"azure_endpoint": server.url, "api_version": "2024-10-21"}
            kinds = (openai.AzureOpenAI, openai.AsyncAzureOpenAI)
        else:
            known |= {"base_url": f"{server.url}/v1"}
            kinds = (openai.OpenAI, openai.AsyncOpenAI)
        kind = kind or kinds[runtime.name != "blocking"]
        made.append(kind(**{**known, **kw}))
        return made[-1]

    yield make
    for client in made:
        if runtime.name == "blocking":
            client.close()
        else:
            runtime.close(Closer(client))


class Closer:
    def __init__(self, client: Any) -> None:
        self.aclose = client.close


def through(client: Any, **kw: Any) -> OpenAIModel:
    return OpenAIModel("loop-1", sdk_client=client, **kw)


def test_it_sends_through_the_sdk(server: LoopbackServer, runtime: Runtime, bring: Bring) -> None:
    server.always(whole(), streamed())
    model = through(bring(default_headers={"x-mine": "1"}))
    answer = runtime.ask(model, "hello")
    events = runtime.stream(model, "hello")
    assert answer.content == text(events) == TEXT
    assert events[-1].response == answer
    assert answer.usage["prompt_tokens"] == USAGE["prompt_tokens"]
    for request in server.requests:
        assert request.path == "/v1/chat/completions"
        assert request.headers["x-mine"] == "1"
        assert request.headers["authorization"] == f"Bearer {KEY}"
        assert "openai" in request.headers["user-agent"].lower()
    assert server.connections_total == 1


def test_it_sends_what_locus_would_send(
    server: LoopbackServer, runtime: Runtime, bring: Bring
) -> None:
    server.always(whole())
    call = ToolCall("call_1", "look", {"up": "Zürich"})
    conversation = [
        Message.system("be brief"),
        Message.user("where?"),
        Message.assistant(tool_calls=[call]),
        Message.tool(ToolResult("call_1", "look", "there")),
    ]
    schema = {"type": "function", "function": {"name": "look", "parameters": {"type": "object"}}}
    said: dict[str, Any] = {
        "seed": 7,
        "stop": ["END"],
        "frequency_penalty": 0.5,
        "tool_choice": "look",
        "response_format": {"type": "json_object"},
        "parallel_tool_calls": False,
        "extra_body": {"top_k": 5, "reasoning_effort": "low"},
    }
    runtime.ask(through(bring()), conversation, [schema], **said)
    runtime.ask(runtimes.model_of(server), conversation, [schema], **said)
    sdk, own = (request.json() for request in server.requests)
    assert sdk == own
    assert sdk["top_k"] == 5


def test_azure(server: LoopbackServer, runtime: Runtime, bring: Bring) -> None:
    server.always(whole(), streamed())
    model = through(bring(azure=True))
    assert runtime.ask(model, "hello").content == TEXT
    assert text(runtime.stream(model, "hello")) == TEXT
    for request in server.requests:
        target = "/openai/deployments/loop-1/chat/completions?api-version=2024-10-21"
        assert request.target == target
        assert request.headers["api-key"] == KEY


@pytest.mark.parametrize(
    ("reply", "kind"),
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
def test_its_refusals_are_locus_errors(
    server: LoopbackServer, runtime: Runtime, bring: Bring, reply: Reply, kind: type[APIStatusError]
) -> None:
    server.always(reply.with_header("x-request-id", "req_7"))
    model = through(bring())
    for ask in (runtime.ask, runtime.stream):
        with pytest.raises(kind) as caught:
            ask(model, "hello")
        error = caught.value
        assert type(error) is kind
        assert error.status_code == reply.status
        assert error.body == reply.content.decode()
        assert error.request_id == "req_7"
        assert error.model == "loop-1"
        assert str(error).startswith(f"openai loop-1: POST {server.url}/v1/")
        assert isinstance(error.__cause__, openai.APIStatusError)


def test_its_failures_are_locus_errors(
    server: LoopbackServer, runtime: Runtime, bring: Bring
) -> None:
    server.always(whole().reset(0, "head"))
    for ask in (runtime.ask, runtime.stream):
        with pytest.raises(APIConnectionError):
            ask(through(bring()), "hello")
    server.always(whole().stall(0, "head"))
    for ask in (runtime.ask, runtime.stream):
        with pytest.raises(APITimeoutError):
            ask(through(bring(timeout=0.1)), "hello")


def test_a_stream_through_it_that_breaks_off_says_so(
    server: LoopbackServer, runtime: Runtime, bring: Bring
) -> None:
    third = sum(map(len, streamed().body[:3]))
    server.always(streamed().truncate(third))
    with pytest.raises(StreamInterruptedError) as caught:
        runtime.stream(through(bring()), "hello")
    assert caught.value.partial is not None
    assert caught.value.partial.content == "".join(WORDS[:2])
    server.always(streamed().stall(third))
    with pytest.raises(APITimeoutError) as silent:
        runtime.stream(through(bring(timeout=0.4)), "hello")
    assert silent.value.partial is not None


def test_its_own_retries_happen_and_locus_adds_none(
    server: LoopbackServer, runtime: Runtime, bring: Bring
) -> None:
    server.always(Reply.error(429, headers=SOON))
    for number, ask in enumerate((runtime.ask, runtime.stream), 1):
        with pytest.raises(RateLimitError):
            ask(through(bring(max_retries=2), max_retries=5), "hello")
        assert len(server.requests) == 3 * number
    server.always(Reply.error(500, headers=SOON), whole())
    assert runtime.ask(through(bring(max_retries=1)), "hello").content == TEXT


def test_keywords_of_a_call_pass_through(
    server: LoopbackServer, runtime: Runtime, bring: Bring
) -> None:
    server.always(whole(), streamed())
    model = through(bring())
    for ask in (runtime.ask, runtime.stream):
        ask(
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


def test_a_timeout_passes_through(server: LoopbackServer, runtime: Runtime, bring: Bring) -> None:
    server.always(whole().stall(0, "head"))
    with AtMost(3):
        for ask in (runtime.ask, runtime.stream):
            with pytest.raises(APITimeoutError):
                ask(through(bring(timeout=60.0)), "hello", timeout=0.1)
        with pytest.raises(APITimeoutError):
            runtime.ask(through(bring(timeout=60.0), timeout=0.1), "hello")


def test_an_instrumented_method_sees_the_call(
    server: LoopbackServer, runtime: Runtime, bring: Bring, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As tracing tools do it: by a wrapper in the place of the class's method."""
    server.always(whole(), streamed())
    resources = openai.resources.chat.completions
    kind = resources.Completions if runtime.name == "blocking" else resources.AsyncCompletions
    original, seen = kind.create, []

    def create(self: Any, *args: Any, **kw: Any) -> Any:
        seen.append(kw)
        return original(self, *args, **kw)

    client = bring()
    model = through(client)
    monkeypatch.setattr(kind, "create", create)
    runtime.ask(model, "hello")
    assert text(runtime.stream(model, "hello")) == TEXT
    assert [kw["model"] for kw in seen] == ["loop-1", "loop-1"]
    assert [kw.get("stream", False) for kw in seen] == [False, True]
    assert seen[0]["messages"] == [{"role": "user", "content": "hello"}]


def test_an_instrumented_client_sees_the_call(
    server: LoopbackServer, runtime: Runtime, bring: Bring
) -> None:
    """As tracing tools do it that are handed a client: by a wrapper on that client alone."""
    server.always(whole(), streamed())
    client = bring()
    completions, seen = client.chat.completions, []
    original = completions.create

    @functools.wraps(original)
    def create(*args: Any, **kw: Any) -> Any:
        seen.append(kw["model"])
        return original(*args, **kw)

    completions.create = create
    model = through(client)
    runtime.ask(model, "hello", extra_body={"top_k": 5})
    runtime.stream(model, "hello")
    assert seen == ["loop-1", "loop-1"]
    assert server.requests[0].json()["top_k"] == 5


def test_a_subclass_is_a_client(server: LoopbackServer, runtime: Runtime, bring: Bring) -> None:
    server.always(whole())
    base = openai.OpenAI if runtime.name == "blocking" else openai.AsyncOpenAI

    class Mine(base):  # type: ignore[misc, valid-type]
        @property
        def default_headers(self) -> dict[str, Any]:
            return {**super().default_headers, "x-mine": "1"}

    assert runtime.ask(through(bring(kind=Mine)), "hello").content == TEXT
    assert server.requests[0].headers["x-mine"] == "1"


def test_stream_options_are_left_out_for_a_server_that_does_not_know_them(
    server: LoopbackServer, runtime: Runtime, bring: Bring
) -> None:
    server.always(Reply.error(400, "unknown field: stream_options"), streamed())
    assert text(runtime.stream(through(bring()), "hello")) == TEXT
    assert ["stream_options" in request.json() for request in server.requests] == [True, False]


def test_a_stream_that_is_left_closes_its_connection(
    server: LoopbackServer, runtime: Runtime, bring: Bring
) -> None:
    server.always(streamed().stall(sum(map(len, streamed().body[:3]))))
    model = through(bring())
    with runtime.open(model, "hello") as events:
        next(events)
    server.wait_closed(timeout=1)
    events = runtime.open(model, "hello")
    next(events)
    del events
    server.wait_closed(timeout=1)


def test_a_stream_through_it_can_be_cancelled(server: LoopbackServer, backend: str) -> None:
    server.always(streamed().stall(sum(map(len, streamed().body[:3]))))

    async def main() -> None:
        async with openai.AsyncOpenAI(api_key=KEY, base_url=server.url, max_retries=0) as client:
            with anyio.move_on_after(0.3) as scope:
                async for _ in through(client).stream("hello"):
                    pass
            assert scope.cancelled_caught
            await anyio.to_thread.run_sync(server.wait_closed, 1.0)

    run(backend, main)


def test_it_is_never_closed(server: LoopbackServer, runtime: Runtime, bring: Bring) -> None:
    server.always(whole())
    client = bring()
    model = through(client)
    runtime.within(model, lambda same: runtime.ask(same, "hello"))
    runtime.close(model)
    assert not client.is_closed()
    assert runtime.ask(model, "hello").content == TEXT


def test_it_is_the_models_client(bring: Bring, runtime: Runtime) -> None:
    client = bring()
    model = through(client)
    assert model.client is client
    assert model.copy(temperature=0.1).client is client
    assert model == through(client)
    assert KEY not in repr(model)


def test_the_wrong_kind_for_the_call_is_said(backend: str) -> None:
    blocking = through(openai.OpenAI(api_key=KEY))
    nonblocking = through(openai.AsyncOpenAI(api_key=KEY))
    with pytest.raises(ConfigurationError, match="an async client only"):
        nonblocking.complete_sync("hello")
    with pytest.raises(ConfigurationError, match="an async client only"):
        next(nonblocking.stream_sync("hello"))

    async def main() -> None:
        with pytest.raises(ConfigurationError, match="a blocking client only"):
            await blocking.complete("hello")
        with pytest.raises(ConfigurationError, match="a blocking client only"):
            await anext(blocking.stream("hello"))

    run(backend, main)


@pytest.mark.parametrize(
    "client", [object(), "openai", openai.OpenAI, 0], ids=["object", "name", "class", "number"]
)
def test_anything_else_is_a_type_error(client: Any) -> None:
    with pytest.raises(TypeError, match="sdk_client= takes a client of the package openai"):
        through(client)


def test_an_http_client_is_a_type_error() -> None:
    import httpx

    with httpx.Client() as client, pytest.raises(TypeError, match="not Client"):
        through(client)


def test_it_excludes_an_http_client() -> None:
    import httpx

    with httpx.Client() as client, pytest.raises(ConfigurationError, match="exclude each other"):
        through(openai.OpenAI(api_key=KEY), http_client=client)


def test_the_sdks_own_complaint_is_a_configuration_error(
    server: LoopbackServer, runtime: Runtime, bring: Bring
) -> None:
    def key() -> str:
        raise openai.OpenAIError("the vault is closed")

    async def async_key() -> str:
        return key()

    client = bring(api_key=key if runtime.name == "blocking" else async_key)
    for ask in (runtime.ask, runtime.stream):
        with pytest.raises(ConfigurationError, match="client refuses: the vault is closed"):
            ask(through(client), "hello")
    assert server.connections_total == 0


def test_the_sdks_key_shows_in_no_error(
    server: LoopbackServer, runtime: Runtime, bring: Bring
) -> None:
    server.always(lambda got: Reply.error(401, f"I do not know {got.headers['authorization']}"))
    for ask in (runtime.ask, runtime.stream):
        with pytest.raises(AuthenticationError) as caught:
            ask(through(bring()), "hello")
        assert KEY not in str(caught.value) + repr(vars(caught.value))
