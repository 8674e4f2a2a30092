"""The proxies of the environment are used, but never to reach this machine."""

from __future__ import annotations

from typing import Any

import httpx
import pytest

from locus.models.native.openai import OpenAIModel
from locus.testing import LoopbackServer, Received, Reply
from locus.transport.httpx_common import build_encoding_header, can_connect_directly

ANSWER = {
    "choices": [{"index": 0, "message": {"role": "assistant", "content": "hi"}}],
    "model": "m",
    "id": "1",
}


@pytest.mark.parametrize(
    ("url", "direct"),
    [
        ("http://127.0.0.1:80/v1", True),
        ("http://127.3.4.5/v1", True),
        ("https://localhost", True),
        ("http://LOCALHOST:8080/v1", True),
        ("http://[::1]:8080/v1", True),
        ("http://localhost.example.com/v1", False),
        ("http://127.0.0.1.example.com/", False),
        ("https://api.openai.com/v1", False),
    ],
)
def test_proxies_are_used_for_other_machines_only(
    url: str, direct: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HTTPS_PROXY", "http://127.0.0.1:9")
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:9")
    assert can_connect_directly(url) is direct


def test_this_machine_is_reached_without_the_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:9")
    with LoopbackServer() as server:
        server.always(Reply.json(ANSWER))
        with OpenAIModel("m", base_url=server.url) as model:
            assert model.complete_sync("hi").content == "hi"


def test_another_machine_is_reached_through_the_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    with LoopbackServer() as proxy:
        targets = []

        def forward(received: Received) -> Reply:
            targets.append((received.target, received.headers["host"]))
            return Reply.json(ANSWER)

        proxy.always(forward)
        monkeypatch.setenv("HTTP_PROXY", proxy.url)
        with OpenAIModel("m", base_url="http://llm.example.com/v1") as model:
            assert model.complete_sync("hi").content == "hi"
    assert targets == [("http://llm.example.com/v1/chat/completions", "llm.example.com")]


@pytest.mark.parametrize(
    ("offered", "sent"),
    [
        ("gzip, deflate, zstd", "gzip, deflate"),
        ("zstd;q=1.0, gzip", "gzip"),
        ("ZSTD", "identity"),
        ("gzip, deflate, br", None),
        (None, None),
    ],
)
def test_zstd_is_not_offered(offered: str | None, sent: str | None) -> None:
    headers = {} if offered is None else {"accept-encoding": offered}
    assert build_encoding_header(headers).get("accept-encoding") == sent


@pytest.mark.parametrize("keyword", ["http_client", "sdk_client"])
def test_the_callers_client_does_not_offer_zstd_either(keyword: str) -> None:
    openai = pytest.importorskip("openai")
    offered = {"accept-encoding": "gzip, zstd"}
    with LoopbackServer() as server, httpx.Client(headers=offered) as http_client:
        server.always(Reply.json(ANSWER))
        client: Any = http_client
        if keyword == "sdk_client":
            client = openai.OpenAI(api_key="k", base_url=server.url)
            client._client.headers.update(offered)
        model = OpenAIModel("m", base_url=server.url, **{keyword: client})
        model.complete_sync("hi")
        assert server.requests[0].headers["accept-encoding"] == "gzip"
        client.close()
