"""A few users of the local chain by name: their grade, why it is so, and what would bring them down."""

from __future__ import annotations

import http.client
import urllib.request

from devnet.deployment import DeployedUser
from node.api.documents import AccountDocument
from riskschema.assessment import Assessment, LiquidationPrice
from riskschema.codec import decode_json
from riskschema.errors import InvalidData, TransientError
from riskschema.instruments import VenueId, protocol_of
from riskschema.units import WAD

INTRODUCED = ("prudent-ether", "edge-ether", "two-venues-edge", "hedged", "market-maker")
"""From safe to unsafe, from one venue to several, and one who owes nothing."""
ANSWER_SECONDS = 5.0


def read_assessment(url: str, user: DeployedUser, round_number: int) -> Assessment:
    """Ask the node's API for a user, as a wallet does.

    Raises:
        TransientError: it does not answer, or refuses.
        InvalidData: it answers something else.
    """
    address = f"{url}/v1/accounts/{user.address}?round={round_number}"
    try:
        with urllib.request.urlopen(address, timeout=ANSWER_SECONDS) as answer:  # noqa: S310 - our own API
            document = decode_json(answer.read(), AccountDocument, what=address)
    except (OSError, http.client.HTTPException) as error:
        raise TransientError(f"{address}: {error}", code="endpoint_unreachable") from error
    if document.assessment is None:
        raise InvalidData(f"{address}: kept by another version", code="not_kept")
    return document.assessment


def introduce(user: DeployedUser, assessment: Assessment) -> tuple[str, str]:
    """Return two lines: name, grade and story; then how likely a liquidation is, and what would bring it about."""
    name = f"  {user.name:<16} {assessment.grade:<4}"
    return f"{name} {user.story}", f"{'':<{len(name)}} {outlook(assessment)}"


def outlook(assessment: Assessment) -> str:
    """Return how likely a liquidation is, and the smallest price move that makes one possible."""
    if assessment.min_health is None:
        return "owes nothing, so that nothing can be liquidated"
    if assessment.grade == "D":
        return "can be liquidated now"
    risk = f"liquidation within 24 h: at most {assessment.liquidation_probability / 10_000:.3g} %"
    nearest = nearest_liquidation(assessment)
    if nearest is None:
        return f"{risk}; no price within reach makes one possible"
    venue, price = nearest
    return (
        f"{risk}; possible on {protocol_of(venue)} when {price.factor} {price.direction}s by "
        f"{abs(price.distance) / WAD:.1%}, to ${price.price / WAD:,.2f}"
    )


def nearest_liquidation(assessment: Assessment) -> tuple[VenueId, LiquidationPrice] | None:
    """Return the smallest move within reach that makes a silo liquidatable, and its venue; None where no move does."""
    found = [(silo.venue, each) for silo in assessment.silos for each in silo.liquidation_prices if each.within_reach]
    return min(found, key=lambda nearest: abs(nearest[1].distance), default=None)
