"""Who may set up and pause a RiskOracle, and within which bounds."""

from collections.abc import Callable
from typing import Any

import pytest

from attest.formats.committee import config_digest
from attest.formats.eip712 import Destination, domain_separator
from attest.formats.leaf import AccountLeaf
from contracts.calls import encode_call, encode_deployment, publish_call
from contracts.deployment import deploy, deploy_oracle
from riskschema.units import Address

pytestmark = pytest.mark.chain

Refuses = Callable[..., Any]
START = 1_800_000_000
DAY = 86_400
GUARDIAN = 9
NOBODY = Address("0x" + "00" * 20)
SOMEBODY = Address("0x" + "11" * 20)
KEYS = b"".join(bytes([index]) * 20 for index in range(1, 5))


@pytest.fixture
def uninitialized(bare_chain: Any) -> Any:
    return deploy_oracle(bare_chain.create_or_send, initializer=bare_chain.accounts[0])


def _setup(contracts: Any, **changes: Any) -> bytes:
    setup = {
        "config_digest": b"\x01" * 32,
        "destinations": (Destination(chain_id=31337, oracle=contracts.oracle),),
        "keys": KEYS,
        "verifier": contracts.verifier,
        "skew": 30,
        "guardian": NOBODY,
    }
    return encode_call("RiskOracle", "initialize", tuple((setup | changes).values()))


def test_the_domain_is_that_of_the_committee(oracle: Any) -> None:
    assert oracle.read("domainSeparator") == (domain_separator(oracle.committee.destinations),)
    assert oracle.read("configDigest") == (config_digest(oracle.committee),)


def test_only_the_initializer_initializes(bare_chain: Any, uninitialized: Any, refuses: Refuses) -> None:
    with refuses("NotTheInitializer", bare_chain.accounts[1].lower()):
        bare_chain.send(uninitialized.oracle, _setup(uninitialized), sender=1)
    bare_chain.send(uninitialized.oracle, _setup(uninitialized))


def test_initialization_happens_once(bare_chain: Any, uninitialized: Any, refuses: Refuses) -> None:
    bare_chain.send(uninitialized.oracle, _setup(uninitialized))
    with refuses("AlreadyInitialized"):
        bare_chain.send(uninitialized.oracle, _setup(uninitialized))


def test_before_initialization_nothing_is_accepted(
    bare_chain: Any, uninitialized: Any, refuses: Refuses, oracle: Any, account_leaf: AccountLeaf
) -> None:
    certificate = oracle.certify(oracle.header(1, config_digest=bytes(32)))
    with refuses("NotInitialized"):
        bare_chain.send(uninitialized.oracle, publish_call(certificate))
    with refuses("UnknownRound", 0):
        call = encode_call("RiskOracle", "verifyAccount", 0, account_leaf, (), 3600, 0)
        bare_chain.call(uninitialized.oracle, call)


@pytest.mark.parametrize("operators", [0, 2, 3, 32])
def test_a_committee_of_a_wrong_size_is_refused(
    bare_chain: Any, uninitialized: Any, refuses: Refuses, operators: int
) -> None:
    keys = b"".join(bytes([index]) * 20 for index in range(1, operators + 1))
    with refuses("InvalidCommitteeSize", operators):
        bare_chain.send(uninitialized.oracle, _setup(uninitialized, keys=keys))


def test_bad_keys_are_refused(bare_chain: Any, uninitialized: Any, refuses: Refuses) -> None:
    with refuses("ZeroSigner", 2):
        bare_chain.send(uninitialized.oracle, _setup(uninitialized, keys=KEYS[:40] + bytes(20) + KEYS[60:]))
    with refuses("DuplicateSigner", 3):
        bare_chain.send(uninitialized.oracle, _setup(uninitialized, keys=KEYS[:60] + KEYS[:20]))
    with refuses("MalformedKeys", 79):
        bare_chain.send(uninitialized.oracle, _setup(uninitialized, keys=KEYS[:-1]))


def test_this_contract_on_this_chain_must_be_a_destination(
    bare_chain: Any, uninitialized: Any, refuses: Refuses
) -> None:
    here = Destination(chain_id=31337, oracle=uninitialized.oracle)
    other_chain = Destination(chain_id=1, oracle=uninitialized.oracle)
    other_contract = Destination(chain_id=31337, oracle=uninitialized.verifier)
    elsewhere: tuple[tuple[Destination, ...], ...] = ((), (other_chain,), (other_contract,))
    for destinations in elsewhere:
        with refuses("NotADestination", 31337, uninitialized.oracle):
            bare_chain.send(uninitialized.oracle, _setup(uninitialized, destinations=destinations))
    for destinations in ((here, other_chain), (here, here)):
        with refuses("DestinationsNotSorted", 1):
            bare_chain.send(uninitialized.oracle, _setup(uninitialized, destinations=destinations))
    bare_chain.send(uninitialized.oracle, _setup(uninitialized, destinations=(other_chain, here)))


@pytest.mark.parametrize(
    "change", [{"config_digest": bytes(32)}, {"verifier": NOBODY}, {"skew": 3601}], ids=lambda each: next(iter(each))
)
def test_a_senseless_setup_is_refused(
    bare_chain: Any, uninitialized: Any, refuses: Refuses, change: dict[str, Any]
) -> None:
    with refuses("InvalidSetup"):
        bare_chain.send(uninitialized.oracle, _setup(uninitialized, **change))


@pytest.mark.parametrize(("initializer", "ring_size"), [(NOBODY, 16), (SOMEBODY, 1), (SOMEBODY, 1025)])
def test_a_senseless_deployment_is_refused(
    bare_chain: Any, refuses: Refuses, initializer: Address, ring_size: int
) -> None:
    with refuses("InvalidSetup"):
        deploy(bare_chain.create_or_send, encode_deployment("RiskOracle", initializer, ring_size))


def test_the_smallest_ring_keeps_two_reports(
    deploy_committee: Callable[..., Any], refuses: Refuses, account_leaf: AccountLeaf
) -> None:
    oracle = deploy_committee(1, ring_size=2)
    for number in (1, 2, 3):
        oracle.publish_leaves(number, account_leaf)
    with refuses("UnknownRound", 1):
        oracle.verify_account(1, account_leaf, ())
    assert [oracle.read("recentReport", number)[0][0] for number in (2, 3)] == [2, 3]


def test_the_largest_ring_keeps_1024_reports(deploy_committee: Callable[..., Any], refuses: Refuses) -> None:
    oracle = deploy_committee(1, ring_size=1024)
    last = 1025
    certificates = [oracle.certify(oracle.header(each, valid_until=START + DAY)) for each in range(1, last + 1)]
    oracle.chain.anvil.mine_at(START + last)
    for certificate in certificates[:-1]:
        oracle.publish_now(certificate)
    assert oracle.read("recentReport", 1)[0][0] == 1
    oracle.publish_now(certificates[-1])
    with refuses("UnknownRound", 1):
        oracle.read("recentReport", 1)
    for kept in (2, 3, 513, 1024, last):
        assert oracle.read("recentReport", kept)[0][:2] == (kept, START + kept)


def _guard(oracle: Any, function: str, *, at: int, sender: int = GUARDIAN) -> None:
    oracle.chain.send(oracle.contracts.oracle, encode_call("RiskOracle", function), sender=sender, at=at)


def test_a_pause_stops_publishing_and_verifying(oracle: Any, refuses: Refuses, account_leaf: AccountLeaf) -> None:
    oracle.publish_leaves(1, account_leaf, valid_until=START + 30 * DAY)
    _guard(oracle, "pause", at=START + 100)
    until = START + 100 + 3 * DAY
    with refuses("IsPaused", until):
        oracle.verify_account(1, account_leaf, ())
    with refuses("IsPaused", until):
        oracle.publish(oracle.certify(oracle.header(200)))


def test_a_pause_ends_by_itself(oracle: Any, refuses: Refuses, account_leaf: AccountLeaf) -> None:
    oracle.publish_leaves(1, account_leaf, valid_until=START + 30 * DAY)
    _guard(oracle, "pause", at=START + 100)
    oracle.chain.anvil.mine_at(START + 100 + 3 * DAY - 1)
    with refuses("IsPaused"):
        oracle.verify_account(1, account_leaf, (), max_age=30 * DAY)
    oracle.chain.anvil.mine_at(START + 100 + 3 * DAY)
    assert oracle.verify_account(1, account_leaf, (), max_age=30 * DAY) == START + 1


def test_the_guardian_cannot_extend_a_pause_nor_chain_them(oracle: Any, refuses: Refuses) -> None:
    _guard(oracle, "pause", at=START)
    for moment in (START + 1, START + 3 * DAY, START + 10 * DAY - 1):
        with refuses("PauseNotYet", START + 10 * DAY):
            _guard(oracle, "pause", at=moment)
    _guard(oracle, "pause", at=START + 10 * DAY)
    assert oracle.read("pausedUntil") == (START + 13 * DAY,)


def test_ending_a_pause_early_allows_no_earlier_one(oracle: Any, refuses: Refuses, account_leaf: AccountLeaf) -> None:
    oracle.publish_leaves(1, account_leaf)
    _guard(oracle, "pause", at=START + 10)
    _guard(oracle, "unpause", at=START + 20)
    assert oracle.verify_account(1, account_leaf, ()) == START + 1
    with refuses("PauseNotYet", START + 10 + 10 * DAY):
        _guard(oracle, "pause", at=START + 30)


@pytest.mark.parametrize("function", ["pause", "unpause"])
def test_only_the_guardian_pauses(oracle: Any, refuses: Refuses, function: str) -> None:
    with refuses("NotTheGuardian"):
        _guard(oracle, function, at=START, sender=0)


def test_without_a_guardian_nobody_pauses(bare_chain: Any, uninitialized: Any, refuses: Refuses) -> None:
    bare_chain.send(uninitialized.oracle, _setup(uninitialized))
    with refuses("NotTheGuardian"):
        bare_chain.send(uninitialized.oracle, encode_call("RiskOracle", "pause"))
