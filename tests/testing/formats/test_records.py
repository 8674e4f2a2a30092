"""Every provider that Locus ships has the record of its wire format."""

from __future__ import annotations

import inspect

import pytest

from locus.models import registry
from locus.models.registry import list_providers
from tests.support.formats import FORMATS, PART_FORMATS, WireFormat


def find_record(prefix: str) -> WireFormat | None:
    """Return the record of a provider: one that names it, or the one of its model's format."""
    for wire in FORMATS:
        if prefix in (wire.provider, *wire.prefixes):
            return wire
    factory = registry._load_factory(prefix)
    for wire in FORMATS:
        seams = type(wire.builder), type(wire.parser)
        if inspect.isclass(factory) and (factory.builder_class, factory.parser_class) == seams:
            return wire
    return None


@pytest.mark.parametrize("prefix", list_providers())
def test_every_provider_has_a_record(prefix: str) -> None:
    assert find_record(prefix), (
        f"no record has the provider {prefix!r}: write one in tests/support/formats"
    )


def test_names_and_titles_are_unique() -> None:
    names, titles = [wire.name for wire in PART_FORMATS], [wire.title for wire in PART_FORMATS]
    assert len(set(names)) == len(names)
    assert len(set(titles)) == len(titles)
    assert all(name.isidentifier() for name in names)
