"""A whole answer of ``POST /api/chat``, and what streamed ones share with it.

The server makes a whole answer by joining the pieces of a stream: texts and lists one after the
other, everything else from the last piece. So one reader does for both.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

import attrs

from locus.core.error_factory import make_status_error
from locus.core.errors import ResponseParseError, StreamInterruptedError
from locus.core.frozendict import EMPTY
from locus.core.messages import Message, Part, Role, TextPart, ThinkingPart, ToolCall
from locus.core.response import ModelResponse
from locus.wire.decoding import made_id, token_counts, tool_call
from locus.wire.json import Read, Reader, text_of
from locus.wire.stream_decoder import StreamDecoder


class Function(Read):
    name: str | None = None
    arguments: Any = None
    """An object by the book; some models' templates make it text."""


class Call(Read):
    id: str | None = None
    """Newer servers send one."""
    function: Function | None = None


class Said(Read):
    """The ``message`` of an answer, or of a piece of one."""

    content: str | None = None
    thinking: str | None = None
    tool_calls: list[Call] | None = None
    images: list[Any] | None = None


class Chat(Read):
    """A whole answer, or a piece of one; or an error."""

    model: str | None = None
    created_at: Any = None
    message: Said | None = None
    done: bool | None = None
    done_reason: str | None = None
    prompt_eval_count: float | None = None
    eval_count: float | None = None
    total_duration: Any = None
    logprobs: list[Any] | None = None
    error: Any = None
    status: Any = None


reader: Final = Reader(Chat)


@attrs.frozen
class OllamaChatParser:
    """The ``ResponseParser`` of Ollama's chat format."""

    def parse(self, response: bytes | str | Mapping[str, Any]) -> ModelResponse:
        """The answer that a body holds.

        :raises APIStatusError: the body is an error object.
        :raises ResponseParseError: it is not what the format promises.
        :raises StreamInterruptedError: the server itself says that there should be more.
        """
        chat = reader.read(response)
        check(chat, response)
        if chat.message is None:
            raise ResponseParseError("the answer has no message", body=text_of(response))
        answer = Answer()
        answer.add(chat)
        if chat.done is False:
            answer.keep_named_calls()
            raise StreamInterruptedError(
                "the server ended the answer before it was complete", partial=answer.response()
            )
        return answer.response()

    def decoder(self) -> StreamDecoder:
        """A reader for one streamed answer."""
        from locus.wire.ollama_chat.stream import OllamaChatDecoder

        return OllamaChatDecoder()


def check(chat: Chat, body: bytes | str | Mapping[str, Any]) -> None:
    """Refuse an answer, or a piece of one, that is an error object.

    The server means 500 where it says no ``status``: that is what the same error has outside.
    """
    if chat.error:
        status = chat.status if isinstance(chat.status, int) and chat.status >= 400 else 500
        error = chat.error
        if not isinstance(error, Mapping):
            error = {"message": error, "code": status}
        raise make_status_error(text_of(body), error=error)


class Answer:
    """An answer as it is read: at once, or piece by piece."""

    __slots__ = ("_calls", "_images", "_last", "_logprobs", "_model", "_text", "_thinking")

    def __init__(self) -> None:
        self._text: list[str] = []
        self._thinking: list[str] = []
        self._calls: list[Call] = []
        self._images: list[Any] = []
        self._logprobs: list[Any] | None = None
        self._model: str | None = None
        self._last = Chat()

    def add(self, chat: Chat) -> tuple[str, str]:
        """Take in a piece; gives the text and the thinking that it adds."""
        self._last = chat
        if chat.model:
            self._model = chat.model
        if chat.logprobs is not None:
            self._logprobs = (self._logprobs or []) + chat.logprobs
        said = chat.message
        if said is None:
            return "", ""
        text, thought = said.content or "", said.thinking or ""
        if text:
            self._text.append(text)
        if thought:
            self._thinking.append(thought)
        if said.tool_calls:
            self._calls += said.tool_calls
        if said.images:
            self._images += said.images
        return text, thought

    def keep_named_calls(self) -> None:
        """Drop the calls whose name has not arrived."""
        self._calls = [call for call in self._calls if call.function and call.function.name]

    def response(self) -> ModelResponse:
        """The value that has been read."""
        last, thinking = self._last, "".join(self._thinking) or None
        return ModelResponse(
            message=self._message(thinking),
            usage=_usage(last),
            stop_reason=last.done_reason or None,
            reasoning=thinking,
            model=self._model,
            logprobs=None if self._logprobs is None else {"content": self._logprobs},
        )

    def _message(self, thinking: str | None) -> Message:
        text = "".join(self._text)
        calls = _tool_calls(self._calls, f"{self._last.created_at}\0{self._last.total_duration}")
        content: str | tuple[Part, ...] | None = text if text or not calls else None
        if thinking is not None:
            # In the message too: models that think before they call a tool want to see it again.
            thought = ThinkingPart(thinking)
            content = (thought, TextPart(text)) if text else (thought,)
        notes = {"images": self._images} if self._images else EMPTY
        return Message(Role.ASSISTANT, content, calls, metadata=notes)


def _usage(last: Chat) -> Mapping[str, int]:
    """Token counts under Locus's names. A server that has the prompt in its cache may give none."""
    return token_counts(prompt_tokens=last.prompt_eval_count, completion_tokens=last.eval_count)


# Tool calls.


def _tool_calls(calls: Sequence[Call], source: str) -> tuple[ToolCall, ...]:
    """The calls, each with an id of its own; ``source`` is what tells this answer from others."""
    found: list[ToolCall] = []
    seen: set[str] = set()
    for position, call in enumerate(calls):
        made = _tool_call(position, call, source)
        while made.id in seen:
            made = attrs.evolve(made, id=f"{made.id}_{position}")
        seen.add(made.id)
        found.append(made)
    return tuple(found)


def _tool_call(position: int, call: Call, source: str) -> ToolCall:
    function = call.function
    if function is None or not function.name:
        arguments = None if function is None else function.arguments
        raise ResponseParseError(
            f"tool call {position} has no name", body=text_of({"arguments": arguments})
        )
    name, arguments = function.name, function.arguments
    identity = call.id or made_id(source, position, name, repr(arguments))
    return tool_call(identity, name, arguments)
