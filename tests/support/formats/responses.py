"""OpenAI's responses, for the tests of every format."""

from __future__ import annotations

from typing import Any, ClassVar

from hypothesis import strategies as st

from locus.core.errors import (
    APIStatusError,
    BadRequestError,
    InternalServerError,
    OverloadedError,
    RateLimitError,
)
from locus.core.response import ModelResponse
from locus.testing.server import Reply
from locus.wire.responses import ResponsesParser
from tests.support import junk
from tests.support.chat_replies import TEXT
from tests.support.formats.format_base import ERROR_TEXT, Example, Format
from tests.support.servers import responses_server
from tests.support.wire_json import responses_json
from tests.support.wire_json.responses_json import make_last_event as end
from tests.support.wire_json.responses_json import make_message_item, make_text_delta


@st.composite
def _responses_example(draw: st.DrawFn, valid_arguments: bool) -> Example:
    response = draw(responses_json.sample_responses(valid_arguments=valid_arguments))
    style = draw(st.sampled_from(responses_json.STYLES))
    return Example(
        responses_json.build_expected_response(response),
        responses_json.build_body(response),
        draw(responses_json.framed_streams(draw(responses_json.stream_events(response, style)))),
        {
            item["call_id"]: item.get("arguments", item.get("input"))
            for item in response.items
            if "call_id" in item
        },
    )


class Responses(Format):
    """OpenAI's responses, stored by the server."""

    name = "responses"
    provider = "loop"
    environment_prefixes = ("OPENAI_",)
    usage = responses_server.USAGE
    parser = ResponsesParser()
    end_frames = (end(output=[]),)  # the items were sent before
    ignored_frames = responses_json.NOISE
    malformed_frames = (
        "{",
        "[]",
        '{"type": "response.completed"}',
        '{"type": "response.completed", "response": 5}',
        '{"type": "response.completed", "response": {"output": {}}}',
        '{"type": "response.incomplete", "response": {"output": [{"type": "reasoning", '
        '"summary": 5}]}}',
        '{"type": "response.completed", "response": {"output": [{"type": "function_call"}]}}',
        '{"type": "response.output_text.delta", "output_index": "one"}',
        '{"type": 5}',
    )
    error_frames = (
        ({"type": "error", "code": "rate_limit_exceeded", "message": "boom"}, RateLimitError, 429),
        ({"type": "error", "code": "server_error", "message": "boom"}, InternalServerError, 500),
        ({"type": "error", "code": None, "message": "boom", "param": None}, APIStatusError, 200),
        (
            {"type": "error", "error": {"type": "invalid_request_error", "message": "boom"}},
            BadRequestError,
            400,
        ),
        ({"error": {"message": "boom", "type": "overloaded_error"}}, OverloadedError, 529),
        ({"code": "429", "message": "boom"}, RateLimitError, 429),
        (end(error={"code": "server_error", "message": "boom"}), InternalServerError, 500),
        (
            end(status="failed", error={"code": "rate_limit_exceeded", "message": "boom"}),
            RateLimitError,
            429,
        ),
        (
            end(status="failed", error={"code": "invalid_prompt", "message": "boom"}),
            BadRequestError,
            400,
        ),
        (
            {"type": "response.failed", "response": {"error": {"message": "boom \ud800"}}},
            APIStatusError,
            200,
        ),
    )
    error_body = ({"error": {"message": ERROR_TEXT, "code": 429}}, RateLimitError)
    unparsable_bodies: ClassVar = {
        b"<html><body>Bad Gateway</body></html>\n": "<html><body>Bad Gateway</body></html>",
        b"{": "{",
        b"[1]": "[1]",
        b'{"output": 5}': '{"output": 5}',
    }

    make_model = staticmethod(responses_server.make_model)
    build_stream_reply = staticmethod(responses_server.build_stream_reply)
    encode_frames = staticmethod(responses_json.encode_sse)
    examples = staticmethod(lambda valid_arguments=False: _responses_example(valid_arguments))
    invalid_frames = staticmethod(junk.responses_events)
    invalid_bodies = staticmethod(junk.responses_bodies)

    def build_reply(self, text: str = TEXT) -> Reply:
        return responses_server.build_reply(make_message_item(text))

    def build_text_frames(self, *texts: str) -> tuple[dict[str, Any], ...]:
        return tuple(make_text_delta(text) for text in texts)

    def is_complete_at(self, stream: bytes, length: int) -> bool:
        return length > stream.rindex(b"}")  # the last one ends the event with the response

    def normalize_response(self, response: ModelResponse) -> ModelResponse:
        return responses_json.remove_native_items(response)

    def check_partial(self, partial: ModelResponse, example: Example) -> None:
        super().check_partial(partial, example)
        assert partial.provider_state is None
