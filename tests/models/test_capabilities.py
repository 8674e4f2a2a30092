"""What each model says that it can do, and whether its wire format agrees."""

from __future__ import annotations

import json
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import attrs
import pytest

from locus import AnthropicModel, LocalModel, OCIModel, OCIResponsesModel, OllamaModel, OpenAIModel
from locus.core.errors import ConfigurationError
from locus.core.messages import (
    ImagePart,
    Message,
    Part,
    RefusalPart,
    Role,
    TextPart,
    ThinkingPart,
    ToolCall,
)
from locus.models import ModelCapabilities
from locus.models.base import Model
from locus.models.capabilities import get_capabilities
from locus.models.providers.oci import OCIChatCompletionsModel
from locus.testing import FunctionModel, ScriptedModel

pytestmark = pytest.mark.usefixtures("clean_environment")

API_KEYS = {"api_key": "sk-0123456789"}
HTTP_MODELS: dict[str, Callable[[], Any]] = {
    "openai": lambda: OpenAIModel("m", **API_KEYS),
    "anthropic": lambda: AnthropicModel(**API_KEYS),
    "ollama": OllamaModel,
    "oci-generic": lambda: OCIModel("meta.llama", api_format="GENERIC"),
    "oci-cohere": lambda: OCIModel("cohere.command-r", api_format="COHERE"),
    "oci-cohere-v2": lambda: OCIModel("cohere.command-a", api_format="COHEREV2"),
    "oci-chat": lambda: OCIChatCompletionsModel("m", **API_KEYS),
    "oci-responses": lambda: OCIResponsesModel("m", **API_KEYS),
}
EXPECTED = {  # structured output, server state, thinking
    "openai": ("always", False, True),
    "anthropic": ("without_tools", False, True),
    "ollama": ("without_tools", False, True),
    "oci-generic": ("always", False, True),
    "oci-cohere": ("without_tools", False, False),
    "oci-cohere-v2": ("without_tools", False, True),
    "oci-chat": ("always", False, True),
    "oci-responses": ("always", True, True),
}
RESPONSE_FORMAT = {
    "type": "json_schema",
    "json_schema": {"name": "x", "schema": {"type": "object", "properties": {}}},
}
TOOL = {"type": "function", "function": {"name": "look", "parameters": {"type": "object"}}}
MARK = "a part that is easy to see"
PNG = b"\x89PNG\r\n\x1a\n0123"
PARTS: dict[type[Part], tuple[Part, ...]] = {
    TextPart: (TextPart(MARK),),
    ImagePart: (ImagePart(data=PNG, media_type="image/png"),),
    RefusalPart: (RefusalPart(MARK),),
    ThinkingPart: (ThinkingPart(MARK), ThinkingPart(MARK, signature="s")),  # each is of a provider
}

every_model = pytest.mark.parametrize("name", HTTP_MODELS)


def build_body(model: Any, messages: Any, tools: Any = (), **options: Any) -> str:
    body = model.request_builder.build(messages, tools, model="m", max_tokens=9, **options)
    return json.dumps(body, default=dict)


def build_conversation(role: Role, part: Part) -> list[Message]:
    first = Message.user("hello")
    if role is Role.USER:
        return [Message.user(["look", part])]
    if role is Role.SYSTEM:
        return [Message(Role.SYSTEM, ["look", part]), first]
    if role is Role.ASSISTANT:
        return [first, Message(Role.ASSISTANT, ["look", part]), first]
    call = Message.assistant(None, [ToolCall("call_1", "look", {})])
    return [first, call, Message(Role.TOOL, ["look", part], tool_call_id="call_1", name="look")]


def is_part_sent(model: Any, role: Role, part_class: type[Part]) -> bool:
    def is_sent(part: Part) -> bool:
        try:
            body = build_body(model, build_conversation(role, part), [TOOL])
        except ValueError:  # a message cannot hold the part, or the format cannot carry it
            return False
        return MARK in body or "iVBORw0KGgo" in body

    return any(map(is_sent, PARTS[part_class]))


@every_model
def test_every_model_tells_its_capabilities(name: str) -> None:
    model = HTTP_MODELS[name]()
    capabilities = model.capabilities
    assert (
        capabilities.structured_output,
        capabilities.server_state,
        capabilities.thinking,
    ) == EXPECTED[name]
    assert capabilities.tools
    assert capabilities.parallel_tool_calls
    assert capabilities.streamed_tool_calls
    assert get_capabilities(model) == capabilities
    assert pickle.loads(pickle.dumps(capabilities)) == capabilities


@every_model
def test_the_older_properties_agree(name: str) -> None:
    model = HTTP_MODELS[name]()
    if model.supports_structured_output:
        assert model.capabilities.structured_output == "always"
    assert model.capabilities.server_state is model.server_stateful


@every_model
def test_the_parts_are_those_that_the_format_sends(name: str) -> None:
    model = HTTP_MODELS[name]()
    for role in Role:
        for part_class in PARTS:
            is_sent = is_part_sent(model, role, part_class)
            assert model.capabilities.can_send(part_class, role) is is_sent, (role, part_class)


@every_model
def test_the_format_sends_schemas_and_tools(name: str) -> None:
    model = HTTP_MODELS[name]()
    without_schema = build_body(model, "hello")
    assert build_body(model, "hello", response_format=RESPONSE_FORMAT) != without_schema
    assert build_body(model, "hello", [TOOL]) != without_schema


def test_local_models_read_text_only(tmp_path: Path) -> None:
    (tmp_path / "model.gguf").write_bytes(b"GGUF")
    capabilities = LocalModel(str(tmp_path / "model.gguf")).capabilities
    assert capabilities.structured_output == "always"
    assert not any(capabilities.can_send(ImagePart, role) for role in Role)
    assert capabilities.can_send(TextPart)


def test_gemini_on_oci_takes_a_schema_without_tools_only() -> None:
    model = OCIModel("google.gemini-2.5-pro")
    assert model.capabilities.structured_output == "without_tools"
    assert model.copy(model_id="xai.grok-4").capabilities.structured_output == "always"


def test_a_model_without_storage_has_no_server_state() -> None:
    model = OCIResponsesModel("m", store=False, **API_KEYS)
    assert not model.capabilities.server_state
    assert model.copy(store=True).capabilities.server_state


@pytest.mark.parametrize(
    "model", [ScriptedModel("a"), FunctionModel(lambda *_, **__: "a")], ids=["script", "function"]
)
def test_models_for_tests_take_every_part(model: Model) -> None:
    assert model.capabilities.structured_output == "never"
    assert all(model.capabilities.can_send(p, "assistant") for p in PARTS)


# -- models of the user's own ----------------------------------------------------------------------


def test_a_subclass_that_overrides_an_older_property_is_believed() -> None:
    class WithoutFormat(OpenAIModel):
        prefix = "other"

        @property
        def supports_structured_output(self) -> bool:
            return False

    class WithFormat(AnthropicModel):
        @property
        def supports_structured_output(self) -> bool:
            return True

        @property
        def server_stateful(self) -> bool:
            return True

    without_format = WithoutFormat("m", **API_KEYS).capabilities
    assert without_format.structured_output == "never"
    assert without_format.parts == OpenAIModel("m").capabilities.parts
    with_format = WithFormat(**API_KEYS).capabilities
    assert (with_format.structured_output, with_format.server_state) == ("always", True)


def test_a_subclass_may_have_other_capabilities_as_a_class_attribute() -> None:
    class TextOnly(OpenAIModel):
        base_capabilities = ModelCapabilities(
            structured_output="without_tools", tools=False, parts={Role.USER: frozenset({TextPart})}
        )

    model = TextOnly("m", **API_KEYS)
    assert model.capabilities == TextOnly.base_capabilities
    assert not model.supports_structured_output
    assert not model.capabilities.can_send(ImagePart)
    assert not model.capabilities.can_send(TextPart, Role.ASSISTANT)


@pytest.mark.parametrize("has_format", [True, False])
def test_a_model_without_capabilities_is_asked_for_the_older_properties(has_format: bool) -> None:
    class Own:
        supports_structured_output = has_format
        server_stateful = True
        capabilities = {"vision": True}  # noqa: RUF012  # somebody else's attribute

    capabilities = get_capabilities(Own())
    assert capabilities.structured_output == ("always" if has_format else "never")
    assert capabilities.server_state
    assert get_capabilities(object()) == ModelCapabilities()


# -- the value -------------------------------------------------------------------------------------


def test_capabilities_are_a_frozen_value() -> None:
    parts = {"assistant": [TextPart, RefusalPart, ThinkingPart]}
    one, other = (ModelCapabilities(parts=parts) for _ in range(2))  # type: ignore[arg-type]
    assert one == other
    assert hash(one) == hash(other)
    with pytest.raises(attrs.exceptions.FrozenInstanceError):
        one.tools = False  # type: ignore[misc]
    assert "'assistant': ['RefusalPart', 'TextPart', 'ThinkingPart']" in repr(one)


def test_parts_may_be_named_by_strings_and_lists() -> None:
    capabilities = ModelCapabilities(parts={"user": [TextPart, ImagePart]})  # type: ignore[dict-item]
    assert capabilities.can_send(ImagePart, "user")
    assert not capabilities.can_send(TextPart, Role.SYSTEM)


def test_an_unknown_level_is_an_error() -> None:
    with pytest.raises(ConfigurationError, match="'without_tools'"):
        ModelCapabilities(structured_output="sometimes")  # type: ignore[arg-type]
