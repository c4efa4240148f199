"""EIP-55 against the addresses of its own specification."""

import pytest

from node.checksums import checked_address, checksummed
from riskschema.errors import InvalidData
from riskschema.units import Address

SPECIFIED = [
    "0x52908400098527886E0F7030069857D2E4169EE7",
    "0x8617E340B3D01FA5F11F306F4090FD50E238070D",
    "0xde709f2102306220921060314715629080e2fb77",
    "0x27b1fdb04752bbc536007a920d24acb045561c26",
    "0x5aAeb6053F3E94C9b9A09f33669435E7Ef1BeAed",
    "0xfB6916095ca1df60bB79Ce92cE3Ea74c37c5d359",
    "0xdbF03B407c01E7cD3CBea99509d93f8DDDC8C6FB",
    "0xD1220A0cf47c7B9Be7A2E6BA89F429762e7b9aDb",
]


@pytest.mark.parametrize("text", SPECIFIED)
def test_the_addresses_of_the_specification_are_their_own_checksum(text: str) -> None:
    assert checksummed(Address(text)) == text
    assert checked_address(text, what="it") == Address(text)


@pytest.mark.parametrize("text", SPECIFIED[4:])
def test_one_capital_that_is_wrong_is_refused(text: str) -> None:
    place = next(index for index, sign in enumerate(text) if sign.isupper())
    wrong = text[:place] + text[place].lower() + text[place + 1 :]
    with pytest.raises(InvalidData, match=f"--account: the capitals of {wrong} are not its checksum"):
        checked_address(wrong, what="--account")
