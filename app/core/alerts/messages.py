"""How alerts are worded."""

from collections.abc import Sequence
from datetime import datetime
from uuid import UUID

from msgspec import Struct

FIRST = 5
"""How many alerts of many that go out together are named."""
MAX_WHY_LENGTH = 300
"""The most characters that a text repeats of why."""


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
    of_event: str = ""
    """What is over, of a recovery; else the event."""


class Message(Struct, frozen=True, kw_only=True):
    """What one message tells: one alert, or several of the same rule and event."""

    channel: str
    alerts: Sequence[Alert]
    is_reminder: bool = False
    instead_of: str | None = None
    """The channel that could not deliver it."""
    incident: UUID | None = None
    """The id of the incident that the message opens, is about or ends."""

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
    "slow": "takes long",
    "backlog": "Backlog",
    "no_instance": "No instance",
    "recovered": "recovered",
}
"""What became of a job, by event; the name of what is about no single job."""


def sentence(alert: Alert) -> str:
    """Say of one job what happened."""
    if alert.event == "test":
        return f"Test of this channel: {alert.why}"
    what = WORDS.get(alert.event, alert.event)
    who = called(alert)
    if alert.job is None and alert.job_id is None:
        who, what = WORDS.get(alert.of_event, alert.of_event), what if over(alert) else ""
    times = ""
    if (alert.many or 1) > 1 and alert.event in IN_A_ROW:
        times = f" {alert.many} times in a row"
    if over(alert) and alert.since is not None:
        times = f" after trouble since {alert.since:%Y-%m-%d %H:%M:%S} UTC"
    why = f": {shortened(alert.why)}" if alert.why else ""
    return f"{who} {what}".rstrip() + f"{times}{why}"


IN_A_ROW = frozenset({"failed", "exhausted", "missed", "slow"})
"""The events that are told with how many times they came in a row."""


def over(alert: Alert) -> bool:
    """Whether what was told is over."""
    return alert.event == "recovered"


def shortened(text: str) -> str:
    """Return a text of bounded length, in one line."""
    line = " ".join(text.split())
    return line if len(line) <= MAX_WHY_LENGTH else f"{line[: MAX_WHY_LENGTH - 1]}…"


def text(message: Message) -> str:
    """Say all of a message for people: the first few jobs by name, and how many more there are."""
    first = [sentence(one) for one in message.alerts[:FIRST]]
    many = len(message.alerts)
    if many == 1:
        lines = first
    else:
        more = [f"and {many - FIRST} more"] if many > FIRST else []
        what = WORDS.get(message.event, message.event)
        lines = [f"{many} jobs: {what}", *(f"• {one}" for one in [*first, *more])]
    if message.is_reminder:
        lines[0] = f"Still: {lines[0]}"
    if message.instead_of is not None:
        lines.append(f"(The channel {message.instead_of} could not deliver this.)")
    return "\n".join(lines)
