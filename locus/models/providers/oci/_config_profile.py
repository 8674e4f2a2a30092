"""Reads the profiles of ``~/.oci/config`` as the ``oci`` package does, without importing it.

The rules are those of ``oci.config.from_file``: INI without interpolation, every section inherits
from ``[DEFAULT]``, ``~`` is expanded, ``OCI_CONFIG_FILE`` and ``~/.oraclebmc/config`` are used if
the default file does not exist, and a file must not contain ``key_content``. In addition, values
that a profile lacks come from the environment variables of the OCI command line
(``OCI_CLI_USER``, ``OCI_CLI_KEY_CONTENT``, …), so a machine does not need a file.
"""

from __future__ import annotations

import configparser
import os
from collections.abc import Iterator, Mapping
from functools import lru_cache
from typing import Final

import attrs

from locus.core.errors import ConfigurationError

DEFAULT_CONFIG_FILE: Final = "~/.oci/config"
_LEGACY_CONFIG_FILE: Final = "~/.oraclebmc/config"
DEFAULT_PROFILE: Final = "DEFAULT"
_ENVIRONMENT_VARIABLES: Final = {
    "user": "OCI_CLI_USER",
    "tenancy": "OCI_CLI_TENANCY",
    "fingerprint": "OCI_CLI_FINGERPRINT",
    "key_content": "OCI_CLI_KEY_CONTENT",
    "key_file": "OCI_CLI_KEY_FILE",
    "pass_phrase": "OCI_CLI_PASSPHRASE",
    "region": "OCI_CLI_REGION",
}
_REQUIRED_KEYS: Final = ("user", "tenancy", "fingerprint")
"""What the environment must set if the file does not exist."""


def _format_keys(entries: Mapping[str, str]) -> str:
    """Format only the keys, because the values may be secret."""
    return str(sorted(entries))


@attrs.frozen
class Profile(Mapping[str, str]):
    """The entries of one profile. Empty values are left out.

    :param own_keys: the keys that are in the section itself, not inherited.
    """

    name: str
    file: str
    entries: Mapping[str, str] = attrs.field(repr=_format_keys)
    own_keys: frozenset[str] = attrs.field(repr=False)

    def __getitem__(self, key: str) -> str:
        return self.entries[key]

    def __iter__(self) -> Iterator[str]:
        return iter(self.entries)

    def __len__(self) -> int:
        return len(self.entries)

    @property
    def auth_method(self) -> str:
        """How to authenticate, decided by which keys the profile has."""
        named = self.entries.get("authentication_type", "").lower()
        if named == "instance_principal":  # Oracle's Cloud Shell writes it like this
            return "delegation_token" if "delegation_token_file" in self.entries else named
        if named == "resource_principal":
            return named
        # A token belongs to one key: an inherited token does not fit the profile's own key.
        if "security_token_file" in self.entries and (
            "security_token_file" in self.own_keys or "key_file" not in self.own_keys
        ):
            return "security_token"
        return "api_key"

    def get_expanded_path(self, key: str) -> str:
        """Return the value as a path, with ``~`` expanded."""
        return os.path.expanduser(self.entries[key])

    def __str__(self) -> str:
        return f"the profile {self.name} of {self.file}"


def find_config_file(config_file: str) -> str:
    """Return the path of the file to read for ``config_file``, whether it exists or not."""
    path = os.path.expanduser(config_file)
    if config_file != DEFAULT_CONFIG_FILE or os.path.isfile(path):
        return path
    environment_path = os.environ.get("OCI_CONFIG_FILE")
    if environment_path:
        return os.path.expanduser(environment_path)
    legacy_path = os.path.expanduser(_LEGACY_CONFIG_FILE)
    return legacy_path if os.path.isfile(legacy_path) else path


def read_profile(config_file: str, name: str) -> Profile:
    """Read the profile ``name``. The file is parsed again only when it has changed.

    :raises ConfigurationError: if the file cannot be read, or has no such profile.
    """
    path = find_config_file(config_file)
    environment = {
        key: os.environ.get(variable, "") for key, variable in _ENVIRONMENT_VARIABLES.items()
    }
    try:
        file_info = os.stat(path)
        sections = _read_sections(
            path, (file_info.st_mtime_ns, file_info.st_size, file_info.st_ino)
        )
    except FileNotFoundError:
        if all(environment[key] for key in _REQUIRED_KEYS):
            return Profile(
                name, "the environment", _merge_environment(environment, {}), frozenset()
            )
        raise ConfigurationError(
            f"there is no OCI config file at {path}: `oci setup config` writes one, and "
            "config_file= names another"
        ) from None
    except OSError as exc:
        raise ConfigurationError(f"the OCI config file {path}: {exc.strerror}") from None
    if name not in sections:
        names = ", ".join(sections) or "none"
        raise ConfigurationError(f"there is no profile {name} in {path}; there are: {names}")
    entries, own_keys = sections[name]
    if "key_content" in entries:
        raise ConfigurationError(
            f"the profile {name} of {path} holds key_content, which must not be in a file: "
            "name a key_file there, or set OCI_CLI_KEY_CONTENT"
        )
    return Profile(name, path, _merge_environment(environment, entries), own_keys)


def _merge_environment(
    environment: Mapping[str, str], entries: Mapping[str, str]
) -> dict[str, str]:
    """Merge the profile's entries with those of the environment that it lacks.

    A profile with a key file gets no key from the environment.
    """
    merged = {key: value for key, value in entries.items() if value}
    has_key_file = "key_file" in merged
    for key, value in environment.items():
        if value and not (has_key_file and key in ("key_content", "key_file")):
            merged.setdefault(key, value)
    return merged


@lru_cache(maxsize=16)
def _read_sections(
    path: str, file_state: tuple[int, int, int]
) -> dict[str, tuple[dict[str, str], frozenset[str]]]:
    """Read the entries of each profile of a file, and which of its keys are not inherited.

    :param file_state: the file's time, size and inode; a changed file misses the cache.
    """
    # No section is the parser's default one, so that each section has only its own entries.
    parser = configparser.ConfigParser(interpolation=None, default_section="")
    try:
        with open(path, encoding="utf-8-sig") as file:
            parser.read_file(file)
    except (configparser.Error, UnicodeDecodeError) as exc:
        # The parser's message is not shown: it quotes the line, which may be a passphrase.
        line = getattr(exc, "lineno", None) or next(
            (number for number, _ in getattr(exc, "errors", ())), None
        )
        position = f", line {line}" if line else ""
        raise ConfigurationError(f"{path}{position}: this is not an OCI config file") from None
    inherited = dict(parser[DEFAULT_PROFILE]) if DEFAULT_PROFILE in parser else {}
    return {
        name: ({**inherited, **parser[name]}, frozenset(parser[name])) for name in parser.sections()
    }
