"""Every fault of the loopback server, by name, for tests of "every fault, on every runtime".

A `Fault` turns a good reply into the replies to play instead, and says what a client owes its
user then: the whole answer, or an error; never a part of the answer that looks whole.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Literal

from attrs import field, frozen

from locus.testing._loopback_reply import Pause, Reply

Phase = Literal["connect", "head", "status", "body", "after"]
"""Where a client meets the fault: before any byte of the answer, in the headers, as another
whole answer (a status, a page), in the body, or once the whole answer has come."""

Outcome = Literal["answer", "error", "either"]
"""What the client owes: the whole answer; an error; or either, depending on its format (a stream
has an end mark of its own) and its policy, but never a part of the answer that looks whole."""


@frozen
class Fault:
    """One way for a reply to go wrong. Play it with `server.always(*fault(reply))`.

    A fault of phase `after` shows in the next call on the same client: make two, with
    `server.wait_closed()` between them, so that the connection is certainly dead.
    """

    name: str
    phase: Phase
    outcome: Outcome
    apply: Callable[[Reply], Reply | tuple[Reply, ...]] = field(repr=False)
    stalls: bool = False
    """The client notices by its timeout alone: give it a short one."""
    retries: int = 0
    """How many times the client has to try again to reach the answer."""

    def __call__(self, reply: Reply) -> tuple[Reply, ...]:
        """The replies to play, in order; the last one goes on for ever."""
        replies = self.apply(reply)
        return (replies,) if isinstance(replies, Reply) else replies


def _pause_half_way(reply: Reply) -> Reply:
    first, second = reply.split_at(len(reply.content) // 2).body
    return reply.with_body(first, Pause(0.05), second)


def _half_a_character(reply: Reply) -> Reply:
    """As HTTP goes it is whole; its text ends after two bytes of a three-byte character."""
    content = reply.content
    return reply.with_body(content[: len(content) // 2] + "€".encode()[:2])


def _bad_chunk(reply: Reply) -> Reply:
    half = reply.content[: len(reply.content) // 2]
    good = reply.framed("chunked").with_body(half).steps()
    return Reply.raw(*list(good)[:-1], b"not a size\r\n")


def _error_inside(reply: Reply) -> Reply:
    """A 200 whose body reports an error, half way through where the body is a stream."""
    kind = dict(reply.headers).get("content-type", "")
    error = b'{"message":"the engine failed","type":"server_error","code":"server_error"}'
    if kind.startswith("text/event-stream"):
        report = b'event: error\ndata: {"type":"error","error":' + error + b"}\n\n"
        ends = [match.end() for match in re.finditer(rb"(\r\n|\n|\r)\1", reply.content)]
    elif kind.startswith("application/x-ndjson"):
        report = b'{"error":"the engine failed"}\n'
        ends = [match.end() for match in re.finditer(rb"\n", reply.content)]
    else:
        return reply.with_body(b'{"error":' + error + b"}")
    middle = max((end for end in ends if end <= len(reply.content) // 2), default=0)
    return reply.with_body(reply.content[:middle], report)


def _lie(reply: Reply, length: int) -> Reply:
    return reply.framed("length").with_header("content-length", str(length))


_HTML = "<!doctype html><title>Sign in</title><p>Welcome to the hotel network."

_ALL = (
    # The whole answer, sent in an unusual way.
    Fault("chunked", "body", "answer", lambda r: r.framed("chunked")),
    Fault("with_length", "body", "answer", lambda r: r.framed("length")),
    Fault("close_delimited", "body", "answer", lambda r: r.framed("close")),
    Fault("dribble", "body", "answer", lambda r: r.framed("chunked").dribble(1)),
    Fault("dribble_wire", "head", "answer", lambda r: r.in_writes_of(1)),
    Fault("slow", "body", "answer", _pause_half_way),
    # The whole answer, then a connection that is dead when the next request wants it.
    Fault("idle_close", "after", "answer", lambda r: r.then("close")),
    Fault("idle_reset", "after", "answer", lambda r: r.then("reset")),
    # Another answer first.
    Fault(
        "429_once", "status", "answer", lambda r: (Reply.error(429, retry_after=0), r), retries=1
    ),
    Fault("503_once", "status", "answer", lambda r: (Reply.error(503), r), retries=1),
    Fault("401_once", "status", "either", lambda r: (Reply.error(401), r)),
    Fault("reset_once", "connect", "either", lambda r: (r.reset(0, "head"), r), retries=1),
    # Another answer for good.
    Fault("401", "status", "error", lambda r: Reply.error(401)),
    Fault("429", "status", "error", lambda r: Reply.error(429, retry_after=0)),
    Fault("500", "status", "error", lambda r: Reply.error(500)),
    Fault("503", "status", "error", lambda r: Reply.error(503)),
    Fault("html_502", "status", "error", lambda r: Reply.html()),
    Fault("html_200", "status", "error", lambda r: Reply.html(_HTML, 200)),
    Fault("empty_200", "status", "error", lambda r: r.with_body()),
    Fault("error_inside_200", "body", "error", _error_inside),
    # Nothing, or something that is not HTTP. A reset on accept can fail even the connecting.
    Fault("close_on_accept", "connect", "error", lambda r: r.truncate(0, "accept")),
    Fault("reset_on_accept", "connect", "error", lambda r: r.reset(0, "accept")),
    Fault("close_before_head", "connect", "error", lambda r: r.truncate(0, "head")),
    Fault("reset_before_head", "connect", "error", lambda r: r.reset(0, "head")),
    Fault("garbage", "head", "error", lambda r: Reply.raw(b"\x00\x16 this is not HTTP\r\n\r\n")),
    # The headers break off.
    Fault("cut_in_head", "head", "error", lambda r: r.truncate(None, "head")),
    Fault("reset_in_head", "head", "error", lambda r: r.reset(None, "head")),
    # The body breaks off.
    Fault("cut_after_head", "body", "error", lambda r: r.truncate(0)),
    Fault("cut_chunked", "body", "error", lambda r: r.framed("chunked").truncate()),
    Fault("cut_with_length", "body", "error", lambda r: r.framed("length").truncate()),
    Fault("cut_close_delimited", "body", "error", lambda r: r.framed("close").truncate()),
    Fault("cut_half_character", "body", "error", _half_a_character),
    Fault(
        "no_last_chunk", "body", "either", lambda r: r.framed("chunked").truncate(len(r.content))
    ),
    Fault("reset_after_head", "body", "error", lambda r: r.reset(0)),
    Fault("reset_in_body", "body", "error", lambda r: r.reset()),
    Fault("bad_chunk_size", "body", "error", _bad_chunk),
    # A client that keeps the connection finds the other half in front of its next answer.
    Fault("length_too_small", "body", "error", lambda r: _lie(r, len(r.content) // 2)),
    Fault(
        "length_too_large",
        "body",
        "either",
        lambda r: _lie(r, len(r.content) + 1).then("close"),
    ),
    # Silence.
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

FAULTS: dict[str, Fault] = {fault.name: fault for fault in _ALL}
"""Every fault by its name: `@pytest.mark.parametrize("fault", FAULTS.values(), ids=FAULTS)`."""
