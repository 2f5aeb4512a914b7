"""What the vital signs of a database mean."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from msgspec.structs import replace

from app.core.health import (
    UnsoundRuns,
    Vitals,
    findings,
    others_finding,
    rights_finding,
    runs_finding,
    sequences_finding,
    transport_findings,
    upkeep_finding,
)
from app.core.session_health import OtherSession, session_findings
from app.dsn import parse

NOW = datetime(2026, 11, 24, 12, 0, tzinfo=UTC)
WELL = Vitals(
    database_now=NOW,
    server_version="18.6",
    standby=False,
    synchronous_commit="on",
    notification_queue_usage=0.0,
    instances=2,
    overdue_seconds=0.0,
    stuck_lease_seconds=0.0,
    unplanned_seconds=0.0,
    missing_partitions=0,
    default_rows=0,
    expired_days=0,
    prepared_transactions=[],
    waking_triggers=2,
    untrusted_seconds=3600.0,
    newest_ahead_seconds=-5.0,
)


def test_a_pause_of_everything_is_told_with_its_end() -> None:
    paused = replace(WELL, paused="2026-11-24 11:00:00 UTC. By user me: maintenance")

    [found] = [one for one in findings(paused, host_now=NOW) if one.remedy]

    assert (found.subject, "maintenance" in found.found) == ("pause", True)
    assert "resume_all" in found.remedy


def test_a_healthy_database_needs_no_remedy() -> None:
    assert [one.subject for one in findings(WELL, host_now=NOW) if one.remedy] == []


@pytest.mark.parametrize(
    ("sign", "subject", "remedy"),
    [
        ({"standby": True}, "connection", "primary"),
        ({"synchronous_commit": "off"}, "durability", "Set it to on"),
        ({"database_now": NOW - timedelta(hours=1)}, "clock", "NTP"),
        ({"untrusted_seconds": 60 * 86_400.0}, "clock steps", "NTP"),
        ({"newest_ahead_seconds": 300.0}, "clock steps", "next_run"),
        ({"instances": 0}, "instances", "tocsin scheduler"),
        ({"overdue_seconds": 90.0}, "due jobs", "TOCSIN_CONCURRENCY"),
        ({"stuck_lease_seconds": 90.0}, "leases", "kind"),
        ({"unplanned_seconds": 90.0}, "planning", "Start an instance"),
        ({"unplanned_seconds": 90.0}, "planning", "triggers of others"),
        ({"missing_partitions": 1}, "partitions", "add_partitions"),
        ({"default_rows": 1}, "history", "add_partitions"),
        ({"expired_days": 3}, "history", "pg_stat_activity"),
        ({"prepared_transactions": ["'x' since then"]}, "prepared", "rollback prepared"),
        ({"waking_triggers": 1}, "triggers", "triggers.sql"),
        ({"notification_queue_usage": 0.6}, "notification queue", "pg_stat_activity"),
    ],
)
def test_each_bad_sign_has_a_remedy(sign: dict[str, Any], subject: str, remedy: str) -> None:
    troubled = [one for one in findings(replace(WELL, **sign), host_now=NOW) if one.remedy]

    assert [one.subject for one in troubled] == [subject]
    assert remedy in troubled[0].remedy


@pytest.mark.parametrize(
    ("address", "warns"),
    [
        ("postgresql://u:p@db/d", True),
        ("postgresql://u:p@db/d?sslmode=require", True),
        ("postgresql://u:p@192.0.2.1,localhost/d?sslmode=allow", True),
        ("host=/run/postgresql,db user=u", True),
        ("postgresql://u:p@db/d?sslmode=verify-full", False),
        ("postgresql://u:p@db/d?sslrootcert=system", False),
        ("postgresql://u:p@db/d?sslmode=verify-ca", False),
        ("postgresql://u:p@db/d?sslmode=disable", False),
        ("postgresql://u:p@localhost/d", False),
        ("postgresql://u:p@127.0.0.2,[::1]/d", False),
        ("postgresql:///d?host=/run/postgresql", False),
        ("postgresql://", False),
    ],
)
def test_a_database_that_need_not_prove_who_it_is_is_warned_of(address: str, warns: bool) -> None:  # noqa: FBT001 - a case of the table
    found = list(transport_findings(parse(address)))

    assert [one.subject for one in found] == ["transport"] * warns
    assert not any(one.grave for one in found)
    assert all("verify-full" in one.remedy and "p@" not in one.found for one in found)


def test_sequences_that_are_behind_come_with_the_statement_that_moves_them() -> None:
    found = sequences_finding([("executions_id_seq", 7000)])

    assert "select setval('tocsin.executions_id_seq', 7000);" in found.remedy
    assert sequences_finding([]).remedy == ""


def test_what_keeps_the_upkeep_from_its_end_is_said() -> None:
    found = upkeep_finding(["jobs: 3 rows refuse to go"])

    assert (found.found, bool(found.remedy)) == ("jobs: 3 rows refuse to go", True)
    assert upkeep_finding([]).remedy == ""


@pytest.mark.parametrize(
    ("lacks", "found", "remedy"),
    [
        ({}, "this role can run instances and serve the API", ""),
        ({"upkeep": "DELETE on tocsin.jobs"}, "run instances", "DELETE on tocsin.jobs"),
        ({"instance": "SELECT on x", "upkeep": "y"}, "can serve the API", ""),
        ({"instance": "SELECT on x", "api": "z"}, "do neither", "SELECT on x"),
        ({"sight": "membership in r"}, "not see other roles' sessions", ""),
    ],
)
def test_rights_are_judged_by_what_they_are_for(
    lacks: dict[str, str], found: str, remedy: str
) -> None:
    lacking = dict.fromkeys(("instance", "upkeep", "api", "sight"), "") | lacks

    finding = rights_finding(**lacking)

    assert found in finding.found
    assert (remedy in finding.remedy, bool(finding.remedy)) == (True, bool(remedy))


def test_a_trigger_of_others_is_named_with_what_it_can_do() -> None:
    found = others_finding(["trigger set_updated_at on tocsin.jobs"])

    assert found.found == "trigger set_updated_at on tocsin.jobs"
    assert "before update of" in found.remedy
    assert not found.grave
    assert others_finding([]).remedy == ""


IDLE = OtherSession(
    pid=7,
    user="ann",
    application_name="psql",
    state="idle in transaction",
    seconds=4000.0,
    table_locks=[],
    waiting_locks=[],
    locks_rows=False,
)


@pytest.mark.parametrize(
    ("session", "subjects"),
    [
        (IDLE, ["transactions"]),
        (replace(IDLE, seconds=20.0), []),
        (replace(IDLE, seconds=20.0, locks_rows=True), ["row locks"]),
        (replace(IDLE, seconds=20.0, table_locks=["ShareLock on tocsin.jobs"]), ["table locks"]),
        (replace(IDLE, seconds=0.0, waiting_locks=["ShareLock on tocsin.jobs"]), ["table locks"]),
        (replace(IDLE, seconds=0.5, table_locks=["ShareLock on tocsin.jobs"]), []),
    ],
)
def test_a_session_that_is_in_the_way_is_named_with_what_ends_it(
    session: OtherSession, subjects: list[str]
) -> None:
    found = [one for one in session_findings([session]) if one.remedy]

    assert [one.subject for one in found] == subjects
    for one in found:
        assert "pid 7 (user ann, 'psql'): idle in transaction" in one.found
        assert "select pg_terminate_backend(7);" in one.remedy


def test_runs_that_disagree_with_their_jobs_are_named_with_what_is_wrong() -> None:
    problem = "pending_runs is 2, and it has 1"
    jobs = [UnsoundRuns(called=f"job-{n}", problem=problem) for n in range(5)]

    found = runs_finding(jobs)

    assert found.found == (
        f"5 of the newer jobs disagree with their runs: job-0 ({problem}), job-1 ({problem}), "
        f"job-2 ({problem})"
    )
    assert "tocsin prune" in found.remedy
    assert runs_finding([]).remedy == ""
