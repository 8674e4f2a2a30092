"""Checkpoints with an agent's records, as this and as earlier versions of Locus saved them."""

from __future__ import annotations

import os
import shutil
import sqlite3
from collections.abc import Mapping
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from locus.core.state import AgentState
from locus.memory import FileCheckpointer, SQLiteCheckpointer
from tests.support.samples import HERE, OLD_RECORDS, RECORDS

SAMPLES = [("records-v1", RECORDS), ("old-records-v1", OLD_RECORDS)]


@pytest.mark.parametrize(("name", "states"), [*SAMPLES, ("records-v2", RECORDS)])
def test_files_are_read(name: str, states: Mapping[str, AgentState]) -> None:
    checkpointer = FileCheckpointer(HERE / name)
    assert {key: checkpointer.load(key) for key in checkpointer.threads()} == states


@pytest.mark.parametrize(("name", "states"), SAMPLES)
def test_databases_are_read(name: str, states: Mapping[str, AgentState], tmp_path: Path) -> None:
    shutil.copy(HERE / f"{name}.db", tmp_path / "saved.db")
    with SQLiteCheckpointer(tmp_path / "saved.db") as checkpointer:
        assert {key: checkpointer.load(key) for key in checkpointer.threads()} == states


def test_files_do_not_change_by_mistake(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "urandom", lambda size: bytes(range(size)))
    checkpointer = FileCheckpointer(tmp_path)
    for thread_id, state in RECORDS.items():
        checkpointer.save(thread_id, state)
    saved = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    sample = {path.name: path.read_bytes() for path in (HERE / "records-v2").iterdir()}
    assert saved == sample


def test_rows_do_not_change_by_mistake(tmp_path: Path) -> None:
    def read_rows(path: Path) -> list[Any]:
        with closing(sqlite3.connect(path)) as db:
            return [
                db.execute(
                    "SELECT thread_id, state, messages, executions, seal FROM checkpoints "
                    "ORDER BY id"
                ).fetchall(),
                db.execute(
                    "SELECT * FROM checkpoint_items ORDER BY checkpoint, kind, position"
                ).fetchall(),
            ]

    shutil.copy(HERE / "records-v1.db", tmp_path / "sample.db")
    with SQLiteCheckpointer(tmp_path / "saved.db") as checkpointer:
        for thread_id, state in RECORDS.items():
            checkpointer.save(thread_id, state)
    assert read_rows(tmp_path / "saved.db") == read_rows(tmp_path / "sample.db")


def test_an_old_checkpoint_is_saved_with_fields(tmp_path: Path) -> None:
    shutil.copy(HERE / "old-records-v1.db", tmp_path / "saved.db")
    with SQLiteCheckpointer(tmp_path / "saved.db") as checkpointer:
        state = checkpointer.load("stored")
        assert state is not None
        checkpointer.save("stored", state)
        assert checkpointer.load("stored") == RECORDS["stored"]
    with closing(sqlite3.connect(tmp_path / "saved.db")) as db:
        (text,) = db.execute("SELECT state FROM checkpoints WHERE thread_id = 'stored'").fetchone()
    assert '"server_knowledge"' in text
    assert '"locus":' not in text
