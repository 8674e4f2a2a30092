"""A model's streamed answer, put together for the loop while the caller reads along."""

from __future__ import annotations

from collections.abc import Sequence

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
