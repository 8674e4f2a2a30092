"""Ollama's chat, for the tests of every format."""

from __future__ import annotations

import json
import re
from typing import Any, ClassVar

from hypothesis import strategies as st

from locus.core.errors import (
    BadRequestError,
    InternalServerError,
    RateLimitError,
    StreamInterruptedError,
)
from locus.core.messages import Message
from locus.core.response import ModelResponse
from locus.testing.formats.spoken_format import ERROR_TEXT, THOUGHT, Example, Frame, Split
from locus.testing.formats.wire_format import WireFormat
from locus.testing.server import LoopbackServer, Reply
from locus.wire.ollama_chat import OllamaChatBuilder, OllamaChatParser
from tests.support import junk, request_readers
from tests.support.chat_replies import TEXT
from tests.support.genuine_responses import number_calls
from tests.support.servers import ollama_server
from tests.support.strategies import ResponseContent, byte_splits
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


@st.composite
def _ollama(draw: st.DrawFn, first_number: int) -> Message:
    sample = draw(ollama_json.expressible_responses(valid_arguments=False))
    sample = draw(number_calls(sample, first_number, r"\Acall_[a-z0-9]{8}\Z"))
    with_ids = draw(st.booleans())
    if draw(st.booleans()):
        body = json.dumps(ollama_json.build_body(sample, with_ids, draw(st.booleans())))
        return OllamaChatParser().parse(body).message
    chunks = draw(ollama_json.stream_chunks(sample, with_ids))
    return ollama_json.decode_response(
        draw(byte_splits(draw(ollama_json.framed_streams(chunks))))
    ).message


class OllamaChat(WireFormat):
    """Ollama's chat."""

    name = "ollama_chat"
    title = "Ollama"
    provider = "ollama"
    builder = OllamaChatBuilder()
    base_options: ClassVar = {"model": "qwen3:8b"}
    path = "/api/chat"
    credentials: ClassVar = {"authorization": re.compile(f"Bearer {ollama_server.API_KEY}")}
    stream_members: ClassVar = {"stream": True}
    structured_output = "without_tools"

    read_request = staticmethod(request_readers.read_ollama_chat)
    read_tools = staticmethod(request_readers.read_chat_completions_tools)
    sent_options: ClassVar = {
        "max_tokens": "options.num_predict",
        **{
            name: f"options.{name}"
            for name in (
                *("temperature", "top_p", "stop", "seed"),
                *("frequency_penalty", "presence_penalty"),
            )
        },
        "response_format": {"format": {"type": "object", "title": "zq"}},
        "tool_choice": {"tools": None},
        "reasoning_effort": "think",
        "logprobs": "logprobs",
        "top_logprobs": "top_logprobs",
    }
    id_pattern = re.compile(r".+", re.DOTALL)
    keeps_part_order = False
    accepts_image_urls = False
    image_types = ()
    image_roles = ("system", "user", "assistant", "tool")
    thinking_form = "unsigned"
    orders_results = True

    stop_reasons: ClassVar = {"stop": "stop", "length": "length"}
    call_stop_reason = "stop"
    sends_argument_objects = True
    stream_type = "application/x-ndjson"
    environment_prefixes = ("OLLAMA_",)
    usage: ClassVar = {"prompt_tokens": 9, "completion_tokens": 5}
    parser = OllamaChatParser()
    wants_back = (THOUGHT,)
    end_frames = (ollama_json.make_last_chunk(),)
    ignored_frames = ollama_json.NOISE
    malformed_frames = (
        "{",
        "[3]",
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
    parse_errors = (*WireFormat.parse_errors, StreamInterruptedError)

    build_stream_reply = staticmethod(ollama_server.build_stream_reply)
    encode_frames = staticmethod(ollama_json.encode_ndjson)
    messages = staticmethod(_ollama)
    examples = staticmethod(lambda valid_arguments=False: _ollama_example(valid_arguments))
    invalid_frames = staticmethod(junk.ollama_lines)

    def make_model(self, server: LoopbackServer, **kw: Any) -> Any:
        return ollama_server.make_model(server, **{"api_key": ollama_server.API_KEY, **kw})

    def build_reply(self, text: str = TEXT) -> Reply:
        return ollama_server.build_reply(text)

    def build_text_frames(self, *texts: str) -> tuple[dict[str, Any], ...]:
        return tuple(ollama_json.make_chunk(content=text) for text in texts)

    def normalize_response(self, response: ModelResponse) -> ModelResponse:
        return response

    def is_complete_at(self, stream: bytes, length: int) -> bool:
        return ollama_json.is_complete_stream(stream[:length])

    def check_partial(self, partial: ModelResponse, example: Example) -> None:
        # A call is never split, and the last chunk has the usage and the stop reason.
        calls = example.expected.tool_calls
        assert partial.tool_calls == calls[: len(partial.tool_calls)]
        assert (partial.usage, partial.stop_reason) == ({}, None)

    def build_body(self, content: ResponseContent) -> dict[str, Any]:
        return ollama_json.build_body(content)

    def build_frames(self, content: ResponseContent, split: Split) -> list[Frame]:
        candidate, body = content.first, ollama_json.build_body(content)
        texts, thoughts = split(candidate.text or ""), split(candidate.reasoning or "")
        frames: list[Frame] = [ollama_json.make_chunk(thinking=text) for text in thoughts if text]
        frames += [ollama_json.make_chunk(content=text) for text in texts if text]
        if candidate.calls:
            frames.append(ollama_json.make_chunk(tool_calls=body["message"]["tool_calls"]))
        return [*frames, {**body, "message": {"role": "assistant", "content": ""}}]
