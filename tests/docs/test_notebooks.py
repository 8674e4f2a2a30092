"""Runs every notebook of the docs, cell by cell, and one of them in a real Jupyter kernel.

A notebook is a Python file in the percent format, whose cells may ``await``. By default it uses the
practice server or the embedded model, so it runs here as for a reader who has just installed Locus.
"""

from __future__ import annotations

import ast
import inspect
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import anyio
import attrs
import pytest

from locus.testing.practice import PracticeServer
from tests.support.oci import profiles
from tests.support.timing import HANG_SECONDS

home = profiles.home

ROOT = Path(__file__).parents[2]
NOTEBOOK_FOLDER = ROOT / "docs" / "notebooks"
CELL_MARKER = re.compile(r"^# %%(.*)$", re.MULTILINE)
every_backend = pytest.mark.parametrize("backend", ["asyncio", "trio"])

EXPECTED = {
    "oci_transports": [
        "POST /openai/v1/chat/completions, ",
        "POST /openai/v1/responses, ",
        "responses             Your name is Ada.",
        "oci:cohere.command-r-plus   OCIModel",
    ],
    "chat_completions": [
        "The capital of France is Paris.",
        "assistant Your name is Ada.",
        "and then it says  weather(Rome) says: sunny in Rome. weather(Oslo) says: sunny in Oslo.",
        "City(name='Cologne', people=1087000)",
        "candidate: Blue.",
        "401: openai practice: POST http://127.0.0.1:",
        "broken off after: 'Once upon a'",
        "requests made: 3",
    ],
    "responses": [
        "You have not told me your name.",
        "    store=False, previous=None",
        "    store=True, previous=resp_4",
        "    > function_call_output: sunny in Oslo",
        "oci openai.gpt-4.1: POST http://127.0.0.1:",
        "A summary: Tell me a story. / Once upon a time",
    ],
    "reasoning": [
        "step 3: confidence 0.00, a loop",
        "step 4: confidence 0.50",
        "[Note of the agent's own review, not of the user]",
        "{'locus_added_by': 'reflexion'}",
        "accepted: True, after 1 retry",
        "one unsupported  0.76 regenerate",
        "one contradicted 0.87 proceed",
        "look 1: 0.33 replan",
        "look 2: 0.75 regenerate",
        "look 3: 1.00 proceed",
        "degraded: False, replans: 1",
        "claims: ",
    ],
    "tools_and_agents": [
        "price(lamp) says: 40.0. convert(40.0, dollars) says: 44.00 dollars.",
        "ThinkEvent ToolStartEvent ToolCompleteEvent ThinkEvent TerminateEvent",
        "3 calls ran at the same time, in ",
        'orders() says: ["a lamp for Ada"].',
        "   log: price {'item': 'chair'} -> the call was cancelled: chairs are sold out",
        "stopped by ToolCalled('price') after 1 call",
        "City(name='Cologne', people=1087000)",
    ],
    "approvals": [
        "approval_required",
        "waiting: pay {'amount': 900.0}",
        "paid so far: ['80.0']",
        "car: pay 5000.0? no",
        "the other process: complete - pay(900.0) says: 900.0 euros paid.",
        "paid so far: ['80.0', '900.0']",
        "['Error: the call was not approved: we cannot afford that']",
        "paid in the end: ['80.0', '900.0']",
    ],
    "durable_conversations": [
        "[6 messages; threads: ada]",
        "process 1: reserved a room in Rome",
        "waiting to be run: ['pay']",
        "process 2: paid 80.0",
        "the card was charged 1 time",
        "Your favourite colour is green.",
        "sent: 1 message, and resp_",
    ],
}
"""The beginnings of some lines that each notebook prints with the practice server."""

every_notebook = pytest.mark.parametrize(
    "path", sorted(NOTEBOOK_FOLDER.glob("*.py")), ids=lambda path: path.stem
)


@attrs.frozen
class Cell:
    """A cell, and the line of the file where it begins."""

    source: str
    line: int
    markdown: bool


def split_cells(path: Path) -> Iterator[Cell]:
    text = path.read_text(encoding="utf-8")
    markers = list(CELL_MARKER.finditer(text))
    ends = [*(marker.start() for marker in markers[1:]), len(text)]
    for marker, end in zip(markers, ends, strict=True):
        line = text.count("\n", 0, marker.end()) + 2
        yield Cell(text[marker.end() + 1 : end], line, marker[1].strip() == "[markdown]")


def compile_cells(path: Path) -> Iterator[Any]:
    """The code of each cell, with the line numbers of the file."""
    for cell in split_cells(path):
        if not cell.markdown:
            tree = ast.increment_lineno(ast.parse(cell.source), cell.line - 1)
            flags = ast.PyCF_ALLOW_TOP_LEVEL_AWAIT
            yield compile(tree, str(path), "exec", flags=flags, dont_inherit=True)


def run_notebook(path: Path, backend: str) -> None:
    """Run the cells; each one with ``await`` gets its own event loop."""
    names: dict[str, Any] = {"__name__": "notebook"}
    for code in compile_cells(path):
        if code.co_flags & inspect.CO_COROUTINE:

            async def run_cell(code: Any = code) -> None:
                await eval(code, names)

            anyio.run(run_cell, backend=backend)
        else:
            exec(code, names)


def find_missing_lines(path: Path, output: str) -> list[str]:
    """The expected lines that were not printed."""
    lines = output.splitlines()
    return [
        begin for begin in EXPECTED[path.stem] if not any(line.startswith(begin) for line in lines)
    ]


@pytest.fixture
def clean_environment(home: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[pytest.MonkeyPatch]:
    """No variables about models and accounts; removes modules that a notebook has written."""
    monkeypatch.delenv("LOCUS_MODEL_ID", raising=False)
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    monkeypatch.chdir(home)
    yield monkeypatch
    for name in ("booking", "cashier"):
        sys.modules.pop(name, None)


@every_notebook
@every_backend
def test_a_notebook_runs_on_the_practice_server(
    path: Path,
    backend: str,
    clean_environment: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    clean_environment.setenv("LOCUS_MODEL_ID", "practice")
    run_notebook(path, backend)
    assert find_missing_lines(path, capsys.readouterr().out) == []


@pytest.mark.parametrize("name", ["oci_transports", "responses"])
def test_with_a_profile_the_service_is_used(
    name: str, clean_environment: pytest.MonkeyPatch, home: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("oci")
    (home / ".oci").mkdir()
    with PracticeServer() as service:
        service.write_oci_profile(home / ".oci", "LAPTOP")
        clean_environment.setenv("OCI_PROFILE", "LAPTOP")
        clean_environment.setenv("OCI_ENDPOINT", service.url)
        clean_environment.setenv("LOCUS_MODEL_ID", "oci:xai.grok-4")
        run_notebook(NOTEBOOK_FOLDER / f"{name}.py", "asyncio")
        bodies = [request.json() for request in service.requests]
        signed = ["Signature" in request.headers["authorization"] for request in service.requests]
    assert "asking OCI as the profile LAPTOP" in capsys.readouterr().out
    assert all(signed)
    assert {body["model"] for body in bodies if "model" in body} == {"xai.grok-4"}


@pytest.mark.engine
@pytest.mark.thorough
def test_by_default_the_embedded_model_is_used_where_possible(
    clean_environment: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    run_notebook(NOTEBOOK_FOLDER / "chat_completions.py", "asyncio")
    output = capsys.readouterr().out
    assert "words come from LocalModel, smollm2" in output
    assert "tools are called by OpenAIModel, practice" in output
    assert "City(name=" in output  # JSON that fits the schema


@pytest.mark.thorough
def test_scores_are_drawn_where_matplotlib_is_installed(
    clean_environment: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    pyplot = pytest.importorskip("matplotlib.pyplot", reason="needs the extra notebooks")
    clean_environment.setenv("LOCUS_MODEL_ID", "practice")
    run_notebook(NOTEBOOK_FOLDER / "reasoning.py", "asyncio")
    pyplot.close("all")
    assert "drawn: 3 looks" in capsys.readouterr().out


@pytest.mark.thorough
def test_a_notebook_runs_in_a_jupyter_kernel(
    tmp_path: Path, clean_environment: pytest.MonkeyPatch
) -> None:
    reason = "needs nbclient and ipykernel"
    nbclient = pytest.importorskip("nbclient", reason=reason)
    pytest.importorskip("ipykernel", reason=reason)
    from nbformat import v4

    path = NOTEBOOK_FOLDER / "chat_completions.py"
    has_await = {code.co_flags & inspect.CO_COROUTINE for code in compile_cells(path)}
    assert len(has_await) == 2  # blocking cells, and cells that await
    clean_environment.setenv("LOCUS_MODEL_ID", "practice")
    for name in ("IPYTHONDIR", "JUPYTER_CONFIG_DIR", "JUPYTER_DATA_DIR", "JUPYTER_RUNTIME_DIR"):
        clean_environment.setenv(name, str(tmp_path / name.lower()))
    notebook = v4.new_notebook(
        cells=[
            (v4.new_markdown_cell if cell.markdown else v4.new_code_cell)(cell.source)
            for cell in split_cells(path)
        ]
    )
    nbclient.NotebookClient(
        notebook,
        timeout=2 * HANG_SECONDS,
        kernel_name="python3",
        resources={"metadata": {"path": str(tmp_path)}},
    ).execute()
    outputs = [output for cell in notebook.cells for output in cell.get("outputs", ())]
    assert [output for output in outputs if output.output_type == "error"] == []
    assert [output.text for output in outputs if output.get("name") == "stderr"] == []
    output = "".join(output.text for output in outputs if output.get("name") == "stdout")
    assert find_missing_lines(path, output) == []


@every_notebook
def test_a_notebook_opens_in_jupyter_and_says_how(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    header = text.partition("# %%")[0]
    assert "format_name: percent" in header
    assert "name: python3" in header
    first = next(split_cells(path))
    assert first.markdown
    assert f"jupytext --to ipynb {path.name}" in " ".join(first.source.split())
    assert path.name in (ROOT / "docs" / "notebooks.md").read_text(encoding="utf-8")
    assert path.stem in EXPECTED
