"""OAuth 2.0 client credentials against a real token server on loopback."""

import asyncio
import json
from base64 import b64decode
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack
from typing import Any
from urllib.parse import parse_qs

import pytest

from app.core.net.egress import Egress, Listed
from app.core.runs.outcome import Outcome, Report
from app.errors import InvalidInput
from app.targets.auth import oauth2, tokens
from app.targets.executors import Executors
from app.targets.registry import decode_target
from tests.support.attempts import NEARBY, attempt
from tests.support.canary import Canary
from tests.support.sink import Behaviour, Received, Sink, Wire, hang, late, reply

CLIENT = "tocsin client"
PASSWORD = "p:ss/wörd+1"


def granted(token: str, **more: object) -> bytes:
    said = {"access_token": token, "token_type": "Bearer", "expires_in": 3600} | more
    return reply(200, json.dumps(said).encode(), {"Content-Type": "application/json"})


class Clock:
    """The loop's clock, as the tokens see it, moved by hand."""

    def __init__(self) -> None:
        self.seconds = 1000.0

    def __call__(self) -> float:
        return self.seconds


@pytest.fixture
def clock() -> Clock:
    return Clock()


class Pair:
    """A token server and a target that wants its tokens."""

    def __init__(self, executors: Executors, server: Sink, target: Sink) -> None:
        self.executors = executors
        self.server = server
        self.target = target

    async def send(self, *, within: float = 10.0, auth: Any = None, **target: object) -> Report:  # noqa: ANN401
        auth = {
            "type": "oauth2",
            "token_url": self.server.url("/token"),
            "client_id": CLIENT,
            "client_secret": PASSWORD,
        } | (auth or {})
        decoded = decode_target("http", {"url": self.target.url(), "auth": auth, **target})
        return await self.executors.execute("http", decoded, attempt(within=within))

    @property
    def used(self) -> list[str]:
        return [request.headers["authorization"] for request in self.target.requests]


@pytest.fixture
async def pair(clock: Clock) -> AsyncIterator[Pair]:
    async with AsyncExitStack() as stack:
        server = await stack.enter_async_context(Sink().listening())
        target = await stack.enter_async_context(Sink().listening())
        executors = await stack.enter_async_context(Executors(egress=NEARBY, clock=clock))
        server.on("/token", *(granted(f"token-{number}") for number in range(1, 10)))
        yield Pair(executors, server, target)


async def test_a_token_is_asked_for_as_the_standard_says_and_sent(pair: Pair):
    report = await pair.send(auth={"scope": "jobs:run jobs:read"})

    assert report.outcome is Outcome.SUCCEEDED
    [request] = pair.server.requests
    assert request.method == "POST"
    assert request.headers["content-type"] == "application/x-www-form-urlencoded"
    assert parse_qs(request.body.decode()) == {
        "grant_type": ["client_credentials"],
        "scope": ["jobs:run jobs:read"],
    }
    scheme, _, pair_sent = request.headers["authorization"].partition(" ")
    assert scheme == "Basic"
    assert b64decode(pair_sent) == b"tocsin+client:p%3Ass%2Fw%C3%B6rd%2B1"
    assert pair.used == ["Bearer token-1"]


async def test_the_client_may_prove_itself_in_the_form(pair: Pair):
    await pair.send(auth={"client_auth": "post", "audience": "https://api.example.com"})

    [request] = pair.server.requests
    assert "authorization" not in request.headers
    assert parse_qs(request.body.decode()) == {
        "grant_type": ["client_credentials"],
        "audience": ["https://api.example.com"],
        "client_id": [CLIENT],
        "client_secret": [PASSWORD],
    }


async def test_a_token_is_used_again(pair: Pair):
    for _ in range(3):
        await pair.send()

    assert pair.used == ["Bearer token-1"] * 3
    assert len(pair.server.requests) == 1


async def test_what_is_asked_for_differently_gets_its_own_token(pair: Pair):
    await pair.send()
    await pair.send(auth={"scope": "other"})
    await pair.send(auth={"client_secret": "changed"})
    await pair.send()

    assert pair.used == [f"Bearer token-{number}" for number in (1, 2, 3, 1)]


async def test_many_at_once_ask_once(pair: Pair):
    pair.server.on("/token", late(0.1, granted("token-1")))

    reports = await asyncio.gather(*(pair.send() for _ in range(20)))

    assert {report.outcome for report in reports} == {Outcome.SUCCEEDED}
    assert len(pair.server.requests) == 1
    assert pair.used == ["Bearer token-1"] * 20


@pytest.mark.parametrize(
    ("lifetime", "after", "expected"),
    [(3600, 3539, 1), (3600, 3541, 2), (10, 7.9, 1), (10, 8.1, 2), (0, 0, 2), (None, 241, 2)],
)
async def test_a_token_is_renewed_before_its_end(
    pair: Pair, clock: Clock, lifetime: float | None, after: float, expected: int
):
    first = granted("token-1", expires_in=lifetime)
    pair.server.on("/token", first, granted("token-2"))
    await pair.send()
    clock.seconds += after

    await pair.send()

    assert pair.used == ["Bearer token-1", f"Bearer token-{expected}"]


async def test_a_token_that_is_still_good_outlives_a_failure_to_renew_it(pair: Pair, clock: Clock):
    pair.server.on("/token", granted("token-1", expires_in=100), reply(503))
    await pair.send()

    clock.seconds += 90
    renewing = await pair.send()
    again = await pair.send()
    asked = len(pair.server.requests)
    clock.seconds += 11
    ended = await pair.send()

    assert renewing.outcome is again.outcome is Outcome.SUCCEEDED
    assert asked == 2  # the second does not ask again at once
    assert (ended.outcome, ended.reason) == (Outcome.FAILED, "auth")
    assert len(pair.target.requests) == 3


async def test_a_token_that_is_refused_is_renewed_once_and_the_request_repeated(pair: Pair):
    pair.target.on("/", reply(401), reply(200))

    report = await pair.send(json={"a": 1})

    assert report.outcome is Outcome.SUCCEEDED
    assert pair.used == ["Bearer token-1", "Bearer token-2"]
    first, second = pair.target.requests
    assert first.body == second.body
    assert first.headers["idempotency-key"] == second.headers["idempotency-key"]


async def test_a_target_that_refuses_every_token_is_asked_twice(pair: Pair):
    pair.target.default = reply(401)

    report = await pair.send()

    assert (report.outcome, report.status_code) == (Outcome.FAILED, 401)
    assert len(pair.target.requests) == 2
    assert len(pair.server.requests) == 2


async def test_of_many_refused_at_once_one_renews(pair: Pair):
    """Who was refused with the old token does not throw the new one away."""

    async def refuse_the_first_token(wire: Wire, request: Received) -> None:
        ok = request.headers["authorization"] != "Bearer token-1"
        await wire.write(reply(200 if ok else 401))

    await pair.send()
    pair.target.default = refuse_the_first_token
    await asyncio.gather(*(pair.send() for _ in range(10)))

    assert pair.used.count("Bearer token-1") == 1 + 10
    assert pair.used.count("Bearer token-2") == 10
    assert len(pair.server.requests) == 2


@pytest.mark.parametrize("length", [10, 2_000])
async def test_what_a_refusal_said_is_no_answer_where_no_new_token_comes(pair: Pair, length: int):
    pair.server.on("/token", granted("token-1"), reply(500))
    pair.target.default = reply(401, b"!" * length)

    report = await pair.send()

    assert (report.reason, report.status_code, report.response) == ("auth", 401, None)


async def test_a_401_that_counts_as_success_is_no_refusal(pair: Pair):
    pair.target.default = reply(401)

    report = await pair.send(success=[401])

    assert report.outcome is Outcome.SUCCEEDED
    assert len(pair.target.requests) == 1


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        (reply(503), "503"),
        (reply(302, headers={"Location": "/elsewhere"}), "302"),
        (
            reply(401, b'{"error": "invalid_client", "error_description": "unknown client"}'),
            "401 invalid_client unknown client",
        ),
        (reply(400, b"<html>"), "400"),
        (reply(200, b"<html>"), "the answer is not that of a token server"),
        (reply(200, b'{"token": "x"}'), "the answer is not that of a token server"),
        (granted("x", token_type="mac"), "the token is of another type than Bearer"),
        (granted(""), "the token cannot be sent in a header"),
        (granted("a b"), "the token cannot be sent in a header"),
        (granted("a\r\nX-Evil: 1"), "the token cannot be sent in a header"),
    ],
    ids=[
        *("unavailable", "redirect", "refused", "page", "nonsense", "no token"),
        *("other type", "empty", "space", "header injection"),
    ],
)
async def test_without_a_token_nothing_is_sent_and_another_attempt_may_help(
    pair: Pair, answer: Behaviour, said: str
):
    pair.server.on("/token", answer)

    report = await pair.send()

    assert (report.outcome, report.reason) == (Outcome.FAILED, "auth")
    assert report.retryable
    host = f"127.0.0.1:{pair.server.port}"
    assert report.error == f"no token from {host}: {said}"
    assert not pair.target.requests
    assert len(pair.server.requests) == 1


async def test_a_token_server_that_is_away_is_a_failure_to_be_retried(pair: Pair):
    report = await pair.send(auth={"token_url": "http://127.0.0.1:1/token"})

    assert (report.outcome, report.reason) == (Outcome.FAILED, "auth")
    assert report.retryable
    assert "no connection to 127.0.0.1:1" in (report.error or "")
    assert not pair.target.requests


async def test_a_token_server_that_never_answers_is_not_waited_for(
    pair: Pair, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(oauth2, "TOKEN_SECONDS", 0.1)
    pair.server.on("/token", hang)

    report = await pair.send()

    assert (report.outcome, report.reason) == (Outcome.FAILED, "auth")
    assert report.retryable
    assert not pair.target.requests


async def test_a_failure_speaks_for_all_who_wait(pair: Pair):
    pair.server.on("/token", late(0.1, reply(503)))

    reports = await asyncio.gather(*(pair.send() for _ in range(10)))

    assert {report.reason for report in reports} == {"auth"}
    assert len(pair.server.requests) == 1


async def test_who_asks_and_is_cut_off_leaves_the_asking_to_the_next(pair: Pair):
    pair.server.on("/token", hang, granted("token-2"))
    hasty = asyncio.create_task(pair.send(within=0.2))
    await pair.server.arrived()
    patient = await pair.send()

    assert (await hasty).outcome is Outcome.TIMED_OUT
    assert patient.outcome is Outcome.SUCCEEDED
    assert pair.used == ["Bearer token-2"]


async def test_a_token_url_near_us_is_blocked(sink: Sink, canary: Canary):
    auth = {
        "type": "oauth2",
        "token_url": f"http://127.0.0.2:{canary.port}/token",
        "client_id": CLIENT,
        "client_secret": PASSWORD,
    }
    async with Executors(egress=Egress(allowed=Listed.of(["127.0.0.1"]))) as executors:
        target = decode_target("http", {"url": sink.url(), "auth": auth})
        report = await executors.execute("http", target, attempt())

    assert (report.outcome, report.reason) == (Outcome.FAILED, "blocked")
    assert not report.retryable
    assert "127.0.0.2 is loopback" in (report.error or "")
    assert canary.hits == 0
    assert not sink.requests


@pytest.mark.parametrize("repeated", [PASSWORD, "token-1"])
async def test_secrets_that_others_repeat_are_not_kept(pair: Pair, repeated: str):
    pair.target.default = reply(400, f"you said {repeated}".encode())

    report = await pair.send()

    assert report.response == "you said ***"


async def test_a_secret_in_the_explanation_of_a_refusal_is_not_kept(pair: Pair):
    said = {"error": "invalid_client", "error_description": f"{PASSWORD} is wrong"}
    pair.server.on("/token", reply(401, json.dumps(said).encode()))

    report = await pair.send()

    assert report.error is not None
    assert report.error.endswith("401 invalid_client *** is wrong")


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"token_url": "ftp://idp.example/token"}, "token_url"),
        ({"token_url": "https://me:secret@idp.example/token"}, "token_url"),
        ({"client_id": ""}, "client_id"),
        ({"ca": "none"}, "ca"),
        ({"client_auth": "none"}, "client_auth"),
    ],
    ids=["scheme", "userinfo", "client", "ca", "client auth"],
)
def test_what_cannot_work_is_refused_by_its_field(change: dict[str, str], field: str):
    auth = {
        "type": "oauth2",
        "token_url": "https://idp.example/token",
        "client_id": CLIENT,
        "client_secret": PASSWORD,
    }

    with pytest.raises(InvalidInput) as refusal:
        decode_target("http", {"url": "https://example.com/", "auth": auth | change})

    assert [error.field for error in refusal.value.errors] == [f"target.auth.{field}"]


async def test_only_so_many_tokens_are_kept(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(tokens, "MAX_TOKENS", 2)
    kept = tokens.Tokens(Clock())

    def ask(token: str) -> Callable[[], Any]:
        async def answer() -> tokens.Granted:
            return tokens.Granted(token=token, lifetime_seconds=60)

        return answer

    for grant in ("a", "b", "c"):
        await kept.get(grant, ask(grant))

    assert list(kept.held) == ["b", "c"]
    assert not kept.asking


async def test_a_token_granted_since_is_not_thrown_away_with_the_old_one():
    kept = tokens.Tokens(Clock())

    async def ask() -> tokens.Granted:
        return tokens.Granted(token="new", lifetime_seconds=60)

    await kept.get("grant", ask)
    kept.forget("grant", "old")
    assert list(kept.held) == ["grant"]

    kept.forget("grant", "new")
    assert not kept.held
