"""The identity key of an operator: Ed25519 over every message to peers."""

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

SIGNATURE_BYTES = 64


class IdentityKey:
    """A private Ed25519 key; printing it shows the public half only."""

    __slots__ = ("_private", "public_key")

    def __init__(self, private: Ed25519PrivateKey) -> None:
        self._private = private
        self.public_key: bytes = private.public_key().public_bytes_raw()
        """32 bytes, as in `Operator.identity`."""

    def sign(self, message: bytes) -> bytes:
        """Return the 64-byte signature (RFC 8032: the same message gives the same bytes)."""
        return self._private.sign(message)

    def certify(self, builder: x509.CertificateBuilder) -> x509.Certificate:
        """Sign a certificate of this key."""
        return builder.sign(self._private, None)

    def __repr__(self) -> str:
        return f"IdentityKey(public_key=0x{self.public_key.hex()})"

    def __reduce__(self) -> str:
        raise TypeError("an identity key is not pickled")


def verify_identity(public_key: bytes, message: bytes, signature: bytes) -> bool:
    """Say whether `signature` over `message` is by the owner of `public_key` (32 bytes)."""
    try:
        Ed25519PublicKey.from_public_bytes(public_key).verify(signature, message)
    except (InvalidSignature, ValueError):
        return False
    return True
