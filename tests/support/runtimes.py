"""The runtimes of the shipped suites, for all other tests."""

from locus.testing.formats.runtimes import (
    ASYNC_BACKENDS,
    RUNTIME_NAMES,
    AsyncRuntime,
    BlockingRuntime,
    OpenStream,
    Runtime,
    run_async,
)

__all__ = [
    "ASYNC_BACKENDS",
    "RUNTIME_NAMES",
    "AsyncRuntime",
    "BlockingRuntime",
    "OpenStream",
    "Runtime",
    "run_async",
]
