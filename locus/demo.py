"""``python -m locus.demo``: a real model on this machine answers, in every way Locus is called.

It needs no key and no network: the model is SmolLM2 (135 million parameters, 92 MB), run by
llama.cpp inside this process. It is the smallest that can hold a conversation, so look at how it
is called rather than at what it says. ``python -m locus.demo openai:gpt-4o`` asks another.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable, Sequence
from importlib.util import find_spec
from io import TextIOWrapper
from textwrap import wrap
from typing import Any

import anyio
import msgspec

from locus import Agent, LocusError, Message, get_model, tool
from locus.__main__ import settle_output
from locus.core.events import ToolCompleteEvent, ToolStartEvent

PURPOSE = "A real model on this machine answers, in every way Locus is called."
DEFAULT = "local:smollm2"
QUESTION = "What is the capital of France? Answer in one sentence."
STORY = "Write two sentences about the sea."
FACTS = "Berlin is the capital of Germany. 3700000 people live there."

FIELDS = {
    "city": {"type": "string"},
    "country": {"type": "string"},
    "people": {"type": "integer"},
    "is_capital": {"type": "boolean"},
}
SCHEMA = {
    "type": "object",
    "properties": FIELDS,
    "required": list(FIELDS),
    "additionalProperties": False,
}
CITY = {"type": "json_schema", "json_schema": {"name": "city", "schema": SCHEMA, "strict": True}}

PEOPLE = "How many people live in Berlin?"
SMALL: dict[str, Any] = {"tool_choice": "required", "model_options": {"stop": "\n\n"}}


@tool
def population(city: str) -> str:
    """Say how many people live in a city.

    Args:
        city: The city's name.
    """
    known = {"Berlin": "3,700,000", "Paris": "2,100,000", "Rome": "2,750,000"}
    if city not in known:
        raise LookupError(f"there is no {city!r} in this demo, only {', '.join(known)}")
    return f"{known[city]} people live in {city}."


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the demo; gives the exit status."""
    parser = argparse.ArgumentParser(prog="python -m locus.demo", description=PURPOSE)
    parser.add_argument("model", nargs="?", default=DEFAULT, help=f"instead of {DEFAULT}")
    name = parser.parse_args(arguments).model
    if isinstance(sys.stdout, TextIOWrapper):
        sys.stdout.reconfigure(errors="replace", line_buffering=True)
    status = 1
    try:
        _show(name)
        status = 0
    except LocusError as error:
        print(f"\nThe demo stops here: {error}", file=sys.stderr)
    except BrokenPipeError:
        pass  # whoever read has seen enough
    except KeyboardInterrupt:
        status = 130
    settle_output()
    return status


def _show(name: str) -> None:
    print(PURPOSE, end="\n\n")
    print(f'    model = get_model("{name}", temperature=0, max_tokens=80)')
    print(f'    question = "{QUESTION}"\n')
    model = get_model(name, temperature=0, max_tokens=80)

    async def ask() -> Any:
        return await model.complete(QUESTION)

    _part("1. Blocking: for scripts, threads and notebooks", "model.complete_sync(question)")
    if name.startswith("local:"):
        print("    (The first call loads the model: half a second to a few seconds.)")
    _say(lambda: model.complete_sync(QUESTION))

    _part("2. The same model object in asyncio", "await model.complete(question)")
    _say(lambda: anyio.run(ask, backend="asyncio"))

    _part("3. And in trio", "await model.complete(question)")
    if find_spec("trio") is None:
        print("    [left out: trio is not installed; python -m pip install trio]\n")
    else:
        _say(lambda: anyio.run(ask, backend="trio"))

    _part("4. Streamed: each piece as the model writes it", f'model.stream_sync("{STORY}")')
    _stream(model)

    _part("5. As data: JSON that fits a schema", "model.complete_sync(…, response_format=schema)")
    _structured(model)

    _part(
        "6. An agent: the model calls a Python function, and goes on with what it gave",
        f'Agent(model, [population]{", **small" * (name == DEFAULT)}).stream_sync("{PEOPLE}")',
    )
    _agent(model, name)

    model.close_sync()
    print(
        "That was everything, from one model object. Another model is another name, and a key:\n\n"
        '    OPENAI_API_KEY=…  python -m locus --model openai:gpt-4o "Why is the sky blue?"'
    )


def _part(title: str, code: str) -> None:
    print(f"{title}\n    >>> {code}")


def _say(ask: Callable[[], Any]) -> None:
    begun = time.perf_counter()
    answer = ask()
    for line in wrap(answer.content.strip(), 90):
        print(f"    {line}")
    print(
        f"    [{answer.prompt_tokens} tokens read, {answer.completion_tokens} written, "
        f"in {time.perf_counter() - begun:.2f} s]\n"
    )


def _stream(model: Any) -> None:
    begun = time.perf_counter()
    pieces, first, column = 0, 0.0, 0
    print("    ", end="")
    with model.stream_sync(STORY) as stream:
        for event in stream:
            if not event.content:
                continue
            pieces += 1
            first = first or time.perf_counter() - begun
            piece = event.content.replace("\n", " ")
            if column + len(piece) > 90:
                print("\n    ", end="")
                piece, column = piece.lstrip(), 0
            print(piece, end="", flush=True)
            column += len(piece)
    took = time.perf_counter() - begun
    print(f"\n    [{pieces} pieces: the first after {first:.2f} s, the last after {took:.2f} s]\n")


def _structured(model: Any) -> None:
    print(f"    The schema: {', '.join(FIELDS)}\n    The text:   {FACTS}")
    conversation = [Message.system("Extract the facts as JSON."), Message.user(FACTS)]
    content = model.complete_sync(conversation, response_format=CITY).content
    try:
        print(f"    The answer: {msgspec.json.decode(content)}\n")
    except msgspec.DecodeError:  # it was cut off, or the model cannot
        print(f"    The answer is no JSON: {content!r}\n")


def _agent(model: Any, name: str) -> None:
    if name == DEFAULT:
        print(f"    small = {SMALL}")
        print("    (SmolLM2 knows neither when to call a tool nor when to stop.)")
    agent = Agent(model, [population], **SMALL if name == DEFAULT else {})
    with agent.stream_sync(PEOPLE) as events:
        for event in events:
            match event:
                case ToolStartEvent(called, _, arguments):
                    print(f"    The model calls {called}({dict(arguments)})")
                case ToolCompleteEvent(_, _, gave, error):
                    print(f"    The function gives: {error or gave}")
    result = events.result
    for line in wrap(f"The model says: {result.message.strip()}", 90):
        print(f"    {line}")
    print(f"    [answers of the model: {result.iterations}, calls: {result.tool_calls}]\n")


if __name__ == "__main__":
    sys.exit(main())
