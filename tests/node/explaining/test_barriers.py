"""What a venue forbids for now, in the table of positions and in words."""

from __future__ import annotations

from typing import get_args

import msgspec
import pytest

from node.commands.output import portfolio_table, print_table
from node.explaining.sentences import barriers
from riskschema.portfolio import RESTRICTION_MEANINGS, Portfolio, Restriction, RestrictionKind, Silo
from riskschema.units import Address
from tests.node.api.conftest import WETH, portfolio

ACCOUNT = Address("0x" + "a1" * 20)


def restricted(*restrictions: Restriction) -> tuple[Portfolio, Silo]:
    held = portfolio(ACCOUNT)
    silo = msgspec.structs.replace(held.silos[0], restrictions=restrictions)
    return msgspec.structs.replace(held, silos=(silo, *held.silos[1:])), silo


def test_every_kind_has_its_words() -> None:
    assert RESTRICTION_MEANINGS.keys() == set(get_args(RestrictionKind))


def test_a_pause_is_said_with_its_token_and_a_grace_period_with_its_end() -> None:
    _, silo = restricted(
        Restriction(kind="paused", asset=WETH.address),
        Restriction(kind="grace_period", asset=WETH.address, until=1_700_000_000),
        Restriction(kind="no_liquidation"),
        Restriction(kind="frozen", asset=WETH.address, until=2**53),
    )
    pause, grace, closed, endless = barriers(silo)
    assert pause == (
        "aave_v3:31337:main: WETH: can be neither repaid, added nor withdrawn until the pause ends (paused)"
    )
    assert grace.endswith("nobody can liquidate it yet (grace_period, until 2023-11-14 22:13 UTC)")
    assert closed == "aave_v3:31337:main: all of the silo: nobody can liquidate it now (no_liquidation)"
    assert endless.endswith("until 9999-12-31 00:00 UTC)")


def test_the_table_of_positions_names_it_below(capsys: pytest.CaptureFixture[str]) -> None:
    held, silo = restricted(Restriction(kind="supply_capped", asset=WETH.address))
    print_table(portfolio_table(held))
    said = " ".join(capsys.readouterr().out.split())
    assert f"! {next(barriers(silo))}" in said
