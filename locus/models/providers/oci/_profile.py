"""The profiles of ``~/.oci/config``, read as the ``oci`` package reads them, without importing it.

``oci.config.from_file`` is the model: INI without interpolation, every section inherits from
``[DEFAULT]``, ``~`` is expanded, ``OCI_CONFIG_FILE`` and ``~/.oraclebmc/config`` stand in where
the default file does not exist, and ``key_content`` may not stand in the file. On top of it, what
a profile leaves out is taken from the environment variables of the OCI command line
(``OCI_CLI_USER``, ``OCI_CLI_KEY_CONTENT``, …), so that a machine needs no file at all.
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
_OLD_CONFIG_FILE: Final = "~/.oraclebmc/config"
DEFAULT_PROFILE: Final = "DEFAULT"
_ENVIRONMENT: Final = {
    "user": "OCI_CLI_USER",
    "tenancy": "OCI_CLI_TENANCY",
    "fingerprint": "OCI_CLI_FINGERPRINT",
    "key_content": "OCI_CLI_KEY_CONTENT",
    "key_file": "OCI_CLI_KEY_FILE",
    "pass_phrase": "OCI_CLI_PASSPHRASE",
    "region": "OCI_CLI_REGION",
}
_ENOUGH: Final = ("user", "tenancy", "fingerprint")
"""What the environment must hold to stand in for a file that does not exist."""


def _names_only(said: Mapping[str, str]) -> str:
    return str(sorted(said))


@attrs.frozen
class Profile(Mapping[str, str]):
    """What one profile says. Empty values are left out.

    :param own: the keys that stand in the section itself and are not inherited.
    """

    name: str
    file: str
    said: Mapping[str, str] = attrs.field(repr=_names_only)
    own: frozenset[str] = attrs.field(repr=False)

    def __getitem__(self, key: str) -> str:
        return self.said[key]

    def __iter__(self) -> Iterator[str]:
        return iter(self.said)

    def __len__(self) -> int:
        return len(self.said)

    @property
    def kind(self) -> str:
        """How to authenticate, from the profile's shape."""
        named = self.said.get("authentication_type", "").lower()
        if named == "instance_principal":  # so it stands in Oracle's Cloud Shell
            return "delegation_token" if "delegation_token_file" in self.said else named
        if named == "resource_principal":
            return named
        # A token belongs to its key: one that is inherited does not go with a key of one's own.
        if "security_token_file" in self.said and (
            "security_token_file" in self.own or "key_file" not in self.own
        ):
            return "security_token"
        return "api_key"

    def path(self, key: str) -> str:
        """The value as a path."""
        return os.path.expanduser(self.said[key])

    def __str__(self) -> str:
        return f"the profile {self.name} of {self.file}"


def config_path(config_file: str) -> str:
    """Where the profiles are."""
    path = os.path.expanduser(config_file)
    if config_file != DEFAULT_CONFIG_FILE or os.path.isfile(path):
        return path
    named = os.environ.get("OCI_CONFIG_FILE")
    if named:
        return os.path.expanduser(named)
    old = os.path.expanduser(_OLD_CONFIG_FILE)
    return old if os.path.isfile(old) else path


def read_profile(config_file: str, name: str) -> Profile:
    """The profile ``name``. The file is read again only when it has changed.

    :raises ConfigurationError: the file cannot be read, or has no such profile.
    """
    path = config_path(config_file)
    said = {key: os.environ.get(variable, "") for key, variable in _ENVIRONMENT.items()}
    try:
        state = os.stat(path)
        sections = _sections(path, (state.st_mtime_ns, state.st_size, state.st_ino))
    except FileNotFoundError:
        if all(said[key] for key in _ENOUGH):
            return Profile(name, "the environment", _filled(said, {}), frozenset())
        raise ConfigurationError(
            f"there is no OCI config file at {path}: `oci setup config` writes one, and "
            "config_file= names another"
        ) from None
    except OSError as error:
        raise ConfigurationError(f"the OCI config file {path}: {error.strerror}") from None
    if name not in sections:
        there = ", ".join(sections) or "none"
        raise ConfigurationError(f"there is no profile {name} in {path}; there are: {there}")
    values, own = sections[name]
    if "key_content" in values:
        raise ConfigurationError(
            f"the profile {name} of {path} holds key_content, which must not stand in a file: "
            "name a key_file there, or set OCI_CLI_KEY_CONTENT"
        )
    return Profile(name, path, _filled(said, values), own)


def _filled(environment: Mapping[str, str], values: Mapping[str, str]) -> dict[str, str]:
    """The profile's values, and the environment's where it has none; a key is named once."""
    filled = {key: value for key, value in values.items() if value}
    keyed = "key_file" in filled
    for key, value in environment.items():
        if value and not (keyed and key in ("key_content", "key_file")):
            filled.setdefault(key, value)
    return filled


@lru_cache(maxsize=16)
def _sections(
    path: str, state: tuple[int, int, int]
) -> dict[str, tuple[dict[str, str], frozenset[str]]]:
    """What each profile of a file says, by name, with the keys that it does not inherit."""
    # No section is the parser's default one, so that it tells what each says itself.
    parser = configparser.ConfigParser(interpolation=None, default_section="")
    try:
        with open(path, encoding="utf-8-sig") as file:
            parser.read_file(file)
    except (configparser.Error, UnicodeDecodeError) as error:
        # Not the parser's own words: they quote the line, and that may be a passphrase.
        line = getattr(error, "lineno", None) or next(
            (number for number, _ in getattr(error, "errors", ())), None
        )
        where = f", line {line}" if line else ""
        raise ConfigurationError(f"{path}{where}: this is not an OCI config file") from None
    inherited = dict(parser[DEFAULT_PROFILE]) if DEFAULT_PROFILE in parser else {}
    return {
        name: ({**inherited, **parser[name]}, frozenset(parser[name])) for name in parser.sections()
    }
