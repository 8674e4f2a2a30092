"""OpenAI's chat completions, for the tests of every format."""

from __future__ import annotations

import json
import re
from typing import Any, ClassVar

import attrs
from hypothesis import strategies as st

from locus.core.errors import (
    APIStatusError,
    InternalServerError,
    OverloadedError,
    RateLimitError,
)
from locus.core.messages import Message
from locus.core.response import ModelResponse
from locus.testing.formats.framing import interleave
from locus.testing.formats.spoken_format import ERROR_TEXT, THOUGHT, Example, Frame, Split
from locus.testing.formats.wire_format import WireFormat
from locus.wire.chat_completions import ChatCompletionsBuilder, ChatCompletionsParser
from tests.support import chat_replies, junk, request_readers
from tests.support.genuine_responses import OPENAI_ID, number_calls
from tests.support.servers import openai_server
from tests.support.strategies import ResponseContent, byte_splits, response_contents
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


@st.composite
def _chat_completions(draw: st.DrawFn, first_number: int) -> Message:
    style = draw(st.sampled_from([None, None, "openai", "noids", "complete", "names"]))
    # A name in every fragment, and nobody can tell "{}{}" from two calls.
    sample = draw(
        number_calls(
            draw(response_contents(valid_arguments=style == "names")), first_number, OPENAI_ID
        )
    )
    if style is None:
        body = json.dumps(chat_json.build_body(sample, with_ids=draw(st.booleans())))
        return ChatCompletionsParser().parse(body).message
    chunks = draw(chat_json.stream_chunks(sample, style))
    return chat_json.decode_response(
        draw(byte_splits(draw(chat_json.framed_streams(chunks))))
    ).message


class ChatCompletions(WireFormat):
    """OpenAI's chat completions."""

    name = "chat_completions"
    title = "chat completions"
    provider = "openai"
    prefixes = ("local",)
    builder = ChatCompletionsBuilder()
    base_options: ClassVar = {"model": "gpt-4o"}
    path = "/v1/chat/completions"
    credentials: ClassVar = {"authorization": re.compile(f"Bearer {openai_server.API_KEY}")}
    stream_members: ClassVar = {"stream": True, "stream_options": {"include_usage": True}}
    structured_output = "always"

    read_request = staticmethod(request_readers.read_chat_completions)
    read_tools = staticmethod(request_readers.read_chat_completions_tools)
    sent_options: ClassVar = {
        **{
            name: name
            for name in (
                *("max_tokens", "temperature", "top_p", "stop", "seed", "response_format"),
                *("frequency_penalty", "presence_penalty", "tool_choice", "parallel_tool_calls"),
                *("reasoning_effort", "verbosity", "n", "logprobs", "top_logprobs", "logit_bias"),
                *("modalities", "prediction", "service_tier", "store", "metadata", "user"),
                *("prompt_cache_key", "safety_identifier"),
            )
        }
    }
    # OpenAI: "string too long. Expected a string with maximum length 40"
    moves_result_images = True
    id_pattern = re.compile(r".{1,40}", re.DOTALL)
    refusal_form = "apart"
    keeps_names = True

    stop_reasons: ClassVar = {
        "stop": "stop",
        "length": "length",
        "tool_calls": "tool_calls",
        "content_filter": "content_filter",
    }
    token_counts = ("prompt_tokens", "completion_tokens", "cached_tokens", "reasoning_tokens")
    sends_refusals = True
    environment_prefixes = ("OPENAI_",)
    usage: ClassVar = {"prompt_tokens": 9, "completion_tokens": 5, "total_tokens": 14}
    parser = ChatCompletionsParser()
    wants_back = (THOUGHT,)
    end_frames = (chat_json.make_delta_chunk({}, "stop"), "[DONE]")
    ignored_frames = chat_json.NOISE
    malformed_frames = ("{", "[3]", "hello", '{"choices": [null]}')
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
    messages = staticmethod(_chat_completions)
    examples = staticmethod(lambda valid_arguments=False: _chat_example(valid_arguments))
    invalid_frames = staticmethod(junk.chat_chunks)

    def build_text_frames(self, *texts: str) -> tuple[dict[str, Any], ...]:
        return tuple(chat_json.make_delta_chunk({"content": text}) for text in texts)

    def normalize_response(self, response: ModelResponse) -> ModelResponse:
        return response

    def is_complete_at(self, stream: bytes, length: int) -> bool:
        return chat_json.is_complete_stream(stream[:length])

    def check_response_without_end(self, response: ModelResponse, example: Example) -> None:
        # Token counts follow the finish reason, which already completes the response.
        assert response.usage in ({}, example.expected.usage)
        super().check_response_without_end(
            attrs.evolve(response, usage=example.expected.usage), example
        )

    def build_body(self, content: ResponseContent) -> dict[str, Any]:
        return chat_json.build_body(content)

    def build_frames(self, content: ResponseContent, split: Split) -> list[Frame]:
        candidate = content.first
        deltas: list[dict[str, Any]] = [{"role": "assistant", "content": ""}]
        deltas += [{"reasoning_content": text} for text in split(candidate.reasoning or "")]
        deltas += [{"content": text} for text in split(candidate.text or "")]
        deltas += [{"refusal": text} for text in split(candidate.refusal or "")]
        calls = []
        for index, call in enumerate(candidate.calls):
            first, *others = split(call.text)
            head = {"index": index, "id": call.id, "type": "function"}
            calls.append([{**head, "function": {"name": call.name, "arguments": first}}])
            calls[-1] += [{"index": index, "function": {"arguments": text}} for text in others]
        deltas += [{"tool_calls": [call]} for call in interleave(*calls)]
        chunks = [chat_json.make_delta_chunk(delta) for delta in deltas]
        chunks.append(chat_json.make_delta_chunk({}, candidate.stop))
        if content.usage:
            chunks.append({"choices": [], "usage": chat_json.build_usage(content)})
        return [
            *({**chunk, "id": content.id, "model": content.model} for chunk in chunks),
            "[DONE]",
        ]
