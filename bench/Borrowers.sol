// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.19;

interface IPool {
    function supply(address asset, uint256 amount, address onBehalfOf, uint16 referralCode) external;
    function borrow(address asset, uint256 amount, uint256 rateMode, uint16 referralCode, address onBehalfOf) external;
}

interface IToken {
    function mint(address to, uint256 value) external;
    function approve(address spender, uint256 value) external returns (bool);
}

/// @title An account that borrows once, while it is created; it has no code afterwards
contract Borrower {
    constructor() {
        (IPool pool, address asset, uint256 amount) = Borrowers(msg.sender).loan();
        pool.borrow(asset, amount, 2, 0, address(this));
        assembly {
            return(0, 0)
        }
    }
}

/// @title Opens many accounts of an Aave pool in one transaction, each with two collaterals and a debt
contract Borrowers {
    IPool private immutable pool;
    address[3] private assets; // two collaterals, and what is borrowed
    uint256 private amount;

    constructor(IPool pool_, address[3] memory assets_) {
        pool = pool_;
        assets = assets_;
        for (uint256 i = 0; i < 2; ++i) {
            IToken(assets_[i]).mint(address(this), 2 ** 120);
            IToken(assets_[i]).approve(address(pool_), type(uint256).max);
        }
    }

    function loan() external view returns (IPool, address, uint256) {
        return (pool, assets[2], amount);
    }

    /// Opens the accounts `first` to `first + count - 1`
    function open(uint256 first, uint256 count) external {
        bytes32 code = keccak256(type(Borrower).creationCode);
        for (uint256 number = first; number < first + count; ++number) {
            bytes32 salt = bytes32(number);
            address account =
                address(uint160(uint256(keccak256(abi.encodePacked(bytes1(0xff), address(this), salt, code)))));
            pool.supply(assets[0], 10 ** 18 * (1 + number % 7), account, 0);
            pool.supply(assets[1], 10 ** 7, account, 0);
            amount = 10 ** 9 + number;
            new Borrower{salt: salt}();
        }
    }
}
