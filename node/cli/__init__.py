"""The command line. Only click is imported here; each command imports its own module when it runs."""

from __future__ import annotations

import os
import sys

import click

from node.cli.assessing import assess, explain, verify
from node.cli.brokers import broker
from node.cli.committee import committee
from node.cli.doctor import doctor
from node.cli.endings import INTERRUPTED, status_of
from node.cli.founding import deploy
from node.cli.index import index
from node.cli.keys import keys
from node.cli.measuring import backtest, parameters
from node.cli.options import example
from node.cli.reading import history, positions, record
from node.cli.running import devnet, run, serve
from riskschema.errors import PlimsollError


def _print_version(context: click.Context, _parameter: click.Parameter, asked: bool) -> None:
    if not asked or context.resilient_parsing:
        return
    from importlib.metadata import PackageNotFoundError, version  # noqa: PLC0415 - takes as long as click itself

    try:
        found = version("plimsoll")
    except PackageNotFoundError:
        found = "from a source tree"
    click.echo(f"plimsoll, version {found}")
    context.exit()


@click.group(
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 120},
    epilog=example(
        "plimsoll run --devnet",
        "plimsoll assess --portfolio docs/examples/portfolio.json --market docs/examples/market.json",
    ),
)
@click.option(
    "--version",
    is_flag=True,
    expose_value=False,
    is_eager=True,
    callback=_print_version,
    help="Show the version and exit.",
)
def plimsoll() -> None:
    """Cross-protocol DeFi risk: read positions, compute one margin and one score, attest them.

    Results go to standard output, everything else to standard error. Exit status: 0 done, 75 failed but may pass, 78
    refused until somebody acts (the message says what and where), 2 wrong usage, 1 a defect, 130 interrupted.
    """


_COMMANDS = (
    *(run, serve, doctor, positions, assess, explain, verify, keys, record),
    *(index, history, backtest, parameters, deploy, committee, broker, devnet),
)
for _command in _COMMANDS:
    plimsoll.add_command(_command)


def main() -> None:
    """Run the command line; an expected failure becomes one clear line, its exit status says whether it may pass."""
    try:
        sys.exit(plimsoll(prog_name="plimsoll", standalone_mode=False) or 0)
    except PlimsollError as error:
        click.echo(f"plimsoll: {error.message} [{error.code}]", err=True)
        sys.exit(status_of(error))
    except click.ClickException as error:
        error.show()
        sys.exit(error.exit_code)
    except (click.Abort, KeyboardInterrupt):
        click.echo("plimsoll: interrupted", err=True)
        sys.exit(INTERRUPTED)
    except BrokenPipeError:
        # whoever read the output has enough; the interpreter must not flush into the closed pipe at exit
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(1)
