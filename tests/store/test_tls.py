"""An endpoint with a certificate of its own authority, as stores inside a company have."""

import datetime
import ipaddress
import os
import ssl
from pathlib import Path

import pytest
from fault_proxy import FaultProxy

from tamis import store
from tamis.errors import UserError
from tamis.store import Connection, transfer

x509 = pytest.importorskip("cryptography.x509")


def certificate(folder: Path) -> Path:
    """Makes a certificate for 127.0.0.1, signed by itself; its key is in the same file."""
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec

    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "test")])
    now = datetime.datetime.now(datetime.UTC)
    made = (
        x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]), False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), True)
        .sign(key, hashes.SHA256())
    )
    path = folder / "certificate.pem"
    pem, plain = serialization.Encoding.PEM, serialization.NoEncryption()
    private = key.private_bytes(pem, serialization.PrivateFormat.PKCS8, plain)
    path.write_bytes(made.public_bytes(pem) + private)
    return path


def test_trusts_the_named_authority_and_no_other(
    s3: Connection, bucket: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pem = certificate(tmp_path)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(pem)
    monkeypatch.setattr(transfer, "PART", 5 << 20)
    with FaultProxy(s3.endpoint, tls=context) as proxy:
        monkeypatch.setenv("TAMIS_S3_ENDPOINT", proxy.url)
        with pytest.raises(UserError, match="TAMIS_S3_CA_FILE"):
            store.write_bytes(f"{bucket}/x", b"x")
        monkeypatch.setenv("TAMIS_S3_CA_FILE", str(pem))
        (tmp_path / "f").write_bytes(os.urandom(11 << 20))
        proxy.at_rate(0.1)
        store.write_file(f"{bucket}/x", tmp_path / "f")
        store.read_file(f"{bucket}/x", tmp_path / "g")
        assert (tmp_path / "g").read_bytes() == (tmp_path / "f").read_bytes()
        proxy.shutdown()
