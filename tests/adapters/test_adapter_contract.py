"""The contract of all adapters on every protocol: on the local chain where it is deployed, on a recording where not."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import msgspec
import pytest
from eth_abi.abi import encode

import adapters.protocols
from adapters.abi import Function, event_topic
from adapters.discovery import discover
from adapters.protocols import discover_protocols, load_protocol, protocol_names
from adapters.recording import ReplayReader, read_recording, record
from devnet.local_chain import Devnet
from devnet.prices import crash
from devnet.protocols import deployed_protocols, settings_table
from riskschema.errors import InvalidData
from riskschema.holders import Log
from riskschema.portfolio import BlockReference
from riskschema.ports import Call, CallResult, CallSuccess
from riskschema.units import WAD, Address, Hash32
from tests.adapters.adapter_contract import ASSETS, NOBODY, AdapterContract, Ground
from tests.adapters.confirmed import Confirmed
from tests.adapters.conftest import Pin

RECORDINGS = sorted((Path(__file__).parent / "recordings").glob("*.json"))
"""What `plimsoll record` wrote of protocols that are not deployed on the local chain."""


def test_every_protocol_keeps_the_interface() -> None:
    for name, module in discover_protocols().items():
        assert name == module.PROTOCOL
        assert callable(module.adapter)
        assert module.Deployment.__struct_config__.frozen
        assert module.Deployment.__struct_config__.forbid_unknown_fields


def test_an_unknown_protocol_is_refused_with_the_known_ones() -> None:
    with pytest.raises(InvalidData, match=", ".join(protocol_names())):
        load_protocol("../node")


def test_every_protocol_is_deployed_here_or_was_recorded() -> None:
    recorded = {read_recording(path).protocol for path in RECORDINGS}
    assert {*deployed_protocols()} | recorded == {*protocol_names()}


@pytest.mark.chain
@pytest.mark.parametrize("protocol", deployed_protocols())
class TestOnTheLocalChain(AdapterContract):
    @pytest.fixture
    async def ground(self, protocol: str, chain: Devnet, pin: Pin, everyone: list[Address]) -> Ground:
        return Ground(
            protocol=protocol,
            table=settings_table(protocol, chain.deployment),
            reader=await pin(),
            accounts=tuple(everyone),
            start_block=0,
            fewest_silos=5,
        )

    async def test_nobody_holds_nothing(self, ground: Ground) -> None:
        reading = await ground.adapter().read(ground.reader, [NOBODY])
        assert (reading.silos, reading.unread) == ((), ())

    async def test_nobody_is_discovered_after_the_pinned_block(self, ground: Ground) -> None:
        after = ground.reader.block.number + 1
        assert not (await discover(ground.adapter(), ground.reader, start_block=after)).touches

    async def test_a_recording_replays_bit_for_bit_after_a_crash(
        self, ground: Ground, chain: Devnet, pin: Pin, tmp_path: Path
    ) -> None:
        crash(chain, percent=20)
        fallen = msgspec.structs.replace(ground, reader=await pin())
        await self.test_a_recording_replays_bit_for_bit(fallen, fallen.adapter(), tmp_path)


def ground_of(path: Path) -> Ground:
    """Return what a recording allows: its own accounts at its own block."""
    recording = read_recording(path)
    return Ground(
        protocol=recording.protocol,
        table=recording.deployment,
        reader=ReplayReader(recording),
        accounts=recording.accounts,
        start_block=min((query.from_block for query in recording.queries), default=0),
        assets={Address(address): factor for address, factor in recording.assets.items()},
    )


SHOP, GOLD, DOLLAR = (Address("0x" + digit * 40) for digit in "abc")
PAWNERS = tuple(Address(f"0x{number:040x}") for number in range(1, 13))


FICTIONAL = Path(__file__).parent / "fictional"


class Shop(Confirmed):
    """The chain on which the fictional protocol was recorded."""

    block = BlockReference(chain_id=1, number=7, hash=Hash32(b"\1" * 32), timestamp=1_700_000_000)

    async def call(self, calls: Sequence[Call]) -> tuple[CallResult, ...]:
        return tuple(CallSuccess(self._answer(call)) for call in calls)

    async def native_balances(self, accounts: Sequence[Address]) -> tuple[int, ...]:
        raise AssertionError("nobody asks a pawn shop for coins")

    async def logs(self, **_query: Any) -> tuple[Log, ...]:
        pawned = event_topic("Pawned(address)")
        return tuple(
            Log(SHOP, (pawned, Hash32(bytes(12) + account.to_bytes())), b"", 3, at)
            for at, account in enumerate(PAWNERS)
        )

    def _answer(self, call: Call) -> bytes:
        owed = sum(1_000 * WAD for number in range(len(PAWNERS)) if number % 3)
        answers = {
            Function("owed()", "(uint256)").call(SHOP): encode(["uint256"], [owed]),
            Function("tokens()", "(address,address)").call(SHOP): encode(["address"] * 2, [GOLD, DOLLAR]),
            Function("prices()", "(uint256,uint256)").call(SHOP): encode(["uint256"] * 2, [2_000 * WAD, WAD]),
        }
        for token in (GOLD, DOLLAR):
            answers[Function("decimals()", "(uint256)", gas=200_000).call(token)] = encode(["uint256"], [18])
            answers[Function("symbol()", "(string)", gas=200_000).call(token)] = encode(["string"], ["T"])
        for number, account in enumerate(PAWNERS):
            pawn = [number * WAD, 0 if number % 3 == 0 else 1_000 * WAD]
            answers[Function("pawnOf(address)", "(uint256,uint256)").call(SHOP, account)] = encode(
                ["uint256"] * 2, pawn
            )
        return answers[call]


@pytest.fixture
async def fictional(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Record a protocol that is nowhere deployed: its file and the recording are all there is of it."""
    monkeypatch.setattr(adapters.protocols, "__path__", [*adapters.protocols.__path__, str(FICTIONAL)])
    assert "pawn_shop" in protocol_names()
    module = load_protocol("pawn_shop")
    adapter = module.adapter(module.Deployment(shop=SHOP), chain_id=1, assets=ASSETS)
    path = tmp_path / "pawn_shop.json"
    await record(adapter, Shop(), PAWNERS, path, deployment={"shop": SHOP}, assets=ASSETS, start_block=2)
    return path


@pytest.mark.parametrize("recording", [None, *RECORDINGS], ids=lambda path: path.stem if path else "fictional")
class TestOnARecording(AdapterContract):
    @pytest.fixture
    def ground(self, recording: Path | None, fictional: Path) -> Ground:
        return ground_of(recording or fictional)
