"""The JSON and the headers that a response was made from."""

from __future__ import annotations

import pickle

import attrs
import pytest

from locus.core.errors import APIError, APIStatusError
from locus.core.json_converter import dumps, loads
from locus.core.messages import Message
from locus.core.raw_response import (
    RawResponse,
    find_request_id,
    merge_json_chunks,
)
from locus.core.response import ModelResponse

RESPONSE = ModelResponse(Message.assistant("hi"))
HEADERS = {"X-Request-ID": "req_1", "x-ratelimit-remaining-tokens": "7"}


def test_a_response_that_no_server_sent_has_no_json_and_no_headers() -> None:
    assert (RESPONSE.raw, RESPONSE.headers, RESPONSE.request_id) == ({}, {}, None)


@pytest.mark.parametrize(
    "body",
    [b'{"a": {"b": 1}}', '{"a": {"b": 1}}', {"a": {"b": 1}}, b'[{"a": {"b": 1}}]'],
    ids=["bytes", "text", "mapping", "a list with one object"],
)
def test_raw_is_the_json_as_a_mapping(body: bytes | str | dict[str, object]) -> None:
    response = RESPONSE.with_source(body)
    assert response.raw == {"a": {"b": 1}}
    assert response.raw is response.raw
    with pytest.raises(TypeError, match="immutable"):
        response.raw["a"] = 2  # type: ignore[index]


@pytest.mark.parametrize("body", [b'{"a": NaN, "b": "\\ud800"}', b'\xef\xbb\xbf{"b": "\\ud800"}'])
def test_raw_of_json_that_only_the_standard_library_decodes(body: bytes) -> None:
    assert RESPONSE.with_source(body).raw["b"] == "\ud800"


def test_headers_have_lower_case_names_and_the_request_id() -> None:
    response = RESPONSE.with_source(b"{}").with_headers(HEADERS)
    assert response.headers == {"x-request-id": "req_1", "x-ratelimit-remaining-tokens": "7"}
    assert response.request_id == "req_1"


@pytest.mark.parametrize(
    ("headers", "request_id"),
    [
        ({}, None),
        ({"x-request-id": ""}, None),
        ({"request-id": "req_a"}, "req_a"),
        ({"opc-request-id": "A/B/C"}, "A/B/C"),
        ({"apim-request-id": "az"}, "az"),
        ({"x-amzn-requestid": "amz"}, "amz"),
        ({"apim-request-id": "az", "x-request-id": "first"}, "first"),
    ],
)
def test_the_request_id_is_found_under_the_providers_names(
    headers: dict[str, str], request_id: str | None
) -> None:
    assert find_request_id(headers) == request_id
    assert APIError("x", headers=headers).request_id == request_id


def test_an_error_keeps_the_headers_that_it_has() -> None:
    error = APIStatusError("x", status_code=400, headers={"X-Request-Id": "own"})
    error.partial = RESPONSE
    error.add_response_headers({"x-request-id": "other"})
    assert error.request_id == "own"
    assert error.partial.request_id == "other"
    assert pickle.loads(pickle.dumps(error)).request_id == "own"


def test_two_responses_with_different_sources_are_equal() -> None:
    response = RESPONSE.with_source(b'{"id": 1}').with_headers(HEADERS)
    assert response == RESPONSE
    assert "req_1" not in repr(response)


def test_the_source_survives_copies_pickles_and_json() -> None:
    response = RESPONSE.with_source(b'{"id": 1}').with_headers(HEADERS)
    for copy in (
        attrs.evolve(response, model="x"),
        pickle.loads(pickle.dumps(response)),
        loads(dumps(response), ModelResponse),
    ):
        assert (copy.raw, copy.request_id) == ({"id": 1}, "req_1")


def test_later_chunks_replace_members_and_null_replaces_none() -> None:
    assert merge_json_chunks([{"a": 1, "b": 2, "c": None}, {"a": None, "b": 3}]) == {
        "a": 1,
        "b": 3,
        "c": None,
    }
    source = RawResponse(b'{"a": 1}', b'{"b": 2}')
    assert source.raw == {"a": 1, "b": 2}
