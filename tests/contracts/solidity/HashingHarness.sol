// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.28;

import {MerkleProof} from "@openzeppelin/contracts/utils/cryptography/MerkleProof.sol";
import {Quorums} from "contracts/Quorums.sol";
import {AccountLeaf, Destination, FeedLeaf, ReportHashes, ReportHeader} from "contracts/ReportTypes.sol";

/// Shows the library's hashes to tests.
contract HashingHarness {
    function hashHeader(ReportHeader calldata header) external pure returns (bytes32) {
        return ReportHashes.reportHash(header);
    }

    function encodeHeader(ReportHeader calldata header) external pure returns (bytes memory) {
        return abi.encode(header);
    }

    function hashAccount(AccountLeaf calldata leaf) external pure returns (bytes32) {
        return ReportHashes.leafHash(leaf);
    }

    function hashFeed(FeedLeaf calldata leaf) external pure returns (bytes32) {
        return ReportHashes.leafHash(leaf);
    }

    function domain(Destination[] calldata destinations) external pure returns (bytes32) {
        return ReportHashes.domainSeparator(destinations);
    }

    function digest(bytes32 separator, bytes32 report) external pure returns (bytes32) {
        return ReportHashes.signingDigest(separator, report);
    }

    function processProof(bytes32[] calldata proof, bytes32 leaf) external pure returns (bytes32) {
        return MerkleProof.processProofCalldata(proof, leaf);
    }

    function quorum(uint256 operators) external pure returns (uint256) {
        return Quorums.byzantine(operators);
    }
}
