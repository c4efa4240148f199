"""Whole rounds of one operator on the real protocols: read, assess, certify, land."""

from __future__ import annotations

import random
from typing import Any

import msgspec
import pytest

import node.round.reporting
from adapters.chains import PinnedChain
from attest.agreement.machine import RoundMachine
from attest.agreement.outcome import AgreedValue, values_root
from attest.formats.certificate import decode_certificate, encode_certificate
from attest.formats.header import decode_header, report_hash
from attest.formats.leaf import NO_DEBT, AccountLeaf, decode_leaf
from attest.reports.leaves import positions_commitment
from contracts.calls import decode_revert, encode_call
from devnet.local_chain import Devnet
from devnet.prices import crash
from node.index.choosing import Chosen, choose
from node.local.network import VENUES
from node.loop.rounds import run_rounds
from node.loop.stopping import StopRequest
from node.round.node import Node
from node.round.result import RoundResult
from riskschema.assessment import Assessment
from riskschema.codec import decode_json
from riskschema.errors import TransientError
from riskschema.flags import Flag
from riskschema.instruments import protocol_of
from riskschema.market import AgreedMarket
from riskschema.portfolio import Portfolio
from riskschema.ports import PublishedTransaction
from riskschema.rounds import RoundReading, RoundStep, StoredAccount
from riskschema.units import WAD, Address, Usd
from tests.node.local_node import LocalNode, certified_rounds

pytestmark = pytest.mark.chain

EVERY_VENUE = (1 << len(VENUES)) - 1
DOLLAR = 10**6


async def one_round(local: LocalNode) -> tuple[RoundResult, dict[Address, StoredAccount]]:
    async with local.open() as node:
        (result,) = await certified_rounds(node, 1)
        leaves = await node.store.accounts(node.config_digest, result.round)
        return result, {leaf.subject: leaf for leaf in leaves}


def assessment_of(leaf: StoredAccount) -> Assessment:
    return decode_json(leaf.assessment, Assessment, what="assessment")


def words_of(leaf: StoredAccount) -> AccountLeaf:
    words = decode_leaf(leaf.leaf)
    assert isinstance(words, AccountLeaf)
    return words


async def test_a_round_is_certified_and_accepted_by_the_contract(local: LocalNode) -> None:
    result, leaves = await one_round(local)
    assert isinstance(result.landing, PublishedTransaction)
    assert local.accepted() == {result.round: result.certificate.report_hash}
    users = {Address(user.address): user.name for user in local.devnet.deployment.users}
    assert {users[missing] for missing in users.keys() - leaves.keys()} == {"holder"}
    assert result.accounts == len(leaves)
    assert result.certificate.header.coverage_ppm == 1_000_000


async def test_what_a_round_leaves_out_is_stored_with_it(local: LocalNode) -> None:
    async with local.open() as node:
        (result,) = await certified_rounds(node, 1)
        stored = await node.store.reading(node.config_digest, result.round)
    reading = decode_json(stored or b"", RoundReading, what="reading")
    assert (reading.small, reading.beyond_caps, reading.aside) == (0, 0, 0)
    kinds = {book.partition(":")[0] for unproved in reading.unproved for book in unproved.books}
    assert kinds == {"stable_debt", "collateral"}
    assert [each.witnesses for each in reading.chains] == [1]


async def test_what_was_read_and_agreed_is_stored_as_the_report_commits_to_it(local: LocalNode) -> None:
    async with local.open() as node:
        (result,) = await certified_rounds(node, 1)
        accounts = await node.store.accounts(node.config_digest, result.round)
        market = decode_json(
            await node.store.market(node.config_digest, result.round) or b"", AgreedMarket, what="market"
        )
    header = result.certificate.header
    values = [
        AgreedValue(
            factor=each.factor,
            value=each.price,
            confidence=each.confidence,
            voted_at=each.observed_at,
            stale=each.stale,
        )
        for each in market.prices
    ]
    assert values_root(values) == header.market_root
    assert market.as_of == header.observed_at
    assert all(each.sources for each in market.prices)
    for account in accounts:
        portfolio = decode_json(account.portfolio or b"", Portfolio, what="portfolio")
        words = words_of(account)
        committed = positions_commitment(header.config_digest, header.round, words.subject, portfolio)
        assert committed == words.positions_commitment


async def test_a_report_is_published_though_old_rounds_cannot_be_deleted(
    local: LocalNode, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def prune(*_: object, **__: object) -> int:
        raise TransientError("database: disk I/O error", code="store_failed")

    async with local.open() as node:
        monkeypatch.setattr(node.store, "prune", prune)
        (result,) = await certified_rounds(node, 1)
        assert [failure.component for failure in node.status.failures(node.clock.now())] == ["retention"]
    assert local.accepted() == {result.round: result.certificate.report_hash}


async def test_an_endpoint_that_answers_no_logs_gets_nothing_certified_and_a_good_one_everything_at_once(
    local: LocalNode, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def nothing(*_: object, **__: object) -> tuple[()]:
        return ()

    async with local.open() as node:
        with monkeypatch.context() as endpoint:
            endpoint.setattr(PinnedChain, "logs", nothing)
            with pytest.raises(TransientError, match="logs are missing") as refused:
                await run_rounds(node, StopRequest(), once=True)
        assert refused.value.code == "holders_incomplete"
        assert local.accepted() == {}
        (result,) = await certified_rounds(node, 1)
    everybody = local.devnet.deployment.users
    assert result.accounts >= len(everybody) - 1  # one has nothing but a wallet


async def test_every_step_is_announced_once_and_in_order(local: LocalNode) -> None:
    seen: list[tuple[RoundStep, int]] = []

    async def note(step: RoundStep, round_number: int) -> None:
        seen.append((step, round_number))

    results = await local.run(2, before_step=note)
    assert seen == [(step, result.round) for result in results for step in RoundStep]


async def test_each_report_builds_on_the_one_before(local: LocalNode) -> None:
    first, second = await local.run(2)
    (third,) = await local.run(1)
    assert second.certificate.header.parent == first.certificate.report_hash
    assert third.certificate.header.parent == second.certificate.report_hash
    assert third.round > second.round > first.round


async def test_the_same_block_and_market_give_the_same_bytes_in_whatever_order_accounts_come(
    local: LocalNode, monkeypatch: pytest.MonkeyPatch
) -> None:
    computed = await computed_reports(local, rounds=3, monkeypatch=monkeypatch)
    assert len(set(computed)) == 1


async def computed_reports(local: LocalNode, *, rounds: int, monkeypatch: pytest.MonkeyPatch) -> list[tuple[Any, ...]]:
    """Run the same round several times on the same chain, each with an empty database."""
    computed: list[Any] = []

    def shuffled(*arguments: Any, **options: Any) -> Chosen:
        found = choose(*arguments, **options)
        accounts = list(found.accounts)
        random.Random(len(computed)).shuffle(accounts)
        return msgspec.structs.replace(found, accounts=tuple(accounts))

    monkeypatch.setattr(node.round.reporting, "choose", shuffled)
    begin = local.clock.time
    for _ in range(rounds):
        snapshot = local.devnet.anvil.snapshot()
        local.clock.time = begin
        result, leaves = await one_round(local)
        async with local.open() as opened:
            report = await opened.store.report(opened.config_digest, result.round)
        assert report is not None
        computed.append((report.header, report.state, tuple(leaves[subject] for subject in sorted(leaves))))
        for file in local.directory.glob("plimsoll.sqlite*"):
            file.unlink()
        local.devnet.anvil.revert(snapshot)
    return computed


async def test_after_a_crash_exactly_the_accounts_that_the_protocols_liquidate_are_at_grade_d(
    local: LocalNode,
) -> None:
    crash(local.devnet, percent=30)
    result, leaves = await one_round(local)
    worst = {subject for subject, leaf in leaves.items() if assessment_of(leaf).grade == "D"}
    block = hex(result.pins[0][1])
    liquidatable = {subject for subject in leaves if is_liquidatable(local.devnet, subject, block)}
    assert worst == liquidatable
    assert len(worst) >= 5
    for subject, leaf in leaves.items():
        words = words_of(leaf)
        assert (words.score == 1000) == (subject in worst)
        assert (words.min_health < WAD) == (subject in worst)


def is_liquidatable(devnet: Devnet, account: Address, block: str) -> bool:
    """Ask the protocols themselves."""
    deployment = devnet.deployment
    health = devnet.call("Pool", deployment.aave.pool, "getUserAccountData", account, block=block)[5]
    return health < WAD or any(
        morpho_liquidates(devnet, account, market.market_id, block) for market in deployment.morpho.markets
    )


def morpho_liquidates(devnet: Devnet, account: Address, market_id: str, block: str) -> bool:
    singleton, identity = devnet.deployment.morpho.singleton, bytes.fromhex(market_id[2:])
    parameters = devnet.call("Morpho", singleton, "idToMarketParams", identity, block=block)
    borrowed = devnet.call("Morpho", singleton, "position", identity, account, block=block)[1]
    if not borrowed:
        return False
    data = devnet.artifacts["Morpho"].call_data("liquidate", parameters, account, 0, 1, b"")
    request = {"from": devnet.deployment.liquidator, "to": singleton, "data": data}
    (answer,) = devnet.anvil.rpc.answers([("eth_call", [request, block])])
    return "position is healthy" not in answer.get("error", {}).get("message", "")


async def test_a_reverting_protocol_lowers_the_coverage_and_never_reads_as_no_debt(local: LocalNode) -> None:
    before, healthy = await one_round(local)
    local.devnet.anvil.make_revert(local.devnet.deployment.aave.pool)
    after, leaves = await one_round(local)
    assert before.certificate.header.coverage_ppm == 1_000_000
    assert after.certificate.header.coverage_ppm == 750_000
    assert leaves.keys() == healthy.keys()

    aave = 1 << VENUES.index("aave_v3")
    debtors = [subject for subject, leaf in healthy.items() if "aave_v3" in owing_protocols(assessment_of(leaf))]
    assert len(debtors) >= 10
    for leaf in leaves.values():
        words, assessment = words_of(leaf), assessment_of(leaf)
        assert words.venue_coverage == EVERY_VENUE & ~aave
        assert words.min_health != NO_DEBT
        assert words.flags & 1 << Flag.VENUE_UNREAD.bit
        assert {protocol_of(item.venue) for item in assessment.unread} == {"aave_v3"}
        assert "aave_v3" not in {protocol_of(silo.venue) for silo in assessment.silos}


def owing_protocols(assessment: Assessment) -> set[str]:
    return {protocol_of(silo.venue) for silo in assessment.silos if silo.health is not None}


async def test_the_contract_verifies_every_leaf_with_its_stored_proof(local: LocalNode) -> None:
    result, leaves = await one_round(local)
    for leaf in leaves.values():
        local.call(
            "RiskOracle",
            local.network.oracle,
            "verifyAccount",
            result.round,
            words_of(leaf),
            proof(leaf),
            600,
            EVERY_VENUE,
        )


async def test_the_pool_lends_to_a_safe_account_and_refuses_one_above_the_score(local: LocalNode) -> None:
    result, leaves = await one_round(local)
    fund_pool(local)
    scores = {subject: words_of(leaf) for subject, leaf in leaves.items()}
    safe = max((each for each in scores if scores[each].score <= 500), key=lambda each: free_equity(scores[each]))
    risky = next(Address(user.address) for user in local.devnet.deployment.users if user.name == "blue-edge")
    assert scores[risky].score > 500

    refusal = borrow(local, risky, result.round, leaves[risky])
    assert refusal is not None
    assert refusal.startswith("ScoreTooHigh(")
    assert borrow(local, safe, result.round, leaves[safe]) is None
    assert local.call("ExamplePool", local.network.pool, "debts", safe) == (100 * DOLLAR,)
    stolen = borrow(local, safe, result.round, leaves[risky])
    assert stolen is not None
    assert stolen.startswith("NotYourAssessment(")


def free_equity(leaf: AccountLeaf) -> Usd:
    return Usd(leaf.equity - leaf.initial_margin)


def proof(leaf: StoredAccount) -> tuple[bytes, ...]:
    return tuple(node.to_bytes() for node in leaf.proof)


def fund_pool(local: LocalNode) -> None:
    lender, token = local.devnet.deployment.trader, local.devnet.deployment.asset("USDC").token
    local.devnet.send("MintableToken", token, "mint", lender, 1_000 * DOLLAR, sender=lender)
    local.devnet.send("MintableToken", token, "approve", local.network.pool, 1_000 * DOLLAR, sender=lender)
    deposit = encode_call("ExamplePool", "deposit", 1_000 * DOLLAR)
    local.devnet.transact({"from": lender, "to": local.network.pool, "data": "0x" + deposit.hex()})


def borrow(local: LocalNode, borrower: Address, round_number: int, leaf: StoredAccount) -> str | None:
    """Borrow 100 dollars; return the pool's refusal, if it refuses."""
    data = encode_call("ExamplePool", "borrow", 100 * DOLLAR, round_number, words_of(leaf), proof(leaf))
    request = {"from": borrower, "to": local.network.pool, "data": "0x" + data.hex()}
    (answer,) = local.devnet.anvil.rpc.answers([("eth_call", [request, "latest"])])
    if "error" in answer:
        return str(decode_revert(bytes.fromhex(answer["error"]["data"][2:])))
    local.devnet.anvil.impersonate(borrower)
    local.devnet.transact(request)
    return None


async def test_what_is_stored_is_what_the_contract_accepted(local: LocalNode) -> None:
    (result,) = await local.run(1)
    async with local.open() as opened:
        assert isinstance(opened, Node)
        assert isinstance(opened.machine, RoundMachine)
        kept = await opened.store.latest_certified(opened.config_digest)
    assert kept is not None
    assert kept.certificate == encode_certificate(result.certificate)
    assert decode_certificate(kept.certificate).header == decode_header(kept.header)
    assert local.accepted()[kept.round] == report_hash(decode_header(kept.header))
