"""Encrypts answers that have a secret, with what only their client has."""

from base64 import urlsafe_b64encode

from cryptography.fernet import Fernet
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

KEY_BYTES = 32


def cipher_of(credential: str, id: bytes) -> Fernet:
    """Return what encrypts the answer with this id.

    `credential`: the client's API key or cookie, of which the database has a digest alone. So a
    copy of the database does not open the answer.
    """
    derived = HKDF(SHA256(), KEY_BYTES, salt=None, info=b"tocsin answer " + id)
    return Fernet(urlsafe_b64encode(derived.derive(credential.encode())))
