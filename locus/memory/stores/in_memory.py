"""Facts in a dictionary: for tests, and for what may be forgotten when the process ends."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import attrs

from locus.memory.stores.base import MemoryItem, MemoryStore, Namespace, place
from locus.memory.stores.validation import from_json, namespace_path, to_json


@attrs.frozen
class _Fact:
    text: str
    created: datetime
    updated: datetime
    turn: int  # which put of the store this was


class InMemoryStore(MemoryStore):
    """A store in this process. A copy, or what comes out of a pickle, is a store of its own."""

    __slots__ = ("_facts", "_lock", "_turn")

    def __init__(self) -> None:
        self._facts: dict[tuple[str, ...], dict[str, _Fact]] = {}
        self._lock = threading.Lock()
        self._turn = 0

    def put(self, namespace: Namespace, key: str, value: Any) -> None:
        """Store a JSON value, in the place of the key's last one."""
        path, key = place(namespace, key)
        text = to_json(value)
        now = datetime.now(UTC)
        with self._lock:
            self._turn += 1
            facts = self._facts.setdefault(path, {})
            created = facts[key].created if key in facts else now
            facts[key] = _Fact(text, created, now, self._turn)

    def item(self, namespace: Namespace, key: str) -> MemoryItem | None:
        """The fact with its times, or None where there is none."""
        path, key = place(namespace, key)
        with self._lock:
            fact = self._facts.get(path, {}).get(key)
        return None if fact is None else _item(path, key, fact)

    def delete(self, namespace: Namespace, key: str) -> bool:
        """Forget a fact. Gives whether there was one."""
        path, key = place(namespace, key)
        with self._lock:
            facts = self._facts.get(path, {})
            found = facts.pop(key, None) is not None
            if found and not facts:
                del self._facts[path]
        return found

    def namespaces(self) -> tuple[tuple[str, ...], ...]:
        """Every namespace that has facts, sorted."""
        with self._lock:
            return tuple(sorted(self._facts))

    def items(self, namespace: Namespace, *, latest_first: bool = False) -> Iterator[MemoryItem]:
        """The facts of a namespace as they are now."""
        path = namespace_path(namespace)
        with self._lock:
            facts = [*self._facts.get(path, {}).items()]
        if latest_first:
            facts.sort(key=lambda fact: -fact[1].turn)
        return (_item(path, key, fact) for key, fact in facts)

    def __repr__(self) -> str:
        return f"<InMemoryStore of {len(self.namespaces())} namespaces>"

    def __getstate__(self) -> tuple[Any, ...]:
        with self._lock:
            return {path: dict(facts) for path, facts in self._facts.items()}, self._turn

    def __setstate__(self, state: tuple[Any, ...]) -> None:
        self._facts, self._turn = state
        self._lock = threading.Lock()


def _item(path: tuple[str, ...], key: str, fact: _Fact) -> MemoryItem:
    return MemoryItem(path, key, from_json(fact.text), fact.created, fact.updated)
