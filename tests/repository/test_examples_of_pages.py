"""The answers that pages of the docs show are those that are given, and their commands are ours."""

import re
import shlex
from collections.abc import Iterator
from datetime import UTC, datetime
from uuid import uuid4
from zoneinfo import ZoneInfo

import click
import pytest
from msgspec import convert

from app.cli.main import main
from app.config import Settings
from app.core.net.egress import Egress
from app.core.schedule.cron_parser import parse
from app.core.schedule.cron_words import cron_in_words
from app.core.schedule.schedule import Schedule, first_run
from app.errors import InvalidInput
from app.targets.registry import decode_target
from tests.support.pages import ROOT

BLOCK = re.compile(r"^ *```(?:sh|bash|yaml)\n(.*?)^ *```", re.MULTILINE | re.DOTALL)
PAGES = [
    *(ROOT / name for name in ("README.md", "CONTRIBUTING.md")),
    *sorted((ROOT / "docs").rglob("*.md")),
    *sorted((ROOT / "clients").glob("*/README.md")),
]
ENDS = re.compile(r"[|&;()<>]+")


def commands_of_ours(text: str) -> Iterator[list[str]]:
    """Yield the words of each `tocsin` in lines of a shell, without pipes and redirections."""
    for line in text.replace("\\\n", " ").splitlines():
        if "tocsin" not in line:
            continue
        lexer = shlex.shlex(line, posix=True, punctuation_chars=True)
        lexer.whitespace_split = True
        try:
            words = [*lexer]
        except ValueError:  # quotes that end on another line, of programs that are not ours
            continue
        command: list[str] = []
        for word in [*words, ";"]:
            if ENDS.fullmatch(word):
                if is_ours(command):
                    yield command
                command = ["FILE"] if word in {"<", ">", ">>"} else []
            else:
                command.append(word)


def is_ours(words: list[str]) -> bool:
    while words and (re.match(r"[A-Z_]+=", words[0]) or words[0] in {"-", "run:"}):
        words.pop(0)
    return bool(words) and words[0].rpartition("/")[2] == "tocsin" and words[1:] != []


def test_every_command_on_any_page_is_one_with_its_options() -> None:
    found, wrong = 0, []
    for page in PAGES:
        for block in BLOCK.findall(page.read_text("utf-8")):
            for words in commands_of_ours(block):
                found += 1
                try:
                    parse_command(words[1:])
                except click.ClickException as error:
                    wrong.append((page.name, words, error.format_message()))

    assert wrong == []
    assert found > 120


def parse_command(words: list[str]) -> None:
    """Read a command line as `tocsin` does.

    Raises:
        ClickException: there is no such command or option, or something is missing.
    """
    command, rest = command_of(words)
    command.make_context(str(command.name), rest)


def command_of(words: list[str]) -> tuple[click.Command, list[str]]:
    """Return the command, or the group, that words begin with, and the words that are left.

    Raises:
        UsageError: there is none.
    """
    command: click.Command = main
    context = click.Context(main, info_name="tocsin")
    while isinstance(command, click.Group) and words and words[0][:1].islower():
        name, *words = words
        found = command.get_command(context, name)
        if found is None:
            message = f"no such command: {name}"
            raise click.UsageError(message)
        command = found
    return command, words


SPOKEN_OF = re.compile(r"`tocsin ([a-z][^`\n]*)`")
NO_COMMANDS = {"traces …"}  # of sessions of Postgres
PLACES = [
    *PAGES,
    *sorted((ROOT / "app").rglob("*.py")),
    *sorted((ROOT / "db").rglob("*.sql")),
    *sorted((ROOT / "app").rglob("*.html")),
]


def test_every_command_that_is_spoken_of_exists_with_its_options() -> None:
    found, wrong = 0, []
    for place in PLACES:
        for said in {*SPOKEN_OF.findall(place.read_text("utf-8"))} - NO_COMMANDS:
            found += 1
            words = said.split()
            try:
                command, rest = command_of(words)
            except click.UsageError as error:
                wrong.append((place.name, said, error.format_message()))
                continue
            there = {name for one in command.params for name in one.opts} | {"--help", "--version"}
            named = {one.partition("=")[0].rstrip(",;.") for one in rest if one[:2] == "--"}
            if named - there:
                wrong.append((place.name, said, str(named - there)))

    assert wrong == []
    assert found > 150


def text_blocks(page: str) -> list[str]:
    text = (ROOT / "docs" / page).read_text("utf-8")
    return re.findall(r"^```text\n(.*?)^```", text, re.DOTALL | re.MULTILINE)


def test_the_refusal_on_the_page_of_targets_is_the_one_that_is_given() -> None:
    [shown] = text_blocks("targets.md")

    with pytest.raises(InvalidInput) as refusal:
        decode_target("http", {"url": "https://example.com", "headers": {"Host": "x"}})

    assert str(refusal.value) == shown.strip()


def test_the_refusal_on_the_page_of_security_is_the_one_that_is_given() -> None:
    [shown] = text_blocks("security.md")

    said = Egress.from_settings(Settings()).verdict("10.1.2.3", port=443, host="intranet.example")

    assert said == " ".join(shown.split())


def test_the_refusal_on_the_page_of_files_is_the_one_that_is_given() -> None:
    [shown] = [one for one in text_blocks("files.md") if ".cron: " in one]

    with pytest.raises(InvalidInput) as refusal:
        parse("61 3 * * *", job_id=uuid4())

    assert shown.strip().endswith(f"nightly-invoice.{refusal.value}")


def test_the_words_on_the_page_of_schedules_are_those_that_are_said() -> None:
    page = " ".join((ROOT / "docs" / "schedules.md").read_text("utf-8").split())
    [(cron, words)] = re.findall(r'so `([^`]+)` is "([^"]+)"', page)

    assert cron_in_words(parse(cron, job_id=uuid4())).lower() == words


def test_the_odd_days_on_the_page_of_schedules_are_planned_so() -> None:
    page = (ROOT / "docs" / "schedules.md").read_text("utf-8")
    [gap] = re.findall(r"`(dst_gap): (\w+)` \(default\) \| runs at (\d\d:\d\d), the first", page)
    overlaps = re.findall(
        r"`(dst_overlap): (\w+)`(?: \(default\))? \| runs at (\d\d:\d\d) UTC", page
    )

    assert [first(30, 2, "2026-03-08T05:00Z", gap, in_zone=True)] == [gap[2]]
    assert len(overlaps) == 2
    assert [first(30, 1, "2026-11-01T04:00Z", one) for one in overlaps] == [
        one[2] for one in overlaps
    ]


def first(
    minute: int, hour: int, after: str, choice: tuple[str, str, str], *, in_zone: bool = False
) -> str:
    """Return the time of the first run in New York after an instant, in UTC or as clocks show."""
    name, value, _ = choice
    zone = "America/New_York"
    schedule = convert({"cron": f"{minute} {hour} * * *", "timezone": zone, name: value}, Schedule)
    run = first_run(schedule, job_id=uuid4(), now=datetime.fromisoformat(after))
    assert run is not None
    return f"{run.astimezone(ZoneInfo(zone) if in_zone else UTC):%H:%M}"
