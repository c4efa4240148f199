// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.19;

/// @title Chainlink-style USD feed of the local chain whose answer anyone may set
/// @dev The read side has the signatures of Chainlink's AggregatorV2V3Interface.
contract PriceFeed {
    struct Round {
        int256 answer;
        uint256 updatedAt;
    }

    uint8 public constant decimals = 8;
    uint256 public constant version = 4;
    string public description;
    uint80 private latest;
    mapping(uint80 roundId => Round) private rounds;

    event AnswerUpdated(int256 indexed current, uint256 indexed roundId, uint256 updatedAt);

    constructor(string memory description_, int256 answer) {
        description = description_;
        _push(answer);
    }

    function setAnswer(int256 answer) external {
        _push(answer);
    }

    function latestAnswer() external view returns (int256) {
        return rounds[latest].answer;
    }

    function latestTimestamp() external view returns (uint256) {
        return rounds[latest].updatedAt;
    }

    function latestRound() external view returns (uint256) {
        return latest;
    }

    function latestRoundData() external view returns (uint80, int256, uint256, uint256, uint80) {
        return getRoundData(latest);
    }

    function getRoundData(uint80 roundId) public view returns (uint80, int256, uint256, uint256, uint80) {
        Round memory round = rounds[roundId];
        require(round.updatedAt > 0, "No data present");
        return (roundId, round.answer, round.updatedAt, round.updatedAt, roundId);
    }

    function _push(int256 answer) private {
        latest += 1;
        rounds[latest] = Round(answer, block.timestamp);
        emit AnswerUpdated(answer, latest, block.timestamp);
    }
}
