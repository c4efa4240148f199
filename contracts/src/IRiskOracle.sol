// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.28;

import {AccountLeaf, FeedLeaf, ReportHeader} from "./ReportTypes.sol";

/// What a consumer imports. `verifyAccount` and `verifyFeed` return only if the statement holds now, and revert with
/// the reason otherwise. A caller may pick, among the recent rounds inside `maxAge`, the leaf that suits it best:
/// choose `maxAge` accordingly.
interface IRiskOracle {
    event ReportAccepted(
        uint64 indexed round, bytes32 indexed reportHash, uint64 observedAt, uint64 validUntil, uint256 bitmap
    );
    event Initialized(bytes32 indexed configDigest, address verifier, bytes32 keySet, bytes32 domainSeparator);
    event Paused(uint64 until);
    event Unpaused();

    error NotInitialized();
    error IsPaused(uint64 until);
    error ForeignChain(uint256 chainId);
    error ForeignConfig(bytes32 configDigest, bytes32 expected);
    error RoundNotNewer(uint64 round, uint64 latest);
    error ObservationNotNewer(uint64 observedAt, uint64 latest);
    error FromTheFuture(uint64 observedAt, uint256 limit);
    error Expired(uint64 round, uint64 validUntil);
    error UnknownRound(uint64 round);
    error TooOld(uint64 observedAt, uint64 maxAge);
    error CoverageMissing(uint64 venues);
    error ProofInvalid();

    /// Roots that can still be proved against.
    struct RecentReport {
        uint64 round;
        uint64 observedAt;
        uint64 validUntil;
        bytes32 accountsRoot;
        bytes32 feedsRoot;
    }

    /// Accept a report signed by a Byzantine quorum. Anyone may call.
    /// @param bitmap Bit i is set where operator i signed.
    /// @param signatures As the committee's verifier reads them.
    function publish(ReportHeader calldata header, uint256 bitmap, bytes calldata signatures) external;

    /// Revert unless `leaf` is in the accounts tree of `round` and recent and complete enough. Whose leaf it is
    /// (`leaf.subject`) and what it says is for the caller to judge.
    /// @param maxAge Longest time since the observation, in seconds.
    /// @param minCoverage Venues (bits) that must have been read for this subject; with 0, unread debts count as none.
    /// @return observedAt Unix time of the observation.
    function verifyAccount(
        uint64 round,
        AccountLeaf calldata leaf,
        bytes32[] calldata proof,
        uint64 maxAge,
        uint64 minCoverage
    ) external view returns (uint64 observedAt);

    /// Revert unless `leaf` is in the feeds tree of `round` and recent enough.
    /// @param maxAge Longest time since the observation, in seconds.
    /// @return observedAt Unix time of the observation.
    function verifyFeed(uint64 round, FeedLeaf calldata leaf, bytes32[] calldata proof, uint64 maxAge)
        external
        view
        returns (uint64 observedAt);

    /// Round and observation time of the latest report; zeros before the first.
    function latestRound() external view returns (uint64 round, uint64 observedAt);

    /// Roots of a recent round; reverts with `UnknownRound` when it never landed here or has left the ring. For looking
    /// things up: a pause, the age and the life of the report are not checked.
    function recentReport(uint64 round) external view returns (RecentReport memory);
}
