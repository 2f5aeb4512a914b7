"""What can go wrong with a publish, in stable words."""

import asyncio
from traceback import walk_tb

from aiormq import exceptions as amqp
from aiormq import spec

from app.errors import AppError


class PublishFailed(AppError):
    """The message was not accepted; `reason` is a stable word for programs."""

    def __init__(self, reason: str, message: str, *, retryable: bool = True) -> None:
        super().__init__(message)
        self.reason = reason
        self.retryable = retryable


ClientError = amqp.AMQPError | OSError | RuntimeError
"""What the client raises where the broker or the way to it is to blame, as a rule."""
CLIENT = ("aio_pika", "aiormq", "pamqp")


def is_of_broker(error: BaseException) -> bool:
    """Whether the broker or the way to it is to blame: whatever the client raises by itself is.

    What it raises for answers that it does not expect may be anything, a KeyError for one.
    """
    if not isinstance(error, Exception):
        return False
    if isinstance(error, ClientError):
        return True
    frames = [frame.f_globals.get("__name__", "") for frame, _ in walk_tb(error.__traceback__)]
    return bool(frames) and frames[-1].partition(".")[0] in CLIENT


def failure_of(error: Exception) -> PublishFailed:
    """Say what the client's error means for one message."""
    match error:
        case amqp.DeliveryError(frame=spec.Basic.Return()):
            return PublishFailed("unroutable", "no queue takes this exchange and routing key")
        case amqp.DeliveryError():
            return PublishFailed("nacked", "the broker refused to take the message over")
        case amqp.ChannelNotFoundEntity():
            return PublishFailed("exchange", said_by_broker(error))
        case amqp.ChannelAccessRefused():
            return PublishFailed("exchange", said_by_broker(error), retryable=False)
        case amqp.ChannelPreconditionFailed():
            return PublishFailed("target", said_by_broker(error), retryable=False)
        case _:
            return lost(error, "the connection was lost before the confirmation")


def refusal_of(error: BaseException) -> PublishFailed:
    """Say why the broker did not open a connection that TCP and TLS had opened."""
    match error:
        case amqp.AuthenticationError() | amqp.ProbableAuthenticationError():
            return PublishFailed("auth", said_by_broker(error), retryable=False)
        case amqp.InvalidFrameError() if "Connection.OpenOk" in str(error):
            # The client hides the broker's words; at this step it speaks of the virtual host only.
            message = "the broker refused the virtual host: does it exist, may the user use it?"
            return PublishFailed("auth", message, retryable=False)
        case amqp.ProtocolSyntaxError() | amqp.IncompatibleProtocolError():
            return PublishFailed("protocol", "what answers there does not speak AMQP 0-9-1")
        case _:
            return lost(error, "the connection was closed before it was open")


def lost(error: BaseException, message: str) -> PublishFailed:
    """Say that the connection is gone, or that the client could not make sense of what came."""
    makes_sense = isinstance(error, ClientError | asyncio.InvalidStateError)
    if makes_sense and not isinstance(error, RecursionError):
        return PublishFailed("closed", message)
    return PublishFailed("protocol", "the broker sent what makes no sense in AMQP 0-9-1")


def said_by_broker(error: Exception) -> str:
    """The broker's own words: they name exchanges, hosts and users, never passwords."""
    return f"the broker said: {error.args[0] if error.args else type(error).__name__}"
