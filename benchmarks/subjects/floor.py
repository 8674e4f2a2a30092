"""The floor: sockets, httptools and msgspec in a hand-written loop for this one server.

It has no pool beyond a list of idle connections, no error handling beyond the status, and plain
dicts: the least that Python code can do to see the text of every chunk. Blocking code reads a
socket, asyncio and trio read a stream of anyio; each read has a timeout, as every client's has. All
other results are compared with it.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterator
from typing import Any

NAME = "floor"
FORMATS = ("openai", "anthropic", "ollama")
REQUIREMENTS = ("anyio", "httptools", "msgspec")
IMPORT = "import anyio, httptools, msgspec"
RUNTIMES = ("blocking", "asyncio", "trio")

COLD = """
import socket, httptools, msgspec
host, port = "{url}".split("/")[2].split(":")
path = "/" + "{url}".split("/", 3)[3] + "/chat/completions"
body = msgspec.json.encode({"model": "m", "messages": [{"role": "user", "content": "hi"}]})
connection = socket.create_connection((host, int(port)), timeout=60)
head = f"POST {path} HTTP/1.1\\r\\nhost: {host}:{port}\\r\\ncontent-length: {len(body)}\\r\\n\\r\\n"
connection.sendall(head.encode() + body)
class Response:
    is_complete, body = False, b""
    def on_body(self, data): self.body += data
    def on_message_complete(self): self.is_complete = True
response = Response()
parser = httptools.HttpResponseParser(response)
while not response.is_complete:
    parser.feed_data(connection.recv(65536))
print(msgspec.json.decode(response.body)["choices"][0]["message"]["content"])
"""

_TIMEOUT = 60
_RECEIVE_SIZE = 65536
_MESSAGES = [{"role": "user", "content": "hi"}]
_REQUESTS: dict[str, tuple[str, dict[str, Any], dict[str, Any]]] = {
    "openai": (
        "/chat/completions",
        {"model": "m", "messages": _MESSAGES},
        {"stream": True, "stream_options": {"include_usage": True}},
    ),
    "anthropic": (
        "/v1/messages",
        {"model": "m", "max_tokens": 1000, "messages": _MESSAGES},
        {"stream": True},
    ),
    "ollama": (
        "/api/chat",
        {"model": "m", "messages": _MESSAGES, "stream": False},
        {"stream": True},
    ),
}
"""For each format: the path, the body of a request, and what a request for a stream adds to it."""


class _Response:
    """Collects what httptools reads of a response."""

    def __init__(self) -> None:
        self.chunks: list[bytes] = []
        self.is_complete = False

    def on_body(self, data: bytes) -> None:
        self.chunks.append(data)

    def on_message_complete(self) -> None:
        self.is_complete = True


def _build_requests(url: str, wire: str) -> tuple[str, int, bytes, bytes]:
    """Return the host and the port, and the requests for a whole response and for a stream."""
    import msgspec

    path, body, more = _REQUESTS[wire]
    _, _, authority, root = url.split("/", 3)
    host, _, port = authority.partition(":")

    def build(content: bytes) -> bytes:
        head = (
            f"POST /{root}{path} HTTP/1.1\r\nhost: {authority}\r\nauthorization: Bearer x\r\n"
            f"content-type: application/json\r\ncontent-length: {len(content)}\r\n\r\n"
        )
        return head.encode() + content

    encode = msgspec.json.encode
    return host, int(port), build(encode(body)), build(encode({**body, **more}))


def _make_readers(wire: str) -> tuple[Callable[[bytes], str], Callable[[bytes], int]]:
    """Return what reads the text of a whole response, and what measures that of an event."""
    import msgspec

    decode = msgspec.json.Decoder().decode

    def read_openai(body: bytes) -> str:
        return decode(body)["choices"][0]["message"]["content"]

    def measure_openai(event: bytes) -> int:
        if event == b"data: [DONE]":
            return 0
        choices = decode(event[6:])["choices"]
        return sum(len(choice["delta"].get("content") or "") for choice in choices)

    def read_anthropic(body: bytes) -> str:
        return decode(body)["content"][0]["text"]

    def measure_anthropic(event: bytes) -> int:
        payload = decode(event[event.index(b"\n") + 7 :])
        return len(payload["delta"]["text"]) if payload["type"] == "content_block_delta" else 0

    def read_ollama(body: bytes) -> str:
        return decode(body)["message"]["content"]

    def measure_ollama(line: bytes) -> int:
        return len(decode(line)["message"]["content"])

    return {
        "openai": (read_openai, measure_openai),
        "anthropic": (read_anthropic, measure_anthropic),
        "ollama": (read_ollama, measure_ollama),
    }[wire]


class _EventReader:
    """Measures the text of the events of one stream."""

    def __init__(self, separator: bytes, measure: Callable[[bytes], int]) -> None:
        self._separator = separator
        self._measure = measure
        self._rest = b""
        self.length = 0

    def feed(self, chunks: list[bytes]) -> None:
        for chunk in chunks:
            *events, self._rest = (self._rest + chunk).split(self._separator)
            for event in events:
                self.length += self._measure(event)
        chunks.clear()


def make_blocking_calls(url: str, wire: str) -> tuple[Callable[[], str], Callable[[], int]]:
    import socket

    import httptools

    host, port, request, stream_request = _build_requests(url, wire)
    read_text, measure = _make_readers(wire)
    separator = b"\n" if wire == "ollama" else b"\n\n"
    idle: list[socket.socket] = []

    def exchange(data: bytes) -> Iterator[_Response]:
        """Send a request; yield the response whenever more of it has arrived."""
        connection = idle.pop() if idle else socket.create_connection((host, port), _TIMEOUT)
        connection.sendall(data)
        response = _Response()
        parser = httptools.HttpResponseParser(response)
        while not response.is_complete:
            parser.feed_data(connection.recv(_RECEIVE_SIZE))
            yield response
        assert parser.get_status_code() == 200
        idle.append(connection)

    def complete() -> str:
        *_, response = exchange(request)
        return read_text(b"".join(response.chunks))

    def stream() -> int:
        reader = _EventReader(separator, measure)
        for response in exchange(stream_request):
            reader.feed(response.chunks)
        return reader.length

    return complete, stream


def make_async_calls(
    url: str, wire: str
) -> tuple[Callable[[], Awaitable[str]], Callable[[], Awaitable[int]]]:
    import anyio
    import httptools

    host, port, request, stream_request = _build_requests(url, wire)
    read_text, measure = _make_readers(wire)
    separator = b"\n" if wire == "ollama" else b"\n\n"
    idle: list[anyio.abc.SocketStream] = []

    async def complete() -> str:
        response = _Response()
        parser = httptools.HttpResponseParser(response)
        connection = idle.pop() if idle else await anyio.connect_tcp(host, port)
        await connection.send(request)
        while not response.is_complete:
            with anyio.fail_after(_TIMEOUT):
                parser.feed_data(await connection.receive(_RECEIVE_SIZE))
        assert parser.get_status_code() == 200
        idle.append(connection)
        return read_text(b"".join(response.chunks))

    async def stream() -> int:
        reader = _EventReader(separator, measure)
        response = _Response()
        parser = httptools.HttpResponseParser(response)
        connection = idle.pop() if idle else await anyio.connect_tcp(host, port)
        await connection.send(stream_request)
        while not response.is_complete:
            with anyio.fail_after(_TIMEOUT):
                parser.feed_data(await connection.receive(_RECEIVE_SIZE))
            reader.feed(response.chunks)
        idle.append(connection)
        return reader.length

    return complete, stream
