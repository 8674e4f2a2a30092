"""Models that answer from a script or a function: no network, on every runtime.

    model = ScriptedModel(tool_call("weather", city="Paris"), text("It is sunny."))
    assert model.complete_sync("How is Paris?").tool_calls[0].arguments == {"city": "Paris"}

An answer is a value, or several pieces that make one: ``["Let me see.", tool_call("weather")]``.
``complete`` gives it whole. A stream gives it word by word, and where a piece is an error, raises
that after the pieces before it.
"""

from __future__ import annotations

import inspect
import re
import threading
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping, Sequence
from copy import copy
from typing import Any, Self, TypeAlias

import attrs
from anyio.lowlevel import checkpoint

from locus.core.call_options import CALL_KEYWORDS, CallOptions, unknown_keyword
from locus.core.conversation import Messages, conversation
from locus.core.errors import APIError, ConfigurationError, StreamInterruptedError
from locus.core.events import ModelChunkEvent
from locus.core.frozendict import EMPTY, FrozenDict, frozen_dict
from locus.core.messages import Content, Message, Role, TextPart, ToolCall, fresh_call_id
from locus.core.response import ModelResponse
from locus.core.tool_schemas import Tool, tool_schemas
from locus.models.model import Model
from locus.transport.async_driver import AsyncStream
from locus.transport.blocking_driver import BlockingStream
from locus.wire.stream_decoder import last_event

Piece: TypeAlias = str | Message | ModelResponse | BaseException
Answer: TypeAlias = Piece | Sequence[Piece]
"""One answer of a script: a piece of it, or several that make one answer together."""


def text(
    content: str,
    *,
    reasoning: str | None = None,
    stop_reason: str | None = "stop",
    usage: Mapping[str, int] = EMPTY,
) -> ModelResponse:
    """An answer in words."""
    return ModelResponse(
        Message.assistant(content), usage=usage, stop_reason=stop_reason, reasoning=reasoning
    )


def tool_call(name: str, id: str | None = None, /, **arguments: Any) -> ModelResponse:
    """An answer that calls a tool. Several in one answer make parallel calls."""
    call = ToolCall(id or fresh_call_id(), name, arguments)
    return ModelResponse(Message.assistant(None, [call]), stop_reason="tool_calls")


def cut_off(content: str) -> tuple[ModelResponse, StreamInterruptedError]:
    """An answer whose connection breaks after ``content``: streams give that much, and raise."""
    # What was cut has no stop reason: it never looks finished.
    broken = StreamInterruptedError("the script ends the stream here")
    return text(content, stop_reason=None), broken


@attrs.frozen
class RecordedCall:
    """What a model was asked.

    :ivar messages: the conversation, normalised.
    :ivar tools: the schemas of the tools, bound ones included.
    :ivar options: the keywords of the call, bound ones included.
    :ivar streamed: whether the answer was to come in pieces.
    """

    messages: tuple[Message, ...]
    tools: tuple[Mapping[str, Any], ...]
    options: Mapping[str, Any]
    streamed: bool


class ScriptExhaustedError(AssertionError):
    """The model was asked more often than its script has answers."""


# -- answers -----------------------------------------------------------------------------------

Pieces: TypeAlias = tuple[ModelResponse | BaseException, ...]


def _pieces(answer: Any, where: str) -> Pieces:
    """The pieces of an answer. ``where`` names it in errors, which are about the user's test."""
    if isinstance(answer, (str, Message, ModelResponse, BaseException)):
        answer = (answer,)
    elif not isinstance(answer, Iterable) or isinstance(answer, (Mapping, bytes)):
        raise _no_answer(where, answer)
    pieces = tuple(_piece(piece, where) for piece in answer)
    if not pieces:
        raise ConfigurationError(f"{where} is empty")
    return pieces


def _piece(piece: Any, where: str) -> ModelResponse | BaseException:
    match piece:
        case str():
            return text(piece)
        case Message(role=Role.ASSISTANT):
            return ModelResponse(piece, stop_reason="tool_calls" if piece.tool_calls else "stop")
        case Message():
            raise ConfigurationError(f"{where} is a message of the {piece.role}'s, not an answer")
        case ModelResponse() | BaseException():
            return piece
    raise _no_answer(where, piece)


def _no_answer(where: str, value: Any) -> TypeError:
    kind = value.__name__ if isinstance(value, type) else type(value).__name__
    return TypeError(
        f"{where} is {kind}; an answer is a string, a Message, a ModelResponse, an error to "
        "raise, or a list of these"
    )


def _whole(pieces: Iterable[ModelResponse | BaseException]) -> ModelResponse:
    """The pieces as one response. Raises the first of them that is an error."""
    parts: list[ModelResponse] = []
    for piece in pieces:
        if isinstance(piece, BaseException):
            raise _raised(piece, parts)
        parts.append(piece)
    return _joined(parts)


def _raised(error: BaseException, parts: Sequence[ModelResponse]) -> BaseException:
    """The error to raise: of Locus's own a copy, since one script may be read many times."""
    if not isinstance(error, APIError):
        return error
    error = copy(error)
    if error.partial is None and parts:
        error.partial = _joined(parts)
    return error


def _joined(parts: Sequence[ModelResponse]) -> ModelResponse:
    last = parts[-1]
    if len(parts) == 1:
        return last
    calls = [call for part in parts for call in part.tool_calls]
    return attrs.evolve(
        last,
        message=Message.assistant(_content([part.message.content for part in parts]), calls),
        reasoning="".join(part.reasoning or "" for part in parts) or None,
        usage=FrozenDict({key: n for part in parts for key, n in part.usage.items()}),
        stop_reason="tool_calls" if calls and last.stop_reason == "stop" else last.stop_reason,
    )


def _content(contents: Sequence[Content]) -> Any:
    said = [content for content in contents if content is not None]
    if all(isinstance(content, str) for content in said):
        return "".join(map(str, said)) if said else None
    return [
        part
        for content in said
        for part in ((TextPart(content),) if isinstance(content, str) else content)
    ]


def _events(pieces: Pieces) -> Generator[ModelChunkEvent, None, None]:
    """The answer as a stream gives it: reasoning and text word by word, then the end."""
    for piece in pieces:
        if isinstance(piece, BaseException):
            break
        for word in _words(piece.reasoning):
            yield ModelChunkEvent(reasoning=word)
        for word in _words(piece.content):
            yield ModelChunkEvent(content=word)
    yield last_event(_whole(pieces))


def _words(said: str | None) -> list[str]:
    return re.findall(r"\s*\S+|\s+", said or "")


# -- models ------------------------------------------------------------------------------------


@attrs.frozen(init=False)
class FunctionModel(Model):
    """A model whose answers a function makes.

    :param function: called with the conversation (a tuple of messages), the tools' schemas, and
        the call's keywords; gives an answer, or raises. May be ``async`` where the model is only
        awaited.
    :ivar calls: what the model was asked, in order; shared with its copies.
    """

    function: Callable[..., Any]
    tools: tuple[Mapping[str, Any], ...] = attrs.field(
        default=(), converter=tool_schemas, hash=False
    )
    options: Mapping[str, Any] = attrs.field(default=EMPTY, converter=frozen_dict, hash=False)
    calls: list[RecordedCall] = attrs.field(factory=list, eq=False, repr=False)

    def __init__(self, function: Callable[..., Any]) -> None:
        if not callable(function):
            raise TypeError(f"FunctionModel takes a function, not {type(function).__name__}")
        self.__attrs_init__(function)

    def _call(
        self,
        messages: Messages,
        tools: Sequence[Tool] | None,
        said: Mapping[str, Any],
        *,
        streamed: bool,
    ) -> RecordedCall:
        """The call as a value: what a provider's model refuses before it sends is refused here."""
        _check_keywords(said, f"a call of {type(self).__name__}")
        options = FrozenDict({**self.options, **said})
        CallOptions(model="scripted", **options)
        return RecordedCall(
            messages=conversation(messages, continues=bool(options.get("provider_state"))),
            tools=self.tools if tools is None else tool_schemas(tools),
            options=options,
            streamed=streamed,
        )

    def _ask(self, call: RecordedCall) -> Any:
        self.calls.append(call)
        return self.function(call.messages, call.tools, **call.options)

    def _answer(self, call: RecordedCall) -> Pieces:
        answer = self._ask(call)
        if inspect.isawaitable(answer):
            if inspect.iscoroutine(answer):
                answer.close()  # never to be awaited, and that is fine
            raise ConfigurationError("this model's function is async: it cannot be called blocking")
        return _pieces(answer, "what the function gave")

    async def _answer_async(self, call: RecordedCall) -> Pieces:
        answer = self._ask(call)
        if inspect.isawaitable(answer):
            answer = await answer
        return _pieces(answer, "what the function gave")

    def complete_sync(
        self, messages: Messages, tools: Sequence[Tool] | None = None, **kwargs: Any
    ) -> ModelResponse:
        """One whole answer, blocking."""
        return _whole(self._answer(self._call(messages, tools, kwargs, streamed=False)))

    def stream_sync(
        self, messages: Messages, tools: Sequence[Tool] | None = None, **kwargs: Any
    ) -> BlockingStream:
        """The answer in pieces, blocking."""
        call = self._call(messages, tools, kwargs, streamed=True)

        def events() -> Generator[ModelChunkEvent, None, None]:
            yield from _events(self._answer(call))

        return BlockingStream(events())

    async def complete(
        self, messages: Messages, tools: Sequence[Tool] | None = None, **kwargs: Any
    ) -> ModelResponse:
        """One whole answer, under asyncio or trio."""
        call = self._call(messages, tools, kwargs, streamed=False)
        await checkpoint()
        return _whole(await self._answer_async(call))

    def stream(
        self, messages: Messages, tools: Sequence[Tool] | None = None, **kwargs: Any
    ) -> AsyncStream:
        """The answer in pieces, under asyncio or trio."""
        return AsyncStream(_Source(self, self._call(messages, tools, kwargs, streamed=True)))

    def bind_tools(self, tools: Sequence[Tool], **kwargs: Any) -> Self:
        """A copy with the tools and keywords bound."""
        _check_keywords(kwargs, f"{type(self).__name__}.bind_tools")
        new = object.__new__(type(self))
        new.__attrs_init__(self.function, tools, {**self.options, **kwargs}, self.calls)
        return new

    def close_sync(self) -> None:
        """Nothing is held."""

    async def aclose(self) -> None:
        """Nothing is held."""


def _check_keywords(said: Iterable[str], of: str) -> None:
    for name in said:
        if name not in CALL_KEYWORDS:
            raise unknown_keyword(name, CALL_KEYWORDS, of)


class _Source:
    """Feeds an ``AsyncStream``, letting other tasks run before each piece. Asks when asked."""

    __slots__ = ("_call", "_events", "_model")

    def __init__(self, model: FunctionModel, call: RecordedCall) -> None:
        self._model = model
        self._call = call
        self._events: Iterator[ModelChunkEvent] | None = None

    async def more(self) -> list[ModelChunkEvent]:
        await checkpoint()
        if self._events is None:
            self._events = _events(await self._model._answer_async(self._call))
        for event in self._events:
            return [event]
        return []

    async def close(self) -> None:
        """Nothing is held."""

    def abandon(self) -> None:
        """Nothing is held."""


@attrs.define(unsafe_hash=True)
class _Script:
    """The function of a scripted model. Its value is the script, not how far it has got."""

    answers: tuple[Pieces, ...] = attrs.field(hash=False)  # arguments of calls may hold lists
    cycle: bool
    given: int = attrs.field(default=0, eq=False)
    lock: threading.Lock = attrs.field(factory=threading.Lock, eq=False, repr=False)

    def __call__(self, *_: Any, **__: Any) -> Pieces:
        with self.lock:
            position, self.given = self.given, self.given + 1
        size = len(self.answers)
        if self.cycle:
            position %= size
        if position >= size:
            raise ScriptExhaustedError(
                f"the script is used up: it has {size} answer{'s' * (size > 1)}, and this is call "
                f"{position + 1}"
            )
        return self.answers[position]

    def __getstate__(self) -> tuple[Any, ...]:
        return self.answers, self.cycle, self.given

    def __setstate__(self, state: tuple[Any, ...]) -> None:
        self.__init__(*state)  # type: ignore[misc]  # a lock of its own


class ScriptedModel(FunctionModel):
    """A model that gives the answers of a script, in order, each once however many threads ask.

    :param answers: strings, messages, responses (see :func:`text` and :func:`tool_call`), errors
        to raise, or lists of them that make one answer together (see :func:`cut_off`).
    :param cycle: begin again at the end, rather than raise :class:`ScriptExhaustedError`.
    :raises TypeError: something is no answer; says which.
    """

    __slots__ = ()

    def __init__(self, *answers: Answer, cycle: bool = False) -> None:
        if not answers:
            raise ConfigurationError("a script needs at least one answer")
        script = tuple(
            _pieces(answer, f"answer {position} of the script")
            for position, answer in enumerate(answers, 1)
        )
        self.__attrs_init__(_Script(script, cycle))
