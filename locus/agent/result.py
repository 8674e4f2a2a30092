"""The result of a run of an agent."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, TypeVar

import attrs

from locus.core.errors import StructuredOutputError
from locus.core.frozendict import EMPTY
from locus.core.messages import ToolCall
from locus.core.state import AgentState

if TYPE_CHECKING:
    from locus.reasoning.grounding_evaluator import GroundingReport
    from locus.reasoning.gsar_evaluator import GSARResult

T = TypeVar("T")


@attrs.frozen
class AgentResult:
    """The final answer of a run, and what the run used.

    The counts are those of this run; ``state`` covers the whole thread.

    :ivar message: the final text; empty if the run ended without one.
    :ivar state: the state of the thread after the run.
    :ivar usage: the tokens of all model calls of this run together.
    :ivar iterations: how many model calls this run made.
    :ivar tool_calls: how many tool calls were answered in this run.
    :ivar stop_reason: ``"complete"`` if the model gave its final answer; ``"length"`` if that was
        cut off, ``"content_filter"`` if it was held back, ``"refusal"`` if the model refused,
        ``"other"`` if the model or its server broke the answer off;
        ``"approval_required"`` if tool calls wait for approval (``pending``); else
        the condition that stopped the run, such as ``"MaxIterations(20)"``.
    :ivar finish_reason: why the model's last response ended, in the words of
        ``ModelResponse.finish_reason``; None if there is none.
    :ivar pending: the tool calls that wait for approval;
        :meth:`~locus.agent.Agent.resume` with ``approvals`` continues the run.
    :ivar parsed: the answer as a value of ``output_schema``; None if there is none.
    :ivar parse_error: the error that explains this, or None.
    :ivar duration: how long the run took, in seconds.
    :ivar thread_id: the thread, or None.
    :ivar grounding_report: which claims of the answer the tool results support; None if the agent
        has no ``grounding``, or the answer is empty.
    :ivar gsar: the GSAR evaluation of the answer; None if the agent has no ``gsar``, or the answer
        is empty.
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
    finish_reason: str | None = None
    pending: tuple[ToolCall, ...] = ()
    grounding_report: GroundingReport | None = None
    gsar: GSARResult | None = None

    @property
    def text(self) -> str:
        """The same as ``message``."""
        return self.message

    def parsed_as(self, type: type[T]) -> T:
        """Return the answer as a value of ``type``: ``parsed``, or else ``message`` parsed anew.

        :raises StructuredOutputError: if the answer does not fit the type; the message lists the
            issues.
        """
        import inspect

        from locus.core.structured import parse_structured

        if inspect.isclass(type) and _is_instance_of(self.parsed, type):
            parsed: T = self.parsed
            return parsed
        return parse_structured(self.message, type).unwrap()


def _is_instance_of(value: Any, cls: type[Any]) -> bool:
    """Whether a value is an instance of a class; False for types that cannot be checked so."""
    try:
        return value is not None and isinstance(value, cls)
    except TypeError:  # not for isinstance, such as TypedDict or list[int]: parse the answer anew
        return False
