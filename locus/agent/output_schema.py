"""Requests a final answer of the caller's type, parses it, and asks again if it does not fit.

The strongest mechanism that the model has is used, as its ``capabilities.structured_output`` says.
If that is ``"always"``, every response is made to fit the schema. If it is ``"without_tools"``, the
model cannot call tools then. If there are tools, such a model first gets instructions in the system
prompt, and the schema is only enforced when it is asked again. The request then has the same tools
as before if the provider accepts that: the conversation may have calls of them, and the provider's
cache and sealed thinking depend on them. All other models get instructions only.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

import attrs
import msgspec

from locus.core.agent_added_message import make_agent_added_message
from locus.core.errors import ConfigurationError, StructuredOutputError
from locus.core.frozendict import EMPTY, FrozenDict
from locus.core.messages import Message
from locus.core.structured import StructuredOutput, build_response_format, parse_structured
from locus.models.capabilities import get_capabilities

_INSTRUCTIONS: Final = (
    "When you give your final answer, give it as JSON that fits this JSON Schema, "
    "and nothing else:\n"
)
_RETRY: Final = (
    "Your answer could not be used: {error}\n"
    "Give your final answer again, as JSON that fits the schema and nothing else."
)
_RETRY_SHORTER: Final = (
    "Your answer was cut off at the limit of its length: {error}\n"
    "Give your final answer again, short enough to be complete, as JSON that fits the schema and "
    "nothing else."
)


@attrs.frozen(eq=False)
class OutputSchema:
    """The type of the final answer, and the mechanism by which one model gives it.

    :param type: the caller's type.
    :param options: the options of a model call that enforce the schema; empty if none can.
    :param instructions: the instructions for the system prompt; empty if none are needed.
    :param enforced_always: whether every call has the options, or only a retry.
    :param allows_tools: whether a call with the options may declare tools.
    """

    type: Any
    options: Mapping[str, Any] = EMPTY
    instructions: str = ""
    enforced_always: bool = False
    allows_tools: bool = True

    @classmethod
    def choose_for_model(cls, type: Any, model: Any, *, has_tools: bool) -> OutputSchema:
        """Choose the strongest mechanism that a model has for answers of a type.

        :param has_tools: whether the model may call tools in the run.
        :raises ConfigurationError: if no schema can be made of the type.
        """
        capabilities = get_capabilities(model)
        support = capabilities.structured_output
        if support == "never":
            return cls(type, instructions=_build_schema_instructions(type))
        options = FrozenDict(response_format=_build_strictest_response_format(type))
        if support == "always" or not has_tools:
            return cls(type, options, enforced_always=True)
        return cls(
            type,
            options,
            _build_schema_instructions(type),
            allows_tools=capabilities.schema_beside_tools,
        )

    def parse_final_message(self, message: Message) -> StructuredOutput[Any]:
        """Parse the final answer: its value, or the error if it does not fit the type."""
        if not message.text and message.refusal is not None:
            return StructuredOutput(
                error=StructuredOutputError(f"the model refused: {message.refusal}")
            )
        return parse_structured(message.text, self.type)

    def make_missing_answer_error(self, reason: str | None) -> StructuredOutputError:
        """Make the error of a run that ended while there were tool calls to answer."""
        return StructuredOutputError(
            f"there is no final answer: the run ended before it ({reason})"
        )

    def make_retry_message(self, error: Exception, *, is_cut_off: bool = False) -> Message:
        """Make the message that asks the model for its final answer again.

        :param is_cut_off: whether the answer ended at the limit of its tokens.
        """
        text = (_RETRY_SHORTER if is_cut_off else _RETRY).format(error=error)
        return make_agent_added_message(text, "output_schema")


def _build_strictest_response_format(type: Any) -> Mapping[str, Any]:
    """Build the strictest ``response_format`` that can express the type."""
    try:
        return build_response_format(type)
    except ConfigurationError:  # such as an open object, which strict modes do not have
        return build_response_format(type, strict=False)


def _build_schema_instructions(type: Any) -> str:
    """Build the instructions that ask a model for JSON of the schema."""
    schema = build_response_format(type, strict=False)["json_schema"]["schema"]
    return _INSTRUCTIONS + msgspec.json.encode(schema).decode()
