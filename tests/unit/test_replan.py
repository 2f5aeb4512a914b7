from datetime import UTC, datetime
from pathlib import Path
from uuid import UUID

import pytest

from app.core.schedule.replan import Planned, replanned
from app.core.schedule.schedule import Schedule
from app.core.schedule.spread import PlannedRun
from app.core.schedule.zone_rules import Rules, choose_rules
from tests.support.zones import ALWAYS_WEST_7, ALWAYS_WEST_8, VANCOUVER, zone_tree

NOW = datetime(2026, 12, 14, 20, tzinfo=UTC)
JOB = UUID(int=7)


@pytest.fixture
def west_8(tmp_path: Path) -> Rules:
    return choose_rules(str(zone_tree(tmp_path / "8", "2025b", ALWAYS_WEST_8)))


@pytest.fixture
def west_7(tmp_path: Path) -> Rules:
    return choose_rules(str(zone_tree(tmp_path / "7", "2026f", ALWAYS_WEST_7)))


@pytest.mark.parametrize(
    ("cron", "next_run", "moved_to"),
    [
        ("0 3 * * *", "2026-12-15T11:00", "2026-12-15T10:00"),
        ("0 3,4 * * *", "2026-12-15T11:00", "2026-12-15T10:00"),
        ("0 3 1 1 *", "2027-01-01T11:00", "2027-01-01T10:00"),
        ("0 */2 * * *", "2026-12-14T22:00", "2026-12-14T21:00"),
        ("0 * * * *", "2026-12-14T21:00", None),
        ("30 13 * * *", "2026-12-14T21:30", "2026-12-14T20:30"),
    ],
)
def test_a_run_is_where_the_clocks_show_its_time_by_the_new_rules(
    west_8: Rules, west_7: Rules, cron: str, next_run: str, moved_to: str | None
):
    plan = planned(cron, next_run)

    there = replanned(plan, now=NOW, old=west_8, new=west_7)
    assert there == (at(moved_to) if moved_to else None)

    again = planned(cron, moved_to or next_run)
    assert replanned(again, now=NOW, old=west_7, new=west_7) is None


@pytest.mark.parametrize(
    "next_run", ["2026-12-15T12:00", "2026-12-15T10:00", "2026-12-15T11:00:00.5"]
)
def test_a_run_that_a_person_moved_off_the_schedule_stays(
    west_8: Rules, west_7: Rules, next_run: str
):
    assert replanned(planned("0 3 * * *", next_run), now=NOW, old=west_8, new=west_7) is None


def test_a_run_that_a_person_moved_days_on_keeps_its_wall_time(west_8: Rules, west_7: Rules):
    plan = planned("0 3 * * *", "2026-12-24T11:00")

    assert replanned(plan, now=NOW, old=west_8, new=west_7) == at("2026-12-24T10:00")


def test_a_run_that_is_due_stays(west_8: Rules, west_7: Rules):
    now = instant("2026-12-15T11:00")

    assert (
        replanned(planned("0 3 * * *", "2026-12-15T11:00"), now=now, old=west_8, new=west_7) is None
    )


def test_bounds_hold_by_the_new_rules_too(west_8: Rules, west_7: Rules):
    plan = planned(
        "0 3 * * *",
        "2026-12-15T11:00",
        starts_at=instant("2026-12-15T10:30"),
        ends_at=instant("2026-12-15T12:00"),
    )

    assert replanned(plan, now=NOW, old=west_8, new=west_7) is None, "nothing would be left"


def test_a_zone_that_the_old_rules_did_not_have_says_nothing(west_7: Rules):
    old = Rules(source="none", version="2000a", read=lambda _: None, names=list)

    assert replanned(planned("0 3 * * *", "2026-12-15T11:00"), now=NOW, old=old, new=west_7) is None


def planned(cron: str, next_run: str, **bounds: datetime) -> Planned:
    schedule = Schedule(cron=cron, timezone=VANCOUVER, **bounds)
    return Planned(job_id=JOB, schedule=schedule, run=at(next_run))


def at(text: str) -> PlannedRun:
    return PlannedRun(scheduled_for=instant(text), next_run=instant(text))


def instant(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=UTC)
