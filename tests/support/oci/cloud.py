"""A loopback OCI that accepts only requests with a valid signature.

Each signature is verified with the public key over the received bytes, as Oracle documents it
("Request Signatures", version 1, after draft-cavage-http-signatures-08): the headers that must be
signed, the digest of the body, the date within five minutes, and the key or token that it names.
"""

from __future__ import annotations

import base64
import hashlib
import re
import threading
import time
from collections.abc import Callable
from email.utils import parsedate_to_datetime
from typing import Any, Self

from locus.testing.server import LoopbackServer, Received, Reply
from tests.support.chat_replies import build_reply, build_stream_reply
from tests.support.oci import crypto
from tests.support.oci.crypto import (
    TENANCY,
    USER,
    InvalidToken,
    compute_fingerprint,
    get_private_key,
    is_valid_signature,
)

COMPARTMENT = "ocid1.compartment.oc1..aaaacompartment"
CHAT_PATH = "/openai/v1/chat/completions"
SIGNED_HEADERS = {"date", "(request-target)", "host"}
SIGNED_BODY_HEADERS = {"content-length", "content-type", "x-content-sha256"}
_PARAMETER_PATTERN = re.compile(r'(\w+)="([^"]*)"')


class RequestRejected(Exception):
    """A request is rejected; the message is the reason."""


def verify_signature(
    received: Received,
    find_public_key: Callable[[str], Any],
    required_headers: set[str] = SIGNED_HEADERS,
) -> tuple[str, list[str]]:
    """Verify the signature of a request; return its key id and the names of the signed headers.

    :param find_public_key: gives the key for a key id, or raises :class:`RequestRejected`.
    :param required_headers: the headers that must be signed.
    :raises RequestRejected: the signature is missing or not valid.
    """
    headers = received.headers
    scheme, _, rest = headers.get("authorization", "").partition(" ")
    if scheme != "Signature":
        raise RequestRejected(f"not signed, but {scheme or 'bare'}")
    parameters = dict(_PARAMETER_PATTERN.findall(rest))
    if (parameters.get("version"), parameters.get("algorithm")) != ("1", "rsa-sha256"):
        raise RequestRejected("another version or algorithm")
    names = parameters["headers"].split()
    has_body = received.method in ("POST", "PUT", "PATCH")
    required = required_headers | SIGNED_BODY_HEADERS if has_body else required_headers
    if len(set(names)) != len(names) or not required <= set(names):
        raise RequestRejected(f"signed are only {names}")
    if has_body:
        digest = base64.b64encode(hashlib.sha256(received.body).digest()).decode()
        if headers["x-content-sha256"] != digest:
            raise RequestRejected("the digest is another body's")
        if headers["content-length"] != str(len(received.body)):
            raise RequestRejected("the length is another body's")
    if abs(parsedate_to_datetime(headers["date"]).timestamp() - time.time()) > 300:
        raise RequestRejected(f"the clock is wrong: {headers['date']}")
    lines = [
        f"{name}: {received.method.lower()} {received.target}"
        if name == "(request-target)"
        else f"{name}: {headers[name]}"
        for name in names
    ]
    signature = base64.b64decode(parameters["signature"])
    if not is_valid_signature(find_public_key(parameters["keyId"]), signature, "\n".join(lines)):
        raise RequestRejected("the signature is wrong")
    return parameters["keyId"], names


class LoopbackCloud:
    """The inference endpoint, and the keys and tokens that it accepts.

    :ivar user_keys: the public keys of API keys, by key id.
    :ivar accepted_key_ids: the key id of each accepted request.
    :ivar rejection_reasons: the reason for each rejected request.
    :ivar signed_headers: the names of the headers in the last signature.
    :ivar revoked_tokens: tokens that are no longer valid, although they have not expired.
    """

    def __init__(self) -> None:
        self.server = LoopbackServer()
        self.user_keys: dict[str, Any] = {}
        self.accepted_key_ids: list[str] = []
        self.rejection_reasons: list[str] = []
        self.signed_headers: list[str] = []
        self.revoked_tokens: set[str] = set()
        self.lock = threading.Lock()

    def __enter__(self) -> Self:
        self.server.start()
        self.server.route("POST", CHAT_PATH, self.reply_to_chat)
        self.server.route("GET", "/openai/v1/models", self.reply_to_models)
        return self

    def __exit__(self, *exc: Any) -> None:
        self.server.__exit__(*exc)

    @property
    def url(self) -> str:
        return self.server.url

    def register_key(self, name: str) -> str:
        """Make the key ``name`` an API key of the user; return its key id."""
        key_id = f"{TENANCY}/{USER}/{compute_fingerprint(get_private_key(name))}"
        self.user_keys[key_id] = get_private_key(name).public_key()
        return key_id

    def find_public_key(self, key_id: str) -> Any:
        """Return the public key for a key id.

        :raises RequestRejected: there is none, or the token is not valid.
        """
        if not key_id.startswith("ST$"):
            if key_id not in self.user_keys:
                raise RequestRejected(f"no such key: {key_id}")
            return self.user_keys[key_id]
        token = key_id.removeprefix("ST$")
        try:
            public_key, claims = crypto.verify_token(token, "auth service")
        except InvalidToken as exc:
            raise RequestRejected(f"not a token of ours: {exc}") from exc
        if claims["exp"] <= time.time():
            raise RequestRejected("the token has expired")
        if token in self.revoked_tokens:
            raise RequestRejected("the token was revoked")
        return public_key

    def find_rejection_reply(self, received: Received) -> Reply | None:
        """Return the error reply for a request, in OCI's format, or None if it is accepted."""
        try:
            key_id, names = verify_signature(received, self.find_public_key)
            if any(name in received.headers for name in ("api-key", "x-api-key")):
                raise RequestRejected("it also has a foreign key")
        except RequestRejected as exc:
            with self.lock:
                self.rejection_reasons.append(str(exc))
            return Reply.json(
                {"code": "NotAuthenticated", "message": f"not authenticated: {exc}"}, status=401
            )
        with self.lock:
            self.accepted_key_ids.append(key_id)
            self.signed_headers = names
        return None

    def reply_to_chat(self, received: Received) -> Reply:
        rejection = self.find_rejection_reply(received)
        if rejection is not None:
            return rejection
        if received.headers.get("opc-compartment-id") != COMPARTMENT:
            return Reply.json({"code": "MissingParameter", "message": "no compartment"}, status=400)
        return build_stream_reply() if received.json().get("stream") else build_reply()

    def reply_to_models(self, received: Received) -> Reply:
        return self.find_rejection_reply(received) or Reply.json({"object": "list", "data": []})
