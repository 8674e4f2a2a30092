"""Locus calls large language models: blocking in scripts, async under asyncio and trio.

    >>> from locus import get_model
    >>> get_model("openai:gpt-4o").complete_sync("Why is the sky blue?").content  # doctest: +SKIP

Every name below is imported when it is first used.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from locus.lazy import make_lazy_getattr_and_dir
from locus.version import VERSION as __version__

if TYPE_CHECKING:
    from locus.agent.agent import Agent
    from locus.agent.result import AgentResult
    from locus.core.errors import (
        APIConnectionError,
        APIError,
        APIStatusError,
        APITimeoutError,
        AuthenticationError,
        BadRequestError,
        ConfigurationError,
        ConflictError,
        ContentFilterError,
        ContextWindowExceededError,
        InternalServerError,
        LocusError,
        NotFoundError,
        OverloadedError,
        PermissionDeniedError,
        RateLimitError,
        ResponseParseError,
        StateFormatError,
        StreamInterruptedError,
        StructuredOutputError,
        UnprocessableEntityError,
    )
    from locus.core.messages import (
        ImagePart,
        Message,
        RefusalPart,
        Role,
        TextPart,
        ThinkingPart,
        ToolCall,
        ToolResult,
    )
    from locus.memory.errors import (
        CheckpointError,
        CheckpointVersionError,
        MemoryStoreError,
        ThreadBusyError,
    )
    from locus.models.local import LocalModel
    from locus.models.native.anthropic import AnthropicModel
    from locus.models.native.ollama import OllamaModel
    from locus.models.native.openai import OpenAIModel
    from locus.models.providers.oci.chat import OCIModel
    from locus.models.providers.oci.chat_completions import OCIChatCompletionsModel, OCIOpenAIModel
    from locus.models.providers.oci.responses import OCIResponsesModel
    from locus.models.providers.oci.responses_errors import (
        OCIProjectRequiredError,
        OCIResponsesStateLostError,
    )
    from locus.models.registry import get_model, list_providers, register_provider
    from locus.tools.decorator import tool
    from locus.tools.errors import ToolArgumentsError

_LAZY_MODULES: Final = {
    **dict.fromkeys(
        (
            "APIConnectionError",
            "APIError",
            "APIStatusError",
            "APITimeoutError",
            "AuthenticationError",
            "BadRequestError",
            "ConfigurationError",
            "ConflictError",
            "ContentFilterError",
            "ContextWindowExceededError",
            "InternalServerError",
            "LocusError",
            "NotFoundError",
            "OverloadedError",
            "PermissionDeniedError",
            "RateLimitError",
            "ResponseParseError",
            "StreamInterruptedError",
            "StructuredOutputError",
            "UnprocessableEntityError",
        ),
        "locus.core.errors",
    ),
    **dict.fromkeys(
        (
            "ImagePart",
            "Message",
            "RefusalPart",
            "Role",
            "TextPart",
            "ThinkingPart",
            "ToolCall",
            "ToolResult",
        ),
        "locus.core.messages",
    ),
    **dict.fromkeys(("get_model", "list_providers", "register_provider"), "locus.models.registry"),
    **dict.fromkeys(
        ("CheckpointError", "CheckpointVersionError", "MemoryStoreError", "ThreadBusyError"),
        "locus.memory.errors",
    ),
    "Agent": "locus.agent.agent",
    "AgentResult": "locus.agent.result",
    "StateFormatError": "locus.core.errors",
    "ToolArgumentsError": "locus.tools.errors",
    "tool": "locus.tools.decorator",
    "OCIChatCompletionsModel": "locus.models.providers.oci.chat_completions",
    "OCIModel": "locus.models.providers.oci.chat",
    "OCIOpenAIModel": "locus.models.providers.oci.chat_completions",
    "OCIProjectRequiredError": "locus.models.providers.oci.responses_errors",
    "OCIResponsesModel": "locus.models.providers.oci.responses",
    "OCIResponsesStateLostError": "locus.models.providers.oci.responses_errors",
    "AnthropicModel": "locus.models.native.anthropic",
    "LocalModel": "locus.models.local",
    "OllamaModel": "locus.models.native.ollama",
    "OpenAIModel": "locus.models.native.openai",
}

__all__ = [
    "APIConnectionError",
    "APIError",
    "APIStatusError",
    "APITimeoutError",
    "Agent",
    "AgentResult",
    "AnthropicModel",
    "AuthenticationError",
    "BadRequestError",
    "CheckpointError",
    "CheckpointVersionError",
    "ConfigurationError",
    "ConflictError",
    "ContentFilterError",
    "ContextWindowExceededError",
    "ImagePart",
    "InternalServerError",
    "LocalModel",
    "LocusError",
    "MemoryStoreError",
    "Message",
    "NotFoundError",
    "OCIChatCompletionsModel",
    "OCIModel",
    "OCIOpenAIModel",
    "OCIProjectRequiredError",
    "OCIResponsesModel",
    "OCIResponsesStateLostError",
    "OllamaModel",
    "OpenAIModel",
    "OverloadedError",
    "PermissionDeniedError",
    "RateLimitError",
    "RefusalPart",
    "ResponseParseError",
    "Role",
    "StateFormatError",
    "StreamInterruptedError",
    "StructuredOutputError",
    "TextPart",
    "ThinkingPart",
    "ThreadBusyError",
    "ToolArgumentsError",
    "ToolCall",
    "ToolResult",
    "UnprocessableEntityError",
    "__version__",
    "get_model",
    "list_providers",
    "register_provider",
    "tool",
]

if not TYPE_CHECKING:  # to type checkers a module with __getattr__ has every name there is
    __getattr__, __dir__ = make_lazy_getattr_and_dir(__name__, _LAZY_MODULES)
