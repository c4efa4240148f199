"""Certified rounds and their transactions."""

import json
from typing import Any

import pytest

from riskschema.rounds import ChainWitnesses, RoundReading, UnprovedBooks
from riskschema.units import Hash32


async def fetch(client, path: str) -> tuple[int, dict[str, Any]]:
    async with client.get(path) as response:
        return response.status, json.loads(await response.read())


async def test_the_latest_round_is_told_with_signers_counts_and_transaction(world, alice, bob):
    certificate = await world.certify(7, alice, bob)
    await world.transact(7, "landed")

    async with world.client() as client:
        status, body = await fetch(client, "/v1/rounds/latest")

    assert status == 200
    assert body["report_hash"] == "0x" + certificate.report_hash.hex()
    assert (body["round"], body["accounts"], body["feeds"], body["coverage"]) == (7, 2, 0, 0.975)
    assert body["signers"] == list(world.committee.signers[:3])
    assert body["destinations"] == [{"chain_id": 31337, "oracle": "0x" + "0f" * 20}]
    assert body["transactions"] == [
        {
            "chain_id": 31337,
            "hash": Hash32(bytes([7]) * 32),
            "status": "landed",
            "block_number": 100,
            "gas_used": 88000,
        }
    ]


async def test_a_round_has_no_transaction_before_one_was_sent(world, alice):
    await world.certify(7, alice)
    async with world.client() as client:
        assert (await fetch(client, "/v1/rounds/7"))[1]["transactions"] == []


async def test_a_transaction_that_lands_is_seen_within_a_second(world, alice):
    await world.certify(7, alice)
    await world.transact(7, "pending")
    async with world.client() as client:
        await fetch(client, "/v1/rounds/7")
        await world.transact(7, "landed")
        before = await fetch(client, "/v1/rounds/7")
        world.clock.time += 1
        after = await fetch(client, "/v1/rounds/7")

    assert [body["transactions"][0]["status"] for _, body in (before, after)] == ["pending", "landed"]


@pytest.mark.parametrize(
    ("status", "path", "wanted"),
    [
        ("final", "/v1/rounds/7", "public, max-age=3600"),
        ("landed", "/v1/rounds/7", "public, no-cache"),
        ("final", "/v1/rounds/latest", "public, no-cache"),
    ],
)
async def test_only_a_named_round_that_cannot_change_may_be_kept_by_caches(world, alice, status, path, wanted):
    await world.certify(7, alice)
    await world.transact(7, status)
    async with world.client() as client, client.get(path) as response:
        assert response.headers["Cache-Control"] == wanted


async def test_the_latest_round_is_the_highest_certified_one(world, alice):
    await world.certify(8, alice)
    await world.certify(7, alice)
    await world.report(9, alice)
    async with world.client() as client:
        assert (await fetch(client, "/v1/rounds/latest"))[1]["round"] == 8
        assert (await fetch(client, "/v1/rounds/7"))[1]["round"] == 7


@pytest.mark.parametrize("path", ["/v1/rounds/latest", "/v1/rounds/1"])
async def test_without_a_certified_round_there_is_none_to_show(world, path):
    async with world.client() as client:
        status, body = await fetch(client, path)
    assert (status, body["code"]) == (404, "round_unknown")


async def test_rounds_of_another_network_in_the_same_database_are_not_shown(world, worlds, alice):
    other = worlds(world.store)
    other.config_digest = Hash32(bytes(32))
    other.digest = bytes(32)
    await other.certify(9, alice)
    async with world.client() as client:
        assert (await fetch(client, "/v1/rounds/latest"))[0] == 404


async def test_many_old_rounds_can_be_read_one_after_another(world, alice):
    for number in range(1, 100):
        await world.certify(number, alice)
    async with world.client() as client:
        rounds = [(await fetch(client, f"/v1/rounds/{number}"))[1]["round"] for number in range(1, 100)]
    assert rounds == list(range(1, 100))


async def test_a_round_tells_what_it_leaves_out_and_whose_word_it_is_and_so_do_its_venues(world, alice):
    venue = world.committee.venues[0].venue
    world.reading = RoundReading(
        small=3,
        beyond_caps=4,
        aside=5,
        unproved=(UnprovedBooks(venue=venue, books=("stable_debt:0x01",)),),
        chains=(ChainWitnesses(chain_id=31337, witnesses=1),),
    )
    async with world.client() as client:
        before = (await fetch(client, "/v1/venues"))[1]
        await world.certify(7, alice)
        world.clock.time += 1
        told = (await fetch(client, "/v1/rounds/7"))[1]["reading"]
        venues = (await fetch(client, "/v1/venues"))[1]["venues"]

    assert {each["unproved"] for each in before["venues"]} == {None}
    assert (told["small"], told["beyond_caps"], told["aside"]) == (3, 4, 5)
    assert told["unproved"] == [{"venue": venue, "books": ["stable_debt:0x01"]}]
    assert told["chains"] == [{"chain_id": 31337, "witnesses": 1}]
    assert [each["unproved"] for each in venues] == [["stable_debt:0x01"], *([] for _ in venues[1:])]


async def test_a_round_of_an_earlier_version_does_not_say_what_it_leaves_out(world, alice):
    await world.certify(7, alice)
    async with world.client() as client:
        assert (await fetch(client, "/v1/rounds/7"))[1]["reading"] is None
        assert {each["unproved"] for each in (await fetch(client, "/v1/venues"))[1]["venues"]} == {None}
