"""Runs every Python snippet of the README and the docs.

A loopback server replies as OpenAI and Anthropic; the page on Oracle Cloud has another one.
The snippets of a page run from top to bottom in one namespace, in which ``model`` is defined.
Snippets with ``await`` run under asyncio and under trio.
"""

from __future__ import annotations

import ast
import inspect
import re
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from pathlib import Path
from typing import Any

import anyio
import msgspec
import pytest

from locus import get_model
from locus.testing import LoopbackServer, Reply
from tests.support.oci import profiles

home = profiles.home

ROOT = Path(__file__).parents[2]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
SNIPPET_PATTERN = re.compile(r"^```python\n(.*?)^```$", re.DOTALL | re.MULTILINE)
REQUIRED_PACKAGES = {
    "docs/anthropic.md": "anthropic",
    "docs/local.md": "xllamacpp",
    "docs/oci.md": "oci",
    "docs/ollama.md": "ollama",
    "docs/quickstart.md": "openai",
}
PAGE_MARKS = {
    "docs/anthropic.md": pytest.mark.sdk,
    "docs/local.md": pytest.mark.engine,
    "docs/oci.md": pytest.mark.sdk,
    "docs/ollama.md": pytest.mark.sdk,
    "docs/quickstart.md": pytest.mark.sdk,
}


def find_snippets(page: Path) -> Iterator[tuple[int, str]]:
    text = page.read_text()
    for match in SNIPPET_PATTERN.finditer(text):
        yield text.count("\n", 0, match.start()) + 2, match[1]


def reply_as_openai(request: Any) -> Reply:
    """A response in the requested form; first a tool call, if there are tools."""
    body = msgspec.json.decode(request.body)
    message: dict[str, Any] = {"role": "assistant", "content": "Paris"}
    finish_reason = "stop"
    if body.get("tools") and body["messages"][-1]["role"] != "tool":
        function = {"name": "weather", "arguments": '{"city": "Rome"}'}
        call = {"index": 0, "id": "call_1", "type": "function", "function": function}
        message, finish_reason = (
            {"role": "assistant", "content": None, "tool_calls": [call]},
            "tool_calls",
        )
    usage = {"prompt_tokens": 5, "completion_tokens": 1, "total_tokens": 6}
    head = {"id": "chatcmpl-1", "model": "gpt-4o"}
    if body.get("stream"):
        return Reply.sse(
            [
                {**head, "choices": [{"index": 0, "delta": message}]},
                {**head, "choices": [{"index": 0, "delta": {}, "finish_reason": finish_reason}]},
                {**head, "choices": [], "usage": usage},
            ]
        )
    choice = {"index": 0, "message": message, "finish_reason": finish_reason}
    return Reply.json({**head, "choices": [choice], "usage": usage})


def reply_as_anthropic(request: Any) -> Reply:
    """A response with text."""
    body = msgspec.json.decode(request.body)
    return Reply.json(
        {
            "id": "msg_1",
            "type": "message",
            "role": "assistant",
            "model": body["model"],
            "content": [{"type": "text", "text": "Yes."}],
            "stop_reason": "end_turn",
            "usage": {"input_tokens": 5, "output_tokens": 1},
        }
    )


@contextmanager
def run_oracle_cloud(home: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Run a loopback Oracle Cloud that accepts all credentials of the page."""
    from tests.support.oci import crypto, inference, signed_models
    from tests.support.oci.cloud import COMPARTMENT

    pytest.importorskip("openai")
    key = crypto.get_private_key("session")
    (home / "token").write_text(crypto.make_token("auth service", key.public_key(), 600))
    signed_models.write_api_key_profile(home)
    profiles.write_profile(
        home,
        "SESSION",
        key_file=str(signed_models.write_key_file(home, "session")),
        security_token_file=str(home / "token"),
    )
    with inference.InferenceCloud() as cloud:
        cloud.register_key("user")
        cloud.bearer_key = "sk-of-the-service"
        cloud.server.route("POST", inference.NATIVE_PATH, cloud.reply_without_compartment)
        embedded = Reply.json({"id": "1", "embeddings": [[0.5, 0.25]]})
        cloud.server.route(
            "POST",
            "/20231130/actions/embedText",
            lambda r: cloud.find_rejection_reply(r) or embedded,
        )
        signed_models.set_metadata_url(f"{cloud.url}/opc/v2", monkeypatch)
        resource = crypto.get_private_key("resource")
        for name, value in {
            "OCI_COMPARTMENT": COMPARTMENT,
            "OCI_ENDPOINT": cloud.url,
            "OCI_GENAI_API_KEY": cloud.bearer_key,
            "OCI_PROFILE": "DEFAULT",
            "OCI_RESOURCE_PRINCIPAL_PRIVATE_PEM": crypto.encode_private_key(resource),
            "OCI_RESOURCE_PRINCIPAL_REGION": "us-chicago-1",
            "OCI_RESOURCE_PRINCIPAL_RPST": crypto.make_token(
                "auth service", resource.public_key(), 600
            ),
            "OCI_RESOURCE_PRINCIPAL_VERSION": "2.2",
            "OCI_SDK_AUTH_CLIENT_REGION_URL": cloud.url,
        }.items():
            monkeypatch.setenv(name, value)
        yield
        assert cloud.accepted_requests
        assert not cloud.rejection_reasons


PAGE_SERVERS: dict[str, Callable[[Path, pytest.MonkeyPatch], AbstractContextManager[None]]] = {
    "docs/oci.md": run_oracle_cloud,
}
"""The servers that a page needs besides the loopback server."""


def make_page_params() -> list[Any]:
    params = []
    for page in PAGES:
        name = page.relative_to(ROOT).as_posix()
        if any(find_snippets(page)):
            params.append(
                pytest.param(page, id=name, marks=[PAGE_MARKS[name]] if name in PAGE_MARKS else [])
            )
    return params


@pytest.mark.parametrize("backend", ["asyncio", "trio"])
@pytest.mark.parametrize("page", make_page_params())
def test_the_snippets_of_a_page_run(
    page: Path, backend: str, monkeypatch: pytest.MonkeyPatch, home: Path
) -> None:
    name = page.relative_to(ROOT).as_posix()
    if required := REQUIRED_PACKAGES.get(name):
        pytest.importorskip(required)
    monkeypatch.chdir(home)
    Path("cat.png").write_bytes(b"\x89PNG")
    page_server = PAGE_SERVERS[name](home, monkeypatch) if name in PAGE_SERVERS else nullcontext()
    with LoopbackServer() as server, page_server:
        server.always(reply_as_openai)
        server.route("POST", "/v1/messages", reply_as_anthropic)
        monkeypatch.setenv("OPENAI_API_KEY", "sk-test")
        monkeypatch.setenv("OPENAI_BASE_URL", server.url + "/v1")
        monkeypatch.setenv("ANTHROPIC_API_KEY", "sk-ant-test")
        monkeypatch.setenv("ANTHROPIC_BASE_URL", server.url)
        namespace: dict[str, Any] = {"__name__": "snippet", "model": get_model("openai:gpt-4o")}
        for line, source in find_snippets(page):
            tree = ast.increment_lineno(ast.parse(source), line - 1)
            code = compile(
                tree, str(page), "exec", flags=ast.PyCF_ALLOW_TOP_LEVEL_AWAIT, dont_inherit=True
            )
            if code.co_flags & inspect.CO_COROUTINE:

                async def run(code: Any = code) -> None:
                    await eval(code, namespace)

                anyio.run(run, backend=backend)
            else:
                exec(code, namespace)


@pytest.mark.parametrize("page", [ROOT / "README.md"], ids=["README.md"])
def test_the_targets_of_relative_links_exist(page: Path) -> None:
    for target in re.findall(r"\]\((?!https?:)([^)#]+)", page.read_text()):
        assert (page.parent / target).exists(), target
