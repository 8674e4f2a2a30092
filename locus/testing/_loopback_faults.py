"""The faults of the loopback server, by name, for tests with every fault on every runtime.

A ``Fault`` turns a good reply into the replies that are sent instead. It also says what a client
must give its user: the complete response, or an error, but never an incomplete response that looks
complete.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Literal

from attrs import field, frozen

from locus.testing._loopback_reply import Pause, Reply

Phase = Literal["connect", "head", "status", "body", "after"]
"""When a client meets the fault: before any byte of the reply, in the headers, as a different but
complete reply (a status, a page), in the body, or after the complete reply."""

Outcome = Literal["success", "error", "either"]
"""What the client must give: the complete response; an error; or either, depending on the format
(streams have an end marker) and its policy, never an incomplete response that looks complete."""


@frozen
class Fault:
    """One way for a reply to fail. Use it with ``server.always(*fault(reply))``.

    A fault of phase ``after`` affects the next call of the same client: make two calls, with
    ``server.wait_closed()`` between them, so that the connection is certainly
    closed.
    """

    name: str
    phase: Phase
    outcome: Outcome
    make_replies: Callable[[Reply], Reply | tuple[Reply, ...]] = field(repr=False)
    stalls: bool = False
    """Whether only the client's timeout can notice the fault: give it a short one."""
    retries: int = 0
    """How many retries the client needs to get the response."""

    def __call__(self, reply: Reply) -> tuple[Reply, ...]:
        """Return the replies to send, in order; the last one is repeated without end."""
        replies = self.make_replies(reply)
        return (replies,) if isinstance(replies, Reply) else replies


def _copy_with_pause_in_middle(reply: Reply) -> Reply:
    """Return a copy with a pause in the middle of the body."""
    first, second = reply.split_at(len(reply.content) // 2).body
    return reply.with_body(first, Pause(0.05), second)


def _copy_with_cut_inside_character(reply: Reply) -> Reply:
    """Return a complete reply whose text ends after two bytes of a three-byte character."""
    content = reply.content
    return reply.with_body(content[: len(content) // 2] + "€".encode()[:2])


def _make_reply_with_bad_chunk_size(reply: Reply) -> Reply:
    """Make a reply whose second HTTP chunk has an invalid size."""
    half = reply.content[: len(reply.content) // 2]
    good = reply.framed("chunked").with_body(half).iter_writes()
    return Reply.raw(*list(good)[:-1], b"not a size\r\n")


def _copy_with_error_in_body(reply: Reply) -> Reply:
    """Return a copy with an error in its body; in a stream it follows the first half."""
    content_type = dict(reply.headers).get("content-type", "")
    error = b'{"message":"the engine failed","type":"server_error","code":"server_error"}'
    if content_type.startswith("text/event-stream"):
        report = b'event: error\ndata: {"type":"error","error":' + error + b"}\n\n"
        ends = [match.end() for match in re.finditer(rb"(\r\n|\n|\r)\1", reply.content)]
    elif content_type.startswith("application/x-ndjson"):
        report = b'{"error":"the engine failed"}\n'
        ends = [match.end() for match in re.finditer(rb"\n", reply.content)]
    else:
        return reply.with_body(b'{"error":' + error + b"}")
    middle = max((end for end in ends if end <= len(reply.content) // 2), default=0)
    return reply.with_body(reply.content[:middle], report)


def _copy_with_content_length(reply: Reply, length: int) -> Reply:
    """Return a copy with this ``content-length``, true or false."""
    return reply.framed("length").with_header("content-length", str(length))


_HTML_PAGE = "<!doctype html><title>Sign in</title><p>Welcome to the hotel network."

_ALL_FAULTS = (
    # The complete reply, sent in an unusual way.
    Fault("chunked", "body", "success", lambda r: r.framed("chunked")),
    Fault("with_length", "body", "success", lambda r: r.framed("length")),
    Fault("close_delimited", "body", "success", lambda r: r.framed("close")),
    Fault("dribble", "body", "success", lambda r: r.framed("chunked").dribble(1)),
    Fault("dribble_wire", "head", "success", lambda r: r.in_writes_of(1)),
    Fault("slow", "body", "success", _copy_with_pause_in_middle),
    # The complete reply, on a connection that is closed before the next request.
    Fault("idle_close", "after", "success", lambda r: r.then("close")),
    Fault("idle_reset", "after", "success", lambda r: r.then("reset")),
    # A different reply first.
    Fault(
        "429_once", "status", "success", lambda r: (Reply.error(429, retry_after=0), r), retries=1
    ),
    Fault("503_once", "status", "success", lambda r: (Reply.error(503), r), retries=1),
    Fault("401_once", "status", "either", lambda r: (Reply.error(401), r)),
    Fault("reset_once", "connect", "either", lambda r: (r.reset(0, "head"), r), retries=1),
    # A different reply, every time.
    Fault("401", "status", "error", lambda r: Reply.error(401)),
    Fault("429", "status", "error", lambda r: Reply.error(429, retry_after=0)),
    Fault("500", "status", "error", lambda r: Reply.error(500)),
    Fault("503", "status", "error", lambda r: Reply.error(503)),
    Fault("html_502", "status", "error", lambda r: Reply.html()),
    Fault("html_200", "status", "error", lambda r: Reply.html(_HTML_PAGE, 200)),
    Fault("empty_200", "status", "error", lambda r: r.with_body()),
    Fault("error_inside_200", "body", "error", _copy_with_error_in_body),
    # No reply, or bytes that are not HTTP. After a reset on accept, even connecting may fail.
    Fault("close_on_accept", "connect", "error", lambda r: r.truncate(0, "accept")),
    Fault("reset_on_accept", "connect", "error", lambda r: r.reset(0, "accept")),
    Fault("close_before_head", "connect", "error", lambda r: r.truncate(0, "head")),
    Fault("reset_before_head", "connect", "error", lambda r: r.reset(0, "head")),
    Fault("garbage", "head", "error", lambda r: Reply.raw(b"\x00\x16 this is not HTTP\r\n\r\n")),
    # The headers are incomplete.
    Fault("cut_in_head", "head", "error", lambda r: r.truncate(None, "head")),
    Fault("reset_in_head", "head", "error", lambda r: r.reset(None, "head")),
    # The body is incomplete.
    Fault("cut_after_head", "body", "error", lambda r: r.truncate(0)),
    Fault("cut_chunked", "body", "error", lambda r: r.framed("chunked").truncate()),
    Fault("cut_with_length", "body", "error", lambda r: r.framed("length").truncate()),
    Fault("cut_close_delimited", "body", "error", lambda r: r.framed("close").truncate()),
    Fault("cut_half_character", "body", "error", _copy_with_cut_inside_character),
    Fault(
        "no_last_chunk",
        "body",
        "either",
        lambda r: r.framed("chunked").truncate(len(r.content)),
    ),
    Fault("reset_after_head", "body", "error", lambda r: r.reset(0)),
    Fault("reset_in_body", "body", "error", lambda r: r.reset()),
    Fault("bad_chunk_size", "body", "error", _make_reply_with_bad_chunk_size),
    # A client that reuses the connection would read the other half before its next response.
    Fault(
        "length_too_small",
        "body",
        "error",
        lambda r: _copy_with_content_length(r, len(r.content) // 2),
    ),
    Fault(
        "length_too_large",
        "body",
        "either",
        lambda r: _copy_with_content_length(r, len(r.content) + 1).then("close"),
    ),
    # The server stops sending.
    Fault("stall_on_accept", "connect", "error", lambda r: r.stall(0, "accept"), stalls=True),
    Fault("stall_before_head", "connect", "error", lambda r: r.stall(0, "head"), stalls=True),
    Fault("stall_in_head", "head", "error", lambda r: r.stall(None, "head"), stalls=True),
    Fault("stall_after_head", "body", "error", lambda r: r.stall(0), stalls=True),
    Fault("stall_in_body", "body", "error", lambda r: r.stall(), stalls=True),
    Fault(
        "stall_at_end",
        "body",
        "either",
        lambda r: r.framed("chunked").stall(len(r.content)),
        stalls=True,
    ),
)

FAULTS: dict[str, Fault] = {fault.name: fault for fault in _ALL_FAULTS}
"""Every fault by its name: ``@pytest.mark.parametrize("fault", FAULTS.values(), ids=FAULTS)``."""
