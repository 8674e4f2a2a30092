"""Moves bytes without knowing what they mean, on whichever runtime the caller has.

A model call is a value, :class:`~locus.transport.http_call.Call`. ``blocking`` and ``nonblocking``
drive it; they are mirror images of each other, and everything they share is in the other modules.
"""
