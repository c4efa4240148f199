// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.28;

import {IERC20Metadata} from "@openzeppelin/contracts/token/ERC20/extensions/IERC20Metadata.sol";
import {SafeERC20} from "@openzeppelin/contracts/token/ERC20/utils/SafeERC20.sol";
import {ReentrancyGuard} from "@openzeppelin/contracts/utils/ReentrancyGuard.sol";
import {IRiskOracle} from "../IRiskOracle.sol";
import {AccountLeaf} from "../ReportTypes.sol";

/// A small lending pool that lends one dollar token to accounts whose risk, over all their venues, is low enough.
///
/// An example of how a consumer asks: copy the checks of `borrow`, not the pool. Its loans bear no interest, have no
/// term and are not secured. Equity held elsewhere can be moved away after the loan, to a second account that borrows
/// against it again, and one assessment serves at several consumers. A pool for real money holds collateral, and
/// lets the score decide how much it lends against it.
contract ExamplePool is ReentrancyGuard {
    using SafeERC20 for IERC20Metadata;

    IRiskOracle public immutable oracle;
    /// A token worth one US dollar.
    IERC20Metadata public immutable asset;
    /// Highest score (0 safest, 1000 worst) that may borrow.
    uint16 public immutable maxScore;
    /// Oldest assessment accepted, in seconds.
    uint64 public immutable maxAge;
    /// Venues that must have been read for the borrower.
    uint64 public immutable requiredVenues;

    /// Leaf flags that forbid a loan: a stale quote (bit 3), a position without a price (5), a capped amount (6).
    uint32 public constant REFUSED_FLAGS = 1 << 3 | 1 << 5 | 1 << 6;

    uint256 private immutable _unit;

    mapping(address lender => uint256) public deposits;
    mapping(address borrower => uint256) public debts;

    event Deposited(address indexed lender, uint256 amount);
    event Withdrawn(address indexed lender, uint256 amount);
    event Borrowed(address indexed borrower, uint256 amount, uint64 round, uint16 score);
    event Repaid(address indexed borrower, uint256 amount);

    error NotYourAssessment(bytes32 subject, address borrower);
    error NoVenueRequired();
    error ScoreTooHigh(uint16 score, uint16 maxScore);
    error NeedsCaution(uint32 flags);
    error FreeEquityTooLow(int256 freeEquity, uint256 needed);
    error LiquidityMissing(uint256 wanted, uint256 available);
    error DepositTooSmall(uint256 wanted, uint256 deposited);

    /// @param asset_ Without fees on transfers: what is said to be paid must arrive.
    constructor(IRiskOracle oracle_, IERC20Metadata asset_, uint16 maxScore_, uint64 maxAge_, uint64 requiredVenues_) {
        if (requiredVenues_ == 0) revert NoVenueRequired(); // unread debts would count as none
        oracle = oracle_;
        asset = asset_;
        maxScore = maxScore_;
        maxAge = maxAge_;
        requiredVenues = requiredVenues_;
        _unit = 10 ** asset_.decimals();
    }

    /// Lend to the pool.
    function deposit(uint256 amount) external nonReentrant {
        deposits[msg.sender] += amount;
        asset.safeTransferFrom(msg.sender, address(this), amount);
        emit Deposited(msg.sender, amount);
    }

    /// Take back what was lent, as far as it is not on loan.
    function withdraw(uint256 amount) external nonReentrant {
        uint256 deposited = deposits[msg.sender];
        if (amount > deposited) revert DepositTooSmall(amount, deposited);
        deposits[msg.sender] = deposited - amount;
        _send(amount);
        emit Withdrawn(msg.sender, amount);
    }

    /// Borrow with one's own assessment of a recent round: any other, or a missing venue, reverts with the reason.
    function borrow(uint256 amount, uint64 round, AccountLeaf calldata leaf, bytes32[] calldata proof)
        external
        nonReentrant
    {
        if (leaf.subject != bytes32(uint256(uint160(msg.sender)))) revert NotYourAssessment(leaf.subject, msg.sender);
        oracle.verifyAccount(round, leaf, proof, maxAge, requiredVenues);
        if (leaf.score > maxScore) revert ScoreTooHigh(leaf.score, maxScore);
        if (leaf.flags & REFUSED_FLAGS != 0) revert NeedsCaution(leaf.flags & REFUSED_FLAGS);
        uint256 owed = debts[msg.sender];
        int256 freeEquity = int256(leaf.equity) - int256(uint256(leaf.initialMargin));
        // a loan still in the wallet is equity to the assessment, which does not know this pool: so what is owed counts
        // twice, or each loan would be the equity for the next
        uint256 needed = _dollars(2 * owed + amount);
        if (freeEquity < 0 || needed > uint256(freeEquity)) revert FreeEquityTooLow(freeEquity, needed);
        debts[msg.sender] = owed + amount;
        _send(amount);
        emit Borrowed(msg.sender, amount, round, leaf.score);
    }

    /// Pay back a loan; never more than is owed is taken.
    function repay(uint256 amount) external nonReentrant {
        uint256 debt = debts[msg.sender];
        uint256 paid = amount < debt ? amount : debt;
        debts[msg.sender] = debt - paid;
        asset.safeTransferFrom(msg.sender, address(this), paid);
        emit Repaid(msg.sender, paid);
    }

    function _send(uint256 amount) private {
        uint256 available = asset.balanceOf(address(this));
        if (amount > available) revert LiquidityMissing(amount, available);
        asset.safeTransfer(msg.sender, amount);
    }

    /// US dollars with 8 decimals, rounded up.
    function _dollars(uint256 amount) private view returns (uint256) {
        return (amount * 1e8 + _unit - 1) / _unit;
    }
}
