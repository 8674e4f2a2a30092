"""Sends HTTP requests and streams their responses, on whichever runtime the caller uses.

A model call is a value, :class:`~locus.transport.prepared_http_call.HttpCall`.
``blocking_driver`` and
``async_driver`` send it; they mirror each other line by line, as do ``blocking_pool`` and
``async_pool``. Everything that both need is in the other modules. Nothing here knows what the bytes
mean.
"""
