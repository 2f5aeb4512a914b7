"""The help that is printed without click is the one that click prints."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from app.cli.start import HELP
from tests.support.cluster import ROOT
from tests.support.helptext import printed

BEGIN = "import sys; from app.cli.start import main; main(); assert 'click' not in sys.modules"


def begun(*arguments: str, **variables: str) -> subprocess.CompletedProcess[str]:
    """Call the command as its script does, without a terminal."""
    environment = {name: value for name, value in os.environ.items() if name != "COLUMNS"}
    return subprocess.run(  # noqa: S603 - our own words
        [sys.executable, "-c", BEGIN, *arguments],
        cwd=ROOT,
        env=environment | variables,
        capture_output=True,
        check=False,
        text=True,
    )


@pytest.mark.parametrize("columns", [80, 81, 300])
def test_the_kept_help_is_what_click_prints(columns: int) -> None:
    assert Path(HELP).read_text("ascii") == printed(columns=columns), "write it anew: make helptext"


@pytest.mark.parametrize("option", ["-h", "--help"])
def test_it_is_printed_without_click(option: str) -> None:
    done = begun(option)

    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout == printed(columns=80)


def test_on_a_narrower_terminal_click_prints_it() -> None:
    done = begun("--help", COLUMNS="60")

    assert done.returncode == 0
    assert done.stdout.split("\n", 1)[1] == printed(columns=60).split("\n", 1)[1]
    assert done.stdout != printed(columns=80)


def test_a_reader_that_goes_away_gets_no_traceback() -> None:
    reader, writer = os.pipe()
    os.close(reader)
    done = subprocess.run(
        [sys.executable, "-m", "app", "--help"],
        cwd=ROOT,
        stdout=writer,
        stderr=subprocess.PIPE,
        check=False,
    )
    os.close(writer)

    assert (done.returncode, done.stderr) == (1, b"")
