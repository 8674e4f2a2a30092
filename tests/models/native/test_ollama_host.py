"""Every form that ``OLLAMA_HOST`` and ``base_url`` may have."""

from __future__ import annotations

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from locus.core.errors import ConfigurationError
from locus.models.native.ollama import OllamaModel
from locus.models.native.ollama_host import normalize_server_url
from locus.testing.formats.runtimes import Runtime
from locus.testing.server import LoopbackServer
from tests.support.chat_replies import TEXT
from tests.support.servers.ollama_server import API_KEY, build_reply

pytestmark = pytest.mark.usefixtures("clean_environment", "no_leaks")


HOSTS = st.sampled_from(
    ["localhost", "example.com", "GPU-box", "1.2.3.4", "[::1]", "[2001:db8::1]", "127.0.0.1", ""]
)


@st.composite
def written_hosts(draw: st.DrawFn) -> str:
    """Possible values of ``OLLAMA_HOST``."""
    host = draw(HOSTS)
    scheme = draw(st.sampled_from(["", "http://", "https://"]))
    port = draw(st.sampled_from(["", ":", ":0", ":80", ":443", ":11434", ":56789"]))
    path = draw(st.sampled_from(["", "/", "/path", "/path/", "/a/b"]))
    return scheme + host + port + path


@pytest.mark.sdk
@given(written_hosts())
def test_a_host_is_parsed_as_the_package_parses_it(host: str) -> None:
    client = pytest.importorskip("ollama._client")
    assume(not host.endswith("://"))  # there the package parses the scheme as a host
    assert normalize_server_url(host) == client._parse_host(host)


@given(written_hosts())
def test_parsing_a_parsed_url_does_not_change_it(host: str) -> None:
    assert normalize_server_url(normalize_server_url(host)) == normalize_server_url(host)


@pytest.mark.parametrize(
    ("host", "address"),
    [
        # A server may listen on all addresses; a client connects to this machine.
        ("0.0.0.0", "http://127.0.0.1:11434"),
        ("0.0.0.0:80", "http://127.0.0.1:80"),
        ("http://0.0.0.0:11434/", "http://127.0.0.1:11434"),
        ("[::]", "http://[::1]:11434"),
        ("[::]:5000", "http://[::1]:5000"),
        ("::", "http://[::1]:11434"),
        ("::1", "http://[::1]:11434"),
        (":5000", "http://127.0.0.1:5000"),
        ("", "http://127.0.0.1:11434"),
        # As Ollama's command line parses them.
        ("ollama.com", "https://ollama.com:443"),
        ("  'gpu-box' ", "http://gpu-box:11434"),
        ('"gpu-box:1"', "http://gpu-box:1"),
        ("HTTPS://Example.com", "https://example.com:443"),
    ],
)
def test_a_host_becomes_a_url(host: str, address: str) -> None:
    assert normalize_server_url(host) == address


@pytest.mark.parametrize(
    "host",
    [
        "ftp://localhost",
        "unix:///run/ollama.sock",
        "localhost:port",
        "localhost:99999",
        "http://[::1",
        "http://localhost?key=hidden",
        "http://localhost#hidden",
        "two hosts",
        "a\nb",
        "http://hidden:secret@localhost",
        "hidden@localhost",
    ],
)
def test_an_invalid_host_is_an_error(host: str, clean_environment: pytest.MonkeyPatch) -> None:
    with pytest.raises(ConfigurationError, match="OLLAMA_HOST") as exc_info:
        OllamaModel(base_url=host)
    assert "secret" not in str(exc_info.value)
    clean_environment.setenv("OLLAMA_HOST", host)
    if "\n" not in host:
        with pytest.raises(ConfigurationError, match="OLLAMA_HOST"):
            OllamaModel()


def test_an_argument_wins_over_the_environment_and_that_over_the_default(
    clean_environment: pytest.MonkeyPatch,
) -> None:
    assert OllamaModel().config.base_url == "http://localhost:11434"
    clean_environment.setenv("OLLAMA_HOST", "gpu-box")
    clean_environment.setenv("OLLAMA_API_KEY", "from-the-environment")
    config = OllamaModel().config
    assert (config.base_url, config.api_key) == ("http://gpu-box:11434", "from-the-environment")
    assert OllamaModel(base_url=None).config.base_url == "http://gpu-box:11434"
    config = OllamaModel(base_url="http://localhost:11434", api_key=API_KEY).config
    assert (config.base_url, config.api_key) == ("http://localhost:11434", API_KEY)
    clean_environment.setenv("OLLAMA_HOST", "")
    assert OllamaModel().config.base_url == "http://localhost:11434"


def test_the_environment_sets_the_server(
    server: LoopbackServer, runtime: Runtime, clean_environment: pytest.MonkeyPatch
) -> None:
    clean_environment.setenv(
        "OLLAMA_HOST", server.url.removeprefix("http://").replace("127.0.0.1", "")
    )
    server.always(build_reply())
    assert runtime.complete(OllamaModel(), "hello").content == TEXT
    assert server.requests[0].path == "/api/chat"
