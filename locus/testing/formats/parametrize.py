"""Runs each test of a suite on each record: on those in `FORMATS` of the module that imports it."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Sequence
from itertools import cycle, product
from typing import Any, TypeVar

import pytest
from hypothesis import HealthCheck, settings

from locus.testing.formats.runtimes import RUNTIME_NAMES
from locus.testing.formats.wire_format import WireFormat

F = TypeVar("F", bound=Callable[..., Any])
Cases = Callable[[WireFormat], Iterable[Any]]


def each_case(names: str, cases: Cases) -> Callable[[F], F]:
    """Parametrize a test with the cases of every format.

    :param names: the parameters of the test that the values of a case are passed to.
    :param cases: returns the cases of a format.
    """

    def decorate(test: F) -> F:
        test.each_case = (names, cases)  # type: ignore[attr-defined]
        return test

    return decorate


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Parametrize a test of a suite: called by pytest for the module that imports the suite."""
    formats: Sequence[WireFormat] | None = getattr(metafunc.module, "FORMATS", None)
    if formats is None:
        raise pytest.UsageError(
            f"{metafunc.module.__name__} imports a suite of locus.testing.formats: define FORMATS, "
            "the list of the records to run it on"
        )
    marked = [(wire, wire.marks if "server" in metafunc.fixturenames else ()) for wire in formats]
    if each := getattr(metafunc.function, "each_case", None):
        names, cases = each
        argument_names = names.replace(" ", "").split(",")
        values = [
            pytest.param(
                wire,
                *(case if len(argument_names) > 1 else [case]),
                id=f"{wire}-{_make_id(index, case)}",
                marks=marks,
            )
            for wire, marks in marked
            for index, case in enumerate(cases(wire))
        ]
        metafunc.parametrize(("wire", *argument_names), values, scope="session")
    elif "wire" in metafunc.fixturenames:
        values = [pytest.param(wire, id=repr(wire), marks=marks) for wire, marks in marked]
        metafunc.parametrize("wire", values, scope="session")


def without_deadline(test: F) -> F:
    """Let a test of random examples take its time: on a busy machine, drawing them is slow."""
    return _make_settings()(test)


def with_many_examples(test: F) -> F:
    """Like :func:`without_deadline`; where the profile is thorough, with 120 examples."""
    return _make_settings(**({"max_examples": 120} if is_thorough() else {}))(test)


def _make_settings(**changes: Any) -> settings:
    return settings(deadline=None, suppress_health_check=[HealthCheck.too_slow], **changes)


def is_thorough() -> bool:
    """Return whether hypothesis' profile is named ``thorough``, or has more than 100 examples.

    A hundred is the default. The variable ``HYPOTHESIS_PROFILE`` names the profile.
    """
    return os.environ.get("HYPOTHESIS_PROFILE") == "thorough" or settings().max_examples > 100


def spread_over_runtimes(values: Iterable[Any]) -> Iterable[tuple[Any, str]]:
    """Pair each value with one of the runtimes, in turn.

    With all of them where the tests are thorough.
    """
    if is_thorough():
        return product(values, RUNTIME_NAMES)
    return zip(values, cycle(RUNTIME_NAMES), strict=False)


def _make_id(index: int, case: Any) -> str:
    """Make the id of a case of its names, or else of its number."""
    values = case if isinstance(case, tuple) else (case,)
    names = [value if isinstance(value, str) else getattr(value, "name", None) for value in values]
    if all(isinstance(name, str) and name.isidentifier() for name in names):
        return "-".join(map(str, names))
    return str(index)
