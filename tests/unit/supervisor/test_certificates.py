"""Until when certificates are valid, of files that a real library made."""

from datetime import UTC, datetime, timedelta
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding
import pytest

from extproc.supervisor.certificates import expiry


def certificate(until: datetime) -> bytes:
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "somebody")])
    built = (
        x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number())
        .not_valid_before(datetime(1999, 1, 1, tzinfo=UTC))
        .not_valid_after(until)
    )
    return built.sign(key, hashes.SHA256()).public_bytes(Encoding.PEM)


EARLY, LATE = datetime(2027, 3, 4, 5, 6, 7, tzinfo=UTC), datetime(2061, 1, 2, tzinfo=UTC)


@pytest.mark.parametrize("until", [EARLY, LATE, datetime(2049, 12, 31, 23, 59, 59, tzinfo=UTC)])
def test_the_end_of_one(until: datetime, tmp_path: Path) -> None:
    path = tmp_path / "c.pem"
    path.write_bytes(b"# words\n" + certificate(until))
    assert expiry(path) == until.timestamp()


def test_a_chain_ends_with_its_first_and_authorities_with_their_last(tmp_path: Path) -> None:
    path = tmp_path / "c.pem"
    path.write_bytes(certificate(LATE) + certificate(EARLY))
    assert expiry(path) == EARLY.timestamp()
    assert expiry(path, authorities=True) == LATE.timestamp()


@pytest.mark.parametrize("cut", [0, 40, 300, 420])
def test_what_cannot_be_read_has_no_date(cut: int, tmp_path: Path) -> None:
    path = tmp_path / "c.pem"
    assert expiry(path) is None
    whole = certificate(EARLY)
    path.write_bytes(whole[:cut])
    assert expiry(path) is None
    path.write_bytes(b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n")
    assert expiry(path) is None
    path.write_bytes(b"-----BEGIN CERTIFICATE-----\nMIH/\n-----END CERTIFICATE-----\n" + whole)
    assert expiry(path) == (EARLY + timedelta(0)).timestamp()
