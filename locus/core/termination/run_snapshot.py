"""``RunSnapshot``: the data about a run that termination conditions examine."""

from __future__ import annotations

from itertools import islice
from typing import TYPE_CHECKING

import attrs

from locus.core.messages import Message

if TYPE_CHECKING:
    from locus.core.state import AgentState


@attrs.frozen
class RunSnapshot:
    """The data about a run that a condition can examine, after a step.

    :param state: the state after the step.
    :param elapsed: seconds since the run began.
    :param message: the model's last message, or None before the first.
    :param initial_state: the state with which the run began: what earlier runs of the thread did
        does not count towards the limits of this one. None if all of ``state`` is of this run.
    """

    state: AgentState
    elapsed: float = 0.0
    message: Message | None = None
    initial_state: AgentState | None = None

    @property
    def iterations(self) -> int:
        """The number of model calls in this run."""
        return self.state.iteration - (self.initial_state.iteration if self.initial_state else 0)

    @property
    def prompt_tokens(self) -> int:
        """The prompt tokens of this run, as far as the provider reports them."""
        return self._compute_run_tokens("prompt_tokens")

    @property
    def completion_tokens(self) -> int:
        """The completion tokens of this run, as far as the provider reports them."""
        return self._compute_run_tokens("completion_tokens")

    @property
    def total_tokens(self) -> int:
        """The prompt and completion tokens of this run; the providers' own sums if those are more.

        Some providers count reasoning in their sum only.
        """
        return max(
            self.prompt_tokens + self.completion_tokens, self._compute_run_tokens("total_tokens")
        )

    def has_called_tool(self, tool_name: str) -> bool:
        """Whether the model has called the tool in this run, in its last message or before."""
        if self.message and any(call.name == tool_name for call in self.message.tool_calls):
            return True
        previous_count = len(self.initial_state.tool_executions) if self.initial_state else 0
        return any(
            execution.tool_name == tool_name
            for execution in islice(self.state.tool_executions, previous_count, None)
        )

    def _compute_run_tokens(self, usage_key: str) -> int:
        """Compute how many tokens of a kind this run has used."""
        previous = self.initial_state.usage.get(usage_key, 0) if self.initial_state else 0
        return self.state.usage.get(usage_key, 0) - previous
