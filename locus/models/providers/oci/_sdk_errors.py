"""Turns the exceptions of the ``oci`` package into Locus's errors."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager

from locus.core.errors import (
    APIConnectionError,
    APIError,
    APITimeoutError,
    ConfigurationError,
    LocusError,
    ResponseParseError,
    get_status_error_class,
)
from locus.core.make_status_error import MAX_SHOWN_CHARACTERS


@contextmanager
def translate_sdk_errors(context: str, hint: str = "") -> Iterator[None]:
    """Raise Locus's errors for what the ``oci`` package raises inside the ``with`` block.

    :param context: what is being done or read; each message begins with it.
    :param hint: what the user can do next; each message ends with it.
    :raises ConfigurationError: if something is missing or cannot be read.
    :raises APIError: if a service sent an error, or could not be reached.
    """
    import jwt
    from cryptography.exceptions import UnsupportedAlgorithm
    from oci._vendor.requests import exceptions as http
    from oci.auth.certificate_retriever import InvalidCertificateFromInstanceMetadataError
    from oci.exceptions import ClientError, ServiceError
    from oci.retry.retry_checkers import CircuitBreakerError

    suffix = f" ({hint})" if hint else ""
    try:
        yield
    except LocusError:
        raise
    except ServiceError as exc:
        message = str(exc.message or exc.code or "no explanation")[:MAX_SHOWN_CHARACTERS]
        error_class = get_status_error_class(exc.status)
        status_error = error_class(
            f"{context}: {exc.status}: {message}{suffix}",
            status_code=exc.status,
            body=str(exc.message or ""),
            headers={str(name): str(value) for name, value in (exc.headers or {}).items()},
            provider="oci",
        )
        raise status_error from exc
    except (jwt.PyJWTError, http.InvalidJSONError, json.JSONDecodeError, LookupError) as exc:
        raise ResponseParseError(
            f"{context}: the response is not valid: {_describe_exception(exc)}{suffix}",
            provider="oci",
        ) from exc
    except http.InvalidHeader:  # its message quotes the header, which contains a token
        raise ConfigurationError(
            f"{context}: a token holds a line break, a space, or a character beyond ASCII{suffix}"
        ) from None
    except http.Timeout as exc:
        raise APITimeoutError(
            f"{context}: {_describe_exception(exc)}{suffix}", provider="oci"
        ) from exc
    except (http.RequestException, CircuitBreakerError, ConnectionError) as exc:
        raise APIConnectionError(
            f"{context}: {_describe_exception(exc)}{suffix}", provider="oci"
        ) from exc
    except InvalidCertificateFromInstanceMetadataError as exc:  # it quotes the private key
        raise ResponseParseError(
            f"{context}: the instance metadata holds no valid {exc.certificate_type}{suffix}",
            provider="oci",
        ) from None
    except FileNotFoundError as exc:
        raise ConfigurationError(f"{context}: there is no file {exc.filename}{suffix}") from exc
    except OSError as exc:
        raise ConfigurationError(f"{context}: {exc.strerror or exc}{suffix}") from exc
    except UnicodeError:  # it contains the complete text, which may be a passphrase
        raise ConfigurationError(f"{context}: a character is not ASCII{suffix}") from None
    except (ClientError, UnsupportedAlgorithm, AttributeError, TypeError, ValueError) as exc:
        raise ConfigurationError(f"{context}: {_describe_exception(exc)}{suffix}") from exc
    except RuntimeError as exc:  # it may quote the auth service's text, redacted by oci
        raise APIError(f"{context}: {_describe_exception(exc)}{suffix}", provider="oci") from exc


def _describe_exception(exc: BaseException) -> str:
    """Format the class and the message of an exception, cut after some length."""
    text = str(exc)[:MAX_SHOWN_CHARACTERS]
    return f"{type(exc).__name__}: {text}" if text else type(exc).__name__
