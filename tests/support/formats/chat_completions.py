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
from tests.support import junk
from tests.support.chat_replies import build_reply, build_stream_reply
from tests.support.formats.description import SLOW, Example, Format
from tests.support.servers.openai_server import make_model
from tests.support.strategies import answers
from tests.support.wire_json import chat_json


@st.composite
def _chat_example(draw: st.DrawFn, valid_arguments: bool) -> Example:
    answered = draw(
        answers(max_candidates=3, custom=not valid_arguments, valid_arguments=valid_arguments)
    )
    chunks = draw(chat_json.stream_chunks(answered))
    return Example(
        chat_json.build_expected_response(answered),
        chat_json.build_body(answered),
        draw(chat_json.framed_streams(chunks, done=draw(st.booleans()))),
        {call.id: call.text for call in answered.first.calls},
    )


class ChatCompletions(Format):
    """OpenAI's chat completions."""

    name = provider = "openai"
    variables = ("OPENAI_",)
    usage: ClassVar = {"prompt_tokens": 9, "completion_tokens": 5}
    parser = ChatCompletionsParser()
    ending = (chat_json.make_delta_chunk({}, "stop"), "[DONE]")
    noise = chat_json.NOISE
    broken = ("{", "[]", '{"choices": {}}', "hello", '{"choices": [null]}')
    errors = (
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
    refusal = ({"error": {"message": SLOW, "code": 429}}, RateLimitError)
    pages: ClassVar = {
        b"<html><body>Bad Gateway</body></html>\n": "<html><body>Bad Gateway</body></html>",
        b"{": "{",
        b"[1]": "[1]",
        b'{"choices": 5}': '{"choices": 5}',
    }

    model_of = staticmethod(make_model)
    whole = staticmethod(build_reply)
    streamed = staticmethod(build_stream_reply)
    frames = staticmethod(chat_json.encode_sse)
    examples = staticmethod(lambda valid_arguments=False: _chat_example(valid_arguments))
    odd_frames = staticmethod(junk.chat_chunks)

    def said(self, *words: str) -> tuple[dict[str, Any], ...]:
        return tuple(chat_json.make_delta_chunk({"content": word}) for word in words)

    def ended(self, stream: bytes, cut: int) -> bool:
        return chat_json.is_complete_stream(stream[:cut])

    def check_cut(self, answer: ModelResponse, example: Example) -> None:
        # The bill comes after the reason to stop, which is enough.
        assert answer.usage in ({}, example.expected.usage)
        super().check_cut(attrs.evolve(answer, usage=example.expected.usage), example)
