"""The JSON types of responses and stream chunks of ``POST /chat/completions``."""

from __future__ import annotations

from typing import Any, Final

from locus.wire.provider_json import ResponseStruct, StructDecoder


class PromptDetails(ResponseStruct):
    cached_tokens: float | None = None


class CompletionDetails(ResponseStruct):
    reasoning_tokens: float | None = None


class Usage(ResponseStruct):
    prompt_tokens: float | None = None
    completion_tokens: float | None = None
    prompt_tokens_details: PromptDetails | None = None
    completion_tokens_details: CompletionDetails | None = None


class ContentChunk(ResponseStruct):
    """A typed part of the content, which Mistral sends when the model thinks."""

    type: str | None = None
    text: str | None = None
    thinking: list[ContentChunk] | str | None = None


class FunctionCall(ResponseStruct):
    name: str | None = None
    arguments: str | dict[str, Any] | None = None
    """JSON text by the specification; some servers send the object itself."""


class CustomCall(ResponseStruct):
    """A call of one of OpenAI's free-text tools. Its input is text, not JSON."""

    name: str | None = None
    input: str | None = None


class ToolCallDelta(ResponseStruct):
    """A complete tool call, or a delta of one."""

    index: int | None = None
    id: str | None = None
    function: FunctionCall | None = None
    custom: CustomCall | None = None

    @property
    def name(self) -> str | None:
        """The tool's name, if it is in this delta."""
        call = self.function or self.custom
        return (call and call.name) or None

    @property
    def has_arguments(self) -> bool:
        """Whether this delta has arguments other than white space."""
        function = self.function
        if function is None:
            return self.custom is not None and bool(self.custom.input)
        arguments = function.arguments
        return bool(arguments.strip()) if isinstance(arguments, str) else arguments is not None


class ChoiceMessage(ResponseStruct):
    """A choice's ``message``, or ``delta`` in a stream: both have the same members."""

    content: str | list[ContentChunk] | None = None
    tool_calls: list[ToolCallDelta] | None = None
    reasoning_content: str | None = None
    reasoning: str | None = None
    refusal: str | None = None
    function_call: FunctionCall | None = None
    annotations: list[Any] | None = None
    audio: dict[str, Any] | None = None


class Choice(ResponseStruct):
    index: int | None = 0
    message: ChoiceMessage | None = None
    delta: ChoiceMessage | None = None
    finish_reason: str | None = None
    logprobs: dict[str, Any] | None = None


class Completion(ResponseStruct):
    """A complete response, a chunk of a stream, or, with neither choices nor usage, an error."""

    choices: list[Choice] | None = None
    usage: Usage | None = None
    id: str | int | None = None  # some servers send a number
    model: str | None = None
    error: Any = None


completion_decoder: Final = StructDecoder(Completion)
