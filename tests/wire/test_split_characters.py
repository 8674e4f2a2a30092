"""Characters that a server cuts in two between frames are one again, in every format."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from locus.core.surrogate_halves import repair_json, repair_text
from locus.testing.formats import WireFormat
from locus.wire.chat_completions import ChatCompletionsDecoder
from locus.wire.split_characters import SplitCharacterJoiner

HALVES = ("a\ud83d", "\ude00b")


def decode_texts(wire: WireFormat, *texts: str) -> tuple[list[str], str]:
    """Decode a stream of these texts, whose halves are escaped; return its pieces and the text."""
    frames = [
        json.dumps(frame) if isinstance(frame, dict) else frame
        for frame in (*wire.build_text_frames(*texts), *wire.end_frames)
    ]
    decoder = wire.parser.make_decoder()
    events = decoder.feed(wire.encode_frames(*frames))
    if not decoder.done:
        events += decoder.close()
    assert decoder.failure is None
    response = events[-1].response
    assert response is not None
    return [event.content for event in events if event.content], response.content


def test_halves_in_two_frames_are_one_character(wire: WireFormat) -> None:
    assert decode_texts(wire, *HALVES) == (["a", "😀b"], "a😀b")


def test_a_half_alone_becomes_the_replacement_character(wire: WireFormat) -> None:
    for texts in (("a\ud83d", "b"), ("a\ud83db",), ("a", "\ude00b"[:1], "b")):
        pieces, text = decode_texts(wire, *texts)
        assert "".join(pieces) == text == "a\ufffdb"
    pieces, text = decode_texts(wire, "a\ud83d")
    assert "".join(pieces) == text == "a\ufffd"


@given(st.text(max_size=8), st.data())
def test_any_text_cut_anywhere_is_whole_again(text: str, data: st.DataObject) -> None:
    halves = text.encode("utf-16-le", "surrogatepass")
    units = [
        halves[at : at + 2].decode("utf-16-le", "surrogatepass") for at in range(0, len(halves), 2)
    ]
    chunks = [{"choices": [{"index": 0, "delta": {"content": unit}}]} for unit in units]
    chunks.append({"choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}]})
    decoder = ChatCompletionsDecoder()
    lines = [f"data: {json.dumps(chunk)}\n\n".encode() for chunk in chunks]
    events = [event for line in [*lines, b"data: [DONE]\n\n"] for event in decoder.feed(line)]
    assert "".join(event.content or "" for event in events) == repair_text(text)
    assert events[-1].response is not None
    assert events[-1].response.content == repair_text(text)


def _make_delta(index: int, **delta: Any) -> dict[str, Any]:
    return {"choices": [{"index": index, "delta": delta}]}


def _join(*frames: Any) -> list[Any]:
    joiner = SplitCharacterJoiner()
    return [
        json.loads(joined) for frame in frames for joined in joiner.join(json.dumps(frame).encode())
    ]


def test_a_half_waits_while_other_texts_arrive() -> None:
    first, second = HALVES
    joined = _join(
        _make_delta(0, content=first),
        _make_delta(1, content="x"),
        _make_delta(0, content=""),
        _make_delta(0, content=second),
    )
    texts = [chunk["choices"][0]["delta"]["content"] for chunk in joined]
    assert texts == ["a", "x", "", "😀b"]


def test_an_event_of_another_type_ends_the_wait_but_a_ping_does_not() -> None:
    def make_event(text: str) -> dict[str, Any]:
        return {"type": "text_delta", "index": 2, "delta": {"text": text}, "usage": {"n": 1}}

    stop = {"type": "text_stop", "index": 2}
    assert _join(make_event("a\ud83d"), {"type": "ping"}, make_event("\ude00"))[2] == make_event(
        "😀"
    )
    assert _join(make_event("a\ud83d"), stop)[1:] == [
        {"type": "text_delta", "index": 2, "delta": {"text": "\ufffd"}},
        stop,
    ]


def test_halves_of_arguments_and_of_reasoning_are_joined() -> None:
    first, second = HALVES
    decoder = ChatCompletionsDecoder()
    chunks = [
        _make_delta(0, reasoning_content=first),
        _make_delta(0, reasoning_content=second),
        *(
            _make_delta(
                0, tool_calls=[{"index": 0, "function": {"arguments": text, **more}, **more_id}]
            )
            for text, more, more_id in (
                (f'{{"{first}', {"name": "f"}, {"id": "1"}),
                (f'{second}": 1}}', {}, {}),
            )
        ),
        {"choices": [{"index": 0, "delta": {}, "finish_reason": "tool_calls"}]},
    ]
    lines = [f"data: {json.dumps(chunk)}\n\n".encode() for chunk in chunks]
    events = decoder.feed(b"".join(lines) + b"data: [DONE]\n\n")
    response = events[-1].response
    assert response is not None
    assert response.reasoning == "a😀b"
    assert dict(response.tool_calls[0].arguments) == {"a😀b": 1}


@pytest.mark.parametrize("text", ["x\ud83d", "\ude00x", "x\ude00\ud83d"])
def test_a_complete_response_has_no_halves(wire: WireFormat, text: str) -> None:
    body = json.dumps(wire.build_body(wire.make_content(text)))
    assert wire.parser.parse(body).content == repair_text(text)
    assert wire.parser.parse(body.encode()).content == repair_text(text)


def test_json_is_repaired_with_its_names() -> None:
    value = {"\ud83d": ["\ud83d\ude00", 1, None, {"a": "é\udfff"}]}
    assert repair_json(value) == {"\ufffd": ["😀", 1, None, {"a": "é\ufffd"}]}
