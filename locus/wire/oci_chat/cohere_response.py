"""A ``CohereChatResponse``, and what its events share with it.

Cohere names no call. Locus makes an id for each from the answer: from its place in it, its
parameters, and the ``chatHistory`` that comes with the answer and grows with every turn. So it is
the same id however the answer was read, and another one for the same call in a later turn. A
parser that is told the conversation (:meth:`CohereChatParser.within`) makes sure of the latter
even where a server leaves the history out.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

import attrs

from locus.core.conversation import Messages
from locus.core.errors import ResponseParseError
from locus.core.frozendict import EMPTY
from locus.core.messages import Message, Role, ToolCall
from locus.core.response import ModelResponse
from locus.wire.decoding import made_id, tool_call
from locus.wire.json import Reader, text_of
from locus.wire.oci_chat.cohere_shared import check_finish, distinct, usage_of
from locus.wire.oci_chat.envelope import Read, Wrapped, check, without
from locus.wire.oci_chat.generic_response import Usage
from locus.wire.stream_decoder import StreamDecoder


class Call(Read):
    name: str | None = None
    parameters: Any = None


class Chat(Wrapped):
    """A ``ChatResult``; or what stands in it, which is what events are too; or an error."""

    chat_response: Chat | None = None
    text: str | None = None
    tool_calls: list[Call] | None = None
    finish_reason: str | None = None
    error_message: str | None = None
    chat_history: Any = None
    usage: Usage | None = None
    citations: list[Any] | None = None
    documents: list[Any] | None = None
    search_queries: list[Any] | None = None


reader: Final = Reader(Chat)


@attrs.frozen
class CohereChatParser:
    """The ``ResponseParser`` of Cohere's first format.

    :param taken: ids of tool calls that are in use already.
    """

    taken: frozenset[str] = frozenset()

    def within(self, messages: Messages) -> CohereChatParser:
        """A parser whose tool calls get ids that none in ``messages`` has."""
        if isinstance(messages, (str, Message)):
            messages = () if isinstance(messages, str) else (messages,)
        ids = frozenset(call.id for message in messages for call in message.tool_calls)
        return attrs.evolve(self, taken=self.taken | ids)

    def parse(self, response: bytes | str | Mapping[str, Any]) -> ModelResponse:
        """The answer that a body holds.

        :raises APIStatusError: the body is an error object, or an answer that is one.
        :raises ResponseParseError: it is not what the format promises.
        """
        result = reader.read(response)
        check(result, response)
        if result.chat_response is None:
            raise without("chatResponse", response)
        answer = Answer(self.taken)
        answer.add(result, response)
        return answer.response()

    def decoder(self) -> StreamDecoder:
        """A reader for one streamed answer."""
        from locus.wire.oci_chat.cohere_stream import CohereChatDecoder

        return CohereChatDecoder(self.taken)


class Answer:
    """An answer as it is read: at once, or piece by piece."""

    __slots__ = ("_calls", "_history", "_model", "_notes", "_taken", "_text", "_usage", "reason")

    def __init__(self, taken: frozenset[str]) -> None:
        self._taken = taken
        self._text: list[str] = []
        self._calls: list[Call] = []
        self._history: Any = None
        self._notes: dict[str, Any] = {}
        self._usage: Usage | None = None
        self._model: str | None = None
        self.reason: str | None = None

    def add(self, chat: Chat, body: bytes | str | Mapping[str, Any]) -> tuple[str, str]:
        """Take in an answer, or an event of one; gives the text and the reasoning that it adds.

        The format has no reasoning.

        :raises APIStatusError: it says that the answer failed.
        """
        if chat.model_id:
            self._model = chat.model_id
        chat = chat.chat_response or chat
        text = chat.text or ""
        if chat.tool_calls or chat.finish_reason or chat.chat_history is not None:
            text = self._beyond(text)
        said_nothing = not (text or self._text or chat.tool_calls or self._calls)
        check_finish(chat.finish_reason, chat.error_message, said_nothing, body)
        if text:
            self._text.append(text)
        if chat.tool_calls:
            self._add_calls(chat.tool_calls, bool(chat.finish_reason))
        if chat.chat_history is not None:
            self._history = chat.chat_history
        if chat.usage is not None:
            self._usage = chat.usage
        for name in ("citations", "documents", "search_queries"):
            if found := getattr(chat, name):
                self._notes[name] = found
        if chat.finish_reason:
            self.reason = chat.finish_reason
        return text, ""

    def _beyond(self, text: str) -> str:
        """What ``text``, the whole answer's, has more than the pieces had."""
        said = "".join(self._text)
        return text[len(said) :] if text.startswith(said) else ""

    def _add_calls(self, calls: list[Call], last: bool) -> None:
        before = self._calls
        if last or (len(calls) > len(before) and calls[: len(before)] == before):
            self._calls = list(calls)  # all of them, those told before among them
        else:
            before += calls

    def keep_named_calls(self) -> None:
        """Drop the calls whose name has not arrived."""
        self._calls = [call for call in self._calls if call.name]

    def response(self) -> ModelResponse:
        """The value that has been read."""
        text, calls = "".join(self._text), self._tool_calls()
        return ModelResponse(
            message=Message(
                Role.ASSISTANT,
                text if text or not calls else None,
                calls,
                metadata=self._notes or EMPTY,
            ),
            usage=usage_of(self._usage),
            stop_reason=self.reason,
            model=self._model,
        )

    def _tool_calls(self) -> tuple[ToolCall, ...]:
        if not self._calls:
            return ()
        source = f"{self._history!r}\0{''.join(self._text)}\0{usage_of(self._usage)!r}"
        found = []
        for position, call in enumerate(self._calls):
            if not call.name:
                body = text_of({"parameters": call.parameters})
                raise ResponseParseError(f"tool call {position} has no name", body=body)
            identity = made_id(source, position, call.name, repr(call.parameters))
            found.append(tool_call(identity, call.name, call.parameters))
        return distinct(found, self._taken)
