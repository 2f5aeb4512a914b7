"""The checker finds what it is there to find."""

from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from typing import Any
from uuid import UUID

import pytest
from msgspec.structs import replace

from tests.faults.whole import defined, lacking
from tests.support.checker import Findings, Recorded, Row, judge, runs_between, table
from tests.support.ledger import Delivery, Fault, Ledger, key_of

JOB = UUID(int=7)
DUE = datetime(2026, 11, 24, 12, tzinfo=UTC)
KEY = key_of(JOB, DUE)


def delivery(id: int, arrived: float, ended: float | None, status: int | None = 200) -> Delivery:
    return Delivery(
        key=KEY, execution_id=id, attempt=1, arrived=arrived, ended=ended, status=status
    )


def recorded(id: int, outcome: str, **changes: datetime) -> Recorded:
    return Recorded(id=id, job_id=JOB, scheduled_for=DUE, attempt=1, outcome=outcome, **changes)


def test_one_delivery_that_is_recorded_is_clean() -> None:
    found = judge([KEY], [delivery(1, 0.0, 1.0)], [recorded(1, "succeeded")])

    found.assert_clean()
    assert (found.promised, found.explained, found.recorded) == (1, 0, 0)


BAD = {
    "lost": judge([KEY], [], []),
    "overlapping": judge(
        [KEY],
        [delivery(1, 0.0, 5.0), delivery(2, 4.0, 6.0)],
        [recorded(1, "failed"), recorded(2, "succeeded")],
    ),
    "overlapping_for_ever": judge(
        [KEY],
        [delivery(1, 0.0, None, None), delivery(2, 4.0, 6.0)],
        [recorded(1, "timed_out"), recorded(2, "succeeded")],
    ),
    "unexplained": judge(
        [KEY],
        [delivery(1, 0.0, 1.0), delivery(2, 4.0, 6.0)],
        [recorded(1, "succeeded"), recorded(2, "succeeded")],
    ),
    "unexplained_resend": judge(
        [KEY], [delivery(1, 0.0, 1.0), delivery(1, 4.0, 6.0)], [recorded(1, "lost")]
    ),
    "unrecorded": judge([KEY], [delivery(1, 0.0, 1.0)], []),
    "stuck": judge([], [], [], stuck=["a job"]),
}


@pytest.mark.parametrize("what", BAD)
def test_every_breach_is_found(what: str) -> None:
    with pytest.raises(AssertionError):
        BAD[what].assert_clean()

    field = what.removesuffix("_for_ever").removesuffix("_resend")
    assert getattr(BAD[what], field)


@pytest.mark.parametrize("outcome", ["missed", "failed"])
def test_a_run_that_a_row_accounts_for_is_not_lost(outcome: str) -> None:
    assert judge([KEY], [], [recorded(1, outcome)]).lost == []


def test_one_row_may_account_for_many_missed_runs() -> None:
    row = recorded(1, "missed", missed_until=DUE + timedelta(minutes=5))
    inside = key_of(JOB, DUE + timedelta(minutes=5))
    outside = key_of(JOB, DUE + timedelta(minutes=6))

    assert judge([inside, outside], [], [row]).lost == [outside]


def test_a_delivery_after_a_lost_lease_is_explained_even_while_the_first_goes_on() -> None:
    found = judge(
        [KEY],
        [delivery(1, 0.0, 9.0), delivery(2, 4.0, 6.0)],
        [recorded(1, "lost"), recorded(2, "succeeded")],
    )

    found.assert_clean()
    assert (found.explained, found.recorded) == (1, 0)


def test_a_retry_that_the_receiver_asked_for_is_no_duplicate() -> None:
    found: Findings = judge(
        [KEY],
        [delivery(1, 0.0, 1.0, 503), delivery(2, 4.0, 6.0)],
        [recorded(1, "failed"), recorded(2, "succeeded")],
    )

    found.assert_clean()
    assert (found.explained, found.recorded) == (0, 0)


def test_the_oracle_names_every_second() -> None:
    instants = list(runs_between("* * * * * *", DUE, DUE + timedelta(seconds=3)))

    assert instants == [DUE + timedelta(seconds=1), DUE + timedelta(seconds=2)]


def test_what_a_dead_instance_was_executing_is_recovered_when_it_is_attempted_again() -> None:
    ledger = Ledger()
    ledger.deliveries = [delivery(1, 0.0, 1.0, None), delivery(2, 3.5, 4.0)]
    other = Delivery(key="other", execution_id=3, attempt=1, arrived=1.2, ended=1.3, status=200)
    ledger.deliveries.append(other)
    ledger.faults = [
        Fault(what="kill -9", began=0.9, healed=1.0, within=2.0, orphans=True),
        Fault(what="a cut", began=0.9, healed=1.0, within=2.0),
    ]

    assert ledger.recoveries() == pytest.approx([2.5, 0.2])
    assert ledger.late() == ["kill -9: 2.50 s, promised 2 s"]


@pytest.mark.parametrize(
    ("again", "recoveries"),
    [(3.0, [1.0, 1.0]), (5.5, [6.0, 1.0])],
    ids=["puts recovery off while there is time for it", "is no excuse later"],
)
def test_a_fault_that_strikes_before_recovery(again: float, recoveries: list[float]) -> None:
    ledger = Ledger()
    ledger.deliveries = [delivery(1, 0.0, 0.1), delivery(2, 8.0, 8.1)]
    ledger.faults = [
        Fault(what="away", began=1.0, healed=2.0, within=3.0),
        Fault(what="away", began=again, healed=7.0, within=3.0),
    ]

    assert ledger.recoveries() == pytest.approx(recoveries)


def test_the_table_ends_with_its_sums() -> None:
    found = judge([KEY], [delivery(1, 0.0, 1.0)], [recorded(1, "succeeded")])
    row = Row(case="one", faults=2, findings=found, recoveries=[1.0, float("inf")])
    punctual = replace(row, latest=0.25)

    lines = table([row, punctual]).splitlines()

    assert lines[-3:] == [
        "| one | 2 | 1 | 0 | 0 | 0 + 0 | 0 | 1.0 | 1.0 |  |  |",
        "| one | 2 | 1 | 0 | 0 | 0 + 0 | 0 | 1.0 | 1.0 |  | 0.25 |",
        "| all | 4 | 2 | 0 | 0 | 0 + 0 | 0 | 1.0 | 1.0 |  | 0.25 |",
    ]


@pytest.mark.parametrize(
    ("options", "args", "left_out", "failed", "lacks"),
    [
        ({}, ["tests/faults"], 0, 0, ""),
        ({}, ["tests/faults"], 0, 2, "2 tests failed"),
        ({}, ["tests/faults"], 1, 0, "1 tests did not run, such as test_"),
        ({}, ["tests/faults/test_names.py"], 50, 0, "50 tests did not run"),
        ({"keyword": "frozen"}, ["tests/faults"], 0, 0, "left out by --keyword"),
        ({"maxfail": 1}, ["tests/faults"], 0, 0, "left out by --maxfail"),
        ({}, ["tests/faults/test_names.py::test_x[a]"], 0, 0, "left out by tests/faults/test_n"),
    ],
)
def test_a_part_of_the_fault_suite_is_not_taken_for_all_of_it(
    options: dict[str, object], args: list[str], left_out: int, failed: int, lacks: str
) -> None:
    config: Any = SimpleNamespace(option=SimpleNamespace(**options), args=args)
    passed = [f"tests/faults/{one}[a/b]" for one in sorted(defined())[left_out:]]

    said = lacking(config, passed, failed=failed)

    assert lacks in said
    assert bool(said) is bool(lacks)
