"""Signatures that cost nothing and that only their owner makes here, so that thousands of schedules fit into a minute.

What every operator would work out alike from the same bytes (envelopes, bodies, roots) is worked out once.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from functools import lru_cache
from hashlib import blake2b
from typing import Any
from unittest.mock import patch

from attest.agreement import certified, machine, open_rounds, proposals, round_memory
from attest.agreement.state import AgreedState
from attest.agreement.state_format import state_root
from attest.formats import certificate
from attest.formats.certificate import decode_certificate
from attest.formats.header import report_hash
from attest.wire import envelope
from attest.wire.envelope import Network, check_signature, open_body, read_envelope
from riskschema.units import Address
from tests.network import correct_operator, liars
from tests.network.fake_keys import signer_of


def _verify_identity(public_key: bytes, message: bytes, signature: bytes) -> bool:
    return signature == blake2b(public_key + message).digest()


def _recover_signer(digest: bytes, signature: bytes) -> Address:
    return signer_of(signature[0]) if signature[1:33] == digest == signature[33:] else signer_of(255)


@contextmanager
def fast_signatures() -> Iterator[None]:
    """Let machines of this process sign and verify so."""
    check, roots = _once(check_signature), Roots(state_root)
    read, body, decoded = (lru_cache(2_048)(each) for each in (read_envelope, open_body, decode_certificate))
    report = lru_cache(2_048)(report_hash)
    replaced: list[tuple[str, object, tuple[Any, ...]]] = [
        ("verify_identity", _verify_identity, (machine, envelope)),
        ("recover_signer", _recover_signer, (open_rounds, certificate)),
        ("check_signature", check, (open_rounds, proposals)),
        ("open_body", body, (open_rounds, proposals, liars)),
        ("read_envelope", read, (machine, proposals, correct_operator, liars)),
        ("decode_certificate", decoded, (proposals,)),
        ("report_hash", report, (certificate, certified, round_memory, liars)),
        ("state_root", roots, (certified,)),
    ]
    with ExitStack() as stack:
        for name, replacement, modules in replaced:
            for module in modules:
                stack.enter_context(patch.object(module, name, replacement))
        yield


def _once(check: Callable[[envelope.Envelope, Network], None]) -> Callable[[envelope.Envelope, Network], None]:
    passed: set[bytes] = set()

    def remembered(message: envelope.Envelope, network: Network) -> None:
        if message.payload not in passed:
            check(message, network)
            passed.add(message.payload)

    return remembered


class Roots:
    """The roots of states, by object: all operators of a process share them."""

    def __init__(self, root: Callable[[AgreedState], bytes] = state_root) -> None:
        self._root = root
        self._kept: dict[int, tuple[AgreedState, bytes]] = {}

    def __call__(self, state: AgreedState) -> bytes:
        known: Any = self._kept.get(id(state))
        if known is None:
            known = self._kept[id(state)] = (state, self._root(state))
            if len(self._kept) > 256:
                del self._kept[next(iter(self._kept))]
        return known[1]
