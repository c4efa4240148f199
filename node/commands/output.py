"""Tables for people; rich is imported only here."""

from __future__ import annotations

from collections.abc import Sequence

from rich.console import Console, Group, RenderableType
from rich.table import Table
from rich.text import Text

from node.explaining.sentences import barriers
from riskschema.assessment import Assessment, ProbabilityInterval
from riskschema.instruments import (
    Claim,
    Debt,
    Instrument,
    Token,
    UniswapV2Share,
    UniswapV3Liquidity,
    WrappedToken,
    protocol_of,
)
from riskschema.portfolio import Portfolio, Position
from riskschema.reasons import REASONS
from riskschema.units import WAD, FixedPoint, Wad


def print_table(content: RenderableType) -> None:
    """Write to standard output, as wide as the terminal."""
    Console().print(content)


def portfolio_table(portfolio: Portfolio) -> RenderableType:
    """Return silos and positions, and below them what could not be read."""
    table = Table(title=f"Positions of {portfolio.subject}", caption=_blocks(portfolio))
    for heading, justify in (("venue", "left"), ("health", "right"), ("position", "left"), ("quantity", "right")):
        table.add_column(heading, justify="left" if justify == "left" else "right", overflow="fold")
    for silo in portfolio.silos:
        health = "" if silo.health is None else _short(silo.health)
        for index, position in enumerate(silo.positions):
            first = index == 0
            table.add_row(
                f"{protocol_of(silo.venue)} ({silo.chain_id})" if first else "",
                health if first else "",
                _label(position.instrument),
                _quantity(position),
            )
    if not portfolio.silos:
        table.add_row("nothing held or owed", "", "", "")
    spare = [Text(f"- {item.venue}: set aside, {item.detail}", style="dim") for item in portfolio.aside]
    barred = [Text(f"! {line}", style="yellow") for silo in portfolio.silos for line in barriers(silo)]
    return Group(
        table, *_warnings([(item.venue, item.code, item.detail) for item in portfolio.unread]), *barred, *spare
    )


def assessment_table(assessment: Assessment, changes: Sequence[str]) -> RenderableType:
    """Return the assessment as a table of figures, and below it the changes that would earn a better grade."""
    figures = Table(title=f"Assessment of {assessment.subject}", show_header=False)
    figures.add_column(justify="left")
    figures.add_column(justify="right")
    rows: list[tuple[str, str]] = [
        ("grade", assessment.grade),
        ("score (0 safest, 1000 certain)", str(assessment.score)),
        ("liquidation within 24 h, at most", f"{assessment.liquidation_probability.wire():.2%}"),
        ("its estimate, with 95 % interval", _interval(assessment.probability_interval)),
        ("equity", _usd(assessment.equity)),
        ("initial margin", _usd(assessment.initial_margin)),
        ("  base: what may be lost", _usd(assessment.base_margin)),
        ("  add-ons: what size costs", _usd(assessment.add_ons)),
        ("maintenance margin", _usd(assessment.maintenance_margin)),
        ("if every silo stood alone", _usd(assessment.siloed_margin)),
        ("if all were cross-margined", _usd(assessment.net_margin)),
        ("fixed percentages would ask", _usd(assessment.static_margin)),
        (f"worst scenario: {assessment.worst_scenario}", _usd(assessment.worst_grid_loss)),
    ]
    for name, value in rows:
        figures.add_row(name, value)
    silos = Table(title="Silos")
    for heading in ("venue", "health", "distance", "equity", "24 h probability", "liquidation prices"):
        silos.add_column(heading, overflow="fold")
    for silo in assessment.silos:
        prices = ", ".join(
            f"{price.factor} {_short(price.price)} ({price.distance / WAD:+.1%})" for price in silo.liquidation_prices
        )
        silos.add_row(
            f"{protocol_of(silo.venue)} ({silo.chain_id})",
            "" if silo.health is None else _short(silo.health),
            "" if silo.distance is None else f"{silo.distance / WAD:.1%}",
            _usd(silo.equity),
            f"{silo.liquidation_probability.wire():.2%}" if silo.health is not None or prices else "",
            prices,
        )
    unread = [(item.venue, item.code, item.detail) for item in assessment.unread]
    better = [Text(f"better by {change}") for change in changes]
    return Group(figures, silos, *better, *_warnings(unread + [("flag", flag, "") for flag in assessment.flags]))


def _interval(found: ProbabilityInterval) -> str:
    return f"{found.estimate.wire():.2%} ({found.low.wire():.2%} to {found.high.wire():.2%})"


def _warnings(items: Sequence[tuple[str, str, str]]) -> list[Text]:
    lines = []
    for where, code, detail in items:
        reason = REASONS.get(code)
        text = f"{reason.short}. {reason.long}" if reason else code
        lines.append(Text(f"! {where}: {text} {detail}".rstrip(), style="yellow"))
    return lines


def _blocks(portfolio: Portfolio) -> str:
    return ", ".join(f"chain {block.chain_id} at block {block.number}" for block in portfolio.blocks)


def _label(instrument: Instrument) -> str:
    match instrument:
        case Token(symbol=symbol) | WrappedToken(token=Token(symbol=symbol)):
            return symbol
        case Claim():
            return f"{instrument.token.symbol} supplied"
        case Debt():
            return f"{instrument.token.symbol} owed"
        case UniswapV2Share():
            return f"{instrument.token0.symbol}/{instrument.token1.symbol} liquidity"
        case UniswapV3Liquidity():
            pair = f"{instrument.token0.symbol}/{instrument.token1.symbol}"
            return f"{pair} liquidity in ticks {instrument.tick_lower}..{instrument.tick_upper}"
        case _:
            return f"{instrument.market} {type(instrument).__name__.lower()}"


def _quantity(position: Position) -> str:
    match position.instrument:
        case Token(decimals=decimals):
            return _units(position.quantity, decimals)
        case Claim(token=token) | Debt(token=token) | WrappedToken(token=token):
            return _units(position.quantity, token.decimals)
        case _:
            return str(int(position.quantity))


def _units(quantity: int, decimals: int) -> str:
    whole, fraction = divmod(abs(quantity), 10**decimals)
    digits = f"{fraction:0{decimals}d}".rstrip("0")[:8] if decimals else ""
    return f"{'-' if quantity < 0 else ''}{whole:,}{'.' + digits if digits else ''}"


def _short(value: Wad) -> str:
    return f"{int(value) / 10**18:,.6g}"


def _usd(value: FixedPoint) -> str:
    return f"${int(value) / 10**8:,.2f}"
