"""What the vital signs of a database mean."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from msgspec.structs import replace

from app.core.health import Vitals, findings, transport_findings
from app.dsn import parse

NOW = datetime(2026, 11, 24, 12, 0, tzinfo=UTC)
WELL = Vitals(
    database_now=NOW,
    server_version="18.6",
    standby=False,
    synchronous_commit="on",
    notification_queue_usage=0.0,
    instances=2,
    longest_transaction_seconds=1.0,
    overdue_seconds=0.0,
    stuck_lease_seconds=0.0,
    unplanned_seconds=0.0,
    missing_partitions=0,
    ringing_triggers=2,
)


def test_a_healthy_database_needs_no_remedy() -> None:
    assert [one.subject for one in findings(WELL, host_now=NOW) if one.remedy] == []


@pytest.mark.parametrize(
    ("sign", "subject", "remedy"),
    [
        ({"standby": True}, "connection", "primary"),
        ({"synchronous_commit": "off"}, "durability", "Set it to on"),
        ({"database_now": NOW - timedelta(hours=1)}, "clock", "NTP"),
        ({"instances": 0}, "instances", "tocsin scheduler"),
        ({"overdue_seconds": 90.0}, "due jobs", "TOCSIN_CONCURRENCY"),
        ({"stuck_lease_seconds": 90.0}, "leases", "kind"),
        ({"unplanned_seconds": 90.0}, "planning", "Start an instance"),
        ({"missing_partitions": 1}, "partitions", "add_partitions"),
        ({"ringing_triggers": 1}, "triggers", "triggers.sql"),
        ({"notification_queue_usage": 0.6}, "notification queue", "pg_stat_activity"),
        ({"longest_transaction_seconds": 4000.0}, "transactions", "vacuumed"),
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
