"""One line about an error, for the model and for the reason of a run."""

from __future__ import annotations

from locus.agent.describe_error import describe_error


def test_a_group_names_the_errors_in_it() -> None:
    inner = ExceptionGroup("inner", [ValueError("a"), KeyError("b")])
    text = describe_error(ExceptionGroup("outer", [ConnectionError("db1 is down"), inner]))
    assert text == (
        "ExceptionGroup: outer (2 sub-exceptions); ConnectionError: db1 is down; ValueError: a; "
        "KeyError: 'b'"
    )


def test_a_large_group_is_not_described_whole() -> None:
    text = describe_error(ExceptionGroup("many", [ValueError(str(n)) for n in range(1000)]))
    assert text.endswith("ValueError: 4; and 995 more")


def test_a_deep_group_is_described() -> None:
    error: Exception = ValueError("the cause")
    for _ in range(5000):
        error = ExceptionGroup("nested", [error])
    assert describe_error(error).endswith("ValueError: the cause")
