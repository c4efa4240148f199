"""Writes messages.json, pins.json and state.json with `struct`, PyCryptodome, eth-abi and `cryptography` alone.

Run from the root of the repository: python tests/vectors/write_agreement_vectors.py
Nothing of the package is imported: the vectors are what another implementation would make of docs/agreement.md.
"""

import json
import struct
from pathlib import Path
from typing import Any

from Crypto.Hash import keccak as crypto_keccak
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from eth_abi.abi import encode as abi_encode

FOLDER = Path(__file__).parent
CONFIG = bytes(range(32))
IDENTITY_SEED = bytes([9]) * 32
KIND = {"observation": 1, "proposal": 2, "share": 3, "presence": 4, "request": 5, "answer": 6}


def keccak(data: bytes) -> bytes:
    return crypto_keccak.new(digest_bits=256, data=data).digest()


def text(value: str) -> bytes:
    return struct.pack(">H", len(value.encode())) + value.encode()


def blob(value: bytes) -> bytes:
    return struct.pack(">I", len(value)) + value


def items(values: list[bytes]) -> bytes:
    return struct.pack(">I", len(values)) + b"".join(values)


def u128(value: int) -> bytes:
    return struct.pack(">QQ", value >> 64, value & (2**64 - 1))


def block(value: dict[str, Any]) -> bytes:
    return struct.pack(">QQQ", value["chain_id"], value["number"], value["timestamp"]) + bytes.fromhex(
        value["hash"][2:]
    )


def observation_body(fields: dict[str, Any]) -> bytes:
    votes = [
        text(vote["factor"]) + u128(int(vote["value"])) + u128(int(vote["confidence"])) for vote in fields["votes"]
    ]
    reference = fields["highest_certified"]
    return (
        struct.pack(">Q", fields["clock_ms"])
        + items([block(head) for head in fields["heads"]])
        + items(votes)
        + struct.pack(">Q", reference["round"])
        + bytes.fromhex(reference["report_hash"][2:])
        + items([bytes.fromhex(request[2:]) for request in fields["requests"]])
    )


def envelope(kind: str, round_number: int, sender: int, body: bytes) -> dict[str, str]:
    unsigned = struct.pack(">BB", 1, KIND[kind]) + CONFIG + struct.pack(">QB", round_number, sender) + blob(body)
    digest = keccak(keccak(b"plimsoll peer message") + unsigned)
    signature = Ed25519PrivateKey.from_private_bytes(IDENTITY_SEED).sign(digest)
    return {"body": hexed(body), "digest": hexed(digest), "payload": hexed(unsigned + signature)}


def hexed(data: bytes) -> str:
    return "0x" + data.hex()


def head(number: int, *, chain_id: int = 1, timestamp: int = 1_800_000_000, mark: int = 0) -> dict[str, Any]:
    return {
        "chain_id": chain_id,
        "number": number,
        "timestamp": timestamp,
        "hash": hexed(keccak(struct.pack(">QQB", chain_id, number, mark))),
    }


def page(fields: dict[str, Any], start: int) -> bytes:
    reference = fields["reference"]
    return (
        struct.pack(">BBQ", fields["recipient"], fields["part"], reference["round"])
        + bytes.fromhex(reference["report_hash"][2:])
        + struct.pack(">Q", start)
    )


def messages() -> dict[str, Any]:
    full = {
        "clock_ms": 1_800_000_003_250,
        "heads": [head(104), head(112), head(7, chain_id=8453)],
        "votes": [
            {"factor": "BTC", "value": str(50_000 * 10**18), "confidence": str(25 * 10**18)},
            {"factor": "ETH", "value": str(3_000 * 10**18 + 1), "confidence": "1"},
            {
                "factor": "eip155:1/erc20:0x2260fac5e5542a773aa44fbcfedf7c193bc2c599",
                "value": str(2**127),
                "confidence": "7",
            },
        ],
        "highest_certified": {"round": 41, "report_hash": hexed(keccak(b"report 41"))},
        "requests": [hexed(bytes([1]) * 20), hexed(bytes([2]) * 20)],
    }
    empty = {
        "clock_ms": 0,
        "heads": [],
        "votes": [],
        "highest_certified": {"round": 0, "report_hash": hexed(bytes(32))},
        "requests": [],
    }
    asked = {"recipient": 3, "part": 3, "reference": full["highest_certified"]}
    seen = envelope("observation", 42, 2, observation_body(full))
    inner = bytes.fromhex(seen["payload"][2:])
    share = {"report_hash": hexed(keccak(b"report 42")), "signature": hexed(bytes(range(65)))}
    proposals = [
        {"observations": [seen["payload"]], "parent_certificate": "0x"},
        {"observations": [seen["payload"], seen["payload"]], "parent_certificate": "0x0102"},
    ]
    cases = [
        {"kind": "observation", "round": 42, "sender": 2, "fields": full, **seen},
        {
            "kind": "observation",
            "round": 1,
            "sender": 0,
            "fields": empty,
            **envelope("observation", 1, 0, observation_body(empty)),
        },
        *(
            {
                "kind": "proposal",
                "round": 42,
                "sender": 2,
                "fields": fields,
                **envelope(
                    "proposal",
                    42,
                    2,
                    items([blob(inner)] * len(fields["observations"]))
                    + blob(bytes.fromhex(str(fields["parent_certificate"])[2:])),
                ),
            }
            for fields in proposals
        ),
        {
            "kind": "share",
            "round": 42,
            "sender": 30,
            "fields": share,
            **envelope("share", 42, 30, keccak(b"report 42") + bytes(range(65))),
        },
        {
            "kind": "presence",
            "round": 42,
            "sender": 1,
            "fields": {"boot_number": 2**64 - 1, "clock_ms": 1_800_000_003_250},
            **envelope("presence", 42, 1, struct.pack(">QQ", 2**64 - 1, 1_800_000_003_250)),
        },
        {
            "kind": "request",
            "round": 42,
            "sender": 1,
            "fields": {**asked, "start": 262_144},
            **envelope("request", 42, 1, page(asked, 262_144)),
        },
        {
            "kind": "answer",
            "round": 42,
            "sender": 3,
            "fields": {**asked, "recipient": 1, "start": 262_144, "total": 262_146, "data": "0x0102"},
            **envelope(
                "answer", 42, 3, page({**asked, "recipient": 1}, 262_144) + struct.pack(">Q", 262_146) + blob(b"\1\2")
            ),
        },
    ]
    return {
        "config_digest": hexed(CONFIG),
        "identity_seed": hexed(IDENTITY_SEED),
        "cases": cases,
        "refused": refused(inner, full),
    }


def refused(good: bytes, fields: dict[str, Any]) -> list[dict[str, str]]:
    swapped = {**fields, "heads": fields["heads"][::-1]}
    twice = {**fields, "votes": [fields["votes"][0]] * 2}
    body = observation_body(fields)
    return [
        {"why": "nothing", "payload": "0x"},
        {"why": "a byte is missing", "payload": hexed(good[:-1])},
        {"why": "a byte too many", "payload": hexed(good + b"\0")},
        {"why": "unknown version", "payload": hexed(b"\2" + good[1:])},
        {"why": "unknown kind", "payload": hexed(good[:1] + b"\7" + good[2:])},
        {"why": "body length beyond the end", "payload": hexed(good[:43] + b"\xff\xff\xff\xff" + good[47:])},
        {"why": "heads out of order", "payload": envelope("observation", 42, 2, observation_body(swapped))["payload"]},
        {"why": "a factor twice", "payload": envelope("observation", 42, 2, observation_body(twice))["payload"]},
        {"why": "a byte after the body's fields", "payload": envelope("observation", 42, 2, body + b"\0")["payload"]},
        {
            "why": "an empty factor name",
            "payload": envelope("observation", 42, 2, body.replace(text("BTC"), text("") + b"BTC"))["payload"],
        },
        {
            "why": "a factor name that is not UTF-8",
            "payload": envelope("observation", 42, 2, body.replace(b"BTC", b"\xff\xff\xff"))["payload"],
        },
        {"why": "a list longer than the message", "payload": envelope("proposal", 42, 2, b"\0\0\0\x1f")["payload"]},
        {
            "why": "more observations than operators can be",
            "payload": envelope("proposal", 42, 2, items([b"\0\0\0\0"] * 32) + blob(b""))["payload"],
        },
        {"why": "a request for an unknown part", "payload": envelope("request", 42, 2, b"\0\7" + bytes(48))["payload"]},
        {"why": "a presence that is too long", "payload": envelope("presence", 42, 2, bytes(17))["payload"]},
        {"why": "a share that is too short", "payload": envelope("share", 42, 2, bytes(96))["payload"]},
    ]


def pin_root(pins: list[dict[str, Any]]) -> bytes:
    kind = keccak(b"PinLeaf(uint64 chainId,uint64 number,uint64 timestamp,bytes32 blockHash)")
    leaves = [
        keccak(
            keccak(
                kind
                + abi_encode(
                    ["uint64", "uint64", "uint64", "bytes32"],
                    [pin["chain_id"], pin["number"], pin["timestamp"], bytes.fromhex(pin["hash"][2:])],
                )
            )
        )
        for pin in pins
    ]
    if not leaves:
        return bytes(32)
    # Two leaves at most are used below, so the tree is one pair.
    return leaves[0] if len(leaves) == 1 else keccak(b"".join(sorted(leaves)))


def pins() -> dict[str, Any]:
    fork = head(112, mark=1)
    low = min(head(112), fork, key=lambda each: each["hash"])
    high = max(head(112), fork, key=lambda each: each["hash"])
    choices = [
        {"why": "all name the same head", "views": [[head(104), head(112)]] * 4, "one_honest": 2, "pin": head(112)},
        {
            "why": "one is ahead alone",
            "views": [[head(112), head(120)], *[[head(104), head(112)]] * 3],
            "one_honest": 2,
            "pin": head(112),
        },
        {
            "why": "two are ahead",
            "views": [*[[head(112), head(120)]] * 2, *[[head(112)]] * 2],
            "one_honest": 2,
            "pin": head(120),
        },
        {
            "why": "a liar names a block that is not",
            "views": [[head(999)], *[[head(112)]] * 3],
            "one_honest": 2,
            "pin": head(112),
        },
        {"why": "no two agree", "views": [[head(8 * index)] for index in range(4)], "one_honest": 2, "pin": None},
        {"why": "a solo operator is its own voucher", "views": [[head(112)]], "one_honest": 1, "pin": head(112)},
        {"why": "below the parent's pin", "views": [[head(112)]] * 4, "one_honest": 2, "floor": head(113), "pin": None},
        {
            "why": "at the parent's pin",
            "views": [[head(112)]] * 4,
            "one_honest": 2,
            "floor": head(112),
            "pin": head(112),
        },
        {"why": "too old", "views": [[head(112)]] * 4, "one_honest": 2, "not_before": 1_800_000_001, "pin": None},
        {
            "why": "just not too old",
            "views": [[head(112)]] * 4,
            "one_honest": 2,
            "not_before": 1_800_000_000,
            "pin": head(112),
        },
        {
            "why": "a reorg under way: the greater hash",
            "views": [*[[low]] * 2, *[[high]] * 2],
            "one_honest": 2,
            "pin": high,
        },
        {
            "why": "naming a block twice does not count twice",
            "views": [[head(120), head(120)], [head(112)], [head(112)]],
            "one_honest": 2,
            "pin": head(112),
        },
    ]
    roots = [[], [head(112)], [head(112), head(7, chain_id=8453)]]
    return {
        "choices": [{"floor": None, "not_before": 0, **choice} for choice in choices],
        "roots": [{"pins": group, "root": hexed(pin_root(group))} for group in roots],
    }


def price(value: dict[str, Any]) -> bytes:
    return text(value["factor"]) + struct.pack(">QQQB", value["close"], value["high"], value["low"], value["filled"])


def row(value: dict[str, Any]) -> bytes:
    return struct.pack(">Q", value["hour"]) + items([price(each) for each in value["prices"]])


def cell(factor: str, close: int, high: int, low: int, *, filled: bool = False) -> dict[str, Any]:
    return {"factor": factor, "close": close, "high": high, "low": low, "filled": filled}


def state() -> dict[str, Any]:
    rows = [{"hour": 1_799_996_400, "prices": [cell("BTC", 500, 510, 490), cell("ETH", 30, 31, 29, filled=True)]}]
    genesis = keccak(b"history")
    fields = {
        "config_digest": hexed(CONFIG),
        "round": 42,
        "parent": hexed(keccak(b"report 41")),
        "observed_at": 1_800_000_003,
        "values": [
            {
                "factor": "BTC",
                "value": str(10**22),
                "confidence": str(10**19),
                "voted_at": 1_800_000_003,
                "stale": False,
            },
            {"factor": "ETH", "value": str(10**21), "confidence": "1", "voted_at": 1_799_999_000, "stale": True},
        ],
        "pins": [head(112), head(7, chain_id=8453)],
        "on_demand": [{"address": hexed(bytes([1]) * 20), "operator": 3, "last_round": 99}],
        "hours": {
            "root": hexed(keccak(genesis + row(rows[0]))),
            "count": 1,
            "open_hour": 1_800_000_000,
            "running": [cell("BTC", 505, 505, 500), cell("ETH", 30, 30, 30, filled=True)],
            "recent": rows,
        },
        "sections": [{"name": "aggregator/variances", "data": "0x0102"}],
    }
    sections = state_sections(fields)
    hashes = [text(name) + keccak(data) for name, data in sections]
    whole = b"\1" + items([text(name) + blob(data) for name, data in sections])
    return {
        "genesis_root": hexed(genesis),
        "state": fields,
        "sections": {name: hexed(data) for name, data in sections},
        "encoded": hexed(whole),
        "root": hexed(keccak(keccak(b"plimsoll state") + items(hashes))),
    }


def state_sections(fields: dict[str, Any]) -> list[tuple[str, bytes]]:
    hours = fields["hours"]
    agreement = CONFIG + struct.pack(">Q", fields["round"]) + bytes.fromhex(fields["parent"][2:])
    sections = {
        "agreement": agreement + struct.pack(">Q", fields["observed_at"]),
        "hours": bytes.fromhex(hours["root"][2:])
        + struct.pack(">QQ", hours["count"], hours["open_hour"])
        + items([price(each) for each in hours["running"]])
        + items([row(each) for each in hours["recent"]]),
        "on_demand": items(
            [
                bytes.fromhex(each["address"][2:]) + struct.pack(">BQ", each["operator"], each["last_round"])
                for each in fields["on_demand"]
            ]
        ),
        "pins": items([block(pin) for pin in fields["pins"]]),
        "values": items(
            [
                text(value["factor"])
                + u128(int(value["value"]))
                + u128(int(value["confidence"]))
                + struct.pack(">QB", value["voted_at"], value["stale"])
                for value in fields["values"]
            ]
        ),
        **{section["name"]: bytes.fromhex(section["data"][2:]) for section in fields["sections"]},
    }
    return sorted(sections.items())


def main() -> None:
    for name, content in (("messages", messages()), ("pins", pins()), ("state", state())):
        (FOLDER / f"{name}.json").write_text(json.dumps(content, indent=2) + "\n")


if __name__ == "__main__":
    main()
