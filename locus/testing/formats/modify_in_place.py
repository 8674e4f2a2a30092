"""Changes JSON in place, to see who shares objects with it."""

from __future__ import annotations

from typing import Any


def modify_nested_containers(value: Any) -> None:
    """Add something to every dictionary and list inside ``value``."""
    if isinstance(value, dict):
        for member in value.values():
            modify_nested_containers(member)
        value["modified"] = True
    elif isinstance(value, list):
        for member in value:
            modify_nested_containers(member)
        value.append("modified")
