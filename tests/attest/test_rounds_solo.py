"""A committee of one runs every step of a round."""

from tests.attest.round_kit import Operators


def test_x():
    assert Operators(1)
