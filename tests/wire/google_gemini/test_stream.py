"""Responses and streams of Gemini: what no other format has."""

from __future__ import annotations

import json
from typing import Any

import pytest

from locus.core.errors import ResponseParseError, StreamInterruptedError
from locus.core.messages import Message
from locus.testing.formats.stream_reader import StreamReader
from locus.wire.google_gemini import GeminiBuilder, GeminiParser


def make_chunk(text: str, stop: str | None = None, **members: Any) -> dict[str, Any]:
    candidate: dict[str, Any] = {"content": {"role": "model", "parts": [{"text": text}]}}
    if stop is not None:
        candidate["finishReason"] = stop
    return {"candidates": [candidate], **members}


def decode(*chunks: dict[str, Any]) -> Any:
    stream = "".join(f"data: {json.dumps(chunk)}\r\n\r\n" for chunk in chunks)
    return StreamReader(GeminiParser()).decode_response([stream.encode()])


def test_a_last_chunk_after_the_call_that_has_only_the_reason() -> None:
    """Newer models send it so: https://github.com/envoyproxy/ai-gateway/pull/2399."""
    function = {"name": "f", "args": {"a": 1}}
    call = {"functionCall": function, "thoughtSignature": "c2ln"}
    first = {"candidates": [{"content": {"parts": [call]}}], "usageMetadata": {"trafficType": "x"}}
    response = decode(first, make_chunk("", "STOP", usageMetadata={"promptTokenCount": 107}))
    assert response.finish_reason == "tool_calls"
    assert response.tool_calls[0].arguments == {"a": 1}
    assert response.usage["prompt_tokens"] == 107


def test_thoughts_are_part_of_the_output() -> None:
    usage = {
        "promptTokenCount": 10,
        "toolUsePromptTokenCount": 2,
        "candidatesTokenCount": 5,
        "thoughtsTokenCount": 30,
        "totalTokenCount": 47,
        "promptTokensDetails": [{"modality": "TEXT", "tokenCount": 10}],
    }
    body = make_chunk("a", "STOP", usageMetadata=usage)
    for response in (GeminiParser().parse(body), decode(body)):
        assert response.usage == {
            "prompt_tokens": 12,
            "completion_tokens": 35,
            "total_tokens": 47,
            "reasoning_tokens": 30,
        }


@pytest.mark.parametrize("reason", ["SAFETY", "OTHER", "PROHIBITED_CONTENT"])
def test_a_blocked_prompt(reason: str) -> None:
    body = {"promptFeedback": {"blockReason": reason}, "usageMetadata": {"promptTokenCount": 3}}
    for response in (GeminiParser().parse(body), decode(body)):
        assert response.finish_reason == "content_filter"
        assert response.stop_reason == f"content_filter: {reason}"
        assert response.content == ""


@pytest.mark.parametrize("indent", [None, 2])
def test_an_array_of_all_chunks_is_read(indent: int | None) -> None:
    chunks = [make_chunk("Hel"), make_chunk("lo", "STOP")]
    body = json.dumps(chunks, indent=indent)
    decoder = GeminiParser().make_decoder()
    for byte in body.encode():
        assert decoder.feed(bytes([byte])) == []
    (event,) = decoder.close()
    assert event.response is not None
    for response in (GeminiParser().parse(body), event.response):
        assert (response.content, response.finish_reason) == ("Hello", "stop")
    with pytest.raises(ResponseParseError, match="finishReason"):
        GeminiParser().parse(json.dumps([make_chunk("a"), make_chunk("b")]))


CODE = [
    {"executableCode": {"language": "PYTHON", "code": "1+1"}},
    {"codeExecutionResult": {"outcome": "OUTCOME_OK", "output": "2"}},
]
SEARCH = [
    {"toolCall": {"id": "g", "toolType": "GOOGLE_SEARCH_WEB"}, "thoughtSignature": "seal"},
    {"toolResponse": {"id": "g", "toolType": "GOOGLE_SEARCH_WEB", "response": {"found": 1}}},
]
THOUGHT_IMAGE = {"inlineData": {"mimeType": "image/png", "data": "aGk="}, "thought": True}
IMAGE = {"inlineData": {"mimeType": "image/png", "data": "aGk="}, "thoughtSignature": "seal"}


@pytest.mark.parametrize(
    "parts",
    [
        [{"text": "So "}, *CODE, {"text": "two."}],
        [IMAGE],
        [THOUGHT_IMAGE, IMAGE],
        CODE,
        [*SEARCH, {"text": "Found."}],
    ],
)
def test_parts_of_other_kinds_go_back_to_their_server(parts: list[dict[str, Any]]) -> None:
    chunks = [{"candidates": [{"content": {"parts": [part]}}]} for part in parts]
    chunks[-1]["candidates"][0]["finishReason"] = "STOP"
    whole = {"candidates": [{"content": {"parts": parts}, "finishReason": "STOP"}]}
    for response in (GeminiParser().parse(whole), decode(*chunks)):
        assert response.content == "".join(part.get("text", "") for part in parts)
        images = [part for part in parts if "inlineData" in part]
        assert list(response.message.metadata.get("attachments", ())) == images
        messages = [Message.user("x"), response.message, Message.user("y")]
        sent = GeminiBuilder().build(messages, model="gemini-3-flash")["contents"][1]["parts"]
        assert sent == parts


def test_a_response_without_its_end() -> None:
    with pytest.raises(ResponseParseError, match="finishReason"):
        GeminiParser().parse(make_chunk("a"))
    decoder = GeminiParser().make_decoder()
    decoder.feed(f"data: {json.dumps(make_chunk('a'))}\n\n".encode())
    decoder.close()
    assert isinstance(decoder.failure, StreamInterruptedError)


def test_a_candidate_without_parts() -> None:
    body = {"candidates": [{"content": {"role": "model"}, "finishReason": "MAX_TOKENS"}]}
    response = GeminiParser().parse(body)
    assert (response.content, response.finish_reason) == ("", "length")
