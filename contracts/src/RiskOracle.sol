// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.28;

import {MerkleProof} from "@openzeppelin/contracts/utils/cryptography/MerkleProof.sol";
import {IQuorumVerifier} from "./IQuorumVerifier.sol";
import {IRiskOracle} from "./IRiskOracle.sol";
import {AccountLeaf, Destination, FeedLeaf, ReportHashes, ReportHeader} from "./ReportTypes.sol";

/// Accepts reports signed by a Byzantine quorum and answers what can be proved against the recent ones.
///
/// There is no owner. The initialiser acts once; the guardian can only pause, for a bounded time and not in a chain.
/// A report's parent need not have landed here.
contract RiskOracle is IRiskOracle {
    /// What is fixed once, when the committee is known.
    struct Setup {
        bytes32 configDigest;
        Destination[] destinations;
        bytes keys;
        IQuorumVerifier verifier;
        uint32 maxFutureSkew;
        address guardian;
    }

    uint64 public constant PAUSE_DURATION = 3 days;
    uint64 public constant PAUSE_COOL_DOWN = 7 days;
    uint32 public constant MAX_FUTURE_SKEW = 1 hours;

    address public immutable initializer;
    /// Number of recent reports that can be proved against.
    uint256 public immutable ringSize;

    bytes32 public configDigest;
    bytes32 public domainSeparator;
    bytes32 public keySet;
    // one slot: read together by publish
    IQuorumVerifier public verifier;
    uint32 public maxFutureSkew;
    uint64 private _chainId;
    // one slot: read together by publish and by every verification
    uint64 private _latestRound;
    uint64 private _latestObservedAt;
    uint64 private _accepted;
    uint64 public pausedUntil;
    // one slot
    address public guardian;
    uint64 public nextPauseAt;

    mapping(uint256 index => RecentReport) private _ring;

    error NotTheInitializer(address caller);
    error AlreadyInitialized();
    error DestinationsNotSorted(uint256 index);
    error NotADestination(uint256 chainId, address oracle);
    error InvalidSetup();
    error NotTheGuardian(address caller);
    error PauseNotYet(uint64 nextPauseAt);

    /// @param initializer_ The only account that may call `initialize`, once.
    /// @param ringSize_ Number of recent reports to keep, 2 to 1024.
    constructor(address initializer_, uint256 ringSize_) {
        if (initializer_ == address(0) || ringSize_ < 2 || ringSize_ > 1024) revert InvalidSetup();
        initializer = initializer_;
        ringSize = ringSize_;
    }

    /// Set the committee. The keys are checked and kept by the verifier.
    function initialize(Setup calldata setup) external {
        if (msg.sender != initializer) revert NotTheInitializer(msg.sender);
        if (address(verifier) != address(0)) revert AlreadyInitialized();
        if (
            setup.configDigest == 0 || address(setup.verifier) == address(0) || setup.maxFutureSkew > MAX_FUTURE_SKEW
        ) revert InvalidSetup();
        _checkDestinations(setup.destinations);
        configDigest = setup.configDigest;
        domainSeparator = ReportHashes.domainSeparator(setup.destinations);
        verifier = setup.verifier;
        maxFutureSkew = setup.maxFutureSkew;
        _chainId = uint64(block.chainid);
        guardian = setup.guardian;
        keySet = setup.verifier.register(setup.keys);
        emit Initialized(setup.configDigest, address(setup.verifier), keySet, domainSeparator);
    }

    /// @inheritdoc IRiskOracle
    function publish(ReportHeader calldata header, uint256 bitmap, bytes calldata signatures) external {
        IQuorumVerifier verifier_ = verifier;
        if (address(verifier_) == address(0)) revert NotInitialized();
        if (block.chainid != _chainId) revert ForeignChain(block.chainid);
        if (header.configDigest != configDigest) revert ForeignConfig(header.configDigest, configDigest);
        _checkTimes(header);
        bytes32 report = ReportHashes.reportHash(header);
        verifier_.verify(ReportHashes.signingDigest(domainSeparator, report), keySet, bitmap, signatures);
        _keep(header);
        emit ReportAccepted(header.round, report, header.observedAt, header.validUntil, bitmap);
    }

    /// @inheritdoc IRiskOracle
    function verifyAccount(
        uint64 round,
        AccountLeaf calldata leaf,
        bytes32[] calldata proof,
        uint64 maxAge,
        uint64 minCoverage
    ) external view returns (uint64 observedAt) {
        uint64 missing = minCoverage & ~leaf.venueCoverage;
        if (missing != 0) revert CoverageMissing(missing);
        RecentReport storage entry = _usable(round);
        observedAt = _checkAge(entry, maxAge);
        _checkProof(proof, entry.accountsRoot, ReportHashes.leafHash(leaf));
    }

    /// @inheritdoc IRiskOracle
    function verifyFeed(uint64 round, FeedLeaf calldata leaf, bytes32[] calldata proof, uint64 maxAge)
        external
        view
        returns (uint64 observedAt)
    {
        RecentReport storage entry = _usable(round);
        observedAt = _checkAge(entry, maxAge);
        _checkProof(proof, entry.feedsRoot, ReportHashes.leafHash(leaf));
    }

    /// @inheritdoc IRiskOracle
    function latestRound() external view returns (uint64 round, uint64 observedAt) {
        return (_latestRound, _latestObservedAt);
    }

    /// @inheritdoc IRiskOracle
    function recentReport(uint64 round) external view returns (RecentReport memory) {
        return _find(round);
    }

    /// Stop accepting and verifying for `PAUSE_DURATION`. Not again before `PAUSE_COOL_DOWN` after its end.
    function pause() external {
        if (msg.sender != guardian) revert NotTheGuardian(msg.sender);
        if (block.timestamp < nextPauseAt) revert PauseNotYet(nextPauseAt);
        pausedUntil = uint64(block.timestamp) + PAUSE_DURATION;
        nextPauseAt = pausedUntil + PAUSE_COOL_DOWN;
        emit Paused(pausedUntil);
    }

    /// End a pause early. The time of the next possible pause stays.
    function unpause() external {
        if (msg.sender != guardian) revert NotTheGuardian(msg.sender);
        pausedUntil = 0;
        emit Unpaused();
    }

    function _checkTimes(ReportHeader calldata header) private view {
        if (block.timestamp < pausedUntil) revert IsPaused(pausedUntil);
        if (_accepted != 0) {
            if (header.round <= _latestRound) revert RoundNotNewer(header.round, _latestRound);
            if (header.observedAt <= _latestObservedAt) {
                revert ObservationNotNewer(header.observedAt, _latestObservedAt);
            }
        }
        uint256 limit = block.timestamp + maxFutureSkew;
        if (header.observedAt > limit) revert FromTheFuture(header.observedAt, limit);
        if (block.timestamp > header.validUntil) revert Expired(header.round, header.validUntil);
    }

    function _keep(ReportHeader calldata header) private {
        uint64 accepted = _accepted;
        RecentReport storage entry = _ring[accepted % ringSize];
        entry.round = header.round;
        entry.observedAt = header.observedAt;
        entry.validUntil = header.validUntil;
        entry.accountsRoot = header.accountsRoot;
        entry.feedsRoot = header.feedsRoot;
        _latestRound = header.round;
        _latestObservedAt = header.observedAt;
        _accepted = accepted + 1;
    }

    function _usable(uint64 round) private view returns (RecentReport storage entry) {
        if (block.timestamp < pausedUntil) revert IsPaused(pausedUntil);
        entry = _find(round);
        if (block.timestamp > entry.validUntil) revert Expired(round, entry.validUntil);
    }

    /// Rounds in the ring increase with the order of acceptance, but may have gaps: the latest first, then halving.
    function _find(uint64 round) private view returns (RecentReport storage entry) {
        uint256 accepted = _accepted;
        if (accepted == 0) revert UnknownRound(round);
        uint256 high = accepted - 1;
        uint256 low = accepted > ringSize ? accepted - ringSize : 0;
        if (round == _latestRound) return _ring[high % ringSize];
        while (low < high) {
            uint256 middle = (low + high) / 2;
            if (_ring[middle % ringSize].round < round) low = middle + 1;
            else high = middle;
        }
        entry = _ring[low % ringSize];
        if (entry.round != round) revert UnknownRound(round);
    }

    function _checkAge(RecentReport storage entry, uint64 maxAge) private view returns (uint64 observedAt) {
        observedAt = entry.observedAt;
        if (block.timestamp > uint256(observedAt) + maxAge) revert TooOld(observedAt, maxAge);
    }

    function _checkProof(bytes32[] calldata proof, bytes32 root, bytes32 leaf) private pure {
        if (root == 0 || !MerkleProof.verifyCalldata(proof, root, leaf)) revert ProofInvalid();
    }

    function _checkDestinations(Destination[] calldata destinations) private view {
        bool named;
        for (uint256 i; i < destinations.length; ++i) {
            Destination calldata here = destinations[i];
            if (i != 0 && _position(here) <= _position(destinations[i - 1])) revert DestinationsNotSorted(i);
            named = named || (here.chainId == block.chainid && here.oracle == address(this));
        }
        if (!named) revert NotADestination(block.chainid, address(this));
    }

    function _position(Destination calldata destination) private pure returns (uint256) {
        return (uint256(destination.chainId) << 160) | uint160(destination.oracle);
    }
}
