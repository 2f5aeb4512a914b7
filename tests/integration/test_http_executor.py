"""The http executor against a real receiver: what is sent, and how answers are judged."""

import asyncio
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from typing import Any

import pytest

from app.core.runs.outcome import Outcome, Report
from app.targets.auth.base import Auth, AuthFailed, Outgoing
from app.targets.executors import Executors
from app.targets.http.target import HttpTarget
from app.targets.registry import decode_target
from tests.support.attempts import JOB, RUN, TRACE, Send, attempt
from tests.support.sink import Sink, reply


async def test_a_request_says_who_sends_it_and_for_which_run(send: Send, sink: Sink):
    report = await send(url=sink.url("/reports?day=1"), headers={"X-Team": "night shift"})

    assert report == Report(outcome=Outcome.SUCCEEDED, status_code=200, response="ok")
    [request] = sink.requests
    assert (request.method, request.path) == ("POST", "/reports?day=1")
    agent = request.headers.pop("user-agent")
    assert agent.startswith("tocsin/")
    assert request.headers == {
        "host": f"127.0.0.1:{sink.port}",
        "accept": "*/*",
        "accept-encoding": "identity",
        "content-length": "0",
        "idempotency-key": f"{JOB}:{RUN}",
        "tocsin-job-id": str(JOB),
        "tocsin-job-name": "nightly report",
        "tocsin-execution-id": "42",
        "tocsin-scheduled-for": RUN,
        "tocsin-attempt": "2",
        "traceparent": TRACE,
        "x-team": "night shift",
    }


async def test_a_job_name_that_is_not_ascii_is_percent_encoded(executors: Executors, sink: Sink):
    target = decode_target("http", {"url": sink.url()})

    await executors.execute("http", target, attempt(job_name="Été 100%\n"))
    await executors.execute("http", target, attempt(job_name=None))

    named, nameless = sink.requests
    assert named.headers["tocsin-job-name"] == "%C3%89t%C3%A9 100%25%0A"
    assert "tocsin-job-name" not in nameless.headers


@pytest.mark.parametrize(
    ("given", "body", "content_type"),
    [
        ({"body": "Grüße"}, "Grüße".encode(), "text/plain; charset=utf-8"),
        ({"body_base64": "AP8Q"}, b"\x00\xff\x10", "application/octet-stream"),
        (
            {"json": {"a": [1, 2.5, None, "é"]}},
            b'{"a":[1,2.5,null,"\xc3\xa9"]}',
            "application/json",
        ),
        ({"body": "<a/>", "headers": {"content-type": "text/xml"}}, b"<a/>", "text/xml"),
        ({"body": "x" * 3_000_000}, b"x" * 3_000_000, "text/plain; charset=utf-8"),
        ({"body": ""}, b"", "text/plain; charset=utf-8"),
        ({"method": "GET", "json": [1]}, b"[1]", "application/json"),
        ({}, b"", None),
    ],
    ids=["text", "bytes", "json", "own type", "large", "empty", "with GET", "none"],
)
async def test_a_body_arrives_byte_for_byte(
    send: Send, sink: Sink, given: dict[str, Any], body: bytes, content_type: str | None
):
    await send(url=sink.url(), **given)

    [request] = sink.requests
    assert request.body == body
    assert request.headers.get("content-type") == content_type


async def test_a_url_is_sent_as_it_was_written(send: Send, sink: Sink):
    """Servers that sign URLs compare them character by character."""
    path = "/a%7Eb/%2Fc;d=1/@e?f=%20g+h&i=j%3Dk&&l"

    await send(url=sink.url(path))

    assert sink.requests[0].path == path


@pytest.mark.parametrize("method", ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"])
async def test_every_method_can_be_used_in_any_case(send: Send, sink: Sink, method: str):
    sink.default = reply(204)

    report = await send(url=sink.url(), method=method.lower())

    assert report.outcome is Outcome.SUCCEEDED
    assert sink.requests[0].method == method


@pytest.mark.parametrize(
    ("auth", "name", "value"),
    [
        (
            {"type": "basic", "username": "Aladdin", "password": "open sesame: ü"},
            "authorization",
            "Basic QWxhZGRpbjpvcGVuIHNlc2FtZTogw7w=",
        ),
        ({"type": "bearer", "token": "abc.def"}, "authorization", "Bearer abc.def"),
        ({"type": "header", "name": "X-Api-Key", "value": "s3 cret"}, "x-api-key", "s3 cret"),
    ],
    ids=["basic", "bearer", "header"],
)
async def test_a_request_proves_itself(
    send: Send, sink: Sink, auth: dict[str, str], name: str, value: str
):
    await send(url=sink.url(), auth=auth)

    assert sink.requests[0].headers[name] == value


class LateToken(Auth, frozen=True, kw_only=True, tag="late-token"):
    """A way to authenticate that has to ask somebody first."""

    refused: bool

    async def headers(self, request: Outgoing) -> Mapping[str, str]:
        if self.refused:
            raise AuthFailed("the token server answered 503", retryable=True)
        return {"Authorization": f"Late {request.method} {len(request.body)}"}


async def test_a_request_is_never_sent_without_its_proof(executors: Executors, sink: Sink):
    def target(*, refused: bool) -> HttpTarget:
        return HttpTarget(url=sink.url(), body="four", auth=LateToken(refused=refused))

    refused = await executors.execute("http", target(refused=True), attempt())
    proven = await executors.execute("http", target(refused=False), attempt())

    assert refused.reason == "auth"
    assert refused.error == "the token server answered 503"
    assert refused.retryable
    assert proven.outcome is Outcome.SUCCEEDED
    [request] = sink.requests
    assert request.headers["authorization"] == "Late POST 4"


@pytest.mark.parametrize("status", [200, 201, 202, 204, 299])
async def test_any_2xx_is_a_success(send: Send, sink: Sink, status: int):
    sink.default = reply(status)

    report = await send(url=sink.url())

    assert report.outcome is Outcome.SUCCEEDED
    assert report.status_code == status


@pytest.mark.parametrize(
    ("status", "retryable"),
    [
        *((status, True) for status in (408, 425, 429, 500, 502, 503, 504, 599)),
        *((status, False) for status in (400, 401, 403, 404, 409, 410, 422)),
    ],
)
async def test_a_failure_is_retried_where_that_may_help(
    send: Send, sink: Sink, status: int, *, retryable: bool
):
    sink.default = reply(status, b"what was wrong")

    report = await send(url=sink.url())

    assert report.outcome is Outcome.FAILED
    assert report.reason == "status"
    assert report.status_code == status
    assert report.response == "what was wrong"
    assert report.retryable is retryable


async def test_a_job_decides_what_is_a_success(send: Send, sink: Sink):
    sink.on("/gone", reply(410))
    sink.on("/fine", reply(200))

    gone = await send(url=sink.url("/gone"), success=[204, "4xx"])
    fine = await send(url=sink.url("/fine"), success=[204, "4xx"])

    assert gone.outcome is Outcome.SUCCEEDED
    assert fine.outcome is Outcome.FAILED
    assert fine.error == "the target answered 200 OK; success is 204, 4xx"


async def test_a_job_decides_what_is_retried(send: Send, sink: Sink):
    sink.on("/conflict", reply(409))
    sink.on("/down", reply(503))

    conflict = await send(url=sink.url("/conflict"), retry_on=[409, "closed"])
    down = await send(url=sink.url("/down"), retry_on=[409, "closed"])
    refused = await send(url="http://127.0.0.1:1/", retry_on=[409, "closed"])

    assert conflict.retryable
    assert not down.retryable
    assert refused.reason == "connect"
    assert not refused.retryable


@pytest.mark.parametrize(
    ("asked", "seconds"),
    [("120", 120.0), (" 7 ", 7.0), ("9" * 9, 86_400.0), ("soon", None), ("-5", None), ("", None)],
)
async def test_a_target_may_ask_for_time(send: Send, sink: Sink, asked: str, seconds: float | None):
    sink.default = reply(429, headers={"Retry-After": asked})

    report = await send(url=sink.url())

    assert report.retry_after_seconds == seconds


async def test_a_target_may_name_the_time_to_come_back(send: Send, sink: Sink):
    until = datetime.now(UTC) + timedelta(minutes=5)
    sink.on("/later", reply(503, headers={"Retry-After": format_datetime(until, usegmt=True)}))
    sink.on("/now", reply(503, headers={"Retry-After": "Sun, 06 Nov 1994 08:49:37 GMT"}))

    later = await send(url=sink.url("/later"))
    now = await send(url=sink.url("/now"))

    assert later.retry_after_seconds == pytest.approx(300, abs=5)
    assert now.retry_after_seconds == 0


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
async def test_a_redirect_is_a_failure_and_is_not_followed(send: Send, sink: Sink, status: int):
    sink.on("/old", reply(status, headers={"Location": sink.url("/new")}))

    report = await send(url=sink.url("/old"))

    assert report.reason == "redirect"
    assert report.status_code == status
    assert not report.retryable
    assert [request.path for request in sink.requests] == ["/old"]


async def test_a_redirect_may_count_as_a_success(send: Send, sink: Sink):
    sink.on("/old", reply(303, headers={"Location": "/new"}))

    report = await send(url=sink.url("/old"), success=["2xx", 303], follow_redirects=True)

    assert report.outcome is Outcome.SUCCEEDED
    assert len(sink.requests) == 1


@pytest.mark.parametrize(
    ("method", "status", "followed_by"),
    [
        ("POST", 301, ("GET", b"")),
        ("POST", 302, ("GET", b"")),
        ("PUT", 303, ("GET", b"")),
        ("PUT", 302, ("PUT", b"body")),
        ("POST", 307, ("POST", b"body")),
        ("DELETE", 308, ("DELETE", b"body")),
        ("HEAD", 303, ("HEAD", b"body")),
    ],
)
async def test_a_redirect_is_followed_as_browsers_do(
    send: Send, sink: Sink, method: str, status: int, followed_by: tuple[str, bytes]
):
    sink.on("/old", reply(status, headers={"Location": "new?x=1"}))

    report = await send(
        url=sink.url("/old"),
        method=method,
        body="body",
        headers={"X-Team": "night"},
        follow_redirects=True,
    )

    assert report.outcome is Outcome.SUCCEEDED
    last = sink.requests[-1]
    assert last.path == "/new?x=1"
    assert (last.method, last.body) == followed_by
    assert last.headers["x-team"] == "night"
    assert ("content-type" in last.headers) == bool(last.body)


async def test_nothing_that_opens_doors_follows_a_redirect_to_another_host(send: Send, sink: Sink):
    """Not back to the first host either: the other one chose where it goes from there."""
    sink.on("/start", reply(307, headers={"Location": sink.url("/there", host="127.0.0.2")}))
    sink.on("/there", reply(307, headers={"Location": sink.url("/back")}))

    report = await send(
        url=sink.url("/start"),
        body="body",
        auth={"type": "header", "name": "X-Api-Key", "value": "sesame"},
        headers={"X-Tenant": "acme", "Cookie": "session=1", "Content-Type": "text/csv"},
        follow_redirects=True,
    )

    assert report.outcome is Outcome.SUCCEEDED
    first, there, back = sink.requests
    secret = {"x-api-key", "x-tenant", "cookie"}
    assert secret <= set(first.headers)
    assert there.headers["host"] == f"127.0.0.2:{sink.port}"
    for request in (there, back):
        assert not secret & set(request.headers)
        assert request.headers["content-type"] == "text/csv"
        assert request.headers["idempotency-key"] == f"{JOB}:{RUN}"


@pytest.mark.parametrize("name", ["Accept", "Accept-Encoding", "Content-Type", "User-Agent"])
@pytest.mark.parametrize(
    "secret",
    [
        pytest.param({"auth": {"type": "bearer", "token": "open-sesame"}}, id="of auth"),
        pytest.param({"headers": {"X-Api-Key": "open-sesame"}}, id="of a header"),
    ],
)
async def test_no_harmless_header_takes_a_secret_to_another_host(
    send: Send, sink: Sink, name: str, secret: dict[str, Any]
):
    sink.on("/start", reply(307, headers={"Location": sink.url("/there", host="127.0.0.2")}))
    target = {"url": sink.url("/start"), "body": "body", "follow_redirects": True} | secret
    target["headers"] = target.get("headers", {}) | {name: "text/x-open-sesame"}

    report = await send(**target)

    assert report.outcome is Outcome.SUCCEEDED
    first, there = sink.requests
    assert first.headers[name.lower()] == "text/x-open-sesame"
    assert not [text for text in there.headers.values() if "open-sesame" in text]
    assert there.headers["idempotency-key"] == f"{JOB}:{RUN}"


@pytest.mark.parametrize("name", ["Accept", "User-Agent", "Content-Type"])
async def test_what_proves_a_request_goes_to_no_other_host_whatever_its_header(
    send: Send, sink: Sink, name: str
):
    sink.on("/start", reply(307, headers={"Location": sink.url("/there", host="127.0.0.2")}))

    await send(
        url=sink.url("/start"),
        auth={"type": "header", "name": name, "value": "sesame"},
        follow_redirects=True,
    )

    first, there = sink.requests
    assert first.headers[name.lower()] == "sesame"
    assert name.lower() not in there.headers


@pytest.mark.parametrize(
    "location", ["/there?key=open-sesame!", "/there/%6fpen-sesame%21", "/b3Blbi1zZXNhbWUh"]
)
async def test_no_location_takes_a_secret_to_another_host(send: Send, sink: Sink, location: str):
    sink.on("/start", reply(307, headers={"Location": sink.url(location, host="127.0.0.2")}))

    report = await send(
        url=sink.url("/start"),
        auth={"type": "bearer", "token": "open-sesame!"},
        follow_redirects=True,
    )

    assert report.reason == "redirect"
    assert "would take a secret to another" in str(report.error)
    assert not report.retryable
    assert len(sink.requests) == 1


async def test_large_bodies_of_redirects_are_searched_for_secrets_in_turn(
    executors: Executors, send: Send, sink: Sink
):
    elsewhere = reply(307, headers={"Location": sink.url("/there", host="127.0.0.2")})
    sink.on("/start", *[elsewhere] * 2)
    given = {"url": sink.url("/start"), "follow_redirects": True}
    executors.turns.taken = True
    short = await send(**given, body="short")
    large = asyncio.create_task(send(**given, body="x" * 200_000))
    await sink.arrived(3)
    await asyncio.sleep(0.2)  # nothing is to happen
    early = [request.path for request in sink.requests]
    executors.turns.pass_on()

    assert (short.outcome, (await large).outcome) == (Outcome.SUCCEEDED, Outcome.SUCCEEDED)
    assert early == ["/start", "/there", "/start"]
    assert len(sink.requests) == 4


async def test_no_body_takes_a_secret_to_another_host_and_to_the_same_one_it_goes(
    send: Send, sink: Sink
):
    target: dict[str, Any] = {
        "json": {"key": "open-sesame", "text": "x" * 1_500_000},
        "headers": {"X-Api-Key": "open-sesame"},
        "follow_redirects": True,
    }
    sink.on("/near", reply(307, headers={"Location": "/there?key=open-sesame"}))
    sink.on("/far", reply(308, headers={"Location": sink.url("/there", host="127.0.0.2")}))

    near = await send(url=sink.url("/near"), **target)
    far = await send(url=sink.url("/far"), **target)

    assert near.outcome is Outcome.SUCCEEDED
    assert far.reason == "redirect"
    assert [request.path for request in sink.requests] == [
        "/near",
        "/there?key=open-sesame",
        "/far",
    ]


async def test_a_refused_request_with_an_underscore_in_a_header_says_where_that_may_be_lost(
    send: Send, sink: Sink
):
    sink.on("/refused", reply(401))
    sink.on("/failed", reply(500))
    key = {"headers": {"X-Team": "night", "api_key": "sesame"}}

    refused = await send(url=sink.url("/refused"), **key)
    failed = await send(url=sink.url("/failed"), **key)
    clean = await send(url=sink.url("/refused"), headers={"X-Api-Key": "sesame"})

    hint = "; the header api_key may not have arrived: nginx and others drop names with _"
    assert str(refused.error).endswith(hint)
    assert not str(failed.error).endswith(hint)
    assert clean.error == "the target answered 401 Unauthorized; success is 2xx"


async def test_a_loop_of_redirects_ends_after_five(send: Send, sink: Sink):
    url = sink.on("/round", reply(302, headers={"Location": "/round"}))

    report = await send(url=url, follow_redirects=True)

    assert report.reason == "redirect"
    assert report.error == "more than 5 redirects"
    assert not report.retryable
    assert len(sink.requests) == 6


@pytest.mark.parametrize(
    "location",
    ["file:///etc/passwd", "http://user:pass@127.0.0.1/", "http://[::1", "http://a b/"],
)
async def test_a_redirect_that_leads_nowhere_is_a_failure(send: Send, sink: Sink, location: str):
    url = sink.on("/old", reply(302, headers={"Location": location}))

    report = await send(url=url, follow_redirects=True)

    assert report.reason == "redirect"
    assert len(sink.requests) == 1


async def test_a_redirect_without_a_location_is_judged_by_its_status(send: Send, sink: Sink):
    url = sink.on("/old", reply(302))

    report = await send(url=url, follow_redirects=True)

    assert report.error == "the target answered 302 Found; success is 2xx"


async def test_what_is_prepared_has_a_connection_and_has_sent_nothing(
    executors: Executors, send: Send, sink: Sink
):
    target = decode_target("http", {"url": sink.url()})
    await executors.prepare("http", target, attempt())
    await executors.prepare("http", target, attempt())
    await sink.until(lambda: len(sink.wires) == 1)
    sent = list(sink.requests)

    report = await send(url=sink.url())

    assert sent == []
    assert report.outcome is Outcome.SUCCEEDED
    assert [request.connection for request in sink.requests] == [1]


async def test_nothing_is_prepared_where_nothing_may_be_sent(sink: Sink):
    target = decode_target("http", {"url": sink.url()})
    async with Executors() as executors:
        with pytest.raises(OSError, match="Cannot connect"):
            await executors.prepare("http", target, attempt())

    assert sink.wires == []
