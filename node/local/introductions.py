"""A few users of the local chain by name: their grade, why it is so, and what would bring them down."""

from __future__ import annotations

import http.client
import urllib.request
from collections.abc import Mapping, Sequence

import msgspec

from devnet.deployment import DeployedUser
from node.api.documents import AccountDocument
from riskschema.assessment import LiquidationPrice, SiloAssessment
from riskschema.codec import decode_json
from riskschema.errors import TransientError
from riskschema.units import WAD, Wad

INTRODUCED = ("prudent-ether", "edge-ether", "two-venues-edge", "hedged", "market-maker")
"""From safe to unsafe, from one venue to several, and one who owes nothing."""
ANSWER_SECONDS = 5.0


class Nearest(msgspec.Struct, frozen=True):
    """The smallest price move that makes a silo liquidatable."""

    silo: SiloAssessment
    price: LiquidationPrice
    move: float
    """Share of the present price; negative is a fall."""


def read_account(url: str, user: DeployedUser, round_number: int) -> AccountDocument:
    """Ask the node's API for a user, as a wallet does.

    Raises:
        TransientError: it does not answer, or refuses.
        InvalidData: it answers something else.
    """
    address = f"{url}/v1/accounts/{user.address}?round={round_number}"
    try:
        with urllib.request.urlopen(address, timeout=ANSWER_SECONDS) as answer:  # noqa: S310 - our own API
            return decode_json(answer.read(), AccountDocument, what=address)
    except (OSError, http.client.HTTPException) as error:
        raise TransientError(f"{address}: {error}", code="endpoint_unreachable") from error


def introduce(user: DeployedUser, document: AccountDocument, prices: Mapping[str, Wad]) -> tuple[str, str]:
    """Return two lines: name, grade and story; then how likely a liquidation is, and what would bring it about.

    Args:
        user: Who.
        document: The API's answer.
        prices: Dollars per factor now.
    """
    name = f"  {user.name:<16} {document.assessment.grade:<4}"
    return f"{name} {user.story}", f"{'':<{len(name)}} {outlook(document, prices)}"


def outlook(document: AccountDocument, prices: Mapping[str, Wad]) -> str:
    """Return how likely a liquidation is, and the smallest price move that makes one possible."""
    assessment = document.assessment
    if assessment.min_health is None:
        return "owes nothing, so that nothing can be liquidated"
    if assessment.grade == "D":
        return "can be liquidated now"
    risk = f"liquidation within 24 h: at most {assessment.liquidation_probability / 10_000:.3g} %"
    nearest = nearest_liquidation(assessment.silos, prices)
    if nearest is None:
        return risk
    verb = "falls" if nearest.move < 0 else "rises"
    return (
        f"{risk}; possible on {nearest.silo.venue} when {nearest.price.factor} {verb} by {abs(nearest.move):.1%}, "
        f"to ${nearest.price.price / WAD:,.2f}"
    )


def nearest_liquidation(silos: Sequence[SiloAssessment], prices: Mapping[str, Wad]) -> Nearest | None:
    """Return the smallest move of one price that makes a silo liquidatable; None where no price can."""
    found = [
        Nearest(silo, each, each.price / prices[each.factor] - 1.0)
        for silo in silos
        for each in silo.liquidation_prices
        if each.factor in prices
    ]
    return min(found, key=lambda nearest: abs(nearest.move), default=None)
