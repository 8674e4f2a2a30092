"""What every wire format has to carry: conversations, tools, options, answers and byte splits.

One set of strategies for all formats. :func:`conversations` gives what any provider could accept;
:func:`answers` gives an answer as plain values, for each format's tests to put into its own JSON.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from functools import cache
from typing import Any

import attrs
from hypothesis import strategies as st

from locus.core.events import (
    GroundingEvent,
    ModelChunkEvent,
    ReflectEvent,
    TerminateEvent,
    ThinkEvent,
    ToolCompleteEvent,
    ToolStartEvent,
)
from locus.core.messages import (
    ImagePart,
    Message,
    RefusalPart,
    TextPart,
    ThinkingPart,
    ToolCall,
    ToolResult,
)
from locus.core.response import Candidate, ModelResponse

# Text. What breaks readers of lines, of bytes and of JSON: separators that only Unicode knows,
# characters of two to four bytes, combining ones, controls, and JSON's own.

ODD = (
    "\u2028\u2029\x85\x0b\x0c\x1c\x1d\x1e",  # line ends for str.splitlines, not for SSE or JSON
    "é€𝄞👩\u200d👩\u200d👧🏽",
    "e\u0301\u0327ä\ufeff\u200b\u202e",
    "\x01\x1b\x7f\t\r\n\r\n\n\n",
    "\"\\/{}[]:,'data: [DONE]\n\ndata:",
)


@cache
def texts(min_size: int = 0, max_size: int = 30) -> st.SearchStrategy[str]:
    """Text that UTF-8 can carry, without NUL."""
    characters = st.characters(exclude_categories=["Cs"], exclude_characters="\x00")
    odd = st.sampled_from("".join(ODD))
    return st.text(odd | characters, min_size=min_size, max_size=max_size)


@cache
def halves() -> st.SearchStrategy[str]:
    """Text with half a surrogate pair in it, which UTF-8 cannot carry."""
    return st.builds(
        lambda before, half, after: before + half + after,
        texts(max_size=5),
        st.characters(categories=["Cs"]),
        texts(max_size=5),
    )


@cache
def names(max_size: int = 20) -> st.SearchStrategy[str]:
    """Names of tools, as every provider takes them."""
    return st.from_regex(rf"\A[a-zA-Z_][a-zA-Z0-9_-]{{0,{max_size - 1}}}\Z")


@cache
def json_values(max_leaves: int = 8) -> st.SearchStrategy[Any]:
    """What JSON can say and any reader gives back equal."""
    leaves = (
        st.none()
        | st.booleans()
        | st.integers(-(2**53), 2**53)
        | st.floats(allow_nan=False, allow_infinity=False, width=32)
        | texts(max_size=10)
    )
    return st.recursive(
        leaves,
        lambda inner: (
            st.lists(inner, max_size=3) | st.dictionaries(texts(max_size=8), inner, max_size=3)
        ),
        max_leaves=max_leaves,
    )


@cache
def json_objects() -> st.SearchStrategy[dict[str, Any]]:
    """JSON objects."""
    return st.dictionaries(texts(max_size=8), json_values(), max_size=3)


# Tools and options.


_PROPERTY = st.recursive(
    st.sampled_from(
        [
            {"type": "string"},
            {"type": "string", "enum": ["a", "b\u2028"]},
            {"type": "integer", "minimum": 0},
            {"type": "number"},
            {"type": "boolean"},
            {"type": ["string", "null"], "default": None},
            {"anyOf": [{"type": "integer"}, {"type": "null"}]},
            {"$ref": "#/$defs/Point"},
        ]
    ),
    lambda inner: (
        st.builds(lambda items: {"type": "array", "items": items}, inner)
        | st.builds(
            lambda properties: {"type": "object", "properties": properties},
            st.dictionaries(names(), inner, max_size=2),
        )
    ),
    max_leaves=3,
)
_DESCRIBED = st.builds(
    lambda schema, text: schema if text is None else schema | {"description": text},
    _PROPERTY,
    st.none() | texts(),
)
_PROPERTIES = st.dictionaries(names(), _DESCRIBED, max_size=3)


@st.composite
def schemas(draw: st.DrawFn) -> dict[str, Any]:
    """JSON Schemas of a tool's parameters."""
    properties = draw(_PROPERTIES)
    schema: dict[str, Any] = {"type": "object", "properties": properties}
    if properties:
        schema["required"] = sorted(properties)[: draw(st.integers(0, 3))]
    if draw(st.booleans()):
        schema["additionalProperties"] = False
    if "$ref" in json.dumps(properties):
        schema["$defs"] = {"Point": {"type": "object", "properties": {"x": {"type": "number"}}}}
    return schema


@st.composite
def _tool(draw: st.DrawFn, name: str) -> dict[str, Any]:
    function: dict[str, Any] = {"name": name, "parameters": draw(schemas())}
    if draw(st.booleans()):
        function["description"] = draw(texts())
    if draw(st.booleans()):
        function["strict"] = draw(st.booleans())
    return {"type": "function", "function": function}


@st.composite
def tools(draw: st.DrawFn, min_size: int = 0) -> list[dict[str, Any]]:
    """Tools in OpenAI's format, each with its own name."""
    found = draw(st.lists(names(), min_size=min_size, max_size=3, unique=True))
    return [draw(_tool(name)) for name in found]


@st.composite
def options(draw: st.DrawFn, tools: Sequence[Mapping[str, Any]] = ()) -> dict[str, Any]:
    """Keywords of a call, without ``model`` and those of the transport."""
    chosen: dict[str, st.SearchStrategy[Any]] = {
        "max_tokens": st.integers(1, 100_000),
        "temperature": st.floats(0, 2),
        "top_p": st.floats(0.01, 1),
        "stop": st.lists(texts(min_size=1, max_size=8), min_size=1, max_size=4),
        "seed": st.integers(-(2**31), 2**31),
        "frequency_penalty": st.floats(-2, 2),
        "presence_penalty": st.floats(-2, 2),
        "response_format": st.sampled_from([{"type": "json_object"}, {"type": "text"}])
        | st.builds(
            lambda name, schema: {
                "type": "json_schema",
                "json_schema": {"name": name, "schema": schema, "strict": True},
            },
            names(),
            schemas(),
        ),
    }
    if tools:
        chosen["tool_choice"] = st.sampled_from(
            ["auto", "none", "required", *(tool["function"]["name"] for tool in tools)]
        )
        chosen["parallel_tool_calls"] = st.booleans()
    return draw(st.fixed_dictionaries({}, optional=chosen))


# Conversations.


@cache
def arguments() -> st.SearchStrategy[dict[str, Any]]:
    """Arguments of a tool call."""
    return json_objects()


@cache
def malformed() -> st.SearchStrategy[str]:
    """What a model writes where it should have written a JSON object."""
    return st.sampled_from(
        [
            "",
            " ",
            "null",
            "[]",
            "3",
            '"x"',
            "{",
            '{"a": ',
            "{'a': 1}",
            '{"a": NaN}',
            "{}{}",
            "ls -l",
        ]
    ) | texts(max_size=10).filter(lambda text: not _is_object(text))


def _is_object(text: str) -> bool:
    try:
        return isinstance(json.loads(text), dict)
    except ValueError:
        return False


@cache
def tool_calls() -> st.SearchStrategy[ToolCall]:
    """Tool calls; one in a few with malformed arguments."""
    well = st.builds(ToolCall, id=call_ids(), name=names(), arguments=arguments())
    ill = st.builds(ToolCall, id=call_ids(), name=names(), malformed_arguments=malformed())
    return st.one_of(well, well, well, ill)


@cache
def call_ids() -> st.SearchStrategy[str]:
    """Ids of tool calls, as providers make them."""
    return st.from_regex(r"\A(call_|toolu_|chatcmpl-tool-)?[a-zA-Z0-9_-]{1,24}\Z")


@cache
def images() -> st.SearchStrategy[ImagePart]:
    """Images, by address and as bytes."""
    details = st.none() | st.sampled_from(["low", "high", "auto"])
    kinds = st.sampled_from(["image/png", "image/jpeg", "image/webp", "image/gif"])
    by_url = st.builds(
        ImagePart,
        url=st.sampled_from(["https://example.com/a.png?x=1&y=é", "https://example.com/b"]),
        detail=details,
    )
    by_data = st.builds(ImagePart, data=st.binary(max_size=20), media_type=kinds, detail=details)
    return by_url | by_data


@cache
def user_messages(with_images: bool = True) -> st.SearchStrategy[Message]:
    """What users say."""
    parts = st.builds(TextPart, texts())
    content = texts(min_size=1) | st.lists(parts, min_size=1, max_size=3)
    if with_images:
        content |= st.lists(parts | images(), min_size=1, max_size=4)
    return st.builds(Message.user, content, name=st.none() | names(), metadata=json_objects())


@cache
def system_messages() -> st.SearchStrategy[Message]:
    """Instructions."""
    return st.builds(Message.system, texts(min_size=1), name=st.none() | names())


_THINKING = st.lists(
    st.builds(ThinkingPart, text=texts(min_size=1), signature=call_ids())
    | st.builds(ThinkingPart, redacted=call_ids()),
    min_size=1,
    max_size=2,
)


@st.composite
def assistant_messages(draw: st.DrawFn, calls: Sequence[ToolCall] = ()) -> Message:
    """What models answer: text, a refusal, thinking to be seen again, the given calls."""
    text = draw(texts(min_size=1) | st.none() if calls else texts(min_size=1))
    before: list[Any] = []
    after: list[Any] = []
    if draw(st.integers(0, 7)) == 7:
        after.append(RefusalPart(draw(texts(min_size=1))))
    if draw(st.integers(0, 7)) == 7:
        before += draw(_THINKING)
    name = draw(st.none() | names())
    if not (before or after):
        return Message.assistant(text, calls, name=name)
    return Message.assistant([*before, *([text] if text else []), *after], calls, name=name)


@cache
def tool_results() -> st.SearchStrategy[ToolResult]:
    """What a tool gave, or why it failed."""
    return st.builds(
        ToolResult,
        tool_call_id=call_ids(),
        name=names(),
        content=texts(),
        error=st.none() | texts(min_size=1),
        duration_ms=st.none() | st.floats(0, 1e6),
    )


@st.composite
def conversations(
    draw: st.DrawFn, with_images: bool = True, max_rounds: int = 3
) -> tuple[Message, ...]:
    """Conversations that every provider has a way to accept.

    System messages anywhere, parallel calls, every call with its result (in any order, some
    failed), images by address and as bytes, refusals.
    """
    turns: list[Message] = []
    used = 0

    def perhaps_system() -> None:
        if draw(st.integers(0, 3)) == 3:
            turns.append(draw(system_messages()))

    perhaps_system()
    for _ in range(draw(st.integers(1, max_rounds))):
        turns.append(draw(user_messages(with_images)))
        perhaps_system()
        for _ in range(draw(st.integers(0, 2))):
            calls = []
            for _ in range(draw(st.integers(1, 3))):
                used += 1
                calls.append(attrs.evolve(draw(tool_calls()), id=f"call_{used}"))
            turns.append(draw(assistant_messages(calls)))
            for call in draw(st.permutations(calls)):
                result = draw(tool_results())
                result = attrs.evolve(result, tool_call_id=call.id, name=call.name)
                turns.append(Message.tool(result))
            perhaps_system()
        if draw(st.booleans()):
            turns.append(draw(assistant_messages()))
    if turns[-1].role == "assistant":
        turns.append(draw(user_messages(with_images)))
    return tuple(turns)


# Answers.


@attrs.frozen
class SaidCall:
    """A tool call as a server sends it: ``text`` is the arguments, or a custom tool's input."""

    id: str
    name: str
    text: str
    custom: bool = False


@attrs.frozen
class Said:
    """An answer in plain values; each format's tests turn it into that format's JSON."""

    text: str | None = None
    reasoning: str | None = None
    refusal: str | None = None
    calls: tuple[SaidCall, ...] = ()
    stop: str = "stop"
    logprobs: Any = None
    annotations: tuple[Any, ...] = ()


@attrs.frozen
class Answered:
    """Said by whom, at what cost; several ``candidates`` where more than one was asked for."""

    candidates: tuple[Said, ...]
    id: str = "answer-1"
    model: str = "some-model"
    prompt_tokens: int | None = None
    completion_tokens: int | None = None
    cached_tokens: int | None = None
    reasoning_tokens: int | None = None

    @property
    def first(self) -> Said:
        return self.candidates[0]

    @property
    def usage(self) -> dict[str, int]:
        """The counts under Locus's names."""
        names = ("prompt_tokens", "completion_tokens", "cached_tokens", "reasoning_tokens")
        return {name: getattr(self, name) for name in names if getattr(self, name) is not None}


_WRITTEN = st.builds(
    lambda value, marks, ascii_: json.dumps(value, separators=marks, ensure_ascii=ascii_),
    arguments(),
    st.sampled_from([(",", ":"), (", ", ": ")]),
    st.booleans(),
)


@st.composite
def said(draw: st.DrawFn, custom: bool = False, legible: bool = True) -> Said:
    """One answer. ``custom`` allows free-text tools; ``legible`` leaves out malformed arguments."""
    calls = []
    for position in range(draw(st.integers(0, 3))):
        free = custom and draw(st.booleans())
        ill = not legible and draw(st.integers(0, 3)) == 3
        text = draw(texts() if free else malformed() if ill else _WRITTEN)
        calls.append(SaidCall(f"call_{position}", draw(names()), text, free))
    return Said(
        text=draw(st.none() | texts()) if calls else draw(texts()),
        reasoning=draw(st.none() | texts(min_size=1)),
        refusal=draw(st.none() | st.none() | texts(min_size=1)),
        calls=tuple(calls),
        stop="tool_calls" if calls else draw(st.sampled_from(["stop", "length"])),
    )


@st.composite
def answers(
    draw: st.DrawFn, max_candidates: int = 1, custom: bool = False, legible: bool = True
) -> Answered:
    """Whole answers."""
    counts = st.integers(0, 2**31)
    candidates = st.lists(said(custom, legible), min_size=1, max_size=max_candidates)
    counted = draw(st.booleans())
    return Answered(
        candidates=tuple(draw(candidates)),
        id=draw(call_ids()),
        model=draw(st.sampled_from(["gpt-4o", "claude-sonnet-4", "qwen3:8b", "modèle\u2028"])),
        prompt_tokens=draw(counts) if counted else None,
        completion_tokens=draw(counts) if counted else None,
        cached_tokens=draw(st.none() | counts) if counted else None,
        reasoning_tokens=draw(st.none() | counts) if counted else None,
    )


# Bytes.


@st.composite
def splits(draw: st.DrawFn, data: bytes) -> list[bytes]:
    """``data`` cut anywhere, at times into single bytes; empty reads among them."""
    way = draw(st.sampled_from(["one", "bytes", "few", "even"]))
    if way == "one" or not data:
        return [data]
    if way == "bytes":
        return [data[at : at + 1] for at in range(len(data))]
    if way == "even":
        size = draw(st.integers(1, 64))
        return [data[at : at + size] for at in range(0, len(data), size)]
    cuts = sorted(draw(st.lists(st.integers(0, len(data)), max_size=12)))
    return [data[a:b] for a, b in zip([0, *cuts], [*cuts, len(data)], strict=True)]


@st.composite
def pieces(draw: st.DrawFn, text: str) -> list[str]:
    """``text`` as the fragments of a stream; at times an empty one among them."""
    cuts = sorted(draw(st.lists(st.integers(0, len(text)), max_size=4)))
    return [text[a:b] for a, b in zip([0, *cuts], [*cuts, len(text)], strict=True)]


# Locus's own values, for what has to keep them whole.


@cache
def messages() -> st.SearchStrategy[Message]:
    """Single messages of every role."""
    return conversations().flatmap(st.sampled_from)


@cache
def responses() -> st.SearchStrategy[ModelResponse]:
    """Answers as Locus gives them."""
    usage = st.dictionaries(
        st.sampled_from(["prompt_tokens", "completion_tokens", "cached_tokens"]),
        st.integers(0, 2**40),
    )
    words = st.none() | texts()
    message = st.lists(tool_calls(), max_size=2).flatmap(assistant_messages)
    candidate = st.builds(Candidate, message, words, words, st.none() | json_objects())
    return st.builds(
        ModelResponse,
        message,
        usage,
        stop_reason=words,
        provider_state=st.none() | json_objects(),
        reasoning=words,
        model=words,
        response_id=words,
        logprobs=st.none() | json_objects(),
        candidates=st.just(()) | st.lists(candidate, min_size=2, max_size=2).map(tuple),
    )


@cache
def events() -> st.SearchStrategy[Any]:
    """Every event of ``locus.core.events``."""
    words = st.none() | texts()
    numbers = st.floats(0, 1) | st.integers(0, 1)
    calls = st.lists(tool_calls(), max_size=2).map(tuple)
    counts = st.dictionaries(texts(max_size=5), st.integers(), max_size=2)
    return st.one_of(
        st.builds(
            ModelChunkEvent,
            content=words,
            reasoning=words,
            tool_calls=calls,
            done=st.booleans(),
            usage=st.none() | counts,
            stop_reason=words,
            provider_state=st.none() | json_objects(),
            response=st.none() | responses(),
        ),
        st.builds(ThinkEvent, st.integers(), words, calls),
        st.builds(ToolStartEvent, texts(), texts(), arguments()),
        st.builds(ToolCompleteEvent, texts(), texts(), words, words, st.none() | numbers),
        st.builds(ReflectEvent, st.integers(), texts(), numbers, words),
        st.builds(GroundingEvent, numbers, st.lists(json_objects(), max_size=2), words),
        st.builds(TerminateEvent, texts(), st.integers(), st.integers(), words, counts),
    )
