"""Credentials that the caller's own client adds show nowhere in an error or its causes."""

from __future__ import annotations

import pickle
import traceback
from typing import Any

import httpx
import pytest

from locus.core.errors import APIStatusError
from locus.models.native.openai import OpenAIModel
from locus.testing.server import LoopbackServer, Reply

SECRET = "sk-secret-0123456789"


def echo_credentials(request: Any) -> Reply:
    """Reply as a server that shows the credentials it refuses."""
    headers = dict(request.headers)
    shown = headers.get("authorization") or headers.get("api-key")
    return Reply.json({"error": {"message": f"Incorrect API key: {shown}"}}, 401)


class _SecretAuth(httpx.Auth):
    def auth_flow(self, request: httpx.Request) -> Any:
        request.headers["authorization"] = f"Bearer {SECRET}"
        yield request


def make_openai_client(server: LoopbackServer) -> Any:
    openai = pytest.importorskip("openai")
    return openai.OpenAI(api_key=lambda: SECRET, base_url=f"{server.url}/v1", max_retries=0)


def make_azure_client(server: LoopbackServer) -> Any:
    openai = pytest.importorskip("openai")
    return openai.AzureOpenAI(
        azure_ad_token_provider=lambda: SECRET,
        azure_endpoint=server.url,
        api_version="2024-10-21",
        max_retries=0,
    )


@pytest.mark.parametrize("streamed", [False, True])
@pytest.mark.parametrize("client", ["httpx", "openai", "azure"])
def test_credentials_of_the_callers_client_do_not_show(
    server: LoopbackServer, client: str, streamed: bool
) -> None:
    server.always(echo_credentials)
    arguments: dict[str, Any]
    if client == "httpx":
        http_client = httpx.Client(auth=_SecretAuth())
        arguments = {"http_client": http_client, "base_url": f"{server.url}/v1"}
    else:
        http_client = (
            make_openai_client(server) if client == "openai" else make_azure_client(server)
        )
        arguments = {"sdk_client": http_client}
    model = OpenAIModel("m", max_retries=0, **arguments)
    with http_client, pytest.raises(APIStatusError) as caught:
        list(model.stream_sync("hi")) if streamed else model.complete_sync("hi")
    error = caught.value
    assert "Incorrect API key" in str(error)
    shown = [str(error), repr(error), error.body, *traceback.format_exception(error)]
    assert SECRET not in "".join(shown)
    assert SECRET.encode() not in pickle.dumps(error)
    cause: BaseException | None = error
    while cause is not None:
        assert SECRET not in f"{cause!s}{cause!r}"
        cause = cause.__cause__ or cause.__context__
