"""Answers as Ollama's JSON, whole and in lines, and what Locus has to make of them."""

from __future__ import annotations

import json
from typing import Any

import attrs
from hypothesis import strategies as st

from locus.core.messages import Message, TextPart, ThinkingPart
from locus.core.response import ModelResponse
from locus.wire.ollama_chat import OllamaChatParser
from tests.support.decoding import Reading
from tests.support.strategies import Answered, Said, SaidCall, answers, pieces
from tests.support.wire_json.chat_json import call_of

CREATED = "2025-10-01T12:00:00.123456789Z"
"""When an answer was complete. Each piece of a stream has a time of its own."""


# What Locus has to make of an answer, written down a second time.


@st.composite
def sayable(draw: st.DrawFn, legible: bool = True) -> Answered:
    """Answers that this format can say: no refusals, and no more than two counts of tokens."""
    answered = draw(answers(legible=legible))
    said = attrs.evolve(answered.first, refusal=None)
    return attrs.evolve(answered, candidates=(said,), cached_tokens=None, reasoning_tokens=None)


def expected(answered: Answered) -> ModelResponse:
    """The value that an answer has to be read as."""
    said = answered.first
    content: Any = said.text or (None if said.calls else "")
    if said.reasoning:
        content = [ThinkingPart(said.reasoning), *([TextPart(said.text)] if said.text else [])]
    return ModelResponse(
        message=Message.assistant(content, [call_of(call) for call in said.calls]),
        usage=answered.usage,
        stop_reason=said.stop,
        reasoning=said.reasoning,
        model=answered.model,
        logprobs=said.logprobs,
    )


# Whole answers.


def whole(answered: Answered, ids: bool = True, as_text: bool = False) -> dict[str, Any]:
    """The body of a whole answer, as Ollama sends it.

    :param ids: whether calls have some, as those of newer servers.
    :param as_text: whether arguments are JSON text and no object.
    """
    said = answered.first
    return _last(answered) | {"message": _message(said, ids, as_text)}


def _message(said: Said, ids: bool, as_text: bool) -> dict[str, Any]:
    message: dict[str, Any] = {"role": "assistant", "content": said.text or ""}
    if said.reasoning is not None:
        message["thinking"] = said.reasoning
    if said.calls:
        message["tool_calls"] = [_call(call, ids, as_text) for call in said.calls]
    return message


def _call(call: SaidCall, ids: bool, as_text: bool) -> dict[str, Any]:
    well = call_of(call).malformed_arguments is None
    arguments: Any = json.loads(call.text) if well and not as_text else call.text
    return ({"id": call.id} if ids else {}) | {
        "function": {"name": call.name, "arguments": arguments}
    }


def _last(answered: Answered) -> dict[str, Any]:
    found: dict[str, Any] = {
        "model": answered.model,
        "created_at": CREATED,
        "message": {"role": "assistant", "content": ""},
        "done": True,
        "done_reason": answered.first.stop,
        "total_duration": 5_043_500_667,
        "load_duration": 5_025_959,
    }
    if answered.prompt_tokens is not None:
        found |= {"prompt_eval_count": answered.prompt_tokens, "prompt_eval_duration": 325_953_000}
    if answered.completion_tokens is not None:
        found |= {"eval_count": answered.completion_tokens, "eval_duration": 4_709_213_000}
    return found


# Answers in pieces.


@st.composite
def chunks(
    draw: st.DrawFn,
    answered: Answered,
    ids: bool = True,
    as_text: bool = False,
    plain: bool = False,
) -> list[dict[str, Any]]:
    """The pieces of a streamed answer: text, thinking and calls cut anywhere and interleaved.

    ``plain`` leaves out pieces that say nothing.
    """
    said = answered.first
    message = _message(said, ids, as_text)
    queues: list[list[dict[str, Any]]] = [
        [{name: piece} for piece in draw(pieces(message[name]))]
        for name in ("content", "thinking")
        if message.get(name)
    ]
    calls = message.get("tool_calls", [])
    cut = sorted(draw(st.lists(st.integers(0, len(calls)), max_size=2))) if calls else []
    groups = [calls[a:b] for a, b in zip([0, *cut], [*cut, len(calls)], strict=True)]
    queues.append([{"tool_calls": group} for group in groups if group])
    mixed: list[dict[str, Any]] = []
    while queues := [queue for queue in queues if queue]:
        piece = queues[draw(st.integers(0, len(queues) - 1))].pop(0)
        mixed.append({"role": "assistant", "content": ""} | piece)
    last = _last(answered)
    if mixed and draw(st.booleans()):  # the last words may come with the end
        last["message"] = mixed.pop()
    found = [
        {"model": answered.model, "created_at": f"2025-10-01T12:00:00.{at:09}Z", "message": said}
        | draw(st.sampled_from([{"done": False}, {}]))
        for at, said in enumerate(mixed)
    ]
    for _ in range(0 if plain else draw(st.integers(0, 2))):
        found.insert(draw(st.integers(0, len(found))), draw(st.sampled_from(NOISE)))
    return [*found, last]


# Pieces that say nothing.
NOISE: tuple[dict[str, Any], ...] = (
    {},
    {"done": False},
    {"message": None, "done": None, "error": None},
    {"message": {"role": "assistant", "content": ""}},
    {"message": {"content": None, "thinking": None, "tool_calls": None}, "logprobs": None},
    {"model": "", "message": {"tool_calls": []}},
    {"future": {"member": [1]}},
)


# Bytes.


@st.composite
def framed(draw: st.DrawFn, found: list[dict[str, Any]], plain: bool = False) -> bytes:
    """Pieces as lines, with whatever line ends and blank lines there may be.

    ``plain`` is what the package can read: no blank lines, and nothing in a string that Unicode
    takes for a line end.
    """
    end = draw(st.sampled_from(["\n", "\n", "\r\n"]))
    ascii_ = plain or draw(st.booleans())
    blank = st.just("") if plain else st.sampled_from(["", "", "", end, " " + end])
    lines = [draw(blank) + json.dumps(chunk, ensure_ascii=ascii_) + end for chunk in found]
    text = "".join(lines)
    return (text.removesuffix(end) if draw(st.booleans()) else text).encode()


def ndjson(*found: dict[str, Any] | str) -> bytes:
    """Pieces as Ollama frames them; text goes as it is."""
    lines = [chunk if isinstance(chunk, str) else json.dumps(chunk) for chunk in found]
    return "".join(f"{line}\n" for line in lines).encode()


def piece(**message: Any) -> dict[str, Any]:
    """A piece in the middle of an answer."""
    return {
        "model": "m",
        "created_at": "t",
        "message": {"role": "assistant", "content": "", **message},
        "done": False,
    }


def end(**more: Any) -> dict[str, Any]:
    """The piece that ends an answer."""
    return {
        "model": "m",
        "created_at": CREATED,
        "message": {"role": "assistant", "content": ""},
        "done": True,
        "done_reason": "stop",
        **more,
    }


def has_ended(prefix: bytes) -> bool:
    """Whether the line that ends the answer is there, decided without Locus."""
    for line in prefix.decode(errors="replace").split("\n"):
        try:
            if line.strip() and json.loads(line).get("done"):
                return True
        except ValueError:
            return False
    return False


# Reading.

_reading = Reading(OllamaChatParser())
read, answer_of, failure_of = _reading.read, _reading.answer_of, _reading.failure_of
