"""Connections live as long as somebody wants them, on each runtime and between runtimes.

Warnings are errors, those of finalisers too: each test collects its garbage before it ends. What
a loop or an interpreter says when it ends is seen by running a script in a process of its own.
"""

from __future__ import annotations

import asyncio
import gc
import pickle
import threading
import weakref
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import anyio
import anyio.lowlevel
import anyio.to_thread
import pytest

from locus.core.errors import APIConnectionError, APIError
from locus.testing.loopback_server import LoopbackServer, Pause, Reply
from locus.transport.async_pool import AsyncPool, current_loop
from tests.support import runtimes
from tests.support.runtimes import (
    KEY,
    TEXT,
    WORDS,
    AtMost,
    Runtime,
    model_of,
    run,
    script,
    streamed,
    text,
    whole,
)

backend, no_leaks = runtimes.backend, runtimes.no_leaks
runtime, server = runtimes.runtime, runtimes.server
pytestmark = pytest.mark.usefixtures("no_leaks")

PIECES = streamed().body
UNFINISHED = streamed().stall(sum(map(len, PIECES[:4])))
"""Three words, then silence."""


async def gone(server: LoopbackServer, seconds: float = 1.0) -> None:
    """Wait until the server sees no connection."""
    await anyio.to_thread.run_sync(server.wait_closed, seconds)


def model_args(server: LoopbackServer) -> str:
    return f"api_key={KEY!r}, base_url='{server.url}/v1', timeout=5.0, max_retries=0"


def test_a_stream_that_two_tasks_read_is_asked_for_once(
    server: LoopbackServer, backend: str
) -> None:
    server.always(streamed())
    refused: list[str] = []

    async def main() -> None:
        stream = model_of(server).stream("hello")

        async def read() -> None:
            try:
                await anext(stream)
            except RuntimeError as error:
                refused.append(str(error))

        async with stream, anyio.create_task_group() as tasks:
            tasks.start_soon(read)
            tasks.start_soon(read)

    anyio.run(main, backend=backend)
    assert len(refused) == 1
    assert "another task" in refused[0]
    assert len(server.requests) == 1


# -- leaving a stream --------------------------------------------------------------------------


def test_leaving_a_loop_and_dropping_the_stream_closes_the_connection(
    server: LoopbackServer, backend: str
) -> None:
    server.always(UNFINISHED)
    model = model_of(server)
    for event in model.stream_sync("hello"):
        assert event.content == WORDS[0]
        break
    server.wait_closed(timeout=1)

    async def main() -> None:
        async for event in model.stream("hello"):
            assert event.content == WORDS[0]
            break
        await gone(server)

    run(backend, main)


def test_leaving_the_context_closes_the_connection(server: LoopbackServer, backend: str) -> None:
    server.always(UNFINISHED)
    model = model_of(server)
    with model.stream_sync("hello") as kept:
        next(kept)
    server.wait_closed(timeout=1)

    async def main() -> None:
        async with model.stream("hello") as kept:
            await anext(kept)
        await gone(server)
        with pytest.raises(StopAsyncIteration):
            await anext(kept)

    run(backend, main)


def test_an_error_in_the_body_of_the_loop_closes_the_connection(
    server: LoopbackServer, backend: str
) -> None:
    server.always(UNFINISHED)
    model = model_of(server)

    def stumble() -> None:
        with model.stream_sync("hello") as events:
            for _ in events:
                raise LookupError("in the loop")

    async def stumble_async() -> None:
        async with model.stream("hello") as events:
            async for _ in events:
                raise LookupError("in the loop")

    async def main() -> None:
        with pytest.raises(LookupError):
            await stumble_async()
        await gone(server)

    with pytest.raises(LookupError):
        stumble()
    server.wait_closed(timeout=1)
    run(backend, main)


def test_a_stream_dropped_in_the_middle_closes_its_connection(
    server: LoopbackServer, runtime: Runtime
) -> None:
    server.always(UNFINISHED)
    model = model_of(server)
    events = runtime.open(model, "hello")
    next(events)
    assert server.connections_open == 1
    del events
    server.wait_closed(timeout=1)


def test_a_stream_dropped_by_the_garbage_collector_closes_its_connection(
    server: LoopbackServer, runtime: Runtime
) -> None:
    server.always(UNFINISHED)
    events = runtime.open(model_of(server), "hello")
    next(events)
    cycle: list[Any] = [events]
    cycle.append(cycle)
    del events, cycle
    gc.collect()
    server.wait_closed(timeout=1)


def test_a_stream_wrapped_in_a_generator_is_closed_with_it(
    server: LoopbackServer, backend: str
) -> None:
    server.always(UNFINISHED)
    model = model_of(server)

    async def words() -> Any:
        async with model.stream("hello") as events:
            async for event in events:
                yield event.content

    async def main() -> None:
        generator = words()
        assert await anext(generator) == WORDS[0]
        await generator.aclose()
        await gone(server)

    run(backend, main)


def test_a_stream_that_came_by_a_second_try_is_closed_at_once_too(
    server: LoopbackServer, backend: str
) -> None:
    """An error that was got over is still a traceback, which knows everybody's frames."""
    gc.disable()
    try:
        server.always(whole().reset(0, "head"), UNFINISHED)
        model = model_of(server, max_retries=1)
        for _ in model.stream_sync("hello"):
            break
        server.wait_closed(timeout=1)

        async def main() -> None:
            async for _ in model.stream("hello"):
                break
            await gone(server)

        server.always(whole().reset(0, "head"), UNFINISHED)
        run(backend, main)
    finally:
        gc.enable()


def test_many_streams_left_early_leave_nothing_behind(server: LoopbackServer, backend: str) -> None:
    server.always(UNFINISHED)
    model = model_of(server)

    async def main() -> None:
        for _ in range(20):
            async for _ in model.stream("hello"):
                break
        await gone(server)
        server.always(whole())
        assert (await model.complete("hello")).content == TEXT
        assert server.connections_open == 1

    run(backend, main)


def test_closing_a_stream_while_another_task_reads_it_ends_the_reading(
    server: LoopbackServer, backend: str
) -> None:
    server.always(UNFINISHED)

    async def main() -> None:
        stream = model_of(server).stream("hello")
        got: list[Any] = []
        third = anyio.Event()

        async def read() -> None:
            try:
                async for event in stream:
                    got.append(event)
                    if len(got) == 3:
                        third.set()
            except APIConnectionError as error:
                got.append(error)

        async with anyio.create_task_group() as group:
            group.start_soon(read)
            await third.wait()
            await anyio.sleep(0.05)  # the task waits for a fourth by now
            with AtMost(1.0):
                await stream.aclose()
                await gone(server)
        assert len(got) == 3 or isinstance(got[3], APIConnectionError)

    run(backend, main)


# -- cancelling --------------------------------------------------------------------------------

WAITS = {
    "for the headers": whole().stall(0, "head"),
    "in the body": whole().stall(20),
    "for the retry": Reply.error(429, retry_after=30),
}


@pytest.mark.parametrize("wait", WAITS)
def test_cancelling_a_whole_answer(server: LoopbackServer, backend: str, wait: str) -> None:
    server.always(WAITS[wait])
    model = model_of(server, max_retries=2)

    async def main() -> None:
        with AtMost(0.6), anyio.move_on_after(0.1) as scope:
            await model.complete("hello")
        assert scope.cancelled_caught
        await anyio.to_thread.run_sync(server.wait_closed, 1.0, int(wait == "for the retry"))
        server.always(whole())
        assert (await model.complete("hello")).content == TEXT

    run(backend, main)


@pytest.mark.parametrize("wait", [*WAITS, "in the middle"])
@pytest.mark.parametrize("as_context", [False, True], ids=["bare", "context"])
def test_cancelling_a_stream(
    server: LoopbackServer, backend: str, wait: str, as_context: bool
) -> None:
    server.always(WAITS.get(wait, UNFINISHED))
    model = model_of(server, max_retries=2)

    async def main() -> None:
        with AtMost(0.6), anyio.move_on_after(0.1) as scope:
            if as_context:
                async with model.stream("hello") as events:
                    async for _ in events:
                        pass
            else:
                async for _ in model.stream("hello"):
                    pass
        assert scope.cancelled_caught
        await anyio.to_thread.run_sync(server.wait_closed, 1.0, int(wait == "for the retry"))
        server.always(streamed())
        assert text([event async for event in model.stream("hello")]) == TEXT

    run(backend, main)


@pytest.mark.parametrize("as_context", [False, True], ids=["bare", "context"])
def test_cancelling_in_the_body_of_the_loop(
    server: LoopbackServer, backend: str, as_context: bool
) -> None:
    server.always(UNFINISHED)
    model = model_of(server)

    async def main() -> None:
        with anyio.move_on_after(0.1) as scope:
            if as_context:
                async with model.stream("hello") as events:
                    async for _ in events:
                        await anyio.sleep(10)
            else:
                async for _ in model.stream("hello"):
                    await anyio.sleep(10)
        assert scope.cancelled_caught
        await gone(server)

    run(backend, main)


def test_cancelling_a_task_of_asyncio_itself(server: LoopbackServer) -> None:
    server.always(UNFINISHED)
    model = model_of(server)

    async def read() -> None:
        async for _ in model.stream("hello"):
            pass

    async def main() -> None:
        for task in (asyncio.create_task(read()), asyncio.create_task(model.complete("hello"))):
            await asyncio.sleep(0.1)
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(read(), 0.1)
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.1):
                await read()
        await gone(server)

    asyncio.run(main())


def test_one_failing_task_cancels_the_streams_beside_it(
    server: LoopbackServer, backend: str
) -> None:
    server.always(UNFINISHED)
    model = model_of(server)

    async def read() -> None:
        async for _ in model.stream("hello"):
            pass

    async def fail() -> None:
        await anyio.to_thread.run_sync(server.wait_requests, 5)
        raise LookupError("beside")

    async def together() -> None:
        async with anyio.create_task_group() as group:
            for _ in range(5):
                group.start_soon(read)
            group.start_soon(fail)

    async def main() -> None:
        with pytest.raises(ExceptionGroup) as caught:
            await together()
        assert [type(error) for error in caught.value.exceptions] == [LookupError]
        await gone(server)

    run(backend, main)


# -- closing -----------------------------------------------------------------------------------


def test_closing_releases_the_connections_and_twice_is_fine(
    server: LoopbackServer, runtime: Runtime
) -> None:
    server.always(whole())
    model = model_of(server)
    runtime.close(model)
    runtime.ask(model, "hello")
    assert server.connections_open == 1
    runtime.close(model)
    server.wait_closed(timeout=1)
    runtime.close(model)


def test_a_closed_model_reconnects(server: LoopbackServer, runtime: Runtime) -> None:
    server.always(whole())
    model = model_of(server)
    for number in (1, 2):
        assert runtime.ask(model, "hello").content == TEXT
        runtime.close(model)
        assert server.connections_total == number


def test_closing_the_model_ends_its_streams_with_an_error(
    server: LoopbackServer, runtime: Runtime
) -> None:
    server.always(UNFINISHED)
    model = model_of(server)
    events = runtime.open(model, "hello")
    got = [next(events), next(events), next(events)]
    runtime.close(model)
    server.wait_closed(timeout=1)
    with pytest.raises(APIError) as caught:
        next(events)
    assert caught.value.partial is not None
    assert caught.value.partial.content == text(got)


def test_closing_in_the_loop_closes_the_blocking_connections_too(
    server: LoopbackServer, backend: str
) -> None:
    server.always(whole())
    model = model_of(server)
    model.complete_sync("hello")

    async def main() -> None:
        await model.complete("hello")
        assert server.connections_open == 2
        await model.close()
        await gone(server)

    run(backend, main)


def test_a_model_that_is_dropped_unclosed_closes_its_connections(
    server: LoopbackServer, backend: str
) -> None:
    server.always(whole())
    model_of(server).complete_sync("hello")
    server.wait_closed(timeout=1)

    async def main() -> None:
        await model_of(server).complete("hello")
        await model_of(server).complete("hello")  # tidies up after the one before
        await anyio.to_thread.run_sync(server.wait_closed, 1.0, 1)

    run(backend, main)
    server.wait_closed(timeout=1)


def test_a_loop_that_ends_closes_its_connections(server: LoopbackServer, backend: str) -> None:
    server.always(whole())
    model = model_of(server)
    run(backend, model.complete, "hello")
    server.wait_closed(timeout=1)


def test_a_loop_that_ends_closes_the_streams_of_a_client_that_was_brought(
    server: LoopbackServer, backend: str
) -> None:
    import httpx

    server.always(UNFINISHED)
    client = httpx.AsyncClient(trust_env=False)
    model = model_of(server, http_client=client)
    kept = []

    async def main() -> None:
        kept.append(model.stream("hello"))
        await anext(kept[0])

    run(backend, main)
    server.wait_closed(timeout=1)
    kept.clear()


def test_a_stream_that_outlives_its_loop_says_that_it_was_cut(
    server: LoopbackServer, backend: str
) -> None:
    server.always(UNFINISHED)
    model = model_of(server)
    kept = []

    async def begin() -> None:
        kept.append(model.stream("hello"))
        await anext(kept[0])

    async def go_on() -> None:
        with pytest.raises(APIError) as caught:
            async for _ in kept[0]:
                pass
        assert caught.value.partial is not None
        await kept[0].aclose()

    run(backend, begin)
    run(backend, go_on)


def test_a_loop_that_ends_is_forgotten(server: LoopbackServer) -> None:
    """A program that starts a loop for every call does not grow."""
    server.always(UNFINISHED)
    model = model_of(server)
    loops: list[weakref.ref[Any]] = []
    kept = []

    async def main() -> None:
        loops.append(weakref.ref(asyncio.get_running_loop()))
        stream = model.stream("hello")
        await anext(stream)
        kept.append(stream)

    for _ in range(3):
        asyncio.run(main())
        kept.clear()
    for _ in range(3):
        gc.collect()
    assert [loop() for loop in loops[:-1]] == [None, None]


# -- several loops, several threads ------------------------------------------------------------


def test_one_model_serves_loop_after_loop(server: LoopbackServer) -> None:
    server.always(whole(), streamed())
    model = model_of(server)

    async def stream() -> str:
        return text([event async for event in model.stream("hello")])

    for kind in ("asyncio", "trio", "asyncio", "trio"):
        server.always(whole(), streamed())
        assert run(kind, model.complete, "hello").content == TEXT
        assert run(kind, stream) == TEXT
    server.wait_closed(timeout=1)


def test_blocking_calls_work_inside_a_running_loop(server: LoopbackServer, backend: str) -> None:
    server.always(Reply.error(429, headers={"retry-after-ms": "1"}), whole(), streamed(), whole())
    model = model_of(server, max_retries=1)

    async def main() -> None:
        assert model.complete_sync("hello").content == TEXT
        assert text(model.stream_sync("hello")) == TEXT
        assert (await model.complete("hello")).content == TEXT
        model.close_sync()
        await model.aclose()

    run(backend, main)


def test_threads_share_a_model(server: LoopbackServer) -> None:
    server.route("POST", "*", lambda got: streamed() if got.json().get("stream") else whole())
    model = model_of(server, timeout=60)  # of silence, for a machine that has other things to do
    start = threading.Barrier(32)

    def work(number: int) -> list[str]:
        start.wait()
        if number % 2:
            return [text(model.stream_sync("hello")) for _ in range(4)]
        return [model.complete_sync("hello").content for _ in range(4)]

    with ThreadPoolExecutor(32) as threads:
        assert list(threads.map(work, range(32))) == [[TEXT] * 4] * 32
    assert server.connections_total <= 32
    model.close_sync()


def test_every_runtime_at_once_in_threads_of_its_own(server: LoopbackServer) -> None:
    server.route("POST", "*", lambda got: streamed() if got.json().get("stream") else whole())
    model = model_of(server, timeout=60)
    start = threading.Barrier(6)

    async def several() -> list[str]:
        got = []
        for _ in range(5):
            got.append((await model.complete("hello")).content)
            got.append(text([event async for event in model.stream("hello")]))
        return got

    def blocking() -> list[str]:
        got = []
        for _ in range(5):
            got += [model.complete_sync("hello").content, text(model.stream_sync("hello"))]
        return got

    def work(kind: str) -> list[str]:
        start.wait()
        return blocking() if kind == "blocking" else run(kind, several)

    with ThreadPoolExecutor(6) as threads:
        done = threads.map(work, ["asyncio", "trio", "blocking"] * 2)
        assert list(done) == [[TEXT] * 10] * 6
    model.close_sync()
    server.wait_closed(timeout=1)


def test_an_event_loop_inside_a_thread_of_an_event_loop(
    server: LoopbackServer, backend: str
) -> None:
    server.always(whole())
    model = model_of(server)
    inner = {"asyncio": "trio", "trio": "asyncio"}[backend]

    async def main() -> None:
        await model.complete("hello")
        answer = await anyio.to_thread.run_sync(run, inner, model.complete, "hello")
        assert answer.content == TEXT
        assert (await model.complete("hello")).content == TEXT

    run(backend, main)
    assert server.connections_total == 2


def test_a_loop_in_a_thread_can_drop_another_loops_stream(server: LoopbackServer) -> None:
    server.always(UNFINISHED)
    model = model_of(server)

    async def main() -> None:
        box = [model.stream("hello")]
        await anext(box[0])

        async def drop() -> None:
            box.clear()

        await anyio.to_thread.run_sync(run, "trio", drop)
        await gone(server)
        server.always(whole())
        assert (await model.complete("hello")).content == TEXT

    run("asyncio", main)


def test_two_hundred_streams_at_once_in_one_loop(server: LoopbackServer, backend: str) -> None:
    together = threading.Event()
    server.always(
        Reply.stream([*PIECES[:2], Pause(5, together), *PIECES[2:]], headers=streamed().headers)
    )
    model = model_of(server)
    got: list[str] = []

    async def read() -> None:
        got.append(text([event async for event in model.stream("hello")]))

    async def main() -> None:
        async with anyio.create_task_group() as group:
            for _ in range(200):
                group.start_soon(read)
            await anyio.to_thread.run_sync(server.wait_requests, 200, 15.0)
            together.set()

    run(backend, main)
    assert got == [TEXT] * 200
    assert server.connections_total == 200
    server.wait_closed(timeout=2)


# -- processes ---------------------------------------------------------------------------------


def test_a_pickled_model_is_equal_and_opens_connections_of_its_own(
    server: LoopbackServer, runtime: Runtime
) -> None:
    server.always(whole())
    model = model_of(server).bind_tools([], seed=7)
    runtime.ask(model, "hello")
    other = pickle.loads(pickle.dumps(model))
    assert other == model
    assert hash(other) == hash(model)
    assert runtime.ask(other, "hello").content == TEXT
    assert [request.json()["seed"] for request in server.requests] == [7, 7]
    assert [request.connection for request in server.requests] == [1, 2]


def test_a_model_goes_to_a_spawned_process(server: LoopbackServer) -> None:
    server.always(whole())
    model = model_of(server)
    model.complete_sync("hello")  # it has connections here
    printed = script(
        """
        import pickle, sys, anyio
        model = pickle.loads(bytes.fromhex(sys.argv[1]))
        print(ascii(model.complete_sync("hello").content))
        for backend in ("asyncio", "trio"):
            print(ascii(anyio.run(model.complete, "hello", backend=backend).content))
        """,
        pickle.dumps(model).hex(),
    )
    assert printed.split("\n") == [ascii(TEXT)] * 3 + [""]
    assert {request.headers["authorization"] for request in server.requests} == {f"Bearer {KEY}"}


def test_a_forked_child_opens_connections_of_its_own(server: LoopbackServer) -> None:
    server.always(whole())
    printed = script(
        f"""
        import os, asyncio
        from locus import OpenAIModel
        model = OpenAIModel("m", {model_args(server)})
        model.complete_sync("parent")
        asyncio.run(model.complete("parent"))
        child = os.fork()
        if child == 0:
            model.complete_sync("child")
            asyncio.run(model.complete("child"))
            model.close_sync()
            os._exit(0)
        assert os.waitpid(child, 0)[1] == 0
        model.complete_sync("parent")
        model.close_sync()
        print("fine")
        """
    )
    assert printed == "fine\n"
    by_whom: dict[int, set[str]] = {}
    for request in server.requests:
        asked = request.json()["messages"][0]["content"]
        by_whom.setdefault(request.connection, set()).add(asked)
    assert sorted(by_whom.values(), key=str) == [{"child"}, {"child"}, {"parent"}, {"parent"}]


def test_a_child_forked_while_another_thread_opens_a_connection_does_not_hang(
    server: LoopbackServer,
) -> None:
    server.always(whole())
    printed = script(
        f"""
        import os, threading, warnings
        warnings.simplefilter("ignore", DeprecationWarning)  # forking beside threads
        from locus import OpenAIModel
        model = OpenAIModel("m", {model_args(server)})
        held, go_on = threading.Event(), threading.Event()

        def hold():
            with model.connections.blocking._lock:
                held.set()
                go_on.wait()

        thread = threading.Thread(target=hold)
        thread.start()
        held.wait()
        child = os.fork()
        if child == 0:
            model.complete_sync("child")
            os._exit(0)
        assert os.waitpid(child, 0)[1] == 0
        go_on.set()
        thread.join()
        print("fine")
        """
    )
    assert printed == "fine\n"


# -- what a program says at its end ------------------------------------------------------------

PROGRAMS = {
    "two loops in a row": """
        for _ in range(2):
            asyncio.run(model.complete("x"))
            trio.run(model.complete, "x")
        """,
    "a model that nobody closes": """
        model.complete_sync("x")
        list(model.stream_sync("x", extra_headers={"want": "stream"}))
        """,
    "a stream that nobody finishes, kept": """
        kept = model.stream_sync("x", extra_headers={"want": "unfinished"})
        next(kept)
        """,
    "async streams that nobody finishes, kept": """
        kept = []
        async def main():
            for _ in range(3):
                kept.append(model.stream("x", extra_headers={"want": "unfinished"}))
                await anext(kept[-1])
        asyncio.run(main())
        trio.run(main)
        """,
    "async streams that nobody finishes, dropped with the loop": """
        async def main():
            stream = model.stream("x", extra_headers={"want": "unfinished"})
            await anext(stream)
        asyncio.run(main())
        trio.run(main)
        """,
    "async streams that nobody finishes, dropped after the loop": """
        kept = []
        async def main():
            kept.append(model.stream("x", extra_headers={"want": "unfinished"}))
            await anext(kept[-1])
        asyncio.run(main())
        trio.run(main)
        kept.clear()
        """,
    "a generator around a stream, abandoned": """
        async def words():
            async with model.stream("x", extra_headers={"want": "unfinished"}) as events:
                async for event in events:
                    yield event.content
        async def main():
            async for word in words():
                break
        asyncio.run(main())
        """,
    "a task that is cancelled with the loop": """
        async def read(begun):
            async for _ in model.stream("x", extra_headers={"want": "unfinished"}):
                begun.set()
        async def main():
            global task
            begun = asyncio.Event()
            task = asyncio.create_task(read(begun))
            await begun.wait()
        asyncio.run(main())
        """,
    "a cancelled stream": """
        async def main():
            with anyio.move_on_after(0.1):
                async for _ in model.stream("x", extra_headers={"want": "unfinished"}):
                    pass
            with anyio.move_on_after(0.1):
                await model.complete("x", extra_headers={"want": "silence"})
        asyncio.run(main())
        trio.run(main)
        """,
    "a stream that fails": """
        from locus import StreamInterruptedError
        async def main():
            try:
                async for _ in model.stream("x", extra_headers={"want": "cut"}):
                    pass
            except StreamInterruptedError as error:
                assert error.partial.content
            else:
                raise AssertionError
        asyncio.run(main())
        trio.run(main)
        """,
    "a model dropped inside the loop": """
        async def main():
            own = model.copy(base_url=model.config.base_url)
            await own.complete("x")
            del own
            gc.collect()
        asyncio.run(main())
        trio.run(main)
        """,
    "a loop made by hand": """
        loop = asyncio.new_event_loop()
        loop.run_until_complete(model.complete("x"))
        loop.run_until_complete(model.complete("x"))
        loop.run_until_complete(loop.shutdown_asyncgens())
        loop.close()
        """,
    "a running loop with blocking calls inside": """
        async def main():
            model.complete_sync("x")
            await model.complete("x")
        asyncio.run(main())
        trio.run(main)
        """,
    "an interrupt from the keyboard": """
        import signal
        async def main():
            async for _ in model.stream("x", extra_headers={"want": "unfinished"}):
                signal.raise_signal(signal.SIGINT)
        for run in (asyncio.run, lambda main: trio.run(main)):
            try:
                run(main() if run is asyncio.run else main)
            except KeyboardInterrupt:
                pass
            else:
                raise AssertionError
        try:
            for _ in model.stream_sync("x", extra_headers={"want": "unfinished"}):
                signal.raise_signal(signal.SIGINT)
        except KeyboardInterrupt:
            pass
        """,
}

WANTED: dict[str, Reply] = {
    "stream": streamed(),
    "unfinished": UNFINISHED,
    "silence": whole().stall(0, "head"),
    "cut": streamed().truncate(sum(map(len, PIECES[:4]))),
}


@pytest.mark.parametrize("name", PROGRAMS)
def test_a_program_says_nothing_at_its_end(server: LoopbackServer, name: str) -> None:
    server.always(lambda got: WANTED.get(got.headers.get("want", ""), whole()))
    opening = f"import asyncio, gc, anyio, trio\nmodel = OpenAIModel('m', {model_args(server)})\n"
    body = "\n".join(line.removeprefix(" " * 8) for line in PROGRAMS[name].split("\n"))
    with AtMost(15):
        script(f"from locus import OpenAIModel\n{opening}{body}")
    assert server.requests
    server.wait_closed(timeout=1)


def test_a_model_that_is_dropped_while_the_loop_ends_leaves_no_connection(backend: str) -> None:
    closed: list[str] = []
    pools = {name: AsyncPool() for name in ("first", "second")}

    class Sender:
        def __init__(self, name: str) -> None:
            self.name = name

        async def close(self) -> None:
            await anyio.lowlevel.checkpoint()
            pools.clear()  # as the garbage collector might do, at any time
            closed.append(self.name)

    async def main() -> None:
        loop = await current_loop()
        for name, pool in pools.items():
            sender: Any = Sender(name)
            loop.senders[weakref.ref(pool, loop.let_go)] = sender

    anyio.run(main, backend=backend)
    assert sorted(closed) == ["first", "second"]
