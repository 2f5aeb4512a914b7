"""Carries out `http` jobs: one request per attempt, judged by the status of its answer."""

import asyncio
from collections.abc import Awaitable, Mapping
from datetime import UTC, datetime
from http import HTTPStatus
from typing import ClassVar

import aiohttp
from msgspec.structs import replace

from app.core.net.headers import dropping_hint
from app.core.net.urls import address
from app.core.runs.holding import OVERLOADED
from app.core.runs.outcome import Outcome, Report
from app.core.secrets.masking import redact, secrets_of, sounds_secret
from app.deadline import Deadline
from app.descriptors import OutOfDescriptors
from app.targets.auth import AuthFailed, Outgoing
from app.targets.auth.tokens import Tokens
from app.targets.base import (
    MAX_ERROR_LENGTH,
    Context,
    Options,
    Shown,
    Target,
    Where,
    as_text,
    timed_out,
)
from app.targets.http.answer import MAX_RESPONSE_LENGTH, HttpAnswer
from app.targets.http.client import Client, user_agent
from app.targets.http.failures import reason_and_error
from app.targets.http.rules import (
    MAX_REDIRECTS,
    BadRedirect,
    Request,
    in_words,
    matches,
    overlaid,
    redirected,
    reset_seconds,
    retry_after_seconds,
    status_line,
    visible,
)
from app.targets.http.target import METHODS, HttpTarget, HttpWhere
from app.targets.turns import LONG, takes_long

REDIRECTS = (301, 302, 303, 307, 308)


class HttpExecutor:
    """Sends the requests of all `http` jobs through one client."""

    kind: ClassVar[str] = "http"
    target_type: ClassVar[type[Target]] = HttpTarget
    where_type: ClassVar[type[Where]] = HttpWhere
    shown: ClassVar[Mapping[str, Shown]] = {
        "url": Shown(origin=("http", "https")),
        "method": Shown(values=METHODS),
    }

    def __init__(self, options: Options) -> None:
        self.client = Client(options)
        self.loop = asyncio.get_running_loop()
        self.clock = options.clock
        self.tokens = Tokens(options.clock)
        self.note_request = options.note_request
        self.turns = options.turns

    def execute(self, target: HttpTarget, context: Context) -> Awaitable[Report]:
        return Attempt(self, target, context).report()

    async def prepare(self, target: HttpTarget, context: Context) -> None:
        """Open a connection, and build the request once, which warms the CPU's caches.

        A request with `auth` is not built, as building may send a request for a token.
        """
        if target.auth is None:
            Attempt(self, target, context).request().encoded()
        await self.client.open(address(target.url).place, tls=target.tls(ours=True))

    async def close(self) -> None:
        await self.client.close()


class Attempt:
    """One attempt: its requests so far, and the latest answer."""

    def __init__(self, executor: HttpExecutor, target: HttpTarget, context: Context) -> None:
        self.executor = executor
        self.unmasked: str | None = None
        """The body of the final answer if that has yet to be masked."""
        self.unmasked_error: str | None = None
        """What went wrong if that has yet to be masked."""
        self.requested: tuple[str, float] | None = None
        """The method of the request under way, and when it began; None if nobody counts them."""
        self.target = target
        self.context = context
        self.outgoing: Outgoing | None = None
        """The request as `auth` saw it; None without `auth`."""
        self.proof: dict[str, str] = {}
        """The headers that authenticate the request."""
        self.answer: HttpAnswer | None = None
        """The answer to the latest request, as far as it has arrived."""
        self.asked_at: float | None = None
        """When the first request was written, in monotonic seconds."""
        self.ends_at = executor.loop.time() + context.timeout_seconds
        """When the timeout is over, in seconds of the event loop."""

    async def report(self) -> Report:
        """Send the request and judge the answer, within the timeout; then mask a long answer.

        Raises:
            OutOfDescriptors: no file descriptor is left; nothing was sent.
        """
        begun_at = self.executor.clock()
        try:
            if self.target.auth is None:
                report = await self.send(self.request())
            else:
                with self.deadline():
                    report = await self.send_proven()
        except TimeoutError:
            self.note("timeout")
            waited_for = "no answer" if self.status is None else "the answer was not complete"
            report = timed_out(
                self.context, waited_for, status_code=self.status, retryable=self.retries("timeout")
            )
        except AuthFailed as error:
            report = self.failed(error.reason, str(error), retryable=error.retryable)
        except BadRedirect as error:
            report = self.failed("redirect", str(error), retryable=False)
        except (aiohttp.ClientError, OSError) as error:
            reason, text = reason_and_error(error)
            self.note(reason)
            if reason == "descriptors":
                if self.asked_at is None:
                    raise OutOfDescriptors(text) from error
                reason = "connect"
            report = self.failed(reason, text, retryable=self.retries(reason))
        finally:
            if self.asked_at is not None and self.asked_at > begun_at:
                self.context.waited(self.asked_at - begun_at)
        if self.unmasked is None and self.unmasked_error is None:
            return report
        return await self.mask(report)

    async def mask(self, report: Report) -> Report:
        """Return a report of which a long text has yet to be masked, with that text."""
        self.context.answered(report)
        text = self.unmasked_error or self.unmasked or ""
        text = await self.executor.turns.redact(self.secrets(), text)
        if self.unmasked_error is not None:
            return replace(report, error=as_text(text, longest=MAX_ERROR_LENGTH))
        return replace(report, response=as_text(text, longest=MAX_RESPONSE_LENGTH) or None)

    async def send_proven(self) -> Report:
        """Send the request with a proof, and once more with a new one if the first was refused."""
        report = await self.send(await self.prove_request())
        if self.has_new_proof():
            self.unmasked = None  # nor is a short answer that another follows on record
            report = await self.send(await self.prove_request())
        return report

    @property
    def status(self) -> int | None:
        """The status of the answer to the latest request; None until the head is complete."""
        return None if self.answer is None else self.answer.status

    def request(self) -> Request:
        """Build the request, with the proof that was obtained, if any."""
        body, headers = self.content()
        return Request(
            method=self.target.method,
            address=address(self.target.url),
            headers=overlaid(headers, self.proof),
            body=body,
        )

    async def prove_request(self) -> Request:
        """Obtain the headers that authenticate, and build the request with them.

        Raises:
            AuthFailed: nothing could be obtained to authenticate with.
        """
        target = self.target
        if target.auth is not None:
            body, headers = self.content()
            self.outgoing = Outgoing(
                method=target.method,
                url=target.url,
                headers=headers,
                body=body,
                idempotency_key=self.context.idempotency_key,
                tokens=self.executor.tokens,
                post=self.executor.client.post,
            )
            self.proof = dict(await target.auth.headers(self.outgoing))
        return self.request()

    def content(self) -> tuple[bytes, dict[str, str]]:
        """Return the body, and all headers but those that authenticate."""
        target, context = self.target, self.context
        body, content_type = target.content()
        headers = {
            "Accept": "*/*",
            "Accept-Encoding": "identity",
            "User-Agent": user_agent(),
            "Idempotency-Key": context.idempotency_key,
            **context.headers(),
        }
        if context.job_name:
            headers["Tocsin-Job-Name"] = visible(context.job_name)
        if content_type:
            headers["Content-Type"] = content_type
        return body, overlaid(headers, target.headers)

    async def send(self, request: Request) -> Report:
        """Send the request, follow redirects if the target says so, and judge the last answer.

        Raises:
            BadRedirect: a redirect cannot be followed, or there are too many.
            aiohttp.ClientError, OSError: no connection, or no complete answer.
        """
        executor, home = self.executor, request.address.place
        for _ in range(MAX_REDIRECTS + 1):
            is_first = self.asked_at is None
            self.answer = answer = HttpAnswer(self.context.sending if is_first else None)
            tls = self.target.tls(ours=request.address.place == home)
            if not is_first:
                with self.deadline():
                    await executor.client.make_ready(tls)
            if executor.note_request is not None:
                self.requested = request.method, executor.clock()
            try:
                await executor.client.send(request, answer, tls=tls, ends_at=self.ends_at)
            except BaseException:
                answer.drop()
                raise
            finally:
                if is_first:
                    self.asked_at = answer.asked_at
            if self.requested is not None:
                self.note(None)
            status = answer.final_status
            if status not in REDIRECTS or not self.goes_on(status):
                return self.judged(answer)
            locations = answer.values("Location")
            if not locations:
                return self.judged(answer)
            size = len(request.body) + len(locations[0])  # where secrets are looked for
            if size >= LONG:
                with self.deadline():
                    await executor.turns.take(size)
            request = redirected(request, status, locations[0], secrets=self.secrets())
        raise BadRedirect(f"more than {MAX_REDIRECTS} redirects")

    def deadline(self) -> Deadline:
        """Return the deadline of the attempt, for what is not a wait for an answer."""
        executor = self.executor
        return Deadline(executor.loop, self.ends_at, timers=executor.client.timers)

    def note(self, error: str | None) -> None:
        """Tell how the request that is under way ended, if there is one and anybody counts them."""
        requested, self.requested = self.requested, None
        note_request = self.executor.note_request
        if requested is None or note_request is None:
            return
        method, began_at = requested
        note_request(method, self.status, error, self.executor.clock() - began_at)

    def has_new_proof(self) -> bool:
        """Return whether to send the request again with another proof.

        The server answered 401, so nothing was done there, and `auth` can obtain another proof.
        """
        auth = self.target.auth
        if auth is None or self.outgoing is None or self.status != HTTPStatus.UNAUTHORIZED:
            return False
        if matches(self.status, self.target.success):
            return False
        return auth.refused(self.outgoing, self.proof)

    def goes_on(self, status: int) -> bool:
        """Return whether to follow a redirect with this status."""
        return self.target.follow_redirects and not matches(status, self.target.success)

    def judged(self, answer: HttpAnswer) -> Report:
        """Return the report of an answer: success or failure, by the status."""
        status, text = answer.final_status, None
        if body := answer.body.decode(errors="replace"):
            secrets = self.secrets()
            if takes_long(secrets, body):
                self.unmasked = body
            else:
                text = as_text(redact(secrets, body), longest=MAX_RESPONSE_LENGTH) or None
        if matches(status, self.target.success):
            return Report(outcome=Outcome.SUCCEEDED, status_code=status, response=text)
        wanted = in_words(self.target.success)
        hint = dropping_hint(status, [*self.target.headers, *self.proof])
        return Report(
            outcome=Outcome.FAILED,
            reason="redirect" if status // 100 == 3 else "status",  # noqa: PLR2004 - the class 3xx
            error=f"the target answered {status_line(status)}; success is {wanted}{hint}",
            status_code=status,
            response=text,
            retryable=self.retries(status),
            retry_after_seconds=asked_wait(answer),
        )

    def failed(self, reason: str, error: str, *, retryable: bool) -> Report:
        """Return the report of an attempt without a final answer."""
        secrets = self.secrets()
        error = error[: 2 * MAX_ERROR_LENGTH]
        if takes_long(secrets, error):
            self.unmasked_error, error = error, ""
        return Report(
            outcome=Outcome.FAILED,
            reason=reason,
            error=as_text(redact(secrets, error), longest=MAX_ERROR_LENGTH),
            status_code=self.status,
            retryable=retryable,
        )

    def retries(self, what: int | str) -> bool:
        """Return whether another attempt may help after this status code or reason."""
        if isinstance(what, int):
            return matches(what, self.target.retry_on)
        return what in self.target.retry_on

    def secrets(self) -> set[str]:
        """Return all secrets of the request: of the target, named ones, and the proof."""
        proof = self.proof.items()
        proofs = {value.rpartition(" ")[2] for name, value in proof if sounds_secret(name)}
        return secrets_of(self.target) | self.context.secrets | proofs


def asked_wait(answer: HttpAnswer) -> float | None:
    """Return how long an answer asks to be left alone; None if it does not."""
    now = datetime.now(UTC)
    wait = retry_after_seconds(answer.values("Retry-After"), now=now)
    if wait is None and answer.final_status in OVERLOADED:
        wait = reset_seconds(answer.values("X-RateLimit-Reset"), now=now)
    return wait
