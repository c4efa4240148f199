"""An operator connects to brokers as itself and as nobody else."""

from __future__ import annotations

import datetime

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric.ec import SECP256R1, generate_private_key
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import NameOID

from attest.keys.certificates import broker_certificate, check_operator_certificate, operator_certificate
from attest.keys.identity import IdentityKey
from riskschema.errors import InvalidData

PRIVATE = Ed25519PrivateKey.from_private_bytes(bytes(range(32)))
ME = IdentityKey(PRIVATE)
OTHER = IdentityKey(Ed25519PrivateKey.from_private_bytes(bytes(32)))


def forged(
    name: str, *, ca: bool = False, private: Ed25519PrivateKey = PRIVATE, signer: Ed25519PrivateKey = PRIVATE
) -> bytes:
    """A certificate that our own function does not make."""
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    now = datetime.datetime(2026, 1, 1, tzinfo=datetime.UTC)
    usage = x509.KeyUsage(False, False, False, False, False, ca, False, False, False)
    builder = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject)
        .public_key(PRIVATE.public_key())
        .serial_number(1)
        .not_valid_before(now)
        .not_valid_after(now + datetime.timedelta(days=1))
        .add_extension(x509.BasicConstraints(ca=ca, path_length=None), critical=True)
        .add_extension(usage, critical=True)
    )
    return builder.sign(signer, None).public_bytes(Encoding.PEM)


def test_a_certificate_names_its_key_and_is_the_same_each_time() -> None:
    pem = operator_certificate(ME)
    assert pem == operator_certificate(ME)
    check_operator_certificate(pem, ME.public_key)
    loaded = x509.load_pem_x509_certificate(pem)
    assert loaded.subject.rfc4514_string() == f"CN={ME.public_key.hex()}"
    loaded.verify_directly_issued_by(loaded)


@pytest.mark.parametrize(
    ("pem", "reason"),
    [
        (operator_certificate(OTHER), "not the operator's identity"),
        (forged(OTHER.public_key.hex()), "made out to"),
        (forged(ME.public_key.hex(), ca=True), "sign other certificates"),
        (forged(ME.public_key.hex(), signer=Ed25519PrivateKey.from_private_bytes(bytes(32))), ""),
        (operator_certificate(ME) + operator_certificate(OTHER), "follows or precedes"),
        (b"# comment\n" + operator_certificate(ME), "follows or precedes"),
        (b"nonsense", ""),
        (b"", ""),
        (operator_certificate(ME) * 100, "bytes"),
    ],
)
def test_what_lets_an_operator_be_somebody_else_is_refused(pem: bytes, reason: str) -> None:
    with pytest.raises(InvalidData, match=f"certificate refused.*{reason}"):
        check_operator_certificate(pem, ME.public_key)


def test_a_key_of_another_kind_is_refused() -> None:
    private = generate_private_key(SECP256R1())
    from cryptography.hazmat.primitives.hashes import SHA256  # noqa: PLC0415

    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, ME.public_key.hex())])
    now = datetime.datetime(2026, 1, 1, tzinfo=datetime.UTC)
    request = x509.CertificateBuilder(subject, subject, private.public_key(), 1, now, now + datetime.timedelta(1))
    with pytest.raises(InvalidData, match="refused"):
        check_operator_certificate(request.sign(private, SHA256()).public_bytes(Encoding.PEM), ME.public_key)


def test_a_brokers_certificate_names_its_hosts() -> None:
    _, pem = broker_certificate(["broker1.example", "10.0.0.1"])
    names = x509.load_pem_x509_certificate(pem).extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    assert names.get_values_for_type(x509.DNSName) == ["broker1.example"]
    assert [str(address) for address in names.get_values_for_type(x509.IPAddress)] == ["10.0.0.1"]
    with pytest.raises(InvalidData, match="at least one host"):
        broker_certificate([])
    with pytest.raises(InvalidData, match="host"):
        broker_certificate(["bröker.example"])
