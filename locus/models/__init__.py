"""Models: what a user holds, calls and copies."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from locus.lazy import lazy_names

if TYPE_CHECKING:
    from locus.core.response import Candidate, ModelResponse
    from locus.models.base import ModelConfig, ModelProtocol, RequestBuilder, ResponseParser
    from locus.models.llama_cpp import LocalModel
    from locus.models.native.anthropic import AnthropicModel
    from locus.models.native.ollama import OllamaModel
    from locus.models.native.openai import OpenAIModel
    from locus.models.providers.oci.chat import OCIModel
    from locus.models.providers.oci.chat_completions import OCIChatCompletionsModel, OCIOpenAIModel
    from locus.models.providers.oci.responses import OCIResponsesModel
    from locus.models.registry import get_model, list_providers, register_provider

_HOMES: Final = {
    **dict.fromkeys(("Candidate", "ModelResponse"), "locus.core.response"),
    **dict.fromkeys(
        ("ModelConfig", "ModelProtocol", "RequestBuilder", "ResponseParser"), "locus.models.base"
    ),
    **dict.fromkeys(("get_model", "list_providers", "register_provider"), "locus.models.registry"),
    "OCIChatCompletionsModel": "locus.models.providers.oci.chat_completions",
    "OCIModel": "locus.models.providers.oci.chat",
    "OCIOpenAIModel": "locus.models.providers.oci.chat_completions",
    "OCIResponsesModel": "locus.models.providers.oci.responses",
    "AnthropicModel": "locus.models.native.anthropic",
    "LocalModel": "locus.models.llama_cpp",
    "OllamaModel": "locus.models.native.ollama",
    "OpenAIModel": "locus.models.native.openai",
}

__all__ = [
    "AnthropicModel",
    "Candidate",
    "LocalModel",
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
    __getattr__, __dir__ = lazy_names(__name__, _HOMES)
