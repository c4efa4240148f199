"""What the commitment of an account's positions does with quantities that no honest token tells."""

from __future__ import annotations

import pytest

from attest.reports.leaves import positions_commitment
from riskschema.instruments import Token
from riskschema.portfolio import NoLiquidation, Portfolio, Position, Silo
from riskschema.units import Address, Amount

HOLDER = Address("0x" + "11" * 20)
LARGEST = 2**255 - 1


def commitment(quantity: int) -> bytes:
    token = Token(chain_id=1, address=HOLDER, decimals=18, factor="ETH")
    position = Position(instrument=token, quantity=Amount(quantity))
    silo = Silo(
        id="wallet",
        venue="wallet:1:main",
        chain_id=1,
        account=HOLDER,
        health=None,
        rule=NoLiquidation(),
        positions=(position,),
    )
    return positions_commitment(bytes(32), 1, bytes(32), Portfolio(subject=HOLDER, silos=(silo,)))


@pytest.mark.parametrize("sign", [1, -1])
def test_a_balance_beyond_its_word_is_capped_and_stops_no_report(sign: int) -> None:
    assert commitment(sign * (2**256 - 1)) == commitment(sign * LARGEST)
    assert commitment(sign * LARGEST) != commitment(sign * (LARGEST - 1))
