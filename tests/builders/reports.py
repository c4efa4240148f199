"""Plain values of what is signed and stored, for tests that care about a few of their fields."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import coincurve

from attest.encoding.keccak import keccak256
from attest.formats.certificate import Certificate, assemble_certificate
from attest.formats.committee import Committee, Operator
from attest.formats.eip712 import Destination, address_of, sign_digest, signing_digest
from attest.formats.header import ReportHeader
from attest.formats.leaf import AccountLeaf, subject_of
from riskschema.assessment import Assessment, ProbabilityInterval
from riskschema.units import Address, Probability, Usd, Wad

ORACLE = Address("0x" + "11" * 20)
SUBJECT = Address("0x" + "a1" * 20)
NO_HASH = bytes(32)


def signer_of(key: bytes) -> Address:
    """Return the address whose signatures a secp256k1 key makes."""
    return address_of(coincurve.PrivateKey(key).public_key.format(compressed=False))


def operators(keys: Iterable[bytes]) -> tuple[Operator, ...]:
    return tuple(Operator(signer=signer_of(key), identity=keccak256(b"identity" + key)) for key in keys)


def committee(**fields: Any) -> Committee:
    """A committee without operators, chains and venues that reports every 12 seconds, with these fields instead."""
    plain: dict[str, Any] = {
        "config_count": 0,
        "operators": (),
        "destinations": (Destination(chain_id=1, oracle=ORACLE),),
        "chains": (),
        "venues": (),
        "history_hash": NO_HASH,
        "genesis_time": 1_700_000_000,
        "round_interval_seconds": 12,
        "report_life_seconds": 600,
        "account_cap": 1_000,
        "requests_per_operator": 4,
    }
    return Committee(**(plain | fields))


def header(**fields: Any) -> ReportHeader:
    """The header of a complete report about nothing, with these fields instead; unstated hashes are zero."""
    plain: dict[str, Any] = dict.fromkeys(ReportHeader.__struct_fields__, NO_HASH)
    plain |= {"round": 1, "observed_at": 1, "valid_until": 2, "model_version": 1, "coverage_ppm": 1_000_000}
    plain |= dict.fromkeys(("account_count", "feed_count", "breaker_flags"), 0)
    return ReportHeader(**(plain | fields))


def certificate(
    signed: ReportHeader, keys: Sequence[bytes], destinations: Sequence[Destination], signers: Iterable[int]
) -> Certificate:
    """The certificate by the operators with these indices."""
    digest = signing_digest(signed, destinations)
    return assemble_certificate(signed, {index: sign_digest(digest, keys[index]) for index in signers})


def leaf(**fields: Any) -> AccountLeaf:
    """A healthy account, read at venues 0, 1 and 3, with these fields instead."""
    plain: dict[str, Any] = {
        "subject": subject_of(SUBJECT),
        "score": 250,
        "liquidation_probability_ppm": 3_000,
        "insolvency_probability_ppm": 10,
        "expected_loss": 12_00000000,
        "equity": 50_000_00000000,
        "initial_margin": 10_000_00000000,
        "maintenance_margin": 8_000_00000000,
        "worst_grid_loss": 7_000_00000000,
        "min_health": 1_850000000000000000,
        "venue_coverage": 0b1011,
        "flags": 0,
        "positions_commitment": keccak256(b"positions"),
    }
    return AccountLeaf(**(plain | fields))


def assessment(**fields: Any) -> Assessment:
    """An assessment without silos in which every amount differs from every other, with these fields instead."""
    plain: dict[str, Any] = {
        "subject": SUBJECT,
        "score": 370,
        "grade": "A",
        "liquidation_probability": Probability(3_000),
        "probability_interval": ProbabilityInterval(estimate=Probability(9), low=Probability(1), high=Probability(20)),
        "insolvency_probability": Probability(10),
        "expected_loss": Usd(11),
        "equity": Usd(-22),
        "initial_margin": Usd(33),
        "base_margin": Usd(32),
        "add_ons": Usd(1),
        "uncovered": None,
        "maintenance_margin": Usd(27),
        "siloed_margin": Usd(35),
        "net_margin": Usd(31),
        "static_margin": Usd(40),
        "worst_grid_loss": Usd(29),
        "worst_scenario": "down",
        "min_health": Wad(15 * 10**17),
    }
    plain |= dict.fromkeys(("silos", "explanation", "flags", "unread", "blocks"), ())
    return Assessment(**(plain | fields))
