"""Which names can be imported, from where, and which modules that loads."""

from __future__ import annotations

import ast
import inspect
import sys
from importlib import import_module
from pathlib import Path
from pkgutil import iter_modules
from types import ModuleType
from typing import Any

import pytest

import locus
import locus.agent
import locus.memory
import locus.models
import locus.reasoning
import locus.wire
from locus.core import errors
from tests.support.processes import run_process

LAZY_PACKAGES = [locus, locus.agent, locus.memory, locus.models, locus.wire, locus.reasoning]

PUBLIC_NAMES = {
    "locus": "Message ToolCall ToolResult Role get_model list_providers register_provider "
    "Agent tool OpenAIModel AnthropicModel CohereModel OllamaModel OCIModel "
    "OCIChatCompletionsModel "
    "OCIOpenAIModel OCIResponsesModel LocalModel ToolContext AgentState TextPart ImagePart "
    "ModelChunkEvent ThinkEvent ToolStartEvent ToolCompleteEvent ReflectEvent GroundingEvent "
    "SubAgentEvent TerminateEvent MemoryCheckpointer FileCheckpointer SQLiteCheckpointer "
    "InMemoryStore "
    "SQLiteStore parse_structured parse_partial",
    "locus.models": "get_model list_providers register_provider ModelProtocol ModelConfig "
    "ModelResponse RequestBuilder ResponseParser OpenAIModel AnthropicModel CohereModel "
    "OllamaModel OCIModel OCIChatCompletionsModel OCIOpenAIModel OCIResponsesModel LocalModel",
    "locus.models.registry": "get_model list_providers register_provider",
    "locus.models.base": "ModelProtocol ModelConfig ModelResponse RequestBuilder ResponseParser",
    "locus.models.native.openai": "OpenAIModel OpenAIConfig",
    "locus.models.native.anthropic": "AnthropicModel AnthropicConfig",
    "locus.models.native.cohere": "CohereModel CohereConfig",
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
    "locus.models.local": "LocalModel LocalConfig",
    "locus.reasoning": "Reflector GroundingEvaluator EvidenceType Claim Partition GSARThresholds "
    "gsar_score decide Decision JudgeOutput StructuredOutputGSARJudge GSAREvaluator",
    "locus.core.messages": "Message Role ToolCall ToolResult",
    "locus.core.events": "ModelChunkEvent ThinkEvent ToolStartEvent ToolCompleteEvent ReflectEvent "
    "GroundingEvent SubAgentEvent TerminateEvent",
    "locus.core.errors": "LocusError ConfigurationError APIError APIConnectionError "
    "APITimeoutError APIStatusError BadRequestError AuthenticationError PermissionDeniedError "
    "NotFoundError ConflictError UnprocessableEntityError RateLimitError InternalServerError "
    "OverloadedError ContextWindowExceededError ContentFilterError ResponseParseError "
    "StreamInterruptedError StructuredOutputError",
    "locus.testing": "ScriptedModel FunctionModel text tool_call check_model_conformance "
    "LoopbackServer Reply",
}


def run_code(code: str) -> str:
    """The output of ``code`` in a new process, with warnings as errors."""
    process = run_process([sys.executable, "-W", "error", "-c", code])
    assert (process.returncode, process.stderr) == (0, "")
    return process.stdout.strip()


@pytest.mark.parametrize(
    ("module", "name"),
    [(module, name) for module, names in PUBLIC_NAMES.items() for name in names.split()],
)
def test_every_public_name_can_be_imported(module: str, name: str) -> None:
    assert getattr(import_module(module), name) is not None


def test_a_name_is_the_same_object_in_every_package() -> None:
    for name in locus.models.__all__:
        assert getattr(locus, name, None) in (None, getattr(locus.models, name))
    assert locus.OpenAIModel is import_module("locus.models.native.openai").OpenAIModel
    assert locus.models.ModelResponse is import_module("locus.models.base").ModelResponse


def test_every_error_of_the_tree_is_public() -> None:
    tree = {
        name
        for name, value in vars(errors).items()
        if isinstance(value, type) and issubclass(value, errors.LocusError)
    }
    assert tree <= set(locus.__all__)


# -- lazy packages list each name three times --------------------------------------------------


def read_type_checking_imports(module: ModuleType) -> dict[str, str]:
    """The module of each name that is imported under ``TYPE_CHECKING``."""
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


@pytest.mark.parametrize("module", LAZY_PACKAGES, ids=lambda module: module.__name__)
def test_type_checkers_and_python_find_the_same_names_in_the_same_places(module: Any) -> None:
    assert read_type_checking_imports(module) == module._LAZY_MODULES
    assert set(module.__all__) - {"__version__"} == set(module._LAZY_MODULES)
    assert len(set(module.__all__)) == len(module.__all__)


@pytest.mark.parametrize("module", LAZY_PACKAGES, ids=lambda module: module.__name__)
def test_type_checkers_see_misspelled_names(module: Any) -> None:
    """For a type checker, a module with ``__getattr__`` has every name."""
    tree = ast.parse(Path(module.__file__).read_text(encoding="utf-8"))
    assert not [
        node
        for node in tree.body
        if isinstance(node, (ast.Assign, ast.FunctionDef)) and "__getattr__" in ast.unparse(node)
    ]


@pytest.mark.parametrize("module", LAZY_PACKAGES, ids=lambda module: module.__name__)
def test_every_name_is_defined_in_its_listed_module(module: Any) -> None:
    for name, home_module in module._LAZY_MODULES.items():
        value = getattr(module, name)
        assert value is getattr(import_module(home_module), name)
        if inspect.isclass(value) or inspect.isroutine(value):  # no constant, and no alias
            assert value.__module__ == home_module, f"{name} is not defined in {home_module}"


@pytest.mark.parametrize("module", LAZY_PACKAGES, ids=lambda module: module.__name__)
def test_no_module_hides_a_public_name(module: Any) -> None:
    """Importing a submodule sets its name on the package, in place of what the table promises."""
    submodules = {found.name for found in iter_modules(module.__path__)}
    assert not submodules & set(module.__all__)


@pytest.mark.parametrize("module", [module.__name__ for module in LAZY_PACKAGES])
def test_dir_lists_the_public_names_and_nothing_else(module: str) -> None:
    public_names = sorted(import_module(module).__all__)
    assert run_code(f"import {module}; print(*dir({module}))").split() == public_names
    code = f"from {module} import *; import {module}, locus.agent; print(*dir({module}))"
    assert run_code(code).split() == public_names, "after all names were used"


@pytest.mark.parametrize("module", [module.__name__ for module in LAZY_PACKAGES])
def test_a_star_import_gets_all_names_before_any_is_used(module: str) -> None:
    imported_names = run_code(f"from {module} import *; print(*dir())").split()
    assert set(import_module(module).__all__) <= set(imported_names)


@pytest.mark.parametrize("module", LAZY_PACKAGES, ids=lambda module: module.__name__)
def test_an_unknown_name_is_an_attribute_error_with_the_most_similar_name(module: Any) -> None:
    right = max(module.__all__, key=len)
    wrong = right[:-2] + right[-1]
    with pytest.raises(AttributeError, match=f"'{module.__name__}' has no attribute '{wrong}'"):
        getattr(module, wrong)
    process = run_process([sys.executable, "-c", f"import {module.__name__} as m; m.{wrong}"])
    assert f"Did you mean: '{right}'?" in process.stderr


def test_many_threads_can_use_a_name_first() -> None:
    code = (
        "import locus, threading; from concurrent.futures import ThreadPoolExecutor as Pool\n"
        "start = threading.Barrier(8)\n"
        "def get(_): start.wait(); return locus.OpenAIModel\n"
        "print(len(set(Pool(8).map(get, range(8)))))"
    )
    assert run_code(code) == "1"


# -- loaded modules ----------------------------------------------------------------------------

HEAVY_MODULES = {
    "anthropic", "anyio", "asyncio", "attr", "attrs", "cattrs", "http", "httpcore", "httpx",
    "httpx2", "msgspec", "oci", "ollama", "openai", "pydantic", "ssl", "stamina", "trio",
    "xllamacpp",
}  # fmt: skip


def get_loaded_modules(code: str) -> set[str]:
    """The top-level modules that ``code`` loads."""
    shown = run_code(f"import sys; {code}; print(*sys.modules)")
    return {name.partition(".")[0] for name in shown.split()}


def test_importing_locus_loads_nothing_else() -> None:
    assert not HEAVY_MODULES & get_loaded_modules("import locus")
    assert not HEAVY_MODULES & get_loaded_modules(
        "import locus, locus.models; dir(locus); locus.__version__"
    )


def test_the_command_line_shows_help_without_loading_packages() -> None:
    assert not HEAVY_MODULES & get_loaded_modules(
        "import locus.command_line; locus.command_line._make_argument_parser()"
    )


def test_an_error_can_be_caught_without_loading_a_client() -> None:
    assert not HEAVY_MODULES & get_loaded_modules("from locus import APIError, ConfigurationError")


def test_a_model_can_be_created_without_loading_a_client_or_an_sdk() -> None:
    code = "from locus import get_model; get_model('openai:gpt-4o', api_key='k')"
    assert not get_loaded_modules(code) & {
        "anthropic",
        "httpx",
        "httpx2",
        "oci",
        "openai",
        "pydantic",
    }


AGENT_RUN = """
import sys
from locus import Agent, tool
from locus.testing import ScriptedModel, tool_call
import anyio
@tool
def f() -> str: return "x"
def make(**options):
    return Agent(ScriptedModel(tool_call("f"), "It is x."), [f], **options)
make().run_sync("?")
list(make().stream_sync("?"))
anyio.run(make().arun, "?")
make(reflexion=False, grounding=None, gsar=False).run_sync("?")
"""


def test_an_agent_without_reasoning_does_not_load_it() -> None:
    loaded = run_code(f"{AGENT_RUN}\nprint(*sys.modules)").split()
    assert [name for name in loaded if name.startswith("locus.reasoning")] == []
    code = AGENT_RUN + "make(reflexion=True, grounding=True).run_sync('?')\nprint(*sys.modules)"
    assert {"locus.reasoning.reflector", "locus.reasoning.grounding_evaluator"} <= set(
        run_code(code).split()
    )


def test_importing_one_provider_loads_no_other() -> None:
    shown = run_code("import sys; from locus import OpenAIModel; print(*sys.modules)").split()
    assert "locus.models.native.openai" in shown
    assert not {
        "locus.models.local",
        "locus.models._in_process_llama_server",
        "locus.testing",
    } & set(shown)
