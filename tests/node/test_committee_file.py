"""The parameters that a committee is founded with come from a file; what is wrong in it is named."""

from __future__ import annotations

from pathlib import Path

import pytest

from attest.agreement.rules import AgreementRules
from attest.formats.parameters import AgreementParameters, ChainParameters
from node.committee_file import load_agreement, load_committee, write_committee
from riskschema.errors import InvalidData
from tests.attest.agreement.round_kit import CHAIN, committee


def written(directory: Path, text: str) -> Path:
    path = directory / "agreement.toml"
    path.write_text(text)
    return path


def test_what_the_file_says_is_chosen_and_the_rest_is_as_usual(tmp_path: Path) -> None:
    text = 'factors = ["BTC", "ETH"]\nmax_shrink_ppm = 250_000\n[[chains]]\nchain_id = 1\nconfirmations = 3\n'
    chosen = load_agreement(written(tmp_path, text))
    chain = ChainParameters(chain_id=1, confirmations=3)
    assert chosen == AgreementParameters(factors=("BTC", "ETH"), max_shrink_ppm=250_000, chains=(chain,))
    assert load_agreement(None) == load_agreement(written(tmp_path, "")) == AgreementParameters()


@pytest.mark.parametrize(
    ("text", "field"),
    [
        ("grace = 1", "grace"),
        ("request_capacity = -1", "request_capacity"),
        ("request_capacity = 1.5", "request_capacity"),
        ("proposal_grace_ppm = 1_000_001", "proposal_grace_ppm is 1,000,001"),
        ("max_confidence_ppm = 0", "max_confidence_ppm is 0"),
        ("max_shrink_ppm = 2_000_000", "max_shrink_ppm"),
        ("max_value_age_seconds = 90_000", "max_value_age_seconds"),
        ('factors = ["ETH", "BTC"]', "factors must be in increasing order"),
        ('factors = ["BTC", "BTC"]', "factors must be in increasing order"),
        ('factors = ["", "BTC"]', r"factors\[0\]"),
        ('factors = ["BTC\\n"]', r"factors\[0\]"),
        (f'factors = ["{"B" * 481}"]', r"factors\[0\]"),
        ("factors = [" + ", ".join(f'"{number:04}"' for number in range(2_001)) + "]", "more than 2,000"),
        ("[[chains]]\npin_stride = 2", "chain_id"),
        ("[[chains]]\nchain_id = 1\npin_stride = 0", r"chains\[0\].pin_stride is 0"),
        ("[[chains]]\nchain_id = 1\nconfirmations = 10_001", r"chains\[0\].confirmations"),
        ("[[chains]]\nchain_id = 1\nmax_pin_age_seconds = 0", r"chains\[0\].max_pin_age_seconds"),
        ("[[chains]]\nchain_id = 2\n[[chains]]\nchain_id = 1", "chains must be in increasing order"),
        ("factors =", r"agreement\.toml: Invalid value"),
    ],
)
def test_what_is_wrong_is_named(text: str, field: str, tmp_path: Path) -> None:
    with pytest.raises(InvalidData, match=field):
        load_agreement(written(tmp_path, text))


def test_the_rules_of_a_node_are_those_of_the_committee_file(tmp_path: Path) -> None:
    chosen = AgreementParameters(chains=(ChainParameters(chain_id=CHAIN, pin_stride=5),), factors=("ETH",))
    path = tmp_path / "committee.json"
    write_committee(path, committee(4, parameters=chosen))
    rules = AgreementRules.of(load_committee(path))
    assert rules.chain(CHAIN).pin_stride == 5
    assert rules.agrees_on("ETH")
    assert not rules.agrees_on("BTC")


def test_a_committee_file_without_parameters_or_with_wrong_ones_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "committee.json"
    write_committee(path, committee(4))
    text = path.read_text()
    path.write_text(text.replace('"request_lifetime_rounds":"100"', '"request_lifetime_rounds":"0"'))
    with pytest.raises(InvalidData, match="request_lifetime_rounds"):
        load_committee(path)
    start = text.index(',"parameters":')
    path.write_text(text[:start] + "}\n")
    with pytest.raises(InvalidData, match=r"committee\.json"):
        load_committee(path)
