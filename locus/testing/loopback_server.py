"""A loopback HTTP/1.1 server for tests: it answers with any bytes, and breaks in any way asked.

It is a real server on a real socket, so a test sees what a user sees: timeouts, resets, dead
pooled connections, half an answer. It runs on plain threads with blocking sockets, one thread a
connection, and therefore works under blocking code, asyncio and trio alike. Requests are parsed
by `h11`; answers are written by hand, since h11 (rightly) refuses to write most of what a test
of a client needs.

    with LoopbackServer() as server:
        server.enqueue(Reply.error(429, retry_after=1), Reply.json({"ok": True}))
        ...  # point the client at server.url
        assert [r.path for r in server.requests] == ["/v1/chat", "/v1/chat"]
        server.wait_closed(timeout=1)
"""

from __future__ import annotations

import contextlib
import selectors
import socket
import threading
import time
import traceback
from collections import deque
from collections.abc import Callable
from fnmatch import fnmatchcase
from types import TracebackType

import h11

from locus.testing._loopback_connection import Connection, Received, shutdown
from locus.testing._loopback_faults import FAULTS, Fault, Outcome, Phase
from locus.testing._loopback_reply import Ending, Framing, Pause, Piece, Reply, Stop

__all__ = [
    "FAULTS",
    "Answer",
    "Ending",
    "Fault",
    "Framing",
    "LoopbackServer",
    "Outcome",
    "Pause",
    "Phase",
    "Piece",
    "Received",
    "Reply",
    "Stop",
]


Answer = Reply | Callable[[Received], Reply]
"""A reply, or a function that makes one when the request has arrived."""


class LoopbackServer:
    """A server on `127.0.0.1` and a free port, for the length of a `with` block.

    Each request is answered by the first of these that has something for it: a `route` whose
    method and path match, the replies given to `enqueue` (one request each, in order), then
    `always`. A request that nothing answers gets a 404 that says so (a status nobody retries)
    and is an error of the test.

    Errors surface twice: the client gets a 500 with the traceback of a failing callable, and
    `close`, and so the end of the `with` block, raises the error itself, or an `ExceptionGroup`
    of several. If the block is already failing, they are notes on its exception instead.

    The methods may be called from any thread, also from a callable reply. The server belongs
    to the process that made it; forked or spawned children may be its clients.
    """

    def __init__(self) -> None:
        # One condition guards all of the state below; it is notified whenever a request has
        # arrived or a connection has come or gone.
        self._changed = threading.Condition()
        self._routes: dict[tuple[str, str], deque[Answer]] = {}
        self._queue: deque[Answer] = deque()
        self._fallback: deque[Answer] = deque()
        self._requests: list[Received] = []
        self._errors: list[BaseException] = []
        self._sockets: dict[int, socket.socket] = {}
        self._threads: list[threading.Thread] = []
        self._total = 0
        self._listener: socket.socket | None = None
        self._port = 0

    # -- life ------------------------------------------------------------------------------

    def start(self) -> LoopbackServer:
        """Listen, until `close`. Entering a `with` block calls this; a server starts once."""
        if self._port:
            raise RuntimeError("a loopback server starts once; make another")
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=1024)
        self._port = self._listener.getsockname()[1]
        # Ending this pair is the portable way to wake the accepting thread.
        self._stop, woken = socket.socketpair()
        self._acceptor = threading.Thread(
            target=self._accept, args=(self._listener, woken), name="loopback", daemon=True
        )
        self._acceptor.start()
        return self

    def close(self, timeout: float = 5.0) -> None:
        """Stop listening, drop every connection, and wait for every thread.

        Stalls and pauses end at once; only a callable reply that is still running is waited
        for, `timeout` seconds. Then raises what went wrong, once. Closing again does nothing.
        """
        errors = self._shut(timeout)
        if len(errors) > 1:
            raise BaseExceptionGroup("the loopback server could not answer", errors)
        if errors:
            raise errors[0]

    def __enter__(self) -> LoopbackServer:
        return self.start()

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if error is None:
            self.close()
            return
        for own in self._shut(timeout=5.0):
            error.add_note("loopback server: " + "".join(traceback.format_exception_only(own)))

    def _shut(self, timeout: float) -> list[BaseException]:
        if self._listener is None:
            return []
        shutdown(self._stop)
        self._stop.close()
        self._acceptor.join()
        self._listener.close()
        self._listener = None
        with self._changed:
            for sock in self._sockets.values():
                shutdown(sock)
        deadline = time.monotonic() + timeout
        for thread in self._threads:
            thread.join(max(0.0, deadline - time.monotonic()))
        if stuck := [thread.name for thread in self._threads if thread.is_alive()]:
            self._errors.append(RuntimeError(f"a callable reply still runs in {stuck}"))
        return self._errors

    @property
    def url(self) -> str:
        """`http://127.0.0.1:PORT`, without a slash at the end."""
        if not self._port:
            raise RuntimeError("the loopback server has not started: use it in a with block")
        return f"http://127.0.0.1:{self._port}"

    # -- what it answers -------------------------------------------------------------------

    def enqueue(self, *answers: Answer) -> None:
        """Answer the next requests with these, one each."""
        with self._changed:
            self._queue.extend(answers)

    def always(self, *answers: Answer) -> None:
        """Answer what nothing else does: with each of these in turn, then the last for ever."""
        with self._changed:
            self._fallback = deque(answers)

    def route(self, method: str, path: str, *answers: Answer) -> None:
        """As `always`, for requests to one path. Both may be patterns (`"*"`, `"/v1/*"`)."""
        with self._changed:
            self._routes[method, path] = deque(answers)

    # -- what it saw -----------------------------------------------------------------------

    @property
    def requests(self) -> tuple[Received, ...]:
        """Every request so far, in order of arrival; each stands here before it is answered."""
        with self._changed:
            return tuple(self._requests)

    @property
    def connections_open(self) -> int:
        """How many connections are open now, seen from here."""
        with self._changed:
            return len(self._sockets)

    @property
    def connections_total(self) -> int:
        """How many connections were ever accepted."""
        with self._changed:
            return self._total

    def wait_closed(self, timeout: float = 5.0, remaining: int = 0) -> None:
        """Block until at most `remaining` connections are open, or raise `TimeoutError`.

        A client that lets go of a connection is noticed at once while the server waits for a
        request, pauses or stalls. In async code, call it in a worker thread.
        """
        self._wait(lambda: len(self._sockets) <= remaining, timeout, "connections to close")

    def wait_requests(self, count: int = 1, timeout: float = 5.0) -> None:
        """Block until `count` requests have arrived in all, or raise `TimeoutError`."""
        self._wait(lambda: len(self._requests) >= count, timeout, f"{count} requests")

    def _wait(self, true: Callable[[], bool], timeout: float, what: str) -> None:
        with self._changed:
            if not self._changed.wait_for(true, timeout):
                raise TimeoutError(
                    f"waited {timeout} s for {what}: {len(self._sockets)} connections open, "
                    f"{len(self._requests)} requests received"
                )

    # -- how it runs -----------------------------------------------------------------------

    def _accept(self, listener: socket.socket, woken: socket.socket) -> None:
        with woken, selectors.DefaultSelector() as selector:
            selector.register(listener, selectors.EVENT_READ)
            selector.register(woken, selectors.EVENT_READ)
            while all(key.fileobj is listener for key, _ in selector.select()):
                sock, _ = listener.accept()
                with self._changed:
                    self._total += 1
                    self._sockets[self._total] = sock
                    thread = threading.Thread(
                        target=self._serve,
                        args=(sock, self._total),
                        name=f"loopback-{self._total}",
                        daemon=True,
                    )
                    self._threads = [t for t in self._threads if t.is_alive()]
                    self._threads.append(thread)
                    self._changed.notify_all()
                    thread.start()
        # Also ends the listening of copies that a forked child may hold.
        shutdown(listener)

    def _serve(self, sock: socket.socket, number: int) -> None:
        try:
            with sock, contextlib.suppress(OSError):  # the client left, or the server stops
                self._converse(Connection(sock, number))
        finally:
            with self._changed:
                del self._sockets[number]
                self._changed.notify_all()

    def _converse(self, connection: Connection) -> None:
        if reply := self._on_accept():
            connection.play(reply, None)
            return
        try:
            while (received := connection.read()) is not None:
                if not connection.play(self._answer(received), received):
                    return
        except h11.RemoteProtocolError as error:
            connection.play(Reply.error(400, f"not an HTTP request: {error}"), None)

    def _on_accept(self) -> Reply | None:
        """The next reply, if it wants no request at all."""
        with self._changed:
            waiting = self._queue or self._fallback
            first = waiting[0] if waiting else None
            if not isinstance(first, Reply) or first.stop != "accept":
                return None
            if waiting is self._queue or len(waiting) > 1:
                waiting.popleft()
            return first

    def _answer(self, received: Received) -> Reply:
        with self._changed:
            self._requests.append(received)
            self._changed.notify_all()
            answer = self._choose(received)
            if answer is None:
                what = f"the loopback server has no reply for {received.method} {received.target}"
                self._errors.append(AssertionError(f"{what} (request {len(self._requests)})"))
                return Reply.error(404, what)
        if isinstance(answer, Reply):
            return answer
        try:
            reply = answer(received)
            if not isinstance(reply, Reply):
                raise TypeError(f"a callable reply returned {reply!r}, not a Reply")
        # Whatever the user's function raises, `pytest.fail` included, `close` raises again.
        except BaseException as error:  # noqa: BLE001
            with self._changed:
                self._errors.append(error)
            text = "".join(traceback.format_exception(error))
            return Reply(500, {"content-type": "text/plain; charset=utf-8"}, text.encode())
        return reply

    def _choose(self, received: Received) -> Answer | None:
        for (method, path), answers in self._routes.items():
            if fnmatchcase(received.method, method) and fnmatchcase(received.path, path):
                return _next(answers)
        return self._queue.popleft() if self._queue else _next(self._fallback)


def _next(answers: deque[Answer]) -> Answer | None:
    """Each in turn, then the last for ever."""
    if len(answers) > 1:
        return answers.popleft()
    return answers[0] if answers else None
