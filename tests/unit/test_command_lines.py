"""Command lines that are judged before anything is asked of an API, and what they ask of it."""

import json
import os
import subprocess
import sys
from collections import defaultdict
from collections.abc import Iterator
from datetime import UTC, datetime
from email.message import Message
from pathlib import Path
from typing import Any
from uuid import UUID

import click
import pytest
from click.testing import CliRunner, Result

from app.cli.main import main
from app.cli.remote.api import Api
from app.cli.remote.contexts import Context, Contexts, chosen, save
from app.cli.remote.errors import CommandFailed
from app.cli.remote.instants import past_instant
from app.cli.remote.output import number

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


ASKS = {
    "alerts rules set": ("--event", "failed"),
    "backfill": ("job", "--from", "2026-11-01T00:00:00Z", "--to", "2026-11-02T00:00:00Z"),
    "jobs create": ("--url", "https://example.com", "--in", "60"),
    "jobs edit": ("x", "--set", "priority=1"),
    "maintenance begin": ("--all", "--to", "2100-01-01T00:00:00Z"),
    "pauses begin": ("--all",),
    **dict.fromkeys(
        (f"jobs {verb}" for verb in ("delete", "pause", "resume", "run", "skip")), ("x",)
    ),
}
"""What commands need to know what is meant, besides what click says they must have."""
ANSWER = {
    "count": 1,
    "count_is_exact": True,
    "sample": [],
    "runs": 1,
    "jobs": 1,
    "due_jobs": 1,
    "digest": "x",
    "differs": True,
    "counts": {},
    "steps": [],
    "set": "s",
    "items": [],
    "state": "finished",
    "members": [],
    "reasons": [],
    "summary": "",
    "until": None,
    "next_cursor": None,
    "next_run": None,
    "description": "",
    "name": "x",
    "id": "x",
}
"""An answer that has whatever a command looks for before it changes anything."""


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Record what is asked of the API that could change something; it answers `ANSWER`."""
    changing: list[str] = []

    def send(_: Api, method: str, path: str, **more: Any) -> tuple[Any, Message]:  # noqa: ANN401
        body = more.get("body")
        is_dry = isinstance(body, dict) and body.get("dry_run") is True
        if method != "GET" and not is_dry and not path.endswith(("/plan", "/preview")):
            changing.append(f"{method} {path}")
        return defaultdict(str, ANSWER), Message()

    monkeypatch.setattr(Api, "send", send)
    return changing


def test_each_command_that_changes_something_asks_in_production_and_no_other_does(
    asked: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    (tmp_path / "1").write_text('{"set": "s", "jobs": {}}')
    save(Contexts({"prod": Context("prod", NOWHERE, production=True)}, None))  # as TOCSIN_URL is
    guarded = 0
    for path, command in commands(main):
        if not any(one.name == "api_url" for one in command.params) or path[-1] == "tail":
            continue
        line = [*path, *needed(command), *ASKS.get(" ".join(path), ())]
        refused = tocsin(*line)
        assert asked == [], line
        if any(one.name == "yes" for one in command.params):
            assert refused.exit_code == 2, (line, refused.output)
            assert f"at prod (production, {NOWHERE}): there is no terminal" in refused.stderr
            assert "--yes" in refused.stderr
            done = tocsin(*line, "--yes")
            assert len(asked) == 1, (line, done.output, asked)
            assert f"at prod (production, {NOWHERE})" in done.stderr
            guarded += 1
            asked.clear()
    assert guarded > 25


@pytest.mark.parametrize(
    "line",
    [
        ("jobs", "list", "--json", "--nosuch"),
        ("jobs", "get", "-ojson"),
        ("jobs", "list", "-o", "json", "--sort", "sideways"),
        ("nosuch", "--output=jsonl"),
        ("secrets", "list", "--json"),
        ("jobs", "list", "--json", "nam"),
        ("jobs", "list", "--json=nam"),
    ],
)
def test_an_error_of_any_sort_is_json_where_the_output_would_be(
    line: tuple[str, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TOCSIN_DATABASE_URL", "postgresql://127.0.0.1:1/none")

    result = tocsin(*line)

    assert result.stdout == ""
    said = json.loads(result.stderr)
    assert said["exit_code"] == result.exit_code
    assert said["detail"]


def test_the_run_that_the_plan_has_at_that_moment_is_not_waited_for(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    nominal, spread, asked_at = (f"2030-01-01T00:00:0{n}Z" for n in range(3))
    ended = {"outcome": "succeeded", "duration_seconds": 1.0}
    runs = [
        ended | {"id": 7, "scheduled_for": asked_at},
        ended | {"id": 6, "scheduled_for": nominal},
    ]

    def call(_: Api, method: str, path: str, **__: object) -> dict[str, Any]:
        if path.endswith("/executions"):
            return {"items": runs if "run" in done else []}
        if method == "POST":
            done.append("run")
        return {"next_run": spread, "scheduled_for": nominal}

    done: list[str] = []
    monkeypatch.setattr(Api, "call", call)

    assert json.loads(tocsin("jobs", "run", "x", "--wait", "--json", "id").stdout) == {"id": 7}


def test_instants_of_the_past_are_written_as_people_say_them() -> None:
    now = datetime.now(UTC)

    ago = datetime.fromisoformat(past_instant("12h", "--from"))
    day = datetime.fromisoformat(past_instant("2026-11-30", "--from"))
    whole = past_instant("2026-11-30T01:02:03+01:00", "--from")

    assert abs((now - ago).total_seconds() - 12 * 3600) < 60
    assert (day.hour, day.minute, day.utcoffset()) == (0, 0, day.astimezone().utcoffset())
    assert whole == "2026-11-30T01:02:03+01:00"


@pytest.mark.parametrize(
    "address",
    ["https://Prod.example.com", "HTTPS://prod.example.com:443/", "https://prod.example.com"],
)
def test_an_api_in_production_is_one_however_its_address_is_written(
    address: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    prod = Context("prod", "https://prod.example.com", production=True)
    save(Contexts({"wrong": Context("wrong", "http://[", production=True), "prod": prod}, None))

    found = [chosen(None, address), chosen(None, "https://prod.example.com:8443")]

    assert [one.production for one in found] == [True, False]


def test_a_zero_is_sent_as_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    sent: list[Any] = []

    def send(_: Api, *call: object, **more: object) -> tuple[Any, Message]:
        sent.append(more.get("query") if call[0] == "GET" else more.get("body"))
        return defaultdict(str, ANSWER), Message()

    monkeypatch.setattr(Api, "send", send)
    tocsin("executions", "list", "--late-by", "0", "--slower-than", "0")

    assert [(one["late_by"], one["slower_than"]) for one in sent] == [(0, 0)]


@pytest.mark.parametrize(
    ("line", "option"),
    [
        (("jobs", "pause", "one"), "--until"),
        (("jobs", "skip", "one"), "--until"),
        (("jobs", "pause", "--tag", "a"), "--next-before"),
        (("jobs", "list"), "--next-before"),
        (("jobs", "create", "one", "--url", "u", "--cron", "@daily"), "--at"),
        (("jobs", "explain", "one"), "--at"),
        (("jobs", "history", "one"), "--from"),
        (("jobs", "history", "one"), "--to"),
        (("executions", "list"), "--from"),
        (("executions", "replay", "--job", "one"), "--to"),
        (("flows", "pause", "one"), "--until"),
        (("pauses", "begin", "--all"), "--until"),
        (("maintenance", "begin", "--all", "--to", "2100-01-01T00:00:00Z"), "--from"),
        (("backfill", "one", "--to", "1h"), "--from"),
        (("upcoming",), "--until"),
        (("preview", "@daily"), "--from"),
        (("jobs", "delete"), "--tag"),
        (("jobs", "delete", "--tag", "billing"), "--kind"),
        (("jobs", "list"), "--tag"),
        (("executions", "replay", "--job", "one"), "--reason"),
        (("backfill", "--from", "2h", "--to", "1h"), "--tag"),
    ],
)
def test_an_option_without_a_value_is_refused_and_not_taken_for_one_left_out(
    line: tuple[str, ...], option: str
) -> None:
    result = tocsin(*line, option, "")

    assert (result.exit_code, result.stdout) == (2, "")
    assert result.stderr == f"tocsin: {option}: is empty: give it a value, or leave it out\n"


@pytest.mark.parametrize("line", [("--version",), ("version",)])
def test_the_version_is_told(line: tuple[str, ...]) -> None:
    assert tocsin(*line).stdout.count(".") >= 2


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_a_shell_gets_its_completion(shell: str) -> None:
    assert "_TOCSIN_COMPLETE" in tocsin("completion", shell).stdout


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


@pytest.mark.parametrize(
    ("line", "said"),
    [
        (("jobs", "create", "--body", "{oops", "--url", "u"), "--body is no JSON"),
        (("jobs", "create", "--cron", "@daily", "--every", "5"), "--cron and --every"),
        (("jobs", "create", "x", "--cron", "@daily"), "by --url"),
        (("jobs", "create", "x", "--url", "http://x/"), "one of --at, --in, --cron, --every"),
        (("preview",), "give --every"),
        (("flows", "set", "a/b", "--max-concurrency", "1"), "no slash"),
        (("jobs", "get", "a/b"), "no slash"),
        (("upcoming", "--from", "tomorrow"), "write it such as 20"),
        (("upcoming", "--until", "12h"), "write it such as 20"),
        (("upcoming", "--from", "2026-12-24T18:00:00"), "with a zone"),
        (
            ("upcoming", "--from", "2026-12-24T18:00:00Z", "--until", "2026-12-24T18:00:00+01:00"),
            "earlier than --until",
        ),
    ],
)  # fmt: skip
def test_what_is_wrong_is_told_by_options_and_in_one_line(line: tuple[str, ...], said: str) -> None:
    result = tocsin(*line)

    assert (result.exit_code, result.stdout) == (2, "")
    assert said in result.stderr
    assert result.stderr.count("\n") == 1


def test_an_answer_without_a_key_names_what_a_command_line_has() -> None:
    detail = "send an API key as Authorization: Bearer KEY; `tocsin keys create` makes one"
    unknown = "the API key is unknown, expired or revoked"

    lacking = CommandFailed.answered(401, {"detail": detail})
    wrong = CommandFailed.answered(401, {"detail": unknown})

    assert (lacking.exit_code, wrong.exit_code, str(wrong)) == (4, 4, unknown)
    assert "TOCSIN_API_KEY" in str(lacking)
    assert "tocsin login" in str(lacking)


def test_a_field_that_the_api_refuses_has_a_colon_after_it() -> None:
    errors = [{"field": "run_at", "message": "there is no schedule"}]

    assert str(CommandFailed.answered(422, {"errors": errors})) == "run_at: there is no schedule"


def test_numbers_are_written_for_people() -> None:
    seconds = (0.0, 0.000001, 0.0234567, 30.0, 1.5, 1234567.0, -0.25)

    assert [number(one) for one in seconds] == [
        *("0", "<0.001", "0.023457", "30", "1.5", "1234567", "-0.25")
    ]


@pytest.mark.parametrize("line", [("secrets", "list"), ("doctor",), ("keys", "list")])
def test_a_database_that_does_not_answer_has_an_exit_code(
    line: tuple[str, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TOCSIN_DATABASE_URL", "postgresql://127.0.0.1:1/none")

    result = tocsin(*line)

    assert result.exit_code == 5, result.output
    assert "correct the address in TOCSIN_DATABASE_URL" in result.output


def test_no_help_shows_a_mark_of_click() -> None:
    for path, command in commands(main):
        said = command.get_help(click.Context(command, info_name=" ".join(path)))
        assert "\\b" not in said, path


def test_all_text_is_written_whatever_a_stream_is_able_to() -> None:
    line = "from app.cli.ends import keep_standard_streams as k; k(); print('caf\\xe9 \\u2192')"
    environment = os.environ | {"PYTHONIOENCODING": "latin-1"}

    done = subprocess.run(  # noqa: S603 - our own arguments
        [sys.executable, "-c", line], env=environment, capture_output=True, check=False
    )

    assert (done.returncode, done.stderr, done.stdout) == (0, b"", b"caf\xe9 \\u2192\n")


@pytest.mark.parametrize("closed", ["<&-", ">&-", "2>&-", "<&- >&- 2>&-"])
@pytest.mark.parametrize("line", ["jobs delete x", "jobs list", "nonsense"])
def test_a_stream_that_is_closed_changes_nothing_but_what_is_seen(line: str, closed: str) -> None:
    command = f"{sys.executable} -m app {line} --api http://127.0.0.1:9 {closed}"

    done = subprocess.run(  # noqa: S602 - our own line
        command, shell=True, capture_output=True, text=True, check=False
    )

    assert done.returncode in {2, 5}
    assert "Traceback" not in done.stderr
    assert done.stdout == ""
