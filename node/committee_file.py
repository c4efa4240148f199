"""The committee as an operator's file: the canonical JSON that every operator must hold byte for byte."""

from __future__ import annotations

from pathlib import Path

from attest.canonical_json import decode_canonical, encode_canonical
from attest.committee import Committee, check_committee
from attest.hourly_table import history_hash
from node.settings import read_text
from riskschema.errors import FatalError
from riskschema.market import HourlyHistory
from riskschema.units import Hash32

MAX_COMMITTEE_BYTES = 1 << 20


def load_committee(path: Path) -> Committee:
    """Read and check a committee file.

    Raises:
        InvalidData: the file cannot be read, is not canonical, or describes no valid committee.
    """
    text = read_text(path, what="committee", limit=MAX_COMMITTEE_BYTES)
    committee = decode_canonical(text.strip().encode(), Committee, what=str(path))
    check_committee(committee)
    return committee


def write_committee(path: Path, committee: Committee) -> None:
    """Write a committee file."""
    path.write_bytes(encode_canonical(committee) + b"\n")


def check_history(history: HourlyHistory, committee: Committee) -> None:
    """Refuse a genesis history that is not the committee's.

    Raises:
        FatalError: the hashes differ.
    """
    if history_hash(history) != committee.history_hash:
        raise FatalError(
            f"the history file hashes to {Hash32(history_hash(history))}, the committee asks for "
            f"{Hash32(committee.history_hash)}: get the committee's history file",
            code="invalid_settings",
        )
