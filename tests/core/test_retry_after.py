"""How long a server asks to wait, by its headers and by its body."""

from __future__ import annotations

import json

import pytest
from hypothesis import given

from locus.core.retry_after import find_retry_delay
from tests.support.strategies import texts

GOOGLE = {
    "error": {
        "code": 429,
        "message": "You exceeded your current quota. Please retry in 58.934310785s.",
        "details": [{"@type": "type.googleapis.com/google.rpc.RetryInfo", "retryDelay": "58s"}],
    }
}


@pytest.mark.parametrize(
    ("said", "seconds"),
    [
        ("Limit 30000. Please try again in 1.5s. Visit the console", 1.5),
        ("Please try again in 820ms.", 0.82),
        ("Please try again in 7m12s.", 432.0),
        ("Please try again in 1h2m3.5s", 3723.5),
        ("have exceeded the token rate limit. Please retry after 45 seconds.", 45.0),
        ("Retry your request after 2 minutes.", 120.0),
        ("try again in 1s, or try again in 9s", 9.0),
        (json.dumps(GOOGLE), 58.934311),
        (json.dumps({"error": {"metadata": {"raw": json.dumps({"retryDelay": "7.5s"})}}}), 7.5),
        # No time, or none that is certain.
        ("Please try again in a few minutes", None),
        ("Please try again later", None),
        ("try again in 5 steps", None),
        ("retry after 3", None),
        ("", None),
    ],
)
def test_the_body_of_a_passing_error_names_a_time(said: str, seconds: float | None) -> None:
    for status in (429, 503, 529):
        assert find_retry_delay({}, said, status) == seconds
    assert find_retry_delay({}, said, 400) is None


def test_headers_go_before_the_body() -> None:
    said = "try again in 5s"
    assert find_retry_delay({"retry-after": "2"}, said, 429) == 2.0
    assert find_retry_delay({"x-ms-retry-after-ms": "250", "retry-after": "2"}, said, 429) == 0.25
    assert find_retry_delay({"retry-after-ms": "soon", "retry-after": "2"}, said, 429) == 2.0
    assert find_retry_delay({"retry-after-ms": ""}, said, 429) == 5.0


@given(texts())
def test_no_body_raises(said: str) -> None:
    for body in (said, f"try again in {said}", f'"retryDelay": "{said}s"'):
        delay = find_retry_delay({}, body, 429)
        assert delay is None or 0 <= delay < float("inf")
