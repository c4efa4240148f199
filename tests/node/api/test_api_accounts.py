"""What a wallet reads about an account, and how a stranger checks it."""

import asyncio
import json
from typing import Any

import msgspec
import pytest

from attest.encoding.abi_types import word_fields
from attest.encoding.canonical_json import encode_canonical
from attest.formats.certificate import CertificateDocument, decode_certificate_json, encode_certificate_json
from attest.formats.header import ReportHeader
from attest.formats.leaf import AccountLeaf
from attest.reports.attestation import HeaderDocument, LeafDocument, SignedHeader, check_attestation
from node.api.documents import AccountDocument, read_attestation
from riskschema.codec import encode_json
from riskschema.errors import FatalError, InvalidData, ProtocolViolation, TransientError
from storage.memory import MemoryStore
from storage.store import open_store

ZERO = "0x" + "00" * 32


@pytest.fixture(params=["memory", "sqlite"])
async def stored_world(request, tmp_path, worlds):
    """A network on each of the stores."""
    if request.param == "memory":
        yield worlds(MemoryStore())
    else:
        async with open_store(tmp_path / "node.sqlite") as store:
            yield worlds(store)


async def fetch(world, path: str, **arguments) -> tuple[int, dict[str, Any]]:
    async with world.client() as client, client.get(path, **arguments) as response:
        return response.status, json.loads(await response.read())


async def test_an_account_is_told_with_assessment_leaf_proof_and_certificate(stored_world, alice, bob):
    certificate = await stored_world.certify(7, alice, bob, score=321)

    status, body = await fetch(stored_world, f"/v1/accounts/{alice}")

    assert status == 200
    assert (body["subject"], body["round"], body["report_hash"]) == (alice, 7, "0x" + certificate.report_hash.hex())
    assert body["assessment"]["score"] == 321
    assert body["assessment"]["explanation"] == [{"kind": "grid", "silo": None, "factor": None, "amount": "0.00000011"}]
    assert body["leaf"]["score"] == "321"
    assert body["leaf"]["equity"] == "-7"
    assert body["leaf"]["min_health"] == str(2**128 - 1)
    assert len(body["attestation"]["proof"]) == 1
    assert body["valid_until"] == body["observed_at"] + 3600


async def test_a_round_that_was_pruned_since_it_was_asked_for_is_unknown_and_not_its_accounts(stored_world, alice, bob):
    await stored_world.certify(7, alice, bob)
    await stored_world.certify(8, alice, bob)
    async with stored_world.client() as client:
        assert (await client.get(f"/v1/accounts/{alice}?round=7")).status == 200
        await stored_world.store.prune(stored_world.config_digest, below_round=8)
        response = await client.get(f"/v1/accounts/{bob}?round=7")
        assert (response.status, (await response.json())["code"]) == (404, "round_unknown")


async def test_a_stranger_checks_what_the_api_answers_without_asking_it_again(stored_world, alice, bob, carol):
    certificate = await stored_world.certify(7, alice, bob, carol, score=321)

    async with stored_world.client() as client:
        whole = await (await client.get(f"/v1/accounts/{bob}")).read()
        proof_only = await (await client.get(f"/v1/accounts/{bob}/attestation")).read()

    for document in (whole, proof_only, json.dumps(json.loads(whole), indent=2).encode()):
        attestation = read_attestation(document, what="bob.json")
        leaf = check_attestation(attestation)
        assert leaf.score == 321
        assert attestation.operators == stored_world.committee.signers
        assert decode_certificate_json(encode_json(attestation.certificate)) == certificate


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"round": 8}, "round is not that"),
        ({"report_hash": ZERO}, "report_hash is not that"),
        ({"subject": "0x" + "ee" * 20}, "another subject"),
        ({"proof": [ZERO]}, "does not lead to the accounts root"),
        ({"proof": []}, "does not lead to the accounts root"),
        ({"operators": ["0x" + "ee" * 20] * 4}, "signature of operator 0"),
        ({"destinations": [{"chain_id": 1, "oracle": "0x" + "0f" * 20}]}, "signature of operator 0"),
    ],
)
async def test_an_attestation_with_a_part_of_another_is_refused(world, alice, bob, change, message):
    await world.certify(7, alice, bob)
    _, body = await fetch(world, f"/v1/accounts/{alice}/attestation")

    forged = read_attestation(json.dumps(body | change).encode(), what="forged.json")
    with pytest.raises(ProtocolViolation, match=message):
        check_attestation(forged)


async def test_a_leaf_with_a_better_score_is_refused(world, alice, bob):
    await world.certify(7, alice, bob, score=900)
    _, body = await fetch(world, f"/v1/accounts/{alice}/attestation")
    words = bytearray.fromhex(body["leaf"][2:])
    words[64:96] = (1).to_bytes(32, "big")

    forged = read_attestation(json.dumps(body | {"leaf": "0x" + words.hex()}).encode(), what="forged.json")
    with pytest.raises(ProtocolViolation, match="does not lead"):
        check_attestation(forged)


@pytest.mark.parametrize(
    ("part", "change", "message"),
    [
        ("leaf", {"score": "1"}, "the leaf that is shown"),
        ("leaf", {"equity": "1"}, "the leaf that is shown"),
        ("assessment", {"score": 1}, "the assessment is not the attested one"),
        ("assessment", {"liquidation_probability": 0.000001}, "the assessment is not the attested one"),
        (None, {"round": 8}, "round is not that of the attestation"),
        (None, {"subject": "0x" + "ee" * 20}, "subject is not that of the attestation"),
    ],
)
async def test_an_answer_that_shows_other_values_than_it_proves_is_refused(world, alice, bob, part, change, message):
    await world.certify(7, alice, bob, score=900)
    _, body = await fetch(world, f"/v1/accounts/{alice}")
    (body if part is None else body[part]).update(change)

    with pytest.raises(ProtocolViolation, match=message):
        read_attestation(json.dumps(body).encode(), what="forged.json")


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"leaf": "0xABC"}, "$.leaf"),
        ({"proof": ["0x00"]}, "$.proof[0]"),
        ({"format": "plimsoll-attestation-2"}, "$.format"),
        ({"colour": "red"}, "colour"),
    ],
)
async def test_a_saved_attestation_with_a_wrong_field_is_refused_by_its_name(world, alice, change, named):
    await world.certify(7, alice)
    _, body = await fetch(world, f"/v1/accounts/{alice}/attestation")

    with pytest.raises(InvalidData) as refusal:
        read_attestation(json.dumps(body | change).encode(), what="saved.json")
    assert refusal.value.message.startswith("saved.json: ")
    assert named in refusal.value.message


async def test_the_case_of_an_address_does_not_matter(world, alice):
    await world.certify(7, alice)

    status, body = await fetch(world, f"/v1/accounts/0x{alice[2:].upper()}")

    assert (status, body["subject"]) == (200, alice)


async def test_an_unknown_account_is_told_which_round_was_looked_at(world, alice, bob):
    await world.certify(7, alice)

    status, body = await fetch(world, f"/v1/accounts/{bob}")

    assert status == 404
    assert (body["code"], body["round"], body["field"]) == ("account_unknown", 7, "path.address")
    assert "round 7" in body["detail"]


async def test_before_the_first_round_every_account_is_unknown_for_that_reason(world, alice):
    await world.report(1, alice)

    status, body = await fetch(world, f"/v1/accounts/{alice}")

    assert (status, body["code"]) == (404, "round_unknown")


async def test_an_older_round_can_be_asked_for_while_it_is_kept(world, alice):
    await world.certify(7, alice, score=100)
    await world.certify(8, alice, score=200)

    status, body = await fetch(world, f"/v1/accounts/{alice}", params={"round": "7"})

    assert (status, body["round"], body["assessment"]["score"]) == (200, 7, 100)


async def test_a_report_that_nobody_signed_is_not_shown(world, alice):
    await world.certify(7, alice)
    await world.report(8, alice)

    assert (await fetch(world, f"/v1/accounts/{alice}"))[1]["round"] == 7
    status, body = await fetch(world, f"/v1/accounts/{alice}", params={"round": "8"})
    assert (status, body["code"], body["round"]) == (404, "round_unknown", 8)


async def test_a_new_round_replaces_the_answer_at_once(world, alice):
    await world.certify(7, alice, score=100)
    async with world.client() as client:
        first = await client.get(f"/v1/accounts/{alice}")
        await world.certify(8, alice, score=200)
        second = await client.get(f"/v1/accounts/{alice}", headers={"If-None-Match": first.headers["ETag"]})

        assert (first.status, second.status) == (200, 200)
        assert (await second.json())["assessment"]["score"] == 200


async def test_a_round_certified_by_another_process_is_seen_within_a_second(world, worlds, alice):
    await world.certify(7, alice, score=100)
    other = worlds(world.store)
    async with world.client() as client:
        await client.get(f"/v1/accounts/{alice}")
        await other.certify(8, alice, score=200)
        before = await (await client.get(f"/v1/accounts/{alice}")).json()
        world.clock.time += 1
        after = await (await client.get(f"/v1/accounts/{alice}")).json()

    assert (before["round"], after["round"]) == (7, 8)


async def test_a_reader_who_has_the_bytes_gets_none(world, alice):
    await world.certify(7, alice)
    async with world.client() as client:
        first = await client.get(f"/v1/accounts/{alice}")
        for known in (first.headers["ETag"], "*", f'"other", W/{first.headers["ETag"]}'):
            again = await client.get(f"/v1/accounts/{alice}", headers={"If-None-Match": known})
            assert (again.status, await again.read()) == (304, b"")
        other = await client.get(f"/v1/accounts/{alice}", headers={"If-None-Match": '"other"'})

    assert other.status == 200
    assert first.headers["Cache-Control"] == "public, no-cache"


async def test_a_named_round_may_be_kept_by_caches(world, alice):
    await world.certify(7, alice)
    async with world.client() as client:
        answer = await client.get(f"/v1/accounts/{alice}", params={"round": "7"})

    assert answer.headers["Cache-Control"] == "public, max-age=3600"


async def test_many_readers_at_once_get_the_same_bytes(world, alice, bob):
    await world.certify(7, alice, bob)
    async with world.client() as client:

        async def read() -> bytes:
            async with client.get(f"/v1/accounts/{alice}") as response:
                return await response.read()

        bodies = await asyncio.gather(*(read() for _ in range(100)))

    assert len(set(bodies)) == 1


class CountingStore(MemoryStore):
    """Counts how often an account is read."""

    reads = 0

    async def account(self, *arguments):
        self.reads += 1
        return await super().account(*arguments)


async def test_an_answer_is_made_once_per_account_and_round(worlds, alice):
    world = worlds(CountingStore())
    await world.certify(7, alice)
    async with world.client() as client:
        for _ in range(5):
            await (await client.get(f"/v1/accounts/{alice}")).read()
    assert world.store.reads == 1


class BrokenStore(MemoryStore):
    """A store that fails when told to."""

    failure: Exception | None = None

    async def latest_certified(self, *arguments):
        if self.failure is not None:
            raise self.failure
        return await super().latest_certified(*arguments)


@pytest.mark.parametrize(
    ("failure", "status", "code"),
    [
        (TransientError("disk /var/secret is full", code="store_failed"), 503, "store_failed"),
        (FatalError("version 9 of /var/secret", code="store_unusable"), 503, "store_unusable"),
        (RuntimeError("/var/secret"), 500, "internal"),
    ],
)
async def test_a_failing_store_is_a_problem_without_internals(worlds, alice, failure, status, code):
    world = worlds(BrokenStore())
    await world.certify(7, alice)
    world.store.failure = failure

    answered, body = await fetch(world, f"/v1/accounts/{alice}")

    assert (answered, body["code"]) == (status, code)
    assert "secret" not in json.dumps(body)


async def test_a_failing_store_makes_the_node_unready_until_it_answers_again(worlds, alice):
    world = worlds(BrokenStore())
    await world.certify(7, alice)
    world.store.failure = TransientError("disk full", code="store_failed")
    async with world.client() as client:
        await client.get(f"/v1/accounts/{alice}")
        assert (await client.get("/readyz")).status == 503
        world.store.failure = None
        await client.get(f"/v1/accounts/{alice}")
        assert (await client.get("/readyz")).status == 200


@pytest.mark.parametrize(
    ("document", "kind"),
    [(HeaderDocument, ReportHeader), (LeafDocument, AccountLeaf), (SignedHeader, CertificateDocument)],
)
def test_the_documents_have_the_fields_of_what_is_signed_in_its_order(document, kind):
    assert document.__struct_fields__ == kind.__struct_fields__


async def test_the_parts_of_a_document_are_the_canonical_text_of_what_is_signed(world, alice):
    certificate = await world.certify(7, alice)
    async with world.client() as client:
        body = await (await client.get(f"/v1/accounts/{alice}")).read()
    document = msgspec.json.decode(body)

    assert msgspec.json.encode(document["attestation"]["certificate"]) == encode_certificate_json(certificate)
    leaf = check_attestation(read_attestation(body, what="answer"))
    assert msgspec.json.encode(document["leaf"]) == encode_canonical(leaf)


def test_every_hash_of_a_signed_struct_is_a_hash_in_its_document():
    for document, kind in ((HeaderDocument, ReportHeader), (LeafDocument, AccountLeaf)):
        hashes = {name for name, abi_type in word_fields(kind) if abi_type == "bytes32"}
        assert hashes == {name for name, hint in document.__annotations__.items() if hint == "Hash32"}


def test_an_account_document_is_told_apart_by_its_format():
    assert AccountDocument.__struct_config__.tag == "plimsoll-account-1"
