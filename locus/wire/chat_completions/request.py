"""A conversation as the JSON body of ``POST /chat/completions``."""

from __future__ import annotations

import base64
import re
from collections.abc import Mapping, Sequence
from typing import Any, Final, Literal

import attrs
import msgspec

from locus.core.call_options import CallOptions
from locus.core.conversation import Messages, Place, Turn, conversation, in_order
from locus.core.errors import ConfigurationError
from locus.core.messages import (
    Content,
    ImagePart,
    Message,
    Role,
    TextPart,
    ToolCall,
)
from locus.core.tool_schemas import Tool, tool_schemas
from locus.wire.data_urls import in_address, kind_of
from locus.wire.tool_call_ids import ANY, IdRule, call_ids, checksum

_REASONING: Final = re.compile(
    r"(?:ft:)?(?:openai[./])?(?:o[1-9]\d*|gpt-(?:[5-9]|[12]\d)(?!\d))(?![a-z\d])"
)
"""OpenAI's reasoning families: o1, o3, o4, gpt-5 and what comes after them."""

_IDS: Final = IdRule(re.compile(r".{1,40}", re.DOTALL), lambda call: f"call_{checksum(call)}")
"""OpenAI refuses the id of a tool call that has more than forty characters."""
_MISTRAL_IDS: Final = IdRule(re.compile(r"[a-zA-Z0-9]{9}"), lambda call: checksum(call)[:9])
"""Mistral refuses one that is not nine letters and digits, on whichever server it runs."""
_MISTRAL: Final = re.compile(r"(?:mi|mini|code|dev|magi|math|pix|vox)stral|mixtral")
_TELLING: Final = re.compile(r"gemini|kimi")
"""Models whose ids mean something to them, and may be longer: they go back as they came."""
_UNNAMEABLE: Final = re.compile(r"[\s<|\\/>]")
"""What OpenAI refuses in the name of who speaks."""
_PLAIN_DATA: Final = re.compile(r"data:image/[a-z.+-]+;base64,")


class _Shape(msgspec.Struct, omit_defaults=True):
    """A part of the body; members at their default are left out."""


class _Function(_Shape):
    name: str
    arguments: str


class _Call(_Shape):
    id: str
    function: _Function
    type: Literal["function"] | None = None


class _ImageURL(_Shape):
    url: str
    detail: str | None = None


class _Part(_Shape):
    type: str
    text: str | None = None
    image_url: _ImageURL | None = None


class _Message(_Shape):
    role: str
    content: str | list[_Part] | None = None
    refusal: str | None = None
    tool_calls: list[_Call] | None = None
    tool_call_id: str | None = None
    name: str | None = None


class _StreamOptions(_Shape):
    include_usage: bool | None = None


class _Request(_Shape):
    model: str
    messages: list[_Message]
    max_tokens: int | None = None
    max_completion_tokens: int | None = None
    temperature: float | None = None
    top_p: float | None = None
    stop: tuple[str, ...] = ()
    seed: int | None = None
    frequency_penalty: float | None = None
    presence_penalty: float | None = None
    response_format: Mapping[str, Any] | None = None
    tools: Sequence[Mapping[str, Any]] = ()
    tool_choice: str | Mapping[str, Any] | None = None
    parallel_tool_calls: bool | None = None
    stream: bool | None = None
    stream_options: _StreamOptions | None = None


def is_reasoning_model(model: str) -> bool:
    """Whether ``model`` is of a family that takes no sampling parameters."""
    return _REASONING.match(model) is not None


@attrs.frozen
class ChatCompletionsBuilder:
    """The ``RequestBuilder`` of the chat completions format."""

    def build(
        self, messages: Messages, tools: Sequence[Tool] | None = None, **options: Any
    ) -> dict[str, Any]:
        """The JSON body, as plain dictionaries and lists.

        :param options: the fields of :class:`~locus.core.call_options.CallOptions`.
        :raises ConfigurationError: the format cannot carry something; says what and where.
        """
        said = CallOptions(**options)
        schemas = tool_schemas(tools)
        reasoning = is_reasoning_model(said.model)
        usage = said.stream and said.stream_usage
        turns = in_order(conversation(messages))
        ids = call_ids(turns, id_rule(said.model))
        body: dict[str, Any] = msgspec.to_builtins(
            _Request(
                model=said.model,
                messages=[_message(turn, ids) for turn in turns],
                max_tokens=None if reasoning else said.max_tokens,
                max_completion_tokens=said.max_tokens if reasoning else None,
                temperature=None if reasoning else said.temperature,
                top_p=None if reasoning else said.top_p,
                stop=said.stop,
                seed=said.seed,
                # Some providers reject a penalty at any value: 0 is the same as none.
                frequency_penalty=None if reasoning else said.frequency_penalty or None,
                presence_penalty=None if reasoning else said.presence_penalty or None,
                response_format=said.response_format,
                tools=schemas,
                tool_choice=tool_choice_of(said.tool_choice, schemas) if schemas else None,
                parallel_tool_calls=said.parallel_tool_calls if schemas else None,
                stream=True if said.stream else None,
                stream_options=_StreamOptions(include_usage=True) if usage else None,
            ),
            enc_hook=plain,
        )
        if said.extra_body:
            body.update(said.extra_body)
        return body


def plain(value: Any) -> Any:
    """What ``msgspec`` can write in place of a value that it cannot."""
    if isinstance(value, Mapping):
        return dict(value)
    raise ConfigurationError(
        f"the request cannot be written as JSON: {type(value).__name__} has no place in it"
    )


def id_rule(model: str) -> IdRule:
    """What ids of tool calls ``model`` takes."""
    model = model.lower()
    if _MISTRAL.search(model):
        return _MISTRAL_IDS
    return ANY if _TELLING.search(model) else _IDS


def _message(turn: Turn, ids: Mapping[Place, str]) -> _Message:
    position, message = turn.position, turn.message
    match message.role:
        case Role.ASSISTANT:
            return _Message(
                role="assistant",
                content=_words(position, message) or None,
                refusal=message.refusal,
                tool_calls=[
                    _call(f"messages[{position}].tool_calls[{at}]", call, ids[position, at])
                    for at, call in enumerate(message.tool_calls)
                ]
                or None,
                name=speaker(message),
            )
        case Role.TOOL:
            return _Message(
                role="tool",
                content=_words(position, message),
                tool_call_id=turn.answers and ids[turn.answers],
            )
        case Role.SYSTEM:
            return _Message(role="system", content=_words(position, message), name=speaker(message))
    return _Message(role="user", content=_parts(position, message.content), name=speaker(message))


def speaker(message: Message) -> str | None:
    """The name of who speaks, as OpenAI takes it."""
    return _UNNAMEABLE.sub("_", message.name)[:64] if message.name else None


def _words(position: int, message: Message) -> str:
    """The text of a message that may hold no image in this format."""
    if isinstance(message.content, str):
        return message.content
    if any(isinstance(part, ImagePart) for part in message.content or ()):
        raise ConfigurationError(
            f"messages[{position}]: chat completions take images from the user only, "
            f"not in a {message.role} message"
        )
    return message.text


def _parts(position: int, content: Content) -> str | list[_Part]:
    if content is None or isinstance(content, str):
        return content or ""
    return [_part(position, part) for part in content if isinstance(part, (TextPart, ImagePart))]


def _part(position: int, part: TextPart | ImagePart) -> _Part:
    if isinstance(part, TextPart):
        return _Part(type="text", text=part.text)
    url = image_address(position, part)
    return _Part(type="image_url", image_url=_ImageURL(url=url, detail=part.detail))


def image_address(position: int, part: ImagePart) -> str:
    """Where an image is found; one that is held as bytes, in the address itself.

    :raises ConfigurationError: its ``data:`` address is broken; names the position.
    """
    if part.data is not None:
        return _inline(kind_of(part.media_type or ""), part.data)
    return _address(position, part.url or "")


def _inline(kind: str, data: bytes) -> str:
    return f"data:{kind};base64,{base64.b64encode(data).decode()}"


def _address(position: int, url: str) -> str:
    """An image's address. Of ``data:`` ones the API takes a single form."""
    if _PLAIN_DATA.match(url):
        return url
    try:
        held = in_address(url)
        if held is not None and not held[0]:
            raise ValueError("it does not say the media type")
    except ValueError as why:
        raise ConfigurationError(
            f"messages[{position}]: the data: address of an image cannot be read: {why}"
        ) from None
    return url if held is None else _inline(kind_of(held[0]), held[1])


def _call(where: str, call: ToolCall, identity: str) -> _Call:
    function = _Function(call.name, arguments_of(where, call))
    return _Call(id=identity, type="function", function=function)


def arguments_of(where: str, call: ToolCall) -> str:
    """A call's arguments as JSON text, or the malformed text to the letter.

    :raises ConfigurationError: they are no JSON; names ``where`` the call stands.
    """
    try:
        return call.arguments_json()
    except (TypeError, ValueError, RecursionError) as why:
        raise ConfigurationError(f"{where}: the arguments are no JSON: {why}") from why


def tool_choice_of(
    choice: str | Mapping[str, Any] | None, schemas: Sequence[Mapping[str, Any]]
) -> str | Mapping[str, Any] | None:
    """A choice as the format has it: a tool's name as a mapping, everything else as it is.

    :raises ConfigurationError: it is a word that is neither known nor the name of a tool.
    """
    if choice is None or isinstance(choice, Mapping) or choice in ("auto", "none", "required"):
        return choice
    names = []
    for schema in schemas:
        kind = schema.get("type", "function")
        tool = schema.get(kind)
        if isinstance(tool, Mapping):
            names.append(str(tool.get("name")))
            if names[-1] == choice:
                return {"type": kind, kind: {"name": choice}}
    raise ConfigurationError(
        f"tool_choice={choice!r} is neither 'auto', 'none' or 'required', nor the name of a "
        f"tool of this call ({', '.join(names) or 'there are none'})"
    )
