"""Settings from one TOML file: unknown keys are refused, secrets come from files, paths are relative to the file."""

from __future__ import annotations

import tomllib
from collections.abc import Iterator
from ipaddress import ip_network
from pathlib import Path
from typing import Annotated, Any, Literal
from urllib.parse import urlsplit

import msgspec
from msgspec import Meta

from node.checksums import refuse_wrong_checksum
from riskschema.codec import from_builtins
from riskschema.errors import InvalidData
from riskschema.instruments import ChainId, FactorId, MarketId
from riskschema.market import Factor, Group
from riskschema.portfolio import OracleKind, VenueOracle
from riskschema.ports import IndexedAsset
from riskschema.units import Address, Hash32, Wad

MAX_SETTINGS_BYTES = 1 << 20
VENUE_KEYS = frozenset({"protocol", "start_block", "oracles"})
"""Keys of a venue table that are the node's; the others are the adapter's own (its ``Deployment``)."""

LOOPBACK = ("127.0.0.1", "::1", "localhost")

Port = Annotated[int, Meta(ge=0, le=65_535)]
Seconds = Annotated[float, Meta(gt=0, le=86_400)]


class Table(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A TOML table."""


class Asset(Table, frozen=True, kw_only=True):
    """Which factor a token's price follows; address zero is the chain's own coin."""

    address: Address
    factor: Annotated[str, Meta(min_length=1, max_length=120)]
    underlying: Annotated[str, Meta(min_length=1, max_length=120)] | None = None
    """The factor of what the token is an index of."""
    index: Annotated[str, Meta(max_length=64, pattern=r"^[A-Za-z_][A-Za-z0-9_]*\(\)$")] | None = None
    """The view function that answers the index with 18 decimals, as in ``stEthPerToken()``."""
    index_contract: Address | None = None
    """Whose function it is; the token's own where nothing is said."""

    def __post_init__(self) -> None:
        """Refuse an index of nothing, and an underlying without an index."""
        if (self.underlying is None) != (self.index is None):
            raise ValueError(f"asset {self.address}: underlying and index are given together or not at all")
        if self.index_contract is not None and self.index is None:
            raise ValueError(f"asset {self.address}: index_contract needs an index")

    @property
    def follows(self) -> FactorId | IndexedAsset:
        """Return what the token follows, as adapters ask it."""
        if self.underlying is None or self.index is None:
            return self.factor
        return IndexedAsset(
            factor=self.factor, underlying=self.underlying, function=self.index, contract=self.index_contract
        )


class Oracle(Table, frozen=True, kw_only=True):
    """What a venue's oracle of one asset follows, where its contracts do not tell."""

    asset: Address
    market: MarketId = ""
    """Only in this market of the venue; in all where nothing is said."""
    kind: OracleKind = "market"
    deviation: Wad | None = None
    heartbeat: Annotated[int, Meta(ge=1, le=2**31)] | None = None

    def __post_init__(self) -> None:
        """Refuse a deviation no feed has."""
        _ = self.named

    @property
    def named(self) -> VenueOracle:
        """Return it as rules say it."""
        return VenueOracle(kind=self.kind, deviation=self.deviation, heartbeat=self.heartbeat)


class Endpoint(Table, frozen=True, kw_only=True):
    """One JSON-RPC endpoint of a chain and how much may be asked of it; less is learned where it refuses."""

    url: str | None = None
    url_file: str | None = None
    """For a URL that carries a key: the file's first line."""
    log_range: Annotated[int, Meta(ge=1, le=10**9)] = 10_000
    """Blocks per log query at most."""
    batch_size: Annotated[int, Meta(ge=1, le=10_000)] = 250
    """Requests per batch at most."""
    concurrency: Annotated[int, Meta(ge=1, le=256)] = 4
    """Posts in flight."""
    calls_per_day: Annotated[int, Meta(ge=1)] | None = None
    """Requests in 24 hours; once they are spent, others are asked."""

    def __post_init__(self) -> None:
        """Refuse an address given twice or not at all."""
        if (self.url is None) == (self.url_file is None):
            raise ValueError("endpoint: give exactly one of url and url_file")
        _refuse_other_schemes(self.url, "endpoint: url")


class Chain(Table, frozen=True, kw_only=True):
    """One EVM chain and what to read there."""

    chain_id: ChainId
    rpc_url: str | None = None
    """The only endpoint, with the usual limits."""
    rpc_url_file: str | None = None
    """The same for a URL that carries a key: the file's first line."""
    endpoints: tuple[Endpoint, ...] = ()
    """In place of them: those to ask, own ones first."""
    agreement: Annotated[int, Meta(ge=1, le=64)] | None = None
    """How many endpoints must say the same; None: more than half of three or more, one of fewer."""
    multicall: bool = True
    """Ask through Multicall3 where it is deployed."""
    genesis_hash: Hash32 | None = None
    """Checked at start; needed for a committee, optional for reading."""
    finality: Literal["latest", "safe", "finalized"] = "finalized"
    confirmations: Annotated[int, Meta(ge=0, le=10_000)] = 0
    """Stay this many blocks behind the head of that finality."""
    timeout: Seconds = 10.0
    assets: tuple[Asset, ...] = ()
    venues: tuple[dict[str, Any], ...] = ()
    """``protocol``, ``start_block``, ``oracles``, and the addresses that the protocol's adapter asks for."""

    def __post_init__(self) -> None:
        """Refuse an endpoint given twice or not at all, and tables that say the same thing twice."""
        if (self.rpc_url is not None) + (self.rpc_url_file is not None) + bool(self.endpoints) != 1:
            raise ValueError(
                f"chain {self.chain_id}: give exactly one of rpc_url, rpc_url_file and [[chains.endpoints]]"
            )
        _refuse_other_schemes(self.rpc_url, f"chain {self.chain_id}: rpc_url")
        addresses = [address for each in self.endpoints for address in (each.url or each.url_file,)]
        if len(set(addresses)) != len(addresses):
            raise ValueError(f"chain {self.chain_id}: two [[chains.endpoints]] tables of one address")
        if (self.agreement or 1) > (len(self.endpoints) or 1):
            raise ValueError(
                f"chain {self.chain_id}: agreement = {self.agreement} of {len(self.endpoints) or 1} endpoints"
            )
        mapped = [asset.address for asset in self.assets]
        for address in mapped:
            if mapped.count(address) > 1:
                raise ValueError(f"chain {self.chain_id}: two [[chains.assets]] tables of {address}")


class MarketSettings(Table, frozen=True, kw_only=True):
    """Where factor values come from."""

    sources: tuple[dict[str, Any], ...] = ()
    """``source``, and what the source's own file asks for. The first that quotes a factor is this node's vote."""
    factors: tuple[Factor, ...] = ()
    """Beside those of the parameter file."""
    groups: dict[FactorId, Group] = {}
    """Which parameters a factor shares that no list has; one that is not named is ``other``, the most cautious."""
    history_file: str | None = None
    """The genesis history: what `plimsoll` wrote, or JSON of HourlyHistory."""


class Keys(Table, frozen=True, kw_only=True):
    """Encrypted keystores and the file with their password; beside the identity its certificate, ``identity.crt``."""

    attestation: str
    identity: str
    transmitter: str
    password_file: str


class Publish(Table, frozen=True, kw_only=True):
    """The destination contract this node transmits to."""

    chain_id: ChainId
    oracle: Address
    max_fee_gwei: Annotated[int, Meta(ge=1, le=1_000_000)] = 100
    """Never pay more per gas, whatever the chain asks."""
    max_tip_gwei: Annotated[int, Meta(ge=1, le=1_000_000)] = 5
    """How much of it may be priority fee, whatever the endpoint suggests."""
    daily_budget_gwei: Annotated[int, Meta(ge=1, le=10**15)] = 10**9
    """What the transactions signed for the rounds of a day can cost at most."""
    heartbeat: Annotated[int, Meta(ge=0, le=7 * 86_400)] = 0
    """Seconds after which the next report is published, though nothing moved; 0: every report is published."""
    deviation_ppm: Annotated[int, Meta(ge=0, le=1_000_000)] = 5_000
    """With a heartbeat: a move of any agreed price that makes the next report due before it; 0: any move."""
    stage: Seconds = 30.0
    """How long each operator, in the order of the leaders, has to itself before the next one tries."""
    deadline: Seconds = 60.0
    """How long one round waits for its transaction."""
    poll: Seconds = 1.0
    """Between two looks for the receipt."""


class Broker(Table, frozen=True, kw_only=True):
    """An MQTT broker by which the operators of a committee hear each other."""

    url: str
    """``mqtts://host:port`` with certificates; ``mqtt://127.0.0.1:port`` with a password, on this machine only."""
    certificate: str | None = None
    """PEM file: the broker's own certificate, as whoever runs it gave it out."""
    password_file: str | None = None

    def __post_init__(self) -> None:
        """Refuse what would send a password in clear, or believe any broker."""
        parts = urlsplit(self.url)
        if parts.scheme not in ("mqtt", "mqtts") or not parts.hostname or parts.username or parts.path:
            raise ValueError(f"broker {self.url}: the url is mqtts://host:port, or mqtt://127.0.0.1:port")
        if parts.scheme == "mqtts" and (self.certificate is None or self.password_file is not None):
            raise ValueError(f"broker {self.url}: mqtts:// needs certificate, and no password_file")
        if parts.scheme == "mqtt" and (self.certificate is not None or self.password_file is None):
            raise ValueError(f"broker {self.url}: mqtt:// needs password_file, and no certificate")
        if parts.scheme == "mqtt" and parts.hostname not in LOOPBACK:
            raise ValueError(f"broker {self.url}: without TLS only this machine's own, 127.0.0.1")


class Network(Table, frozen=True, kw_only=True):
    """How this node reaches the other operators; all brokers are used at once."""

    brokers: tuple[Broker, ...] = ()

    def __post_init__(self) -> None:
        """Refuse a broker that is named twice: two connections of one name would end each other."""
        urls = [broker.url for broker in self.brokers]
        if len(set(urls)) != len(urls):
            raise ValueError("network: two [[network.brokers]] tables have one url")


class Api(Table, frozen=True, kw_only=True):
    """The HTTP server. Loopback unless you say otherwise."""

    serve: bool = True
    """Whether `plimsoll run` starts `plimsoll serve` beside the rounds."""
    host: str = "127.0.0.1"
    port: Port = 8547
    connections_per_address: Annotated[int, Meta(ge=1, le=1_024)] = 64
    requests_per_address: Annotated[float, Meta(gt=0, le=100_000)] = 50.0
    """Each second."""
    trusted_proxies: tuple[str, ...] = ("127.0.0.0/8", "::1")
    """Addresses and networks that are not limited, and whose X-Forwarded-For is believed."""

    def __post_init__(self) -> None:
        """Refuse what is no network."""
        for text in self.trusted_proxies:
            ip_network(text)


class Monitoring(Table, frozen=True, kw_only=True):
    """The port of the process that runs the rounds: its metrics, and its status for the processes that serve."""

    host: str = "127.0.0.1"
    port: Port = 8548


class Settings(Table, frozen=True, kw_only=True):
    """A node's settings."""

    data_directory: str = "plimsoll-data"
    database: str = "plimsoll.sqlite"
    """A file in the data directory."""
    committee_file: str | None = None
    parameters_file: str | None = None
    chains: tuple[Chain, ...]
    market: MarketSettings = MarketSettings()
    keys: Keys | None = None
    publish: Publish | None = None
    network: Network = Network()
    api: Api = Api()
    monitoring: Monitoring = Monitoring()
    keep_rounds: Annotated[int, Meta(ge=2)] = 10_000
    """Older rounds are deleted from the database."""
    keep_days: Annotated[int, Meta(ge=1, le=36_500)] | None = None
    """Rounds of longer ago are deleted too."""
    keep_megabytes: Annotated[int, Meta(ge=16, le=10**9)] = 10_000
    """Beyond so much the oldest rounds are deleted too; a megabyte is 10^6 bytes."""

    def __post_init__(self) -> None:
        """Refuse what contradicts itself."""
        ids = [chain.chain_id for chain in self.chains]
        if not ids:
            raise ValueError("at least one [[chains]] table is needed")
        if len(set(ids)) != len(ids):
            raise ValueError("two [[chains]] tables have one chain_id")
        if self.publish is not None and self.publish.chain_id not in ids:
            raise ValueError(f"publish: no [[chains]] table has chain_id {self.publish.chain_id}")


def load_settings(path: Path) -> Settings:
    """Read a settings file.

    Raises:
        InvalidData: the file cannot be read, is no TOML, or holds an unknown or wrong key (named).
    """
    text = read_text(path, what="settings", limit=MAX_SETTINGS_BYTES)
    try:
        tree = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise InvalidData(f"{path}: {error}", code="invalid_settings") from error
    for place, value in _texts(tree, "$"):
        refuse_wrong_checksum(value, what=f"{path}: {place}")
    return from_builtins(tree, Settings, what=str(path))


def overridden(settings: Settings, *, data_directory: Path | None, port: int | None) -> Settings:
    """Return the settings with what the command line says instead; port 0 takes free ports, for monitoring too."""
    if data_directory is not None:
        settings = msgspec.structs.replace(settings, data_directory=str(data_directory.resolve()))
    if port is not None:
        settings = msgspec.structs.replace(settings, api=msgspec.structs.replace(settings.api, port=port))
    if port == 0:
        monitoring = msgspec.structs.replace(settings.monitoring, port=0)
        settings = msgspec.structs.replace(settings, monitoring=monitoring)
    return settings


def endpoints_of(chain: Chain) -> tuple[Endpoint, ...]:
    """Return the chain's endpoints; a lone `rpc_url` is one of them with the usual limits."""
    return chain.endpoints or (Endpoint(url=chain.rpc_url, url_file=chain.rpc_url_file),)


def endpoint_url(endpoint: Endpoint, directory: Path) -> str:
    """Return the endpoint's address, read from its file where it is kept there."""
    if endpoint.url is not None:
        return endpoint.url
    path = directory / (endpoint.url_file or "")
    lines = read_text(path, what="the file of an endpoint's address", limit=4096).splitlines()
    if not lines:
        raise InvalidData(f"{path}: empty", code="invalid_settings")
    return lines[0].strip()


def own_url(chain: Chain, directory: Path) -> str:
    """Return the address of the chain's first endpoint: the operator's own, where there is one."""
    return endpoint_url(endpoints_of(chain)[0], directory)


def _refuse_other_schemes(url: str | None, what: str) -> None:
    if url is not None and not url.startswith(("http://", "https://")):
        raise ValueError(f"{what} must begin with http:// or https://")


def read_text(path: Path, *, what: str, limit: int) -> str:
    """Read a bounded UTF-8 file.

    Raises:
        InvalidData: naming `what` and the path.
    """
    try:
        with path.open("rb") as stream:
            content = stream.read(limit + 1)
        if len(content) > limit:
            raise InvalidData(f"{what} {path}: larger than {limit} bytes", code="document_too_large")
        return content.decode("utf-8")
    except OSError as error:
        raise InvalidData(f"{what} {path}: {error.strerror}", code="file_unreadable") from error
    except UnicodeDecodeError as error:
        raise InvalidData(f"{what} {path}: not UTF-8 ({error.reason})", code="file_unreadable") from error


def _texts(tree: object, place: str) -> Iterator[tuple[str, str]]:
    """Yield every text of a TOML tree with its path."""
    match tree:
        case str():
            yield place, tree
        case dict():
            for key, value in tree.items():
                yield from _texts(value, f"{place}.{key}")
        case list() | tuple():
            for index, value in enumerate(tree):
                yield from _texts(value, f"{place}[{index}]")
