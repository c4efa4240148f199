// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.19;

interface IPriceFeed {
    function setAnswer(int256 answer) external;
}

/// @title Sets several feeds in one transaction, so that no block sees half of a price move
contract PriceBoard {
    function setAnswers(address[] calldata feeds, int256[] calldata answers) external {
        require(feeds.length == answers.length, "one answer per feed");
        for (uint256 i = 0; i < feeds.length; i++) {
            IPriceFeed(feeds[i]).setAnswer(answers[i]);
        }
    }
}
