"""The help of `tocsin` as click prints it: `make helptext` keeps it for `app/cli/start.py`."""

import os
import subprocess
import sys
from pathlib import Path

from app.cli.start import HELP
from app.cli.terminal import WIDTH

CLICK = "from app.cli.main import main; main(['--help'], prog_name='tocsin')"
"""In a process of its own, as click keeps what it has once made of a command's options."""


def printed(*, columns: int) -> str:
    """Return what click prints on a terminal that is so wide."""
    done = subprocess.run(  # noqa: S603 - our own words
        [sys.executable, "-c", CLICK],
        env=os.environ | {"COLUMNS": str(columns)},
        stdout=subprocess.PIPE,
        check=True,
        text=True,
    )
    return done.stdout


if __name__ == "__main__":
    Path(HELP).write_text(printed(columns=WIDTH), "ascii")
