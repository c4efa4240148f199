"""The stage as a whole: what a portfolio's assessment promises."""

from __future__ import annotations

import math
from fractions import Fraction

import msgspec
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from aggregator.assess import assess, measure
from aggregator.valuation.arrays import arrays_digest_chunks
from riskschema.buffers import Column
from riskschema.codec import encode_json
from riskschema.instruments import Option, Perpetual, Token, UniswapV3Liquidity
from riskschema.portfolio import MarginFraction, Portfolio, PortfolioMargin, Position, Unread
from riskschema.units import WAD, Amount, Wad


def one(portfolio, market, parameters):
    return assess([portfolio], market, parameters).assessments[0]


@pytest.fixture(scope="module")
def borrower(lab):
    return lab.portfolio(lab.lending({"ETH": 10, "USDC": -13_000}), lab.wallet({"BTC": 0.05}))


def test_a_healthy_borrower_has_equity_margin_and_a_score_that_add_up(lab, parameters, borrower) -> None:
    found = one(borrower, lab.market(), parameters)
    assert found.equity == (20_000 - 13_000 + 2_000) * 10**8
    assert 0 < found.initial_margin < found.equity
    assert found.maintenance_margin == -(-found.initial_margin * 8 // 10)
    assert sum(line.amount for line in found.explanation) == found.initial_margin
    assert found.min_health == found.silos[0].health
    assert 0 < found.score < 1000
    assert found.grade in ("A", "BBB", "BB", "B", "CCC", "C")
    assert found.flags == ("history_short",)


def test_a_crash_makes_the_same_account_liquidatable_and_grade_d(lab, parameters) -> None:
    before = lab.portfolio(lab.lending({"ETH": 10, "USDC": -13_000}))
    after = lab.portfolio(lab.lending({"ETH": 10, "USDC": -13_000}, oracle={"ETH": 1500}))
    assert one(before, lab.market(), parameters).grade != "D"
    found = one(after, lab.market(ETH=1500), parameters)
    assert after.silos[0].health < WAD
    assert (found.grade, found.score, found.liquidation_probability) == ("D", 1000, 1_000_000)
    assert found.silos[0].liquidation_probability == 1_000_000


def test_a_venue_that_calls_a_silo_liquidatable_is_believed(lab, parameters) -> None:
    silo = lab.lending({"ETH": 10, "USDC": -1000}, health=0.999)
    assert one(lab.portfolio(silo), lab.market(), parameters).grade == "D"


def test_less_debt_never_scores_worse(lab, parameters) -> None:
    portfolios = [
        lab.portfolio(lab.lending({"ETH": 10, "USDC": -debt}), number=debt) for debt in range(4_000, 16_000, 500)
    ]
    scores = [item.score for item in assess(portfolios, lab.market(), parameters).assessments]
    assert scores == sorted(scores)
    assert scores[0] < 200
    assert scores[-1] > 900


def test_who_owes_nothing_is_safe(lab, parameters) -> None:
    found = one(lab.portfolio(lab.wallet({"ETH": 10})), lab.market(), parameters)
    assert (found.score, found.grade, found.min_health) == (0, "A", None)
    assert found.liquidation_probability == parameters.probability.published_floor_ppm
    assert found.expected_loss == found.insolvency_probability == 0


def test_an_empty_portfolio_is_all_zeros(lab, parameters) -> None:
    found = one(lab.portfolio(), lab.market(), parameters)
    assert (found.equity, found.initial_margin, found.score) == (0, 0, 0)
    assert found.explanation == ()


def test_dust_debt_does_not_decide_the_score_but_its_silo_says_how_near_it_is(lab, parameters) -> None:
    dust = lab.lending({"ETH": 0.0000051, "USDC": -0.008}, protocol="morpho_blue")
    found = one(lab.portfolio(dust, lab.wallet({"ETH": 10})), lab.market(), parameters)
    assert found.score == 0
    assert found.silos[0].liquidation_probability > 100_000


def test_the_order_of_accounts_and_silos_does_not_matter(lab, parameters, borrower) -> None:
    others = [lab.portfolio(lab.lending({"BTC": 1, "DAI": -n}), number=n) for n in (1000, 20_000, 25_000)]
    forward = assess([borrower, *others], lab.market(), parameters)
    turned = msgspec.structs.replace(borrower, silos=borrower.silos[::-1])
    backward = assess([*others[::-1], turned], lab.market(), parameters)
    assert encode_json(forward.assessments) == encode_json(backward.assessments[::-1])
    assert arrays_digest_chunks(forward.arrays) == arrays_digest_chunks(backward.arrays)


@given(st.data())
@settings(max_examples=20)
def test_what_strangers_hold_changes_no_byte_of_an_accounts_assessment(lab, small_parameters, data) -> None:
    random = np.random.default_rng(data.draw(st.integers(0, 2**32 - 1)))
    accounts = [random_account(lab, random, number) for number in range(1, 7)]
    market = data.draw(st.sampled_from([lab.market(), lab.market(lab.history(["BTC", "ETH", "LINK"], 24 * 60))]))
    together = assess(accounts, market, small_parameters).assessments
    chosen = random.permutation(6)[: data.draw(st.integers(1, 5))]
    fewer = assess([accounts[place] for place in chosen], market, small_parameters).assessments
    assert [encode_json(found) for found in fewer] == [encode_json(together[place]) for place in chosen]


def random_account(lab, random: np.random.Generator, number: int) -> Portfolio:
    """Return an account of a few silos over some of the factors, at times with a short option."""
    names = list(lab.assets)
    silos = []
    for place in range(random.integers(1, 4)):
        backing, owed = random.permutation(names)[: random.integers(1, 4)], random.choice(names)
        ledger = {str(name): float(random.uniform(100, 10_000)) / lab.assets[name][2] for name in backing}
        ledger[str(owed)] = -float(random.uniform(10, 300)) / lab.assets[owed][2]
        silos.append(lab.lending(ledger, protocol=f"p{place}", chain_id=int(random.integers(1, 3))))
    short = Option(
        venue="options:1:main",
        market="m",
        underlying=str(random.choice(names)),
        quote="USD",
        right="put",
        strike=lab.wad(random.integers(1, 3000)),
        expiry=1_700_000_000 + 30 * 86_400,
    )
    extra = [Position(instrument=short, quantity=Amount(-(10**16)))] if random.random() < 0.3 else []
    return lab.portfolio(*silos, lab.wallet({str(random.choice(names)): 1}, extra=extra), number=number)


def test_two_runs_give_the_same_bytes(lab, parameters, borrower) -> None:
    first, second = (assess([borrower], lab.market(), parameters) for _ in range(2))
    assert encode_json(first.assessments) == encode_json(second.assessments)
    assert encode_json(first.positions) == encode_json(second.positions)
    assert arrays_digest_chunks(first.arrays) == arrays_digest_chunks(second.arrays)


@given(
    units=st.lists(st.floats(0.01, 1000), min_size=4, max_size=4),
    loans=st.lists(st.floats(0.1, 0.79), min_size=2, max_size=2),
    chain=st.sampled_from([1, 10]),
)
@settings(max_examples=25)
def test_siloed_is_at_least_unified_and_unified_at_least_net(lab, small_parameters, units, loans, chain) -> None:
    silos = [
        lab.lending({"ETH": units[0], "USDC": -units[0] * 2000 * loans[0]}),
        lab.lending({"USDC": units[1] * 2000, "ETH": -units[1] * loans[1]}, protocol="morpho_blue", ident="a"),
        lab.lending({"BTC": units[2], "ETH": -units[2] * 10}, protocol="morpho_blue", chain_id=chain, ident="b"),
        lab.wallet({"CRV": units[3]}),
    ]
    found = one(lab.portfolio(*silos), lab.market(), small_parameters)
    assert found.siloed_margin >= found.initial_margin >= found.net_margin >= 0
    assert sum(line.amount for line in found.explanation) == found.initial_margin
    assert abs(sum(line.amount for line in found.explanation if line.kind == "rounding")) < 1000


def test_a_hedge_across_venues_is_credited_in_part(lab, parameters) -> None:
    long = lab.lending({"ETH": 10, "USDC": -5000})
    short = lab.lending({"USDC": 30_000, "ETH": -10}, protocol="morpho_blue")
    found = one(lab.portfolio(long, short), lab.market(), parameters)
    assert found.siloed_margin > found.initial_margin > found.net_margin
    (missed,) = (line.amount for line in found.explanation if line.kind == "hedge_not_credited")
    assert missed == pytest.approx(found.initial_margin - found.net_margin, abs=1000)


def test_a_hedge_that_is_liquidated_in_the_tail_earns_no_offset(lab, parameters) -> None:
    def saving(debt: float) -> float:
        long = lab.lending({"ETH": 10, "USDC": -debt})
        short = lab.lending({"USDC": 60_000, "ETH": -10}, protocol="morpho_blue")
        found = one(lab.portfolio(long, short), lab.market(), parameters)
        return (found.siloed_margin - found.initial_margin) / (found.siloed_margin - found.net_margin)

    assert saving(5000) == pytest.approx(0.5, abs=0.01)
    assert saving(15_900) < 0.25


def test_more_of_the_same_costs_in_proportion_until_size_costs_more(lab, parameters) -> None:
    small, large = (
        one(lab.portfolio(lab.lending({"ETH": n, "USDC": -n * 1000})), lab.market(), parameters) for n in (1, 1_000_000)
    )
    ratio = large.initial_margin / small.initial_margin / 1_000_000
    assert ratio > 1.05
    kinds = {line.kind for line in large.explanation}
    assert {"liquidity", "concentration"} <= kinds


def test_a_position_without_a_price_is_named_and_left_out(lab, parameters) -> None:
    unknown = Token(chain_id=1, address=lab.address(77), symbol="MEME", decimals=18, factor="eip155:1/erc20:0x4d")
    wallet = lab.wallet({"ETH": 1}, extra=[Position(instrument=unknown, quantity=Amount(10**18))])
    found = one(lab.portfolio(wallet), lab.market(), parameters)
    assert found.equity / 1e8 == pytest.approx(2000, abs=1e-3)
    assert "unpriced" in found.flags
    assert [(item.code, item.venue) for item in found.unread] == [("factor_unknown", "wallet:1:main")]
    assert found.grade == "A"


def test_a_debt_without_a_price_never_looks_safe(lab, parameters) -> None:
    silo = lab.lending({"ETH": 10, "CRV": -1})
    quotes = tuple(quote for quote in lab.market().quotes if quote.factor != "CRV")
    found = one(lab.portfolio(silo), msgspec.structs.replace(lab.market(), quotes=quotes), parameters)
    assert found.grade == "C"
    assert found.score >= 869
    assert "unpriced" in found.flags
    assert "factor_unknown" in {item.code for item in found.unread}


def test_a_numeraire_without_a_price_never_looks_safe(lab, parameters) -> None:
    silo = lab.lending({"ETH": 10, "USDC": -1}, numeraire="CRV")
    quotes = tuple(quote for quote in lab.market().quotes if quote.factor != "CRV")
    found = one(lab.portfolio(silo), msgspec.structs.replace(lab.market(), quotes=quotes), parameters)
    assert found.grade == "C"
    assert "factor_unknown" in {item.code for item in found.unread}


def test_a_rule_nobody_implemented_lowers_coverage_and_never_looks_safe(lab, parameters) -> None:
    silo = msgspec.structs.replace(
        lab.wallet({"ETH": 1}),
        venue="options:1:main",
        health=lab.wad(2),
        rule=PortfolioMargin(numeraire="USD", model="x"),
    )
    found = one(lab.portfolio(silo), lab.market(), parameters)
    assert [(item.code, item.venue) for item in found.unread] == [("rule_not_implemented", "options:1:main")]
    assert "venue_unread" in found.flags
    assert found.grade == "C"


def test_what_could_not_be_read_is_passed_on(lab, parameters) -> None:
    missing = Unread(
        chain_id=1,
        venue="aave_v3:1:main",
        market="main",
        account=lab.address(99),
        code="call_reverted",
        detail="paused",
    )
    portfolio = msgspec.structs.replace(lab.portfolio(lab.wallet({"ETH": 1})), unread=(missing,))
    found = one(portfolio, lab.market(), parameters)
    assert found.unread == (missing,)
    assert "venue_unread" in found.flags


def test_stale_quotes_are_flagged_for_those_who_hold_the_factor(lab, parameters) -> None:
    market = lab.market()
    quotes = tuple(msgspec.structs.replace(quote, stale=quote.factor == "BTC") for quote in market.quotes)
    market = msgspec.structs.replace(market, quotes=quotes)
    batch = assess([lab.portfolio(lab.wallet({name: 1})) for name in ("BTC", "ETH")], market, parameters)
    assert ["quote_stale" in item.flags for item in batch.assessments] == [True, False]


def test_the_liquidation_price_is_where_health_reaches_one(lab, parameters, borrower) -> None:
    found = one(borrower, lab.market(), parameters)
    prices = {item.factor: item.price / WAD for item in found.silos[0].liquidation_prices}
    assert prices["ETH"] == pytest.approx(13_000 / (10 * 0.8), rel=1e-7)
    assert prices["USDC"] == pytest.approx(10 * 0.8 * 2000 / 13_000, rel=1e-7)
    ways = {item.factor: (item.direction, item.within_reach) for item in found.silos[0].liquidation_prices}
    day = 3 / 365**0.5  # three standard deviations; ether would have to fall by less than a small token moves
    assert day * parameters.volatility.default_annual.eth < 1 - 1_625 / 2_000
    assert ways == {"ETH": ("fall", False), "USDC": ("rise", False)}


def test_a_numeraire_moves_both_sides_alike(lab, parameters) -> None:
    silo = lab.lending({"ETH": 10, "BTC": -0.3}, numeraire="BTC", oracle={"ETH": 0.05, "BTC": 1})
    found = one(lab.portfolio(silo), lab.market(), parameters)
    prices = {item.factor: item.price / WAD for item in found.silos[0].liquidation_prices}
    assert prices["ETH"] == pytest.approx(0.3 * 40_000 / (10 * 0.8), rel=1e-6)
    assert prices["BTC"] == pytest.approx(10 * 0.8 * 2000 / 0.3, rel=1e-6)


def test_liquidity_beside_debt_is_margined_but_not_liquidated(lab, parameters) -> None:
    item = UniswapV3Liquidity(
        chain_id=1,
        pool=lab.address(50),
        token0=lab.token("ETH"),
        token1=lab.token("USDC"),
        tick_lower=-202_000,
        tick_upper=-199_000,
    )
    wallet = lab.wallet(extra=[Position(instrument=item, quantity=Amount(10**16))])
    found = one(lab.portfolio(lab.lending({"ETH": 10, "USDC": -13_000}), wallet), lab.market(), parameters)
    assert found.silos[1].liquidation_prices == ()
    assert found.silos[1].initial_margin > 0
    assert any(line.silo == "wallet" and line.factor is None for line in found.explanation)


def perpetual_silo(lab, contracts: int, cash: float):
    item = Perpetual(
        venue="perps:1:main", market="ETH", base="ETH", quote="USD", payoff="linear", annual_funding_rate=Wad(0)
    )
    return msgspec.structs.replace(
        lab.wallet(),
        id="perps",
        venue="perps:1:main",
        health=lab.wad(2),
        rule=MarginFraction(
            numeraire="USD", fractions=(lab.wad("0.0625"), lab.wad(0)), entry_value=lab.wad(2000 * contracts)
        ),
        positions=(
            Position(instrument=item, quantity=Amount(contracts * WAD)),
            Position(instrument=lab.token("USDC"), quantity=Amount(int(cash * 10**6))),
        ),
    )


def test_a_perpetual_is_worth_its_gain_over_entry(lab, parameters) -> None:
    found = one(lab.portfolio(perpetual_silo(lab, 10, 3000)), lab.market(ETH=2100), parameters)
    assert found.equity / 1e8 == pytest.approx(3000 + 10 * 100, abs=1e-3)
    prices = {item.factor: item.price / WAD for item in found.silos[0].liquidation_prices}
    assert prices["ETH"] == pytest.approx((20_000 - 3000) / (10 * 0.9375), rel=1e-6)
    assert found.score > 500


def test_shorts_are_hurt_by_rises(lab, parameters) -> None:
    found = one(lab.portfolio(perpetual_silo(lab, -10, 3000)), lab.market(), parameters)
    prices = {item.factor: item.price / WAD for item in found.silos[0].liquidation_prices}
    assert prices["ETH"] == pytest.approx(23_000 / (10 * 1.0625), rel=1e-6)
    assert "+" in found.worst_scenario


def test_a_short_option_needs_margin_for_volatility(lab, parameters) -> None:
    item = Option(
        venue="options:1:main",
        market="m",
        underlying="ETH",
        quote="USD",
        right="call",
        strike=lab.wad(2200),
        expiry=1_700_000_000 + 30 * 86_400,
    )
    wallet = lab.wallet(extra=[Position(instrument=item, quantity=Amount(-WAD))])
    found = one(lab.portfolio(wallet), lab.market(), parameters)
    assert "volatility up" in found.worst_scenario or "tail" in found.worst_scenario
    assert found.initial_margin > 100 * 10**8


def test_a_giant_is_not_refused(lab, parameters) -> None:
    found = one(lab.portfolio(lab.lending({"ETH": 10**12, "USDC": -(10**15)})), lab.market(), parameters)
    assert found.equity / 1e8 == pytest.approx(2e15 - 1e15, rel=1e-7)


def test_a_market_with_history_is_used_and_flagged_as_simulated(lab, small_parameters, borrower) -> None:
    market = lab.market(lab.history(["BTC", "ETH", "USDC"], 24 * 90))
    found = one(borrower, market, small_parameters)
    assert found.flags == ("history_simulated",)


@pytest.mark.parametrize("contracts", [10, -10])
def test_contracts_without_a_price_of_their_cash_are_no_equity(lab, parameters, contracts) -> None:
    silo = perpetual_silo(lab, contracts, 3000)
    rule = msgspec.structs.replace(silo.rule, numeraire="NOWHERE")
    found = one(lab.portfolio(msgspec.structs.replace(silo, rule=rule)), lab.market(), parameters)
    assert found.equity == 3000 * 10**8
    assert found.initial_margin > 2000 * 10**8
    assert (found.grade, "unpriced" in found.flags) == ("C", True)
    assert found.silos[0].liquidation_probability > 300_000


@pytest.mark.parametrize("health", [None, 2])
def test_contracts_under_an_unknown_rule_are_neither_equity_nor_safe(lab, parameters, health) -> None:
    silo = msgspec.structs.replace(
        perpetual_silo(lab, 10, 3000),
        rule=PortfolioMargin(numeraire="USD", model="x"),
        health=health and lab.wad(health),
    )
    found = one(lab.portfolio(silo), lab.market(), parameters)
    assert found.equity == 3000 * 10**8
    assert found.grade == "C"
    assert found.silos[0].liquidation_probability > 300_000


def test_a_silo_with_a_debt_without_a_price_does_not_look_safe_either(lab, parameters) -> None:
    silo = lab.lending({"ETH": 10, "CRV": -1})
    quotes = tuple(quote for quote in lab.market().quotes if quote.factor != "CRV")
    found = one(lab.portfolio(silo), msgspec.structs.replace(lab.market(), quotes=quotes), parameters)
    assert found.silos[0].liquidation_probability == found.liquidation_probability > 300_000


def test_a_short_that_is_liquidated_in_time_is_not_insolvent(lab, parameters) -> None:
    """Six per cent of margin are left at liquidation: few hours jump over them, upward or downward."""
    found = [one(lab.portfolio(perpetual_silo(lab, n, 3000)), lab.market(), parameters) for n in (10, -10)]
    for item in found:
        assert item.liquidation_probability >= 50_000
        assert item.insolvency_probability < item.liquidation_probability / 5


def test_insolvency_is_never_likelier_than_liquidation(lab, parameters) -> None:
    dust = lab.lending({"ETH": 0.0251, "USDC": -40}, protocol="morpho_blue", bonus=10)
    found = one(lab.portfolio(dust, lab.lending({"ETH": 10, "USDC": -100})), lab.market(), parameters)
    assert found.insolvency_probability <= found.liquidation_probability


def test_more_collateral_never_scores_worse(lab, parameters) -> None:
    """Not even a mountain of something that may lose most of its value: it cannot lose more."""
    volatile = msgspec.structs.replace(
        lab.market(),
        quotes=tuple(
            msgspec.structs.replace(quote, annual_volatility=lab.wad(4) if quote.factor == "CRV" else None)
            for quote in lab.market().quotes
        ),
    )
    portfolios = [
        lab.portfolio(lab.lending({"USDC": 10_000, "DAI": -4000} | ({"CRV": more} if more else {})), number=index + 1)
        for index, more in enumerate((0, 1000, 10_000, 100_000, 10_000_000))
    ]
    scores = [item.score for item in assess(portfolios, volatile, parameters).assessments]
    assert scores == sorted(scores, reverse=True)


def test_violent_and_silent_markets_stay_finite(lab, parameters) -> None:
    """A jump out of a silent year, rescaled to 10,000 % volatility, overflows a float; every ratio stays a number."""
    calm = lab.history(["ETH", "USDC", "DAI"], 9_000, annual=0.001)
    jump = {}
    for name in ("close", "high", "low"):
        cells = np.frombuffer(getattr(calm, name).data, dtype="<i8").reshape(3, -1).copy()
        cells[:, 5000:] *= 10
        jump[name] = Column(dtype="int64", shape=cells.shape, data=cells.tobytes())
    history = msgspec.structs.replace(calm, **jump)
    quotes = tuple(
        msgspec.structs.replace(quote, annual_volatility=lab.wad(100)) if quote.factor in history.factors else quote
        for quote in lab.market().quotes
    )
    market = msgspec.structs.replace(lab.market(), quotes=quotes, history=history)
    option = Option(
        venue="v:1:main",
        market="m",
        underlying="ETH",
        quote="DAI",
        right="put",
        strike=lab.wad(9),
        expiry=1_800_000_000,
    )
    portfolio = lab.portfolio(
        lab.lending({"ETH": 10, "USDC": -10_000}, numeraire="USDC"),
        lab.wallet({"ETH": 1}, extra=[Position(instrument=option, quantity=Amount(WAD))]),
    )
    found = one(portfolio, market, parameters)
    assert found.siloed_margin >= found.initial_margin >= found.net_margin > 0


def test_filled_hours_are_flagged_for_those_who_are_exposed(lab, small_parameters) -> None:
    history = msgspec.structs.replace(lab.history(["BTC", "ETH"], 3000), filled=("ETH",))
    market = lab.market(history)
    batch = assess([lab.portfolio(lab.wallet({name: 1})) for name in ("BTC", "ETH")], market, small_parameters)
    assert ["history_filled" in item.flags for item in batch.assessments] == [False, True]


def test_an_account_whose_instrument_outgrows_the_arrays_is_flagged_and_no_other(lab, parameters) -> None:
    put = Option(
        venue="v:1:main",
        market="m",
        underlying="ETH",
        quote="USD",
        right="put",
        strike=lab.wad(40_000),
        expiry=1_702_592_000,
    )
    short = lab.portfolio(lab.wallet({"ETH": 1}, extra=[Position(instrument=put, quantity=Amount(-WAD))]), number=1)
    plain = lab.portfolio(lab.wallet({"ETH": 1}), number=2)
    market = msgspec.structs.replace(lab.market(), as_of=1_700_000_000)
    flagged, other = assess([short, plain], market, parameters).assessments
    assert "saturated" in flagged.flags
    assert "saturated" not in other.flags


def test_an_insolvency_probability_is_rounded_up(lab, parameters) -> None:
    """Paths of 1,100 are whole parts per million only by elevens."""
    silos = [lab.lending({"CRV": 1_000, "USDC": -debt}, weight=0.97, bonus=0.1) for debt in range(880, 960, 8)]
    portfolios = [lab.portfolio(silo, number=number) for number, silo in enumerate(silos)]
    batch = assess(portfolios, lab.market(), parameters)
    sums = measure(batch.positions, batch.arrays, parameters).touches.insolvencies
    paths = [Fraction(int(total), 10_000) for total in sums]
    published = [item.insolvency_probability for item in batch.assessments]
    assert published == [math.ceil(share * 1_000_000 / 1_100) for share in paths]
    assert any(share.denominator == 1 and share % 11 for share in paths)


def test_a_maintenance_margin_is_rounded_up(lab, parameters) -> None:
    portfolios = [lab.portfolio(lab.lending({"ETH": 1 + n / 7, "USDC": -900}), number=n) for n in range(1, 8)]
    for found in assess(portfolios, lab.market(), parameters).assessments:
        assert 0 <= found.maintenance_margin * 10 - found.initial_margin * 8 < 10
