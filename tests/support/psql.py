"""The psql binary, as people use it; tests that promise something of psql run it."""

import shutil
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path

from app.devdb.places import ProgramsMissing, embedded_programs

SECONDS = 30


class PsqlFailed(Exception):
    """The script did not run to its end; the message is what psql wrote to stderr."""


def psql_program() -> Path:
    """Find psql: the embedded Postgres's, else the one on PATH."""
    try:
        return embedded_programs() / "psql"
    except ProgramsMissing:
        found = shutil.which("psql")
        if found is None:
            raise
        return Path(found)


def run_psql(
    url: str,
    script: str = "",
    *,
    files: Sequence[Path] = (),
    variables: Mapping[str, str] | None = None,
) -> str:
    """Run the files and then the script, stopping at the first error; return bare rows.

    Columns are parted by `|`, and nothing but rows is printed. The call blocks: in a test whose
    scheduler shares the event loop, call it with `asyncio.to_thread`.

    Raises:
        PsqlFailed: the message is all that psql wrote to stderr.
    """
    settings = {"ON_ERROR_STOP": "1", **(variables or {})}
    done = subprocess.run(  # noqa: S603 - a program of our own choice, by its full path
        [
            psql_program(),
            *("--no-psqlrc", "--quiet", "--no-align", "--tuples-only", f"--dbname={url}"),
            *(f"--set={name}={value}" for name, value in settings.items()),
            *(f"--file={file}" for file in (*files, "-")),
        ],
        input=script,
        capture_output=True,
        check=False,
        text=True,
        timeout=SECONDS,
    )
    if done.returncode != 0:
        raise PsqlFailed(done.stderr)
    return done.stdout.removesuffix("\n")
