"""Forms of jobs: what is not touched stays as it is stored, and two edits are put together."""

import pytest

from app.core.jobs.job import JobDocument
from app.errors import InvalidInput
from app.targets.registry import KINDS
from app.web.bulk import number
from app.web.forms import Form, instant_in
from app.web.job_fields import HOW, WHEN, Document, fields_of_job
from app.web.job_forms import (
    OWN,
    as_json,
    document_in,
    document_of_form,
    fields_for,
    form_of_job,
    typed_job,
)
from app.web.job_preview import changed_between
from app.web.merging import merged

SCHEDULE = {"kind", "target", "run_at", "run_in_seconds", "cron", "timezone", "every_seconds"}


def document(text: str) -> Document:
    return document_in(text)


@pytest.mark.parametrize(
    "text",
    [
        '{"kind": "http", "target": {"url": "http://h/", "json": {"n": 1.10, "b": 1e400}}}',
        '{"kind": "http", "target": {"url": "http://h/", "body": " a\\r\\nb "}, "tags": ["x, y"]}',
        '{"kind": "amqp", "target": {"url": "amqp://h/", "persistent": false}, "max_runs": 3}',
        '{"kind": "smtp", "target": {"url": "smtp://h/", "from": "a@h", "to": ["b@h", "c@h"]}}',
    ],
)
@pytest.mark.parametrize(
    "schedule",
    [
        '"cron": "0 3 * * *", "timezone": "Europe/Paris"',
        '"every_seconds": 0.1',
        '"run_at": "2030-10-27T01:30:00.123456Z", "timezone": "Europe/Paris"',
    ],
)
def test_a_form_that_nobody_touched_is_the_job_it_was_made_of(text: str, schedule: str) -> None:
    job = document(f"{text[:-1]}, {schedule}}}")

    made, errors = document_of_form(form_of_job(job), job)

    assert errors == []
    assert document(as_json(made)) == document(as_json(job))


def test_a_run_in_the_hour_that_clocks_show_twice_stays_there_as_browsers_send_it() -> None:
    job = document(
        '{"kind": "http", "target": {}, "run_at": "2030-10-27T01:30:00Z", '
        '"timezone": "Europe/Paris"}'
    )
    form = form_of_job(job)
    assert form["at"] == "2030-10-27T02:30:00"

    made, _ = document_of_form(Form(form | {"at": "2030-10-27T02:30", "name": "a"}), job)

    assert made["run_at"] == job["run_at"]


def test_every_field_of_a_job_is_in_the_form() -> None:
    shown = {one.name for one in fields_of_job((*OWN, *WHEN, *HOW))}

    assert shown | SCHEDULE | {"paused"} == set(JobDocument.__struct_fields__)


@pytest.mark.parametrize("kind", KINDS)
def test_every_field_of_each_kind_is_in_the_form(kind: str) -> None:
    shown = [one.name for one in fields_for(kind) if one.name.startswith("target.")]

    assert shown
    assert len(shown) == len(set(shown))


def test_a_new_form_makes_what_was_typed_and_leaves_defaults_out() -> None:
    form = Form(
        {
            "kind": "http",
            "how": "every",
            "every": "1.5",
            "unit": "60",
            "timezone": "UTC",
            "name": "a",
            "tags": " x,, y ",
            "max_attempts": "3",
            "target.verify_tls": "on",
            "target.url": "http://h/",
            "target.headers": '{"A": "b"}',
        }
    )

    made, errors = document_of_form(form, {})

    assert errors == []
    assert typed_job(made) == JobDocument(
        name="a",
        tags=("x", "y"),
        kind="http",
        target={"url": "http://h/", "headers": {"A": "b"}},
        every_seconds=90,
        max_attempts=3,
    )


@pytest.mark.parametrize("every", ["", "often", "inf", "nan", "1e400"])
def test_an_interval_that_is_no_number_is_named(every: str) -> None:
    form = Form({"kind": "http", "how": "every", "every": every, "unit": "60"})

    _, errors = document_of_form(form, {})

    assert [one.field for one in errors] == ["every_seconds"]


def test_each_field_that_cannot_be_read_is_named() -> None:
    form = Form({"kind": "http", "how": "once", "target.auth": "{", "metadata": "x"})

    _, errors = document_of_form(form, {})

    assert [one.field for one in errors] == ["metadata", "target.auth", "run_at"]


@pytest.mark.parametrize(
    ("text", "zone", "expected"),
    [
        ("2030-01-31T08:30", "Europe/Paris", "2030-01-31T07:30:00+00:00"),
        ("2030-01-31T08:30:00Z", "Europe/Paris", "2030-01-31T08:30:00+00:00"),
    ],
)
def test_dates_are_read_by_the_clocks_of_a_zone(text: str, zone: str, expected: str) -> None:
    assert instant_in(text, zone, field="at").isoformat() == expected


@pytest.mark.parametrize(
    ("text", "zone"),
    [
        ("tomorrow", "UTC"),
        ("0001-01-01T00:00", "Asia/Tokyo"),
        ("0001-01-01T00:00+14:00", "UTC"),
        ("2030-01-31", "No"),
    ],
)
def test_what_is_no_date_is_refused(text: str, zone: str) -> None:
    with pytest.raises(InvalidInput):
        instant_in(text, zone, field="at")


@pytest.mark.parametrize(
    ("text", "name", "shown"),
    [
        ('{"every_seconds": "15"}', "every", "15"),
        ('{"every_seconds": "often"}', "every", "often"),
        ('{"every_seconds": [1]}', "every", "[1]"),
        ('{"every_seconds": 1e400}', "every", "1e400"),
        ('{"timezone": 1e400}', "timezone", "1e400"),
        ('{"run_at": "0001-01-01T00:00+14:00"}', "at", "0001-01-01T00:00+14:00"),
    ],
)
def test_json_that_no_job_has_is_shown_in_the_form_as_it_stands(
    text: str, name: str, shown: str
) -> None:
    assert form_of_job(document(text))[name] == shown


def test_what_changes_is_shown_with_numbers_of_any_size() -> None:
    [changed] = changed_between({}, document('{"max_attempts": 1e400}'))

    assert changed.after == "1e400"


def test_two_edits_are_put_together_and_where_both_differ_mine_stands() -> None:
    was = document('{"a": 1, "b": 1, "c": 1, "d": 1}')
    theirs = document('{"a": 2, "b": 2, "c": 2, "e": 1}')
    mine = document('{"a": 1, "b": 3, "c": 2, "d": 1}')

    both = merged(was, theirs, mine)

    assert both.document == document('{"a":2,"b":3,"c":2,"e":1}')
    assert [(one.name, one.is_contested) for one in both.fields] == [
        ("a", False),
        ("b", True),
        ("c", False),
        ("d", False),
        ("e", False),
    ]


@pytest.mark.parametrize("typed", ["nan", "inf", "1e999", "", "ten"])
def test_a_rate_that_json_has_no_number_for_is_refused_and_not_left_out(typed: str) -> None:
    with pytest.raises(InvalidInput, match="is no number"):
        number(typed, "rate_per_second")
