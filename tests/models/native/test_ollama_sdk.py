"""``sdk_client=``: the ``ollama`` package's own clients send, and its types are the judges."""

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
from locus.testing.loopback_server import LoopbackServer, Reply
from tests.support import runtimes
from tests.support.runtimes import TEXT, WORDS, Runtime, run, text
from tests.support.servers import ollama_server
from tests.support.servers.ollama_server import (
    COUNTS,
    HERE,
    LOOK,
    model_of,
    refusal,
    sent,
    streamed,
    whole,
)
from tests.support.wire_json.ollama_json import end, piece

backend, no_leaks = runtimes.backend, runtimes.no_leaks
runtime, server = runtimes.runtime, runtimes.server
environment = ollama_server.environment
pytestmark = pytest.mark.usefixtures("environment", "no_leaks")

Bring = Callable[..., Any]

lets_generators_go = pytest.mark.filterwarnings("ignore:Async generator 'http:ResourceWarning")
"""Where a stream ends early the package drops generators of httpx's, which trio complains of."""


@pytest.fixture
def bring(server: LoopbackServer, runtime: Runtime) -> Any:
    """Makes the package's client of the kind that the runtime wants, and closes it in the end."""
    ollama = pytest.importorskip("ollama")
    kind = ollama.Client if runtime.name == "blocking" else ollama.AsyncClient
    made: list[Any] = []

    def make(**kw: Any) -> Any:
        made.append(kind(**{"host": server.url, "timeout": 5.0, **kw}))
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


def through(client: Any, **kw: Any) -> OllamaModel:
    return OllamaModel("loop-1", sdk_client=client, **{"max_retries": 0, **kw})


@pytest.mark.sdk
def test_it_sends_through_the_package(
    server: LoopbackServer, runtime: Runtime, bring: Bring
) -> None:
    server.always(whole(thinking="hm"), Reply.ndjson([piece(thinking="hm"), *_lines()]))
    model = through(bring(headers={"x-mine": "1"}))
    answer = runtime.ask(model, "hello")
    events = runtime.stream(model, "hello")
    assert answer.content == text(events) == TEXT
    assert events[-1].response == answer
    assert (answer.reasoning, answer.total_tokens) == ("hm", 14)
    for request in server.requests:
        assert request.path == "/api/chat"
        assert request.headers["x-mine"] == "1"
        assert request.headers["user-agent"].startswith("ollama-python/")
    assert server.connections_total == 1


def _lines() -> list[dict[str, Any]]:
    return [*(piece(content=word) for word in WORDS), end(**COUNTS)]


@pytest.mark.sdk
def test_it_sends_what_locus_would_send(
    server: LoopbackServer, runtime: Runtime, bring: Bring
) -> None:
    server.always(whole())
    call = {"id": "c1", "function": {"name": "look", "arguments": {"at": None, "b": [{"c": None}]}}}
    answer = OllamaModel().response_parser.parse(
        end(message={"content": "so", "thinking": "hm", "tool_calls": [call]})
    )
    turns = [
        Message.system("be brief"),
        Message.user(["where?", ImagePart(data=b"i\xb7\x9e", media_type="image/png")]),
        answer.message,
        Message.tool(ToolResult("c1", "look", "there")),
    ]
    said: dict[str, Any] = {
        "seed": 7,
        "stop": ["END"],
        "frequency_penalty": 0.5,
        "response_format": {"type": "json_object"},
        "extra_body": {"logprobs": True, "top_logprobs": 2},
    }
    config: dict[str, Any] = {"options": {"num_ctx": 5}, "think": "low", "keep_alive": 5}
    runtime.ask(through(bring(), **config), turns, [LOOK], **said)
    runtime.ask(model_of(server, **config), turns, [LOOK], **said)
    package, own = (request.json() for request in server.requests)
    del own["messages"][2]["tool_calls"][0]["id"], own["messages"][3]["tool_call_id"]
    assert package == own


@pytest.mark.sdk
def test_an_image_that_looks_like_a_file_name_is_still_an_image(
    server: LoopbackServer, runtime: Runtime, bring: Bring
) -> None:
    import base64

    server.always(whole())
    image = ImagePart(data=base64.b64decode("jpeg"), media_type="image/jpeg")
    runtime.ask(through(bring()), [Message.user([image])])
    assert sent(server)["messages"][0]["images"] == ["jpeg"]


@pytest.mark.sdk
@pytest.mark.parametrize(
    ("reply", "kind", "words"),
    [
        (refusal(404, 'model "loop-1" not found'), NotFoundError, "ollama pull loop-1"),
        (refusal(400, "does not support tools"), BadRequestError, "does not support tools"),
        (refusal(500, "boom"), InternalServerError, "boom"),
        (Reply.html(), InternalServerError, "Bad gateway"),
        (Reply.error(529, "later"), InternalServerError, "later"),
    ],
    ids=["404", "400", "500", "page", "529"],
)
def test_the_packages_refusals_are_locus_errors(
    server: LoopbackServer,
    runtime: Runtime,
    bring: Bring,
    reply: Reply,
    kind: type[APIError],
    words: str,
) -> None:
    server.always(reply)
    for ask in (runtime.ask, runtime.stream):
        with pytest.raises(kind, match=words) as caught:
            ask(through(bring()), "hello")
        assert (caught.value.provider, caught.value.model) == ("ollama", "loop-1")
        assert caught.value.status_code == reply.status  # type: ignore[attr-defined]


@pytest.mark.sdk
def test_the_packages_failures_are_locus_errors(
    server: LoopbackServer, runtime: Runtime, bring: Bring
) -> None:
    server.always(whole().reset(0, "head"))
    for ask in (runtime.ask, runtime.stream):
        with pytest.raises(APIConnectionError):
            ask(through(bring()), "hello")
        with pytest.raises(APIConnectionError, match="ollama serve"):
            ask(through(bring(host=HERE)), "hello")
    server.always(whole().stall(0, "head"))
    for ask in (runtime.ask, runtime.stream):
        with pytest.raises(APITimeoutError):
            ask(through(bring(timeout=0.2)), "hello")


@pytest.mark.sdk
def test_the_package_tries_nothing_again_so_locus_does(
    server: LoopbackServer, runtime: Runtime, bring: Bring
) -> None:
    for ask in (runtime.ask, runtime.stream):
        server.always(refusal(503, "server busy"), whole() if ask == runtime.ask else streamed())
        ask(through(bring(), max_retries=1), "hello")
    assert len(server.requests) == 4


@pytest.mark.sdk
@lets_generators_go
def test_a_stream_through_the_package_that_breaks_off_says_so(
    server: LoopbackServer, runtime: Runtime, bring: Bring
) -> None:
    third = sum(map(len, streamed().body[:3]))  # type: ignore[arg-type]
    for reply, kind in (
        (streamed().truncate(third), StreamInterruptedError),
        (streamed().framed("close").truncate(third), StreamInterruptedError),
        (streamed().stall(third), APITimeoutError),
        (Reply.ndjson([*_lines()[:3], {"error": "boom"}]), InternalServerError),
        (Reply.ndjson([*_lines()[:3], {"message": 5}]), ResponseParseError),
        (Reply.ndjson([*_lines()[:3], "no object"]), ResponseParseError),
        (Reply.ndjson([*_lines()[:3], {"error": {"no": "text"}}]), ResponseParseError),
        (streamed().framed("close").truncate(third + 9), ResponseParseError),
    ):
        server.always(reply)
        with pytest.raises(kind) as caught:
            runtime.stream(through(bring(timeout=0.3)), "hello")
        assert caught.value.partial is not None
        assert caught.value.partial.content == "".join(WORDS[:3])


@pytest.mark.sdk
@lets_generators_go
def test_an_answer_that_the_package_cannot_read_is_an_error_of_locus(
    server: LoopbackServer, runtime: Runtime, bring: Bring
) -> None:
    bodies = (b"<html>", b'{"message": 5}', b'{"error": "boom"}', b"{}", b"", b'"text"', b"null")
    for body in bodies:
        server.always(Reply.json({}).with_body(body))
        for ask in (runtime.ask, runtime.stream):
            with pytest.raises(APIError):
                ask(through(bring()), "hello")


@pytest.mark.sdk
def test_what_the_package_cannot_pass_on_is_said_before_anything_is_sent(
    server: LoopbackServer, runtime: Runtime, bring: Bring
) -> None:
    model = through(bring())
    for said, words in (
        ({"extra_headers": {"X-Mine": "1"}}, r"no headers for a call \(x-mine\)"),
        ({"timeout": 3.0}, "no timeout for a call"),
        ({"extra_body": {"truncate": False}}, "does not take truncate"),
        ({"extra_body": {"keep_alive": {}}}, "client refuses"),
    ):
        for ask in (runtime.ask, runtime.stream):
            with pytest.raises(ConfigurationError, match=words):
                ask(model, "hello", **said)
    assert server.connections_total == 0


@pytest.mark.sdk
def test_an_instrumented_client_sees_the_call(
    server: LoopbackServer, runtime: Runtime, bring: Bring
) -> None:
    server.always(whole(), streamed())
    client = bring()
    original, seen = client.chat, []

    def chat(**kw: Any) -> Any:
        seen.append((kw["model"], kw["stream"]))
        return original(**kw)

    client.chat = chat
    model = through(client)
    runtime.ask(model, "hello")
    assert text(runtime.stream(model, "hello")) == TEXT
    assert seen == [("loop-1", False), ("loop-1", True)]


@pytest.mark.sdk
@lets_generators_go
def test_a_stream_through_the_package_that_is_left_closes_its_connection(
    server: LoopbackServer, runtime: Runtime, bring: Bring
) -> None:
    server.always(streamed().stall(sum(map(len, streamed().body[:3]))))  # type: ignore[arg-type]
    with runtime.open(through(bring()), "hello") as events:
        next(events)
    server.wait_closed(timeout=1)


@pytest.mark.sdk
def test_the_packages_client_is_never_closed_and_is_the_models(
    server: LoopbackServer, runtime: Runtime, bring: Bring
) -> None:
    server.always(whole())
    client = bring()
    model = through(client)
    runtime.within(model, lambda same: runtime.ask(same, "hello"))
    runtime.close(model)
    assert runtime.ask(model, "hello").content == TEXT
    assert model.client is client


@pytest.mark.sdk
def test_the_wrong_client_is_said(backend: str) -> None:
    ollama = pytest.importorskip("ollama")
    with ollama.Client() as client:
        blocking = through(client)

        async def main() -> None:
            with pytest.raises(ConfigurationError, match="a blocking client only"):
                await blocking.complete("hello")
            async with ollama.AsyncClient() as other:
                with pytest.raises(ConfigurationError, match="an async client only"):
                    through(other).complete_sync("hello")

        run(backend, main)
    for wrong in (object(), "ollama", ollama.Client, ollama.Message(role="user")):
        with pytest.raises(TypeError, match="sdk_client= takes a client of the package ollama"):
            through(wrong)


# -- the package's types as judges -------------------------------------------------------------


@pytest.mark.sdk
def test_what_the_package_can_say_is_read_equal(server: LoopbackServer) -> None:
    ollama = pytest.importorskip("ollama")
    call = {"function": {"name": "f", "arguments": {"a": [1]}}}
    message = {"role": "assistant", "content": "x", "thinking": "hm", "tool_calls": [call]}
    one = {"token": "x", "logprob": -0.5, "top_logprobs": [{"token": "y", "logprob": -1.0}]}
    body = end(message=message, logprobs=[one], **COUNTS)
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
