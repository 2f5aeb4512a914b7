"""An observer that tests can wait on."""

import asyncio
from collections.abc import Callable
from typing import Any, TypeVar

from app.core.facts import Fact
from tests.support.waiting import patience

PATIENCE_SECONDS = 10.0
AnyFact = TypeVar("AnyFact")


class Recorder:
    """Keeps every fact, and wakes the tests that wait for a fact of that kind."""

    def __init__(self) -> None:
        self.facts: list[Fact] = []
        self.wakers: list[asyncio.Event] = []

    def __call__(self, fact: Fact) -> None:
        """Observe a fact."""
        self.facts.append(fact)
        for waker in self.wakers:
            waker.set()

    def of(self, kind: type[AnyFact], **fields: Any) -> list[AnyFact]:  # noqa: ANN401
        """Return the facts of this kind whose fields have these values."""
        return [
            fact
            for fact in self.facts
            if isinstance(fact, kind)
            and all(getattr(fact, name) == value for name, value in fields.items())
        ]

    async def seen(
        self,
        kind: type[AnyFact],
        *,
        count: int = 1,
        within: float = PATIENCE_SECONDS,
        **fields: Any,  # noqa: ANN401
    ) -> list[AnyFact]:
        """Wait until `count` such facts were told; raises TimeoutError after `within` seconds."""
        await self.until(lambda: len(self.of(kind, **fields)) >= count, within=within)
        return self.of(kind, **fields)

    async def until(self, condition: Callable[[], bool], *, within: float) -> None:
        """Wait until a condition over the facts holds."""
        waker = asyncio.Event()
        self.wakers.append(waker)
        try:
            async with patience(within):
                while not condition():
                    waker.clear()
                    await waker.wait()
        finally:
            self.wakers.remove(waker)
