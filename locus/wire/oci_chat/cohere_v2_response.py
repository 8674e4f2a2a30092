"""A ``CohereChatResponseV2``, and what its events share with it.

The assistant's message has contents of several types, a plan (``toolPlan``) where it calls tools,
and calls whose ``function`` holds a name and arguments as JSON text, as they were seen on the
service (NVIDIA NeMo-Relay, pull request 554); the ``oci`` package leaves it open.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

import attrs

from locus.core.errors import ResponseParseError
from locus.core.frozendict import EMPTY
from locus.core.messages import Message, Part, Role, TextPart, ThinkingPart, ToolCall
from locus.core.response import ModelResponse
from locus.wire.decoding import made_id, tool_call
from locus.wire.json import Reader, text_of
from locus.wire.oci_chat.cohere_shared import check_finish, distinct, usage_of
from locus.wire.oci_chat.envelope import Read, Wrapped, check, without
from locus.wire.oci_chat.generic_response import Usage
from locus.wire.stream_decoder import StreamDecoder


class Content(Read):
    type: str | None = None
    text: str | None = None
    thinking: str | None = None


class Function(Read):
    name: str | None = None
    arguments: Any = None


class Call(Read):
    """A tool call, or a fragment of one."""

    id: str | None = None
    function: Function | None = None


class Said(Read):
    content: list[Content] | None = None
    tool_plan: str | None = None
    tool_calls: list[Call] | None = None
    citations: list[Any] | None = None


class Chat(Wrapped):
    """A ``ChatResult``; or what stands in it, which is what events are too; or an error."""

    chat_response: Chat | None = None
    id: str | None = None
    message: Said | str | None = None  # text in errors
    finish_reason: str | None = None
    error_message: str | None = None
    log_probabilities: list[Any] | None = None
    usage: Usage | None = None


reader: Final = Reader(Chat)


@attrs.frozen
class CohereV2ChatParser:
    """The ``ResponseParser`` of Cohere's second format."""

    def parse(self, response: bytes | str | Mapping[str, Any]) -> ModelResponse:
        """The answer that a body holds.

        :raises APIStatusError: the body is an error object, or an answer that is one.
        :raises ResponseParseError: it is not what the format promises.
        """
        result = reader.read(response)
        check(result, response)
        if result.chat_response is None:
            raise without("chatResponse", response)
        answer = Answer()
        answer.add(result, response, whole=True)
        return answer.response()

    def decoder(self) -> StreamDecoder:
        """A reader for one streamed answer."""
        from locus.wire.oci_chat.cohere_v2_stream import CohereV2ChatDecoder

        return CohereV2ChatDecoder()


class _CallInParts:
    """A tool call as its fragments arrive."""

    __slots__ = ("arguments", "id", "name", "pieces")

    def __init__(self) -> None:
        self.id = ""
        self.name = ""
        self.pieces: list[str] = []
        self.arguments: Any = None
        """What is no text, and comes whole."""

    def add(self, fragment: Call) -> None:
        self.id = self.id or fragment.id or ""
        function = fragment.function
        if function is None:
            return
        self.name = self.name or function.name or ""
        if isinstance(function.arguments, str):
            self.pieces.append(function.arguments)
        elif function.arguments is not None:
            self.arguments = function.arguments

    @property
    def said(self) -> Any:
        """The arguments as they have arrived."""
        if self.arguments is not None:
            return self.arguments
        return "".join(self.pieces) if self.pieces else None

    def is_the_same(self, call: Call) -> bool:
        """Whether ``call`` tells this one again."""
        function = call.function or Function()
        same = (call.id or "") == self.id and (function.name or "") == self.name
        return same and function.arguments == self.said


class Answer:
    """An answer as it is read: at once, or piece by piece."""

    __slots__ = (
        "_calls",
        "_id",
        "_logprobs",
        "_model",
        "_notes",
        "_parts",
        "_plan",
        "_thoughts",
        "_usage",
        "reason",
    )

    def __init__(self) -> None:
        self._parts: list[tuple[bool, list[str]]] = []
        """The contents: whether it is thinking, and its pieces."""
        self._plan: list[str] = []
        self._thoughts: list[str] = []
        """Thinking and plan, in the order in which they came."""
        self._calls: list[_CallInParts] = []
        self._notes: dict[str, Any] = {}
        self._logprobs: list[Any] | None = None
        self._usage: Usage | None = None
        self._id: str | None = None
        self._model: str | None = None
        self.reason: str | None = None

    def add(
        self, chat: Chat, body: bytes | str | Mapping[str, Any], *, whole: bool = False
    ) -> tuple[str, str]:
        """Take in an answer, or an event of one; gives the text and the reasoning that it adds.

        :raises APIStatusError: it says that the answer failed.
        :raises ResponseParseError: the whole answer has no message.
        """
        if chat.model_id:
            self._model = chat.model_id
        chat = chat.chat_response or chat
        if chat.id:
            self._id = chat.id
        said = chat.message if isinstance(chat.message, Said) else None
        nothing = said is None or not (said.content or said.tool_plan or said.tool_calls)
        nothing = nothing and not (self._parts or self._plan or self._calls)
        check_finish(chat.finish_reason, chat.error_message, nothing, body)
        if said is None and whole:
            raise without("message", body)
        if chat.usage is not None:
            self._usage = chat.usage
        if chat.log_probabilities is not None:
            self._logprobs = (self._logprobs or []) + chat.log_probabilities
        last = bool(chat.finish_reason)
        if last:
            self.reason = chat.finish_reason
        return ("", "") if said is None else self._add_said(said, last and not whole, whole)

    def _add_said(self, said: Said, last: bool, whole: bool) -> tuple[str, str]:
        contents = said.content or []
        if last:  # where it repeats what the pieces were, that is no further piece
            contents = self._without_repeats(contents)
        text = thought = ""
        for content in contents:
            if content.thinking:
                thought += content.thinking
                self._add_piece(True, content.thinking)
            if content.text:
                text += content.text
                self._add_piece(False, content.text)
        plan = said.tool_plan or ""
        if plan and not (last and plan == "".join(self._plan)):
            self._plan.append(plan)
            thought += plan
        if thought:
            self._thoughts.append(thought)
        calls = said.tool_calls or []
        if not (last and self._repeats(calls)):
            for call in calls:
                self._call_of(call, whole).add(call)
        if said.citations:
            self._notes["citations"] = self._notes.get("citations", []) + said.citations
        return text, thought

    def _without_repeats(self, contents: list[Content]) -> list[Content]:
        text = "".join(content.text or "" for content in contents)
        thought = "".join(content.thinking or "" for content in contents)
        again = text == self._joined(False)
        thought_again = thought == self._joined(True)
        return [
            Content(
                content.type,
                None if again else content.text,
                None if thought_again else content.thinking,
            )
            for content in contents
        ]

    def _repeats(self, calls: list[Call]) -> bool:
        known = self._calls
        return len(calls) == len(known) and all(
            one.is_the_same(call) for one, call in zip(known, calls, strict=True)
        )

    def _add_piece(self, thinking: bool, piece: str) -> None:
        if not self._parts or self._parts[-1][0] is not thinking:
            self._parts.append((thinking, []))
        self._parts[-1][1].append(piece)

    def _joined(self, thinking: bool) -> str:
        return "".join("".join(pieces) for kind, pieces in self._parts if kind is thinking)

    def _call_of(self, fragment: Call, whole: bool) -> _CallInParts:
        """The call a fragment belongs to: by id, or else the one before it."""
        if not whole and self._calls:
            if fragment.id:
                for call in self._calls:
                    if call.id == fragment.id:
                        return call
            elif not (fragment.function and fragment.function.name):
                return self._calls[-1]
        self._calls.append(_CallInParts())
        return self._calls[-1]

    def keep_named_calls(self) -> None:
        """Drop the calls whose name has not arrived."""
        self._calls = [call for call in self._calls if call.name]

    def response(self) -> ModelResponse:
        """The value that has been read."""
        calls = self._tool_calls()
        plan = "".join(self._plan)
        notes = self._notes | ({"tool_plan": plan} if plan else {})
        return ModelResponse(
            message=Message(
                Role.ASSISTANT, self._content(bool(calls)), calls, metadata=notes or EMPTY
            ),
            usage=usage_of(self._usage),
            stop_reason=self.reason,
            reasoning="".join(self._thoughts) or None,
            model=self._model,
            response_id=self._id,
            logprobs=None if self._logprobs is None else {"content": self._logprobs},
        )

    def _content(self, calls: bool) -> str | tuple[Part, ...] | None:
        if not any(thinking for thinking, _ in self._parts):
            text = self._joined(False)
            return text if text or not calls else None
        # Thinking is in the message too: the model wants to see it again.
        return tuple(
            ThinkingPart("".join(pieces)) if thinking else TextPart("".join(pieces))
            for thinking, pieces in self._parts
        )

    def _tool_calls(self) -> tuple[ToolCall, ...]:
        found = []
        for position, call in enumerate(self._calls):
            if not call.name:
                body = text_of({"arguments": call.said})
                raise ResponseParseError(f"tool call {position} has no name", body=body)
            identity = call.id or made_id(self._id or "", position, call.name, repr(call.said))
            found.append(tool_call(identity, call.name, call.said))
        return distinct(found)
