"""Models for tests, whose responses come from a script or a function; no network, every runtime.

    model = ScriptedModel(tool_call("weather", city="Paris"), text("It is sunny."))
    assert model.complete_sync("How is Paris?").tool_calls[0].arguments == {"city": "Paris"}

A response is one part, or several parts that are merged: ``["Let me see.", tool_call("weather")]``.
``complete`` returns it at once. A stream yields it word by word; if a part is an error, the stream
raises it after the parts before it.
"""

from __future__ import annotations

import inspect
import re
import threading
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping, Sequence
from copy import copy
from typing import Any, ClassVar, Self, TypeAlias, Unpack

import attrs
from anyio.lowlevel import checkpoint

from locus.core.build_tool_schemas import ToolLike, build_tool_schemas
from locus.core.call_options import CallOptions, normalize_call_keywords
from locus.core.conversation import Messages, validate_messages
from locus.core.errors import APIError, ConfigurationError, StreamInterruptedError
from locus.core.events import ModelChunkEvent
from locus.core.frozendict import EMPTY, FrozenDict, to_frozen_dict
from locus.core.messages import Content, Message, Role, TextPart, ToolCall, generate_tool_call_id
from locus.core.response import ModelResponse
from locus.core.typed_call_keywords import CallKeywords
from locus.models.base import Model
from locus.models.capabilities import ModelCapabilities
from locus.transport.async_driver import AsyncStream
from locus.transport.blocking_driver import BlockingStream
from locus.wire.stream_decoder import make_final_event

ScriptPart: TypeAlias = str | Message | ModelResponse | BaseException
ScriptEntry: TypeAlias = ScriptPart | Sequence[ScriptPart]
"""One response of a script: one part, or several parts that are merged."""


def text(
    content: str,
    *,
    reasoning: str | None = None,
    stop_reason: str | None = "stop",
    usage: Mapping[str, int] = EMPTY,
) -> ModelResponse:
    """Make a response with text."""
    return ModelResponse(
        Message.assistant(content), usage=usage, stop_reason=stop_reason, reasoning=reasoning
    )


def tool_call(name: str, id: str | None = None, /, **arguments: Any) -> ModelResponse:
    """Make a response with a tool call. Several in one script entry make parallel calls."""
    call = ToolCall(id or generate_tool_call_id(), name, arguments)
    return ModelResponse(Message.assistant(None, [call]), stop_reason="tool_calls")


def interrupted_text(content: str) -> tuple[ModelResponse, StreamInterruptedError]:
    """Make a response that breaks off after ``content``: a stream yields that much, and raises."""
    # An interrupted response has no stop reason, so that it never looks complete.
    error = StreamInterruptedError("the script ends the stream here")
    return text(content, stop_reason=None), error


@attrs.frozen
class RecordedCall:
    """One call of a model.

    :ivar messages: the normalized conversation.
    :ivar tools: the schemas of the tools, bound ones included.
    :ivar options: the keywords of the call, bound ones included.
    :ivar streamed: whether it was a call of ``stream`` or ``stream_sync``.
    """

    messages: tuple[Message, ...]
    tools: tuple[Mapping[str, Any], ...]
    options: Mapping[str, Any]
    streamed: bool


class ScriptExhaustedError(AssertionError):
    """The model was called more often than its script has responses."""


# -- responses ---------------------------------------------------------------------------------

ResponseParts: TypeAlias = tuple[ModelResponse | BaseException, ...]


def _parse_script_entry(entry: Any, description: str) -> ResponseParts:
    """Parse a script entry. Errors name it by ``description``, because they are about the test."""
    if isinstance(entry, (str, Message, ModelResponse, BaseException)):
        entry = (entry,)
    elif not isinstance(entry, Iterable) or isinstance(entry, (Mapping, bytes)):
        raise _make_script_type_error(description, entry)
    parts = tuple(_parse_script_part(part, description) for part in entry)
    if not parts:
        raise ConfigurationError(f"{description} is empty")
    return parts


def _parse_script_part(part: Any, description: str) -> ModelResponse | BaseException:
    match part:
        case str():
            return text(part)
        case Message(role=Role.ASSISTANT):
            return ModelResponse(part, stop_reason="tool_calls" if part.tool_calls else "stop")
        case Message():
            raise ConfigurationError(
                f"{description} is a message of the {part.role}'s, not a response"
            )
        case ModelResponse() | BaseException():
            return part
    raise _make_script_type_error(description, part)


def _make_script_type_error(description: str, value: Any) -> TypeError:
    type_name = value.__name__ if isinstance(value, type) else type(value).__name__
    return TypeError(
        f"{description} is {type_name}; a response is a string, a Message, a ModelResponse, an "
        "error to raise, or a list of these"
    )


def _merge_parts_or_raise(parts: Iterable[ModelResponse | BaseException]) -> ModelResponse:
    """Merge the parts into one response, or raise the first part that is an error."""
    responses: list[ModelResponse] = []
    for part in parts:
        if isinstance(part, BaseException):
            raise _copy_error_with_partial_response(part, responses)
        responses.append(part)
    return _merge_into_one_response(responses)


def _copy_error_with_partial_response(
    error: BaseException, responses: Sequence[ModelResponse]
) -> BaseException:
    """Copy an ``APIError``, with the response so far; return any other error as it is."""
    if not isinstance(error, APIError):
        return error
    error = copy(error)
    if error.partial is None and responses:
        error.partial = _merge_into_one_response(responses)
    return error


def _merge_into_one_response(responses: Sequence[ModelResponse]) -> ModelResponse:
    """Merge responses into one: their texts are joined, their tool calls collected."""
    last = responses[-1]
    if len(responses) == 1:
        return last
    calls = [call for response in responses for call in response.tool_calls]
    return attrs.evolve(
        last,
        message=Message.assistant(
            _merge_message_contents([response.message.all_content for response in responses]), calls
        ),
        reasoning="".join(response.reasoning or "" for response in responses) or None,
        usage=FrozenDict({key: n for response in responses for key, n in response.usage.items()}),
        stop_reason="tool_calls" if calls and last.stop_reason == "stop" else last.stop_reason,
    )


def _merge_message_contents(contents: Sequence[Content]) -> Any:
    present = [content for content in contents if content is not None]
    if all(isinstance(content, str) for content in present):
        return "".join(map(str, present)) if present else None
    return [
        part
        for content in present
        for part in ((TextPart(content),) if isinstance(content, str) else content)
    ]


def _iter_events(parts: ResponseParts) -> Generator[ModelChunkEvent, None, None]:
    """Stream a response: reasoning and text word by word, then the final event."""
    for part in parts:
        if isinstance(part, BaseException):
            break
        for word in _split_words(part.reasoning):
            yield ModelChunkEvent(reasoning=word)
        for word in _split_words(part.content):
            yield ModelChunkEvent(content=word)
    yield make_final_event(_merge_parts_or_raise(parts))


def _split_words(text: str | None) -> list[str]:
    return re.findall(r"\s*\S+|\s+", text or "")


# -- models ------------------------------------------------------------------------------------


@attrs.frozen(init=False)
class FunctionModel(Model):
    """A model whose responses are made by a function.

    :param function: called with the conversation (a tuple of messages), the tools' schemas, and
        the call's keywords; returns a response, or raises. It may be ``async`` if the model is only
        used in async code.
    :ivar calls: all calls of the model, in order; shared with its copies.
    """

    base_capabilities: ClassVar[ModelCapabilities] = ModelCapabilities(thinking=True)

    function: Callable[..., Any]
    tools: tuple[Mapping[str, Any], ...] = attrs.field(
        default=(), converter=build_tool_schemas, hash=False
    )
    options: Mapping[str, Any] = attrs.field(default=EMPTY, converter=to_frozen_dict, hash=False)
    calls: list[RecordedCall] = attrs.field(factory=list, eq=False, repr=False)

    def __init__(self, function: Callable[..., Any]) -> None:
        if not callable(function):
            raise TypeError(f"FunctionModel takes a function, not {type(function).__name__}")
        self.__attrs_init__(function)

    def _build_recorded_call(
        self,
        messages: Messages,
        tools: Sequence[ToolLike] | None,
        keywords: Mapping[str, Any],
        *,
        streamed: bool,
    ) -> RecordedCall:
        """Build the record of a call; raise if a provider's model would reject the call."""
        keywords = normalize_call_keywords(keywords, f"a call of {type(self).__name__}")
        options = FrozenDict({**self.options, **keywords})
        if options:  # the checks of none take a twentieth of an agent's step
            CallOptions(model="scripted", **options)
        return RecordedCall(
            messages=validate_messages(
                messages,
                server_has_history=bool(options.get("provider_state")),
                accepted_parts=None,
            ),
            tools=self.tools if tools is None else build_tool_schemas(tools),
            options=options,
            streamed=streamed,
        )

    def _record_and_call_function(self, recorded_call: RecordedCall) -> Any:
        """Add the call to ``calls`` and call the function; return what it returns."""
        self.calls.append(recorded_call)
        return self.function(recorded_call.messages, recorded_call.tools, **recorded_call.options)

    def _call_for_response_parts(self, recorded_call: RecordedCall) -> ResponseParts:
        """Call a blocking function and parse the parts of the response that it returns."""
        result = self._record_and_call_function(recorded_call)
        if inspect.isawaitable(result):
            if inspect.iscoroutine(result):
                result.close()  # it will never be awaited; this avoids the warning
            raise ConfigurationError("this model's function is async: it cannot be called blocking")
        return _parse_script_entry(result, "what the function returned")

    async def _call_for_response_parts_async(self, recorded_call: RecordedCall) -> ResponseParts:
        """Call a blocking or async function and parse the parts of its response."""
        result = self._record_and_call_function(recorded_call)
        if inspect.isawaitable(result):
            result = await result
        return _parse_script_entry(result, "what the function returned")

    def complete_sync(
        self,
        messages: Messages,
        tools: Sequence[ToolLike] | None = None,
        **kwargs: Unpack[CallKeywords],
    ) -> ModelResponse:
        """Return one response, blocking."""
        return _merge_parts_or_raise(
            self._call_for_response_parts(
                self._build_recorded_call(messages, tools, kwargs, streamed=False)
            )
        )

    def stream_sync(
        self,
        messages: Messages,
        tools: Sequence[ToolLike] | None = None,
        **kwargs: Unpack[CallKeywords],
    ) -> BlockingStream:
        """Stream one response, blocking."""
        call = self._build_recorded_call(messages, tools, kwargs, streamed=True)

        def events() -> Generator[ModelChunkEvent, None, None]:
            yield from _iter_events(self._call_for_response_parts(call))

        return BlockingStream(events())

    async def complete(
        self,
        messages: Messages,
        tools: Sequence[ToolLike] | None = None,
        **kwargs: Unpack[CallKeywords],
    ) -> ModelResponse:
        """Return one response, under asyncio or trio."""
        call = self._build_recorded_call(messages, tools, kwargs, streamed=False)
        await checkpoint()
        return _merge_parts_or_raise(await self._call_for_response_parts_async(call))

    def stream(
        self,
        messages: Messages,
        tools: Sequence[ToolLike] | None = None,
        **kwargs: Unpack[CallKeywords],
    ) -> AsyncStream:
        """Stream one response, under asyncio or trio."""
        return AsyncStream(
            _ScriptedEventSource(
                self, self._build_recorded_call(messages, tools, kwargs, streamed=True)
            )
        )

    def bind_tools(self, tools: Sequence[ToolLike], **kwargs: Unpack[CallKeywords]) -> Self:
        """Return a copy with the tools and keywords bound."""
        keywords = normalize_call_keywords(kwargs, f"{type(self).__name__}.bind_tools")
        new = object.__new__(type(self))
        new.__attrs_init__(self.function, tools, {**self.options, **keywords}, self.calls)
        return new

    def close_sync(self) -> None:
        """Do nothing: there are no connections."""

    async def aclose(self) -> None:
        """Do nothing: there are no connections."""


class _ScriptedEventSource:
    """The source of an ``AsyncStream``. Calls the function at the first event, and lets other tasks
    run before each event."""

    __slots__ = ("_call", "_events", "_model")

    def __init__(self, model: FunctionModel, call: RecordedCall) -> None:
        self._model = model
        self._call = call
        self._events: Iterator[ModelChunkEvent] | None = None

    async def read_next_events(self) -> list[ModelChunkEvent]:
        await checkpoint()
        if self._events is None:
            self._events = _iter_events(
                await self._model._call_for_response_parts_async(self._call)
            )
        for event in self._events:
            return [event]
        return []

    async def close(self) -> None:
        """Do nothing: there are no connections."""

    def close_nowait(self) -> None:
        """Do nothing: there are no connections."""


@attrs.define(unsafe_hash=True)
class _Script:
    """The function of a scripted model. Equal scripts are equal, however often they were called."""

    # Not hashed, because arguments of tool calls may contain lists.
    entries: tuple[ResponseParts, ...] = attrs.field(hash=False)
    cycle: bool
    call_count: int = attrs.field(default=0, eq=False)
    lock: threading.Lock = attrs.field(factory=threading.Lock, eq=False, repr=False)

    def __call__(self, *_: Any, **__: Any) -> ResponseParts:
        with self.lock:
            position, self.call_count = self.call_count, self.call_count + 1
        size = len(self.entries)
        if self.cycle:
            position %= size
        if position >= size:
            raise ScriptExhaustedError(
                f"the script is used up: it has {size} response{'s' * (size > 1)}, and this is "
                f"call {position + 1}"
            )
        return self.entries[position]

    def __getstate__(self) -> tuple[Any, ...]:
        return self.entries, self.cycle, self.call_count

    def __setstate__(self, state: tuple[Any, ...]) -> None:
        self.__init__(*state)  # type: ignore[misc]  # makes a new lock


class ScriptedModel(FunctionModel):
    """A model that returns the responses of a script in order; each once, also with many threads.

    :param responses: strings, messages, responses (see :func:`text` and :func:`tool_call`), errors
        to raise, or lists of them that are merged to one response (see :func:`interrupted_text`).
    :param cycle: begin again at the end, rather than raise :class:`ScriptExhaustedError`.
    :raises TypeError: if a value is none of these; the error names its position.
    """

    __slots__ = ()

    def __init__(self, *responses: ScriptEntry, cycle: bool = False) -> None:
        if not responses:
            raise ConfigurationError("a script needs at least one response")
        script = tuple(
            _parse_script_entry(response, f"response {position} of the script")
            for position, response in enumerate(responses, 1)
        )
        self.__attrs_init__(_Script(script, cycle))
