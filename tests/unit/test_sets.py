"""Sets of jobs: how they are written, what differs, which runs fall away, what a plan is."""

import re
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID, uuid4

import pytest
from msgspec import UNSET
from msgspec.structs import replace

from app.core.field_paths import joined
from app.core.schedule.schedule import Schedule
from app.core.sets.differences import changes
from app.core.sets.plan import (
    Action,
    Member,
    MemberKind,
    Prune,
    Step,
    owner_conflict,
    plan_of,
    planned_change,
    removal,
    taken_over,
)
from app.core.sets.runs import Course, runs_change
from app.core.sets.shorthand import (
    at_length,
    completed,
    defaults_for,
    in_short,
    kind_in,
    placed,
    steps_of,
)
from app.errors import FieldError, InvalidInput

KINDS = ("amqp", "check", "http")
NOON = datetime(2030, 1, 1, 12, tzinfo=UTC)
HOUR = timedelta(hours=1)
MEMBER = Member(
    kind=MemberKind.JOB, name="a", set_name="s", job_id=uuid4(), applied={}, removed_at=None
)


def hourly(minute: int) -> Course:
    schedule = Schedule(cron=f"{minute} * * * *")
    return Course(job_id=UUID(int=0), schedule=schedule, first=NOON + timedelta(minutes=minute))


def test_defaults_complete_objects_and_give_way_to_what_is_said() -> None:
    defaults = {"tags": ["x"], "http": {"headers": {"A": "1", "B": "2"}}, "amqp": {"url": "u"}}
    job = {"tags": [], "http": {"url": "v", "headers": {"B": "3"}}}

    whole = completed(defaults_for(defaults, job, KINDS), job)

    assert whole == {"tags": [], "http": {"url": "v", "headers": {"A": "1", "B": "3"}}}


def test_a_kind_is_said_once() -> None:
    assert kind_in({"http": {}}, KINDS) == "http"
    assert kind_in({"kind": "http", "target": {}}, KINDS) is None
    for given in ({"http": {}, "amqp": {}}, {"http": {}, "kind": "http"}):
        with pytest.raises(InvalidInput, match=r"is (given|said)"):
            kind_in(given, KINDS)


def test_a_file_has_neither_a_name_inside_nor_a_delay() -> None:
    with pytest.raises(
        InvalidInput, match=r"run_in_seconds: .*; name: |name: .*; run_in_seconds: "
    ):
        at_length({"name": "a", "run_in_seconds": 5, "http": {}}, "http")


def test_what_is_written_in_short_is_the_same_at_length() -> None:
    job = {"cron": "0 3 * * *", "kind": "http", "target": {"url": "u"}}

    assert at_length(in_short(job), "http") == job
    assert in_short({"kind": "tags", "target": {}, "tags": []})["kind"] == "tags"


@pytest.mark.parametrize(
    ("field", "kind", "expected"),
    [
        ("target.url", "http", "jobs.a.http.url"),
        ("target", "http", "jobs.a.http"),
        ("target.url", None, "jobs.a.target.url"),
        ("targets", "http", "jobs.a.targets"),
        ("$", "http", "jobs.a"),
    ],
)
def test_an_error_names_the_field_of_the_file(field: str, kind: str | None, expected: str) -> None:
    error = placed(FieldError(field=field, message="m"), "jobs", "a", kind=kind)

    assert error.field == expected


@pytest.mark.parametrize(
    "steps", [["jobs", "a"], ["jobs", "a.b", "tags", 0], ["a]", 'q"', "$", ""], [3, "x"], []]
)
def test_a_path_is_read_back_into_its_steps(steps: list[str | int]) -> None:
    assert steps_of(joined("", *steps)) == steps


@pytest.mark.parametrize(
    ("before", "after", "applied", "expected"),
    [
        ({"n": 1}, {"n": 1}, {"n": 2}, []),
        ({"n": 1}, {"n": True}, None, [("n", 1, True, False)]),
        ({"n": 1}, {"n": 2}, {"n": 1}, [("n", 1, 2, False)]),
        ({"n": 3}, {"n": 2}, {"n": 2}, [("n", 3, 2, True)]),
        (
            {"t": {"a": 1}},
            {"t": {"b": 1}},
            None,
            [("t.a", 1, UNSET, False), ("t.b", UNSET, 1, False)],
        ),
        ({"t": {"a": 1}}, {"t": {}}, {"t": {}}, [("t.a", 1, UNSET, True)]),
        ({"t": {}}, {"t": {"a": 1}}, {"t": {"a": 1}}, [("t.a", UNSET, 1, True)]),
        ({"t": None}, {"t": {"a": 1}}, None, [("t", None, {"a": 1}, False)]),
    ],
)
def test_what_differs_is_named_by_field_and_what_drifted_is_marked(
    before: dict[str, Any], after: dict[str, Any], applied: dict[str, Any] | None, expected: object
) -> None:
    found = changes(before, after, applied)

    assert [(one.field, one.before, one.after, one.drift) for one in found] == expected


def test_runs_that_the_new_schedule_has_later_do_not_fall_away() -> None:
    hours = hourly(0)
    quarters = replace(hours, schedule=Schedule(cron="*/15 * * * *"))

    change = runs_change(hours, quarters)

    assert change.before == [NOON + HOUR * n for n in range(5)]
    assert change.after == [NOON + HOUR / 4 * n for n in range(5)]
    assert change.dropped == []


def test_runs_of_another_minute_and_of_a_deleted_job_fall_away() -> None:
    assert runs_change(hourly(0), hourly(30)).dropped == [NOON + HOUR * n for n in range(5)]
    gone = runs_change(hourly(0), None)
    assert (gone.dropped, gone.after) == (gone.before, [])
    assert runs_change(None, hourly(0)).dropped == []


@pytest.mark.parametrize(
    ("first", "said"),
    [
        (datetime(2030, 3, 30, 1, 30, tzinfo=UTC), "forward by 60 minutes at 2030-03-31 01:00 UTC"),
        (datetime(2030, 10, 27, 0, 30, tzinfo=UTC), "back by 60 minutes at 2030-10-27 01:00 UTC"),
        (datetime(2030, 7, 1, 0, 30, tzinfo=UTC), None),
    ],
)
def test_changes_of_the_clocks_about_the_new_runs_are_noted(
    first: datetime, said: str | None
) -> None:
    schedule = Schedule(cron="30 2 * * *", timezone="Europe/Paris")

    change = runs_change(None, Course(job_id=UUID(int=0), schedule=schedule, first=first))

    assert len(change.notes) == (said is not None)
    assert all(said and said in one and "dst_" in one for one in change.notes)


def test_a_course_ends_with_the_runs_that_are_left() -> None:
    assert len([*replace(hourly(0), left=2)]) == 2
    assert [*replace(hourly(0), first=None)] == []
    assert not hourly(0).has(NOON - HOUR)


def test_the_interval_of_a_course_counts_from_its_first_run() -> None:
    course = Course(job_id=UUID(int=0), schedule=Schedule(every_seconds=90), first=NOON)

    assert course.has(NOON + timedelta(seconds=180))
    assert not course.has(NOON + timedelta(seconds=200))


@pytest.mark.parametrize("owner", [None, "other"])
def test_what_belongs_to_others_is_a_conflict_unless_it_is_taken_over(owner: str | None) -> None:
    refused = owner_conflict(MemberKind.JOB, "a", owner=owner, taken=())
    taken = owner_conflict(MemberKind.JOB, "a", owner=owner, taken={taken_over("a")})

    assert refused is not None
    assert (refused.action, refused.owner, taken) == (Action.CONFLICT, owner, None)


@pytest.mark.parametrize("kind", MemberKind)
@pytest.mark.parametrize("name", ["a", "flow:a", "job:a", "api:443"])
def test_a_conflict_says_how_to_take_over_what_it_is_about(kind: MemberKind, name: str) -> None:
    refused = owner_conflict(kind, name, owner=None, taken=())

    assert refused is not None
    [said] = re.findall(r"--take-over ([^`]+)`", refused.detail or "")
    assert taken_over(said) == (kind, name)


def test_what_is_taken_over_is_a_job_unless_its_kind_is_written() -> None:
    assert taken_over("a") == taken_over("job:a") == (MemberKind.JOB, "a")
    assert taken_over("flow:api:443") == (MemberKind.FLOW, "api:443")
    assert taken_over("api:443") == (MemberKind.JOB, "api:443")


@pytest.mark.parametrize(
    ("kind", "prune", "paused", "exists", "expected"),
    [
        (MemberKind.JOB, Prune.PAUSE, False, True, Action.PAUSE),
        (MemberKind.JOB, Prune.PAUSE, True, True, Action.KEEP),
        (MemberKind.JOB, Prune.DELETE, True, True, Action.DELETE),
        (MemberKind.JOB, Prune.DELETE, False, False, Action.KEEP),
        (MemberKind.FLOW, Prune.PAUSE, False, True, Action.KEEP),
        (MemberKind.FLOW, Prune.DELETE, False, True, Action.DELETE),
    ],
)
def test_removed_jobs_are_paused_and_deleted_only_where_that_is_said(
    kind: MemberKind,
    prune: Prune,
    paused: bool,  # noqa: FBT001
    exists: bool,  # noqa: FBT001
    expected: Action,
) -> None:
    member = replace(MEMBER, kind=kind)

    assert removal(member, prune=prune, paused=paused, exists=exists).action is expected


def test_the_digest_is_of_what_changes_and_of_the_jobs_versions() -> None:
    create = Step(kind=MemberKind.JOB, name="a", action=Action.CREATE)
    same = Step(kind=MemberKind.JOB, name="b", action=Action.UNCHANGED)
    alone = plan_of("s", [create], {})

    assert alone.differs
    assert plan_of("s", [create, same], {}).digest == alone.digest
    assert plan_of("other", [create], {}).digest != alone.digest
    assert plan_of("s", [create], {(MemberKind.JOB, "a"): NOON}).digest != alone.digest
    assert not plan_of("s", [same], {}).differs


def test_a_member_as_it_has_to_be_is_unchanged_or_taken_over() -> None:
    def planned(**more: Any) -> Step:  # noqa: ANN401
        return planned_change(MemberKind.JOB, "a", differences=[], **more)

    assert planned(owned=True).action is Action.UNCHANGED
    assert planned(owned=False).action is Action.TAKE_OVER
    assert planned(owned=False, was_removed=True).detail == "is in the file again"
