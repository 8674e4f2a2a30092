"""What Locus reads of the JSON of an answer of ``POST /chat/completions``, and of its pieces."""

from __future__ import annotations

from typing import Any, Final

from locus.wire.json import Read, Reader


class PromptDetails(Read):
    cached_tokens: float | None = None


class CompletionDetails(Read):
    reasoning_tokens: float | None = None


class Usage(Read):
    prompt_tokens: float | None = None
    completion_tokens: float | None = None
    prompt_tokens_details: PromptDetails | None = None
    completion_tokens_details: CompletionDetails | None = None


class ContentPiece(Read):
    """Mistral answers with typed pieces where it thinks aloud."""

    type: str | None = None
    text: str | None = None
    thinking: list[ContentPiece] | str | None = None


class Function(Read):
    name: str | None = None
    arguments: str | dict[str, Any] | None = None
    """Text by the book; some servers send the object itself."""


class Custom(Read):
    """OpenAI's free-text tools: the input is no JSON, and not promised to be."""

    name: str | None = None
    input: str | None = None


class Call(Read):
    """A tool call, or a fragment of one."""

    index: int | None = None
    id: str | None = None
    function: Function | None = None
    custom: Custom | None = None

    @property
    def name(self) -> str | None:
        """The tool's name, in the fragment that has it."""
        named = self.function or self.custom
        return (named and named.name) or None

    @property
    def has_arguments(self) -> bool:
        """Whether there is more here than white space."""
        function = self.function
        if function is None:
            return self.custom is not None and bool(self.custom.input)
        said = function.arguments
        return bool(said.strip()) if isinstance(said, str) else said is not None


class Said(Read):
    """An answer's ``message``, or a stream's ``delta``: the members are the same."""

    content: str | list[ContentPiece] | None = None
    tool_calls: list[Call] | None = None
    reasoning_content: str | None = None
    reasoning: str | None = None
    refusal: str | None = None
    function_call: Function | None = None
    annotations: list[Any] | None = None
    audio: dict[str, Any] | None = None


class Choice(Read):
    index: int | None = 0
    message: Said | None = None
    delta: Said | None = None
    finish_reason: str | None = None
    logprobs: dict[str, Any] | None = None


class Completion(Read):
    """A whole answer, or a chunk of one; or, with neither choices nor usage, an error."""

    choices: list[Choice] | None = None
    usage: Usage | None = None
    id: str | int | None = None  # some servers number their answers
    model: str | None = None
    error: Any = None


reader: Final = Reader(Completion)
