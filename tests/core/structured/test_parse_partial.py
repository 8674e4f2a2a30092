"""A value shown while it still streams."""

from __future__ import annotations

import contextlib
import datetime
import enum
import json
import re
import time
from typing import Any, TypedDict

import anyio
import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st

from locus.core.events import ModelChunkEvent
from locus.core.structured import StructuredOutputError, parse_partial
from locus.core.structured.partial_json import NOTHING, FillingJson
from locus.testing import ScriptedModel, text
from tests.support.strategies import json_objects, pieces
from tests.support.structured_types import is_prefix


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


def shown(chunks: Any, type: Any) -> list[Any]:
    return list(parse_partial(chunks, type))


def test_texts_grow_and_everything_else_comes_whole() -> None:
    chunks = ['{"title": "He', "llo", '", "stars": 1', '2, "day": "2024-', '01-02", "mood": "ca']
    assert shown([*chunks, 'lm", "parts": [{"ti', 'tle": "', 'x"}]}'], Note) == [
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


def test_half_an_escape_is_held_back() -> None:
    chunks = ['{"title": "a', "\\", "n", "\\u00", "e9", "\\ud83d", "\\ude", "00", '"}']
    titles = [value["title"] for value in shown(chunks, Note)[:-1]]
    assert titles == ["a", "a\n", "a\né", "a\né\U0001f600"]


def test_what_is_wrapped_is_shown_without_its_wrapping() -> None:
    assert shown(['{"value": ["a', 'b", "c"', "]}"], list[str]) == [
        ["a"],
        ["ab", "c"],
        ["ab", "c"],
    ]
    assert shown(['["a', 'b", "c"', "]"], list[str]) == [["ab", "c"], ["ab", "c"]]


def test_a_scalar_comes_at_the_end() -> None:
    assert shown(['{"value', '": 1', "2}"], int) == [12]
    assert shown(["1", "2"], int) == [12]


def test_prose_and_fences_around_it_are_passed_over() -> None:
    chunks = ["See {this}, {} and [1]:\n```js", 'on\n{"name', '": "a', '"}\n``', "`\nBye {you}."]
    assert shown(chunks, Loose) == [{"name": "a"}, {"name": "a"}]


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
def test_what_is_shown_of_json_that_goes_wrong_is_right(chunks: Any, expected: Any) -> None:
    found = []
    with contextlib.suppress(StructuredOutputError):
        found.extend(parse_partial(chunks, Loose))
    assert found[: len(expected)] == expected
    assert len(found) - len(expected) in (0, 1)


def test_the_last_value_is_of_the_type_or_an_error() -> None:
    found = parse_partial(['{"title": 3', "}"], Note)
    assert next(found) == {}
    with pytest.raises(StructuredOutputError, match=r"\$\.title: text is wanted"):
        list(found)
    with pytest.raises(StructuredOutputError, match="cut off"):
        shown(['{"title": "x'], Note)


def test_broken_json_stops_the_show_until_the_end() -> None:
    chunks = ['{"title": "a", ', "oops ", '{"title": "b"}', "}"]
    found = parse_partial(chunks, Note)
    assert next(found) == {"title": "a"}
    with pytest.raises(StructuredOutputError, match="malformed"):
        next(found)


def test_the_events_of_a_stream_are_taken() -> None:
    events = [
        ModelChunkEvent(reasoning='{"title": "no"}'),
        ModelChunkEvent(content='{"title": "y'),
        ModelChunkEvent(content='es"}'),
        ModelChunkEvent(done=True),
    ]
    assert shown(events, Note) == [{"title": "y"}, Note("yes")]


def test_models_stream_into_it_on_every_runtime(anyio_backend: str) -> None:
    model = ScriptedModel(text('{"title": "Hello there", "stars": 3}'), cycle=True)
    with model.stream_sync("Hi") as events:
        blocking = list(parse_partial(events, Note))

    async def run() -> list[Any]:
        async with model.stream("Hi") as events:
            return [value async for value in parse_partial(events, Note)]

    assert anyio.run(run, backend=anyio_backend) == blocking
    assert blocking[-1] == Note("Hello there", 3)


def test_leaving_early_is_clean(anyio_backend: str) -> None:
    model = ScriptedModel(text('{"name": "a long one", "size": 1}'))

    async def run() -> None:
        async with model.stream("Hi") as events:
            async for value in parse_partial(events, Loose):
                assert "size" not in value
                break

    anyio.run(run, backend=anyio_backend)


@given(json_objects(), st.booleans(), st.data())
def test_any_json_grows_however_it_is_cut(value: Any, ascii_: bool, data: Any) -> None:
    written = json.dumps(value, ensure_ascii=ascii_)
    *parts, last = shown(data.draw(pieces(written)), dict[str, Any])
    assert last == value
    for part in parts:
        assert is_prefix(part, value)


@given(json_objects(), st.data())
def test_what_is_shown_is_what_pydantic_shows_but_for_a_number_that_may_go_on(
    value: Any, data: Any
) -> None:
    pydantic_core = pytest.importorskip("pydantic_core")
    written = json.dumps(value)
    part = written[: data.draw(st.integers(1, len(written) - 1))]
    ours = FillingJson([{}], {}, "{").feed(part)
    whole = part.removesuffix(open_number(part))
    theirs = pydantic_core.from_json(whole, allow_partial="trailing-strings")
    assert ours == theirs or (ours is NOTHING and theirs == {})


def open_number(part: str) -> str:
    """The number at the end of JSON that is cut off, outside its texts."""
    outside = re.sub(r'"(\\.|[^"\\])*"?\\?', '"', part)
    number = re.search(r"[-0-9][-+.0-9eE]*$", outside)
    return number[0] if number else ""


def test_reading_is_linear_in_the_text() -> None:
    key = "lorem \n" * 50_000
    began = time.perf_counter()
    *_, last = parse_partial(iter(json.dumps({key: 1})), dict[str, int])
    assert last == {key: 1}
    assert time.perf_counter() - began < 20  # it takes about one; in the square it would be hours


@pytest.mark.parametrize("chunk", [None, b"{}", 3])
def test_a_chunk_that_is_none_is_a_type_error(chunk: Any) -> None:
    with pytest.raises(TypeError, match=f"not {type(chunk).__name__}"):
        list(parse_partial([chunk], dict[str, int]))
