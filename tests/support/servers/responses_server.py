"""A provider of the responses format, as a loopback server plays it, and the model that asks it."""

from __future__ import annotations

from typing import Any, ClassVar

import attrs

from locus.models.responses_model import ResponsesConfig, ResponsesModel
from locus.testing.loopback_server import LoopbackServer, Reply
from tests.support.runtimes import TEXT, WORDS
from tests.support.wire_json.responses_json import (
    Answer,
    Event,
    Item,
    around,
    delta,
    message,
    whole,
)


@attrs.frozen
class LoopConfig(ResponsesConfig):
    base_url: str = ""


@attrs.frozen(init=False, getstate_setstate=False)
class LoopModel(ResponsesModel[LoopConfig]):
    """What a provider of the format has to say for itself."""

    prefix: ClassVar[str] = "loop"

    def __init__(self, model: str = "loop-1", **kw: Any) -> None:
        own = self._take_own(kw, LoopConfig)
        own["config"] = LoopConfig(model=model, **kw)
        self._start(own)

    def _url(self) -> str:
        return f"{self.config.base_url}/v1/responses"

    def _headers(self) -> dict[str, str]:
        return {}


def model_of(server: LoopbackServer, **kw: Any) -> LoopModel:
    return LoopModel(**{"base_url": server.url, "timeout": 5.0, "max_retries": 0, **kw})


USAGE = {
    "prompt_tokens": 9,
    "completion_tokens": 5,
    "cached_tokens": 3,
    "cache_creation_input_tokens": 0,
    "reasoning_tokens": 2,
}


def canned(*items: Item, **changes: Any) -> Answer:
    """An answer that says ``TEXT``, or is made of other items."""
    known = {"input_tokens": 9, "output_tokens": 5, "cached": 3, "thought": 2, "model": "loop-1"}
    return Answer(items or (message(TEXT),), **{**known, **changes})


def whole_reply(*items: Item, **changes: Any) -> Reply:
    """A whole answer."""
    return Reply.json(whole(canned(*items, **changes)))


def stream_events(*items: Item, **changes: Any) -> list[Event]:
    """The events of a streamed answer, texts in words and everything else at once."""
    answer = canned(*items, **changes)
    found: list[Event] = [{"type": "response.created", "response": around(answer)}]
    for at, item in enumerate(answer.items):
        place = {"output_index": at}
        start = {**item, "content": []} if item["type"] == "message" else item
        found.append({"type": "response.output_item.added", "item": start, **place})
        if item["type"] == "message":
            for part, said in enumerate(item["content"]):
                inside = {**place, "content_index": part, "item_id": item["id"]}
                begun = {"type": "response.content_part.added", "part": {**said, "text": ""}}
                words = WORDS if said["text"] == TEXT else said["text"].partition(" ")
                found.append({**begun, **inside})
                found += [delta(word, at, part) | inside for word in words if word]
                done = {"type": "response.output_text.done", "text": said["text"], **inside}
                found += [done, {"type": "response.content_part.done", "part": said, **inside}]
        found.append({"type": "response.output_item.done", "item": item, **place})
    found.append({"type": f"response.{answer.status}", "response": whole(answer)})
    return [{**event, "sequence_number": at} for at, event in enumerate(found)]


def stream_reply(*items: Item, **changes: Any) -> Reply:
    """The same answer as :func:`whole_reply` gives, as a stream."""
    found = stream_events(*items, **changes)
    return Reply.sse([(event["type"], event) for event in found], done=False)
