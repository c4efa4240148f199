"""The committee as an operator's file, byte for byte the same for all; its genesis history; what it is founded with."""

from __future__ import annotations

import tomllib
from pathlib import Path

from attest.encoding.canonical_json import decode_canonical, encode_canonical
from attest.formats.committee import Committee, check_committee
from attest.formats.parameters import AgreementParameters, check_parameters
from node.settings import MarketSettings, read_text
from riskschema.codec import MAX_DOCUMENT_BYTES, decode_json, from_builtins
from riskschema.errors import InvalidData
from riskschema.market import HourlyHistory

MAX_COMMITTEE_BYTES = 1 << 20
MAX_AGREEMENT_BYTES = 1 << 20


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


def load_history(market: MarketSettings, directory: Path) -> HourlyHistory:
    """Read the committee's genesis history.

    Raises:
        InvalidData: there is none, or it cannot be read.
    """
    if market.history_file is None:
        raise InvalidData("market.history_file is missing: the committee's genesis history", code="invalid_settings")
    path = directory / market.history_file
    text = read_text(path, what="history", limit=MAX_DOCUMENT_BYTES)
    return decode_json(text.encode(), HourlyHistory, what=str(path))


def write_committee(path: Path, committee: Committee) -> None:
    """Write a committee file."""
    path.write_bytes(encode_canonical(committee) + b"\n")


def load_agreement(path: Path | None) -> AgreementParameters:
    """Read the parameters of the agreement with which a committee is to be founded; those by default without a file.

    Raises:
        InvalidData: the file cannot be read, is no TOML, or holds an unknown or wrong key (named).
    """
    if path is None:
        return AgreementParameters()
    text = read_text(path, what="agreement", limit=MAX_AGREEMENT_BYTES)
    try:
        tree = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise InvalidData(f"{path}: {error}", code="invalid_settings") from error
    parameters = from_builtins(tree, AgreementParameters, what=str(path))
    check_parameters(parameters)
    return parameters
