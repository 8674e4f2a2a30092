"""The rules that compare claims with evidence: figures in any notation, words in any form."""

from __future__ import annotations

import json
from functools import partial
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from locus.core.state import ToolExecution
from locus.reasoning import GroundingEvaluator
from tests.support.timing import assert_linear

FIGURES: list[tuple[str, Any, str]] = [
    # a figure, the result of a tool that has it, and a figure that this result does not have
    ("1.5 million", 1500000, "1.6 million"),
    ("1.5 million", "1.5M", "1.5 billion"),
    ("1.5 million", "in millions: 1.5", "1.5 billion"),
    ("$1.5M", 1500000, "$1.6M"),
    ("1.2 million", 1203842, "1.3 million"),
    ("1.2 to 1.5 million", [1200000, 1500000], "1.2 to 1.6 million"),
    ("€1,200.00", 1200, "€1,300.00"),
    ("1.200,00 €", 1200, "1.300,00 €"),
    ("1\u202f204", 1204, "1\u202f205"),
    ("1 204 550,75", 1204550.75, "1 204 550,85"),
    ("1'204", 1204, "1'205"),
    ("1,204", 1204, "1,205"),
    ("204", "1 of 204", "1,204"),
    ("21,5", 21.5, "22,5"),
    ("1.0e-3", 0.001, "1.0e-2"),
    ("1.5\u00d710⁶", 1500000, "1.5\u00d710⁵"),
    ("0.3", 0.30000000000000004, "0.4"),
    ("3.14", 3.14159265, "3.15"),
    ("50 percent", 0.5, "60 percent"),
    ("66.67%", 0.6666666666, "66.68%"),
    ("≤ 1.5 %", "≤ 1,5 %", "≤ 1.6 %"),
    ("1½", 1.5, "1¾"),
    ("1/2", 0.5, "1/3"),
    ("٢١", 21, "٢٢"),
    ("1204¹", 1204, "1205¹"),
    ("2", "two", "3"),
    ("two", 2, "3"),
    ("21 and 35", [21, 35], "21 and 36"),
    ("[21, 35]", [21, 35], "[21, 36]"),
    ("100", '{"total":[100,200,300]}', "400"),
    ("7", '{"total":[-7,501,7]}', "50"),
    ("1.2.3", "1.2.3", "1.2.30"),
    ("10.0.0.1", "10.0.0.1", "10.0.0.2"),
    ("42", "0042", "43"),
    ("1920 by 1080", "1920x1080", "1920 by 1081"),
    ("-5", -5, "5"),
    ("\u22125", -5, "-6"),
    ("5", 5, "-5"),
    ("minus 5", -5, "minus 6"),
    ("down by 5%", -0.05, "up by 5%"),
    ("-$1,200", -1200, "$1,200"),
    ("5\u201310", "5 to 10", "5\u201311"),
    ("March 1, 2026", "2026-03-01, 2 rooms", "March 2, 2026"),
    ("on Sunday, March 1, 2026", "2026-03-01", "on Monday, March 2, 2026"),
    ("on the 1st of March 2026", "2026-03-01", "on the 2nd of March 2026"),
    ("2026-03-01", "Mar. 1, 2026, 2 rooms", "2026-03-02"),
    ("01/03/26", "2026-03-01, 2 rooms", "02/03/26"),
    ("1.3.2026", "2026-03-01, 2 rooms", "2.3.2026"),
    ("2026年3月1日", "2026-03-01, 2 rooms", "2026年3月2日"),
    ("March 2026", "2026-03-01, 4 rooms", "April 2026"),
    ("March 1, 2026 at 15:05", 1772377500, "March 2, 2026"),
    ("March 1, 2026 at 3:05 pm", 1772377500123, "March 1, 2026 at 4:05 pm"),
    ("March 1, 2026", 20260301, "March 2, 2026"),
    ("15:05", "2026-03-01T15:05:00Z", "15:06"),
    ("3:05 p.m.", "15:05", "4:05 p.m."),
    ("3 pm", "15:00:30, 4 rooms", "4 pm"),
    ("db1", "db1, 2 errors", "db2"),
    ("GPT-4", "GPT-4, 3 errors", "GPT-3"),
    ("Q3", "quarter 3", "Q4"),
    ("9f35a1c", "9f35a1c0d2", "9f35a1d"),
    ("5kg", "5 kg", "6kg"),
]


def find_unsupported(answer: str, result: Any) -> tuple[str, ...]:
    """Return the claims of an answer that the result of a tool does not support."""
    text = result if isinstance(result, str) else json.dumps(result)
    execution = ToolExecution("lookup", "call_36x99", {"of": "total"}, text)
    return GroundingEvaluator().evaluate_sync(answer, [execution]).ungrounded


@pytest.mark.parametrize(("figure", "result", "wrong"), FIGURES)
def test_a_figure_is_found_in_any_notation_and_a_wrong_one_is_not(
    figure: str, result: Any, wrong: str
) -> None:
    assert find_unsupported(f"The total is {figure}.", result) == ()
    assert find_unsupported(f"The total is {wrong}.", result) != ()


@pytest.mark.parametrize(
    ("answer", "result", "wrong"),
    [
        ("He has fast cars.", "a fast car", "He has fast boats."),
        ("The cities used buses.", "a city: use bus", "The towns paid trains."),
        ("It doesn't rain; it isn't windy.", "rain: no, windy: no", "It doesn't snow."),
        ("The temperature is 21 degrees.", {"temp": 21}, "Its humidity is 21 percent."),
        (
            "“Sun\u200bny”, said the \u2018tool\u2019.",
            "sunny",
            "“Cloudy”, said the \u2018tool\u2019.",
        ),
        ("It is **sunny** in *Rome*.", {"Rome": "sunny"}, "It is **cloudy** in *Oslo*."),
        ("Es ist sonnig in München.", "München: sonniges Wetter", "Es regnet in Köln."),
        ("\u0412 Риме солнечно.", "Рим: солнечно", "\u0412 Осло облачно."),
        ("上海是晴天。", {"城市": "上海", "天气": "晴天"}, "北京是雨天。"),
        ("ローマは晴れです。", "都市: ローマ、天気: 晴れ", "オスロは曇りです。"),
        ("서울은 맑습니다.", "서울: 맑습니다", "부산은 흐립니다."),
        ("روما مشمسة.", "روما مشمسة", "أوسلو غائمة."),
    ],
)
def test_words_are_found_in_other_forms(answer: str, result: Any, wrong: str) -> None:
    assert find_unsupported(answer, result) == ()
    assert find_unsupported(wrong, result) == (wrong,)


WEATHER = {
    "location": {"name": "Paris", "country": "France"},
    "current": {"temp_c": 18.3, "condition": "Partly cloudy", "wind_kph": 11.2, "humidity": 64},
}
TESLA = (
    "Tesla, Inc. reported total revenue of $96.77 billion in 2023, up 19% from $81.46 billion in "
    "2022. Net income was $14,997 million."
)
SALES = "region | sum\nnorth | 1204550.75\nsouth | 998001.00\n(2 rows)"
ORDER = {"id": "ORD-1042", "status": "shipped", "at": "2026-02-27T09:30:00Z", "eta": "2026-03-04"}
LOG = "2026-03-01T10:00:01Z ERROR disk /dev/sda1 98% full\n10:05:12Z WARN replication lag 12.5s"
TEAM = [{"name": "María-José Núñez", "role": "SRE", "since": 2019}, {"name": "Li Wei"}]


@pytest.mark.parametrize(
    ("result", "answer", "accepted"),
    [
        (
            WEATHER,
            "**Paris**\n\n- 🌡️ Temperature: 18.3 °C\n- 💧 Humidity: 64 %\n\nEnjoy your day!",
            True,
        ),
        (WEATHER, "It's partly cloudy in Paris, France, at about 18°C and 64% humidity.", True),
        (WEATHER, "It is 28.3 degrees and partly cloudy in Paris.", False),
        (WEATHER, "It is 18.3 degrees and partly cloudy in Lyon, Spain and Oslo.", False),
        (TESLA, "Tesla made $96.8 billion in 2023, and a net income of about $15 billion.", True),
        (TESLA, "Tesla's revenue grew by 19% to $96.77bn [1].", True),
        (TESLA, "Tesla's revenue in 2023 was $97.77 billion.", False),
        (TESLA, "Tesla's revenue in 2023 was $96.77 million.", False),
        (
            SALES,
            "| Region | Sales |\n|---|---:|\n| North | $1,204,550.75 |\n| South | $998,001 |",
            True,
        ),
        (SALES, "North sold 1.2 million, and south just under $1 million.", True),
        (SALES, "| Region | Sales |\n|---|---:|\n| North | $1,240,550.75 |", False),
        (SALES, "All regions together sold $2,202,551.75.", False),  # the sum is in no result
        (ORDER, "Your order ORD-1042 was shipped on February 27; the ETA is March 4th.", True),
        (ORDER, "I'm sorry, I couldn't find a tracking number for ORDER.", True),
        (ORDER, "Your order ORD-1042 was shipped on February 28.", False),
        (ORDER, "Your order ORD-1043 was shipped on February 27.", False),
        (LOG, "The disk /dev/sda1 is 98% full (10:00), and replication lagged 12.5 s.", True),
        (LOG, "The disk /dev/sdb1 is 98% full.", False),
        (TEAM, "The two are Maria-Jose Nunez (SRE, since 2019) and Li Wei.", True),
        (TEAM, "The lead is John Smith.", False),
    ],
)
def test_answers_as_models_write_them(result: Any, answer: str, accepted: bool) -> None:
    assert (find_unsupported(answer, result) == ()) == accepted


def test_labels_and_ids_are_no_evidence_and_may_be_cited() -> None:
    ids = "550e8400-e29b-41d4-a716-446655440000"
    for wrong in ("It is 36 degrees.", "It is 99 degrees.", "It is 41 degrees."):
        assert find_unsupported(wrong, f"21 degrees, {ids}") == (wrong,)
    for citation in ("[1]", "[call_36x99]", "[1, call_36x99]", "[^7]", "【3†source】"):
        assert find_unsupported(f"It is 21 degrees {citation}.", "21 degrees") == ()
    assert find_unsupported("It is sunny [35].", "sunny") == ("It is sunny [35].",)
    report = GroundingEvaluator().evaluate_sync("The room 2 is free.", ["a room", "is free"])
    assert not report.accepted
    assert GroundingEvaluator().evaluate_sync("The CEO is Jane.", {"CEO": "Jane"}).accepted


FRAGMENTS = st.sampled_from(
    """
    1 23 204 2026 03 - . , : / e 10 ^6 million M k % March 1st am p.m. -5 $ ' _ a1 ½ ² 年 日 ° [1]
    [ ] { but minus zero | # ``` ? 's 9f35a1c0 \\n ٣ \u066b \u2212 \u2013
    """.split()  # noqa: SIM905
) | st.sampled_from([" ", "\n", "- ", "1. "])


@given(st.lists(FRAGMENTS, max_size=12).map("".join))
def test_what_looks_like_a_figure_is_found_in_itself(text: str) -> None:
    report = GroundingEvaluator(min_overlap=1).evaluate_sync(text, [text])
    assert report.ungrounded == ()


@pytest.mark.parametrize(
    ("claim", "evidence"),
    [
        ("The balance of user 3 is 12.5. ", "On 2026-03-01 user 3 had 12.5. "),
        ("1,", "1,"),
        ("[1] ", "12 345 "),
        ("```" + "\n" * 9 + " " * 9 + "|", ""),
        (".\"'*) |- ```\n[[", "\\n\\\\é#"),
    ],
)
def test_the_time_grows_with_the_length_of_both(claim: str, evidence: str) -> None:
    def prepare(size: int) -> Any:
        return partial(GroundingEvaluator().evaluate_sync, claim * size, [evidence * size])

    assert_linear(prepare, 40, 8)
