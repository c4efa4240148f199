"""A borrower's silo of staked ether against a dollar token."""

from __future__ import annotations

from riskschema.instruments import Claim, Debt, Token, venue_id
from riskschema.portfolio import CollateralTerm, OracleKind, Position, Silo, VenueOracle, WeightedCollateral
from riskschema.units import WAD, Address, Amount, Wad

STAKED, DOLLAR = (Address(f"0x{number:040x}") for number in (1, 2))
VENUE = venue_id("morpho_blue", 1, str(Address("0x" + "0a" * 20)))
MARKETS = ["0x" + "11" * 32, "0x" + "22" * 32]


def silo(market: str = MARKETS[0], *, told: VenueOracle | None = None, numeraire: OracleKind | None = None) -> Silo:
    """Return one silo; `told` is what is known of the collateral's oracle, `numeraire` how the dollar token is seen."""
    tokens = [
        Token(chain_id=1, address=address, symbol=factor, decimals=18, factor=factor)
        for address, factor in ((STAKED, "WSTETH"), (DOLLAR, "USDC"))
    ]
    return Silo(
        id=f"{VENUE}:{market}",
        venue=VENUE,
        chain_id=1,
        market=market,
        account=STAKED,
        health=Wad(2 * WAD),
        rule=WeightedCollateral(
            numeraire="USDC",
            numeraire_oracle=numeraire,
            terms=(
                CollateralTerm(weight=Wad(WAD // 2), price=Wad(4000 * WAD), oracle=told),
                CollateralTerm(weight=Wad(WAD), price=Wad(WAD)),
            ),
        ),
        positions=(
            Position(instrument=Claim(token=tokens[0], venue=VENUE), quantity=Amount(WAD)),
            Position(instrument=Debt(token=tokens[1], venue=VENUE), quantity=Amount(-1000 * WAD)),
        ),
    )
