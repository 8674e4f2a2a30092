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
from locus.testing.formats import CallContent
from locus.testing.formats.spoken_format import split_into_chunks
from locus.testing.server import Received, Reply
from tests.support.chat_replies import TEXT
from tests.support.formats import FORMATS_BY_NAME
from tests.support.oci.cloud import CHAT_PATH, COMPARTMENT
from tests.support.oci.credential_services import CredentialServices
from tests.support.oci.signed_models import write_api_key_profile
from tests.support.timing import FOREVER

NATIVE_PATH = "/20231130/actions/chat"
RESPONSES_PATH = "/openai/v1/responses"
MODEL_ID = "meta.llama-3.3-70b-instruct"
EXPECTED_USAGE = {"prompt_tokens": 9, "completion_tokens": 5, "total_tokens": 14}
"""The usage of each response."""

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

    def __call__(self, received: Received) -> Reply:
        body = received.json()
        if received.path == CHAT_PATH:
            return self.build("chat_completions", bool(body.get("stream")))
        if received.path == RESPONSES_PATH:
            return self.build("responses", bool(body.get("stream")))
        request = body["chatRequest"]
        return self.build(_FORMATS[request["apiFormat"]], bool(request.get("isStream")))

    def build(self, format_name: str, stream: bool) -> Reply:
        """Build the reply as a server of the format sends it."""
        wire = FORMATS_BY_NAME[format_name]
        calls = tuple(
            CallContent(f"call_{number}", name, json.dumps(arguments))
            for number, (name, arguments) in enumerate(self.calls, self.first_call_number)
        )
        content = attrs.evolve(
            wire.make_content(self.text, calls=calls),
            id=f"resp_{next(_response_numbers)}",
            model=MODEL_ID,
        )
        if not stream:
            return wire.make_body_reply(wire.build_body(content))
        return wire.make_stream_reply(*wire.build_frames(content, split_into_chunks))


_FORMATS = {"GENERIC": "oci_generic", "COHERE": "oci_cohere", "COHEREV2": "oci_cohere_v2"}
"""The records of Oracle's formats, by ``apiFormat``."""


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
