"""``python -m locus.demo``: calls a real model on this machine in every way that Locus offers.

It needs no key and no network: the model is SmolLM2 (135 million parameters, 92 MB), run by
llama.cpp inside this process. It is the smallest model that can hold a conversation: look at how it
is called, not at what it answers. ``python -m locus.demo openai:gpt-4o`` calls another model.
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
from locus.command_line import flush_stdout
from locus.core.events import ToolCompleteEvent, ToolStartEvent

PURPOSE = "A real model on this machine answers, in every way Locus is called."
DEFAULT_MODEL = "local:smollm2"
QUESTION = "What is the capital of France? Answer in one sentence."
STORY_PROMPT = "Write two sentences about the sea."
CITY_FACTS = "Berlin is the capital of Germany. 3700000 people live there."

CITY_FIELDS = {
    "city": {"type": "string"},
    "country": {"type": "string"},
    "people": {"type": "integer"},
    "is_capital": {"type": "boolean"},
}
CITY_SCHEMA = {
    "type": "object",
    "properties": CITY_FIELDS,
    "required": list(CITY_FIELDS),
    "additionalProperties": False,
}
CITY_FORMAT = {
    "type": "json_schema",
    "json_schema": {"name": "city", "schema": CITY_SCHEMA, "strict": True},
}

POPULATION_QUESTION = "How many people live in Berlin?"
SMALL_MODEL_OPTIONS: dict[str, Any] = {"tool_choice": "required", "model_options": {"stop": "\n\n"}}


@tool
def get_population(city: str) -> str:
    """Say how many people live in a city.

    Args:
        city: The city's name.
    """
    known = {"Berlin": "3,700,000", "Paris": "2,100,000", "Rome": "2,750,000"}
    if city not in known:
        raise LookupError(f"there is no {city!r} in this demo, only {', '.join(known)}")
    return f"{known[city]} people live in {city}."


def main(argv: Sequence[str] | None = None) -> int:
    """Run the demo and return the exit status."""
    parser = argparse.ArgumentParser(prog="python -m locus.demo", description=PURPOSE)
    parser.add_argument(
        "model", nargs="?", default=DEFAULT_MODEL, help=f"instead of {DEFAULT_MODEL}"
    )
    model_name = parser.parse_args(argv).model
    if isinstance(sys.stdout, TextIOWrapper):
        sys.stdout.reconfigure(errors="replace", line_buffering=True)
    status = 1
    try:
        _run_demo(model_name)
        status = 0
    except LocusError as exc:
        print(f"\nThe demo stops here: {exc}", file=sys.stderr)
    except BrokenPipeError:
        pass  # the reader of the pipe has closed it
    except KeyboardInterrupt:
        status = 130
    flush_stdout()
    return status


def _run_demo(model_name: str) -> None:
    print(PURPOSE, end="\n\n")
    print(f'    model = get_model("{model_name}", temperature=0, max_tokens=80)')
    print(f'    question = "{QUESTION}"\n')
    model = get_model(model_name, temperature=0, max_tokens=80)

    async def complete() -> Any:
        return await model.complete(QUESTION)

    _print_heading(
        "1. Blocking: for scripts, threads and notebooks", "model.complete_sync(question)"
    )
    if model_name.startswith("local:"):
        print("    (The first call loads the model: half a second to a few seconds.)")
    _call_and_print_response(lambda: model.complete_sync(QUESTION))

    _print_heading("2. The same model object in asyncio", "await model.complete(question)")
    _call_and_print_response(lambda: anyio.run(complete, backend="asyncio"))

    _print_heading("3. And in trio", "await model.complete(question)")
    if find_spec("trio") is None:
        print("    [left out: trio is not installed; python -m pip install trio]\n")
    else:
        _call_and_print_response(lambda: anyio.run(complete, backend="trio"))

    _print_heading(
        "4. Streamed: each chunk as the model writes it", f'model.stream_sync("{STORY_PROMPT}")'
    )
    _print_streamed_response(model)

    _print_heading(
        "5. As data: JSON that fits a schema", "model.complete_sync(…, response_format=schema)"
    )
    _print_structured_response(model)

    options = ", **small" if model_name == DEFAULT_MODEL else ""
    _print_heading(
        "6. An agent: the model calls a Python function, and continues with its result",
        f'Agent(model, [get_population]{options}).stream_sync("{POPULATION_QUESTION}")',
    )
    _print_agent_run(model, model_name)

    model.close_sync()
    print(
        "That was everything, from one model object. Another model is another name, and a key:\n\n"
        '    OPENAI_API_KEY=…  python -m locus --model openai:gpt-4o "Why is the sky blue?"'
    )


def _print_heading(title: str, code: str) -> None:
    print(f"{title}\n    >>> {code}")


def _call_and_print_response(call_model: Callable[[], Any]) -> None:
    """Call the model, and print its response and how long it took."""
    start = time.perf_counter()
    response = call_model()
    for line in wrap(response.content.strip(), 90):
        print(f"    {line}")
    print(
        f"    [{response.prompt_tokens} tokens read, {response.completion_tokens} written, "
        f"in {time.perf_counter() - start:.2f} s]\n"
    )


def _print_streamed_response(model: Any) -> None:
    """Stream a response and print each chunk at once."""
    start = time.perf_counter()
    chunks, first, column = 0, 0.0, 0
    print("    ", end="")
    with model.stream_sync(STORY_PROMPT) as stream:
        for event in stream:
            if not event.content:
                continue
            chunks += 1
            first = first or time.perf_counter() - start
            text = event.content.replace("\n", " ")
            if column + len(text) > 90:
                print("\n    ", end="")
                text, column = text.lstrip(), 0
            print(text, end="", flush=True)
            column += len(text)
    last = time.perf_counter() - start
    print(f"\n    [{chunks} chunks: the first after {first:.2f} s, the last after {last:.2f} s]\n")


def _print_structured_response(model: Any) -> None:
    """Request JSON that fits a schema, and print the decoded value."""
    print(f"    The schema: {', '.join(CITY_FIELDS)}\n    The text:   {CITY_FACTS}")
    conversation = [Message.system("Extract the facts as JSON."), Message.user(CITY_FACTS)]
    content = model.complete_sync(conversation, response_format=CITY_FORMAT).content
    try:
        print(f"    The answer: {msgspec.json.decode(content)}\n")
    except msgspec.DecodeError:  # it was cut off, or the model cannot write JSON
        print(f"    The answer is no JSON: {content!r}\n")


def _print_agent_run(model: Any, model_name: str) -> None:
    """Run an agent with one tool, and print its events and its result."""
    if model_name == DEFAULT_MODEL:
        print(f"    small = {SMALL_MODEL_OPTIONS}")
        print("    (SmolLM2 knows neither when to call a tool nor when to stop.)")
    agent = Agent(
        model, [get_population], **SMALL_MODEL_OPTIONS if model_name == DEFAULT_MODEL else {}
    )
    with agent.stream_sync(POPULATION_QUESTION) as events:
        for event in events:
            match event:
                case ToolStartEvent(tool_name, _, arguments):
                    print(f"    The model calls {tool_name}({dict(arguments)})")
                case ToolCompleteEvent(_, _, tool_result, error):
                    print(f"    The function returns: {error or tool_result}")
    result = events.result
    for line in wrap(f"The model says: {result.message.strip()}", 90):
        print(f"    {line}")
    print(f"    [model calls: {result.iterations}, tool calls: {result.tool_calls}]\n")


if __name__ == "__main__":
    sys.exit(main())
