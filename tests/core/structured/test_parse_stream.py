"""Parsing a streamed response into partial values."""

from __future__ import annotations

import contextlib
import datetime
import enum
import json
import re
from collections.abc import Callable
from typing import Any, TypedDict

import anyio
import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st

from locus.core.events import ModelChunkEvent
from locus.core.structured import StructuredOutputError, parse_partial
from locus.core.structured.partial_json import NO_VALUE, PartialJsonParser
from locus.testing import ScriptedModel, text
from tests.support.strategies import json_objects, text_splits
from tests.support.structured_types import is_prefix
from tests.support.timing import assert_linear


class Mood(enum.Enum):
    CALM = "calm"


@attrs.frozen
class Note:
    title: str
    stars: int = 0
    day: datetime.date | None = None
    mood: Mood | None = None
    parts: list[Note] = attrs.Factory(list)


class Loose(TypedDict, total=False):
    name: str
    size: float


def collect_partial_values(chunks: Any, type: Any) -> list[Any]:
    return list(parse_partial(chunks, type))


def test_strings_grow_and_other_values_appear_when_complete() -> None:
    chunks = ['{"title": "He', "llo", '", "stars": 1', '2, "day": "2024-', '01-02", "mood": "ca']
    assert collect_partial_values([*chunks, 'lm", "parts": [{"ti', 'tle": "', 'x"}]}'], Note) == [
        {"title": "He"},
        {"title": "Hello"},
        {"title": "Hello", "stars": 12},
        {"title": "Hello", "stars": 12, "day": "2024-01-02"},
        {"title": "Hello", "stars": 12, "day": "2024-01-02", "mood": "calm", "parts": [{}]},
        {
            "title": "Hello",
            "stars": 12,
            "day": "2024-01-02",
            "mood": "calm",
            "parts": [{"title": ""}],
        },
        Note("Hello", 12, datetime.date(2024, 1, 2), Mood.CALM, [Note("x")]),
    ]


def test_an_incomplete_escape_is_not_shown() -> None:
    chunks = ['{"title": "a', "\\", "n", "\\u00", "e9", "\\ud83d", "\\ude", "00", '"}']
    titles = [value["title"] for value in collect_partial_values(chunks, Note)[:-1]]
    assert titles == ["a", "a\n", "a\né", "a\né\U0001f600"]


def test_a_wrapped_value_is_shown_without_its_wrapper() -> None:
    assert collect_partial_values(['{"value": ["a', 'b", "c"', "]}"], list[str]) == [
        ["a"],
        ["ab", "c"],
        ["ab", "c"],
    ]
    assert collect_partial_values(['["a', 'b", "c"', "]"], list[str]) == [["ab", "c"], ["ab", "c"]]


def test_a_scalar_is_shown_at_the_end_only() -> None:
    assert collect_partial_values(['{"value', '": 1', "2}"], int) == [12]
    assert collect_partial_values(["1", "2"], int) == [12]


def test_prose_and_fences_around_the_json_are_ignored() -> None:
    chunks = ["See {this}, {} and [1]:\n```js", 'on\n{"name', '": "a', '"}\n``', "`\nBye {you}."]
    assert collect_partial_values(chunks, Loose) == [{"name": "a"}, {"name": "a"}]


@pytest.mark.parametrize(
    ("chunks", "expected"),
    [
        (["a {b} c {", '"d"} {"name": "e', '"}'], [{"name": "e"}]),
        (['{"name": {', "}}"], [{"name": {}}]),
        (['{"name": 1', "x}"], [{}]),
        (['{"name": 1', "1}"], [{}]),
        (['{"name": tru', "e,"], [{}, {"name": True}]),
        (['{"name": ' + "1" * 500, "1}"], []),
        (['{"name": "\x01', '"}'], []),
        (['{"name": "\\q', ' and so on"}'], [{"name": ""}]),
        (['{"name": "\\ud83d', 'and so on"}'], [{"name": ""}]),
        (['{"name": @', "}"], []),
        (['{"name": "a" "b', '"}'], []),
        (['{"name": "a", 3', "}"], []),
        (['{"x": ["y', '"]}'], [{"x": []}]),
    ],
)
def test_partial_values_of_malformed_json_are_right(chunks: Any, expected: Any) -> None:
    values = []
    with contextlib.suppress(StructuredOutputError):
        values.extend(parse_partial(chunks, Loose))
    assert values[: len(expected)] == expected
    assert len(values) - len(expected) in (0, 1)


def test_the_last_value_is_of_the_type_or_an_error() -> None:
    values = parse_partial(['{"title": 3', "}"], Note)
    assert next(values) == {}
    with pytest.raises(StructuredOutputError, match=r"\$\.title: expected a string"):
        list(values)
    with pytest.raises(StructuredOutputError, match="cut off"):
        collect_partial_values(['{"title": "x'], Note)


def test_after_malformed_json_there_are_no_more_partial_values() -> None:
    chunks = ['{"title": "a", ', "oops ", '{"title": "b"}', "}"]
    values = parse_partial(chunks, Note)
    assert next(values) == {"title": "a"}
    with pytest.raises(StructuredOutputError, match="malformed"):
        next(values)


def test_the_events_of_a_stream_are_accepted() -> None:
    events = [
        ModelChunkEvent(reasoning='{"title": "no"}'),
        ModelChunkEvent(content='{"title": "y'),
        ModelChunkEvent(content='es"}'),
        ModelChunkEvent(done=True),
    ]
    assert collect_partial_values(events, Note) == [{"title": "y"}, Note("yes")]


def test_a_model_s_stream_is_parsed_on_every_runtime(anyio_backend: str) -> None:
    model = ScriptedModel(text('{"title": "Hello there", "stars": 3}'), cycle=True)
    with model.stream_sync("Hi") as events:
        blocking = list(parse_partial(events, Note))

    async def run() -> list[Any]:
        async with model.stream("Hi") as events:
            return [value async for value in parse_partial(events, Note)]

    assert anyio.run(run, backend=anyio_backend) == blocking
    assert blocking[-1] == Note("Hello there", 3)


def test_a_stream_can_be_left_early(anyio_backend: str) -> None:
    model = ScriptedModel(text('{"name": "a long one", "size": 1}'))

    async def run() -> None:
        async with model.stream("Hi") as events:
            async for value in parse_partial(events, Loose):
                assert "size" not in value
                break

    anyio.run(run, backend=anyio_backend)


@given(json_objects(), st.booleans(), st.data())
def test_any_json_grows_however_it_is_split(value: Any, ascii_: bool, data: Any) -> None:
    content = json.dumps(value, ensure_ascii=ascii_)
    *partial_values, last = collect_partial_values(data.draw(text_splits(content)), dict[str, Any])
    assert last == value
    for partial_value in partial_values:
        assert is_prefix(partial_value, value)


@given(json_objects(), st.data())
def test_partial_values_are_pydantics_except_for_a_number_that_may_continue(
    value: Any, data: Any
) -> None:
    pydantic_core = pytest.importorskip("pydantic_core")
    content = json.dumps(value)
    start = content[: data.draw(st.integers(1, len(content) - 1))]
    ours = PartialJsonParser([{}], {}, "{").feed(start)
    without_number = start.removesuffix(get_incomplete_number(start))
    theirs = pydantic_core.from_json(without_number, allow_partial="trailing-strings")
    assert ours == theirs or (ours is NO_VALUE and theirs == {})


def get_incomplete_number(start: str) -> str:
    """The number at the end of incomplete JSON, if the end is not inside a string."""
    outside = re.sub(r'"(\\.|[^"\\])*"?\\?', '"', start)
    number = re.search(r"[-0-9][-+.0-9eE]*$", outside)
    return number[0] if number else ""


def test_parsing_takes_linear_time() -> None:
    def prepare(count: int) -> Callable[[], object]:
        key = "lorem \n" * count
        text = json.dumps({key: 1})

        def parse() -> None:
            *_, last = parse_partial(iter(text), dict[str, int])
            assert last == {key: 1}

        return parse

    assert_linear(prepare, 500)


@pytest.mark.parametrize(
    ("beginning", "chunk", "end"),
    [
        ('{"text": "', "word " * 8, '"}'),  # an open string
        ('{"list": [', "1, " * 20, "1]}"),  # an open list
    ],
)
def test_a_long_value_is_followed_in_linear_time(beginning: str, chunk: str, end: str) -> None:
    def prepare(count: int) -> Callable[[], object]:
        def parse() -> None:
            values = parse_partial([beginning, *[chunk] * count, end], dict[str, Any])
            for _ in values:
                pass

        return parse

    assert_linear(prepare, 400)


def test_every_chunk_of_a_value_of_the_usual_size_gives_a_value() -> None:
    chunks = ['{"text": "', *["word "] * 2000, '"}']
    values = collect_partial_values(chunks, dict[str, str])
    assert len(values) == len(chunks)
    assert len(collect_partial_values(['{"text": "', "x" * 10**6, '"}'], dict[str, str])) == 3


@pytest.mark.parametrize("chunk", [None, b"{}", 3])
def test_a_chunk_of_another_type_is_a_type_error(chunk: Any) -> None:
    with pytest.raises(TypeError, match=f"not {type(chunk).__name__}"):
        list(parse_partial([chunk], dict[str, int]))
