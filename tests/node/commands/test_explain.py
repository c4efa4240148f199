"""`plimsoll explain`: the assessment in sentences."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest

from node.explaining.sentences import sentences
from riskschema.assessment import Assessment, ProbabilityInterval
from riskschema.portfolio import Portfolio, Unread, VenueOracle, WeightedCollateral
from riskschema.units import Probability, Usd
from tests.builders import reports
from tests.builders.borrowers import silo as borrower

EXAMPLES = Path(__file__).resolve().parents[3] / "docs" / "examples"
FILES = ("--portfolio", EXAMPLES / "portfolio.json", "--market", EXAMPLES / "market.json")


def test_the_example_is_explained(plimsoll) -> None:
    lines = plimsoll("explain", *FILES).output.splitlines()
    document = plimsoll("assess", *FILES, "--json").document
    assert lines[0].startswith(f"Grade {document['grade']}, score {document['score']} of 1000:")
    assert f"{document['liquidation_probability']:.2%}" in lines[0]
    assert "morpho" in lines[1]
    assert f"${float(document['initial_margin']):,.2f}" in lines[2]
    better = next(line for line in lines if line.startswith("A better grade"))
    assert all(word in better for word in ("repaying", "adding", "selling", "USDC", "WBTC", "for grade B"))
    assert lines[-1].startswith("Read with care: short history")


def test_the_table_of_assess_names_the_same_changes(plimsoll) -> None:
    better = next(line for line in plimsoll("explain", *FILES).output.splitlines() if line.startswith("A better grade"))
    shown = " ".join(plimsoll("assess", *FILES).output.split())
    for change in better.removeprefix("A better grade takes one of these: ").removesuffix(".").split("; "):
        assert f"better by {change}" in shown


def test_json_holds_the_assessment_the_sentences_and_the_changes(plimsoll) -> None:
    document = plimsoll("explain", *FILES, "--json").document
    assert document["assessment"] == plimsoll("assess", *FILES, "--json").document
    assert document["sentences"] == plimsoll("explain", *FILES).output.splitlines()
    assert [change["action"] for change in document["improvements"]] == ["repay", "add", "close"]
    assert document["improvements"][0]["parts"][0] == {
        "symbol": "USDC",
        "decimals": 6,
        "quantity": document["improvements"][0]["parts"][0]["quantity"],
    }


def said(**fields: object) -> list[str]:
    found: Assessment = reports.assessment(**fields)
    return list(sentences(found, (), Portfolio(subject=found.subject, silos=())))


def test_why_a_safe_account_is_asked_for_more_than_it_has_is_said() -> None:
    lines = said(uncovered="hedges_apart", initial_margin=Usd(10**9), equity=Usd(10**8))
    assert any("$9.00 more than there is" in line for line in lines)
    assert any(line.startswith("More than the equity is required") and "hedge each other" in line for line in lines)
    assert not any(line.startswith("More than the equity") for line in said())


@pytest.mark.parametrize(("grade", "word"), [("D", "can liquidate this account now"), ("BB", "2.00% likely")])
def test_an_outlook_is_certain_only_where_a_venue_is(grade: str, word: str) -> None:
    interval = ProbabilityInterval(estimate=Probability(20_000), low=Probability(10_000), high=Probability(30_000))
    lines = said(grade=grade, probability_interval=interval)
    assert word in lines[0]
    assert "No repayment, addition or sale that was tried earns a better grade." in lines


def test_what_a_venue_does_not_see_is_said_in_its_words() -> None:
    silo = borrower()
    assert isinstance(silo.rule, WeightedCollateral)
    told = (VenueOracle(kind="exchange_rate"), VenueOracle())
    terms = tuple(
        msgspec.structs.replace(term, oracle=oracle) for term, oracle in zip(silo.rule.terms, told, strict=True)
    )
    blind = msgspec.structs.replace(
        silo, rule=msgspec.structs.replace(silo.rule, terms=terms, numeraire_oracle="fixed")
    )
    lines = list(sentences(reports.assessment(), (), Portfolio(subject=reports.SUBJECT, silos=(blind,))))
    (line,) = (line for line in lines if "prices" in line and line.startswith("morpho_blue"))
    assert line == (
        "morpho_blue (chain 1) prices WSTETH at its exchange rate, whatever the market pays for it;"
        " USDC at a fixed price."
    )
    seeing = Portfolio(subject=reports.SUBJECT, silos=(silo,))
    assert not any(
        said.startswith("morpho_blue (chain 1) prices") for said in sentences(reports.assessment(), (), seeing)
    )


def test_what_was_not_read_is_named() -> None:
    unread = Unread(chain_id=1, venue="aave_v3:1:main", market="", account=reports.SUBJECT, code="x", detail="reverts")
    assert "Not read or not followed: aave_v3:1:main: reverts." in said(unread=(unread,))


def test_documents_are_refused_as_by_assess(plimsoll, tmp_path) -> None:
    broken = tmp_path / "portfolio.json"
    broken.write_bytes(msgspec.json.encode({"subject": "0x"}))
    ended = plimsoll("explain", "--portfolio", broken, *FILES[2:])
    assert ended.status == 78
    assert "portfolio.json" in ended.messages
