"""Mails as instances hand them over to a real mail server."""

import asyncio
import re
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from uuid import uuid5

import asyncpg
import httpx
import pytest
import trustme
from msgspec import json
from msgspec.structs import replace

from app.core.facts import Settled
from app.core.runs.outcome import Outcome, Report
from app.targets.executors import Executors
from app.targets.registry import decode_target
from app.targets.turns import MANY
from app.vault import of_secret
from tests.support.api import LATER
from tests.support.attempts import JOB, RUN, attempt
from tests.support.builders import execution_rows, insert_job, job_row
from tests.support.instances import StartInstance
from tests.support.pages import ROOT
from tests.support.post import PASSWORD, USER, Post, posting
from tests.support.vault import KEY, KEYS
from tests.support.waiting import until

Mail = Callable[..., Awaitable[Report]]
WRITTEN = {
    "from": "Tocsin <tocsin@example.com>",
    "to": ["ops@example.com"],
    "subject": "Nächtlich",
    "text": "Grüße\n.\nEnde",
}
PLAIN = {"starttls": False}


@pytest.fixture
def mail(executors: Executors) -> Mail:
    """Give what carries out an attempt at an smtp target made of the keyword arguments."""

    async def send(*, within: float = 30.0, **target: object) -> Report:
        made = decode_target("smtp", WRITTEN | target)
        return await executors.execute("smtp", made, attempt(within=within))

    return send


@pytest.fixture
async def post() -> AsyncIterator[Post]:
    """A server that knows no TLS."""
    async with posting() as post:
        yield post


@pytest.fixture(scope="module")
def authority() -> trustme.CA:
    return trustme.CA()


def tls_of(authority: trustme.CA) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("127.0.0.1").configure_cert(context)
    return context


def pem(authority: trustme.CA) -> str:
    return authority.cert_pem.bytes().decode()


async def test_a_mail_arrives_with_its_parts_headers_and_recipients(post: Post, mail: Mail) -> None:
    report = await mail(
        url=post.url,
        **PLAIN,
        to=["ops@example.com", "Zoë Über <zoe@example.org>"],
        cc=["boss@example.com"],
        bcc=["silent@example.com", "ops@example.com"],
        reply_to="answers@example.com",
        html="<p>Grüße</p>",
        headers={"X-Team": "night"},
    )

    assert (report.outcome, report.status_code) == (Outcome.SUCCEEDED, 250)
    assert report.response == "2.0.0 kept as 7"
    [got], [envelope] = post.mails, post.envelopes
    assert envelope == (
        "tocsin@example.com",
        ["ops@example.com", "zoe@example.org", "boss@example.com", "silent@example.com"],
    )
    assert got["Subject"] == "Nächtlich"
    assert str(got["To"]) == "ops@example.com, Zoë Über <zoe@example.org>"
    assert (got["Cc"], got["Bcc"]) == ("boss@example.com", None)
    assert got["Reply-To"] == "answers@example.com"
    assert (got["X-Team"], got["Auto-Submitted"]) == ("night", "auto-generated")
    assert got["Tocsin-Job-Id"] == str(JOB)
    assert got["Tocsin-Attempt"] == "2"
    assert got["Message-ID"] == f"<{uuid5(JOB, RUN).hex}@example.com>"
    text, html = got.iter_parts()
    assert (text.get_content_type(), html.get_content_type()) == ("text/plain", "text/html")
    assert text.get_content().replace("\r\n", "\n") == "Grüße\n.\nEnde\n"
    assert html.get_content().strip() == "<p>Grüße</p>"


async def test_a_long_mail_arrives_as_it_was_written(post: Post, mail: Mail) -> None:
    text = "ä" * 100_000 + "\n" + "b" * 50_000

    await mail(url=post.url, **PLAIN, text=text)

    [got] = post.mails
    assert got.get_content().replace("\r\n", "\n").rstrip("\n") == text


async def test_a_mail_that_was_sent_is_a_success_before_its_answer_is_masked(
    post: Post, executors: Executors
) -> None:
    many = frozenset(f"sesame {index}" for index in range(MANY))
    target = decode_target("smtp", WRITTEN | PLAIN | {"url": post.url})
    told, executors.turns.taken = asyncio.Queue[Report](), True
    context = replace(attempt(), answered=told.put_nowait, secrets=many)
    sending = asyncio.create_task(executors.execute("smtp", target, context))
    report = await told.get()
    has_waited = not sending.done()
    executors.turns.pass_on()

    assert (report.outcome, report.status_code) == (Outcome.SUCCEEDED, 250)
    assert has_waited
    assert (await sending).response == "2.0.0 kept as 7"


@pytest.mark.parametrize("way", ["starttls", "smtps"])
async def test_a_password_is_given_within_tls_only(
    way: str, mail: Mail, authority: trustme.CA
) -> None:
    async with posting(**{way: tls_of(authority)}, asks=True) as post:
        url = post.url.replace("smtp:", "smtps:") if way == "smtps" else post.url
        proof = {"username": USER, "password": PASSWORD, "ca": pem(authority)}
        report = await mail(url=url, **proof)
        wrong = await mail(url=url, **proof | {"password": "wrong"})

    assert report.outcome == Outcome.SUCCEEDED
    assert post.was_encrypted == [True]
    assert (wrong.reason, wrong.status_code, wrong.retryable) == ("auth", 535, False)
    assert len(post.mails) == 1


@pytest.mark.parametrize("way", ["starttls", "smtps"])
async def test_a_certificate_that_is_not_valid_ends_the_attempt_unless_it_is_accepted(
    way: str, mail: Mail, authority: trustme.CA
) -> None:
    async with posting(**{way: tls_of(authority)}) as post:
        url = post.url.replace("smtp:", "smtps:") if way == "smtps" else post.url
        refused = await mail(url=url)
        taken = await mail(url=url, verify_tls=False)

    assert (refused.outcome, refused.reason, refused.retryable) == ("failed", "tls", True)
    assert taken.outcome == Outcome.SUCCEEDED


async def test_a_server_without_starttls_is_told_nothing(post: Post, mail: Mail) -> None:
    report = await mail(url=post.url, username=USER, password=PASSWORD)

    assert (report.reason, post.logins, post.mails) == ("tls", [], [])
    assert report.error == "the mail server offers no STARTTLS: set starttls to false"


@pytest.mark.parametrize(
    ("verdict", "code", "retryable"),
    [
        ("550 5.7.1 no spam here", 550, False),
        ("554 5.6.0 malformed", 554, False),
        ("451 4.7.1 greylisted, come back", 451, True),
        ("421 4.3.2 shutting down", 421, True),
    ],
)
async def test_whether_a_refused_mail_is_tried_again_depends_on_the_answer(
    post: Post, mail: Mail, verdict: str, code: int, *, retryable: bool
) -> None:
    post.verdict = verdict

    report = await mail(url=post.url, **PLAIN)

    assert (report.outcome, report.reason) == (Outcome.FAILED, "status")
    assert (report.status_code, report.retryable) == (code, retryable)
    assert verdict in (report.error or "")


@pytest.mark.parametrize(
    ("answers", "code", "retryable"),
    [
        ({"b@example.com": "450 4.2.0 busy"}, 450, True),
        ({"a@example.com": "450 busy", "b@example.com": "550 5.1.1 no such user"}, 550, False),
    ],
)
async def test_a_mail_that_one_recipient_cannot_get_is_sent_to_none(
    post: Post, mail: Mail, answers: dict[str, str], code: int, *, retryable: bool
) -> None:
    post.recipients = answers

    report = await mail(
        url=post.url, **PLAIN, to=["a@example.com", "b@example.com", "c@example.com"]
    )

    assert (report.reason, report.status_code, report.retryable) == ("status", code, retryable)
    assert all(f"{who}: {said}" in (report.error or "") for who, said in answers.items())
    assert post.mails == []


async def test_an_address_that_is_not_allowed_is_never_connected_to(post: Post) -> None:
    async with Executors() as executors:
        target = decode_target("smtp", WRITTEN | PLAIN | {"url": post.url})
        report = await executors.execute("smtp", target, attempt())

    assert (report.reason, report.retryable) == ("blocked", False)
    assert post.mails == []


async def test_a_server_that_is_not_there_is_tried_again(mail: Mail) -> None:
    report = await mail(url="smtp://127.0.0.1:9", **PLAIN)

    assert (report.reason, report.retryable) == ("connect", True)


@pytest.mark.parametrize(
    ("says", "reason"),
    [
        (b"HTTP/1.1 400 Bad Request\r\n\r\n", "protocol"),
        (b"x" * 100_000, "protocol"),
        (b"", "closed"),
        (b"554 5.3.2 not you\r\n", "status"),
        (b"220 hello\r\n250", "closed"),
    ],
    ids=["HTTP", "a long line", "nothing", "a refusal", "half an answer"],
)
async def test_whatever_answers_ends_in_a_report(mail: Mail, says: bytes, reason: str) -> None:
    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(says)
        await writer.drain()
        writer.write_eof()
        await reader.read(100)
        writer.close()

    async with await asyncio.start_server(answer, "127.0.0.1", 0) as server:
        port = server.sockets[0].getsockname()[1]
        report = await mail(url=f"smtp://127.0.0.1:{port}", **PLAIN)

    assert (report.outcome, report.reason) == (Outcome.FAILED, reason)


async def test_a_server_that_does_not_answer_in_time_is_left(post: Post, mail: Mail) -> None:
    post.holds.clear()

    report = await mail(url=post.url, **PLAIN, within=0.5)
    post.holds.set()

    assert (report.outcome, report.reason) == (Outcome.TIMED_OUT, "timeout")
    assert report.error == "the mail server did not say whether it takes the mail within 0.5 s"


async def test_an_attempt_that_is_cancelled_leaves_no_connection(post: Post, mail: Mail) -> None:
    post.holds.clear()
    sending = asyncio.create_task(mail(url=post.url, **PLAIN))

    async def is_open() -> bool:
        return post.open == 1

    async def is_closed() -> bool:
        return post.open == 0

    await until(is_open, "the connection is open")
    sending.cancel()
    with pytest.raises(asyncio.CancelledError):
        await sending

    await until(is_closed, "the connection is closed")
    post.holds.set()


async def test_a_job_of_psql_sends_its_mail_with_a_named_secret_and_its_templates(
    instance: StartInstance, connection: asyncpg.Connection, authority: trustme.CA
) -> None:
    await connection.execute(
        "insert into tocsin.secrets (name, value) values ('SMTP', $1)",
        KEYS.encrypt(PASSWORD, of_secret("SMTP")),
    )
    async with posting(starttls=tls_of(authority), asks=True) as post:
        target = WRITTEN | {
            "url": post.url,
            "ca": pem(authority),
            "username": USER,
            "password": "${secret:SMTP}",
            "subject": "{{ job.name }} of {{ run.scheduled_for | strftime('%F') }}",
            "html": "<p>{{ job.metadata.by }}</p>",
            "templates": ["subject", "html"],
        }
        job_id = await insert_job(
            connection, kind="smtp", name="night", target=target, metadata={"by": "<me>"}
        )
        async with instance(secret_keys=(KEY,)) as (_, facts):
            await facts.seen(Settled, job_id=job_id, within=45.0)

    [execution] = await execution_rows(connection, job_id)
    assert (execution["outcome"], execution["status_code"]) == ("succeeded", 250), execution
    assert execution["response"] == "2.0.0 kept as 7"
    [got] = post.mails
    assert got["Subject"] == f"night of {execution['scheduled_for']:%Y-%m-%d}"
    *_, html = got.iter_parts()
    assert html.get_content().strip() == "<p>&lt;me&gt;</p>"


async def test_a_template_puts_no_line_break_into_a_subject(
    instance: StartInstance, connection: asyncpg.Connection, post: Post
) -> None:
    target = {"url": post.url, "subject": "{{ job.metadata.a }}", "templates": ["subject"]}
    job_id = await insert_job(
        connection,
        kind="smtp",
        target=WRITTEN | PLAIN | target,
        metadata={"a": "x\r\nBcc: all@example.com"},
    )

    async with instance() as (_, facts):
        await facts.seen(Settled, job_id=job_id, within=45.0)

    [execution] = await execution_rows(connection, job_id)
    assert (execution["outcome"], execution["reason"]) == ("failed", "template")
    assert execution["error"].startswith("target.subject: may have no line breaks")
    assert post.mails == []


async def test_a_transient_refusal_is_followed_by_another_attempt_of_the_same_mail(
    instance: StartInstance, connection: asyncpg.Connection, post: Post
) -> None:
    post.recipients = {"ops@example.com": "450 4.2.0 busy"}
    job_id = await insert_job(
        connection,
        kind="smtp",
        target=WRITTEN | PLAIN | {"url": post.url},
        backoff_seconds=0.1,
        max_attempts=2,
    )

    async with instance() as (_, facts):
        await facts.seen(Settled, job_id=job_id, within=45.0)
        post.recipients = {}

        async def has_arrived() -> bool:
            return bool(post.mails)

        await until(has_arrived, "the mail has arrived")

    first, second = await execution_rows(connection, job_id)
    assert (first["status_code"], second["status_code"]) == (450, 250)
    assert (await job_row(connection, job_id))["last_outcome"] == "succeeded"


async def test_the_job_on_the_page_is_taken_and_its_password_not_shown(
    api: httpx.AsyncClient,
) -> None:
    page = (ROOT / "docs" / "mail.md").read_text("utf-8")
    first, *_ = re.findall(r"^```json\n(.*?)^```", page, re.DOTALL | re.MULTILINE)
    shown = json.decode(first)

    answer = await api.post("/v1/jobs", json=shown)
    kept = await api.post(
        "/v1/jobs", json=LATER | {"kind": "smtp", "target": shown["target"] | {"password": "pass"}}
    )

    assert answer.status_code == 201, answer.text
    assert kept.json()["target"]["password"] == "***"
