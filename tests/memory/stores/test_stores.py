"""Facts that outlive a run: two stores that behave as one dictionary does, and one on disk."""

from __future__ import annotations

import json
import math
import multiprocessing
import os
import pickle
import sqlite3
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from enum import IntEnum
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    rule,
    run_state_machine_as_test,
)

from locus.core.errors import ConfigurationError
from locus.core.frozendict import FrozenDict
from locus.memory import InMemoryStore, MemoryStore, MemoryStoreError, SQLiteStore
from tests.support.runtimes import ROOT
from tests.support.strategies import json_values, texts

KINDS = ["memory", "sqlite"]


def made(kind: str, directory: Path | str) -> MemoryStore:
    return InMemoryStore() if kind == "memory" else SQLiteStore(Path(directory) / "facts.db")


@pytest.fixture(params=KINDS)
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[MemoryStore]:
    with made(request.param, tmp_path) as found:
        yield found


# -- as a dictionary ---------------------------------------------------------------------------

NAMESPACES = st.sampled_from(["ada", ("ada",), ("ada", "x"), ("ada", "x\u2028"), 'a"]', "\x00"])
KEYS = st.sampled_from(["k", "K", "key\n", "é", "e\u0301", "\x00", " "]) | texts(min_size=1)


class Against(RuleBasedStateMachine):
    """A store beside dictionaries of dictionaries, in which the last put is remembered as well."""

    kind = ""

    @initialize()
    def begin(self) -> None:
        self.directory = tempfile.TemporaryDirectory(prefix="facts")
        self.store = made(self.kind, self.directory.name)
        self.facts: dict[tuple[str, ...], dict[str, Any]] = {}
        self.puts: list[tuple[tuple[str, ...], str]] = []

    def teardown(self) -> None:
        if hasattr(self, "directory"):
            self.store.close()
            self.directory.cleanup()

    @rule(namespace=NAMESPACES, key=KEYS, value=json_values(max_leaves=4))
    def put(self, namespace: Any, key: str, value: Any) -> None:
        path = (namespace,) if isinstance(namespace, str) else namespace
        self.store.put(namespace, key, value)
        self.facts.setdefault(path, {})[key] = value
        self.forget(path, key)
        self.puts.append((path, key))

    @rule(namespace=NAMESPACES, key=KEYS)
    def get(self, namespace: Any, key: str) -> None:
        path = (namespace,) if isinstance(namespace, str) else namespace
        missing = object()
        expected = self.facts.get(path, {}).get(key, missing)
        assert self.store.get(namespace, key, missing) == expected

    @rule(data=st.data())
    def delete(self, data: st.DataObject) -> None:
        path, key = data.draw(st.sampled_from([*self.puts, (("ada",), "never")]))
        there = key in self.facts.get(path, {})
        assert self.store.delete(path, key) is there
        if there:
            del self.facts[path][key]
            if not self.facts[path]:
                del self.facts[path]
            self.forget(path, key)

    @rule()
    def move(self) -> None:
        self.store.close()
        self.store = pickle.loads(pickle.dumps(self.store))

    @rule(namespace=NAMESPACES, limit=st.integers(1, 4))
    def search(self, namespace: Any, limit: int) -> None:
        path = (namespace,) if isinstance(namespace, str) else namespace
        latest = [key for of, key in reversed(self.puts) if of == path]
        found = self.store.search(namespace, limit=limit)
        assert [item.key for item in found] == latest[:limit]

    @invariant()
    def holds_the_same(self) -> None:
        if not hasattr(self, "store"):
            return
        assert self.store.namespaces() == tuple(sorted(self.facts))
        for path, facts in self.facts.items():
            items = self.store.list(path)
            assert [(item.key, item.value) for item in items] == list(facts.items())

    def forget(self, path: tuple[str, ...], key: str) -> None:
        self.puts = [put for put in self.puts if put != (path, key)]


@pytest.mark.parametrize("kind", KINDS)
def test_a_store_holds_what_dictionaries_would(kind: str) -> None:
    machine = type("Machine", (Against,), {"kind": kind})
    examples = settings(max_examples=20, stateful_step_count=12, deadline=None)
    run_state_machine_as_test(machine, settings=examples)


# -- values ------------------------------------------------------------------------------------


@given(json_values())
def test_any_json_comes_back_equal_and_as_a_copy(value: Any) -> None:
    store = InMemoryStore()
    store.put("n", "k", value)
    assert store.get("n", "k") == value
    assert type(store.get("n", "k")) is type(value)
    if isinstance(value, (list, dict)):
        assert store.get("n", "k") is not store.get("n", "k")


def test_changing_what_was_put_or_got_changes_nothing(store: MemoryStore) -> None:
    value: dict[str, Any] = {"list": [1]}
    store.put("n", "k", value)
    value["list"].append(2)
    store.get("n", "k")["list"].append(3)
    store.list("n")[0].value["list"].append(4)
    assert store.get("n", "k") == {"list": [1]}


def test_tuples_and_frozen_mappings_come_back_as_json_has_them(store: MemoryStore) -> None:
    store.put("n", "k", FrozenDict({"a": (1, (2,)), "b": IntEnum("Few", "ONE")(1), "c": 10**30}))
    assert store.get("n", "k") == {"a": [1, [2]], "b": 1, "c": 10**30}


LOOP: list[Any] = []
LOOP.append(LOOP)


@pytest.mark.parametrize(
    ("value", "error", "named"),
    [
        (object(), TypeError, "value is object"),
        ({"a": [1, {2}]}, TypeError, r"value\['a'\]\[1\] is set"),
        ({"a": {1: "x"}}, TypeError, r"value\['a'\] has the key 1"),
        (b"x", TypeError, "bytes"),
        (datetime.now(UTC), TypeError, "datetime"),
        (math.nan, ConfigurationError, "nan"),
        ([math.inf], ConfigurationError, r"value\[0\] is inf"),
        ("\ud800", ConfigurationError, "surrogate"),
        ({"\ud800": 1}, ConfigurationError, "a key of value.*surrogate"),
        (LOOP, ConfigurationError, "contains itself"),
        (10**5000, ConfigurationError, "cannot be written as JSON"),
    ],
    ids=lambda value: value if isinstance(value, str) and value.isascii() else "value",
)
def test_what_is_not_json_is_refused_and_the_old_value_stays(
    store: MemoryStore, value: Any, error: Any, named: str
) -> None:
    store.put("n", "k", "old")
    with pytest.raises(error, match=named):
        store.put("n", "k", value)
    assert store.get("n", "k") == "old"


@pytest.mark.parametrize(
    ("namespace", "key", "error"),
    [
        ("", "k", ConfigurationError),
        ((), "k", ConfigurationError),
        (("a", ""), "k", ConfigurationError),
        (["a"], "k", TypeError),
        (("a", 1), "k", TypeError),
        (None, "k", TypeError),
        ("\ud800", "k", ConfigurationError),
        ("n", "", ConfigurationError),
        ("n", 1, TypeError),
        ("n", "\ud800", ConfigurationError),
    ],
)
def test_names_that_are_no_names_are_refused_by_every_method(
    store: MemoryStore, namespace: Any, key: Any, error: Any
) -> None:
    with pytest.raises(error):
        store.put(namespace, key, 1)
    with pytest.raises(error):
        store.get(namespace, key)
    with pytest.raises(error):
        store.delete(namespace, key)
    if namespace != "n":
        for read in (store.list, store.search, store.render):
            with pytest.raises(error):
                read(namespace)
    assert store.namespaces() == ()


def test_a_namespace_does_not_contain_another(store: MemoryStore) -> None:
    store.put("ada", "k", 1)
    store.put(("ada", "work"), "k", 2)
    store.put("ada/work", "k", 3)
    assert [store.get(name, "k") for name in ("ada", ("ada", "work"), "ada/work")] == [1, 2, 3]
    assert len(store.list("ada")) == 1
    assert store.namespaces() == (("ada",), ("ada", "work"), ("ada/work",))


def test_a_fact_says_when_it_came_and_when_it_changed(store: MemoryStore) -> None:
    began = datetime.now(UTC) - timedelta(milliseconds=1)
    store.put("n", "k", 1)
    time.sleep(0.002)
    store.put("n", "k", 2)
    item = store.item("n", "k")
    assert item is not None
    assert began <= item.created_at < item.updated_at <= datetime.now(UTC)
    assert (item.namespace, item.key, item.value) == (("n",), "k", 2)
    assert store.item("n", "other") is None
    hash(item)


# -- search and the system prompt --------------------------------------------------------------


def test_a_search_finds_every_word_in_key_or_value_in_any_case(store: MemoryStore) -> None:
    store.put("n", "Home town", "Straßburg")
    store.put("n", "pets", [{"cat": "Müsli"}, 3])
    store.put("n", "town of work", "Kehl")

    def found(query: str | None, limit: int = 10) -> list[str]:
        return [item.key for item in store.search("n", query, limit=limit)]

    assert found("TOWN") == ["town of work", "Home town"]
    assert found("strassburg home") == ["Home town"]
    assert found("müsli CAT") == ["pets"]
    assert found("town cat") == []
    assert found(None) == found("  ") == ["town of work", "pets", "Home town"]
    assert found(None, limit=1) == ["town of work"]
    store.put("n", "Home town", "Straßburg")
    assert found("town", limit=1) == ["Home town"]
    for limit in (0, -1, True, 1.5):
        with pytest.raises(ConfigurationError, match="limit"):
            store.search("n", limit=limit)  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="query"):
        store.search("n", 5)  # type: ignore[arg-type]


def test_the_block_for_the_system_prompt_is_stable_and_says_what_it_leaves_out(
    store: MemoryStore,
) -> None:
    assert store.render("n") == ""
    store.put("n", "name", "Ada")
    store.put("n", "likes", ["tea", "Zürich"])
    store.put("n", "age", 36)
    heading, *lines = store.render("n").split("\n")
    assert "not instructions" in heading
    assert lines == ['- "name": "Ada"', '- "likes": ["tea","Zürich"]', '- "age": 36']
    store.put("n", "name", "Ada L.")
    assert store.render("n").split("\n")[1] == '- "name": "Ada L."'
    assert store.render("n", 2).split("\n")[1:] == [
        '- "name": "Ada L."',
        '- "age": 36',
        "(1 more, not shown)",
    ]


@given(st.dictionaries(texts(min_size=1), json_values(max_leaves=3), min_size=1, max_size=4))
def test_no_key_or_value_breaks_out_of_its_line(facts: dict[str, Any]) -> None:
    store = InMemoryStore()
    for key, value in facts.items():
        store.put("n", key, value)
    block = store.render("n")
    lines = block.splitlines()
    assert len(lines) == len(facts) + 1
    assert not set("\x7f\x1b\u202e") & set(block)
    read = json.loads("{" + ",".join(line.removeprefix("- ") for line in lines[1:]) + "}")
    assert read == facts


# -- many at once ------------------------------------------------------------------------------


def test_many_threads_lose_nothing(store: MemoryStore) -> None:
    start = threading.Barrier(4)

    def write(me: int) -> None:
        start.wait()
        for at in range(10):
            store.put("n", f"{me}-{at}", at)
            store.put("n", "shared", me)

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(write, range(4)))
    assert len(store.list("n")) == 41
    assert store.search("n", limit=100)[0].key == "shared"


WRITER = """
import sys
from locus.memory import SQLiteStore
store, me = SQLiteStore(sys.argv[1]), sys.argv[2]
print("ready", flush=True)
sys.stdin.readline()
for at in range(25):
    store.put("n", f"{me}-{at}", at)
"""


def test_two_processes_that_write_to_a_new_file_lose_nothing(tmp_path: Path) -> None:
    path = tmp_path / "facts.db"
    writers = [
        subprocess.Popen(
            [sys.executable, "-W", "error", "-c", WRITER, str(path), str(me)],
            cwd=ROOT,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        for me in range(2)
    ]
    for writer in writers:
        assert writer.stdout is not None
        assert writer.stdout.readline() == "ready\n"
    for writer in writers:
        assert writer.stdin is not None
        writer.stdin.write("go\n")
        writer.stdin.flush()
    for writer in writers:
        writer.communicate(timeout=60)
        assert writer.returncode == 0
    expected = {f"{me}-{at}" for me in range(2) for at in range(25)}
    assert {item.key for item in SQLiteStore(path).list("n")} == expected


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork here")
@pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")
def test_a_store_works_on_both_sides_of_a_fork(tmp_path: Path) -> None:
    store = SQLiteStore(tmp_path / "facts.db")
    store.put("n", "before", 1)
    child = multiprocessing.get_context("fork").Process(target=store.put, args=("n", "child", 2))
    child.start()
    store.put("n", "parent", 3)
    child.join(30)
    assert child.exitcode == 0
    assert {item.key: item.value for item in store.list("n")} == {
        "before": 1,
        "child": 2,
        "parent": 3,
    }


# -- the file ----------------------------------------------------------------------------------


def test_facts_outlive_the_store_and_share_their_file(tmp_path: Path) -> None:
    path = tmp_path / "facts.db"
    SQLiteStore(path).put("n", "k", {"a": 1})
    connection = sqlite3.connect(path)
    try:
        assert connection.execute("PRAGMA journal_mode").fetchone() == ("wal",)
        connection.execute("CREATE TABLE others (x)")
        connection.execute("PRAGMA user_version = 99")
    finally:
        connection.close()
    assert SQLiteStore(str(path)).get("n", "k") == {"a": 1}


def test_a_store_on_disk_is_a_value(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    store = SQLiteStore("facts.db")
    assert store == SQLiteStore(tmp_path / "facts.db")
    assert hash(store) == hash(pickle.loads(pickle.dumps(store)))
    store.put("n", "k", 1)
    monkeypatch.chdir("/")
    assert store.get("n", "k") == 1
    store.close()
    assert store.get("n", "k") == 1


@pytest.mark.parametrize("path", ["", ":memory:", b"x"])
def test_a_path_that_is_no_file_is_refused(path: Any) -> None:
    with pytest.raises(ConfigurationError, match=r"InMemoryStore\(\)"):
        SQLiteStore(path)


def test_a_file_that_cannot_be_used_is_said_so(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="is its directory there"):
        SQLiteStore(tmp_path / "nowhere" / "facts.db").put("n", "k", 1)
    (tmp_path / "text.db").write_text("this is no database, whatever its name says" * 40)
    with pytest.raises(ConfigurationError, match="is no SQLite file"):
        SQLiteStore(tmp_path / "text.db").get("n", "k")


def test_a_file_in_use_is_waited_for(tmp_path: Path) -> None:
    store = SQLiteStore(tmp_path / "facts.db")
    store.put("n", "k", 1)
    writer = sqlite3.connect(store.path, isolation_level=None, check_same_thread=False)
    try:
        writer.execute("BEGIN IMMEDIATE")
        later = threading.Timer(0.2, writer.execute, ("COMMIT",))
        later.start()
        assert store.get("n", "k") == 1  # readers go on
        store.put("n", "k", 2)
        later.join()
    finally:
        writer.close()
    assert store.get("n", "k") == 2


@pytest.mark.parametrize(
    "sql",
    [
        "UPDATE memory_v1 SET value = '{'",
        "UPDATE memory_v1 SET value = x'ff'",
        "UPDATE memory_v1 SET updated = 'now'",
        "UPDATE memory_v1 SET updated = 1e300",
        "UPDATE memory_v1 SET value = CAST(x'ff' AS TEXT)",
        "DROP TABLE memory_v1; CREATE VIEW memory_v1 AS SELECT 1",
    ],
)
def test_damage_is_an_error_of_the_store_that_names_the_file(tmp_path: Path, sql: str) -> None:
    store = SQLiteStore(tmp_path / "facts.db")
    store.put("n", "k", 1)
    connection = sqlite3.connect(store.path)
    try:
        connection.executescript(sql)
    finally:
        connection.close()
    for read in (lambda: store.get("n", "k"), lambda: store.list("n"), lambda: store.render("n")):
        with pytest.raises(MemoryStoreError, match=r"facts\.db"):
            read()


@pytest.mark.parametrize("name", ["{", "[1]", "7", "[]"])
def test_a_namespace_that_is_damaged_is_said_so(tmp_path: Path, name: str) -> None:
    store = SQLiteStore(tmp_path / "facts.db")
    store.put("n", "k", 1)
    connection = sqlite3.connect(store.path, isolation_level=None)
    try:
        connection.execute("UPDATE memory_v1 SET namespace = ?", (name,))
    finally:
        connection.close()
    with pytest.raises(MemoryStoreError, match=r"a namespace in .*facts\.db"):
        store.namespaces()


def test_a_path_with_a_null_character_is_refused() -> None:
    with pytest.raises(ConfigurationError, match="null character"):
        SQLiteStore("a\0b")


READS = """
import os, sys, urllib.parse  # all that is needed later, when it may not be readable any more
from locus.memory import InMemoryStore, MemoryStoreError, SQLiteStore
InMemoryStore().put("ada", "likes", "tea")
if os.getuid() == 0: os.setuid(65534)
store = SQLiteStore(sys.argv[1])
try: print(store.get("ada", "likes"), [one.key for one in store.items("ada")], store.namespaces())
except MemoryStoreError: print("unreadable")
try: store.put("ada", "likes", "coffee")
except MemoryStoreError as why: print("readonly" in str(why))
"""


@pytest.mark.skipif(not hasattr(os, "getuid"), reason="needs modes of files")
def test_facts_that_cannot_be_written_can_be_read() -> None:
    # In a directory that anybody may pass through, which those of pytest are not.
    with tempfile.TemporaryDirectory() as directory:
        path = Path(directory) / "facts.db"
        SQLiteStore(path).put("ada", "likes", "tea")
        path.with_name("facts.db-wal").touch()  # empty, as a crash may leave it
        path.chmod(0o444)
        path.parent.chmod(0o555)
        try:
            done = subprocess.run(
                [sys.executable, "-c", READS, path],
                cwd=ROOT,
                stdout=subprocess.PIPE,
                text=True,
                timeout=30,
                check=False,
            )
        finally:
            path.parent.chmod(0o755)
        assert done.stdout == "tea ['likes'] (('ada',),)\nTrue\n"


DIES = """
import os, signal, sqlite3, sys
db = sqlite3.connect(sys.argv[1])
db.execute("PRAGMA journal_mode = DELETE")
db.execute("PRAGMA cache_size = 2")
db.execute("UPDATE memory_v1 SET value = '\\"yyyy\\"'")
os.kill(os.getpid(), signal.SIGKILL)
"""


@pytest.mark.skipif(not hasattr(os, "getuid"), reason="needs modes of files")
def test_facts_that_a_writer_left_half_written_are_not_read_by_who_cannot_mend_them() -> None:
    with tempfile.TemporaryDirectory() as directory:
        path = Path(directory) / "facts.db"
        store = SQLiteStore(path)
        for n in range(60):
            store.put("ada", str(n), "x" * 3000)
        subprocess.run([sys.executable, "-c", DIES, path], cwd=ROOT, timeout=30, check=False)
        assert path.with_name("facts.db-journal").stat().st_size > 0
        for file in (path, path.with_name("facts.db-journal")):
            file.chmod(0o444)
        path.parent.chmod(0o555)
        try:
            done = subprocess.run(
                [sys.executable, "-c", READS, path],
                cwd=ROOT,
                stdout=subprocess.PIPE,
                text=True,
                timeout=30,
                check=False,
            )
        finally:
            path.parent.chmod(0o755)
            path.chmod(0o644)
        assert done.stdout.startswith("unreadable\n")
        assert store.get("ada", "0") == "x" * 3000  # whoever may write rolls it back
