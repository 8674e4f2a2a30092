"""A conversation with tools as one that is made of text alone, and the grammar of its answer."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any, Final

import attrs

from locus.core.conversation import Messages, Place, conversation, in_order
from locus.core.errors import ConfigurationError
from locus.core.frozendict import EMPTY
from locus.core.messages import Content, Message, Part, Role, TextPart, ToolCall
from locus.core.options import CallOptions
from locus.core.tools import Tool, tool_schemas
from locus.wire.chat_completions.request import arguments_of, tool_choice_of

OPEN: Final = "<tool_call>"
CLOSE: Final = "</tool_call>"

_TOLD: Final = """You have these tools:
{tools}

To call one, answer with nothing but
<tool_call>
{{"name": "the tool", "arguments": {{...}}}}
</tool_call>
Otherwise answer in {form}."""

_GO_ON: Final = "If you need no other tool, answer my question in {form}."
_ANSWER: Final = "Answer my question in {form}."

_WORDS: Final = f"TEXT\nTEXT: /(.|\\n)*/ & ~/(.|\\n)*{OPEN}(.|\\n)*/"
"""An answer in words: any text that holds no call."""

_SHORT: Final = 200
"""How many characters of arguments are repeated with their result."""

_JSON_STYLE: Final = {
    # Small models would fill the page with white space where any is allowed.
    "whitespace_flexible": False,
    "item_separator": ", ",
    "key_separator": ": ",
    # What the grammar cannot hold the model to, whoever runs the tool will check.
    "lenient": True,
}


def in_words(
    messages: Messages,
    tools: Sequence[Tool] | None,
    options: Mapping[str, Any],
    *,
    system_role: bool = True,
) -> tuple[list[Message], dict[str, Any]]:
    """A call with tools as one without: what to send in place of ``messages`` and ``options``.

    An answer holds one call, unless ``parallel_tool_calls`` is True: small models find no end.

    :param options: the fields of :class:`~locus.core.options.CallOptions`. The grammar goes into
        ``extra_body``, where the caller's own wins.
    :param system_role: whether the model takes system messages; if not, the user tells it.
    :raises ConfigurationError: a tool is no function, or ``tool_choice`` is none of them.
    """
    said = CallOptions(**options)
    functions = _offered(tool_schemas(tools), said.tool_choice)
    form = "words" if _schema_of(said.response_format) is None else "JSON"
    then = (_GO_ON if functions else _ANSWER).format(form=form)
    told = _without_calls(conversation(messages), then)
    rest: dict[str, Any] = {**options, "tool_choice": None, "parallel_tool_calls": None}
    if not functions:
        return told, rest
    listed = "\n".join(json.dumps(_plain(function)) for function in functions)
    told = _with_instructions(told, _TOLD.format(tools=listed, form=form), system_role)
    rest["response_format"] = None  # the grammar holds it
    rest["extra_body"] = {"grammar": grammar(functions, said), **(said.extra_body or EMPTY)}
    return told, rest


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
    """The functions that the model may call."""
    functions = []
    for position, schema in enumerate(schemas):
        function = schema.get("function")
        if not isinstance(function, Mapping):
            raise ConfigurationError(
                f"tools[{position}] is of type {schema.get('type')!r}; the model is told of its "
                "tools in words, which goes for functions only"
            )
        functions.append(function)
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
    written = [
        _written(f"messages[{position}].tool_calls[{at}]", call)
        for at, call in enumerate(message.tool_calls)
    ]
    text = "\n".join([message.text, *written] if message.text else written)
    return attrs.evolve(message, content=text, tool_calls=())


def _behind(text: str, content: Content) -> str | tuple[Part, ...]:
    if content is None or isinstance(content, str):
        return text + (content or "")
    return (TextPart(text), *content)


def _written(where: str, call: ToolCall) -> str:
    """A call as the model itself would have written it."""
    name = json.dumps(call.name, ensure_ascii=False)
    return f'{OPEN}\n{{"name": {name}, "arguments": {arguments_of(where, call)}}}\n{CLOSE}'


def _shown(call: ToolCall) -> str:
    """A call in few words, by which its result is known from those of others."""
    said = ", ".join(
        value if isinstance(value, str) else json.dumps(_plain(value), default=str)
        for value in call.arguments.values()
    )
    return f"{call.name}({said})" if len(said) <= _SHORT else call.name


def grammar(functions: Sequence[Mapping[str, Any]], said: CallOptions) -> str:
    """What an answer may be: a call of one of ``functions``, or the answer itself."""
    calls = 'call ("\\n" call)*' if said.parallel_tool_calls else "call"
    named = [f"call_{at}" for at in range(len(functions))]
    rules = ["%llguidance {}", f'call: "{OPEN}\\n" ({" | ".join(named)}) "\\n{CLOSE}"']
    for name, function in zip(named, functions, strict=True):
        head = f'{{"name": {json.dumps(function["name"])}, "arguments": '
        rules.append(f'{name}: {json.dumps(head)} {_json(function.get("parameters"))} "}}"')
    if said.tool_choice in (None, "auto"):
        schema = _schema_of(said.response_format)
        rules += [
            f"start: {calls} | words",
            f"words: {_WORDS if schema is None else _json(schema)}",
        ]
    else:
        rules.append(f"start: {calls}")
    return "\n".join(rules)


def _schema_of(response_format: Mapping[str, Any] | None) -> Mapping[str, Any] | None:
    """The schema that an answer in words has to fit; None where any words will do."""
    kind = (response_format or EMPTY).get("type")
    if kind == "json_object":
        return {"type": "object"}
    if kind != "json_schema":
        return None
    named = (response_format or EMPTY).get("json_schema")
    schema = named.get("schema") if isinstance(named, Mapping) else None
    return schema if isinstance(schema, Mapping) else {}


def _json(schema: Mapping[str, Any] | None) -> str:
    held = {"type": "object"} if schema is None else _plain(schema)
    return f"%json {json.dumps({**held, 'x-guidance': _JSON_STYLE})}"


def _plain(value: Any) -> Any:
    """Frozen mappings and tuples as what ``json`` writes."""
    if isinstance(value, Mapping):
        return {name: _plain(held) for name, held in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(held) for held in value]
    return value
