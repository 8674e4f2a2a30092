"""Accumulates the events of a model's stream into a response, while the caller receives them."""

from __future__ import annotations

from inspect import isawaitable, iscoroutine
from typing import Any

from locus.agent.effects import RunClosed
from locus.core.errors import StreamInterruptedError
from locus.core.events import ModelChunkEvent
from locus.core.messages import Message
from locus.core.response import ModelResponse


class ResponseAccumulator:
    """Accumulates the events of one stream.

    :param model: the model, for error messages.
    """

    def __init__(self, model: Any) -> None:
        self._model = model
        self._events: list[ModelChunkEvent] = []

    def feed(self, event: Any) -> ModelChunkEvent:
        """Add an event and return it.

        :raises TypeError: if it is not a ``ModelChunkEvent``; the message names the model.
        """
        if not isinstance(event, ModelChunkEvent):
            raise TypeError(
                f"the stream of {type(self._model).__name__} gave {type(event).__name__}, "
                "not a ModelChunkEvent"
            )
        self._events.append(event)
        return event

    def build_response(self) -> ModelResponse:
        """Build the response at the end of the stream.

        Models of Locus put it into the last event. For other models it is built from all events.

        :raises StreamInterruptedError: if the stream ended without its last event.
        """
        events = self._events
        last = events[-1] if events else None
        if last is None or not last.done:
            raise StreamInterruptedError("the model's stream ended before its last event")
        if last.response is not None:
            return last.response
        text = "".join(event.content or "" for event in events)
        calls = [call for event in events for call in event.tool_calls]
        return ModelResponse(
            message=Message.assistant(text if text or not calls else None, calls),
            usage=last.usage or {},
            stop_reason=last.stop_reason,
            provider_state=last.provider_state,
            reasoning="".join(event.reasoning or "" for event in events) or None,
        )


def ensure_async_iterator(stream: Any, model: Any) -> Any:
    """Check that the stream of a model can be iterated over, and return it.

    The model may be an object of a user's class.

    :raises TypeError: if it has to be awaited before it can be iterated over; the message names
        the model.
    """
    if isawaitable(stream) and not hasattr(stream, "__anext__"):
        if iscoroutine(stream):
            stream.close()  # else Python warns that it was never awaited
        raise TypeError(
            f"{type(model).__name__}.stream returns an awaitable instead of an iterator: "
            "write it as 'def stream', or let it yield"
        )
    return stream


def select_more_severe_error(first: BaseException | None, second: BaseException) -> BaseException:
    """Select which of two errors the loop gets.

    It is the first one, with two exceptions: the caller has left, which is not a failure, or the
    second one is a cancellation, which a failure must not replace.
    """
    if first is None or isinstance(first, RunClosed):
        return second
    if isinstance(first, Exception) and not isinstance(second, Exception):
        return second
    return first
