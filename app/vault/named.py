"""Named secrets as targets use them: read from Postgres together, and kept for seconds."""

from collections.abc import Collection
from typing import Any

from msgspec.structs import replace

from app.core.secrets.bindings import WITH_TLS, Destination, place_of, strangers
from app.core.secrets.masking import Unshown
from app.core.secrets.references import name_error
from app.db import secrets
from app.db.database import Runner
from app.db.secrets import StoredSecret
from app.errors import AppError
from app.single_flight import SingleFlight
from app.targets.registry import addresses_of
from app.timers import Monotonic
from app.vault.keys import NotDecrypted, SecretKeys, of_secret

ALL = "all"
"""The key of all reads in the single flight: one query reads the secrets that any caller wants."""
FRESH_SECONDS = 5.0
"""How long a secret that was changed or deleted may still be used."""


class SecretUnusable(AppError):
    """A secret that a target refers to is missing, cannot be decrypted, or is bound elsewhere.

    The message names the secret and never has its value.
    """


class Known(Unshown, frozen=True, kw_only=True):
    """A secret as read at `read_at` (monotonic seconds); None where no secret has the name."""

    secret: StoredSecret | None
    read_at: float


class NamedSecrets:
    """The named secrets of one process: kept encrypted, decrypted when a target needs them."""

    def __init__(self, db: Runner, keys: SecretKeys, clock: Monotonic) -> None:
        self.db = db
        self.keys = keys
        self.clock = clock
        self.known: dict[str, Known] = {}
        self.wanted: set[str] = set()
        """The names that callers wait for, to be read by the next query."""
        self.reading = SingleFlight()

    def __repr__(self) -> str:
        return f"<NamedSecrets: {len(self.known)} known, {len(self.wanted)} to be read>"

    async def read_values(self, names: Collection[str]) -> dict[str, str]:
        """Return the values of the secrets of these names, at most `FRESH_SECONDS` old.

        Raises:
            SecretUnusable: a secret is missing or cannot be decrypted; names the secret.
            DatabaseUnavailable: the secrets could not be read.
        """
        await self.refresh(names)
        return {name: self.value(name) for name in names}

    async def refresh(self, names: Collection[str]) -> None:
        """Read those of these secrets that were not read within `FRESH_SECONDS`.

        Raises:
            DatabaseUnavailable: the secrets could not be read.
        """
        if missing := self.not_fresh(names):
            self.wanted |= missing
            await self.reading.run(
                ALL,
                lambda: not self.not_fresh(names),
                lambda: self.read(self.not_fresh(self.wanted.union(names))),
            )

    def stored(self, names: Collection[str]) -> dict[str, StoredSecret | None]:
        """Return these secrets as they are stored, None where there is none; `refresh` before."""
        return {name: self.known[name].secret for name in names}

    def check_places(self, names: Collection[str], places: Collection[Destination]) -> None:
        """Make sure that these secrets may be sent to these places; call `values` before.

        Raises:
            SecretUnusable: a secret is bound to other hosts; names the secret.
        """
        for name in sorted(names):
            secret = self.known[name].secret
            if secret and (message := binding_error(name, secret.hosts, places)):
                raise SecretUnusable(message)

    def value(self, name: str) -> str:
        """Decrypt the value of a secret that is in `known`.

        Raises:
            SecretUnusable: there is no such secret, or no key decrypts the value.
        """
        secret = self.known[name].secret
        if secret is None:
            remedy = f"set it with `tocsin secrets set {name}`"
            if error := name_error(name):
                remedy = f"none can be: a name {error}"
            message = f"no secret is called {name!r}: {remedy}"
            raise SecretUnusable(message)
        try:
            return str(self.keys.decrypt(secret.token, of_secret(name)))
        except NotDecrypted as error:
            raise SecretUnusable(f"the secret {name!r} cannot be used: {error}") from None

    def not_fresh(self, names: Collection[str]) -> set[str]:
        """Return the names whose secrets were not read within `FRESH_SECONDS`."""
        oldest = self.clock() - FRESH_SECONDS
        return {
            name for name in names if name not in self.known or self.known[name].read_at < oldest
        }

    async def read(self, names: set[str]) -> None:
        """Read these secrets with one query, and forget all that are not fresh."""
        self.wanted = set()
        read_at = self.clock()
        found = await secrets.read_values(self.db, names)
        kept = self.known.keys() - self.not_fresh(self.known)
        self.known = {name: self.known[name] for name in kept} | {
            name: Known(secret=found.get(name), read_at=read_at) for name in names
        }


def binding_error(
    name: str, bound_to: Collection[str], places: Collection[Destination]
) -> str | None:
    """Say why a secret may not be sent to these places; None if it may."""
    if bound_to and not places:
        return f"the secret {name!r} is bound to hosts, and the target names none"
    if wrong := strangers(bound_to, places):
        if not wrong[0].is_verified and not strangers(
            bound_to, [replace(wrong[0], is_verified=True)]
        ):
            return (
                f"the secret {name!r} is bound to {wrong[0]}, and with verify_tls false another "
                "server could pass for that: give the ca of its certificate, or bind the secret to "
                "the host without its scheme"
            )
        return (
            f"the secret {name!r} may not be sent to {said(wrong[0], bound_to)}: "
            "`tocsin secrets list` shows the hosts that it is bound to"
        )
    return None


def places_of(kind: str, target: dict[str, Any]) -> frozenset[Destination]:
    """Return every host that a target in clear is sent to, or gets a token from.

    An invalid URL yields an empty host, which no secret can be bound to.
    """
    places = frozenset(map(place_of, addresses_of(kind, target)))
    settings = (target, target.get("auth"))
    if all(one.get("verify_tls", True) is True for one in settings if isinstance(one, dict)):
        return places
    return frozenset(replace(one, is_verified=one.scheme not in WITH_TLS) for one in places)


def said(destination: Destination, bound_to: Collection[str]) -> str:
    """Name a destination by its host, or by its origin where bindings have origins."""
    if not destination.host:
        return "an address without a host"
    return str(destination) if any("://" in one for one in bound_to) else destination.host
