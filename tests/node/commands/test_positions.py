"""`plimsoll positions`: what a live address holds, as a document that `assess` takes; or why it cannot be read."""

import json
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from riskschema.codec import decode_json, encode_json
from riskschema.instruments import protocol_of
from riskschema.portfolio import Portfolio
from riskschema.units import Address
from tests.node.commands.conftest import Plimsoll, answering
from tests.node.local_node import LocalNode

pytestmark = pytest.mark.chain
ADDRESS = "0x" + "ab" * 20


def address(network: LocalNode, name: str) -> str:
    return network.devnet.deployment.user(name).address


def settings(path: Path, *, rpc_url: str = "http://127.0.0.1:1", chain_id: int = 31337, more: str = "") -> Path:
    """Write settings of one chain that reads wallets."""
    path.write_text(
        f'[[chains]]\nchain_id = {chain_id}\nrpc_url = "{rpc_url}"\nfinality = "latest"\n{more}'
        '[[chains.venues]]\nprotocol = "wallet"\n'
    )
    return path


def test_the_silos_have_the_health_that_the_venue_computes(
    plimsoll: Plimsoll, network: LocalNode, config: Path
) -> None:
    user = address(network, "two-venues")
    document = plimsoll("positions", user, "--config", config, "--json").document
    pool = network.devnet.deployment.aave.pool
    health = network.devnet.call("Pool", pool, "getUserAccountData", user)[5]
    found = {protocol_of(silo["venue"]): silo["health"] for silo in document["silos"]}
    assert found["aave_v3"] == f"{health // 10**18}.{health % 10**18:018d}"
    assert found["morpho_blue"] is not None
    assert found["wallet"] is None
    assert document["unread"] == []


def test_the_json_is_the_portfolio_schema_to_the_last_byte(
    plimsoll: Plimsoll, network: LocalNode, config: Path
) -> None:
    ended = plimsoll("positions", address(network, "everywhere"), "--config", config, "--json")
    portfolio = decode_json(ended.output.encode(), Portfolio, what="output")
    assert encode_json(portfolio).decode() + "\n" == ended.output


def test_the_output_is_what_assess_takes(plimsoll: Plimsoll, network: LocalNode, config: Path, tmp_path: Path) -> None:
    read = plimsoll("positions", address(network, "everywhere"), "--config", config, "--json")
    market = tmp_path / "market.json"
    quotes = [{"factor": name, "price": price} for name, price in (("ETH", "3000"), ("BTC", "60000"), ("USDC", "1"))]
    market.write_text(json.dumps({"as_of": read.document["blocks"][0]["timestamp"], "quotes": quotes}))
    assessed = plimsoll("assess", "--portfolio", "-", "--market", market, "--json", stdin=read.output.encode()).document
    assert [silo["health"] for silo in assessed["silos"]] == [silo["health"] for silo in read.document["silos"]]


def test_a_table_shows_what_is_held_and_owed(plimsoll: Plimsoll, network: LocalNode, config: Path) -> None:
    ended = plimsoll("positions", address(network, "edge-ether"), "--config", config)
    assert ended.status == 0
    assert "WETH supplied" in ended.output
    assert "USDC owed" in ended.output


def test_an_account_with_nothing_is_told_as_such(plimsoll: Plimsoll, config: Path) -> None:
    assert "nothing held or owed" in plimsoll("positions", ADDRESS, "--config", config).output


def test_an_earlier_block_is_read_as_it_was(plimsoll: Plimsoll, network: LocalNode, config: Path) -> None:
    block = network.devnet.deployment.seeded_block
    document = plimsoll("positions", address(network, "saver"), "--config", config, "--block", block, "--json").document
    assert document["blocks"][0]["number"] == block


def test_a_checksummed_address_is_the_same_account(plimsoll: Plimsoll, network: LocalNode, config: Path) -> None:
    user = address(network, "saver")
    assert user != user.lower()
    for spelling in (user, user.lower(), "0x" + user[2:].upper()):
        assert plimsoll("positions", spelling, "--config", config, "--json").document["subject"] == Address(user)


@pytest.mark.parametrize("text", ["alice", "0x12", ADDRESS + "00", "", "0X" + "ab" * 20])
def test_what_is_no_address_is_refused(plimsoll: Plimsoll, config: Path, text: str) -> None:
    assert "ADDRESS: expected an address" in plimsoll("positions", text, "--config", config).refused()


def test_a_mistyped_checksum_is_refused(plimsoll: Plimsoll, network: LocalNode, config: Path) -> None:
    user = address(network, "saver")
    mistyped = user[:-1] + ("1" if user[-1] != "1" else "2")
    assert "not its checksum" in plimsoll("positions", mistyped, "--config", config).refused()


def test_no_address_is_wrong_usage(plimsoll: Plimsoll, config: Path) -> None:
    ended = plimsoll("positions", "--config", config)
    assert (ended.status, ended.output) == (2, "")
    assert "Missing argument 'ADDRESS'" in ended.messages


def test_a_block_that_is_not_there_is_refused_by_its_number(plimsoll: Plimsoll, config: Path) -> None:
    message = plimsoll("positions", ADDRESS, "--config", config, "--block", 10**9).refused()
    assert "--block 1000000000: unknown on chain 31337" in message


def test_a_block_needs_settings_of_one_chain(plimsoll: Plimsoll, tmp_path: Path) -> None:
    path = settings(tmp_path / "two.toml")
    path.write_text(path.read_text() + path.read_text().replace("31337", "1"))
    assert (
        "--block names a block of one chain" in plimsoll("positions", ADDRESS, "--config", path, "--block", 1).refused()
    )


def test_an_endpoint_where_nobody_listens_is_named(plimsoll: Plimsoll, tmp_path: Path, closed_port: int) -> None:
    path = settings(tmp_path / "p.toml", rpc_url=f"http://127.0.0.1:{closed_port}/v3/secret-secret-secret")
    message = plimsoll("positions", ADDRESS, "--config", path, "--json").refused()
    assert f"http://127.0.0.1:{closed_port}: cannot be reached" in message
    assert "secret" not in message


def test_a_host_that_does_not_exist_is_named(plimsoll: Plimsoll, tmp_path: Path) -> None:
    path = settings(tmp_path / "p.toml", rpc_url="http://no-such-host.invalid:8545")
    assert (
        "http://no-such-host.invalid:8545: cannot be reached"
        in plimsoll("positions", ADDRESS, "--config", path).refused()
    )


def test_an_endpoint_that_does_not_answer_is_named(plimsoll: Plimsoll, tmp_path: Path, silent_endpoint: str) -> None:
    path = settings(tmp_path / "p.toml", rpc_url=silent_endpoint, more="timeout = 0.3\n")
    assert (
        f"{silent_endpoint}: cannot be reached (Timeout" in plimsoll("positions", ADDRESS, "--config", path).refused()
    )


@pytest.mark.parametrize("body", [b"<html>Bad gateway</html>", b"", b"[]", b"null", b'{"jsonrpc":"2.0"}'])
def test_an_endpoint_that_speaks_no_json_rpc_is_named(plimsoll: Plimsoll, tmp_path: Path, body: bytes) -> None:
    with answering(body) as url:
        message = plimsoll("positions", ADDRESS, "--config", settings(tmp_path / "p.toml", rpc_url=url)).refused()
    assert url in message


def test_another_chain_than_configured_is_refused(plimsoll: Plimsoll, network: LocalNode, tmp_path: Path) -> None:
    path = settings(tmp_path / "p.toml", rpc_url=network.devnet.url, chain_id=1)
    assert (
        "serves chain 31337, not 1: correct rpc_url or chain_id"
        in plimsoll("positions", ADDRESS, "--config", path).refused()
    )


def test_another_genesis_than_configured_is_refused(plimsoll: Plimsoll, network: LocalNode, tmp_path: Path) -> None:
    path = settings(tmp_path / "p.toml", rpc_url=network.devnet.url, more=f'genesis_hash = "0x{"ab" * 32}"\n')
    message = plimsoll("positions", ADDRESS, "--config", path).refused()
    assert f"not 0x{'ab' * 32}" in message
    assert urlsplit(network.devnet.url).netloc in message


@pytest.mark.parametrize(
    ("text", "names"),
    [
        ("[[chains]\n", "line 1"),
        ("", "`chains`"),
        ("chains = []\n", "at least one [[chains]] table"),
        ('[[chains]]\nchain_id = 1\nrpc_url = "http://127.0.0.1:1"\nfinalty = "safe"\n', "`finalty`"),
        ('[[chains]]\nchain_id = 1\nrpc_url = "ws://127.0.0.1:1"\n', "rpc_url must begin with http"),
        ('[[chains]]\nchain_id = 1\nrpc_url = "http://127.0.0.1:1"\n', "no [[chains.venues]] table"),
        (
            '[[chains]]\nchain_id = 1\nrpc_url = "http://127.0.0.1:1"\n[[chains.venues]]\nprotocol = "compound"\n',
            "unknown protocol 'compound'; known: aave_v3, morpho_blue, uniswap_v3, wallet",
        ),
        (
            '[[chains]]\nchain_id = 1\nrpc_url = "http://127.0.0.1:1"\n[[chains.venues]]\nprotocol = "aave_v3"\n',
            "`addresses_provider`",
        ),
    ],
)
def test_settings_that_cannot_be_are_refused_by_the_key(
    plimsoll: Plimsoll, tmp_path: Path, text: str, names: str
) -> None:
    path = tmp_path / "p.toml"
    path.write_text(text)
    assert names in plimsoll("positions", ADDRESS, "--config", path).refused()


def test_settings_that_are_not_there_are_refused_by_their_path(plimsoll: Plimsoll, tmp_path: Path) -> None:
    assert (
        "nowhere.toml: No such file" in plimsoll("positions", ADDRESS, "--config", tmp_path / "nowhere.toml").refused()
    )
    assert "Is a directory" in plimsoll("positions", ADDRESS, "--config", tmp_path).refused()


def test_a_contract_that_is_not_there_is_unread_and_not_empty(
    plimsoll: Plimsoll, network: LocalNode, tmp_path: Path
) -> None:
    path = settings(tmp_path / "p.toml", rpc_url=network.devnet.url)
    nowhere = "0x" + "12" * 20
    path.write_text(path.read_text() + f'[[chains.venues]]\nprotocol = "aave_v3"\naddresses_provider = "{nowhere}"\n')
    user = address(network, "saver")
    document = plimsoll("positions", user, "--config", path, "--json").document
    assert [(item["venue"], item["code"]) for item in document["unread"]] == [(f"aave_v3:31337:{nowhere}", "no_code")]
    assert "no contract" in plimsoll("positions", user, "--config", path).output
