"""Access tokens that are shared by all attempts of a process: asked for once, renewed early."""

from collections.abc import Awaitable, Callable, Hashable

from msgspec.structs import replace

from app.core.secrets.masking import Unshown
from app.errors import AppError
from app.single_flight import SingleFlight
from app.timers import Monotonic

MAX_TOKENS = 1000
"""The most tokens that are kept; beyond that the one granted first is dropped."""
EARLY_PART = 0.2
"""A token is renewed this part of its lifetime before its end, or `EARLY_SECONDS` if shorter."""
EARLY_SECONDS = 60.0
"""The longest time before its end at which a token is renewed."""
PAUSE_SECONDS = 5.0
"""The pause after a failure to renew a token that can still be used."""


class Granted(Unshown, frozen=True, kw_only=True):
    """A token as a token server granted it."""

    token: str
    lifetime_seconds: float


class Held(Unshown, frozen=True, kw_only=True):
    """A token and its times, in monotonic seconds."""

    token: str
    renew_at: float
    ends_at: float


class Tokens:
    """The tokens of one process, keyed by the request that they were granted for."""

    def __init__(self, clock: Monotonic) -> None:
        self.clock = clock
        self.held: dict[Hashable, Held] = {}
        """The tokens; the one granted last is last."""
        self.asking = SingleFlight()

    def __repr__(self) -> str:
        return f"<Tokens: {len(self.held)}>"

    async def get(self, grant: Hashable, ask: Callable[[], Awaitable[Granted]]) -> str:
        """Return a token for `grant`; `ask` fetches one if there is none, or to renew it.

        Raises:
            AppError: `ask` raised this error, and no token can still be used.
        """
        held = self.held.get(grant)
        if held is not None and self.clock() < min(held.renew_at, held.ends_at):
            return held.token
        try:
            return await self.renew(grant, ask)
        except AppError:
            if held is None or self.clock() >= held.ends_at or grant not in self.held:
                raise
            self.held[grant] = replace(held, renew_at=self.clock() + PAUSE_SECONDS)
            return held.token

    async def renew(self, grant: Hashable, ask: Callable[[], Awaitable[Granted]]) -> str:
        """Fetch a token that need not be renewed yet; callers at the same time share one answer."""

        def is_there() -> bool:
            held = self.held.get(grant)
            return held is not None and self.clock() < held.renew_at

        async def fetch() -> None:
            self.keep(grant, await ask())

        await self.asking.run(grant, is_there, fetch)
        return self.held[grant].token

    def keep(self, grant: Hashable, granted: Granted) -> None:
        """Keep a granted token until its end."""
        lifetime = granted.lifetime_seconds
        early = min(lifetime * EARLY_PART, EARLY_SECONDS)
        self.held.pop(grant, None)
        self.held[grant] = Held(
            token=granted.token,
            renew_at=self.clock() + lifetime - early,
            ends_at=self.clock() + lifetime,
        )
        if len(self.held) > MAX_TOKENS:
            del self.held[next(iter(self.held))]

    def forget(self, grant: Hashable, token: str) -> None:
        """Discard `token`; a newer one that was granted since is kept."""
        held = self.held.get(grant)
        if held is not None and held.token == token:
            del self.held[grant]
