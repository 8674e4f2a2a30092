"""OpenAI's chat completions, for the tests of every format."""

from __future__ import annotations

from typing import Any, ClassVar

import attrs
from hypothesis import strategies as st

from locus.core.errors import (
    APIStatusError,
    InternalServerError,
    OverloadedError,
    RateLimitError,
)
from locus.core.response import ModelResponse
from locus.wire.chat_completions import ChatCompletionsParser
from tests.support import chat_replies, junk
from tests.support.formats.format_base import ERROR_TEXT, Example, Format
from tests.support.servers import openai_server
from tests.support.strategies import response_contents
from tests.support.wire_json import chat_json


@st.composite
def _chat_example(draw: st.DrawFn, valid_arguments: bool) -> Example:
    content = draw(
        response_contents(
            max_candidates=3, custom=not valid_arguments, valid_arguments=valid_arguments
        )
    )
    chunks = draw(chat_json.stream_chunks(content))
    return Example(
        chat_json.build_expected_response(content),
        chat_json.build_body(content),
        draw(chat_json.framed_streams(chunks, done=draw(st.booleans()))),
        {call.id: call.text for call in content.first.calls},
    )


class ChatCompletions(Format):
    """OpenAI's chat completions."""

    name = provider = "openai"
    environment_prefixes = ("OPENAI_",)
    usage: ClassVar = {"prompt_tokens": 9, "completion_tokens": 5}
    parser = ChatCompletionsParser()
    end_frames = (chat_json.make_delta_chunk({}, "stop"), "[DONE]")
    ignored_frames = chat_json.NOISE
    malformed_frames = ("{", "[]", '{"choices": {}}', "hello", '{"choices": [null]}')
    error_frames = (
        ({"error": {"message": "boom", "code": 429}}, RateLimitError, 429),
        ({"error": {"message": "boom", "type": "server_error"}}, InternalServerError, 500),
        ({"error": {"message": "boom", "type": "overloaded_error"}}, OverloadedError, 529),
        ({"error": "boom"}, APIStatusError, 200),
        ({"error": "boom", "id": "1", "model": "m", "choices": []}, APIStatusError, 200),
        ({"object": "error", "message": "boom", "code": 500}, InternalServerError, 500),
        (
            {"id": "1", "choices": [], "error": {"message": "boom", "code": 429}},
            RateLimitError,
            429,
        ),
        (  # OpenRouter
            {
                "id": "1",
                "error": {"message": "boom", "code": 502},
                "choices": [{"index": 0, "delta": {"content": ""}, "finish_reason": "error"}],
            },
            InternalServerError,
            502,
        ),
        ({"error": {"msg": "boom \ud800"}}, APIStatusError, 200),
    )
    error_body = ({"error": {"message": ERROR_TEXT, "code": 429}}, RateLimitError)
    unparsable_bodies: ClassVar = {
        b"<html><body>Bad Gateway</body></html>\n": "<html><body>Bad Gateway</body></html>",
        b"{": "{",
        b"[1]": "[1]",
        b'{"choices": 5}': '{"choices": 5}',
    }

    make_model = staticmethod(openai_server.make_model)
    build_reply = staticmethod(chat_replies.build_reply)
    build_stream_reply = staticmethod(chat_replies.build_stream_reply)
    encode_frames = staticmethod(chat_json.encode_sse)
    examples = staticmethod(lambda valid_arguments=False: _chat_example(valid_arguments))
    invalid_frames = staticmethod(junk.chat_chunks)

    def build_text_frames(self, *texts: str) -> tuple[dict[str, Any], ...]:
        return tuple(chat_json.make_delta_chunk({"content": text}) for text in texts)

    def is_complete_at(self, stream: bytes, length: int) -> bool:
        return chat_json.is_complete_stream(stream[:length])

    def check_response_without_end(self, response: ModelResponse, example: Example) -> None:
        # Token counts follow the finish reason, which already completes the response.
        assert response.usage in ({}, example.expected.usage)
        super().check_response_without_end(
            attrs.evolve(response, usage=example.expected.usage), example
        )
