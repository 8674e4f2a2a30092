"""What JSON a type has: each kind of type says its JSON Schema and reads its values.

One tree serves both, so that a schema and the reading of what was written after it cannot
disagree. Reading is as strict as JSON is: nothing is turned into text or out of it, except where
JSON has no other way to say a value (a date, bytes in base64). Every fault is noted with its place,
not only the first. The kinds themselves are in :mod:`locus.core.structured.type_nodes` and
:mod:`locus.core.structured.record_nodes`; :mod:`locus.core.structured.type_builder` finds the
kind of a type.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping
from typing import Any, Final, Protocol

import attrs

from locus.core.structured.schema_definitions import Definitions, Schema

WORDS: Final[Mapping[str, str]] = {
    "integer": "a whole number",
    "number": "a number",
    "string": "text",
    "boolean": "true or false",
    "null": "null",
    "array": "an array",
    "object": "an object",
}
SAYING: Final = (TypeError, ValueError, AssertionError)
"""What a validator raises to say what is wrong."""
REFUSALS: Final = (*SAYING, ArithmeticError, LookupError, OSError)
"""What a constructor raises for a value that it cannot take: ``Decimal("x")``, ``COLOURS["x"]``,
``fromtimestamp(1e18)``. Whatever else it raises is a fault of its own."""
_LISTED: Final = 20
FAR: Final = 1000
"""Further from a value than any kind of the right JSON type."""


@attrs.define(eq=False)
class Reading:
    """What was found wrong while one value is read, each with its place.

    :param exact: something will be done with the value, so nothing is passed over and no digit
        lost: a member that no field is named after is a fault, and so is a number with more digits
        than a float holds where a ``Decimal`` is wanted. 3.0 may stand for 3, as in JSON Schema.
    """

    faults: list[str] = attrs.Factory(list)
    exact: bool = False
    # What unions made of a container, for none to be read twice as the same member.
    seen: dict[tuple[int, int], tuple[Any, list[str]]] = attrs.Factory(dict)

    def fault(self, at: str, why: str) -> None:
        """Note what is wrong ``at`` a place."""
        self.faults.append(f"{at}: {why}")

    def unwanted(self, at: str, wanted: str, raw: Any) -> None:
        """Note that something else is wanted ``at`` a place."""
        self.fault(at, f"{wanted} is wanted, not {named(raw)}")

    def trial(self) -> Reading:
        """Another reading inside this one, whose faults may not count."""
        return Reading(exact=self.exact, seen=self.seen)


class Kind(Protocol):
    """A kind of type."""

    @property
    def words(self) -> str:
        """What is wanted, for errors."""
        ...

    def schema(self, defs: Definitions) -> Schema:
        """The JSON Schema; what has a name goes among the definitions."""
        ...

    def read(self, raw: Any, at: str, reading: Reading) -> Any:
        """The value of decoded JSON; anything where a fault was noted."""
        ...

    def distance(self, raw: Any, reading: Reading) -> int:
        """How little ``raw`` looks like this kind, at a glance; 0 where nothing speaks against."""
        ...


def json_type(raw: Any) -> str:
    """JSON Schema's name for the type of a decoded value."""
    names = {str: "string", int: "integer", float: "number", bool: "boolean", dict: "object"}
    return names.get(type(raw)) or ("array" if isinstance(raw, list) else "null")


def named(raw: Any) -> str:
    """A decoded value in an error: ``text 'x'``, ``an object``, ``3``."""
    if isinstance(raw, (dict, list)):
        return WORDS[json_type(raw)]
    try:
        said = repr(raw) if isinstance(raw, str) else json.dumps(raw, default=repr)
    except ValueError:  # Python does not write it out
        return "a number of very many digits"
    said = said if len(said) <= 60 else f"{said[:56]} ..."
    return f"text {said}" if isinstance(raw, str) else said


def member(at: str, name: str | int) -> str:
    """The place of a member: ``$.items[2]``."""
    if isinstance(name, int):
        return f"{at}[{name}]"
    return f"{at}.{name}" if name.isidentifier() else f"{at}[{json.dumps(name)}]"


def no_such(name: str, known: Iterable[str], what: str) -> str:
    """What is wrong with a name that nothing has, with the nearest that something has."""
    from difflib import get_close_matches  # only on the way to an error

    known = list(known)
    near = get_close_matches(name[:60], known, n=1)
    meant = f"; did you mean {near[0]!r}?" if near else ""
    more = f", and {len(known) - _LISTED} more" if len(known) > _LISTED else ""
    there = ", ".join(known[:_LISTED]) + more if known else "none"
    return f"no such {what}{meant} (known: {there})"


def made(make: Callable[[], Any], at: str, reading: Reading) -> Any:
    """What a class makes of its members; its validators' words where it makes nothing."""
    try:
        return make()
    except RecursionError:
        raise  # of what is nested too deeply, which is said by who asked
    except Exception as error:  # the class is the caller's, and may raise anything
        if not is_refusal(error, reading.exact):
            raise
        reading.fault(at, words_of(error))
        return None


def is_refusal(error: Exception, exact: bool) -> bool:
    """Whether what the caller's own code raised is about the value.

    :param exact: the value is a tool's argument. One that its class fails at is wrong whatever
        the class raises: the model is told, and may do better, where else its run would end.
    """
    return exact or isinstance(error, REFUSALS)


def words_of(error: Exception) -> str:
    """What an error of the caller's own code says is wrong."""
    # attrs puts the attribute, the class and the value after the words.
    first = error.args[0] if error.args and not isinstance(error, UnicodeError) else None
    words = first if isinstance(first, str) else str(error)
    if not words or not isinstance(error, SAYING):
        words = f"{type(error).__name__} {words}".strip()
    return words


def fits(kind: Kind, raw: Any, reading: Reading) -> bool:
    """Whether ``raw`` is of this kind; for those that are quickly read."""
    trial = reading.trial()
    kind.read(raw, "", trial)
    return not trial.faults
