"""What a stranger can send to anybody: it is named, and neither flags nor lowers anything."""

from __future__ import annotations

import pytest

from node.index.spare import set_spare_aside
from riskschema.instruments import Claim, Debt, Instrument, Token, UniswapV3Liquidity
from riskschema.portfolio import CollateralTerm, NoLiquidation, Portfolio, Position, Silo, WeightedCollateral
from riskschema.units import WAD, Address, Amount, Wad

ACCOUNT = Address("0x" + "ac" * 20)
VENUE = "aave_v3:1:pool"


def token(digit: str, factor: str | None = None) -> Token:
    address = Address("0x" + digit * 40)
    return Token(chain_id=1, address=address, decimals=18, factor=factor or f"eip155:1/erc20:{address}")


ETHER, DOLLAR, JUNK = token("e", "ETH"), token("d", "USD"), token("b")
POOL = UniswapV3Liquidity(chain_id=1, pool=ACCOUNT, token0=JUNK, token1=ETHER, tick_lower=-60, tick_upper=60)


def portfolio(*positions: tuple[Instrument, int, int]) -> Portfolio:
    """Return one silo of positions, each with its weight in percent; none weighted and none owed: a wallet."""
    terms = tuple(CollateralTerm(weight=Wad(weight * WAD // 100), price=Wad(WAD)) for _, _, weight in positions)
    rule = WeightedCollateral(numeraire="USD", terms=terms) if any(term.weight for term in terms) else NoLiquidation()
    owes = any(quantity < 0 for _, quantity, _ in positions)
    silo = Silo(
        id="silo",
        venue=VENUE,
        chain_id=1,
        account=ACCOUNT,
        health=Wad(2 * WAD) if owes else None,
        rule=rule,
        positions=tuple(Position(instrument=each, quantity=Amount(quantity)) for each, quantity, _ in positions),
    )
    return Portfolio(subject=ACCOUNT, silos=(silo,))


@pytest.mark.parametrize("junk", [JUNK, POOL, Claim(token=JUNK, venue=VENUE)])
def test_an_unmapped_token_in_a_wallet_is_set_aside_and_the_rest_stays(junk: Instrument) -> None:
    found = set_spare_aside(portfolio((ETHER, 5, 0), (junk, 7, 0)))
    assert [position.instrument for silo in found.silos for position in silo.positions] == [ETHER]
    assert [(spare.account, spare.venue, spare.code) for spare in found.aside] == [(ACCOUNT, VENUE, "unpriced")]
    assert "7 base units" in found.aside[0].detail


def test_a_wallet_of_nothing_else_is_no_silo() -> None:
    found = set_spare_aside(portfolio((JUNK, 7, 0)))
    assert (found.silos, len(found.aside)) == ((), 1)


def test_what_is_not_pledged_beside_a_debt_is_set_aside_with_its_term() -> None:
    claim, debt = Claim(token=ETHER, venue=VENUE), Debt(token=DOLLAR, venue=VENUE)
    found = set_spare_aside(portfolio((claim, 5, 80), (Claim(token=JUNK, venue=VENUE), 7, 0), (debt, -3, 100)))
    (silo,) = found.silos
    assert isinstance(silo.rule, WeightedCollateral)
    assert [term.weight for term in silo.rule.terms] == [80 * WAD // 100, WAD]
    assert len(found.aside) == 1


def test_what_is_owed_or_backs_a_debt_stays_however_unknown_its_price() -> None:
    pledged, debt = Claim(token=JUNK, venue=VENUE), Debt(token=JUNK, venue=VENUE)
    whole = portfolio((pledged, 5, 80), (debt, -3, 100))
    assert set_spare_aside(whole) is whole
