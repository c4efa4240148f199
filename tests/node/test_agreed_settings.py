"""What all operators must say alike is hashed into reports; what is an operator's own is not."""

from __future__ import annotations

from pathlib import Path

import pytest

from aggregator.parameters import Parameters, load_parameters
from attest.agreement.rules import AgreementRules
from attest.formats.parameters import AgreementParameters
from node.agreed_settings import agreed_settings, model_of
from node.round.reading import configured_venues
from node.settings import load_settings
from riskschema.units import Hash32
from tests.attest.agreement.round_kit import rules

TOKEN, OTHER = ("0x" + digits * 20 for digits in ("0a", "0b"))
HEAD = """
[[chains]]
chain_id = 1
rpc_url = "http://127.0.0.1:1"
"""
ASSETS = tuple(
    f"""
[[chains.assets]]
address = "{address}"
factor = "{factor}"
"""
    for address, factor in ((TOKEN, "WSTETH"), (OTHER, "ETH"))
)
VENUE = f"""
[[chains.venues]]
protocol = "aave_v3"
addresses_provider = "0x{"0c" * 20}"
"""
ORACLES = tuple(
    f"""
[[chains.venues.oracles]]
asset = "{address}"
kind = "{kind}"
"""
    for address, kind in ((TOKEN, "exchange_rate"), (OTHER, "market"))
)
MARKET = """
[[market.factors]]
name = "XSETH"
stream = 1001

[market.groups]
ETH = "eth"
PEPE = "large"
"""
WHOLE = HEAD + ASSETS[0] + ASSETS[1] + VENUE + ORACLES[0] + ORACLES[1] + MARKET


@pytest.fixture(scope="module")
def parameters() -> Parameters:
    return load_parameters()


def hashed(tmp_path: Path, text: str, parameters: Parameters, agreement: AgreementRules | None = None) -> Hash32:
    path = tmp_path / "plimsoll.toml"
    path.write_text(text)
    settings = load_settings(path)
    venues = [venue for chain in settings.chains for venue in configured_venues(chain)]
    return model_of(parameters, agreement or rules(4), agreed_settings(settings, venues)).parameters_hash


@pytest.mark.parametrize(
    ("said", "instead"),
    [
        ('kind = "exchange_rate"', 'kind = "capped"'),
        ('kind = "exchange_rate"', 'kind = "exchange_rate"\nheartbeat = 3600'),
        (ORACLES[1], ""),
        ('factor = "WSTETH"', 'factor = "ETH"'),
        ('factor = "WSTETH"', 'factor = "WSTETH"\nunderlying = "STETH"\nindex = "stEthPerToken()"'),
        ("0c", "0d"),
        ('PEPE = "large"', 'PEPE = "other"'),
        ("stream = 1001", "stream = 1002"),
    ],
)
def test_what_changes_reports_changes_the_hash(tmp_path: Path, parameters: Parameters, said: str, instead: str) -> None:
    assert said in WHOLE
    assert hashed(tmp_path, WHOLE.replace(said, instead), parameters) != hashed(tmp_path, WHOLE, parameters)


def test_other_parameters_of_the_agreement_are_another_hash(tmp_path: Path, parameters: Parameters) -> None:
    other = rules(4, AgreementParameters(request_capacity=7))
    assert hashed(tmp_path, WHOLE, parameters, other) != hashed(tmp_path, WHOLE, parameters)


@pytest.mark.parametrize(
    "text",
    [
        HEAD + ASSETS[1] + ASSETS[0] + VENUE + ORACLES[1] + ORACLES[0] + MARKET,
        WHOLE.replace(TOKEN, TOKEN.upper().replace("0X", "0x")),
        WHOLE.replace(":1", ":2"),
        WHOLE.replace('ETH = "eth"\nPEPE = "large"', 'PEPE = "large"\nETH = "eth"'),
        WHOLE.replace('kind = "market"\n', ""),
        "keep_rounds = 5\n" + WHOLE,
        WHOLE + HEAD.replace("chain_id = 1", "chain_id = 10") + ASSETS[0],
    ],
    ids=["order", "capitals", "endpoint", "order of groups", "default", "disk", "a chain that is only published to"],
)
def test_what_is_an_operators_own_changes_nothing(tmp_path: Path, parameters: Parameters, text: str) -> None:
    assert text != WHOLE
    assert hashed(tmp_path, text, parameters) == hashed(tmp_path, WHOLE, parameters)
