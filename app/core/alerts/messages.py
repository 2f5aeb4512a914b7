"""How alerts are worded, and the forms in which services take them."""

from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from enum import StrEnum
from typing import Any
from uuid import UUID

from msgspec import Struct, to_builtins

FIRST = 5
"""How many alerts of many that go out together are named."""
MAX_DISCORD_LENGTH = 2000
"""The most characters of a message that Discord takes."""
MAX_WHY_LENGTH = 300
"""The most characters that a text repeats of why."""


class Preset(StrEnum):
    """The form of a channel's messages."""

    WEBHOOK = "webhook"
    """All there is to say, as JSON of our own."""
    SLACK = "slack"
    """An incoming webhook of Slack, or of what takes its messages, such as Mattermost."""
    TEAMS = "teams"
    """A workflow of Microsoft Teams that posts what a webhook receives: an adaptive card."""
    DISCORD = "discord"
    """A webhook of Discord."""


class Alert(Struct, frozen=True, kw_only=True):
    """One alert as messages have it."""

    id: UUID
    event: str
    rule: str | None
    job_id: UUID | None
    job: str | None
    at: datetime
    since: datetime | None
    many: int | None
    execution_id: int | None
    why: str | None


class Message(Struct, frozen=True, kw_only=True):
    """What one message tells: one alert, or several of the same rule and event."""

    channel: str
    alerts: Sequence[Alert]

    @property
    def event(self) -> str:
        """The event that all of them are about."""
        return self.alerts[0].event

    @property
    def rule(self) -> str | None:
        """The rule that all of them are of; None: a test."""
        return self.alerts[0].rule


def called(alert: Alert) -> str:
    """Return what people call the alert's job."""
    return alert.job or f"job {alert.job_id}"


WORDS = {
    "failed": "failed",
    "exhausted": "was given up after its last attempt",
    "missed": "missed runs",
    "invalid": "is invalid",
    "late": "is late",
    "not_succeeded": "has not succeeded in time",
    "recovered": "recovered",
}
"""What became of a job, by event."""


def sentence(alert: Alert) -> str:
    """Say of one job what happened."""
    if alert.event == "test":
        return f"Test of this channel: {alert.why}"
    what = WORDS.get(alert.event, alert.event)
    times = ""
    if (alert.many or 1) > 1 and alert.event in ("failed", "exhausted", "missed"):
        times = f" {alert.many} times in a row"
    if alert.event == "recovered" and alert.since is not None:
        times = f" after trouble since {alert.since:%Y-%m-%d %H:%M:%S} UTC"
    why = f": {shortened(alert.why)}" if alert.why else ""
    return f"{called(alert)} {what}{times}{why}"


def shortened(text: str) -> str:
    """Return a text of bounded length, in one line."""
    line = " ".join(text.split())
    return line if len(line) <= MAX_WHY_LENGTH else f"{line[: MAX_WHY_LENGTH - 1]}…"


def text(message: Message) -> str:
    """Say all of a message for people: the first few jobs by name, and how many more there are."""
    first = [sentence(one) for one in message.alerts[:FIRST]]
    if len(message.alerts) == 1:
        return first[0]
    many = len(message.alerts)
    more = [f"and {many - FIRST} more"] if many > FIRST else []
    what = WORDS.get(message.event, message.event)
    return "\n".join([f"{many} jobs: {what}", *(f"• {one}" for one in [*first, *more])])


def webhook(message: Message) -> dict[str, Any]:
    """Return the body of our own form: the first few alerts as a whole, and how many there are."""
    return {
        "event": message.event,
        "rule": message.rule,
        "channel": message.channel,
        "text": text(message),
        "count": len(message.alerts),
        "alerts": [to_builtins(one) for one in message.alerts[:FIRST]],
    }


def slack(message: Message) -> dict[str, Any]:
    """Return the body of an incoming webhook of Slack; `&`, `<` and `>` are control characters."""
    said = text(message).replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    mark = {"recovered": ":white_check_mark:", "test": ":bell:"}.get(
        message.event, ":rotating_light:"
    )
    rule = f" _({message.rule})_" if message.rule else ""
    plain = rule.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    return {"text": f"{mark} {said}{plain}"}


def teams(message: Message) -> dict[str, Any]:
    """Return the body of a workflow of Teams: a message with one adaptive card.

    A paragraph of the card reads some of Markdown, such as links, which a space keeps from it.
    """
    color = {"recovered": "Good", "test": "Default"}.get(message.event, "Attention")
    lines: list[dict[str, Any]] = [
        {"type": "TextBlock", "text": line.replace("](", "] ("), "wrap": True}
        for line in text(message).splitlines()
    ]
    lines[0] |= {"weight": "Bolder", "color": color}
    if message.rule:
        lines.append({"type": "TextBlock", "text": message.rule, "isSubtle": True, "wrap": True})
    card = {
        "$schema": "http://adaptivecards.io/schemas/adaptive-card.json",
        "type": "AdaptiveCard",
        "version": "1.4",
        "body": lines,
    }
    kind = "application/vnd.microsoft.card.adaptive"
    attachment = {"contentType": kind, "contentUrl": None, "content": card}
    return {"type": "message", "attachments": [attachment]}


def discord(message: Message) -> dict[str, Any]:
    """Return the body of a webhook of Discord, which notifies nobody by name."""
    mark = {"recovered": "\N{WHITE HEAVY CHECK MARK}", "test": "\N{BELL}"}.get(
        message.event, "\N{POLICE CARS REVOLVING LIGHT}"
    )
    rule = f" ({message.rule})" if message.rule else ""
    said = f"{mark} {text(message)}{rule}"
    return {"content": said[:MAX_DISCORD_LENGTH], "allowed_mentions": {"parse": []}}


BODIES: Mapping[Preset, Callable[[Message], Any]] = {
    Preset.WEBHOOK: webhook,
    Preset.SLACK: slack,
    Preset.TEAMS: teams,
    Preset.DISCORD: discord,
}
"""The bodies of messages by preset, as JSON values."""


def job_target(
    preset: Preset, target: dict[str, Any], message: Message
) -> tuple[str, dict[str, Any]]:
    """Return the kind and the target of the job that delivers a message.

    `target`: the channel's. The one place where a body comes to be, so that a channel with a
    template of its own may have another one.
    """
    return "http", target | {"json": BODIES[preset](message)}
