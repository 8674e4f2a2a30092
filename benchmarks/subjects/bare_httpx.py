"""Bare httpx and msgspec in a hand-written loop for this one server.

It has no classes, no error handling beyond the status, and plain dicts: the least that Python code
on httpx can do to see the text of every chunk.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable

NAME = "httpx"
FORMATS = ("openai",)
# Without sniffio, httpcore searches the disk for it several times in each asynchronous request,
# which takes 0.3 ms: then this would not be the least possible work.
REQUIREMENTS = ("httpx", "msgspec", "sniffio")
IMPORT = "import httpx, msgspec"
RUNTIMES = ("blocking", "asyncio", "trio")

COLD = """
import httpx, msgspec
body = msgspec.json.encode({"model": "m", "messages": [{"role": "user", "content": "hi"}]})
headers = {"authorization": "Bearer x", "content-type": "application/json"}
with httpx.Client(headers=headers) as client:
    response = client.post("{url}/chat/completions", content=body).raise_for_status()
    print(msgspec.json.decode(response.content)["choices"][0]["message"]["content"])
"""

_HEADERS = {"authorization": "Bearer x", "content-type": "application/json"}
_REQUEST = {"model": "m", "messages": [{"role": "user", "content": "hi"}]}
_STREAM_REQUEST = {**_REQUEST, "stream": True, "stream_options": {"include_usage": True}}


def make_blocking_calls(url: str, _: str) -> tuple[Callable[[], str], Callable[[], int]]:
    import httpx
    import msgspec

    client = httpx.Client(headers=_HEADERS, timeout=60)
    encode, decode = msgspec.json.Encoder().encode, msgspec.json.Decoder().decode
    url += "/chat/completions"

    def complete() -> str:
        response = client.post(url, content=encode(_REQUEST)).raise_for_status()
        return decode(response.content)["choices"][0]["message"]["content"]

    def stream() -> int:
        length, rest = 0, b""
        with client.stream("POST", url, content=encode(_STREAM_REQUEST)) as response:
            response.raise_for_status()
            for data in response.iter_bytes():
                *events, rest = (rest + data).split(b"\n\n")
                for event in events:
                    if event != b"data: [DONE]":
                        for choice in decode(event[6:])["choices"]:
                            length += len(choice["delta"].get("content") or "")
        return length

    return complete, stream


def make_async_calls(
    url: str, _: str
) -> tuple[Callable[[], Awaitable[str]], Callable[[], Awaitable[int]]]:
    import httpx
    import msgspec

    limits = httpx.Limits(max_connections=None)
    client = httpx.AsyncClient(headers=_HEADERS, timeout=60, limits=limits)
    encode, decode = msgspec.json.Encoder().encode, msgspec.json.Decoder().decode
    url += "/chat/completions"

    async def complete() -> str:
        response = (await client.post(url, content=encode(_REQUEST))).raise_for_status()
        return decode(response.content)["choices"][0]["message"]["content"]

    async def stream() -> int:
        length, rest = 0, b""
        async with client.stream("POST", url, content=encode(_STREAM_REQUEST)) as response:
            response.raise_for_status()
            async for data in response.aiter_bytes():
                *events, rest = (rest + data).split(b"\n\n")
                for event in events:
                    if event != b"data: [DONE]":
                        for choice in decode(event[6:])["choices"]:
                            length += len(choice["delta"].get("content") or "")
        return length

    return complete, stream
