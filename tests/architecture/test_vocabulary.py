"""Groups, grades, the score's scale and flags have one home each; parameters, formats and pages say the same."""

from __future__ import annotations

import re
from pathlib import Path

from aggregator.parameter_tables import ByGroup, Crisis, Grades
from aggregator.parameters import load_parameters
from riskschema.assessment import GRADES, MAX_SCORE
from riskschema.flags import Flag
from riskschema.market import GROUPS
from riskschema.reasons import REASONS

ROOT = Path(__file__).parents[2]


def page(name: str) -> str:
    return (ROOT / "docs" / name).read_text(encoding="utf-8")


def rows(text: str, heading: str) -> list[list[str]]:
    """Return the cells below a table's heading line."""
    lines = text.split(f"{heading}\n", 1)[1].splitlines()[1:]
    table = lines[: next(place for place, line in enumerate(lines) if not line.startswith("|"))]
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in table]


def test_parameters_by_group_have_a_number_for_every_group() -> None:
    assert ByGroup.__struct_fields__ == GROUPS
    assert Crisis.__struct_fields__ == ("name", *GROUPS, "staking", "wrapped_bitcoin")


def test_every_grade_but_the_last_has_a_bound() -> None:
    assert Grades.__struct_fields__ == GRADES[:-1]


def test_the_pages_name_the_groups_and_the_grades_in_order() -> None:
    [line] = re.findall(r"^\| `market.groups` .*$", page("operating.md"), re.MULTILINE)
    places = [line.index(f"`{group}`") for group in GROUPS]
    assert places == sorted(places)
    [line] = re.findall(r"^\| grade \| the score.*$", page("glossary.md"), re.MULTILINE)
    assert f"{', '.join(GRADES[:-1])}; {GRADES[-1]} " in line


def test_the_page_has_the_bounds_of_the_parameter_file() -> None:
    grades = load_parameters().probability.grades
    heading = "| grade | " + " | ".join(GRADES) + " |"
    [cells] = rows(page("risk-model.md"), heading)
    bounds = [f"{getattr(grades, name) / 10_000:g} %".removeprefix("0") for name in GRADES[:-1]]
    assert cells[:-1] == ["p at most", *bounds]


def test_the_pages_have_the_scale_of_the_parameter_file() -> None:
    decades = load_parameters().probability.score_decades
    half = f"half a decade is {MAX_SCORE // (2 * decades)} points"
    assert f"round({MAX_SCORE}·clip((log₁₀ p + {decades})/{decades}, 0, 1)): {half}" in page("risk-model.md")
    [line] = re.findall(r"^\| score \| .*$", page("glossary.md"), re.MULTILINE)
    assert f"to {MAX_SCORE} " in line
    assert half.replace("half a decade is", "half a decade of probability is") in line


def test_the_table_of_bits_is_the_list_of_flags() -> None:
    expected = [[str(flag.bit), f"`{flag}`", REASONS[flag].long] for flag in Flag]
    assert rows(page("attestation-format.md"), "| bit | flag | meaning |") == expected
