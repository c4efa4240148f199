"""The documents lead somewhere (links, anchors, the README's index); the agreement's parameters are the program's."""

import re
from pathlib import Path

import pytest

from attest.formats.parameters import AgreementParameters, ChainParameters

ROOT = Path(__file__).parents[2]
DOCUMENTS = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")])
LINK = re.compile(r"\]\((?!https?:)([^)#\s]*)(?:#([^)\s]+))?\)")


def anchors(document: Path) -> set[str]:
    headings = re.findall(r"^#+ (.+)$", document.read_text(), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.relative_to(ROOT).as_posix())
def test_every_link_leads_to_a_file_and_every_anchor_to_a_heading(document: Path) -> None:
    for path, anchor in LINK.findall(document.read_text()):
        target = document.parent / path if path else document
        assert target.exists(), path
        assert not anchor or anchor in anchors(target), f"{path}#{anchor}"


def test_the_readme_leads_to_every_document() -> None:
    linked = {(ROOT / path).resolve() for path, _ in LINK.findall((ROOT / "README.md").read_text()) if path}
    assert {*(ROOT / "docs").glob("*.md"), ROOT / "docs" / "decisions" / "README.md"} <= linked


def test_every_decision_is_in_the_index_under_its_own_title() -> None:
    folder = ROOT / "docs" / "decisions"
    index = re.findall(r"^- \[(.+)\]\((.+)\)$", (folder / "README.md").read_text(), re.MULTILINE)
    titles = [(path.read_text().splitlines()[0].removeprefix("# "), path.name) for path in sorted(folder.glob("0*.md"))]
    assert index == titles


def test_the_parameters_of_the_agreement_are_documented_with_their_values() -> None:
    rows = re.findall(r"^\| `(\w+)` \| ([\d,]+) \|", (ROOT / "docs" / "agreement.md").read_text(), re.MULTILINE)
    parameters, chain = AgreementParameters(), ChainParameters(chain_id=1)
    assert rows == [
        (name, f"{getattr(values, name):,}")
        for values in (parameters, chain)
        for name in values.__struct_fields__
        if name not in {"chains", "factors", "chain_id"}
    ]
