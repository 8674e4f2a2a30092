"""The base class of OCI's own formats: the model that uses them, and its credentials."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any, ClassVar

import attrs
import pytest

from locus.core.errors import (
    APIStatusError,
    BadRequestError,
    InternalServerError,
    NotFoundError,
    RateLimitError,
)
from locus.models.providers.oci.chat import OCIModel
from locus.testing.formats.spoken_format import ERROR_TEXT, Frame
from locus.testing.formats.strategies.response_contents import ResponseContent
from locus.testing.formats.wire_format import WireFormat
from locus.testing.server import LoopbackServer, Reply
from tests.support.chat_replies import TEXT, TEXT_CHUNKS
from tests.support.timing import FOREVER
from tests.support.wire_json.chat_json import encode_sse

USAGE = {"promptTokens": 9, "completionTokens": 5, "totalTokens": 14}
SAMPLING_MEMBERS = {
    "max_tokens": "maxTokens",
    "temperature": "temperature",
    "top_p": "topP",
    "seed": "seed",
    "frequency_penalty": "frequencyPenalty",
    "presence_penalty": "presencePenalty",
}
"""The members of a ``chatRequest`` that all formats have."""
_PROFILE = "LOOPBACK"


class OCIFormat(WireFormat):
    """A format of ``/actions/chat``."""

    provider = "oci"
    path = "/20231130/actions/chat"
    credentials: ClassVar = {"authorization": re.compile("Signature .+")}
    stream_members: ClassVar = {
        "chatRequest.isStream": True,
        "chatRequest.streamOptions": {"isIncludeUsage": True},
    }
    extra_body_path = "chatRequest"
    environment_prefixes = ("OCI_",)
    usage: ClassVar = {"prompt_tokens": 9, "completion_tokens": 5, "total_tokens": 14}
    marks: ClassVar = (pytest.mark.sdk,)  # requests are signed, and `oci` reads the key
    error_frames = (
        ({"code": "TooManyRequests", "message": "boom"}, RateLimitError, 429),
        ({"code": "InternalServerError", "message": "boom"}, InternalServerError, 500),
        ({"code": "InvalidParameter", "message": "boom"}, BadRequestError, 400),
        ({"code": "NotAuthorizedOrNotFound", "message": "boom"}, NotFoundError, 404),
        ({"code": "400", "message": "boom"}, BadRequestError, 400),
        ({"code": 500, "message": "boom"}, InternalServerError, 500),
        ({"message": "boom"}, APIStatusError, 200),
        ({"error": {"message": "boom", "code": 429}}, RateLimitError, 429),
        ({"error": "boom"}, APIStatusError, 200),
    )
    error_body = ({"code": "TooManyRequests", "message": ERROR_TEXT}, RateLimitError)
    unparsable_bodies: ClassVar = {
        b"<html><body>Bad Gateway</body></html>\n": "<html><body>Bad Gateway</body></html>",
        b"{": "{",
        b"[1]": "[1]",
        b"{}": "{}",
        b'{"chatResponse": 5}': '{"chatResponse": 5}',
    }

    api_format: ClassVar[str]
    """The ``apiFormat`` of requests and responses."""

    def make_model(self, server: LoopbackServer, **kw: Any) -> OCIModel:
        _write_profile(Path.home())
        return OCIModel(
            kw.pop("model", "loop-1"),
            profile_name=_PROFILE,
            service_endpoint=server.url,
            **{"api_format": self.api_format, "timeout": FOREVER, "max_retries": 0, **kw},
        )

    def make_content(self, text: str = TEXT, **more: Any) -> ResponseContent:
        return attrs.evolve(super().make_content(text, **more), model="")  # no stream has one

    def build_reply(self, text: str = TEXT) -> Reply:
        chat_response = {"apiFormat": self.api_format, **self.build_chat_response(text)}
        return Reply.json({"chatResponse": chat_response})  # a stream has no ``modelId`` either

    def build_chat_response(self, text: str) -> dict[str, Any]:
        """Build the ``chatResponse`` of a response with this text."""
        raise NotImplementedError

    def build_stream_reply(self) -> Reply:
        return Reply.sse(
            [*self.build_text_frames(*TEXT_CHUNKS), self.end_frames[0], {"usage": USAGE}]
        )

    def encode_frames(self, *frames: Frame) -> bytes:
        return encode_sse(*frames)


def _write_profile(home: Path) -> None:
    """Write a profile with an API key, unless the home directory has one already."""
    if not (home / ".oci" / "config").exists():
        from tests.support.oci.signed_models import (
            write_api_key_profile,  # skips the test where there is no `oci`
        )

        write_api_key_profile(home, _PROFILE)
