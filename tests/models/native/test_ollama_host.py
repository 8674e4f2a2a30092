"""Where an Ollama server is: every form that ``OLLAMA_HOST`` may have."""

from __future__ import annotations

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from locus.core.errors import ConfigurationError
from locus.models.native.ollama import OllamaModel
from locus.models.native.ollama_host import parse_host
from locus.testing.loopback_server import LoopbackServer
from tests.support import runtimes
from tests.support.runtimes import TEXT, Runtime
from tests.support.servers import ollama_server
from tests.support.servers.ollama_server import KEY, whole

no_leaks, runtime, server = runtimes.no_leaks, runtimes.runtime, runtimes.server
environment = ollama_server.environment
pytestmark = pytest.mark.usefixtures("environment", "no_leaks")


HOSTS = st.sampled_from(
    ["localhost", "example.com", "GPU-box", "1.2.3.4", "[::1]", "[2001:db8::1]", "127.0.0.1", ""]
)


@st.composite
def written_hosts(draw: st.DrawFn) -> str:
    """What may stand in ``OLLAMA_HOST``."""
    host = draw(HOSTS)
    scheme = draw(st.sampled_from(["", "http://", "https://"]))
    port = draw(st.sampled_from(["", ":", ":0", ":80", ":443", ":11434", ":56789"]))
    path = draw(st.sampled_from(["", "/", "/path", "/path/", "/a/b"]))
    return scheme + host + port + path


@pytest.mark.sdk
@given(written_hosts())
def test_a_host_is_read_as_the_package_reads_it(said: str) -> None:
    client = pytest.importorskip("ollama._client")
    assume(not said.endswith("://"))  # there the package takes the scheme for a host
    assert parse_host(said) == client._parse_host(said)


@given(written_hosts())
def test_an_address_that_was_read_is_read_the_same_again(said: str) -> None:
    assert parse_host(parse_host(said)) == parse_host(said)


@pytest.mark.parametrize(
    ("said", "address"),
    [
        # A server may listen everywhere; a client connects to this machine.
        ("0.0.0.0", "http://127.0.0.1:11434"),
        ("0.0.0.0:80", "http://127.0.0.1:80"),
        ("http://0.0.0.0:11434/", "http://127.0.0.1:11434"),
        ("[::]", "http://[::1]:11434"),
        ("[::]:5000", "http://[::1]:5000"),
        ("::", "http://[::1]:11434"),
        ("::1", "http://[::1]:11434"),
        (":5000", "http://127.0.0.1:5000"),
        ("", "http://127.0.0.1:11434"),
        # As the command line reads them.
        ("ollama.com", "https://ollama.com:443"),
        ("  'gpu-box' ", "http://gpu-box:11434"),
        ('"gpu-box:1"', "http://gpu-box:1"),
        ("HTTPS://Example.com", "https://example.com:443"),
    ],
)
def test_a_host_is_read_as_a_client_needs_it(said: str, address: str) -> None:
    assert parse_host(said) == address


@pytest.mark.parametrize(
    "said",
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
def test_what_is_no_host_is_said_to_be_none(said: str, environment: pytest.MonkeyPatch) -> None:
    with pytest.raises(ConfigurationError, match="OLLAMA_HOST") as caught:
        OllamaModel(base_url=said)
    assert "secret" not in str(caught.value)
    environment.setenv("OLLAMA_HOST", said)
    if "\n" not in said:
        with pytest.raises(ConfigurationError, match="OLLAMA_HOST"):
            OllamaModel()


def test_an_argument_wins_over_the_environment_and_that_over_the_default(
    environment: pytest.MonkeyPatch,
) -> None:
    assert OllamaModel().config.base_url == "http://localhost:11434"
    environment.setenv("OLLAMA_HOST", "gpu-box")
    environment.setenv("OLLAMA_API_KEY", "from-the-environment")
    config = OllamaModel().config
    assert (config.base_url, config.api_key) == ("http://gpu-box:11434", "from-the-environment")
    assert OllamaModel(base_url=None).config.base_url == "http://gpu-box:11434"
    given = OllamaModel(base_url="http://localhost:11434", api_key=KEY).config
    assert (given.base_url, given.api_key) == ("http://localhost:11434", KEY)
    environment.setenv("OLLAMA_HOST", "")
    assert OllamaModel().config.base_url == "http://localhost:11434"


def test_the_environment_says_where_to_send(
    server: LoopbackServer, runtime: Runtime, environment: pytest.MonkeyPatch
) -> None:
    environment.setenv("OLLAMA_HOST", server.url.removeprefix("http://").replace("127.0.0.1", ""))
    server.always(whole())
    assert runtime.ask(OllamaModel(), "hello").content == TEXT
    assert server.requests[0].path == "/api/chat"
