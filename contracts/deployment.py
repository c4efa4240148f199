"""Deploy and initialise a RiskOracle and its verifier through any means of sending a transaction."""

from collections.abc import Callable

import msgspec

from attest.formats.committee import Committee
from contracts.calls import encode_deployment, initialize_call
from riskschema.errors import FatalError
from riskschema.units import Address

Send = Callable[[Address | None, bytes], Address | None]
"""Send calldata to a contract, or creation code to nobody; wait; return the address of what was created.

Raises a PlimsollError where the transaction reverts.
"""

RING_SIZE = 16
MAX_FUTURE_SKEW_SECONDS = 30


class OracleContracts(msgspec.Struct, frozen=True, kw_only=True):
    """Where the contracts of one chain are."""

    verifier: Address
    oracle: Address


def deploy_oracle(send: Send, *, initializer: Address, ring_size: int = RING_SIZE) -> OracleContracts:
    """Deploy a verifier and an oracle that only `initializer` can initialise.

    The oracle's address enters the committee's destinations, and so its config digest: initialise afterwards.
    """
    return OracleContracts(
        verifier=deploy(send, encode_deployment("EcdsaBitmapVerifier")),
        oracle=deploy(send, encode_deployment("RiskOracle", initializer, ring_size)),
    )


def initialize_oracle(
    send: Send,
    contracts: OracleContracts,
    committee: Committee,
    *,
    max_future_skew: int = MAX_FUTURE_SKEW_SECONDS,
    guardian: Address | None = None,
) -> None:
    """Set the committee of a deployed oracle, once and for good.

    Args:
        send: Sends as the account given as initialiser.
        contracts: From `deploy_oracle`.
        committee: Names the oracle among its destinations.
        max_future_skew: Seconds by which an observation may lie ahead of the chain's clock.
        guardian: May pause for a bounded time; nobody if left out.
    """
    call = initialize_call(committee, verifier=contracts.verifier, max_future_skew=max_future_skew, guardian=guardian)
    send(contracts.oracle, call)


def deploy(send: Send, creation_code: bytes) -> Address:
    """Create a contract and return its address.

    Raises:
        FatalError: the transaction created nothing.
    """
    address = send(None, creation_code)
    if address is None:
        raise FatalError("the transaction created no contract", code="publish_refused")
    return address
