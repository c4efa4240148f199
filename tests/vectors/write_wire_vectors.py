"""Write header, leaf, commitment, committee and certificate vectors from libraries that share no code with ours.

    python tests/vectors/write_wire_vectors.py

ABI words come from eth-abi, EIP-712 hashes and signatures from eth-account. merkle.json is not written here: its
trees are the output of @openzeppelin/merkle-tree 1.0.8.
"""

import json
from pathlib import Path
from typing import Any

from eth_abi.abi import encode
from eth_account import Account
from eth_account.messages import encode_typed_data
from eth_hash.auto import keccak

FOLDER = Path(__file__).parent
PPM = 1_000_000

HEADER = (
    "bytes32 configDigest,uint64 round,bytes32 parent,bytes32 stateRoot,uint64 observedAt,uint64 validUntil,"
    "bytes32 pinsRoot,bytes32 marketRoot,bytes32 arraysRoot,bytes32 parametersHash,uint32 modelVersion,"
    "bytes32 accountsRoot,bytes32 feedsRoot,uint32 accountCount,uint32 feedCount,uint32 coveragePpm,"
    "uint32 breakerFlags"
)
ACCOUNT = (
    "bytes32 subject,uint16 score,uint32 liquidationProbabilityPpm,uint32 insolvencyProbabilityPpm,"
    "uint128 expectedLoss,int128 equity,uint128 initialMargin,uint128 maintenanceMargin,uint128 worstGridLoss,"
    "uint128 minHealth,uint64 venueCoverage,uint32 flags,bytes32 positionsCommitment"
)
FEED = "bytes32 market,bytes32 parameter,int256 value,uint128 confidence,int256 impact"
COMMITTEE = {
    "Committee": (
        "uint64 configCount,Operator[] operators,Destination[] destinations,ObservedChain[] chains,"
        "DiscoveryRule[] venues,bytes32 historyHash,uint64 genesisTime,uint32 roundIntervalSeconds,"
        "uint32 reportLifeSeconds,uint32 accountCap,uint32 requestsPerOperator,AgreementParameters parameters"
    ),
    "AgreementParameters": (
        "ChainParameters[] chains,string[] factors,uint32 maxValueAgeSeconds,uint32 maxConfidencePpm,"
        "uint32 requestLifetimeRounds,uint32 requestCapacity,uint32 proposalGracePpm,uint32 smallestAccountUsd,"
        "uint32 maxShrinkPpm"
    ),
    "ChainParameters": "uint64 chainId,uint32 pinStride,uint32 confirmations,uint32 maxPinAgeSeconds",
    "Operator": "address signer,bytes32 identity",
    "Destination": "uint64 chainId,address oracle",
    "ObservedChain": "uint64 chainId,bytes32 genesisHash",
    "DiscoveryRule": "string venue,uint64 chainId,uint64 startBlock,uint32 accountCap",
}


def word(text: str) -> bytes:
    return keccak(text.encode())


def names(signature: str) -> list[tuple[str, str]]:
    return [(kind, name) for kind, name in (part.split(" ") for part in signature.split(","))]


def snake(name: str) -> str:
    return "".join("_" + letter.lower() if letter.isupper() else letter for letter in name)


def shown(value: Any) -> Any:
    if isinstance(value, dict):
        return {snake(name): shown(item) for name, item in value.items()}
    if isinstance(value, list):
        return [shown(item) for item in value]
    return "0x" + value.hex() if isinstance(value, bytes) else str(value)


def words(signature: str, value: dict[str, Any]) -> bytes:
    return encode([kind for kind, _ in names(signature)], [value[name] for _, name in names(signature)])


def struct_hash(name: str, types: dict[str, str], value: dict[str, Any], domain: dict[str, Any]) -> tuple[bytes, bytes]:
    """Return (struct hash, signing digest) as eth-account computes them."""
    fields = {each: [{"type": kind, "name": field} for kind, field in names(types[each])] for each in types}
    fields["EIP712Domain"] = [{"type": "bytes32" if key == "salt" else "string", "name": key} for key in domain]
    message = {"types": fields, "primaryType": name, "domain": domain, "message": value}
    signable = encode_typed_data(full_message=message)
    return signable.body, keccak(b"\x19" + signable.version + signable.header + signable.body)


PLAIN_DOMAIN = {"name": "Plimsoll", "version": "1", "salt": bytes(32)}


def headers() -> dict[str, dict[str, Any]]:
    typical = {
        name: word(name) if kind == "bytes32" else 1 for kind, name in names(HEADER)
    } | {
        "round": 350_000_123, "observedAt": 1_800_000_615, "validUntil": 1_800_001_215, "accountCount": 20,
        "feedCount": 3, "coveragePpm": 987_654, "breakerFlags": 0,
    }  # fmt: skip
    return {
        "typical": typical,
        "all zeros": {name: bytes(32) if kind == "bytes32" else 0 for kind, name in names(HEADER)},
        "all ones": {
            name: b"\xff" * 32 if kind == "bytes32" else 2 ** int(kind[4:]) - 1 for kind, name in names(HEADER)
        },
    }


def write_headers() -> None:
    cases = [
        {
            "name": name,
            "header": shown(header),
            "encoding": shown(words(HEADER, header)),
            "report_hash": shown(struct_hash("ReportHeader", {"ReportHeader": HEADER}, header, PLAIN_DOMAIN)[0]),
        }
        for name, header in headers().items()
    ]
    write(
        "header",
        {"type": f"ReportHeader({HEADER})", "type_hash": shown(word(f"ReportHeader({HEADER})")), "cases": cases},
    )


def leaves() -> list[tuple[str, str, str, dict[str, Any]]]:
    account = {
        "subject": bytes(12) + word("account")[:20], "score": 412, "liquidationProbabilityPpm": 4_466,
        "insolvencyProbabilityPpm": 120, "expectedLoss": 1_234_56789012, "equity": 98_765_43210987,
        "initialMargin": 20_000_00000000, "maintenanceMargin": 16_000_00000000, "worstGridLoss": 15_500_00000000,
        "minHealth": 1_337000000000000000, "venueCoverage": 0b1011, "flags": 2,
        "positionsCommitment": word("positions"),
    }  # fmt: skip
    lost = account | {
        "score": 1000, "liquidationProbabilityPpm": PPM, "insolvencyProbabilityPpm": PPM, "equity": -(2**127),
        "minHealth": 0, "venueCoverage": 2**64 - 1, "flags": 2**32 - 1,
    }  # fmt: skip
    free = account | {"score": 0, "minHealth": 2**128 - 1, "equity": 0, "positionsCommitment": bytes(32)}
    feed = {
        "market": word("WETH"),
        "parameter": word("liquidationThreshold"),
        "value": 8_250,
        "confidence": 25,
        "impact": -50,
    }
    lowest = feed | {"value": -(2**255), "confidence": 2**128 - 1, "impact": 2**255 - 1}
    return [
        ("typical account", "AccountLeaf", ACCOUNT, account),
        ("account with extreme values", "AccountLeaf", ACCOUNT, lost),
        ("account without debt", "AccountLeaf", ACCOUNT, free),
        ("typical feed", "FeedLeaf", FEED, feed),
        ("feed with extreme values", "FeedLeaf", FEED, lowest),
    ]


def write_leaves() -> None:
    cases = []
    for name, kind, signature, leaf in leaves():
        encoding = word(f"{kind}({signature})") + words(signature, leaf)
        cases.append({
            "name": name, "kind": kind, "leaf": shown(leaf), "encoding": shown(encoding),
            "leaf_hash": shown(keccak(keccak(encoding))),
        })  # fmt: skip
    write("leaf", {"types": [f"AccountLeaf({ACCOUNT})", f"FeedLeaf({FEED})"], "cases": cases})


def write_commitment() -> None:
    digest, subject, round_number = word("config"), bytes(12) + word("account")[:20], 350_000_123
    positions = [(word("aave_v3 WETH"), 10 * 10**18), (word("aave_v3 USDC debt"), -20_000 * 10**6), (word("wallet"), 0)]
    salts = [
        keccak(encode(["bytes32", "uint64", "bytes32", "uint32"], [digest, round_number, subject, index]))
        for index in range(len(positions))
    ]
    hashes = [
        keccak(salt + encode(["bytes32", "int256"], position)) for salt, position in zip(salts, positions, strict=True)
    ]
    # five nodes: root, inner node, then the leaves in descending order; the inner node joins the last two
    first, second, third = sorted(hashes, reverse=True)
    inner = keccak(ascending(second, third))
    write("commitment", {
        "config_digest": shown(digest), "round": str(round_number), "subject": shown(subject),
        "positions": [{"position": shown(key), "quantity": str(quantity)} for key, quantity in positions],
        "salts": shown(salts), "leaf_hashes": shown(hashes),
        "root": shown(keccak(ascending(first, inner))),
    })  # fmt: skip


def ascending(one: bytes, other: bytes) -> bytes:
    return min(one, other) + max(one, other)


def operators(count: int) -> list[tuple[bytes, str]]:
    keys = [word(f"operator {index}") for index in range(count)]
    return [(key, Account.from_key(key).address.lower()) for key in keys]


DESTINATIONS = [
    {"chainId": 1, "oracle": "0x" + "a1" * 20},
    {"chainId": 1, "oracle": "0x" + "b2" * 20},
    {"chainId": 8453, "oracle": "0x" + "01" * 20},
]


def committee() -> dict[str, Any]:
    return {
        "configCount": 0,
        "operators": [{"signer": address, "identity": word("identity" + address)} for _, address in operators(4)],
        "destinations": DESTINATIONS,
        "chains": [{"chainId": each, "genesisHash": word(f"genesis {each}")} for each in (1, 8453)],
        "venues": [
            {"venue": "aave_v3", "chainId": 1, "startBlock": 16_291_127, "accountCap": 5000},
            {"venue": "morpho_blue", "chainId": 8453, "startBlock": 13_977_148, "accountCap": 1000},
        ],
        "historyHash": word("history"), "genesisTime": 1_750_000_000, "roundIntervalSeconds": 12,
        "reportLifeSeconds": 600, "accountCap": 10_000, "requestsPerOperator": 16,
        "parameters": {
            "chains": [{"chainId": 8453, "pinStride": 6, "confirmations": 2, "maxPinAgeSeconds": 300}],
            "factors": ["BTC", "ETH"], "maxValueAgeSeconds": 601, "maxConfidencePpm": 400_000,
            "requestLifetimeRounds": 90, "requestCapacity": 800, "proposalGracePpm": 150_000,
            "smallestAccountUsd": 5, "maxShrinkPpm": 300_000,
        },
    }  # fmt: skip


def config_digest() -> bytes:
    return struct_hash("Committee", COMMITTEE, committee(), PLAIN_DOMAIN)[0]


def write_committee() -> None:
    write("committee", {"types": COMMITTEE, "committee": shown(committee()), "config_digest": shown(config_digest())})


def write_certificate() -> None:
    salt = keccak(encode(["(uint64,address)[]"], [[(each["chainId"], each["oracle"]) for each in DESTINATIONS]]))
    header = headers()["typical"] | {"configDigest": config_digest()}
    report, digest = struct_hash("ReportHeader", {"ReportHeader": HEADER}, header, PLAIN_DOMAIN | {"salt": salt})
    signers = [0, 2, 3]
    keys = operators(4)
    signatures = [Account.unsafe_sign_hash(digest, keys[index][0]).signature for index in signers]
    bitmap = sum(1 << index for index in signers)
    document = {"version": 1, "header": header, "bitmap": bitmap, "signatures": [bytes(each) for each in signatures]}
    encoding = b"\x01" + words(HEADER, header) + bitmap.to_bytes(4, "big") + b"".join(signatures)
    write("certificate", {
        "destinations": shown(DESTINATIONS), "salt": shown(salt), "config_digest": shown(config_digest()),
        "private_keys": shown([key for key, _ in keys]), "operators": [address for _, address in keys],
        "report_hash": shown(report), "signing_digest": shown(digest), "encoding": shown(encoding),
        "json": json.dumps(shown(document), separators=(",", ":")),
        "refused": refused(encoding),
    })  # fmt: skip


def refused(good: bytes) -> list[dict[str, str]]:
    """Encodings that no reader may accept, with the reason's code."""
    bitmap, first = 1 + 544, 1 + 544 + 4
    other_bitmap = bytes([*good[:bitmap], 0, 0, 0, 0b0111]) + good[first:]
    swapped = good[:first] + good[first + 65 : first + 130] + good[first : first + 65] + good[first + 130 :]
    order = 0xFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFEBAAEDCE6AF48A03BBFD25E8CD0364141
    s = order - int.from_bytes(good[first + 32 : first + 64], "big")
    high_s = good[: first + 32] + s.to_bytes(32, "big") + bytes([55 - good[first + 64]]) + good[first + 65 :]
    cases = {
        "empty": (b"", "malformed"),
        "unknown version": (b"\x02" + good[1:], "malformed"),
        "a byte is missing": (good[:-1], "malformed"),
        "a byte is left over": (good + b"\0", "malformed"),
        "a round above 64 bits": (good[: 1 + 32] + b"\x01" + good[1 + 33 :], "malformed"),
        "bit 31 is set": (good[:bitmap] + b"\x80\0\0\x03" + good[first:], "malformed"),
        "two of four signatures": (good[:bitmap] + b"\0\0\0\x05" + good[first : first + 130], "quorum_missing"),
        "a bit beyond the committee": (good[:bitmap] + b"\0\0\0\x15" + good[first:], "forged"),
        "another operator named": (other_bitmap, "forged"),
        "signatures reordered": (swapped, "forged"),
        "header changed after signing": (good[: 1 + 32 * 17 - 1] + b"\x07" + good[bitmap:], "forged"),
        "s above half the order": (high_s, "malformed"),
        "v is 29": (good[: first + 64] + b"\x1d" + good[first + 65 :], "malformed"),
        "r and s are zero": (good[:first] + bytes(64) + b"\x1b" + good[first + 65 :], "malformed"),
        "another config digest": (good[:1] + bytes(32) + good[33:], "foreign"),
    }
    return [{"name": name, "encoding": shown(data), "code": code} for name, (data, code) in cases.items()]


def write(name: str, content: dict[str, Any]) -> None:
    (FOLDER / f"{name}.json").write_text(json.dumps(content, indent=1) + "\n")


if __name__ == "__main__":
    write_headers()
    write_leaves()
    write_commitment()
    write_committee()
    write_certificate()
