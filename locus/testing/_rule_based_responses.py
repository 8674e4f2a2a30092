"""Generates the practice server's responses by a few deterministic rules, without a model.

The rules answer a few fixed questions, remember a user's name, call the tools whose names occur in
the question, and fill JSON schemas with the names and numbers of the text. That is enough for an
example to read as it would with a model.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

import attrs

Schema = Mapping[str, Any]


@attrs.frozen
class PracticeToolCall:
    """A tool call of the assistant."""

    name: str
    arguments: Mapping[str, Any]
    id: str = ""


@attrs.frozen
class PracticeMessage:
    """A message, independent of the wire format.

    :ivar image_count: the number of images.
    :ivar tool_call_id: the call that a ``tool`` message is the result of.
    """

    role: str
    text: str = ""
    image_count: int = 0
    tool_calls: tuple[PracticeToolCall, ...] = ()
    tool_call_id: str | None = None


@attrs.frozen
class PracticeTool:
    """A tool of the request."""

    name: str
    description: str = ""
    parameters: Schema = attrs.field(factory=dict)


@attrs.frozen
class PracticeRequest:
    """A request, independent of the wire format.

    :ivar tool_choice: ``"auto"``, ``"none"``, ``"required"``, or the name of the tool to call.
    :ivar schema: the JSON schema of the response, or None for text.
    :ivar max_words: the greatest number of words in the response.
    """

    messages: tuple[PracticeMessage, ...]
    tools: tuple[PracticeTool, ...] = ()
    tool_choice: str = "auto"
    schema: Schema | None = None
    max_words: int | None = None


@attrs.frozen
class PracticeResponse:
    """A response: text, or tool calls.

    :ivar is_truncated: whether ``max_words`` cut the text.
    """

    text: str = ""
    tool_calls: tuple[PracticeToolCall, ...] = ()
    is_truncated: bool = False


def split_into_words(text: str) -> list[str]:
    """Split a text into words, each with the space before it."""
    return re.findall(r"\s*\S+|\s+$", text)


def generate_response(request: PracticeRequest) -> PracticeResponse:
    """Generate the response to a request."""
    response = _generate_complete_response(request)
    words = split_into_words(response.text)
    if request.max_words is None or len(words) <= request.max_words:
        return response
    return attrs.evolve(response, text="".join(words[: request.max_words]), is_truncated=True)


def _generate_complete_response(request: PracticeRequest) -> PracticeResponse:
    """Generate the response to a request, however long it is."""
    question = _find_last_user_message(request.messages)
    new_messages = request.messages[request.messages.index(question) + 1 :] if question else ()
    text = question.text if question else ""
    calls = _generate_tool_calls(text, new_messages, request)
    if calls:
        return PracticeResponse(tool_calls=tuple(calls))
    if request.schema is not None:
        from msgspec import json

        return PracticeResponse(
            json.encode(_SchemaFiller(text).make_value(request.schema, request.schema)).decode()
        )
    results = [message for message in new_messages if message.role == "tool"]
    if results:
        calls_by_id = {call.id: call for message in new_messages for call in message.tool_calls}
        return PracticeResponse(
            " ".join(_format_tool_result(message, calls_by_id) for message in results)
        )
    if question and question.image_count:
        count = "a picture" if question.image_count == 1 else f"{question.image_count} pictures"
        return PracticeResponse(f"I was sent {count}, but the practice server has no eyes.")
    return PracticeResponse(_generate_response_text(text, request.messages))


def _find_last_user_message(messages: Sequence[PracticeMessage]) -> PracticeMessage | None:
    """Return the last message of the user; None if there is none."""
    user_messages = [message for message in messages if message.role == "user"]
    return user_messages[-1] if user_messages else None


def _format_tool_result(
    result_message: PracticeMessage, calls_by_id: Mapping[str, PracticeToolCall]
) -> str:
    """Format a sentence with the result of a tool call."""
    call = calls_by_id.get(result_message.tool_call_id or "")
    if call is None:
        return f"The tool says: {result_message.text}."
    arguments = ", ".join(f"{value}" for value in call.arguments.values())
    return f"{call.name}({arguments}) says: {result_message.text.rstrip('.')}."


# -- text ------------------------------------------------------------------------------------------

_CAPITALS: Final = {
    "france": "Paris",
    "germany": "Berlin",
    "italy": "Rome",
    "japan": "Tokyo",
    "norway": "Oslo",
    "spain": "Madrid",
}
_STORY: Final = (
    "Once upon a time a cicada sang all summer long. In autumn the ants asked what it had put by "
    "for the winter. A thousand songs, it said, and every one of them is finished."
)
_SEA: Final = "The sea comes to the shore and asks. Before anyone can answer it has left again."
_SKY: Final = "Air scatters blue light more than red, so blue reaches us from every side."


def _generate_response_text(text: str, messages: Sequence[PracticeMessage]) -> str:
    """Generate the text that answers ``text``; ``messages`` are the conversation."""
    lowered = text.lower()
    if "summar" in lowered:
        return "A summary: " + " / ".join(_iter_summary_lines(messages))
    facts = [
        fact
        for message in messages
        if message.role == "system"
        for fact in _FACT.findall(message.text)
    ]
    for key, value in facts:
        if key.lower() in lowered:
            return f"Your {key} is {value}."
    names = [match[1] for message in messages for match in _NAME.finditer(message.text)]
    if "what is my name" in lowered or "who am i" in lowered:
        return f"Your name is {names[-1]}." if names else "You have not told me your name."
    if match := _NAME.search(text):
        return f"Nice to meet you, {match[1]}."
    for country, city in _CAPITALS.items():
        if country in lowered:
            return f"The capital of {country.capitalize()} is {city}."
    if "sky" in lowered:
        return _SKY
    if "the sea" in lowered:
        return _SEA
    if "story" in lowered:
        return _STORY
    if "colour" in lowered or "color" in lowered:
        return "Blue."
    if "hello" in lowered or re.search(r"\bhi\b", lowered):
        return "Hello! How can I help you?"
    return f"You said: {text!r}. The practice server has no better answer to that."


_FACT: Final = re.compile(r'^- "(.+?)": "?(.+?)"?$', re.MULTILINE)
"""A line that a memory store adds to the system prompt."""
_NAME: Final = re.compile(r"\b(?:my name is|i am called)\s+(\w+)", re.IGNORECASE)


def _iter_summary_lines(messages: Sequence[PracticeMessage]) -> Iterator[str]:
    """Yield the first line of each message of the user and the assistant."""
    for message in messages:
        if message.role in ("user", "assistant") and message.text:
            yield message.text.splitlines()[0][:60]


# -- calls -----------------------------------------------------------------------------------------


def _generate_tool_calls(
    text: str, new_messages: Sequence[PracticeMessage], request: PracticeRequest
) -> list[PracticeToolCall]:
    """Generate the tool calls of this round. "Do this, then that" makes two rounds."""
    if not request.tools or request.tool_choice == "none":
        return []
    rounds = sum(1 for message in new_messages if message.tool_calls)
    parts = re.split(r"\bthen\b", text)
    if rounds >= len(parts):
        return []
    part = parts[rounds]
    results = " ".join(message.text for message in new_messages if message.role == "tool")
    chosen = [tool for tool in request.tools if tool.name == request.tool_choice]
    chosen = chosen or [tool for tool in request.tools if _is_tool_mentioned(tool, part)]
    if not chosen and request.tool_choice == "required":
        chosen = [request.tools[0]]
    return [
        PracticeToolCall(tool.name, arguments)
        for tool in chosen
        for arguments in _iter_call_arguments(tool, part, results)
    ]


def _is_tool_mentioned(tool: PracticeTool, text: str) -> bool:
    """Return whether a word of the tool's name is in the text."""
    text_words = {word[:5] for word in re.findall(r"[a-z]+", text.lower())}
    return any(word[:5] in text_words for word in tool.name.lower().split("_") if len(word) > 2)


def _iter_call_arguments(tool: PracticeTool, text: str, results: str) -> Iterator[dict[str, Any]]:
    """Yield the arguments of each call: one call per name, if the tool takes only one text."""
    fields: Schema = tool.parameters.get("properties", {})
    required = [name for name in tool.parameters.get("required", fields) if name in fields]
    text = _remove_tool_verb(tool, text)
    names = _extract_proper_names(text)
    text_fields = [name for name in required if _is_free_text_schema(fields[name])]
    if len(required) == len(text_fields) == 1 and len(names) > 1:
        for name in names:
            yield {required[0]: name}
        return
    filler = _SchemaFiller(text, results)
    yield {name: filler.make_value(fields[name], tool.parameters) for name in required}


def _remove_tool_verb(tool: PracticeTool, text: str) -> str:
    """Remove a first word that is the tool's verb, such as "Reserve" in "Reserve a room"."""
    first, space, rest = text.strip().partition(" ")
    return rest if space and first.lower() in tool.name.lower().split("_") else text


def _is_free_text_schema(schema: Schema) -> bool:
    return schema.get("type") == "string" and "enum" not in schema


# -- values ----------------------------------------------------------------------------------------

_COMMON_WORDS: Final = """
a an and answer are ask book can compare convert extract find for from give how i in is it look my
no of on or please tell the then there this to what when where which who why write you your
"""
_NOT_NAMES: Final = frozenset(_COMMON_WORDS.split())


def _extract_proper_names(text: str) -> list[str]:
    """Return the different capitalized words that are not common words, in order."""
    candidates = re.findall(r"\b[A-ZÄÖÜ][\w'-]*(?:\s[A-ZÄÖÜ][\w'-]*)*", text)
    names = []
    for name in candidates:
        words = name.split()
        while words and words[0].lower() in _NOT_NAMES:
            words = words[1:]
        names.append(" ".join(words))
    return list(dict.fromkeys(name for name in names if name))


def _extract_numbers(text: str) -> list[float]:
    return [float(number.replace(",", "")) for number in re.findall(r"\d[\d,]*(?:\.\d+)?", text)]


class _SchemaFiller:
    """Fills JSON schemas with the names and numbers of a text; uses each of them once."""

    def __init__(self, text: str, results: str = "") -> None:
        self._text = text
        self._names = _extract_proper_names(text)
        self._numbers = _extract_numbers(text) + _extract_numbers(results)
        self._quoted = re.findall(r"[\"“]([^\"”]+)[\"”]", text)

    def make_value(self, schema: Schema, root: Schema) -> Any:
        """Make a value that fits the schema."""
        if "$ref" in schema:
            target: Any = root
            for step in schema["$ref"].removeprefix("#/").split("/"):
                target = target[step]
            return self.make_value(target, root)
        if "const" in schema:
            return schema["const"]
        if "enum" in schema:
            return self._choose_enum_value(schema["enum"])
        for keyword in ("anyOf", "oneOf", "allOf"):
            if keyword in schema:
                options = [option for option in schema[keyword] if option.get("type") != "null"]
                return self.make_value(options[0], root) if options else None
        json_type = schema.get("type")
        if isinstance(json_type, list):
            json_type = json_type[0]
        match json_type:
            case "object":
                fields = schema.get("properties", {})
                return {name: self.make_value(field, root) for name, field in fields.items()}
            case "array":
                return self._make_array(schema.get("items", {"type": "string"}), root)
            case "integer":
                return int(self._make_number(schema))
            case "number":
                return self._make_number(schema)
            case "boolean":
                return not re.search(r"\b(no|not|never)\b", self._text.lower())
            case "null":
                return None
        return self._make_string()

    def _choose_enum_value(self, values: Sequence[Any]) -> Any:
        text = self._text.lower()
        return next((value for value in values if str(value).lower() in text), values[0])

    def _make_array(self, items: Schema, root: Schema) -> list[Any]:
        if items.get("type") != "string" or "enum" in items:
            return [self.make_value(items, root)]
        names, self._names = self._names, []
        return list(names)

    def _make_number(self, schema: Schema) -> float:
        number = self._numbers.pop(0) if self._numbers else 1.0
        low, high = schema.get("minimum", number), schema.get("maximum", number)
        return float(min(max(number, low), high))

    def _make_string(self) -> str:
        for candidates in (self._quoted, self._names):
            if candidates:
                return candidates.pop(0)
        return self._text.strip(" .,?!") or "unknown"
