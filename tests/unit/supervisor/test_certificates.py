"""Until when a certificate is good, as `cryptography` wrote it."""

from datetime import UTC, datetime, timedelta
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import NameOID
import pytest

from extproc.supervisor.certificates import end_of


@pytest.mark.parametrize("year", [2027, 2049, 2050, 2120])
def test_the_end_of_a_certificate(tmp_path: Path, year: int) -> None:
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "n" * 60)])
    end = datetime(year, 2, 3, 4, 5, 6, tzinfo=UTC)
    made = x509.CertificateBuilder(name, name, key.public_key(), 2**150, end - timedelta(days=400), end)
    pem = made.sign(key, SHA256()).public_bytes(Encoding.PEM)
    path = tmp_path / "c.pem"
    path.write_bytes(b"some words\n" + pem + pem)
    assert end_of(path) == end.timestamp()


@pytest.mark.parametrize(
    "text", ["", "-----BEGIN CERTIFICATE-----", "-----BEGIN CERTIFICATE-----\nMAA=\n-----END CERTIFICATE-----"]
)
def test_what_is_none_has_none(tmp_path: Path, text: str) -> None:
    (tmp_path / "c.pem").write_text(text)
    assert end_of(tmp_path / "c.pem") is None
    assert end_of(tmp_path / "absent.pem") is None
