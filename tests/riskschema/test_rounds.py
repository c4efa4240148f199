"""The vocabulary of rounds and the ports that stages meet at."""

import inspect

import pytest

from riskschema import ports
from riskschema.rounds import RoundStep, StoredTransaction
from riskschema.units import ZERO_ADDRESS, Hash32

PROTOCOLS = [
    kind
    for _, kind in inspect.getmembers(ports, inspect.isclass)
    if kind.__module__ == ports.__name__ and getattr(kind, "_is_protocol", False)
]


def test_the_steps_of_a_round_are_in_the_order_of_the_architecture():
    assert " ".join(RoundStep) == "observe propose outcome read assess report sign certify publish"


def test_a_step_is_its_name_wherever_it_is_written():
    assert f"{RoundStep.READ}" == "read"
    assert RoundStep("read") is RoundStep.READ


def test_a_fresh_transaction_has_replaced_none():
    transaction = StoredTransaction(
        config_digest=Hash32(bytes(32)),
        chain_id=1,
        sender=ZERO_ADDRESS,
        nonce=0,
        round=1,
        raw=b"",
        hash=Hash32(bytes(32)),
        max_fee_per_gas=1,
        max_priority_fee_per_gas=1,
        status="pending",
        block_number=None,
        gas_used=None,
    )
    assert transaction.replaced == ()


@pytest.mark.parametrize("port", PROTOCOLS, ids=lambda port: port.__name__)
def test_every_port_says_what_it_and_each_of_its_methods_do(port):
    assert inspect.getdoc(port)
    methods = [member for name, member in vars(port).items() if inspect.isfunction(member) and not name.startswith("_")]
    assert all(inspect.getdoc(method) for method in methods)


def test_the_ports_are_found():
    assert {"ChainReader", "ProtocolAdapter", "MarketSource", "Store", "Publisher", "Signer", "Clock", "Executor"} <= {
        port.__name__ for port in PROTOCOLS
    }
