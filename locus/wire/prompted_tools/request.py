"""Rewrites a call with tools as one without: the tools become text of the conversation."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

import attrs

from locus.core.accepted_parts import AcceptedParts, PartHandling
from locus.core.build_tool_schemas import ToolLike, build_tool_schemas
from locus.core.call_options import CallOptions
from locus.core.conversation import (
    Messages,
    ToolCallPosition,
    order_tool_results,
    validate_messages,
)
from locus.core.errors import ConfigurationError
from locus.core.frozendict import EMPTY
from locus.core.messages import (
    Content,
    ImagePart,
    Message,
    Part,
    RefusalPart,
    Role,
    TextPart,
    ThinkingPart,
    ToolCall,
)
from locus.core.option_rules import Carried, HandledByLocus, OptionRules, Translated
from locus.wire.chat_completions.request import (
    ChatCompletionsBuilder,
    build_tool_choice,
)
from locus.wire.prompted_tools.llguidance_grammar import (
    AFTER_ARGUMENTS,
    BEFORE_ARGUMENTS,
    BEFORE_NAME,
    build_grammar,
)
from locus.wire.provider_json import encode_json, to_json_builtins
from locus.wire.request_parts import encode_arguments

_TOOL_INSTRUCTIONS: Final = (
    "You have these tools:\n{tools}\n\n"
    "To call one, answer with nothing but\n"
    f"{BEFORE_NAME.replace('{', '{{')}" + '"the tool"' + f"{BEFORE_ARGUMENTS}" + "{{...}}"
    f"{AFTER_ARGUMENTS.replace('}', '}}')}\n"
    "Otherwise answer in {form}."
)
_CONTINUE_INSTRUCTION: Final = "If you need no other tool, answer my question in {form}."
_ANSWER_INSTRUCTION: Final = "Answer my question in {form}."

PROMPTED_TOOLS_OPTION_RULES: Final[OptionRules] = ChatCompletionsBuilder.option_rules.evolve(
    stop=Carried("stop", "raises if it would end every call"),
    response_format=Translated("a part of the `grammar`", ("grammar", "messages")),
    tool_choice=Translated("the tools in the prompt, and the `grammar`", ("grammar", "messages")),
    parallel_tool_calls=Translated("`True`: the `grammar` allows several calls", ("grammar",)),
    extra_body=HandledByLocus("its members replace those of the body, the `grammar` included"),
)
"""The rules for a call of chat completions with tools that are described in the prompt."""

_MAX_SHOWN_ARGUMENTS: Final = 200
"""Up to how many characters the arguments of a call are repeated with its result."""

ACCEPTED_PARTS: Final = AcceptedParts(
    "a model whose tools are in the prompt",
    user={TextPart: PartHandling.CARRIED, ImagePart: PartHandling.CARRIED},
    assistant={
        TextPart: PartHandling.CARRIED,
        RefusalPart: PartHandling.CARRIED,
        ThinkingPart: PartHandling.DROPPED,
    },
)
"""What becomes of the parts of a conversation in the rewritten one."""

_GRAMMAR_MEMBERS: Final = ("grammar", "json_schema", "response_format")
"""The request members that restrict the output. llama.cpp accepts only one of them."""


@attrs.frozen
class PromptedRequest:
    """A call with tools, rewritten as one without.

    :param messages: the conversation, without tool calls and tool messages.
    :param options: the fields of :class:`~locus.core.call_options.CallOptions`.
    :param expects_calls: whether the response may contain tool calls, written as text.
    """

    messages: Sequence[Message]
    options: Mapping[str, Any]
    expects_calls: bool


def build_prompted_request(
    messages: Messages,
    tools: Sequence[ToolLike] | None,
    options: Mapping[str, Any],
    *,
    system_role: bool = True,
) -> PromptedRequest:
    """Rewrite ``messages``, ``tools`` and ``options`` for a model without tool support.

    A response contains one tool call, unless ``parallel_tool_calls`` is True: small models do not
    stop calling.

    :param options: the fields of :class:`~locus.core.call_options.CallOptions`. The grammar is
        added to ``extra_body``, unless the caller's ``extra_body`` has one.
    :param system_role: whether the model supports system messages. If not, the tools are described
        in the user's message.
    :raises ConfigurationError: if a tool is not a function, ``tool_choice`` matches none of the
        tools, or a stop string would end every tool call.
    """
    call_options = CallOptions(**options)
    functions = _select_functions(build_tool_schemas(tools), call_options.tool_choice)
    schema = _find_response_schema(call_options.response_format)
    form = "words" if schema is None else "JSON"
    instruction = (_CONTINUE_INSTRUCTION if functions else _ANSWER_INSTRUCTION).format(form=form)
    conversation = validate_messages(messages, accepted_parts=ACCEPTED_PARTS)
    prompt = _replace_tool_messages(conversation, instruction)
    new_options: dict[str, Any] = {**options, "tool_choice": None, "parallel_tool_calls": None}
    extra_body = call_options.extra_body or EMPTY
    needs_grammar = not any(name in extra_body for name in _GRAMMAR_MEMBERS)
    if functions:
        _check_stop_strings(call_options.stop)
        tool_list = "\n".join(encode_json(function).decode() for function in functions)
        instructions = _TOOL_INSTRUCTIONS.format(tools=tool_list, form=form)
        prompt = _prepend_instructions(prompt, instructions, system_role)
        if needs_grammar:
            new_options["response_format"] = None  # it is part of the grammar
            extra_body = {
                "grammar": build_grammar(
                    functions,
                    parallel_calls=bool(call_options.parallel_tool_calls),
                    allow_text=call_options.tool_choice in (None, "auto"),
                    schema=schema,
                ),
                **extra_body,
            }
    elif needs_grammar and schema is None:  # or the model might imitate earlier tool calls
        extra_body = {"grammar": build_grammar(()), **extra_body}
    return PromptedRequest(
        prompt, {**new_options, "extra_body": extra_body or None}, bool(functions)
    )


def _prepend_instructions(
    messages: list[Message], instructions: str, system_role: bool
) -> list[Message]:
    """Return the conversation with ``instructions`` at its beginning.

    They follow the text of a system message, or precede the text of a user message.
    """
    first, *others = messages
    if not system_role:
        if first.role is Role.USER:
            content = _prepend_text(f"{instructions}\n\n", first.all_content)
            return [attrs.evolve(first, content=content), *others]
        return [Message.user(instructions), *messages]
    if first.role is Role.SYSTEM:
        return [Message.system(f"{first.text}\n\n{instructions}"), *others]
    return [Message.system(instructions), *messages]


def _select_functions(
    schemas: Sequence[Mapping[str, Any]], tool_choice: str | Mapping[str, Any] | None
) -> list[Mapping[str, Any]]:
    """Return the functions that the model may call, as builtin dictionaries and lists."""
    functions = []
    for index, schema in enumerate(schemas):
        function = schema.get("function")
        if schema.get("type", "function") != "function" or not isinstance(function, Mapping):
            raise ConfigurationError(
                f"tools[{index}] is of type {schema.get('type')!r}; this model's tools are "
                "described in the prompt, which works for functions only"
            )
        try:
            functions.append(to_json_builtins(function, "tools"))
        except (TypeError, ValueError, RecursionError) as exc:
            raise ConfigurationError(
                f"tools[{index}] cannot be represented in JSON: {exc}"
            ) from exc
    tool_choice = build_tool_choice(tool_choice, schemas) if schemas else None
    if tool_choice == "none":
        return []
    if not isinstance(tool_choice, Mapping):
        return functions
    chosen = tool_choice.get("function")
    name = chosen.get("name") if isinstance(chosen, Mapping) else None
    selected = [function for function in functions if function["name"] == name]
    if not selected:
        raise ConfigurationError(
            f"tool_choice={dict(tool_choice)!r} names none of the tools of this call "
            f"({', '.join(function['name'] for function in functions)})"
        )
    return selected


def _check_stop_strings(stop: Sequence[str]) -> None:
    """Raise a ``ConfigurationError`` if a stop string would end every tool call."""
    delimiters = (BEFORE_NAME, BEFORE_ARGUMENTS, AFTER_ARGUMENTS)
    for stop_string in stop:
        if stop_string and any(stop_string in delimiter for delimiter in delimiters):
            raise ConfigurationError(
                f"stop={stop_string!r} would end every call in its middle: the model has to "
                f"write {BEFORE_NAME}…{BEFORE_ARGUMENTS}…{AFTER_ARGUMENTS}"
            )


def _replace_tool_messages(messages: tuple[Message, ...], instruction: str) -> list[Message]:
    """Return the conversation with tool calls and results as text.

    ``instruction`` follows the results.

    The results go into one user message, together with the text of a user message that follows:
    the templates of many such models require that user and assistant alternate.
    """
    prompt: list[Message] = []
    results: list[str] = []
    calls: dict[ToolCallPosition | None, ToolCall] = {}
    for indexed in order_tool_results(messages):
        position, message = indexed.position, indexed.message
        if message.role is Role.TOOL:
            call = calls.get(indexed.call_position)
            name = _format_call_label(call) if call else message.name or "the tool"
            results.append(f"The result of {name} is: {message.text}")
            continue
        if results:
            results_text = "\n\n".join(results)
            results = []
            if message.role is Role.USER:
                content = _prepend_text(f"{results_text}\n\n", message.all_content)
                message = attrs.evolve(message, content=content)
            else:
                prompt.append(Message.user(f"{results_text}\n\n{instruction}"))
        if message.tool_calls:
            calls |= {(position, index): call for index, call in enumerate(message.tool_calls)}
            message = _convert_calls_to_text(position, message)
        prompt.append(message)
    if results:
        prompt.append(Message.user("\n\n".join([*results, instruction])))
    return prompt


def _convert_calls_to_text(position: int, message: Message) -> Message:
    """Return a message with its tool calls written at the end of its text, before its refusal."""
    calls_text = "".join(
        _format_call(f"messages[{position}].tool_calls[{index}]", call)
        for index, call in enumerate(message.tool_calls)
    )
    text = f"{message.text}\n{calls_text}" if message.text else calls_text
    refusal = message.refusal
    content: Content = text if refusal is None else (TextPart(text), RefusalPart(refusal))
    return attrs.evolve(message, content=content, tool_calls=())


def _prepend_text(text: str, content: Content) -> str | tuple[Part, ...]:
    """Return ``content`` with ``text`` before it."""
    if content is None or isinstance(content, str):
        return text + (content or "")
    return (TextPart(text), *content)


def _format_call(path: str, call: ToolCall) -> str:
    """Return a tool call as the model itself has written it, malformed arguments included."""
    name = encode_json(call.name).decode()
    arguments = call.malformed_arguments
    if arguments is None:
        arguments = encode_arguments(path, call)
    return f"{BEFORE_NAME}{name}{BEFORE_ARGUMENTS}{arguments}{AFTER_ARGUMENTS}"


def _format_call_label(call: ToolCall) -> str:
    """Return a call as ``name(arguments)``, or its name alone if the arguments are long."""
    arguments = ", ".join(
        value if isinstance(value, str) else encode_json(value).decode()
        for value in call.arguments.values()
    )
    return f"{call.name}({arguments})" if len(arguments) <= _MAX_SHOWN_ARGUMENTS else call.name


def _find_response_schema(response_format: Mapping[str, Any] | None) -> Mapping[str, Any] | None:
    """Return the JSON Schema that a text response has to match, or None if it may be any text."""
    type_ = (response_format or EMPTY).get("type")
    if type_ == "json_object":
        return {"type": "object"}
    if type_ != "json_schema":
        return None
    json_schema = (response_format or EMPTY).get("json_schema")
    schema = json_schema.get("schema") if isinstance(json_schema, Mapping) else None
    if not isinstance(schema, Mapping):
        return EMPTY
    builtin_schema: Mapping[str, Any] = to_json_builtins(schema, "response_format")
    return builtin_schema
