"""A committee that really signs, a store with its rounds, and the API served on loopback."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import aiohttp
import msgspec
import pytest

from attest.encoding.merkle import build_tree, prove
from attest.formats.certificate import Certificate, encode_certificate
from attest.formats.committee import Committee, DiscoveryRule, ObservedChain, config_digest
from attest.formats.eip712 import Destination
from attest.formats.header import ReportHeader, encode_header, report_hash
from attest.formats.leaf import NO_DEBT, AccountLeaf, encode_leaf, leaf_hash, subject_of
from node.api.application import create_app, serve
from node.status import NodeStatus
from node.telemetry import HttpMetrics
from riskschema.assessment import Assessment, Contribution, SiloAssessment
from riskschema.codec import encode_json
from riskschema.instruments import Claim, Debt, Token, UniswapV3Liquidity
from riskschema.market import AgreedMarket, AgreedPrice
from riskschema.portfolio import CollateralTerm, NoLiquidation, Portfolio, Position, Silo, WeightedCollateral
from riskschema.ports import Store
from riskschema.rounds import RoundReading, StoredAccount, StoredReport, StoredTransaction
from riskschema.units import Address, Amount, Hash32, Probability, Usd, Wad
from storage.memory import MemoryStore
from tests.builders import reports

OPERATORS = 4
KEYS = [bytes(31) + bytes([number + 1]) for number in range(OPERATORS)]
ORACLE = Address("0x" + "0f" * 20)
CHAIN = 31337


class FakeClock:
    """Time that moves when told to."""

    def __init__(self) -> None:
        self.time = 1_700_000_000.0

    def now(self) -> float:
        return self.time

    async def sleep_until(self, timestamp: float) -> None:
        self.time = max(self.time, timestamp)


class World:
    """A network of four operators as one node sees it."""

    def __init__(self, store: Store) -> None:
        self.store = store
        self.clock = FakeClock()
        self.status = NodeStatus(round_interval=12)
        self.metrics = HttpMetrics()
        self.committee = committee()
        self.digest = config_digest(self.committee)
        self.config_digest = Hash32(self.digest)
        self.market: AgreedMarket | None = None
        self.reading: RoundReading | None = None

    @asynccontextmanager
    async def client(self) -> AsyncIterator[aiohttp.ClientSession]:
        """Serve the API and open a client to it."""
        async with serve(self.app()) as listening, aiohttp.ClientSession(str(listening)) as session:
            yield session

    def app(self) -> aiohttp.web.Application:
        return create_app(
            store=self.store,
            committee=self.committee,
            status=self.status,
            metrics=self.metrics,
            clock=self.clock,
        )

    async def certify(self, round_number: int, *subjects: Address, score: int = 250) -> Certificate:
        """Keep a certified report about `subjects`, as the round loop does."""
        header = await self.report(round_number, *subjects, score=score)
        certificate = reports.certificate(header, KEYS, self.committee.destinations, range(3))
        kept = await self.store.report(self.config_digest, round_number)
        assert kept is not None
        await self.store.certify(msgspec.structs.replace(kept, certificate=encode_certificate(certificate)))
        self.status.certify(round_number, at=self.clock.now())
        return certificate

    async def report(self, round_number: int, *subjects: Address, score: int = 250) -> ReportHeader:
        """Keep a report that nobody signed yet, with positions where there is a market."""
        leaves = [account_leaf(subject, score) for subject in subjects]
        tree = build_tree([leaf_hash(leaf) for leaf in leaves])
        header = report_header(self.digest, round_number, tree.root, len(leaves), int(self.clock.now()))
        stored = [
            StoredAccount(
                subject=subject,
                leaf=encode_leaf(leaf),
                proof=tuple(Hash32(node) for node in prove(tree, leaf_hash(leaf))),
                assessment=encode_json(assessment(subject, score)),
                portfolio=None if self.market is None else encode_json(portfolio(subject)),
            )
            for subject, leaf in zip(subjects, leaves, strict=True)
        ]
        kept = StoredReport(
            config_digest=self.config_digest,
            round=round_number,
            report_hash=Hash32(report_hash(header)),
            header=encode_header(header),
            state=b"state",
            certificate=None,
        )
        market = None if self.market is None else encode_json(self.market)
        await self.store.put_report(kept, stored, market, None if self.reading is None else encode_json(self.reading))
        return header

    async def transact(self, round_number: int, status: str) -> None:
        """Keep the transaction that publishes a round."""
        landed = status in ("landed", "final")
        await self.store.put_transaction(
            StoredTransaction(
                config_digest=self.config_digest,
                chain_id=CHAIN,
                sender=ORACLE,
                nonce=round_number,
                round=round_number,
                raw=b"raw",
                hash=Hash32(bytes([round_number]) * 32),
                max_fee_per_gas=2,
                max_priority_fee_per_gas=1,
                status=status,
                block_number=100 if landed else None,
                gas_used=88_000 if landed else None,
            )
        )


@pytest.fixture
def world() -> World:
    return World(MemoryStore())


@pytest.fixture(scope="session")
def worlds() -> type[World]:
    """For tests that bring their own store."""
    return World


@pytest.fixture(scope="session")
def alice() -> Address:
    return Address("0x" + "a1" * 20)


@pytest.fixture(scope="session")
def bob() -> Address:
    return Address("0x" + "b0" * 20)


@pytest.fixture(scope="session")
def carol() -> Address:
    return Address("0x" + "ca" * 20)


def committee() -> Committee:
    return reports.committee(
        operators=reports.operators(KEYS),
        destinations=(Destination(chain_id=CHAIN, oracle=ORACLE),),
        chains=(ObservedChain(chain_id=CHAIN, genesis_hash=bytes(32)),),
        venues=(DiscoveryRule(venue="aave_v3:31337:main", chain_id=CHAIN, start_block=0, account_cap=100),),
        genesis_time=1_600_000_000,
        report_life_seconds=3600,
    )


def report_header(digest: bytes, round_number: int, root: bytes, count: int, now: int) -> ReportHeader:
    return reports.header(
        config_digest=digest,
        round=round_number,
        observed_at=now,
        valid_until=now + 3600,
        accounts_root=root,
        account_count=count,
        coverage_ppm=975_000,
    )


def account_leaf(subject: Address, score: int) -> AccountLeaf:
    return reports.leaf(
        subject=subject_of(subject),
        score=score,
        liquidation_probability_ppm=10_000,
        insolvency_probability_ppm=100,
        expected_loss=5,
        equity=-7,
        initial_margin=11,
        maintenance_margin=9,
        worst_grid_loss=13,
        min_health=NO_DEBT,
        venue_coverage=2**63 + 1,
        flags=1,
    )


WETH = Token(chain_id=CHAIN, address=Address("0x" + "e0" * 20), symbol="WETH", decimals=18, factor="ETH")
USDC = Token(chain_id=CHAIN, address=Address("0x" + "dc" * 20), symbol="USDC", decimals=6, factor="USDC")


def portfolio(subject: Address) -> Portfolio:
    """1.5 WETH lent and 2,000.5 USDC owed on Aave; half a WETH and a range of liquidity with nothing owed."""
    term = CollateralTerm(weight=Wad.one(), price=Wad.one())
    pool = UniswapV3Liquidity(chain_id=CHAIN, pool=ORACLE, token0=WETH, token1=USDC, tick_lower=-60, tick_upper=60)
    lent = Claim(token=WETH, venue="aave_v3:31337:main")
    return Portfolio(
        subject=subject,
        silos=(
            Silo(
                id="loan",
                venue="aave_v3:31337:main",
                chain_id=CHAIN,
                account=subject,
                health=Wad(2 * 10**18),
                rule=WeightedCollateral(numeraire="USD", terms=(term, term)),
                positions=(
                    Position(instrument=lent, quantity=Amount(15 * 10**17)),
                    Position(instrument=Debt(token=USDC, venue="aave_v3:31337:main"), quantity=Amount(-2_000_500_000)),
                ),
            ),
            Silo(
                id="range",
                venue="uniswap_v3:31337:main",
                chain_id=CHAIN,
                account=subject,
                health=None,
                rule=NoLiquidation(),
                positions=(
                    Position(instrument=WETH, quantity=Amount(5 * 10**17)),
                    Position(instrument=pool, quantity=Amount(123_456)),
                ),
            ),
        ),
    )


def agreed_market(now: int, *, factors: tuple[str, ...] = ("BTC", "ETH", "USDC")) -> AgreedMarket:
    """BTC at 60,000, ETH at 3,000.25 and, a quarter of an hour old, USDC at 0.999."""
    prices = {"BTC": 60_000 * 10**18, "ETH": 3_000_250 * 10**15, "USDC": 999 * 10**15}
    return AgreedMarket(
        as_of=now,
        prices=tuple(
            AgreedPrice(
                factor=factor,
                price=Wad(prices[factor]),
                confidence=Wad(prices[factor] // 1000),
                group="other",
                observed_at=now - 900 * (factor == "USDC"),
                stale=factor == "USDC",
                sources=("chainlink",),
            )
            for factor in factors
        ),
    )


def silo_assessment(silo: str, equity: int) -> SiloAssessment:
    return SiloAssessment(
        id=silo,
        venue="aave_v3:31337:main",
        chain_id=CHAIN,
        market="",
        health=None,
        equity=Usd(equity),
        distance=None,
        initial_margin=Usd(0),
        liquidation_probability=Probability(0),
        liquidation_prices=(),
    )


def assessment(subject: Address, score: int) -> Assessment:
    return reports.assessment(
        subject=subject,
        score=score,
        grade="BBB",
        liquidation_probability=Probability(10_000),
        insolvency_probability=Probability(100),
        expected_loss=Usd(5),
        equity=Usd(-7),
        initial_margin=Usd(11),
        maintenance_margin=Usd(9),
        siloed_margin=Usd(11),
        net_margin=Usd(11),
        static_margin=Usd(11),
        worst_grid_loss=Usd(13),
        worst_scenario="all -1/3",
        min_health=None,
        silos=(silo_assessment("loan", 1), silo_assessment("range", 500_000 * 10**8)),
        explanation=(Contribution(kind="grid", silo=None, factor=None, amount=Usd(11)),),
        flags=("history_simulated",),
    )
