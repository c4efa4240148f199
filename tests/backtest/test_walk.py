"""A walk forecasts from the past alone and observes what came."""

import msgspec
import numpy as np
import pytest

from aggregator.parameters import Parameters
from backtest.losses import log_loss
from backtest.margin import margin_report, scale_to_rate
from backtest.population import Population
from backtest.prices import HOUR, Prices
from backtest.report import markdown
from backtest.score import bin_of, score_report
from backtest.var import var_report
from backtest.walk import Walk, walk
from riskschema.errors import InvalidData

FORECASTS = (
    "value_at_risk",
    "shortfall",
    "probability",
    "unified",
    "static",
    "historical",
    "filtered",
    "silo_base",
    "silo_following",
)


@pytest.fixture(scope="module")
def walked(prices: Prices, population: Population, parameters: Parameters) -> Walk:
    return walk(prices, population, parameters, step=9)


def test_forecasts_do_not_know_the_day_they_are_made_for(
    prices: Prices, population: Population, parameters: Parameters, walked: Walk
) -> None:
    cut = (walked.days[0] - prices.first_hour) // HOUR
    tables = {name: getattr(prices, name).copy() for name in ("close", "high", "low")}
    for table in tables.values():
        table[:, cut:] //= 2
    crashed = walk(msgspec.structs.replace(prices, **tables), population, parameters, until=walked.days[0] + 86_400)
    assert crashed.days == walked.days[:1]
    for name in FORECASTS:
        assert np.array_equal(getattr(crashed, name)[0], getattr(walked, name)[0], equal_nan=True), name
    assert crashed.loss[0, 0] > 9_000 > walked.loss[0, 0]
    assert crashed.joint[0].tolist()[:2] == [1.0, 0.0]


def test_losses_of_the_engine_agree_with_those_of_plain_history_where_volatility_never_changes(walked: Walk) -> None:
    """Constant volatility: forecasts differ from plain history by the noise of the exponential average only."""
    assert np.nanmean(walked.value_at_risk[:, :2] / walked.historical[:, :2]) == pytest.approx(1.0, abs=0.2)
    assert np.nanmean(walked.formula[:, 0]) == pytest.approx(np.nanmean(walked.probability[:, 0]), rel=0.5)


def test_the_realised_loss_is_that_of_the_positions(walked: Walk, prices: Prices) -> None:
    start = (walked.days[2] - prices.first_hour) // HOUR
    eth = prices.close[1, start + 23] / prices.close[1, start - 1] - 1.0
    assert walked.loss[2, 0] == pytest.approx(-20_000 * eth)
    assert walked.loss[2, 3] == pytest.approx(-(20_000 - 16_000 / 1.08) * eth)
    assert walked.silo_account.tolist() == [0, 1, 2, 3, 3, 4, 5]


def test_every_report_can_be_read_by_people_and_says_what_holds(walked: Walk, parameters: Parameters) -> None:
    for report in (var_report(walked, parameters), score_report(walked, parameters), margin_report(walked, parameters)):
        page = markdown(report)
        assert f"{len(walked.days)} days from" in page
        assert all(bar.name in page for bar in report.bars)
        assert len(report.tables) >= 2


def test_days_without_a_year_before_them_are_refused(
    prices: Prices, population: Population, parameters: Parameters
) -> None:
    with pytest.raises(InvalidData, match="year of history"):
        walk(prices, population, parameters, until=prices.first_hour + 86_400 * 50)


def test_one_scale_makes_the_pooled_share_of_breaches_the_wanted_one() -> None:
    generator = np.random.default_rng(2)
    loss, requirement = generator.standard_t(4, (500, 20)), generator.uniform(1.0, 2.0, (500, 20))
    scale = scale_to_rate(loss, requirement, 0.01)
    assert (loss > scale * requirement).mean() == pytest.approx(0.01, abs=1e-4)


def test_bins_are_half_decades_and_log_loss_is_that_of_the_chance_given() -> None:
    assert bin_of(np.array([0.0005, 0.001, 0.002, 0.5])).tolist() == [0, 0, 1, 6]
    assert log_loss(np.array([0.25, 0.25]), np.array([1.0, 0.0])) == pytest.approx([np.log(4), np.log(4 / 3)])


def test_what_follows_the_forecast_is_part_of_the_base_and_no_less_than_its_share_of_the_shortfall(
    walked: Walk, parameters: Parameters
) -> None:
    following, base = walked.silo_following, walked.silo_base
    assert np.all(following <= base * (1 + 1e-9))
    assert np.any(following < 0.999 * base)
    assert np.min(following / walked.silo_shortfall) > parameters.shortfall.forecast_share - 0.01
