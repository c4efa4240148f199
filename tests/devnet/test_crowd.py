"""The crowd for measurements: real Aave debts, the same addresses every time."""

import pytest

from devnet.crowd import seed_crowd
from devnet.local_chain import Devnet

pytestmark = pytest.mark.chain


def test_every_account_of_a_crowd_has_a_healthy_debt_on_aave(chain: Devnet) -> None:
    accounts = seed_crowd(chain, 120)

    pool = chain.deployment.aave.pool
    figures = [chain.call("Pool", pool, "getUserAccountData", account) for account in accounts]
    assert len(set(accounts)) == 120
    assert all(debt > 0 and health > 10**18 for _, debt, _, _, _, health in figures)


def test_the_chain_mines_by_itself_again_after_a_crowd_came(chain: Devnet) -> None:
    seed_crowd(chain, 1)
    height = chain.anvil.block_number()

    chain.transact({"from": chain.deployment.operator, "to": chain.deployment.trader, "value": "0x1"})

    assert chain.anvil.block_number() == height + 1
