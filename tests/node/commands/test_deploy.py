"""From nothing to an accepted report, the way docs/operating.md goes: keys, history, settings, deploy, run."""

import re
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from devnet.launch import launch
from devnet.local_chain import Devnet
from node.committee_file import load_committee
from node.key_files import PASSWORD, read_public_keys
from node.local.network import VENUES, prepare_local_network
from riskschema.instruments import protocol_of
from riskschema.units import Address
from tests.node.commands.conftest import Plimsoll
from tests.node.local_node import write_cheap_keys

pytestmark = pytest.mark.chain
HOUR = 3_600
PRICES = {"ETH": 3000.0, "BTC": 60000.0, "USDC": 1.0}


@pytest.fixture(scope="module")
def present() -> Iterator[Devnet]:
    """A chain that goes with the wall clock."""
    with launch() as devnet:
        yield devnet


@pytest.fixture
def operator(present: Devnet, tmp_path: Path, plimsoll: Plimsoll) -> Path:
    """An operator's directory: keys with some coin, history, and settings without committee and contract."""
    directory = tmp_path / "operator"
    directory.mkdir(mode=0o700)
    write_cheap_keys(directory / "keys")
    present.anvil.set_balance(read_public_keys(directory / "keys").transmitter, 10**18)
    files = [f"{factor}={candles(directory / f'{factor}.csv', price)}" for factor, price in PRICES.items()]
    assert plimsoll("history", *files, "--output", directory / "history.json").status == 0
    (directory / "plimsoll.toml").write_text(without_network(present, tmp_path))
    return directory


def candles(path: Path, price: float, *, behind: int = 1) -> Path:
    """Write 200 hours of candles, the last of them so many hours before now."""
    lines = ["ts,open,high,low,close,volume_base"]
    now = int(time.time())
    start = now - now % HOUR - (199 + behind) * HOUR
    for hour in range(200):
        close = price * (1 + 0.01 * ((hour * 7) % 5 - 2))
        lines.append(f"{start + hour * HOUR},{close},{close * 1.01},{close * 0.99},{close},1")
    path.write_text("\n".join(lines))
    return path


def without_network(devnet: Devnet, tmp_path: Path) -> str:
    """Return the settings that `run --devnet` writes, up to the part about the contract."""
    other = tmp_path / "other"
    other.mkdir(mode=0o700)
    write_cheap_keys(other / "keys")
    text = prepare_local_network(devnet, other, port=None, now=1_700_000_000).config_file.read_text()
    return text.split("[publish]")[0]


def test_a_network_is_founded_and_its_first_report_is_accepted(
    plimsoll: Plimsoll, operator: Path, present: Devnet
) -> None:
    config = operator / "plimsoll.toml"
    guardian = present.deployment.operator
    options = ("--round-interval", 2, "--guardian", guardian, "--yes", "--json")
    deployed = plimsoll("deploy", "--config", config, *options).document
    committee = load_committee(operator / "committee.json")
    keys = read_public_keys(operator / "keys")
    assert committee.signers == (keys.attestation,)
    venues = [rule.venue for rule in committee.venues]
    assert [protocol_of(venue) for venue in venues] == list(VENUES)
    assert f"morpho_blue:31337:{Address(present.deployment.morpho.singleton)}" in venues
    publish = f'[publish]\nchain_id = {deployed["chain_id"]}\noracle = "{deployed["oracle"]}"\npoll = 0.05\n'
    config.write_text(config.read_text() + publish)
    report = plimsoll("run", "--config", config, "--once").document
    assert report["accounts"] == len(present.deployment.users)
    assert report["gas"] > 0
    assert 0 < deployed["gas"] < 5_000_000


def test_what_to_add_to_the_settings_is_printed(plimsoll: Plimsoll, operator: Path) -> None:
    ended = plimsoll("deploy", "--config", operator / "plimsoll.toml", "--yes")
    assert re.search(r'\[publish\]\nchain_id = 31337\noracle = "0x[0-9a-f]{40}"', ended.output)
    message = plimsoll("deploy", "--config", operator / "plimsoll.toml", "--yes").refused()
    assert "exists already: this network is founded" in message


def refused(plimsoll: Plimsoll, operator: Path, *options: object) -> str:
    message = plimsoll("deploy", "--config", operator / "plimsoll.toml", "--yes", *options).refused()
    assert not (operator / "committee.json").exists()
    return message


def test_an_account_that_cannot_pay_is_refused_before_anything_is_sent(
    plimsoll: Plimsoll, operator: Path, present: Devnet
) -> None:
    account = read_public_keys(operator / "keys").transmitter
    present.anvil.set_balance(account, 1)
    assert f"the transmitter account {account} on chain 31337 has 1e-18" in refused(plimsoll, operator)
    assert present.anvil.rpc.request("eth_getTransactionCount", account, "latest") == "0x0"


def test_nothing_is_sent_without_a_yes(plimsoll: Plimsoll, operator: Path, present: Devnet) -> None:
    ended = plimsoll("deploy", "--config", operator / "plimsoll.toml", stdin=b"n\n")
    assert ended.status == 130
    assert "Send three transactions" in ended.messages
    account = read_public_keys(operator / "keys").transmitter
    assert present.anvil.rpc.request("eth_getTransactionCount", account, "latest") == "0x0"
    assert not (operator / "committee.json").exists()


@pytest.mark.parametrize(
    ("replaced", "by", "names"),
    [
        (r"genesis_hash = .*\n", "", "genesis_hash is missing: its endpoint says 0x"),
        (r"committee_file = .*\n", "", "committee_file is missing"),
        (r'committee_file = "', 'committee_file = "no/', "there is no directory"),
        (r"history_file = .*\n", "", "market.history_file is missing"),
        (r"\[keys\]\n(.+\n)+", "", "[keys] is missing"),
    ],
)
def test_settings_that_lack_something_are_refused(
    plimsoll: Plimsoll, operator: Path, replaced: str, by: str, names: str
) -> None:
    config = operator / "plimsoll.toml"
    text, changes = re.subn(replaced, by, config.read_text())
    assert changes == 1
    config.write_text(text)
    assert names in refused(plimsoll, operator)


@pytest.mark.parametrize(
    ("behind", "names"),
    [
        (8 * 24, "8 days ago; a network begins with one that ends within the last 7 days: get newer candles and run"),
        (3 * 365 * 24, "1,095 days ago"),
        (-5, "after now"),
    ],
)
def test_a_history_that_does_not_end_of_late_is_refused(
    plimsoll: Plimsoll, operator: Path, behind: int, names: str
) -> None:
    (operator / "history.json").unlink()
    path = candles(operator / "ETH.csv", 3000.0, behind=behind)
    assert plimsoll("history", f"ETH={path}", "--output", operator / "history.json").status == 0
    assert names in refused(plimsoll, operator)


def test_a_wrong_password_is_refused(plimsoll: Plimsoll, operator: Path) -> None:
    (operator / "keys" / PASSWORD).write_text("another")
    assert "check that the password belongs to this file" in refused(plimsoll, operator)


def test_a_chain_that_is_not_configured_is_refused(plimsoll: Plimsoll, operator: Path) -> None:
    assert "--chain: 31337" in refused(plimsoll, operator, "--chain", 1)


def test_a_history_says_what_is_in_it_and_is_never_overwritten(plimsoll: Plimsoll, tmp_path: Path) -> None:
    path = candles(tmp_path / "eth.csv", 3000.0)
    lines = path.read_text().splitlines()
    path.write_text("\n".join(lines[:50] + lines[53:]))
    output = tmp_path / "history.json"
    written = plimsoll("history", f"ETH={path}", "--output", output, "--json").document
    assert (written["factors"], written["hours"], written["filled"]) == (["ETH"], 200, {"ETH": 3})
    again = plimsoll("history", f"ETH={path}", "--output", tmp_path / "again.json")
    assert "3 missing hours" in again.output
    assert written["hash"] in again.output
    assert (tmp_path / "again.json").read_bytes() == output.read_bytes()
    before = output.read_bytes()
    assert "exists already" in plimsoll("history", f"ETH={path}", "--output", output).refused()
    assert output.read_bytes() == before


@pytest.mark.parametrize(("left_out", "is_written"), [(20, True), (21, False), (33, False)])
def test_a_history_of_which_too_much_is_missing_is_not_written(
    plimsoll: Plimsoll, tmp_path: Path, left_out: int, is_written: bool
) -> None:
    """An hour without a price counts as one without a move: 33 of 200 are a sixth of the risk."""
    path, output = candles(tmp_path / "eth.csv", 3000.0), tmp_path / "history.json"
    lines = path.read_text().splitlines()
    path.write_text("\n".join(lines[:50] + lines[50 + left_out :]))
    ended = plimsoll("history", f"ETH={path}", "--output", output)
    assert output.exists() == is_written
    if not is_written:
        assert f"ETH: {left_out} of 200 hours are missing, {left_out} of them in one gap" in ended.refused()
        assert "name a second file that has them" in ended.refused()
        whole = candles(tmp_path / "other.csv", 3000.0)
        assert plimsoll("history", f"ETH={path}", f"ETH={whole}", "--output", output).status == 0


def test_a_history_that_cannot_be_made_writes_nothing(plimsoll: Plimsoll, tmp_path: Path) -> None:
    output = tmp_path / "history.json"
    assert "give FACTOR=FILE" in plimsoll("history", "eth.csv", "--output", output).refused()
    assert "nowhere.csv" in plimsoll("history", "ETH=nowhere.csv", "--output", output).refused()
    assert "no directory" in plimsoll("history", "ETH=x.csv", "--output", tmp_path / "no" / "h.json").refused()
    assert list(tmp_path.iterdir()) == []
