"""Rows of the tables of other schedulers as jobs: of pg_cron, and of the Go scheduler."""

import json
import re
from collections.abc import Iterable, Mapping
from typing import Any
from urllib.parse import urlencode, urlsplit, urlunsplit

from app.core.importing.calls import SOUNDS_SECRET, checked
from app.core.importing.crontab import AS_CRON, check_days
from app.core.importing.programs import NotACall
from app.core.importing.result import Imported, Secrets, unique_name
from app.core.importing.schedules import check_schedule

CALL = re.compile(r"\bnet\.http_(get|post|delete)\s*\(", re.IGNORECASE)
SECONDS = re.compile(r"(\d+) seconds?")
BEFORE = re.compile(r"\s*select\s+(?:\*\s+from\s+)?", re.IGNORECASE)
AFTER = re.compile(r"\s*(?:(?:as\s+)?(?:\w+|\"[^\"]+\"))?\s*;?\s*", re.IGNORECASE)
"""All that may stand around a call, as nothing else of its statement becomes part of a job."""
LITERAL = re.compile(r"(?:E(?!.*\\))?'((?:[^']|'')*)'\s*(?:::\s*\w+)?", re.DOTALL)
"""A text that is written out; one with escapes is none, as only Postgres reads these."""
NUMBER = re.compile(r"\d+")
OBJECT = re.compile(r"jsonb?_build_object\s*\((.*)\)\s*(?:::\s*\w+)?", re.DOTALL | re.IGNORECASE)
ARGUMENT = re.compile(r"(\w+)\s*(?::=|=>)\s*(.*)", re.DOTALL)
ORDER = {
    "get": ("url", "params", "headers", "timeout_milliseconds"),
    "post": ("url", "body", "params", "headers", "timeout_milliseconds"),
    "delete": ("url", "params", "headers", "timeout_milliseconds"),
}
"""The arguments of pg_net's functions where they are given without names."""
DEFAULTS: Mapping[str, Mapping[str, Any]] = {"post": {"body": {}}}
"""What pg_net sends where an argument is left out."""
TYPES: Mapping[str, type] = {"params": dict, "headers": dict, "timeout_milliseconds": int}
OK = [200]
"""What the Go scheduler takes for success where a job says nothing."""


def imported_pg_cron(rows: Iterable[Mapping[str, Any]]) -> Imported:
    """Make jobs of rows of `cron.job`: of those that call pg_net."""
    result = Imported(defaults=AS_CRON)
    secrets = Secrets()
    for number, row in enumerate(rows, start=1):
        called = row.get("jobname") or f"pg-cron-{row.get('jobid', number)}"
        try:
            target, fields, notes = pg_net_call(str(row["command"]), secrets)
            fields = pg_schedule(str(row["schedule"])) | fields
        except NotACall as error:
            result.leave(number, str(called), str(error))
            continue
        if row.get("active") is False:
            fields["paused"] = True
        name = unique_name(str(called).replace("/", "-"), result.jobs)
        result.jobs[name] = fields | AS_CRON | {"http": target, "tags": ["pg_cron"]}
        result.notes += [f"{name}: {note}" for note in notes]
    if result.jobs:
        result.notes.append(
            "unschedule each in its database when it runs here: select cron.unschedule('NAME')"
        )
    return result


def pg_schedule(schedule: str) -> dict[str, Any]:
    """Read a schedule of pg_cron: a cron in GMT, in which `$` is the last day of the month.

    Raises:
        NotACall: it means other days here, or cannot be read.
    """
    if found := SECONDS.fullmatch(schedule.strip()):
        check_schedule(every_seconds=int(found[1]))
        return {"every_seconds": int(found[1])}
    check_days(schedule)
    cron = schedule.replace("$", "L")
    check_schedule(cron=cron)
    return {"cron": cron}


def pg_net_call(command: str, secrets: Secrets) -> tuple[dict[str, Any], dict[str, Any], list[str]]:
    """Read the call of pg_net in a command; return target, further fields, and notes.

    Raises:
        NotACall: it is none, or has what only its database can work out.
    """
    verb, given = arguments_of(command)
    url = checked(str(given.get("url") or ""))
    notes: list[str] = []
    if params := given.get("params"):
        url += ("&" if "?" in url else "?") + urlencode(
            {name: as_text(one) for name, one in params.items()}
        )
    target: dict[str, Any] = {"url": url, "method": verb.upper()}
    if headers := given.get("headers"):
        target |= headers_of(headers, url, secrets, notes)
    if "body" in given:
        target["json"] = given["body"]
    fields = {}
    if milliseconds := given.get("timeout_milliseconds"):
        fields["timeout_seconds"] = milliseconds / 1000
    return target, fields, notes


def arguments_of(command: str) -> tuple[str, dict[str, Any]]:
    """Return the verb of the one call that a command is, and its arguments by name.

    Raises:
        NotACall: as `pg_net_call`.
    """
    calls = list(CALL.finditer(command))
    if not calls:
        message = "runs SQL in its database: Tocsin calls services; leave it to pg_cron"
        raise NotACall(message)
    if len(calls) > 1:
        message = "makes several calls: write a job for each"
        raise NotACall(message)
    verb = calls[0][1].lower()
    arguments, rest = split_arguments(command[calls[0].end() :])
    if not BEFORE.fullmatch(command[: calls[0].start()]) or not AFTER.fullmatch(rest):
        message = "does more than call: a condition, a table or another statement would be lost"
        raise NotACall(message)
    given: dict[str, Any] = dict(DEFAULTS.get(verb, {}))
    for position, text in enumerate(arguments):
        if named := ARGUMENT.fullmatch(text):
            name, value = named[1].lower(), named[2]
        elif position < len(ORDER[verb]):
            name, value = ORDER[verb][position], text
        else:
            message = f"has more arguments than net.http_{verb} takes"
            raise NotACall(message)
        given[name] = literal(name, value.strip())
    for name, type_ in TYPES.items():
        if not isinstance(given.get(name) or type_(), type_):
            message = f"has {name} of a form that pg_net does not take"
            raise NotACall(message)
    return verb, given


def split_arguments(text: str) -> tuple[list[str], str]:
    """Split at the commas of a call up to its closing parenthesis; return also what follows that.

    Raises:
        NotACall: there is none.
    """
    found: list[str] = []
    depth, quoted, start = 0, False, 0
    for at, letter in enumerate(text):
        if letter == "'":
            quoted = not quoted
        elif quoted:
            continue
        elif letter in "([{":
            depth += 1
        elif letter in ")]}" and depth:
            depth -= 1
        elif letter == ")":
            return [one for one in [*found, text[start:at].strip()] if one], text[at + 1 :]
        elif letter == "," and not depth:
            found.append(text[start:at].strip())
            start = at + 1
    message = "has a call that does not end"
    raise NotACall(message)


def literal(name: str, text: str) -> Any:  # noqa: ANN401 - any JSON
    """Read an argument that is written out.

    Raises:
        NotACall: it has to be worked out in the database.
    """
    if NUMBER.fullmatch(text):
        return int(text)
    if whole := LITERAL.fullmatch(text):
        value = whole[1].replace("''", "'")
        if name == "url":
            return value
        try:
            return json.loads(value)
        except ValueError:
            message = f"has {name} that is not JSON"
            raise NotACall(message) from None
    if built := OBJECT.fullmatch(text):
        parts = [LITERAL.fullmatch(one) for one in split_arguments(built[1] + ")")[0]]
        if len(parts) % 2 == 0 and all(parts):
            values = [one[1].replace("''", "'") for one in parts if one]
            return dict(zip(values[::2], values[1::2], strict=True))
    message = f"has {name} that only its database can work out: {text[:60]}"
    raise NotACall(message)


def headers_of(
    headers: Mapping[str, Any], url: str, secrets: Secrets, notes: list[str]
) -> dict[str, Any]:
    """Return headers and auth of a target; what sounds secret by name only."""
    host = urlsplit(url).hostname or "target"
    kept: dict[str, str] = {}
    auth = None
    for name, value in headers.items():
        scheme, _, rest = as_text(value).partition(" ")
        if name.lower() == "authorization" and scheme.lower() == "bearer" and rest:
            auth = {"type": "bearer", "token": secrets.reference(host, "token", rest, notes)}
        elif SOUNDS_SECRET.search(name):
            kept[name] = secrets.reference(host, name, as_text(value), notes)
        else:
            kept[name] = as_text(value)
    return ({"headers": kept} if kept else {}) | ({"auth": auth} if auth else {})


def as_text(value: Any) -> str:  # noqa: ANN401 - any JSON
    """Write a value of JSON as Postgres does where it takes it for a text."""
    return value if isinstance(value, str) else json.dumps(value)


def imported_go_scheduler(rows: Iterable[Mapping[str, Any]]) -> Imported:
    """Make jobs of rows of the table `jobs` of the Go distributed-scheduler."""
    result = Imported()
    secrets = Secrets()
    for number, row in enumerate(rows, start=1):
        id = str(row.get("id", number))
        over = row.get("execute_at") and not row.get("next_run")
        if over:
            why = "ran once and is over"
            result.leave(number, id, why)
            continue
        notes: list[str] = []
        try:
            fields = go_job(row, secrets, notes)
        except NotACall as error:
            result.leave(number, id, str(error))
            continue
        name = unique_name(f"{str(row['type']).lower()}-{id[:8]}", result.jobs)
        result.jobs[name] = fields
        result.notes += [f"{name}: {note}" for note in notes]
    if result.jobs:
        result.notes.append(
            "stop each in the other scheduler before it runs here; give them better names "
            "before the first application, by which they are known from then on"
        )
    return result


def go_job(row: Mapping[str, Any], secrets: Secrets, notes: list[str]) -> dict[str, Any]:
    """Return the fields of one job.

    Raises:
        NotACall: it is neither for HTTP nor for AMQP, or its schedule cannot be.
    """
    fields: dict[str, Any] = {"description": f"{row.get('id')} of the Go scheduler"}
    if row.get("cron_schedule"):
        check_schedule(cron=row["cron_schedule"])
        fields["cron"] = row["cron_schedule"]
    else:
        fields["run_at"] = row["execute_at"]
    if http := as_object(row.get("http_job")):
        fields["http"] = go_http(http, secrets, notes)
    elif amqp := as_object(row.get("amqp_job")):
        fields["amqp"] = go_amqp(amqp, secrets, notes)
    else:
        message = f"is of the type {row.get('type')}, which is neither HTTP nor AMQP"
        raise NotACall(message)
    if row.get("status") == "STOPPED":
        fields["paused"] = True
    return fields | {"tags": [*(row.get("tags") or ()), "go-scheduler"]}


def as_object(value: object) -> dict[str, Any]:
    """Return an object that may come as JSON text, as drivers give jsonb."""
    found = json.loads(value) if isinstance(value, str) else value
    return dict(found) if isinstance(found, Mapping) else {}


def go_http(http: Mapping[str, Any], secrets: Secrets, notes: list[str]) -> dict[str, Any]:
    url = checked(http["url"] if "://" in http["url"] else f"https://{http['url']}")
    target: dict[str, Any] = {"url": url, "method": (http.get("method") or "GET").upper()}
    target |= headers_of(http.get("headers") or {}, url, secrets, notes)
    if http.get("body") is not None:
        target["body"] = http["body"]
    target["success"] = http.get("valid_response_codes") or OK
    auth = http.get("auth") or {}
    host = urlsplit(url).hostname or "target"
    if auth.get("type") == "basic":
        password = secrets.reference(host, "password", str(auth.get("password")), notes)
        target["auth"] = {"type": "basic", "username": auth["username"], "password": password}
    elif auth.get("type") == "bearer":
        token = secrets.reference(host, "token", str(auth.get("bearer_token")), notes)
        target["auth"] = {"type": "bearer", "token": token}
    return target


def go_amqp(amqp: Mapping[str, Any], secrets: Secrets, notes: list[str]) -> dict[str, Any]:
    parts = urlsplit(checked(str(amqp["connection"])))
    url = str(amqp["connection"])
    if parts.password:
        reference = secrets.reference(parts.hostname or "broker", "password", parts.password, notes)
        place = parts.netloc.rpartition("@")[2]
        url = urlunsplit(parts._replace(netloc=f"{parts.username}:{reference}@{place}"))
    target: dict[str, Any] = {"url": url, "exchange": amqp.get("exchange") or ""}
    target["routing_key"] = amqp.get("routing_key") or ""
    if amqp.get("headers"):
        target["headers"] = amqp["headers"]
    encoded = amqp.get("body_encoding") == "base64"
    target["body_base64" if encoded else "body"] = amqp.get("body") or ""
    if amqp.get("content_type"):
        target["content_type"] = amqp["content_type"]
    return target
