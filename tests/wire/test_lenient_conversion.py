"""Members of another JSON type than the format has do not cost a response that can do without."""

from __future__ import annotations

import copy
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from locus.core.errors import ResponseParseError
from locus.core.response import ModelResponse
from locus.wire.chat_completions import ChatCompletionsParser
from locus.wire.lenient_conversion import convert_leniently
from locus.wire.provider_json import ResponseStruct
from tests.support.chat_replies import TEXT
from tests.support.formats import WireFormat

json_scalars = (
    st.none()
    | st.booleans()
    | st.integers(-9, 9)
    | st.floats(allow_nan=False)
    | st.text(max_size=3)
)
json_values = st.recursive(
    json_scalars,
    lambda inner: (
        st.lists(inner, max_size=2) | st.dictionaries(st.text(max_size=3), inner, max_size=2)
    ),
    max_leaves=4,
)
OTHER_MEMBERS = [
    *("usage", "logprobs", "annotations", "citations", "created", "object", "system_fingerprint"),
    *("service_tier", "timeCreated", "modelVersion", "metadata", "timings", "x_groq", "base_resp"),
    *("documents", "searchQueries", "container", "total_duration", "prompt_eval_count", "prompt"),
]


def add_member(value: Any, name: str, member: Any) -> Any:
    """Return a copy of a JSON value in which every object has another value for a member."""
    if isinstance(value, list):
        return [add_member(item, name, member) for item in value]
    if not isinstance(value, dict):
        return value
    changed = {key: add_member(inner, name, member) for key, inner in value.items()}
    return {**changed, name: copy.deepcopy(member)}


def get_answer(response: ModelResponse) -> tuple[Any, ...]:
    """What a caller needs of a response."""
    return response.content, response.tool_calls, response.stop_reason, response.finish_reason


def read_json_body(wire: WireFormat) -> Any:
    return json.loads(b"".join(wire.build_reply().body))


@given(st.sampled_from(OTHER_MEMBERS), json_values)
def test_a_member_that_nobody_needs_changes_nothing(
    wire: WireFormat, name: str, member: Any
) -> None:
    if name == "base_resp" and isinstance(member, dict):
        return  # it would report an error
    body = read_json_body(wire)
    expected = get_answer(wire.parser.parse(body))
    changed = add_member(body, name, member)
    assert get_answer(wire.parser.parse(json.dumps(changed))) == expected
    frames = [*wire.build_text_frames(*TEXT.split()), *wire.end_frames]
    plain, junk = wire.parser.make_decoder(), wire.parser.make_decoder()
    plain_events = plain.feed(wire.encode_frames(*frames)) + plain.close()
    changed_frames = [add_member(frame, name, member) for frame in frames]
    junk_events = junk.feed(wire.encode_frames(*changed_frames)) + junk.close()
    assert junk.failure is plain.failure is None
    assert junk_events[-1].response is not None
    assert plain_events[-1].response is not None
    assert get_answer(junk_events[-1].response) == get_answer(plain_events[-1].response)


class _Inner(ResponseStruct):
    needed_members = frozenset({"text"})

    text: str | None = None
    count: float | None = None


class _Outer(ResponseStruct):
    needed_members = frozenset({"inner"})

    inner: _Inner | list[_Inner] | None = None
    index: int | None = None
    flag: bool | None = None
    items: list[_Inner] | None = None


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ({"index": "3"}, _Outer(index=3)),
        ({"index": "x"}, _Outer()),
        ({"index": 1e400}, _Outer()),
        ({"index": True}, _Outer()),
        ({"flag": "yes"}, _Outer()),
        ({"inner": {"text": 5, "count": "2.5"}}, _Outer(inner=_Inner("5", 2.5))),
        ({"inner": {"text": False}}, _Outer(inner=_Inner())),
        ({"inner": []}, _Outer(inner=[])),
        ({"inner": ""}, _Outer()),
        ({"items": [{"text": "a"}, 3]}, _Outer()),
        ({"items": {"text": "a"}}, _Outer()),
        ({"items": [{"text": "a", "count": []}]}, _Outer(items=[_Inner("a")])),
    ],
)
def test_what_becomes_of_an_unfit_member(value: Any, expected: _Outer) -> None:
    assert convert_leniently(value, _Outer) == expected


@pytest.mark.parametrize("value", [{"inner": 3}, {"inner": {"text": {"a": 1}}}, {"inner": [3]}])
def test_an_unfit_member_that_is_needed_is_an_error(value: Any) -> None:
    with pytest.raises(ValueError, match="inner"):
        convert_leniently(value, _Outer)


def test_the_error_names_the_position() -> None:
    body = {"choices": [{"message": {"content": {"a": 1}}}]}
    with pytest.raises(ResponseParseError, match=r"\$\.choices\[0\]\.message\.content"):
        ChatCompletionsParser().parse(body)
