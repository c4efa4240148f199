"""What an operator has: settings, committee, keys, their guard, the history they begin with."""

from __future__ import annotations

import time
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

import msgspec

from attest.agreement.rules import AgreementRules
from attest.formats.committee import Committee, config_digest, round_at
from attest.keys.guard import guard_path, open_guard
from attest.keys.keystore import open_identity, open_keystore
from attest.keys.secret_files import check_private
from node.clock_check import check_first_round
from node.commands.doctor.findings import Finding, care, good, wrong
from node.committee_file import load_committee, load_history
from node.committee_fit import check_agreement, check_history, destination_of, operator_index
from node.key_files import certificate_path
from node.round.reading import ConfiguredVenue, configured_venues
from node.settings import Keys, Settings
from riskschema.errors import FatalError, InvalidData, PlimsollError
from riskschema.units import Address, Hash32

HOURS_OF_A_YEAR = 365 * 24


class Operator(msgspec.Struct, frozen=True, kw_only=True):
    """What the settings and the files that they name say together."""

    settings: Settings
    directory: Path
    keys: Keys
    committee: Committee
    rules: AgreementRules
    venues: tuple[ConfiguredVenue, ...]


class OpenedKeys(msgspec.Struct, frozen=True, kw_only=True):
    """Public halves of keys that open."""

    index: int
    attestation: Address
    transmitter: Address


def read_operator(settings: Settings, directory: Path) -> Operator:
    """Read what must fit together before anything else can be examined.

    Raises:
        InvalidData: something is missing or contradicts the committee.
    """
    if settings.keys is None:
        raise InvalidData("[keys] is missing: a node needs its keystores", code="invalid_settings")
    if settings.committee_file is None:
        raise InvalidData("committee_file is missing: where the committee's file lies", code="invalid_settings")
    committee = load_committee(directory / settings.committee_file)
    venues = tuple(venue for chain in settings.chains for venue in configured_venues(chain))
    check_agreement(settings, committee, venues)
    destination_of(settings, committee)
    return Operator(
        settings=settings,
        directory=directory,
        keys=settings.keys,
        committee=committee,
        rules=AgreementRules.of(committee),
        venues=venues,
    )


def committee_finding(operator: Operator) -> Finding:
    """Return of which committee this is."""
    committee = operator.committee
    digest, interval = Hash32(config_digest(committee)), committee.round_interval_seconds
    return good("committee", f"{len(committee.operators)} operators, a round every {interval} s, config {digest}")


def examine_files(operator: Operator) -> Sequence[Finding]:
    """Return which secret files others could read."""
    places = [operator.directory / name for name in _secret_files(operator)]
    folders = {path.parent for path in places} - {operator.directory}
    for path in (*sorted(folders), *places):
        try:
            check_private(path)
        except FatalError as error:
            return [wrong("files", error, _mending(path))]
    return [good("files", f"{len(places)} secret files that only their owner can read")]


def open_keys(operator: Operator) -> OpenedKeys:
    """Open all keys, and find the operator in the committee.

    Raises:
        FatalError: a key does not open, or the committee does not name it.
    """
    keys, directory = operator.keys, operator.directory
    password = directory / keys.password_file
    signer = open_keystore(directory / keys.attestation, password)
    identity = open_identity(directory / keys.identity, password)
    transmitter = open_keystore(directory / keys.transmitter, password)
    return OpenedKeys(
        index=operator_index(operator.committee, signer, identity),
        attestation=signer.address,
        transmitter=transmitter.address,
    )


def keys_finding(opened: OpenedKeys) -> Finding:
    """Return who this is."""
    return good("keys", f"operator {opened.index}, signer {opened.attestation}, transmitter {opened.transmitter}")


def guard_is_held(operator: Operator, opened: OpenedKeys) -> bool:
    """Say whether a node signs with the key on this machine now."""
    path = guard_path(operator.directory / operator.keys.attestation)
    if not path.exists():
        return False
    try:
        open_guard(path, opened.attestation).close()
    except PlimsollError as error:
        return error.code == "guard_locked"
    return False


def examine_guard(operator: Operator, opened: OpenedKeys, *, runs: bool) -> Sequence[Finding]:
    """Return what the key may sign next.

    Raises:
        PlimsollError: the guard cannot be used.
    """
    path = guard_path(operator.directory / operator.keys.attestation)
    if not path.exists():
        return [
            care(
                "guard",
                "guard_put_back",
                f"{path}: missing: it is made at the start, and the key listens for two slots before it signs",
                "Put the newest copy of the guard back if there is one; make sure that no other machine has this key.",
            )
        ]
    if runs:
        return [good("guard", "held by the node that runs")]
    digest, now = operator.rules.config_digest, time.time()
    with open_guard(path, opened.attestation) as guard:
        marked, listens = guard.high_water_mark(digest), guard.must_listen(digest)
    slot = round_at(operator.committee, max(int(now), operator.committee.genesis_time))
    check_first_round(operator.rules, max((marked or 0) + 1, 0), now)
    said = "signed nothing in this network yet" if marked is None else f"signed up to round {marked}, now is {slot}"
    if listens:
        return [
            care(
                "guard",
                "key_in_use",
                f"{said}; it may not know all that the key signed: the key listens for two slots first",
                "Nothing to do, if no other machine has this key.",
            )
        ]
    return [good("guard", said)]


def examine_history(operator: Operator) -> Sequence[Finding]:
    """Return whether the prices that the network begins with are the committee's.

    Raises:
        InvalidData: they cannot be read, or are others.
    """
    history = load_history(operator.settings.market, operator.directory)
    check_history(history, operator.committee)
    hours = history.close.shape[1]
    end = datetime.fromtimestamp(history.first_hour + 3_600 * hours, UTC)
    said = f"{hours:,} hours of {len(history.factors)} factors until {end:%Y-%m-%d}, as the committee asks"
    if hours < HOURS_OF_A_YEAR:
        return [care("history", "history_short", said)]
    return [good("history", said)]


def _secret_files(operator: Operator) -> list[str]:
    keys = operator.keys
    files = [keys.attestation, keys.identity, keys.transmitter, keys.password_file]
    guard = guard_path(Path(keys.attestation))
    if (operator.directory / guard).exists():
        files.append(str(guard))
    if (operator.directory / certificate_path(Path(keys.identity))).exists():
        files.append(str(certificate_path(Path(keys.identity))))
    passwords = [broker.password_file for broker in operator.settings.network.brokers]
    return [*files, *(each for each in passwords if each is not None)]


def _mending(path: Path) -> str:
    if not path.exists():
        return f"Put it there, or correct [keys] in the settings: {path}"
    mode = "700" if path.is_dir() else "600"
    return f"chmod {mode} {path}; if others use this machine, take the key for known to them."
