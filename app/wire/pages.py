"""Pages of lists, and cursors, which say where the next page begins."""

import binascii
from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from typing import Any, Generic, TypeVar
from uuid import UUID

from msgspec import Struct

from app.core.jobs.identity import EPOCH
from app.core.schedule.occurrences import TICK
from app.errors import FieldError, InvalidInput

ItemT = TypeVar("ItemT")
KeyT = TypeVar("KeyT")

INT8_BYTES = 8
UUID_BYTES = 16
LATEST_MICROSECONDS = (datetime(2200, 1, 2, tzinfo=UTC) - EPOCH) // TICK
"""A day after the last instant that the database has."""
NO_CURSOR = FieldError(
    field="cursor",
    message="is not a cursor of this list: use the next_cursor of a page, or leave it out",
)


class Page(Struct, Generic[ItemT], frozen=True, kw_only=True):
    """A part of a list; `next_cursor` is null on the last page."""

    items: list[ItemT]
    next_cursor: str | None


class Cursor(Struct, Generic[KeyT], frozen=True, kw_only=True):
    """How the cursors of one list are written and read.

    A cursor is base64url without padding, of a letter that names the list and of the key of the
    page's last item, by which the list is ordered.
    """

    letter: bytes
    encode: Callable[[KeyT], bytes]
    decode: Callable[[bytes], KeyT]
    length: int | None = None
    """The length of each key in bytes; None if keys differ in length."""

    def write(self, last: KeyT) -> str:
        """Return the cursor of the page that follows the item with this key."""
        return in_base64(self.letter + self.encode(last))

    def read(self, cursor: str | None) -> KeyT | None:
        """Return the key that the page follows; None for the first page.

        Raises:
            InvalidInput: the text is no cursor of this list.
        """
        if not cursor:
            return None
        try:
            text = urlsafe_b64decode(cursor.encode() + b"=" * (-len(cursor) % 4))
        except (binascii.Error, ValueError):
            text = b""
        letter, key = text[:1], text[1:]
        # Postgres takes no NUL in a text.
        fits = b"\0" not in key if self.length is None else len(key) == self.length
        if letter != self.letter or not fits or in_base64(text) != cursor:
            raise InvalidInput(NO_CURSOR)
        return self.decode(key)


class ItemCursor(Cursor[KeyT], frozen=True, kw_only=True):
    """A cursor of a list that is ordered by something that its items have."""

    key: Callable[[Any], KeyT]
    """The key of an item."""

    def after(self, items: Sequence[Any], *, more: bool, reached: KeyT | None = None) -> str | None:
        """Return the cursor of the page that follows these items; None without `more`.

        `reached`: the key after which the list goes on, if that is not the last item's.
        """
        if not more:
            return None
        return self.write(self.key(items[-1]) if reached is None else reached)


def in_base64(text: bytes) -> str:
    return urlsafe_b64encode(text).rstrip(b"=").decode()


def by_uuid(letter: bytes) -> ItemCursor[UUID]:
    """Make the cursor of a list in the order of `id`, a UUID."""
    return ItemCursor(
        letter=letter,
        key=lambda item: item.id,
        encode=lambda id: id.bytes,
        decode=lambda key: UUID(bytes=key),
        length=UUID_BYTES,
    )


def by_number(letter: bytes) -> ItemCursor[int]:
    """Make the cursor of a list in the order of `id`, a bigint."""
    return ItemCursor(
        letter=letter,
        key=lambda item: item.id,
        encode=lambda id: id.to_bytes(INT8_BYTES),
        decode=lambda key: int.from_bytes(key, signed=True),
        length=INT8_BYTES,
    )


def instant_and_uuid(key: bytes) -> tuple[datetime, UUID]:
    """Read an instant, in microseconds since 1970, and an id.

    Raises:
        InvalidInput: the instant is none that the database has.
    """
    moment = int.from_bytes(key[:INT8_BYTES], signed=True)
    if not 0 <= moment <= LATEST_MICROSECONDS:
        raise InvalidInput(NO_CURSOR)
    return EPOCH + moment * TICK, UUID(bytes=key[INT8_BYTES:])


def by_instant(
    letter: bytes, key: Callable[[Any], tuple[datetime, UUID]]
) -> ItemCursor[tuple[datetime, UUID]]:
    """Make the cursor of a list in the order of an instant and an id."""
    return ItemCursor(
        letter=letter,
        key=key,
        encode=lambda key: ((key[0] - EPOCH) // TICK).to_bytes(INT8_BYTES) + key[1].bytes,
        decode=instant_and_uuid,
        length=INT8_BYTES + UUID_BYTES,
    )


def by_text(letter: bytes, key: Callable[[Any], str]) -> ItemCursor[str]:
    """Make the cursor of a list in the order of a text."""
    return ItemCursor(
        letter=letter,
        key=key,
        encode=str.encode,
        decode=lambda key: key.decode(errors="replace"),
    )


def part_and_uuid(key: bytes) -> tuple[int, UUID]:
    """Read the number of a part of a list, and an id."""
    return key[0], UUID(bytes=key[1:])


JOBS = by_uuid(b"j")
JOBS_BY_ENDING: Cursor[tuple[int, UUID]] = Cursor(
    letter=b"o",
    encode=lambda key: bytes([key[0]]) + key[1].bytes,
    decode=part_and_uuid,
    length=1 + UUID_BYTES,
)
JOBS_BY_NEXT_RUN = by_instant(b"n", lambda item: (item.next_run, item.id))
UPCOMING = by_instant(b"u", lambda item: (item.at, item.job_id))
EXECUTIONS = by_number(b"e")
KEYS = by_uuid(b"k")
BULK = by_uuid(b"b")
CHANGES = by_number(b"c")
SECRETS = by_text(b"s", lambda item: item.name)
CALENDARS = by_text(b"l", lambda item: item.name)
ALERTS = by_uuid(b"a")
ALERT_RULES = by_text(b"r", lambda item: item.name)
SETS = by_text(b"t", lambda item: item.name)
FLOWS = by_text(b"f", lambda item: item.flow_key)
