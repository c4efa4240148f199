"""The committee as an operator's file, byte for byte the same for all."""

from __future__ import annotations

from pathlib import Path

from attest.encoding.canonical_json import decode_canonical, encode_canonical
from attest.formats.committee import Committee, check_committee
from node.settings import read_text
from riskschema.errors import InvalidData

MAX_COMMITTEE_BYTES = 1 << 20


def load_committee(path: Path) -> Committee:
    """Read and check a committee file.

    Raises:
        InvalidData: the file cannot be read, is not canonical, or describes no valid committee.
    """
    if not path.exists():
        raise InvalidData(
            f"committee {path}: No such file: `plimsoll deploy` writes it where a network is founded; everybody else "
            "gets a copy",
            code="file_unreadable",
        )
    text = read_text(path, what="committee", limit=MAX_COMMITTEE_BYTES)
    committee = decode_canonical(text.strip().encode(), Committee, what=str(path))
    check_committee(committee)
    return committee


def write_committee(path: Path, committee: Committee) -> None:
    """Write a committee file."""
    path.write_bytes(encode_canonical(committee) + b"\n")
