"""What a run came to."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypeVar

import attrs

from locus.core.errors import StructuredOutputError
from locus.core.frozendict import EMPTY
from locus.core.state import AgentState

T = TypeVar("T")


@attrs.frozen
class AgentResult:
    """The answer, and what it took. The counts are this run's; ``state`` has the whole thread.

    :ivar message: the final text; empty where the run ended without one.
    :ivar state: everything that was said and done.
    :ivar usage: tokens of all model calls of this run together.
    :ivar iterations: the model calls of this run.
    :ivar tool_calls: how many tool calls this run has answered.
    :ivar stop_reason: ``"complete"`` where the model had said all it wanted to, else the condition
        that fired, such as ``"MaxIterations(20)"``.
    :ivar parsed: the answer as a value of ``output_schema``; None where there is none.
    :ivar parse_error: why there is none, or None.
    :ivar duration: seconds from beginning to end.
    :ivar thread_id: the thread, or None.
    """

    message: str
    state: AgentState
    usage: Mapping[str, int] = EMPTY
    iterations: int = 0
    tool_calls: int = 0
    stop_reason: str = "complete"
    parsed: Any = None
    parse_error: StructuredOutputError | None = None
    duration: float = 0.0
    thread_id: str | None = None

    @property
    def text(self) -> str:
        """The same as ``message``."""
        return self.message

    def parsed_as(self, type: type[T]) -> T:
        """The answer as a value of ``type``: ``parsed``, or ``message`` read again.

        :raises StructuredOutputError: the answer is no such value; says why.
        """
        import inspect

        from locus.core.structured import parse_structured

        if inspect.isclass(type) and _is_instance(self.parsed, type):
            parsed: T = self.parsed
            return parsed
        return parse_structured(self.message, type).unwrap()


def _is_instance(value: Any, kind: type[Any]) -> bool:
    try:
        return value is not None and isinstance(value, kind)
    except TypeError:  # a TypedDict, list[int] and the like: read the answer again
        return False
