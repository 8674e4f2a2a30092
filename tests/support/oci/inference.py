"""The inference service as a loopback: all three ways in, each in its own format, all verified.

What it is told to say (:class:`Said`) it says in the format it is asked in, so that one script can
be played to any of the models, and to all of them in turn.
"""

from __future__ import annotations

import json
import threading
from collections import deque
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import attrs
import pytest

from locus.models.providers.oci import OCIChatCompletionsModel, OCIModel, OCIResponsesModel
from locus.testing.loopback_server import Received, Reply
from tests.support.oci.cloud import CHAT, COMPARTMENT
from tests.support.oci.credential_services import Services
from tests.support.oci.signed_models import api_key_profile
from tests.support.runtimes import TEXT, WORDS, chunk
from tests.support.servers.responses_server import stream_reply, whole_reply

NATIVE = "/20231130/actions/chat"
RESPONSES = "/openai/v1/responses"
MODEL = "meta.llama-3.3-70b-instruct"
COUNTS = {"promptTokens": 9, "completionTokens": 5, "totalTokens": 14}
USAGE = {"prompt_tokens": 9, "completion_tokens": 5, "total_tokens": 14}
COST = {"prompt_tokens": 9, "completion_tokens": 5}
"""What both come to in a ``ModelResponse``."""

Calls = tuple[tuple[str, dict[str, Any]], ...]
Answer = Reply | Callable[[Received], Reply]


@attrs.frozen
class Said:
    """An answer, in no format yet.

    :param calls: names and arguments; the ids are ``call_{first}`` and so on.
    """

    text: str = TEXT
    calls: Calls = ()
    first: int = 1

    @property
    def words(self) -> tuple[str, ...]:
        return WORDS if self.text == TEXT else (self.text,) if self.text else ()

    def ids(self) -> Iterator[tuple[str, str, str]]:
        """Id, name and arguments of each call."""
        for at, (name, arguments) in enumerate(self.calls, self.first):
            yield f"call_{at}", name, json.dumps(arguments)

    def __call__(self, received: Received) -> Reply:
        body = received.json()
        if received.path == CHAT:
            return self.completion(bool(body.get("stream")))
        if received.path == RESPONSES:
            return self.response(bool(body.get("stream")))
        request = body["chatRequest"]
        kinds = {"GENERIC": self.generic, "COHERE": self.cohere, "COHEREV2": self.cohere_v2}
        return kinds[request["apiFormat"]](bool(request.get("isStream")))

    # The formats.

    def completion(self, stream: bool) -> Reply:
        about = {"id": "chatcmpl-1", "object": "chat.completion", "created": 1, "model": MODEL}
        called = [
            {"index": at, "id": i, "type": "function", "function": {"name": n, "arguments": a}}
            for at, (i, n, a) in enumerate(self.ids())
        ]
        calls = {"tool_calls": called} if called else {}
        finish = "tool_calls" if called else "stop"
        if not stream:
            message = {"role": "assistant", "content": self.text or None, **calls}
            choice = {"index": 0, "message": message, "finish_reason": finish}
            return Reply.json({**about, "choices": [choice], "usage": USAGE})
        deltas: list[dict[str, Any]] = [{"role": "assistant", "content": ""}]
        deltas += [{"content": word} for word in self.words]
        deltas += [calls] if calls else []
        events = [chunk(delta) for delta in deltas] + [chunk(finish=finish)]
        events.append({**chunk(), "choices": [], "usage": USAGE})
        return Reply.sse([{**event, "model": MODEL} for event in events])

    def response(self, stream: bool) -> Reply:
        items: list[dict[str, Any]] = []
        if self.text:
            part = {"type": "output_text", "text": self.text, "annotations": []}
            about = {"type": "message", "role": "assistant", "status": "completed"}
            items.append({"id": "msg_0", "content": [part], **about})
        for at, (i, n, a) in enumerate(self.ids()):
            named = {"id": f"fc_{at}", "call_id": i, "name": n, "arguments": a}
            items.append({"type": "function_call", "status": "completed", **named})
        make = stream_reply if stream else whole_reply
        return make(*items, id=f"resp_{next(_NUMBERS)}", model=MODEL)

    def generic(self, stream: bool) -> Reply:
        called = [
            {"type": "FUNCTION", "id": i, "name": n, "arguments": a} for i, n, a in self.ids()
        ]
        calls = {"toolCalls": called} if called else {}
        finish = "tool_calls" if called else "stop"
        if not stream:
            content = {"content": [_text(self.text)]} if self.text else {}
            message = {"role": "ASSISTANT", **content, **calls}
            choice = {"index": 0, "message": message, "finishReason": finish}
            return _whole({"apiFormat": "GENERIC", "choices": [choice], "usage": COUNTS})
        found: list[dict[str, Any]] = [{"content": [_text(word)]} for word in self.words]
        found += [calls] if calls else []
        events = [{"index": 0, "message": {"role": "ASSISTANT", **delta}} for delta in found]
        events += [{"index": 0, "finishReason": finish}, {"usage": COUNTS}]
        return Reply.sse(events)

    def cohere(self, stream: bool) -> Reply:
        called = [{"name": name, "parameters": arguments} for name, arguments in self.calls]
        calls = {"toolCalls": called} if called else {}
        last = {"apiFormat": "COHERE", "text": self.text, "finishReason": "COMPLETE", **calls}
        if not stream:
            return _whole({**last, "usage": COUNTS})
        pieces = [{"apiFormat": "COHERE", "text": word} for word in self.words]
        return Reply.sse([*pieces, {**last, "usage": COUNTS}], done=False)

    def cohere_v2(self, stream: bool) -> Reply:
        called = [
            {"id": i, "type": "FUNCTION", "function": {"name": n, "arguments": a}}
            for i, n, a in self.ids()
        ]
        calls = {"toolCalls": called} if called else {}
        finish = "TOOL_CALL" if called else "COMPLETE"
        last = {"apiFormat": "COHEREV2", "id": "1", "finishReason": finish, "usage": COUNTS}
        if not stream:
            content = [_text(self.text)] if self.text else []
            message = {"role": "ASSISTANT", "content": content, **calls}
            return _whole({**last, "message": message})
        found: list[dict[str, Any]] = [{"content": [_text(word)]} for word in self.words]
        found += [calls] if calls else []
        events = [{"apiFormat": "COHEREV2", "message": {"role": "ASSISTANT", **d}} for d in found]
        return Reply.sse([*events, last], done=False)


def _text(said: str) -> dict[str, Any]:
    return {"type": "TEXT", "text": said}


def _whole(chat: dict[str, Any]) -> Reply:
    return Reply.json({"modelId": MODEL, "modelVersion": "1.0", "chatResponse": chat})


class _Numbers(Iterator[int]):
    """Counts the answers of a test run; an id is never given twice."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._last = 0

    def __next__(self) -> int:
        with self._lock:
            self._last += 1
            return self._last


_NUMBERS = _Numbers()


def refusal(status: int, code: str, message: str) -> Reply:
    """A refusal in OCI's form."""
    return Reply.json({"code": code, "message": message}, status=status)


class Inference(Services):
    """Answers whoever is let in with what it is told to say, else with ``TEXT``.

    :ivar bearer: the API key of the Generative AI service that is let in unsigned; or None.
    :ivar answered: the requests that were let in.
    """

    def __init__(self) -> None:
        super().__init__()
        self.bearer: str | None = None
        self.answered: list[Received] = []
        self._script: deque[Answer] = deque()
        self._ever: Answer = Said()

    def __enter__(self) -> Any:
        super().__enter__()
        for path in (CHAT, NATIVE, RESPONSES):
            self.server.route("POST", path, self.answer)
        return self

    def says(self, *answers: Answer) -> None:
        """Answer the next requests with these, one each."""
        self._script.extend(answers)

    def always(self, answer: Answer) -> None:
        """Answer all others with this."""
        self._ever = answer

    def answer(self, received: Received) -> Reply:
        if self.bearer is not None and "Signature" not in received.headers["authorization"]:
            if received.headers["authorization"] != f"Bearer {self.bearer}":
                return refusal(401, "NotAuthenticated", "no such key")
        else:
            refused = self.check(received)
            if refused is not None:
                return refused
            if received.headers.get("opc-compartment-id") != COMPARTMENT:
                return refusal(400, "MissingParameter", "no compartment")
        if received.path == NATIVE and received.json()["compartmentId"] != COMPARTMENT:
            return refusal(400, "InvalidParameter", "another compartment")
        return self.next(received)

    def unchecked(self, received: Received) -> Reply:
        """For what the oci package sends by itself: signed, but without the compartment header."""
        return self.check(received) or self.next(received)

    def next(self, received: Received) -> Reply:
        """What is to be said now."""
        with self.lock:
            self.answered.append(received)
            answer = self._script.popleft() if self._script else self._ever
        return answer if isinstance(answer, Reply) else answer(received)

    @property
    def sent(self) -> dict[str, Any]:
        """The JSON that was let in last."""
        body: dict[str, Any] = self.answered[-1].json()
        return body


# -- models of it --------------------------------------------------------------------------------

Make = Callable[..., Any]


def _settled(cloud: Inference, kw: dict[str, Any]) -> dict[str, Any]:
    known = {"compartment_id": COMPARTMENT, "timeout": 10.0, "max_retries": 0}
    return {**known, **kw}


def chat_model(cloud: Inference, model: str = MODEL, **kw: Any) -> OCIChatCompletionsModel:
    if not kw.keys() & {"auth_type", "api_key", "sdk_client"}:
        kw = {"profile": "DEFAULT", **kw}
    kw = {"base_url": f"{cloud.url}/openai/v1", **kw}
    return OCIChatCompletionsModel(model, **_settled(cloud, kw))


def native_model(cloud: Inference, model: str = MODEL, **kw: Any) -> OCIModel:
    if "profile" in kw:
        kw["profile_name"] = kw.pop("profile")
    return OCIModel(model, **_settled(cloud, {"service_endpoint": cloud.url, **kw}))


def cohere_model(cloud: Inference, model: str = "cohere.command-r-plus", **kw: Any) -> OCIModel:
    return native_model(cloud, model, **kw)


def cohere_v2_model(cloud: Inference, model: str = "cohere.command-a-03", **kw: Any) -> OCIModel:
    return native_model(cloud, model, **{"api_format": "COHEREV2", **kw})


def responses_model(cloud: Inference, model: str = MODEL, **kw: Any) -> OCIResponsesModel:
    if not kw.keys() & {"auth_type", "api_key", "sdk_client"}:
        kw = {"profile": "DEFAULT", **kw}
    kw = {"base_url": f"{cloud.url}/openai/v1", **kw}
    return OCIResponsesModel(model, **_settled(cloud, kw))


MODELS: dict[str, Make] = {
    "chat": chat_model,
    "generic": native_model,
    "cohere": cohere_model,
    "cohere2": cohere_v2_model,
    "responses": responses_model,
}
THREE = ("chat", "generic", "responses")
"""One of each class."""


@pytest.fixture
def cloud() -> Iterator[Inference]:
    """The service, which knows the user's API key."""
    with Inference() as cloud:
        cloud.trust("user")
        yield cloud


@pytest.fixture
def profile(tmp_path: Path) -> Path:
    """A home with an API key in the profile DEFAULT; the file."""
    return api_key_profile(tmp_path)
