"""``InMemoryStore``: facts in a dictionary, lost when the process ends."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import attrs

from locus.memory.stores.base import MemoryItem, MemoryStore, Namespace, normalize_namespace_and_key
from locus.memory.stores.validation import decode_json, encode_json, normalize_namespace


@attrs.frozen
class _Fact:
    value_json: str
    created: datetime
    updated: datetime
    put_number: int  # counts the store's put() calls


class InMemoryStore(MemoryStore):
    """A store in the memory of this process. A copied or unpickled store is a separate one."""

    __slots__ = ("_facts", "_lock", "_put_count")

    def __init__(self) -> None:
        self._facts: dict[tuple[str, ...], dict[str, _Fact]] = {}
        self._lock = threading.Lock()
        self._put_count = 0

    def put(self, namespace: Namespace, key: str, value: Any) -> None:
        """Store a JSON value; it replaces the key's previous one."""
        path, key = normalize_namespace_and_key(namespace, key)
        value_json = encode_json(value)
        now = datetime.now(UTC)
        with self._lock:
            self._put_count += 1
            facts = self._facts.setdefault(path, {})
            created = facts[key].created if key in facts else now
            facts[key] = _Fact(value_json, created, now, self._put_count)

    def item(self, namespace: Namespace, key: str) -> MemoryItem | None:
        """Return the fact with its times, or None if there is none."""
        path, key = normalize_namespace_and_key(namespace, key)
        with self._lock:
            fact = self._facts.get(path, {}).get(key)
        return None if fact is None else _make_memory_item(path, key, fact)

    def delete(self, namespace: Namespace, key: str) -> bool:
        """Delete a fact, and return whether there was one."""
        path, key = normalize_namespace_and_key(namespace, key)
        with self._lock:
            facts = self._facts.get(path, {})
            existed = facts.pop(key, None) is not None
            if existed and not facts:
                del self._facts[path]
        return existed

    def namespaces(self) -> tuple[tuple[str, ...], ...]:
        """Return all namespaces that have facts, sorted."""
        with self._lock:
            return tuple(sorted(self._facts))

    def items(self, namespace: Namespace, *, latest_first: bool = False) -> Iterator[MemoryItem]:
        """Iterate over the facts that a namespace has at the time of the call."""
        path = normalize_namespace(namespace)
        with self._lock:
            facts = [*self._facts.get(path, {}).items()]
        if latest_first:
            facts.sort(key=lambda entry: -entry[1].put_number)
        return (_make_memory_item(path, key, fact) for key, fact in facts)

    def __repr__(self) -> str:
        return f"<InMemoryStore of {len(self.namespaces())} namespaces>"

    def __getstate__(self) -> tuple[Any, ...]:
        with self._lock:
            return {path: dict(facts) for path, facts in self._facts.items()}, self._put_count

    def __setstate__(self, state: tuple[Any, ...]) -> None:
        self._facts, self._put_count = state
        self._lock = threading.Lock()


def _make_memory_item(path: tuple[str, ...], key: str, fact: _Fact) -> MemoryItem:
    return MemoryItem(path, key, decode_json(fact.value_json), fact.created, fact.updated)
