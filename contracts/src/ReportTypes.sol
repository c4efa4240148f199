// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.28;

/// What a quorum signs. Same fields and order as `attest/formats/header.py`; see docs/attestation-format.md.
struct ReportHeader {
    bytes32 configDigest;
    uint64 round;
    bytes32 parent;
    bytes32 stateRoot;
    uint64 observedAt;
    uint64 validUntil;
    bytes32 pinsRoot;
    bytes32 marketRoot;
    bytes32 arraysRoot;
    bytes32 parametersHash;
    uint32 modelVersion;
    bytes32 accountsRoot;
    bytes32 feedsRoot;
    uint32 accountCount;
    uint32 feedCount;
    uint32 coveragePpm;
    uint32 breakerFlags;
}

/// One subject's assessment. Amounts are US dollars with 8 decimals; `minHealth` has 18 and is 2^128 - 1 without debt.
struct AccountLeaf {
    bytes32 subject;
    uint16 score;
    uint32 liquidationProbabilityPpm;
    uint32 insolvencyProbabilityPpm;
    uint128 expectedLoss;
    int128 equity;
    uint128 initialMargin;
    uint128 maintenanceMargin;
    uint128 worstGridLoss;
    uint128 minHealth;
    uint64 venueCoverage;
    uint32 flags;
    bytes32 positionsCommitment;
}

/// One parameter of one market.
struct FeedLeaf {
    bytes32 market;
    bytes32 parameter;
    int256 value;
    uint128 confidence;
    int256 impact;
}

/// A RiskOracle contract on one chain.
struct Destination {
    uint64 chainId;
    address oracle;
}

/// Hashes of the structs above, byte for byte those of `attest`.
library ReportHashes {
    bytes32 internal constant HEADER_TYPEHASH = keccak256(
        "ReportHeader(bytes32 configDigest,uint64 round,bytes32 parent,bytes32 stateRoot,uint64 observedAt,"
        "uint64 validUntil,bytes32 pinsRoot,bytes32 marketRoot,bytes32 arraysRoot,bytes32 parametersHash,"
        "uint32 modelVersion,bytes32 accountsRoot,bytes32 feedsRoot,uint32 accountCount,uint32 feedCount,"
        "uint32 coveragePpm,uint32 breakerFlags)"
    );
    bytes32 internal constant ACCOUNT_LEAF_TYPEHASH = keccak256(
        "AccountLeaf(bytes32 subject,uint16 score,uint32 liquidationProbabilityPpm,uint32 insolvencyProbabilityPpm,"
        "uint128 expectedLoss,int128 equity,uint128 initialMargin,uint128 maintenanceMargin,uint128 worstGridLoss,"
        "uint128 minHealth,uint64 venueCoverage,uint32 flags,bytes32 positionsCommitment)"
    );
    bytes32 internal constant FEED_LEAF_TYPEHASH =
        keccak256("FeedLeaf(bytes32 market,bytes32 parameter,int256 value,uint128 confidence,int256 impact)");
    bytes32 internal constant DOMAIN_TYPEHASH =
        keccak256("EIP712Domain(string name,string version,bytes32 salt)");

    /// Identity of a report: EIP-712 struct hash of its header. Hashes the words as they came, which is `abi.encode`
    /// without looking at each: a word outside its type gives a hash that nobody signed.
    function reportHash(ReportHeader calldata header) internal pure returns (bytes32 report) {
        bytes32 typeHash = HEADER_TYPEHASH;
        assembly ("memory-safe") {
            let pointer := mload(0x40)
            mstore(pointer, typeHash)
            calldatacopy(add(pointer, 0x20), header, 544)
            report := keccak256(pointer, 576)
        }
    }

    /// Leaf hash as in OpenZeppelin's StandardMerkleTree: hashed twice, the kind of leaf first.
    function leafHash(AccountLeaf calldata leaf) internal pure returns (bytes32) {
        return keccak256(bytes.concat(keccak256(abi.encode(ACCOUNT_LEAF_TYPEHASH, leaf))));
    }

    /// Leaf hash of a feed.
    function leafHash(FeedLeaf calldata leaf) internal pure returns (bytes32) {
        return keccak256(bytes.concat(keccak256(abi.encode(FEED_LEAF_TYPEHASH, leaf))));
    }

    /// Domain whose salt binds all destinations, so that one signature serves them all and no other contract.
    function domainSeparator(Destination[] calldata destinations) internal pure returns (bytes32) {
        bytes32 salt = keccak256(abi.encode(destinations));
        return keccak256(abi.encode(DOMAIN_TYPEHASH, keccak256("Plimsoll"), keccak256("1"), salt));
    }

    /// What operators sign.
    function signingDigest(bytes32 domain, bytes32 report) internal pure returns (bytes32 digest) {
        assembly ("memory-safe") {
            let pointer := mload(0x40)
            mstore(pointer, hex"1901")
            mstore(add(pointer, 0x02), domain)
            mstore(add(pointer, 0x22), report)
            digest := keccak256(pointer, 0x42)
        }
    }
}
