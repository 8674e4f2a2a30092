"""The streaming law, for every wire format.

For the same response: the events of a stream joined equal the complete response; exactly one event
has ``done``, and it is the last; the events do not depend on how the bytes are split; and a stream
without its end marker raises an error with the partial response, and never looks complete.
"""

from __future__ import annotations

import json
from typing import Any

import attrs
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from locus.core.errors import APIStatusError, ResponseParseError, StreamInterruptedError
from locus.core.messages import Message
from locus.core.response import ModelResponse
from locus.testing.formats.parametrize import each_case, with_many_examples, without_deadline
from locus.testing.formats.parametrize import pytest_generate_tests as pytest_generate_tests
from locus.testing.formats.runtimes import Runtime
from locus.testing.formats.spoken_format import ERROR_TEXT, TEXT, TEXT_CHUNKS, Frame
from locus.testing.formats.strategies.basic_values import UNUSUAL_CHARACTERS, texts
from locus.testing.formats.strategies.splits import byte_splits
from locus.testing.formats.stream_reader import check_streaming_law, join_text
from locus.testing.formats.wire_format import WireFormat
from locus.testing.server import LoopbackServer


def encode_unescaped(*frames: Frame) -> list[str]:
    """Encode frames as JSON with the fewest possible escapes."""
    return [
        frame if isinstance(frame, str) else json.dumps(frame, ensure_ascii=False)
        for frame in frames
    ]


def skip_without_end_marker(wire: WireFormat) -> None:
    """Skip a test of what the end of a response means, where no response says that it ends."""
    if not wire.has_end_marker:
        pytest.skip("a stream of this format is complete wherever the server closes it")


# -- equal to the complete response ------------------------------------------------------------


@pytest.mark.usefixtures("formats_environment", "no_leaks")
def test_every_runtime_gives_the_complete_response_in_both_ways(
    server: LoopbackServer, runtime: Runtime, wire: WireFormat
) -> None:
    model = wire.make_model(server)
    server.always(wire.build_reply(), wire.build_stream_reply())
    response = runtime.complete(model, "hello")
    events = runtime.collect_events(model, "hello")
    assert check_streaming_law(events) == response
    assert [event.content for event in events] == [*TEXT_CHUNKS, None]
    assert (response.content, response.usage, response.finish_reason) == (TEXT, wire.usage, "stop")


@pytest.mark.usefixtures("formats_environment", "no_leaks")
def test_a_response_in_the_other_way_than_it_was_asked_for_is_read(
    server: LoopbackServer, runtime: Runtime, wire: WireFormat
) -> None:
    model = wire.make_model(server)
    server.enqueue(  # with the content type of what was asked for
        attrs.evolve(wire.build_stream_reply(), headers=(("content-type", "application/json"),)),
        attrs.evolve(wire.build_reply(), headers=(("content-type", wire.stream_type),)),
    )
    for response in (
        runtime.complete(model, "hello"),
        check_streaming_law(runtime.collect_events(model, "hello")),
    ):
        assert (response.content, response.usage) == (TEXT, wire.usage)
        assert response.raw


@pytest.mark.usefixtures("formats_environment", "no_leaks")
def test_a_stream_that_nobody_asked_for_fails_as_one(
    server: LoopbackServer, wire: WireFormat
) -> None:
    model = wire.make_model(server)
    beginning = wire.build_text_frames("so ", "far")
    server.enqueue(wire.make_stream_reply(*beginning, wire.error_frames[0][0]))
    with pytest.raises(APIStatusError, match="boom") as refused:
        model.complete_sync("hello")
    server.enqueue(wire.make_stream_reply(*beginning))
    stream = wire.encode_frames(*beginning, *wire.end_frames)
    if wire.is_complete_at(stream, len(wire.encode_frames(*beginning))):
        assert model.complete_sync("hello").content == "so far"
    else:
        with pytest.raises(StreamInterruptedError) as cut:
            model.complete_sync("hello")
        assert cut.value.partial is not None
        assert cut.value.partial.content == "so far"
    assert refused.value.partial is not None
    assert refused.value.partial.content == "so far"


@pytest.mark.usefixtures("formats_environment", "no_leaks")
def test_every_response_has_the_json_and_the_headers_of_the_server(
    server: LoopbackServer, runtime: Runtime, wire: WireFormat
) -> None:
    model = wire.make_model(server)
    headers = (("X-Request-Id", "req_1"), ("x-ratelimit-remaining", "7"))
    replies = (wire.build_reply(), wire.build_stream_reply())
    server.always(*(attrs.evolve(reply, headers=(*reply.headers, *headers)) for reply in replies))
    response = runtime.complete(model, "hello")
    assert response.raw == json.loads(wire.build_reply().content)
    *_, last = runtime.collect_events(model, "hello")
    assert last.response is not None
    for found in (response, last.response):
        assert (found.request_id, found.headers["x-ratelimit-remaining"]) == ("req_1", "7")
    assert last.response.raw, "a stream has the members beside its deltas"


@without_deadline
@given(st.data())
def test_a_stream_is_the_complete_response(wire: WireFormat, data: st.DataObject) -> None:
    example = data.draw(wire.examples())
    streamed = wire.stream_reader.decode_response(data.draw(byte_splits(example.stream)))
    assert wire.normalize_response(streamed) == example.expected
    assert streamed == wire.parser.parse(json.dumps(example.body))


@with_many_examples
@given(st.data())
def test_any_split_gives_the_same_events(wire: WireFormat, data: st.DataObject) -> None:
    stream = data.draw(wire.examples()).stream
    assert (
        wire.stream_reader.read_stream(data.draw(byte_splits(stream)))[0]
        == wire.stream_reader.read_stream([stream])[0]
    )


@without_deadline
@given(st.data())
def test_a_complete_response_to_a_request_for_a_stream_is_read(
    wire: WireFormat, data: st.DataObject
) -> None:
    example = data.draw(wire.examples())
    body = json.dumps(example.body, indent=data.draw(st.sampled_from(wire.body_indents))).encode()
    end = data.draw(st.sampled_from([b"", b"\n"]))
    response = wire.stream_reader.decode_response(data.draw(byte_splits(body + end)))
    assert wire.normalize_response(response) == example.expected


@example(text="".join(UNUSUAL_CHARACTERS))
@without_deadline
@given(text=texts(min_size=1))
def test_text_is_kept_unchanged_in_single_bytes(wire: WireFormat, text: str) -> None:
    stream = wire.encode_frames(*encode_unescaped(*wire.build_text_frames(text), *wire.end_frames))
    assert wire.stream_reader.decode_response([bytes([byte]) for byte in stream]).content == text


def test_half_a_surrogate_pair_and_a_byte_order_mark_are_read(wire: WireFormat) -> None:
    stream = "\ufeff".encode() + wire.encode_frames(
        *wire.build_text_frames("\ud800"), *wire.end_frames
    )
    assert wire.stream_reader.decode_response(stream).content == "\ufffd"


# -- frames without content ---------------------------------------------------------------------


@each_case("noise", lambda wire: wire.ignored_frames)
def test_frames_without_content_change_nothing(wire: WireFormat, noise: dict[str, Any]) -> None:
    frames = [*wire.build_text_frames("so ", "far"), *wire.end_frames]
    expected_events = wire.stream_reader.read_stream([wire.encode_frames(*frames)])[0]
    for index in range(1, len(frames)):
        stream = wire.encode_frames(*frames[:index], noise, *frames[index:])
        assert wire.stream_reader.read_stream([stream])[0] == expected_events


def test_unknown_members_change_nothing(wire: WireFormat) -> None:
    frames = [*wire.build_text_frames("so ", "far"), *wire.end_frames]
    expected_events = wire.stream_reader.read_stream([wire.encode_frames(*frames)])[0]
    more = {"member_of_next_year": {"text": ["no"]}, "": None}
    stream = wire.encode_frames(
        *(frame if isinstance(frame, str) else frame | more for frame in frames)
    )
    assert wire.stream_reader.read_stream([stream])[0] == expected_events


# -- streams that are cut ------------------------------------------------------------------------


@without_deadline
@given(st.data())
def test_a_stream_that_is_cut_never_looks_complete_and_keeps_what_had_arrived(
    wire: WireFormat, data: st.DataObject
) -> None:
    example = data.draw(wire.examples(valid_arguments=True))
    stream, complete = example.stream, example.expected
    last = stream.rindex(b"}")
    anywhere = st.integers(0, len(stream)) | st.integers(max(0, len(stream) - 60), len(stream))
    cuts = data.draw(st.lists(anywhere, max_size=8))
    for cut in sorted({*cuts, last, last + 1, len(stream) - 1}):
        events, decoder = wire.stream_reader.read_stream(data.draw(byte_splits(stream[:cut])))
        if wire.is_complete_at(stream, cut):
            assert decoder.failure is None
            wire.check_response_without_end(check_streaming_law(events), example)
            continue
        assert isinstance(decoder.failure, StreamInterruptedError), stream[:cut]
        assert not decoder.done
        assert not any(event.done for event in events)
        partial = decoder.failure.partial
        assert partial is not None
        text = join_text(events)
        reasoning = "".join(event.reasoning or "" for event in events)
        assert (partial.content, partial.reasoning or "") == (text, reasoning)
        assert complete.content.startswith(text)
        assert (complete.reasoning or "").startswith(reasoning)
        wire.check_partial(partial, example)


@without_deadline
@given(st.data())
def test_a_stream_cut_by_the_connection_keeps_what_had_arrived(
    wire: WireFormat, data: st.DataObject
) -> None:
    stream = data.draw(wire.examples()).stream
    cut = data.draw(st.integers(0, len(stream)))
    decoder = wire.parser.make_decoder()
    events = decoder.feed(stream[:cut])
    if decoder.done:
        assert wire.is_complete_at(stream, cut)
        return
    error = decoder.make_interruption_error("because the connection was lost")
    assert isinstance(error, StreamInterruptedError)
    assert "because the connection was lost" in str(error)
    assert error.partial is not None
    assert error.partial.content == join_text(events)


def test_an_empty_stream_is_an_interrupted_one(wire: WireFormat) -> None:
    error = wire.stream_reader.decode_failure(b"")
    assert isinstance(error, StreamInterruptedError)
    assert error.partial == ModelResponse(Message.assistant(""))


@pytest.mark.usefixtures("formats_environment", "no_leaks")
def test_half_a_stream_that_is_left_leaves_no_connection(
    server: LoopbackServer, runtime: Runtime, wire: WireFormat
) -> None:
    server.always(wire.build_stream_reply().stall(-1))
    with runtime.open_stream(wire.make_model(server), "hello") as stream:
        assert next(stream).content == TEXT_CHUNKS[0]
    server.wait_closed()


# -- after the end -------------------------------------------------------------------------------


@pytest.mark.parametrize("more", ["words", "nonsense", "error", "nothing"])
@pytest.mark.parametrize("together", [True, False])
def test_what_comes_after_the_end_is_not_read(wire: WireFormat, more: str, together: bool) -> None:
    skip_without_end_marker(wire)
    after = {
        "words": wire.encode_frames(*wire.build_text_frames("y"), *wire.end_frames),
        "nonsense": b"\xff\x00{nonsense\n\n" + wire.encode_frames("nonsense"),
        "error": wire.encode_frames(wire.error_frames[0][0]),
        "nothing": b"",
    }[more]
    decoder = wire.parser.make_decoder()
    stream = wire.encode_frames(*wire.build_text_frames("x"), *wire.end_frames)
    events = decoder.feed(stream + after) if together else decoder.feed(stream)
    assert check_streaming_law(events).content == "x"
    assert (decoder.feed(after), decoder.close(), decoder.close()) == ([], [], [])
    assert decoder.feed(after) == []
    assert (decoder.done, decoder.failure) == (True, None)


@pytest.mark.parametrize("cause", ["cut", "error"])
def test_a_stream_that_has_failed_stays_failed(wire: WireFormat, cause: str) -> None:
    decoder = wire.parser.make_decoder()
    events = decoder.feed(wire.encode_frames(*wire.build_text_frames("x")))
    if cause == "cut":
        skip_without_end_marker(wire)
    else:
        events += decoder.feed(wire.encode_frames(wire.error_frames[0][0]))
    events += decoder.close()
    failure = decoder.failure
    assert failure is not None
    rest = wire.encode_frames(*wire.build_text_frames("y"), *wire.end_frames)
    assert (decoder.feed(rest), decoder.close()) == ([], [])
    assert join_text(events) == "x"
    assert decoder.failure is failure
    assert failure.partial is not None
    assert failure.partial.content == "x"
    assert not decoder.done


# -- errors --------------------------------------------------------------------------------------


@each_case("error, error_type, status", lambda wire: wire.error_frames)
@without_deadline
@given(st.data())
def test_an_error_in_the_stream_is_raised_after_the_events_before_it(
    wire: WireFormat,
    error: dict[str, Any],
    error_type: type[APIStatusError],
    status: int,
    data: st.DataObject,
) -> None:
    after = wire.end_frames if data.draw(st.booleans()) else ()
    stream = wire.encode_frames(*wire.build_text_frames("so ", "far"), error, *after)
    events, decoder = wire.stream_reader.read_stream(data.draw(byte_splits(stream)))
    assert [event.content for event in events] == ["so ", "far"]
    failure = decoder.failure
    assert isinstance(failure, APIStatusError)
    assert (type(failure), failure.status_code) == (error_type, status)
    assert "boom" in str(failure)
    assert not decoder.done
    assert failure.partial is not None
    assert failure.partial.content == "so far"


@each_case("indent", lambda wire: wire.body_indents)
@pytest.mark.parametrize("end", [b"", b"\n", b"\r\n", b"\n\n"], ids=["none", "lf", "crlf", "two"])
@without_deadline
@given(st.data())
def test_an_error_body_in_place_of_a_stream_is_parsed(
    wire: WireFormat, indent: int | None, end: bytes, data: st.DataObject
) -> None:
    error, error_type = wire.error_body
    body = json.dumps(error, indent=indent, ensure_ascii=False).encode() + end
    events, decoder = wire.stream_reader.read_stream(data.draw(byte_splits(body)))
    assert events == []
    assert type(decoder.failure) is error_type
    assert ERROR_TEXT in str(decoder.failure)


@each_case("page, quoted", lambda wire: wire.unparsable_bodies.items())
def test_a_page_instead_of_a_stream_is_a_parse_error_that_quotes_it(
    wire: WireFormat, page: bytes, quoted: str
) -> None:
    error = wire.stream_reader.decode_failure(page)
    assert isinstance(error, ResponseParseError)
    assert error.body == quoted


@each_case("frame", lambda wire: wire.malformed_frames)
def test_what_is_not_of_the_format_is_a_parse_error(wire: WireFormat, frame: str) -> None:
    error = wire.stream_reader.decode_failure(
        wire.encode_frames(*wire.build_text_frames("x"), frame, *wire.end_frames)
    )
    assert isinstance(error, ResponseParseError)
    assert error.body == frame
    assert error.partial is not None
    assert error.partial.content == "x"


# -- junk ----------------------------------------------------------------------------------------


@with_many_examples
@given(st.data())
def test_nothing_in_a_stream_makes_the_decoder_raise(wire: WireFormat, data: st.DataObject) -> None:
    frames = data.draw(st.lists(wire.invalid_frames(), max_size=6))
    ending = wire.end_frames if data.draw(st.booleans()) else ()
    events, decoder = wire.stream_reader.read_stream([wire.encode_frames(*frames, *ending)])
    if decoder.failure is None:
        check_streaming_law(events)
    else:
        assert not decoder.done
        assert decoder.failure.partial is not None
        assert decoder.failure.partial.content == join_text(events)


@without_deadline
@given(st.data())
def test_nothing_in_a_complete_response_makes_the_parser_raise_anything_else(
    wire: WireFormat, data: st.DataObject
) -> None:
    try:
        wire.parser.parse(json.dumps(data.draw(wire.invalid_bodies())))
    except wire.parse_errors as error:
        str(error).encode()
        getattr(error, "body", "").encode(errors="replace")


@with_many_examples
@given(noise=st.binary(max_size=80), data=st.data())
def test_no_bytes_make_the_decoder_raise(
    wire: WireFormat, noise: bytes, data: st.DataObject
) -> None:
    stream = (
        wire.encode_frames(*wire.build_text_frames("x"))
        + noise
        + wire.encode_frames(*wire.end_frames)
    )
    events, decoder = wire.stream_reader.read_stream(data.draw(byte_splits(stream)))
    assert events[0].content == "x"
    assert decoder.done or decoder.failure is not None
