"""The failures of a publish, each with a stable word for programs."""

import asyncio
from traceback import walk_tb

from aiormq import exceptions as amqp
from aiormq import spec

from app.errors import AppError


class PublishFailed(AppError):
    """The broker did not accept the message; `reason` is a stable word for programs."""

    def __init__(self, reason: str, message: str, *, retryable: bool = True) -> None:
        super().__init__(message)
        self.reason = reason
        self.retryable = retryable


ClientError = amqp.AMQPError | OSError | RuntimeError
"""The errors by which the client usually tells of a fault of the broker or the network."""
CLIENT = ("aio_pika", "aiormq", "pamqp")


def is_of_broker(error: BaseException) -> bool:
    """Return whether the broker or the network is to blame for an error, rather than Tocsin.

    Any error that the client's own code raises counts, even a KeyError: the client meets answers
    that it does not expect with all kinds of errors.
    """
    if not isinstance(error, Exception):
        return False
    if isinstance(error, ClientError):
        return True
    frames = [frame.f_globals.get("__name__", "") for frame, _ in walk_tb(error.__traceback__)]
    return bool(frames) and frames[-1].partition(".")[0] in CLIENT


def failure_of(error: Exception) -> PublishFailed:
    """Translate an error of the client in publishing a message."""
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
    """Translate an error of the client in opening a connection, after TCP and TLS succeeded."""
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
    """Translate an error that ended the connection: `closed` with this message, or `protocol`.

    `protocol`: the broker sent bytes that the client could not read.
    """
    makes_sense = isinstance(error, ClientError | asyncio.InvalidStateError)
    if makes_sense and not isinstance(error, RecursionError):
        return PublishFailed("closed", message)
    return PublishFailed("protocol", "the broker sent what makes no sense in AMQP 0-9-1")


def said_by_broker(error: Exception) -> str:
    """Quote the broker's own words, which name exchanges, hosts and users, never passwords."""
    return f"the broker said: {error.args[0] if error.args else type(error).__name__}"
