"""The table of parts in ``docs/portability.md``, and what the type checker says of a new class.

That each format does with parts what it declares is in the shipped suite.
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from locus.core.accepted_parts import PartHandling
from locus.core.messages import (
    ImagePart,
    Part,
    RefusalPart,
    Role,
    ThinkingPart,
)
from locus.testing.formats.part_suite import SAMPLES
from tests.support.formats import FORMATS, WireFormat
from tests.support.portability_page import read_table
from tests.support.processes import PROJECT_ROOT

# The table in docs/portability.md.

TABLE_ROWS: dict[tuple[type[Part], str, Role], str] = {
    (ImagePart, "image", Role.USER): "images as bytes, or in a `data:` URL",
    (ImagePart, "image", Role.TOOL): "images in a tool's result",
    (ImagePart, "image", Role.SYSTEM): "images in a system message",
    (ImagePart, "image", Role.ASSISTANT): "images in a response",
    (RefusalPart, "refusal", Role.ASSISTANT): "refusals",
    (ThinkingPart, "signed", Role.ASSISTANT): "thinking with a signature (Anthropic's)",
    (ThinkingPart, "redacted", Role.ASSISTANT): "redacted thinking (Anthropic's)",
    (ThinkingPart, "unsigned", Role.ASSISTANT): "thinking without a signature (Ollama's, OCI's)",
}
"""The rows about parts, by class, sample and role."""


def describe_handling(handling: PartHandling | None, part: Part) -> str:
    """Return the word with which the table's cell has to begin."""
    if handling is None:
        return "raises"
    if not handling.carries(part):
        return "dropped"
    return "as text" if handling is PartHandling.AS_TEXT else "carried"


@pytest.mark.parametrize("wire", FORMATS, ids=repr)
@pytest.mark.parametrize("role", list(Role), ids=str)
def test_the_table_documents_what_is_declared(wire: WireFormat, role: Role) -> None:
    handling = wire.accepted_parts.get_handling(role)
    for cls, samples in SAMPLES.items():
        for sample, (part, _) in samples.items():
            outcome = describe_handling(handling.get(cls), part)
            if title := TABLE_ROWS.get((cls, sample, role)):
                assert read_table()[title][wire.title].startswith(outcome)
            else:  # nothing is dropped or changed but what has a row
                assert outcome in ("raises", "carried")


NEW_PART_CLASS = """
@attrs.frozen
class VideoPart(BasePart):
    tag: ClassVar[str] = "video"
    plural: ClassVar[str] = "videos"

    text: str


Part: TypeAlias = VideoPart | """


@pytest.mark.thorough
def test_the_type_checker_reports_each_builder_for_a_new_part_class(tmp_path: Path) -> None:
    pytest.importorskip("mypy")
    before, after = (
        (PROJECT_ROOT / "locus/core/messages.py").read_text().split("Part: TypeAlias = ")
    )
    changed = tmp_path / "messages.py"
    changed.write_text(before + NEW_PART_CLASS + after)
    result = subprocess.run(
        [
            *(sys.executable, "-P", "-m", "mypy", "--cache-dir", str(tmp_path / "cache")),
            *("--shadow-file", "locus/core/messages.py", str(changed), "locus/wire"),
        ],
        cwd=PROJECT_ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    errors = [line for line in result.stdout.splitlines() if 'to "assert_never"' in line]
    reported = {line.removeprefix("locus/wire/").partition("/")[0] for line in errors}
    assert reported == {type(wire.builder).__module__.split(".")[2] for wire in FORMATS}
