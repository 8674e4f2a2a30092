"""One candidate of an answer as it is read: at once, or piece by piece.

What servers of this format do differently with tool calls and reasoning is settled here, so that
whole answers and streamed ones come to the same.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from locus.core.errors import ResponseParseError
from locus.core.frozendict import EMPTY
from locus.core.messages import Message, RefusalPart, Role, TextPart, ToolCall
from locus.core.response import Candidate
from locus.wire.chat_completions.json_types import Call, ContentPiece, Function, Said
from locus.wire.decoding import made_id
from locus.wire.json import text_of


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
            identity = self.id or made_id(source, position, self.name, repr(arguments))
            return ToolCall(identity, self.name, arguments)
        text = "".join(arguments)
        identity = self.id or made_id(source, position, self.name, text)
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


class Answer:
    """One candidate as it is read."""

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
