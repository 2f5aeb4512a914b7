"""Crontabs as jobs: which lines can be, and why the others cannot."""

import re
from collections.abc import Iterator
from typing import Any

from msgspec import Struct

from app.core.importing.calls import call_of
from app.core.importing.programs import NotACall
from app.core.importing.result import Imported, Secrets, unique_name
from app.core.importing.schedules import check_schedule
from app.core.schedule.cron_parser import is_open

ASSIGNMENT = re.compile(r"\s*([A-Za-z_][A-Za-z0-9_]*)\s*=\s*(.*?)\s*")
FIELDS = 5
ALIASES = frozenset(
    {"@yearly", "@annually", "@monthly", "@weekly", "@daily", "@midnight", "@hourly"}
)
AS_CRON = {"max_attempts": 1, "misfire": "skip", "overlap": "allow_all"}
"""What cron does: it runs a line once, beside its run before, and not when it was down."""
TEXT = re.compile(r"[A-Za-z0-9]+")


class Line(Struct, frozen=True, kw_only=True):
    """A line of a crontab that is to be run."""

    number: int
    text: str
    cron: str
    user: str | None
    command: str
    stdin: str | None
    """What follows the first unescaped `%`."""
    comment: str | None
    """The comment right above it."""
    variables: dict[str, str]


def imported_crontab(text: str, *, with_users: bool, timezone: str | None = None) -> Imported:
    """Make jobs of a crontab; `with_users`: it has a user in each line, as /etc/crontab has.

    `timezone`: the zone that jobs without one of their own are to have, if it is known.
    """
    result = Imported(defaults=AS_CRON)
    secrets = Secrets()
    mailed: dict[str, list[str]] = {}
    for one in lines_of(text, result, with_users=with_users):
        if one.cron == "@reboot":
            why = "runs when the machine starts, which no schedule says: have the service do it"
            result.leave(one.number, one.text, why)
            continue
        zone = one.variables.get("CRON_TZ")
        try:
            check_schedule(cron=one.cron, timezone=zone)
            check_days(one.cron)
            target, more, notes = call_of(
                one.command, stdin=one.stdin, variables=one.variables, secrets=secrets
            )
        except NotACall as error:
            result.leave(one.number, one.text, str(error))
            continue
        job = unique_name(name_of(one, target), result.jobs)
        fields: dict[str, Any] = {}
        if one.comment:
            fields["description"] = one.comment
        fields["cron"] = one.cron
        if zone:
            fields["timezone"] = zone
        result.jobs[job] = fields | AS_CRON | more | {"http": target, "tags": tags_of(one)}
        result.notes += [f"line {one.number}, {job}: {note}" for note in notes]
        if mailto := one.variables.get("MAILTO"):
            mailed.setdefault(mailto, []).append(job)
    if timezone is None and any("timezone" not in job for job in result.jobs.values()):
        result.notes.append(
            "cron runs by the clock of its machine and these jobs by UTC: give --timezone if "
            "that is another"
        )
    if any("timeout_seconds" not in job for job in result.jobs.values()):
        result.notes.append(
            "cron waits as long as a call takes, and these jobs 30 seconds: give those that may "
            "take longer timeout_seconds"
        )
    add_rules(result, mailed)
    return result


def lines_of(text: str, result: Imported, *, with_users: bool) -> Iterator[Line]:
    """Yield the lines that are to be run; note those that are none."""
    variables: dict[str, str] = {}
    comment = None
    for number, line in enumerate(text.splitlines(), start=1):
        stripped = line.strip()
        if not stripped:
            comment = None
            continue
        if stripped.startswith("#"):
            comment = stripped.lstrip("# ").strip() or None
            continue
        if assignment := ASSIGNMENT.fullmatch(line):
            variables = variables | {assignment[1]: unquoted(assignment[2])}
            continue
        found = split_line(stripped, with_users=with_users)
        if found is None:
            why = f"has fewer than {FIELDS} fields and a command: is it a line of a crontab?"
            result.leave(number, stripped, why)
            continue
        cron, user, command = found
        command, stdin = split_percent(command)
        yield Line(
            number=number,
            text=stripped,
            cron=cron,
            user=user,
            command=command,
            stdin=stdin,
            comment=comment,
            variables=variables,
        )
        comment = None


def split_line(text: str, *, with_users: bool) -> tuple[str, str | None, str] | None:
    """Split a line into schedule, user and command; None if it has not all of them."""
    fields = 1 if text.startswith("@") else FIELDS
    parts = text.split(None, fields + with_users)
    if len(parts) != fields + with_users + 1:
        return None
    cron = " ".join(parts[:fields])
    if text.startswith("@") and cron.lower() not in ALIASES | {"@reboot"}:
        return None
    return (
        cron.lower() if cron.startswith("@") else cron,
        parts[fields] if with_users else None,
        parts[-1],
    )


def check_days(cron: str) -> None:
    """Refuse a cron that means other days here.

    Where one of its day fields begins with a star, as */2, cron wants a day that both allow; here
    one of them is enough, unless the other allows every day.

    Raises:
        NotACall: it is such a one.
    """
    fields = cron.split()
    if len(fields) != FIELDS:
        return
    days = (fields[2], fields[4])
    if any(one.startswith("*") for one in days) and not any(map(is_open, days)):
        message = f"means the days that both {days[0]} and {days[1]} allow, which no schedule says"
        raise NotACall(message)


def split_percent(command: str) -> tuple[str, str | None]:
    r"""Split a command at its first `%` that no backslash escapes: what follows is its stdin."""
    pieces = re.split(r"(?<!\\)%", command)
    whole = [one.replace("\\%", "%") for one in pieces]
    return whole[0].strip(), "\n".join(whole[1:]) if len(whole) > 1 else None


def unquoted(value: str) -> str:
    if len(value) > 1 and value[0] == value[-1] and value[0] in "'\"":
        return value[1:-1]
    return value


def name_of(line: Line, target: dict[str, Any]) -> str:
    """Name a job by its comment or else by what it calls."""
    if line.comment and len(words := TEXT.findall(line.comment)) <= 6:  # noqa: PLR2004
        found = words
    else:
        _, _, rest = target["url"].partition("://")
        host, _, path = rest.partition("?")[0].partition("/")
        found = TEXT.findall(path) or TEXT.findall(host)
    return "-".join(found).lower()[:100] or f"line-{line.number}"


def tags_of(line: Line) -> list[str]:
    """Say where a job is from, so that all of them are found together."""
    tags = ["crontab"]
    if line.variables.get("MAILTO"):
        tags.append(mail_tag(line.variables["MAILTO"]))
    return tags


def mail_tag(mailto: str) -> str:
    return f"mailto:{mailto.replace(',', ' ')}"


def add_rules(result: Imported, mailed: dict[str, list[str]]) -> None:
    """Add a rule for each address that cron would have mailed to."""
    for mailto in mailed:
        name = "-".join(["cron-mail", *TEXT.findall(mailto)]).lower()[:100]
        result.rules[name] = {
            "events": ["failed", "recovered"],
            "tag": mail_tag(mailto),
            "channels": [],
        }
        result.notes.append(
            f"MAILTO={mailto}: the rule {name} is on record only, until it has a channel: "
            "see docs/alerts.md"
        )
