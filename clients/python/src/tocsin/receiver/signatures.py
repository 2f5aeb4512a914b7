"""Who sent a request, by its signature (Standard Webhooks), and what was sent."""

import hmac
import re
import time
from base64 import b64decode, b64encode
from binascii import Error
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

import msgspec
from msgspec import Struct

from tocsin.receiver.stores import AsyncStore, Store

PREFIX = "whsec_"
KEY_BYTES = range(24, 65)
VERSION = "v1,"
ID = re.compile(r"[\x21-\x2d\x2f-\x7e]{1,512}")
"""Without a dot, at which what is signed is split."""
SECONDS = re.compile(r"[0-9]{1,11}")
MAX_SIGNATURES = 10
"""How many signatures of one request are looked at; Tocsin sends two at most."""
TOLERANCE_SECONDS = 300.0
MAX_BODY_BYTES = 1024 * 1024
LEASE_SECONDS = 60.0
KEEP_SECONDS = 3 * 86_400.0


class Rejected(Exception):
    """A request is refused with this status; its text goes to the sender.

    Functions may raise it as well: Tocsin tries again after 408, 425, 429 and 5xx, unless the job
    says otherwise, and gives the run up after any other.
    """

    def __init__(self, status: int, detail: str, *, retry_after: int | None = None) -> None:
        super().__init__(detail)
        self.status = status
        self.retry_after = retry_after
        """After how many seconds another attempt may help."""


class Delivery(Struct, frozen=True, kw_only=True):
    """What Tocsin sent: `id`, `sent_at` and `body` are signed, all other headers are not."""

    id: str
    """The run: the same for all of its attempts, and for its replays."""
    sent_at: datetime
    body: bytes
    headers: Mapping[str, str]
    """By their names in lower case."""

    def __repr__(self) -> str:
        """Show what is no secret: headers may have one, and so may the body."""
        return f"<Delivery {self.id}, sent at {self.sent_at.isoformat()}>"

    def __rich_repr__(self) -> list[tuple[str, Any]]:
        return [("id", self.id), ("sent_at", self.sent_at)]

    def json(self) -> Any:  # noqa: ANN401 - whatever was sent
        """Return the body, which is JSON.

        Raises:
            Rejected: it is none.
        """
        try:
            return msgspec.json.decode(self.body)
        except (msgspec.DecodeError, UnicodeDecodeError) as error:
            raise Rejected(400, f"the body is not JSON: {error}") from None

    @property
    def job_id(self) -> UUID | None:
        """The job, as the signed id names it; None if somebody else than Tocsin made the id."""
        try:
            return UUID(self.id.partition(":")[0])
        except ValueError:
            return None

    @property
    def scheduled_for(self) -> datetime | None:
        """The instant of the run, as the signed id names it."""
        try:
            return datetime.fromisoformat(self.id.partition(":")[2].replace("_", "."))
        except ValueError:
            return None


class Receiver:
    """Judges requests by the secrets that targets have as `auth`: `{"type": "signature"}`.

    Several secrets: any of them, while one is changed. With a `store` each run is done once, as far
    as the store promises; a run is another's for `lease_seconds`, and remembered for
    `keep_seconds`, which should be longer than its retries take.

    Raises:
        ValueError: there is no secret, or one is none.
    """

    def __init__(
        self,
        *secrets: str,
        store: Store | AsyncStore | None = None,
        tolerance_seconds: float = TOLERANCE_SECONDS,
        max_body_bytes: int = MAX_BODY_BYTES,
        lease_seconds: float = LEASE_SECONDS,
        keep_seconds: float = KEEP_SECONDS,
    ) -> None:
        if not secrets:
            raise ValueError("a receiver needs the secret that the target signs with: give one")
        self.keys = tuple(key_of(one, number) for number, one in enumerate(secrets, start=1))
        self.store = store
        self.tolerance_seconds = tolerance_seconds
        self.max_body_bytes = max_body_bytes
        self.lease_seconds = lease_seconds
        self.keep_seconds = keep_seconds

    def __repr__(self) -> str:
        return f"<Receiver with {len(self.keys)} secrets, {self.store!r}>"

    def verify(
        self, headers: Mapping[str, str], body: bytes, *, now: float | None = None
    ) -> Delivery:
        """Return what was sent, if it is signed with one of the secrets, and is not too old.

        `body`: the bytes as they came, before anything has read them. `now`: seconds since 1970.

        Raises:
            Rejected: 401, it is not; 413, the body is too large.
        """
        if len(body) > self.max_body_bytes:
            raise too_large(self)
        lower = {name.lower(): value for name, value in headers.items()}
        id, at = lower.get("webhook-id", ""), lower.get("webhook-timestamp", "")
        signatures = lower.get("webhook-signature", "").split(" ", MAX_SIGNATURES)[:MAX_SIGNATURES]
        if not (ID.fullmatch(id) and SECONDS.fullmatch(at)):
            raise Rejected(401, "webhook-id or webhook-timestamp is missing, or is none")
        signed = f"{id}.{at}.".encode() + body
        is_ours = False
        for key in self.keys:
            expected = b64encode(hmac.digest(key, signed, "sha256"))
            for one in signatures:
                given = one.removeprefix(VERSION).encode() if one.startswith(VERSION) else b""
                is_ours |= hmac.compare_digest(expected, given)  # each, as time would tell which
        if not is_ours:
            raise Rejected(401, "webhook-signature is none of this receiver's secrets")
        age = (time.time() if now is None else now) - int(at)
        if abs(age) > self.tolerance_seconds:
            raise Rejected(401, f"webhook-timestamp is {age:.0f} s off: see that clocks are right")
        sent_at = datetime.fromtimestamp(int(at), UTC)
        return Delivery(id=id, sent_at=sent_at, body=body, headers=lower)


def too_large(receiver: Receiver) -> Rejected:
    """Refuse a body for its size."""
    return Rejected(413, f"the body has more than {receiver.max_body_bytes} bytes")


def key_of(secret: str, number: int) -> bytes:
    """Return the key that a secret stands for.

    Raises:
        ValueError: it stands for none; the secret is not shown.
    """
    try:
        key = b64decode(secret.removeprefix(PREFIX), validate=True)
    except (Error, ValueError):
        key = b""
    if len(key) not in KEY_BYTES:
        message = (
            f"secret {number} is not base64 of {KEY_BYTES[0]} to {KEY_BYTES[-1]} bytes, as a rule "
            f"after {PREFIX}: give the one that the target has"
        )
        raise ValueError(message)
    return key
