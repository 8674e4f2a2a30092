"""Any type: what is asked for by its schema is what is read back, whole or as it streams."""

from __future__ import annotations

import json
from itertools import pairwise
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from locus.core.structured import parse_partial, parse_structured
from tests.support.strategies import pieces, texts
from tests.support.structured_types import Typed, is_prefix, valued

_WRAPPINGS = st.sampled_from(
    [
        "{}",
        "\ufeff {} \n",
        "```json\n{}\n```",
        "Here it is (see [docs] and {{braces}}):\n\n```\n{}\n```\nAnything else?",
        "  ~~~json\n{}\n~~~",
    ]
)


@given(valued())
def test_a_value_is_read_back_from_its_json(case: tuple[Typed, Any, str]) -> None:
    of, value, text = case
    parsed = parse_structured(text, of.hint).unwrap()
    assert parsed == value
    assert type(parsed) is type(value)


@given(valued(), _WRAPPINGS)
def test_a_value_is_read_back_from_fences_and_prose(
    case: tuple[Typed, Any, str], wrapping: str
) -> None:
    of, value, text = case
    assert parse_structured(wrapping.replace("{}", text, 1), of.hint).unwrap() == value


@given(valued(), texts(max_size=20).filter(lambda text: not set(text) & set('[]{}"`~')))
def test_an_object_is_read_back_from_bare_prose(case: tuple[Typed, Any, str], prose: str) -> None:
    of, value, text = case
    if text[0] in "{[":
        assert parse_structured(f"{prose} {text} {prose}", of.hint).unwrap() == value


@given(valued(), st.data())
def test_what_is_shown_grows_into_the_value(case: tuple[Typed, Any, str], data: Any) -> None:
    of, value, text = case
    chunks = data.draw(st.one_of(pieces(text), st.just(list(text))))
    *shown, last = parse_partial(chunks, of.hint)
    assert last == value
    shown.append(json.loads(text))
    for before, after in pairwise(shown):
        assert is_prefix(before, after)
        assert before != after or after is shown[-1]


@given(valued())
def test_what_was_shown_does_not_change_afterwards(case: tuple[Typed, Any, str]) -> None:
    of, _, text = case
    shown = [(value, repr(value)) for value in parse_partial(text, of.hint)]
    for value, said in shown:
        assert repr(value) == said
