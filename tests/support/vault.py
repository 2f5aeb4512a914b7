"""Keys for secrets, and the command that sets and rotates them."""

import asyncio
import os
import subprocess
import sys
from base64 import urlsafe_b64encode

from app.vault import SecretKeys
from tests.support.cluster import ROOT

OLD_KEY, KEY, OTHER_KEY = (urlsafe_b64encode(bytes([n]) * 32).decode() for n in (1, 2, 3))
"""Keys that are the same in every process: `pytest -n` needs the same names for the same tests."""
KEYS = SecretKeys([KEY])


async def tocsin_secrets(
    database_url: str, *arguments: str, keys: str = KEY, stdin: str = ""
) -> subprocess.CompletedProcess[str]:
    """Run `tocsin secrets ARGUMENTS`."""
    environment = {"TOCSIN_DATABASE_URL": database_url, "TOCSIN_SECRET_KEYS": keys}
    return await asyncio.to_thread(
        subprocess.run,
        [sys.executable, "-m", "app", "secrets", *arguments],
        env=os.environ | environment,
        cwd=ROOT,
        capture_output=True,
        check=False,
        input=stdin,
        text=True,
    )
