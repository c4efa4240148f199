// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.28;

import {ERC20} from "@openzeppelin/contracts/token/ERC20/ERC20.sol";

/// A token with six decimals that anyone can mint.
contract DollarToken is ERC20("Dollar", "USD") {
    function decimals() public pure virtual override returns (uint8) {
        return 6;
    }

    function mint(address account, uint256 amount) external {
        _mint(account, amount);
    }
}

/// One with eighteen, finer than the eight of a report's amounts.
contract FineDollarToken is DollarToken {
    function decimals() public pure override returns (uint8) {
        return 18;
    }
}
