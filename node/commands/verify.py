"""`plimsoll verify`: check an attestation without trusting the node that served it."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import click
import msgspec

from adapters.chains import open_chain
from attest.leaf import AccountLeaf
from contracts.calls import decode_result, decode_revert, encode_call
from node.api_documents import (
    AttestationDocument,
    DestinationDocument,
    attested_certificate,
    check_attestation,
    read_attestation,
)
from node.settings import read_text
from riskschema.codec import MAX_DOCUMENT_BYTES, encode_json
from riskschema.errors import FatalError, PlimsollError, ProtocolViolation
from riskschema.portfolio import BlockReference
from riskschema.ports import Call, CallResult, CallReverted, PinnedReader
from riskschema.units import Address, Hash32, parse_address

ACCOUNTS_ROOT = 3
"""Place of the accounts root in `IRiskOracle.RecentReport`."""


class Verification(msgspec.Struct, frozen=True, kw_only=True):
    """What was checked, and holds."""

    subject: Address
    round: int
    report_hash: Hash32
    score: int
    observed_at: int
    chain_id: int
    oracle: Address
    block: int
    """Where the contract was asked."""
    signers: int


def verify_attestation(file: Path, *, rpc_url: str, oracle: str | None, as_json: bool) -> None:
    """Check signatures, proof and on-chain root; print what holds."""
    document = read_text(file, what="attestation", limit=MAX_DOCUMENT_BYTES).encode()
    attestation = read_attestation(document, what=str(file))
    leaf = check_attestation(attestation)
    trusted = None if oracle is None else parse_address(oracle, what="--oracle")
    result = asyncio.run(_verify(attestation, leaf, rpc_url, trusted))
    if as_json:
        click.echo(encode_json(result))
        return
    click.echo(f"valid: {result.subject} has score {result.score} in round {result.round}")
    click.echo(f"  signatures   {result.signers}, checked by the contract's own verifier")
    click.echo("  proof        leads from the leaf to the certified accounts root")
    click.echo(f"  on-chain     RiskOracle {result.oracle} on chain {result.chain_id} holds that root")
    click.echo(f"               (asked at block {result.block}, observed at {result.observed_at})")


async def _verify(
    attestation: AttestationDocument, leaf: AccountLeaf, rpc_url: str, trusted: Address | None
) -> Verification:
    problem: PlimsollError | None = None
    for destination in attestation.destinations:
        if trusted is not None and destination.oracle != trusted:
            continue
        try:
            return await _verify_at(destination, attestation, leaf, rpc_url)
        except FatalError as error:
            problem = error
    raise problem or ProtocolViolation(f"the attestation is not meant for {trusted}", code="foreign")


async def _verify_at(
    destination: DestinationDocument, attestation: AttestationDocument, leaf: AccountLeaf, rpc_url: str
) -> Verification:
    """Ask one destination.

    Raises:
        FatalError: the endpoint serves another chain.
    """
    async with open_chain(rpc_url=rpc_url, chain_id=destination.chain_id, finality="latest") as chain:
        reader = await chain.pin(await chain.head())
        observed_at = await _ask_contract(reader, destination.oracle, attestation, leaf)
        return Verification(
            subject=attestation.subject,
            round=attestation.round,
            report_hash=attestation.report_hash,
            score=leaf.score,
            observed_at=observed_at,
            chain_id=destination.chain_id,
            oracle=destination.oracle,
            block=reader.block.number,
            signers=len(attestation.certificate.signatures),
        )


async def _ask_contract(
    reader: PinnedReader, oracle: Address, attestation: AttestationDocument, leaf: AccountLeaf
) -> int:
    """Compare committee and root with the contract's own, and let it check the proof."""
    header = attested_certificate(attestation).header
    proof = tuple(node.to_bytes() for node in attestation.proof)
    no_limit = 2**63
    calls = [
        Call(oracle, encode_call("RiskOracle", "configDigest")),
        Call(oracle, encode_call("RiskOracle", "recentReport", header.round)),
        Call(oracle, encode_call("RiskOracle", "verifyAccount", header.round, leaf, proof, no_limit, 0)),
    ]
    digest, recent, verified = await reader.call(calls)
    where = _where(oracle, reader.block)
    if _answer(digest, "configDigest", where) != header.config_digest:
        raise ProtocolViolation(f"{where} has another committee than the certificate names", code="foreign")
    if _answer(recent, "recentReport", where)[ACCOUNTS_ROOT] != header.accounts_root:
        raise ProtocolViolation(f"{where} holds another root for round {header.round}", code="forged")
    return int(_answer(verified, "verifyAccount", where))


def _answer(result: CallResult, function: str, where: str) -> Any:
    if isinstance(result, CallReverted):
        raise ProtocolViolation(f"{where} refuses {function}: {decode_revert(result.data)}", code="forged")
    (answer,) = decode_result("RiskOracle", function, result.data)
    return answer


def _where(oracle: Address, block: BlockReference) -> str:
    return f"RiskOracle {oracle} on chain {block.chain_id}"
