"""A committee in memory: keys, a genesis history, and operators that run rounds against each other without any I/O."""

from __future__ import annotations

from typing import Any

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from attest.agreement.effects import (
    Abstain,
    CertificateReady,
    Effects,
    Equivocation,
    Observe,
    OutcomeReady,
    Send,
    SignShare,
    StateNeeded,
)
from attest.agreement.machine import RoundMachine
from attest.agreement.outcome import Outcome, pins_root, values_root
from attest.agreement.rules import AgreementRules
from attest.agreement.state import AgreedState, genesis_state, next_state, with_sections
from attest.agreement.state_format import state_root
from attest.encoding.keccak import keccak256
from attest.formats.certificate import Certificate
from attest.formats.committee import Committee, ObservedChain, Operator
from attest.formats.eip712 import Destination, sign_digest
from attest.formats.header import ReportHeader
from attest.formats.parameters import AgreementParameters
from attest.hours.table import history_hash
from attest.keys.identity import IdentityKey
from attest.wire.messages import GENESIS_REFERENCE, FactorVote, Observation, ReportReference
from riskschema.buffers import Column
from riskschema.market import HourlyHistory
from riskschema.portfolio import BlockReference
from riskschema.units import Address, Hash32, Wad
from tests.builders import reports
from tests.builders.reports import signer_of

GENESIS = 1_800_000_000
INTERVAL = 10
CHAIN = 31_337


def private_key(index: int) -> bytes:
    return (1_000 + index).to_bytes(32, "big")


def identity(index: int) -> IdentityKey:
    return IdentityKey(Ed25519PrivateKey.from_private_bytes((2_000 + index).to_bytes(32, "big")))


def signer_address(index: int) -> Address:
    return signer_of(private_key(index))


def genesis_history() -> HourlyHistory:
    """Two factors, three hours, ending where the genesis hour begins."""
    closes = [10**12 * price for price in (50_000, 50_100, 50_200, 3_000, 3_010, 3_020)]
    column = Column(dtype="int64", shape=(2, 3), data=b"".join(price.to_bytes(8, "little") for price in closes))
    return HourlyHistory(
        first_hour=GENESIS - 3 * 3_600,
        factors=("BTC", "ETH"),
        close=column,
        high=column,
        low=column,
        simulated=True,
    )


def operators(n: int) -> tuple[Operator, ...]:
    return tuple(Operator(signer=signer_address(index), identity=identity(index).public_key) for index in range(n))


def committee(n: int, **changes: Any) -> Committee:
    fields = {
        "genesis_time": GENESIS,
        "round_interval_seconds": INTERVAL,
        "report_life_seconds": 120,
        "account_cap": 1_000,
        "requests_per_operator": 3,
        **changes,
    }
    fields.setdefault("operators", operators(n))
    return reports.committee(
        destinations=(Destination(chain_id=CHAIN, oracle=reports.ORACLE),),
        chains=(ObservedChain(chain_id=CHAIN, genesis_hash=keccak256(b"genesis")),),
        history_hash=history_hash(genesis_history()),
        **fields,
    )


def rules(n: int, parameters: AgreementParameters | None = None) -> AgreementRules:
    return AgreementRules.of(committee(n, parameters=parameters or AgreementParameters()))


def block(number: int, *, timestamp: int, fork: bytes = b"") -> BlockReference:
    return BlockReference(
        chain_id=CHAIN,
        number=number,
        hash=Hash32(keccak256(fork + number.to_bytes(8, "big"))),
        timestamp=timestamp,
    )


def observation(
    now: int,
    *,
    head: int = 100,
    prices: dict[str, int] | None = None,
    highest: ReportReference = GENESIS_REFERENCE,
    requests: tuple[Address, ...] = (),
) -> Observation:
    prices = prices if prices is not None else {"BTC": 50_000, "ETH": 3_000}
    return Observation(
        clock_ms=1_000 * now,
        heads=tuple(block(number, timestamp=now - (head - number)) for number in range(head - 7, head + 1)),
        votes=tuple(
            FactorVote(factor=factor, value=Wad(price * 10**18), confidence=Wad(price * 10**15))
            for factor, price in sorted(prices.items())
        ),
        highest_certified=highest,
        requests=requests,
    )


def report(
    machine_rules: AgreementRules,
    outcome: Outcome,
    parent_state: AgreedState,
    sections: dict[str, bytes] | None = None,
) -> tuple[ReportHeader, AgreedState]:
    """The report of an assessment without accounts."""
    memory = {"aggregator/variances": outcome.round.to_bytes(8, "big"), **(sections or {})}
    state = with_sections(next_state(parent_state, outcome), memory)
    header = reports.header(
        config_digest=machine_rules.config_digest,
        round=outcome.round,
        parent=outcome.parent.report_hash,
        state_root=state_root(state),
        observed_at=outcome.observed_at,
        valid_until=outcome.valid_until,
        pins_root=pins_root(outcome.pins),
        market_root=values_root(outcome.values),
    )
    return header, state


class Operators:
    """n machines on a wire that delivers everything at once, except what a test takes away."""

    def __init__(self, n: int, parameters: AgreementParameters | None = None) -> None:
        self.rules = rules(n, parameters)
        self.machines = {index: self.machine(index) for index in range(n)}
        self.silent: set[int] = set()
        """Operators whose messages reach nobody, not even themselves."""
        self.prices: dict[int, dict[str, int]] = {}
        self.certificates: dict[int, dict[int, Certificate]] = {index: {} for index in range(n)}
        """Per operator and round."""
        self.abstained: list[tuple[int, int, str]] = []
        self.evidence: list[Equivocation] = []
        self.outcomes: dict[int, dict[int, Outcome]] = {index: {} for index in range(n)}
        self.sent: list[bytes] = []
        self.head = 100
        self.sections: dict[str, bytes] = {}

    def machine(self, index: int) -> RoundMachine:
        state = genesis_state(self.rules, genesis_history())
        return RoundMachine(self.rules, me=index, sign=identity(index).sign, state=state)

    def slot(self, round_number: int, *, offset: int = 0) -> None:
        """Tick all operators at the slot of a round."""
        now = self.rules.slot_start(round_number) + offset
        ticked = {index: machine.on_tick(1_000 * now) for index, machine in self.machines.items()}
        for index, effects in ticked.items():
            self.run(index, effects, now)

    def run(self, index: int, effects: Effects, now: int) -> None:
        """Do what an operator's machine asks, until nothing is left."""
        machine = self.machines[index]
        pending = list(effects)
        while pending:
            effect = pending.pop(0)
            if isinstance(effect, Observe):
                seen = observation(now, head=self.head, prices=self.prices.get(index), highest=effect.highest_certified)
                pending.extend(machine.on_observation(effect.round, seen))
            elif isinstance(effect, Send) and index not in self.silent:
                self.broadcast(effect.payload, now)
            elif isinstance(effect, OutcomeReady):
                self.outcomes[index][effect.outcome.round] = effect.outcome
                computed = report(self.rules, effect.outcome, effect.parent_state, self.sections)
                pending.extend(machine.on_report_ready(*computed))
            elif isinstance(effect, SignShare):
                signature = sign_digest(effect.digest, private_key(index))
                pending.extend(machine.on_signature(effect.header.round, signature))
            elif isinstance(effect, CertificateReady):
                self.certificates[index][effect.certificate.header.round] = effect.certificate
            elif isinstance(effect, Abstain):
                self.abstained.append((index, effect.round, effect.code))
            elif isinstance(effect, Equivocation):
                self.evidence.append(effect)
            elif isinstance(effect, StateNeeded):
                self.abstained.append((index, effect.reference.round, "state"))

    def broadcast(self, payload: bytes, now: int) -> None:
        self.sent.append(payload)
        for index, machine in self.machines.items():
            self.run(index, machine.on_message(payload), now)
