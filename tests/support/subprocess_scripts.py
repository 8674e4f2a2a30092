"""Runs Python code in a process of its own, where every warning is an error."""

from __future__ import annotations

import os
import sys
import textwrap

import pytest

from tests.support.environment import is_provider_variable
from tests.support.processes import run_process
from tests.support.timing import remove_slow_callbacks

SCRIPT_PRELUDE = "import httpx, locus.models.native.openai\n"


def run_script(code: str, *args: str, prelude: str = SCRIPT_PRELUDE) -> str:
    """Run ``code`` in a new process where every warning is an error, and return what it prints.

    The test fails if the process exits with an error or writes to stderr. Warnings in finalizers
    are written there, and so are those of an event loop in debug mode, but for those about slow
    callbacks: on a busy machine every callback is slow.

    :param args: the script's arguments.
    :param prelude: code that runs first.
    """
    process = run_process(
        [sys.executable, "-X", "dev", "-W", "error", "-c", prelude + textwrap.dedent(code), *args],
        env={name: value for name, value in os.environ.items() if not is_provider_variable(name)},
    )
    if process.returncode or remove_slow_callbacks(process.stderr):
        pytest.fail(
            f"the script ended with {process.returncode}, and wrote to stderr:\n{process.stderr}"
        )
    return process.stdout
