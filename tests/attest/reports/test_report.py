"""The report: leaves that say what the assessments say, and one root whatever the order."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from attest.agreement.outcome import AgreedValue, Outcome
from attest.agreement.rules import AgreementRules
from attest.agreement.state import AgreedState, genesis_state, next_state
from attest.encoding.keccak import keccak256
from attest.encoding.merkle import EMPTY_ROOT, verify_proof
from attest.formats.commitment import CommittedPosition, commit_positions
from attest.formats.leaf import NO_DEBT, AccountLeaf, decode_leaf, leaf_hash, subject_of
from attest.reports.leaves import account_leaf
from attest.reports.report import Model, Report, build_report
from attest.wire.messages import GENESIS_REFERENCE
from riskschema.assessment import Assessment
from riskschema.codec import encode_json
from riskschema.flags import Flag
from riskschema.instruments import Token
from riskschema.portfolio import NoLiquidation, Portfolio, Position, Silo, Unread
from riskschema.units import Address, Amount, Hash32, Usd, Wad
from tests.attest.agreement.round_kit import block, genesis_history, rules
from tests.builders import reports

ROUND = 7
MODEL = Model(parameters_hash=Hash32("0x" + "77" * 32), version=3)
RULES: AgreementRules = rules(1)
DIGEST = RULES.config_digest


def account(number: int) -> Address:
    return Address(f"0x{number:040x}")


def portfolio(number: int, *, quantities: Sequence[int] = (5, -3)) -> Portfolio:
    positions = tuple(
        Position(
            instrument=Token(chain_id=1, address=account(900 + place), decimals=18, factor="ETH"),
            quantity=Amount(quantity),
        )
        for place, quantity in enumerate(quantities)
    )
    silo = Silo(
        id=f"wallet:1:{number}",
        venue="wallet:1:main",
        chain_id=1,
        market="",
        account=account(number),
        health=None,
        rule=NoLiquidation(),
        positions=positions,
    )
    return Portfolio(subject=account(number), silos=(silo,))


def assessment(number: int, **fields: object) -> Assessment:
    return reports.assessment(subject=account(number), **fields)


def outcome() -> Outcome:
    observed_at = RULES.slot_start(ROUND)
    return Outcome(
        round=ROUND,
        parent=GENESIS_REFERENCE,
        observed_at=observed_at,
        valid_until=observed_at + 60,
        pins=(block(10, timestamp=observed_at),),
        values=(
            AgreedValue(
                factor="ETH", value=Wad(3_000 * 10**18), confidence=Wad(10**18), voted_at=observed_at, stale=False
            ),
        ),
        on_demand=(),
    )


def state() -> AgreedState:
    return next_state(genesis_state(RULES, genesis_history()), outcome())


def report(numbers: Sequence[int], *, coverage: int = 0b11, rows: Sequence[bytes] = (b"one", b"two")) -> Report:
    return build_report(
        config_digest=DIGEST,
        outcome=outcome(),
        state=state(),
        portfolios=[portfolio(number) for number in numbers],
        coverage=(coverage,) * len(numbers),
        coverage_ppm=coverage.bit_count() * 500_000,
        assessments=[assessment(number) for number in numbers],
        array_rows=rows,
        model=MODEL,
    )


def words(leaf: bytes) -> AccountLeaf:
    decoded = decode_leaf(leaf)
    assert isinstance(decoded, AccountLeaf)
    return decoded


def test_the_header_says_what_was_agreed_and_counted() -> None:
    header = report([1, 2, 3]).header
    assert (header.config_digest, header.round, header.parent) == (DIGEST, ROUND, bytes(32))
    assert (header.observed_at, header.valid_until) == (outcome().observed_at, outcome().valid_until)
    assert (header.account_count, header.feed_count, header.coverage_ppm) == (3, 0, 1_000_000)
    assert (header.parameters_hash, header.model_version) == (MODEL.parameters_hash.to_bytes(), 3)
    assert header.feeds_root == EMPTY_ROOT


def test_a_leaf_says_what_the_assessment_says() -> None:
    leaf = account_leaf(DIGEST, ROUND, portfolio(1), assessment(1, flags=(Flag.UNPRICED,)), 0b10)
    assert msgspec.structs.replace(leaf, positions_commitment=bytes(32)) == AccountLeaf(
        subject=subject_of(account(1)),
        score=370,
        liquidation_probability_ppm=3_000,
        insolvency_probability_ppm=10,
        expected_loss=11,
        equity=-22,
        initial_margin=33,
        maintenance_margin=27,
        worst_grid_loss=29,
        min_health=15 * 10**17,
        venue_coverage=0b10,
        flags=0b100000,
        positions_commitment=bytes(32),
    )


@given(order=st.permutations(range(1, 9)))
@settings(max_examples=20)
def test_the_order_of_the_accounts_changes_nothing(order: list[int]) -> None:
    plain, shuffled = report(range(1, 9)), report(order)
    assert shuffled.hash == plain.hash
    by_subject = {leaf.subject: leaf for leaf in shuffled.accounts}
    assert [by_subject[leaf.subject] for leaf in plain.accounts] == list(plain.accounts)


@given(count=st.integers(0, 40))
@settings(max_examples=15)
def test_every_leaf_is_proved_under_the_root(count: int) -> None:
    made = report(range(1, count + 1))
    assert len(made.accounts) == count
    for leaf in made.accounts:
        path = [node.to_bytes() for node in leaf.proof]
        assert verify_proof(leaf_hash(words(leaf.leaf)), path, made.header.accounts_root)


@pytest.mark.parametrize(
    "changed",
    [
        lambda: report([1, 2], rows=(b"one", b"three")),
        lambda: report([1, 2], coverage=0b01),
        lambda: report([1, 3]),
    ],
    ids=["arrays", "coverage", "accounts"],
)
def test_another_input_is_another_report(changed: object) -> None:
    assert callable(changed)
    assert changed().hash != report([1, 2]).hash


def test_amounts_beyond_their_word_are_capped_and_never_wrapped() -> None:
    huge = Usd(2**200)
    leaf = account_leaf(
        DIGEST,
        ROUND,
        portfolio(1),
        assessment(
            1,
            equity=Usd(-(2**200)),
            initial_margin=huge,
            maintenance_margin=huge,
            expected_loss=huge,
            worst_grid_loss=Usd(-5),
            min_health=Wad(2**200),
        ),
        0,
    )
    assert leaf.equity == -(2**127 - 1)
    assert leaf.initial_margin == leaf.maintenance_margin == leaf.expected_loss == 2**128 - 1
    assert leaf.worst_grid_loss == 0
    assert leaf.min_health == NO_DEBT - 1


def test_no_known_health_is_no_debt_only_where_everything_was_read() -> None:
    unread = Unread(
        chain_id=1, venue="aave_v3:1:main", market="", account=account(1), code="call_reverted", detail="paused"
    )
    assert health_of(assessment(1, min_health=None)) == NO_DEBT
    assert health_of(assessment(1, min_health=None, unread=(unread,))) == 0
    assert health_of(assessment(1, min_health=Wad(5), unread=(unread,))) == 5


def health_of(made: Assessment) -> int:
    return account_leaf(DIGEST, ROUND, portfolio(1), made, 0).min_health


def test_the_commitment_binds_every_position_of_every_silo() -> None:
    plain = account_leaf(DIGEST, ROUND, portfolio(1), assessment(1), 0)
    other = account_leaf(DIGEST, ROUND, portfolio(1, quantities=(5, -4)), assessment(1), 0)
    assert plain.positions_commitment != other.positions_commitment

    (silo,) = portfolio(1).silos
    committed = [
        CommittedPosition(
            position=keccak256(silo.id.encode() + b"\0" + encode_json(position.instrument)),
            quantity=int(position.quantity),
        )
        for position in silo.positions
    ]
    tree = commit_positions(
        config_digest=DIGEST, round_number=ROUND, subject=subject_of(account(1)), positions=committed
    )
    assert plain.positions_commitment == tree.root
