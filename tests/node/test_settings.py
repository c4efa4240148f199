"""Settings refuse what they do not understand, and say where."""

from pathlib import Path

import pytest

from node.settings import load_settings, rpc_url
from riskschema.errors import InvalidData

CHAIN = '[[chains]]\nchain_id = 1\nrpc_url = "http://127.0.0.1:8545"\n'


def write(tmp_path: Path, text: str) -> Path:
    path = tmp_path / "plimsoll.toml"
    path.write_text(text)
    return path


def refusal(tmp_path: Path, text: str) -> str:
    with pytest.raises(InvalidData) as refused:
        load_settings(write(tmp_path, text))
    return refused.value.message


def test_the_smallest_settings_are_one_chain(tmp_path: Path) -> None:
    settings = load_settings(write(tmp_path, CHAIN))
    assert settings.chains[0].finality == "finalized"
    assert settings.api.host == "127.0.0.1"


def test_an_unknown_key_is_refused_by_name(tmp_path: Path) -> None:
    assert "`finalty`" in refusal(tmp_path, CHAIN + 'finalty = "safe"\n')


def test_a_wrong_value_is_refused_with_its_path(tmp_path: Path) -> None:
    assert "$.chains[0].confirmations" in refusal(tmp_path, CHAIN + "confirmations = -1\n")


def test_an_address_that_is_none_is_refused_with_its_path(tmp_path: Path) -> None:
    text = CHAIN + '[[chains.assets]]\naddress = "0x12"\nfactor = "ETH"\n'
    assert "$.chains[0].assets[0].address" in refusal(tmp_path, text)


def test_broken_toml_is_refused_with_its_line(tmp_path: Path) -> None:
    assert "line 2" in refusal(tmp_path, "[[chains]]\nchain_id 1\n")


def test_a_missing_file_is_refused_with_its_path(tmp_path: Path) -> None:
    with pytest.raises(InvalidData, match="No such file"):
        load_settings(tmp_path / "nowhere.toml")


def test_two_tables_for_one_chain_are_refused(tmp_path: Path) -> None:
    assert "one chain_id" in refusal(tmp_path, CHAIN + CHAIN)


def test_a_feed_on_an_unknown_chain_is_refused(tmp_path: Path) -> None:
    feed = f'[[market.feeds]]\nchain_id = 2\naddress = "0x{"1" * 40}"\nfactor = "ETH"\n'
    assert "chain_id 2" in refusal(tmp_path, CHAIN + feed)


def test_an_endpoint_is_given_once(tmp_path: Path) -> None:
    assert "exactly one" in refusal(tmp_path, CHAIN + 'rpc_url_file = "rpc"\n')
    assert "exactly one" in refusal(tmp_path, "[[chains]]\nchain_id = 1\n")


def test_an_endpoint_with_a_key_comes_from_its_file(tmp_path: Path) -> None:
    (tmp_path / "rpc").write_text("http://127.0.0.1:1/secret\n")
    settings = load_settings(write(tmp_path, '[[chains]]\nchain_id = 1\nrpc_url_file = "rpc"\n'))
    assert rpc_url(settings.chains[0], tmp_path) == "http://127.0.0.1:1/secret"
