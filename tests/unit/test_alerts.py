"""How rules judge and how alerts are worded, without a database."""

from datetime import UTC, datetime, timedelta
from uuid import UUID

import jsonschema_rs
import pytest
from msgspec import json
from msgspec.structs import replace

from app.core.alerts.messages import FIRST, Alert, Message, text
from app.core.alerts.presets import BODIES, Preset, job_of, parts_of, target_errors
from app.core.alerts.rules import Event, Happened, Rule, Standing, State, begin, remind
from app.core.runs.outcome import Outcome
from tests.support.alert_schemas import OPSGENIE_CLOSE, SCHEMAS

NOW = datetime(2026, 11, 29, 12, tzinfo=UTC)
RULE = Rule(
    id=UUID(int=1),
    name="three",
    events=frozenset({Event.FAILED, Event.RECOVERED}),
    after=3,
    begun_at=NOW - timedelta(days=1),
)
JOB = UUID(int=2)
FAILURE = Happened(
    id=10,
    job_id=JOB,
    job="report",
    tags=(),
    outcome=Outcome.FAILED,
    reason="status",
    at=NOW,
    why="500",
    is_given_up=True,
    is_last_attempt=True,
    before=None,
)
ALERT = Alert(
    id=UUID(int=3),
    event="failed",
    rule="three",
    job_id=JOB,
    job="report",
    at=NOW,
    since=NOW,
    many=3,
    execution_id=10,
    why="the target answered 500",
)


def failures(many: int, *, first: int = 10) -> list[Happened]:
    return [
        replace(FAILURE, id=first + n, at=NOW + timedelta(seconds=n), before=Outcome.FAILED)
        for n in range(many)
    ]


def test_the_third_failure_is_told_and_none_after_it() -> None:
    standing = Standing([RULE], [])

    for one in failures(7):
        standing.take(one)

    [told] = standing.told
    assert (told.event, told.many, told.execution_id, told.since) == (Event.FAILED, 3, 12, NOW)
    [state] = standing.written()
    assert (state.many, state.told_at) == (7, NOW + timedelta(seconds=2))


def test_the_count_goes_on_from_the_state_of_the_pass_before() -> None:
    first, second = Standing([RULE], []), Standing([RULE], [])
    for one in failures(2):
        first.take(one)
    second = Standing([RULE], first.written())

    for one in failures(1, first=20):
        second.take(one)

    assert [one.many for one in second.told] == [3]


def test_an_execution_that_ends_after_later_ones_is_no_recovery() -> None:
    standing = Standing([RULE], [])
    for one in failures(3):
        standing.take(one)

    standing.take(replace(FAILURE, id=5, before=Outcome.SUCCEEDED))

    assert [one.event for one in standing.told] == [Event.FAILED]
    assert [one.many for one in standing.written()] == [4]


def test_a_state_whose_rule_or_job_is_gone_ends_in_silence() -> None:
    state = State(
        rule_id=RULE.id,
        event=Event.FAILED,
        job_id=JOB,
        many=3,
        execution_id=12,
        since=NOW,
        last_at=NOW,
        told_at=NOW,
    )
    gone, other, well = (Standing([RULE], [state]) for _ in range(3))

    gone.end(state, job=None, is_gone=True)
    other.end(replace(state, rule_id=UUID(int=9)), job="report", is_gone=False)
    well.end(state, job="report", is_gone=False)

    assert (gone.told, other.told) == ([], [])
    assert [one.event for one in well.told] == [Event.RECOVERED]
    assert gone.removed() == well.removed() == [(RULE.id, Event.FAILED, JOB)]


@pytest.mark.parametrize(
    ("alert", "said"),
    [
        (ALERT, "report failed 3 times in a row: the target answered 500"),
        (replace(ALERT, many=1), "report failed: the target answered 500"),
        (replace(ALERT, job=None, why=None), f"job {JOB} failed 3 times in a row"),
        (
            replace(ALERT, event="recovered", why="a run succeeded"),
            "report recovered after trouble since 2026-11-29 12:00:00 UTC: a run succeeded",
        ),
        (
            replace(ALERT, event="test", why="asked for by key 1"),
            "Test of this channel: asked for by key 1",
        ),
        (replace(ALERT, why="a\n b " * 200), None),
    ],
)
def test_a_message_says_what_became_of_its_job(alert: Alert, said: str | None) -> None:
    found = text(Message(channel="ops", alerts=[alert]))

    assert said is None or found == said
    assert len(found) < 500
    assert "\n" not in found


def test_a_message_about_many_names_the_first_and_counts_the_rest() -> None:
    few = Message(channel="ops", alerts=[ALERT] * 2)
    many = Message(channel="ops", alerts=[ALERT] * 12)

    assert text(few).splitlines()[0] == "2 jobs: failed"
    assert len(text(few).splitlines()) == 3
    assert len(text(many).splitlines()) == FIRST + 2
    assert text(many).endswith("and 7 more")


def test_slack_reads_no_mark_up_out_of_names_and_errors() -> None:
    hostile = replace(ALERT, job="<!channel> & <https://evil.example|ok>", rule="<b>")

    body = BODIES[Preset.SLACK](Message(channel="ops", alerts=[hostile]))

    assert "<" not in body["text"]
    assert "&lt;!channel&gt; &amp; " in body["text"]


@pytest.mark.parametrize("preset", Preset)
def test_a_message_keeps_what_the_target_of_its_channel_says(preset: Preset) -> None:
    target = {"url": "https://example.com", "headers": {"X-Team": "ops"}}

    made = job_of(preset, target, Message(channel="ops", alerts=[ALERT]))

    assert made.kind == {"amqp": "amqp", "smtp": "smtp"}.get(preset, "http")
    assert {name: made.target[name] for name in target} == target
    assert target == {"url": "https://example.com", "headers": {"X-Team": "ops"}}
    said = [made.target.get("json"), made.target.get("text"), made.metadata.get("text")]
    assert "report" in str(said)


HOSTILE = replace(ALERT, job="@everyone [ok](https://evil.example)", why="x" * 5000)


@pytest.mark.parametrize("event", ["failed", "recovered", "test", "backlog"])
@pytest.mark.parametrize("preset", SCHEMAS)
def test_the_longest_message_is_what_the_service_takes(preset: str, event: str) -> None:
    """The schemas and the pages that they are from: tests/support/alert_schemas.py."""
    one = replace(HOSTILE, event=event, of_event=event, rule="r" * 200)
    if event == "backlog":
        one = replace(one, job=None, job_id=None)
    message = Message(channel="ops", alerts=[one] * 9, instead_of="mail", is_reminder=True)
    schema = SCHEMAS[preset]
    if (preset, event) == ("opsgenie", "recovered"):
        schema = OPSGENIE_CLOSE

    body = json.decode(json.encode(BODIES[Preset(preset)](message)))
    if preset == "pagerduty":
        body["routing_key"] = "k" * 32

    validator = jsonschema_rs.validator_for(schema, validate_formats=True)
    assert [str(error) for error in validator.iter_errors(body)] == []
    assert preset != "teams" or len(json.encode(body)) < 28_000
    if preset == "discord":
        assert body["allowed_mentions"] == {"parse": []}
    if preset == "teams":
        blocks = body["attachments"][0]["content"]["body"]
        assert {block["type"] for block in blocks} == {"RichTextBlock"}  # which reads no Markdown


def test_an_incident_is_resolved_by_the_key_that_opened_it() -> None:
    opened = Message(channel="ops", alerts=[ALERT], incident=ALERT.id)
    over = replace(opened, alerts=[replace(ALERT, id=UUID(int=9), event="recovered")])
    target = {"url": "https://api.opsgenie.com/v2/alerts"}

    trigger, resolve = (BODIES[Preset.PAGERDUTY](one) for one in (opened, over))
    create, close = (job_of(Preset.OPSGENIE, target, one).target for one in (opened, over))

    assert (trigger["event_action"], resolve["event_action"]) == ("trigger", "resolve")
    assert trigger["dedup_key"] == resolve["dedup_key"]
    assert create["url"] == target["url"]
    assert close["url"] == f"{target['url']}/{create['json']['alias']}/close?identifierType=alias"


def test_alertmanager_knows_the_alert_again_that_is_over() -> None:
    begun = replace(ALERT, of_event="failed")
    over = replace(begun, event="recovered", at=NOW + timedelta(hours=1))

    [firing], [ended] = (
        BODIES[Preset.ALERTMANAGER](Message(channel="ops", alerts=[one])) for one in (begun, over)
    )

    assert firing["labels"] == ended["labels"]
    assert firing["startsAt"] == ended["startsAt"] == "2026-11-29T12:00:00Z"
    assert (firing["endsAt"], ended["endsAt"]) == ("2026-12-06T12:00:00Z", "2026-11-29T13:00:00Z")


def test_an_alert_never_ends_before_it_started_for_alertmanager_whatever_the_clock_did() -> None:
    """It refuses the whole request for one such alert."""
    early = replace(ALERT, event="recovered", of_event="failed", at=NOW - timedelta(hours=1))

    [ended] = BODIES[Preset.ALERTMANAGER](Message(channel="ops", alerts=[early]))

    assert ended["endsAt"] == ended["startsAt"] == "2026-11-29T12:00:00Z"


def test_alertmanager_is_told_of_each_alert_and_all_others_of_the_first() -> None:
    message = Message(channel="ops", alerts=[ALERT] * 45)

    parts = [len(one.alerts) for one in parts_of(Preset.ALERTMANAGER, message)]

    assert parts == [20, 20, 5]
    assert list(parts_of(Preset.SLACK, message)) == [message]


@pytest.mark.parametrize(
    ("preset", "target", "field"),
    [
        ("webhook", {"templates": ["headers"]}, "target.templates"),
        ("smtp", {"subject": "x"}, "target.subject"),
        ("pagerduty", {"url": "https://events.pagerduty.com/v2/enqueue"}, "routing_key"),
        ("opsgenie", {"url": "https://api.opsgenie.com/v2/alerts/"}, "target.url"),
        ("template", {"url": "https://a.example", "json": {}}, "target.templates"),
    ],
)
def test_a_target_that_a_preset_cannot_do_with_is_refused(
    preset: str, target: dict[str, object], field: str
) -> None:
    [error] = target_errors(Preset(preset), target)

    assert field in error.field


SLOW = replace(
    FAILURE, outcome=Outcome.SUCCEEDED, is_given_up=False, is_last_attempt=False, seconds=30.0
)


@pytest.mark.parametrize(
    ("given", "usual", "is_told"),
    [
        ({"seconds": 20.0}, None, True),
        ({"seconds": 30.0}, None, False),
        ({"factor": 2.0}, 14.0, True),
        ({"factor": 2.0}, 15.0, False),
        ({"factor": 2.0}, None, False),
        ({"factor": 2.0, "seconds": 40.0}, 1.0, False),
        ({"factor": 100.0}, 0.005, True),
    ],
)
def test_a_run_is_slow_by_seconds_or_by_how_long_it_usually_takes(
    given: dict[str, float], usual: float | None, *, is_told: bool
) -> None:
    rule = replace(RULE, events=frozenset({Event.SLOW}), after=1, **given)  # type: ignore[arg-type]
    standing = Standing([rule], [])

    standing.take(replace(SLOW, usual=usual))
    standing.take(replace(FAILURE, id=11))

    assert [one.event for one in standing.told] == [Event.SLOW] * is_told


def test_a_run_that_was_not_slow_begins_the_count_anew() -> None:
    rule = replace(RULE, events=frozenset({Event.SLOW, Event.RECOVERED}), after=2, seconds=1.0)
    standing = Standing([rule], [])

    standing.take(replace(SLOW, id=10, well_id=9))
    standing.take(replace(SLOW, id=12, well_id=11))  # 11 was not slow
    assert standing.told == []
    standing.take(replace(SLOW, id=13, well_id=12))
    standing.take(replace(SLOW, id=15, well_id=14))

    assert [one.event for one in standing.told] == [Event.SLOW, Event.RECOVERED]


def test_slow_runs_that_go_on_side_by_side_are_counted_once_each() -> None:
    rule = replace(RULE, events=frozenset({Event.SLOW}), after=3, seconds=1.0)
    standing = Standing([rule], [])

    for id in (10, 11, 10, 11):
        standing.take(replace(SLOW, id=id))

    assert standing.told == []


def test_of_slow_runs_side_by_side_one_that_is_slow_after_a_later_one_is_counted() -> None:
    rule = replace(RULE, events=frozenset({Event.SLOW}), after=2, seconds=1.0)
    standing = Standing([rule], [])

    for id in (11, 10, 11):
        standing.take(replace(SLOW, id=id, well_id=9))

    assert [one.many for one in standing.told] == [2]
    [state] = standing.written()
    assert (state.execution_id, state.counted, state.counted_from) == (11, [10, 11], 9)


def test_a_slow_run_that_began_before_a_count_was_over_is_not_in_the_next_one() -> None:
    rule = replace(RULE, events=frozenset({Event.SLOW}), after=2, seconds=1.0)
    standing = Standing([rule], [])

    standing.take(replace(SLOW, id=10, well_id=9))
    standing.take(replace(SLOW, id=12, well_id=11))  # 11 was not slow
    standing.take(replace(SLOW, id=10, well_id=9))  # ends after all of them

    assert standing.told == []
    [state] = standing.written()
    assert (state.many, state.counted) == (1, [12])


def test_only_the_last_hundred_slow_runs_are_known_and_none_is_counted_twice() -> None:
    rule = replace(RULE, events=frozenset({Event.SLOW}), after=1000, seconds=1.0)
    standing = Standing([rule], [])

    for id in (*range(10, 160), *range(10, 160)):
        standing.take(replace(SLOW, id=id, well_id=9))

    [state] = standing.written()
    assert (state.many, len(state.counted or ()), state.counted_from) == (150, 100, 59)


def test_a_state_of_an_older_version_counts_no_run_that_it_may_have_counted() -> None:
    rule = replace(RULE, events=frozenset({Event.SLOW}), after=2, seconds=1.0)
    old = State(
        rule_id=rule.id,
        event=Event.SLOW,
        job_id=JOB,
        many=1,
        execution_id=11,
        since=NOW,
        last_at=NOW,
    )
    standing = Standing([rule], [old])

    for id in (10, 11):
        standing.take(replace(SLOW, id=id, well_id=9))
    assert standing.told == []
    standing.take(replace(SLOW, id=12, well_id=9))

    assert [one.many for one in standing.told] == [2]


def test_a_reminder_says_so_and_leaves_the_state_told() -> None:
    state = State(
        rule_id=RULE.id,
        event=Event.FAILED,
        job_id=JOB,
        many=4,
        execution_id=12,
        since=NOW,
        last_at=NOW,
        told_at=NOW,
    )
    later = NOW + timedelta(hours=1)

    now, told = remind(RULE, state, job="report", why="500", now=later)

    assert now == replace(state, reminded_at=later)
    assert told is not None
    assert (told.event, told.is_reminder) == (Event.FAILED, True)
    said = text(Message(channel="ops", alerts=[replace(ALERT, many=4)], is_reminder=True))
    assert said.startswith("Still: report failed 4 times in a row")


def test_what_is_read_from_how_a_job_stands_needs_no_row_of_it() -> None:
    rule = replace(RULE, events=frozenset({Event.INVALID, Event.RECOVERED}))
    state = State(
        rule_id=rule.id,
        event=Event.INVALID,
        job_id=JOB,
        many=1,
        execution_id=None,
        since=NOW,
        last_at=NOW,
    )

    now, told = begin(rule, state, job="report", why="cron: has no field")
    standing = Standing([rule], [state])
    standing.take(replace(FAILURE, before=Outcome.SUCCEEDED))

    assert now is not None
    assert told is not None
    assert (now.told_at, told.event) == (NOW, Event.INVALID)
    assert (standing.told, standing.removed()) == ([], [])
