"""What is said in a conversation: frozen values that every provider's wire format is made from.

A :class:`Message` holds text, or parts where there is more than text (images, a refusal). Tool
calls travel on the assistant's message, their results as messages of the role ``tool``. Nothing
here knows a provider.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from enum import StrEnum
from typing import Any, TypeAlias

import attrs
import msgspec

from locus.core.attrs_validators import string, string_or_none
from locus.core.frozendict import EMPTY, FrozenDict, frozen_dict


class Role(StrEnum):
    """Who speaks. A string enum: ``Role.USER == "user"``."""

    SYSTEM = "system"
    USER = "user"
    ASSISTANT = "assistant"
    TOOL = "tool"


@attrs.frozen
class TextPart:
    """A piece of text among other parts."""

    text: str = attrs.field(validator=string)


@attrs.frozen
class ImagePart:
    """An image: the ``url`` where the provider finds it, or ``data`` with its ``media_type``.

    :param url: an ``https:`` or ``data:`` address.
    :param data: the bytes of the image file, unencoded.
    :param media_type: such as ``"image/png"``; wanted with ``data``.
    :param detail: OpenAI's ``"low"``, ``"high"`` or ``"auto"``; ignored elsewhere.
    :raises ValueError: neither or both of ``url`` and ``data``, or ``data`` without its type.
    """

    url: str | None = None
    data: bytes | None = attrs.field(default=None, repr=lambda d: d and f"<{len(d)} bytes>")
    media_type: str | None = attrs.field(default=None, validator=string_or_none)
    detail: str | None = attrs.field(default=None, validator=string_or_none)

    def __attrs_post_init__(self) -> None:
        if (self.url is None) == (self.data is None):
            raise ValueError("ImagePart takes either url= or data=, and one of them only")
        if self.data is not None:
            if not isinstance(self.data, bytes):
                raise TypeError(f"ImagePart.data must be bytes, not {type(self.data).__name__}")
            if not self.media_type:
                raise ValueError("ImagePart with data= needs media_type=, such as 'image/png'")
        elif not isinstance(self.url, str) or not self.url:
            raise ValueError("ImagePart.url must be a string that is not empty")


@attrs.frozen
class RefusalPart:
    """The assistant's own words for why it does not answer (OpenAI's ``refusal``)."""

    text: str = attrs.field(validator=string)


@attrs.frozen
class ThinkingPart:
    """A piece of the assistant's thinking that its provider wants to see again.

    Anthropic checks that the thinking before a tool call comes back unchanged, and seals it; models
    that Ollama runs want to see theirs, without a seal. Other providers take none, and none of them
    is sent another's.

    :param text: the thinking; empty where the provider does not show it.
    :param signature: the provider's seal on it.
    :param redacted: thinking that only the provider can read.
    """

    text: str = attrs.field(default="", validator=string)
    signature: str | None = attrs.field(
        default=None, validator=string_or_none, repr=lambda seal: seal and "<sealed>"
    )
    redacted: str | None = attrs.field(
        default=None, validator=string_or_none, repr=lambda data: data and "<sealed>"
    )


Part: TypeAlias = TextPart | ImagePart | RefusalPart | ThinkingPart
Content: TypeAlias = str | tuple[Part, ...] | None


def _arguments(value: Mapping[str, Any] | None) -> FrozenDict[str, Any]:
    return frozen_dict(value, "ToolCall.arguments")


def fresh_call_id() -> str:
    """An id no other tool call has, in the form OpenAI gives them."""
    from uuid import uuid4  # only agents and tests make calls; models send theirs with an id

    return f"call_{uuid4().hex[:24]}"


@attrs.frozen
class ToolCall:
    """The model asks for a tool to be run.

    :param id: names the call, so that its result can be matched; a fresh one by default.
    :param name: the tool.
    :param arguments: the decoded JSON object.
    :param malformed_arguments: what the model wrote instead of a JSON object, to the letter.
        ``arguments`` is empty then, and the call should be answered with an error, not run.
    """

    id: str = attrs.field(factory=fresh_call_id, validator=string)
    name: str = attrs.field(default="", validator=string)
    arguments: Mapping[str, Any] = attrs.field(default=EMPTY, converter=_arguments)
    malformed_arguments: str | None = attrs.field(default=None, validator=string_or_none)

    def __attrs_post_init__(self) -> None:
        if not self.id:
            raise ValueError("ToolCall.id must not be empty; leave it out for a fresh one")
        if not self.name:
            raise ValueError("ToolCall.name must name a tool")
        if self.malformed_arguments is not None and self.arguments:
            raise ValueError("a ToolCall has arguments or malformed_arguments, not both")

    @classmethod
    def from_json(cls, id: str, name: str, text: str) -> ToolCall:
        """The call whose arguments arrived as JSON ``text``, malformed or not."""
        try:
            arguments = _decode_object(text)
        except (msgspec.DecodeError, UnicodeError, RecursionError):
            return cls(id, name, EMPTY, text)
        return cls(id, name, FrozenDict(arguments))

    def arguments_json(self) -> str:
        """The arguments as JSON text, or the malformed text to the letter."""
        if self.malformed_arguments is not None:
            return self.malformed_arguments
        return msgspec.json.encode(self.arguments).decode()


_decode_object = msgspec.json.Decoder(dict[str, Any]).decode


@attrs.frozen
class ToolResult:
    """What a tool gave back.

    :param tool_call_id: the ``id`` of the call it answers.
    :param name: the tool that ran.
    :param content: its output, as the model should read it.
    :param error: why it failed, or None.
    :param duration_ms: how long it ran, in milliseconds.
    """

    tool_call_id: str = attrs.field(validator=string)
    name: str = attrs.field(validator=string)
    content: str = attrs.field(validator=string)
    error: str | None = attrs.field(default=None, validator=string_or_none)
    duration_ms: float | None = None

    @property
    def success(self) -> bool:
        """Whether the tool ran without an error."""
        return self.error is None

    @property
    def text_for_model(self) -> str:
        """The content, with the error put in front of it if there is one."""
        if self.error is None:
            return self.content
        return f"Error: {self.error}\n{self.content}" if self.content else f"Error: {self.error}"


def _content(value: str | Part | Iterable[str | Part] | None) -> Content:
    if value is None or isinstance(value, str):
        return value
    if isinstance(value, (TextPart, ImagePart, RefusalPart, ThinkingPart)):
        return (value,)
    if isinstance(value, (bytes, Mapping)) or not isinstance(value, Iterable):
        raise TypeError(f"content is text or a sequence of parts, not {type(value).__name__}")
    return tuple(_part(position, part) for position, part in enumerate(value))


def _part(position: int, part: str | Part) -> Part:
    if isinstance(part, str):
        return TextPart(part)
    if isinstance(part, (TextPart, ImagePart, RefusalPart, ThinkingPart)):
        return part
    raise TypeError(
        f"content part {position} is {type(part).__name__}; "
        "a part is a string, TextPart, ImagePart, RefusalPart or ThinkingPart"
    )


def tool_calls(value: Iterable[ToolCall] | None) -> tuple[ToolCall, ...]:
    """The calls as a tuple; the converter of the fields that hold them.

    :raises TypeError: something in it is no call; says which.
    """
    if value is None or value == ():
        return ()
    if type(value) is not tuple and (
        isinstance(value, (str, Mapping)) or not isinstance(value, Iterable)
    ):
        raise TypeError(f"tool_calls is a sequence of ToolCall, not {type(value).__name__}")
    calls = tuple(value)
    for position, call in enumerate(calls):
        if not isinstance(call, ToolCall):
            raise TypeError(f"tool_calls[{position}] is {type(call).__name__}, not ToolCall")
    return calls


def _metadata(value: Mapping[str, Any] | None) -> FrozenDict[str, Any]:
    return frozen_dict(value, "Message.metadata")


def _role(value: Role | str) -> Role:
    try:
        return Role(value)
    except ValueError:
        raise ValueError(f"Message.role is one of {', '.join(Role)}, not {value!r}") from None


@attrs.frozen
class Message:
    """One turn of a conversation.

    :param role: a :class:`Role` or its string.
    :param content: text, parts, or None where an assistant only calls tools.
    :param tool_calls: what an assistant asks for; empty for the other roles.
    :param tool_call_id: which call a ``tool`` message answers.
    :param name: the tool's name on a ``tool`` message; else the speaker's, where a provider
        takes one.
    :param metadata: the caller's own notes. Never sent, but for the keys a provider's page in
        the docs names (Anthropic's ``cache_control``).
    :raises ValueError: the role is unknown, or a field does not go with the role.
    """

    role: Role = attrs.field(converter=_role)
    content: Content = attrs.field(default=None, converter=_content)
    tool_calls: tuple[ToolCall, ...] = attrs.field(default=(), converter=tool_calls)
    tool_call_id: str | None = attrs.field(default=None, validator=string_or_none)
    name: str | None = attrs.field(default=None, validator=string_or_none)
    metadata: Mapping[str, Any] = attrs.field(default=EMPTY, converter=_metadata)

    def __attrs_post_init__(self) -> None:
        if self.tool_calls and self.role is not Role.ASSISTANT:
            raise ValueError(f"only an assistant message has tool_calls, not a {self.role} one")
        if isinstance(self.content, tuple) and self.role is not Role.ASSISTANT:
            for part in self.content:
                if isinstance(part, (RefusalPart, ThinkingPart)):
                    raise ValueError(
                        f"only an assistant message holds a {type(part).__name__}, "
                        f"not a {self.role} one"
                    )
        if self.role is Role.TOOL:
            if not self.tool_call_id:
                raise ValueError("a tool message needs tool_call_id, the call that it answers")
        elif self.tool_call_id is not None:
            raise ValueError(f"only a tool message has tool_call_id, not a {self.role} one")

    @classmethod
    def system(cls, text: str | Sequence[str | Part], **fields: Any) -> Message:
        """Instructions to the model."""
        return cls(Role.SYSTEM, text, **fields)

    @classmethod
    def user(cls, text_or_parts: str | Part | Sequence[str | Part], **fields: Any) -> Message:
        """What the user says: text, or a sequence of strings and parts."""
        return cls(Role.USER, text_or_parts, **fields)

    @classmethod
    def assistant(
        cls,
        content: str | Part | Sequence[str | Part] | None = None,
        tool_calls: Iterable[ToolCall] = (),
        **fields: Any,
    ) -> Message:
        """What the model answered: text, tool calls, or both."""
        return cls(Role.ASSISTANT, content, tool_calls, **fields)

    @classmethod
    def tool(cls, result: ToolResult) -> Message:
        """The turn that hands a tool's result to the model; a failure is told in its content.

        ``metadata["error"]`` keeps the error of a failed tool for the wire formats that have a
        place of their own for it.
        """
        return cls(
            Role.TOOL,
            result.text_for_model,
            tool_call_id=result.tool_call_id,
            name=result.name,
            metadata=EMPTY if result.error is None else {"error": result.error},
        )

    @property
    def text(self) -> str:
        """The text parts, joined; empty where there are none."""
        if self.content is None:
            return ""
        if isinstance(self.content, str):
            return self.content
        return "".join(part.text for part in self.content if isinstance(part, TextPart))

    @property
    def says_something(self) -> bool:
        """Whether there is any content: text that is not empty, an image, a refusal."""
        if self.content is None or isinstance(self.content, str):
            return bool(self.content)
        return any(
            part.text if isinstance(part, (TextPart, RefusalPart)) else isinstance(part, ImagePart)
            for part in self.content
        )

    @property
    def refusal(self) -> str | None:
        """Why the assistant would not answer, or None where it did."""
        if self.content is None or isinstance(self.content, str):
            return None
        said = [part.text for part in self.content if isinstance(part, RefusalPart)]
        return "".join(said) if said else None
