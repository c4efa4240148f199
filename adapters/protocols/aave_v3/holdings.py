"""What accounts hold and owe, and the pool's own figures of them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import msgspec

from adapters.abi import Answer, ContractRefusal, Function, Question, ask, known
from adapters.crosschecks import AccountTotals
from adapters.protocols.aave_v3.books import INCOME, OWED, SUPPLY, USER_CONFIGURATION, USER_EMODE, VARIABLE
from adapters.protocols.aave_v3.market import Market, Reserve
from adapters.scaled_balances import Scaled, read_balances, sampled
from riskschema.holders import Units
from riskschema.ports import PinnedReader
from riskschema.units import ZERO_ADDRESS, Address, Wad

NO_DEBT = 2**256 - 1
_USER_DATA = Function("getUserAccountData(address)", "(uint256,uint256,uint256,uint256,uint256,uint256)")
_STABLE_BALANCE = Function("balanceOf(address)", "(uint256)")


class Use(msgspec.Struct, frozen=True, gc=False):
    """Which reserves an account uses and how: with prices, all that decides how it is counted but for the amounts."""

    configuration: int
    emode: int
    supplied: tuple[int, ...]
    """Indexes of the reserves in which it has something, as the next two."""
    variable: tuple[int, ...]
    stable: tuple[int, ...]

    def pledges(self, reserve: Reserve) -> bool:
        """Tell whether `reserve` is used as collateral (``UserConfiguration.isUsingAsCollateral``)."""
        return bool(self.configuration >> (2 * reserve.index + 1) & 1)

    def borrows(self, reserve: Reserve) -> bool:
        """Tell whether `reserve` is borrowed (``UserConfiguration.isBorrowing``)."""
        return bool(self.configuration >> (2 * reserve.index) & 1)

    def supplies(self, reserve: Reserve) -> bool:
        """Tell whether anything of `reserve` is held."""
        return reserve.index in self.supplied

    def backs_with(self, reserve: Reserve) -> bool:
        """Tell whether anything of `reserve` backs a debt."""
        return self.supplies(reserve) and self.pledges(reserve)

    def owes(self, reserve: Reserve) -> bool:
        """Tell whether anything of `reserve` is owed."""
        return reserve.index in self.variable or reserve.index in self.stable


class Holdings(msgspec.Struct, kw_only=True, gc=False):
    """What was read of one account."""

    configuration: int
    supplied: dict[int, int]
    """Base units by reserve index."""
    totals: AccountTotals
    """As the pool reports them."""
    refused: dict[int, ContractRefusal] = {}
    """Tokens that do not tell a balance which backs nothing, by reserve index."""
    debts: dict[int, tuple[int, int]] = {}
    """Variable and stable base units by reserve index."""
    emode: int = 0

    @property
    def health(self) -> Wad | None:
        """The pool's own word; None where nothing is owed."""
        return None if self.totals.health == NO_DEBT else Wad(self.totals.health)

    @property
    def use(self) -> Use:
        """Which reserves it uses, and how."""
        debts = self.debts.items()
        return Use(
            self.configuration,
            self.emode,
            tuple([index for index, units in self.supplied.items() if units]),
            tuple([index for index, (variable, _) in debts if variable]),
            tuple([index for index, (_, stable) in debts if stable]),
        )

    def owed(self, reserve: Reserve) -> int:
        """Return base units owed of a reserve, at both rates."""
        return sum(self.debts.get(reserve.index, (0, 0)))

    def amount(self, index: int, which: int) -> int:
        """Return base units in a reserve: supplied (0), or minus those owed at a variable (1) or a stable rate (2)."""
        return -self.debts[index][which - 1] if which else self.supplied[index]

    def pledges(self, reserve: Reserve) -> bool:
        """Tell whether the account uses `reserve` as collateral (``UserConfiguration.isUsingAsCollateral``)."""
        return bool(self.configuration >> (2 * reserve.index + 1) & 1)

    def borrows(self, reserve: Reserve) -> bool:
        """Tell whether the account borrows `reserve` (``UserConfiguration.isBorrowing``)."""
        return bool(self.configuration >> (2 * reserve.index) & 1)


async def read_holdings(
    reader: PinnedReader, market: Market, accounts: Sequence[Address], scaled: Mapping[Address, Scaled]
) -> dict[Address, Holdings | ContractRefusal]:
    """Read balances and the pool's own totals, and for accounts that pledged or borrowed also debts and e-mode.

    Raises:
        TransientError: the endpoint failed.
    """
    unique = list(dict.fromkeys(accounts))
    functions = (USER_CONFIGURATION, _USER_DATA)
    answers = await ask(reader, [(function, market.pool, (account,)) for account in unique for function in functions])
    tokens = [reserve.a_token for reserve in market.reserves]
    balances = await read_balances(reader, [(token, account) for account in unique for token in tokens], scaled)
    found = {
        account: _supplied(market, answers[2 * at : 2 * at + 2], [balances[token, account] for token in tokens])
        for at, account in enumerate(unique)
    }
    await _complete(reader, market, found, scaled)
    return found


async def known_balances(reader: PinnedReader, market: Market, held: Units) -> dict[Address, Scaled]:
    """Return what is known of each token's holders, with its index at the pinned block, and a sample of them."""
    kept = [
        (token, held[f"{kind}:{token}"], function, reserve.asset)
        for reserve in market.reserves
        for kind, token, function in (
            (SUPPLY, reserve.a_token, INCOME),
            (VARIABLE, reserve.variable_debt, OWED),
        )
        if f"{kind}:{token}" in held
    ]
    indexes = await ask(reader, [(function, market.pool, (asset,)) for _, _, function, asset in kept])
    scaled = {
        token: Scaled(units, index[0])
        for (token, units, _, _), index in zip(kept, indexes, strict=True)
        if not isinstance(index, ContractRefusal)
    }
    return await sampled(reader, scaled)


def _supplied(
    market: Market, answers: Sequence[Answer], balances: Sequence[int | ContractRefusal]
) -> Holdings | ContractRefusal:
    try:
        (configuration,), (collateral, debt, _, threshold, _, health) = (known(answer) for answer in answers)
        held = Holdings(
            configuration=configuration, supplied={}, totals=AccountTotals(collateral, debt, threshold, health)
        )
        for reserve, balance in zip(market.reserves, balances, strict=True):
            if isinstance(balance, ContractRefusal) and not held.pledges(reserve) and not held.borrows(reserve):
                held.refused[reserve.index] = balance
            else:
                held.supplied[reserve.index] = known(balance)
    except ContractRefusal as refusal:
        return refusal
    return held


async def _complete(
    reader: PinnedReader,
    market: Market,
    found: dict[Address, Holdings | ContractRefusal],
    scaled: Mapping[Address, Scaled],
) -> None:
    """Fill in debts and e-mode of the accounts that have any."""
    owed = await _variable_debts(reader, market, found, scaled)
    questions: list[Question] = []
    spans: dict[Address, slice] = {}
    for account, held in found.items():
        if account in owed and isinstance(held, Holdings):
            asked = list(_questions(market, account, held))
            spans[account] = slice(len(questions), len(questions) + len(asked))
            questions += asked
    answers = await ask(reader, questions)
    for account, span in spans.items():
        held = found[account]
        assert isinstance(held, Holdings)  # noqa: S101 - only those were asked about
        try:
            _fill(market, held, [known(answer) for answer in answers[span]], owed[account])
        except ContractRefusal as refusal:
            found[account] = refusal


def _questions(market: Market, account: Address, held: Holdings) -> Iterable[Question]:
    """Yield what to ask about one account, in the order that `_fill` reads."""
    yield USER_EMODE, market.pool, (account,)
    for reserve in filter(held.borrows, market.reserves):
        if reserve.stable_debt != ZERO_ADDRESS:  # gone since v3.2
            yield _STABLE_BALANCE, reserve.stable_debt, (account,)


async def _variable_debts(
    reader: PinnedReader,
    market: Market,
    found: Mapping[Address, Holdings | ContractRefusal],
    scaled: Mapping[Address, Scaled],
) -> dict[Address, dict[int, int | ContractRefusal]]:
    """Return the variable debt by reserve of every account that pledged or borrowed."""
    owing = {
        account: list(filter(held.borrows, market.reserves))
        for account, held in found.items()
        if isinstance(held, Holdings) and held.configuration
    }
    pairs = [(reserve.variable_debt, account) for account, reserves in owing.items() for reserve in reserves]
    balances = await read_balances(reader, pairs, scaled)
    return {
        account: {reserve.index: balances[reserve.variable_debt, account] for reserve in reserves}
        for account, reserves in owing.items()
    }


def _fill(
    market: Market,
    held: Holdings,
    answers: Sequence[tuple[Any, ...]],
    owed: Mapping[int, int | ContractRefusal],
) -> None:
    remaining = iter(answers)
    held.emode = next(remaining)[0] & 0xFF
    held.debts = {}
    for reserve in filter(held.borrows, market.reserves):
        variable = known(owed[reserve.index])
        held.debts[reserve.index] = (variable, next(remaining)[0] if reserve.stable_debt != ZERO_ADDRESS else 0)
