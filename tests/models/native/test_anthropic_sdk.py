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
from locus.testing.formats.runtimes import Runtime, run_async
from locus.testing.server import LoopbackServer, Reply
from locus.wire.anthropic_messages import AnthropicMessagesBuilder, AnthropicMessagesParser
from locus.wire.anthropic_messages.bedrock_framing import AmazonEventStreamFraming
from tests.support.anthropic_responses import anthropic_responses
from tests.support.chat_replies import join_text
from tests.support.decoding import check_streaming_law
from tests.support.servers.anthropic_server import (
    API_KEY,
    LOOK_TOOL,
    PLACE_RESPONSE_FORMAT,
    TEXT,
    TEXT_CHUNKS,
    build_error_reply,
    build_reply,
    build_stream_events,
    build_stream_reply,
    make_model,
)
from tests.support.strategies import byte_splits
from tests.support.timing import FOREVER
from tests.support.wire_json.anthropic_json import read_stream, stream_chunks

pytestmark = pytest.mark.usefixtures("clean_environment", "no_leaks")


# -- through the official SDK ------------------------------------------------------------------

MakeClient = Callable[..., Any]


@pytest.fixture
def make_client(server: LoopbackServer, runtime: Runtime) -> Iterator[MakeClient]:
    """Makes an SDK client for the runtime, blocking or async, and closes it after the test."""
    anthropic = pytest.importorskip("anthropic")
    clients: list[Any] = []
    ways: dict[str, dict[str, Any]] = {
        "Anthropic": {"api_key": API_KEY},
        "AnthropicBedrock": {"api_key": API_KEY, "aws_region": "us-east-1"},
        "AnthropicVertex": {"access_token": API_KEY, "region": "us-east5", "project_id": "p"},
    }

    def make(error_class: str = "Anthropic", **kw: Any) -> Any:
        known = {"base_url": server.url, "max_retries": 0, "timeout": FOREVER, **ways[error_class]}
        name = error_class if runtime.name == "blocking" else f"Async{error_class}"
        clients.append(getattr(anthropic, name)(**{**known, **kw}))
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


def wrap_client(client: Any, **kw: Any) -> AnthropicModel:
    return AnthropicModel(kw.pop("model", "claude-1-loop"), sdk_client=client, **kw)


@pytest.mark.sdk
def test_it_sends_through_the_sdk(
    server: LoopbackServer, runtime: Runtime, make_client: MakeClient
) -> None:
    server.always(build_reply(), build_stream_reply())
    client = make_client(default_headers={"x-mine": "1"})
    model = wrap_client(client)
    response = runtime.complete(model, "hello")
    assert check_streaming_law(runtime.collect_events(model, "hello")) == response
    assert response.content == TEXT
    for request in server.requests:
        assert request.path == "/v1/messages"
        assert request.headers["x-mine"] == "1"
        # Version 1 of the SDK sends a key as x-api-key, version 2 as a bearer token.
        token = request.headers.get("authorization", "").removeprefix("Bearer ")
        assert request.headers.get("x-api-key", token) == API_KEY
        assert "anthropic" in request.headers["user-agent"].lower()
    assert model.client is client
    runtime.close(model)
    assert not client.is_closed()


@pytest.mark.sdk
def test_it_sends_what_locus_would_send(
    server: LoopbackServer, runtime: Runtime, make_client: MakeClient
) -> None:
    server.always(build_reply())
    messages = [
        Message.system("be brief"),
        Message.user("where?"),
        Message.assistant(
            [ThinkingPart("hm", "signature")], [ToolCall("t", "look", {"up": "Zürich"})]
        ),
        Message.tool(ToolResult("t", "look", "there")),
    ]
    options: dict[str, Any] = {
        "stop": ["END"],
        "tool_choice": "look",
        "parallel_tool_calls": False,
        "extra_body": {"top_k": 5, "service_tier": "auto", "of_next_year": 1},
    }
    model_options: dict[str, Any] = {"prompt_cache": True, "temperature": None, "top_p": None}
    runtime.complete(wrap_client(make_client(), **model_options), messages, [LOOK_TOOL], **options)
    runtime.complete(make_model(server, **model_options), messages, [LOOK_TOOL], **options)
    sdk_body, own_body = (request.json() for request in server.requests)
    assert sdk_body == own_body
    assert (sdk_body["service_tier"], sdk_body["top_k"]) == ("auto", 5)


@pytest.mark.sdk
@pytest.mark.parametrize("error_class", ["Anthropic", "AnthropicBedrock", "AnthropicVertex"])
def test_a_temperature_is_sent_if_the_sdks_api_version_accepts_one(
    server: LoopbackServer, runtime: Runtime, make_client: MakeClient, error_class: str
) -> None:
    import anthropic

    server.always(build_reply())
    runtime.complete(wrap_client(make_client(error_class)), "hello")
    newer = int(anthropic.__version__.split(".")[0]) >= 2
    assert ("temperature" in server.requests[-1].json()) is not newer
    if error_class == "Anthropic":
        runtime.complete(
            wrap_client(make_client(default_headers={"anthropic-version": "2023-06-01"})), "hello"
        )
        assert "temperature" in server.requests[-1].json()
    model_options = AnthropicMessagesBuilder(sampling=True)
    runtime.complete(wrap_client(make_client(error_class), request_builder=model_options), "hello")
    assert "temperature" in server.requests[-1].json()


@pytest.mark.sdk
def test_vertex(server: LoopbackServer, runtime: Runtime, make_client: MakeClient) -> None:
    server.always(build_reply(), build_stream_reply())
    model = wrap_client(make_client("AnthropicVertex"), model="claude-sonnet-4@20250514")
    response = runtime.complete(model, "hello")
    assert check_streaming_law(runtime.collect_events(model, "hello")) == response
    for request, verb in zip(server.requests, ("rawPredict", "streamRawPredict"), strict=True):
        assert request.target.endswith(f"/models/claude-sonnet-4@20250514:{verb}")
        assert request.headers["authorization"] == f"Bearer {API_KEY}"
        assert request.json()["anthropic_version"]


@pytest.mark.sdk
def test_bedrock(server: LoopbackServer, runtime: Runtime, make_client: MakeClient) -> None:
    server.always(build_reply(), build_binary_reply(*build_stream_events()))
    model = wrap_client(make_client("AnthropicBedrock"), model="anthropic.claude-v2:1")
    response = runtime.complete(model, "hello")
    events = runtime.collect_events(model, "hello")
    assert [event.content for event in events[:-1]] == list(TEXT_CHUNKS)
    assert check_streaming_law(events) == response
    for request, verb in zip(
        server.requests, ("invoke", "invoke-with-response-stream"), strict=True
    ):
        assert request.target == f"/model/anthropic.claude-v2:1/{verb}"
        assert request.headers["authorization"] == f"Bearer {API_KEY}"
        assert request.json()["anthropic_version"]
        assert "model" not in request.json()


@pytest.mark.sdk
def test_an_incomplete_or_failed_stream_of_bedrock_is_an_error(
    server: LoopbackServer, runtime: Runtime, make_client: MakeClient
) -> None:
    reply = build_binary_reply(*build_stream_events())
    half = sum(map(len, map(encode_event_message, build_stream_events()[:5])))
    model = wrap_client(make_client("AnthropicBedrock"))
    for cut in (half, half + 5, half - 5):
        server.always(reply.truncate(cut))
        with pytest.raises(StreamInterruptedError) as exc_info:
            runtime.collect_events(model, "hello")
        assert exc_info.value.partial is not None
        assert exc_info.value.partial.content in ("".join(TEXT_CHUNKS[:2]), TEXT_CHUNKS[0])
    failing = b"".join(map(encode_event_message, build_stream_events()[:5]))
    failing += encode_event_message({"message": "slow down"}, exception="throttlingException")
    server.always(Reply(200, (("content-type", BINARY),), failing))
    with pytest.raises(RateLimitError, match="slow down") as slow:
        runtime.collect_events(model, "hello")
    assert slow.value.partial is not None
    assert slow.value.partial.content == "".join(TEXT_CHUNKS[:2])


@pytest.mark.sdk
@pytest.mark.parametrize(
    ("reply", "error_class"),
    [
        (build_error_reply(400, "invalid_request_error", "boom"), BadRequestError),
        (build_error_reply(401, "authentication_error", "boom"), AuthenticationError),
        (build_error_reply(429, "rate_limit_error", "boom"), RateLimitError),
        (build_error_reply(529, "overloaded_error", "boom"), OverloadedError),
        (Reply.html(), InternalServerError),
    ],
    ids=lambda value: getattr(value, "__name__", ""),
)
def test_the_sdks_status_errors_are_locus_errors(
    server: LoopbackServer,
    runtime: Runtime,
    make_client: MakeClient,
    reply: Reply,
    error_class: type[APIStatusError],
) -> None:
    server.always(reply.with_header("request-id", "req_7"))
    for call_model in (runtime.complete, runtime.collect_events):
        with pytest.raises(error_class) as exc_info:
            call_model(wrap_client(make_client()), "hello")
        error = exc_info.value
        assert type(error) is error_class
        assert (error.status_code, error.request_id) == (reply.status, "req_7")
        assert error.body == reply.content.decode()


@pytest.mark.sdk
def test_the_fallbacks_work_through_the_sdk_too(
    server: LoopbackServer, runtime: Runtime, make_client: MakeClient
) -> None:
    message_text = "Thinking may not be enabled when tool_choice forces tool use."
    server.always(
        build_error_reply(400, "invalid_request_error", message_text), build_stream_reply()
    )
    events = runtime.collect_events(
        wrap_client(make_client()), "hello", response_format=PLACE_RESPONSE_FORMAT
    )
    assert join_text(events) == TEXT
    assert ["tool_choice" in request.json() for request in server.requests] == [True, False]


@pytest.mark.sdk
def test_the_sdk_retries_and_locus_does_not(
    server: LoopbackServer, runtime: Runtime, make_client: MakeClient
) -> None:
    server.always(build_error_reply(429, "rate_limit_error", "boom", retry_after_ms="1"))
    with pytest.raises(RateLimitError):
        runtime.collect_events(wrap_client(make_client(max_retries=2), max_retries=5), "hello")
    assert len(server.requests) == 3


@pytest.mark.sdk
def test_an_instrumented_client_sees_the_call(
    server: LoopbackServer, runtime: Runtime, make_client: MakeClient
) -> None:
    server.always(build_reply(), build_stream_reply())
    client = make_client()
    messages, seen = client.messages, []
    original = messages.create

    @functools.wraps(original)
    def create(*args: Any, **kw: Any) -> Any:
        seen.append((kw["model"], kw.get("stream", False)))
        return original(*args, **kw)

    messages.create = create
    runtime.complete(wrap_client(client), "hello")
    runtime.collect_events(wrap_client(client), "hello")
    assert seen == [("claude-1-loop", False), ("claude-1-loop", True)]


@pytest.mark.sdk
def test_anything_else_is_a_type_error() -> None:
    pytest.importorskip("anthropic")
    with pytest.raises(TypeError, match="takes a client of the package anthropic"):
        wrap_client(object())


@pytest.mark.sdk
def test_the_models_client_is_the_sdks_with_its_settings(
    server: LoopbackServer, backend: str
) -> None:
    anthropic = pytest.importorskip("anthropic")
    reply = build_reply()
    server.always(reply)
    model = make_model(server, max_retries=4)

    async def main() -> None:
        client = model.client
        assert isinstance(client, anthropic.AsyncAnthropic)
        assert model.client is client
        assert (client.api_key, client.max_retries, client.timeout) == (API_KEY, 4, FOREVER)
        options = [{"role": "user", "content": "hello"}]
        response = await client.messages.create(model="m", max_tokens=9, messages=options)
        assert response.content[0].text == TEXT
        await client.close()

    run_async(backend, main)
    token = AnthropicModel(auth_token="token").client
    assert (token.api_key, token.auth_token) == (None, "token")
    assert AnthropicModel(base_url=server.url).client.api_key == "none"


# -- Amazon's binary framing -------------------------------------------------------------------

BINARY = "application/vnd.amazon.eventstream"


def encode_event_message(
    options: Any, exception: str | None = None, extra: bytes = b"", payload: bytes = b""
) -> bytes:
    """One message of Amazon's event stream, encoded by its specification."""
    raw_payload, payload = payload, json.dumps(options).encode()
    headers = {":message-type": "exception", ":exception-type": exception or ""}
    if exception is None:
        headers = {":message-type": "event", ":event-type": "chunk"}
        inner = base64.b64encode(payload).decode()
        payload = json.dumps({"bytes": inner, "p": "abc"}).encode()
    payload = raw_payload or payload
    head = extra
    for name, value in {":content-type": "application/json", **headers}.items():
        head += bytes([len(name)]) + name.encode() + b"\7"
        head += struct.pack(">H", len(value)) + value.encode()
    prelude = struct.pack(">II", 16 + len(head) + len(payload), len(head))
    message = prelude + struct.pack(">I", zlib.crc32(prelude)) + head + payload
    return message + struct.pack(">I", zlib.crc32(message))


def build_binary_reply(*options: dict[str, Any]) -> Reply:
    """A stream in Bedrock's framing."""
    return Reply.stream(
        [encode_event_message(event) for event in options], headers={"content-type": BINARY}
    )


@given(st.data())
def test_a_binary_stream_gives_the_same_events_however_it_is_cut(data: st.DataObject) -> None:
    options = data.draw(stream_chunks(data.draw(anthropic_responses())))
    stream = b"".join(map(encode_event_message, options))
    sse_stream = b"".join(b"data: " + json.dumps(event).encode() + b"\n\n" for event in options)
    events, decoder = read_stream(data.draw(byte_splits(stream)))
    assert decoder.failure is None
    assert events == read_stream([sse_stream])[0]
    cut = data.draw(st.integers(0, len(stream) - 1))
    assert isinstance(
        read_stream(data.draw(byte_splits(stream[:cut])))[1].failure, StreamInterruptedError
    )


@given(st.data())
def test_a_damaged_binary_stream_is_never_complete(data: st.DataObject) -> None:
    stream = bytearray(b"".join(map(encode_event_message, build_stream_events())))
    position = data.draw(st.integers(1, len(stream) - 1))
    stream[position] ^= data.draw(st.integers(1, 255))
    events, decoder = read_stream(data.draw(byte_splits(bytes(stream))))
    assert decoder.failure is not None
    assert not any(event.done for event in events)
    assert TEXT.startswith(join_text(events))


def test_a_damaged_length_is_an_error_at_once() -> None:
    message = bytearray(encode_event_message({"type": "ping"}))
    message[1] ^= 1  # 65,536 bytes more than there are
    decoder = AnthropicMessagesParser().make_decoder()
    decoder.feed(bytes(message))
    assert isinstance(decoder.failure, ResponseParseError)
    assert "checksum" in decoder.failure.body


@pytest.mark.parametrize(("length", "headers"), [(0, 0), (15, 0), (20, 5), (2**24 * 3 // 2 + 1, 0)])
def test_an_impossible_length_is_an_error(length: int, headers: int) -> None:
    prelude = struct.pack(">II", length, headers)
    prelude += struct.pack(">I", zlib.crc32(prelude))
    (event,) = AmazonEventStreamFraming().feed(prelude + bytes(16))
    assert b"checksum" in event


ODD_HEADERS = (
    b"\1a\0" b"\1b\1" b"\1c\2x" b"\1d\3xx" b"\1e\4xxxx" b"\1f\5xxxxxxxx"
    b"\1g\6\0\3abc" b"\1h\x08xxxxxxxx" b"\1i\x09xxxxxxxxxxxxxxxx"
)  # fmt: skip


def test_headers_of_every_type_are_skipped() -> None:
    event = {"type": "ping"}
    assert AmazonEventStreamFraming().feed(encode_event_message(event, extra=ODD_HEADERS)) == [
        json.dumps(event).encode()
    ]
    (error,) = AmazonEventStreamFraming().feed(
        encode_event_message({"message": "boom"}, "validationException", ODD_HEADERS)
    )
    assert json.loads(error)["error"] == {
        "type": "invalid_request_error",
        "message": "validationException: boom",
    }


def test_invalid_messages_of_a_binary_stream_are_errors() -> None:
    unknown = AmazonEventStreamFraming().feed(
        encode_event_message({"type": "ping"}, extra=b"\1a\x63xxx")
    )
    assert unknown == [b'{"type": "ping"}']
    failure = read_stream([encode_event_message(None, payload=b"no JSON")])[1].failure
    assert isinstance(failure, ResponseParseError)
    assert failure.body == "no JSON"
    failure = read_stream(
        [encode_event_message(None, "throttlingException", payload=b"slow down")]
    )[1].failure
    assert isinstance(failure, RateLimitError)
    assert "throttlingException: slow down" in str(failure)


@pytest.mark.parametrize(
    ("exception", "error_class"),
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
def test_bedrocks_errors_in_a_stream_are_locus_errors(exception: str, error_class: type) -> None:
    failure = read_stream([encode_event_message({"message": "boom"}, exception)])[1].failure
    assert type(failure) is error_class
    assert f"{exception}: boom" in str(failure)


def test_amazons_own_reader_gives_the_same() -> None:
    reader = pytest.importorskip("botocore.eventstream")
    stream = b"".join(
        encode_event_message(event, extra=ODD_HEADERS) for event in build_stream_events()
    )
    buffer = reader.EventStreamBuffer()
    buffer.add_data(stream)
    theirs = [base64.b64decode(json.loads(message.payload)["bytes"]) for message in buffer]
    assert AmazonEventStreamFraming().feed(stream) == theirs
