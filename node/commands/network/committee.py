"""`plimsoll committee`: several operators found one together, each by its own hand, without trusting who gathers."""

from __future__ import annotations

import json
import re
import urllib.request
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path
from typing import Unpack

import click
import msgspec

from attest.agreement.rules import AgreementRules
from attest.encoding.canonical_json import decode_canonical, encode_canonical
from attest.formats.committee import Committee, Operator
from attest.formats.parameters import AgreementParameters, ChainParameters
from attest.formats.quorums import tolerated_faults
from attest.keys.certificates import operator_certificate
from attest.keys.joining import Draft, JoinRequest, assemble_committee, draft_hash, make_join_request
from attest.keys.keystore import open_identity, open_keystore
from node.commands.deploy import draft_network, initialise_network
from node.commands.documents import read_document, require_directory_of
from node.commands.network.founding import FoundingChoices
from node.committee_file import load_committee, load_history, write_committee
from node.committee_fit import check_agreement, check_history
from node.round.reading import configured_venues
from node.settings import Settings, load_settings
from riskschema.errors import InvalidData, TransientError

CERTIFICATES = "certificates"
ASK_SECONDS = 5.0
MAX_METRICS_BYTES = 4 << 20
SAFE_SHARE = 2
"""The interval is at least so many times what all but one in a hundred rounds take."""
QUANTILE = 0.99


def init_committee(config: Path, output: Path, *, begins_in: int, **chosen: Unpack[FoundingChoices]) -> None:
    """Deploy the contracts and write the draft that operators join.

    Raises:
        InvalidData: the settings lack something, or the draft exists; nothing is sent.
        FatalError: the account cannot pay, or a transaction failed.
        TransientError: an endpoint failed.
    """
    draft = draft_network(config, output, begins_in=begins_in, chosen=chosen)
    click.echo(f"{output}: give it to every operator, who joins with `plimsoll committee join`")
    click.echo(f"draft  {_spoken(draft_hash(draft))}")


def join_committee(draft_file: Path, config: Path, output: Path) -> None:
    """Write this operator's join request for a draft.

    Raises:
        InvalidData: the draft is not what the settings read, or the output exists.
        FatalError: the keys cannot be opened.
    """
    settings = load_settings(config)
    draft = _draft(draft_file)
    _check_fit(settings, draft.committee, config.parent)
    if settings.keys is None:
        raise InvalidData("[keys] is missing: make keys with `plimsoll keys create`", code="invalid_settings")
    _refuse_existing(output)
    password = config.parent / settings.keys.password_file
    identity = open_identity(config.parent / settings.keys.identity, password)
    signer = open_keystore(config.parent / settings.keys.attestation, password)
    request = make_join_request(
        draft,
        Operator(signer=signer.address, identity=identity.public_key),
        operator_certificate(identity),
        sign_identity=identity.sign,
        sign_attestation=signer.sign,
    )
    output.write_bytes(encode_canonical(request) + b"\n")
    _say_parameters(draft.committee.parameters)
    click.echo(f"{output}: give it to every other operator; it holds no secret")
    click.echo(f"draft  {_spoken(draft_hash(draft))}")


def initialise_committee(
    draft_file: Path, committee_file: Path, config: Path, *, max_fee_gwei: int, confirmed: bool
) -> None:
    """Initialise the contract with a confirmed committee: once, by who drafted it.

    Raises:
        InvalidData: the committee is not of the draft.
        FatalError: the account cannot pay, or the transaction failed.
        TransientError: an endpoint failed.
    """
    draft, committee = _draft(draft_file), load_committee(committee_file)
    if msgspec.structs.replace(committee, operators=()) != draft.committee:
        raise InvalidData(f"{committee_file} is not a committee of {draft_file}", code="invalid_settings")
    initialise_network(config, draft, committee, max_fee_gwei=max_fee_gwei, confirmed=confirmed)
    click.echo(f"the contract {committee.destinations[0].oracle} has its committee")


def confirm_committee(draft_file: Path, requests: Sequence[Path], output: Path) -> None:
    """Check all join requests, write the committee file, and print the digest to compare by voice.

    Raises:
        InvalidData: a proof is wrong, or together they are no committee.
    """
    draft = _draft(draft_file)
    joined = [_request(path) for path in requests]
    committee = assemble_committee(draft, joined)
    _refuse_existing(output)
    write_committee(output, committee)
    folder = output.parent / CERTIFICATES
    folder.mkdir(exist_ok=True)
    for request in joined:
        (folder / f"{request.operator.identity.hex()}.crt").write_text(request.certificate)
    click.echo(f"{output}: {len(joined)} operators; their certificates for brokers are in {folder}")
    click.echo("Read these digits to each other by voice; all must have the same:\n")
    click.echo(_spoken(AgreementRules.of(committee).config_digest))


def show_committee(file: Path) -> None:
    """Print who is in a committee, and what it takes to agree.

    Raises:
        InvalidData: it is no committee file.
    """
    committee = load_committee(file)
    rules = AgreementRules.of(committee)
    click.echo(_spoken(rules.config_digest))
    click.echo(
        f"\n{rules.n} operators, {tolerated_faults(rules.n)} may be faulty, {rules.certifying} certify a report; "
        f"a round every {committee.round_interval_seconds} s since {committee.genesis_time}"
    )
    for index, operator in enumerate(committee.operators):
        click.echo(f"{index + 1:>3}  {operator.signer}  {operator.identity.hex()}")
    for destination in committee.destinations:
        click.echo(f"contract {destination.oracle} on chain {destination.chain_id}")
    _say_parameters(committee.parameters)


def check_committee_of(config: Path, *, monitoring: str | None) -> None:
    """Hold settings, and the speed of this machine's rounds, against the committee.

    Raises:
        InvalidData: naming what does not fit.
        TransientError: the monitoring port does not answer.
    """
    settings = load_settings(config)
    if settings.committee_file is None:
        raise InvalidData("committee_file is missing: say where the committee file lies", code="invalid_settings")
    committee = load_committee(config.parent / settings.committee_file)
    _check_fit(settings, committee, config.parent)
    click.echo(f"{settings.committee_file}: the settings read what the committee reads")
    if monitoring is not None:
        _check_interval(committee, round_quantile(_metrics(monitoring)))


def round_quantile(exposition: str) -> float:
    """Return what all but one in a hundred rounds take, in seconds, from above: the sum over their steps.

    Raises:
        InvalidData: no round was measured, or some took longer than is measured.
    """
    found = re.findall(r'plimsoll_step_duration_seconds_bucket\{le="([^"]+)",step="([^"]+)"\} (\S+)', exposition)
    counts: dict[str, list[tuple[float, float]]] = {}
    for bound, step, count in found:
        counts.setdefault(step, []).append((float(bound), float(count)))
    steps = [step for step, buckets in counts.items() if step != "publish" and buckets[-1][1]]
    if not steps:
        raise InvalidData("no round was measured yet: let the node run for a while", code="invalid_settings")
    return sum(_quantile(sorted(counts[step])) for step in steps)


def _quantile(buckets: Sequence[tuple[float, float]]) -> float:
    wanted = QUANTILE * buckets[-1][1]
    for bound, count in buckets:
        if count >= wanted and bound != float("inf"):
            return bound
    raise InvalidData("some steps take longer than is measured", code="invalid_settings")


def _check_interval(committee: Committee, longest: float) -> None:
    interval = committee.round_interval_seconds
    if interval < SAFE_SHARE * longest:
        raise InvalidData(
            f"99 of 100 rounds take up to {longest:.2f} s here, and the interval is {interval} s: it must be at least "
            f"{SAFE_SHARE * longest:.1f} s, or this operator will be late",
            code="invalid_settings",
        )
    click.echo(f"99 of 100 rounds take less than {longest:.2f} s; the interval is {interval} s")


def _metrics(url: str) -> str:
    address = f"{url.rstrip('/')}/metrics"
    if not address.startswith(("http://", "https://")):
        raise InvalidData(f"{url}: not an http address", code="invalid_settings")
    try:
        with urllib.request.urlopen(address, timeout=ASK_SECONDS) as answer:  # noqa: S310 - http(s) only, above
            text: bytes = answer.read(MAX_METRICS_BYTES)
    except OSError as error:
        raise TransientError(f"{address}: {error}", code="signer_silent") from error
    return text.decode(errors="replace")


def _check_fit(settings: Settings, committee: Committee, directory: Path) -> None:
    venues = tuple(venue for chain in settings.chains for venue in configured_venues(chain))
    check_agreement(settings, committee, venues)
    check_history(load_history(settings.market, directory), committee)


def _say_parameters(parameters: AgreementParameters) -> None:
    """Print every parameter of the agreement as the file of `--agreement` would say it."""
    for name in AgreementParameters.__struct_fields__:
        if name not in ("chains", "factors"):
            click.echo(f"{name} = {getattr(parameters, name)}")
    click.echo(f"factors = {json.dumps(parameters.factors)}")
    for chain in parameters.chains:
        click.echo("[[chains]]")
        for name in ChainParameters.__struct_fields__:
            click.echo(f"{name} = {getattr(chain, name)}")


def _draft(path: Path) -> Draft:
    return decode_canonical(read_document(path, what="draft").strip(), Draft, what=str(path))


def _request(path: Path) -> JoinRequest:
    return decode_canonical(read_document(path, what="join request").strip(), JoinRequest, what=str(path))


def _refuse_existing(path: Path) -> None:
    if path.exists():
        raise InvalidData(f"{path}: exists already", code="invalid_settings")
    require_directory_of(path, what="--output")


def _spoken(digest: bytes) -> str:
    """Return a digest in groups that two people can compare over a telephone."""
    text = digest.hex()
    groups = [text[start:end] for start, end in pairwise(range(0, len(text) + 1, 4))]
    return "\n".join("  ".join(groups[row : row + 8]) for row in (0, 8))
