"""An answer of ``POST /responses`` that comes in pieces.

The events are named after what they do: ``response.created`` at first, then for each item of the
answer ``output_item.added``, its deltas and what they come to, and ``output_item.done`` with the
whole item. The end is ``response.completed``, ``.incomplete`` or ``.failed``, with the answer;
a stream without one of these was cut short. Events of the server's own tools, and of kinds that do
not exist yet, are passed over: what they tell is in the items.

What has been handed out counts: where the pieces and the whole answer do not agree, which no server
should let happen, the text is that of the pieces.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final, TypeAlias

import msgspec

from locus.core.error_factory import make_status_error
from locus.core.errors import ResponseParseError
from locus.core.events import ModelChunkEvent, chunk_event
from locus.core.response import ModelResponse
from locus.wire.json import Read, Reader, text_of
from locus.wire.responses.items import (
    PARAGRAPH,
    CallItem,
    Item,
    read,
    shape_of,
)
from locus.wire.responses.response import (
    Refusal,
    Whole,
    assemble,
    check,
    failure,
    reader,
    response_of,
)
from locus.wire.responses.text_accumulator import Index, Place, Strand
from locus.wire.stream_decoder import StreamDecoder
from locus.wire.stream_framing import ServerSentEvents


class Event(Read):
    type: str | None = None
    delta: Any = None
    output_index: int | None = None
    content_index: int | None = None
    item_id: str | None = None
    summary_index: int | None = None
    text: Any = None
    arguments: Any = None
    input: Any = None
    refusal: Any = None
    item: dict[str, Any] | None = None
    part: dict[str, Any] | None = None
    response: Whole | None = None
    error: Any = None
    message: Any = None
    code: Any = None

    @property
    def place(self) -> Place:
        """The item that this event is about."""
        return self.item_id if self.output_index is None else self.output_index


class _Kind(Read):
    type: str | None = None


_reader: Final = Reader(Event)
_decode: Final = _reader.decode
_kind: Final = Reader(_Kind)


class ResponsesDecoder(StreamDecoder):
    """The ``StreamDecoder`` of the responses format."""

    __slots__ = (
        "_begun_as",
        "_items",
        "_pieces",
        "_refusal",
        "_refuse",
        "_response",
        "_store",
        "_text",
        "_thought",
    )

    def __init__(self, store: bool = True, refuse: Refusal = make_status_error) -> None:
        super().__init__(ServerSentEvents())
        self._store = store
        self._refuse = refuse
        self._begun_as = Whole()
        self._items: dict[Place, Item] = {}
        self._pieces: dict[Place, list[str]] = {}
        """What has arrived of the arguments of calls that are not whole."""
        self._text = Strand()
        self._thought = Strand(PARAGRAPH)
        self._refusal = Strand()
        self._response: ModelResponse | None = None

    @property
    def complete(self) -> bool:
        return False  # every server of this format sends its end marker

    def read(self, frame: bytes, events: list[ModelChunkEvent]) -> None:
        try:
            event = _decode(frame)
        except (msgspec.DecodeError, UnicodeError, RecursionError):
            if frame.strip() == b"[DONE]":  # gateways that know OpenAI's older format best
                return
            try:
                event = _reader.read(frame)
            except ResponseParseError:
                if _kind.read(frame).type in (None, *HANDLED):
                    raise
                return
        kind = event.type
        if kind == "response.output_text.delta":  # nearly always
            piece = event.delta
            if piece.__class__ is str and piece:
                place = event.output_index
                key = (event.item_id if place is None else place, event.content_index or 0)
                text = self._text
                if key == text.key:
                    text.run.append(piece)
                else:
                    text.add(key, piece)
                events.append(chunk_event(piece))
            return
        handler = _HANDLERS.get(kind or "")
        if handler is not None:
            handler(self, event, frame, events)
        elif kind is None and (event.error or event.message):
            raise failure(
                event.error or {"message": event.message, "code": event.code}, frame, self._refuse
            )

    def read_whole(self, body: bytes) -> ModelResponse:
        return response_of(reader.read(body), body, self._store, self._refuse)

    def whole(self) -> ModelResponse:
        return self._response or self.partial()

    def partial(self) -> ModelResponse:
        output = read(self._arrived(), unfinished=True)
        output.text, output.reasoning = self._text.said(), self._thought.said()
        output.refusal = self._refusal.said()
        return assemble(self._begun_as, output, [], self._store, unfinished=True)

    # Handlers, one for each event that tells something.

    def _begin(self, event: Event, frame: bytes, events: list[ModelChunkEvent]) -> None:
        begun, before = event.response, self._begun_as
        if begun is not None:
            check(begun, frame, self._refuse)
            self._begun_as = Whole(id=begun.id or before.id, model=begun.model or before.model)

    def _item(self, event: Event, frame: bytes, events: list[ModelChunkEvent]) -> None:
        item = event.item
        if item is None:
            return
        place: Place = event.output_index
        if place is None:
            named = item.get("id")
            place = named if isinstance(named, str) else event.item_id
        shape = shape_of(item)
        self._items[place] = item
        if event.type == "response.output_item.added":
            return
        said = read([item], unfinished=True)
        self._refusal.settle(place, None, said.refusal)
        text = self._text.settle(place, None, said.text)
        _tell(text, self._thought.settle(place, None, said.reasoning), events)
        if isinstance(shape, CallItem) and (shape.arguments or shape.input):
            self._pieces.pop(place, None)

    def _part(self, event: Event, frame: bytes, events: list[ModelChunkEvent]) -> None:
        """A part that begins, perhaps with some of its text, or that is whole."""
        part = event.part or {}
        if part.get("type") == "reasoning_text":
            self._think(event, f"content {event.content_index or 0}", events)
            return
        _hear(self._refusal, event, event.content_index or 0, part.get("refusal"))
        _tell(_hear(self._text, event, event.content_index or 0, part.get("text")), "", events)

    def _text_done(self, event: Event, frame: bytes, events: list[ModelChunkEvent]) -> None:
        _tell(_hear(self._text, event, event.content_index or 0, event.text), "", events)

    def _refused(self, event: Event, frame: bytes, events: list[ModelChunkEvent]) -> None:
        _hear(self._refusal, event, event.content_index or 0, event.delta or event.refusal)

    def _summary(self, event: Event, frame: bytes, events: list[ModelChunkEvent]) -> None:
        self._think(event, f"summary {event.summary_index or 0}", events)

    def _reasoning(self, event: Event, frame: bytes, events: list[ModelChunkEvent]) -> None:
        self._think(event, f"content {event.content_index or 0}", events)

    def _think(self, event: Event, index: str, events: list[ModelChunkEvent]) -> None:
        said = event.part.get("text") if event.part else event.delta or event.text
        _tell("", _hear(self._thought, event, index, said), events)

    def _arguments(self, event: Event, frame: bytes, events: list[ModelChunkEvent]) -> None:
        if isinstance(event.delta, str):
            self._pieces.setdefault(event.place, []).append(event.delta)
        whole = event.arguments or event.input
        if isinstance(whole, str):
            self._pieces[event.place] = [whole]

    def _end(self, event: Event, frame: bytes, events: list[ModelChunkEvent]) -> None:
        whole = event.response
        if whole is None:
            raise ResponseParseError("the answer ends without itself", body=text_of(frame))
        whole.status = whole.status or str(event.type).removeprefix("response.")
        check(whole, frame, self._refuse)
        whole.id, whole.model = whole.id or self._begun_as.id, whole.model or self._begun_as.model
        items = whole.output or self._arrived()  # some gateways empty it
        try:
            output = read(items)
        except ResponseParseError as error:
            error.body = text_of(frame)[:2000]
            raise
        output.text, text, agree = self._text.agree(output.text)
        output.reasoning, thought, _ = self._thought.agree(output.reasoning)
        output.refusal = output.refusal or self._refusal.said()
        self._response = assemble(whole, output, items if agree else [], self._store)
        _tell(text, thought, events)
        events.append(self.finish())

    def _fails(self, event: Event, frame: bytes, events: list[ModelChunkEvent]) -> None:
        said = {"code": event.code, "message": event.message or "no explanation"}
        raise failure(event.error or said, frame, self._refuse)

    # What has arrived.

    def _arrived(self) -> list[Item]:
        """The items so far, calls with what has arrived of their arguments."""
        numbered = all(isinstance(place, int) for place in self._items)
        places = sorted(self._items, key=_number) if numbered else list(self._items)
        found = []
        for place in places:
            item, pieces = self._items[place], self._pieces.get(place)
            if pieces is not None:
                name = "input" if item.get("type") == "custom_tool_call" else "arguments"
                item = {**item, name: "".join(pieces)}
            found.append(item)
        return found


def _hear(strand: Strand, event: Event, index: Index, said: object) -> str:
    """Take in a piece, or a part that is whole; gives what it adds."""
    if str(event.type).endswith("done"):
        return strand.settle(event.place, index, said)
    return strand.add((event.place, index), said) if isinstance(said, str) and said else ""


def _tell(text: str, thought: str, events: list[ModelChunkEvent]) -> None:
    if text or thought:
        events.append(chunk_event(text, thought))


def _number(place: Place) -> int:
    return place if isinstance(place, int) else 0


_Handler: TypeAlias = Callable[[ResponsesDecoder, Event, bytes, list[ModelChunkEvent]], None]

_HANDLERS: Final[Mapping[str, _Handler]] = {
    "response.created": ResponsesDecoder._begin,
    "response.queued": ResponsesDecoder._begin,
    "response.in_progress": ResponsesDecoder._begin,
    "response.output_item.added": ResponsesDecoder._item,
    "response.output_item.done": ResponsesDecoder._item,
    "response.content_part.added": ResponsesDecoder._part,
    "response.content_part.done": ResponsesDecoder._part,
    "response.output_text.done": ResponsesDecoder._text_done,
    "response.refusal.delta": ResponsesDecoder._refused,
    "response.refusal.done": ResponsesDecoder._refused,
    "response.reasoning_summary_part.added": ResponsesDecoder._summary,
    "response.reasoning_summary_part.done": ResponsesDecoder._summary,
    "response.reasoning_summary_text.delta": ResponsesDecoder._summary,
    "response.reasoning_summary_text.done": ResponsesDecoder._summary,
    "response.reasoning_text.delta": ResponsesDecoder._reasoning,
    "response.reasoning_text.done": ResponsesDecoder._reasoning,
    "response.function_call_arguments.delta": ResponsesDecoder._arguments,
    "response.function_call_arguments.done": ResponsesDecoder._arguments,
    "response.custom_tool_call_input.delta": ResponsesDecoder._arguments,
    "response.custom_tool_call_input.done": ResponsesDecoder._arguments,
    "response.completed": ResponsesDecoder._end,
    "response.incomplete": ResponsesDecoder._end,
    "response.failed": ResponsesDecoder._end,
    "error": ResponsesDecoder._fails,
}
HANDLED: Final = frozenset({"response.output_text.delta", *_HANDLERS})
"""The events that tell something. All others are passed over."""
