"""What reads text of strangers: each takes any text of legal size and refuses it by field, or not.

Whatever else a parser raises is a bug, and so is taking longer than `most_seconds`.
"""

from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

import msgspec

from app.core.access import api_key as key
from app.core.access import session
from app.core.jobs.job import JobDocument, JobPatch
from app.core.net import headers, url_parts, urls
from app.core.net.egress import Listed
from app.core.schedule.schedule import Schedule, check, first_run, normalized, run_after
from app.core.schedule.words import describe
from app.core.secrets.bindings import Destination, host_error, strangers
from app.core.secrets.masking import mask, redact, secrets_in, unmask
from app.errors import InvalidInput
from app.targets.http.answer import MAX_RESPONSE_LENGTH, AnswerReader, HttpAnswer
from app.targets.http.failures import Closed, NotHttp
from app.targets.http.rules import retry_after_seconds
from app.targets.registry import decode_target, target_type
from app.vault import (
    SecretKeys,
    check_target,
    decrypt_target,
    encrypt_target,
    prepare,
    reencrypt_target,
)
from app.vault.named import places_of
from app.wire import pages

SECONDS = 0.1
TARGET_SECONDS = 0.5
"""For a target of 256 KiB and all that reads it, one after the other: about ten readers."""
NOW = datetime(2026, 3, 28, 23, 59, 59, 999_999, tzinfo=UTC)
JOB = UUID(int=7)
KEYS = SecretKeys(["A" * 43])
JOB = UUID(int=1)
LISTS: tuple[pages.Cursor[Any], ...] = (
    *(pages.JOBS, pages.EXECUTIONS, pages.KEYS),
    *(pages.CHANGES, pages.SECRETS),
)

Parser = Callable[[str], object]


def schedule(**given: Any) -> None:  # noqa: ANN401 - of whatever type a schedule has
    one = normalized(Schedule(**given))
    check(one, job_id=JOB, now=NOW)
    describe(one, job_id=JOB)
    run = first_run(one, job_id=JOB, now=NOW)
    for _ in range(3):
        run = run_after(one, run, job_id=JOB) if run else None


def cron(text: str) -> None:
    schedule(cron=text[:128])


def cron_in_berlin(text: str) -> None:
    schedule(cron=text[:128], timezone="Europe/Berlin")


def zone(text: str) -> None:
    try:
        schedule(cron="0 3 * * *", timezone=text[:200])
    finally:
        schedule(cron=f"CRON_TZ={text[:100]} 0 3 * * *")


def duration(text: str) -> None:
    schedule(cron=f"@every {text[:120]}")


def target(kind: str, value: dict[str, Any]) -> None:
    """Take a target through all that is done with it; its secrets must not be in what is shown."""
    type_ = target_type(kind)
    shown = msgspec.json.encode(mask(type_, value)).decode()
    secrets_in(type_, value)
    at_rest = encrypt_target(type_, value, KEYS, job_id=JOB)
    reencrypt_target(type_, at_rest, KEYS, job_id=JOB)
    clear = decrypt_target(type_, value, KEYS, job_id=JOB)[0]
    assert decrypt_target(type_, at_rest, KEYS, job_id=JOB)[0] == clear
    places_of(kind, value)
    redact({"sesame"}, shown)
    unmask(type_, value, value)
    check_target(kind, value)
    prepare(kind, value, KEYS, job_id=JOB)
    decode_target(kind, value)


def http_target(text: str) -> None:
    target("http", as_object(text))


def amqp_target(text: str) -> None:
    target("amqp", as_object(text))


def as_object(text: str) -> dict[str, Any]:
    try:
        return msgspec.json.decode(text[: 256 * 1024], type=dict[str, Any])
    except (msgspec.DecodeError, RecursionError):
        return {"url": text}


def http_url(text: str) -> None:
    problems = list(urls.url_errors(text[:2048]))
    assert (urls.url_error(text[:2048]) is None) is (not problems)
    if not problems and len(text) <= urls.MAX_URL_LENGTH:  # the short way and the long one agree
        assert urls.address(text).url.host == urls.parsed_url(text).host
        assert urls.address(text).url.raw_path_qs == urls.parsed_url(text).raw_path_qs
    url_parts.with_password(text, str.upper)
    target("http", {"url": text})


def amqp_url(text: str) -> None:
    target("amqp", {"url": text, "routing_key": "q"})


def header(text: str) -> None:
    name, _, value = text.partition(":")
    headers.name_error(name)
    headers.value_error(value)
    target("http", {"url": "http://h/", "headers": {name: value}})


def reference(text: str) -> None:
    url = f"http://h/{text}"
    target("http", {"url": url, "auth": {"type": "bearer", "token": text}, "headers": {"X": text}})


def http_answer(text: str) -> None:
    """Read an answer whole and in two pieces: it may be refused, but not twice differently."""
    data = text.encode("latin-1", errors="replace")
    half = len(data) // 2
    assert answer_of(data) == answer_of(data[:half], data[half:])


def answer_of(*pieces: bytes) -> tuple[object, ...]:
    reader, answer = AnswerReader(), HttpAnswer()
    reader.begin(answer, to_head=False)
    try:
        for piece in pieces:
            if piece and not reader.is_complete:
                reader.feed(piece)
        if not reader.is_complete:
            reader.feed_eof()
    except (Closed, NotHttp) as refusal:
        return (type(refusal),)
    assert len(answer.body) <= MAX_RESPONSE_LENGTH
    return answer.final_status, answer.fields, bytes(answer.body)


def retry_after(text: str) -> None:
    retry_after_seconds([text], now=NOW)


def cursor(text: str) -> None:
    refusals = []
    for one in LISTS:
        try:
            one.read(text)
        except InvalidInput as refusal:
            refusals.append(refusal)
    assert len(refusals) >= len(LISTS) - 1 or text == ""


def host(text: str) -> None:
    host_error(text)
    strangers(
        [text, "*.example.com"], [Destination(text), Destination("a.example.com", "https", 443)]
    )
    try:
        Listed.of([text])
    except ValueError as refusal:
        assert type(refusal) is ValueError  # noqa: PT017 - said to whoever set it


def api_key(text: str) -> None:
    key.prefix_of(text)
    key.is_key(text, key.NO_DIGEST)
    session.is_token(text)


def document(text: str) -> None:
    for type_ in (JobDocument, JobPatch):
        try:
            read = msgspec.json.decode(text, type=type_)
        except (msgspec.DecodeError, RecursionError):
            continue
        if isinstance(read, JobDocument):
            list(read.errors())


PARSERS: dict[str, Parser] = {
    one.__name__: one
    for one in (
        *(cron, cron_in_berlin, zone, duration, http_target, amqp_target, http_url, amqp_url),
        *(header, reference, http_answer, retry_after, cursor, host, api_key, document),
    )
}

WHOLE = {"http_target", "amqp_target", "http_url", "amqp_url", "header", "reference"}


def most_seconds(name: str) -> float:
    """Say how long one text may take."""
    return TARGET_SECONDS if name in WHOLE else SECONDS


SEEDS: dict[str, tuple[str, ...]] = {
    "cron": (
        *("* * * * *", "0 3 * * mon-fri", "*/7 0-23/2 1,15,L * 5#2", "H H(0-5) * * *", "@hourly"),
        *("59 59 23 31 12 * 2099", "0 0 29 2 *", "CRON_TZ=Asia/Tokyo 30 6 * * *", "0 0 LW * ?"),
    ),
    "zone": ("Europe/Paris", "UTC", "America/New_York", "../etc/passwd", "Etc/GMT+5", "A" * 200),
    "duration": ("1h30m", "90s", "1.5h", "\u00b5s", "9" * 100 + "h", ".5ms", "1e9s"),
    "http_target": (
        '{"url":"https://a.example/x?y=1","method":"PUT","headers":{"X-Key":"v"},"json":[1,{}]}',
        '{"url":"http://a/","auth":{"type":"oauth2","token_url":"https://b/","client_id":"c"}}',
        '{"url":"http://a/","headers":{"X":"${secret:A}"},"success":["2xx",304],"retry_on":[404]}',
        '{"url":"http://a/","auth":{"type":"signature","secret":"whsec_c2VzYW1l"},"body":"x"}',
        '{"url":"http://a/","body_base64":"AA==","client_certificate":"x","client_key":"y"}',
    ),
    "amqp_target": (
        '{"url":"amqp://me:pw@broker:5672/%2f","exchange":"e","routing_key":"q","json":{"a":1}}',
        '{"url":"amqp://h/","routing_key":"q","headers":{"n":1.5},"priority":3,"persistent":false}',
    ),
    "http_url": (
        *("https://example.com/a?b=c", "http://[::1]:80/", "http://0x7f.1/", "http://u:p@h/#f"),
        *("http://h/${secret:A}?k=${secret:B}", "//a:b@c", "http:" + "/" * 2000, "http://[v1.a]/"),
    ),
    "amqp_url": ("amqp://u:p@h:5672/v", "amqps://${secret:U}:${secret:P}@h/", "amqp://p@ss@h"),
    "header": (
        "X-Key: value",
        "Content-Length: 3",
        "A\r\nB: c",
        "Authorization:Bearer ${secret:A}",
    ),
    "reference": ("${secret:A}", "a${secret:A.b-c}d", "${secret:${secret:A}}", "${secret:" * 100),
    "http_answer": (
        "HTTP/1.1 200 OK\r\nContent-Length: 2\r\ncontent-length: 2\r\n\r\nok",
        "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 302 Found\r\nLocation: /\r\n\r\n",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1;a\r\nx\r\n0\r\nA: b\r\n\r\n",
        "HTTP/1.0 204\nContent-Length: 9, 9\n\n",
    ),
    "retry_after": ("120", "Wed, 21 Oct 2026 07:28:00 GMT", "-1", "9" * 5000, "1.5"),
    "cursor": (
        *(pages.JOBS.write(JOB), pages.EXECUTIONS.write(7), pages.KEYS.write(JOB)),
        *(pages.CHANGES.write(2**63 - 1), pages.SECRETS.write("A.b"), "=", "\x00"),
    ),
    "host": ("api.example.com", "*.example.com", "10.0.0.0/8", "::1%eth0", "*", "1.2.3.4."),
    "api_key": (f"tocsin_{'0' * 12}_{'0' * 64}", "0" * 64),
    "document": (
        '{"name":"n","kind":"http","target":{"url":"http://a/"},"cron":"0 3 * * *","tags":["a"]}',
        '{"kind":"amqp","target":{},"run_at":"2030-01-31T08:30:00+01:00","metadata":{"a":[1]}}',
    ),
}
SEEDS["cron_in_berlin"] = SEEDS["cron"]
