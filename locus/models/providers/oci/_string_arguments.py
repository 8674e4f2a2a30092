"""Checks and converts the arguments that the configs of the OCI models share."""

from __future__ import annotations

import os
from typing import Any

from locus.core.errors import ConfigurationError
from locus.models.providers.oci._config_profile import DEFAULT_CONFIG_FILE


def to_config_path(config_file: str | os.PathLike[str] | None) -> str:
    """Convert the path of the config file to a string; None is the default path.

    :raises ConfigurationError: if it is not a path.
    """
    path = config_file or DEFAULT_CONFIG_FILE
    if isinstance(path, os.PathLike):
        path = os.fspath(path)
    if not isinstance(path, str):
        raise ConfigurationError(f"config_file must be a path, not {type(path).__name__}")
    return path


def check_stripped_strings(**arguments: Any) -> None:
    """Check that each argument is None, or a string without white space at its ends.

    :raises ConfigurationError: if one is not. The message names the argument, but does not show its
        value, which may be a secret.
    """
    for name, value in arguments.items():
        if value is None:
            continue
        if not isinstance(value, str):
            raise ConfigurationError(f"{name} must be a string, not {type(value).__name__}")
        if value != value.strip():
            raise ConfigurationError(f"{name} has white space at its ends")
