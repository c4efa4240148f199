"""Anyone who holds the published arrays recomputes an initial margin, offsets and add-ons included."""

from __future__ import annotations

import ast
from functools import cache
from pathlib import Path
from typing import Any

import msgspec
import pytest

from aggregator.assess import AssessmentBatch, assess
from riskschema.units import Wad
from tests.aggregator import recomputation

LONG, SHORT = {"ETH": 10.0, "USDC": -5_000.0}, {"USDC": 20_000.0, "ETH": -4.0}
PORTFOLIOS: dict[str, list[tuple[dict[str, float], dict[str, Any]]]] = {
    "two silos of one chain": [(LONG, {"protocol": "a"}), (SHORT, {"protocol": "b"})],
    "silos that share their collateral": [(LONG, {"cross_margin_group": "g"}), (SHORT, {"cross_margin_group": "g"})],
    "silos of two chains": [(LONG, {}), (SHORT, {"chain_id": 10})],
    "a hedge that is liquidated": [
        ({"ETH": 10.0, "USDC": -15_900.0}, {"protocol": "a"}),
        ({"USDC": 20_000.0, "ETH": -7.9}, {"protocol": "b"}),
    ],
    "a hedge whose small part is liquidated": [
        ({"ETH": 0.05, "USDC": -79.5}, {"protocol": "a"}),
        ({"USDC": 55.0, "ETH": -0.0219}, {"protocol": "b", "health": 0.99}),
        ({"USDC": 500.0, "ETH": -0.02}, {"protocol": "c"}),
    ],
    "every level at once": [
        (LONG, {"protocol": "a", "cross_margin_group": "g"}),
        ({"BTC": 1.0, "ETH": -3.0}, {"protocol": "a", "cross_margin_group": "g"}),
        ({"CRV": 5_000.0, "DAI": -100.0}, {"protocol": "b"}),
        ({"DAI": 90_000.0, "BTC": -1.5}, {"chain_id": 10}),
    ],
    "more than its market bears": [({"CRV": 4_000_000.0, "USDC": -1_000_000.0}, {}), (SHORT, {"protocol": "b"})],
}


@pytest.fixture(scope="module")
def batch(lab, parameters) -> AssessmentBatch:
    portfolios = [
        lab.portfolio(
            *(lab.lending(ledger, ident=str(place), **chosen) for place, (ledger, chosen) in enumerate(silos)),
            number=number,
        )
        for number, silos in enumerate(PORTFOLIOS.values(), start=1)
    ]
    market = lab.market()
    quotes = tuple(msgspec.structs.replace(quote, confidence=Wad(quote.price // 500)) for quote in market.quotes)
    paths = msgspec.structs.replace(parameters.paths, maximum_blocks=300)
    fewer = msgspec.structs.replace(parameters, paths=paths)  # the recomputation is plain Python
    return assess(portfolios, msgspec.structs.replace(market, quotes=quotes), fewer)


@pytest.fixture(scope="module")
def accounts(batch):
    return cache(lambda index: recomputation.Account(batch.arrays, batch.positions, index))


@pytest.mark.parametrize("name", PORTFOLIOS)
def test_an_initial_margin_is_recomputed_from_the_published_arrays(batch, accounts, name: str) -> None:
    index = list(PORTFOLIOS).index(name)
    found = batch.assessments[index]
    assert found.initial_margin / 1e8 == pytest.approx(accounts(index).initial_margin(), rel=1e-9, abs=1e-6)


def test_the_examples_have_offsets_add_ons_and_lost_hedges(batch, accounts) -> None:
    margins = {name: batch.assessments[index] for index, name in enumerate(PORTFOLIOS)}
    for name, found in margins.items():
        saved = (found.siloed_margin - found.initial_margin) / (found.siloed_margin - found.net_margin)
        expected = {"two silos of one chain": 0.5, "silos that share their collateral": 1, "silos of two chains": 0.25}
        assert saved == pytest.approx(expected.get(name, saved), abs=1e-6)
    lost = margins["a hedge that is liquidated"]
    assert accounts(list(PORTFOLIOS).index("a hedge that is liquidated")).touched
    assert lost.siloed_margin - lost.initial_margin < 0.49 * (lost.siloed_margin - lost.net_margin)
    kinds = {line.kind for line in margins["more than its market bears"].explanation}
    assert kinds >= {"liquidity", "concentration", "oracle", "hedge_not_credited"}


def test_the_recomputation_uses_nothing_of_the_engine() -> None:
    tree = ast.parse(Path(recomputation.__file__).read_text())
    imported = {
        alias.name if isinstance(node, ast.Import) else node.module
        for node in ast.walk(tree)
        if isinstance(node, ast.Import | ast.ImportFrom)
        for alias in node.names
    }
    assert imported == {"__future__", "collections", "math", "pathlib", "struct", "tomllib", "typing"}
