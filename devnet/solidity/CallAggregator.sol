// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.19;

/// @title Runs many calls as one, with the interface of Multicall3's `aggregate3`
contract CallAggregator {
    struct Call {
        address target;
        bool allowFailure;
        bytes callData;
    }

    struct Result {
        bool success;
        bytes returnData;
    }

    function aggregate3(Call[] calldata calls) external payable returns (Result[] memory results) {
        results = new Result[](calls.length);
        for (uint256 i = 0; i < calls.length; ++i) {
            (bool success, bytes memory returned) = calls[i].target.call(calls[i].callData);
            require(success || calls[i].allowFailure, "a call failed");
            results[i] = Result(success, returned);
        }
    }
}
