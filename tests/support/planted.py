"""Secrets that are planted everywhere, and the search for what leaked of them."""

import re
import secrets
import subprocess
from base64 import b64encode

import trustme

from app.devdb.places import embedded_programs

MARK = "pl4nted"
LEAKED = re.compile(rf"{MARK}[0-9a-f]{{2,}}")
"""Matches a planted secret, even if its end was cut off."""


class Planted:
    """Makes secrets and remembers every form that they are sent in."""

    def __init__(self) -> None:
        self.forms: set[str] = set()
        issued = trustme.CA().issue_cert("client.example")
        self.certificate = "".join(pem.bytes().decode() for pem in issued.cert_chain_pems)
        self.key = issued.private_key_pem.bytes().decode()
        self.forms.update(self.key.splitlines()[1:-1])

    def text(self) -> str:
        """Make a unique secret that a header and a URL can hold."""
        return f"{MARK}{secrets.token_hex(12)}"

    def password(self, user: str) -> str:
        """Make a password, which is sent in base64 behind the user's name."""
        password = self.text()
        self.forms.add(b64encode(f"{user}:{password}".encode()).decode().rstrip("="))
        return password

    def signing(self) -> str:
        """Make a secret for Standard Webhooks."""
        key = b64encode(secrets.token_bytes(32)).decode()
        self.forms.add(key.rstrip("="))
        return f"whsec_{key}"

    def found_in(self, text: str) -> set[str]:
        """Return the planted secrets that a text has, in whatever form."""
        return set(LEAKED.findall(text)) | {form for form in self.forms if form in text}


def whole_dump(url: str) -> str:
    """Return all contents of a database, as a backup has them."""
    return subprocess.run(  # noqa: S603 - a program of the wheel, by its full path
        [embedded_programs() / "pg_dump", "--inserts", f"--dbname={url}"],
        capture_output=True,
        check=True,
        text=True,
    ).stdout
