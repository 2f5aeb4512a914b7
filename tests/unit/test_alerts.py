"""How rules judge and how alerts are worded, without a database."""

from datetime import UTC, datetime, timedelta
from uuid import UUID

import pytest
from msgspec.structs import replace

from app.core.alerts.messages import BODIES, FIRST, Alert, Message, Preset, job_target, text
from app.core.alerts.rules import Event, Happened, Rule, Standing, State, begin
from app.core.runs.outcome import Outcome

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

    kind, made = job_target(preset, target, Message(channel="ops", alerts=[ALERT]))

    assert kind == "http"
    assert {name: made[name] for name in target} == target
    assert made["json"]
    assert "json" not in target


HOSTILE = replace(ALERT, job="@everyone [ok](https://evil.example)", why="x" * 5000)


def test_teams_takes_a_message_with_one_adaptive_card() -> None:
    """The schema: learn.microsoft.com, "Create incoming webhooks with Workflows"."""
    body = BODIES[Preset.TEAMS](Message(channel="ops", alerts=[HOSTILE] * 9))

    assert set(body) == {"type", "attachments"}
    assert body["type"] == "message"
    [attachment] = body["attachments"]
    assert attachment["contentType"] == "application/vnd.microsoft.card.adaptive"
    card = attachment["content"]
    assert (card["type"], card["version"]) == ("AdaptiveCard", "1.4")
    assert card["$schema"] == "http://adaptivecards.io/schemas/adaptive-card.json"
    for block in card["body"]:
        assert block["type"] == "TextBlock"
        assert block["text"]
        assert block.get("color", "Default") in ("Default", "Good", "Attention")
        assert block.get("weight", "Default") in ("Default", "Bolder")
        assert "](" not in block["text"]
    assert len(str(body)) < 28_000


@pytest.mark.parametrize("event", ["failed", "recovered", "test"])
def test_discord_takes_a_content_of_2000_characters_that_notifies_nobody(event: str) -> None:
    """The schema: discord.com/developers/docs/resources/webhook, "Execute Webhook"."""
    alerts = [replace(HOSTILE, event=event)] * 9

    body = BODIES[Preset.DISCORD](Message(channel="ops", alerts=alerts))

    assert set(body) == {"content", "allowed_mentions"}
    assert 1 <= len(body["content"]) <= 2000
    assert body["allowed_mentions"] == {"parse": []}


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
