"""Carries out `amqp` jobs: one message per attempt, confirmed by the broker."""

import asyncio
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from enum import Enum
from typing import Annotated, Any, ClassVar, Literal, assert_never

from aio_pika import DeliveryMode, Message
from aiormq import spec
from msgspec import Meta, field
from msgspec.structs import replace

from app.core.runs.outcome import Outcome, Report
from app.core.secrets.masking import NAMED_SECRETS, URL_SECRET, secrets_of
from app.errors import FieldError
from app.targets.amqp.connect import Broker, fault_of
from app.targets.amqp.failures import PublishFailed, failure_of, is_of_broker
from app.targets.amqp.pool import Link, Pool
from app.targets.amqp.rules import headers_error, name_error, url_error
from app.targets.base import (
    MAX_ERROR_LENGTH,
    AtUrl,
    Context,
    Options,
    Shown,
    Target,
    Where,
    as_text,
    timed_out,
)
from app.targets.net.tls import Tls
from app.targets.tls_target import TlsTarget

MAX_EXPIRATION_SECONDS = 4_294_967.0
"""The longest expiration: brokers count its milliseconds in 32 bits."""

NAMES = ("exchange", "routing_key", "content_type", "correlation_id", "reply_to", "type")


class AmqpTarget(TlsTarget, frozen=True, kw_only=True):
    """One message, and where to publish it."""

    templatable: ClassVar[tuple[str, ...]] = (
        *("exchange", "routing_key", "headers", "body", "json"),
        *("correlation_id", "reply_to", "type"),
    )

    url: Annotated[str, Meta(max_length=2048), URL_SECRET]
    """`amqp://user:password@host:5672/virtual-host`, or amqps."""
    exchange: str = ""
    """The exchange; empty for the default one, whose routing key is the name of a queue."""
    routing_key: str = ""
    content_type: str | None = None
    """The content type; by default the one that fits the form of the body."""
    headers: Annotated[dict[str, Any], NAMED_SECRETS] = field(default_factory=dict)
    """Integers stay integers, objects become tables and arrays arrays."""
    persistent: bool = True
    mandatory: bool = True
    """Whether a message that no queue takes counts as a failure."""
    priority: Annotated[int, Meta(ge=0, le=255)] | None = None
    expiration_seconds: Annotated[float, Meta(ge=0, le=MAX_EXPIRATION_SECONDS)] | None = None
    """After how many seconds the broker drops a message that no consumer has taken."""
    correlation_id: str | None = None
    reply_to: str | None = None
    type: str | None = None
    templates: tuple[
        Literal[
            "exchange",
            "routing_key",
            "headers",
            "body",
            "json",
            "correlation_id",
            "reply_to",
            "type",
        ],
        ...,
    ] = ()
    """The fields whose texts are templates, rendered for each attempt."""

    def errors(self) -> Iterable[FieldError]:
        yield from super().errors()
        if problem := url_error(self.url):
            yield FieldError(field="url", message=problem)
        for name in NAMES:
            if problem := name_error(getattr(self, name)):
                yield FieldError(field=name, message=problem)
        if not self.exchange and not self.routing_key:
            message = "names the queue where the default exchange is used: give it, or an exchange"
            yield FieldError(field="routing_key", message=message)
        if problem := headers_error(self.headers):
            yield FieldError(field="headers", message=problem)

    def certificates(self) -> Iterable[Tls]:
        if (tls := self.tls_settings()) is not None and self.url.lower().startswith("amqps:"):
            yield tls

    def broker(self) -> Broker:
        return Broker(url=self.url, tls=self.tls_settings())


class AmqpExecutor:
    """Publishes the messages of all `amqp` jobs."""

    kind: ClassVar[str] = "amqp"
    target_type: ClassVar[type[Target]] = AmqpTarget
    where_type: ClassVar[type[Where]] = AtUrl
    shown: ClassVar[Mapping[str, Shown]] = {"url": Shown(origin=("amqp", "amqps"))}

    def __init__(self, options: Options) -> None:
        self.pool = Pool(guard=options.guard, contexts=options.contexts, clock=options.clock)
        self.turns = options.turns

    async def execute(self, target: AmqpTarget, context: Context) -> Report:
        report = await Publication(self.pool, target, context).report()
        if not report.error:
            return report
        context.answered(report)
        text = await self.turns.redact(secrets_of(target), report.error)
        return replace(report, error=as_text(text, longest=MAX_ERROR_LENGTH))

    async def prepare(self, target: AmqpTarget, context: Context) -> None:
        """Open a connection and a channel, unless there are some."""
        del context
        async with self.pool.link(target.broker()) as link, link.channel():
            pass

    async def close(self) -> None:
        await self.pool.close()


class Stage(Enum):
    """The event that a publication waits for, in their order."""

    CONNECTION = "connection"
    ALARM = "alarm"
    """The end of a memory or disk alarm, during which the broker blocks publishers."""
    CONFIRMATION = "confirmation"


class Publication:
    """One attempt to publish a message."""

    def __init__(self, pool: Pool, target: AmqpTarget, context: Context) -> None:
        self.pool = pool
        self.target = target
        self.context = context
        self.stage = Stage.CONNECTION
        self.begun_at = pool.clock()
        self.link: Link | None = None

    async def report(self) -> Report:
        """Publish within the timeout, and return the report, in which nothing is masked yet.

        Raises:
            ContextsCrowded, OutOfDescriptors: the process is short of something; nothing was sent.
        """
        try:
            async with asyncio.timeout(self.context.timeout_seconds):
                await self.publish()
        except TimeoutError:
            return self.too_late()
        except asyncio.CancelledError:
            # The client cancels the tasks that wait on a connection which is lost.
            if is_cancelled():
                raise
            return self.failed(PublishFailed("closed", "the connection was lost"))
        except PublishFailed as failure:
            return self.failed(failure)
        except Exception as error:
            if not is_of_broker(error):
                raise
            return self.failed(failure_of(error))
        return Report(outcome=Outcome.SUCCEEDED)

    async def publish(self) -> None:
        """Publish the message; return when the broker has confirmed it.

        Raises:
            PublishFailed: no connection could be opened, or the broker refused the message.
        """
        message = self.message()
        async with self.pool.link(self.target.broker()) as link:
            self.link = link
            self.stage = Stage.ALARM
            await link.wait_until_ready()
            self.stage = Stage.CONFIRMATION
            async with link.channel() as channel:
                exchange = channel.default_exchange
                if self.target.exchange:
                    exchange = await channel.get_exchange(self.target.exchange, ensure=False)
                self.context.waited(self.pool.clock() - self.begun_at)
                if self.context.sending is not None:
                    self.context.sending()
                confirmed = await exchange.publish(
                    message, self.target.routing_key, mandatory=self.target.mandatory
                )
                if not isinstance(confirmed, spec.Basic.Ack):
                    raise PublishFailed("nacked", "the broker did not confirm the message")

    def message(self) -> Message:
        """Return the message with all its properties."""
        target, context = self.target, self.context
        body, content_type = target.content()
        return Message(
            body,
            headers={**target.headers, **context.headers()},
            content_type=target.content_type or content_type,
            delivery_mode=(
                DeliveryMode.PERSISTENT if target.persistent else DeliveryMode.NOT_PERSISTENT
            ),
            priority=target.priority,
            correlation_id=target.correlation_id,
            reply_to=target.reply_to,
            expiration=target.expiration_seconds,
            message_id=context.idempotency_key,
            timestamp=datetime.now(UTC),
            type=target.type,
            app_id="tocsin",
        )

    def too_late(self) -> Report:
        """Return the report of a time-out, by what was waited for; the message may still arrive."""
        match self.stage:
            case Stage.CONNECTION:
                return timed_out(self.context, "no connection to the broker")
            case Stage.ALARM:
                message = "the broker blocks publishers (memory or disk alarm); nothing was sent"
                return self.failed(PublishFailed("alarm", message))
            case Stage.CONFIRMATION:
                return timed_out(self.context, "the broker did not confirm the message")
            case _:
                assert_never(self.stage)

    def failed(self, failure: PublishFailed) -> Report:
        """Return the report of a failure."""
        if self.link is not None:  # for what the broker did is told, not how the client took it
            failure = fault_of(self.link.connection) or failure
        return Report(
            outcome=Outcome.FAILED,
            reason=failure.reason,
            error=str(failure),
            retryable=failure.retryable,
        )


def is_cancelled() -> bool:
    """Return whether the present task has been cancelled."""
    task = asyncio.current_task()
    return task is not None and task.cancelling() > 0
