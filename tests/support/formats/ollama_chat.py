"""Ollama's chat, for the tests of every format."""

from __future__ import annotations

from typing import Any, ClassVar

from hypothesis import strategies as st

from locus.core.errors import (
    BadRequestError,
    InternalServerError,
    RateLimitError,
    StreamInterruptedError,
)
from locus.core.response import ModelResponse
from locus.testing.server import Reply
from locus.wire.ollama_chat import OllamaChatParser
from tests.support import junk
from tests.support.chat_replies import TEXT
from tests.support.formats.format_base import ERROR_TEXT, Example, Format
from tests.support.servers import ollama_server
from tests.support.wire_json import ollama_json


@st.composite
def _ollama_example(draw: st.DrawFn, valid_arguments: bool) -> Example:
    content = draw(ollama_json.expressible_responses(valid_arguments=valid_arguments))
    as_text = draw(st.booleans())
    chunks = draw(ollama_json.stream_chunks(content, arguments_as_text=as_text))
    return Example(
        ollama_json.build_expected_response(content),
        ollama_json.build_body(content, arguments_as_text=as_text),
        draw(ollama_json.framed_streams(chunks)),
        {call.id: call.text for call in content.first.calls},
    )


class OllamaChat(Format):
    """Ollama's chat."""

    name = provider = "ollama"
    environment_prefixes = ("OLLAMA_",)
    usage: ClassVar = {"prompt_tokens": 9, "completion_tokens": 5}
    parser = OllamaChatParser()
    end_frames = (ollama_json.make_last_chunk(),)
    ignored_frames = ollama_json.NOISE
    malformed_frames = (
        "{",
        "[]",
        '{"message": []}',
        "hello",
        '{"message": {"tool_calls": [null]}}',
        "3",
    )
    error_frames = (
        ({"error": "boom"}, InternalServerError, 500),
        ({"error": "boom", "status": 400}, BadRequestError, 400),
        ({"error": "boom", "done": True}, InternalServerError, 500),
        ({"error": {"message": "boom", "type": "rate_limit_error"}}, RateLimitError, 429),
    )
    error_body = ({"error": ERROR_TEXT}, InternalServerError)
    unparsable_bodies: ClassVar = {
        b"<html>\n<p>Sign in\n</html>": "<html>",
        b"<html>Sign in</html>": "<html>Sign in</html>",
        b"{\n": "{",
        b"[1]\n": "[1]",
        b'{"message": 5}\n': '{"message": 5}',
    }
    body_indents = (None,)  # a body is read line by line
    # A body may have "done": false.
    parse_errors = (*Format.parse_errors, StreamInterruptedError)

    make_model = staticmethod(ollama_server.make_model)
    build_stream_reply = staticmethod(ollama_server.build_stream_reply)
    encode_frames = staticmethod(ollama_json.encode_ndjson)
    examples = staticmethod(lambda valid_arguments=False: _ollama_example(valid_arguments))
    invalid_frames = staticmethod(junk.ollama_lines)

    def build_reply(self, text: str = TEXT) -> Reply:
        return ollama_server.build_reply(text)

    def build_text_frames(self, *texts: str) -> tuple[dict[str, Any], ...]:
        return tuple(ollama_json.make_chunk(content=text) for text in texts)

    def is_complete_at(self, stream: bytes, length: int) -> bool:
        return ollama_json.is_complete_stream(stream[:length])

    def check_partial(self, partial: ModelResponse, example: Example) -> None:
        # A call is never split, and the last chunk has the usage and the stop reason.
        calls = example.expected.tool_calls
        assert partial.tool_calls == calls[: len(partial.tool_calls)]
        assert (partial.usage, partial.stop_reason) == ({}, None)
