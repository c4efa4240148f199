"""Measure the gas of publishing and proving for every committee size, on a local chain.

    python -m bench.gas [--write docs/gas.md]

Prints a table, then one JSON object.
"""

import argparse
import json
import secrets
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import coincurve

from attest.encoding.merkle import build_tree, prove
from attest.formats.certificate import assemble_certificate
from attest.formats.committee import Committee, Operator, config_digest
from attest.formats.eip712 import Destination, address_of, sign_digest, signing_digest
from attest.formats.header import ReportHeader
from attest.formats.leaf import AccountLeaf, leaf_hash
from attest.formats.quorums import byzantine
from contracts import artifact
from contracts.calls import decode_revert, publish_call, verify_account_call
from contracts.deployment import RING_SIZE, deploy_oracle, initialize_oracle
from devnet.anvil import Anvil, run_anvil
from devnet.toolchain.packages import default_cache, find_anvil
from riskschema.units import Address

SIZES = (1, 4, 7, 10, 13, 16, 19, 22, 25, 28, 31)
FIRST_ROUND = 350_000_000
START = 1_800_000_000
CHAIN_ID = 31337


@dataclass
class MeteredChain:
    """A local chain that remembers the gas of the last transaction."""

    anvil: Anvil
    account: Address
    gas: int = 0

    def send(self, to: Address | None, data: bytes) -> Address | None:
        transaction = {"from": self.account, "data": "0x" + data.hex(), "gas": hex(20_000_000)}
        if to is not None:
            transaction["to"] = to
        sent = self.anvil.rpc.request("eth_sendTransaction", transaction)
        while (receipt := self.anvil.rpc.request("eth_getTransactionReceipt", sent)) is None:
            time.sleep(0.002)
        if receipt["status"] != "0x1":
            answer = self.anvil.rpc.answers([("eth_call", [transaction, "latest"])])[0]
            raise SystemExit(f"reverted: {decode_revert(bytes.fromhex(answer['error'].get('data', '0x')[2:]))}")
        self.gas = int(receipt["gasUsed"], 16)
        created = receipt.get("contractAddress")
        return Address(created) if created else None


def measure(chain: MeteredChain, operators: int) -> dict[str, int]:
    """Gas for a committee of `operators`, in the steady state where every slot of the ring is in use."""
    contracts = deploy_oracle(chain.send, initializer=chain.account)
    keys = [secrets.token_bytes(32) for _ in range(operators)]
    destinations = (Destination(chain_id=CHAIN_ID, oracle=contracts.oracle),)
    committee = Committee(
        config_count=0,
        operators=tuple(
            Operator(signer=address_of(coincurve.PrivateKey(key).public_key.format(False)), identity=key)
            for key in keys
        ),
        destinations=destinations, chains=(), venues=(), history_hash=bytes(32), genesis_time=START,
        round_interval_seconds=1, report_life_seconds=600, account_cap=1024, requests_per_operator=0,
    )  # fmt: skip
    initialize_oracle(chain.send, contracts, committee)
    initialize = chain.gas
    leaves = [_leaf() for _ in range(1024)]
    tree = build_tree([leaf_hash(leaf) for leaf in leaves])
    for number in range(2 * RING_SIZE):
        header = _header(number, config_digest(committee), tree.root)
        digest = signing_digest(header, destinations)
        signatures = {index: sign_digest(digest, keys[index]) for index in range(byzantine(operators))}
        chain.anvil.rpc.request("evm_setNextBlockTimestamp", header.observed_at + 1)
        chain.send(contracts.oracle, publish_call(assemble_certificate(header, signatures)))
    publish = chain.gas
    proof = prove(tree, leaf_hash(leaves[0]))
    verify = [
        _execution(chain, contracts.oracle, verify_account_call(
            round_number=FIRST_ROUND + number, leaf=leaves[0], proof=proof, max_age=600, min_coverage=0b111
        ))
        for number in range(RING_SIZE, 2 * RING_SIZE)
    ]  # fmt: skip
    return {
        "operators": operators, "signatures": byzantine(operators), "initialize": initialize, "publish": publish,
        "verify_latest": verify[-1], "verify_worst": max(verify),
    }  # fmt: skip


def _execution(chain: MeteredChain, oracle: Address, call: bytes) -> int:
    chain.send(oracle, call)
    return chain.gas - 21_000 - sum(16 if byte else 4 for byte in call)


def _header(number: int, digest: bytes, accounts_root: bytes) -> ReportHeader:
    hashes: Any = {name: secrets.token_bytes(32) for name in (
        "parent", "state_root", "pins_root", "market_root", "arrays_root", "parameters_hash", "feeds_root"
    )}  # fmt: skip
    return ReportHeader(
        config_digest=digest, round=FIRST_ROUND + number, observed_at=START + number, valid_until=START + number + 600,
        model_version=1, accounts_root=accounts_root, account_count=1024, feed_count=12, coverage_ppm=998_877,
        breaker_flags=0, **hashes,
    )  # fmt: skip


def _leaf() -> AccountLeaf:
    return AccountLeaf(
        subject=bytes(12) + secrets.token_bytes(20), score=secrets.randbelow(1001), liquidation_probability_ppm=4_466,
        insolvency_probability_ppm=120, expected_loss=1_234_56789012, equity=98_765_43210987,
        initial_margin=20_123_45678901, maintenance_margin=16_123_45678901, worst_grid_loss=15_123_45678901,
        min_health=1_337123456789012345, venue_coverage=0b1111, flags=2, positions_commitment=secrets.token_bytes(32),
    )  # fmt: skip


def table(rows: list[dict[str, int]]) -> str:
    lines = [
        "| operators | signatures | publish | initialise | verifyAccount, latest round | oldest or any other |",
        "|---:|---:|---:|---:|---:|---:|",
    ]
    lines += ["| " + " | ".join(f"{value:,}" for value in row_values(row)) + " |" for row in rows]
    return "\n".join(lines)


def row_values(row: dict[str, int]) -> list[int]:
    columns = ("operators", "signatures", "publish", "initialize", "verify_latest", "verify_worst")
    return [row[column] for column in columns]


def document(rows: list[dict[str, int]], deploy: dict[str, int]) -> str:
    more_gas = rows[-1]["publish"] - rows[1]["publish"]
    per_signature = more_gas // (rows[-1]["signatures"] - rows[1]["signatures"])
    return f"""# Gas

Measured on a local chain by `python -m bench.gas --write docs/gas.md`, with the committed artifacts.

- **publish** and **initialise** are whole transactions (21,000 and calldata included). Publishing is in the steady
  state: every slot of the ring of {RING_SIZE} holds an older report, and all hashes of the header are random.
- **verifyAccount** is execution gas (without 21,000 and calldata) of a proof of depth 10, for the latest round and for
  the most expensive of the other rounds in the ring. A consumer that has touched the oracle before in the same
  transaction pays less.

{table(rows)}

Each further signature costs about {per_signature:,} gas: 3,000 for `ecrecover`, 1,040 for 65 bytes of calldata, the
rest for the loop.

Deployment: RiskOracle {deploy["RiskOracle"]:,}, EcdsaBitmapVerifier {deploy["EcdsaBitmapVerifier"]:,}.
"""


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m bench.gas", description=__doc__)
    parser.add_argument("--write", type=Path, help="also write the table to this Markdown file")
    options = parser.parse_args()
    with run_anvil(find_anvil(cache=default_cache(), progress=print), genesis_timestamp=START - 1000) as anvil:
        chain = MeteredChain(anvil, Address(anvil.rpc.request("eth_accounts")[0]))
        deploy = {}
        for name, tail in (("EcdsaBitmapVerifier", ""), ("RiskOracle", f"{1:064x}{RING_SIZE:064x}")):
            chain.send(None, bytes.fromhex(artifact(name).bytecode[2:] + tail))
            deploy[name] = chain.gas
        rows = []
        for operators in SIZES:
            snapshot = anvil.snapshot()
            rows.append(measure(chain, operators))
            anvil.revert(snapshot)
    print(table(rows))
    print(json.dumps({"rows": rows, "deploy": deploy}))
    if options.write:
        options.write.write_text(document(rows, deploy))


if __name__ == "__main__":
    main()
