"""Parse the text of a streamed response into partial values while it arrives.

A partial value has what has arrived, as dictionaries, lists, strings and numbers. Only the last
value is of the type: :func:`~locus.core.structured.parse_response.parse_structured` parses it from
the complete text. An instance of a class cannot lack fields that the class requires.
"""

from __future__ import annotations

from collections.abc import AsyncIterable, AsyncIterator, Iterable, Iterator
from typing import Any, overload

from locus.core.events import ModelChunkEvent
from locus.core.structured.parse_response import parse_structured
from locus.core.structured.partial_json import NO_VALUE, PartialJsonParser
from locus.core.structured.response_format import (
    WRAPPER_KEY,
    build_root_schema_and_name,
    needs_wrapper,
)
from locus.core.structured.type_node_builder import build_type_node


@overload
def parse_partial(chunks: Iterable[str | ModelChunkEvent], type: Any) -> Iterator[Any]: ...
@overload
def parse_partial(
    chunks: AsyncIterable[str | ModelChunkEvent], type: Any
) -> AsyncIterator[Any]: ...
def parse_partial(
    chunks: Iterable[str | ModelChunkEvent] | AsyncIterable[str | ModelChunkEvent], type: Any
) -> Iterator[Any] | AsyncIterator[Any]:
    """Parse a streamed response and yield its value again whenever it grows.

    Free text grows; a number, a date or a value of an enum is added once it is complete. A value
    never changes after it was yielded. Following a stream takes time in proportion to its length:
    a text of more than 32 KB, or a list of more than 2,000 members, is not yielded after each
    chunk any more, but after every few. To stop early, leave the ``with`` block of the stream.

    :param chunks: a model's stream, or chunks of text; an async one gives an async iterator.
    :param type: the type that :func:`build_response_format` got.
    :return: an iterator of dictionaries and lists, each more complete than the one before; the last
        value is of the type.
    :raises StructuredOutputError: at the end, if the complete response is not of the type.
    :raises ConfigurationError: if the type cannot be represented in JSON.
    """
    parser = _StreamParser(type)
    if isinstance(chunks, AsyncIterable):
        return _AsyncPartialValueIterator(chunks, parser)
    return _iter_partial_values(chunks, parser)


def _iter_partial_values(
    chunks: Iterable[str | ModelChunkEvent], parser: _StreamParser
) -> Iterator[Any]:
    """Yield each partial value of a blocking stream, and the final value."""
    for chunk in chunks:
        if (value := parser.feed(chunk)) is not NO_VALUE:
            yield value
    yield parser.build_final_value()


class _AsyncPartialValueIterator:
    """:func:`_iter_partial_values` for an async stream; not a generator, so it needs no closing."""

    def __init__(self, chunks: AsyncIterable[str | ModelChunkEvent], parser: _StreamParser) -> None:
        self._chunks = aiter(chunks)
        self._parser = parser
        self._finished = False

    def __aiter__(self) -> AsyncIterator[Any]:
        return self

    async def __anext__(self) -> Any:
        while not self._finished:
            try:
                value = self._parser.feed(await anext(self._chunks))
            except StopAsyncIteration:
                self._finished = True
                return self._parser.build_final_value()
            if value is not NO_VALUE:
                return value
        raise StopAsyncIteration


class _StreamParser:
    """Parses a streamed response of one type."""

    def __init__(self, type: Any) -> None:
        self._type = type
        self._is_wrapped = needs_wrapper(build_type_node(type))
        schema, _ = build_root_schema_and_name(type, strict=False)
        schemas = [schema]
        opening_brackets = "{"
        if self._is_wrapped:
            schemas.append(schema["properties"][WRAPPER_KEY])
            opening_brackets = "{["
        self._parser = PartialJsonParser(schemas, schema.get("$defs", {}), opening_brackets)
        self._texts: list[str] = []

    def feed(self, chunk: str | ModelChunkEvent) -> Any:
        """Parse one more chunk; returns the value so far, or ``NO_VALUE`` if it has not grown."""
        if not isinstance(chunk, (str, ModelChunkEvent)):
            raise TypeError(
                "chunks must be strings or a stream's events (ModelChunkEvent), not "
                f"{chunk.__class__.__name__}"
            )
        text = chunk if isinstance(chunk, str) else chunk.content
        if not text:
            return NO_VALUE
        self._texts.append(text)
        value = self._parser.feed(text)
        if self._is_wrapped and isinstance(value, dict):
            return value.get(WRAPPER_KEY, value or NO_VALUE)
        return value

    def build_final_value(self) -> Any:
        """Parse the complete text into the value of the type."""
        return parse_structured("".join(self._texts), self._type).unwrap()
