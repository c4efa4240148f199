"""`plimsoll index`: filled, shown, verified and taken over; what differs from the chain is refused."""

import shutil
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from node.index.opening import index_path
from node.round.reading import configured_venues, indexed_venues
from node.settings import load_settings
from riskschema.instruments import protocol_of
from tests.node.commands.conftest import Plimsoll
from tests.node.local_node import LocalNode

pytestmark = pytest.mark.chain


@pytest.fixture
def config(config: Path, tmp_path: Path) -> Path:
    """The settings with a data directory of their own."""
    return Path(shutil.copy(config, tmp_path))


def files(config: Path) -> dict[str, Path]:
    """Return the index files of the settings, by protocol."""
    settings = load_settings(config)
    venues = indexed_venues(configured_venues(settings.chains[0]))
    data = config.parent / settings.data_directory
    return {protocol_of(each.adapter.venue): index_path(data, each) for each in venues}


def test_indexes_are_filled_proved_and_shown(plimsoll: Plimsoll, network: LocalNode, config: Path) -> None:
    empty = plimsoll("index", "status", "--config", config, "--json").document
    assert [each["block"] for each in empty] == [None] * 3

    filled = plimsoll("index", "backfill", "--config", config, "--json").document
    assert {each["venue"].split(":")[0]: each["holders"] > 0 for each in filled} == dict.fromkeys(files(config), True)
    morpho = next(each for each in filled if each["venue"].startswith("morpho"))
    assert morpho["unproved"]
    assert all(book.startswith("collateral:") for book in morpho["unproved"])

    for each in plimsoll("index", "status", "--config", config, "--json").document:
        assert each["block"] == each["proved"] == filled[0]["block"]
        assert each["size"]["uncounted"] == 0 < each["size"]["logs"]
    told = plimsoll("index", "verify", "--config", config, "--all")
    assert told.status == 0
    assert told.output.count("as on the chain") == 3
    assert "aave_v3" in plimsoll("index", "status", "--config", config).output


def test_an_index_that_differs_from_the_chain_is_refused_and_mended_from_the_block_that_is_named(
    plimsoll: Plimsoll, network: LocalNode, config: Path
) -> None:
    assert plimsoll("index", "backfill", "--config", config).status == 0
    with closing(sqlite3.connect(files(config)["uniswap_v3"])) as connection, connection:
        (place,) = connection.execute("SELECT max(place) FROM logs").fetchone()
        connection.execute("DELETE FROM logs WHERE place = ?", (place,))
    why = plimsoll("index", "verify", "--config", config, "--all").refused()
    block = place >> 24
    assert f"1 differ from the chain, the first in block {block}" in why
    assert plimsoll("index", "backfill", "--config", config, "--from", block).status == 0
    assert plimsoll("index", "verify", "--config", config, "--all").status == 0


def test_another_operators_index_is_taken_over_where_it_is_as_the_chain_says_and_believed_for_nothing(
    plimsoll: Plimsoll, network: LocalNode, config: Path, tmp_path: Path
) -> None:
    assert plimsoll("index", "backfill", "--config", config).status == 0
    theirs, mine = tmp_path / "theirs.sqlite", files(config)["aave_v3"]
    with closing(sqlite3.connect(mine)) as connection:
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    shutil.copyfile(mine, theirs)
    assert "is there already" in plimsoll("index", "import", theirs, "--config", config).refused()
    mine.unlink()
    with closing(sqlite3.connect(theirs)) as connection, connection:
        connection.execute("UPDATE holdings SET units = x'01'")
    told = plimsoll("index", "import", theirs, "--config", config, "--all")
    assert "sums as the contracts say" in told.output
    mine.unlink()
    with closing(sqlite3.connect(theirs)) as connection, connection:
        connection.execute("DELETE FROM holdings WHERE book = 0")
        connection.execute("DELETE FROM logs WHERE place = (SELECT max(place) FROM logs)")
    assert "differ from the chain" in plimsoll("index", "import", theirs, "--config", config, "--all").refused()
    assert not mine.exists()


def test_a_venue_that_has_no_index_is_refused_with_those_that_have(
    plimsoll: Plimsoll, network: LocalNode, config: Path
) -> None:
    why = plimsoll("index", "status", "--config", config, "--venue", "wallet:1:x").refused()
    assert "aave_v3:31337:0x" in why
    assert "wallet:31337" not in why
