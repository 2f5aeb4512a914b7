"""Commands that read are carried out without click as click would."""

import json
import subprocess
import sys
from pathlib import Path

import click
import pytest

from app.cli.plain import READS, parameters
from tests.support.cluster import ROOT
from tests.support.reads import command_of, written

COMMANDS = json.loads(Path(READS).read_text("ascii"))
BEGIN = "import sys; from app.cli.start import main; main(); assert 'click' not in sys.modules"


def test_the_kept_options_are_those_of_click() -> None:
    assert Path(READS).read_text("ascii") == written(), "write them anew: make reads"


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("jobs list --tag a --tag=b --failing --limit 7", {"tag": ("a", "b"), "limit": 7}),
        ("jobs list -o json --all", {"format": "json", "everything": True}),
        ("jobs list --json", {"json_fields": ""}),
        ("jobs list --json id,name", {"json_fields": "id,name"}),
        ("jobs get nightly --utc", {"job": "nightly", "utc": True}),
        ("executions get 7", {"id": 7}),
        ("executions list --outcome failed --from 12h", {"outcome": ("failed",), "since": "12h"}),
    ],
)
def test_what_is_often_typed_is_plain(line: str, expected: dict[str, object]) -> None:
    first, second, *words = line.split()
    read = parameters(COMMANDS[f"{first} {second}"], words)

    assert read is not None
    assert read.items() >= expected.items()


@pytest.mark.parametrize(
    "line",
    [
        *("jobs get", "jobs get a b", "jobs get --json nightly", "executions get x"),
        *("jobs list nightly", "jobs list --limit 0", "jobs list --state done", "jobs list --tag"),
        *("jobs list --tag=", "jobs list --help", "jobs list --utc=yes", "jobs list --tag -x"),
    ],
)
def test_what_is_wrong_is_for_click_to_say(line: str) -> None:
    first, second, *words = line.split()

    assert parameters(COMMANDS[f"{first} {second}"], words) is None


def test_each_such_command_has_a_line_that_needs_no_click() -> None:
    for name, about in COMMANDS.items():
        words = [*name.split(), *["7"] * len(about["arguments"]), "--api", "http://127.0.0.1:1"]
        done = subprocess.run(  # noqa: S603 - our own words
            [sys.executable, "-c", BEGIN, *words, "--json"],
            cwd=ROOT,
            capture_output=True,
            check=False,
            text=True,
        )

        assert done.returncode == 5
        assert "Connection refused" in json.loads(done.stderr)["detail"]


def test_what_is_no_output_goes_nowhere_where_stderr_is_closed() -> None:
    command = [sys.executable, "-c", BEGIN, "jobs", "get", "a", "--api", "http://127.0.0.1:1"]
    done = subprocess.run(  # noqa: S603 - our own words
        ["/bin/sh", "-c", 'exec "$0" "$@" 2>&-', *command],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        check=False,
    )

    assert (done.returncode, done.stdout) == (5, b"")


def test_an_option_of_another_type_is_left_to_click() -> None:
    late_by = next(one for one in command_of("executions list").params if one.name == "late_by")

    assert isinstance(late_by.type, click.types.FloatParamType)
    assert "--late-by" not in COMMANDS["executions list"]["options"]
