"""The lifetime of connections and streams, on each runtime and between runtimes.

Warnings are errors, those of finalizers too: each test collects its garbage before it ends. What a
loop or an interpreter prints when it ends is checked by running a script in a process of its own.
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
from locus.testing.formats.runtimes import Runtime, run_async
from locus.testing.server import LoopbackServer, Pause, Reply
from locus.transport.async_pool import AsyncPool
from locus.transport.loop_state import LoopResource, release_at_loop_end
from tests.support.chat_replies import TEXT, TEXT_CHUNKS, build_reply, build_stream_reply, join_text
from tests.support.servers.openai_server import API_KEY, make_model
from tests.support.subprocess_scripts import run_script
from tests.support.timing import FOREVER, HANG_SECONDS, HangGuard

pytestmark = pytest.mark.usefixtures("no_leaks")

STREAM_PARTS = build_stream_reply().body
UNFINISHED = build_stream_reply().stall(sum(map(len, STREAM_PARTS[:4])))
"""Three chunks of text, then silence."""


async def wait_for_no_connections(server: LoopbackServer) -> None:
    """Wait until the server has no open connection."""
    await anyio.to_thread.run_sync(server.wait_closed, HANG_SECONDS)


def format_model_arguments(server: LoopbackServer) -> str:
    return f"api_key={API_KEY!r}, base_url='{server.url}/v1', timeout={FOREVER}, max_retries=0"


def test_a_stream_that_two_tasks_read_is_requested_once(
    server: LoopbackServer, backend: str
) -> None:
    server.always(build_stream_reply())
    errors: list[str] = []

    async def main() -> None:
        stream = make_model(server).stream("hello")

        async def read() -> None:
            try:
                await anext(stream)
            except RuntimeError as error:
                errors.append(str(error))

        async with stream, anyio.create_task_group() as tasks:
            tasks.start_soon(read)
            tasks.start_soon(read)

    anyio.run(main, backend=backend)
    assert len(errors) == 1
    assert "another task" in errors[0]
    assert len(server.requests) == 1


# -- leaving a stream --------------------------------------------------------------------------


def test_leaving_a_loop_and_dropping_the_stream_closes_the_connection(
    server: LoopbackServer, backend: str
) -> None:
    server.always(UNFINISHED)
    model = make_model(server)
    for event in model.stream_sync("hello"):
        assert event.content == TEXT_CHUNKS[0]
        break
    server.wait_closed()

    async def main() -> None:
        async for event in model.stream("hello"):
            assert event.content == TEXT_CHUNKS[0]
            break
        await wait_for_no_connections(server)

    run_async(backend, main)


def test_leaving_the_context_closes_the_connection(server: LoopbackServer, backend: str) -> None:
    server.always(UNFINISHED)
    model = make_model(server)
    with model.stream_sync("hello") as stream:
        next(stream)
    server.wait_closed()

    async def main() -> None:
        async with model.stream("hello") as stream:
            await anext(stream)
        await wait_for_no_connections(server)
        with pytest.raises(StopAsyncIteration):
            await anext(stream)

    run_async(backend, main)


def test_an_error_in_the_body_of_the_loop_closes_the_connection(
    server: LoopbackServer, backend: str
) -> None:
    server.always(UNFINISHED)
    model = make_model(server)

    def raise_in_loop() -> None:
        with model.stream_sync("hello") as events:
            for _ in events:
                raise LookupError("in the loop")

    async def raise_in_async_loop() -> None:
        async with model.stream("hello") as events:
            async for _ in events:
                raise LookupError("in the loop")

    async def main() -> None:
        with pytest.raises(LookupError):
            await raise_in_async_loop()
        await wait_for_no_connections(server)

    with pytest.raises(LookupError):
        raise_in_loop()
    server.wait_closed()
    run_async(backend, main)


def test_a_stream_dropped_in_the_middle_closes_its_connection(
    server: LoopbackServer, runtime: Runtime
) -> None:
    server.always(UNFINISHED)
    model = make_model(server)
    events = runtime.open_stream(model, "hello")
    next(events)
    assert server.connections_open == 1
    del events
    server.wait_closed()


def test_a_stream_dropped_by_the_garbage_collector_closes_its_connection(
    server: LoopbackServer, runtime: Runtime
) -> None:
    server.always(UNFINISHED)
    events = runtime.open_stream(make_model(server), "hello")
    next(events)
    cycle: list[Any] = [events]
    cycle.append(cycle)
    del events, cycle
    gc.collect()
    server.wait_closed()


def test_a_stream_wrapped_in_a_generator_is_closed_with_it(
    server: LoopbackServer, backend: str
) -> None:
    server.always(UNFINISHED)
    model = make_model(server)

    async def iter_texts() -> Any:
        async with model.stream("hello") as events:
            async for event in events:
                yield event.content

    async def main() -> None:
        generator = iter_texts()
        assert await anext(generator) == TEXT_CHUNKS[0]
        await generator.aclose()
        await wait_for_no_connections(server)

    run_async(backend, main)


def test_a_stream_after_a_retry_is_closed_at_once_too(server: LoopbackServer, backend: str) -> None:
    """The error of the first attempt has a traceback, which refers to the frames."""
    gc.disable()
    try:
        server.always(build_reply().reset(0, "head"), UNFINISHED)
        model = make_model(server, max_retries=1)
        for _ in model.stream_sync("hello"):
            break
        server.wait_closed()

        async def main() -> None:
            async for _ in model.stream("hello"):
                break
            await wait_for_no_connections(server)

        server.always(build_reply().reset(0, "head"), UNFINISHED)
        run_async(backend, main)
    finally:
        gc.enable()


def test_many_streams_left_early_leave_no_connections(server: LoopbackServer, backend: str) -> None:
    server.always(UNFINISHED)
    model = make_model(server)

    async def main() -> None:
        for _ in range(20):
            async for _ in model.stream("hello"):
                break
        await wait_for_no_connections(server)
        server.always(build_reply())
        assert (await model.complete("hello")).content == TEXT
        assert server.connections_open == 1

    run_async(backend, main)


def test_closing_a_stream_ends_the_task_that_reads_it(server: LoopbackServer, backend: str) -> None:
    server.always(UNFINISHED)

    async def main() -> None:
        stream = make_model(server).stream("hello")
        results: list[Any] = []
        third = anyio.Event()

        async def read() -> None:
            try:
                async for event in stream:
                    results.append(event)
                    if len(results) == 3:
                        third.set()
            except APIConnectionError as error:
                results.append(error)

        async with anyio.create_task_group() as group:
            group.start_soon(read)
            await third.wait()
            await anyio.sleep(0.05)  # the task is waiting for a fourth event by now
            with HangGuard():
                await stream.aclose()
                await wait_for_no_connections(server)
        assert len(results) == 3 or isinstance(results[3], APIConnectionError)

    run_async(backend, main)


# -- cancelling --------------------------------------------------------------------------------

WAITS = {
    "for the headers": build_reply().stall(0, "head"),
    "in the body": build_reply().stall(20),
    "for the retry": Reply.error(429, retry_after=HANG_SECONDS),
}


async def cancel_while_waiting(server: LoopbackServer, scope: anyio.CancelScope) -> None:
    """Cancel after the server has the request; usually it has replied by then."""
    await anyio.to_thread.run_sync(server.wait_requests)
    await anyio.sleep(0.03)
    scope.cancel()


@pytest.mark.parametrize("wait", WAITS)
def test_cancelling_a_complete_response(server: LoopbackServer, backend: str, wait: str) -> None:
    server.always(WAITS[wait])
    model = make_model(server, max_retries=2)

    async def main() -> None:
        with HangGuard():
            async with anyio.create_task_group() as group:
                group.start_soon(cancel_while_waiting, server, group.cancel_scope)
                await model.complete("hello")
        assert group.cancel_scope.cancelled_caught
        await anyio.to_thread.run_sync(
            server.wait_closed, HANG_SECONDS, int(wait == "for the retry")
        )
        server.always(build_reply())
        assert (await model.complete("hello")).content == TEXT

    run_async(backend, main)


@pytest.mark.parametrize("wait", [*WAITS, "in the middle"])
@pytest.mark.parametrize("as_context", [False, True], ids=["bare", "context"])
def test_cancelling_a_stream(
    server: LoopbackServer, backend: str, wait: str, as_context: bool
) -> None:
    server.always(WAITS.get(wait, UNFINISHED))
    model = make_model(server, max_retries=2)

    async def main() -> None:
        with HangGuard():
            async with anyio.create_task_group() as group:
                group.start_soon(cancel_while_waiting, server, group.cancel_scope)
                if as_context:
                    async with model.stream("hello") as events:
                        async for _ in events:
                            pass
                else:
                    async for _ in model.stream("hello"):
                        pass
        assert group.cancel_scope.cancelled_caught
        await anyio.to_thread.run_sync(
            server.wait_closed, HANG_SECONDS, int(wait == "for the retry")
        )
        server.always(build_stream_reply())
        assert join_text([event async for event in model.stream("hello")]) == TEXT

    run_async(backend, main)


@pytest.mark.parametrize("as_context", [False, True], ids=["bare", "context"])
def test_cancelling_in_the_body_of_the_loop(
    server: LoopbackServer, backend: str, as_context: bool
) -> None:
    server.always(UNFINISHED)
    model = make_model(server)

    async def main() -> None:
        with HangGuard(), anyio.CancelScope() as scope:
            if as_context:
                async with model.stream("hello") as events:
                    async for _ in events:
                        scope.cancel()
                        await anyio.sleep(FOREVER)
            else:
                async for _ in model.stream("hello"):
                    scope.cancel()
                    await anyio.sleep(FOREVER)
        assert scope.cancelled_caught
        await wait_for_no_connections(server)

    run_async(backend, main)


def test_cancelling_a_task_of_asyncio_itself(server: LoopbackServer) -> None:
    server.always(UNFINISHED)
    model = make_model(server)

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
        await wait_for_no_connections(server)

    asyncio.run(main())


def test_one_failing_task_cancels_the_streams_beside_it(
    server: LoopbackServer, backend: str
) -> None:
    server.always(UNFINISHED)
    model = make_model(server)

    async def read() -> None:
        async for _ in model.stream("hello"):
            pass

    async def fail() -> None:
        await anyio.to_thread.run_sync(server.wait_requests, 5, HANG_SECONDS)
        raise LookupError("beside")

    async def run_all_tasks() -> None:
        async with anyio.create_task_group() as group:
            for _ in range(5):
                group.start_soon(read)
            group.start_soon(fail)

    async def main() -> None:
        with pytest.raises(ExceptionGroup) as exc_info:
            await run_all_tasks()
        assert [type(error) for error in exc_info.value.exceptions] == [LookupError]
        await wait_for_no_connections(server)

    run_async(backend, main)


# -- closing -----------------------------------------------------------------------------------


def test_closing_releases_the_connections_and_may_be_repeated(
    server: LoopbackServer, runtime: Runtime
) -> None:
    server.always(build_reply())
    model = make_model(server)
    runtime.close(model)
    runtime.complete(model, "hello")
    assert server.connections_open == 1
    runtime.close(model)
    server.wait_closed()
    runtime.close(model)


def test_a_closed_model_reconnects(server: LoopbackServer, runtime: Runtime) -> None:
    server.always(build_reply())
    model = make_model(server)
    for number in (1, 2):
        assert runtime.complete(model, "hello").content == TEXT
        runtime.close(model)
        assert server.connections_total == number


def test_closing_the_model_ends_its_streams_with_an_error(
    server: LoopbackServer, runtime: Runtime
) -> None:
    server.always(UNFINISHED)
    model = make_model(server)
    events = runtime.open_stream(model, "hello")
    results = [next(events), next(events), next(events)]
    runtime.close(model)
    server.wait_closed()
    with pytest.raises(APIError) as exc_info:
        next(events)
    assert exc_info.value.partial is not None
    assert exc_info.value.partial.content == join_text(results)


def test_closing_in_the_loop_closes_the_blocking_connections_too(
    server: LoopbackServer, backend: str
) -> None:
    server.always(build_reply())
    model = make_model(server)
    model.complete_sync("hello")

    async def main() -> None:
        await model.complete("hello")
        assert server.connections_open == 2
        await model.close()
        await wait_for_no_connections(server)

    run_async(backend, main)


def test_a_dropped_model_closes_its_connections(server: LoopbackServer, backend: str) -> None:
    server.always(build_reply())
    make_model(server).complete_sync("hello")
    server.wait_closed()

    async def main() -> None:
        await make_model(server).complete("hello")
        await make_model(server).complete("hello")  # closes the connection of the model before
        await anyio.to_thread.run_sync(server.wait_closed, HANG_SECONDS, 1)

    run_async(backend, main)
    server.wait_closed()


def test_a_loop_that_ends_closes_its_connections(server: LoopbackServer, backend: str) -> None:
    server.always(build_reply())
    model = make_model(server)
    run_async(backend, model.complete, "hello")
    server.wait_closed()


def test_a_loop_that_ends_closes_the_streams_of_a_custom_client(
    server: LoopbackServer, backend: str
) -> None:
    import httpx

    server.always(UNFINISHED)
    client = httpx.AsyncClient(trust_env=False)
    model = make_model(server, http_client=client)
    streams = []

    async def main() -> None:
        streams.append(model.stream("hello"))
        await anext(streams[0])

    run_async(backend, main)
    server.wait_closed()
    streams.clear()


def test_a_stream_that_outlives_its_loop_raises_an_error(
    server: LoopbackServer, backend: str
) -> None:
    server.always(UNFINISHED)
    model = make_model(server)
    streams = []

    async def read_first_event() -> None:
        streams.append(model.stream("hello"))
        await anext(streams[0])

    async def read_next_event() -> None:
        with pytest.raises(APIError) as exc_info:
            async for _ in streams[0]:
                pass
        assert exc_info.value.partial is not None
        await streams[0].aclose()

    run_async(backend, read_first_event)
    run_async(backend, read_next_event)


def test_a_loop_that_ends_is_released(server: LoopbackServer) -> None:
    """A program that starts a loop for every call does not leak memory."""
    server.always(UNFINISHED)
    model = make_model(server)
    loops: list[weakref.ref[Any]] = []
    streams = []

    async def main() -> None:
        loops.append(weakref.ref(asyncio.get_running_loop()))
        stream = model.stream("hello")
        await anext(stream)
        streams.append(stream)

    for _ in range(3):
        asyncio.run(main())
        streams.clear()
    for _ in range(3):
        gc.collect()
    assert [reference() for reference in loops[:-1]] == [None, None]


# -- several loops, several threads ------------------------------------------------------------


def test_one_model_serves_loop_after_loop(server: LoopbackServer) -> None:
    server.always(build_reply(), build_stream_reply())
    model = make_model(server)

    async def stream() -> str:
        return join_text([event async for event in model.stream("hello")])

    for runtime_name in ("asyncio", "trio", "asyncio", "trio"):
        server.always(build_reply(), build_stream_reply())
        assert run_async(runtime_name, model.complete, "hello").content == TEXT
        assert run_async(runtime_name, stream) == TEXT
    server.wait_closed()


def test_blocking_calls_work_inside_a_running_loop(server: LoopbackServer, backend: str) -> None:
    server.always(
        Reply.error(429, headers={"retry-after-ms": "1"}),
        build_reply(),
        build_stream_reply(),
        build_reply(),
    )
    model = make_model(server, max_retries=1)

    async def main() -> None:
        assert model.complete_sync("hello").content == TEXT
        assert join_text(model.stream_sync("hello")) == TEXT
        assert (await model.complete("hello")).content == TEXT
        model.close_sync()
        await model.aclose()

    run_async(backend, main)


def test_threads_share_a_model(server: LoopbackServer) -> None:
    server.route(
        "POST",
        "*",
        lambda received: build_stream_reply() if received.json().get("stream") else build_reply(),
    )
    model = make_model(server)
    start = threading.Barrier(32)

    def call_repeatedly(number: int) -> list[str]:
        start.wait()
        if number % 2:
            return [join_text(model.stream_sync("hello")) for _ in range(4)]
        return [model.complete_sync("hello").content for _ in range(4)]

    with ThreadPoolExecutor(32) as threads:
        assert list(threads.map(call_repeatedly, range(32))) == [[TEXT] * 4] * 32
    assert server.connections_total <= 32
    model.close_sync()


def test_every_runtime_at_once_in_separate_threads(server: LoopbackServer) -> None:
    server.route(
        "POST",
        "*",
        lambda received: build_stream_reply() if received.json().get("stream") else build_reply(),
    )
    model = make_model(server)
    start = threading.Barrier(6)

    async def call_async() -> list[str]:
        results = []
        for _ in range(5):
            results.append((await model.complete("hello")).content)
            results.append(join_text([event async for event in model.stream("hello")]))
        return results

    def call_blocking() -> list[str]:
        results = []
        for _ in range(5):
            results += [model.complete_sync("hello").content, join_text(model.stream_sync("hello"))]
        return results

    def call_repeatedly(runtime_name: str) -> list[str]:
        start.wait()
        return (
            call_blocking() if runtime_name == "blocking" else run_async(runtime_name, call_async)
        )

    with ThreadPoolExecutor(6) as threads:
        done = threads.map(call_repeatedly, ["asyncio", "trio", "blocking"] * 2)
        assert list(done) == [[TEXT] * 10] * 6
    model.close_sync()
    server.wait_closed()


def test_an_event_loop_inside_a_thread_of_an_event_loop(
    server: LoopbackServer, backend: str
) -> None:
    server.always(build_reply())
    model = make_model(server)
    inner_backend = {"asyncio": "trio", "trio": "asyncio"}[backend]

    async def main() -> None:
        await model.complete("hello")
        response = await anyio.to_thread.run_sync(run_async, inner_backend, model.complete, "hello")
        assert response.content == TEXT
        assert (await model.complete("hello")).content == TEXT

    run_async(backend, main)
    assert server.connections_total == 2


def test_a_loop_in_a_thread_can_drop_another_loops_stream(server: LoopbackServer) -> None:
    server.always(UNFINISHED)
    model = make_model(server)

    async def main() -> None:
        box = [model.stream("hello")]
        await anext(box[0])

        async def drop_stream() -> None:
            box.clear()

        await anyio.to_thread.run_sync(run_async, "trio", drop_stream)
        await wait_for_no_connections(server)
        server.always(build_reply())
        assert (await model.complete("hello")).content == TEXT

    run_async("asyncio", main)


def test_two_hundred_streams_at_once_in_one_loop(server: LoopbackServer, backend: str) -> None:
    together = threading.Event()
    server.always(
        Reply.stream(
            [*STREAM_PARTS[:2], Pause(FOREVER, together), *STREAM_PARTS[2:]],
            headers=build_stream_reply().headers,
        )
    )
    model = make_model(server)
    results: list[str] = []

    async def read() -> None:
        results.append(join_text([event async for event in model.stream("hello")]))

    async def main() -> None:
        async with anyio.create_task_group() as group:
            for _ in range(200):
                group.start_soon(read)
            await anyio.to_thread.run_sync(server.wait_requests, 200)
            together.set()

    run_async(backend, main)
    assert results == [TEXT] * 200
    assert server.connections_total == 200
    server.wait_closed()


# -- processes ---------------------------------------------------------------------------------


def test_an_unpickled_model_is_equal_and_opens_its_own_connections(
    server: LoopbackServer, runtime: Runtime
) -> None:
    server.always(build_reply())
    model = make_model(server).bind_tools([], seed=7)
    runtime.complete(model, "hello")
    other = pickle.loads(pickle.dumps(model))
    assert other == model
    assert hash(other) == hash(model)
    assert runtime.complete(other, "hello").content == TEXT
    assert [request.json()["seed"] for request in server.requests] == [7, 7]
    assert [request.connection for request in server.requests] == [1, 2]


def test_a_model_can_be_sent_to_a_spawned_process(server: LoopbackServer) -> None:
    server.always(build_reply())
    model = make_model(server)
    model.complete_sync("hello")  # it has connections here
    printed = run_script(
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
    assert {request.headers["authorization"] for request in server.requests} == {
        f"Bearer {API_KEY}"
    }


def test_a_forked_child_opens_its_own_connections(server: LoopbackServer) -> None:
    server.always(build_reply())
    printed = run_script(
        f"""
        import os, asyncio
        from locus import OpenAIModel
        model = OpenAIModel("m", {format_model_arguments(server)})
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
    prompts_by_connection: dict[int, set[str]] = {}
    for request in server.requests:
        prompt = request.json()["messages"][0]["content"]
        prompts_by_connection.setdefault(request.connection, set()).add(prompt)
    assert sorted(prompts_by_connection.values(), key=str) == [
        {"child"},
        {"child"},
        {"parent"},
        {"parent"},
    ]


def test_a_child_forked_while_another_thread_opens_a_connection_does_not_hang(
    server: LoopbackServer,
) -> None:
    server.always(build_reply())
    printed = run_script(
        f"""
        import os, socket, threading, warnings
        warnings.simplefilter("ignore", DeprecationWarning)  # forking beside threads
        from locus import OpenAIModel
        model = OpenAIModel("m", {format_model_arguments(server)})
        opening, go_on = threading.Event(), threading.Event()
        look_up = socket.getaddrinfo

        def look_up_slowly(*args, **kw):
            if threading.current_thread() is thread:
                opening.set()
                go_on.wait()
            return look_up(*args, **kw)

        socket.getaddrinfo = look_up_slowly
        thread = threading.Thread(target=model.complete_sync, args=["thread"])
        thread.start()
        opening.wait()
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


# -- what a program prints at its end ----------------------------------------------------------

PROGRAMS = {
    "two loops in a row": """
        for _ in range(2):
            asyncio.run(model.complete("x"))
            trio.run(model.complete, "x")
        """,
    "a model that is not closed": """
        model.complete_sync("x")
        list(model.stream_sync("x", extra_headers={"reply": "stream"}))
        """,
    "an unfinished stream, still referenced": """
        stream = model.stream_sync("x", extra_headers={"reply": "unfinished"})
        next(stream)
        """,
    "unfinished async streams, still referenced": """
        streams = []
        async def main():
            for _ in range(3):
                streams.append(model.stream("x", extra_headers={"reply": "unfinished"}))
                await anext(streams[-1])
        asyncio.run(main())
        trio.run(main)
        """,
    "unfinished async streams, dropped with the loop": """
        async def main():
            stream = model.stream("x", extra_headers={"reply": "unfinished"})
            await anext(stream)
        asyncio.run(main())
        trio.run(main)
        """,
    "unfinished async streams, dropped after the loop": """
        streams = []
        async def main():
            streams.append(model.stream("x", extra_headers={"reply": "unfinished"}))
            await anext(streams[-1])
        asyncio.run(main())
        trio.run(main)
        streams.clear()
        """,
    "a generator around a stream, abandoned": """
        async def iter_texts():
            async with model.stream("x", extra_headers={"reply": "unfinished"}) as events:
                async for event in events:
                    yield event.content
        async def main():
            async for text in iter_texts():
                break
        asyncio.run(main())
        """,
    "a task that is cancelled with the loop": """
        async def read(started):
            async for _ in model.stream("x", extra_headers={"reply": "unfinished"}):
                started.set()
        async def main():
            global task
            started = asyncio.Event()
            task = asyncio.create_task(read(started))
            await started.wait()
        asyncio.run(main())
        """,
    "a cancelled stream": """
        async def main():
            with anyio.move_on_after(0.1):
                async for _ in model.stream("x", extra_headers={"reply": "unfinished"}):
                    pass
            with anyio.move_on_after(0.1):
                await model.complete("x", extra_headers={"reply": "silence"})
        asyncio.run(main())
        trio.run(main)
        """,
    "a stream that fails": """
        from locus import StreamInterruptedError
        async def main():
            try:
                async for _ in model.stream("x", extra_headers={"reply": "cut"}):
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
            other = model.copy(base_url=model.config.base_url)
            await other.complete("x")
            del other
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
            async for _ in model.stream("x", extra_headers={"reply": "unfinished"}):
                signal.raise_signal(signal.SIGINT)
        for run in (asyncio.run, lambda main: trio.run(main)):
            try:
                run(main() if run is asyncio.run else main)
            except KeyboardInterrupt:
                pass
            else:
                raise AssertionError
        try:
            for _ in model.stream_sync("x", extra_headers={"reply": "unfinished"}):
                signal.raise_signal(signal.SIGINT)
        except KeyboardInterrupt:
            pass
        """,
}

REPLIES: dict[str, Reply] = {
    "stream": build_stream_reply(),
    "unfinished": UNFINISHED,
    "silence": build_reply().stall(0, "head"),
    "cut": build_stream_reply().truncate(sum(map(len, STREAM_PARTS[:4]))),
}


@pytest.mark.parametrize("name", PROGRAMS)
def test_a_program_prints_no_warnings_at_its_end(server: LoopbackServer, name: str) -> None:
    server.always(lambda received: REPLIES.get(received.headers.get("reply", ""), build_reply()))
    arguments = format_model_arguments(server)
    prelude = f"import asyncio, gc, anyio, trio\nmodel = OpenAIModel('m', {arguments})\n"
    body = "\n".join(line.removeprefix(" " * 8) for line in PROGRAMS[name].split("\n"))
    run_script(f"from locus import OpenAIModel\n{prelude}{body}")
    assert server.requests
    server.wait_closed()


def test_a_model_that_is_dropped_while_the_loop_ends_leaves_no_connection(backend: str) -> None:
    closed: list[str] = []
    pools = {name: AsyncPool() for name in ("first", "second")}

    class Resource(LoopResource):
        def __init__(self, name: str) -> None:
            self.name = name

        async def aclose(self) -> None:
            await anyio.lowlevel.checkpoint()
            pools.clear()  # the garbage collector might do this at any time
            closed.append(self.name)

    async def main() -> None:
        for name, pool in pools.items():
            release_at_loop_end(pool, Resource(name))

    anyio.run(main, backend=backend)
    assert sorted(closed) == ["first", "second"]
