"""The schema as Postgres understands it: `python -m tests.support.dump` prints it."""

import subprocess
import sys

from app.devdb.places import embedded_programs
from tests.support.postgres import SCHEMA, throwaway_cluster
from tests.support.psql import run_psql


def dumped(url: str) -> str:
    """Dump the schema `tocsin`, without comments, empty lines and the partitions of days."""
    done = subprocess.run(  # noqa: S603 - a program of the wheel, by its full path
        [
            embedded_programs() / "pg_dump",
            *("--schema-only", "--schema=tocsin", "--exclude-table=tocsin.executions_2*"),
            f"--dbname={url}",
        ],
        capture_output=True,
        check=True,
        text=True,
    )
    lines = done.stdout.splitlines()
    # A dump is fenced by a random word, which would make each differ.
    passing = ("--", "\\restrict", "\\unrestrict")
    return "".join(f"{line}\n" for line in lines if line and not line.startswith(passing))


def main() -> None:
    with throwaway_cluster(embedded_programs()) as cluster:
        url = cluster.server().url
        run_psql(url, files=SCHEMA)
        sys.stdout.write(dumped(url))


if __name__ == "__main__":
    main()
