// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.19;

import {IIrm} from "src/interfaces/IIrm.sol";
import {MarketParams, Market} from "src/interfaces/IMorpho.sol";

/// @title Interest-rate model of the local chain's Morpho markets
/// @dev 2 % a year at rest, 6 % at 90 % utilisation, 60 % when everything is lent out.
contract KinkedRate is IIrm {
    uint256 private constant WAD = 1e18;
    uint256 private constant KINK = 0.9e18;
    uint256 private constant AT_REST = 0.02e18;
    uint256 private constant UP_TO_KINK = 0.04e18;
    uint256 private constant ABOVE_KINK = 0.54e18;

    function borrowRate(MarketParams memory params, Market memory market) external pure returns (uint256) {
        return borrowRateView(params, market);
    }

    function borrowRateView(MarketParams memory, Market memory market) public pure returns (uint256) {
        if (market.totalSupplyAssets == 0) return AT_REST / 365 days;
        uint256 utilisation = (uint256(market.totalBorrowAssets) * WAD) / market.totalSupplyAssets;
        uint256 below = utilisation < KINK ? utilisation : KINK;
        uint256 yearly = AT_REST + (UP_TO_KINK * below) / KINK
            + (ABOVE_KINK * (utilisation - below)) / (WAD - KINK);
        return yearly / 365 days;
    }
}
