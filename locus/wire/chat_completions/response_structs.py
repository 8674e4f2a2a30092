"""The JSON types of responses and stream chunks of ``POST /chat/completions``."""

from __future__ import annotations

from typing import Any, ClassVar, Final, Literal

import msgspec

from locus.wire.provider_json import ResponseStruct, StructDecoder


class PromptDetails(ResponseStruct):
    cached_tokens: Any = None
    cache_write_tokens: Any = None
    """OpenAI's and OpenRouter's name for input that was written to a cache."""
    cache_creation_tokens: Any = None
    """LiteLLM's name for the same."""
    audio_tokens: Any = None


class CompletionDetails(ResponseStruct):
    reasoning_tokens: Any = None
    audio_tokens: Any = None
    accepted_prediction_tokens: Any = None
    rejected_prediction_tokens: Any = None


class Usage(ResponseStruct):
    """Token counts. A server may send each as another JSON type than a number."""

    prompt_tokens: Any = None
    completion_tokens: Any = None
    total_tokens: Any = None
    prompt_tokens_details: PromptDetails | None = None
    completion_tokens_details: CompletionDetails | None = None
    cached_tokens: Any = None
    """Moonshot's place for the count."""
    prompt_cache_hit_tokens: Any = None
    """DeepSeek's name for input that was read from a cache."""
    cache_read_input_tokens: Any = None
    """Gateways in front of Anthropic, such as LiteLLM, keep its names; both counts are part of
    ``prompt_tokens`` there."""
    cache_creation_input_tokens: Any = None
    reasoning_tokens: Any = None
    """Some servers count it here, and not in the details."""


class GroqMember(ResponseStruct):
    """``x_groq``, a member of the last chunk of Groq's streams."""

    usage: Usage | None = None
    error: Any = None


class FunctionCall(ResponseStruct):
    needed_members: ClassVar = frozenset({"name"})

    name: str | None = None
    arguments: Any = None
    """JSON text by the specification; some servers send the object itself, or an empty list."""
    thought_signature: Any = None
    extra_content: Any = None
    provider_specific_fields: Any = None


class CustomCall(ResponseStruct):
    """A call of one of OpenAI's free-text tools. Its input is text, not JSON."""

    needed_members: ClassVar = frozenset({"name", "input"})

    name: str | None = None
    input: str | None = None


class ToolCallDelta(ResponseStruct):
    """A complete tool call, or a delta of one."""

    needed_members: ClassVar = frozenset({"function", "custom"})

    index: int | None = None
    id: str | None = None
    function: FunctionCall | None = None
    custom: CustomCall | None = None
    extra_content: Any = None
    provider_specific_fields: Any = None
    thought_signature: Any = None
    type: Any = None

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

    @property
    def starts_call(self) -> bool:
        """Whether this delta has the members of the first delta of a call, its id aside."""
        return bool(self.name and self.type)


class ChoiceMessage(ResponseStruct):
    """A choice's ``message``, or ``delta`` in a stream: both have the same members."""

    needed_members: ClassVar = frozenset({"content", "tool_calls", "function_call"})

    content: str | list[Any] | None = None
    """Text, or typed parts: Mistral and Databricks send those when the model thinks."""
    tool_calls: list[ToolCallDelta] | None = None
    reasoning_content: str | None = None
    reasoning: str | None = None
    refusal: str | None = None
    function_call: FunctionCall | None = None
    annotations: list[Any] | None = None
    audio: dict[str, Any] | None = None
    images: Any = None
    # What servers want to see again; see `native_members`.
    reasoning_text: Any = None
    reasoning_opaque: Any = None
    reasoning_details: Any = None
    thinking_blocks: Any = None
    extra_content: Any = None
    provider_specific_fields: Any = None
    thought_signature: Any = None


class Choice(ResponseStruct):
    needed_members: ClassVar = frozenset({"message", "delta"})

    index: int | None = None
    message: ChoiceMessage | None = None
    delta: ChoiceMessage | None = None
    finish_reason: str | None = None
    camel_finish_reason: str | None = msgspec.field(default=None, name="finishReason")
    """Where Gemini's compatible endpoint has sent the reason, beside a ``finish_reason`` of null:
    https://github.com/jakobdylanc/llmcord/issues/84."""
    logprobs: dict[str, Any] | None = None
    usage: Usage | None = None
    """Moonshot's streams count the tokens here, in the last chunk."""
    error: Any = None
    """OpenRouter's place for the failure of the provider behind it."""
    native_finish_reason: Any = None
    """The word of the provider behind OpenRouter."""
    text: Any = None
    """The text of a server that answers as the older completions API does."""

    @property
    def text_message(self) -> ChoiceMessage | None:
        """The text as a message; None if there is none."""
        return ChoiceMessage(self.text) if isinstance(self.text, str) and self.text else None


class Completion(ResponseStruct):
    """A complete response, a chunk of a stream, or, with neither choices nor usage, an error."""

    needed_members: ClassVar = frozenset({"choices"})

    choices: list[Choice] | None = None
    usage: Usage | None = None
    x_groq: GroqMember | None = None
    id: str | int | None = None  # some servers send a number
    model: str | None = None
    error: Any = None
    base_resp: Any = None
    """MiniMax's status of the request."""


completion_decoder: Final = StructDecoder(Completion)


class PlainDelta(msgspec.Struct, gc=False, forbid_unknown_fields=True):
    """A delta that has nothing but text."""

    content: str
    role: Any = None
    refusal: None = None
    tool_calls: None = None
    reasoning_content: None = None
    reasoning: None = None


class PlainChoice(msgspec.Struct, gc=False):
    """The first choice of a chunk, with nothing but text."""

    delta: PlainDelta
    index: Literal[0, None] = None
    finish_reason: Literal["", None] = None
    message: None = None
    logprobs: None = None
    usage: None = None
    error: None = None


class PlainChunk(msgspec.Struct, gc=False):
    """A chunk of a stream that has nothing but text, as nearly all do.

    It says nothing that :class:`Completion` would not say; its types are the checks that otherwise
    follow the decoding one by one, and take as long.
    """

    choices: tuple[PlainChoice]
    usage: None = None
    x_groq: None = None
    error: None = None
    base_resp: None = None


decode_plain_chunk: Final = msgspec.json.Decoder(PlainChunk).decode
"""Decodes a :class:`PlainChunk`; any other chunk is one of ``DECODING_ERRORS``."""
