"""Signed requests, verified by the verifier of the Standard Webhooks package."""

import time
from base64 import b64encode
from collections.abc import AsyncIterator

import pytest
from standardwebhooks import Webhook, WebhookVerificationError

from app.core.runs.outcome import Outcome, Report
from app.errors import InvalidInput
from app.targets.executors import Executors
from app.targets.registry import decode_target
from tests.support.attempts import JOB, NEARBY, RUN, attempt
from tests.support.sink import Received, Sink, reply

SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
OTHER = "whsec_" + b64encode(bytes(range(64))).decode()
SIGNED = {"type": "signature", "secret": SECRET}


@pytest.fixture
async def executors() -> AsyncIterator[Executors]:
    async with Executors(egress=NEARBY) as executors:
        yield executors


async def send(executors: Executors, sink: Sink, auth: object = SIGNED, **target: object) -> Report:
    decoded = decode_target("http", {"url": sink.url(), "auth": auth, **target})
    return await executors.execute("http", decoded, attempt())


def verify(request: Received, secret: str = SECRET, body: bytes | None = None) -> None:
    data = request.body if body is None else body
    Webhook(secret).verify(data, request.headers, json_parse=False)


@pytest.mark.parametrize(
    "target",
    [
        {"json": {"amount": 12.5, "to": "Zoë"}},
        {"body": "two\r\nlines\n"},
        {"body_base64": b64encode("text, as it happens: ✓".encode()).decode()},
        {},
        {"body": ""},
    ],
    ids=["json", "text", "base64", "none", "empty"],
)
async def test_a_receiver_can_verify_what_it_gets(
    executors: Executors, sink: Sink, target: dict[str, object]
):
    report = await send(executors, sink, **target)

    assert report.outcome is Outcome.SUCCEEDED
    verify(sink.requests[0])


async def test_a_run_keeps_its_identity_and_each_attempt_has_its_own_time(
    executors: Executors, sink: Sink
):
    before = int(time.time())
    await send(executors, sink, json=1)
    await send(executors, sink, json=1)

    ids = {request.headers["webhook-id"] for request in sink.requests}
    assert ids == {f"{JOB}:{RUN}"} == {sink.requests[0].headers["idempotency-key"]}
    for request in sink.requests:
        assert before <= int(request.headers["webhook-timestamp"]) <= time.time()


@pytest.mark.parametrize("index", range(12))
async def test_a_body_with_one_byte_changed_is_not_verified(
    executors: Executors, sink: Sink, index: int
):
    await send(executors, sink, body='{"pay": 100}')
    request = sink.requests[0]
    forged = bytearray(request.body)
    forged[index] ^= 1

    with pytest.raises(WebhookVerificationError):
        verify(request, body=bytes(forged))


@pytest.mark.parametrize("name", ["webhook-id", "webhook-timestamp"])
async def test_identity_and_time_are_signed_too(executors: Executors, sink: Sink, name: str):
    await send(executors, sink, json=1)
    request = sink.requests[0]
    request.headers[name] = str(int(request.headers["webhook-timestamp"]) + 1)

    with pytest.raises(WebhookVerificationError, match="No matching signature"):
        verify(request)


async def test_while_a_secret_is_changed_receivers_may_have_either(
    executors: Executors, sink: Sink
):
    await send(executors, sink, {"type": "signature", "secret": OTHER, "previous_secret": SECRET})

    verify(sink.requests[0], secret=OTHER)
    verify(sink.requests[0], secret=SECRET)
    assert sink.requests[0].headers["webhook-signature"].count("v1,") == 2


async def test_after_the_change_the_old_secret_is_of_no_use(executors: Executors, sink: Sink):
    await send(executors, sink, {"type": "signature", "secret": OTHER})

    verify(sink.requests[0], secret=OTHER)
    with pytest.raises(WebhookVerificationError):
        verify(sink.requests[0], secret=SECRET)


async def test_a_body_that_is_no_text_is_not_sent(executors: Executors, sink: Sink):
    report = await send(executors, sink, body_base64=b64encode(b"\xff\xfe").decode())

    assert (report.outcome, report.reason) == (Outcome.FAILED, "auth")
    assert not report.retryable
    assert not sink.requests


async def test_a_redirect_to_another_origin_takes_no_signature_along(
    executors: Executors, sink: Sink
):
    location = sink.url("/there", host="127.0.0.2")
    sink.on("/", reply(307, headers={"Location": location}))

    await send(executors, sink, json=1, follow_redirects=True)

    assert sink.requests[1].path == "/there"
    assert not [name for name in sink.requests[1].headers if name.startswith("webhook-")]


@pytest.mark.parametrize(
    "secret",
    ["", "whsec_", "sesame", "whsec_c2hvcnQ=", "whsec_" + "A" * 92, "whsec_!" + SECRET[6:]],
    ids=["empty", "prefix", "text", "short", "long", "not base64"],
)
@pytest.mark.parametrize("field", ["secret", "previous_secret"])
def test_a_secret_that_is_none_is_refused_with_the_remedy(field: str, secret: str):
    auth = SIGNED | {field: secret}

    with pytest.raises(InvalidInput) as refusal:
        decode_target("http", {"url": "https://example.com/", "auth": auth})

    [error] = refusal.value.errors
    assert error.field == f"target.auth.{field}"
    assert "24 to 64 random bytes" in error.message


@pytest.mark.parametrize("name", ["webhook-id", "Webhook-Signature", "WEBHOOK-TIMESTAMP"])
def test_a_target_cannot_set_what_is_signed(name: str):
    target = {"url": "https://example.com/", "auth": SIGNED, "headers": {name: "x"}}

    with pytest.raises(InvalidInput, match=f"target.headers.{name}: is set by auth"):
        decode_target("http", target)


def test_secrets_are_not_shown():
    target = decode_target(
        "http",
        {"url": "https://example.com/", "auth": SIGNED | {"previous_secret": OTHER}},
    )

    assert SECRET not in repr(target)
    assert OTHER not in repr(target)
