"""What is computed from documents: an assessment, its explanation, and whether an attestation holds."""

from __future__ import annotations

from pathlib import Path

import click

from node.cli.options import PATH, example, json_option


@click.command(
    short_help="Compute margin, score and grade from files.",
    epilog=example(
        "plimsoll assess --portfolio docs/examples/portfolio.json --market docs/examples/market.json",
        "plimsoll assess --portfolio p.json --market m.json --history ETH=eth.csv --history BTC=btc.csv --json",
    ),
)
@click.option("--portfolio", type=PATH, required=True, help="Portfolio document (docs/schema/portfolio.json), or -.")
@click.option("--market", type=PATH, required=True, help="Market document (docs/schema/market_state.json), or -.")
@click.option(
    "--history",
    multiple=True,
    metavar="FACTOR=FILE",
    help="Hourly candles (.csv, .parquet) of a factor; repeat for further factors and files.",
)
@click.option("--parameters", type=PATH, help="Parameter file; default: the one of this release.")
@json_option
def assess(portfolio: Path, market: Path, history: tuple[str, ...], parameters: Path | None, as_json: bool) -> None:
    """Compute margin, liquidation probability, score and grade from files; needs no chain.

    Without --history (and without one in the market document) reference moves of each asset group stand in, and the
    result is flagged.
    """
    from node.commands.assess import assess_files  # noqa: PLC0415

    assess_files(portfolio, market, history=history, parameters_file=parameters, as_json=as_json)


@click.command(
    short_help="Say in sentences what was found, and what would improve it.",
    epilog=example("plimsoll explain --portfolio docs/examples/portfolio.json --market docs/examples/market.json"),
)
@click.option("--portfolio", type=PATH, required=True, help="Portfolio document (docs/schema/portfolio.json), or -.")
@click.option("--market", type=PATH, required=True, help="Market document (docs/schema/market_state.json), or -.")
@click.option(
    "--history",
    multiple=True,
    metavar="FACTOR=FILE",
    help="Hourly candles (.csv, .parquet) of a factor; repeat for further factors and files.",
)
@click.option("--parameters", type=PATH, help="Parameter file; default: the one of this release.")
@json_option
def explain(portfolio: Path, market: Path, history: tuple[str, ...], parameters: Path | None, as_json: bool) -> None:
    """Say in sentences how likely a liquidation is, where, what the margin is for, and what would earn a better grade.

    The changes (repay, add, close) are the smallest in each kind, found by assessing the changed account again.
    """
    from node.commands.explain import explain_files  # noqa: PLC0415

    explain_files(portfolio, market, history=history, parameters_file=parameters, as_json=as_json)


@click.command(
    short_help="Check an attestation as a stranger.",
    epilog=example("curl -s $NODE/v1/accounts/0xADDRESS | plimsoll verify - --rpc $RPC --oracle 0xORACLE"),
)
@click.argument("file", type=PATH)
@click.option("--rpc", "rpc_url", required=True, help="Any endpoint of the chain that the attestation is published on.")
@click.option("--oracle", help="The RiskOracle you trust; default: the one that the file names.")
@json_option
def verify(file: Path, rpc_url: str, oracle: str | None, as_json: bool) -> None:
    """Check an attestation as a stranger: signatures, Merkle proof, and the root the contract holds.

    FILE is what GET /v1/accounts/{address} returned, or - for standard input.
    """
    from node.commands.verify import verify_attestation  # noqa: PLC0415

    verify_attestation(file, rpc_url=rpc_url, oracle=oracle, as_json=as_json)
