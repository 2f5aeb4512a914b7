"""The examples on the page of overlap are what happens."""

import re
from datetime import datetime, timedelta
from typing import Any

import pytest
from msgspec import convert
from msgspec.structs import replace

from app.core.runs.claim import Claim, Misfire, MisfirePolicy, Overlap, Settlement
from app.core.runs.misfire import Attendance, missed
from app.core.runs.outcome import Outcome, Report
from app.core.runs.overlap import superseded_at
from app.core.runs.transition import settled
from app.core.runs.unexecuted import superseded
from app.scheduler.endings import Ending
from tests.support.claims import DUE, some_claim
from tests.support.pages import ROOT

LONG_END = DUE + timedelta(minutes=3, seconds=30)
END = DUE + timedelta(minutes=5)
SECOND = timedelta(seconds=1)


def examples() -> list[tuple[str, str, str, str, str]]:
    page = (ROOT / "docs" / "overlap.md").read_text("utf-8")
    lines = page.split("## Which of the two decides")[1].split("##")[0].splitlines()
    rows = [re.split(r" *\| *", line.strip("| ")) for line in lines if line.startswith("|")]
    return [(*row, "", "", "")[:5] for row in rows[2:]]  # type: ignore[misc]


def settings_of(text: str) -> dict[str, Any]:
    given = dict(re.findall(r"`(\w+): (\w+)`", text))
    misfire = convert(given.get("misfire", "run_once"), Misfire)
    return {
        "overlap": convert(given.get("overlap", "buffer_all"), Overlap),
        "late": MisfirePolicy(misfire=misfire, grace_seconds=None, max_catchup=100),
    }


def simulate(claim: Claim, *, now: datetime, long_end: datetime | None) -> list[Settlement]:
    """Carry out the runs of a claim's job up to 12:04, of which each takes a second."""
    done = []
    here = Attendance(instance="one")
    while claim.next_run < END:
        now = max(now, claim.next_run)
        claim = replace(claim, claimed_at=now)
        settlement = missed(claim, now=now, attendance=here)
        if settlement is None:
            settlement = superseded(claim, now=now, instance="one")
        if settlement is None:
            ended_at = now + SECOND if long_end is None else long_end
            report = Report(outcome=Outcome.SUCCEEDED)
            due = superseded_at(claim, now=now)
            if due is not None and due < ended_at:
                ended_at, report = due, Ending.OVERLAP.report(timeout_seconds=600)
            settlement = settled(
                claim,
                report,
                started_at=now,
                finished_at=ended_at,
                instance="one",
                jitter=0.5,
            )
            now, long_end = ended_at, None
        done.append(settlement)
        assert settlement.next_run is not None
        claim = replace(
            claim,
            next_run=settlement.next_run,
            scheduled_for=settlement.next_run,
            last_outcome=settlement.last_outcome,
            last_finished_at=settlement.last_finished_at,
        )
    return done


def test_there_are_examples_of_each_policy() -> None:
    named = {policy for row in examples() for policy in re.findall(r"`\w+: (\w+)`", row[1])}

    assert named == set(Overlap) | set(Misfire)


@pytest.mark.parametrize("row", examples(), ids=lambda row: f"{row[0]}, {row[1]}")
def test_what_the_table_says_happens(row: tuple[str, str, str, str, str]) -> None:
    what, setting, carried_out, missed_runs, reasons = row
    if "allow_all" in setting:  # see tests/integration/test_parallel_runs.py
        assert (carried_out, missed_runs) == ("12:00, 12:01, 12:02, 12:03, 12:04", "")
        return
    long = "end at 12:03:30" in what or "ends at 12:03:30" in what

    executions = [
        one
        for settlement in simulate(
            some_claim(**settings_of(setting)),
            now=DUE if long else LONG_END,
            long_end=LONG_END if long else None,
        )
        for one in settlement.executions
    ]

    ran = [one for one in executions if one.outcome is not Outcome.MISSED]
    told = [
        f"{one.scheduled_for:%H:%M}"
        + (f" at {one.started_at:%H:%M:%S}" if one.started_at != one.scheduled_for else "")
        + (f" until {one.finished_at:%H:%M}" if one.outcome is Outcome.CANCELLED else "")
        for one in ran
    ]
    assert ", ".join(told) == carried_out
    dropped = [one for one in executions if one.outcome is Outcome.MISSED]
    assert ", ".join(f"{one.scheduled_for:%H:%M}" for one in dropped) == missed_runs
    assert ", ".join(dict.fromkeys(f"`{one.reason}`" for one in dropped)) == reasons
