"""A streamed answer's value as it fills.

What is shown is what has arrived, as plain dictionaries, lists, text and numbers; only the last
value, read from the whole text by :func:`~locus.core.structured.parse_response.parse_structured`,
is one of the type. An instance with fields missing would break what its class promises.
"""

from __future__ import annotations

from collections.abc import AsyncIterable, AsyncIterator, Iterable, Iterator
from typing import Any, overload

from locus.core.events import ModelChunkEvent
from locus.core.structured.parse_response import parse_structured
from locus.core.structured.partial_json import NOTHING, FillingJson
from locus.core.structured.response_format import WRAPPED, schema_of, wraps
from locus.core.structured.type_builder import kind_of


@overload
def parse_partial(chunks: Iterable[str | ModelChunkEvent], type: Any) -> Iterator[Any]: ...
@overload
def parse_partial(
    chunks: AsyncIterable[str | ModelChunkEvent], type: Any
) -> AsyncIterator[Any]: ...
def parse_partial(
    chunks: Iterable[str | ModelChunkEvent] | AsyncIterable[str | ModelChunkEvent], type: Any
) -> Iterator[Any] | AsyncIterator[Any]:
    """The value of a streamed answer, again and again as it fills.

    Free text grows; a number, a date or an enum's value is there once it is whole. Nothing that
    was given out changes afterwards. To leave early, leave the ``with`` block of the stream.

    :param chunks: a stream of a model, or pieces of text; an async one gives an async iterator.
    :param type: what :func:`build_response_format` was given.
    :return: an iterator of plain values, each more than the one before; the last is of the type.
    :raises StructuredOutputError: at the end, where the whole answer is not of the type.
    :raises ConfigurationError: JSON has no form for the type.
    """
    answer = _Answer(type)
    return (
        _AsyncValues(chunks, answer)
        if isinstance(chunks, AsyncIterable)
        else _follow(chunks, answer)
    )


def _follow(chunks: Iterable[str | ModelChunkEvent], answer: _Answer) -> Iterator[Any]:
    for chunk in chunks:
        if (value := answer.feed(chunk)) is not NOTHING:
            yield value
    yield answer.finish()


class _AsyncValues:
    """What :func:`_follow` does, asynchronously; no generator, so there is nothing to close."""

    def __init__(self, chunks: AsyncIterable[str | ModelChunkEvent], answer: _Answer) -> None:
        self._chunks = aiter(chunks)
        self._answer = answer
        self._over = False

    def __aiter__(self) -> AsyncIterator[Any]:
        return self

    async def __anext__(self) -> Any:
        while not self._over:
            try:
                value = self._answer.feed(await anext(self._chunks))
            except StopAsyncIteration:
                self._over = True
                return self._answer.finish()
            if value is not NOTHING:
                return value
        raise StopAsyncIteration


class _Answer:
    """What has arrived of an answer of a type."""

    def __init__(self, type: Any) -> None:
        self._type = type
        self._wrapped = wraps(kind_of(type))
        schema, _ = schema_of(type, strict=False)
        schemas = [schema, schema["properties"][WRAPPED]] if self._wrapped else [schema]
        opening = "{[" if self._wrapped else "{"
        self._json = FillingJson(schemas, schema.get("$defs", {}), opening)
        self._pieces: list[str] = []

    def feed(self, chunk: str | ModelChunkEvent) -> Any:
        """The value with this chunk in it, or ``NOTHING`` where there is no more to show."""
        if not isinstance(chunk, (str, ModelChunkEvent)):
            raise TypeError(
                f"chunks are pieces of text or a stream's events, not {chunk.__class__.__name__}"
            )
        text = chunk if isinstance(chunk, str) else chunk.content
        if not text:
            return NOTHING
        self._pieces.append(text)
        value = self._json.feed(text)
        if self._wrapped and isinstance(value, dict):
            return value.get(WRAPPED, value or NOTHING)
        return value

    def finish(self) -> Any:
        """The whole value."""
        return parse_structured("".join(self._pieces), self._type).unwrap()
