"""The answers that pages of the docs show are those that are given."""

import re
from datetime import UTC, datetime
from uuid import uuid4
from zoneinfo import ZoneInfo

import pytest
from msgspec import convert

from app.config import Settings
from app.core.net.egress import Egress
from app.core.schedule.cron_parser import parse
from app.core.schedule.cron_words import cron_in_words
from app.core.schedule.schedule import Schedule, first_run
from app.errors import InvalidInput
from app.targets.registry import decode_target
from tests.support.pages import ROOT


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
