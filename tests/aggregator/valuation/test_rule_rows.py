"""What a venue sees: its oracle's answer, anew at a deviation or a heartbeat, blind to what it does not follow."""

from __future__ import annotations

from typing import Any

import msgspec
import numpy as np
import pytest

from aggregator.exact.buffers import view32
from aggregator.rule_terms import RuleRow
from aggregator.valuation.arrays import build_arrays
from aggregator.valuation.oracles import Feed, answers, follow
from aggregator.valuation.rule_rows import rule_key
from riskschema.instruments import Token, WrappedToken
from riskschema.market import Factor, FactorQuote
from riskschema.portfolio import VenueOracle
from riskschema.units import WAD, Wad

HOUR = 3_600


def path(*steps: tuple[float, float, float]) -> np.ndarray:
    """Return a day: the given hours' low, high and close, then an hour like the last to the end."""
    hours = [*steps, *[(steps[-1][2],) * 3] * (24 - len(steps))]
    return np.array([1.0, *(side for hour in hours for side in hour)])


def test_an_answer_stays_until_the_market_differs_by_the_deviation() -> None:
    found = answers(path((0.996, 1.001, 0.997), (0.994, 0.998, 0.996)), 1.0, Feed(0.005, 0, 10**6))
    assert found[:4].tolist() == [1.0, 1.0, 1.0, 1.0]
    assert found[4:7].tolist() == [0.994, 0.994, 0.994], "the low, from which neither high nor close differ so much"


def test_a_low_a_high_and_a_close_are_answered_one_after_the_other() -> None:
    found = answers(path((0.95, 1.04, 1.0)), 1.0, Feed(0.005, 0, 10**6))
    assert found[1:4].tolist() == [0.95, 1.04, 1.0]


def test_the_heartbeat_answers_at_a_close() -> None:
    found = answers(path((0.999, 1.001, 0.998), (0.998, 0.998, 0.998)), 1.0, Feed(0.005, 0, 2 * HOUR))
    assert found[1:7].tolist() == [1.0, 1.0, 1.0, 1.0, 1.0, 0.998]
    due = answers(path((0.999, 1.001, 0.998)), 1.0, Feed(0.005, HOUR, 2 * HOUR))
    assert due[1:4].tolist() == [1.0, 1.0, 0.998]


def test_a_market_ahead_of_its_oracle_is_answered_in_the_first_hour() -> None:
    found = answers(path((1.0, 1.0, 1.0)), 1.03, Feed(0.005, 0, 10**6))
    assert found[:3].tolist() == [1.03, 1.0, 1.0]


def test_every_path_begins_at_the_answer_now_and_the_kernel_equals_its_plain_twin() -> None:
    random = np.random.default_rng(4)
    market = np.concatenate([[1.0], np.exp(random.normal(size=72 * 5) * 0.01)])
    results = np.empty((2, market.size))
    feed = Feed(0.02, 100, 7 * HOUR)
    follow(market, 1.01, feed, results[0])
    follow.py_func(market, 1.01, feed, results[1])
    assert results[0].tobytes() == results[1].tobytes()
    again = answers(np.concatenate([[1.0], market[1 + 72 :]]), 1.01, feed)
    assert again[1:].tobytes() == results[0][1 + 72 :].tobytes()


def rows(lab, parameters, *wanted: RuleRow, **prices: float) -> list[np.ndarray]:
    """Return each row's values over its value now, path columns only."""
    found = build_arrays([], wanted, lab.market(None, **prices), parameters)
    mantissas = view32(found.rule.mantissas).astype(float)
    lines = [mantissas[found.rule.keys.index(rule_key(row))] for row in wanted]
    return [line[1:] / line[0] for line in lines]


def wsteth(lab) -> WrappedToken:
    token = msgspec.structs.replace(lab.token("ETH"), symbol="wstETH", factor="WSTETH")
    return WrappedToken(token=token, underlying=lab.token("ETH"), index=lab.wad("1.2"))


def row(lab, instrument: Any, price: float, kind: Any = "market", **change: Any) -> RuleRow:
    oracle = VenueOracle(kind=kind, **change)
    return RuleRow(instrument=instrument, numeraire="USD", price=lab.wad(price), oracle=oracle)


def test_only_a_market_oracle_sees_the_discount(lab, small_parameters) -> None:
    ether, *staked = rows(
        lab,
        small_parameters,
        row(lab, lab.token("ETH"), 2_000),
        *(row(lab, wsteth(lab), 2_400, kind) for kind in ("market", "exchange_rate", "capped", "fixed")),
    )
    market, rate, capped, fixed = (line / ether for line in staked)
    assert market.min() == pytest.approx(0.935, rel=1e-6), "June 2022"
    assert rate == pytest.approx(np.ones(rate.size), rel=1e-6), "both feeds answer at the same moments"
    assert capped == pytest.approx(np.ones(rate.size), rel=1e-6)
    assert staked[3].min() == staked[3].max() == 1.0
    assert fixed.max() > 1.01


def test_an_answer_that_lags_comes_to_the_market_and_a_capped_one_stays_below(lab, small_parameters) -> None:
    """Ether's feed says 1,960 while the market is at 2,000."""
    ether, rate, capped = rows(
        lab,
        small_parameters,
        row(lab, lab.token("ETH"), 1_960),
        row(lab, wsteth(lab), 2_400 * 0.996, "exchange_rate"),
        row(lab, wsteth(lab), 2_400 * 0.98, "capped"),
    )
    (level,) = rows(lab, small_parameters, row(lab, lab.token("ETH"), 2_000))
    assert (ether * 1_960 / (level * 2_000)).min() > 0.985, "after an hour it is the market's"
    assert np.median(ether) == pytest.approx(np.median(level) * 2_000 / 1_960, rel=0.005)
    assert np.median(rate) == pytest.approx(np.median(level) / 0.996, rel=0.005)
    assert np.median(capped) == pytest.approx(np.median(level), rel=0.005), "what a cap takes off is no lag"


def test_a_debt_in_the_loan_asset_is_one_of_it_whatever_the_oracle_sees(lab, small_parameters) -> None:
    for kind in ("market", "fixed"):
        item = RuleRow(instrument=lab.token("USDC"), numeraire="USDC", price=lab.wad(1), numeraire_oracle=kind)
        (line,) = rows(lab, small_parameters, item)
        assert (line == 1.0).all()


def test_a_venue_that_takes_a_dollar_token_for_a_dollar_does_not_see_it_break(lab, small_parameters) -> None:
    held = RuleRow(instrument=lab.token("ETH"), numeraire="USDC", price=lab.wad(2_000))
    blind = msgspec.structs.replace(held, numeraire_oracle="fixed")
    seeing, taken = rows(lab, small_parameters, held, blind)
    assert (seeing / taken).max() > 1.1, "when USDC breaks, ether is worth more of it"


@pytest.mark.parametrize(("numeraire", "price"), [("WBTC", 40_180), ("WBTC", 39_820)])
def test_a_numeraire_off_its_peg_unseen_is_no_lag_of_what_is_priced_in_it(
    lab, small_parameters, numeraire, price
) -> None:
    """The venue takes wrapped bitcoin for bitcoin and says one is worth one, while it trades .45 % away from that."""
    quoted = FactorQuote(factor=numeraire, price=lab.wad(price), group="btc")
    market = lab.market()
    market = msgspec.structs.replace(market, quotes=(*market.quotes, quoted))
    for kind in ("exchange_rate", "capped"):
        item = RuleRow(
            instrument=lab.token("BTC"),
            numeraire=numeraire,
            price=lab.wad(1),
            oracle=VenueOracle(kind="exchange_rate"),
            numeraire_oracle=kind,
        )
        found = build_arrays([], [item], market, small_parameters)
        mantissas = view32(found.rule.mantissas).astype(float)[0]
        assert (mantissas == mantissas[0]).all()


def test_a_numeraire_with_an_index_between_is_worth_its_own_price(lab, small_parameters) -> None:
    """Taken for ether, a bridged wrapper at 1.2 ether made every collateral priced in it rise by a fifth at once."""
    bridged = Factor(name="AXL", group="eth", stream=9_999, underlying="WSTETH", peg="staking", parity=True)
    listed = msgspec.structs.replace(small_parameters, factors=(*small_parameters.factors, bridged))
    quotes = [FactorQuote(factor=name, price=lab.wad(2_400), group="eth") for name in ("WSTETH", "AXL")]
    staked = FactorQuote(factor="STETH", price=lab.wad(2_000), group="eth")
    market = msgspec.structs.replace(lab.market(), quotes=(*lab.market().quotes, staked, *quotes))
    price = Wad(2_000 * WAD // 2_400)
    item = RuleRow(instrument=lab.token("ETH"), numeraire="AXL", price=price, numeraire_oracle="exchange_rate")
    found = build_arrays([], [item], market, listed)
    mantissas = view32(found.rule.mantissas).astype(float)[0]
    assert mantissas / mantissas[0] == pytest.approx(1.0, rel=1e-6)


def test_deviation_and_heartbeat_of_an_oracle_come_before_the_groups(lab, small_parameters) -> None:
    slow = row(lab, lab.token("ETH"), 2_000, deviation=lab.wad("0.5"), heartbeat=10**9)
    (line,) = rows(lab, small_parameters, slow)
    assert (line == 1.0).mean() > 0.99


def test_what_differs_in_the_oracle_is_another_row(lab) -> None:
    token = Token(chain_id=1, address=lab.address(1), symbol="X", decimals=18, factor="ETH")
    plain = RuleRow(instrument=token, numeraire="USD", price=lab.wad(1))
    names = {rule_key(plain), rule_key(row(lab, token, 1)), rule_key(row(lab, token, 1, age=5))}
    names.add(rule_key(msgspec.structs.replace(plain, numeraire_oracle="fixed")))
    assert len(names) == 4
    assert "oracle" not in rule_key(plain)
