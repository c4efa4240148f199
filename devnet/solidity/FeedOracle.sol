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
/// @dev Price of one unit of collateral in units of the loan token, scaled by 1e36 (Morpho's IOracle).
contract FeedOracle {
    address public immutable collateralFeed;
    address public immutable loanFeed;
    uint256 private immutable scale;

    constructor(address collateralFeed_, address loanFeed_, address collateralToken, address loanToken) {
        require(IFeed(collateralFeed_).decimals() == IFeed(loanFeed_).decimals(), "feed decimals differ");
        collateralFeed = collateralFeed_;
        loanFeed = loanFeed_;
        scale = 10 ** (36 + IDecimals(loanToken).decimals() - IDecimals(collateralToken).decimals());
    }

    function price() external view returns (uint256) {
        return (_answer(collateralFeed) * scale) / _answer(loanFeed);
    }

    function _answer(address feed) private view returns (uint256) {
        (, int256 answer,,,) = IFeed(feed).latestRoundData();
        require(answer > 0, "feed answer is not positive");
        return uint256(answer);
    }
}
