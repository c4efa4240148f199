"""What one address may ask for, and whose word counts on who asks."""

import asyncio
import json
import sys
from ipaddress import ip_network

import aiohttp
import pytest

from node.api.addresses import MAX_ADDRESSES, AddressLimits, TooMany
from node.api.application import create_app, serve
from node.settings import Api
from riskschema.codec import from_builtins
from riskschema.errors import InvalidData

PROXY = "127.0.0.1"
STRANGER = "203.0.113.7"


def limits(*, connections: int = 2, per_second: float = 1.0, trusted: str = "127.0.0.0/8") -> AddressLimits:
    return AddressLimits(connections=connections, requests_per_second=per_second, trusted=[ip_network(trusted)])


def allowed(found: AddressLimits, times: int, now: float, *, peer: str = STRANGER, forwarded: str | None = None) -> int:
    count = 0
    for _ in range(times):
        try:
            found.ask(peer, forwarded, now)
        except TooMany:
            continue
        count += 1
    return count


def test_an_address_may_ask_for_four_seconds_worth_at_once_and_then_at_its_rate():
    found = limits(per_second=5)
    assert allowed(found, 100, 0.0) == 20
    assert allowed(found, 100, 1.0) == 5
    assert allowed(found, 100, 1.1) == 0
    assert allowed(found, 100, 1000.0) == 20


def test_one_address_takes_nothing_from_another():
    found = limits()
    assert allowed(found, 100, 0.0) == 4
    assert allowed(found, 100, 0.0, peer="203.0.113.8") == 4


def test_a_subscriber_of_version_6_is_one_address_whatever_the_last_half_says():
    found = limits()
    assert allowed(found, 100, 0.0, peer="2001:db8:1:1::1") == 4
    assert allowed(found, 100, 0.0, peer="2001:db8:1:1:ffff:1:2:3") == 0
    assert allowed(found, 100, 0.0, peer="2001:db8:1:2::1") == 4
    assert allowed(found, 100, 0.0, peer="::ffff:203.0.113.7") == 4, "which is 203.0.113.7"
    assert allowed(found, 100, 0.0, peer="203.0.113.7") == 0


def test_a_trusted_proxy_is_not_limited_but_those_are_whom_it_names():
    found = limits()
    assert allowed(found, 100, 0.0, peer=PROXY) == 100
    assert allowed(found, 100, 0.0, peer=PROXY, forwarded=STRANGER) == 4
    assert allowed(found, 100, 0.0, peer=PROXY, forwarded=f"8.8.8.8, {STRANGER}") == 0, "the last is the proxy's word"
    assert allowed(found, 100, 0.0, peer=PROXY, forwarded="203.0.113.8") == 4


def test_behind_two_proxies_of_ours_the_stranger_is_limited_and_not_the_proxies():
    found = AddressLimits(
        connections=2, requests_per_second=1.0, trusted=[ip_network("127.0.0.0/8"), ip_network("10.0.0.0/8")]
    )
    assert allowed(found, 100, 0.0, peer=PROXY, forwarded=f"8.8.8.8, {STRANGER}, 10.0.0.7") == 4
    assert allowed(found, 100, 0.0, peer=PROXY, forwarded=f"8.8.4.4, {STRANGER}, 10.0.0.7") == 0
    assert allowed(found, 100, 0.0, peer=PROXY, forwarded="10.0.0.9, 10.0.0.7") == 100, "nobody but ourselves"


def test_a_stranger_is_not_believed_who_asks():
    found = limits()
    assert sum(allowed(found, 10, 0.0, forwarded=f"8.8.8.{number}") for number in range(10)) == 4


@pytest.mark.parametrize("forwarded", ["", "unknown", "x" * 10_000, "1.2.3.4.5", "2001:db8::1%eth0" * 9])
def test_a_name_that_is_no_address_limits_nobody_else(forwarded):
    found = limits()
    assert allowed(found, 10, 0.0, peer=PROXY, forwarded=forwarded) == 10
    assert allowed(found, 10, 0.0, peer=PROXY, forwarded=STRANGER) == 4


def test_what_is_remembered_of_addresses_is_bounded():
    found = limits()
    for number in range(MAX_ADDRESSES + 10):
        found.ask(f"10.{number >> 16}.{number >> 8 & 255}.{number & 255}", None, 0.0)
    assert len(found._left) == MAX_ADDRESSES


def test_connections_are_counted_until_they_end():
    found = limits(connections=2)
    held = [found.connect(STRANGER), found.connect(STRANGER)]
    with pytest.raises(TooMany):
        found.connect(STRANGER)
    assert found.connect("203.0.113.8") is not None
    found.disconnect(held[0])
    assert found.connect(STRANGER) == held[0]
    assert [found.connect(PROXY) for _ in range(50)] == [None] * 50
    for name in [*held, "203.0.113.8", None]:
        found.disconnect(name)
    assert not found._connections


@pytest.mark.parametrize("text", ["nowhere", "127.0.0.1/8", "300.0.0.1"])
def test_a_proxy_that_is_no_network_is_refused_by_its_name(text):
    with pytest.raises(InvalidData, match=f"api.*{text}"):
        from_builtins({"trusted_proxies": [text]}, Api, what="api")


def limited_app(world, addresses: AddressLimits) -> aiohttp.web.Application:
    return create_app(
        store=world.store,
        committee=world.committee,
        status=world.status,
        metrics=world.metrics,
        clock=world.clock,
        addresses=addresses,
    )


async def test_who_asks_too_often_is_told_to_wait_and_others_are_answered(world, alice):
    await world.certify(7, alice)
    app = limited_app(world, limits(per_second=0.5))
    async with serve(app) as listening, aiohttp.ClientSession(str(listening)) as client:

        async def ask(address: str) -> aiohttp.ClientResponse:
            response = await client.get("/v1/rounds/latest", headers={"X-Forwarded-For": address})
            await response.read()
            return response

        answers = [await ask(STRANGER) for _ in range(4)]
        assert [answer.status for answer in answers[:2]] == [200, 200]
        refused = next(answer for answer in answers if answer.status == 429)
        assert (refused.headers["Retry-After"], json.loads(await refused.read())["code"]) == ("1", "too_many_requests")
        assert (await ask("203.0.113.8")).status == 200


async def test_a_line_of_its_own_that_a_proxy_adds_counts_and_not_the_line_of_the_stranger(world, alice):
    await world.certify(7, alice)
    async with (
        serve(limited_app(world, limits(per_second=0.5))) as listening,
        aiohttp.ClientSession(str(listening)) as client,
    ):
        statuses = []
        for number in range(6):
            lines = [("X-Forwarded-For", f"8.8.8.{number}"), ("X-Forwarded-For", STRANGER)]
            async with client.get("/v1/rounds/latest", headers=lines) as response:
                statuses.append(response.status)
    assert statuses[:2] == [200, 200]
    assert 429 in statuses


@pytest.mark.skipif(sys.platform != "linux", reason="only there all of 127.0.0.0/8 is loopback")
async def test_connections_beyond_those_of_one_address_are_dropped_and_another_address_is_answered(world):
    app = limited_app(world, limits(connections=2, per_second=100, trusted="10.0.0.0/8"))

    async def answered(port: int, source: str, count: int) -> list[bool]:
        pairs = [await asyncio.open_connection("127.0.0.1", port, local_addr=(source, 0)) for _ in range(count)]
        found = []
        for _, writer in pairs:
            writer.write(b"GET /healthz HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
        for reader, writer in pairs:
            try:
                found.append((await reader.read()).startswith(b"HTTP/1.1 200"))
            except ConnectionError:
                found.append(False)
            writer.close()
        return found

    async with serve(app) as listening:
        assert await answered(listening.port, "127.0.1.1", 3) == [True, True, False]
        assert await answered(listening.port, "127.0.1.2", 2) == [True, True]
        assert await answered(listening.port, "127.0.1.1", 2) == [True, True], "the first are gone"
        assert b'limit="address"} 1.0' in world.metrics.exposition(0)


async def test_every_answer_says_how_old_it_is(world, alice):
    await world.certify(7, alice)
    world.clock.time += 90
    async with world.client() as client:
        for path in ("/v1/rounds/latest", "/v1/rounds/7", f"/v1/accounts/{alice}", f"/v1/accounts/{alice}/attestation"):
            async with client.get(path) as response:
                assert response.headers["Plimsoll-Age"] == "90"
                etag = response.headers["ETag"]
            async with client.get(path, headers={"If-None-Match": etag}) as response:
                assert (response.status, response.headers["Plimsoll-Age"]) == (304, "90")
