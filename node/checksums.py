"""EIP-55: the capitals of a written address are its checksum, so a mistyped address is noticed."""

from __future__ import annotations

import re

from attest.encoding.keccak import keccak256
from riskschema.errors import InvalidData
from riskschema.units import Address, parse_address

_ADDRESS = re.compile(r"0x[0-9a-fA-F]{40}")


def checked_address(text: str, *, what: str) -> Address:
    """Read an address that a person gave: all lower case, all upper case, or with the right checksum.

    Raises:
        InvalidData: naming `what`, if `text` is no address or its capitals are not those of its checksum.
    """
    address = parse_address(text, what=what)
    refuse_wrong_checksum(text, what=what)
    return address


def refuse_wrong_checksum(text: str, *, what: str) -> None:
    """Do nothing where `text` is no address in mixed case.

    Raises:
        InvalidData: naming `what`, if it is one with another checksum.
    """
    digits = text[2:]
    if not _ADDRESS.fullmatch(text) or digits in (digits.lower(), digits.upper()):
        return
    right = checksummed(Address(text))
    if text != right:
        raise InvalidData(
            f"{what}: the capitals of {text} are not its checksum ({right}): check every digit, then write it in "
            "lower case or as given here",
            code="invalid_address",
        )


def checksummed(address: Address) -> str:
    """Return the address with the capitals of EIP-55."""
    digits = address[2:]
    digest = keccak256(digits.encode()).hex()
    return "0x" + "".join(
        digit.upper() if int(nibble, 16) >= 8 else digit for digit, nibble in zip(digits, digest, strict=False)
    )
