"""Decodes a streamed response of ``POST /responses``.

The first event is ``response.created``. For each item of the response there are
``output_item.added``, the item's deltas, the full text of each part, and ``output_item.done`` with
the complete item. The last event is ``response.completed``, ``.incomplete`` or ``.failed``, with
the complete response; a stream without one of these was interrupted. Events of the server's own
tools, and of types that are not known yet, are ignored: the items contain their results.

The caller has already received the deltas. Should the deltas and the complete response differ,
which would be a fault of the server, the text of the deltas is used.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, ClassVar, Final, TypeAlias

from locus.core.errors import ResponseParseError
from locus.core.events import ModelChunkEvent, make_chunk_event
from locus.core.make_status_error import make_status_error
from locus.core.response import ModelResponse
from locus.wire.provider_json import (
    DECODING_ERRORS,
    ResponseStruct,
    StructDecoder,
    convert_body_to_text,
)
from locus.wire.responses.complete_response import (
    ResponseObject,
    StatusErrorFactory,
    build_model_response,
    make_response_error,
    parse_response,
    raise_for_error,
)
from locus.wire.responses.item_accumulator import ItemAccumulator
from locus.wire.responses.output_items import (
    REASONING_SEPARATOR,
    Item,
    ToolCallItem,
    parse_item_if_known,
    parse_items,
)
from locus.wire.responses.text_accumulator import ItemKey, PartIndex, TextAccumulator
from locus.wire.stream_decoder import StreamDecoder, is_done_marker, is_keep_alive
from locus.wire.stream_framing import SSEFraming


class Event(ResponseStruct):
    needed_members: ClassVar = frozenset({"type", "item", "response"})

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
    response: ResponseObject | None = None
    error: Any = None
    message: Any = None
    code: Any = None

    @property
    def item_key(self) -> ItemKey:
        """The key of the item that this event belongs to."""
        return self.item_id if self.output_index is None else self.output_index


def get_response_object(chunks: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Return the ``response`` in the last event of a stream."""
    response = chunks[-1].get("response") if chunks else None
    return dict(response) if isinstance(response, Mapping) else {}


class _AnnouncedResponse(ResponseObject):
    """A response that is not complete: it comes once more at the end."""

    needed_members: ClassVar = frozenset()


class _PassingEvent(Event):
    """An event whose ``item`` and ``response`` only announce what comes later once more."""

    needed_members: ClassVar = frozenset({"type"})

    response: _AnnouncedResponse | None = None


class _TypeOnly(ResponseStruct):
    type: str | None = None


_event_decoder: Final = StructDecoder(Event)
_decode: Final = _event_decoder.decode_strict
_passing_event_decoder: Final = StructDecoder(_PassingEvent)
_type_decoder: Final = StructDecoder(_TypeOnly)


class ResponsesDecoder(StreamDecoder):
    """The ``StreamDecoder`` of the responses format."""

    __slots__ = (
        "_created_response",
        "_error_factory",
        "_items",
        "_reasoning",
        "_refusal",
        "_response",
        "_store",
        "_text",
    )

    def __init__(
        self, store: bool = True, error_factory: StatusErrorFactory = make_status_error
    ) -> None:
        super().__init__(SSEFraming())
        self._store = store
        self._error_factory = error_factory
        self._created_response = ResponseObject()
        self._items = ItemAccumulator()
        self._text = TextAccumulator()
        self._reasoning = TextAccumulator(REASONING_SEPARATOR)
        self._refusal = TextAccumulator()
        self._response: ModelResponse | None = None

    @property
    def is_complete_without_end_marker(self) -> bool:
        return False  # every server of this format sends its end marker

    def read_frame(self, frame: bytes, events: list[ModelChunkEvent]) -> None:
        try:
            event = _decode(frame)
        except DECODING_ERRORS:
            if is_done_marker(frame) or is_keep_alive(
                frame
            ):  # some gateways end the stream like chat completions
                return
            try:
                event = _event_decoder.decode(frame)
            except ResponseParseError:
                type_of_unfit = _type_decoder.decode(frame).type
                if type_of_unfit is None or type_of_unfit in _CONCLUSIVE_EVENTS:
                    raise
                if type_of_unfit not in HANDLED_EVENTS:
                    return
                event = _passing_event_decoder.decode(frame)
        event_type = event.type
        if event_type == "response.output_text.delta":  # nearly always
            delta = event.delta
            if delta.__class__ is str and delta:
                output_index = event.output_index
                key = (
                    event.item_id if output_index is None else output_index,
                    event.content_index or 0,
                )
                text = self._text
                if key == text.key:
                    text.run.append(delta)
                else:
                    delta = text.add_delta(key, delta)
                events.append(make_chunk_event(delta))
            return
        handler = _HANDLERS.get(event_type or "")
        if handler is not None:
            handler(self, event, frame, events)
        elif event_type is None and (event.error or event.message):
            raise make_response_error(
                event.error or {"message": event.message, "code": event.code},
                frame,
                self._error_factory,
            )

    merge_raw = staticmethod(get_response_object)

    def parse_body(self, body: bytes) -> ModelResponse:
        return parse_response(body, self._store, self._error_factory)

    def build_response(self) -> ModelResponse:
        return self._response or self.build_partial_response()

    def build_partial_response(self) -> ModelResponse:
        output = parse_items(self._items.build_items(), skip_unnamed_calls=True)
        output.text, output.reasoning = self._text.join_text(), self._reasoning.join_text()
        output.refusal = self._refusal.join_text()
        return build_model_response(
            self._created_response, output, [], self._store, is_partial=True
        )

    # Handlers, one for each type of event that is not ignored.

    def _on_created(self, event: Event, frame: bytes, events: list[ModelChunkEvent]) -> None:
        created, previous = event.response, self._created_response
        if created is not None:
            raise_for_error(created, frame, self._error_factory, is_event=True)
            self._created_response = ResponseObject(
                id=created.id or previous.id, model=created.model or previous.model
            )

    def _on_output_item(self, event: Event, frame: bytes, events: list[ModelChunkEvent]) -> None:
        item = event.item
        if item is None:
            return
        item_key: ItemKey = event.output_index
        if item_key is None:
            item_id = item.get("id")
            item_key = item_id if isinstance(item_id, str) else event.item_id
        parsed_item = parse_item_if_known(item)
        if event.type == "response.output_item.added":
            self._items.add_item(event.output_index, item)
            return
        has_arguments = isinstance(parsed_item, ToolCallItem) and bool(
            parsed_item.arguments or parsed_item.input
        )
        self._items.finish_item(event.output_index, item, has_arguments)
        output = parse_items([item], skip_unnamed_calls=True)
        self._refusal.finish_part(item_key, None, output.refusal)
        text = self._text.finish_part(item_key, None, output.text)
        _append_chunk_event(
            text, self._reasoning.finish_part(item_key, None, output.reasoning), events
        )

    def _on_content_part(self, event: Event, frame: bytes, events: list[ModelChunkEvent]) -> None:
        """Handle a content part that starts, perhaps with some text, or that is complete."""
        part = event.part or {}
        if part.get("type") == "reasoning_text":
            self._add_reasoning(event, f"content {event.content_index or 0}", events)
            return
        _add_text(self._refusal, event, event.content_index or 0, part.get("refusal"))
        if event.type == "response.content_part.added":
            self._text.announce(event.item_key, event.content_index or 0, part.get("text"))
            return
        _append_chunk_event(
            _add_text(self._text, event, event.content_index or 0, part.get("text")), "", events
        )

    def _on_text_done(self, event: Event, frame: bytes, events: list[ModelChunkEvent]) -> None:
        _append_chunk_event(
            _add_text(self._text, event, event.content_index or 0, event.text), "", events
        )

    def _on_refusal(self, event: Event, frame: bytes, events: list[ModelChunkEvent]) -> None:
        _add_text(self._refusal, event, event.content_index or 0, event.delta or event.refusal)

    def _on_reasoning_summary(
        self, event: Event, frame: bytes, events: list[ModelChunkEvent]
    ) -> None:
        self._add_reasoning(event, f"summary {event.summary_index or 0}", events)

    def _on_reasoning_text(self, event: Event, frame: bytes, events: list[ModelChunkEvent]) -> None:
        self._add_reasoning(event, f"content {event.content_index or 0}", events)

    def _add_reasoning(self, event: Event, part_index: str, events: list[ModelChunkEvent]) -> None:
        text = event.part.get("text") if event.part else event.delta or event.text
        item_key = event.item_key
        if event.output_index is None and not self._items.knows_id(event.item_id):
            item_key = None  # some servers give each event an id of its own
        if str(event.type).endswith("done"):
            text = self._reasoning.finish_part(item_key, part_index, text)
        else:
            text = _add_delta(self._reasoning, (item_key, part_index), text)
        _append_chunk_event("", text, events)

    def _on_arguments(self, event: Event, frame: bytes, events: list[ModelChunkEvent]) -> None:
        if isinstance(event.delta, str):
            self._items.add_arguments(event.output_index, event.item_id, event.delta)
        arguments = event.arguments or event.input
        if isinstance(arguments, str):
            self._items.finish_arguments(event.output_index, event.item_id, arguments)

    def _on_end(self, event: Event, frame: bytes, events: list[ModelChunkEvent]) -> None:
        response = event.response
        if response is None:
            raise ResponseParseError(
                "the last event has no response", body=convert_body_to_text(frame)
            )
        self.keep_raw(frame)
        event_status = str(event.type).removeprefix("response.")
        response.status = response.status or (
            "completed" if event_status == "done" else event_status
        )
        raise_for_error(response, frame, self._error_factory)
        response.id, response.model = (
            response.id or self._created_response.id,
            response.model or self._created_response.model,
        )
        items = self._complete_output(response)
        try:
            output = parse_items(items)
        except ResponseParseError as exc:
            exc.body = convert_body_to_text(frame)[:2000]
            raise
        output.text, text, is_consistent = self._text.reconcile_with_final_text(output.text)
        output.reasoning, reasoning, _ = self._reasoning.reconcile_with_final_text(output.reasoning)
        output.refusal = output.refusal or self._refusal.join_text()
        self._response = build_model_response(
            response, output, items if is_consistent else [], self._store
        )
        _append_chunk_event(text, reasoning, events)
        events.append(self.finish_response())

    def _complete_output(self, response: ResponseObject) -> list[Item]:
        """Return the output of the last event, with what the stream has and the event has not.

        Some gateways send an empty list. SGLang's router sends a message in the place of the calls:
        https://github.com/sgl-project/sglang/issues/12652.
        """
        if not response.output:
            return self._items.build_items()
        if response.status != "completed" or any(map(_is_call, response.output)):
            return response.output
        return [*response.output, *filter(_is_call, self._items.build_items())]

    def _on_error(self, event: Event, frame: bytes, events: list[ModelChunkEvent]) -> None:
        error = {"code": event.code, "message": event.message or "no explanation"}
        raise make_response_error(event.error or error, frame, self._error_factory)


def _is_call(item: Item) -> bool:
    return item.get("type") in ("function_call", "custom_tool_call")


def _add_text(
    accumulator: TextAccumulator, event: Event, part_index: PartIndex, text: object
) -> str:
    """Add a delta, or the full text of a part; return the text that is new."""
    if str(event.type).endswith("done"):
        return accumulator.finish_part(event.item_key, part_index, text)
    return _add_delta(accumulator, (event.item_key, part_index), text)


def _add_delta(accumulator: TextAccumulator, key: tuple[ItemKey, PartIndex], text: object) -> str:
    """Add a delta, unless it is empty; return what it adds to the text."""
    return accumulator.add_delta(key, text) if isinstance(text, str) and text else ""


def _append_chunk_event(text: str, reasoning: str, events: list[ModelChunkEvent]) -> None:
    """Append an event to ``events``, unless both texts are empty."""
    if text or reasoning:
        events.append(make_chunk_event(text, reasoning))


_Handler: TypeAlias = Callable[[ResponsesDecoder, Event, bytes, list[ModelChunkEvent]], None]

_HANDLERS: Final[Mapping[str, _Handler]] = {
    "response.created": ResponsesDecoder._on_created,
    "response.queued": ResponsesDecoder._on_created,
    "response.in_progress": ResponsesDecoder._on_created,
    "response.output_item.added": ResponsesDecoder._on_output_item,
    "response.output_item.done": ResponsesDecoder._on_output_item,
    "response.content_part.added": ResponsesDecoder._on_content_part,
    "response.content_part.done": ResponsesDecoder._on_content_part,
    "response.output_text.done": ResponsesDecoder._on_text_done,
    "response.refusal.delta": ResponsesDecoder._on_refusal,
    "response.refusal.done": ResponsesDecoder._on_refusal,
    "response.reasoning_summary_part.added": ResponsesDecoder._on_reasoning_summary,
    "response.reasoning_summary_part.done": ResponsesDecoder._on_reasoning_summary,
    "response.reasoning_summary_text.delta": ResponsesDecoder._on_reasoning_summary,
    "response.reasoning_summary_text.done": ResponsesDecoder._on_reasoning_summary,
    "response.reasoning_text.delta": ResponsesDecoder._on_reasoning_text,
    "response.reasoning_text.done": ResponsesDecoder._on_reasoning_text,
    "response.function_call_arguments.delta": ResponsesDecoder._on_arguments,
    "response.function_call_arguments.done": ResponsesDecoder._on_arguments,
    "response.custom_tool_call_input.delta": ResponsesDecoder._on_arguments,
    "response.custom_tool_call_input.done": ResponsesDecoder._on_arguments,
    "response.completed": ResponsesDecoder._on_end,
    "response.done": ResponsesDecoder._on_end,  # OpenRouter's name for it
    "response.incomplete": ResponsesDecoder._on_end,
    "response.failed": ResponsesDecoder._on_end,
    "error": ResponsesDecoder._on_error,
}
_CONCLUSIVE_EVENTS: Final = frozenset(
    {
        "response.output_item.done",
        *(name for name, handler in _HANDLERS.items() if handler is ResponsesDecoder._on_end),
    }
)
"""The types of events whose ``item`` or ``response`` is the last word about it."""
HANDLED_EVENTS: Final = frozenset({"response.output_text.delta", *_HANDLERS})
"""The types of events that are read. All others are ignored."""
