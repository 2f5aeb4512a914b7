"""A database of an older version, filled with its own code as if it had been used for days."""

import asyncio
import os
import subprocess
import sys

import httpx

from tests.support.psql import run_psql
from tests.support.releases import ROOT
from tests.support.vault import KEY
from tests.upgrade.trees import Tree

ROWS = sorted((ROOT / "tests" / "upgrade").glob("rows_*.sql"))
"""What fills a database, by the first schema version that it is written for."""
SECRET = "sesame"
OFTEN = 300
"""More times than a target may refer to secrets that is written after 0.1.0."""
SUCCEED = {
    "moves-expired-lease": 1,
    "moves-leased": 1,
    "moves-retrying": 1,
    "moves-pending-runs": 2,
}
"""How many runs each job of `rows_*.sql` that is due has to have had in the end."""


def create_database(url: str, tree: Tree) -> None:
    """Make the database of a version, as a person does in psql."""
    run_psql(url, files=(tree.schema, tree.triggers))


async def tocsin(tree: Tree, database_url: str, *arguments: str, stdin: str = "") -> str:
    """Run a command of a version; return what it wrote to stdout."""
    done = await asyncio.to_thread(
        subprocess.run,
        [sys.executable, "-m", "app", *arguments],
        env=os.environ | {"TOCSIN_DATABASE_URL": database_url, "TOCSIN_SECRET_KEYS": KEY},
        cwd=tree.path,
        capture_output=True,
        check=False,
        input=stdin,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def fill(tree: Tree, database_url: str, *, target_url: str) -> None:
    """Insert rows of all sorts; those of jobs that are due call `target_url`."""
    rows = [file for file in ROWS if int(file.stem[-4:]) <= len(tree.scripts)][-1]
    run_psql(database_url, files=(rows,), variables={"url": target_url})


async def create_secret_and_key(tree: Tree, database_url: str, *, host: str) -> str:
    """Set a named secret that may be sent to `host`, and return an API key that may write."""
    _, key = await asyncio.gather(
        tocsin(tree, database_url, "secrets", "set", "partner", "--host", host, stdin=SECRET),
        tocsin(tree, database_url, "keys", "create", "mine", "--scope", "write"),
    )
    return key


def times_referred(tree: Tree) -> int:
    """Return how many times one header of a version's jobs refers to its secret."""
    return OFTEN if len(tree.scripts) == 1 else 1  # 0.1.0 counted none


async def create_jobs(client: httpx.AsyncClient, url: str, *, tree: Tree, target_url: str) -> None:
    """Create jobs with the API of a version: with secrets, a cron and an interval."""
    often = times_referred(tree) * "${secret:partner}"
    target = {
        "url": target_url,
        "headers": {"X-Partner": "${secret:partner}", "X-Often": often},
        "auth": {"type": "basic", "username": "me", "password": SECRET},
    }
    far = {"starts_at": "2099-01-01T00:00:00Z"}
    for name, schedule in {
        "at-rest-secret": {"run_at": "2100-01-01T00:00:00Z"},
        "at-rest-cron": {"cron": "0 3 * * *", "timezone": "Europe/Paris", **far},
        "at-rest-interval": {"every_seconds": 3600, **far},
    }.items():
        job = {"name": name, "kind": "http", "target": target, "tags": ["billing"], **schedule}
        answer = await client.post(url, json=job)
        assert answer.status_code == 201, answer.text
