"""A loopback HTTP/1.1 server for tests, which sends any bytes and simulates any fault.

It is a real server on a real socket, so a test meets what a user meets: timeouts, resets, closed
connections in the pool, incomplete responses. It runs in threads with blocking sockets, one thread
per connection, and therefore works with blocking code, asyncio and trio. Requests are parsed by
``h11``. Replies are written without h11, which (rightly) refuses to write most of what a test of a
client needs.

    with LoopbackServer() as server:
        server.enqueue(Reply.error(429, retry_after=1), Reply.json({"ok": True}))
        ...  # point the client at server.url
        assert [r.path for r in server.requests] == ["/v1/chat", "/v1/chat"]
        server.wait_closed()
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

from locus.testing._loopback_faults import FAULTS, Fault, Outcome, Phase
from locus.testing._loopback_reply import BodyChunk, Ending, Framing, Pause, Reply, ReplyPart
from locus.testing._server_connection import Connection, Received, shut_down_socket

__all__ = [
    "FAULTS",
    "BodyChunk",
    "Ending",
    "Fault",
    "Framing",
    "LoopbackServer",
    "Outcome",
    "Pause",
    "Phase",
    "Received",
    "Reply",
    "ReplyOrFactory",
    "ReplyPart",
]


ReplyOrFactory = Reply | Callable[[Received], Reply]
"""A reply, or a function that makes one from the request."""


class LoopbackServer:
    """A server on ``127.0.0.1`` and a free port, which runs inside a ``with`` block.

    The reply to a request comes from the first of these that has one: ``route``, if the
    method and the path match; ``enqueue`` (one request each, in order);
    ``always``. A request without a reply gets a 404 (a status that nobody retries),
    and is an error of the test.

    If a function that makes replies fails, the client gets a 500 with the traceback, and ``close``
    (so also the end of the ``with`` block) raises the error, or an ``ExceptionGroup`` of several.
    If the block itself has raised an exception, the errors are added to it as notes.

    The methods may be called from any thread, also by a function that makes replies. The server
    belongs to the process that started it; forked or spawned children may be its clients.
    """

    def __init__(self) -> None:
        # This condition protects the attributes below. It is notified when a request has arrived,
        # and when a connection was opened or closed.
        self._condition = threading.Condition()
        self._route_replies: dict[tuple[str, str], deque[ReplyOrFactory]] = {}
        self._queued_replies: deque[ReplyOrFactory] = deque()
        self._default_replies: deque[ReplyOrFactory] = deque()
        self._requests: list[Received] = []
        self._errors: list[BaseException] = []
        self._sockets: dict[int, socket.socket] = {}
        self._threads: list[threading.Thread] = []
        self._connection_count = 0
        self._listener: socket.socket | None = None
        self._port = 0

    # -- lifetime ------------------------------------------------------------------------------

    def start(self) -> LoopbackServer:
        """Listen, until ``close``. Entering a ``with`` block calls this; a server starts once."""
        if self._port:
            raise RuntimeError("a loopback server starts once; make another")
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=1024)
        self._port = self._listener.getsockname()[1]
        # Closing one socket of this pair wakes the accepting thread on every platform.
        self._stop_socket, wake_socket = socket.socketpair()
        self._acceptor = threading.Thread(
            target=self._accept_connections,
            args=(self._listener, wake_socket),
            name="loopback",
            daemon=True,
        )
        self._acceptor.start()
        return self

    def close(self, timeout: float = 30.0) -> None:
        """Stop listening, close every connection, and wait for every thread.

        Stalls and pauses end at once; a function that makes a reply may go on for ``timeout``
        seconds. Then the errors are raised, once. Closing again does nothing.
        """
        errors = self._shut_down_server(timeout)
        if len(errors) > 1:
            raise BaseExceptionGroup("the loopback server could not reply", errors)
        if errors:
            raise errors[0]

    def __enter__(self) -> LoopbackServer:
        return self.start()

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        exc_traceback: TracebackType | None,
    ) -> None:
        if exc is None:
            self.close()
            return
        for server_error in self._shut_down_server(timeout=30.0):
            exc.add_note(
                "loopback server: " + "".join(traceback.format_exception_only(server_error))
            )

    def _shut_down_server(self, timeout: float) -> list[BaseException]:
        """Close all sockets and join all threads; return the errors to raise."""
        if self._listener is None:
            return []
        shut_down_socket(self._stop_socket)
        self._stop_socket.close()
        self._acceptor.join()
        self._listener.close()
        self._listener = None
        with self._condition:
            for sock in self._sockets.values():
                shut_down_socket(sock)
        deadline = time.monotonic() + timeout
        for thread in self._threads:
            thread.join(max(0.0, deadline - time.monotonic()))
        if running := [thread.name for thread in self._threads if thread.is_alive()]:
            self._errors.append(
                RuntimeError(f"a function that makes a reply still runs in {running}")
            )
        return self._errors

    @property
    def url(self) -> str:
        """``http://127.0.0.1:PORT``, without a slash at the end."""
        if not self._port:
            raise RuntimeError("the loopback server has not started: use it in a with block")
        return f"http://127.0.0.1:{self._port}"

    # -- replies ---------------------------------------------------------------------------

    def enqueue(self, *replies: ReplyOrFactory) -> None:
        """Add replies to the queue, whose first one is sent to the next request."""
        with self._condition:
            self._queued_replies.extend(replies)

    def always(self, *replies: ReplyOrFactory) -> None:
        """Set the replies to all other requests, one each; the last one is repeated."""
        with self._condition:
            self._default_replies = deque(replies)

    def route(self, method: str, path: str, *replies: ReplyOrFactory) -> None:
        """Set the replies to requests with this method and path, one each; the last is repeated.

        Both may be patterns: ``"*"``, ``"/v1/*"``.
        """
        with self._condition:
            self._route_replies[method, path] = deque(replies)

    # -- requests -------------------------------------------------------------------------

    @property
    def requests(self) -> tuple[Received, ...]:
        """Every request so far, in order of arrival; each is added before its reply is sent."""
        with self._condition:
            return tuple(self._requests)

    @property
    def connections_open(self) -> int:
        """How many connections are open now, from the point of view of the server."""
        with self._condition:
            return len(self._sockets)

    @property
    def connections_total(self) -> int:
        """How many connections were accepted since the start."""
        with self._condition:
            return self._connection_count

    def wait_closed(self, timeout: float = 30.0, remaining: int = 0) -> None:
        """Block until at most ``remaining`` connections are open, or raise ``TimeoutError``.

        The server notices at once that a client closes a connection, while it waits for a request,
        pauses or stalls. In async code, call this in a worker thread.
        """
        self._wait_until(lambda: len(self._sockets) <= remaining, timeout, "connections to close")

    def wait_requests(self, count: int = 1, timeout: float = 30.0) -> None:
        """Block until ``count`` requests have arrived since the start, or raise
        ``TimeoutError``."""
        self._wait_until(lambda: len(self._requests) >= count, timeout, f"{count} requests")

    def _wait_until(self, predicate: Callable[[], bool], timeout: float, description: str) -> None:
        """Block until ``predicate`` is true; raise ``TimeoutError`` if it is not in time."""
        with self._condition:
            if not self._condition.wait_for(predicate, timeout):
                raise TimeoutError(
                    f"waited {timeout} s for {description}: {len(self._sockets)} connections open, "
                    f"{len(self._requests)} requests received"
                )

    # -- threads --------------------------------------------------------------------------

    def _accept_connections(self, listener: socket.socket, wake_socket: socket.socket) -> None:
        """Accept connections, with a thread for each, until the server stops."""
        with wake_socket, selectors.DefaultSelector() as selector:
            selector.register(listener, selectors.EVENT_READ)
            selector.register(wake_socket, selectors.EVENT_READ)
            while all(key.fileobj is listener for key, _ in selector.select()):
                sock, _ = listener.accept()
                with self._condition:
                    self._connection_count += 1
                    self._sockets[self._connection_count] = sock
                    thread = threading.Thread(
                        target=self._serve_connection,
                        args=(sock, self._connection_count),
                        name=f"loopback-{self._connection_count}",
                        daemon=True,
                    )
                    self._threads = [t for t in self._threads if t.is_alive()]
                    self._threads.append(thread)
                    self._condition.notify_all()
                    thread.start()
        # This also ends the copies of the socket that a forked child may have.
        shut_down_socket(listener)

    def _serve_connection(self, sock: socket.socket, connection_number: int) -> None:
        try:
            with sock, contextlib.suppress(OSError):  # the client left, or the server is closing
                self._handle_requests(Connection(sock, connection_number))
        finally:
            with self._condition:
                del self._sockets[connection_number]
                self._condition.notify_all()

    def _handle_requests(self, connection: Connection) -> None:
        if reply := self._take_reply_sent_on_accept():
            connection.send_reply(reply, None)
            return
        try:
            while (request := connection.read_request()) is not None:
                if not connection.send_reply(self._record_request_and_make_reply(request), request):
                    return
        except h11.RemoteProtocolError as exc:
            connection.send_reply(Reply.error(400, f"not an HTTP request: {exc}"), None)

    def _take_reply_sent_on_accept(self) -> Reply | None:
        """Take the next reply if it is sent without reading a request; else return None."""
        with self._condition:
            replies = self._queued_replies or self._default_replies
            first = replies[0] if replies else None
            if not isinstance(first, Reply) or first.stop_part != "accept":
                return None
            if replies is self._queued_replies or len(replies) > 1:
                replies.popleft()
            return first

    def _record_request_and_make_reply(self, request: Received) -> Reply:
        """Add the request to ``requests`` and make its reply; a failure is a 500."""
        with self._condition:
            self._requests.append(request)
            self._condition.notify_all()
            source = self._take_reply_source(request)
            if source is None:
                message = f"the loopback server has no reply for {request.method} {request.target}"
                self._errors.append(AssertionError(f"{message} (request {len(self._requests)})"))
                return Reply.error(404, message)
        if isinstance(source, Reply):
            return source
        try:
            reply = source(request)
            if not isinstance(reply, Reply):
                raise TypeError(f"the function returned {reply!r}, not a Reply")
        # `close` raises every exception of the user's function again, also that of `pytest.fail`.
        except BaseException as exc:  # noqa: BLE001
            with self._condition:
                self._errors.append(exc)
            text = "".join(traceback.format_exception(exc))
            return Reply(500, {"content-type": "text/plain; charset=utf-8"}, text.encode())
        return reply

    def _take_reply_source(self, request: Received) -> ReplyOrFactory | None:
        """Take the next reply for this request, or the function that makes it, or None."""
        for (method, path), replies in self._route_replies.items():
            if fnmatchcase(request.method, method) and fnmatchcase(request.path, path):
                return _take_next_reply_source(replies)
        return (
            self._queued_replies.popleft()
            if self._queued_replies
            else _take_next_reply_source(self._default_replies)
        )


def _take_next_reply_source(replies: deque[ReplyOrFactory]) -> ReplyOrFactory | None:
    """Take the next reply; the last one is never removed."""
    if len(replies) > 1:
        return replies.popleft()
    return replies[0] if replies else None
