"""The floor for Anthropic's format; see ``floor``."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

NAME = "floor"
FORMATS = ("anthropic",)
REQUIREMENTS = (
    "httpx",
    "msgspec",
    "sniffio",
)  # the same as for OpenAI's format: they share an environment
RUNTIMES = ("blocking", "asyncio", "trio")

_HEADERS = {
    "x-api-key": "x",
    "anthropic-version": "2023-06-01",
    "content-type": "application/json",
}
_REQUEST = {"model": "m", "max_tokens": 4096, "messages": [{"role": "user", "content": "hi"}]}
_STREAM_REQUEST = {**_REQUEST, "stream": True}


def make_blocking_calls(url: str, _: str) -> tuple[Callable[[], str], Callable[[], int]]:
    import httpx
    import msgspec

    client = httpx.Client(headers=_HEADERS, timeout=60)
    encode, decode = msgspec.json.Encoder().encode, msgspec.json.Decoder().decode
    url += "/v1/messages"

    def complete() -> str:
        response = client.post(url, content=encode(_REQUEST)).raise_for_status()
        return decode(response.content)["content"][0]["text"]

    def stream() -> int:
        length, rest = 0, b""
        with client.stream("POST", url, content=encode(_STREAM_REQUEST)) as response:
            response.raise_for_status()
            for data in response.iter_bytes():
                *events, rest = (rest + data).split(b"\n\n")
                for event in events:
                    payload = decode(event[event.index(b"\n") + 7 :])
                    if payload["type"] == "content_block_delta":
                        length += len(payload["delta"]["text"])
        return length

    return complete, stream


def make_async_calls(
    url: str, _: str
) -> tuple[Callable[[], Awaitable[str]], Callable[[], Awaitable[int]]]:
    import httpx
    import msgspec

    client = httpx.AsyncClient(headers=_HEADERS, timeout=60)
    encode, decode = msgspec.json.Encoder().encode, msgspec.json.Decoder().decode
    url += "/v1/messages"

    async def complete() -> str:
        response = (await client.post(url, content=encode(_REQUEST))).raise_for_status()
        return decode(response.content)["content"][0]["text"]

    async def stream() -> int:
        length, rest = 0, b""
        async with client.stream("POST", url, content=encode(_STREAM_REQUEST)) as response:
            response.raise_for_status()
            async for data in response.aiter_bytes():
                *events, rest = (rest + data).split(b"\n\n")
                for event in events:
                    payload = decode(event[event.index(b"\n") + 7 :])
                    if payload["type"] == "content_block_delta":
                        length += len(payload["delta"]["text"])
        return length

    return complete, stream
