"""A call of a model with tools, in words: what to send in its place."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

import attrs
import msgspec

from locus.core.call_options import CallOptions
from locus.core.conversation import Messages, Place, conversation, in_order
from locus.core.errors import ConfigurationError
from locus.core.frozendict import EMPTY
from locus.core.messages import Content, Message, Part, Role, TextPart, ToolCall
from locus.core.tool_schemas import Tool, tool_schemas
from locus.wire.chat_completions.request import arguments_of, plain, tool_choice_of
from locus.wire.json import encode
from locus.wire.prompted_tools.grammar import HEAD, MIDDLE, TAIL, grammar

_TOLD: Final = (
    "You have these tools:\n{tools}\n\n"
    "To call one, answer with nothing but\n"
    f"{HEAD.replace('{', '{{')}" + '"the tool"' + f"{MIDDLE}" + "{{...}}"
    f"{TAIL.replace('}', '}}')}\n"
    "Otherwise answer in {form}."
)
_GO_ON: Final = "If you need no other tool, answer my question in {form}."
_ANSWER: Final = "Answer my question in {form}."

_SHORT: Final = 200
"""How many characters of arguments are repeated with their result."""

_OTHER_GRAMMARS: Final = ("grammar", "json_schema", "response_format")
"""Members of the request that hold the answer to something, of which llama.cpp takes one."""


@attrs.frozen
class InWords:
    """A call with tools as one without.

    :param messages: the conversation, made of text alone.
    :param options: the fields of :class:`~locus.core.call_options.CallOptions`.
    :param calls: whether the answer may be a call, written as text.
    """

    messages: Sequence[Message]
    options: Mapping[str, Any]
    calls: bool


def in_words(
    messages: Messages,
    tools: Sequence[Tool] | None,
    options: Mapping[str, Any],
    *,
    system_role: bool = True,
) -> InWords:
    """What to send in place of ``messages``, ``tools`` and ``options``.

    An answer holds one call, unless ``parallel_tool_calls`` is True: small models find no end.

    :param options: the fields of :class:`~locus.core.call_options.CallOptions`. The grammar goes
    into ``extra_body``, where the caller's own wins.
    :param system_role: whether the model takes system messages; if not, the user tells it.
    :raises ConfigurationError: a tool is no function, ``tool_choice`` is none of them, or no call
        could be written because of a stop string.
    """
    said = CallOptions(**options)
    functions = _offered(tool_schemas(tools), said.tool_choice)
    schema = _schema_of(said.response_format)
    form = "words" if schema is None else "JSON"
    turns = conversation(messages)
    told = _without_calls(turns, (_GO_ON if functions else _ANSWER).format(form=form))
    rest: dict[str, Any] = {**options, "tool_choice": None, "parallel_tool_calls": None}
    body = said.extra_body or EMPTY
    held = not any(name in body for name in _OTHER_GRAMMARS)
    if functions:
        _check_stop(said.stop)
        listed = "\n".join(encode(function).decode() for function in functions)
        told = _with_instructions(told, _TOLD.format(tools=listed, form=form), system_role)
        if held:
            rest["response_format"] = None  # the grammar holds it
            body = {
                "grammar": grammar(
                    functions,
                    several=bool(said.parallel_tool_calls),
                    words=said.tool_choice in (None, "auto"),
                    schema=schema,
                ),
                **body,
            }
    elif held and schema is None:  # or it would go on as it has begun
        body = {"grammar": grammar(()), **body}
    return InWords(told, {**rest, "extra_body": body or None}, bool(functions))


def _with_instructions(messages: list[Message], text: str, system_role: bool) -> list[Message]:
    """The conversation with ``text`` in front: behind the system's own words, before the user's."""
    first, *others = messages
    if not system_role:
        if first.role is Role.USER:
            return [attrs.evolve(first, content=_behind(f"{text}\n\n", first.content)), *others]
        return [Message.user(text), *messages]
    if first.role is Role.SYSTEM:
        return [Message.system(f"{first.text}\n\n{text}"), *others]
    return [Message.system(text), *messages]


def _offered(
    schemas: Sequence[Mapping[str, Any]], choice: str | Mapping[str, Any] | None
) -> list[Mapping[str, Any]]:
    """The functions that the model may call, in dictionaries and lists of JSON."""
    functions = []
    for position, schema in enumerate(schemas):
        function = schema.get("function")
        if schema.get("type", "function") != "function" or not isinstance(function, Mapping):
            raise ConfigurationError(
                f"tools[{position}] is of type {schema.get('type')!r}; the model is told of its "
                "tools in words, which goes for functions only"
            )
        try:
            functions.append(msgspec.to_builtins(function, enc_hook=plain))
        except (TypeError, ValueError, RecursionError) as why:
            raise ConfigurationError(f"tools[{position}] is no JSON: {why}") from why
    choice = tool_choice_of(choice, schemas) if schemas else None
    if choice == "none":
        return []
    if not isinstance(choice, Mapping):
        return functions
    named = choice.get("function")
    name = named.get("name") if isinstance(named, Mapping) else None
    chosen = [function for function in functions if function["name"] == name]
    if not chosen:
        raise ConfigurationError(
            f"tool_choice={dict(choice)!r} names none of the tools of this call "
            f"({', '.join(function['name'] for function in functions)})"
        )
    return chosen


def _check_stop(stop: Sequence[str]) -> None:
    for said in stop:
        if said and any(said in part for part in (HEAD, MIDDLE, TAIL)):
            raise ConfigurationError(
                f"stop={said!r} would end every call in its middle: the model is told to write "
                f"{HEAD}…{MIDDLE}…{TAIL}"
            )


def _without_calls(messages: tuple[Message, ...], then: str) -> list[Message]:
    """The conversation with its calls and results as text, and behind the results what to do next.

    Results go into one message of the user's, together with what the user says next: the
    templates of many such models want the two sides to take turns.
    """
    said: list[Message] = []
    results: list[str] = []
    asked: dict[Place | None, ToolCall] = {}
    for turn in in_order(messages):
        position, message = turn.position, turn.message
        if message.role is Role.TOOL:
            call = asked.get(turn.answers)
            who = _shown(call) if call else message.name or "the tool"
            results.append(f"The result of {who} is: {message.text}")
            continue
        if results:
            told = "\n\n".join(results)
            results = []
            if message.role is Role.USER:
                message = attrs.evolve(message, content=_behind(f"{told}\n\n", message.content))
            else:
                said.append(Message.user(f"{told}\n\n{then}"))
        if message.tool_calls:
            asked |= {(position, at): call for at, call in enumerate(message.tool_calls)}
            message = _with_calls_written(position, message)
        said.append(message)
    if results:
        said.append(Message.user("\n\n".join([*results, then])))
    return said


def _with_calls_written(position: int, message: Message) -> Message:
    written = "".join(
        _written(f"messages[{position}].tool_calls[{at}]", call)
        for at, call in enumerate(message.tool_calls)
    )
    text = f"{message.text}\n{written}" if message.text else written
    return attrs.evolve(message, content=text, tool_calls=())


def _behind(text: str, content: Content) -> str | tuple[Part, ...]:
    if content is None or isinstance(content, str):
        return text + (content or "")
    return (TextPart(text), *content)


def _written(where: str, call: ToolCall) -> str:
    """A call as the model itself would have written it."""
    name = encode(call.name).decode()
    return f"{HEAD}{name}{MIDDLE}{arguments_of(where, call)}{TAIL}"


def _shown(call: ToolCall) -> str:
    """A call in few words, by which its result is known from those of others."""
    said = ", ".join(
        value if isinstance(value, str) else encode(value).decode()
        for value in call.arguments.values()
    )
    return f"{call.name}({said})" if len(said) <= _SHORT else call.name


def _schema_of(response_format: Mapping[str, Any] | None) -> Mapping[str, Any] | None:
    """The schema that an answer in words has to fit; None where any words will do."""
    kind = (response_format or EMPTY).get("type")
    if kind == "json_object":
        return {"type": "object"}
    if kind != "json_schema":
        return None
    named = (response_format or EMPTY).get("json_schema")
    schema = named.get("schema") if isinstance(named, Mapping) else None
    if not isinstance(schema, Mapping):
        return EMPTY
    found: Mapping[str, Any] = msgspec.to_builtins(schema, enc_hook=plain)
    return found
