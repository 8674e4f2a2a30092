"""A whole answer of ``POST /chat/completions``, and what streamed ones share with it."""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Mapping, Sequence
from typing import Any, Final

import attrs
import msgspec

from locus.core.errors import ResponseParseError
from locus.core.failures import refused
from locus.core.frozendict import EMPTY, FrozenDict
from locus.core.messages import Message, RefusalPart, Role, TextPart, ToolCall
from locus.core.response import Candidate, ModelResponse
from locus.wire.decoder import StreamDecoder
from locus.wire.json import Reader


class Read(msgspec.Struct, gc=False):
    """A shape that is read. JSON has no cycles, so the garbage collector need not look at it."""


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


@attrs.frozen
class ChatCompletionsParser:
    """The ``ResponseParser`` of the chat completions format."""

    def parse(self, response: bytes | str | Mapping[str, Any]) -> ModelResponse:
        """The answer that a body holds.

        :raises APIStatusError: the body is an error object.
        :raises ResponseParseError: it is not what the format promises.
        """
        return response_of(reader.read(response), response)

    def decoder(self) -> StreamDecoder:
        """A reader for one streamed answer."""
        from locus.wire.chat_completions.stream import ChatCompletionsDecoder

        return ChatCompletionsDecoder()


def response_of(whole: Completion, body: bytes | str | Mapping[str, Any]) -> ModelResponse:
    """The answer in a decoded body; ``body`` is quoted in errors."""
    check(whole, body)
    if not whole.choices:
        raise ResponseParseError("the answer has no choices", body=text_of(body))
    answers = []
    for position, choice in enumerate(sorted(whole.choices, key=lambda choice: choice.index or 0)):
        if choice.message is None:
            raise ResponseParseError(f"choices[{position}] has no message", body=text_of(body))
        answer = Answer()
        answer.add(choice.message, whole=True)
        answer.stop_reason = choice.finish_reason or None
        if choice.logprobs is not None:
            answer.add_logprobs(choice.logprobs)
        answers.append(answer)
    return assemble(answers, whole.usage, whole.id or None, whole.model or None)


def check(whole: Completion, body: bytes | str | Mapping[str, Any]) -> None:
    """Refuse an answer, or a chunk of one, that is an error object.

    Most servers wrap it as ``{"error": …}``, OpenRouter beside choices, and vLLM sends it bare.
    """
    if whole.error:
        raise refused(text_of(body), error=whole.error)
    if whole.choices is None and whole.usage is None and whole.id is None and whole.model is None:
        text = text_of(body)
        if '"message"' in text:
            raise refused(text)


def text_of(body: Any) -> str:
    """A body as the text that error messages quote."""
    if isinstance(body, bytes):
        return body.decode(errors="replace")
    return body if isinstance(body, str) else json.dumps(body, default=str)


class CallInParts:
    """A tool call as its fragments arrive."""

    __slots__ = ("arguments", "custom", "id", "index", "name")

    def __init__(self, index: int | None) -> None:
        self.index = index
        self.id = ""
        self.name = ""
        self.arguments: list[str] | dict[str, Any] = []
        self.custom = False

    def add(self, fragment: Call) -> None:
        """Take in one fragment."""
        self.id = self.id or fragment.id or ""
        if fragment.function is not None:
            self.add_function(fragment.function)
        elif fragment.custom is not None:
            self.custom = True
            self.add_function(Function(fragment.custom.name, fragment.custom.input))

    def add_function(self, function: Function) -> None:
        """Take in the name, the arguments, or a piece of either."""
        # Some servers repeat the whole name in every fragment.
        if function.name and function.name != self.name:
            self.name += function.name
        if isinstance(function.arguments, dict):
            self.arguments = function.arguments
        elif function.arguments and isinstance(self.arguments, list):
            self.arguments.append(function.arguments)

    def call(self, position: int, source: str | None) -> ToolCall:
        """The finished call. ``source`` names the answer, for an id where the server gave none."""
        arguments = self.arguments
        if not self.name:
            raise ResponseParseError(
                f"tool call {position} has no name", body=text_of({"arguments": arguments})
            )
        if isinstance(arguments, dict):
            identity = self.id or self._made_id(position, source, repr(arguments))
            return ToolCall(identity, self.name, arguments)
        text = "".join(arguments)
        identity = self.id or self._made_id(position, source, text)
        if self.custom:
            return ToolCall(identity, self.name, malformed_arguments=text)
        return ToolCall.from_json(identity, self.name, text)

    def is_whole(self) -> bool:
        """Whether the arguments so far are a JSON object."""
        if isinstance(self.arguments, dict):
            return True
        # An object ends in a brace. Who repeats the name in every fragment has this asked for each,
        # and joining them all each time would take the square of their number.
        if not (self.name and self.arguments and self.arguments[-1].rstrip().endswith("}")):
            return False
        text = "".join(self.arguments)
        return ToolCall.from_json("any", self.name, text).malformed_arguments is None

    def _made_id(self, position: int, source: str | None, arguments: str) -> str:
        # Made from the answer, so that it is the same however the answer was read.
        seed = f"{source}\0{position}\0{self.name}\0{arguments}"
        return f"call_{hashlib.sha256(seed.encode(errors='replace')).hexdigest()[:24]}"


class Answer:
    """One candidate as it is read: at once, or piece by piece."""

    __slots__ = (
        "annotations",
        "audio",
        "audio_pieces",
        "calls",
        "legacy_call",
        "logprobs",
        "reasoning",
        "refusal",
        "stop_reason",
        "text",
    )

    def __init__(self) -> None:
        self.text: list[str] = []
        self.reasoning: list[str] = []
        self.refusal: list[str] = []
        self.calls: list[CallInParts] = []
        self.legacy_call: CallInParts | None = None
        self.annotations: list[Any] = []
        self.audio: dict[str, Any] = {}
        self.audio_pieces: dict[str, list[str]] = {}
        self.logprobs: dict[str, Any] | None = None
        self.stop_reason: str | None = None

    def add(self, said: Said, *, whole: bool = False) -> tuple[str, str]:
        """Take in a delta, or a whole message; gives the text and the reasoning that it adds."""
        content = said.content
        # OpenRouter and vLLM send both names with the same text.
        thought = said.reasoning_content or said.reasoning or ""
        if isinstance(content, list):
            thought += "".join(_thinking(piece) for piece in content)
            content = "".join(piece.text or "" for piece in content if piece.thinking is None)
        if content:
            self.text.append(content)
        if thought:
            self.reasoning.append(thought)
        if said.refusal:
            self.refusal.append(said.refusal)
        for fragment in said.tool_calls or ():
            (self._new_call(None) if whole else self._call_of(fragment)).add(fragment)
        if said.function_call is not None:
            if self.legacy_call is None:
                self.legacy_call = CallInParts(None)
            self.legacy_call.add_function(said.function_call)
        if said.annotations:
            self.annotations += said.annotations
        if said.audio:
            self._add_audio(said.audio)
        return content or "", thought

    def _call_of(self, fragment: Call) -> CallInParts:
        """The call a fragment belongs to: by index, by id, or else the one before it."""
        opens = fragment.name is not None
        if fragment.index is not None:
            for call in reversed(self.calls):
                if call.index == fragment.index:
                    # Some servers number all parallel calls 0 and tell them apart by id, or not
                    # at all (Gemini): then a named call after a whole one is the next.
                    if fragment.id and call.id:
                        another = opens and fragment.id != call.id
                    else:
                        another = opens and fragment.has_arguments and call.is_whole()
                    if another:
                        break
                    return call
        elif fragment.id:
            for call in reversed(self.calls):
                if call.id == fragment.id:
                    if opens and fragment.has_arguments and call.is_whole():
                        break
                    return call
        elif self.calls and not opens:
            return self.calls[-1]
        return self._new_call(fragment.index)

    def _new_call(self, index: int | None) -> CallInParts:
        call = CallInParts(index)
        self.calls.append(call)
        return call

    def _add_audio(self, audio: Mapping[str, Any]) -> None:
        for name, value in audio.items():
            if name in ("data", "transcript") and isinstance(value, str):
                self.audio_pieces.setdefault(name, []).append(value)
            else:
                self.audio[name] = value

    def add_logprobs(self, logprobs: Mapping[str, Any]) -> None:
        """Take in token probabilities: lists are joined, other members replaced."""
        kept = self.logprobs = {} if self.logprobs is None else self.logprobs
        for name, value in logprobs.items():
            before = kept.get(name)
            if isinstance(before, list) and isinstance(value, list):
                before += value  # in place, for this is done with every chunk
            elif value is not None or before is None:
                kept[name] = list(value) if isinstance(value, list) else value

    def candidate(self, source: str | None) -> Candidate:
        """The value that has been read; ``source`` names the answer."""
        text = "".join(self.text)
        calls = _distinct(
            [call.call(position, source) for position, call in enumerate(self._in_order())]
        )
        content: Any = text if text or not (calls or self.refusal) else None
        if self.refusal:
            refusal = RefusalPart("".join(self.refusal))
            content = (TextPart(text), refusal) if text else (refusal,)
        notes: dict[str, Any] = {}
        if self.annotations:
            notes["annotations"] = self.annotations
        audio = self.audio | {name: "".join(said) for name, said in self.audio_pieces.items()}
        if audio:
            notes["audio"] = audio
        return Candidate(
            message=Message(Role.ASSISTANT, content, calls, metadata=notes or EMPTY),
            stop_reason=self.stop_reason,
            reasoning="".join(self.reasoning) or None,
            logprobs=self.logprobs,
        )

    def keep_named_calls(self) -> None:
        """Drop the calls whose name has not arrived."""
        self.calls = [call for call in self.calls if call.name]
        if self.legacy_call is not None and not self.legacy_call.name:
            self.legacy_call = None

    def _in_order(self) -> Sequence[CallInParts]:
        if self.legacy_call is not None and not self.calls:
            return [self.legacy_call]  # who sends both says the same twice
        if all(call.index is not None for call in self.calls):
            return sorted(self.calls, key=lambda call: call.index or 0)
        return self.calls


def _thinking(piece: ContentPiece) -> str:
    if isinstance(piece.thinking, str):
        return piece.thinking
    return "".join(part.text or "" for part in piece.thinking or ())


def _distinct(calls: list[ToolCall]) -> tuple[ToolCall, ...]:
    """Some servers give parallel calls one id: their results could not be told apart."""
    seen: set[str] = set()
    for position, call in enumerate(calls):
        if call.id in seen:
            new = ToolCall(
                f"{call.id}_{position}", call.name, call.arguments, call.malformed_arguments
            )
            calls[position] = call = new
        seen.add(call.id)
    return tuple(calls)


def usage_of(usage: Usage | None) -> Mapping[str, int]:
    """Token counts under Locus's names."""
    if usage is None:
        return EMPTY
    details, spent = usage.prompt_tokens_details, usage.completion_tokens_details
    counts = {
        "prompt_tokens": usage.prompt_tokens,
        "completion_tokens": usage.completion_tokens,
        "cached_tokens": details.cached_tokens if details else None,
        "reasoning_tokens": spent.reasoning_tokens if spent else None,
    }
    return FrozenDict(
        {
            name: int(count)
            for name, count in counts.items()
            if count is not None and math.isfinite(count)  # json.loads gives NaN for NaN
        }
    )


def assemble(
    answers: Sequence[Answer], usage: Usage | None, number: str | int | None, model: str | None
) -> ModelResponse:
    """The whole response from its candidates; ``number`` is the answer's id."""
    source = None if number is None else str(number)
    candidates = tuple(answer.candidate(source) for answer in answers)
    first = candidates[0]
    return ModelResponse(
        message=first.message,
        usage=usage_of(usage),
        stop_reason=first.stop_reason,
        reasoning=first.reasoning,
        model=model,
        response_id=source,
        logprobs=first.logprobs,
        candidates=candidates if len(candidates) > 1 else (),
    )
