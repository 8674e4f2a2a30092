"""A loopback inference service: all three APIs, each in its own format, signatures verified.

It sends a :class:`ScriptedReply` in the format of the request, so that one script works with any of
the models, and with all of them in turn.
"""

from __future__ import annotations

import json
import threading
from collections import deque
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Self

import attrs
import pytest

from locus.models.providers.oci import OCIChatCompletionsModel, OCIModel, OCIResponsesModel
from locus.testing.server import Received, Reply
from tests.support.chat_replies import TEXT, TEXT_CHUNKS, build_chunk
from tests.support.oci.cloud import CHAT_PATH, COMPARTMENT
from tests.support.oci.credential_services import CredentialServices
from tests.support.oci.signed_models import write_api_key_profile
from tests.support.servers.responses_server import build_reply, build_stream_reply
from tests.support.timing import FOREVER

NATIVE_PATH = "/20231130/actions/chat"
RESPONSES_PATH = "/openai/v1/responses"
MODEL_ID = "meta.llama-3.3-70b-instruct"
OCI_USAGE = {"promptTokens": 9, "completionTokens": 5, "totalTokens": 14}
OPENAI_USAGE = {"prompt_tokens": 9, "completion_tokens": 5, "total_tokens": 14}
EXPECTED_USAGE = OPENAI_USAGE
"""The usage of a ``ModelResponse`` for both of them."""

Calls = tuple[tuple[str, dict[str, Any]], ...]
ReplySource = Reply | Callable[[Received], Reply]


@attrs.frozen
class ScriptedReply:
    """A response, independent of the wire format.

    :param calls: names and arguments of tool calls; the ids are ``call_{first_call_number}`` and so
        on.
    """

    text: str = TEXT
    calls: Calls = ()
    first_call_number: int = 1

    @property
    def text_chunks(self) -> tuple[str, ...]:
        return TEXT_CHUNKS if self.text == TEXT else (self.text,) if self.text else ()

    def number_calls(self) -> Iterator[tuple[str, str, str]]:
        """Yield the id, the name and the arguments of each call."""
        for number, (name, arguments) in enumerate(self.calls, self.first_call_number):
            yield f"call_{number}", name, json.dumps(arguments)

    def __call__(self, received: Received) -> Reply:
        body = received.json()
        if received.path == CHAT_PATH:
            return self.build_chat_completion(bool(body.get("stream")))
        if received.path == RESPONSES_PATH:
            return self.build_response(bool(body.get("stream")))
        request = body["chatRequest"]
        builders = {
            "GENERIC": self.build_generic,
            "COHERE": self.build_cohere_v1,
            "COHEREV2": self.build_cohere_v2,
        }
        return builders[request["apiFormat"]](bool(request.get("isStream")))

    # The formats.

    def build_chat_completion(self, stream: bool) -> Reply:
        head = {"id": "chatcmpl-1", "object": "chat.completion", "created": 1, "model": MODEL_ID}
        calls = [
            {
                "index": index,
                "id": call_id,
                "type": "function",
                "function": {"name": name, "arguments": arguments},
            }
            for index, (call_id, name, arguments) in enumerate(self.number_calls())
        ]
        tool_calls = {"tool_calls": calls} if calls else {}
        finish_reason = "tool_calls" if calls else "stop"
        if not stream:
            message = {"role": "assistant", "content": self.text or None, **tool_calls}
            choice = {"index": 0, "message": message, "finish_reason": finish_reason}
            return Reply.json({**head, "choices": [choice], "usage": OPENAI_USAGE})
        deltas: list[dict[str, Any]] = [{"role": "assistant", "content": ""}]
        deltas += [{"content": text} for text in self.text_chunks]
        deltas += [tool_calls] if tool_calls else []
        chunks = [build_chunk(delta) for delta in deltas] + [
            build_chunk(finish_reason=finish_reason)
        ]
        chunks.append({**build_chunk(), "choices": [], "usage": OPENAI_USAGE})
        return Reply.sse([{**chunk, "model": MODEL_ID} for chunk in chunks])

    def build_response(self, stream: bool) -> Reply:
        items: list[dict[str, Any]] = []
        if self.text:
            part = {"type": "output_text", "text": self.text, "annotations": []}
            head = {"type": "message", "role": "assistant", "status": "completed"}
            items.append({"id": "msg_0", "content": [part], **head})
        for index, (call_id, name, arguments) in enumerate(self.number_calls()):
            call = {"id": f"fc_{index}", "call_id": call_id, "name": name, "arguments": arguments}
            items.append({"type": "function_call", "status": "completed", **call})
        build = build_stream_reply if stream else build_reply
        return build(*items, id=f"resp_{next(_response_numbers)}", model=MODEL_ID)

    def build_generic(self, stream: bool) -> Reply:
        calls = [
            {"type": "FUNCTION", "id": call_id, "name": name, "arguments": arguments}
            for call_id, name, arguments in self.number_calls()
        ]
        tool_calls = {"toolCalls": calls} if calls else {}
        finish_reason = "tool_calls" if calls else "stop"
        if not stream:
            content = {"content": [_build_text_part(self.text)]} if self.text else {}
            message = {"role": "ASSISTANT", **content, **tool_calls}
            choice = {"index": 0, "message": message, "finishReason": finish_reason}
            return _build_chat_result(
                {"apiFormat": "GENERIC", "choices": [choice], "usage": OCI_USAGE}
            )
        deltas: list[dict[str, Any]] = [
            {"content": [_build_text_part(text)]} for text in self.text_chunks
        ]
        deltas += [tool_calls] if tool_calls else []
        chunks = [{"index": 0, "message": {"role": "ASSISTANT", **delta}} for delta in deltas]
        chunks += [{"index": 0, "finishReason": finish_reason}, {"usage": OCI_USAGE}]
        return Reply.sse(chunks)

    def build_cohere_v1(self, stream: bool) -> Reply:
        calls = [{"name": name, "parameters": arguments} for name, arguments in self.calls]
        tool_calls = {"toolCalls": calls} if calls else {}
        last_chunk = {
            "apiFormat": "COHERE",
            "text": self.text,
            "finishReason": "COMPLETE",
            **tool_calls,
        }
        if not stream:
            return _build_chat_result({**last_chunk, "usage": OCI_USAGE})
        chunks = [{"apiFormat": "COHERE", "text": text} for text in self.text_chunks]
        return Reply.sse([*chunks, {**last_chunk, "usage": OCI_USAGE}], done=False)

    def build_cohere_v2(self, stream: bool) -> Reply:
        calls = [
            {"id": call_id, "type": "FUNCTION", "function": {"name": name, "arguments": arguments}}
            for call_id, name, arguments in self.number_calls()
        ]
        tool_calls = {"toolCalls": calls} if calls else {}
        last_chunk = {
            "apiFormat": "COHEREV2",
            "id": "1",
            "finishReason": "TOOL_CALL" if calls else "COMPLETE",
            "usage": OCI_USAGE,
        }
        if not stream:
            content = [_build_text_part(self.text)] if self.text else []
            message = {"role": "ASSISTANT", "content": content, **tool_calls}
            return _build_chat_result({**last_chunk, "message": message})
        deltas: list[dict[str, Any]] = [
            {"content": [_build_text_part(text)]} for text in self.text_chunks
        ]
        deltas += [tool_calls] if tool_calls else []
        chunks = [
            {"apiFormat": "COHEREV2", "message": {"role": "ASSISTANT", **delta}} for delta in deltas
        ]
        return Reply.sse([*chunks, last_chunk], done=False)


def _build_text_part(text: str) -> dict[str, Any]:
    return {"type": "TEXT", "text": text}


def _build_chat_result(chat_response: dict[str, Any]) -> Reply:
    return Reply.json({"modelId": MODEL_ID, "modelVersion": "1.0", "chatResponse": chat_response})


class _ThreadSafeCounter(Iterator[int]):
    """Numbers the responses of a test run, so that no id is used twice."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._last = 0

    def __next__(self) -> int:
        with self._lock:
            self._last += 1
            return self._last


_response_numbers = _ThreadSafeCounter()


def make_error_reply(status: int, code: str, message: str) -> Reply:
    """Make an error in OCI's format."""
    return Reply.json({"code": code, "message": message}, status=status)


class InferenceCloud(CredentialServices):
    """Replies to accepted requests with the queued replies, then with a default one (``TEXT``).

    :ivar bearer_key: the API key of the Generative AI service that needs no signature; or None.
    :ivar accepted_requests: the requests that were accepted.
    """

    def __init__(self) -> None:
        super().__init__()
        self.bearer_key: str | None = None
        self.accepted_requests: list[Received] = []
        self._queued_replies: deque[ReplySource] = deque()
        self._default_reply: ReplySource = ScriptedReply()

    def __enter__(self) -> Self:
        super().__enter__()
        for path in (CHAT_PATH, NATIVE_PATH, RESPONSES_PATH):
            self.server.route("POST", path, self.reply_to_inference)
        return self

    def queue_replies(self, *replies: ReplySource) -> None:
        """Reply to the next requests with these, one each."""
        self._queued_replies.extend(replies)

    def set_default_reply(self, reply: ReplySource) -> None:
        """Reply with this whenever the queue is empty."""
        self._default_reply = reply

    def reply_to_inference(self, received: Received) -> Reply:
        if self.bearer_key is not None and "Signature" not in received.headers["authorization"]:
            if received.headers["authorization"] != f"Bearer {self.bearer_key}":
                return make_error_reply(401, "NotAuthenticated", "no such key")
        else:
            rejection = self.find_rejection_reply(received)
            if rejection is not None:
                return rejection
            if received.headers.get("opc-compartment-id") != COMPARTMENT:
                return make_error_reply(400, "MissingParameter", "no compartment")
        if received.path == NATIVE_PATH and received.json()["compartmentId"] != COMPARTMENT:
            return make_error_reply(400, "InvalidParameter", "another compartment")
        return self.record_and_get_reply(received)

    def reply_without_compartment(self, received: Received) -> Reply:
        """Reply to the ``oci`` package: its requests are signed, but have no compartment header."""
        return self.find_rejection_reply(received) or self.record_and_get_reply(received)

    def record_and_get_reply(self, received: Received) -> Reply:
        """Record the request; return the next reply of the queue, or the default one."""
        with self.lock:
            self.accepted_requests.append(received)
            reply = self._queued_replies.popleft() if self._queued_replies else self._default_reply
        return reply if isinstance(reply, Reply) else reply(received)

    @property
    def last_body(self) -> dict[str, Any]:
        """The JSON body of the last accepted request."""
        body: dict[str, Any] = self.accepted_requests[-1].json()
        return body


# -- models that use it --------------------------------------------------------------------------

ModelFactory = Callable[..., Any]


def _add_defaults(cloud: InferenceCloud, kw: dict[str, Any]) -> dict[str, Any]:
    defaults = {"compartment_id": COMPARTMENT, "timeout": FOREVER, "max_retries": 0}
    return {**defaults, **kw}


def make_chat_completions_model(
    cloud: InferenceCloud, model: str = MODEL_ID, **kw: Any
) -> OCIChatCompletionsModel:
    if not kw.keys() & {"auth_type", "api_key", "sdk_client"}:
        kw = {"profile": "DEFAULT", **kw}
    kw = {"base_url": f"{cloud.url}/openai/v1", **kw}
    return OCIChatCompletionsModel(model, **_add_defaults(cloud, kw))


def make_generic_model(cloud: InferenceCloud, model: str = MODEL_ID, **kw: Any) -> OCIModel:
    if "profile" in kw:
        kw["profile_name"] = kw.pop("profile")
    return OCIModel(model, **_add_defaults(cloud, {"service_endpoint": cloud.url, **kw}))


def make_cohere_v1_model(
    cloud: InferenceCloud, model: str = "cohere.command-r-plus", **kw: Any
) -> OCIModel:
    return make_generic_model(cloud, model, **kw)


def make_cohere_v2_model(
    cloud: InferenceCloud, model: str = "cohere.command-a-03", **kw: Any
) -> OCIModel:
    return make_generic_model(cloud, model, **{"api_format": "COHEREV2", **kw})


def make_responses_model(
    cloud: InferenceCloud, model: str = MODEL_ID, **kw: Any
) -> OCIResponsesModel:
    if not kw.keys() & {"auth_type", "api_key", "sdk_client"}:
        kw = {"profile": "DEFAULT", **kw}
    kw = {"base_url": f"{cloud.url}/openai/v1", **kw}
    return OCIResponsesModel(model, **_add_defaults(cloud, kw))


MODEL_FACTORIES: dict[str, ModelFactory] = {
    "chat": make_chat_completions_model,
    "generic": make_generic_model,
    "cohere": make_cohere_v1_model,
    "cohere2": make_cohere_v2_model,
    "responses": make_responses_model,
}
ONE_PER_CLASS = ("chat", "generic", "responses")
"""One model of each class."""


@pytest.fixture
def cloud() -> Iterator[InferenceCloud]:
    """Start the service, with the API key of the user registered."""
    with InferenceCloud() as cloud:
        cloud.register_key("user")
        yield cloud


@pytest.fixture
def profile(tmp_path: Path) -> Path:
    """Write the config file, with an API key in the profile DEFAULT."""
    return write_api_key_profile(tmp_path)
