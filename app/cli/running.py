"""Runs what is served until a signal stops it."""

import asyncio
import gc
import signal
from collections.abc import Callable, Coroutine

from app.config import Settings
from app.descriptors import raise_limit
from app.names import Resolver
from app.names.loop import Loop

GARBAGE = 20_000
"""Objects made since the last collection of garbage, less those that ended, that start another."""


def run(serving: Coroutine[None, None, None], settings: Settings) -> None:
    """Run until it ends, on uvloop: it halves what each of many small requests costs."""
    # What was imported stays; without this every full collection of garbage walks through it, and
    # thousands of executions a second make one due several times a second.
    raise_limit()
    gc.freeze()
    gc.set_threshold(GARBAGE)
    loop = Loop(Resolver(settings.name_servers))
    with asyncio.Runner(loop_factory=lambda: loop) as runner:
        runner.run(serving)


def on_stop_signal(stop: Callable[[], None]) -> None:
    """Call `stop` on every SIGTERM and SIGINT, and once on SIGHUP: a terminal is gone.

    A terminal that closes, and some supervisors, send it along with SIGTERM; neither is then the
    second request that cuts executions off. Under `nohup` it stays ignored.
    """
    loop = asyncio.get_running_loop()
    asked = list[signal.Signals]()

    def asked_by(number: signal.Signals) -> None:
        is_echo = number == signal.SIGHUP or asked == [signal.SIGHUP]
        asked.append(number)
        if len(asked) == 1 or not is_echo:
            stop()

    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, asked_by, number)
    if signal.getsignal(signal.SIGHUP) != signal.SIG_IGN:
        loop.add_signal_handler(signal.SIGHUP, asked_by, signal.SIGHUP)
