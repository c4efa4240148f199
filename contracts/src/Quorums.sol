// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.28;

/// Committee size and quorum, derived and never configured, as in `attest/formats/quorums.py`.
library Quorums {
    uint256 internal constant MAX_OPERATORS = 31;

    /// With 2 or 3 operators no fault is tolerated, so only 1 or 4 to 31 make a committee.
    error InvalidCommitteeSize(uint256 count);

    /// Revert unless `count` is 1 or 4 to 31.
    function check(uint256 count) internal pure {
        if (count != 1 && (count < 4 || count > MAX_OPERATORS)) revert InvalidCommitteeSize(count);
    }

    /// floor((n + f) / 2) + 1 with f = floor((n - 1) / 3): two sets of so many share an honest operator.
    function byzantine(uint256 count) internal pure returns (uint256) {
        check(count);
        unchecked {
            return (count + (count - 1) / 3) / 2 + 1;
        }
    }
}
