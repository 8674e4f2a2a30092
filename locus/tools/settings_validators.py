"""Checks the settings that every tool has, whatever it is made of."""

from __future__ import annotations

import math
import re
from typing import Any, Final

from locus.core.errors import ConfigurationError
from locus.tools.approval_rule import takes_context

_NAME: Final = re.compile(r"[a-zA-Z_][a-zA-Z0-9_-]{0,63}")


def check_tool_name(_: Any, __: Any, name: Any) -> None:
    """Check that every provider accepts the name of a tool; an attrs validator."""
    if not isinstance(name, str) or not _NAME.fullmatch(name):
        raise ConfigurationError(
            f"{name!r} cannot be the name of a tool: providers accept up to 64 of a-z, A-Z, 0-9, _ "
            "and -, beginning with a letter or _; pass name="
        )


def check_timeout(tool: Any, _: Any, timeout: Any) -> None:
    """Check that a tool's timeout is a number of seconds, or None; an attrs validator."""
    is_number = isinstance(timeout, (int, float)) and not isinstance(timeout, bool)
    if timeout is not None and not (is_number and 0 < timeout < math.inf):
        raise ConfigurationError(
            f"tool {tool.name!r}: timeout must be a number of seconds above 0, not {timeout!r}"
        )


def check_approval(tool: Any, _: Any, value: Any) -> None:
    """Check that ``requires_approval`` is a bool, or a function; an attrs validator."""
    if not isinstance(value, bool) and not callable(value):
        raise ConfigurationError(
            f"tool {tool.name!r}: requires_approval is True, False, or a function of the arguments "
            f"that says so, not {value!r}"
        )
    if not isinstance(value, bool):
        takes_context(value)  # an error now, not in the run
