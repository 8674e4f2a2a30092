"""What the practice server says: a few rules, no model, the same every time.

It knows a few answers by heart, remembers a name it was told in the conversation, picks the tools
whose names occur in the question, and fills schemas with the names and numbers of the text. That is
enough for an example to read as it would with a model, and too little to be taken for one.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

import attrs

Schema = Mapping[str, Any]


@attrs.frozen
class Call:
    """A tool that is to be run."""

    name: str
    arguments: Mapping[str, Any]
    id: str = ""


@attrs.frozen
class Turn:
    """A message, whatever format it came in.

    :ivar answers: the call that a ``tool`` turn answers.
    """

    role: str
    text: str = ""
    images: int = 0
    calls: tuple[Call, ...] = ()
    answers: str | None = None


@attrs.frozen
class Offered:
    """A tool that may be called."""

    name: str
    description: str = ""
    parameters: Schema = attrs.field(factory=dict)


@attrs.frozen
class Asked:
    """A request, whatever format it came in.

    :ivar choice: ``"auto"``, ``"none"``, ``"required"``, or the name of the tool to be called.
    :ivar schema: what the answer has to fit, or None for words.
    :ivar limit: how many words the answer may have.
    """

    turns: tuple[Turn, ...]
    tools: tuple[Offered, ...] = ()
    choice: str = "auto"
    schema: Schema | None = None
    limit: int | None = None


@attrs.frozen
class Said:
    """An answer: words, or calls.

    :ivar cut: there would have been more words.
    """

    text: str = ""
    calls: tuple[Call, ...] = ()
    cut: bool = False


def pieces(text: str) -> list[str]:
    """The words of a text, each with the space before it."""
    return re.findall(r"\s*\S+|\s+$", text)


def answer(asked: Asked) -> Said:
    """What is to be said to that."""
    said = _whole(asked)
    words = pieces(said.text)
    if asked.limit is None or len(words) <= asked.limit:
        return said
    return attrs.evolve(said, text="".join(words[: asked.limit]), cut=True)


def _whole(asked: Asked) -> Said:
    question = _question(asked.turns)
    since = asked.turns[asked.turns.index(question) + 1 :] if question else ()
    text = question.text if question else ""
    calls = _calls(text, since, asked)
    if calls:
        return Said(calls=tuple(calls))
    if asked.schema is not None:
        from msgspec import json

        return Said(json.encode(_Filling(text).value(asked.schema, asked.schema)).decode())
    results = [turn for turn in since if turn.role == "tool"]
    if results:
        made = {call.id: call for turn in since for call in turn.calls}
        return Said(" ".join(_report(turn, made) for turn in results))
    if question and question.images:
        many = "a picture" if question.images == 1 else f"{question.images} pictures"
        return Said(f"I was sent {many}, but the practice server has no eyes.")
    return Said(_words(text, asked.turns))


def _question(turns: Sequence[Turn]) -> Turn | None:
    asked = [turn for turn in turns if turn.role == "user"]
    return asked[-1] if asked else None


def _report(result: Turn, made: Mapping[str, Call]) -> str:
    call = made.get(result.answers or "")
    if call is None:
        return f"The tool says: {result.text}."
    arguments = ", ".join(f"{value}" for value in call.arguments.values())
    return f"{call.name}({arguments}) says: {result.text.rstrip('.')}."


# -- words -----------------------------------------------------------------------------------------

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


def _words(text: str, turns: Sequence[Turn]) -> str:
    lowered = text.lower()
    if "summar" in lowered:
        return "A summary: " + " / ".join(_gist(turns))
    facts = [found for turn in turns if turn.role == "system" for found in _FACT.findall(turn.text)]
    for key, value in facts:
        if key.lower() in lowered:
            return f"Your {key} is {value}."
    told = [found[1] for turn in turns for found in _NAME.finditer(turn.text)]
    if "what is my name" in lowered or "who am i" in lowered:
        return f"Your name is {told[-1]}." if told else "You have not told me your name."
    if found := _NAME.search(text):
        return f"Nice to meet you, {found[1]}."
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
"""A line of what a memory store adds to the system prompt."""
_NAME: Final = re.compile(r"\b(?:my name is|i am called)\s+(\w+)", re.IGNORECASE)


def _gist(turns: Sequence[Turn]) -> Iterator[str]:
    for turn in turns:
        if turn.role in ("user", "assistant") and turn.text:
            yield turn.text.splitlines()[0][:60]


# -- calls -----------------------------------------------------------------------------------------


def _calls(text: str, since: Sequence[Turn], asked: Asked) -> list[Call]:
    """The calls of this round. "Do this, then that" is two rounds."""
    if not asked.tools or asked.choice == "none":
        return []
    rounds = sum(1 for turn in since if turn.calls)
    parts = re.split(r"\bthen\b", text)
    if rounds >= len(parts):
        return []
    part = parts[rounds]
    known = " ".join(turn.text for turn in since if turn.role == "tool")
    chosen = [tool for tool in asked.tools if tool.name == asked.choice]
    chosen = chosen or [tool for tool in asked.tools if _named(tool, part)]
    if not chosen and asked.choice == "required":
        chosen = [asked.tools[0]]
    return [
        Call(tool.name, arguments) for tool in chosen for arguments in _arguments(tool, part, known)
    ]


def _named(tool: Offered, text: str) -> bool:
    """Whether a word of the tool's name is in the text."""
    said = {word[:5] for word in re.findall(r"[a-z]+", text.lower())}
    return any(word[:5] in said for word in tool.name.lower().split("_") if len(word) > 2)


def _arguments(tool: Offered, text: str, known: str) -> Iterator[dict[str, Any]]:
    """What to call a tool with: several times where it wants one name and there are several."""
    fields: Schema = tool.parameters.get("properties", {})
    wanted = [name for name in tool.parameters.get("required", fields) if name in fields]
    text = _without_first_word_of(tool, text)
    names = _names(text)
    texts = [name for name in wanted if _plain_text(fields[name])]
    if len(wanted) == len(texts) == 1 and len(names) > 1:
        for name in names:
            yield {wanted[0]: name}
        return
    filling = _Filling(text, known)
    yield {name: filling.value(fields[name], tool.parameters) for name in wanted}


def _without_first_word_of(tool: Offered, text: str) -> str:
    """Without a capital that is a verb: the "Reserve" of "Reserve a room", for ``reserve``."""
    first, space, rest = text.strip().partition(" ")
    return rest if space and first.lower() in tool.name.lower().split("_") else text


def _plain_text(schema: Schema) -> bool:
    return schema.get("type") == "string" and "enum" not in schema


# -- values ----------------------------------------------------------------------------------------

_COMMON: Final = """
a an and answer are ask book can compare convert extract find for from give how i in is it look my
no of on or please tell the then there this to what when where which who why write you your
"""
_NO_NAMES: Final = frozenset(_COMMON.split())


def _names(text: str) -> list[str]:
    """What begins with a capital and is no common word, in order, each once."""
    found = re.findall(r"\b[A-ZÄÖÜ][\w'-]*(?:\s[A-ZÄÖÜ][\w'-]*)*", text)
    kept = []
    for name in found:
        words = name.split()
        while words and words[0].lower() in _NO_NAMES:
            words = words[1:]
        kept.append(" ".join(words))
    return list(dict.fromkeys(name for name in kept if name))


def _numbers(text: str) -> list[float]:
    return [float(found.replace(",", "")) for found in re.findall(r"\d[\d,]*(?:\.\d+)?", text)]


class _Filling:
    """Fills schemas with what a text holds, each name and number once."""

    def __init__(self, text: str, known: str = "") -> None:
        self._text = text
        self._names = _names(text)
        self._numbers = _numbers(text) + _numbers(known)
        self._quoted = re.findall(r"[\"“]([^\"”]+)[\"”]", text)

    def value(self, schema: Schema, root: Schema) -> Any:
        """A value that fits."""
        if "$ref" in schema:
            found: Any = root
            for step in schema["$ref"].removeprefix("#/").split("/"):
                found = found[step]
            return self.value(found, root)
        if "const" in schema:
            return schema["const"]
        if "enum" in schema:
            return self._one_of(schema["enum"])
        for several in ("anyOf", "oneOf", "allOf"):
            if several in schema:
                real = [each for each in schema[several] if each.get("type") != "null"]
                return self.value(real[0], root) if real else None
        kind = schema.get("type")
        if isinstance(kind, list):
            kind = kind[0]
        match kind:
            case "object":
                fields = schema.get("properties", {})
                return {name: self.value(each, root) for name, each in fields.items()}
            case "array":
                return self._several(schema.get("items", {"type": "string"}), root)
            case "integer":
                return int(self._number(schema))
            case "number":
                return self._number(schema)
            case "boolean":
                return not re.search(r"\b(no|not|never)\b", self._text.lower())
            case "null":
                return None
        return self._string()

    def _one_of(self, values: Sequence[Any]) -> Any:
        said = self._text.lower()
        return next((each for each in values if str(each).lower() in said), values[0])

    def _several(self, items: Schema, root: Schema) -> list[Any]:
        if items.get("type") != "string" or "enum" in items:
            return [self.value(items, root)]
        found, self._names = self._names, []
        return list(found)

    def _number(self, schema: Schema) -> float:
        number = self._numbers.pop(0) if self._numbers else 1.0
        low, high = schema.get("minimum", number), schema.get("maximum", number)
        return float(min(max(number, low), high))

    def _string(self) -> str:
        for found in (self._quoted, self._names):
            if found:
                return found.pop(0)
        return self._text.strip(" .,?!") or "unknown"
