"""The floor for Ollama's format; see ``floor``."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

NAME = "floor"
FORMATS = ("ollama",)
REQUIREMENTS = (
    "httpx",
    "msgspec",
    "sniffio",
)  # the same as for OpenAI's format: they share an environment
RUNTIMES = ("blocking", "asyncio", "trio")

_HEADERS = {"content-type": "application/json"}
_REQUEST = {
    "model": "m",
    "messages": [{"role": "user", "content": "hi"}],
    "stream": False,
}
_STREAM_REQUEST = {**_REQUEST, "stream": True}


def make_blocking_calls(url: str, _: str) -> tuple[Callable[[], str], Callable[[], int]]:
    import httpx
    import msgspec

    client = httpx.Client(headers=_HEADERS, timeout=60)
    encode, decode = msgspec.json.Encoder().encode, msgspec.json.Decoder().decode
    url += "/api/chat"

    def complete() -> str:
        response = client.post(url, content=encode(_REQUEST)).raise_for_status()
        return decode(response.content)["message"]["content"]

    def stream() -> int:
        length, rest = 0, b""
        with client.stream("POST", url, content=encode(_STREAM_REQUEST)) as response:
            response.raise_for_status()
            for data in response.iter_bytes():
                *lines, rest = (rest + data).split(b"\n")
                for line in lines:
                    length += len(decode(line)["message"]["content"])
        return length

    return complete, stream


def make_async_calls(
    url: str, _: str
) -> tuple[Callable[[], Awaitable[str]], Callable[[], Awaitable[int]]]:
    import httpx
    import msgspec

    client = httpx.AsyncClient(headers=_HEADERS, timeout=60)
    encode, decode = msgspec.json.Encoder().encode, msgspec.json.Decoder().decode
    url += "/api/chat"

    async def complete() -> str:
        response = (await client.post(url, content=encode(_REQUEST))).raise_for_status()
        return decode(response.content)["message"]["content"]

    async def stream() -> int:
        length, rest = 0, b""
        async with client.stream("POST", url, content=encode(_STREAM_REQUEST)) as response:
            response.raise_for_status()
            async for data in response.aiter_bytes():
                *lines, rest = (rest + data).split(b"\n")
                for line in lines:
                    length += len(decode(line)["message"]["content"])
        return length

    return complete, stream
