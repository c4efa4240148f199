// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.28;

import {ECDSA} from "@openzeppelin/contracts/utils/cryptography/ECDSA.sol";
import {IQuorumVerifier} from "./IQuorumVerifier.sol";
import {Quorums} from "./Quorums.sol";

/// secp256k1 signatures and a bitmap. Keys are 20-byte addresses, kept as the code of one contract per committee,
/// which costs one cold account access to read however many they are. Holds no state and has no owner.
contract EcdsaBitmapVerifier is IQuorumVerifier {
    uint256 private constant KEY_BYTES = 20;
    uint256 private constant SIGNATURE_BYTES = 65;

    error MalformedKeys(uint256 length);
    error ZeroSigner(uint256 index);
    error DuplicateSigner(uint256 index);
    error UnknownKeySet(bytes32 keySet);
    error UnknownOperator(uint256 bitmap, uint256 operators);
    error QuorumMissing(uint256 signed, uint256 needed);
    error SignatureLength(uint256 length, uint256 expected);
    error MalformedSignature(uint256 operator, ECDSA.RecoverError reason);
    error WrongSigner(uint256 operator, address recovered);
    error DeploymentFailed();

    /// @inheritdoc IQuorumVerifier
    function register(bytes calldata keys) external returns (bytes32 keySet) {
        if (keys.length % KEY_BYTES != 0) revert MalformedKeys(keys.length);
        _checkKeys(keys, keys.length / KEY_BYTES);
        // copies everything after the first 11 bytes into place; the leading STOP keeps the keys from being run
        bytes memory creation = abi.encodePacked(hex"600b5981380380925939f3", hex"00", keys);
        address blob;
        assembly ("memory-safe") {
            blob := create(0, add(creation, 0x20), mload(creation))
        }
        if (blob == address(0)) revert DeploymentFailed();
        return bytes32(uint256(uint160(blob)));
    }

    /// @inheritdoc IQuorumVerifier
    /// @param signatures r, s, v of each signer (65 bytes), in increasing operator index.
    function verify(bytes32 digest, bytes32 keySet, uint256 bitmap, bytes calldata signatures) external view {
        (bytes memory keys, uint256 operators) = _load(keySet);
        uint256 signed = _checkBitmap(bitmap, operators);
        if (signatures.length != signed * SIGNATURE_BYTES) {
            revert SignatureLength(signatures.length, signed * SIGNATURE_BYTES);
        }
        uint256 offset;
        for (uint256 operator; bitmap >> operator != 0; ++operator) {
            if ((bitmap >> operator) & 1 == 0) continue;
            _checkSignature(digest, keys, operator, signatures, offset);
            unchecked {
                offset += SIGNATURE_BYTES;
            }
        }
    }

    function _checkSignature(
        bytes32 digest,
        bytes memory keys,
        uint256 operator,
        bytes calldata signatures,
        uint256 offset
    ) private pure {
        bytes32 r;
        bytes32 s;
        uint8 v;
        address expected;
        assembly ("memory-safe") {
            let start := add(signatures.offset, offset)
            r := calldataload(start)
            s := calldataload(add(start, 0x20))
            v := byte(0, calldataload(add(start, 0x40)))
            expected := shr(96, mload(add(add(keys, 0x20), mul(operator, 20))))
        }
        (address recovered, ECDSA.RecoverError reason,) = ECDSA.tryRecover(digest, v, r, s);
        if (reason != ECDSA.RecoverError.NoError) revert MalformedSignature(operator, reason);
        if (recovered != expected) revert WrongSigner(operator, recovered);
    }

    function _checkBitmap(uint256 bitmap, uint256 operators) private pure returns (uint256 signed) {
        if (bitmap >> operators != 0) revert UnknownOperator(bitmap, operators);
        unchecked {
            for (uint256 rest = bitmap; rest != 0; rest &= rest - 1) ++signed;
        }
        uint256 needed = Quorums.byzantine(operators);
        if (signed < needed) revert QuorumMissing(signed, needed);
    }

    function _load(bytes32 keySet) private view returns (bytes memory keys, uint256 operators) {
        address blob = address(uint160(uint256(keySet)));
        uint256 size = blob.code.length;
        if (size <= KEY_BYTES) revert UnknownKeySet(keySet);
        unchecked {
            size -= 1;
            operators = size / KEY_BYTES;
        }
        assembly ("memory-safe") {
            keys := mload(0x40)
            mstore(keys, size)
            extcodecopy(blob, add(keys, 0x20), 1, size)
            mstore(0x40, and(add(add(keys, 0x3f), size), not(0x1f)))
        }
    }

    function _checkKeys(bytes calldata keys, uint256 count) private pure {
        Quorums.check(count);
        for (uint256 i; i < count; ++i) {
            address key = _keyAt(keys, i);
            if (key == address(0)) revert ZeroSigner(i);
            for (uint256 j; j < i; ++j) {
                if (_keyAt(keys, j) == key) revert DuplicateSigner(i);
            }
        }
    }

    function _keyAt(bytes calldata keys, uint256 index) private pure returns (address) {
        return address(bytes20(keys[index * KEY_BYTES:(index + 1) * KEY_BYTES]));
    }
}
