"""Command lines that are judged before anything is asked of an API."""

from collections.abc import Iterator
from uuid import UUID

import click
import pytest
from click.testing import CliRunner, Result

from app.cli.main import main
from app.cli.remote.errors import CommandFailed

NOWHERE = "http://127.0.0.1:1"
PRINTS_NOTHING = {
    *("alerts rules delete", "alerts channels delete", "calendars delete", "flows delete"),
    *("maintenance end", "pauses end", "sets delete"),
    "export",  # prints a file, whole
}


@pytest.fixture(autouse=True)
def _nowhere(monkeypatch: pytest.MonkeyPatch, tmp_path_factory: pytest.TempPathFactory) -> None:
    monkeypatch.setenv("TOCSIN_URL", NOWHERE)
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path_factory.getbasetemp()))
    for name in ("TOCSIN_API_KEY", "TOCSIN_CONTEXT"):
        monkeypatch.delenv(name, raising=False)


def tocsin(*line: str) -> Result:
    CommandFailed.as_json = False
    return CliRunner().invoke(main, line, prog_name="tocsin")


def commands(group: click.Group, *path: str) -> Iterator[tuple[list[str], click.Command]]:
    """Yield each command that has `--columns`."""
    for name in group.list_commands(click.Context(group)):
        command = group.get_command(click.Context(group), name)
        if isinstance(command, click.Group):
            yield from commands(command, *path, name)
        elif command and any(one.name == "columns" for one in command.params):
            yield [*path, name], command


def needed(command: click.Command) -> Iterator[str]:
    """Yield a value for each parameter that a command must have."""
    for one in command.params:
        if one.required or (isinstance(one, click.Argument) and one.type is click.INT):
            value = str(UUID(int=1)) if one.type is click.UUID else "1"
            yield from [value] if isinstance(one, click.Argument) else [one.opts[0], value]


def test_a_field_that_is_not_there_is_refused_before_a_request_by_every_command() -> None:
    silent = set()
    for path, command in commands(main):
        for option in ("--json", "--columns"):
            result = tocsin(*path, *needed(command), option, "id,nam")
            if "there is no field" in result.stderr:
                assert (result.exit_code, result.stdout) == (2, ""), path
            else:
                silent.add(" ".join(path))

    assert silent == PRINTS_NOTHING


def test_a_command_that_prints_one_of_two_things_judges_by_that_which_it_will() -> None:
    def asks(*line: str) -> bool:
        return tocsin(*line).exit_code == 5  # which is that the API does not answer

    assert asks("jobs", "run", "one", "--json", "next_run")
    assert not asks("jobs", "run", "one", "--wait", "--json", "next_run")
    assert asks("jobs", "run", "one", "--wait", "--json", "outcome")
    assert asks("jobs", "pause", "--tag", "a", "--json", "changed")
    assert not asks("jobs", "pause", "one", "--json", "changed")
    assert asks("sets", "get", "a", "--json", "members")
    assert not asks("sets", "get", "a", "--columns", "members")
