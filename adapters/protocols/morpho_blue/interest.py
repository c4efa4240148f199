"""Interest and shares as the singleton computes them."""

from __future__ import annotations

import msgspec

from adapters.abi import ContractRefusal
from riskschema.units import WAD

VIRTUAL_ASSETS, VIRTUAL_SHARES = 1, 10**6


class Totals(msgspec.Struct, frozen=True, kw_only=True):
    """A market's ``Market`` struct, and what accrual added for the fee recipient."""

    supply_assets: int
    supply_shares: int
    borrow_assets: int
    borrow_shares: int
    fee: int
    pending_fee_shares: int = 0


def accrue(totals: Totals, *, rate_per_second: int, elapsed: int) -> Totals:
    """Return a market's totals after `elapsed` seconds, as ``Morpho._accrueInterest`` leaves them.

    Args:
        totals: As stored at the last update.
        rate_per_second: The rate model's answer, 10^-18.
        elapsed: Seconds since the last update.

    Raises:
        ContractRefusal: the contract's arithmetic would overflow (or its clock runs backwards), so it reverts.
    """
    if elapsed < 0:
        raise ContractRefusal("the market was updated after the pinned block", code="answer_malformed")
    interest = word(totals.borrow_assets * taylor_compounded(rate_per_second, elapsed)) // WAD
    supply_assets, borrow_assets = totals.supply_assets + interest, totals.borrow_assets + interest
    fee_amount = interest * totals.fee // WAD
    fee_shares = to_shares_down(fee_amount, supply_assets - fee_amount, totals.supply_shares)
    if max(supply_assets, borrow_assets, totals.supply_shares + fee_shares) >= 2**128:
        raise ContractRefusal("accrued interest exceeds 128 bits", code="call_reverted")
    return Totals(
        supply_assets=supply_assets,
        supply_shares=totals.supply_shares + fee_shares,
        borrow_assets=borrow_assets,
        borrow_shares=totals.borrow_shares,
        fee=totals.fee,
        pending_fee_shares=fee_shares,
    )


def taylor_compounded(rate: int, seconds: int) -> int:
    """Return e^(rate·seconds) - 1 by the first three Taylor terms, 10^-18 (``MathLib.wTaylorCompounded``)."""
    first = word(rate * seconds)
    second = word(first * first) // (2 * WAD)
    third = word(second * first) // (3 * WAD)
    return first + second + third


def to_assets_up(shares: int, total_assets: int, total_shares: int) -> int:
    """Return what `shares` are worth, rounded up (``SharesMathLib.toAssetsUp``)."""
    return -(-shares * (total_assets + VIRTUAL_ASSETS) // (total_shares + VIRTUAL_SHARES))


def to_assets_down(shares: int, total_assets: int, total_shares: int) -> int:
    """Return what `shares` are worth, rounded down (``SharesMathLib.toAssetsDown``)."""
    return shares * (total_assets + VIRTUAL_ASSETS) // (total_shares + VIRTUAL_SHARES)


def to_shares_down(assets: int, total_assets: int, total_shares: int) -> int:
    """Return how many shares `assets` buy, rounded down (``SharesMathLib.toSharesDown``)."""
    return assets * (total_shares + VIRTUAL_SHARES) // (total_assets + VIRTUAL_ASSETS)


def word(product: int) -> int:
    """Return a product that Solidity keeps in 256 bits.

    Raises:
        ContractRefusal: it does not fit, so the contract reverts.
    """
    if product >= 2**256:
        raise ContractRefusal("the contract's arithmetic overflows", code="call_reverted")
    return product
