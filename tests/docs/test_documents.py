"""Every Python snippet of the README and the docs runs as it stands.

A loopback server plays OpenAI and Anthropic; for the page on Oracle Cloud, another one plays that.
Snippets of one page share their names, from the top down; a page that begins in the middle finds a
``model``. Snippets with ``await`` run under asyncio and under trio.
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
SNIPPET = re.compile(r"^```python\n(.*?)^```$", re.DOTALL | re.MULTILINE)
NEEDS = {
    "docs/anthropic.md": "anthropic",
    "docs/local.md": "xllamacpp",
    "docs/oci.md": "oci",
    "docs/ollama.md": "ollama",
    "docs/quickstart.md": "openai",
}
MARKS = {
    "docs/anthropic.md": pytest.mark.sdk,
    "docs/local.md": pytest.mark.engine,
    "docs/oci.md": pytest.mark.sdk,
    "docs/ollama.md": pytest.mark.sdk,
    "docs/quickstart.md": pytest.mark.sdk,
}


def snippets(page: Path) -> Iterator[tuple[int, str]]:
    text = page.read_text()
    for match in SNIPPET.finditer(text):
        yield text.count("\n", 0, match.start()) + 2, match[1]


def openai(request: Any) -> Reply:
    """An answer in the shape that was asked for: a tool call first where there are tools."""
    body = msgspec.json.decode(request.body)
    message: dict[str, Any] = {"role": "assistant", "content": "Paris"}
    finish = "stop"
    if body.get("tools") and body["messages"][-1]["role"] != "tool":
        function = {"name": "weather", "arguments": '{"city": "Rome"}'}
        call = {"index": 0, "id": "call_1", "type": "function", "function": function}
        message, finish = {"role": "assistant", "content": None, "tool_calls": [call]}, "tool_calls"
    usage = {"prompt_tokens": 5, "completion_tokens": 1, "total_tokens": 6}
    about = {"id": "chatcmpl-1", "model": "gpt-4o"}
    if body.get("stream"):
        return Reply.sse(
            [
                {**about, "choices": [{"index": 0, "delta": message}]},
                {**about, "choices": [{"index": 0, "delta": {}, "finish_reason": finish}]},
                {**about, "choices": [], "usage": usage},
            ]
        )
    choice = {"index": 0, "message": message, "finish_reason": finish}
    return Reply.json({**about, "choices": [choice], "usage": usage})


def anthropic(request: Any) -> Reply:
    """An answer in words."""
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
def oracle(home: Path, patch: pytest.MonkeyPatch) -> Iterator[None]:
    """Oracle Cloud: whoever the page says that one is, it knows them."""
    from tests.support.oci import crypto, inference, signed_models
    from tests.support.oci.cloud import COMPARTMENT

    pytest.importorskip("openai")
    key = crypto.key("session")
    (home / "token").write_text(crypto.token("auth service", key.public_key(), 600))
    signed_models.api_key_profile(home)
    profiles.write_profile(
        home,
        "SESSION",
        key_file=str(signed_models.write_key(home, "session")),
        security_token_file=str(home / "token"),
    )
    with inference.Inference() as cloud:
        cloud.trust("user")
        cloud.bearer = "sk-of-the-service"
        cloud.server.route("POST", inference.NATIVE, cloud.unchecked)
        embedded = Reply.json({"id": "1", "embeddings": [[0.5, 0.25]]})
        cloud.server.route(
            "POST", "/20231130/actions/embedText", lambda r: cloud.check(r) or embedded
        )
        signed_models.metadata_at(f"{cloud.url}/opc/v2", patch)
        resource = crypto.key("resource")
        for name, value in {
            "OCI_COMPARTMENT": COMPARTMENT,
            "OCI_ENDPOINT": cloud.url,
            "OCI_GENAI_API_KEY": cloud.bearer,
            "OCI_PROFILE": "DEFAULT",
            "OCI_RESOURCE_PRINCIPAL_PRIVATE_PEM": crypto.pem(resource),
            "OCI_RESOURCE_PRINCIPAL_REGION": "us-chicago-1",
            "OCI_RESOURCE_PRINCIPAL_RPST": crypto.token("auth service", resource.public_key(), 600),
            "OCI_RESOURCE_PRINCIPAL_VERSION": "2.2",
            "OCI_SDK_AUTH_CLIENT_REGION_URL": cloud.url,
        }.items():
            patch.setenv(name, value)
        yield
        assert cloud.answered
        assert not cloud.refused


PLAYERS: dict[str, Callable[[Path, pytest.MonkeyPatch], AbstractContextManager[None]]] = {
    "docs/oci.md": oracle,
}
"""Who answers a page besides the loopback server."""


def page_params() -> list[Any]:
    params = []
    for page in PAGES:
        name = page.relative_to(ROOT).as_posix()
        if any(snippets(page)):
            params.append(pytest.param(page, id=name, marks=[MARKS[name]] if name in MARKS else []))
    return params


@pytest.mark.parametrize("backend", ["asyncio", "trio"])
@pytest.mark.parametrize("page", page_params())
def test_the_snippets_of_a_page_run(
    page: Path, backend: str, monkeypatch: pytest.MonkeyPatch, home: Path
) -> None:
    name = page.relative_to(ROOT).as_posix()
    if needed := NEEDS.get(name):
        pytest.importorskip(needed)
    monkeypatch.chdir(home)
    Path("cat.png").write_bytes(b"\x89PNG")
    player = PLAYERS[name](home, monkeypatch) if name in PLAYERS else nullcontext()
    with LoopbackServer() as server, player:
        server.always(openai)
        server.route("POST", "/v1/messages", anthropic)
        monkeypatch.setenv("OPENAI_API_KEY", "sk-test")
        monkeypatch.setenv("OPENAI_BASE_URL", server.url + "/v1")
        monkeypatch.setenv("ANTHROPIC_API_KEY", "sk-ant-test")
        monkeypatch.setenv("ANTHROPIC_BASE_URL", server.url)
        names: dict[str, Any] = {"__name__": "snippet", "model": get_model("openai:gpt-4o")}
        for line, source in snippets(page):
            tree = ast.increment_lineno(ast.parse(source), line - 1)
            code = compile(
                tree, str(page), "exec", flags=ast.PyCF_ALLOW_TOP_LEVEL_AWAIT, dont_inherit=True
            )
            if code.co_flags & inspect.CO_COROUTINE:

                async def run(code: Any = code) -> None:
                    await eval(code, names)

                anyio.run(run, backend=backend)
            else:
                exec(code, names)


@pytest.mark.parametrize("page", [ROOT / "README.md"], ids=["README.md"])
def test_relative_links_lead_somewhere(page: Path) -> None:
    for target in re.findall(r"\]\((?!https?:)([^)#]+)", page.read_text()):
        assert (page.parent / target).exists(), target
