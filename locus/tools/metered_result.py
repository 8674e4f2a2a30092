"""``MeteredResult``: the result of a tool that has run an agent, with its tokens and events."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import attrs

from locus.core.frozendict import EMPTY


@attrs.frozen(eq=False)
class MeteredResult:
    """What a tool may return whose tokens count among those of the run that called it.

    :param value: the result; any value that a tool may return.
    :param usage: the tokens, under the keys of ``ModelResponse.usage``.
    :param error: the error of the tool instead of a result, or None.
    :param events: the events of the agent that the tool has run.
    """

    value: Any = None
    usage: Mapping[str, int] = EMPTY
    error: Exception | None = None
    events: Sequence[Any] = ()
