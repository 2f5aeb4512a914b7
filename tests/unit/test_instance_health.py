"""What instances leave alone and leave behind, in words."""

from datetime import UTC, datetime

from app.core.instance_health import MAX_NAMED, HeldLeases, RestingJobs, instance_findings

RESTING = RestingJobs(instance="host:1:a", jobs=1200, example="nightly", problem="no")
HELD = HeldLeases(instance="host:2:b", jobs=3, until=datetime(2026, 11, 24, 12, 0, 5, tzinfo=UTC))


def test_where_nothing_is_left_all_is_well() -> None:
    assert [one.remedy for one in instance_findings([], [])] == ["", ""]


def test_jobs_that_are_left_alone_need_a_remedy() -> None:
    alone, _ = instance_findings([RESTING], [])

    assert alone.found == "host:1:a leaves 1200 alone, such as nightly (no)"
    assert alone.grave
    assert "pause them" in alone.remedy


def test_leases_of_an_instance_that_is_gone_end_by_themselves() -> None:
    _, gone = instance_findings([], [HELD])

    assert gone.found == (
        "instance host:2:b is gone, 3 jobs wait for its lease until 2026-11-24 12:00:05 UTC"
    )
    assert not gone.grave
    assert "set locked_until = null" in gone.remedy


def test_of_many_instances_a_few_are_named() -> None:
    alone, gone = instance_findings([RESTING] * 100, [HELD] * 100)

    assert alone.found.count("host:1:a") == gone.found.count("host:2:b") == MAX_NAMED
