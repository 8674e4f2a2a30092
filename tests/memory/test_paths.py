"""The paths of checkpointers and stores, and who may read what they write."""

from __future__ import annotations

import os
import stat
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from locus.core.errors import ConfigurationError
from locus.core.messages import Message
from locus.core.state import AgentState
from locus.memory import FileCheckpointer, SQLiteCheckpointer, SQLiteStore

STATE = AgentState(messages=(Message.user("hello"),))


def save_in_directory(path: Any) -> None:
    checkpointer = FileCheckpointer(path)
    with checkpointer.claim("t"):
        checkpointer.save("t", STATE)


def save_in_database(path: Any) -> None:
    with SQLiteCheckpointer(path) as checkpointer, checkpointer.claim("t"):
        checkpointer.save("t", STATE)


def put_fact(path: Any) -> None:
    SQLiteStore(path).put("ada", "likes", "tea")


USES: dict[str, Callable[[Any], None]] = {
    "file": save_in_directory,
    "sqlite": save_in_database,
    "store": put_fact,
}


@pytest.fixture(params=USES)
def use(
    request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Callable[[Any], None]:
    """Writes to a path; the home and the working directory are empty."""
    for name in ("home", "work"):
        (tmp_path / name).mkdir()
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.setenv("USERPROFILE", str(tmp_path / "home"))
    monkeypatch.chdir(tmp_path / "work")
    return USES[request.param]


@pytest.mark.parametrize("as_path", [False, True])
def test_a_tilde_is_the_home_directory(
    use: Callable[[Any], None], tmp_path: Path, as_path: bool
) -> None:
    use(Path("~/saved") if as_path else "~/saved")
    assert (tmp_path / "home" / "saved").exists()
    assert os.listdir(tmp_path / "work") == []


@pytest.mark.parametrize(
    "path", ["", " ", "file:saved.db?mode=rwc", "FILE:saved", "sqlite:///saved.db", "~nobody-x/s"]
)
def test_what_is_no_path_is_an_error(use: Callable[[Any], None], tmp_path: Path, path: str) -> None:
    with pytest.raises(ConfigurationError):
        use(path)
    assert os.listdir(tmp_path / "work") == []


@pytest.mark.skipif(os.name == "nt", reason="needs file permissions")
def test_what_is_written_is_readable_by_its_owner_only(
    use: Callable[[Any], None], tmp_path: Path
) -> None:
    umask = os.umask(0)
    try:
        use(tmp_path / "work" / "saved")
    finally:
        os.umask(umask)
    written = list((tmp_path / "work").rglob("*"))
    assert written
    for path in written:
        assert stat.S_IMODE(path.stat().st_mode) == (0o700 if path.is_dir() else 0o600), path


@pytest.mark.skipif(not hasattr(os, "O_NOFOLLOW"), reason="needs O_NOFOLLOW")
def test_a_symbolic_link_in_the_place_of_a_lock_is_not_followed(tmp_path: Path) -> None:
    checkpointer = FileCheckpointer(tmp_path / "saved")
    checkpointer.save("t", STATE)
    precious = tmp_path / "precious"
    precious.write_text("precious")
    (checkpoint,) = (tmp_path / "saved").glob("*.json")
    checkpoint.with_suffix(".lock").symlink_to(precious)
    with pytest.raises(Exception, match="cannot be locked"), checkpointer.claim("t"):
        pass
    assert precious.read_text() == "precious"


def test_temporary_files_of_others_are_not_removed(tmp_path: Path) -> None:
    other = tmp_path / "notes.tmp"
    other.write_text("mine")
    os.utime(other, (0, 0))
    FileCheckpointer(tmp_path).save("t", STATE)
    assert other.read_text() == "mine"
