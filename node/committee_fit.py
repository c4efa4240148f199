"""What a committee of this node would agree on, and whether settings, keys and history fit the committee it has."""

from __future__ import annotations

from collections.abc import Sequence

from attest.formats.committee import Committee, DiscoveryRule
from attest.formats.eip712 import Destination
from attest.hours.table import history_hash
from attest.keys.identity import IdentityKey
from attest.keys.keystore import LocalSigner
from node.round.reading import ConfiguredVenue
from node.settings import Settings
from riskschema.errors import FatalError, InvalidData
from riskschema.market import HourlyHistory
from riskschema.units import Hash32


def discovery_rules(venues: Sequence[ConfiguredVenue], *, account_cap: int) -> tuple[DiscoveryRule, ...]:
    """Return what a committee of this node's venues agrees on, in their order."""
    return tuple(
        DiscoveryRule(venue=each.venue, chain_id=each.chain_id, start_block=each.start_block, account_cap=account_cap)
        for each in venues
    )


def check_agreement(settings: Settings, committee: Committee, venues: tuple[ConfiguredVenue, ...]) -> None:
    """Refuse settings under which this node could not compute what the committee computes.

    Raises:
        InvalidData: naming what differs.
    """
    asked = [(rule.venue, rule.chain_id, rule.start_block) for rule in committee.venues]
    given = [(venue.venue, venue.chain_id, venue.start_block) for venue in venues]
    if asked != given:
        raise InvalidData(
            f"the committee reads (venue, chain, from block) {asked}, the settings configure {given}: "
            "make [[chains.venues]] the same, in the same order",
            code="invalid_settings",
        )
    by_id = {chain.chain_id: chain for chain in settings.chains}
    for observed in committee.chains:
        chain = by_id.get(observed.chain_id)
        wanted = Hash32(observed.genesis_hash)
        if chain is None or chain.genesis_hash != wanted:
            raise InvalidData(
                f"the committee reads chain {observed.chain_id} with genesis {wanted}: "
                "give that chain this genesis_hash in the settings",
                code="invalid_settings",
            )


def check_history(history: HourlyHistory, committee: Committee) -> None:
    """Refuse a genesis history that is not the committee's: every report would differ.

    Raises:
        InvalidData: naming both hashes.
    """
    given = history_hash(history)
    if given != committee.history_hash:
        raise InvalidData(
            f"market.history_file hashes to {Hash32(given)}, the committee asks for "
            f"{Hash32(committee.history_hash)}: get the committee's history file",
            code="invalid_settings",
        )


def operator_index(committee: Committee, signer: LocalSigner, identity: IdentityKey) -> int:
    """Return this operator's place in the committee.

    Raises:
        FatalError: the committee does not name the keys.
    """
    if signer.address not in committee.signers:
        raise FatalError(
            f"the attestation key {signer.address} is none of the committee's: {', '.join(committee.signers)}",
            code="key_unreadable",
        )
    index = committee.signers.index(signer.address)
    if committee.operators[index].identity != identity.public_key:
        raise FatalError(
            f"the identity key {Hash32(identity.public_key)} is not that of operator {index}, "
            f"{Hash32(committee.operators[index].identity)}: check keys.identity and the committee file",
            code="key_unreadable",
        )
    return index


def destination_of(settings: Settings, committee: Committee) -> Destination | None:
    """Return the contract that this node publishes to; None where it does not publish.

    Raises:
        InvalidData: the committee's signatures do not count there, or reports would expire before the next one.
    """
    if settings.publish is None:
        return None
    wanted = Destination(chain_id=settings.publish.chain_id, oracle=settings.publish.oracle)
    if wanted not in committee.destinations:
        raise InvalidData(
            f"publish: {wanted.oracle} on chain {wanted.chain_id} is no destination of the committee",
            code="invalid_settings",
        )
    if 2 * settings.publish.heartbeat > committee.report_life_seconds:
        raise InvalidData(
            f"publish.heartbeat: {settings.publish.heartbeat} s are more than half of the reports' life, "
            f"{committee.report_life_seconds} s: the contract would have none that is valid",
            code="invalid_settings",
        )
    return wanted
