"""Lets one caller fetch what several ask for at the same time."""

import asyncio
from collections.abc import Awaitable, Callable, Hashable

from app.errors import AppError


class Flight:
    """The fetches of one key, as long as callers wait for them."""

    def __init__(self) -> None:
        self.lock = asyncio.Lock()
        self.callers = 0
        """Callers that fetch or wait."""
        self.failures = 0
        self.error: AppError | None = None
        """The error of the last fetch that failed."""

    def __repr__(self) -> str:
        return f"Flight({self.callers} callers, {self.failures} failures)"


class SingleFlight:
    """Has each key fetched by one caller at a time, for all callers that want the result.

    The fetch is a part of the task of one caller. Where that task is cancelled, one of the callers
    that wait fetches instead.
    """

    def __init__(self) -> None:
        self.flights: dict[Hashable, Flight] = {}

    def __repr__(self) -> str:
        return f"SingleFlight({self.flights})"

    def __len__(self) -> int:
        return len(self.flights)

    async def run(
        self, key: Hashable, is_there: Callable[[], bool], fetch: Callable[[], Awaitable[object]]
    ) -> None:
        """Fetch, or wait until another caller has fetched, what makes `is_there` true.

        Raises:
            AppError: `fetch` failed, for this caller or for the one whose result it waited for; so
                callers do not wait for one failure after the other.
        """
        flight = self.flights.setdefault(key, Flight())
        failures = flight.failures
        flight.callers += 1
        try:
            async with flight.lock:
                if is_there():
                    return
                if flight.error is not None and flight.failures > failures:
                    raise flight.error
                try:
                    await fetch()
                except AppError as error:
                    flight.failures += 1
                    flight.error = error
                    raise
        finally:
            flight.callers -= 1
            if not flight.callers:
                del self.flights[key]
