"""The help of `tocsin` as click prints it: `make helptext` keeps it for `app/cli/start.py`."""

from pathlib import Path

import pytest

from app.cli.main import main
from app.cli.start import COLUMNS, HELP


def printed(*, columns: int) -> str:
    """Return what click prints on a terminal that is so wide."""
    with pytest.MonkeyPatch.context() as environ:
        environ.setenv("COLUMNS", str(columns))
        return f"{main.make_context('tocsin', [], resilient_parsing=True).get_help()}\n"


if __name__ == "__main__":
    Path(HELP).write_text(printed(columns=COLUMNS), "ascii")
