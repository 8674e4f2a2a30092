"""The demo: it shows every way to call a model, with any kind of output stream."""

from __future__ import annotations

import ast
import os
import re
import subprocess
import sys
from importlib.util import find_spec
from threading import Event
from typing import Any

import pytest

from locus import demo
from locus.testing import LoopbackServer, Received, Reply
from tests.support.chat_replies import TEXT, build_chunk, build_reply, build_stream_reply
from tests.support.processes import PROJECT_ROOT, run_process
from tests.support.servers.openai_server import API_KEY
from tests.support.timing import HANG_SECONDS, remove_slow_callbacks

EXPECTED_CODE = (
    ">>> model.complete_sync(question)",
    ">>> await model.complete(question)",
    ">>> await model.complete(question)",
    ">>> model.stream_sync(",
    ">>> model.complete_sync(…, response_format=schema)",
    ">>> Agent(model, [get_population]",
)

FUNCTION_CALL = {"name": "get_population", "arguments": '{"city": "Berlin"}'}
TOOL_CALL_CHUNK = build_chunk(
    {"tool_calls": [{"index": 0, "id": "call_1", "function": FUNCTION_CALL}]}
)


@pytest.fixture
def demo_server(server: LoopbackServer, monkeypatch: pytest.MonkeyPatch) -> LoopbackServer:
    """A server with the responses that the demo expects."""

    def reply(request: Received) -> Reply:
        if b'"tools"' in request.body:
            return (
                build_stream_reply()
                if b"call_1" in request.body
                else Reply.sse([TOOL_CALL_CHUNK, build_chunk(finish_reason="tool_calls")])
            )
        if b'"stream":true' in request.body:
            return build_stream_reply()
        return build_reply('{"city": "Berlin"}' if b"response_format" in request.body else TEXT)

    monkeypatch.setenv("OPENAI_BASE_URL", f"{server.url}/v1")
    monkeypatch.setenv("OPENAI_API_KEY", API_KEY)
    server.always(reply)
    return server


def run_demo(*arguments: str, **env: str) -> subprocess.CompletedProcess[bytes]:
    command = [sys.executable, "-X", "dev", "-W", "error", "-m", "locus.demo", *arguments]
    return run_process(command, env={**os.environ, **env}, text=False)


def split_parts(output: str) -> list[str]:
    """The numbered parts of the output, with the introduction first."""
    found_parts = re.split(r"^\d\. ", output, flags=re.MULTILINE)
    assert len(found_parts) == 1 + len(EXPECTED_CODE)
    for part, code in zip(found_parts[1:], EXPECTED_CODE, strict=True):
        assert code in part
    return found_parts


@pytest.mark.thorough
@pytest.mark.engine
@pytest.mark.skipif(find_spec("trio") is None, reason="needs trio")
def test_the_embedded_model_is_called_in_every_way() -> None:
    process = run_demo(LOCUS_MODEL_ID="openai:costs-money")
    assert (process.returncode, remove_slow_callbacks(process.stderr.decode())) == (0, "")
    introduction, *responses, stream, structured, agent = split_parts(process.stdout.decode())
    assert 'get_model("local:smollm2"' in introduction
    answers = {re.findall(r"^    ([A-Z][^\n>]*\.)$", part, re.M)[0] for part in responses}
    assert len(answers) == 1, "one question, one answer, three runtimes"
    chunks = re.search(r"\[(\d+) chunks: the first after ([\d.]+) s, .* ([\d.]+) s\]", stream)
    assert chunks is not None
    assert int(chunks[1]) > 10
    assert float(chunks[2]) < float(chunks[3])
    answer = ast.literal_eval(structured.partition("The answer: ")[2].splitlines()[0])
    assert list(answer) == list(demo.CITY_FIELDS)
    assert "The model calls get_population({'city': 'Berlin'})" in agent
    assert "The function returns: 3,700,000 people live in Berlin." in agent
    assert re.search(r"The model says: .*3,700,000", agent)


def test_another_model_can_be_used_and_no_terminal_is_needed(demo_server: LoopbackServer) -> None:
    process = run_demo("openai:loop-1", PYTHONIOENCODING="ascii")
    assert (process.returncode, remove_slow_callbacks(process.stderr.decode())) == (0, "")
    introduction, *responses, stream, structured, agent = split_parts(
        process.stdout.decode().replace("?,", "…,")
    )
    assert 'get_model("openai:loop-1"' in introduction
    for part in responses:
        assert TEXT.encode("ascii", "replace").decode() in part
        assert "[9 tokens read, 5 written, in " in part
    assert "[5 chunks: " in stream
    assert "{'city': 'Berlin'}" in structured
    assert "The function returns: 3,700,000 people live in Berlin." in agent
    assert f"The model says: {TEXT}".encode("ascii", "replace").decode() in agent
    assert "[model calls: 2, tool calls: 1]" in agent
    assert len(demo_server.requests) == 7


def test_without_trio_it_says_how_to_install_it_and_continues(
    demo_server: LoopbackServer, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(demo, "find_spec", lambda name: None)
    assert demo.main(["openai:loop-1"]) == 0
    output_parts = split_parts(capsys.readouterr().out)
    assert "pip install trio" in output_parts[3]
    assert TEXT not in output_parts[3]
    assert len(demo_server.requests) == 6


def test_long_responses_are_wrapped_and_invalid_json_is_shown(
    demo_server: LoopbackServer, capsys: pytest.CaptureFixture[str]
) -> None:
    words = [f"word{number} " for number in range(60)]
    demo_server.always(
        lambda request: (
            build_stream_reply(words)
            if b'"stream":true' in request.body
            else build_reply(" x" * 99)
        )
    )
    assert demo.main(["openai:loop-1"]) == 0
    output = capsys.readouterr().out
    assert max(len(line) for line in output.splitlines() if "no JSON" not in line) < 100
    assert "".join(output.split()).count("".join("".join(words).split())) == 2
    assert "The answer is no JSON: " in output


def test_an_error_is_printed_in_one_line(
    demo_server: LoopbackServer, capsys: pytest.CaptureFixture[str]
) -> None:
    demo_server.always(Reply.error(401, "no such key"))
    assert demo.main(["openai:loop-1"]) == 1
    message = capsys.readouterr().err.strip()
    assert message.startswith("The demo stops here: openai loop-1: ")
    assert "\n" not in message


def test_a_closed_pipe_ends_it_without_a_message(demo_server: LoopbackServer) -> None:
    reader_closed = Event()

    def reply(_: Received) -> Reply:
        reader_closed.wait(HANG_SECONDS)
        return build_reply()

    demo_server.always(reply)
    command: list[Any] = [sys.executable, "-X", "dev", "-m", "locus.demo", "openai:loop-1"]
    pipe = subprocess.PIPE
    with subprocess.Popen(command, cwd=PROJECT_ROOT, stdout=pipe, stderr=pipe) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdout.readline()
        process.stdout.close()
        reader_closed.set()
        assert remove_slow_callbacks(process.stderr.read().decode()) == ""
        assert process.wait(HANG_SECONDS) == 1
