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
from locus.testing.loopback_server import Reply
from locus.wire.ollama_chat import OllamaChatParser
from tests.support import junk
from tests.support.chat_replies import TEXT
from tests.support.formats.description import SLOW, Example, Format
from tests.support.servers import ollama_server
from tests.support.wire_json import ollama_json


@st.composite
def _ollama_example(draw: st.DrawFn, valid_arguments: bool) -> Example:
    answered = draw(ollama_json.expressible_responses(valid_arguments=valid_arguments))
    as_text = draw(st.booleans())
    chunks = draw(ollama_json.stream_chunks(answered, arguments_as_text=as_text))
    return Example(
        ollama_json.build_expected_response(answered),
        ollama_json.build_body(answered, arguments_as_text=as_text),
        draw(ollama_json.framed_streams(chunks)),
        {call.id: call.text for call in answered.first.calls},
    )


class OllamaChat(Format):
    """Ollama's chat."""

    name = provider = "ollama"
    variables = ("OLLAMA_",)
    usage: ClassVar = {"prompt_tokens": 9, "completion_tokens": 5}
    parser = OllamaChatParser()
    ending = (ollama_json.make_last_chunk(),)
    noise = ollama_json.NOISE
    broken = ("{", "[]", '{"message": []}', "hello", '{"message": {"tool_calls": [null]}}', "3")
    errors = (
        ({"error": "boom"}, InternalServerError, 500),
        ({"error": "boom", "status": 400}, BadRequestError, 400),
        ({"error": "boom", "done": True}, InternalServerError, 500),
        ({"error": {"message": "boom", "type": "rate_limit_error"}}, RateLimitError, 429),
    )
    refusal = ({"error": SLOW}, InternalServerError)
    pages: ClassVar = {
        b"<html>\n<p>Sign in\n</html>": "<html>",
        b"<html>Sign in</html>": "<html>Sign in</html>",
        b"{\n": "{",
        b"[1]\n": "[1]",
        b'{"message": 5}\n': '{"message": 5}',
    }
    indents = (None,)  # a body is read by the line
    refuses = (*Format.refuses, StreamInterruptedError)  # it may say itself that it is not done

    model_of = staticmethod(ollama_server.make_model)
    streamed = staticmethod(ollama_server.build_stream_reply)
    frames = staticmethod(ollama_json.encode_ndjson)
    examples = staticmethod(lambda valid_arguments=False: _ollama_example(valid_arguments))
    odd_frames = staticmethod(junk.ollama_lines)

    def whole(self, text: str = TEXT) -> Reply:
        return ollama_server.build_reply(text)

    def said(self, *words: str) -> tuple[dict[str, Any], ...]:
        return tuple(ollama_json.make_chunk(content=word) for word in words)

    def ended(self, stream: bytes, cut: int) -> bool:
        return ollama_json.is_complete_stream(stream[:cut])

    def check_partial(self, partial: ModelResponse, example: Example) -> None:
        # Each call comes whole, and all that is said of the answer itself with its end.
        calls = example.expected.tool_calls
        assert partial.tool_calls == calls[: len(partial.tool_calls)]
        assert (partial.usage, partial.stop_reason) == ({}, None)
