"""The forms in which services take messages: the target of the job that delivers one."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from html import escape
from typing import Any

from msgspec import Struct, to_builtins
from msgspec.structs import replace

from app.core.alerts.messages import FIRST, Alert, Message, called, over, sentence, text
from app.errors import FieldError

MAX_DISCORD_LENGTH = 2000
"""The most characters of a message that Discord takes."""
DISCORD_SUPPRESS_EMBEDS = 1 << 2
MAX_PAGERDUTY_SUMMARY = 1024
MAX_OPSGENIE_MESSAGE = 130
MAX_OPSGENIE_TEXT = 15_000
MAX_OPSGENIE_ENTITY = 512
MAX_SUBJECT = 200
"""The most characters of the subject of a mail."""
ALERTS_AT_ONCE = 20
"""How many alerts go to Alertmanager in one request, so that none is too long for a target."""
FIRING_DAYS = 7
"""How long Alertmanager takes an alert to go on, of which it hears no more."""


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
    PAGERDUTY = "pagerduty"
    """Events API v2 of PagerDuty: what is told opens an incident, and its end resolves it."""
    OPSGENIE = "opsgenie"
    """The Alert API of Opsgenie: what is told creates an alert, and its end closes it."""
    ALERTMANAGER = "alertmanager"
    """API v2 of Prometheus' Alertmanager."""
    AMQP = "amqp"
    """The JSON of `webhook`, as a message to a broker."""
    SMTP = "smtp"
    """A mail."""
    TEMPLATE = "template"
    """An HTTP request whose body is a template of the channel's."""


INCIDENTS = frozenset({Preset.PAGERDUTY, Preset.OPSGENIE})
"""The presets of services where what is told stays open until its end is told."""
KINDS: Mapping[Preset, str] = {Preset.AMQP: "amqp", Preset.SMTP: "smtp"}
"""The kinds of the jobs that deliver, where that is not http."""


def kind_of(preset: Preset) -> str:
    """Return the kind of the jobs that deliver by a preset."""
    return KINDS.get(preset, "http")


def filled_fields(preset: Preset) -> Sequence[str]:
    """Return the fields of a target that are the message's, or that would read it as a template."""
    match preset:
        case Preset.TEMPLATE:
            return ()
        case Preset.SMTP:
            return ("subject", "text", "html", "templates")
        case _:
            return ("body", "json", "body_base64", "templates")


def target_errors(preset: Preset, target: Mapping[str, Any]) -> Iterator[FieldError]:
    """Say what of a channel's target the preset cannot do with; the kind's own rules apart."""
    for name in filled_fields(preset):
        if name in target:
            message = "is what alerts are written into: leave it out"
            yield FieldError(field=f"target.{name}", message=message)
    url = target.get("url")
    match preset:
        case Preset.PAGERDUTY if "routing_key" not in as_dict(target.get("json_secrets")):
            message = "is missing: PagerDuty takes the integration key there, as ${secret:NAME}"
            yield FieldError(field="target.json_secrets.routing_key", message=message)
        case Preset.OPSGENIE if isinstance(url, str) and not url.endswith("/v2/alerts"):
            message = "must end with /v2/alerts, as https://api.opsgenie.com/v2/alerts does"
            yield FieldError(field="target.url", message=message)
        case Preset.TEMPLATE if not {"body", "json"} & {*as_list(target.get("templates"))}:
            message = "must name body or json: else no message would say anything of its alerts"
            yield FieldError(field="target.templates", message=message)
        case _:
            pass


def as_dict(value: object) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}


def as_list(value: object) -> list[str]:
    return [one for one in value if isinstance(one, str)] if isinstance(value, list) else []


def webhook(message: Message) -> dict[str, Any]:
    """Return the body of our own form: the first few alerts as a whole, and how many there are."""
    return {
        "event": message.event,
        "rule": message.rule,
        "channel": message.channel,
        "text": text(message),
        "count": len(message.alerts),
        "reminder": message.is_reminder,
        "instead_of": message.instead_of,
        "alerts": [to_builtins(one) for one in message.alerts[:FIRST]],
    }


def slack(message: Message) -> dict[str, Any]:
    """Return the body of an incoming webhook of Slack; `&`, `<` and `>` are control characters.

    Slack asks for no more than 4,000 characters, and cuts off what is beyond 40,000. Addresses in
    errors are not fetched for previews. By docs.slack.dev: messaging/formatting-message-text, and
    reference/messaging/link-unfurling.
    """
    said = text(message).replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    mark = {"recovered": ":white_check_mark:", "test": ":bell:"}.get(
        message.event, ":rotating_light:"
    )
    rule = f" _({message.rule})_" if message.rule else ""
    plain = rule.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    return {"text": f"{mark} {said}{plain}", "unfurl_links": False, "unfurl_media": False}


def teams(message: Message) -> dict[str, Any]:
    """Return the body of a workflow of Teams: a message with one adaptive card.

    A workflow takes about 28 KB. What is said is in runs of text, which read no Markdown: in
    blocks of text a name such as `_nightly_` lost its underscores. By learn.microsoft.com:
    connectors/teams, and the schema of `TextRun` of adaptive cards 1.2.
    """
    color = {"recovered": "Good", "test": "Default"}.get(message.event, "Attention")
    lines: list[dict[str, Any]] = [run(line) for line in text(message).splitlines()]
    lines[0] |= {"weight": "Bolder", "color": color}
    if message.rule:
        lines.append(run(message.rule) | {"isSubtle": True})
    card = {
        "$schema": "http://adaptivecards.io/schemas/adaptive-card.json",
        "type": "AdaptiveCard",
        "version": "1.2",
        "body": [{"type": "RichTextBlock", "inlines": [line]} for line in lines],
        "msteams": {"width": "Full"},
    }
    kind = "application/vnd.microsoft.card.adaptive"
    attachment = {"contentType": kind, "contentUrl": None, "content": card}
    return {"type": "message", "attachments": [attachment]}


def run(line: str) -> dict[str, Any]:
    """Return a line as a run of text of an adaptive card."""
    return {"type": "TextRun", "text": line}


def discord(message: Message) -> dict[str, Any]:
    """Return the body of a webhook of Discord, which notifies nobody by name.

    Nor does it fetch addresses in errors for previews. By docs.discord.com: resources/webhook,
    "Execute Webhook", which allows that flag, and resources/message.
    """
    mark = {"recovered": "\N{WHITE HEAVY CHECK MARK}", "test": "\N{BELL}"}.get(
        message.event, "\N{POLICE CARS REVOLVING LIGHT}"
    )
    rule = f" ({message.rule})" if message.rule else ""
    said = cut(f"{mark} {text(message)}", MAX_DISCORD_LENGTH - len(rule))
    return {
        "content": f"{said}{rule}",
        "allowed_mentions": {"parse": []},
        "flags": DISCORD_SUPPRESS_EMBEDS,
    }


def key_of(message: Message) -> str:
    """Return the key by which a service knows the incident of a message."""
    return f"tocsin-{message.incident or message.alerts[0].id}"


def pagerduty(message: Message) -> dict[str, Any]:
    """Return an event of PagerDuty's Events API v2, but for the routing key.

    By github.com/PagerDuty/developer-docs, docs/events-API-v2: 512 KB at most, of which this is a
    small part, and the end of an incident is its key alone.
    """
    if message.event == "recovered":
        return {"event_action": "resolve", "dedup_key": key_of(message)}
    first = message.alerts[0]
    payload = {
        "summary": cut(text(message), MAX_PAGERDUTY_SUMMARY),
        "source": "tocsin" if first.job_id is None else called(first),
        "severity": "info" if message.event == "test" else "error",
        "timestamp": rfc_3339(first.at),
        "class": message.event,
        "custom_details": webhook(message),
    }
    if message.rule is not None:
        payload["group"] = message.rule
    return {
        "event_action": "trigger",
        "dedup_key": key_of(message),
        "client": "Tocsin",
        "payload": payload,
    }


def opsgenie(message: Message) -> dict[str, Any]:
    """Return the body of a request that creates an alert of Opsgenie, or closes it.

    By docs.opsgenie.com: docs/alert-api, docs/alerts-and-alert-fields.
    """
    said = text(message)
    if message.event == "recovered":
        return {"source": "Tocsin", "note": cut(said, MAX_OPSGENIE_TEXT)}
    first = message.alerts[0]
    return {
        "message": cut(said.splitlines()[0], MAX_OPSGENIE_MESSAGE),
        "alias": key_of(message),
        "description": cut(said, MAX_OPSGENIE_TEXT),
        "entity": cut("tocsin" if first.job_id is None else called(first), MAX_OPSGENIE_ENTITY),
        "source": "Tocsin",
        "details": {
            "event": message.event,
            "rule": message.rule or "",
            "count": str(len(message.alerts)),
        },
    }


def alertmanager(message: Message) -> list[dict[str, Any]]:
    """Return alerts of Alertmanager: what is over ends now, all else in some days."""
    return [posted(one) for one in message.alerts]


def posted(one: Alert) -> dict[str, Any]:
    """Return one alert of Alertmanager, whose labels are the same when it begins and ends.

    Alertmanager refuses a whole request for one alert that ends before it starts, as after a step
    of the clock. See github.com/prometheus/alertmanager: api/v2/openapi.yaml, and `Validate` of
    alert/alert.go.
    """
    labels = {
        "alertname": one.rule or "test",
        "event": one.of_event or one.event,
        "job_name": one.job,
        "job_id": one.job_id and str(one.job_id),
        "source": "tocsin",
    }
    starts_at = one.since or one.at
    ends_at = max(starts_at, one.at if over(one) else one.at + timedelta(days=FIRING_DAYS))
    return {
        "labels": {name: value for name, value in labels.items() if value},
        "annotations": {"summary": sentence(one)},
        "startsAt": rfc_3339(starts_at),
        "endsAt": rfc_3339(ends_at),
    }


def smtp(message: Message) -> dict[str, Any]:
    """Return subject and parts of a mail."""
    said = text(message)
    by = f"Rule {message.rule}, channel {message.channel}"
    if message.rule is None:
        by = f"Channel {message.channel}"
    subject = "".join(one if one.isprintable() else " " for one in said.splitlines()[0])
    paragraphs = "".join(f"<p>{escape(line)}</p>" for line in said.splitlines())
    return {
        "subject": cut(subject, MAX_SUBJECT),
        "text": f"{said}\n\n{by}\n",
        "html": f"{paragraphs}<p><small>{escape(by)}</small></p>",
    }


def cut(said: str, longest: int) -> str:
    """Return a text of at most so many characters."""
    return said if len(said) <= longest else f"{said[: longest - 1]}…"


def rfc_3339(at: datetime) -> str:
    """Return an instant as services read it."""
    return f"{at.astimezone(UTC).isoformat()[: -len('+00:00')]}Z"


BODIES: Mapping[Preset, Callable[[Message], Any]] = {
    Preset.WEBHOOK: webhook,
    Preset.SLACK: slack,
    Preset.TEAMS: teams,
    Preset.DISCORD: discord,
    Preset.PAGERDUTY: pagerduty,
    Preset.OPSGENIE: opsgenie,
    Preset.ALERTMANAGER: alertmanager,
    Preset.AMQP: webhook,
}
"""The bodies of messages by preset, as JSON values."""


class Job(Struct, frozen=True, kw_only=True):
    """The job that delivers a message."""

    kind: str
    target: dict[str, Any]
    metadata: dict[str, Any]
    """What the templates of a channel read."""


def job_of(preset: Preset, target: dict[str, Any], message: Message) -> Job:
    """Return the job that delivers a message by a channel with this target."""
    metadata: dict[str, Any] = {}
    match preset:
        case Preset.TEMPLATE:
            metadata = webhook(message)
        case Preset.SMTP:
            target = target | smtp(message)
        case Preset.OPSGENIE if message.event == "recovered":
            url = f"{target.get('url')}/{key_of(message)}/close?identifierType=alias"
            target = target | {"url": url, "json": opsgenie(message)}
        case _:
            target = target | {"json": BODIES[preset](message)}
    return Job(kind=kind_of(preset), target=target, metadata=metadata)


def parts_of(preset: Preset, message: Message) -> Iterator[Message]:
    """Divide a message into those that are sent: one, but where each alert stands for itself."""
    many = ALERTS_AT_ONCE if preset is Preset.ALERTMANAGER else len(message.alerts)
    for start in range(0, len(message.alerts), many):
        yield replace(message, alerts=message.alerts[start : start + many])
