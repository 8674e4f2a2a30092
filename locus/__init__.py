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
        AnswerTooLargeError,
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
    from locus.core.events import (
        GroundingEvent,
        ModelChunkEvent,
        ReflectEvent,
        SubAgentEvent,
        TerminateEvent,
        ThinkEvent,
        ToolCompleteEvent,
        ToolStartEvent,
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
    from locus.core.response import ModelResponse
    from locus.core.state import AgentState
    from locus.core.structured.parse_response import StructuredOutput, parse_structured
    from locus.core.structured.parse_stream import parse_partial
    from locus.core.structured.response_format import build_response_format
    from locus.memory.checkpointers.base import BaseCheckpointer
    from locus.memory.checkpointers.file import FileCheckpointer
    from locus.memory.checkpointers.in_memory import MemoryCheckpointer
    from locus.memory.checkpointers.sqlite import SQLiteCheckpointer
    from locus.memory.errors import (
        CheckpointError,
        CheckpointVersionError,
        MemoryStoreError,
        ThreadBusyError,
    )
    from locus.memory.managers.base import ConversationManager
    from locus.memory.managers.sliding_window import SlidingWindowManager
    from locus.memory.managers.summarizing import SummarizingManager
    from locus.memory.managers.text_truncation import TruncatingManager
    from locus.memory.stores.base import MemoryStore
    from locus.memory.stores.in_memory import InMemoryStore
    from locus.memory.stores.sqlite import SQLiteStore
    from locus.models.local import LocalModel
    from locus.models.native.anthropic import AnthropicModel
    from locus.models.native.cohere import CohereModel
    from locus.models.native.gemini import GeminiModel
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
    from locus.reasoning.grounding_evaluator import GroundingEvaluator
    from locus.reasoning.gsar_evaluator import GSAREvaluator
    from locus.reasoning.reflector import Reflector
    from locus.tools.context import ToolContext
    from locus.tools.decorator import tool
    from locus.tools.errors import ToolArgumentsError
    from locus.tools.schema_tool import SchemaTool

# The names of each module.
_NAMES: Final = {
    "locus.agent.agent": ("Agent",),
    "locus.agent.result": ("AgentResult",),
    "locus.core.errors": (
        "APIConnectionError",
        "APIError",
        "APIStatusError",
        "APITimeoutError",
        "AnswerTooLargeError",
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
        "StateFormatError",
        "StreamInterruptedError",
        "StructuredOutputError",
        "UnprocessableEntityError",
    ),
    "locus.core.events": (
        "GroundingEvent",
        "ModelChunkEvent",
        "ReflectEvent",
        "SubAgentEvent",
        "TerminateEvent",
        "ThinkEvent",
        "ToolCompleteEvent",
        "ToolStartEvent",
    ),
    "locus.core.messages": (
        "ImagePart",
        "Message",
        "RefusalPart",
        "Role",
        "TextPart",
        "ThinkingPart",
        "ToolCall",
        "ToolResult",
    ),
    "locus.core.response": ("ModelResponse",),
    "locus.core.state": ("AgentState",),
    "locus.core.structured.parse_response": (
        "StructuredOutput",
        "parse_structured",
    ),
    "locus.core.structured.parse_stream": ("parse_partial",),
    "locus.core.structured.response_format": ("build_response_format",),
    "locus.memory.checkpointers.base": ("BaseCheckpointer",),
    "locus.memory.checkpointers.file": ("FileCheckpointer",),
    "locus.memory.checkpointers.in_memory": ("MemoryCheckpointer",),
    "locus.memory.checkpointers.sqlite": ("SQLiteCheckpointer",),
    "locus.memory.errors": (
        "CheckpointError",
        "CheckpointVersionError",
        "MemoryStoreError",
        "ThreadBusyError",
    ),
    "locus.memory.managers.base": ("ConversationManager",),
    "locus.memory.managers.sliding_window": ("SlidingWindowManager",),
    "locus.memory.managers.summarizing": ("SummarizingManager",),
    "locus.memory.managers.text_truncation": ("TruncatingManager",),
    "locus.memory.stores.base": ("MemoryStore",),
    "locus.memory.stores.in_memory": ("InMemoryStore",),
    "locus.memory.stores.sqlite": ("SQLiteStore",),
    "locus.models.local": ("LocalModel",),
    "locus.models.native.anthropic": ("AnthropicModel",),
    "locus.models.native.cohere": ("CohereModel",),
    "locus.models.native.gemini": ("GeminiModel",),
    "locus.models.native.ollama": ("OllamaModel",),
    "locus.models.native.openai": ("OpenAIModel",),
    "locus.models.providers.oci.chat": ("OCIModel",),
    "locus.models.providers.oci.chat_completions": (
        "OCIChatCompletionsModel",
        "OCIOpenAIModel",
    ),
    "locus.models.providers.oci.responses": ("OCIResponsesModel",),
    "locus.models.providers.oci.responses_errors": (
        "OCIProjectRequiredError",
        "OCIResponsesStateLostError",
    ),
    "locus.models.registry": (
        "get_model",
        "list_providers",
        "register_provider",
    ),
    "locus.reasoning.grounding_evaluator": ("GroundingEvaluator",),
    "locus.reasoning.gsar_evaluator": ("GSAREvaluator",),
    "locus.reasoning.reflector": ("Reflector",),
    "locus.tools.context": ("ToolContext",),
    "locus.tools.decorator": ("tool",),
    "locus.tools.errors": ("ToolArgumentsError",),
    "locus.tools.schema_tool": ("SchemaTool",),
}
_LAZY_MODULES: Final = {name: module for module, names in _NAMES.items() for name in names}

__all__ = [
    "APIConnectionError",
    "APIError",
    "APIStatusError",
    "APITimeoutError",
    "Agent",
    "AgentResult",
    "AgentState",
    "AnswerTooLargeError",
    "AnthropicModel",
    "AuthenticationError",
    "BadRequestError",
    "BaseCheckpointer",
    "CheckpointError",
    "CheckpointVersionError",
    "CohereModel",
    "ConfigurationError",
    "ConflictError",
    "ContentFilterError",
    "ContextWindowExceededError",
    "ConversationManager",
    "FileCheckpointer",
    "GSAREvaluator",
    "GeminiModel",
    "GroundingEvaluator",
    "GroundingEvent",
    "ImagePart",
    "InMemoryStore",
    "InternalServerError",
    "LocalModel",
    "LocusError",
    "MemoryCheckpointer",
    "MemoryStore",
    "MemoryStoreError",
    "Message",
    "ModelChunkEvent",
    "ModelResponse",
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
    "ReflectEvent",
    "Reflector",
    "RefusalPart",
    "ResponseParseError",
    "Role",
    "SQLiteCheckpointer",
    "SQLiteStore",
    "SchemaTool",
    "SlidingWindowManager",
    "StateFormatError",
    "StreamInterruptedError",
    "StructuredOutput",
    "StructuredOutputError",
    "SubAgentEvent",
    "SummarizingManager",
    "TerminateEvent",
    "TextPart",
    "ThinkEvent",
    "ThinkingPart",
    "ThreadBusyError",
    "ToolArgumentsError",
    "ToolCall",
    "ToolCompleteEvent",
    "ToolContext",
    "ToolResult",
    "ToolStartEvent",
    "TruncatingManager",
    "UnprocessableEntityError",
    "__version__",
    "build_response_format",
    "get_model",
    "list_providers",
    "parse_partial",
    "parse_structured",
    "register_provider",
    "tool",
]

if not TYPE_CHECKING:  # to type checkers a module with __getattr__ has every name there is
    __getattr__, __dir__ = make_lazy_getattr_and_dir(__name__, _LAZY_MODULES)
