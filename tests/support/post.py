"""A real mail server on loopback, of aiosmtpd, that keeps its mails and can be told to refuse."""

import asyncio
import warnings
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from email import message_from_bytes
from email.message import EmailMessage
from email.policy import default
from ssl import SSLContext

from aiosmtpd.smtp import SMTP, AuthResult, Envelope, LoginPassword, Session

USER, PASSWORD = "tocsin", "open-sesame"


class Post:
    """What the server was told, and what it is to answer."""

    def __init__(self) -> None:
        self.mails: list[EmailMessage] = []
        self.envelopes: list[tuple[str, list[str]]] = []
        self.recipients: dict[str, str] = {}
        """Answers to recipients that are not taken."""
        self.verdict = "250 2.0.0 kept as 7"
        """The answer to a mail."""
        self.logins: list[tuple[bytes, bytes]] = []
        self.was_encrypted: list[bool] = []
        self.port = 0
        self.open = 0
        """How many connections are open."""
        self.holds = asyncio.Event()
        """Not set: a mail is not answered before it is."""
        self.holds.set()

    @property
    def url(self) -> str:
        return f"smtp://127.0.0.1:{self.port}"

    async def handle_RCPT(  # noqa: N802 - aiosmtpd's own name
        self,
        server: SMTP,
        session: Session,
        envelope: Envelope,
        address: str,
        options: list[str],
    ) -> str:
        del server, session, options
        if refusal := self.recipients.get(address):
            return refusal
        envelope.rcpt_tos.append(address)
        return "250 OK"

    async def handle_DATA(  # noqa: N802 - aiosmtpd's own name
        self, server: SMTP, session: Session, envelope: Envelope
    ) -> str:
        del session
        await self.holds.wait()
        if self.verdict.startswith("2"):
            content = envelope.content
            assert isinstance(content, bytes)
            mail = message_from_bytes(content, policy=default)
            assert isinstance(mail, EmailMessage)
            assert server.transport is not None
            self.mails.append(mail)
            self.envelopes.append((str(envelope.mail_from), list(envelope.rcpt_tos)))
            self.was_encrypted.append(server.transport.get_extra_info("sslcontext") is not None)
        return self.verdict

    def authenticate(
        self, server: SMTP, session: Session, envelope: Envelope, mechanism: str, data: object
    ) -> AuthResult:
        del server, session, envelope, mechanism
        assert isinstance(data, LoginPassword)
        self.logins.append((data.login, data.password))
        success = (data.login, data.password) == (USER.encode(), PASSWORD.encode())
        return AuthResult(success=success, handled=success)


class Counted(SMTP):
    """Counts the connections that are open."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        if not hasattr(self, "counted"):  # not again after STARTTLS
            self.counted = True
            self.event_handler.open += 1
        super().connection_made(transport)

    def connection_lost(self, error: Exception | None) -> None:
        self.event_handler.open -= 1
        super().connection_lost(error)


@asynccontextmanager
async def posting(
    *, starttls: SSLContext | None = None, smtps: SSLContext | None = None, asks: bool = False
) -> AsyncIterator[Post]:
    """Serve mail; `asks`: only who gives USER and PASSWORD may send."""
    post = Post()
    loop = asyncio.get_running_loop()

    def connection() -> SMTP:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of TLS that begins first, aiosmtpd knows nothing
            return Counted(
                post,
                hostname="mail.example",
                tls_context=starttls,
                require_starttls=starttls is not None,
                authenticator=post.authenticate,
                auth_required=asks,
                auth_require_tls=smtps is None,
                loop=loop,
            )

    server = await loop.create_server(connection, "127.0.0.1", 0, ssl=smtps)
    post.port = server.sockets[0].getsockname()[1]
    try:
        yield post
    finally:
        server.close()
        await server.wait_closed()
