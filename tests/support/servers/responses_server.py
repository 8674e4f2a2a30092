"""A model of the responses format, and the replies that the loopback server gives to it."""

from __future__ import annotations

from typing import Any, ClassVar

import attrs

from locus.models.responses_model import ResponsesConfig, ResponsesModel
from locus.testing.server import LoopbackServer, Reply
from tests.support.chat_replies import TEXT, TEXT_CHUNKS
from tests.support.timing import FOREVER
from tests.support.wire_json.responses_json import (
    Event,
    Item,
    SampleResponse,
    build_body,
    build_envelope,
    make_message_item,
    make_text_delta,
)


@attrs.frozen
class LoopbackConfig(ResponsesConfig):
    base_url: str = ""


@attrs.frozen(init=False, getstate_setstate=False)
class LoopbackModel(ResponsesModel[LoopbackConfig]):
    """The smallest model of the format: a URL and no headers of its own."""

    prefix: ClassVar[str] = "loop"

    def __init__(self, model: str = "loop-1", **kw: Any) -> None:
        arguments = self._pop_model_arguments(kw, LoopbackConfig)
        arguments["config"] = LoopbackConfig(model=model, **kw)
        self._init_with_defaults(arguments)

    def build_url(self, *, stream: bool = False) -> str:
        return f"{self.config.base_url}/v1/responses"

    def build_provider_headers(self) -> dict[str, str]:
        return {}


def make_model(server: LoopbackServer, **kw: Any) -> LoopbackModel:
    """Make a model of the loopback server. By default it does not retry, and has no time limit."""
    return LoopbackModel(**{"base_url": server.url, "timeout": FOREVER, "max_retries": 0, **kw})


USAGE = {
    "prompt_tokens": 9,
    "completion_tokens": 5,
    "total_tokens": 14,
    "cached_tokens": 3,
    "cache_read_input_tokens": 3,
    "cache_creation_input_tokens": 0,
    "reasoning_tokens": 2,
}


def build_sample_response(*items: Item, **changes: Any) -> SampleResponse:
    """Build a response whose text is ``TEXT``, or which holds other items."""
    fields = {
        "input_tokens": 9,
        "output_tokens": 5,
        "cached_tokens": 3,
        "reasoning_tokens": 2,
        "model": "loop-1",
    }
    return SampleResponse(items or (make_message_item(TEXT),), **{**fields, **changes})


def build_reply(*items: Item, **changes: Any) -> Reply:
    """Build a response in one body."""
    return Reply.json(build_body(build_sample_response(*items, **changes)))


def build_stream_events(*items: Item, **changes: Any) -> list[Event]:
    """Build the events of a stream: text in several deltas, everything else in one event."""
    response = build_sample_response(*items, **changes)
    events: list[Event] = [{"type": "response.created", "response": build_envelope(response)}]
    for output_index, item in enumerate(response.items):
        item_position = {"output_index": output_index}
        added = {**item, "content": []} if item["type"] == "message" else item
        events.append({"type": "response.output_item.added", "item": added, **item_position})
        if item["type"] == "message":
            for content_index, part in enumerate(item["content"]):
                events += _build_part_events(output_index, content_index, item["id"], part)
        events.append({"type": "response.output_item.done", "item": item, **item_position})
    events.append({"type": f"response.{response.status}", "response": build_body(response)})
    return [{**event, "sequence_number": number} for number, event in enumerate(events)]


def _build_part_events(
    output_index: int, content_index: int, item_id: str, part: dict[str, Any]
) -> list[Event]:
    """Build the events of one part of a message."""
    text = part["text"]
    position = {"output_index": output_index, "content_index": content_index, "item_id": item_id}
    chunks = TEXT_CHUNKS if text == TEXT else text.partition(" ")
    deltas = [
        make_text_delta(chunk, output_index, content_index) | position for chunk in chunks if chunk
    ]
    return [
        {"type": "response.content_part.added", "part": {**part, "text": ""}, **position},
        *deltas,
        {"type": "response.output_text.done", "text": text, **position},
        {"type": "response.content_part.done", "part": part, **position},
    ]


def build_stream_reply(*items: Item, **changes: Any) -> Reply:
    """Build the same response as :func:`build_reply`, as a stream."""
    events = build_stream_events(*items, **changes)
    return Reply.sse([(event["type"], event) for event in events], done=False)
