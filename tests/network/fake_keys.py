"""Keys whose signatures are hashes: only their owner makes them here, in a microsecond."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from hashlib import blake2b

from attest.agreement.rules import AgreementRules
from attest.formats.committee import Operator
from attest.formats.parameters import AgreementParameters
from riskschema.units import Address
from tests.attest.agreement import round_kit


def identity_of(operator: int) -> bytes:
    return operator.to_bytes(32, "big")


def signer_of(operator: int) -> Address:
    return Address(f"0x{operator + 1:040x}")


def sign_as(operator: int) -> Callable[[bytes], bytes]:
    """Return the identity's signature of an operator."""
    return lambda message: blake2b(identity_of(operator) + message).digest()


def sign_share(operator: int, digest: bytes) -> bytes:
    """Return the attestation key's signature of an operator."""
    return bytes([operator]) + digest + digest


@cache
def fast_rules(n: int, parameters: AgreementParameters | None = None) -> AgreementRules:
    """Return the rules of a committee of such keys."""
    operators = tuple(Operator(signer=signer_of(index), identity=identity_of(index)) for index in range(n))
    chosen = parameters or AgreementParameters()
    return AgreementRules.of(round_kit.committee(n, operators=operators, parameters=chosen))
