"""``RefusalMemory``: what a model object has learned of the parameters that its server refuses."""

from __future__ import annotations

import threading
from typing import Any

import attrs

from locus.core.decoder_protocol import Decoder
from locus.core.refused_parameters import NO_REFUSALS, Refusals
from locus.core.response import ModelResponse
from locus.transport.prepared_http_call import HttpCall


class RefusalMemory:
    """The refusals that a model object has met. Copies for the same model and server share it.

    Any number of threads and event loops may use it. It is never pickled: another process learns
    anew, and at most one request more is sent.
    """

    __slots__ = ("_lock", "_refusals")

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._refusals = NO_REFUSALS

    def get(self) -> Refusals:
        """Return all that the server has refused so far."""
        return self._refusals

    def add(self, refusals: Refusals) -> None:
        """Add what the server has refused."""
        with self._lock:
            self._refusals = self._refusals.merge(refusals)

    def remember_on_success(self, refusals: Refusals, http_call: HttpCall) -> HttpCall:
        """Return a copy of a call without what was refused. Its success is remembered.

        A server may name a parameter in an error that has another cause; only its answer shows
        that the parameter was the cause.
        """

        def parse_body(body: bytes) -> ModelResponse:
            response = http_call.parse_body(body)  # it may be an error in spite of its status
            self.add(refusals)
            return response

        def make_decoder() -> Decoder:
            self.add(refusals)
            return http_call.make_decoder()

        return attrs.evolve(http_call, parse_body=parse_body, make_decoder=make_decoder)

    def __deepcopy__(self, memo: dict[int, Any]) -> RefusalMemory:
        return self
