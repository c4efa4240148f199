"""What the settings say that reports are made of: the same at all operators, and hashed into every report."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec

from aggregator.parameters import Parameters
from attest.agreement.rules import AgreementRules
from attest.encoding.keccak import keccak256
from attest.reports.report import Model
from node.named_oracles import NamedOracle
from node.round.reading import ConfiguredVenue
from node.settings import Asset, Settings
from riskschema.codec import encode_json
from riskschema.instruments import ChainId, FactorId, VenueId
from riskschema.market import Factor, Group
from riskschema.units import Hash32


class AgreedChain(msgspec.Struct, frozen=True, kw_only=True):
    """What the tokens of a chain follow."""

    chain_id: ChainId
    assets: tuple[Asset, ...]
    """By address."""


class AgreedVenue(msgspec.Struct, frozen=True, kw_only=True):
    """What is read at a venue."""

    venue: VenueId
    deployment: Any
    """As the adapter takes it, defaults included: the order of its lists is that of the positions."""
    oracles: tuple[NamedOracle, ...]
    """By asset and market."""


class AgreedSettings(msgspec.Struct, frozen=True, kw_only=True):
    """All that ends in a report and is neither in the committee nor in the parameter file."""

    chains: tuple[AgreedChain, ...]
    """By chain id."""
    venues: tuple[AgreedVenue, ...]
    """In the order of the committee."""
    factors: tuple[Factor, ...]
    """By name."""
    groups: tuple[tuple[FactorId, Group], ...]
    """By factor."""


def agreed_settings(settings: Settings, venues: Sequence[ConfiguredVenue]) -> AgreedSettings:
    """Return what all operators must say alike, in an order that does not depend on how the file is written.

    A chain on which nothing is read, only published, is an operator's own.
    """
    observed = {venue.chain_id for venue in venues}
    return AgreedSettings(
        chains=tuple(
            AgreedChain(chain_id=chain.chain_id, assets=tuple(sorted(chain.assets, key=lambda asset: asset.address)))
            for chain in sorted(settings.chains, key=lambda chain: chain.chain_id)
            if chain.chain_id in observed
        ),
        venues=tuple(
            AgreedVenue(
                venue=venue.venue,
                deployment=venue.deployment,
                oracles=tuple(sorted(venue.oracles, key=lambda each: (each.asset, each.market))),
            )
            for venue in venues
        ),
        factors=tuple(sorted(settings.market.factors, key=lambda factor: factor.name)),
        groups=tuple(sorted(settings.market.groups.items())),
    )


def model_of(parameters: Parameters, rules: AgreementRules, agreed: AgreedSettings) -> Model:
    """Return what a report's header says that it was computed with: the hash of all three, and the model's version."""
    parts = (parameters.hash.to_bytes(), rules.parameters_hash, keccak256(encode_json(agreed)))
    return Model(parameters_hash=Hash32(keccak256(b"".join(parts))), version=parameters.model_version)
