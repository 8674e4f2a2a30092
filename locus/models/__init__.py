"""Models of every provider, the registry, and the protocols for models of one's own."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from locus.lazy import make_lazy_getattr_and_dir

if TYPE_CHECKING:
    from locus.core.response import Candidate, ModelResponse
    from locus.models.base import Model
    from locus.models.capabilities import ModelCapabilities
    from locus.models.chat_completions_model import ChatCompletionsConfig, ChatCompletionsModel
    from locus.models.config import ModelConfig
    from locus.models.http_model import HttpModel
    from locus.models.keyed_chat_completions_model import (
        KeyedChatCompletionsConfig,
        KeyedChatCompletionsModel,
    )
    from locus.models.keyed_model import KeyedConfig, KeyedModel
    from locus.models.local import LocalModel
    from locus.models.native.anthropic import AnthropicModel
    from locus.models.native.cohere import CohereModel
    from locus.models.native.gemini import GeminiModel
    from locus.models.native.ollama import OllamaModel
    from locus.models.native.openai import OpenAIModel
    from locus.models.protocols import ModelProtocol, RequestBuilder, ResponseParser
    from locus.models.providers.oci.chat import OCIModel
    from locus.models.providers.oci.chat_completions import OCIChatCompletionsModel, OCIOpenAIModel
    from locus.models.providers.oci.responses import OCIResponsesModel
    from locus.models.registry import get_model, list_providers, register_provider

_LAZY_MODULES: Final = {
    **dict.fromkeys(("Candidate", "ModelResponse"), "locus.core.response"),
    **dict.fromkeys(
        ("ModelProtocol", "RequestBuilder", "ResponseParser"), "locus.models.protocols"
    ),
    "ModelCapabilities": "locus.models.capabilities",
    "HttpModel": "locus.models.http_model",
    "Model": "locus.models.base",
    "ModelConfig": "locus.models.config",
    **dict.fromkeys(
        ("ChatCompletionsConfig", "ChatCompletionsModel"), "locus.models.chat_completions_model"
    ),
    **dict.fromkeys(
        ("KeyedChatCompletionsConfig", "KeyedChatCompletionsModel"),
        "locus.models.keyed_chat_completions_model",
    ),
    **dict.fromkeys(("KeyedConfig", "KeyedModel"), "locus.models.keyed_model"),
    **dict.fromkeys(("get_model", "list_providers", "register_provider"), "locus.models.registry"),
    "OCIChatCompletionsModel": "locus.models.providers.oci.chat_completions",
    "OCIModel": "locus.models.providers.oci.chat",
    "OCIOpenAIModel": "locus.models.providers.oci.chat_completions",
    "OCIResponsesModel": "locus.models.providers.oci.responses",
    "AnthropicModel": "locus.models.native.anthropic",
    "LocalModel": "locus.models.local",
    "CohereModel": "locus.models.native.cohere",
    "GeminiModel": "locus.models.native.gemini",
    "OllamaModel": "locus.models.native.ollama",
    "OpenAIModel": "locus.models.native.openai",
}

__all__ = [
    "AnthropicModel",
    "Candidate",
    "ChatCompletionsConfig",
    "ChatCompletionsModel",
    "CohereModel",
    "GeminiModel",
    "HttpModel",
    "KeyedChatCompletionsConfig",
    "KeyedChatCompletionsModel",
    "KeyedConfig",
    "KeyedModel",
    "LocalModel",
    "Model",
    "ModelCapabilities",
    "ModelConfig",
    "ModelProtocol",
    "ModelResponse",
    "OCIChatCompletionsModel",
    "OCIModel",
    "OCIOpenAIModel",
    "OCIResponsesModel",
    "OllamaModel",
    "OpenAIModel",
    "RequestBuilder",
    "ResponseParser",
    "get_model",
    "list_providers",
    "register_provider",
]

if not TYPE_CHECKING:  # to type checkers a module with __getattr__ has every name there is
    __getattr__, __dir__ = make_lazy_getattr_and_dir(__name__, _LAZY_MODULES)
