"""Certificates: a report header and the signatures of a quorum, with one encoding and one identity.

The identity is the report hash: certificates of one report with different signers are equal in meaning.
"""

from collections.abc import Sequence

import msgspec

from attest.encoding.abi_types import WORD, Uint32, word_fields
from attest.encoding.canonical_json import decode_canonical, encode_canonical
from attest.formats.eip712 import SIGNATURE_BYTES, Destination, recover_signer, signing_digest
from attest.formats.header import ReportHeader, decode_header, encode_header, report_hash
from attest.formats.quorums import MAX_OPERATORS, byzantine
from riskschema.errors import InvalidData, ProtocolViolation
from riskschema.units import Address

VERSION = 1

_HEADER_BYTES = WORD * len(word_fields(ReportHeader))
_PREFIX_BYTES = 1 + _HEADER_BYTES + 4
MAX_CERTIFICATE_BYTES = _PREFIX_BYTES + SIGNATURE_BYTES * MAX_OPERATORS


class Certificate(msgspec.Struct, frozen=True, kw_only=True):
    """A header signed by the operators whose bits are set; signatures in increasing operator index."""

    header: ReportHeader
    bitmap: Uint32
    """Bit i is set where operator i of the committee signed; below 2^31."""
    signatures: tuple[bytes, ...]
    """65 bytes r ‖ s ‖ v each."""

    @property
    def report_hash(self) -> bytes:
        """The identity of the certified report."""
        return report_hash(self.header)


class CertificateDocument(msgspec.Struct, frozen=True, kw_only=True):
    """A certificate as JSON, with the version of the format first."""

    version: Uint32
    header: ReportHeader
    bitmap: Uint32
    signatures: tuple[bytes, ...]


def assemble_certificate(header: ReportHeader, signatures: dict[int, bytes]) -> Certificate:
    """Return the certificate of a header with signatures by operator index; nothing is verified.

    Raises:
        InvalidData: an index outside 0 to 30, or a signature that has not 65 bytes.
    """
    if any(not 0 <= index < MAX_OPERATORS for index in signatures):
        raise InvalidData(f"operator index outside 0 to {MAX_OPERATORS - 1}", code="malformed")
    certificate = Certificate(
        header=header,
        bitmap=sum(1 << index for index in signatures),
        signatures=tuple(signatures[index] for index in sorted(signatures)),
    )
    _check_shape(certificate)
    return certificate


def signer_indices(certificate: Certificate) -> tuple[int, ...]:
    """Return the indices of the operators that signed, ascending."""
    return tuple(index for index in range(MAX_OPERATORS) if certificate.bitmap >> index & 1)


def verify_certificate(
    certificate: Certificate,
    *,
    config_digest: bytes,
    operators: Sequence[Address],
    destinations: Sequence[Destination],
) -> None:
    """Check a certificate as the contract does, apart from time.

    Args:
        certificate: What to check.
        config_digest: The committee's, which the header must name.
        operators: Attestation addresses of the committee in its order.
        destinations: Contracts for which the signatures must be valid.

    Raises:
        ProtocolViolation: another committee, too few or unknown signers, or a signature that is not the operator's.
        InvalidData: the committee itself is none, or the header cannot be encoded.
    """
    _check_signers(certificate, len(operators))
    if certificate.header.config_digest != config_digest:
        raise _refused("the header names another config digest", "foreign")
    digest = signing_digest(certificate.header, destinations)
    for index, signature in zip(signer_indices(certificate), certificate.signatures, strict=True):
        signer = recover_signer(digest, signature)
        if signer != operators[index]:
            raise _refused(f"the signature of operator {index} is by {signer}", "forged")


def encode_certificate(certificate: Certificate) -> bytes:
    """Return the canonical bytes: version, header (544), bitmap (4, big-endian), signatures (65 each).

    Raises:
        InvalidData: signatures and bitmap do not fit together, or a header field is outside its type.
    """
    _check_shape(certificate)
    bitmap = certificate.bitmap.to_bytes(4, "big")
    return bytes([VERSION]) + encode_header(certificate.header) + bitmap + b"".join(certificate.signatures)


def decode_certificate(data: bytes) -> Certificate:
    """Read the canonical bytes; anything else is refused.

    Raises:
        InvalidData: unknown version, wrong length, or a value outside its type.
    """
    if not data or data[0] != VERSION:
        raise InvalidData(f"certificate: unknown version {data[:1].hex() or 'none'}", code="malformed")
    header = decode_header(data[1 : 1 + _HEADER_BYTES])
    bitmap = int.from_bytes(data[1 + _HEADER_BYTES : _PREFIX_BYTES], "big")
    if len(data) != _PREFIX_BYTES + SIGNATURE_BYTES * bitmap.bit_count():
        raise InvalidData(
            f"certificate: {len(data)} bytes do not hold {bitmap.bit_count()} signatures", code="malformed"
        )
    starts = range(_PREFIX_BYTES, len(data), SIGNATURE_BYTES)
    signatures = tuple(bytes(data[start : start + SIGNATURE_BYTES]) for start in starts)
    certificate = Certificate(header=header, bitmap=bitmap, signatures=signatures)
    _check_shape(certificate)
    return certificate


def encode_certificate_json(certificate: Certificate) -> bytes:
    """Return the canonical JSON of a certificate.

    Raises:
        InvalidData: signatures and bitmap do not fit together.
    """
    _check_shape(certificate)
    document = CertificateDocument(
        version=VERSION,
        header=certificate.header,
        bitmap=certificate.bitmap,
        signatures=certificate.signatures,
    )
    return encode_canonical(document)


def decode_certificate_json(document: bytes) -> Certificate:
    """Read the canonical JSON; any other text is refused.

    Raises:
        InvalidData: not the canonical text, unknown version, or a value outside its type.
    """
    read = decode_canonical(document, CertificateDocument, what="certificate")
    if read.version != VERSION:
        raise InvalidData(f"certificate: unknown version {read.version}", code="malformed")
    certificate = Certificate(header=read.header, bitmap=read.bitmap, signatures=read.signatures)
    encode_certificate(certificate)
    return certificate


def _check_shape(certificate: Certificate) -> None:
    if not 0 <= certificate.bitmap < 1 << MAX_OPERATORS:
        raise InvalidData(f"certificate: bitmap {certificate.bitmap:#x} is out of range", code="malformed")
    if certificate.bitmap.bit_count() != len(certificate.signatures):
        raise InvalidData(
            f"certificate: {certificate.bitmap.bit_count()} signers but {len(certificate.signatures)} signatures",
            code="malformed",
        )
    if any(len(signature) != SIGNATURE_BYTES for signature in certificate.signatures):
        raise InvalidData("certificate: a signature has not 65 bytes", code="malformed")


def _check_signers(certificate: Certificate, n: int) -> None:
    quorum = byzantine(n)
    try:
        _check_shape(certificate)
    except InvalidData as error:
        raise _refused(error.message, "malformed") from error
    if certificate.bitmap >> n:
        raise _refused(f"the bitmap {certificate.bitmap:#x} names operators beyond {n}", "forged")
    if certificate.bitmap.bit_count() < quorum:
        raise _refused(f"{certificate.bitmap.bit_count()} signatures, {quorum} needed", "quorum_missing")


def _refused(reason: str, code: str) -> ProtocolViolation:
    return ProtocolViolation(f"certificate refused: {reason}", code=code)
