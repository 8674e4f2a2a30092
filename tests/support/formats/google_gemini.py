"""Google's Gemini API, for the tests of every format.

By https://ai.google.dev/api/generate-content and https://ai.google.dev/api/caching (the contents).
"""

from __future__ import annotations

import json
import re
from typing import Any, ClassVar

import attrs

from locus.core.errors import InternalServerError, RateLimitError
from locus.models.native.gemini import GeminiModel
from locus.testing.formats import (
    ERROR_TEXT,
    FOREVER,
    Frame,
    ReadCall,
    ReadImage,
    ReadMessage,
    ResponseContent,
    Split,
    WireFormat,
    check_call_results,
    decode_base64,
    join_texts,
)
from locus.testing.server import LoopbackServer
from locus.wire.google_gemini import GeminiBuilder, GeminiParser

KEY = "AIza-0123456789"
MODEL = "gemini-3-flash-preview"
MEMBERS = {"systemInstruction", "contents", "tools", "toolConfig", "generationConfig"}


class GoogleGemini(WireFormat):
    """Google's own Gemini API."""

    name = "google_gemini"
    title = "Gemini"
    provider = "gemini"
    builder = GeminiBuilder()
    parser = GeminiParser()
    base_options: ClassVar = {"model": MODEL}
    environment_prefixes = ("GEMINI_", "GOOGLE_")

    path = f"/v1beta/models/{MODEL}:generateContent"
    stream_path = f"/v1beta/models/{MODEL}:streamGenerateContent"
    stream_query = "alt=sse"
    credentials: ClassVar = {"x-goog-api-key": re.compile(KEY)}
    stream_members: ClassVar = {}
    structured_output = "without_tools"

    sent_options: ClassVar = {
        "max_tokens": "generationConfig.maxOutputTokens",
        "temperature": "generationConfig.temperature",
        "top_p": "generationConfig.topP",
        "stop": "generationConfig.stopSequences",
        "seed": "generationConfig.seed",
        "frequency_penalty": "generationConfig.frequencyPenalty",
        "presence_penalty": "generationConfig.presencePenalty",
        "reasoning_effort": {
            "generationConfig.thinkingConfig": {"thinkingLevel": "low", "includeThoughts": True}
        },
        "response_format": {
            "generationConfig.responseMimeType": "application/json",
            "generationConfig.responseJsonSchema": {"type": "object", "title": "zq"},
        },
        "tool_choice": {"toolConfig.functionCallingConfig": {"mode": "NONE"}},
    }

    moves_result_images = True
    id_pattern = re.compile(r".+", re.DOTALL)
    system_position = "first"
    merged_roles = ("user",)
    accepts_blank_text = False
    accepts_image_urls = False
    refusal_form = "part"
    marks_failures = True

    stop_reasons: ClassVar = {
        "STOP": "stop",
        "MAX_TOKENS": "length",
        "SAFETY": "content_filter",
        "RECITATION": "content_filter",
        "BLOCKLIST": "content_filter",
        "PROHIBITED_CONTENT": "content_filter",
        "SPII": "content_filter",
        "OTHER": "other",
    }
    call_stop_reason = "STOP"
    token_counts = ("prompt_tokens", "completion_tokens", "total_tokens", "cached_tokens")
    sends_argument_objects = True
    wants_back = ("c2ln",)  # the signature of the call
    end_frames = ({"candidates": [{"finishReason": "STOP"}]},)
    ignored_frames = (
        {},
        {"candidates": []},
        {"candidates": [{"content": {"role": "model"}}]},
        {"candidates": [{"content": {"parts": [{"text": ""}, {"codeExecutionResult": {}}]}}]},
        {"promptFeedback": {}},
    )
    error_frames = (
        (
            {"error": {"code": 429, "message": "boom", "status": "RESOURCE_EXHAUSTED"}},
            RateLimitError,
            429,
        ),
        (
            {"error": {"code": 500, "message": "boom", "status": "INTERNAL"}},
            InternalServerError,
            500,
        ),
    )
    error_body = (
        {"error": {"code": 429, "message": ERROR_TEXT, "status": "RESOURCE_EXHAUSTED"}},
        RateLimitError,
    )

    def make_model(self, server: LoopbackServer, **kw: Any) -> GeminiModel:
        defaults = {"base_url": f"{server.url}/v1beta", "max_retries": 0, "timeout": FOREVER}
        return GeminiModel(**{"model": MODEL, "api_key": KEY, **defaults, **kw})

    # How to read its requests.

    def read_request(self, body: bytes) -> list[ReadMessage]:
        request = json.loads(body)
        assert request.keys() <= MEMBERS
        messages = []
        if "systemInstruction" in request:
            (part,) = request["systemInstruction"]["parts"]
            messages.append(ReadMessage("system", (part["text"],)))
        for content in request["contents"]:
            assert content.keys() == {"role", "parts"}
            assert content["parts"]
            if content["role"] == "model":
                messages.append(self._read_model(content["parts"]))
            elif "functionResponse" in content["parts"][0]:
                messages += [self._read_result(part) for part in content["parts"]]
            else:
                assert content["role"] == "user"
                parts = tuple(self._read_user_part(part) for part in content["parts"])
                messages.append(ReadMessage("user", parts))
        check_call_results(messages)
        names = {call.id: call.name for message in messages for call in message.calls}
        for message in messages:
            assert message.name == names.get(message.tool_call_id or "")
        return [attrs.evolve(message, name=None) for message in messages]

    def _read_user_part(self, part: dict[str, Any]) -> str | ReadImage:
        if "text" in part:
            assert part.keys() == {"text"}
            assert part["text"]
            text: str = part["text"]
            return text
        assert part.keys() == {"inlineData"}
        image = part["inlineData"]
        assert image.keys() == {"mimeType", "data"}
        return ReadImage(None, decode_base64(image["data"]), image["mimeType"])

    def _read_result(self, part: dict[str, Any]) -> ReadMessage:
        assert part.keys() == {"functionResponse"}
        result = part["functionResponse"]
        assert result.keys() == {"id", "name", "response"}
        ((member, text),) = result["response"].items()
        assert member in ("output", "error")
        return ReadMessage(
            "tool",
            join_texts(text) if text.strip() else (),
            name=result["name"],
            tool_call_id=result["id"],
            failed=member == "error",
        )

    def _read_model(self, parts: list[dict[str, Any]]) -> ReadMessage:
        texts, calls = [], []
        for part in parts:
            assert part.keys() <= {"text", "functionCall", "thought", "thoughtSignature"}
            if "functionCall" not in part:
                assert part["text"] or part["thoughtSignature"]
                texts += [] if part.get("thought") else [part["text"]]
                continue
            call = part["functionCall"]
            assert call.keys() == {"id", "name", "args"}
            assert isinstance(call["args"], dict)
            # Gemini 3 refuses a message whose first call is not signed.
            assert calls or part["thoughtSignature"]
            calls.append(ReadCall(call["id"], call["name"], call["args"]))
        return ReadMessage("assistant", join_texts(*texts), tuple(calls))

    def read_tools(self, body: bytes) -> list[tuple[str, str | None, Any]]:
        return [
            (tool["name"], tool.get("description"), tool["parametersJsonSchema"])
            for group in json.loads(body).get("tools", [])
            for tool in group["functionDeclarations"]
        ]

    # How its server speaks.

    def build_body(self, content: ResponseContent) -> dict[str, Any]:
        candidate = content.first
        parts: list[dict[str, Any]] = []
        if candidate.reasoning:
            parts.append({"text": candidate.reasoning, "thought": True})
        if candidate.text:
            parts.append({"text": candidate.text})
        parts += self._build_call_parts(content) or [{"text": "", "thoughtSignature": "c2ln"}]
        return self._build_chunk(content, parts, candidate.stop)

    def build_frames(self, content: ResponseContent, split: Split) -> list[Frame]:
        candidate = content.first
        parts: list[dict[str, Any]] = [
            {"text": text, "thought": True} for text in split(candidate.reasoning or "")
        ]
        parts += [{"text": text} for text in split(candidate.text or "")]
        parts += self._build_call_parts(content)
        frames: list[Frame] = [self._build_chunk(content, [part]) for part in parts]
        last = [] if candidate.calls else [{"text": "", "thoughtSignature": "c2ln"}]
        return [*frames, self._build_chunk(content, last, candidate.stop)]

    def build_text_frames(self, *texts: str) -> tuple[dict[str, Any], ...]:
        return tuple(
            {"candidates": [{"content": {"role": "model", "parts": [{"text": text}]}}]}
            for text in texts
        )

    def _build_call_parts(self, content: ResponseContent) -> list[dict[str, Any]]:
        """The calls; the first one only is signed."""
        parts: list[dict[str, Any]] = []
        for call in content.first.calls:
            arguments = json.loads(call.text) if call.text.strip() else {}
            function = {"id": call.id, "name": call.name, "args": arguments}
            parts.append(
                {"functionCall": function, **({} if parts else {"thoughtSignature": "c2ln"})}
            )
        return parts

    def _build_chunk(
        self, content: ResponseContent, parts: list[dict[str, Any]], stop: str | None = None
    ) -> dict[str, Any]:
        candidate: dict[str, Any] = {"content": {"role": "model", "parts": parts}, "index": 0}
        if stop is not None:
            candidate["finishReason"] = stop
        usage = {
            "promptTokenCount": content.prompt_tokens,
            "candidatesTokenCount": content.completion_tokens,
            "totalTokenCount": content.total_tokens,
            "cachedContentTokenCount": content.cached_tokens,
        }
        return {
            "candidates": [candidate],
            "modelVersion": content.model,
            "responseId": content.id,
            **({"usageMetadata": usage} if content.usage and stop is not None else {}),
        }
