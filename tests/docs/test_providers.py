"""The provider that ``docs/providers.md`` builds passes the shipped suite; its mistakes do not.

The files are those of the page. Each usual mistake of a new provider is put into them, one by one,
and the suite has to fail by the check that is for it.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

PROJECT_ROOT = Path(__file__).parents[2]
PAGE = PROJECT_ROOT / "docs" / "providers.md"
FILE_PATTERN = re.compile(r"```\{code-block\} python\n:caption: (\S+)\n\n(.*?)^```$", re.S | re.M)
FAULTS = "test_a_response_is_complete_or_an_error or test_a_stream_is_complete_or_an_error"

MISTAKES: dict[str, tuple[str, str, str, str]] = {
    "a sampling parameter is not renamed": (
        "request",
        "                temperature=call_options.temperature,",
        "                **{'temp': call_options.temperature},",
        "test_an_option_is_treated_as_declared and temperature",
    ),
    "a sampling parameter is renamed as elsewhere": (
        "request",
        'max_tokens=Carried("limits.max_output"),|max_output=call_options',
        'max_tokens=Carried("limits.max_tokens"),|max_tokens=call_options',
        "test_an_option_is_sent_as_the_provider_documents_it and max_tokens",
    ),
    "seed is forgotten": (
        "request",
        "                seed=call_options.seed,\n",
        "",
        "test_an_option_is_treated_as_declared and seed",
    ),
    "seed is not declared": (
        "request",
        '        seed=Carried("sampling.seed"),\n',
        "",
        "test_every_keyword_is_declared_and_no_other",
    ),
    "no credentials are sent": (
        "model",
        'return {"x-acme-key": self.api_key} if self.api_key else {}',
        "return {}",
        "test_every_request_has_its_address_and_the_credentials",
    ),
    "a wrong address": (
        "model",
        '/models/{self.config.model}:{action}"',
        '/model/{self.config.model}:{action}"',
        "test_every_request_has_its_address_and_the_credentials",
    ),
    "a stream is asked for at the address of a complete response": (
        "model",
        '"stream" if stream else "generate"',
        '"generate"',
        "test_every_request_has_its_address_and_the_credentials",
    ),
    "response_format is passed on as it is": (
        "request",
        'json_output and (json_output.schema or {"type": "object"})',
        "call_options.response_format",
        "test_an_option_is_sent_as_the_provider_documents_it and response_format",
    ),
    "the capability is not declared": (
        "model",
        'structured_output="always", thinking=True',
        "thinking=True",
        "test_the_capabilities_are_those_of_the_format",
    ),
    "the index of streamed calls is ignored": (
        "response",
        "self.calls.setdefault(call.index, [])",
        "self.calls.setdefault(len(self.calls) if call.tool else len(self.calls) - 1, [])",
        "test_calls_keep_their_ids_and_arguments_however_they_arrive",
    ),
    "the ids of calls are lost": (
        "response",
        "next((delta.id for delta in deltas if delta.id), None)",
        "None",
        "test_calls_keep_their_ids_and_arguments_however_they_arrive",
    ),
    "the ids of calls are lost in requests": (
        "request",
        '"id": call_ids[position, index]',
        '"id": f"call_{index}"',
        "test_results_belong_to_their_calls_whatever_is_between",
    ),
    "token counts are dropped": (
        "response",
        "tokens = self.tail.tokens or {}",
        "tokens = {}",
        "test_token_counts_are_reported_by_both",
    ),
    "token counts are dropped on streams": (
        "stream",
        "        self.accumulator.add(chunk)\n",
        "        chunk.tokens = None\n        self.accumulator.add(chunk)\n",
        "test_token_counts_are_reported_by_both",
    ),
    "the stop reason is not mapped": (
        "response",
        "            self.tail.end,\n",
        '            "finished",\n',
        "test_a_stop_reason_means_what_the_provider_means",
    ),
    "an error inside a stream is ignored": (
        "stream",
        "chunk = decode_chunk(frame)",
        "from locus_acme.response import chunk_decoder\n\n"
        "        chunk = chunk_decoder.decode(frame)",
        "test_an_error_in_the_stream_is_raised",
    ),
    "the end marker is not required": (
        "stream",
        "        return False\n",
        "        return True\n",
        "test_a_stream_that_is_cut_never_looks_complete",
    ),
    "the system message is dropped": (
        "request",
        '"system": "\\n\\n".join(systems) if systems else None',
        '"system": None',
        "test_a_long_conversation_is_sent_completely",
    ),
    "the error of a failed tool is lost": (
        "request",
        '"failed": "error" in message.metadata',
        '"failed": False',
        "test_a_long_conversation_is_sent_completely",
    ),
    "the content of a tool's result is lost": (
        "request",
        '"error" in message.metadata,\n            "parts": build_parts(indexed)',
        '"error" in message.metadata,\n            "parts": []',
        "test_the_error_of_a_failed_tool_is_sent",
    ),
    "a part is dropped in silence": (
        "request",
        '                parts.append({"image": build_image(indexed.position, part)})',
        "                pass",
        "test_a_part_is_carried_or_dropped_by_rule_or_refused_by_position",
    ),
    "a refusal is dropped in silence": (
        "request",
        "case TextPart() | RefusalPart():",
        "case TextPart():",
        "test_a_part_is_carried_or_dropped_by_rule_or_refused_by_position",
    ),
    "a stream's request is another one": (
        "request",
        '"tools": [build_tool(',
        '"tools": not call_options.stream and [build_tool(',
        "test_a_stream_s_request_differs_in_nothing_else",
    ),
    "tool_choice is ignored": (
        "request",
        "build_tool_choice(call_options.tool_choice, schemas)",
        "None",
        "test_an_option_is_treated_as_declared and tool_choice",
    ),
    "the description of a tool is lost": (
        "request",
        'about=function.get("description"), ',
        "",
        "test_a_tool_is_sent_with_its_description_and_schema",
    ),
}
"""The module, what stands in it, what the mistake puts there, and the check that has to fail."""

ALWAYS_RUN = ("seed is forgotten", "the end marker is not required")


def write_provider(folder: Path, *, module: str = "", old: str = "", new: str = "") -> None:
    """Write the files of the page, with a mistake in one module."""
    files = dict(FILE_PATTERN.findall(PAGE.read_text(encoding="utf-8")))
    files["locus_acme/__init__.py"] = ""
    if module:
        name = f"locus_acme/{module}.py"
        for before, after in zip(
            old.split("|") if "|max" in old else [old],
            new.split("|") if "|max" in new else [new],
            strict=True,
        ):
            assert files[name].count(before) == 1, f"the page no longer has {before!r}"
            files[name] = files[name].replace(before, after)
    for name, text in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    (folder / "conftest.py").write_text(
        "from hypothesis import settings\n"
        "settings.register_profile('few', max_examples=10, derandomize=True, database=None)\n"
        "settings.load_profile('few')\n"
    )
    (folder / "pytest.ini").write_text("[pytest]\naddopts = --strict-markers\n")


def run_suite(folder: Path, selected: str) -> tuple[int, str]:
    """Run the tests of the suite with these names; returns pytest's exit code and its output."""
    process = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-k", selected],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": f"{PROJECT_ROOT}{os.pathsep}{folder}"},
        capture_output=True,
        text=True,
        check=False,
    )
    return process.returncode, process.stdout + process.stderr


def test_the_provider_of_the_page_passes_the_suite(tmp_path: Path) -> None:
    write_provider(tmp_path)
    code, output = run_suite(tmp_path, f"not ({FAULTS})")
    assert code == 0, output


@pytest.mark.thorough
def test_the_provider_of_the_page_survives_every_fault(tmp_path: Path) -> None:
    write_provider(tmp_path)
    code, output = run_suite(tmp_path, FAULTS)
    assert code == 0, output


def find_failures(output: str) -> set[str]:
    """Return the ids of the tests that failed, by pytest's summary."""
    return set(re.findall(r"^FAILED test_acme\.py::(\S+)", output, re.M))


@pytest.mark.parametrize(
    "mistake",
    [
        pytest.param(mistake, marks=[] if mistake in ALWAYS_RUN else [pytest.mark.thorough])
        for mistake in MISTAKES
    ],
)
def test_the_suite_catches_a_mistake(mistake: str, tmp_path: Path) -> None:
    module, old, new, check = MISTAKES[mistake]
    clean, faulty = tmp_path / "clean", tmp_path / "faulty"
    write_provider(clean)
    code, output = run_suite(clean, check)
    assert code == 0, f"the check fails without the mistake, too:\n{output}"
    write_provider(faulty, module=module, old=old, new=new)
    code, output = run_suite(faulty, check)
    assert code == 1, output  # tests have failed; not 2 or 4 (no import), nor 5 (no such check)
    assert any(failed.startswith(check.partition(" ")[0]) for failed in find_failures(output))
