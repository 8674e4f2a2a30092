"""Any type: its values are parsed back from their JSON, complete or streamed."""

from __future__ import annotations

import json
from itertools import pairwise
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from locus.core.structured import parse_partial, parse_structured
from tests.support.strategies import text_splits, texts
from tests.support.structured_types import TypeCase, is_prefix, values_with_type

_SURROUNDINGS = st.sampled_from(
    [
        "{}",
        "\ufeff {} \n",
        "```json\n{}\n```",
        "Here it is (see [docs] and {{braces}}):\n\n```\n{}\n```\nAnything else?",
        "  ~~~json\n{}\n~~~",
    ]
)


@given(values_with_type())
def test_a_value_is_parsed_back_from_its_json(case: tuple[TypeCase, Any, str]) -> None:
    type_case, value, text = case
    parsed = parse_structured(text, type_case.hint).unwrap()
    assert parsed == value
    assert type(parsed) is type(value)


@given(values_with_type(), _SURROUNDINGS)
def test_a_value_is_parsed_back_from_fences_and_prose(
    case: tuple[TypeCase, Any, str], surroundings: str
) -> None:
    type_case, value, text = case
    assert parse_structured(surroundings.replace("{}", text, 1), type_case.hint).unwrap() == value


@given(values_with_type(), texts(max_size=20).filter(lambda text: not set(text) & set('[]{}"`~')))
def test_an_object_is_parsed_back_from_prose(case: tuple[TypeCase, Any, str], prose: str) -> None:
    type_case, value, text = case
    if text[0] in "{[":
        assert parse_structured(f"{prose} {text} {prose}", type_case.hint).unwrap() == value


@given(values_with_type(), st.data())
def test_partial_values_grow_into_the_value(case: tuple[TypeCase, Any, str], data: Any) -> None:
    type_case, value, text = case
    chunks = data.draw(st.one_of(text_splits(text), st.just(list(text))))
    *partial_values, last = parse_partial(chunks, type_case.hint)
    assert last == value
    partial_values.append(json.loads(text))
    for before, after in pairwise(partial_values):
        assert is_prefix(before, after)
        assert before != after or after is partial_values[-1]


@given(values_with_type())
def test_a_partial_value_does_not_change_after_it_was_yielded(
    case: tuple[TypeCase, Any, str],
) -> None:
    type_case, _, text = case
    values = [(value, repr(value)) for value in parse_partial(text, type_case.hint)]
    for value, original in values:
        assert repr(value) == original
