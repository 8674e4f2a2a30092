"""The proxies of the environment are used, but never to reach this machine."""

from __future__ import annotations

from importlib.util import find_spec
from typing import Any
from urllib.request import getproxies

import httpx
import pytest

from locus.core.errors import ConfigurationError
from locus.models.native.openai import OpenAIModel
from locus.testing import LoopbackServer, Received, Reply
from locus.testing.formats.runtimes import Runtime
from locus.transport.address import parse_url
from locus.transport.environment_proxies import find_proxy, read_proxies
from locus.transport.httpx_common import build_encoding_header

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
        ("http://169.254.169.254/opc/v2", True),  # a cloud's metadata: another machine's has other
        ("http://[fe80::1%25eth0]/", True),
        ("http://app.localhost/", True),
        ("http://10.1.2.3/", False),
    ],
)
def test_proxies_are_used_for_other_machines_only(
    url: str, direct: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HTTPS_PROXY", "http://127.0.0.1:9")
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:9")
    assert (find_proxy(parse_url(url).address) is None) is direct


@pytest.mark.parametrize("variables", [{}, {"http_proxy": ""}, {"REQUEST_METHOD": "GET"}])
@pytest.mark.parametrize(
    "name", ["HTTP_PROXY", "https_proxy", "ALL_PROXY", "no_proxy", "FTP_PROXY"]
)
def test_the_variables_mean_what_they_mean_to_python(
    name: str, variables: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    for variable, value in {name: "a", "NO_PROXY": "b", **variables}.items():
        monkeypatch.setenv(variable, value)
    known = {"http", "https", "all", "no"}
    expected = {key: value for key, value in getproxies().items() if key in known}
    assert read_proxies() == expected


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
        ("gzip, deflate, br", "gzip, deflate"),
        (None, None),
    ],
)
def test_only_what_locus_reads_itself_is_offered(offered: str | None, sent: str | None) -> None:
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


@pytest.mark.parametrize(
    ("excluded", "url", "direct"),
    [
        ("example.com", "https://example.com", True),
        ("example.com", "https://api.example.com:8443", True),
        (".example.com", "https://api.example.com", True),
        ("*.example.com", "https://api.example.com", True),
        ("EXAMPLE.com.", "https://api.example.COM./v1", True),
        ("example.com", "https://badexample.com", False),
        ("a.test, example.com b.test", "https://example.com", True),
        ("https://example.com", "https://example.com", True),
        ("example.com:8443", "https://example.com:8443", True),
        ("example.com:8443", "https://example.com", False),
        ("*", "https://example.com", True),
        ("10.0.0.0/8", "https://10.1.2.3", True),
        ("10.0.0.0/8", "https://192.0.2.1", False),
        ("10.1.2.3/8", "https://10.200.0.1", True),
        ("192.0.2.1", "https://192.0.2.1:8443", True),
        ("192.0.2.1:443", "https://192.0.2.1", True),
        ("192.0.2.1:443", "https://192.0.2.1:8443", False),
        ("fd00::/8", "https://[fd12::1]", True),
        ("fd00::/8", "https://10.1.2.3", False),
        ("fd00::/8", "https://example.com", False),
        ("[fd12::1]", "https://[fd12::1]", True),
        ("[fd12::1]:443", "https://[fd12::1]:8443", False),
        ("", "https://example.com", False),
    ],
)
def test_what_no_proxy_excludes(
    excluded: str, url: str, direct: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HTTPS_PROXY", "http://127.0.0.1:9")
    monkeypatch.setenv("NO_PROXY", excluded)
    assert (find_proxy(parse_url(url).address) is None) is direct


PASSWORD = "p4ssw0rd"


@pytest.mark.parametrize(
    ("variable", "value"),
    [
        ("HTTP_PROXY", f"http://me:{PASSWORD}@proxy.test:port"),
        ("HTTP_PROXY", "http://"),
        ("HTTP_PROXY", f"ftp://me:{PASSWORD}@proxy.test"),
        ("http_proxy", "http://proxy.test:99999"),
        ("ALL_PROXY", f"http://me:{PASSWORD}@proxy .test"),
        ("NO_PROXY", "localhost,a:b:c"),
        ("NO_PROXY", "[::1"),
        ("NO_PROXY", "10.0.0.0/99"),
        ("no_proxy", "a b/c"),
    ],
)
def test_what_cannot_be_understood_is_an_error_that_names_the_variable(
    variable: str, value: str, runtime: Runtime, clean_environment: pytest.MonkeyPatch
) -> None:
    if variable.upper() == "NO_PROXY":
        clean_environment.setenv("HTTP_PROXY", "http://127.0.0.1:9")
    clean_environment.setenv(variable, value)
    model = OpenAIModel("m", base_url="http://llm.test/v1", max_retries=0)
    with pytest.raises(ConfigurationError, match=variable) as exc_info:
        runtime.complete(model, "hello")
    assert PASSWORD not in str(exc_info.value)


def test_a_socks_proxy_says_which_package_is_missing(
    runtime: Runtime, clean_environment: pytest.MonkeyPatch
) -> None:
    if find_spec("socksio"):
        pytest.skip("the package is here")
    clean_environment.setenv("ALL_PROXY", "socks5://127.0.0.1:9")
    with pytest.raises(ConfigurationError, match=r"ALL_PROXY .*httpx\[socks\]"):
        runtime.complete(OpenAIModel("m", base_url="http://llm.test/v1"), "hello")


def test_a_copy_goes_where_its_own_address_leads(
    runtime: Runtime, clean_environment: pytest.MonkeyPatch
) -> None:
    """Copies share connections; whether there is a proxy is a matter of the address."""
    with LoopbackServer() as server, LoopbackServer() as proxy:
        server.always(Reply.json(ANSWER))
        proxy.always(Reply.json(ANSWER))
        clean_environment.setenv("HTTP_PROXY", proxy.url)
        model = OpenAIModel("m", base_url="http://llm.test/v1", max_retries=0)
        runtime.complete(model, "hello")
        there = model.copy(base_url=server.url)
        for other in (there, model.copy(config=there.config), model):
            runtime.complete(other, "hello")
        runtime.close(model)
        runtime.close(there)
        assert (len(proxy.requests), len(server.requests)) == (2, 2)


def test_no_cookie_is_kept_of_what_comes_through_a_proxy(
    runtime: Runtime, clean_environment: pytest.MonkeyPatch
) -> None:
    with LoopbackServer() as proxy:
        proxy.always(Reply.json(ANSWER).with_header("set-cookie", "session=1; Path=/"))
        clean_environment.setenv("HTTP_PROXY", proxy.url)
        model = OpenAIModel("m", base_url="http://llm.test/v1", max_retries=0)
        for _ in range(2):
            runtime.complete(model, "hello")
        runtime.close(model)
        assert ["cookie" in request.headers for request in proxy.requests] == [False, False]
