// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.28;

/// Decides whether a Byzantine quorum of a committee signed a digest.
interface IQuorumVerifier {
    /// Keep a committee's keys.
    /// @param keys The operators' keys in committee order, in the verifier's own packed format.
    /// @return keySet Reference to pass to `verify`.
    function register(bytes calldata keys) external returns (bytes32 keySet);

    /// Revert unless at least a Byzantine quorum of the key set signed `digest`.
    /// @param bitmap Bit i is set where operator i signed.
    /// @param signatures The signatures in the verifier's own format.
    function verify(bytes32 digest, bytes32 keySet, uint256 bitmap, bytes calldata signatures) external view;
}
