"""Finds the region and the URLs of the Generative AI service."""

from __future__ import annotations

import os
import re
from typing import Final

from locus.core.errors import ConfigurationError
from locus.models.base_url import normalize_base_url
from locus.models.providers.oci.regions import find_realm_domain, find_region_by_code

DEFAULT_OCI_GENAI_REGION: Final = "us-chicago-1"
"""The region to use if none is set: the first to have every model."""
_REGION_PATTERN: Final = re.compile(r"[a-z]+(-[a-z0-9]+)*-\d+")
_REGION_CODE_PATTERN: Final = re.compile(r"[a-z]{3}", re.I)
_API_PATH_PATTERN: Final = re.compile(
    r"(?<!/)(/20231130(/actions(/v1)?(/chat)?)?|/openai(/v1(/chat(/completions)?|/responses)?)?)+$"
)
"""The paths of Oracle's own URLs, which a user may have copied together with the host."""


def resolve_region(region: str | None = None) -> str:
    """Return the region: the argument, else ``OCI_REGION``, else ``us-chicago-1``.

    A short code, such as ``ord``, becomes the region's name.

    :raises ConfigurationError: if it cannot be a region's name, and is no region's short code.
    """
    if region is None:
        return find_environment_region() or DEFAULT_OCI_GENAI_REGION
    return normalize_region(region, "region")


def find_environment_region() -> str | None:
    """Return the region that ``OCI_REGION`` names, or None.

    :raises ConfigurationError: if it cannot be a region's name, and is no region's short code.
    """
    region = os.environ.get("OCI_REGION")
    return normalize_region(region, "OCI_REGION") if region else None


def normalize_region(region: str, source: str) -> str:
    """Return a region's name; the argument may be its short code.

    :param source: where the region comes from, for the error.
    :raises ConfigurationError: if it cannot be a region's name, and is no region's short code.
    """
    if isinstance(region, str) and _REGION_PATTERN.fullmatch(region):
        return region
    is_code = isinstance(region, str) and _REGION_CODE_PATTERN.fullmatch(region)
    name = find_region_by_code(region) if is_code else None
    if name:
        return name
    raise ConfigurationError(
        f"{source} must be a region's {'full ' if is_code else ''}name, such as us-chicago-1, "
        f"not {'the unknown short code ' if is_code else ''}{region!r}"
    )


def resolve_endpoint(service_endpoint: str | None = None, region: str | None = None) -> str:
    """Return the root URL of the inference service, for OCI's own chat format.

    ``service_endpoint``, else ``OCI_ENDPOINT``, else the region's. The path of one of the two APIs
    (``/openai/v1``, ``/20231130/actions/chat``) at the end of a URL is removed.

    :raises ConfigurationError: if it is not an http(s) URL.
    """
    if service_endpoint:
        return _API_PATH_PATTERN.sub("", _normalize_url(service_endpoint, "service_endpoint"))
    environment_url = os.environ.get("OCI_ENDPOINT")
    if environment_url:
        return _API_PATH_PATTERN.sub("", _normalize_url(environment_url, "OCI_ENDPOINT"))
    return _build_regional_url(region)


def resolve_openai_base_url(base_url: str | None = None, region: str | None = None) -> str:
    """Return the root URL of OCI's OpenAI-compatible API.

    ``base_url``, else that of :func:`resolve_endpoint`. ``/openai/v1`` is added to a URL without a
    path, and replaces the path of either API; another path, such as a gateway's, is not changed.

    :raises ConfigurationError: if it is not an http(s) URL.
    """
    if not base_url:
        return f"{resolve_endpoint(None, region)}/openai/v1"
    url = _normalize_url(base_url, "base_url")
    root = _API_PATH_PATTERN.sub("", url)
    if root == url and "/" in url.partition("://")[2]:
        return url
    return f"{root}/openai/v1"


def build_oci_openai_base_url(region: str) -> str:
    """Build the root URL of the OpenAI-compatible API in a region, of whichever realm."""
    return f"{_build_regional_url(region)}/openai/v1"


def _build_regional_url(region: str | None) -> str:
    """Build the root URL of the inference service in a region; by default that of the environment.

    Each realm of Oracle's clouds has a domain of its own.
    """
    name = resolve_region(region)
    return f"https://inference.generativeai.{name}.oci.{find_realm_domain(name)}"


def _normalize_url(url: str, argument_name: str) -> str:
    """Return the URL without a slash at its end.

    :param argument_name: the name of the argument or variable, for the error.
    """
    try:
        return normalize_base_url(url)
    except ConfigurationError as exc:
        message = str(exc).removeprefix("base_url")
        if argument_name != "base_url":  # the model may have no argument with this name
            message = message.removesuffix(": pass api_key=")
        raise ConfigurationError(f"{argument_name}{message}") from None
