"""The secrets of clients that the caller brings."""

from __future__ import annotations

import base64
from typing import Any

import httpx
import pytest

from locus.core.errors import AuthenticationError, BadRequestError
from locus.models.native.openai import OpenAIModel
from locus.models.request_secrets import find_request_secrets
from locus.testing.server import LoopbackServer, Reply

SECRET = "zq-secret-0123456789"


@pytest.mark.parametrize("library_name", ["httpx", "httpx2"])
@pytest.mark.parametrize(
    "arguments",
    [
        {"headers": {"Authorization": f"Bearer {SECRET}"}},
        {"auth": ("user", SECRET)},
        {"cookies": {"session": SECRET}},
        {"params": {"key": SECRET}},
    ],
    ids=lambda arguments: next(iter(arguments)),
)
def test_what_a_client_adds_to_each_request_never_shows(
    server: LoopbackServer, library_name: str, arguments: dict[str, Any]
) -> None:
    library = pytest.importorskip(library_name)
    server.always(Reply.error(401, f"no: {SECRET}"))
    with library.Client(**arguments) as client:
        assert SECRET in find_request_secrets({}, client)
        model = OpenAIModel("m", "k", server.url, http_client=client, max_retries=0)
        with pytest.raises(AuthenticationError) as caught:
            model.complete_sync("x")
    assert SECRET not in f"{caught.value!r} {caught.value.body}"


def test_what_an_sdk_s_own_client_adds_is_found() -> None:
    class Client:
        api_key = None
        _client = httpx.Client(headers={"Authorization": f"Bearer {SECRET}"})

    assert SECRET in find_request_secrets({}, None, Client())


def test_what_goes_over_the_wire_is_a_secret_as_well() -> None:
    encoded = base64.b64encode(f"user:{SECRET}".encode()).decode()
    found = find_request_secrets({"x-api-key": "short"}, httpx.Client(auth=("user", SECRET)))
    assert found == (encoded, SECRET)


def test_credentials_in_the_body_show_in_no_error_and_no_repr(server: LoopbackServer) -> None:
    """Remote MCP servers are called with a token that the request carries."""
    token = f"{SECRET}-of-the-call"
    tool = {"type": "mcp", "server_url": "https://a.b", "headers": {"Authorization": SECRET}}
    members = {"mcp_servers": [{"url": "https://c.d", "authorization_token": token}], "top_k": 3}
    model = OpenAIModel("m", "k", server.url, extra_body=members, max_retries=0)
    bound = model.bind_tools([tool], extra_body={"api_key": SECRET, "min_p": 0.5})
    shown = f"{model!r} {bound!r} {bound.config!r}"
    assert SECRET not in shown
    assert all(word in shown for word in ("'top_k': 3", "'min_p': 0.5", "https://a.b", "c.d"))
    server.always(Reply.error(400, f"no: {token}, {SECRET}"))
    with pytest.raises(BadRequestError) as caught:
        bound.complete_sync("x")
    assert SECRET not in f"{caught.value!r} {caught.value.body}"
    assert server.requests[0].json()["api_key"] == SECRET
