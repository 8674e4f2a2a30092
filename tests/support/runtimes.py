"""Every public call under blocking, asyncio and trio, through one interface; and who answers it.

A test that takes the fixture ``runtime`` runs three times. It is written as blocking code: under
asyncio and trio, an event loop runs in a thread of its own for the length of the test, and every
call goes there, so that two calls in a row share the loop as they would in a user's program.
A test of what only async code can do takes ``backend`` and runs a function with ``anyio.run``.

A test module takes the fixtures over by name: ``server = runtimes.server``.
"""

from __future__ import annotations

import gc
import os
import subprocess
import sys
import textwrap
import time
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from pathlib import Path
from typing import Any, Protocol, Self

import anyio
import pytest
from anyio.from_thread import BlockingPortal, start_blocking_portal

from locus.core.events import ModelChunkEvent
from locus.core.messages import Message
from locus.core.response import ModelResponse
from locus.models.native.openai import OpenAIModel
from locus.testing.loopback_server import LoopbackServer, Reply

KEY = "sk-loopback-0123456789abcdef"
"""The API key of every model here; it must show nowhere but in the Authorization header."""


# -- the runtimes ------------------------------------------------------------------------------


class Stream(Iterator[ModelChunkEvent], Protocol):
    """An open stream, one event at a time; leaving the context closes it."""

    def __enter__(self) -> Self: ...
    def __exit__(self, *exc: object) -> None: ...
    def close(self) -> None: ...


class Runtime(Protocol):
    """One way of calling models."""

    name: str

    def ask(self, model: Any, *args: Any, **kw: Any) -> ModelResponse:
        """``complete``."""

    def invoke(self, model: Any, *args: Any, **kw: Any) -> Message:
        """``invoke``."""

    def open(self, model: Any, *args: Any, **kw: Any) -> Stream:
        """``stream``, one event at a time."""

    def stream(self, model: Any, *args: Any, **kw: Any) -> list[ModelChunkEvent]:
        """``stream``, to its end."""

    def close(self, model: Any) -> None:
        """Release the model's connections."""

    def within(self, model: Any, action: Callable[[Any], Any]) -> Any:
        """``action(model)``, blocking code, inside the model's own ``with`` block."""


class Blocking:
    """Plain calls."""

    name = "blocking"

    def ask(self, model: Any, *args: Any, **kw: Any) -> ModelResponse:
        return model.complete_sync(*args, **kw)

    def invoke(self, model: Any, *args: Any, **kw: Any) -> Message:
        return model.invoke(*args, **kw)

    def open(self, model: Any, *args: Any, **kw: Any) -> Stream:
        return model.stream_sync(*args, **kw)

    def stream(self, model: Any, *args: Any, **kw: Any) -> list[ModelChunkEvent]:
        return list(model.stream_sync(*args, **kw))

    def close(self, model: Any) -> None:
        model.close_sync()

    def within(self, model: Any, action: Callable[[Any], Any]) -> Any:
        with model as same:
            return action(same)


class NonBlocking:
    """Calls made in an event loop that runs in another thread."""

    def __init__(self, name: str, portal: BlockingPortal) -> None:
        self.name = name
        self._portal = portal

    def ask(self, model: Any, *args: Any, **kw: Any) -> ModelResponse:
        return self._portal.call(partial(model.complete, *args, **kw))

    def invoke(self, model: Any, *args: Any, **kw: Any) -> Message:
        return self._portal.call(partial(model.ainvoke, *args, **kw))

    def open(self, model: Any, *args: Any, **kw: Any) -> Stream:
        return _OpenStream(self._portal, model.stream(*args, **kw))

    def stream(self, model: Any, *args: Any, **kw: Any) -> list[ModelChunkEvent]:
        async def read() -> list[ModelChunkEvent]:
            return [event async for event in model.stream(*args, **kw)]

        return self._portal.call(read)

    def close(self, model: Any) -> None:
        self._portal.call(model.aclose)

    def within(self, model: Any, action: Callable[[Any], Any]) -> Any:
        with self._portal.wrap_async_context_manager(model) as same:
            return action(same)


class _OpenStream(Iterator[ModelChunkEvent]):
    def __init__(self, portal: BlockingPortal, stream: Any) -> None:
        self._portal = portal
        self._stream = stream

    def __next__(self) -> ModelChunkEvent:
        event = self._portal.call(anext, self._stream, None)
        if event is None:
            raise StopIteration
        return event

    def __enter__(self) -> Self:
        self._portal.call(self._stream.__aenter__)
        return self

    def __exit__(self, *exc: object) -> None:
        self._portal.call(self._stream.__aexit__, None, None, None)

    def close(self) -> None:
        self._portal.call(self._stream.aclose)


@pytest.fixture(params=["blocking", "asyncio", "trio"])
def runtime(request: pytest.FixtureRequest) -> Iterator[Runtime]:
    """Each of the three ways of calling, in turn."""
    if request.param == "blocking":
        yield Blocking()
        return
    with start_blocking_portal(request.param) as portal:
        yield NonBlocking(request.param, portal)


@pytest.fixture(params=["asyncio", "trio"])
def backend(request: pytest.FixtureRequest) -> str:
    """Each of the two event loops, in turn: the ``backend`` of ``anyio.run``."""
    return str(request.param)


def run(backend: str, function: Callable[..., Any], *args: Any) -> Any:
    """``anyio.run``, with an end to it."""

    async def bounded() -> Any:
        with anyio.fail_after(20):
            return await function(*args)

    return anyio.run(bounded, backend=backend)


# -- surroundings ------------------------------------------------------------------------------


def _says_something(name: str) -> bool:
    return name.startswith("OPENAI_") or name.lower().endswith("_proxy")


@pytest.fixture
def environment(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    """An environment that says nothing about providers and proxies."""
    for name in filter(_says_something, list(os.environ)):
        monkeypatch.delenv(name)
    return monkeypatch


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[LoopbackServer]:
    """A server with nothing to say yet, and nothing in the environment that keeps one from it."""
    for name in filter(_says_something, list(os.environ)):
        monkeypatch.delenv(name)
    with LoopbackServer() as server:
        yield server


@pytest.fixture
def no_leaks() -> Iterator[None]:
    """Whatever the test has dropped is collected within it: its warnings are the test's."""
    gc.freeze()  # so that the collections below look at what the test has made, and no further
    yield
    for _ in range(3):  # what a finaliser lets go of is collected in the next round
        gc.collect()
    gc.unfreeze()


def model_of(server: LoopbackServer, **kw: Any) -> OpenAIModel:
    """A model of the loopback server. One try and five seconds, where nothing else is said."""
    kw = {"api_key": KEY, "base_url": f"{server.url}/v1", "timeout": 5.0, "max_retries": 0, **kw}
    return OpenAIModel(kw.pop("model", "loop-1"), **kw)


class AtMost:
    """``with AtMost(seconds):`` fails where the block takes longer."""

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds

    def __enter__(self) -> None:
        self._began = time.monotonic()

    def __exit__(self, *exc: object) -> None:
        taken = time.monotonic() - self._began
        if taken > self._seconds:
            pytest.fail(f"took {taken:.2f} s; {self._seconds} s were allowed")


ROOT = Path(__file__).parents[2]


EARLY = """
import httpx, logging, locus.models.native.openai
# What is imported in a loop takes longer than asyncio's debug mode likes.
logging.getLogger("asyncio").addFilter(lambda record: "took" not in record.msg)
"""


def script(code: str, *args: str, seconds: float = 30.0, early: str = EARLY) -> str:
    """What ``code`` prints when it runs alone, with every warning an error; it must not complain.

    Warnings that are raised where nobody can catch them, in finalisers say, show on stderr, and
    so does what an event loop in its debug mode does not like.
    """
    done = subprocess.run(
        [sys.executable, "-X", "dev", "-W", "error", "-c", early + textwrap.dedent(code), *args],
        cwd=ROOT,
        env={name: said for name, said in os.environ.items() if not _says_something(name)},
        capture_output=True,
        text=True,
        timeout=seconds,
        check=False,
    )
    if done.returncode or done.stderr:
        pytest.fail(f"the script ended with {done.returncode}, and said:\n{done.stderr}")
    return done.stdout


# -- answers -----------------------------------------------------------------------------------

USAGE = {"prompt_tokens": 9, "completion_tokens": 5, "total_tokens": 14}
WORDS = ("Zürich", " costs", " 10 €", " ✓", " today")
TEXT = "".join(WORDS)


def whole(text: str = TEXT, **message: Any) -> Reply:
    """A whole answer."""
    said = {"role": "assistant", "content": text, **message}
    return Reply.json(
        {
            "id": "chatcmpl-1",
            "object": "chat.completion",
            "created": 1,
            "model": "loop-1-0613",
            "choices": [{"index": 0, "message": said, "finish_reason": "stop"}],
            "usage": USAGE,
        }
    )


def chunk(delta: dict[str, Any] | None = None, finish: str | None = None) -> dict[str, Any]:
    """A chunk of a streamed answer."""
    return {
        "id": "chatcmpl-1",
        "object": "chat.completion.chunk",
        "created": 1,
        "model": "loop-1-0613",
        "choices": [{"index": 0, "delta": delta or {}, "finish_reason": finish}],
    }


def chunks(words: Iterable[str] = WORDS) -> list[dict[str, Any]]:
    """The chunks of a streamed answer, in OpenAI's order: a role, the words, a reason, a bill."""
    return [
        chunk({"role": "assistant", "content": ""}),
        *(chunk({"content": word}) for word in words),
        chunk(finish="stop"),
        {**chunk(), "choices": [], "usage": USAGE},
    ]


def streamed(words: Iterable[str] = WORDS) -> Reply:
    """The same answer as :func:`whole` gives, as a stream."""
    return Reply.sse(chunks(words))


def text(events: Iterable[ModelChunkEvent]) -> str:
    """The text that the events hold."""
    return "".join(event.content or "" for event in events)
