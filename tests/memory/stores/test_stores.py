"""The memory stores: compared with dictionaries, and the SQLite file."""

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
from tests.support.processes import PROJECT_ROOT, run_process, wait_for_output
from tests.support.strategies import json_values, texts
from tests.support.timing import HANG_SECONDS

BACKENDS = ["memory", "sqlite"]


def make_store(backend: str, directory: Path | str) -> MemoryStore:
    return InMemoryStore() if backend == "memory" else SQLiteStore(Path(directory) / "facts.db")


@pytest.fixture(params=BACKENDS)
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[MemoryStore]:
    with make_store(request.param, tmp_path) as opened:
        yield opened


# -- compared with dictionaries ----------------------------------------------------------------

NAMESPACES = st.sampled_from(["ada", ("ada",), ("ada", "x"), ("ada", "x\u2028"), 'a"]', "\x00"])
KEYS = st.sampled_from(["k", "K", "key\n", "é", "e\u0301", "\x00", " "]) | texts(min_size=1)


class StoreMachine(RuleBasedStateMachine):
    """Compares a store with nested dictionaries, and with a list of its put() calls."""

    backend = ""

    @initialize()
    def begin(self) -> None:
        self.directory = tempfile.TemporaryDirectory(prefix="facts")
        self.store = make_store(self.backend, self.directory.name)
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
        self.remove_put(path, key)
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
        existed = key in self.facts.get(path, {})
        assert self.store.delete(path, key) is existed
        if existed:
            del self.facts[path][key]
            if not self.facts[path]:
                del self.facts[path]
            self.remove_put(path, key)

    @rule()
    def pickle_store(self) -> None:
        self.store.close()
        self.store = pickle.loads(pickle.dumps(self.store))

    @rule(namespace=NAMESPACES, limit=st.integers(1, 4))
    def search(self, namespace: Any, limit: int) -> None:
        path = (namespace,) if isinstance(namespace, str) else namespace
        latest_keys = [key for of, key in reversed(self.puts) if of == path]
        opened = self.store.search(namespace, limit=limit)
        assert [item.key for item in opened] == latest_keys[:limit]

    @invariant()
    def check_equal(self) -> None:
        if not hasattr(self, "store"):
            return
        assert self.store.namespaces() == tuple(sorted(self.facts))
        for path, facts in self.facts.items():
            items = self.store.list(path)
            assert [(item.key, item.value) for item in items] == list(facts.items())

    def remove_put(self, path: tuple[str, ...], key: str) -> None:
        self.puts = [put for put in self.puts if put != (path, key)]


@pytest.mark.parametrize("max_examples", [10, pytest.param(200, marks=pytest.mark.thorough)])
@pytest.mark.parametrize("backend", BACKENDS)
def test_a_store_has_the_same_facts_as_dictionaries(backend: str, max_examples: int) -> None:
    machine = type("Machine", (StoreMachine,), {"backend": backend})
    examples = settings(max_examples=max_examples, stateful_step_count=12, deadline=None)
    run_state_machine_as_test(machine, settings=examples)


# -- values ------------------------------------------------------------------------------------


@given(json_values())
def test_any_json_value_is_loaded_equal_and_as_a_copy(value: Any) -> None:
    store = InMemoryStore()
    store.put("n", "k", value)
    assert store.get("n", "k") == value
    assert type(store.get("n", "k")) is type(value)
    if isinstance(value, (list, dict)):
        assert store.get("n", "k") is not store.get("n", "k")


def test_changing_a_stored_or_loaded_value_does_not_change_the_fact(store: MemoryStore) -> None:
    value: dict[str, Any] = {"list": [1]}
    store.put("n", "k", value)
    value["list"].append(2)
    store.get("n", "k")["list"].append(3)
    store.list("n")[0].value["list"].append(4)
    assert store.get("n", "k") == {"list": [1]}


def test_tuples_and_frozen_mappings_are_loaded_as_lists_and_dictionaries(
    store: MemoryStore,
) -> None:
    store.put("n", "k", FrozenDict({"a": (1, (2,)), "b": IntEnum("Few", "ONE")(1), "c": 10**30}))
    assert store.get("n", "k") == {"a": [1, [2]], "b": 1, "c": 10**30}


RECURSIVE: list[Any] = []
RECURSIVE.append(RECURSIVE)


@pytest.mark.parametrize(
    ("value", "error", "pattern"),
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
        (RECURSIVE, ConfigurationError, "contains itself"),
        (10**5000, ConfigurationError, "cannot be written as JSON"),
    ],
    ids=lambda value: value if isinstance(value, str) and value.isascii() else "value",
)
def test_a_value_that_is_not_json_is_an_error_and_the_old_value_is_kept(
    store: MemoryStore, value: Any, error: Any, pattern: str
) -> None:
    store.put("n", "k", "old")
    with pytest.raises(error, match=pattern):
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
def test_an_invalid_namespace_or_key_is_an_error_of_every_method(
    store: MemoryStore, namespace: Any, key: Any, error: Any
) -> None:
    with pytest.raises(error):
        store.put(namespace, key, 1)
    with pytest.raises(error):
        store.get(namespace, key)
    with pytest.raises(error):
        store.delete(namespace, key)
    if namespace != "n":
        for parsed in (store.list, store.search, store.render):
            with pytest.raises(error):
                parsed(namespace)
    assert store.namespaces() == ()


def test_a_namespace_does_not_contain_another(store: MemoryStore) -> None:
    store.put("ada", "k", 1)
    store.put(("ada", "work"), "k", 2)
    store.put("ada/work", "k", 3)
    assert [store.get(name, "k") for name in ("ada", ("ada", "work"), "ada/work")] == [1, 2, 3]
    assert len(store.list("ada")) == 1
    assert store.namespaces() == (("ada",), ("ada", "work"), ("ada/work",))


def test_a_fact_has_the_times_of_its_creation_and_update(store: MemoryStore) -> None:
    start = datetime.now(UTC) - timedelta(milliseconds=1)
    store.put("n", "k", 1)
    time.sleep(0.002)
    store.put("n", "k", 2)
    item = store.item("n", "k")
    assert item is not None
    assert start <= item.created_at < item.updated_at <= datetime.now(UTC)
    assert (item.namespace, item.key, item.value) == (("n",), "k", 2)
    assert store.item("n", "other") is None
    hash(item)


# -- search and the system prompt --------------------------------------------------------------


def test_a_search_matches_every_word_in_key_or_value_in_any_case(store: MemoryStore) -> None:
    store.put("n", "Home town", "Straßburg")
    store.put("n", "pets", [{"cat": "Müsli"}, 3])
    store.put("n", "town of work", "Kehl")

    def opened(query: str | None, limit: int = 10) -> list[str]:
        return [item.key for item in store.search("n", query, limit=limit)]

    assert opened("TOWN") == ["town of work", "Home town"]
    assert opened("strassburg home") == ["Home town"]
    assert opened("müsli CAT") == ["pets"]
    assert opened("town cat") == []
    assert opened(None) == opened("  ") == ["town of work", "pets", "Home town"]
    assert opened(None, limit=1) == ["town of work"]
    store.put("n", "Home town", "Straßburg")
    assert opened("town", limit=1) == ["Home town"]
    for limit in (0, -1, True, 1.5):
        with pytest.raises(ConfigurationError, match="limit"):
            store.search("n", limit=limit)  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="query"):
        store.search("n", 5)  # type: ignore[arg-type]


def test_the_block_for_the_system_prompt_is_stable_and_counts_omitted_facts(
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
    parsed = json.loads("{" + ",".join(line.removeprefix("- ") for line in lines[1:]) + "}")
    assert parsed == facts


# -- concurrency -------------------------------------------------------------------------------


def test_many_threads_lose_nothing(store: MemoryStore) -> None:
    start = threading.Barrier(4)

    def write(writer_id: int) -> None:
        start.wait()
        for index in range(10):
            store.put("n", f"{writer_id}-{index}", index)
            store.put("n", "shared", writer_id)

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(write, range(4)))
    assert len(store.list("n")) == 41
    assert store.search("n", limit=100)[0].key == "shared"


WRITER_SCRIPT = """
import sys
from locus.memory import SQLiteStore
store, writer_id = SQLiteStore(sys.argv[1]), sys.argv[2]
print("ready", flush=True)
sys.stdin.readline()
for index in range(25):
    store.put("n", f"{writer_id}-{index}", index)
"""


def test_two_processes_that_write_to_a_new_file_lose_nothing(tmp_path: Path) -> None:
    path = tmp_path / "facts.db"
    writers = [
        subprocess.Popen(
            [sys.executable, "-W", "error", "-c", WRITER_SCRIPT, str(path), str(writer_id)],
            cwd=PROJECT_ROOT,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        for writer_id in range(2)
    ]
    for writer in writers:
        assert writer.stdout is not None
        assert writer.stdout.readline() == "ready\n"
    for writer in writers:
        assert writer.stdin is not None
        writer.stdin.write("go\n")
        writer.stdin.flush()
    for writer in writers:
        wait_for_output(writer)
        assert writer.returncode == 0
    expected = {f"{writer_id}-{index}" for writer_id in range(2) for index in range(25)}
    assert {item.key for item in SQLiteStore(path).list("n")} == expected


@pytest.mark.skipif(not hasattr(os, "fork"), reason="there is no fork here")
@pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")
def test_a_store_works_in_a_forked_child_and_its_parent(tmp_path: Path) -> None:
    store = SQLiteStore(tmp_path / "facts.db")
    store.put("n", "before", 1)
    child = multiprocessing.get_context("fork").Process(target=store.put, args=("n", "child", 2))
    child.start()
    store.put("n", "parent", 3)
    child.join(HANG_SECONDS)
    assert child.exitcode == 0
    assert {item.key: item.value for item in store.list("n")} == {
        "before": 1,
        "child": 2,
        "parent": 3,
    }


# -- the file ----------------------------------------------------------------------------------


def test_facts_are_durable_and_the_file_may_have_other_tables(tmp_path: Path) -> None:
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


def test_an_sqlite_store_is_hashable_picklable_and_has_an_absolute_path(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
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
def test_a_path_that_is_no_file_is_an_error(path: Any) -> None:
    with pytest.raises(ConfigurationError, match=r"InMemoryStore\(\)"):
        SQLiteStore(path)


def test_a_file_that_cannot_be_opened_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="is its directory there"):
        SQLiteStore(tmp_path / "nowhere" / "facts.db").put("n", "k", 1)
    (tmp_path / "text.db").write_text("this is no database, whatever its name says" * 40)
    with pytest.raises(ConfigurationError, match="is not an SQLite file"):
        SQLiteStore(tmp_path / "text.db").get("n", "k")


def test_a_writer_waits_for_another(tmp_path: Path) -> None:
    store = SQLiteStore(tmp_path / "facts.db")
    store.put("n", "k", 1)
    writer = sqlite3.connect(store.path, isolation_level=None, check_same_thread=False)
    try:
        writer.execute("BEGIN IMMEDIATE")
        timer = threading.Timer(0.2, writer.execute, ("COMMIT",))
        timer.start()
        assert store.get("n", "k") == 1  # readers do not wait
        store.put("n", "k", 2)
        timer.join()
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
    for parsed in (lambda: store.get("n", "k"), lambda: store.list("n"), lambda: store.render("n")):
        with pytest.raises(MemoryStoreError, match=r"facts\.db"):
            parsed()


@pytest.mark.parametrize("name", ["{", "[1]", "7", "[]"])
def test_a_damaged_namespace_is_an_error(tmp_path: Path, name: str) -> None:
    store = SQLiteStore(tmp_path / "facts.db")
    store.put("n", "k", 1)
    connection = sqlite3.connect(store.path, isolation_level=None)
    try:
        connection.execute("UPDATE memory_v1 SET namespace = ?", (name,))
    finally:
        connection.close()
    with pytest.raises(MemoryStoreError, match=r"a namespace in .*facts\.db"):
        store.namespaces()


def test_a_path_with_a_null_character_is_an_error() -> None:
    with pytest.raises(ConfigurationError, match="null character"):
        SQLiteStore("a\0b")


READER_SCRIPT = """
import os, sys, urllib.parse  # imported now: later they may not be readable
from locus.memory import InMemoryStore, MemoryStoreError, SQLiteStore
InMemoryStore().put("ada", "likes", "tea")
if os.getuid() == 0: os.setuid(65534)
store = SQLiteStore(sys.argv[1])
try:
    keys = [item.key for item in store.items("ada")]
    print(store.get("ada", "likes"), keys, store.namespaces())
except MemoryStoreError: print("unreadable")
try: store.put("ada", "likes", "coffee")
except MemoryStoreError as exc: print("readonly" in str(exc))
"""


@pytest.mark.skipif(not hasattr(os, "getuid"), reason="needs file permissions")
def test_facts_in_a_read_only_file_can_be_read() -> None:
    # In a directory that other users may enter, unlike those of pytest.
    with tempfile.TemporaryDirectory() as directory:
        path = Path(directory) / "facts.db"
        SQLiteStore(path).put("ada", "likes", "tea")
        path.with_name("facts.db-wal").touch()  # empty, as a crash may leave it
        path.chmod(0o444)
        path.parent.chmod(0o555)
        try:
            completed = run_process([sys.executable, "-c", READER_SCRIPT, path])
        finally:
            path.parent.chmod(0o755)
        assert completed.stdout == "tea ['likes'] (('ada',),)\nTrue\n"


KILLED_WRITER_SCRIPT = """
import os, signal, sqlite3, sys
db = sqlite3.connect(sys.argv[1])
db.execute("PRAGMA journal_mode = DELETE")
db.execute("PRAGMA cache_size = 2")
db.execute("UPDATE memory_v1 SET value = '\\"yyyy\\"'")
os.kill(os.getpid(), signal.SIGKILL)
"""


@pytest.mark.skipif(not hasattr(os, "getuid"), reason="needs file permissions")
def test_an_incomplete_transaction_is_an_error_for_a_process_that_cannot_write() -> None:
    with tempfile.TemporaryDirectory() as directory:
        path = Path(directory) / "facts.db"
        store = SQLiteStore(path)
        for number in range(60):
            store.put("ada", str(number), "x" * 3000)
        run_process([sys.executable, "-c", KILLED_WRITER_SCRIPT, path])
        assert path.with_name("facts.db-journal").stat().st_size > 0
        for file in (path, path.with_name("facts.db-journal")):
            file.chmod(0o444)
        path.parent.chmod(0o555)
        try:
            completed = run_process([sys.executable, "-c", READER_SCRIPT, path])
        finally:
            path.parent.chmod(0o755)
            path.chmod(0o644)
        assert completed.stdout.startswith("unreadable\n")
        assert store.get("ada", "0") == "x" * 3000  # a process that may write rolls it back


@pytest.mark.parametrize(
    ("stored", "query"),
    [
        ("café", "cafe\u0301"),
        ("cafe\u0301", "CAFÉ"),
        ("\u110e\u116e\u11ab\u110e\u1165\u11ab", "\ucd98\ucc9c"),
        ("Straße", "STRASSE"),
        ("ﬁle", "file"),
        ("①", "1"),
    ],
)
def test_a_search_finds_a_word_however_it_is_written(stored: str, query: str) -> None:
    store = InMemoryStore()
    store.put("ada", "place", {"name": stored})
    store.put("ada", stored, 1)
    store.put("ada", "other", "x")
    assert {item.key for item in store.search("ada", query)} == {"place", stored}
