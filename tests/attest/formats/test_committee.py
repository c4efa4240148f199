"""Which committees there are, and that everything in one changes its digest."""

from typing import Any

import msgspec
import pytest

from attest.encoding.keccak import keccak256
from attest.formats.committee import (
    Committee,
    DiscoveryRule,
    ObservedChain,
    Operator,
    check_committee,
    config_digest,
    round_at,
)
from attest.formats.eip712 import Destination
from attest.formats.parameters import AgreementParameters, ChainParameters
from riskschema.errors import InvalidData
from riskschema.units import Address
from tests.builders.reports import committee

replace = msgspec.structs.replace


def operator(index: int) -> Operator:
    return Operator(signer=Address("0x" + f"{index + 1:040x}"), identity=keccak256(bytes([index])))


CHAIN = ObservedChain(chain_id=1, genesis_hash=keccak256(b"genesis"))
AAVE = DiscoveryRule(venue="aave_v3", chain_id=1, start_block=100, account_cap=1000)
COMMITTEE = committee(
    operators=tuple(operator(index) for index in range(4)),
    chains=(CHAIN,),
    venues=(AAVE,),
    history_hash=keccak256(b"history"),
    account_cap=10_000,
    requests_per_operator=16,
)

CHANGES: dict[str, Any] = {
    "config_count": 1,
    "operators": (*COMMITTEE.operators, operator(4)),
    "destinations": (Destination(chain_id=2, oracle=Address("0x" + "11" * 20)),),
    "chains": (replace(CHAIN, genesis_hash=keccak256(b"another")),),
    "venues": (replace(AAVE, start_block=101),),
    "history_hash": keccak256(b"another"),
    "genesis_time": 1_700_000_001,
    "round_interval_seconds": 13,
    "report_life_seconds": 601,
    "account_cap": 10_001,
    "requests_per_operator": 17,
    "parameters": AgreementParameters(factors=("ETH",)),
}


@pytest.mark.parametrize("field", Committee.__struct_fields__)
def test_every_field_is_bound_by_the_digest(field: str) -> None:
    assert config_digest(replace(COMMITTEE, **{field: CHANGES[field]})) != config_digest(COMMITTEE)


def test_the_order_of_operators_is_bound_too() -> None:
    reordered = replace(COMMITTEE, operators=COMMITTEE.operators[::-1])
    assert config_digest(reordered) != config_digest(COMMITTEE)


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"operators": COMMITTEE.operators[:3]}, "not 3"),
        ({"operators": ()}, "not 0"),
        ({"operators": tuple(operator(index) for index in range(32))}, "not 32"),
        ({"operators": (*COMMITTEE.operators, replace(operator(5), signer=operator(0).signer))}, "share a key"),
        ({"operators": (*COMMITTEE.operators, replace(operator(5), identity=operator(0).identity))}, "share a key"),
        ({"operators": (replace(operator(0), signer=Address("0x" + "00" * 20)),)}, "zero address"),
        ({"destinations": ()}, "destinations"),
        ({"chains": (CHAIN, CHAIN)}, "increasing order"),
        ({"chains": ()}, "not among the chains"),
        ({"venues": (AAVE, AAVE)}, "named twice"),
        ({"venues": tuple(replace(AAVE, venue=f"venue {index}") for index in range(65))}, "more than 64"),
        ({"round_interval_seconds": 0}, "above zero"),
        ({"report_life_seconds": 0}, "above zero"),
        ({"parameters": AgreementParameters(chains=(ChainParameters(chain_id=2),))}, "parameters.chains"),
        ({"parameters": AgreementParameters(request_lifetime_rounds=0)}, "request_lifetime_rounds is 0"),
    ],
    ids=lambda value: value if isinstance(value, str) else None,
)
def test_a_committee_that_cannot_work_is_refused(change: dict[str, Any], reason: str) -> None:
    with pytest.raises(InvalidData, match=reason):
        check_committee(replace(COMMITTEE, **change))
    with pytest.raises(InvalidData, match=reason):
        config_digest(replace(COMMITTEE, **change))


def test_rounds_are_slots_of_the_clock() -> None:
    assert [round_at(COMMITTEE, COMMITTEE.genesis_time + seconds) for seconds in (0, 11, 12, 25)] == [0, 0, 1, 2]
    with pytest.raises(InvalidData, match="before genesis"):
        round_at(COMMITTEE, COMMITTEE.genesis_time - 1)
