"""The services that give principals their credentials: metadata, federation, and their kin.

They verify whoever asks, by certificate, key or token, and issue real tokens, whose lives are as
short as the test says.
"""

from __future__ import annotations

import base64
import functools
import http.server
import json
import ssl
import threading
import time
from pathlib import Path
from typing import Any

from locus.testing.loopback_server import Received, Reply
from tests.support.oci import crypto
from tests.support.oci.cloud import SIGNED, Cloud, Refused, verify
from tests.support.oci.crypto import (
    TENANCY,
    cert_pem,
    certificate,
    certificate_of,
    key,
    mark_of,
    pem,
    public_of,
)

RESOURCE = "ocid1.thing.oc1..aaaaresource"


@functools.cache
def _certificates() -> tuple[Any, Any, Any]:
    """The authority's, an intermediate one, and that of an instance of the tenancy."""
    ca, between = key("ca"), key("intermediate")
    return (
        certificate("ca", ca, "ca", ca, ca=True),
        certificate("intermediate", between, "ca", ca, ca=True),
        certificate(
            "instance",
            key("instance"),
            "intermediate",
            between,
            tenant=TENANCY,
            instance="ocid1.instance.oc1..aaaainstance",
        ),
    )


class Services(Cloud):
    """A cloud whose auth service, metadata service and resource principals work as well.

    :ivar lives: how many seconds the next tokens live; the last of them holds for all others.
    :ivar delay: how many seconds issuing one takes.
    :ivar broken: what the auth service answers instead, as a status; or None.
    :ivar issued: every token that it issued.
    """

    def __init__(self) -> None:
        super().__init__()
        self.lives: list[float] = [3600.0]
        self.delay = 0.0
        self.broken: int | None = None
        self.issued: list[str] = []
        self.asked: list[str] = []
        self.ca, self.intermediate, self.leaf = _certificates()

    def __enter__(self) -> Any:
        super().__enter__()
        route = self.server.route
        for path, text in {
            "instance/region": "ord",
            "instance/id": "ocid1.instance.oc1..aaaainstance",
            "identity/cert.pem": cert_pem(self.leaf),
            "identity/key.pem": pem(key("instance")),
            "identity/intermediate.pem": cert_pem(self.intermediate),
        }.items():
            route("GET", f"/opc/v2/{path}", self.metadata(text))
        route("POST", "/v1/x509", self.federation)
        route("POST", "/v1/authentication/refresh", self.refresh)
        route("POST", "/v1/resourcePrincipalSessionToken", self.session_token)
        route("GET", "/20180711/*", self.resource_token)
        route("GET", "/parent/*", self.parent_token)
        return self

    def metadata(self, text: str) -> Any:
        def answer(received: Received) -> Reply:
            if received.headers.get("authorization") != "Bearer Oracle":
                return Reply.json({"message": "no"}, status=401)
            return Reply(200, {"content-type": "text/plain"}, text.encode())

        return answer

    def issue(self, public: Any, **claims: Any) -> str:
        """A token, when it is time for one."""
        with self.lock:
            life = self.lives.pop(0) if len(self.lives) > 1 else self.lives[0]
        made = crypto.token("auth service", public, life, **claims)
        with self.lock:
            self.issued.append(made)
        return made

    def _before(self, what: str) -> Reply | None:
        with self.lock:
            self.asked.append(what)
        time.sleep(self.delay)
        if self.broken is None:
            return None
        return Reply.json(
            {"code": "NotAuthenticated", "message": "the auth service is out of order"},
            status=self.broken,
        )

    def federation(self, received: Received) -> Reply:
        """``/v1/x509``: a token for an instance's certificate."""
        failing = self._before("x509")
        if failing is not None:
            return failing
        body = received.json()
        leaf = certificate_of(body["certificate"])
        between = certificate_of(body["intermediateCertificates"][0])
        leaf.verify_directly_issued_by(between)
        between.verify_directly_issued_by(self.ca)
        mark = mark_of(leaf)

        def public_key(key_id: str) -> Any:
            if key_id != f"{TENANCY}/fed-x509/{mark}":
                raise Refused(f"another certificate: {key_id}")
            return leaf.public_key()

        verify(received, public_key, SIGNED - {"host"})
        return Reply.json({"token": self.issue(public_of(body["publicKey"]))})

    def refresh(self, received: Received) -> Reply:
        """``/v1/authentication/refresh``: a younger token for the same key."""
        failing = self._before("refresh")
        if failing is not None:
            return failing
        key_id, _ = verify(received, self.public_key)
        assert received.json() == {"currentToken": key_id.removeprefix("ST$")}
        return Reply.json({"token": self.issue(self.public_key(key_id))})

    def resource_token(self, received: Received) -> Reply:
        """The service that a resource belongs to says which resource it is."""
        failing = self._before("resource")
        if failing is not None:
            return failing

        def public_key(key_id: str) -> Any:
            if key_id.startswith("resource/v2.1"):
                assert key_id.endswith(RESOURCE)
                return key("resource").public_key()
            return self.public_key(key_id)

        verify(received, public_key)
        return Reply.json(
            {
                "resourcePrincipalToken": f"rpt of {received.path.rpartition('/')[2]}",
                "servicePrincipalSessionToken": "spst",
            }
        )

    def parent_token(self, received: Received) -> Reply:
        """Likewise for the parent of a resource, asked with the resource's own token."""
        verify(received, self.public_key)
        self.asked.append("parent")
        return Reply.json(
            {"resourcePrincipalToken": "rpt of parent", "servicePrincipalSessionToken": "spst"}
        )

    def session_token(self, received: Received) -> Reply:
        """The auth service makes a session token of it."""
        failing = self._before("session")
        if failing is not None:
            return failing
        body = received.json()
        assert body["servicePrincipalSessionToken"] == "spst"
        made = self.issue(
            public_of(body["sessionPublicKey"]), ptype="resource", of=body["resourcePrincipalToken"]
        )
        return Reply.json({"token": made})


class Proxymux:
    """What gives an OKE workload its token: HTTPS, with a certificate of the cluster's authority.

    :ivar asked: how many tokens it gave.
    """

    def __init__(self, cloud: Services, folder: Path, service_account_token: str) -> None:
        self.asked = 0
        owner = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = json.loads(self.rfile.read(int(self.headers["content-length"])))
                bearer = self.headers["authorization"]
                if bearer != f"Bearer {service_account_token}":
                    self.send_error(403)
                    return
                owner.asked += 1
                made = cloud.issue(public_of(body["podKey"]), ptype="workload")
                answer = base64.b64encode(json.dumps({"token": f"ST${made}"}).encode())
                self.send_response(200)
                self.send_header("content-length", str(len(answer)))
                self.end_headers()
                self.wfile.write(answer)

            def log_message(self, *args: Any) -> None: ...

        self.ca_file = folder / "ca.crt"
        self.ca_file.write_text(cert_pem(cloud.ca))
        own, own_key = folder / "proxymux.pem", key("proxymux")
        own.write_text(cert_pem(certificate("127.0.0.1", own_key, "ca", key("ca"))) + pem(own_key))
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(own)
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
