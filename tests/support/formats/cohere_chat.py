"""Cohere's own chat API, version 2, for the tests of every format."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from typing import Any, ClassVar

from locus.core.errors import (
    APIStatusError,
    InternalServerError,
    RateLimitError,
)
from locus.models.native.cohere import CohereModel
from locus.testing.formats.spoken_format import ERROR_TEXT, THOUGHT, Frame, Split
from locus.testing.formats.wire_format import WireFormat
from locus.testing.server import LoopbackServer
from locus.wire.cohere_chat import CohereChatBuilder, CohereChatParser
from tests.support.request_readers import read_chat_completions_tools, read_cohere_chat
from tests.support.strategies import ResponseContent
from tests.support.timing import FOREVER

API_KEY = "co-0123456789"


def _event(kind: str, index: int | None = None, **message: Any) -> dict[str, Any]:
    """Build an event with a delta of the message."""
    event: dict[str, Any] = {"type": kind, **({} if index is None else {"index": index})}
    return {**event, "delta": {"message": message}} if message else event


def _end(reason: str = "COMPLETE", usage: Any = None, **members: Any) -> dict[str, Any]:
    delta = {"finish_reason": reason, "usage": usage, **members}
    return {"type": "message-end", "id": "resp", "delta": delta}


def _build_usage(content: ResponseContent) -> dict[str, Any] | None:
    names = {"prompt_tokens": "input_tokens", "completion_tokens": "output_tokens"}
    tokens = {names[name]: count for name, count in content.usage.items() if name in names}
    usage = {"tokens": tokens, "cached_tokens": content.cached_tokens}
    return {name: value for name, value in usage.items() if value not in (None, {})} or None


def _build_call(call: Any, arguments: str) -> dict[str, Any]:
    function = {"name": call.name, "arguments": arguments}
    return {"id": call.id, "type": "function", "function": function}


class CohereChat(WireFormat):
    """Cohere's chat API."""

    name = "cohere_chat"
    title = "Cohere"
    provider = "cohere"
    builder = CohereChatBuilder()
    parser = CohereChatParser()
    base_options: ClassVar = {"model": "command-a-03-2025"}
    path = "/v2/chat"
    credentials: ClassVar = {"authorization": re.compile(f"Bearer {API_KEY}")}
    stream_members: ClassVar = {"stream": True}
    structured_output = "without_tools"
    environment_prefixes = ("CO_API_",)

    read_request = staticmethod(read_cohere_chat)
    read_tools = staticmethod(read_chat_completions_tools)
    sent_options: ClassVar = {
        **{
            name: name
            for name in (
                *("max_tokens", "temperature", "seed"),
                *("frequency_penalty", "presence_penalty"),
            )
        },
        "top_p": "p",
        "stop": "stop_sequences",
        "response_format": {
            "response_format": {
                "type": "json_object",
                "json_schema": {"type": "object", "title": "zq"},
            }
        },
        "tool_choice": {"tool_choice": "NONE"},
        "logprobs": "logprobs",
    }
    moves_result_images = True
    id_pattern = re.compile(r".+", re.DOTALL)
    refusal_form = "part"
    thinking_form = "unsigned"
    marks_failures = True

    stop_reasons: ClassVar = {
        "COMPLETE": "stop",
        "STOP_SEQUENCE": "stop",
        "MAX_TOKENS": "length",
        "TOOL_CALL": "tool_calls",
    }
    call_stop_reason = "TOOL_CALL"
    sends_model = False
    usage: ClassVar = {"prompt_tokens": 9, "completion_tokens": 5}
    token_counts = ("prompt_tokens", "completion_tokens", "cached_tokens")
    wants_back = (THOUGHT,)
    end_frames = (_end(),)
    ignored_frames = (
        {"type": "message-start", "id": "resp", "delta": {"message": {"role": "assistant"}}},
        {"type": "content-start", "index": 0, "delta": {"message": {"content": {"type": "text"}}}},
        {"type": "content-end", "index": 0},
        {"type": "tool-call-end", "index": 0},
        {"type": "citation-end", "index": 0},
        {"type": "debug", "prompt": "x"},
        {"type": "of-next-year", "delta": 5},
    )
    error_frames = (
        ({"message": "boom"}, APIStatusError, 200),
        ({"error": {"message": "boom", "code": 429}}, RateLimitError, 429),
        (_end("ERROR", error="boom"), InternalServerError, 500),
    )
    error_body = ({"error": {"message": ERROR_TEXT, "code": 429}}, RateLimitError)
    unparsable_bodies: ClassVar = {
        **WireFormat.unparsable_bodies,
        b"{}": "{}",
    }

    def make_model(self, server: LoopbackServer, **kw: Any) -> CohereModel:
        kw = {"timeout": FOREVER, "max_retries": 0, **kw}
        model = kw.pop("model", self.base_options["model"])
        return CohereModel(model, API_KEY, server.url, **kw)

    def build_body(self, content: ResponseContent) -> dict[str, Any]:
        candidate = content.first
        contents = []
        if candidate.reasoning:
            contents.append({"type": "thinking", "thinking": candidate.reasoning})
        if candidate.text:
            contents.append({"type": "text", "text": candidate.text})
        message: dict[str, Any] = {"role": "assistant", "content": contents}
        if candidate.calls:
            message["tool_calls"] = [_build_call(call, call.text) for call in candidate.calls]
        return {
            "id": content.id,
            "finish_reason": candidate.stop,
            "message": message,
            "usage": _build_usage(content),
        }

    def build_frames(self, content: ResponseContent, split: Split) -> list[Frame]:
        candidate = content.first
        frames: list[Frame] = [
            {"type": "message-start", "id": content.id, "delta": {"message": {}}}
        ]
        index = 0
        for name, text in (("thinking", candidate.reasoning), ("text", candidate.text)):
            if text:
                frames.append(_event("content-start", index, content={"type": name, name: ""}))
                frames += self._build_content_frames(index, name, split(text))
                frames.append(_event("content-end", index))
                index += 1
        for position, call in enumerate(candidate.calls):
            frames.append(_event("tool-call-start", position, tool_calls=_build_call(call, "")))
            frames += [
                _event(
                    "tool-call-delta", position, tool_calls={"function": {"arguments": arguments}}
                )
                for arguments in split(call.text)
            ]
            frames.append(_event("tool-call-end", position))
        end = _end(candidate.stop or "COMPLETE", _build_usage(content))
        return [*frames, {**end, "id": content.id}]

    def build_text_frames(self, *texts: str) -> tuple[dict[str, Any], ...]:
        return tuple(self._build_content_frames(0, "text", texts))

    def _build_content_frames(
        self, index: int, name: str, texts: Sequence[str]
    ) -> list[dict[str, Any]]:
        return [_event("content-delta", index, content={name: text}) for text in texts]


def encode_events(*events: dict[str, Any]) -> bytes:
    """Encode events as Cohere sends them: each with its name."""
    return b"".join(
        f"event: {event['type']}\ndata: {json.dumps(event)}\n\n".encode() for event in events
    )
