"""Runs the event loop of a long-running command, and handles the signals that stop it."""

import asyncio
import gc
import signal
from collections.abc import Callable, Coroutine
from time import monotonic

from app.config import Settings
from app.descriptors import raise_limit
from app.targets.net.loop import Loop
from app.targets.net.resolver import Resolver

GARBAGE = 20_000
"""Growth in the number of objects that starts a collection of the youngest generation."""


def run(serving: Coroutine[None, None, None], settings: Settings) -> None:
    """Run a coroutine to its end on uvloop, which halves the cost of many small requests."""
    # Imported modules are never garbage. Unfrozen, each full collection would traverse them, and
    # thousands of executions a second would cause several full collections a second.
    raise_limit()
    gc.freeze()
    gc.set_threshold(GARBAGE)
    loop = Loop(Resolver(settings.name_servers, clock=monotonic))
    with asyncio.Runner(loop_factory=lambda: loop) as runner:
        runner.run(serving)


def on_stop_signal(stop: Callable[[], None]) -> None:
    """Call `stop` on every SIGTERM and SIGINT, and on a SIGHUP that comes first.

    Terminals that close, and some supervisors, send SIGHUP and SIGTERM together; the later of the
    two does not count as the second request to stop, which cancels executions. Under `nohup`,
    SIGHUP stays ignored.
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
