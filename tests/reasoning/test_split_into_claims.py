"""What of an answer is a claim, and what is none."""

from __future__ import annotations

import pytest

from locus.reasoning.split_into_claims import split_into_claims

SUNNY = "It is sunny in Rome."


@pytest.mark.parametrize(
    "text",
    [
        "Hello! Here you are:",
        "I hope this helps! Feel free to ask if you need anything else.",
        "Great question! Please let me know if you have any further questions. 😊",
        "Would you like to know **more about Rome?**",
        "# Weather report for Rome",
        "**Summary of the weather:**",
        "I could not find any information about the mayor of Rome.",
        "Unfortunately, the price of the piano is not available.",
        "I don't know the population.",
        "The tools haven't returned enough, so I'm unable to confirm the name of the mayor.",
        "No results were found for the mayor of Rome.",
        "```python\nfor city in cities[:99]:\n    print(city)\n```",
        "| City | Weather |\n|:--|---:|",
        "| - | - |",
        "---",
        "",
    ],
)
def test_no_claims(text: str) -> None:
    assert split_into_claims(f"{text}\n\n{SUNNY}") == (SUNNY,)
    assert split_into_claims(text) == ()


@pytest.mark.parametrize(
    ("answer", "claims"),
    [
        ("Paris", ("Paris",)),
        ("21", ("21",)),
        (f"{SUNNY} Oslo is cold!", (SUNNY, "Oslo is cold!")),
        ("It is sunny. e.g. 21.5 degrees", ("It is sunny. e.g. 21.5 degrees",)),
        ("“It is sunny.” He left.", ("“It is sunny.”", "He left.")),
        ("> - [x] It is sunny.\n> 2) Step 1: It is cold.", ("It is sunny.", "It is cold.")),
        ("| City | Sky |\n|---|---|\n| Rome | sunny |", ("Rome | sunny |",)),
        ("Rome|sunny\nIt", ("Rome|sunny",)),
        ("今天是晴天。明天下雨\uff01真的吗\uff1f", ("今天是晴天。", "明天下雨\uff01")),
        ("यह धूप है। कल बारिश है।", ("यह धूप है।", "कल बारिश है।")),
        (
            "No data on Rome was found, but the mayor is Zoë Quill.",
            ("No data on Rome was found, but the mayor is Zoë Quill.",),
        ),
        ("I could not find 35 results.", ("I could not find 35 results.",)),
        ("Log:\n```\nERROR: disk lost\n```", ("ERROR: disk lost",)),
        ("Log:\n~~~log\nERROR: disk lost\n~~~", ("ERROR: disk lost",)),
        ("```\nis not closed", ("is not closed",)),
        ('{"sky": "sunny", "t": [21, null, true]}', ("sunny", "t: 21")),
        ('```json\n{"sky": "not available"}\n```', ("not available",)),
        ("[broken", ("[broken",)),
    ],
)  # fmt: skip
def test_claims(answer: str, claims: tuple[str, ...]) -> None:
    assert split_into_claims(answer) == claims
