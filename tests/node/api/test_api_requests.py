"""Requests that are wrong, large, slow or many; headers; readiness; metrics."""

import asyncio
import json
import resource
from typing import Any
from urllib.parse import urlsplit

import aiohttp
import pytest
from aiohttp import web
from prometheus_client.parser import text_string_to_metric_families

from node.api import application, server
from node.api.application import serve
from riskschema.errors import InvalidData
from riskschema.reasons import REASONS
from storage.memory import MemoryStore
from tests.patience import HANG_SECONDS

PROBLEM = "application/problem+json"
PATHS = ["/v1/rounds/latest", "/v1/rounds/7", "/healthz", "/readyz", "/metrics", "/openapi.json"]


async def raw(world, request: bytes) -> bytes:
    """Send bytes over a plain connection and return all that comes back until the server closes it."""
    async with serve(world.app()) as listening:
        reader, writer = await asyncio.open_connection(listening.host, listening.port)
        writer.write(request)
        answer = await asyncio.wait_for(reader.read(), HANG_SECONDS)
        writer.close()
        await writer.wait_closed()
    return answer


def split(answer: bytes) -> tuple[int, dict[str, str], bytes]:
    head, _, body = answer.partition(b"\r\n\r\n")
    status, *lines = head.decode().split("\r\n")
    headers = dict(line.lower().split(": ", 1) for line in lines)
    return int(status.split(" ")[1]), headers, body


@pytest.mark.parametrize(
    ("path", "status", "code", "field"),
    [
        ("/v1/accounts/vitalik.eth", 400, "invalid_address", "path.address"),
        ("/v1/accounts/0x12", 400, "invalid_address", "path.address"),
        ("/v1/accounts/0x12/attestation", 400, "invalid_address", "path.address"),
        ("/v1/accounts/%00", 400, "invalid_address", "path.address"),
        ("/v1/accounts/0x" + "a1" * 20 + "?round=-1", 400, "request_malformed", "query.round"),
        ("/v1/accounts/0x" + "a1" * 20 + "?round=", 400, "request_malformed", "query.round"),
        ("/v1/accounts/0x" + "a1" * 20 + "?round=1&round=2", 400, "request_malformed", "query.round"),
        ("/v1/accounts/0x" + "a1" * 20 + "?rounds=1", 400, "request_malformed", "query.rounds"),
        ("/v1/rounds/soon", 400, "request_malformed", "path.round"),
        ("/v1/rounds/1.5", 400, "request_malformed", "path.round"),
        ("/v1/rounds/007", 400, "request_malformed", "path.round"),
        (f"/v1/rounds/{2**53 + 1}", 400, "request_malformed", "path.round"),
        ("/v1/rounds/" + "9" * 1000, 400, "request_malformed", "path.round"),
        ("/v1/rounds/9", 404, "round_unknown", None),
        ("/v1/accounts/", 404, "route_unknown", "path"),
        ("/", 404, "route_unknown", "path"),
        ("/v1/../../etc/passwd", 404, "route_unknown", "path"),
    ],
)
async def test_a_wrong_request_is_told_what_is_wrong_with_it(world, alice, path, status, code, field):
    await world.certify(7, alice)
    async with world.client() as client, client.get(path) as response:
        body = json.loads(await response.read())

    assert (response.status, response.content_type) == (status, PROBLEM)
    assert (body["status"], body["code"], body.get("field")) == (status, code, field)
    assert body["type"] == f"urn:plimsoll:problem:{code}"
    assert (body["title"], body["advice"]) == (REASONS[code].short, REASONS[code].long)
    assert body["detail"]
    assert response.headers["Cache-Control"] == "no-store"


@pytest.mark.parametrize("method", ["POST", "PUT", "PATCH", "DELETE", "TRACE", "PROPFIND"])
async def test_nothing_can_be_written(world, method):
    async with world.client() as client, client.request(method, "/v1/rounds/latest") as response:
        body = json.loads(await response.read())
    assert (response.status, body["code"]) == (405, "method_refused")
    assert response.headers["Allow"] == "GET, HEAD, OPTIONS"


@pytest.mark.parametrize("path", PATHS)
async def test_head_answers_what_get_answers_without_the_body(world, alice, path):
    await world.certify(7, alice)
    async with world.client() as client:
        got = await client.get(path)
        headed = await client.head(path)
        body = await got.read()

        assert (headed.status, await headed.read()) == (got.status, b"")
        assert headed.content_type == got.content_type
        if path != "/metrics":
            assert headed.headers["Content-Length"] == str(len(body))


@pytest.mark.parametrize("path", ["/v1/rounds/latest", "/v1/accounts/0x" + "a1" * 20])
async def test_a_web_page_of_any_origin_may_ask(world, alice, path):
    await world.certify(7, alice)
    async with world.client() as client:
        preflight = await client.options(path, headers={"Origin": "https://wallet.example"})
        answer = await client.get(path, headers={"Origin": "https://wallet.example"})

    assert (preflight.status, await preflight.read()) == (204, b"")
    assert preflight.headers["Access-Control-Allow-Headers"] == "If-None-Match"
    for response in (preflight, answer):
        assert response.headers["Access-Control-Allow-Origin"] == "*"
        assert "Access-Control-Allow-Credentials" not in response.headers


async def test_options_of_an_unknown_path_is_not_found(world):
    async with world.client() as client, client.options("/nowhere") as response:
        assert response.status == 404


@pytest.mark.parametrize("path", [*PATHS, "/nowhere"])
async def test_every_answer_is_protected_in_a_browser_and_names_no_software_version(world, alice, path):
    await world.certify(7, alice)
    async with world.client() as client, client.get(path) as response:
        assert response.headers["X-Content-Type-Options"] == "nosniff"
        assert "default-src 'none'" in response.headers["Content-Security-Policy"]
        assert response.headers["Server"] == "plimsoll"


@pytest.mark.parametrize("chunked", [None, True])
async def test_a_request_with_a_body_is_refused(world, chunked):
    async with world.client() as client, client.get("/healthz", data=b"x" * 10, chunked=chunked) as response:
        assert (response.status, json.loads(await response.read())["code"]) == (413, "request_too_large")


async def test_a_body_announced_but_never_sent_is_refused_at_once(world):
    status, _, body = split(
        await raw(world, b"POST /healthz HTTP/1.1\r\nHost: x\r\nContent-Length: 99999999999\r\n\r\n")
    )
    assert (status, json.loads(body)["code"]) == (413, "request_too_large")


@pytest.mark.parametrize(
    "request_bytes",
    [
        b"GET /" + b"a" * 100_000 + b" HTTP/1.1\r\nHost: x\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: x\r\nX: " + b"a" * 100_000 + b"\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: x\r\n" + b"".join(b"X-%d: 1\r\n" % number for number in range(200)) + b"\r\n",
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: x\r\nContent-Length: -1\r\n\r\n",
    ],
    ids=["huge url", "huge header", "many headers", "tls", "negative length"],
)
async def test_broken_or_oversized_http_is_a_problem_and_the_connection_is_closed(world, request_bytes):
    status, headers, body = split(await raw(world, request_bytes))

    assert (status, headers["content-type"]) == (400, PROBLEM)
    assert json.loads(body)["code"] == "request_malformed"
    assert headers["server"] == "plimsoll"


@pytest.mark.parametrize("sent", [b"", b"GET / HTTP/1.1\r\nHost"], ids=["silent", "half a request"])
async def test_a_connection_that_asks_nothing_is_dropped(world, monkeypatch, sent):
    monkeypatch.setattr(server, "FIRST_REQUEST_SECONDS", 0.1)
    assert await raw(world, sent) == b""


async def test_connections_beyond_the_limit_are_dropped_and_those_within_it_go_on(world, monkeypatch):
    monkeypatch.setattr(server, "MAX_CONNECTIONS", 2)
    async with serve(world.app()) as listening:
        pairs = [await asyncio.open_connection(listening.host, listening.port) for _ in range(3)]
        for _, writer in pairs:
            writer.write(b"GET /healthz HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
        answers = [await reader.read() for reader, _ in pairs]
        for _, writer in pairs:
            writer.close()

    assert [answer[:15] for answer in answers] == [b"HTTP/1.1 200 OK", b"HTTP/1.1 200 OK", b""]


async def test_connections_leave_files_to_the_rest_of_the_node(world, monkeypatch):
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    monkeypatch.setattr(server, "FILES_PER_CONNECTION", soft // 2)
    assert server.connection_limit() == 2
    monkeypatch.setattr(resource, "getrlimit", lambda _: (resource.RLIM_INFINITY, hard))
    assert server.connection_limit() == server.MAX_CONNECTIONS


async def ask_without_listening(writer: asyncio.StreamWriter) -> None:
    async with asyncio.timeout(HANG_SECONDS):
        while True:
            writer.write(b"GET /openapi.json HTTP/1.1\r\nHost: x\r\n\r\n" * 1_000)
            await asyncio.sleep(0.02)
            await writer.drain()


async def test_a_client_that_takes_nothing_of_its_answers_is_dropped(world, monkeypatch):
    monkeypatch.setattr(server, "STALLED_SECONDS", 0.1)
    async with serve(world.app()) as listening:
        reader, writer = await asyncio.open_connection(listening.host, listening.port, limit=1_000)
        with pytest.raises(ConnectionError):
            await ask_without_listening(writer)
        writer.close()
        del reader  # it was there to be full


async def test_a_client_that_takes_its_answers_slowly_gets_them_all(world, monkeypatch):
    """Each time it takes something the wait for it ends, however long all of it takes."""
    limit = 3_600.5
    monkeypatch.setattr(server, "STALLED_SECONDS", limit)
    loop, waits = asyncio.get_running_loop(), list[asyncio.TimerHandle]()
    start = loop.call_later

    def call_later(delay: float, *arguments: Any, **options: Any) -> asyncio.TimerHandle:
        timer = start(delay, *arguments, **options)
        waits.extend([timer] * (delay == limit))
        return timer

    monkeypatch.setattr(loop, "call_later", call_later)
    asked = 300
    async with serve(world.app()) as listening:
        reader, writer = await asyncio.open_connection(listening.host, listening.port, limit=1_000)
        writer.write(b"GET /openapi.json HTTP/1.1\r\nHost: x\r\n\r\n" * asked)
        writer.write(b"GET /healthz HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
        taken = b""
        while part := await reader.read(200_000):
            taken += part
            await asyncio.sleep(0.002)
        writer.close()
    assert taken.count(b"HTTP/1.1 200 OK") == asked + 1
    assert len(waits) > 1
    assert all(timer.cancelled() for timer in waits)


class SlowStore(MemoryStore):
    """Never answers."""

    async def latest_certified(self, *_arguments):
        await asyncio.Event().wait()


async def test_an_answer_that_takes_too_long_is_given_up(worlds, monkeypatch):
    monkeypatch.setattr(application, "REQUEST_SECONDS", 0.05)
    async with worlds(SlowStore()).client() as client, client.get("/v1/rounds/latest") as response:
        body = json.loads(await response.read())
    assert (response.status, body["code"], response.headers["Retry-After"]) == (503, "overloaded", "1")


async def test_requests_beyond_the_limit_are_told_to_come_back(worlds, monkeypatch):
    monkeypatch.setattr(application, "MAX_CONCURRENT_REQUESTS", 3)
    monkeypatch.setattr(application, "REQUEST_SECONDS", 0.5)
    async with worlds(SlowStore()).client() as client:

        async def ask() -> str:
            async with client.get("/v1/rounds/latest") as response:
                return json.loads(await response.read())["detail"]

        details = await asyncio.gather(*(ask() for _ in range(8)))
        async with client.get("/healthz") as later:
            assert later.status == 200

    assert sorted(details) == ["the answer took too long"] * 3 + ["too many requests"] * 5


async def test_liveness_does_not_depend_on_rounds(world):
    async with world.client() as client, client.get("/healthz") as response:
        assert (response.status, await response.json()) == (200, {"status": "ok", "age": None})


async def test_readiness_follows_the_rounds(world, alice):
    async with world.client() as client:
        before = await client.get("/readyz")
        assert (before.status, before.content_type) == (503, PROBLEM)
        assert [each["code"] for each in json.loads(await before.read())["reasons"]] == ["round_missing"]

        await world.certify(7, alice)
        ready = await client.get("/readyz")
        assert await ready.json() == {
            "status": "ready",
            "certified_round": 7,
            "certified_at": world.clock.time,
            "age": 0,
        }
        world.clock.time += 20
        assert (await (await client.get("/readyz")).json())["age"] == 20
        assert (await (await client.get("/healthz")).json())["age"] == 20

        world.clock.time += 3600
        late = json.loads(await (await client.get("/readyz")).read())
        assert (late["status"], late["code"]) == (503, "round_overdue")


async def test_readiness_names_each_component_but_keeps_the_details_to_the_log(world, alice):
    await world.certify(7, alice)
    world.status.fail("chain 1", "endpoint_unreachable", at=world.clock.time, detail="https://user:hunter2@rpc.example")
    async with world.client() as client, client.get("/readyz") as response:
        text = await response.text()

    (reason,) = json.loads(text)["reasons"]
    assert (reason["component"], reason["code"]) == ("chain 1", "endpoint_unreachable")
    assert (reason["short"], reason["since"]) == ("endpoint unreachable", world.clock.time)
    assert "hunter2" not in text


async def test_metrics_count_by_route_and_never_by_account(world, alice):
    await world.certify(7, alice)
    async with world.client() as client:
        await client.get(f"/v1/accounts/{alice}")
        await client.get("/v1/accounts/0x12")
        await client.get("/nowhere")
        async with client.get("/metrics") as response:
            text = await response.text()

    samples = {
        (sample.labels.get("route"), sample.labels.get("status")): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
        if sample.name == "plimsoll_http_requests_total"
    }
    assert samples["/v1/accounts/{address}", "200"] == 1
    assert samples["/v1/accounts/{address}", "400"] == 1
    assert samples["unmatched", "404"] == 1
    assert alice not in text


async def test_metrics_are_not_for_web_pages(world):
    async with world.client() as client, client.get("/metrics") as response:
        assert "Access-Control-Allow-Origin" not in response.headers


async def test_the_port_that_was_taken_is_told(world):
    async with serve(world.app(), server.open_listener("127.0.0.1", 0)) as listening:
        url = urlsplit(str(listening))
        assert (url.hostname, url.port) == ("127.0.0.1", listening.port)
        assert listening.port > 0


async def test_an_ipv6_address_is_written_so_that_it_is_a_url():
    assert str(server.Listening("::1", 80)) == "http://[::1]:80"


async def test_a_port_in_use_is_refused_with_the_address(world):
    async with serve(world.app()) as listening:
        with pytest.raises(InvalidData, match=f"cannot listen on 127.0.0.1:{listening.port}"):
            server.open_listener("127.0.0.1", listening.port)


async def test_a_request_under_way_is_finished_when_the_server_stops(world, worlds, alice):
    started, release = asyncio.Event(), asyncio.Event()

    class Waiting(MemoryStore):
        async def latest_certified(self, *arguments):
            started.set()
            await release.wait()
            return await super().latest_certified(*arguments)

    waiting = worlds(Waiting())
    await waiting.certify(7, alice)
    async with aiohttp.ClientSession() as client:
        async with serve(waiting.app()) as listening:
            asking = asyncio.create_task(client.get(f"{listening}/v1/rounds/latest"))
            await started.wait()
            asyncio.get_running_loop().call_later(0.05, release.set)
        response = await asking
        assert (response.status, (await response.json())["round"]) == (200, 7)


async def test_a_defect_is_logged_and_told_without_internals(world, monkeypatch):
    def fail(*_arguments):
        raise ZeroDivisionError("secret")

    monkeypatch.setattr(world.status, "failures", fail)
    async with world.client() as client, client.get("/readyz") as response:
        text = await response.text()
    assert (response.status, json.loads(text)["code"]) == (500, "internal")
    assert "secret" not in text


async def test_a_runner_must_be_set_up_before_it_listens(world):
    with server.open_listener("127.0.0.1", 0) as opened, pytest.raises(RuntimeError, match="not set up"):
        async with server.listen(web.AppRunner(world.app()), opened):
            pass
