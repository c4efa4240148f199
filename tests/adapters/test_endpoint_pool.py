"""Several endpoints of one chain: who is asked, who is believed, who is left alone, and how each comes back."""

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from typing import Any

import pytest

from adapters.chains import Chain, EndpointOptions, Learned, open_chain
from adapters.chains.answers import RpcAnswer
from adapters.chains.endpoint import Endpoint
from adapters.chains.health import EndpointState, Fault, Health
from adapters.chains.provider import Request
from riskschema.errors import FatalError, TransientError
from riskschema.ports import CALL_GAS, Call, CallReverted, CallSuccess
from riskschema.units import Address, Hash32
from tests.adapters.hostile_endpoint import Form, HostileEndpoint, block, hostile_endpoints, log, small_chain
from tests.patience import eventually

CONTRACT = Address("0x" + "c0" * 20)
TOPIC = Hash32("0x" + "7a" * 32)
CALLS = [Call(CONTRACT, bytes([number]) * 32) for number in range(30)]
RIGHT = tuple(CallSuccess(call.data) for call in CALLS)

Fleet = list[HostileEndpoint]


@pytest.fixture
async def fleet() -> AsyncIterator[Fleet]:
    async with hostile_endpoints(small_chain(), 5) as running:
        yield running


@asynccontextmanager
async def opened(fleet: Fleet, limits: dict[str, Any] | None = None, **options: Any) -> AsyncIterator[Chain]:
    endpoints = [EndpointOptions(url=each.url, **(limits or {})) for each in fleet]
    async with open_chain(endpoints=endpoints, chain_id=1, finality="latest", **{"attempts": 2, **options}) as chain:
        yield chain


async def read(chain: Chain) -> tuple[Any, ...]:
    return await (await chain.pin(await chain.head())).call(CALLS)


def states(chain: Chain) -> list[str]:
    return [report.state.value for report in chain.endpoints()]


def lie_about(method: str, change: Callable[[Any], Any]) -> Callable[[Form, Form], Form]:
    def lie(form: Form, answer: Form) -> Form:
        return answer | {"result": change(answer["result"])} if form["method"] == method else answer

    return lie


FORGED_CALL = lie_about("eth_call", lambda result: "0x" + "ee" * 32)


def no_call(form: Form, answer: Form) -> Form:
    if form["method"] != "eth_call" or "to" not in form["params"][0]:
        return answer
    return {"jsonrpc": "2.0", "id": form["id"], "error": {"code": -32603, "message": "Internal error"}}


async def test_the_first_endpoint_is_read_and_the_others_only_looked_at(fleet: Fleet) -> None:
    async with opened(fleet, agreement=1) as chain:
        assert await read(chain) == RIGHT
    assert fleet[0].methods().count("eth_call") == len(CALLS) + 1
    assert [each.methods().count("eth_call") for each in fleet[1:]] == [1, 1, 1, 1]  # the probe of the gas


async def test_as_many_are_read_as_must_agree(fleet: Fleet) -> None:
    async with opened(fleet) as chain:
        assert chain.agreement == 3
        assert await read(chain) == RIGHT
    assert [each.methods().count("eth_call") > 1 for each in fleet] == [True, True, True, False, False]


@pytest.mark.parametrize(
    ("method", "forged"),
    [
        ("eth_call", "0x" + "ee" * 32),
        ("eth_getBalance", "0x6"),
        ("eth_getLogs", []),
        ("eth_getLogs", [log(10, {"address": [CONTRACT], "topics": [[TOPIC]]}) | {"data": "0x01"}]),
    ],
)
@pytest.mark.parametrize("liars", [(0, 1), (1, 3), (3, 4), (2,)])
async def test_two_liars_of_five_are_never_believed_and_those_asked_are_named(
    fleet: Fleet, method: str, forged: Any, liars: tuple[int, ...]
) -> None:
    for liar in liars:
        fleet[liar].lie = lie_about(method, lambda _: forged)
    async with opened(fleet) as chain:
        pinned = await chain.pin(await chain.head())
        calls = await pinned.call(CALLS)
        balances = await pinned.native_balances([CONTRACT])
        logs = await pinned.logs(addresses=[CONTRACT], topics=[[TOPIC]], from_block=1)
        found = states(chain)
        details = [report.detail for report in chain.endpoints()]
    assert calls == RIGHT
    assert balances == (5,)
    assert [each.block_number for each in logs] == list(range(10, 101, 10))
    asked = {
        liar for liar in liars if any(form["method"] == method and "to" in str(form) for form in fleet[liar].asked)
    }
    assert {at for at, state in enumerate(found) if state == "lying"} >= asked & {0, 1, 2}
    assert all(found[at] == "alive" for at in range(5) if at not in liars)
    assert all(fleet[at].url in details[at] and method in details[at] for at in asked if found[at] == "lying")


async def test_liars_that_agree_with_each_other_win_only_if_they_are_as_many_as_must_agree(fleet: Fleet) -> None:
    for liar in fleet[:3]:
        liar.lie = FORGED_CALL
    async with opened(fleet, agreement=4) as chain:
        with pytest.raises(TransientError, match="contradict each other on eth_call") as refused:
            await read(chain)
    assert refused.value.code == "endpoints_disagree"
    assert all(each.url in str(refused.value) for each in fleet)


async def test_reverts_are_the_same_whether_a_provider_strips_what_they_return_or_not(fleet: Fleet) -> None:
    for at, error in enumerate(
        [{"code": -32000, "message": "execution reverted"}, *2 * [{"code": 3, "message": "x", "data": "0x08c379a0"}]]
    ):
        fleet[at].lie = _reverting(error)
    async with opened(fleet[:3]) as chain:
        results = await (await chain.pin(await chain.head())).call(CALLS)
        assert {type(result) for result in results} == {CallReverted}
        assert states(chain) == ["alive"] * 3


def _reverting(error: Form) -> Callable[[Form, Form], Form]:
    def lie(form: Form, answer: Form) -> Form:
        called = form["method"] == "eth_call" and "to" in form["params"][0]
        return {"jsonrpc": "2.0", "id": form["id"], "error": error} if called else answer

    return lie


@pytest.mark.parametrize("soon", [False, True])
async def test_who_lacks_the_last_block_of_a_range_of_logs_is_behind_and_no_liar(fleet: Fleet, soon: bool) -> None:
    def lacks_the_newest(form: Form, answer: Form) -> Form:
        if form["method"] == "eth_getLogs":
            fleet[0].lie = None if soon else lacks_the_newest
            return answer | {"result": answer["result"][:-1]}
        newest = form["method"] == "eth_getBlockByNumber" and form["params"][0] == hex(100)
        return answer | {"result": None} if newest else answer

    async with opened(fleet[:3]) as chain:
        pinned = await chain.pin(await chain.head())
        fleet[0].lie = lacks_the_newest
        logs = await pinned.logs(addresses=[CONTRACT], topics=[[TOPIC]], from_block=1)
        assert [each.block_number for each in logs] == list(range(10, 101, 10))
        assert "lying" not in states(chain)
        fleet[0].lie = None
        await _rest(chain)
        await chain.head()
        assert states(chain) == ["alive"] * 3


async def test_a_contradiction_is_asked_about_again_where_one_who_failed_may_decide_it(fleet: Fleet) -> None:
    async with opened(fleet[:3]) as chain:
        pinned = await chain.pin(await chain.head())
        before = fleet[2].posts
        fleet[2].status = 502

        def lie(form: Form, answer: Form) -> Form:
            fleet[2].status = 200 if fleet[2].posts > before else 502  # it is back when this one is asked again
            return FORGED_CALL(form, answer)

        fleet[1].lie = lie
        assert await pinned.call(CALLS) == RIGHT
        assert states(chain) == ["alive", "lying", "alive"]


async def test_calls_name_the_pinned_block_by_its_hash_and_refuse_one_that_was_reorganised_away(fleet: Fleet) -> None:
    async with opened(fleet[:1]) as chain:
        pinned = await chain.pin(await chain.head())
        asked = len(fleet[0].asked)
        assert await pinned.call(CALLS) == RIGHT
    places = [form["params"][1] for form in fleet[0].asked[asked:]]
    assert len(places) == len(CALLS)
    assert all(place == {"blockHash": pinned.block.hash, "requireCanonical": True} for place in places)  # EIP-1898


async def test_two_endpoints_that_contradict_each_other_are_both_named_and_neither_is_believed(fleet: Fleet) -> None:
    fleet[1].lie = FORGED_CALL
    async with opened(fleet[:2], agreement=2) as chain:
        with pytest.raises(TransientError, match="contradict") as refused:
            await read(chain)
        assert all(each.url in str(refused.value) for each in fleet[:2])
        assert CALLS[0].data.hex() in str(refused.value), "the first call that they answer differently is named"
        fleet[1].lie = None
        assert await read(chain) == RIGHT


async def test_two_answers_swapped_between_calls_are_a_lie(fleet: Fleet) -> None:
    def swapped(form: Form, answer: Form) -> Form:
        return (
            answer | {"result": "0x" + (b"\1" * 32).hex()}
            if form["params"][0].get("data") == "0x" + "00" * 32
            else answer
        )

    fleet[2].lie = lambda form, answer: swapped(form, answer) if form["method"] == "eth_call" else answer
    async with opened(fleet[:3], agreement=3) as chain:
        with pytest.raises(TransientError, match="contradict"):
            await read(chain)
    async with opened(fleet[:3], agreement=2) as chain:
        assert await read(chain) == RIGHT


async def test_a_liar_is_heard_again_after_its_quarantine_and_counts_once_it_agrees(
    fleet: Fleet, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("adapters.chains.health._FIRST_PAUSE_SECONDS", {EndpointState.LYING: 0.01})
    fleet[0].lie = FORGED_CALL
    async with opened(fleet[:3]) as chain:
        assert await read(chain) == RIGHT
        assert states(chain) == ["lying", "alive", "alive"]
        await _rest(chain)
        assert await read(chain) == RIGHT  # on trial, and lies again
        assert states(chain) == ["lying", "alive", "alive"]
        fleet[0].lie = None
        await _rest(chain)
        assert await read(chain) == RIGHT
        assert states(chain) == ["alive", "alive", "alive"]


async def test_an_endpoint_found_out_in_one_batch_decides_none_beside_it(
    fleet: Fleet, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It answers one batch well and another wrongly; the first endpoint waits with the former until that is known."""
    found_out, ask = asyncio.Event(), Endpoint.ask

    async def late(endpoint: Endpoint, requests: Sequence[Request]) -> list[RpcAnswer]:
        if endpoint.name == fleet[0].url and _data(requests[0]) == _hexadecimal(CALLS[0]):
            await found_out.wait()
        return await ask(endpoint, requests)

    monkeypatch.setattr(Endpoint, "ask", late)
    first = _hexadecimal(CALLS[0])
    fleet[1].lie = lambda form, answer: (
        answer if _data((form["method"], form["params"])) == first else FORGED_CALL(form, answer)
    )
    async with opened(fleet[:3], {"batch_size": 1}, multicall=False) as chain:
        pinned = await chain.pin(await chain.head())
        reading = asyncio.create_task(pinned.call(CALLS[:2]))

        async def lies() -> bool:
            return states(chain)[1] == "lying"

        await eventually(lies)
        found_out.set()
        assert await reading == RIGHT[:2]
        assert states(chain) == ["alive", "lying", "alive"]
    assert any(_data((form["method"], form["params"])) == first for form in fleet[2].asked)


def _data(request: Request) -> str | None:
    method, parameters = request
    return parameters[0].get("data") if method == "eth_call" else None


def _hexadecimal(call: Call) -> str:
    return "0x" + call.data.hex()


async def _rest(chain: Chain) -> None:
    for endpoint in chain._transport._endpoints:
        endpoint.health.paused_until = 0.0


@pytest.mark.parametrize("fault", ["hang", "status", "lie"])
async def test_where_an_endpoint_fails_the_next_is_asked_and_the_first_again_once_it_is_back(
    fleet: Fleet, fault: str
) -> None:
    setting = {"hang": True, "status": 502, "lie": no_call}[fault]
    healthy = {"hang": False, "status": 200, "lie": None}[fault]
    async with opened(fleet[:2], timeout_seconds=0.5) as chain:
        assert await read(chain) == RIGHT
        setattr(fleet[0], fault, setting)
        assert await read(chain) == RIGHT
        assert states(chain) == [{"hang": "unreachable", "status": "unreachable", "lie": "broken"}[fault], "alive"]
        setattr(fleet[0], fault, healthy)
        await _rest(chain)
        fleet[1].asked.clear()
        assert await read(chain) == RIGHT
        assert states(chain) == ["alive", "alive"]
        assert "eth_call" not in fleet[1].methods()


async def test_an_endpoint_that_asks_for_patience_gets_it_where_nobody_else_answers(fleet: Fleet) -> None:
    limited = [2]

    def limit(form: Form, answer: Form) -> Form:
        if form["method"] != "eth_getBalance" or not limited:
            return answer
        limited.pop()
        return {"jsonrpc": "2.0", "id": form["id"], "error": {"code": -32005, "message": "limit exceeded"}}

    fleet[0].lie = limit
    async with opened(fleet[:1]) as chain:
        assert await (await chain.pin(await chain.head())).native_balances([CONTRACT]) == (5,)
        assert states(chain) == ["alive"]


async def test_retry_after_is_heeded(fleet: Fleet) -> None:
    async with opened(fleet[:2]) as chain:
        fleet[0].status, fleet[0].headers = 429, {"Retry-After": "1800"}
        assert await read(chain) == RIGHT
        fleet[0].status = 200
        posts = fleet[0].posts
        assert await read(chain) == RIGHT
        assert states(chain) == ["limited", "alive"]
        assert fleet[0].posts == posts


async def test_a_budget_of_calls_is_never_exceeded(fleet: Fleet) -> None:
    async with opened(fleet[:1], {"calls_per_day": 50}) as chain:
        assert await read(chain) == RIGHT
        with pytest.raises(TransientError, match="calls of the day are spent") as spent:
            await read(chain)
    assert spent.value.code == "call_budget_spent"
    assert len(fleet[0].asked) <= 50


async def test_an_endpoint_of_another_chain_is_left_out_and_two_such_of_three_stop_the_start(fleet: Fleet) -> None:
    fleet[1].lie = lie_about("eth_chainId", lambda _: "0x2")
    async with opened(fleet[:3], genesis_hash=Hash32(block(0)["hash"])) as chain:
        assert await read(chain) == RIGHT
        assert states(chain) == ["alive", "wrong_chain", "alive"]
    fleet[0].lie = lie_about("eth_getBlockByNumber", lambda _: block(0) | {"hash": "0x" + "0b" * 32})
    with pytest.raises(FatalError, match="serves chain 2, not 1") as refused:
        async with opened(fleet[:3], genesis_hash=Hash32(block(0)["hash"])):
            pass
    assert refused.value.code == "wrong_chain"


async def test_an_address_that_comes_back_as_another_chain_is_noticed(fleet: Fleet) -> None:
    async with opened(fleet[:2]) as chain:
        fleet[0].status = 502
        assert await read(chain) == RIGHT
        fleet[0].status, fleet[0].lie = 200, lie_about("eth_chainId", lambda _: "0x2")
        await _rest(chain)
        assert await read(chain) == RIGHT
        assert states(chain) == ["wrong_chain", "alive"]


async def test_a_cap_on_the_gas_of_calls_is_found_at_the_start(fleet: Fleet) -> None:
    fleet[0].lie = lie_about("eth_call", lambda _: hex(10_000_000))
    with pytest.raises(FatalError, match="at most 10100000 gas, not 16000000: raise its cap") as capped:
        async with opened(fleet[:1]):
            pass
    assert capped.value.code == "gas_capped"
    assert (
        int(next(form for form in fleet[0].asked if form["method"] == "eth_call")["params"][0]["gas"], 16) == CALL_GAS
    )


async def test_an_endpoint_far_behind_is_asked_last_until_it_catches_up(fleet: Fleet) -> None:
    fleet[0].lie = lie_about("eth_getBlockByNumber", lambda found: block(7) if found == block(100) else found)
    async with opened(fleet[:3], agreement=1, clock=lambda: 250.0) as chain:
        assert (await chain.head()).number == 100
        assert await read(chain) == RIGHT
        assert states(chain) == ["behind", "alive", "alive"]
        assert fleet[0].methods().count("eth_call") == 1
        fleet[0].lie = None
        await _rest(chain)
        assert (await chain.head()).number == 100
        assert states(chain) == ["alive", "alive", "alive"]


async def test_a_liar_cannot_invent_a_head(fleet: Fleet) -> None:
    fleet[0].lie = lie_about("eth_getBlockByNumber", lambda found: block(10**9) if found == block(100) else found)
    fleet[1].lie = fleet[0].lie
    async with opened(fleet) as chain:
        assert await chain.head() == await chain.block(100)


@pytest.mark.parametrize("ahead", [17, 97, 10**6])
@pytest.mark.parametrize("seconds", [101.0, 250.0, 10**9])
async def test_a_spare_that_claims_to_be_ahead_takes_over_nothing(fleet: Fleet, ahead: int, seconds: float) -> None:
    fleet[1].lie = lie_about("eth_getBlockByNumber", lambda found: block(100 + ahead) if found == block(100) else found)
    async with opened(fleet[:2], agreement=1, clock=lambda: seconds) as chain:
        assert (await chain.head()).number == 100
        assert await read(chain) == RIGHT
        assert states(chain) == ["alive", "alive"]
    assert fleet[1].methods().count("eth_call") == 1  # the probe of the gas


async def test_a_null_for_a_block_that_others_know_is_asked_elsewhere(fleet: Fleet) -> None:
    fleet[0].lie = lie_about("eth_getBlockByHash", lambda _: None)
    async with opened(fleet[:2]) as chain:
        assert await read(chain) == RIGHT
        assert states(chain)[1] == "alive"


async def test_an_endpoint_that_knows_no_batches_is_asked_one_by_one(fleet: Fleet) -> None:
    fleet[0].batches = False
    async with opened(fleet[:1]) as chain:
        assert await read(chain) == RIGHT
        posts = fleet[0].posts
        assert await read(chain) == RIGHT
        assert fleet[0].posts - posts == len(CALLS) + 3  # head, pin, canonical: nothing is tried as a batch again


REFUSALS = [
    {"code": -32000, "message": "query returned more than 10000 results"},
    {"code": -32602, "message": "eth_getLogs is limited to a 10 blocks range"},
    {"code": -32005, "message": "limit exceeded"},
    {"code": -32701, "message": "Bitte weniger Blöcke"},
    {"code": 0, "message": ""},
]


@pytest.mark.parametrize("refusal", REFUSALS)
async def test_any_refusal_of_more_than_one_block_halves_the_range_and_what_is_taken_is_remembered(
    fleet: Fleet, refusal: dict[str, Any]
) -> None:
    def narrow(form: Form, answer: Form) -> Form:
        query = form["params"][0] if form["method"] == "eth_getLogs" else {"toBlock": "0x0", "fromBlock": "0x0"}
        if int(query["toBlock"], 16) - int(query["fromBlock"], 16) < 10:
            return answer
        return {"jsonrpc": "2.0", "id": form["id"], "error": refusal}

    fleet[0].lie = narrow
    async with opened(fleet[:1]) as chain:
        pinned, learned = await chain.pin(await chain.head()), []
        for _ in range(2):
            fleet[0].asked.clear()
            logs = await pinned.logs(addresses=[CONTRACT], topics=[[TOPIC]], from_block=1)
            assert [each.block_number for each in logs] == list(range(10, 101, 10))
            learned.append(chain.endpoints()[0].log_range)
        assert learned[0] < 10  # later it is tried to raise it
        assert 10 < fleet[0].methods().count("eth_getLogs") < 20


async def test_a_range_that_was_narrowed_grows_again_also_in_the_middle_of_a_long_query(fleet: Fleet) -> None:
    options = [EndpointOptions(url=fleet[0].url, learned=Learned(log_range=2))]
    async with open_chain(endpoints=options, chain_id=1, finality="latest") as chain:
        pinned = await chain.pin(await chain.head())
        await pinned.logs(addresses=[CONTRACT], topics=[[TOPIC]], from_block=1, to_block=100)
        assert chain.endpoints()[0].log_range == 4


async def test_an_endpoint_of_ten_blocks_follows_the_head_and_is_not_asked_for_history() -> None:
    async with hostile_endpoints(small_chain(head=5_000), 2) as fleet:
        options = [EndpointOptions(url=fleet[0].url, log_range=10), EndpointOptions(url=fleet[1].url)]
        async with open_chain(endpoints=options, chain_id=1, finality="latest") as chain:
            pinned = await chain.pin(await chain.head())
            for first, asked in ((1, 1), (4_991, 0)):
                for each in fleet:
                    each.asked.clear()
                logs = await pinned.logs(addresses=[CONTRACT], topics=[[TOPIC]], from_block=first)
                assert [each.block_number for each in logs] == list(range(-first // 10 * -10 or 10, 5_001, 10))
                assert ["eth_getLogs" in each.methods() for each in fleet].index(True) == asked


async def test_endpoints_of_one_origin_have_names_of_their_own_and_no_key_is_shown(fleet: Fleet) -> None:
    fleet[0].lie = lie_about("eth_chainId", lambda _: "0x2")
    secret = "a-very-secret-key"
    urls = [f"{fleet[0].url}/v2/{secret}", f"{fleet[0].url}/v2/another-{secret}", fleet[1].url]
    options = [EndpointOptions(url=url) for url in urls]
    async with open_chain(endpoints=options, chain_id=1, agreement=1) as chain:
        reports = chain.endpoints()
    assert [report.name for report in reports] == [f"{fleet[0].url}#1", f"{fleet[0].url}#2", fleet[1].url]
    assert secret not in str(reports)


def test_pauses_double_up_to_a_limit_and_are_forgotten_in_time() -> None:
    now = [0.0]
    health = Health(lambda: now[0])
    down = Fault(EndpointState.UNREACHABLE, "down")
    pauses = []
    for _ in range(12):
        health.fail(down)
        pauses.append(health.pause)
    assert pauses[:4] == [0.25, 0.5, 1.0, 2.0]
    assert pauses[-1] == 60.0
    assert health.recover()
    assert not health.recover(), "it was back already: that is no news"
    now[0] += 3_600
    health.fail(down)
    assert health.pause == 0.25
    health.fail(Fault(EndpointState.LYING, "lies"))
    assert health.pause == 60.0
    assert not health.fail(down)
    assert health.state is EndpointState.LYING
