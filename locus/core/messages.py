"""Messages, their content parts, tool calls and tool results, as frozen classes.

They are the same for all providers; the wire formats translate them. A :class:`Message` contains
text, or parts where there is more than text (images, a refusal). Tool calls belong to the
assistant's message; each result is a message of the role ``tool``.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterable, Mapping, Sequence
from enum import StrEnum
from typing import Any, ClassVar, Final, TypeAlias, get_args

import attrs
import msgspec

from locus.core.attrs_validators import validate_optional_string, validate_string
from locus.core.frozendict import EMPTY, FrozenDict, to_frozen_dict
from locus.core.native_state import NativeState
from locus.core.surrogate_halves import repair_json


class Role(StrEnum):
    """The role of a message. A string enum: ``Role.USER == "user"``."""

    SYSTEM = "system"
    USER = "user"
    ASSISTANT = "assistant"
    TOOL = "tool"


class BasePart:
    """The base class of the parts of a message's content. A part class is listed in :data:`Part`.

    :cvar tag: the value of the member ``type`` in JSON.
    :cvar plural: the name of such parts in error messages.
    :cvar roles: the roles whose messages may hold the part.
    """

    __slots__ = ()

    tag: ClassVar[str]
    plural: ClassVar[str]
    roles: ClassVar[tuple[Role, ...]] = tuple(Role)

    @property
    def is_content(self) -> bool:
        """Whether a message with this part alone has content, as an image; not empty text."""
        return True


@attrs.frozen
class TextPart(BasePart):
    """Text among other parts."""

    tag: ClassVar[str] = "text"
    plural: ClassVar[str] = "text"

    text: str = attrs.field(validator=validate_string)

    @property
    def is_content(self) -> bool:
        """Whether the text is not empty."""
        return bool(self.text)


@attrs.frozen
class ImagePart(BasePart):
    """An image: a ``url`` that the provider downloads, or ``data`` with its ``media_type``.

    :param url: an ``https:`` or ``data:`` URL.
    :param data: the bytes of the image file, unencoded.
    :param media_type: such as ``"image/png"``; required with ``data``.
    :param detail: OpenAI's ``"low"``, ``"high"`` or ``"auto"``; ignored elsewhere.
    :raises ValueError: if neither or both of ``url`` and ``data`` are passed, or ``data`` without
        ``media_type``.
    """

    tag: ClassVar[str] = "image"
    plural: ClassVar[str] = "images"

    url: str | None = None
    data: bytes | None = attrs.field(
        default=None, repr=lambda data: data and f"<{len(data)} bytes>"
    )
    media_type: str | None = attrs.field(default=None, validator=validate_optional_string)
    detail: str | None = attrs.field(default=None, validator=validate_optional_string)

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
class RefusalPart(BasePart):
    """The assistant's explanation of why it does not answer (OpenAI's ``refusal``)."""

    tag: ClassVar[str] = "refusal"
    plural: ClassVar[str] = "refusals"
    roles: ClassVar[tuple[Role, ...]] = (Role.ASSISTANT,)

    text: str = attrs.field(validator=validate_string)

    @property
    def is_content(self) -> bool:
        """Whether the text is not empty."""
        return bool(self.text)


@attrs.frozen
class ThinkingPart(BasePart):
    """Thinking of the assistant that has to be sent back to its provider.

    Anthropic signs the thinking before a tool call, and checks that it is sent back unchanged;
    models that Ollama runs expect theirs, without a signature. Other providers accept none, and no
    provider is sent the thinking of another.

    :param text: the thinking; empty if the provider does not show it.
    :param signature: the provider's signature of the thinking.
    :param redacted: encrypted thinking, which only the provider can read.
    """

    tag: ClassVar[str] = "thinking"
    plural: ClassVar[str] = "thinking"
    roles: ClassVar[tuple[Role, ...]] = (Role.ASSISTANT,)

    text: str = attrs.field(default="", validator=validate_string)
    signature: str | None = attrs.field(
        default=None, validator=validate_optional_string, repr=lambda text: text and "<sealed>"
    )
    redacted: str | None = attrs.field(
        default=None, validator=validate_optional_string, repr=lambda text: text and "<sealed>"
    )

    @property
    def is_content(self) -> bool:
        """False: thinking alone is no answer."""
        return False


Part: TypeAlias = TextPart | ImagePart | RefusalPart | ThinkingPart
"""The one list of part classes. If one is added, the type checker reports each place that has
to handle it, and each wire format refuses it until its ``accepted_parts`` declare it."""
PART_TYPES: Final[tuple[type[Part], ...]] = get_args(Part)
"""The classes in :data:`Part`."""
Content: TypeAlias = str | tuple[Part, ...] | None
ResultContent: TypeAlias = str | tuple[Part, ...]
"""The content of a tool's result."""


def _is_shown(part: Part) -> bool:
    """Return whether a part is what a message says or shows, and not something beside it."""
    return not isinstance(part, (RefusalPart, ThinkingPart))


def _validate_native_state(instance: Any, attribute: Any, value: Any) -> None:
    """Raise a ``TypeError`` unless the value is native state or None; a validator of fields."""
    if value is not None and not isinstance(value, NativeState):
        raise TypeError(
            f"{type(instance).__name__}.native_state is what a response had there, or None; not "
            f"{type(value).__name__}"
        )


def _to_frozen_arguments(value: Mapping[str, Any] | None) -> FrozenDict[str, Any]:
    """Convert the arguments to an immutable mapping; None becomes the empty one."""
    return to_frozen_dict(value, "ToolCall.arguments")


def _to_malformed_arguments(text: str | None) -> str | None:
    """Return the text; None if it is blank, which is what some servers send for no arguments."""
    return None if isinstance(text, str) and (not text or text.isspace()) else text


def generate_tool_call_id() -> str:
    """Generate a unique id for a tool call, in OpenAI's form."""
    # Imported here: seldom needed, because models send their calls with an id.
    from uuid import uuid4

    return f"call_{uuid4().hex[:24]}"


@attrs.frozen
class ToolCall:
    """The model's request to run a tool.

    :param id: identifies the call, so that its result can be matched; a new one by default.
    :param name: the tool's name.
    :param arguments: the decoded JSON object.
    :param malformed_arguments: the unchanged text that the model wrote instead of a JSON object.
        ``arguments`` is empty then; the call should be answered with an error, not run. Blank text
        is no text: the call has no arguments.
    :param native_state: what the provider that made the call wants to see again.
    """

    id: str = attrs.field(factory=generate_tool_call_id, validator=validate_string)
    name: str = attrs.field(default="", validator=validate_string)
    arguments: Mapping[str, Any] = attrs.field(default=EMPTY, converter=_to_frozen_arguments)
    malformed_arguments: str | None = attrs.field(
        default=None, converter=_to_malformed_arguments, validator=validate_optional_string
    )
    native_state: NativeState | None = attrs.field(
        default=None, validator=_validate_native_state, repr=False
    )

    def __attrs_post_init__(self) -> None:
        if not self.id:
            raise ValueError("ToolCall.id must not be empty; leave it out for a fresh one")
        if not self.name:
            raise ValueError("ToolCall.name must name a tool")
        if self.malformed_arguments is not None and self.arguments:
            raise ValueError("a ToolCall has arguments or malformed_arguments, not both")

    @classmethod
    def from_json(cls, id: str, name: str, arguments_text: str) -> ToolCall:
        """Make a call from its arguments as JSON text, malformed or not.

        Blank text and ``null`` are no arguments: some servers send them for a call without any.
        Line breaks inside strings need not be escaped. A JSON string is what it holds, because some
        models encode their arguments once more: ``"{}"`` is no arguments, either.
        """
        text = arguments_text
        for _ in range(_MAX_ENCODINGS):
            try:
                arguments: dict[str, Any] | None = _decode_object(text)
            except (msgspec.DecodeError, UnicodeError, RecursionError):
                arguments = _decode_object_leniently(text)
            if arguments is not None:
                return cls(id, name, FrozenDict(arguments))
            if text.strip() in ("", "null"):
                return cls(id, name)
            try:
                text = _decode_string(text)
            except (msgspec.DecodeError, UnicodeError):
                break
        return cls(id, name, EMPTY, arguments_text)

    @classmethod
    def from_object(cls, id: str, name: str, arguments: Mapping[str, Any]) -> ToolCall:
        """Make a call from its arguments as an object that a server has sent.

        JSON has no infinity and no NaN (RFC 8259, 6), and a number that no float can hold would
        become one of them: such arguments are malformed, as they are where they come as text.
        """
        if has_only_finite_numbers(arguments):
            return cls(id, name, arguments)
        return cls(id, name, EMPTY, json.dumps(arguments, ensure_ascii=False, default=dict))

    def arguments_json(self) -> str:
        """Encode the arguments as JSON text, or return the unchanged malformed text."""
        if self.malformed_arguments is not None:
            return self.malformed_arguments
        return msgspec.json.encode(self.arguments).decode()


_decode_object = msgspec.json.Decoder(dict[str, Any]).decode
_decode_string = msgspec.json.Decoder(str).decode
_MAX_ENCODINGS: Final = 4
"""How often the arguments of a call may have been encoded as JSON."""
_LENIENT_MARK: Final = re.compile(r"\\u|[\x00-\x1f]")
"""What text has that only :func:`_decode_object_leniently` reads."""


def _decode_object_leniently(text: str) -> dict[str, Any] | None:
    """Decode a JSON object that msgspec rejects; None for text that is none.

    Half of a surrogate pair may be escaped in it, and control characters in strings need not be:
    models forget to escape the line breaks of long texts, such as code.
    """
    if not _LENIENT_MARK.search(text):
        return None
    try:
        value = repair_json(json.loads(text, strict=False, parse_constant=_reject_constant))
    except (ValueError, RecursionError):
        return None
    return value if isinstance(value, dict) and has_only_finite_numbers(value) else None


def _reject_constant(name: str) -> None:
    raise ValueError(f"{name} is not JSON")


def has_only_finite_numbers(value: Any) -> bool:
    """Return whether a JSON value holds neither an infinity nor NaN."""
    pending = [value]
    while pending:
        item = pending.pop()
        if isinstance(item, Mapping):
            pending.extend(item.values())
        elif isinstance(item, (list, tuple)):
            pending.extend(item)
        elif isinstance(item, float) and not math.isfinite(item):
            return False
    return True


def to_result_content(value: str | Part | Iterable[str | Part]) -> ResultContent:
    """Convert the content of a tool's result to text or a tuple of parts; a converter.

    :raises TypeError: if it is neither.
    :raises ValueError: if a tool's result holds no such parts.
    """
    content = _to_message_content(value)
    if content is None:
        raise TypeError("content is text or a sequence of parts, not NoneType")
    for part in () if isinstance(content, str) else content:
        if Role.TOOL not in part.roles:
            raise ValueError(f"a tool's result holds no {part.plural} ({type(part).__name__})")
    return content


@attrs.frozen
class ToolResult:
    """The result of a tool call.

    :param tool_call_id: the ``id`` of the call.
    :param name: the tool's name.
    :param content: the tool's output, as the model should read it: text, or text and images.
    :param error: the error message of a failed tool, or None.
    :param duration_ms: how long the tool ran, in milliseconds.
    """

    tool_call_id: str = attrs.field(validator=validate_string)
    name: str = attrs.field(validator=validate_string)
    content: ResultContent = attrs.field(converter=to_result_content)
    error: str | None = attrs.field(default=None, validator=validate_optional_string)
    duration_ms: float | None = None

    @property
    def success(self) -> bool:
        """Whether the tool ran without an error."""
        return self.error is None

    @property
    def content_for_model(self) -> ResultContent:
        """The content, after the error if there is one."""
        if self.error is None:
            return self.content
        error = f"Error: {self.error}"
        if not isinstance(self.content, str):
            return (TextPart(f"{error}\n"), *self.content)
        return f"{error}\n{self.content}" if self.content else error

    @property
    def text_for_model(self) -> str:
        """The text of the content, after the error if there is one."""
        content = self.content_for_model
        if isinstance(content, str):
            return content
        return "".join(part.text for part in content if isinstance(part, TextPart))


def _to_message_content(value: str | Part | Iterable[str | Part] | None) -> Content:
    """Convert the content to text, a tuple of parts, or None."""
    if value is None or isinstance(value, str):
        return value
    if isinstance(value, BasePart):
        return (_to_part(0, value),)
    if isinstance(value, (bytes, Mapping)) or not isinstance(value, Iterable):
        raise TypeError(f"content is text or a sequence of parts, not {type(value).__name__}")
    return tuple(_to_part(position, part) for position, part in enumerate(value))


def _to_part(position: int, part: str | Part) -> Part:
    """Convert a string to a :class:`TextPart`; return a part as it is.

    :param position: the index of the part, for the error message.
    :raises TypeError: if it is not of one of the ``PART_TYPES``. A subclass of one would be saved
        without its fields, and no provider would be sent them.
    """
    if isinstance(part, str):
        return TextPart(part)
    if type(part) in PART_TYPES:
        return part
    names = [cls.__name__ for cls in PART_TYPES]
    for cls in PART_TYPES:
        if isinstance(part, cls):
            raise TypeError(
                f"content part {position} is {type(part).__name__}, a subclass of {cls.__name__}; "
                f"use {cls.__name__} itself, and put your own data into Message.metadata"
            )
    raise TypeError(
        f"content part {position} is {type(part).__name__}; "
        f"a part is a string, {', '.join(names[:-1])} or {names[-1]}"
    )


def to_tool_calls(value: Iterable[ToolCall] | None) -> tuple[ToolCall, ...]:
    """Check the tool calls and convert them to a tuple; a converter of attrs fields.

    :raises TypeError: if a member is not a ToolCall; the message names its index.
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


def _to_frozen_metadata(value: Mapping[str, Any] | None) -> FrozenDict[str, Any]:
    return to_frozen_dict(value, "Message.metadata")


def _to_role(value: Role | str) -> Role:
    try:
        return Role(value)
    except ValueError:
        raise ValueError(f"Message.role is one of {', '.join(Role)}, not {value!r}") from None


@attrs.frozen(repr=False)
class Message:
    """One message of a conversation.

    :param role: a :class:`Role` or its string.
    :param content: text, parts, or None if an assistant only calls tools. The attribute
        ``content`` is None, too, where the parts are only a refusal or thinking: whoever reads it
        as text needs no case for them. :attr:`all_content` has them.
    :param tool_calls: the assistant's tool calls; empty for the other roles.
    :param tool_call_id: the id of the call whose result a ``tool`` message is.
    :param name: the tool's name on a ``tool`` message; else the participant's name, where a
        provider accepts one.
    :param metadata: the caller's own data. Never sent, except for the keys that a provider's page
        in the docs names (Anthropic's ``cache_control``).
    :param native_state: what the provider that made the message wants to see again. It is sent to
        that provider only; see :class:`~locus.core.native_state.NativeState`.
    :raises ValueError: if the role is unknown, or does not allow one of the fields.
    """

    role: Role = attrs.field(converter=_to_role)
    _content: Content = attrs.field(default=None, converter=_to_message_content, alias="content")
    tool_calls: tuple[ToolCall, ...] = attrs.field(default=(), converter=to_tool_calls)
    tool_call_id: str | None = attrs.field(default=None, validator=validate_optional_string)
    name: str | None = attrs.field(default=None, validator=validate_optional_string)
    metadata: Mapping[str, Any] = attrs.field(default=EMPTY, converter=_to_frozen_metadata)
    native_state: NativeState | None = attrs.field(
        default=None, validator=_validate_native_state, repr=False
    )

    def __attrs_post_init__(self) -> None:
        if self.role is not Role.ASSISTANT:
            if self.tool_calls:
                raise ValueError(f"only an assistant message has tool_calls, not a {self.role} one")
            if self.native_state is not None:
                raise ValueError(
                    f"only an assistant message has native_state, not a {self.role} one"
                )
        if isinstance(self._content, tuple):
            for part in self._content:
                if self.role not in part.roles:
                    raise ValueError(
                        f"only {' and '.join(part.roles)} messages hold {part.plural} "
                        f"({type(part).__name__}), not a {self.role} one"
                    )
        if self.role is Role.TOOL:
            if not self.tool_call_id:
                raise ValueError("a tool message needs tool_call_id, the call that it answers")
        elif self.tool_call_id is not None:
            raise ValueError(f"only a tool message has tool_call_id, not a {self.role} one")

    def __repr__(self) -> str:
        shown = (field for field in attrs.fields(Message) if field.repr)
        members = (f"{field.alias}={getattr(self, field.name)!r}" for field in shown)
        return f"{type(self).__name__}({', '.join(members)})"

    @classmethod
    def system(cls, text: str | Sequence[str | Part], **fields: Any) -> Message:
        """Make a message with instructions to the model."""
        return cls(Role.SYSTEM, text, **fields)

    @classmethod
    def user(cls, text_or_parts: str | Part | Sequence[str | Part], **fields: Any) -> Message:
        """Make a message of the user: text, or a sequence of strings and parts."""
        return cls(Role.USER, text_or_parts, **fields)

    @classmethod
    def assistant(
        cls,
        content: str | Part | Sequence[str | Part] | None = None,
        tool_calls: Iterable[ToolCall] = (),
        **fields: Any,
    ) -> Message:
        """Make a message of the model: text, tool calls, or both."""
        return cls(Role.ASSISTANT, content, tool_calls, **fields)

    @classmethod
    def tool(cls, result: ToolResult) -> Message:
        """Make the message with a tool's result; its content begins with the error, if any.

        ``metadata["error"]`` has the error, too, for the wire formats that have a separate field
        for it.
        """
        return cls(
            Role.TOOL,
            result.content_for_model,
            tool_call_id=result.tool_call_id,
            name=result.name,
            metadata=EMPTY if result.error is None else {"error": result.error},
        )

    @property
    def content(self) -> Content:
        """The text or the parts; None without text and images, also where there is a refusal."""
        content = self._content
        if isinstance(content, tuple) and content and not any(map(_is_shown, content)):
            return None
        return content

    @property
    def all_content(self) -> Content:
        """The text or all parts, those included that are beside the text: refusals, thinking."""
        return self._content

    @property
    def text(self) -> str:
        """The text parts, joined; empty if there are none."""
        if self._content is None:
            return ""
        if isinstance(self._content, str):
            return self._content
        return "".join(part.text for part in self._content if isinstance(part, TextPart))

    @property
    def has_content(self) -> bool:
        """Whether there is any content: text that is not empty, an image, a refusal."""
        if self._content is None or isinstance(self._content, str):
            return bool(self._content)
        return any(part.is_content for part in self._content)

    @property
    def refusal(self) -> str | None:
        """The text of the assistant's refusal, or None if it did not refuse."""
        if self._content is None or isinstance(self._content, str):
            return None
        texts = [part.text for part in self._content if isinstance(part, RefusalPart)]
        return "".join(texts) if texts else None
