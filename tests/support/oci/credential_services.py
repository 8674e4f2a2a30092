"""Loopback services that issue credentials to principals: metadata, federation, and others.

They verify their clients, by certificate, key or token, and issue real tokens with a lifetime that
the test sets.
"""

from __future__ import annotations

import base64
import functools
import http.server
import json
import ssl
import threading
from pathlib import Path
from typing import Any, Self

from locus.testing.server import Received, Reply
from tests.support.oci import crypto
from tests.support.oci.cloud import SIGNED_HEADERS, LoopbackCloud, RequestRejected, verify_signature
from tests.support.oci.crypto import (
    TENANCY,
    compute_certificate_fingerprint,
    encode_certificate,
    encode_private_key,
    get_private_key,
    load_certificate,
    load_public_key,
    make_certificate,
)
from tests.support.timing import HANG_SECONDS

RESOURCE_OCID = "ocid1.thing.oc1..aaaaresource"


@functools.cache
def _make_certificates() -> tuple[Any, Any, Any]:
    """Make the certificates of a root CA, of an intermediate CA, and of an instance."""
    ca, intermediate = get_private_key("ca"), get_private_key("intermediate")
    return (
        make_certificate("ca", ca, "ca", ca, ca=True),
        make_certificate("intermediate", intermediate, "ca", ca, ca=True),
        make_certificate(
            "instance",
            get_private_key("instance"),
            "intermediate",
            intermediate,
            tenant=TENANCY,
            instance="ocid1.instance.oc1..aaaainstance",
        ),
    )


class CredentialServices(LoopbackCloud):
    """A cloud with an auth service, a metadata service and resource principals.

    :ivar token_lifetimes: the lifetimes of the next tokens in seconds; the last one is for all
        further tokens.
    :ivar is_open: an event. Until it is set, requests for tokens wait.
    :ivar waiting_count: how many of them wait.
    :ivar failure_status: the error status of the auth service; None if it works.
    :ivar issued_tokens: all tokens that were issued.
    :ivar token_requests: which service was asked for a token, for each request.
    """

    def __init__(self) -> None:
        super().__init__()
        self.token_lifetimes: list[float] = [3600.0]
        self.is_open = threading.Event()
        self.is_open.set()
        self.waiting_count = 0
        self.failure_status: int | None = None
        self.issued_tokens: list[str] = []
        self.token_requests: list[str] = []
        self.ca, self.intermediate, self.instance_certificate = _make_certificates()

    def __enter__(self) -> Self:
        super().__enter__()
        route = self.server.route
        for path, text in {
            "instance/region": "ord",
            "instance/id": "ocid1.instance.oc1..aaaainstance",
            "identity/cert.pem": encode_certificate(self.instance_certificate),
            "identity/key.pem": encode_private_key(get_private_key("instance")),
            "identity/intermediate.pem": encode_certificate(self.intermediate),
        }.items():
            route("GET", f"/opc/v2/{path}", self.make_metadata_handler(text))
        route("POST", "/v1/x509", self.reply_to_federation)
        route("POST", "/v1/authentication/refresh", self.reply_to_refresh)
        route("POST", "/v1/resourcePrincipalSessionToken", self.reply_with_session_token)
        route("GET", "/20180711/*", self.reply_with_resource_token)
        route("GET", "/parent/*", self.reply_with_parent_token)
        return self

    def make_metadata_handler(self, text: str) -> Any:
        def reply_to_metadata(received: Received) -> Reply:
            if received.headers.get("authorization") != "Bearer Oracle":
                return Reply.json({"message": "no"}, status=401)
            return Reply(200, {"content-type": "text/plain"}, text.encode())

        return reply_to_metadata

    def issue_token(self, public_key: Any, **claims: Any) -> str:
        """Issue a token with the next lifetime."""
        with self.lock:
            lifetimes = self.token_lifetimes
            lifetime = lifetimes.pop(0) if len(lifetimes) > 1 else lifetimes[0]
        token = crypto.make_token("auth service", public_key, lifetime, **claims)
        with self.lock:
            self.issued_tokens.append(token)
        return token

    def _find_failure_reply(self, service: str) -> Reply | None:
        """Record the request, and wait; return the error reply, or None if the service works."""
        with self.lock:
            self.token_requests.append(service)
            self.waiting_count += 1
        opened = self.is_open.wait(HANG_SECONDS)
        with self.lock:
            self.waiting_count -= 1
        assert opened, "the auth service was not opened while a request waited for it"
        if self.failure_status is None:
            return None
        return Reply.json(
            {"code": "NotAuthenticated", "message": "the auth service is out of order"},
            status=self.failure_status,
        )

    def reply_to_federation(self, received: Received) -> Reply:
        """Reply to ``/v1/x509``: a token for an instance's certificate."""
        failure = self._find_failure_reply("x509")
        if failure is not None:
            return failure
        body = received.json()
        leaf = load_certificate(body["certificate"])
        intermediate = load_certificate(body["intermediateCertificates"][0])
        leaf.verify_directly_issued_by(intermediate)
        intermediate.verify_directly_issued_by(self.ca)
        certificate_fingerprint = compute_certificate_fingerprint(leaf)

        def find_public_key(key_id: str) -> Any:
            if key_id != f"{TENANCY}/fed-x509/{certificate_fingerprint}":
                raise RequestRejected(f"another certificate: {key_id}")
            return leaf.public_key()

        verify_signature(received, find_public_key, SIGNED_HEADERS - {"host"})
        return Reply.json({"token": self.issue_token(load_public_key(body["publicKey"]))})

    def reply_to_refresh(self, received: Received) -> Reply:
        """Reply to ``/v1/authentication/refresh``: a newer token for the same key."""
        failure = self._find_failure_reply("refresh")
        if failure is not None:
            return failure
        key_id, _ = verify_signature(received, self.find_public_key)
        assert received.json() == {"currentToken": key_id.removeprefix("ST$")}
        return Reply.json({"token": self.issue_token(self.find_public_key(key_id))})

    def reply_with_resource_token(self, received: Received) -> Reply:
        """Reply as the resource's service, with a token that names the resource."""
        failure = self._find_failure_reply("resource")
        if failure is not None:
            return failure

        def find_public_key(key_id: str) -> Any:
            if key_id.startswith("resource/v2.1"):
                assert key_id.endswith(RESOURCE_OCID)
                return get_private_key("resource").public_key()
            return self.find_public_key(key_id)

        verify_signature(received, find_public_key)
        return Reply.json(
            {
                "resourcePrincipalToken": f"rpt of {received.path.rpartition('/')[2]}",
                "servicePrincipalSessionToken": "spst",
            }
        )

    def reply_with_parent_token(self, received: Received) -> Reply:
        """Reply as the parent's service; the resource's token signs the request."""
        verify_signature(received, self.find_public_key)
        self.token_requests.append("parent")
        return Reply.json(
            {"resourcePrincipalToken": "rpt of parent", "servicePrincipalSessionToken": "spst"}
        )

    def reply_with_session_token(self, received: Received) -> Reply:
        """Reply as the auth service, which exchanges the resource's token for a session token."""
        failure = self._find_failure_reply("session")
        if failure is not None:
            return failure
        body = received.json()
        assert body["servicePrincipalSessionToken"] == "spst"
        token = self.issue_token(
            load_public_key(body["sessionPublicKey"]),
            ptype="resource",
            of=body["resourcePrincipalToken"],
        )
        return Reply.json({"token": token})


class Proxymux:
    """Issues tokens to OKE workloads: HTTPS, with a certificate of the cluster's CA.

    :ivar token_count: how many tokens it has issued.
    """

    def __init__(self, cloud: CredentialServices, folder: Path, service_account_token: str) -> None:
        self.token_count = 0
        proxymux = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = json.loads(self.rfile.read(int(self.headers["content-length"])))
                if self.headers["authorization"] != f"Bearer {service_account_token}":
                    self.send_error(403)
                    return
                proxymux.token_count += 1
                token = cloud.issue_token(load_public_key(body["podKey"]), ptype="workload")
                content = base64.b64encode(json.dumps({"token": f"ST${token}"}).encode())
                self.send_response(200)
                self.send_header("content-length", str(len(content)))
                self.end_headers()
                self.wfile.write(content)

            def log_message(self, *args: Any) -> None: ...

        self.ca_file = folder / "ca.crt"
        self.ca_file.write_text(encode_certificate(cloud.ca))
        certificate_file, private_key = folder / "proxymux.pem", get_private_key("proxymux")
        certificate = make_certificate("127.0.0.1", private_key, "ca", get_private_key("ca"))
        certificate_file.write_text(
            encode_certificate(certificate) + encode_private_key(private_key)
        )
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(certificate_file)
        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.server.daemon_threads = True
        self.server.socket = context.wrap_socket(self.server.socket, server_side=True)
        self.port = self.server.server_address[1]
        self.thread = threading.Thread(target=self.server.serve_forever, args=(0.05,))

    def __enter__(self) -> Proxymux:
        self.thread.start()
        return self

    def __exit__(self, *exc: object) -> None:
        self.server.shutdown()
        self.thread.join()
        self.server.server_close()
