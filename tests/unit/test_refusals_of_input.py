"""What is wrong with input is said of each field, by a path that names one place, with the part."""

import json
import re
from typing import Any
from uuid import uuid4

import pytest
from msgspec import Struct

from app.core.field_errors import MAX_ERRORS
from app.core.field_paths import at_index, joined
from app.core.jobs.job import JobDocument, JobPatch, JobReplacement
from app.core.secrets.places import spots_in
from app.errors import FieldError, InvalidInput, MalformedInput
from app.targets.registry import decode_target, target_type
from app.vault.keys import SecretKeys, decrypt_target, encrypt_target
from app.wire.alerts import ChannelDocument, RuleDocument
from app.wire.batch import documents
from app.wire.keys import KeyRequest
from app.wire.pauses import Resumption
from app.wire.reading import read
from app.wire.schedules import SchedulePreview
from app.wire.secrets import SecretValue

JOB = {"kind": "http", "target": {"url": "http://x"}}


def refused(body: bytes | str, type_: type[Struct] = JobDocument) -> dict[str, str]:
    with pytest.raises(InvalidInput) as refusal:
        read(body.encode() if isinstance(body, str) else body, type_)
    return {one.field: one.message for one in refusal.value.errors}


@pytest.mark.parametrize(
    ("type_", "body", "field", "words"),
    [
        (RuleDocument, {"events": ["explode"]}, "events[0]", "failed, exhausted, missed"),
        (Resumption, {"missed": "some"}, "missed", "skip, once, all"),
        (ChannelDocument, {"preset": "slac"}, "preset", "webhook, slack"),
        (JobDocument, JOB | {"overlap": "x"}, "overlap", "skip, buffer_one"),
    ],
)
def test_a_word_that_is_not_known_is_told_those_that_are(
    type_: type[Struct], body: dict[str, Any], field: str, words: str
) -> None:
    said = refused(json.dumps(body), type_)[field]

    assert f"write one of {words}" in said


@pytest.mark.parametrize(
    ("instant", "part"),
    [
        ("2026-13-01T00:00:00Z", "the month is 13"),
        ("2026-00-01T00:00:00Z", "the month is 00"),
        ("2026-02-30T00:00:00Z", "the day is 30, and 2026-02 has days from 01 to 28"),
        ("2026-01-00T00:00:00Z", "the day is 00"),
        ("2026-12-01T24:00:00Z", "the hour is 24: midnight is 00:00:00 of the next day"),
        ("2026-12-01T25:00:00Z", "the hour is 25"),
        ("2026-12-01T12:60:00Z", "the minute is 60"),
        ("2026-12-01T23:59:60Z", "the second is 60, and leap seconds"),
        ("2026-12-01T23:59:61Z", "the second is 61"),
        ("2026-12-01T12:00:00+25:00", "the hours of the offset are 25"),
        ("2026-12-01T12:00:00+01:60", "the minutes of the offset are 60"),
        ("0000-12-01T12:00:00Z", "the year is 0000"),
        ("2026-12-01", "no time of day"),
        ("2026-12-01T12:00Z", "it has no seconds"),
        ("2026-12-01T12:00", "it has no seconds"),
        ("2026-12-01T12:00:00", "timezone component: end it with Z"),
        ("2026-12-01 12:00:00", "timezone component: end it with Z"),
        ("2026-12-01T12:00:00 Europe/Paris", "'12:00:00 Europe/Paris' is no time of day"),
        ("2026-12-01T12:00:00+1", "'12:00:00+1' is no time of day"),
        ("2026-12-1T12:00:00Z", "'2026-12-1' is no date"),
        ("01.12.2026", "'01.12.2026' is no date"),
        ("tomorrow", "'tomorrow' is no date"),
        ("1764403200", "it is a number"),
        (" 2026-12-01T12:00:00Z", "a space at its beginning"),
        ("", "it is empty"),
    ],
)
@pytest.mark.parametrize(
    ("type_", "field"),
    [
        (JobDocument, "run_at"),
        (JobDocument, "ends_at"),
        (JobPatch, "starts_at"),
        (SchedulePreview, "from"),
    ],
)
def test_of_what_is_no_instant_the_wrong_part_is_named(
    instant: str, part: str, type_: type[Struct], field: str
) -> None:
    given = JOB if type_ is JobDocument else {}

    said = refused(json.dumps({**given, field: instant}), type_)

    assert said.keys() == {field}
    assert part in said[field]
    assert '"2030-01-31T08:30:00Z"' in said[field]


@pytest.mark.parametrize("body", ["[]", '"x"', "null", "7", "true"])
@pytest.mark.parametrize(
    "type_", [JobDocument, JobReplacement, JobPatch, SchedulePreview, KeyRequest, SecretValue]
)
def test_a_body_that_is_no_object_is_shown_one_that_would_be_taken(
    body: str, type_: type[Struct]
) -> None:
    said = refused(body, type_)

    assert said.keys() == {"$"}
    assert said["$"].startswith("the body must be an object, not ")
    [example] = re.findall(r"such as (\{.*\})$", said["$"])
    read(example.encode(), type_)


@pytest.mark.parametrize("body", [b"", b"  ", b'{"kind": "http"'])
def test_a_body_that_is_empty_or_cut_is_shown_an_object(body: bytes) -> None:
    with pytest.raises(MalformedInput, match=r'send an object such as \{"kind": "http"'):
        read(body, JobDocument)


def test_a_batch_that_is_none_is_shown_one() -> None:
    with pytest.raises(InvalidInput, match=r'such as \{"jobs": \[') as refusal:
        documents(b'"x"')

    assert [one.field for one in refusal.value.errors] == ["$"]


def test_every_field_of_a_wrong_type_is_listed_in_the_order_in_which_they_were_sent() -> None:
    body = """{"run_at": 5, "cron": 7, "tags": ["a", 3, ""], "bogus": 1, "id": 4, "max_runs": 0,
               "misfire": "never", "metadata": [], "target": {"url": "http://x"}}"""

    said = refused(body)

    assert list(said) == [
        *("run_at", "cron", "tags[1]", "tags[2]", "bogus", "id", "max_runs", "misfire"),
        *("metadata", "kind"),
    ]
    assert said["id"].startswith("is kept by Tocsin")
    assert "write one of run_once" in said["misfire"]
    assert said["kind"] == "is required"


@pytest.mark.parametrize("stored", [True, False], ids=["bytes", "decoded"])
def test_every_field_of_a_target_that_is_of_a_wrong_type_is_listed(*, stored: bool) -> None:
    target = {
        "headers": {"X": 1, "Y": 2},
        "metod": 1,
        "success": [99, 200, "ok"],
        "auth": {"type": "bearer", "x": 1},
    }

    with pytest.raises(InvalidInput) as refusal:
        decode_target("http", json.dumps(target).encode() if stored else target)

    said = {one.field: one.message for one in refusal.value.errors}
    assert set(said) == {
        *("target.headers", "target.metod", "target.success[0]", "target.success[2]"),
        *("target.auth.x", "target.auth.token", "target.url"),
    }
    assert said["target.headers"].endswith(": X, Y")


def test_every_job_of_a_batch_that_has_a_wrong_type_is_listed() -> None:
    jobs = [JOB | {"run_at": 5}, JOB, JOB | {"tags": 1, "cron": 1}, 5, JOB | {"a.b": 1}]

    with pytest.raises(InvalidInput) as refusal:
        documents(json.dumps(jobs).encode())

    fields = [one.field for one in refusal.value.errors]
    assert fields == ["[0].run_at", "[2].tags", "[2].cron", "[3]", '[4]["a.b"]']


def test_of_very_many_errors_some_are_listed() -> None:
    body = json.dumps({f"field{n}": n for n in range(5000)})

    assert len(refused(body)) == MAX_ERRORS
    with pytest.raises(InvalidInput) as refusal:
        documents(f"[{','.join([body] * 50)}]".encode())
    assert len(refusal.value.errors) == MAX_ERRORS


def test_a_field_that_is_misspelt_is_not_missing_as_well() -> None:
    assert set(refused('{"kin": "http", "target": {}}')) == {"kin"}


@pytest.mark.parametrize(
    ("steps", "path"),
    [
        (("target", "headers", "X-Team"), "target.headers.X-Team"),
        (("metadata", "a.b"), 'metadata["a.b"]'),
        (("metadata", "a", "b"), "metadata.a.b"),
        (("metadata", "a[0]"), 'metadata["a[0]"]'),
        (("metadata", "a", 0), "metadata.a[0]"),
        (("metadata", "0"), "metadata.0"),
        (("metadata", ""), 'metadata[""]'),
        (("metadata", 'say "x"', "y"), r'metadata["say \"x\""].y'),
        (("$",), '["$"]'),
        ((3, "name"), "[3].name"),
    ],
)
def test_a_name_that_could_be_misread_is_quoted(steps: tuple[str | int, ...], path: str) -> None:
    assert joined("", *steps) == path


@pytest.mark.parametrize(
    ("field", "placed"),
    [("$", "[3]"), ("name", "[3].name"), ('["a.b"]', '[3]["a.b"]')],
)
def test_an_error_of_an_item_is_placed_in_its_list(field: str, placed: str) -> None:
    assert at_index(3, FieldError(field=field, message="x")).field == placed


def test_text_that_postgres_cannot_store_is_found_under_names_with_dots() -> None:
    said = refused(json.dumps(JOB | {"metadata": {"a.b": "\0", "c[0]": ["\0"], "": "\0"}}))

    assert set(said) == {'metadata["a.b"]', 'metadata["c[0]"][0]', 'metadata[""]'}


def test_how_a_secret_is_bound_to_its_place_does_not_depend_on_how_errors_name_that() -> None:
    keys, id = SecretKeys(("A" * 43,)), uuid4()
    type_ = target_type("amqp")
    target = {"headers": {"a.token": "hunter2", "list": [{"api_key": "hunter3"}]}}
    found = {spot.field: spot.context for spot in spots_in(type_, target)}

    stored = encrypt_target(type_, target, keys, job_id=id)

    assert found == {
        'target.headers["a.token"]': "target.headers.a.token",
        "target.headers.list[0].api_key": "target.headers.list.0.api_key",
    }
    assert "hunter" not in str(stored)
    assert decrypt_target(type_, stored, keys, job_id=id) == (target, [])


def test_who_a_mail_is_for_is_no_instant() -> None:
    mail = {"url": "smtp://h", "from": "a@b.example", "subject": "x", "text": "y"}

    with pytest.raises(InvalidInput) as refused_:
        decode_target("smtp", mail | {"to": ["c@d.example"] * 101})

    assert [one.field for one in refused_.value.errors] == ["target.to"]
    assert "2030" not in refused_.value.errors[0].message
