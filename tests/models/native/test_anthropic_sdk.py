"""``sdk_client=`` with the anthropic package: Anthropic, Bedrock and its framing, Vertex."""

from __future__ import annotations

import base64
import functools
import json
import struct
import zlib
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from locus.core.errors import (
    APIStatusError,
    AuthenticationError,
    BadRequestError,
    InternalServerError,
    OverloadedError,
    RateLimitError,
    ResponseParseError,
    StreamInterruptedError,
)
from locus.core.messages import Message, ThinkingPart, ToolCall, ToolResult
from locus.models.native.anthropic import AnthropicModel
from locus.testing.loopback_server import LoopbackServer, Reply
from locus.wire.anthropic_messages import AnthropicMessagesBuilder, AnthropicMessagesParser
from locus.wire.anthropic_messages.event_stream_framing import EventStream
from tests.support import runtimes
from tests.support.runtimes import Runtime, run, text
from tests.support.servers import anthropic_server
from tests.support.servers.anthropic_server import (
    AS_JSON,
    KEY,
    LOOK,
    TEXT,
    WORDS,
    model_of,
    refusal,
    stream_events,
    streamed,
    whole,
)
from tests.support.strategies import splits
from tests.support.wire_json.anthropic_json import events, read, turns
from tests.support.wire_json.chat_json import check_law

backend, no_leaks, runtime = runtimes.backend, runtimes.no_leaks, runtimes.runtime
environment, server = anthropic_server.environment, anthropic_server.server
pytestmark = pytest.mark.usefixtures("environment", "no_leaks")


# -- through the official SDK ------------------------------------------------------------------

Bring = Callable[..., Any]


@pytest.fixture
def bring(server: LoopbackServer, runtime: Runtime) -> Iterator[Bring]:
    """Makes an SDK's client of the kind that the runtime wants, and closes it in the end."""
    anthropic = pytest.importorskip("anthropic")
    made: list[Any] = []
    ways: dict[str, dict[str, Any]] = {
        "Anthropic": {"api_key": KEY},
        "AnthropicBedrock": {"api_key": KEY, "aws_region": "us-east-1"},
        "AnthropicVertex": {"access_token": KEY, "region": "us-east5", "project_id": "p"},
    }

    def make(kind: str = "Anthropic", **kw: Any) -> Any:
        known = {"base_url": server.url, "max_retries": 0, "timeout": 5.0, **ways[kind]}
        name = kind if runtime.name == "blocking" else f"Async{kind}"
        made.append(getattr(anthropic, name)(**{**known, **kw}))
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


def through(client: Any, **kw: Any) -> AnthropicModel:
    return AnthropicModel(kw.pop("model", "claude-1-loop"), sdk_client=client, **kw)


@pytest.mark.sdk
def test_it_sends_through_the_sdk(server: LoopbackServer, runtime: Runtime, bring: Bring) -> None:
    server.always(whole(), streamed())
    client = bring(default_headers={"x-mine": "1"})
    model = through(client)
    answer = runtime.ask(model, "hello")
    assert check_law(runtime.stream(model, "hello")) == answer
    assert answer.content == TEXT
    for request in server.requests:
        assert request.path == "/v1/messages"
        assert request.headers["x-mine"] == "1"
        # The SDK sends a key under its own name until its second version, and as a token since.
        token = request.headers.get("authorization", "").removeprefix("Bearer ")
        assert request.headers.get("x-api-key", token) == KEY
        assert "anthropic" in request.headers["user-agent"].lower()
    assert model.client is client
    runtime.close(model)
    assert not client.is_closed()


@pytest.mark.sdk
def test_it_sends_what_locus_would_send(
    server: LoopbackServer, runtime: Runtime, bring: Bring
) -> None:
    server.always(whole())
    turns_ = [
        Message.system("be brief"),
        Message.user("where?"),
        Message.assistant([ThinkingPart("hm", "seal")], [ToolCall("t", "look", {"up": "Zürich"})]),
        Message.tool(ToolResult("t", "look", "there")),
    ]
    said: dict[str, Any] = {
        "stop": ["END"],
        "tool_choice": "look",
        "parallel_tool_calls": False,
        "extra_body": {"top_k": 5, "service_tier": "auto", "of_next_year": 1},
    }
    told: dict[str, Any] = {"prompt_cache": True, "temperature": None, "top_p": None}
    runtime.ask(through(bring(), **told), turns_, [LOOK], **said)
    runtime.ask(model_of(server, **told), turns_, [LOOK], **said)
    sdk, own = (request.json() for request in server.requests)
    assert sdk == own
    assert (sdk["service_tier"], sdk["top_k"]) == ("auto", 5)


@pytest.mark.sdk
@pytest.mark.parametrize("kind", ["Anthropic", "AnthropicBedrock", "AnthropicVertex"])
def test_a_temperature_is_sent_where_the_sdks_version_of_the_api_takes_one(
    server: LoopbackServer, runtime: Runtime, bring: Bring, kind: str
) -> None:
    import anthropic

    server.always(whole())
    runtime.ask(through(bring(kind)), "hello")
    newer = int(anthropic.__version__.split(".")[0]) >= 2
    assert ("temperature" in server.requests[-1].json()) is not newer
    if kind == "Anthropic":
        runtime.ask(through(bring(default_headers={"anthropic-version": "2023-06-01"})), "hello")
        assert "temperature" in server.requests[-1].json()
    told = AnthropicMessagesBuilder(sampling=True)
    runtime.ask(through(bring(kind), request_builder=told), "hello")
    assert "temperature" in server.requests[-1].json()


@pytest.mark.sdk
def test_vertex(server: LoopbackServer, runtime: Runtime, bring: Bring) -> None:
    server.always(whole(), streamed())
    model = through(bring("AnthropicVertex"), model="claude-sonnet-4@20250514")
    answer = runtime.ask(model, "hello")
    assert check_law(runtime.stream(model, "hello")) == answer
    for request, verb in zip(server.requests, ("rawPredict", "streamRawPredict"), strict=True):
        assert request.target.endswith(f"/models/claude-sonnet-4@20250514:{verb}")
        assert request.headers["authorization"] == f"Bearer {KEY}"
        assert request.json()["anthropic_version"]


@pytest.mark.sdk
def test_bedrock(server: LoopbackServer, runtime: Runtime, bring: Bring) -> None:
    server.always(whole(), binary(*stream_events()))
    model = through(bring("AnthropicBedrock"), model="anthropic.claude-v2:1")
    answer = runtime.ask(model, "hello")
    found = runtime.stream(model, "hello")
    assert [event.content for event in found[:-1]] == list(WORDS)
    assert check_law(found) == answer
    for request, verb in zip(
        server.requests, ("invoke", "invoke-with-response-stream"), strict=True
    ):
        assert request.target == f"/model/anthropic.claude-v2:1/{verb}"
        assert request.headers["authorization"] == f"Bearer {KEY}"
        assert request.json()["anthropic_version"]
        assert "model" not in request.json()


@pytest.mark.sdk
def test_a_stream_of_bedrock_that_breaks_off_or_fails_says_so(
    server: LoopbackServer, runtime: Runtime, bring: Bring
) -> None:
    reply = binary(*stream_events())
    half = sum(map(len, map(in_binary, stream_events()[:5])))
    model = through(bring("AnthropicBedrock"))
    for cut in (half, half + 5, half - 5):
        server.always(reply.truncate(cut))
        with pytest.raises(StreamInterruptedError) as caught:
            runtime.stream(model, "hello")
        assert caught.value.partial is not None
        assert caught.value.partial.content in ("".join(WORDS[:2]), WORDS[0])
    failing = b"".join(map(in_binary, stream_events()[:5]))
    failing += in_binary({"message": "slow down"}, exception="throttlingException")
    server.always(Reply(200, (("content-type", BINARY),), failing))
    with pytest.raises(RateLimitError, match="slow down") as slow:
        runtime.stream(model, "hello")
    assert slow.value.partial is not None
    assert slow.value.partial.content == "".join(WORDS[:2])


@pytest.mark.sdk
@pytest.mark.parametrize(
    ("reply", "kind"),
    [
        (refusal(400, "invalid_request_error", "boom"), BadRequestError),
        (refusal(401, "authentication_error", "boom"), AuthenticationError),
        (refusal(429, "rate_limit_error", "boom"), RateLimitError),
        (refusal(529, "overloaded_error", "boom"), OverloadedError),
        (Reply.html(), InternalServerError),
    ],
    ids=lambda value: getattr(value, "__name__", ""),
)
def test_the_sdks_refusals_are_locus_errors(
    server: LoopbackServer, runtime: Runtime, bring: Bring, reply: Reply, kind: type[APIStatusError]
) -> None:
    server.always(reply.with_header("request-id", "req_7"))
    for ask in (runtime.ask, runtime.stream):
        with pytest.raises(kind) as caught:
            ask(through(bring()), "hello")
        error = caught.value
        assert type(error) is kind
        assert (error.status_code, error.request_id) == (reply.status, "req_7")
        assert error.body == reply.content.decode()


@pytest.mark.sdk
def test_through_the_sdk_too_a_refusal_is_learned_from(
    server: LoopbackServer, runtime: Runtime, bring: Bring
) -> None:
    words = "Thinking may not be enabled when tool_choice forces tool use."
    server.always(refusal(400, "invalid_request_error", words), streamed())
    found = runtime.stream(through(bring()), "hello", response_format=AS_JSON)
    assert text(found) == TEXT
    assert ["tool_choice" in request.json() for request in server.requests] == [True, False]


@pytest.mark.sdk
def test_the_sdks_own_retries_happen_and_locus_adds_none(
    server: LoopbackServer, runtime: Runtime, bring: Bring
) -> None:
    server.always(refusal(429, "rate_limit_error", "boom", retry_after_ms="1"))
    with pytest.raises(RateLimitError):
        runtime.stream(through(bring(max_retries=2), max_retries=5), "hello")
    assert len(server.requests) == 3


@pytest.mark.sdk
def test_an_instrumented_client_sees_the_call(
    server: LoopbackServer, runtime: Runtime, bring: Bring
) -> None:
    server.always(whole(), streamed())
    client = bring()
    messages, seen = client.messages, []
    original = messages.create

    @functools.wraps(original)
    def create(*args: Any, **kw: Any) -> Any:
        seen.append((kw["model"], kw.get("stream", False)))
        return original(*args, **kw)

    messages.create = create
    runtime.ask(through(client), "hello")
    runtime.stream(through(client), "hello")
    assert seen == [("claude-1-loop", False), ("claude-1-loop", True)]


@pytest.mark.sdk
def test_anything_else_is_a_type_error() -> None:
    pytest.importorskip("anthropic")
    with pytest.raises(TypeError, match="takes a client of the package anthropic"):
        through(object())


@pytest.mark.sdk
def test_the_models_client_is_the_sdks_with_its_settings(
    server: LoopbackServer, backend: str
) -> None:
    anthropic = pytest.importorskip("anthropic")
    reply = whole()
    server.always(reply)
    model = model_of(server, max_retries=4)

    async def main() -> None:
        client = model.client
        assert isinstance(client, anthropic.AsyncAnthropic)
        assert model.client is client
        assert (client.api_key, client.max_retries, client.timeout) == (KEY, 4, 5.0)
        said = [{"role": "user", "content": "hello"}]
        answer = await client.messages.create(model="m", max_tokens=9, messages=said)
        assert answer.content[0].text == TEXT
        await client.close()

    run(backend, main)
    token = AnthropicModel(auth_token="token").client
    assert (token.api_key, token.auth_token) == (None, "token")
    assert AnthropicModel(base_url=server.url).client.api_key == "none"


# -- Amazon's binary framing -------------------------------------------------------------------

BINARY = "application/vnd.amazon.eventstream"


def in_binary(
    said: Any, exception: str | None = None, extra: bytes = b"", payload: bytes = b""
) -> bytes:
    """One message of Amazon's event stream, written from its description."""
    odd, payload = payload, json.dumps(said).encode()
    headers = {":message-type": "exception", ":exception-type": exception or ""}
    if exception is None:
        headers = {":message-type": "event", ":event-type": "chunk"}
        inner = base64.b64encode(payload).decode()
        payload = json.dumps({"bytes": inner, "p": "abc"}).encode()
    payload = odd or payload
    head = extra
    for name, value in {":content-type": "application/json", **headers}.items():
        head += bytes([len(name)]) + name.encode() + b"\7"
        head += struct.pack(">H", len(value)) + value.encode()
    prelude = struct.pack(">II", 16 + len(head) + len(payload), len(head))
    message = prelude + struct.pack(">I", zlib.crc32(prelude)) + head + payload
    return message + struct.pack(">I", zlib.crc32(message))


def binary(*said: dict[str, Any]) -> Reply:
    """A stream as Bedrock sends it."""
    return Reply.stream([in_binary(event) for event in said], headers={"content-type": BINARY})


@given(st.data())
def test_a_binary_stream_is_the_same_answer_however_it_is_cut(data: st.DataObject) -> None:
    said = data.draw(events(data.draw(turns())))
    stream = b"".join(map(in_binary, said))
    plain = b"".join(b"data: " + json.dumps(event).encode() + b"\n\n" for event in said)
    found, decoder = read(data.draw(splits(stream)))
    assert decoder.failure is None
    assert found == read([plain])[0]
    cut = data.draw(st.integers(0, len(stream) - 1))
    assert isinstance(read(data.draw(splits(stream[:cut])))[1].failure, StreamInterruptedError)


@given(st.data())
def test_a_binary_stream_that_is_damaged_is_never_believed(data: st.DataObject) -> None:
    stream = bytearray(b"".join(map(in_binary, stream_events())))
    at = data.draw(st.integers(1, len(stream) - 1))
    stream[at] ^= data.draw(st.integers(1, 255))
    found, decoder = read(data.draw(splits(bytes(stream))))
    assert decoder.failure is not None
    assert not any(event.done for event in found)
    assert TEXT.startswith(text(found))


def test_a_damaged_length_is_seen_at_once_and_not_waited_for() -> None:
    message = bytearray(in_binary({"type": "ping"}))
    message[1] ^= 1  # 65,536 bytes more than there are
    decoder = AnthropicMessagesParser().decoder()
    decoder.feed(bytes(message))
    assert isinstance(decoder.failure, ResponseParseError)
    assert "checksum" in decoder.failure.body


@pytest.mark.parametrize(("length", "headers"), [(0, 0), (15, 0), (20, 5), (2**24 * 3 // 2 + 1, 0)])
def test_a_length_that_cannot_be_is_refused(length: int, headers: int) -> None:
    prelude = struct.pack(">II", length, headers)
    prelude += struct.pack(">I", zlib.crc32(prelude))
    (event,) = EventStream().feed(prelude + bytes(16))
    assert b"checksum" in event


ODD_HEADERS = (
    b"\1a\0" b"\1b\1" b"\1c\2x" b"\1d\3xx" b"\1e\4xxxx" b"\1f\5xxxxxxxx"
    b"\1g\6\0\3abc" b"\1h\x08xxxxxxxx" b"\1i\x09xxxxxxxxxxxxxxxx"
)  # fmt: skip


def test_headers_of_every_type_are_stepped_over() -> None:
    event = {"type": "ping"}
    assert EventStream().feed(in_binary(event, extra=ODD_HEADERS)) == [json.dumps(event).encode()]
    (error,) = EventStream().feed(
        in_binary({"message": "boom"}, "validationException", ODD_HEADERS)
    )
    assert json.loads(error)["error"] == {
        "type": "invalid_request_error",
        "message": "validationException: boom",
    }


def test_what_is_odd_in_a_binary_stream_is_told_all_the_same() -> None:
    unknown = EventStream().feed(in_binary({"type": "ping"}, extra=b"\1a\x63xxx"))
    assert unknown == [b'{"type": "ping"}']
    failure = read([in_binary(None, payload=b"no JSON")])[1].failure
    assert isinstance(failure, ResponseParseError)
    assert failure.body == "no JSON"
    failure = read([in_binary(None, "throttlingException", payload=b"slow down")])[1].failure
    assert isinstance(failure, RateLimitError)
    assert "throttlingException: slow down" in str(failure)


@pytest.mark.parametrize(
    ("exception", "kind"),
    [
        ("internalServerException", InternalServerError),
        ("modelStreamErrorException", InternalServerError),
        ("modelTimeoutException", InternalServerError),
        ("serviceUnavailableException", InternalServerError),
        ("throttlingException", RateLimitError),
        ("validationException", BadRequestError),
        ("exceptionOfNextYear", APIStatusError),
    ],
)
def test_bedrocks_errors_in_a_stream_are_locus_errors(exception: str, kind: type) -> None:
    failure = read([in_binary({"message": "boom"}, exception)])[1].failure
    assert type(failure) is kind
    assert f"{exception}: boom" in str(failure)


def test_amazons_own_reader_sees_the_same() -> None:
    reader = pytest.importorskip("botocore.eventstream")
    stream = b"".join(in_binary(event, extra=ODD_HEADERS) for event in stream_events())
    buffer = reader.EventStreamBuffer()
    buffer.add_data(stream)
    theirs = [base64.b64decode(json.loads(message.payload)["bytes"]) for message in buffer]
    assert EventStream().feed(stream) == theirs
