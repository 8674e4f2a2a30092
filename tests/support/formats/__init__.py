"""The record of each wire format (:class:`~locus.testing.formats.WireFormat`).

To add a format, write a record in a new module here. It is found by itself; the shipped suites, and
the tests here that take the fixture ``wire``, then run for it.
"""

from __future__ import annotations

import inspect
from collections.abc import Iterator
from importlib import import_module
from pkgutil import iter_modules

from locus.testing.formats import WireFormat
from tests.support.formats.prompted_tools import Local, PromptedTools

__all__ = ["FORMATS", "FORMATS_BY_NAME", "PART_FORMATS", "REQUEST_FORMATS", "WireFormat"]

_FIRST = (
    "chat_completions",
    "anthropic_messages",
    "ollama_chat",
    "cohere_chat",
    "oci_generic",
    "oci_cohere",
    "oci_cohere_v2",
    "responses",
)
"""The first columns of the tables in the documentation; the others follow, by name."""


def _find_records() -> Iterator[WireFormat]:
    """Make the record in each module of this package."""
    for module in iter_modules(__path__):
        if module.name != "prompted_tools":
            for cls in vars(import_module(f"{__name__}.{module.name}")).values():
                is_own = inspect.isclass(cls) and cls.__module__ == f"{__name__}.{module.name}"
                if is_own and issubclass(cls, WireFormat) and hasattr(cls, "name"):
                    yield cls()


FORMATS: tuple[WireFormat, ...] = tuple(
    sorted(
        _find_records(),
        key=lambda wire: (_FIRST.index(wire.name) if wire.name in _FIRST else 99, wire.name),
    )
)
"""Every wire format."""

FORMATS_BY_NAME: dict[str, WireFormat] = {wire.name: wire for wire in FORMATS}

REQUEST_FORMATS: tuple[WireFormat, ...] = (*FORMATS, PromptedTools())
"""Every wire format, and those that differ from one of them in their requests only."""

PART_FORMATS: tuple[WireFormat, ...] = (*REQUEST_FORMATS, Local())
"""These, and one that differs only in the parts of messages that it takes."""
