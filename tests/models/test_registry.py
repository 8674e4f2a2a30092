"""Models by name; and how few modules are imported for them."""

from __future__ import annotations

import ast
from pathlib import Path
from typing import Any

import pytest

import locus
import locus.models
from locus.core.errors import ConfigurationError
from locus.models import registry
from locus.models.base import ModelProtocol
from locus.models.native.openai import OpenAIModel
from locus.models.registry import get_model, list_providers, register_provider
from locus.testing.formats.runtimes import Runtime
from locus.testing.server import LoopbackServer
from tests.support.chat_replies import TEXT, build_reply
from tests.support.servers.openai_server import API_KEY
from tests.support.subprocess_scripts import run_script

pytestmark = pytest.mark.usefixtures("clean_environment")


@pytest.fixture
def empty_registry(monkeypatch: pytest.MonkeyPatch) -> None:
    """An empty registry, so that what a test registers is removed after it."""
    monkeypatch.setattr(registry, "_registered_factories", {})


def test_a_model_by_its_name() -> None:
    model = get_model("openai:gpt-4o-mini", api_key=API_KEY, temperature=0.1, seed=3)
    assert model == OpenAIModel("gpt-4o-mini", API_KEY, temperature=0.1, seed=3)
    assert isinstance(model, ModelProtocol)


def test_only_the_first_colon_splits() -> None:
    assert get_model("openai:ft:gpt-4o:us::1", api_key=API_KEY).config.model == "ft:gpt-4o:us::1"


def test_a_model_by_name_responds(server: LoopbackServer, runtime: Runtime) -> None:
    server.always(build_reply())
    model = get_model("openai:m", api_key=API_KEY, base_url=server.url)
    assert runtime.complete(model, "hello").content == TEXT


@pytest.mark.parametrize("name", ["gpt-4o", "", ":", "openai:", "openai"])
def test_an_incomplete_name_lists_the_providers(name: str) -> None:
    with pytest.raises(ValueError, match=r"provider:model.*local.*openai") as exc_info:
        get_model(name)
    assert isinstance(exc_info.value, ConfigurationError)


@pytest.mark.parametrize("name", ["opnai:m", "openia:m", "OpenAI:m"])
def test_an_unknown_provider_is_an_error_that_names_the_nearest(name: str) -> None:
    with pytest.raises(ValueError, match="did you mean 'openai'"):
        get_model(name)


def test_an_unknown_provider_lists_the_others() -> None:
    for prefix in ("zzz", ""):
        with pytest.raises(ValueError, match=f"no provider '{prefix}'; .* are .*local.*openai"):
            get_model(f"{prefix}:m")


def test_an_error_of_the_provider_is_raised() -> None:
    with pytest.raises(TypeError, match="did you mean 'temperature'"):
        get_model("openai:m", temprature=1)
    with pytest.raises(ConfigurationError, match="max_tokens"):
        get_model("openai:m", max_tokens=0)


def test_the_providers_are_listed_in_order() -> None:
    providers = list_providers()
    assert providers == sorted(providers)
    assert {"local", "openai"} <= set(providers)


@pytest.mark.usefixtures("empty_registry")
def test_a_provider_can_be_registered() -> None:
    seen: list[Any] = []

    def factory(model: str, **kw: Any) -> ModelProtocol:
        seen.append((model, kw))
        return OpenAIModel(model, API_KEY, "http://127.0.0.1:9")

    register_provider("mine", factory)
    assert "mine" in list_providers()
    assert get_model("mine:a:b", depth=3).config.model == "a:b"
    assert seen == [("a:b", {"depth": 3})]
    with pytest.raises(ValueError, match="did you mean 'mine'"):
        get_model("mime:a")


@pytest.mark.usefixtures("empty_registry")
def test_the_last_registration_wins_over_built_in_ones_too() -> None:
    first, second = OpenAIModel("first", API_KEY), OpenAIModel("second", API_KEY)
    register_provider("openai", lambda model: first)
    assert get_model("openai:m") is first
    register_provider("openai", lambda model: second)
    assert get_model("openai:m") is second
    assert list_providers().count("openai") == 1


@pytest.mark.usefixtures("empty_registry")
def test_an_invalid_provider_is_an_error() -> None:
    for prefix in ("", "a:b", ":"):
        with pytest.raises(ValueError, match="a word without a colon"):
            register_provider(prefix, OpenAIModel)
    with pytest.raises(TypeError, match="'mine' cannot be called"):
        register_provider("mine", "OpenAIModel")  # type: ignore[arg-type]
    assert "mine" not in list_providers()


def test_other_packages_add_providers_by_entry_points(tmp_path: Path) -> None:
    metadata = tmp_path / "third_party-1.0.dist-info"
    metadata.mkdir()
    (metadata / "METADATA").write_text("Metadata-Version: 2.1\nName: third-party\nVersion: 1.0\n")
    (metadata / "entry_points.txt").write_text(
        "[locus.providers]\n"
        "third = third_party:make\nbroken = third_party_broken:make\nopenai = third_party:make\n"
    )
    (tmp_path / "third_party.py").write_text("def make(model, **kw):\n    return model, kw\n")
    printed = run_script(
        """
        import sys
        sys.path.insert(0, sys.argv[1])
        from locus import get_model, list_providers
        assert {"third", "broken", "openai"} <= set(list_providers())
        assert "third_party" not in sys.modules  # until its first model is made
        print(get_model("third:a:b", x=1))
        # Entry points do not replace built-in providers.
        print(type(get_model("openai:m", api_key="k")).__name__)
        try:
            get_model("broken:m")
        except ImportError as error:
            print(error)
        """,
        str(tmp_path),
    )
    assert printed.splitlines() == [
        "('a:b', {'x': 1})",
        "OpenAIModel",
        "No module named 'third_party_broken'",
    ]


# -- imports -----------------------------------------------------------------------------------

HEAVY = {
    *("anyio", "asyncio", "cattrs", "concurrent", "h11", "httpcore", "httpx", "httpx2", "msgspec"),
    *("anthropic", "oci", "ollama", "openai", "pydantic", "ssl", "stamina", "tenacity", "trio"),
    *("xllamacpp", "locus.core", "locus.models", "locus.transport", "locus.wire"),
}


def test_importing_locus_loads_few_modules() -> None:
    printed = run_script(
        f"""
        import sys
        import locus
        assert not {HEAVY!r} & set(sys.modules), {HEAVY!r} & set(sys.modules)
        print(locus.__version__, len(dir(locus)) > 10)
        """,
        prelude="",
    )
    assert printed.endswith("True\n")


def test_making_a_model_loads_no_http_client_and_no_sdk() -> None:
    run_script(
        """
        import sys
        from locus import OpenAIModel, get_model
        get_model("openai:m", api_key="k").bind_tools([]).copy(seed=1)
        loud = {"httpx", "httpx2", "httpcore", "openai", "pydantic", "asyncio", "trio", "stamina"}
        assert not loud & set(sys.modules), loud & set(sys.modules)
        """,
        prelude="",
    )


def test_a_blocking_call_loads_no_event_loop(server: LoopbackServer) -> None:
    server.always(build_reply())
    run_script(
        f"""
        import sys
        from locus import OpenAIModel
        OpenAIModel("m", "k", "{server.url}").complete_sync("hello")
        # httpcore imports trio if it is installed
        loud = {{"openai", "stamina", "anyio._backends._asyncio", "anyio._backends._trio"}}
        assert not loud & set(sys.modules), loud & set(sys.modules)
        """,
        prelude="",
    )


def test_locus_never_imports_asyncio() -> None:
    importers = []
    for path in Path(locus.__file__).parent.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Import):
                names = [alias.name for alias in node.names]
            elif isinstance(node, ast.ImportFrom):
                names = [node.module or ""]
            else:
                continue
            if any(name.partition(".")[0] == "asyncio" for name in names):
                importers.append(path.name)
    assert importers == []


@pytest.mark.parametrize("package", [locus, locus.models], ids=["locus", "locus.models"])
def test_every_public_name_can_be_imported(package: Any) -> None:
    for name in package.__all__:
        assert getattr(package, name) is not None
    assert set(package.__all__) <= set(dir(package))
    assert sorted(package.__all__) == list(package.__all__)
    with pytest.raises(AttributeError, match="has no attribute 'OpenAiModel'"):
        _ = package.OpenAiModel
