"""A conversation as the messages of a generic chat request.

They are those of the chat completions format in Oracle's spelling, with three differences: content
is always a list of typed parts, the assistant's thinking has a place, and Gemini reads one call and
its result at a time.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Final

import attrs

from locus.core.conversation import Place, Turn
from locus.core.errors import ConfigurationError
from locus.core.messages import ImagePart, Message, Role, TextPart
from locus.wire.chat_completions.request import arguments_of, image_address, speaker
from locus.wire.encoding import open_thinking
from locus.wire.oci_chat.envelope import Written

_GEMINI: Final = "google."
_NOTHING: Final = "."
"""What an assistant says that says nothing. The service fails with 500 on a message for Gemini
that has no text; Oracle's own client for LangChain sends this."""


class FunctionCall(Written):
    id: str
    type: str
    name: str
    arguments: str


class ImageUrl(Written):
    url: str
    detail: str | None = None


class Content(Written):
    type: str
    text: str | None = None
    image_url: ImageUrl | None = None


class ChatMessage(Written):
    role: str
    content: list[Content] | None = None
    refusal: str | None = None
    reasoning_content: str | None = None
    tool_calls: list[FunctionCall] | None = None
    tool_call_id: str | None = None
    name: str | None = None


@attrs.frozen
class _Part:
    """A turn, or one of its tool calls where they go one by one."""

    turn: Turn
    calls: Sequence[int]
    """The places of the tool calls."""
    words: bool = True
    """Whether what the turn says goes here."""


def chat_messages(turns: Sequence[Turn], ids: Mapping[Place, str], model: str) -> list[ChatMessage]:
    """The messages for ``model``. ``ids`` are those of the tool calls.

    :raises ConfigurationError: the format cannot carry something; names the position.
    """
    gemini = model.lower().startswith(_GEMINI)
    parts = _one_by_one(turns) if gemini else map(_whole, turns)
    return [_message(part, ids, _NOTHING if gemini else None) for part in parts]


def _whole(turn: Turn) -> _Part:
    return _Part(turn, range(len(turn.message.tool_calls)))


def _one_by_one(turns: Sequence[Turn]) -> Iterator[_Part]:
    """Gemini wants as many results as calls in a turn, and the service makes each result a turn."""
    results: dict[Place, list[Turn]] = {}
    for turn in turns:
        if turn.answers is not None:
            results.setdefault(turn.answers, []).append(turn)
    for turn in turns:
        if turn.answers is not None:
            continue
        if not turn.message.tool_calls:
            yield _whole(turn)
        for at in range(len(turn.message.tool_calls)):
            yield _Part(turn, (at,), words=at == 0)
            for result in results.get((turn.position, at), ()):
                yield _whole(result)


def _message(part: _Part, ids: Mapping[Place, str], nothing: str | None) -> ChatMessage:
    position, message = part.turn.position, part.turn.message
    match message.role:
        case Role.ASSISTANT:
            text = (part.words and _words(position, message)) or nothing
            return ChatMessage(
                role="ASSISTANT",
                content=[_text(text)] if text else None,
                refusal=message.refusal if part.words else None,
                reasoning_content=open_thinking(message) if part.words else None,
                tool_calls=[_call(position, message, at, ids) for at in part.calls] or None,
                name=speaker(message),
            )
        case Role.TOOL:
            return ChatMessage(
                role="TOOL",
                content=[_text(_words(position, message))],
                tool_call_id=part.turn.answers and ids[part.turn.answers],
            )
        case Role.SYSTEM:
            return ChatMessage(
                role="SYSTEM", content=[_text(_words(position, message))], name=speaker(message)
            )
    return ChatMessage(role="USER", content=_content(position, message), name=speaker(message))


def _words(position: int, message: Message) -> str:
    """The text of a message that may hold no image in this format."""
    if isinstance(message.content, tuple):
        for part in message.content:
            if isinstance(part, ImagePart):
                raise ConfigurationError(
                    f"messages[{position}]: OCI takes images from the user only, not in a "
                    f"{message.role} message"
                )
    return message.text


def _content(position: int, message: Message) -> list[Content]:
    if not isinstance(message.content, tuple):
        return [_text(message.content or "")]
    return [
        _text(part.text) if isinstance(part, TextPart) else _image(position, part)
        for part in message.content
        if isinstance(part, (TextPart, ImagePart))
    ]


def _text(text: str) -> Content:
    return Content(type="TEXT", text=text)


def _image(position: int, part: ImagePart) -> Content:
    detail = part.detail.upper() if part.detail else None
    return Content(type="IMAGE", image_url=ImageUrl(image_address(position, part), detail))


def _call(position: int, message: Message, at: int, ids: Mapping[Place, str]) -> FunctionCall:
    call = message.tool_calls[at]
    return FunctionCall(
        id=ids[position, at],
        type="FUNCTION",
        name=call.name,
        arguments=arguments_of(f"messages[{position}].tool_calls[{at}]", call),
    )
