"""A model's streamed answer, put together for the loop while the caller reads along."""

from __future__ import annotations

from collections.abc import Sequence
from inspect import isawaitable, iscoroutine
from typing import Any

from locus.agent.effects import Closed
from locus.core.errors import StreamInterruptedError
from locus.core.events import ModelChunkEvent
from locus.core.messages import Message
from locus.core.response import ModelResponse


def graver(first: BaseException | None, then: BaseException) -> BaseException:
    """Which of two errors the loop is told of.

    The first; but that the caller has left is no failure, and no failure hides a cancellation.
    """
    if first is None or isinstance(first, Closed):
        return then
    if isinstance(first, Exception) and not isinstance(then, Exception):
        return then
    return first


def readable(stream: Any, model: Any) -> Any:
    """A model's stream, which may be a user's own.

    :raises TypeError: it has to be awaited before there is anything to read.
    """
    if isawaitable(stream) and not hasattr(stream, "__anext__"):
        if iscoroutine(stream):
            stream.close()  # or Python would complain that nobody has awaited it
        raise TypeError(
            f"{type(model).__name__}.stream gives no iterator but something to await: "
            "write it as 'def stream', or let it yield"
        )
    return stream


def piece(chunk: Any, model: Any) -> ModelChunkEvent:
    """A piece of a model's stream.

    :raises TypeError: it is none; names the model.
    """
    if not isinstance(chunk, ModelChunkEvent):
        raise TypeError(
            f"the stream of {type(model).__name__} gave {type(chunk).__name__}, "
            "not a ModelChunkEvent"
        )
    return chunk


def whole(chunks: Sequence[ModelChunkEvent]) -> ModelResponse:
    """The answer that a stream has given.

    Locus's models put it into the last event; of others' it is made of the pieces.

    :raises StreamInterruptedError: the stream has ended without its last event.
    """
    last = chunks[-1] if chunks else None
    if last is None or not last.done:
        raise StreamInterruptedError("the model's stream ended before its last event")
    if last.response is not None:
        return last.response
    text = "".join(chunk.content or "" for chunk in chunks)
    calls = [call for chunk in chunks for call in chunk.tool_calls]
    return ModelResponse(
        message=Message.assistant(text if text or not calls else None, calls),
        usage=last.usage or {},
        stop_reason=last.stop_reason,
        provider_state=last.provider_state,
        reasoning="".join(chunk.reasoning or "" for chunk in chunks) or None,
    )
