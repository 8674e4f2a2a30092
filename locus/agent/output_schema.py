"""Requests a final answer of the caller's type, parses it, and asks again if it does not fit.

The agent's ``output_mode`` names the mechanism. With ``"auto"`` it is the strongest that the model
has, as its ``capabilities.structured_output`` says. If that is ``"always"``, every response is made
to fit the schema. If it is ``"without_tools"``, the model cannot call tools then. If there are
tools, such a model first gets instructions in the system prompt, and the schema is only enforced
when it is asked again. The request then has the same tools as before if the provider accepts that:
the conversation may have calls of them, and the provider's cache and sealed thinking depend on
them. All other models get instructions only, and so does one whose server refuses the schema.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any, Final

import attrs
import msgspec

from locus.agent.output_modes import OutputMode
from locus.core.agent_added_message import make_agent_added_message
from locus.core.build_tool_schemas import build_tool_schemas
from locus.core.errors import ConfigurationError, StructuredOutputError
from locus.core.frozendict import EMPTY, FrozenDict
from locus.core.json_schema.references import inline_references
from locus.core.messages import Message, ToolCall
from locus.core.response import ModelResponse
from locus.core.structured import StructuredOutput, build_response_format, parse_structured
from locus.core.structured_output_support import StructuredOutputSupport, get_lesser_support
from locus.models.capabilities import get_capabilities

_INSTRUCTIONS: Final = (
    "When you give your final answer, give it as JSON that fits this JSON Schema, "
    "and nothing else:\n"
)
_TOOL_INSTRUCTIONS: Final = (
    "When you have your final answer, give it by calling the tool {name}, and no other tool beside "
    "it."
)
_TOOL_DESCRIPTION: Final = "Gives the final answer. Call it when nothing else has to be done."
_RETRY: Final = "Your answer could not be used: {error}\nGive your final answer again, {form}."
_RETRY_SHORTER: Final = (
    "Your answer was cut off at the limit of its length: {error}\n"
    "Give your final answer again, short enough to be complete, {form}."
)
_ECHO: Final = "it is the schema; give the values that it describes"
_JSON_FORM: Final = "as JSON that fits the schema and nothing else"


@attrs.frozen(eq=False)
class OutputSchema:
    """The type of the final answer, and the mechanism by which one model gives it.

    :param type: the caller's type.
    :param options: the options of a model call that enforce the schema; empty if none can.
    :param instructions: the instructions for the system prompt; empty if none are needed.
    :param enforced_always: whether every call has the options, or only a retry.
    :param allows_tools: whether a call with the options may declare tools.
    :param answer_tool: the schema of the tool whose arguments are the answer; None if the answer is
        text.
    """

    type: Any
    options: Mapping[str, Any] = EMPTY
    instructions: str = ""
    enforced_always: bool = False
    allows_tools: bool = True
    answer_tool: Mapping[str, Any] | None = None

    @classmethod
    def choose_for_model(
        cls,
        type: Any,
        model: Any,
        *,
        mode: OutputMode = "auto",
        tool_names: Collection[str] = (),
        limit: StructuredOutputSupport = "always",
    ) -> OutputSchema:
        """Choose the mechanism for answers of a type.

        :param tool_names: the names of the tools that the model may call in the run.
        :param limit: the most that ``"auto"`` may expect of the model's server.
        :raises ConfigurationError: if no schema can be made of the type, or if the model does not
            have the mechanism that ``mode`` names.
        """
        capabilities = get_capabilities(model)
        support = capabilities.structured_output
        if mode == "auto":
            support = get_lesser_support(support, limit)
        elif mode == "native" and support == "never":
            raise ConfigurationError(
                f"output_mode='native': {model.__class__.__name__} cannot hold its response to a "
                "schema, or its server has refused to; use 'auto', 'tool' or 'prompted'"
            )
        elif mode == "tool":
            if not capabilities.tools:
                raise ConfigurationError(
                    f"output_mode='tool': {model.__class__.__name__} cannot call tools; use 'auto' "
                    "or 'prompted'"
                )
            return cls._make_for_tool_call(type, tool_names)
        if mode == "prompted" or support == "never":
            return cls(type, instructions=_build_schema_instructions(type))
        options = FrozenDict(response_format=_build_strictest_response_format(type))
        if support == "always" or not tool_names:
            return cls(type, options, enforced_always=True)
        return cls(
            type,
            options,
            _build_schema_instructions(type),
            allows_tools=capabilities.schema_beside_tools and limit == "always",
        )

    @classmethod
    def _make_for_tool_call(cls, type: Any, tool_names: Collection[str]) -> OutputSchema:
        """Make the mechanism by which the answer is the arguments of a tool call."""
        name = "final_answer"
        while name in tool_names:
            name = f"give_{name}"
        schema = build_response_format(type, strict=False)["json_schema"]["schema"]
        function = {
            "name": name,
            "description": _TOOL_DESCRIPTION,
            "parameters": inline_references(schema),
        }
        (answer_tool,) = build_tool_schemas([{"type": "function", "function": function}])
        return cls(type, instructions=_TOOL_INSTRUCTIONS.format(name=name), answer_tool=answer_tool)

    @property
    def answer_tool_name(self) -> str | None:
        """The name of the tool whose arguments are the answer, if there is one."""
        if self.answer_tool is None:
            return None
        name: str = self.answer_tool["function"]["name"]
        return name

    def is_answer(self, call: ToolCall) -> bool:
        """Whether a tool call is the final answer."""
        return call.name == self.answer_tool_name

    def convert_answer_call(self, response: ModelResponse, *, is_last: bool) -> ModelResponse:
        """Return a response with its answer, which is the arguments of a call, as its text.

        An answer beside other calls stays a call, which is rejected: the model did not know their
        results yet.

        :param is_last: whether no calls can be run any more.
        """
        answers = [call for call in response.tool_calls if self.is_answer(call)]
        is_alone = is_last or len(answers) == len(response.tool_calls)
        if not answers or not is_alone or response.finish_reason == "content_filter":
            return response
        message = Message.assistant(answers[-1].arguments_json())
        return attrs.evolve(response, message=message, provider_state=None)  # no server has it

    def make_rejection(self) -> str:
        """Make the error for an answer beside other calls, as the model reads it."""
        return (
            "the final answer was not taken, because other tools were called beside it. Call "
            f"{self.answer_tool_name} again, alone, when you have read their results."
        )

    def parse_final_message(self, message: Message) -> StructuredOutput[Any]:
        """Parse the final answer: its value, or the error if it does not fit the type."""
        if not message.text and message.refusal is not None:
            return StructuredOutput(
                error=StructuredOutputError(f"the model refused: {message.refusal}")
            )
        output = parse_structured(message.text, self.type)
        if output.error is None and self._is_schema(message.text):
            error = StructuredOutputError(_ECHO, content=message.text)
            return StructuredOutput(error=error)
        return output

    def _is_schema(self, text: str) -> bool:
        """Return whether an answer is the schema itself, which smaller models repeat.

        It fits a type without required members, because members that it does not know are ignored.
        """
        if '"properties"' not in text:
            return False
        schema = build_response_format(self.type, strict=False)["json_schema"]["schema"]
        members = schema.get("properties", {})
        if "properties" in members:
            return False
        value = parse_structured(text, dict[str, Any]).parsed
        repeated = value.get("properties") if value else None
        return isinstance(repeated, dict) and bool(repeated) and repeated.keys() <= members.keys()

    def make_missing_answer_error(self, reason: str | None) -> StructuredOutputError:
        """Make the error of a run that ended while there were tool calls to answer."""
        return StructuredOutputError(
            f"there is no final answer: the run ended before it ({reason})"
        )

    def make_retry_message(self, error: Exception, *, is_cut_off: bool = False) -> Message:
        """Make the message that asks the model for its final answer again.

        A model that was not told the schema, because its server should enforce it, is told now.

        :param is_cut_off: whether the answer ended at the limit of its tokens.
        """
        form = _JSON_FORM if self.answer_tool is None else f"by calling {self.answer_tool_name}"
        text = (_RETRY_SHORTER if is_cut_off else _RETRY).format(error=error, form=form)
        if not self.instructions:
            text += f"\n{_build_schema_instructions(self.type)}"
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
