"""The verifier on its own: every subset of a committee, against the quorum rule in Python."""

import itertools
from typing import Any

import pytest

from attest.encoding.keccak import keccak256
from attest.formats.eip712 import sign_digest
from attest.formats.quorums import byzantine
from contracts.calls import decode_result, encode_call, encode_deployment
from contracts.deployment import deploy

pytestmark = pytest.mark.chain

DIGEST = keccak256(b"a statement")


@pytest.fixture
def verifier(bare_chain: Any) -> Any:
    return deploy(bare_chain.create_or_send, encode_deployment("EcdsaBitmapVerifier"))


def _register(bare_chain: Any, verifier: Any, keys: bytes) -> bytes:
    call = encode_call("EcdsaBitmapVerifier", "register", keys)
    (key_set,) = decode_result("EcdsaBitmapVerifier", "register", bare_chain.call(verifier, call))
    bare_chain.send(verifier, call)
    return bytes(key_set)


def _verify(bare_chain: Any, verifier: Any, key_set: bytes, bitmap: int, signatures: bytes) -> None:
    bare_chain.call(verifier, encode_call("EcdsaBitmapVerifier", "verify", DIGEST, key_set, bitmap, signatures))


def test_exactly_the_subsets_of_quorum_size_verify(bare_chain: Any, verifier: Any, oracle: Any, refuses: Any) -> None:
    signers = oracle.committee.signers
    key_set = _register(bare_chain, verifier, b"".join(signer.to_bytes() for signer in signers))
    signed = [sign_digest(DIGEST, key) for key in oracle.keys]
    for size in range(len(signers) + 1):
        for subset in itertools.combinations(range(len(signers)), size):
            bitmap = sum(1 << index for index in subset)
            signatures = b"".join(signed[index] for index in subset)
            if size >= byzantine(len(signers)):
                _verify(bare_chain, verifier, key_set, bitmap, signatures)
            else:
                with refuses("QuorumMissing", size, 5):
                    _verify(bare_chain, verifier, key_set, bitmap, signatures)


def test_a_key_set_that_was_never_registered_is_refused(bare_chain: Any, verifier: Any, refuses: Any) -> None:
    for key_set in (bytes(32), b"\x11" * 32):
        with refuses("UnknownKeySet", key_set):
            _verify(bare_chain, verifier, key_set, 1, sign_digest(DIGEST, b"\x01" * 32))


def test_the_stored_keys_cannot_be_executed(bare_chain: Any, verifier: Any, oracle: Any) -> None:
    key_set = _register(bare_chain, verifier, oracle.committee.signers[0].to_bytes())
    address = "0x" + key_set[12:].hex()
    code = bare_chain.anvil.rpc.request("eth_getCode", address, "latest")
    assert code == "0x00" + oracle.committee.signers[0][2:]
    assert bare_chain.call(address, b"\x01") == b""
