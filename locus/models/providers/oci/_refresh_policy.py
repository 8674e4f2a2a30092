"""When expiring credentials are refreshed: how early, and how long to wait after a failure."""

from __future__ import annotations

import attrs


@attrs.frozen
class RefreshPolicy:
    """How early and how often credentials are refreshed. All values are in seconds.

    :param refresh_before_expiry: how long before they expire new credentials are fetched; at most
        half of their lifetime.
    :param expiry_margin: how long before they expire they are no longer used, so that they do not
        expire while a request is on its way; at most a tenth of their lifetime.
    :param retry_delay: how long after a failure the next attempt may start. It doubles with each
        failure, up to ``max_retry_delay``, and half of it is random.
    :param max_retry_delay: the upper limit of ``retry_delay``.
    :param min_renewal_age: credentials that the server rejects although they are younger than this
        are not replaced: their age is not what is wrong.
    :param failure_cache_seconds: how long callers that waited get the same failure, without another
        attempt.
    """

    refresh_before_expiry: float = 300.0
    expiry_margin: float = 10.0
    retry_delay: float = 5.0
    max_retry_delay: float = 300.0
    min_renewal_age: float = 5.0
    failure_cache_seconds: float = 1.0
