"""How many operators may be faulty, and the four quorums, named by what they guarantee.

n operators of which f = ⌊(n - 1)/3⌋ may be faulty in any way. f and the quorums are derived, never configured; the
contract derives them too (Quorums.sol).
"""

from riskschema.errors import InvalidData

MAX_OPERATORS = 31


def check_committee_size(n: int) -> None:
    """Refuse a committee that is neither one operator nor 4 to 31: with 2 or 3, none may be faulty.

    Raises:
        InvalidData: `n` is another number.
    """
    if n != 1 and not 4 <= n <= MAX_OPERATORS:
        raise InvalidData(f"a committee has 1 or 4 to {MAX_OPERATORS} operators, not {n}", code="invalid_settings")


def tolerated_faults(n: int) -> int:
    """Return f = ⌊(n - 1)/3⌋.

    Raises:
        InvalidData: `n` is no committee size; so do all quorums.
    """
    check_committee_size(n)
    return (n - 1) // 3


def at_least_one_honest(n: int) -> int:
    """Return f + 1: among so many, one is honest."""
    return tolerated_faults(n) + 1


def honest_majority(n: int) -> int:
    """Return 2f + 1: among so many, the honest outnumber the faulty."""
    return 2 * tolerated_faults(n) + 1


def byzantine(n: int) -> int:
    """Return ⌊(n + f)/2⌋ + 1: two sets of so many share an honest operator."""
    return (n + tolerated_faults(n)) // 2 + 1


def available(n: int) -> int:
    """Return n - f: so many are sure to answer."""
    return n - tolerated_faults(n)
