// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.19;

interface IFeed {
    function decimals() external view returns (uint8);
    function latestRoundData() external view returns (uint80, int256, uint256, uint256, uint80);
}

interface IDecimals {
    function decimals() external view returns (uint8);
}

/// @title Morpho Blue oracle over two USD feeds
/// @dev Price of one unit of collateral in units of the loan token, scaled by 1e36 (Morpho's IOracle). Its parts have the
/// names of MorphoChainlinkOracleV2.
contract FeedOracle {
    address public constant BASE_VAULT = address(0);
    address public constant BASE_FEED_2 = address(0);
    address public constant QUOTE_VAULT = address(0);
    address public constant QUOTE_FEED_2 = address(0);
    address public immutable BASE_FEED_1;
    address public immutable QUOTE_FEED_1;
    uint256 public constant BASE_VAULT_CONVERSION_SAMPLE = 1;
    uint256 public constant QUOTE_VAULT_CONVERSION_SAMPLE = 1;
    uint256 public immutable SCALE_FACTOR;

    constructor(address collateralFeed_, address loanFeed_, address collateralToken, address loanToken) {
        require(IFeed(collateralFeed_).decimals() == IFeed(loanFeed_).decimals(), "feed decimals differ");
        BASE_FEED_1 = collateralFeed_;
        QUOTE_FEED_1 = loanFeed_;
        SCALE_FACTOR = 10 ** (36 + IDecimals(loanToken).decimals() - IDecimals(collateralToken).decimals());
    }

    function price() external view returns (uint256) {
        return (_answer(BASE_FEED_1) * SCALE_FACTOR) / _answer(QUOTE_FEED_1);
    }

    function _answer(address feed) private view returns (uint256) {
        (, int256 answer,,,) = IFeed(feed).latestRoundData();
        require(answer > 0, "feed answer is not positive");
        return uint256(answer);
    }
}
