"""The floor of Anthropic's format; ``floor`` says what that is."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

NAME = "floor"
FORMATS = ("anthropic",)
REQUIREMENTS = ("httpx", "msgspec", "sniffio")  # as for OpenAI's format: the two share one place
RUNTIMES = ("blocking", "asyncio", "trio")

_HEADERS = {
    "x-api-key": "x",
    "anthropic-version": "2023-06-01",
    "content-type": "application/json",
}
_ASK = {"model": "m", "max_tokens": 4096, "messages": [{"role": "user", "content": "hi"}]}
_STREAM = {**_ASK, "stream": True}


def blocking(url: str, _: str) -> tuple[Callable[[], str], Callable[[], int]]:
    import httpx
    import msgspec

    client = httpx.Client(headers=_HEADERS, timeout=60)
    encode, decode = msgspec.json.Encoder().encode, msgspec.json.Decoder().decode
    url += "/v1/messages"

    def whole() -> str:
        response = client.post(url, content=encode(_ASK)).raise_for_status()
        return decode(response.content)["content"][0]["text"]

    def stream() -> int:
        length, rest = 0, b""
        with client.stream("POST", url, content=encode(_STREAM)) as response:
            response.raise_for_status()
            for data in response.iter_bytes():
                *events, rest = (rest + data).split(b"\n\n")
                for event in events:
                    found = decode(event[event.index(b"\n") + 7 :])
                    if found["type"] == "content_block_delta":
                        length += len(found["delta"]["text"])
        return length

    return whole, stream


def nonblocking(
    url: str, _: str
) -> tuple[Callable[[], Awaitable[str]], Callable[[], Awaitable[int]]]:
    import httpx
    import msgspec

    client = httpx.AsyncClient(headers=_HEADERS, timeout=60)
    encode, decode = msgspec.json.Encoder().encode, msgspec.json.Decoder().decode
    url += "/v1/messages"

    async def whole() -> str:
        response = (await client.post(url, content=encode(_ASK))).raise_for_status()
        return decode(response.content)["content"][0]["text"]

    async def stream() -> int:
        length, rest = 0, b""
        async with client.stream("POST", url, content=encode(_STREAM)) as response:
            response.raise_for_status()
            async for data in response.aiter_bytes():
                *events, rest = (rest + data).split(b"\n\n")
                for event in events:
                    found = decode(event[event.index(b"\n") + 7 :])
                    if found["type"] == "content_block_delta":
                        length += len(found["delta"]["text"])
        return length

    return whole, stream
