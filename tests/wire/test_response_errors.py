"""Errors inside responses with a success status, in every form that servers give them."""

from __future__ import annotations

import json
from typing import Any

import pytest

from locus.core.errors import (
    APIError,
    APIStatusError,
    RateLimitError,
    ResponseParseError,
    StreamInterruptedError,
)
from locus.testing.formats.strategies.response_contents import (
    CallContent,
    CandidateContent,
    ResponseContent,
)
from locus.testing.server import LoopbackServer, Reply
from tests.support.formats import FORMATS, WireFormat

ERROR_OBJECTS: list[Any] = [
    {"error": "slow down"},
    {"error": {"message": "slow down"}},
    {"error": {"error": {"message": "slow down"}}},
    {"errors": [{"message": "slow down"}]},
    {"detail": "slow down"},
    {"detail": [{"msg": "slow down", "loc": ["body"]}]},
    {"message": "slow down"},
    {"code": "Busy", "message": "slow down"},
    {"code": 500, "msg": "slow down", "success": False},
    {"error_code": 18, "error_msg": "slow down"},
    {"base_resp": {"status_code": 1002, "status_msg": "slow down"}},
    [{"error": {"code": 429, "message": "slow down"}}],
]
EMPTY_ERRORS: list[Any] = [
    *({}, "", [], False, {"message": ""}, {"message": None, "code": None}),
    *({"code": 0, "message": ""}, {"error": None}, {"type": None, "message": None}),
]
TEXTS = ["slow down", "<html><head><title>x</title></head><h1>slow&nbsp;down</h1></html>"]


@pytest.mark.parametrize("wire", FORMATS, ids=repr)
@pytest.mark.parametrize("error_object", ERROR_OBJECTS, ids=json.dumps)
def test_an_error_object_is_raised_with_its_words(wire: WireFormat, error_object: Any) -> None:
    text = json.dumps(error_object)
    with pytest.raises(APIStatusError, match="slow down"):
        wire.parser.parse(text)
    decoder = wire.parser.make_decoder()
    events = [*decoder.feed(wire.encode_frames(text)), *decoder.close()]
    assert events == []
    assert isinstance(decoder.failure, APIStatusError), decoder.failure
    assert "slow down" in str(decoder.failure)


@pytest.mark.parametrize("wire", FORMATS, ids=repr)
@pytest.mark.parametrize("error", EMPTY_ERRORS, ids=json.dumps)
def test_an_error_that_says_nothing_is_none(wire: WireFormat, error: Any) -> None:
    content = wire.make_content("hello")
    body = wire.build_body(content)
    holder = body["chatResponse"] if isinstance(body.get("chatResponse"), dict) else body
    holder["error"] = error
    assert wire.parser.parse({**body, "error": error}).content == "hello"
    frames = [
        frame if isinstance(frame, str) else {**frame, "error": error}
        for frame in wire.build_frames(content, list)
    ]
    assert wire.stream_reader.decode_response(wire.encode_frames(*frames)).content == "hello"


@pytest.mark.parametrize("wire", FORMATS, ids=repr)
@pytest.mark.parametrize("text", TEXTS)
def test_other_text_is_shown_in_the_error(wire: WireFormat, text: str) -> None:
    with pytest.raises(ResponseParseError) as caught:
        wire.parser.parse(text)
    decoder = wire.parser.make_decoder()
    decoder.feed(text.encode())
    decoder.close()
    for error in (caught.value, decoder.failure):
        shown = str(error).replace("\xa0", " ")
        assert "slow down" in shown
        assert "<h1>" not in shown


@pytest.mark.parametrize("wire", FORMATS, ids=repr)
def test_an_empty_body_is_an_error(wire: WireFormat) -> None:
    with pytest.raises(ResponseParseError, match="empty"):
        wire.parser.parse("")
    decoder = wire.parser.make_decoder()
    assert decoder.close() == []
    assert isinstance(decoder.failure, StreamInterruptedError)


@pytest.mark.parametrize("wire", FORMATS, ids=repr)
@pytest.mark.parametrize(
    "data",
    ["upstream connect error", '{"detail": "upstream connect error"}', '"upstream connect error"'],
)
def test_an_event_named_error_ends_the_stream_with_its_words(wire: WireFormat, data: str) -> None:
    if wire.encode_frames({})[:1] == b"{":
        pytest.skip("the format has no named events")
    decoder = wire.parser.make_decoder()
    stream = wire.encode_frames(*wire.build_text_frames("Hel", "lo"))
    events = decoder.feed(stream + f"event: error\ndata: {data}\n\n".encode())
    assert "".join(event.content or "" for event in events) == "Hello"
    assert isinstance(decoder.failure, APIError)
    assert "upstream connect error" in str(decoder.failure)
    assert decoder.failure.partial is not None
    assert decoder.failure.partial.content == "Hello"


@pytest.mark.parametrize("wire", FORMATS, ids=repr)
def test_a_line_that_begins_with_error_ends_the_stream_with_its_words(wire: WireFormat) -> None:
    """Older servers of llama.cpp send such a line, which is no field of an event."""
    if wire.encode_frames({})[:1] == b"{":
        pytest.skip("the format has no events")
    decoder = wire.parser.make_decoder()
    stream = wire.encode_frames(*wire.build_text_frames("Hel", "lo"))
    decoder.feed(stream + b'error: {"code":500,"message":"slow down","type":"server_error"}\n\n')
    decoder.close()
    assert isinstance(decoder.failure, APIStatusError)
    assert "slow down" in str(decoder.failure)


@pytest.mark.parametrize("wire", FORMATS, ids=repr)
@pytest.mark.parametrize("keep_alive", [": keepalive", "[HEARTBEAT]", "ping", "null"])
def test_what_only_keeps_the_connection_alive_is_skipped(wire: WireFormat, keep_alive: str) -> None:
    decoder = wire.parser.make_decoder()
    events = decoder.feed(
        wire.encode_frames(
            keep_alive, *wire.build_text_frames("Hel"), keep_alive, *wire.build_text_frames("lo")
        )
    )
    assert decoder.failure is None
    assert "".join(event.content or "" for event in events) == "Hello"


def put_deep_json(value: Any) -> list[str]:
    """Return the texts of a JSON value with one member at a time that is nested 700 deep."""
    mark = "zq-deep"
    texts: list[str] = []

    def put(part: Any) -> None:
        for key in (
            [*part, "error", "extra_content"] if isinstance(part, dict) else range(len(part))
        ):
            missing = isinstance(part, dict) and key not in part
            previous = None if missing else part[key]
            part[key] = mark
            texts.append(json.dumps(value).replace(f'"{mark}"', '{"a":' * 700 + "1" + "}" * 700))
            if missing:
                del part[key]
                continue
            part[key] = previous
            if isinstance(previous, (dict, list)):
                put(previous)

    put(value)
    return texts


@pytest.mark.usefixtures("formats_environment")
@pytest.mark.parametrize("wire", FORMATS, ids=repr)
def test_json_that_is_nested_too_deeply_is_a_clear_error(
    server: LoopbackServer, wire: WireFormat
) -> None:
    call = CallContent("call_7", "f", '{"a":1}')
    candidate = CandidateContent("a", None, None, (call,), wire.call_stop_reason)
    content = ResponseContent((candidate,), "resp", wire.base_options["model"])
    frames = [*wire.build_frames(content, lambda text: [text]), *wire.end_frames[-1:]]
    for position, frame in enumerate(frames):
        for text in put_deep_json(frame) if isinstance(frame, dict) else ():
            decoder = wire.parser.make_decoder()
            decoder.feed(wire.encode_frames(*frames[:position], text, *frames[position + 1 :]))
            decoder.close()
            assert decoder.done or decoder.failure is not None
    model = wire.make_model(server)
    for text in put_deep_json(wire.build_body(content)):
        try:
            wire.parser.parse(text)
        except APIError:
            continue
        except RecursionError:
            server.enqueue(Reply.json(json.loads(text)))
            with pytest.raises(ResponseParseError, match="nested too deeply"):
                model.complete_sync("x")
            break


def test_google_wraps_a_rate_limit_in_a_list() -> None:
    wire = next(
        wire for wire in FORMATS if "chat_completions" in repr(wire) or wire.name == "openai"
    )
    error = {"error": {"code": 429, "message": "Quota exceeded", "status": "RESOURCE_EXHAUSTED"}}
    with pytest.raises(RateLimitError) as caught:
        wire.parser.parse(json.dumps([error]))
    assert (caught.value.code, caught.value.status_code) == ("RESOURCE_EXHAUSTED", 429)
