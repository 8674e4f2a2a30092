"""When a rate limit is reset, in every form that providers send it."""

from __future__ import annotations

import pytest

from locus.core.rate_limit_reset import find_seconds_until_reset
from locus.core.retry_after import find_retry_delay

DATE = "Tue, 01 Dec 2026 10:00:00 GMT"
UNIX_DATE = 1_796_119_200  # seconds since 1970


@pytest.mark.parametrize(
    ("name", "value", "seconds"),
    [
        ("x-ratelimit-reset-requests", "1m2s", 62.0),
        ("x-ratelimit-reset-tokens", "6ms", 0.006),
        ("x-ratelimit-reset-requests", "2m59.56s", 179.56),
        ("x-ratelimit-reset-requests", "1h0m5s", 3605.0),
        ("x-ratelimit-reset-requests", "1d2h", 93_600.0),
        ("x-ratelimit-reset-tokens-minute", "11.38", 11.38),  # Cerebras
        ("ratelimit-reset", "30", 30.0),
        ("x-ratelimitbysize-reset", "12", 12.0),  # Mistral
        ("anthropic-ratelimit-input-tokens-reset", "2026-12-01T10:00:07Z", 7.0),
        ("anthropic-ratelimit-requests-reset", "2026-12-01T11:00:07+01:00", 7.0),
        ("anthropic-ratelimit-unified-reset", str(UNIX_DATE), 0.0),
        ("x-ratelimit-reset", str(UNIX_DATE * 1000 + 1500), 1.5),  # OpenRouter
        ("x-ratelimit-reset", "Tue, 01 Dec 2026 10:00:09 GMT", 9.0),
        ("x-ratelimit-reset-tokens", "2026-12-01T09:00:00Z", 0.0),
    ],
)
def test_each_form_is_read(name: str, value: str, seconds: float) -> None:
    headers = {name: value, "date": DATE}
    assert find_retry_delay(headers, "", 429) == pytest.approx(seconds)
    assert find_retry_delay(headers, "", 503) is None


@pytest.mark.parametrize("value", ["", "soon", "-1", "nan", "inf", "1x", "2026-13-01T00:00:00Z"])
def test_what_is_no_time_says_nothing(value: str) -> None:
    assert find_seconds_until_reset({"x-ratelimit-reset-tokens": value, "date": DATE}) is None


def test_a_point_in_time_needs_the_clock_of_the_server() -> None:
    headers = {"anthropic-ratelimit-tokens-reset": "2026-12-01T10:00:07Z"}
    assert find_seconds_until_reset(headers) is None


@pytest.mark.parametrize(
    ("requests", "tokens", "seconds"),
    [
        (("200", "199", "8h"), ("1000", "0", "3s"), 3.0),
        (("200", "0", "8h"), ("1000", "0", "3s"), 28_800.0),
        (("200", "100", "8h"), ("1000", "20", "3s"), 3.0),
    ],
)
def test_the_limit_that_was_reached_counts(
    requests: tuple[str, ...], tokens: tuple[str, ...], seconds: float
) -> None:
    kinds = ("limit", "remaining", "reset")
    headers = {
        f"x-ratelimit-{kind}-{name}": value
        for name, values in (("requests", requests), ("tokens", tokens))
        for kind, value in zip(kinds, values, strict=True)
    }
    assert find_seconds_until_reset(headers) == seconds


def test_what_says_when_to_come_back_goes_before_the_limits() -> None:
    headers = {"x-ratelimit-reset-tokens": "9s"}
    assert find_retry_delay({**headers, "retry-after": "2"}, "", 429) == 2.0
    assert find_retry_delay(headers, "Please try again in 1.5s.", 429) == 1.5
    assert find_retry_delay(headers, "slow down", 429) == 9.0
