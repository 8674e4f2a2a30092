"""What can be imported, from where, and what importing costs."""

from __future__ import annotations

import ast
import subprocess
import sys
from importlib import import_module
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

import locus
import locus.agent
import locus.memory
import locus.models
from locus.core import errors
from tests.support.runtimes import ROOT

LAZY = [locus, locus.agent, locus.memory, locus.models]

PUBLIC = {
    "locus": "Message ToolCall ToolResult Role get_model list_providers register_provider "
    "Agent tool OpenAIModel AnthropicModel OllamaModel OCIModel OCIChatCompletionsModel "
    "OCIOpenAIModel OCIResponsesModel LocalModel",
    "locus.models": "get_model list_providers register_provider ModelProtocol ModelConfig "
    "ModelResponse RequestBuilder ResponseParser OpenAIModel AnthropicModel "
    "OllamaModel OCIModel OCIChatCompletionsModel OCIOpenAIModel OCIResponsesModel LocalModel",
    "locus.models.registry": "get_model list_providers register_provider",
    "locus.models.base": "ModelProtocol ModelConfig ModelResponse RequestBuilder ResponseParser",
    "locus.models.native.openai": "OpenAIModel OpenAIConfig",
    "locus.models.native.anthropic": "AnthropicModel AnthropicConfig",
    "locus.models.native.ollama": "OllamaModel OllamaConfig",
    "locus.models.providers.oci": "OCIModel OCIConfig OCIAuthType OCIChatCompletionsModel "
    "OCIOpenAIModel OCIChatCompletionsConfig OCIResponsesModel OCIProjectRequiredError "
    "OCIResponsesStateLostError DEFAULT_OCI_GENAI_REGION build_oci_openai_base_url",
    "locus.core.structured": "build_response_format parse_structured parse_partial "
    "StructuredOutput StructuredOutputError",
    "locus.core.termination": "MaxIterations TokenLimit TimeLimit NoToolCalls ToolCalled "
    "ConfidenceMet TextMention CustomCondition",
    "locus.tools": "tool",
    "locus.tools.decorator": "tool",
    "locus.agent": "Agent AgentResult AgentState",
    "locus.hooks": "HookProvider HookPriority BeforeInvocationEvent AfterInvocationEvent "
    "BeforeModelCallEvent AfterModelCallEvent BeforeToolCallEvent AfterToolCallEvent",
    "locus.memory": "ConversationManager SlidingWindowManager SummarizingManager "
    "TruncatingManager BaseCheckpointer MemoryCheckpointer FileCheckpointer SQLiteCheckpointer "
    "MemoryStore InMemoryStore SQLiteStore",
    "locus.models.llama_cpp": "LocalModel LocalConfig",
    "locus.core.messages": "Message Role ToolCall ToolResult",
    "locus.core.events": "ModelChunkEvent ThinkEvent ToolStartEvent ToolCompleteEvent ReflectEvent "
    "GroundingEvent TerminateEvent",
    "locus.core.errors": "LocusError ConfigurationError APIError APIConnectionError "
    "APITimeoutError APIStatusError BadRequestError AuthenticationError PermissionDeniedError "
    "NotFoundError ConflictError UnprocessableEntityError RateLimitError InternalServerError "
    "OverloadedError ContextWindowExceededError ContentFilterError ResponseParseError "
    "StreamInterruptedError StructuredOutputError",
    "locus.testing": "ScriptedModel FunctionModel text tool_call check_model_conformance "
    "LoopbackServer Reply",
}


def python(code: str) -> str:
    """What ``code`` prints in a process of its own, warnings being errors."""
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", code],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout.strip()


@pytest.mark.parametrize(
    ("module", "name"),
    [(module, name) for module, names in PUBLIC.items() for name in names.split()],
)
def test_every_promised_name_imports(module: str, name: str) -> None:
    assert getattr(import_module(module), name) is not None


def test_a_name_is_the_same_thing_wherever_it_is_imported_from() -> None:
    for name in locus.models.__all__:
        assert getattr(locus, name, None) in (None, getattr(locus.models, name))
    assert locus.OpenAIModel is import_module("locus.models.native.openai").OpenAIModel
    assert locus.models.ModelResponse is import_module("locus.models.base").ModelResponse


def test_every_error_of_the_tree_is_public() -> None:
    tree = {
        name
        for name, kind in vars(errors).items()
        if isinstance(kind, type) and issubclass(kind, errors.LocusError)
    }
    assert tree <= set(locus.__all__)


# -- the lazy packages say each name three times -----------------------------------------------


def for_type_checkers(module: ModuleType) -> dict[str, str]:
    """Each name that is imported under ``TYPE_CHECKING``, and from where."""
    assert module.__file__ is not None
    tree = ast.parse(Path(module.__file__).read_text(encoding="utf-8"))
    return {
        alias.asname or alias.name: statement.module or ""
        for block in tree.body
        if isinstance(block, ast.If) and ast.unparse(block.test) == "TYPE_CHECKING"
        for statement in block.body
        if isinstance(statement, ast.ImportFrom)
        for alias in statement.names
    }


@pytest.mark.parametrize("module", LAZY, ids=lambda module: module.__name__)
def test_type_checkers_and_python_find_the_same_names_in_the_same_places(module: Any) -> None:
    assert for_type_checkers(module) == module._HOMES
    assert set(module.__all__) - {"__version__"} == set(module._HOMES)
    assert len(set(module.__all__)) == len(module.__all__)


@pytest.mark.parametrize("module", LAZY, ids=lambda module: module.__name__)
def test_type_checkers_do_not_take_a_misspelt_name_for_one(module: Any) -> None:
    """A module with ``__getattr__`` has every name, as far as they can see."""
    tree = ast.parse(Path(module.__file__).read_text(encoding="utf-8"))
    assert not [
        node
        for node in tree.body
        if isinstance(node, (ast.Assign, ast.FunctionDef)) and "__getattr__" in ast.unparse(node)
    ]


@pytest.mark.parametrize("module", LAZY, ids=lambda module: module.__name__)
def test_every_name_is_where_it_is_said_to_be(module: Any) -> None:
    for name, home in module._HOMES.items():
        value = getattr(module, name)
        assert value is getattr(import_module(home), name)
        assert value.__module__ == home, f"{name} is only passing through {home}"


@pytest.mark.parametrize("module", ["locus", "locus.models"])
def test_dir_and_star_give_everything_before_anything_was_used(module: str) -> None:
    shown = python(f"import {module}; print(*dir({module}))").split()
    assert set(import_module(module).__all__) <= set(shown)
    starred = python(f"from {module} import *; print(*dir())").split()
    assert set(import_module(module).__all__) <= set(starred)


@pytest.mark.parametrize("module", LAZY, ids=lambda module: module.__name__)
def test_a_name_that_is_not_there_is_an_attribute_error_with_the_nearest(module: Any) -> None:
    right = max(module.__all__, key=len)
    wrong = right[:-2] + right[-1]
    with pytest.raises(AttributeError, match=f"'{module.__name__}' has no attribute '{wrong}'"):
        getattr(module, wrong)
    done = subprocess.run(
        [sys.executable, "-c", f"import {module.__name__} as m; m.{wrong}"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert f"Did you mean: '{right}'?" in done.stderr


def test_many_threads_may_ask_for_a_name_first() -> None:
    code = (
        "import locus, threading; from concurrent.futures import ThreadPoolExecutor as Pool\n"
        "start = threading.Barrier(8)\n"
        "def get(_): start.wait(); return locus.OpenAIModel\n"
        "print(len(set(Pool(8).map(get, range(8)))))"
    )
    assert python(code) == "1"


# -- the price ---------------------------------------------------------------------------------

HEAVY = {
    "anthropic", "anyio", "asyncio", "attr", "attrs", "cattrs", "http", "httpcore", "httpx",
    "httpx2", "msgspec", "oci", "ollama", "openai", "pydantic", "ssl", "stamina", "trio",
    "xllamacpp",
}  # fmt: skip


def loaded_by(code: str) -> set[str]:
    """The top-level modules that ``code`` loads."""
    shown = python(f"import sys; {code}; print(*sys.modules)")
    return {name.partition(".")[0] for name in shown.split()}


def test_importing_locus_loads_nothing_else() -> None:
    assert not HEAVY & loaded_by("import locus")
    assert not HEAVY & loaded_by("import locus, locus.models; dir(locus); locus.__version__")


def test_the_command_line_can_help_without_loading_anything() -> None:
    assert not HEAVY & loaded_by("import locus.__main__; locus.__main__._parser()")


def test_an_error_can_be_caught_without_loading_a_client() -> None:
    assert not HEAVY & loaded_by("from locus import APIError, ConfigurationError")


def test_a_model_can_be_made_without_loading_a_client_or_an_sdk() -> None:
    code = "from locus import get_model; get_model('openai:gpt-4o', api_key='k')"
    assert not loaded_by(code) & {"anthropic", "httpx", "httpx2", "oci", "openai", "pydantic"}


def test_asking_for_one_provider_loads_no_other() -> None:
    shown = python("import sys; from locus import OpenAIModel; print(*sys.modules)").split()
    assert "locus.models.native.openai" in shown
    assert not {"locus.models.llama_cpp", "locus.models._llama_cpp_server", "locus.testing"} & set(
        shown
    )
