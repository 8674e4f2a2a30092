"""What every conversation manager is, and how one that needs a model gets its answer.

A manager makes a conversation shorter and does no I/O. Most are plain functions of the messages:
:meth:`ConversationManager.apply`. One that wants something summarised is a generator instead: it
yields a :class:`Summarize` and is sent the text, by whoever can call a model in the runtime at
hand. The agent's loop does that with its own model calls; ``apply_sync`` and ``aapply`` do it
outside an agent.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Generator, Iterable
from typing import Any, ClassVar, TypeAlias

import attrs

from locus.core.errors import ConfigurationError
from locus.core.messages import Message
from locus.models.base import ModelProtocol


@attrs.frozen
class Summarize:
    """Ask a model, without tools, and send back the text of its answer.

    :param messages: the whole request.
    :param model: whom to ask; None asks the model that the conversation is held with.
    """

    messages: tuple[Message, ...]
    model: ModelProtocol | None = None


Reduction: TypeAlias = Generator[Summarize, str, tuple[Message, ...]]
"""A reduction under way: yields what it wants asked, is sent the text, returns the messages."""


class ConversationManager(ABC):
    """Keeps a conversation within bounds. To write one, give a subclass ``apply``.

    What a manager gives is a conversation that a provider accepts: no call is parted from its
    result, the order is kept, and so are the system messages at the beginning and what the user
    said last.
    """

    __slots__ = ()

    rewrites: ClassVar[bool] = False
    """Whether the result takes the place of the conversation for good. False: it is what one call
    sends, and the next one begins from the whole conversation again."""

    @abstractmethod
    def apply(self, messages: Iterable[Message]) -> tuple[Message, ...]:
        """The conversation within bounds, without asking a model."""

    def reduce(self, messages: Iterable[Message]) -> Reduction:
        """The same as a generator of effects; what an agent drives."""
        yield from ()
        return self.apply(messages)

    def apply_sync(
        self, messages: Iterable[Message], model: ModelProtocol | None = None
    ) -> tuple[Message, ...]:
        """The conversation within bounds, blocking.

        :param model: asked where the manager needs one and has none of its own.
        :raises ConfigurationError: there is no model to ask, or it has no blocking calls.
        """
        effects = self.reduce(messages)
        effect, result = _advance(effects, None)
        while effect is not None:
            asked: Any = _model(effect, model)
            if not hasattr(asked, "complete_sync"):
                raise ConfigurationError(
                    f"{type(asked).__name__} has no complete_sync: use `await aapply(...)`"
                )
            effect, result = _advance(effects, asked.complete_sync(effect.messages).content)
        return result

    async def aapply(
        self, messages: Iterable[Message], model: ModelProtocol | None = None
    ) -> tuple[Message, ...]:
        """The conversation within bounds, under asyncio or trio.

        :param model: asked where the manager needs one and has none of its own.
        :raises ConfigurationError: there is no model to ask.
        """
        effects = self.reduce(messages)
        effect, result = _advance(effects, None)
        while effect is not None:
            answer = await _model(effect, model).complete(effect.messages)
            effect, result = _advance(effects, answer.content)
        return result


def _advance(effects: Reduction, said: str | None) -> tuple[Summarize | None, tuple[Message, ...]]:
    """The next effect, or None and the result."""
    try:
        effect = next(effects) if said is None else effects.send(said)
    except StopIteration as done:
        return None, done.value
    return effect, ()


def _model(effect: Summarize, model: ModelProtocol | None) -> ModelProtocol:
    asked = effect.model if effect.model is not None else model
    if asked is None:
        raise ConfigurationError("there is no model to ask: pass model= here, or to the manager")
    return asked
