"""A loopback OCI: it answers what is properly signed, and nothing else.

Each signature is verified with the public key over what arrived, as Oracle documents it ("Request
Signatures", version 1, after draft-cavage-http-signatures-08): the headers that must be signed,
the digest of the body, the date within five minutes, and the key or token that it names.
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

from locus.testing.loopback_server import LoopbackServer, Received, Reply
from tests.support.oci import crypto
from tests.support.oci.crypto import TENANCY, USER, Forged, fingerprint, is_signed, key
from tests.support.runtimes import streamed, whole

COMPARTMENT = "ocid1.compartment.oc1..aaaacompartment"
CHAT = "/openai/v1/chat/completions"
SIGNED = {"date", "(request-target)", "host"}
SIGNED_BODY = {"content-length", "content-type", "x-content-sha256"}
_PARAMETER = re.compile(r'(\w+)="([^"]*)"')


class Refused(Exception):
    """Why a request is not let in."""


def verify(
    received: Received, public_key: Callable[[str], Any], signed: set[str] = SIGNED
) -> tuple[str, list[str]]:
    """The key id of a request whose signature is right, and the headers it is over.

    :param public_key: the key that belongs to a key id; raises :class:`Refused`.
    :raises Refused: it is not.
    """
    headers = received.headers
    scheme, _, rest = headers.get("authorization", "").partition(" ")
    if scheme != "Signature":
        raise Refused(f"not signed, but {scheme or 'bare'}")
    said = dict(_PARAMETER.findall(rest))
    if (said.get("version"), said.get("algorithm")) != ("1", "rsa-sha256"):
        raise Refused("another version or algorithm")
    names = said["headers"].split()
    wanted = signed | SIGNED_BODY if received.method in ("POST", "PUT", "PATCH") else signed
    if len(set(names)) != len(names) or not wanted <= set(names):
        raise Refused(f"signed are only {names}")
    if received.method in ("POST", "PUT", "PATCH"):
        digest = base64.b64encode(hashlib.sha256(received.body).digest()).decode()
        if headers["x-content-sha256"] != digest:
            raise Refused("the digest is another body's")
        if headers["content-length"] != str(len(received.body)):
            raise Refused("the length is another body's")
    if abs(parsedate_to_datetime(headers["date"]).timestamp() - time.time()) > 300:
        raise Refused(f"the clock is wrong: {headers['date']}")
    lines = [
        f"{name}: {received.method.lower()} {received.target}"
        if name == "(request-target)"
        else f"{name}: {headers[name]}"
        for name in names
    ]
    signature = base64.b64decode(said["signature"])
    if not is_signed(public_key(said["keyId"]), signature, "\n".join(lines)):
        raise Refused("the signature is wrong")
    return said["keyId"], names


class Cloud:
    """The inference endpoint, and the keys and tokens that it knows.

    :ivar users: the public keys of API keys, by key id.
    :ivar accepted: the key id of each request that was let in.
    :ivar refused: why each of the others was not.
    :ivar signed: the headers that the last signature was over.
    :ivar distrusted: tokens that are no longer good, although they have not expired.
    """

    def __init__(self) -> None:
        self.server = LoopbackServer()
        self.users: dict[str, Any] = {}
        self.accepted: list[str] = []
        self.refused: list[str] = []
        self.signed: list[str] = []
        self.distrusted: set[str] = set()
        self.lock = threading.Lock()

    def __enter__(self) -> Self:
        self.server.start()
        self.server.route("POST", CHAT, self.chat)
        self.server.route("GET", "/openai/v1/models", self.models)
        return self

    def __exit__(self, *exc: Any) -> None:
        self.server.__exit__(*exc)

    @property
    def url(self) -> str:
        return self.server.url

    def trust(self, name: str) -> str:
        """Make the key ``name`` an API key of the user; its key id."""
        key_id = f"{TENANCY}/{USER}/{fingerprint(key(name))}"
        self.users[key_id] = key(name).public_key()
        return key_id

    def public_key(self, key_id: str) -> Any:
        """The public key that belongs to a key id."""
        if not key_id.startswith("ST$"):
            if key_id not in self.users:
                raise Refused(f"no such key: {key_id}")
            return self.users[key_id]
        token = key_id.removeprefix("ST$")
        try:
            public, claims = crypto.claims_of(token, "auth service")
        except Forged as error:
            raise Refused(f"not a token of ours: {error}") from error
        if claims["exp"] <= time.time():
            raise Refused("the token has expired")
        if token in self.distrusted:
            raise Refused("the token was revoked")
        return public

    def check(self, received: Received) -> Reply | None:
        """The refusal that a request deserves, in OCI's form; None lets it in."""
        try:
            key_id, names = verify(received, self.public_key)
            if any(name in received.headers for name in ("api-key", "x-api-key")):
                raise Refused("a foreign key came along")
        except Refused as why:
            with self.lock:
                self.refused.append(str(why))
            return Reply.json(
                {"code": "NotAuthenticated", "message": f"not authenticated: {why}"}, status=401
            )
        with self.lock:
            self.accepted.append(key_id)
            self.signed = names
        return None

    def chat(self, received: Received) -> Reply:
        refusal = self.check(received)
        if refusal is not None:
            return refusal
        if received.headers.get("opc-compartment-id") != COMPARTMENT:
            return Reply.json({"code": "MissingParameter", "message": "no compartment"}, status=400)
        return streamed() if received.json().get("stream") else whole()

    def models(self, received: Received) -> Reply:
        return self.check(received) or Reply.json({"object": "list", "data": []})
