"""Self-signed certificates, which no authority vouches for."""

import ssl
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from pathlib import Path
from tempfile import TemporaryDirectory

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec


def self_signed(address: str) -> ssl.SSLContext:
    """A server's TLS for an IP address, signed by itself."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    with TemporaryDirectory() as directory:
        context.load_cert_chain(*self_signed_files(address, Path(directory)))
    return context


def self_signed_files(host: str, directory: Path) -> tuple[Path, Path]:
    """Write a certificate for a name or an IP address, and its key."""
    files = directory / "server.crt", directory / "server.key"
    subject = x509.SubjectAlternativeName([alternative_name(host)])
    for file, content in zip(files, pem_of(host, subject), strict=True):
        file.touch(mode=0o600)
        file.write_bytes(content)
    return files


def certificate(number: int) -> dict[str, str]:
    """Return the fields of a target that shows a client certificate of its own."""
    made, key = pem_of(f"client {number}")
    return {"client_certificate": made.decode(), "client_key": key.decode()}


def pem_of(common_name: str, *extensions: x509.ExtensionType) -> tuple[bytes, bytes]:
    """Make a certificate that is valid for a day, and its key; return both as PEM."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, common_name)])
    now = datetime.now(UTC)
    builder = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=1))
    )
    for extension in extensions:
        builder = builder.add_extension(extension, critical=False)
    pem = serialization.Encoding.PEM
    form = serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    return (
        builder.sign(key, hashes.SHA256()).public_bytes(pem),
        key.private_bytes(pem, *form),
    )


def alternative_name(host: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ip_address(host))
    except ValueError:
        return x509.DNSName(host)
