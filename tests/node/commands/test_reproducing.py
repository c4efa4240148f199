"""`plimsoll assess` says of a certified round's documents what was attested, byte for byte."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from aggregator.parameters import load_parameters
from attest.encoding.merkle import verify_proof
from attest.formats.header import decode_header
from attest.formats.leaf import decode_leaf, encode_leaf, leaf_hash
from attest.reports.leaves import account_leaf
from node.committee_file import load_committee, load_history
from node.explaining.recorded import RecordedRounds
from riskschema.assessment import Assessment
from riskschema.codec import decode_json, encode_json
from riskschema.market import AgreedMarket
from riskschema.portfolio import Portfolio
from riskschema.rounds import StoredAccount, StoredReport
from riskschema.units import Hash32
from storage.store import open_store_to_read
from tests.node.local_node import LocalNode

pytestmark = pytest.mark.chain


async def certified(network: LocalNode) -> tuple[StoredReport, tuple[StoredAccount, ...], bytes]:
    """Return the last certified round, and its market as a document."""
    committee = load_committee(network.directory / str(network.settings.committee_file))
    async with open_store_to_read(network.directory / network.settings.database) as store:
        (digest,) = await store.config_digests()
        report = await store.latest_certified(digest)
        assert report is not None
        kept = await store.market(digest, report.round)
        agreed = decode_json(kept or b"", AgreedMarket, what="market")
        rounds = RecordedRounds(
            store,
            committee.history_hash,
            lambda: (load_history(network.settings.market, network.directory), load_parameters()),
        )
        market = encode_json(await rounds.market(report, agreed))
        return report, await store.accounts(digest, report.round), market


def test_assess_reproduces_every_attested_leaf_byte_for_byte(network: LocalNode, tmp_path: Path, plimsoll) -> None:
    market = tmp_path / "market.json"
    report, accounts, document = asyncio.run(certified(network))
    market.write_bytes(document)
    header = decode_header(report.header)
    assert len(accounts) == header.account_count > 20
    for account in accounts:
        portfolio = tmp_path / f"{account.subject}.json"
        portfolio.write_bytes(account.portfolio or b"")
        printed = plimsoll("assess", "--portfolio", portfolio, "--market", market, "--json").output.strip().encode()
        assert printed == account.assessment
        leaf = account_leaf(
            header.config_digest,
            report.round,
            decode_json(account.portfolio or b"", Portfolio, what="portfolio"),
            decode_json(printed, Assessment, what="assessment"),
            decode_leaf(account.leaf).venue_coverage,
        )
        assert encode_leaf(leaf) == account.leaf
        proof = [Hash32(node).to_bytes() for node in account.proof]
        assert verify_proof(leaf_hash(leaf), proof, header.accounts_root)
