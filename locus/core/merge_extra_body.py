"""Merges the members that go into the JSON body beside those of the options: one precedence.

The layers, from the lowest: members that only the model's config knows, the members that Locus
builds from the options, and ``extra_body``, itself merged of the config's, the bound one and the
call's. A member replaces the one below it. A few members are groups, such as ``stream_options``:
their own members are merged instead.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any


def merge_members(
    lower: Mapping[str, Any], upper: Mapping[str, Any], groups: Collection[str] = ()
) -> dict[str, Any]:
    """Return the members of both mappings; those of ``upper`` win.

    :param groups: the names of members whose own members are merged, where both are mappings.
    """
    merged = {**lower, **upper}
    for name in groups:
        below, above = lower.get(name), upper.get(name)
        if isinstance(below, Mapping) and isinstance(above, Mapping):
            merged[name] = {**below, **above}
    return merged


def add_extra_members(
    body: Mapping[str, Any],
    config_members: Mapping[str, Any],
    extra_body: Mapping[str, Any] | None,
    groups: Collection[str] = (),
) -> dict[str, Any]:
    """Return the JSON body with the members of the config below it, and ``extra_body`` over it.

    :param groups: the names of members whose own members are merged.
    """
    if config_members:
        body = merge_members(config_members, body, groups)
    return merge_members(body, extra_body, groups) if extra_body else dict(body)
