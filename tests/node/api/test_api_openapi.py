"""The API does what its OpenAPI document says, also for requests nobody thought of."""

import asyncio
import json
import threading
from collections.abc import Iterator

import pytest
import schemathesis
from hypothesis import HealthCheck, settings
from jsonschema import Draft202012Validator

from attest.reports.attestation import check_attestation
from node.api.documents import read_attestation
from node.api.openapi import openapi_document
from node.api.routes import ROUTES
from tests.node.api.conftest import agreed_market
from tests.patience import HANG_SECONDS

DOCUMENT = json.loads(openapi_document([operation for operation, _ in ROUTES]))


@pytest.fixture(scope="module")
def served(worlds, alice, bob) -> Iterator[str]:
    """The URL of an API with a certified round, served by a thread of its own."""
    from node.api.application import serve  # noqa: PLC0415
    from storage.memory import MemoryStore  # noqa: PLC0415

    loop = asyncio.new_event_loop()
    ready: list[str] = []
    started, stopped = threading.Event(), asyncio.Event()

    async def run() -> None:
        world = worlds(MemoryStore())
        await world.certify(7, alice, bob)
        await world.transact(7, "landed")
        async with serve(world.app()) as listening:
            ready.append(str(listening))
            started.set()
            await stopped.wait()

    thread = threading.Thread(target=loop.run_until_complete, args=(run(),))
    thread.start()
    assert started.wait(HANG_SECONDS)
    yield ready[0]
    loop.call_soon_threadsafe(stopped.set)
    thread.join(HANG_SECONDS)
    loop.close()


@schemathesis.openapi.from_dict(DOCUMENT).parametrize()
@settings(max_examples=25, suppress_health_check=list(HealthCheck))
def test_every_answer_is_as_described(case, served):
    case.call_and_validate(base_url=served)


@pytest.mark.parametrize("path", ["/v1/accounts/{alice}", "/v1/accounts/{alice}/attestation", "/v1/rounds/latest"])
async def test_an_answer_follows_its_schema(world, alice, bob, path):
    await world.certify(7, alice, bob)
    async with world.client() as client, client.get(path.format(alice=alice)) as response:
        body = await response.json()

    template = path.replace("{alice}", "{address}")
    schema = DOCUMENT["paths"][template]["get"]["responses"]["200"]["content"]["application/json"]["schema"]
    Draft202012Validator(schema | {"components": DOCUMENT["components"]}).validate(body)


async def test_a_problem_follows_its_schema(world):
    async with world.client() as client, client.get("/readyz") as response:
        body = json.loads(await response.read())
    schema = {"$ref": "#/components/schemas/ProblemDocument", "components": DOCUMENT["components"]}
    Draft202012Validator(schema).validate(body)


def test_every_property_says_what_it_means():
    silent = [
        (name, field)
        for name, schema in DOCUMENT["components"]["schemas"].items()
        for field, described in schema.get("properties", {}).items()
        if not described.get("description")
    ]
    assert silent == []
    described = DOCUMENT["components"]["schemas"]["LeafDocument"]["properties"]["min_health"]["description"]
    assert described == "Lowest health of a silo with 18 decimals; 2^128 - 1 where nothing is owed."


def success(path):
    """Schema and example of a path's answer."""
    (content,) = DOCUMENT["paths"][path]["get"]["responses"]["200"]["content"].values()
    return content["schema"], content["example"]


@pytest.mark.parametrize("path", list(DOCUMENT["paths"]))
def test_every_operation_has_an_example_that_follows_its_schema(path):
    schema, example = success(path)
    Draft202012Validator(schema | {"components": DOCUMENT["components"]}).validate(example)


def test_the_example_of_an_account_is_really_attested():
    _, example = success("/v1/accounts/{address}")
    leaf = check_attestation(read_attestation(json.dumps(example).encode(), what="example"))
    assert leaf.score == example["assessment"]["score"]


def shape(value, path=""):
    """Every key of an answer, with the keys above it; the elements of a list are alike."""
    if isinstance(value, dict):
        return {path}.union(*(shape(inner, f"{path}.{key}") for key, inner in value.items()))
    if isinstance(value, list):
        return {path}.union(*(shape(inner, f"{path}[]") for inner in value))
    return {path}


@pytest.mark.parametrize(
    "path",
    [
        *("/v1/accounts/{address}", "/v1/accounts/{address}/attestation", "/v1/accounts", "/v1/venues"),
        *("/v1/rounds/latest", "/v1/rounds/latest/market", "/healthz", "/readyz"),
    ],
)
async def test_a_real_answer_has_the_shape_of_the_example_and_follows_the_schema(world, alice, bob, path):
    world.market = agreed_market(int(world.clock.now()))
    await world.certify(7, alice, bob)
    await world.transact(7, "landed")
    url = "/v1/accounts?limit=1" if path == "/v1/accounts" else path.replace("{address}", alice)
    async with world.client() as client, client.get(url) as response:
        body = await response.json()
    schema, example = success(path)
    Draft202012Validator(schema | {"components": DOCUMENT["components"]}).validate(body)
    assert shape(body) <= shape(example)


async def test_the_document_is_served_as_it_is_made(world):
    async with world.client() as client, client.get("/openapi.json") as response:
        assert await response.json() == DOCUMENT


def test_every_route_is_described_once():
    assert list(DOCUMENT["paths"]) == [operation.path for operation, _ in ROUTES]
    names = [path["get"]["operationId"] for path in DOCUMENT["paths"].values()]
    assert len(set(names)) == len(names)


def test_every_reference_leads_somewhere():
    text = json.dumps(DOCUMENT)
    referred = {part.split('"')[0] for part in text.split("#/components/schemas/")[1:]}
    assert referred == set(DOCUMENT["components"]["schemas"])


def test_every_component_is_a_valid_schema():
    for schema in DOCUMENT["components"]["schemas"].values():
        Draft202012Validator.check_schema(schema)
