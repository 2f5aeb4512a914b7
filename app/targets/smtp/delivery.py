"""One attempt to hand a mail over to a server (RFC 5321), by aiosmtplib."""

import asyncio
import socket
import ssl
from contextlib import suppress
from enum import Enum
from typing import cast

import aiosmtplib as client
from msgspec.structs import replace

from app.core.runs.outcome import Outcome, Report
from app.core.secrets.masking import secrets_of
from app.descriptors import OutOfDescriptors, is_shortage
from app.errors import AppError
from app.targets.base import MAX_ERROR_LENGTH, Context, Options, as_text, timed_out
from app.targets.net.guard import AddressBlocked
from app.targets.smtp.answers import Answers
from app.targets.smtp.executor import SmtpTarget
from app.targets.smtp.message import mail_of
from app.targets.smtp.rules import MAX_RECIPIENTS, mailbox, server_of
from app.targets.turns import LARGE

TRANSIENT = range(400, 500)
"""Answers after which another attempt may help (RFC 5321, 4.2.1)."""
REFUSALS = range(400, 600)
"""Answers that refuse what was asked for."""
FAREWELL_SECONDS = 0.5
"""How long to wait for the answer to QUIT, once the mail is accepted."""
MAX_RESPONSE_LENGTH = 2000
"""The most characters that are kept of an answer."""
MAX_NAMED = 5
"""The most recipients that an error names."""


class Stage(Enum):
    """What a delivery waits for, in their order."""

    CONNECTION = "no connection to the mail server"
    TLS = "no TLS with the mail server"
    PROOF = "the mail server did not answer to the password"
    RECIPIENTS = "the mail server did not answer to sender and recipients"
    MESSAGE = "the mail server did not say whether it takes the mail"


class NotSent(AppError):
    """The server did not take the mail; `reason` is a stable word for programs."""

    def __init__(
        self, reason: str, message: str, *, code: int | None = None, retryable: bool = True
    ) -> None:
        super().__init__(message)
        self.reason = reason
        self.code = code
        self.retryable = retryable


class Delivery:
    """One attempt: the connection, and how far it came."""

    def __init__(self, options: Options, target: SmtpTarget, context: Context) -> None:
        self.options = options
        self.target = target
        self.context = context
        self.stage = Stage.CONNECTION
        self.begun_at = options.clock()

    async def report(self) -> Report:
        """Hand the mail over within the timeout, and return the report.

        Raises:
            ContextsCrowded, OutOfDescriptors: the process is short of something; nothing was sent.
        """
        try:
            async with asyncio.timeout(self.context.timeout_seconds):
                code, said = await self.deliver()
        except NotSent as failure:
            return await self.report_failure(failure)
        except client.SMTPException as error:
            return await self.report_failure(failure_of(error, self.stage))
        except TimeoutError:
            return timed_out(self.context, self.stage.value)
        except ssl.SSLError as error:
            return await self.report_failure(
                NotSent("tls", f"no TLS with the mail server: {error.strerror}")
            )
        except OSError as error:
            if is_shortage(error):
                raise OutOfDescriptors("no file descriptor is left for a connection") from error
            return await self.report_failure(
                NotSent("closed", f"the connection was lost: {error.strerror}")
            )
        report = Report(outcome=Outcome.SUCCEEDED, status_code=code)
        self.context.answered(report)  # the mail was sent, whatever cuts off what follows
        return replace(report, response=await self.redact(said, longest=MAX_RESPONSE_LENGTH))

    async def deliver(self) -> tuple[int, str]:
        """Connect, prove, and hand the mail over; return the answer that accepts it.

        A mail that one of its recipients cannot get is sent to none, as another attempt would send
        it to the others again.

        Raises:
            NotSent, SMTPException, OSError: the server did not take the mail, or may not have.
            ContextsCrowded, OutOfDescriptors: the process is short of something; nothing was sent.
        """
        target = self.target
        if (size := size_of(target)) >= LARGE:
            await self.options.turns.take(size)
        message = mail_of(target, self.context)
        context = None
        if target.is_encrypted:
            context = await self.options.contexts.find_context(target.tls())
        host, port = server_of(target.url)
        made = await self.connect(host, port)
        server = client.SMTP(
            hostname=host,
            sock=made,
            local_hostname=literal(made.getsockname()[0]),
            use_tls=target.begins_with_tls,
            start_tls=False,
            tls_context=context,
            timeout=None,
        )
        try:
            await self.greet(server, host, context)
            self.context.waited(self.options.clock() - self.begun_at)
            if self.context.sending is not None:
                self.context.sending()
            self.stage = Stage.RECIPIENTS
            await server.mail(mailbox(target.sender).addr_spec)
            await self.name_recipients(server)
            self.stage = Stage.MESSAGE
            code, said = await server.data(message)
            with suppress(TimeoutError, client.SMTPException, OSError):
                async with asyncio.timeout(FAREWELL_SECONDS):
                    await server.quit()
        except BaseException:
            if server.transport is not None:  # a server that reads nothing would keep it open
                cast("asyncio.WriteTransport", server.transport).abort()
            raise
        finally:
            server.close()  # and the socket with it
        return code, said

    async def connect(self, host: str, port: int) -> socket.socket:
        """Return a connection to the first allowed address that takes one.

        Raises:
            NotSent: there is none.
            OutOfDescriptors: no file descriptor is left for one.
        """
        try:
            addresses = await self.options.guard.find_addresses(host, port)
        except AddressBlocked as refusal:
            raise NotSent("blocked", str(refusal), retryable=False) from None
        except OSError as error:
            if is_shortage(error):
                raise OutOfDescriptors("no file descriptor is left for a lookup") from error
            message = f"the name {host} was not found: {error.strerror}"
            raise NotSent("dns", message) from error
        because: OSError | None = None
        for address in addresses:
            try:
                return await connect_to(address, port)
            except OSError as error:
                because = error
        if is_shortage(because):
            raise OutOfDescriptors("no file descriptor is left for a connection") from because
        text = (because and because.strerror) or "it has no address"
        raise NotSent("connect", f"no connection to {host}:{port}: {text}") from because

    async def greet(self, server: client.SMTP, host: str, context: ssl.SSLContext | None) -> None:
        """Begin the session: greeting, TLS, password.

        Raises:
            NotSent, SMTPException, OSError: it cannot begin.
        """
        target = self.target
        if target.begins_with_tls:
            self.stage = Stage.TLS
        await server.connect()
        if not isinstance(server.protocol, Answers):
            raise TypeError("aiosmtplib makes its protocols in another way now")
        await server.ehlo()
        if target.starttls and not target.begins_with_tls:
            self.stage = Stage.TLS
            if not server.supports_extension("starttls"):
                raise NotSent("tls", "the mail server offers no STARTTLS: set starttls to false")
            await server.starttls(server_hostname=host, tls_context=context)
            await server.ehlo()
        if target.username is not None and target.password is not None:
            self.stage = Stage.PROOF
            await server.login(target.username, target.password)

    async def name_recipients(self, server: client.SMTP) -> None:
        """Name every recipient to the server.

        Raises:
            NotSent: the server refuses some of them.
            SMTPException: the server answers in a way that is neither consent nor refusal.
        """
        refused: list[client.SMTPRecipientRefused] = []
        target = self.target
        every = (mailbox(text).addr_spec for text in (*target.to, *target.cc, *target.bcc))
        for recipient in dict.fromkeys(every):
            try:
                await server.rcpt(recipient)
            except client.SMTPRecipientRefused as error:
                if error.code not in REFUSALS:
                    raise
                refused.append(error)
        if not refused:
            return
        named = "; ".join(
            f"{one.recipient}: {one.code} {one.message}" for one in refused[:MAX_NAMED]
        )
        more = f"; and {len(refused) - MAX_NAMED} more" if len(refused) > MAX_NAMED else ""
        final = [one.code for one in refused if one.code not in TRANSIENT]
        raise NotSent(
            "status",
            f"the mail server refused recipients, so nobody got the mail: {named}{more}",
            code=final[0] if final else refused[0].code,
            retryable=not final,
        )

    async def report_failure(self, failure: NotSent) -> Report:
        """Return the report of a mail that was not accepted."""
        report = Report(
            outcome=Outcome.FAILED,
            reason=failure.reason,
            status_code=failure.code,
            retryable=failure.retryable,
        )
        self.context.answered(report)
        return replace(report, error=await self.redact(str(failure), longest=MAX_ERROR_LENGTH))

    async def redact(self, text: str, *, longest: int) -> str:
        """Return a server's text as it may be recorded: redacted, and bounded in length."""
        legible = text[: 2 * longest].encode(errors="replace").decode()
        secrets = secrets_of(self.target) | self.context.secrets
        return as_text(await self.options.turns.redact(secrets, legible), longest=longest)


async def connect_to(address: str, port: int) -> socket.socket:
    """Return a connection to an address.

    Raises:
        OSError: there is none.
    """
    made = socket.socket(socket.AF_INET6 if ":" in address else socket.AF_INET, socket.SOCK_STREAM)
    try:
        made.setblocking(False)  # noqa: FBT003 - the socket's own signature
        await asyncio.get_running_loop().sock_connect(made, (address, port))
    except BaseException:
        made.close()
        raise
    return made


def size_of(target: SmtpTarget) -> int:
    """Return how many characters take as long to write as a mail; a recipient counts as many."""
    texts = (target.text or "", target.html or "", *target.headers.values())
    named = len(target.to) + len(target.cc)
    return sum(map(len, texts)) + named * 2 * LARGE // MAX_RECIPIENTS


def failure_of(error: client.SMTPException, stage: Stage) -> NotSent:
    """Translate an error of the client."""
    match error:
        case client.SMTPResponseException():
            return answered(error.code, error.message, stage)
        case client.SMTPConnectError() if isinstance(error.__cause__, ssl.SSLError):
            return NotSent("tls", f"no TLS with the mail server: {error.__cause__.strerror}")
        case (
            client.SMTPServerDisconnected() | client.SMTPConnectError() | client.SMTPTimeoutError()
        ):
            return NotSent("closed", f"the connection was lost: {stage.value}")
        case _ if stage is Stage.PROOF:
            return NotSent("auth", f"no way to log in: {error}", retryable=False)
        case _:
            reason = "tls" if stage is Stage.TLS else "protocol"
            return NotSent(reason, f"{stage.value}: {error}")


def answered(code: int, said: str, stage: Stage) -> NotSent:
    """Translate an answer that is not the consent that was asked for."""
    if code not in REFUSALS:  # a consent to something else, or no code at all
        return NotSent("protocol", f"the mail server does not keep to SMTP: {code} {said}")
    reason = {Stage.PROOF: "auth", Stage.TLS: "tls"}.get(stage, "status")
    message = f"the mail server answered {code} {said}"
    return NotSent(reason, message, code=code, retryable=code in TRANSIENT or reason == "tls")


def literal(address: str) -> str:
    """Return an address of ours as EHLO takes it (RFC 5321, 4.1.3)."""
    return f"[IPv6:{address.partition('%')[0]}]" if ":" in address else f"[{address}]"
