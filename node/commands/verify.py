"""`plimsoll verify`: check an attestation without trusting the node that served it."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import click
import msgspec

from adapters.chains import open_chain
from attest.formats.certificate import Certificate
from attest.formats.eip712 import digest_in_domain
from attest.formats.leaf import AccountLeaf
from attest.reports.attestation import AttestationDocument, DestinationDocument, attested_certificate, check_attestation
from contracts.calls import decode_result, decode_revert, encode_call
from node.api.documents import read_attestation
from node.checksums import checked_address
from node.commands.documents import name_of, read_document
from node.telemetry import configure_logging
from riskschema.codec import encode_json
from riskschema.errors import FatalError, InvalidData, PlimsollError, ProtocolViolation
from riskschema.portfolio import BlockReference
from riskschema.ports import Call, CallResult, CallSuccess, PinnedReader
from riskschema.units import Address, Hash32

ACCOUNTS_ROOT = 3
"""Place of the accounts root in `IRiskOracle.RecentReport`."""
GONE = frozenset({"UnknownRound", "Expired"})
"""Reverts that say that a round is over, or was never accepted here."""


class _Refusal(msgspec.Struct, frozen=True):
    """The part of a problem document that people read."""

    type: str
    detail: str


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
    """Check signatures, proof and on-chain root; print what holds.

    Raises:
        ProtocolViolation: something does not hold, named.
        InvalidData: the file is no attestation, or there is no RiskOracle at the address.
        TransientError: the endpoint failed: nothing is known.
        FatalError: the endpoint serves another chain.
    """
    configure_logging(level="ERROR")  # what a command has to say is its message, not a log
    trusted = None if oracle is None else checked_address(oracle, what="--oracle")
    document = read_document(file, what="attestation")
    _refuse_a_refusal(document, file)
    attestation = read_attestation(document, what=f"attestation {name_of(file)}")
    leaf = check_attestation(attestation)
    result = asyncio.run(_verify(attestation, leaf, rpc_url, trusted))
    if as_json:
        click.echo(encode_json(result))
        return
    click.echo(f"valid: {result.subject} has score {result.score} in round {result.round}")
    click.echo(f"  signatures   {result.signers}, checked by the contract's own verifier")
    click.echo("  proof        leads from the leaf to the certified accounts root")
    click.echo(f"  on-chain     RiskOracle {result.oracle} on chain {result.chain_id} holds that root")
    click.echo(f"               (asked at block {result.block})")
    click.echo(f"  observed     {datetime.fromtimestamp(result.observed_at, UTC):%Y-%m-%d %H:%M:%S} UTC")
    if trusted is None:
        click.echo("The file named the contract: compare it with the one you trust, or give --oracle.", err=True)


def _refuse_a_refusal(document: bytes, file: Path) -> None:
    """Name what a node had to say when it answered no attestation, as in ``curl ... | plimsoll verify -``.

    Raises:
        InvalidData: the document is a node's problem document.
    """
    with suppress(msgspec.DecodeError):
        refusal = msgspec.json.decode(document, type=_Refusal)
        if refusal.type.startswith("urn:plimsoll:problem:"):
            raise InvalidData(
                f"attestation {name_of(file)}: the node refused: {refusal.detail[:200]!r}", code="invalid_document"
            )


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
    meant = ", ".join(f"{each.oracle} on chain {each.chain_id}" for each in attestation.destinations) or "no contract"
    raise problem or ProtocolViolation(f"the attestation is not for {trusted} but for {meant}", code="foreign")


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
    """Compare committee and root with the contract's own, and let it check proof and signatures."""
    header = attested_certificate(attestation).header
    proof = tuple(node.to_bytes() for node in attestation.proof)
    no_limit = 2**63
    calls = [
        Call(oracle, encode_call("RiskOracle", "configDigest")),
        Call(oracle, encode_call("RiskOracle", "recentReport", header.round)),
        Call(oracle, encode_call("RiskOracle", "verifyAccount", header.round, leaf, proof, no_limit, 0)),
        *(Call(oracle, encode_call("RiskOracle", name)) for name in ("verifier", "keySet", "domainSeparator")),
    ]
    digest, recent, verified, *committee = await reader.call(calls)
    where = _where(oracle, reader.block)
    if not (isinstance(digest, CallSuccess) and len(digest.data) == 32):
        raise InvalidData(f"{where}: there is no such contract at this address", code="no_code")
    if _answer(digest, "configDigest", where) != header.config_digest:
        raise ProtocolViolation(f"{where} has another committee than the certificate names", code="foreign")
    if _answer(recent, "recentReport", where)[ACCOUNTS_ROOT] != header.accounts_root:
        raise ProtocolViolation(f"{where} holds another root for round {header.round}", code="forged")
    await _ask_verifier(reader, committee, attested_certificate(attestation), where)
    return int(_answer(verified, "verifyAccount", where))


async def _ask_verifier(
    reader: PinnedReader, committee: Sequence[CallResult], certificate: Certificate, where: str
) -> None:
    """Let the contract's verifier check the signatures with the keys that it keeps: the file may name any others."""
    names = ("verifier", "keySet", "domainSeparator")
    verifier, key_set, separator = (_answer(each, name, where) for each, name in zip(committee, names, strict=True))
    digest = digest_in_domain(separator, certificate.report_hash)
    signatures = b"".join(certificate.signatures)
    call = encode_call("IQuorumVerifier", "verify", digest, key_set, certificate.bitmap, signatures)
    (checked,) = await reader.call([Call(Address(verifier), call)])
    if not isinstance(checked, CallSuccess):
        raise ProtocolViolation(f"{where} refuses the signatures: {decode_revert(checked.data)}", code="forged")


def _answer(result: CallResult, function: str, where: str) -> Any:
    if isinstance(result, CallSuccess):
        (answer,) = decode_result("RiskOracle", function, result.data)
        return answer
    revert = decode_revert(result.data)
    if revert.name in GONE:
        raise ProtocolViolation(
            f"{where} no longer holds this round ({revert}): it keeps recent rounds only; ask the node for a new "
            "attestation",
            code="stale",
        )
    raise ProtocolViolation(f"{where} refuses {function}: {revert}", code="forged")


def _where(oracle: Address, block: BlockReference) -> str:
    return f"RiskOracle {oracle} on chain {block.chain_id}"
