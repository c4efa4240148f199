"""Settings refuse what they do not understand, and say where."""

from pathlib import Path

import pytest

from adapters.chains import EndpointOptions
from node.endpoints.opening import endpoint_options
from node.settings import MAX_SETTINGS_BYTES, endpoints_of, load_settings, own_url
from riskschema.errors import InvalidData
from riskschema.ports import IndexedAsset

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


def test_an_endpoint_is_given_once(tmp_path: Path) -> None:
    assert "exactly one" in refusal(tmp_path, CHAIN + 'rpc_url_file = "rpc"\n')
    assert "exactly one" in refusal(tmp_path, "[[chains]]\nchain_id = 1\n")


def test_an_endpoint_with_a_key_comes_from_its_file(tmp_path: Path) -> None:
    (tmp_path / "rpc").write_text("http://127.0.0.1:1/secret\n")
    settings = load_settings(write(tmp_path, '[[chains]]\nchain_id = 1\nrpc_url_file = "rpc"\n'))
    assert own_url(settings.chains[0], tmp_path) == "http://127.0.0.1:1/secret"


SEVERAL = """[[chains]]
chain_id = 1
agreement = 2
[[chains.endpoints]]
url = "http://127.0.0.1:8545"
[[chains.endpoints]]
url_file = "rpc"
log_range = 1_000
calls_per_day = 100_000
"""


def test_several_endpoints_are_asked_in_their_order_within_limits_of_their_own(tmp_path: Path) -> None:
    (tmp_path / "rpc").write_text("http://127.0.0.1:1/secret\n")
    chain = load_settings(write(tmp_path, SEVERAL)).chains[0]
    own, other = (endpoint_options(endpoint, tmp_path) for endpoint in endpoints_of(chain))
    assert own == EndpointOptions(url="http://127.0.0.1:8545")
    assert other == EndpointOptions(url="http://127.0.0.1:1/secret", log_range=1_000, calls_per_day=100_000)
    assert own_url(chain, tmp_path) == "http://127.0.0.1:8545"


def test_an_address_alone_is_an_endpoint_with_the_usual_limits(tmp_path: Path) -> None:
    (only,) = endpoints_of(load_settings(write(tmp_path, CHAIN)).chains[0])
    assert endpoint_options(only, tmp_path) == EndpointOptions(url="http://127.0.0.1:8545")


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (
            ("chain_id = 1\n", 'chain_id = 1\nrpc_url = "http://127.0.0.1:1"\n'),
            "exactly one of rpc_url, rpc_url_file and",
        ),
        (("agreement = 2", "agreement = 3"), "agreement = 3 of 2 endpoints"),
        (("agreement = 2", "agreement = 0"), "agreement"),
        (('url_file = "rpc"', 'url = "http://127.0.0.1:8545"'), "two [[chains.endpoints]] tables of one address"),
        (('url_file = "rpc"', 'url = "ws://127.0.0.1"'), "must begin with http"),
        (('url_file = "rpc"', 'url_file = "rpc"\nurl = "http://127.0.0.1"'), "exactly one of url and url_file"),
        (('url_file = "rpc"\n', ""), "exactly one of url and url_file"),
        (("log_range = 1_000", "log_range = 0"), "$.chains[0].endpoints[1].log_range"),
        (("log_range = 1_000", "log_rang = 1"), "log_rang"),
    ],
)
def test_endpoints_that_contradict_themselves_are_refused(tmp_path: Path, change: tuple[str, str], said: str) -> None:
    assert said in refusal(tmp_path, SEVERAL.replace(*change))


WALLET = '[[chains.venues]]\nprotocol = "wallet"\n'
CHECKSUMMED = "0x2f39d218133AFaB8F2B819B1066c7E434Ad94E9e"


def venue(protocol: str, **fields: str) -> str:
    return f'[[chains.venues]]\nprotocol = "{protocol}"\n' + "".join(
        f'{key} = "{text}"\n' for key, text in fields.items()
    )


@pytest.mark.parametrize("spelling", [CHECKSUMMED, CHECKSUMMED.lower(), "0x" + CHECKSUMMED[2:].upper()])
def test_addresses_are_taken_in_any_right_spelling(tmp_path: Path, spelling: str) -> None:
    settings = load_settings(write(tmp_path, CHAIN + venue("aave_v3", addresses_provider=spelling)))
    assert settings.chains[0].venues[0]["addresses_provider"] == spelling


def test_a_mistyped_checksum_is_refused_with_its_path_and_the_right_one(tmp_path: Path) -> None:
    message = refusal(tmp_path, CHAIN + venue("aave_v3", addresses_provider=CHECKSUMMED.replace("AFaB", "AfaB")))
    assert "$.chains[0].venues[0].addresses_provider" in message
    assert CHECKSUMMED in message


@pytest.mark.parametrize("url", ["ws://127.0.0.1:8545", "127.0.0.1:8545", "", "file:///etc/passwd"])
def test_an_endpoint_that_is_no_http_address_is_refused(tmp_path: Path, url: str) -> None:
    assert "rpc_url must begin with http" in refusal(tmp_path, f'[[chains]]\nchain_id = 1\nrpc_url = "{url}"\n')


def test_an_empty_endpoint_file_is_refused_by_its_path(tmp_path: Path) -> None:
    (tmp_path / "rpc").write_text("")
    settings = load_settings(write(tmp_path, '[[chains]]\nchain_id = 1\nrpc_url_file = "rpc"\n'))
    with pytest.raises(InvalidData, match=r"rpc: empty"):
        own_url(settings.chains[0], tmp_path)


def test_a_token_with_two_factors_is_refused(tmp_path: Path) -> None:
    asset = f'[[chains.assets]]\naddress = "0x{"1" * 40}"\nfactor = "ETH"\n'
    assert "two [[chains.assets]] tables of 0x1111" in refusal(tmp_path, CHAIN + asset + asset)


def test_a_destination_on_an_unknown_chain_is_refused(tmp_path: Path) -> None:
    publish = f'[publish]\nchain_id = 5\noracle = "0x{"1" * 40}"\n'
    assert "publish: no [[chains]] table has chain_id 5" in refusal(tmp_path, CHAIN + publish)


@pytest.mark.parametrize(
    ("text", "names"),
    [
        ("[api]\nport = 65536\n", "$.api.port"),
        ("[api]\nport = '8547'\n", "$.api.port"),
        ("keep_rounds = 1\n", "$.keep_rounds"),
        ("keep_days = 0\n", "$.keep_days"),
        ("keep_megabytes = 15\n", "$.keep_megabytes"),
        ("[publish]\nchain_id = 1\n", "`oracle`"),
        ("[keys]\nattestation = 'a'\n", "`identity`"),
        ("[surprise]\n", "`surprise`"),
        ("[market.groups]\nETH = 'ether'\n", "$.market.groups"),
        ("[[market.feeds]]\n", "`feeds`"),
    ],
)
def test_each_table_is_checked(tmp_path: Path, text: str, names: str) -> None:
    above = text if not text.startswith("[") else ""
    assert names in refusal(tmp_path, above + CHAIN + (text if not above else ""))


@pytest.mark.parametrize("timeout", ["0", "-1", "nan", "inf", "86401"])
def test_a_time_that_is_none_is_refused(tmp_path: Path, timeout: str) -> None:
    assert "timeout" in refusal(tmp_path, CHAIN + f"timeout = {timeout}\n")


def test_a_file_that_is_too_large_or_no_text_is_refused(tmp_path: Path) -> None:
    assert "larger than" in refusal(tmp_path, "#" * (MAX_SETTINGS_BYTES + 1))
    (tmp_path / "plimsoll.toml").write_bytes(b"\xff")
    with pytest.raises(InvalidData, match="not UTF-8"):
        load_settings(tmp_path / "plimsoll.toml")


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ('underlying = "STETH"\n', "underlying and index are given together"),
        ('index = "stEthPerToken()"\n', "underlying and index are given together"),
        (f'index_contract = "0x{"2" * 40}"\n', "index_contract needs an index"),
        ('underlying = "STETH"\nindex = "stEthPerToken(uint256)"\n', "$.chains[0].assets[0].index"),
    ],
)
def test_an_index_of_nothing_is_refused(tmp_path: Path, given: str, message: str) -> None:
    asset = f'[[chains.assets]]\naddress = "0x{"1" * 40}"\nfactor = "WSTETH"\n'
    assert message in refusal(tmp_path, CHAIN + asset + given)


def test_a_token_follows_its_factor_or_an_index_that_a_contract_tells(tmp_path: Path) -> None:
    plain = f'[[chains.assets]]\naddress = "0x{"1" * 40}"\nfactor = "STETH"\n'
    indexed = f'[[chains.assets]]\naddress = "0x{"2" * 40}"\nfactor = "WSTETH"\nunderlying = "STETH"\nindex = "a()"\n'
    first, second = load_settings(write(tmp_path, CHAIN + plain + indexed)).chains[0].assets
    assert first.follows == "STETH"
    assert second.follows == IndexedAsset(factor="WSTETH", underlying="STETH", function="a()")
