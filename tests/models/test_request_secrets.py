"""The secrets of clients that the caller brings."""

from __future__ import annotations

import base64
from typing import Any

import httpx
import httpx2
import pytest

from locus.core.errors import AuthenticationError
from locus.models.native.openai import OpenAIModel
from locus.models.request_secrets import find_request_secrets
from locus.testing.server import LoopbackServer, Reply

SECRET = "zq-secret-0123456789"


@pytest.mark.parametrize("library", [httpx, httpx2])
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
    server: LoopbackServer, library: Any, arguments: dict[str, Any]
) -> None:
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
