"""X.509 certificates for mutual TLS with brokers: an operator's by its identity key, a broker's by a key of its own.

Nobody signs for anybody: each certificate is signed by its own key and trusted by name, so there is no authority to
steal. They may sign nothing else (CA false), or one operator could make a certificate in another's name.
"""

import datetime
from collections.abc import Sequence
from ipaddress import ip_address

from cryptography import x509
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from attest.keys.identity import IdentityKey
from riskschema.errors import InvalidData

MAX_CERTIFICATE_BYTES = 4_096
NOT_BEFORE = datetime.datetime(2020, 1, 1, tzinfo=datetime.UTC)
NOT_AFTER = datetime.datetime(2120, 1, 1, tzinfo=datetime.UTC)
"""As long as the key: who stops trusting it leaves the certificate out."""
UNREADABLE = (
    ValueError,
    TypeError,
    InvalidSignature,
    UnsupportedAlgorithm,
    x509.DuplicateExtension,
    x509.ExtensionNotFound,
    x509.InvalidVersion,
    x509.UnsupportedGeneralNameType,
)
"""What the library says of bytes that are no certificate, or one of another kind."""


def operator_certificate(identity: IdentityKey) -> bytes:
    """Return the certificate (PEM) under which an operator connects to brokers.

    Its subject is the public key in hexadecimal, the name that brokers' access lists know. The same key gives the same
    bytes.
    """
    public = Ed25519PublicKey.from_public_bytes(identity.public_key)
    builder = _builder(identity.public_key.hex(), public, ExtendedKeyUsageOID.CLIENT_AUTH)
    return identity.certify(builder).public_bytes(Encoding.PEM)


def check_operator_certificate(pem: bytes, identity: bytes) -> None:
    """Refuse a certificate under which an operator could connect as anybody but itself.

    Args:
        pem: What the operator sent.
        identity: Its public key (32 bytes), from the committee.

    Raises:
        InvalidData: another key or name, not signed by that key, able to sign others, or no certificate.
    """
    if len(pem) > MAX_CERTIFICATE_BYTES:
        raise _refused(f"{len(pem)} bytes")
    try:
        certificate = x509.load_pem_x509_certificate(pem)
        constraints = certificate.extensions.get_extension_for_class(x509.BasicConstraints).value
        usage = certificate.extensions.get_extension_for_class(x509.KeyUsage).value
        public = certificate.public_key()
        certificate.verify_directly_issued_by(certificate)
        name = certificate.subject
    except UNREADABLE as error:
        raise _refused(str(error) or type(error).__name__) from error
    if not isinstance(public, Ed25519PublicKey) or public.public_bytes_raw() != identity:
        raise _refused("its key is not the operator's identity")
    if name != _name(identity.hex()) or certificate.issuer != name:
        raise _refused(f"it is made out to {name.rfc4514_string()}, not to {identity.hex()}")
    if constraints.ca or usage.key_cert_sign:
        raise _refused("it may sign other certificates")
    if certificate.public_bytes(Encoding.PEM) != pem:
        raise _refused("something follows or precedes it")


def broker_certificate(hosts: Sequence[str]) -> tuple[bytes, bytes]:
    """Make a broker's key; return it (PEM, not encrypted: the broker reads it by itself) and its certificate (PEM).

    Args:
        hosts: Names and addresses under which nodes reach the broker; at least one.

    Raises:
        InvalidData: none is given, or one is no host name.
    """
    if not hosts:
        raise InvalidData("a broker's certificate needs at least one host", code="invalid_settings")
    private = Ed25519PrivateKey.generate()
    builder = _builder(hosts[0][:64], private.public_key(), ExtendedKeyUsageOID.SERVER_AUTH)
    try:
        names = x509.SubjectAlternativeName([_host(host) for host in hosts])
    except ValueError as error:
        raise InvalidData(f"a broker's host: {error}", code="invalid_settings") from error
    certificate = builder.add_extension(names, critical=False).sign(private, None)
    key = private.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    return key, certificate.public_bytes(Encoding.PEM)


def _builder(name: str, public: Ed25519PublicKey, purpose: x509.ObjectIdentifier) -> x509.CertificateBuilder:
    usage = x509.KeyUsage(
        digital_signature=True,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=False,
        crl_sign=False,
        encipher_only=False,
        decipher_only=False,
    )
    return (
        x509.CertificateBuilder()
        .subject_name(_name(name))
        .issuer_name(_name(name))
        .public_key(public)
        .serial_number(int.from_bytes(public.public_bytes_raw()[:15], "big") + 1)
        .not_valid_before(NOT_BEFORE)
        .not_valid_after(NOT_AFTER)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(usage, critical=True)
        .add_extension(x509.ExtendedKeyUsage([purpose]), critical=False)
    )


def _name(text: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, text)])


def _host(host: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ip_address(host))
    except ValueError:
        return x509.DNSName(host)


def _refused(reason: str) -> InvalidData:
    return InvalidData(f"operator certificate refused: {reason}", code="forged")
