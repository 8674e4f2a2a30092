"""A conversation in the four places where Cohere's first format wants it.

The ``preambleOverride`` (instructions), the ``chatHistory``, the current ``message`` of the user,
and the ``toolResults`` that the model waits for. There are no call ids: a result holds its call
again, name and parameters, and results stand in the order of the calls.

What the service insists on, by its own error messages (oracle/langchain-oracle, pull requests 8
and 9 and issue 10; cohere-python, issue 525):

- *"cannot specify both message and tool_results in multistep mode"*: results are sent with an
  empty message, their question being in the history.
- *"cannot specify message if the last entry in chat history contains tool results"*: where a user
  speaks after results that no assistant has answered, an assistant who says next to nothing is
  put in between.
- *"all elements in history must have a message"*: an assistant that only calls says a blank, and
  so does whoever else says nothing there.
- The calls that results answer stand right before them. A system message at the end, after the
  user's or after results, is moved before the turn that is to be answered.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

import attrs

from locus.core.conversation import Place, Turn
from locus.core.errors import ConfigurationError
from locus.core.messages import Role
from locus.wire.encoding import arguments_object
from locus.wire.oci_chat.cohere_shared import words
from locus.wire.oci_chat.envelope import Written, plain

BLANK: Final = " "
"""What stands in the history for nothing at all."""

NOTHING_TO_ADD: Final = "."
"""What the assistant says between tool results and a user who did not wait for it."""

_NO_IMAGES: Final = (
    "Cohere's first request format carries no images; the models that see them take its second "
    "(COHEREV2) or the generic one"
)


class Call(Written):
    name: str
    parameters: dict[str, Any]


class Result(Written):
    call: Call
    outputs: list[dict[str, str]]


class Entry(Written):
    role: str
    message: str | None = None
    tool_calls: list[Call] | None = None
    tool_results: list[Result] | None = None


@attrs.frozen
class Places:
    """A conversation, taken apart."""

    preamble: str | None
    history: list[Entry]
    message: str
    results: list[Result] | None


def places(turns: Sequence[Turn]) -> Places:
    """The conversation in its four places.

    :param turns: as :func:`locus.core.conversation.in_order` gives them.
    :raises ConfigurationError: it cannot be carried; says what and where.
    """
    opening = 0
    while opening < len(turns) and turns[opening].message.role is Role.SYSTEM:
        opening += 1
    preamble = "\n\n".join(filter(None, (_words(turn) for turn in turns[:opening]))) or None
    turns = turns[opening:]
    end = len(turns)
    while end and turns[end - 1].message.role is Role.SYSTEM:
        end -= 1
    turns, systems = turns[:end], turns[end:]
    writer = _Writer()
    match turns[-1].message.role if turns else None:
        case Role.USER:
            writer.write(turns[:-1])
            writer.write(systems)
            writer.close_results()
            return Places(preamble, writer.history, _words(turns[-1]), None)
        case Role.TOOL:
            while turns[end - 1].answers is not None:
                end -= 1
            writer.write(turns[: end - 1])
            writer.write(systems)
            writer.write(turns[end - 1 : end])
            return Places(preamble, writer.history, "", writer.results(turns[end:]))
    position = max((turn.position for turn in turns), default=opening - 1)
    raise ConfigurationError(
        f"messages[{position}]: Cohere answers what a user says, or what a tool gave; the "
        "conversation ends with neither"
    )


class _Writer:
    """Writes the history, and remembers the calls for the results to repeat."""

    def __init__(self) -> None:
        self.history: list[Entry] = []
        self._calls: dict[Place, Call] = {}
        self._unanswered = False  # results have been told, and no assistant spoke since

    def write(self, turns: Sequence[Turn]) -> None:
        """Append the turns to the history."""
        results: list[Turn] = []
        for turn in turns:
            if turn.answers is not None:
                results.append(turn)
                continue
            self._write_results(results)
            results = []
            self._write_words(turn)
        self._write_results(results)

    def close_results(self) -> None:
        """Have the assistant speak, where it has not since the last results."""
        if self._unanswered:
            self.history.append(Entry("CHATBOT", NOTHING_TO_ADD))
        self._unanswered = False

    def results(self, turns: Sequence[Turn]) -> list[Result]:
        """Tool results, each with its call, in the order of the calls."""
        found = []
        for turn in sorted(turns, key=lambda turn: turn.answers or ()):
            # The text of a failure says why; the name of the member says that it is one.
            failed = turn.message.metadata.get("error") is not None
            output = {"error" if failed else "output": _words(turn)}
            found.append(Result(self._calls[turn.answers or (0, 0)], [output]))
        return found

    def _write_results(self, turns: list[Turn]) -> None:
        if turns:
            self.history.append(Entry("TOOL", tool_results=self.results(turns)))
            self._unanswered = True

    def _write_words(self, turn: Turn) -> None:
        text = _words(turn) or BLANK
        match turn.message.role:
            case Role.SYSTEM:
                self.history.append(Entry("SYSTEM", text))
            case Role.USER:
                self.close_results()
                self.history.append(Entry("USER", text))
            case Role.ASSISTANT:
                calls = [self._call(turn, at) for at in range(len(turn.message.tool_calls))]
                self.history.append(Entry("CHATBOT", text, calls or None))
                self._unanswered = False

    def _call(self, turn: Turn, at: int) -> Call:
        call = turn.message.tool_calls[at]
        where = f"messages[{turn.position}].tool_calls[{at}]"
        parameters = arguments_object(where, call, plain)
        written = self._calls[turn.position, at] = Call(call.name, parameters)
        return written


def _words(turn: Turn) -> str:
    return words(turn.position, turn.message, _NO_IMAGES)
