"""``ConversationManager``, the base class of conversation managers.

A manager shortens a conversation, and does no I/O. Most need only the messages:
:meth:`ConversationManager.apply`. A manager that needs a model implements a
generator, :meth:`ConversationManager.reduce`: it yields a :class:`SummaryRequest`, and is
sent the text of the model's response. The agent's loop runs the generator with its own model calls;
``apply_sync`` and ``aapply`` run it outside an agent.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Generator, Iterable, Sequence
from inspect import isawaitable, iscoroutine
from typing import Any, ClassVar, Final, TypeAlias

import attrs

from locus.core.errors import ConfigurationError
from locus.core.messages import Message
from locus.core.response import get_finished_text
from locus.models.protocols import ModelProtocol


@attrs.frozen
class SummaryRequest:
    """A request to call a model, without tools, and to send the text of its response.

    The text is empty if the model refused, or if its response was held back or broken off.

    :param messages: the messages of the model call.
    :param model: the model to call; None is the model of the conversation.
    """

    messages: tuple[Message, ...]
    model: ModelProtocol | None = None


MAX_QUICK_MESSAGES: Final = 200
"""How many messages Locus's own managers shorten in less than a millisecond or two."""

ShorteningGenerator: TypeAlias = Generator[SummaryRequest, str, tuple[Message, ...]]
"""A generator that yields requests, is sent the responses' texts, and returns the messages."""


class ConversationManager(ABC):
    """Shortens a conversation that is too long. A subclass implements ``apply``.

    The result is a conversation that a provider accepts: no tool call is separated from its result,
    the order is unchanged, and the system messages at the beginning and the last message of the
    user are kept. In an agent, ``apply`` may be async.
    """

    __slots__ = ()

    rewrites: ClassVar[bool] = False
    """Whether the result replaces the messages of the agent's state. False: it is sent in one model
    call, and the next call starts from the complete conversation again."""

    @abstractmethod
    def apply(self, messages: Iterable[Message]) -> tuple[Message, ...]:
        """Return the shortened conversation, without a model call.

        :raises ConfigurationError: if the manager needs a model for that.
        """

    def reduce(self, messages: Iterable[Message]) -> ShorteningGenerator:
        """Shorten the conversation in a generator that yields requests to a model.

        It is sent the text of each response, and returns the shortened conversation. An agent
        calls this method.
        """
        yield from ()
        return self.apply(messages)

    def is_quick(self, messages: Sequence[Message]) -> bool:
        """Whether shortening takes so little time that an event loop may wait for it.

        If not, an agent does it in a worker thread in async runs. False unless a subclass says so.
        """
        return False

    def apply_sync(
        self, messages: Iterable[Message], model: ModelProtocol | None = None
    ) -> tuple[Message, ...]:
        """Return the shortened conversation, blocking; a model may be called for it.

        :param model: called if the manager needs a model and has none.
        :raises ConfigurationError: if there is no model, or it has no blocking calls.
        """
        generator = self.reduce(messages)
        request, result = _advance_to_next_request(generator, None)
        while request is not None:
            chosen: Any = _choose_model(request, model)
            if not hasattr(chosen, "complete_sync"):
                raise ConfigurationError(
                    f"{type(chosen).__name__} has no complete_sync: use `await aapply(...)`"
                )
            response = chosen.complete_sync(request.messages)
            request, result = _advance_to_next_request(generator, get_finished_text(response))
        if isawaitable(result):
            if iscoroutine(result):
                result.close()  # else Python warns that it was never awaited
            raise ConfigurationError(
                f"{type(self).__name__}.apply is async: use `await aapply(...)`"
            )
        shortened: tuple[Message, ...] = result
        return shortened

    async def aapply(
        self, messages: Iterable[Message], model: ModelProtocol | None = None
    ) -> tuple[Message, ...]:
        """Return the shortened conversation, under asyncio or trio; a model may be called for it.

        :param model: called if the manager needs a model and has none.
        :raises ConfigurationError: if there is no model.
        """
        generator = self.reduce(messages)
        request, result = _advance_to_next_request(generator, None)
        while request is not None:
            response = await _choose_model(request, model).complete(request.messages)
            request, result = _advance_to_next_request(generator, get_finished_text(response))
        shortened: tuple[Message, ...] = await result if isawaitable(result) else result
        return shortened


def _advance_to_next_request(
    generator: ShorteningGenerator, response_text: str | None
) -> tuple[SummaryRequest | None, Any]:
    """Run the generator to its next request, or else to its result.

    :param response_text: the response to the last request; None at the beginning.
    """
    try:
        request = next(generator) if response_text is None else generator.send(response_text)
    except StopIteration as stop:
        return None, stop.value
    return request, ()


def _choose_model(request: SummaryRequest, default_model: ModelProtocol | None) -> ModelProtocol:
    """Return the model of the request, or else the default one.

    :raises ConfigurationError: if there is neither.
    """
    chosen = request.model if request.model is not None else default_model
    if chosen is None:
        raise ConfigurationError("there is no model to call: pass model= here, or to the manager")
    return chosen
