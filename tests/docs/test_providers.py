"""The provider that ``docs/providers.md`` builds passes the shipped suite; its mistakes do not.

The files are those of the page. Each usual mistake of a new provider is put into a copy of them:
the check that is for it has to fail there, and to pass on the files of the page. One run of pytest
has all copies, as most of a run's time goes into its start.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Final
from xml.etree import ElementTree

import attrs
import pytest

PROJECT_ROOT: Final = Path(__file__).parents[2]
PAGE: Final = PROJECT_ROOT / "docs" / "providers.md"
FILE_PATTERN: Final = re.compile(
    r"```\{code-block\} python\n:caption: (\S+)\n\n(.*?)^```$", re.S | re.M
)
FAULTS: Final = "test_a_response_is_complete_or_an_error or test_a_stream_is_complete_or_an_error"

FEW_EXAMPLES: Final = """\
from hypothesis import Phase, settings

settings.register_profile(
    "few", max_examples=10, derandomize=True, database=None, phases=[Phase.explicit, Phase.generate]
)
settings.load_profile("few")
"""
"""Always the same examples; a failing one is not made smaller, as nobody reads it."""

CHECKS: Final = """\
from acme_record import AcmeFormat
from locus.testing.formats.fixtures import *
from locus.testing.formats.suite import {checks}, pytest_generate_tests

FORMATS = [AcmeFormat()]
"""
"""Runs these checks of the suite."""


@attrs.frozen
class Mistake:
    """A mistake in one module of the provider, and the check that has to fail."""

    module: str
    before: str
    """What stands in the module, once."""

    after: str
    """What the mistake puts there."""

    check: str
    parameter: str = ""
    """The parameter of the check that has to fail; any if empty."""

    more: Mapping[str, str] = {}
    """What else the mistake replaces, and by what."""

    def is_caught(self, failures: Iterable[str]) -> bool:
        """Return whether the check is among these failures."""
        return any(
            name.startswith(f"{self.check}[") and self.parameter in name for name in failures
        )


MISTAKES: Final[Mapping[str, Mistake]] = {
    "a sampling parameter is not renamed": Mistake(
        "request",
        "                temperature=call_options.temperature,",
        "                **{'temp': call_options.temperature},",
        "test_an_option_is_treated_as_declared",
        "temperature",
    ),
    "a sampling parameter is renamed as elsewhere": Mistake(
        "request",
        'max_tokens=Carried("limits.max_output"),',
        'max_tokens=Carried("limits.max_tokens"),',
        "test_an_option_is_sent_as_the_provider_documents_it",
        "max_tokens",
        more={"max_output=call_options": "max_tokens=call_options"},
    ),
    "seed is forgotten": Mistake(
        "request",
        "                seed=call_options.seed,\n",
        "",
        "test_an_option_is_treated_as_declared",
        "seed",
    ),
    "seed is not declared": Mistake(
        "request",
        '        seed=Carried("sampling.seed"),\n',
        "",
        "test_every_keyword_is_declared_and_no_other",
    ),
    "no credentials are sent": Mistake(
        "model",
        'return {"x-acme-key": key} if key else {}',
        "return {}",
        "test_every_request_has_its_address_and_the_credentials",
    ),
    "a wrong address": Mistake(
        "model",
        '/models/{self.config.model}:{action}"',
        '/model/{self.config.model}:{action}"',
        "test_every_request_has_its_address_and_the_credentials",
    ),
    "a stream is asked for at the address of a complete response": Mistake(
        "model",
        '"stream" if stream else "generate"',
        '"generate"',
        "test_every_request_has_its_address_and_the_credentials",
    ),
    "response_format is passed on as it is": Mistake(
        "request",
        'json_output and (json_output.schema or {"type": "object"})',
        "call_options.response_format",
        "test_an_option_is_sent_as_the_provider_documents_it",
        "response_format",
    ),
    "the capability is not declared": Mistake(
        "model",
        'structured_output="always", thinking=True',
        "thinking=True",
        "test_the_capabilities_are_those_of_the_format",
    ),
    "the index of streamed calls is ignored": Mistake(
        "response",
        "self.calls.setdefault(call.index, [])",
        "self.calls.setdefault(len(self.calls) if call.tool else len(self.calls) - 1, [])",
        "test_calls_keep_their_ids_and_arguments_however_they_arrive",
    ),
    "the ids of calls are lost": Mistake(
        "response",
        "next((delta.id for delta in deltas if delta.id), None)",
        "None",
        "test_calls_keep_their_ids_and_arguments_however_they_arrive",
    ),
    "the ids of calls are lost in requests": Mistake(
        "request",
        '"id": call_ids[position, index]',
        '"id": f"call_{index}"',
        "test_results_belong_to_their_calls_whatever_is_between",
    ),
    "token counts are dropped": Mistake(
        "response",
        "tokens = self.tail.tokens or {}",
        "tokens = {}",
        "test_token_counts_are_reported_by_both",
    ),
    "token counts are dropped on streams": Mistake(
        "stream",
        "        self.accumulator.add(chunk)\n",
        "        chunk.tokens = None\n        self.accumulator.add(chunk)\n",
        "test_token_counts_are_reported_by_both",
    ),
    "the stop reason is not mapped": Mistake(
        "response",
        "            self.tail.end,\n",
        '            "finished",\n',
        "test_a_stop_reason_means_what_the_provider_means",
    ),
    "a stop reason of its own is not mapped": Mistake(
        "response",
        "            stop_meaning=STOP_MEANINGS.get(self.tail.end),\n",
        "",
        "test_a_stop_reason_means_what_the_provider_means",
        "house_rules",
    ),
    "what the provider wants back is not sent": Mistake(
        "request",
        "seal=get_seal(message)",
        "seal=None",
        "test_what_the_provider_wants_back_is_sent_to_it_and_to_nobody_else",
    ),
    "what the provider wants back is sent to others": Mistake(
        "request",
        "    native_state_rule: ClassVar[NativeStateRule] = NATIVE_STATE_RULE\n",
        "",
        "test_what_the_provider_wants_back_is_sent_to_it_and_to_nobody_else",
    ),
    "an error inside a stream is ignored": Mistake(
        "stream",
        "chunk = decode_chunk(frame)",
        "from locus_acme.response import chunk_decoder\n"
        "\n"
        "        chunk = chunk_decoder.decode(frame)",
        "test_an_error_in_the_stream_is_raised_after_the_events_before_it",
    ),
    "the end marker is not required": Mistake(
        "stream",
        "        return False\n",
        "        return True\n",
        "test_a_stream_that_is_cut_never_looks_complete_and_keeps_what_had_arrived",
    ),
    "the system message is dropped": Mistake(
        "request",
        '"system": "\\n\\n".join(systems) if systems else None',
        '"system": None',
        "test_a_long_conversation_is_sent_completely",
    ),
    "the error of a failed tool is lost": Mistake(
        "request",
        '"failed": "error" in message.metadata',
        '"failed": False',
        "test_a_long_conversation_is_sent_completely",
    ),
    "the content of a tool's result is lost": Mistake(
        "request",
        '"error" in message.metadata,\n            "parts": build_parts(indexed)',
        '"error" in message.metadata,\n            "parts": []',
        "test_the_error_of_a_failed_tool_is_sent",
    ),
    "a part is dropped in silence": Mistake(
        "request",
        '                parts.append({"image": build_image(indexed.position, part)})',
        "                pass",
        "test_a_part_is_carried_or_dropped_by_rule_or_refused_by_position",
    ),
    "a refusal is dropped in silence": Mistake(
        "request",
        "case TextPart() | RefusalPart():",
        "case TextPart():",
        "test_a_part_is_carried_or_dropped_by_rule_or_refused_by_position",
    ),
    "a stream's request is another one": Mistake(
        "request",
        '"tools": [build_tool(',
        '"tools": not call_options.stream and [build_tool(',
        "test_a_stream_s_request_differs_in_nothing_else",
    ),
    "tool_choice is ignored": Mistake(
        "request",
        "build_tool_choice(call_options.tool_choice, schemas)",
        "None",
        "test_an_option_is_treated_as_declared",
        "tool_choice",
    ),
    "the description of a tool is lost": Mistake(
        "request",
        'about=function.get("description"), ',
        "",
        "test_a_tool_is_sent_with_its_description_and_schema",
    ),
}


def read_page() -> dict[str, str]:
    """Return the files of the page by their names."""
    return dict(FILE_PATTERN.findall(PAGE.read_text(encoding="utf-8")))


def make_mistake(files: Mapping[str, str], mistake: Mistake) -> dict[str, str]:
    """Return the files with a mistake in one of them."""
    name = f"locus_acme/{mistake.module}.py"
    text = files[name]
    for before, after in {mistake.before: mistake.after, **mistake.more}.items():
        assert text.count(before) == 1, f"the page no longer has {before!r}"
        text = text.replace(before, after)
    return {**files, name: text}


def write_provider(folder: Path, files: Mapping[str, str], suffix: str = "") -> None:
    """Write the files into a folder, each module's name with ``suffix``."""
    modules = re.compile(r"\b(locus_acme|acme_record|test_acme)\b")
    for name, text in {**files, "locus_acme/__init__.py": ""}.items():
        path = folder / modules.sub(rf"\1{suffix}", name)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(modules.sub(rf"\1{suffix}", text), encoding="utf-8")
    (folder / "conftest.py").write_text(FEW_EXAMPLES)
    (folder / "pytest.ini").write_text("[pytest]\naddopts = --strict-markers\n")


def run_pytest(folder: Path, *arguments: str) -> tuple[int, str]:
    """Run the tests in a folder; returns pytest's exit code and its output."""
    paths = f"{PROJECT_ROOT}{os.pathsep}{folder}"
    environment = {"PYTHONPATH": paths, "HYPOTHESIS_PROFILE": "few"}
    process = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", *arguments],
        cwd=folder,
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        check=False,
    )
    return process.returncode, process.stdout + process.stderr


def test_the_provider_of_the_page_passes_the_suite(tmp_path: Path) -> None:
    write_provider(tmp_path, read_page())
    code, output = run_pytest(tmp_path, "-k", f"not ({FAULTS})")
    assert code == 0, output


@pytest.mark.thorough
def test_the_provider_of_the_page_survives_every_fault(tmp_path: Path) -> None:
    write_provider(tmp_path, read_page())
    code, output = run_pytest(tmp_path, "-k", FAULTS)
    assert code == 0, output


@pytest.mark.thorough
def test_the_provider_of_the_page_is_typed(tmp_path: Path) -> None:
    pytest.importorskip("mypy")
    write_provider(tmp_path, read_page())
    process = subprocess.run(
        [sys.executable, "-m", "mypy", "--strict", "--follow-imports=silent", "locus_acme"],
        cwd=tmp_path,
        env={**os.environ, "MYPYPATH": str(PROJECT_ROOT)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert process.returncode == 0, process.stdout + process.stderr


def test_the_suite_catches_each_mistake(tmp_path: Path) -> None:
    files = read_page()
    checks = ", ".join({mistake.check for mistake in MISTAKES.values()})
    write_provider(tmp_path, {**files, "test_acme.py": CHECKS.format(checks=checks)})
    for number, mistake in enumerate(MISTAKES.values()):
        test_module = CHECKS.format(checks=mistake.check)
        faulty_files = make_mistake({**files, "test_acme.py": test_module}, mistake)
        write_provider(tmp_path, faulty_files, f"_{number}")

    code, output = run_pytest(tmp_path, "--junitxml=results.xml")

    assert code == 1, output  # tests have failed; 2 would be that something could not be imported
    failures: dict[str, list[str]] = {}
    for case in ElementTree.parse(tmp_path / "results.xml").iter("testcase"):
        if case.find("failure") is not None:
            failures.setdefault(case.attrib["classname"], []).append(case.attrib["name"])
    assert not failures.pop("test_acme", None), f"without a mistake, too:\n{output}"
    not_caught = {
        name: failed
        for number, (name, mistake) in enumerate(MISTAKES.items())
        if not mistake.is_caught(failed := failures.get(f"test_acme_{number}", []))
    }
    assert not not_caught
