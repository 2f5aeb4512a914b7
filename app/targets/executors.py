"""The executors of one process, one of each kind."""

import asyncio
from collections.abc import Awaitable, Collection
from concurrent.futures import ThreadPoolExecutor
from time import monotonic
from types import TracebackType
from typing import Any, Self

from app.core.net.egress import PUBLIC_ONLY, Egress
from app.core.net.requesting import NoteRequest
from app.core.runs.outcome import Report
from app.targets.base import Context, Executor, Options, Target
from app.targets.net.guard import Guard, Lookup
from app.targets.net.names import Names
from app.targets.net.resolver import Resolver
from app.targets.registry import EXECUTORS
from app.targets.turns import Turns
from app.templates.renderer import Renderer
from app.timers import Monotonic

PREPARE_SECONDS = 0.25
"""How long the preparation of an attempt may take."""


class Executors:
    """The executors of one process, which are open within its context.

    All are opened at once, as opening one later would delay the first job of its kind.
    """

    def __init__(  # noqa: PLR0913 - the settings of all executors, put together in one place
        self,
        *,
        egress: Egress = PUBLIC_ONLY,
        resolver: Resolver | None = None,
        lookup: Lookup | None = None,
        connections_per_host: int = 0,
        clock: Monotonic | None = None,
        note_request: NoteRequest | None = None,
    ) -> None:
        """By default the clock is that of the event loop, in which this must be called."""
        self.resolver = resolver or Resolver(clock=monotonic)
        self.options = Options(
            connections_per_host=connections_per_host,
            guard=Guard(egress, lookup=lookup or self.resolver.lookup),
            clock=clock or asyncio.get_running_loop().time,
            note_request=note_request,
        )
        self.names = Names(self.options.guard, self.resolver)
        self.renderer = Renderer()
        """Renders templates beside the event loop; without any, nothing is started."""
        self.opened: dict[str, Executor[Any]] = {}

    async def __aenter__(self) -> Self:
        for kind, executor in EXECUTORS.items():
            self.opened[kind] = executor(self.options)
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        while self.opened:
            _, executor = self.opened.popitem()
            await executor.close()
        await self.renderer.close()
        self.options.contexts.close()
        await self.resolver.close()

    @property
    def turns(self) -> Turns:
        """The turns of what takes the event loop for milliseconds."""
        return self.options.turns

    @property
    def thread(self) -> ThreadPoolExecutor:
        """The thread that reads certificates beside the event loop."""
        return self.options.contexts.thread

    async def prepare(self, kind: str, target: Target, context: Context) -> None:
        """Prepare an attempt that is due in a moment, for `PREPARE_SECONDS` at most.

        Raises:
            Exception: any error of the preparation, of which the caller takes no notice.
        """
        async with asyncio.timeout(PREPARE_SECONDS):
            await self.opened[kind].prepare(target, context)

    async def load(self, target: Target) -> None:
        """Load the certificates of a target before its next attempt."""
        for tls in target.certificates():
            await self.options.contexts.find_context(tls, patient=True)

    async def redact(self, secrets: Collection[str], text: str) -> str:
        """Return a text with `***` for each secret, in its turn if it is long."""
        return await self.options.turns.redact(secrets, text)

    def execute(self, kind: str, target: Target, context: Context) -> Awaitable[Report]:
        """Carry out one attempt; `target` is what `decode_target` made for this kind."""
        return self.opened[kind].execute(target, context)
