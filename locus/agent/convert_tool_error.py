"""Decides what an exception of a tool is: an error for the model, or the end of the program."""

from __future__ import annotations

from concurrent.futures import CancelledError

from locus.agent.describe_error import describe_error


def try_convert_to_tool_error(error: BaseException) -> Exception | None:
    """Convert what a tool raised to an error for the model; None if it has to end the program.

    A cancellation becomes a ``RuntimeError``, since the caller knows that it is not that of the
    run. So does a ``GeneratorExit``, which would close the generator of the run. So does a
    ``SystemExit``, alone or in a group: a tool that ends its own program, such as one with a
    command line, has failed. A ``KeyboardInterrupt`` is for the whole program.
    """
    if _is_cancellation(error):
        tool_error = RuntimeError("the tool was cancelled")
    elif isinstance(error, Exception):
        return error
    elif isinstance(error, GeneratorExit):
        tool_error = RuntimeError("the tool raised GeneratorExit")
    elif isinstance(error, SystemExit):
        tool_error = RuntimeError(f"the tool tried to end the program with {error!r}")
    elif isinstance(error, BaseExceptionGroup) and error.split((Exception, SystemExit))[1] is None:
        tool_error = RuntimeError(f"the tool tried to end the program: {describe_error(error)}")
    else:
        return None
    tool_error.__cause__ = error
    return tool_error


def _is_cancellation(error: BaseException) -> bool:
    """Whether an error is the cancellation of a future or of an asyncio task.

    The name of asyncio's class is compared, so that asyncio need not be imported.
    """
    return isinstance(error, CancelledError) or any(
        (cls.__module__, cls.__name__) == ("asyncio.exceptions", "CancelledError")
        for cls in type(error).__mro__
    )
