"""What lists have in common: cursors, which say where the next page begins, and filters."""

import binascii
from base64 import urlsafe_b64decode, urlsafe_b64encode
from datetime import datetime
from uuid import UUID

from app.core.schedule.schedule import instant_error
from app.errors import FieldError, InvalidInput

JOB = b"j"
EXECUTION = b"e"
KEY = b"k"
CHANGE = b"c"
SECRET = b"s"
INT8_BYTES = 8


def job_cursor(last: UUID) -> str:
    """Make the cursor of the page that follows this job."""
    return written(JOB + last.bytes)


def execution_cursor(last: int) -> str:
    """Make the cursor of the page that follows this execution."""
    return written(EXECUTION + last.to_bytes(INT8_BYTES))


def key_cursor(last: UUID) -> str:
    """Make the cursor of the page that follows this API key."""
    return written(KEY + last.bytes)


def audit_cursor(last: int) -> str:
    """Make the cursor of the page that follows this change."""
    return written(CHANGE + last.to_bytes(INT8_BYTES))


def job_before(cursor: str | None) -> UUID | None:
    """Read the job that the page follows; None: it is the first page.

    Raises:
        InvalidInput: it is no cursor of a list of jobs.
    """
    return None if not cursor else UUID(bytes=read(cursor, JOB, length=16))


def execution_before(cursor: str | None) -> int | None:
    """Read the execution that the page follows; None: it is the first page.

    Raises:
        InvalidInput: it is no cursor of a list of executions.
    """
    return int8(cursor, EXECUTION)


def key_before(cursor: str | None) -> UUID | None:
    """Read the API key that the page follows; None: it is the first page.

    Raises:
        InvalidInput: it is no cursor of a list of keys.
    """
    return None if not cursor else UUID(bytes=read(cursor, KEY, length=16))


def audit_before(cursor: str | None) -> int | None:
    """Read the change that the page follows; None: it is the first page.

    Raises:
        InvalidInput: it is no cursor of a list of changes.
    """
    return int8(cursor, CHANGE)


def secret_cursor(last: str) -> str:
    """Make the cursor of the page that follows this secret."""
    return written(SECRET + last.encode())


def secret_after(cursor: str | None) -> str | None:
    """Read the name of the secret that the page follows; None: it is the first page.

    Raises:
        InvalidInput: it is no cursor of a list of secrets.
    """
    return None if not cursor else read(cursor, SECRET).decode(errors="replace")


def int8(cursor: str | None, list_of: bytes) -> int | None:
    if not cursor:
        return None
    return int.from_bytes(read(cursor, list_of, length=INT8_BYTES), signed=True)


def written(key: bytes) -> str:
    return urlsafe_b64encode(key).rstrip(b"=").decode()


def read(cursor: str, list_of: bytes, *, length: int | None = None) -> bytes:
    try:
        key = urlsafe_b64decode(cursor.encode() + b"=" * (-len(cursor) % 4))
    except (binascii.Error, ValueError):
        key = b""
    fits = length is None or len(key) == 1 + length
    if key[:1] != list_of or not fits or written(key) != cursor:
        message = "is not a cursor of this list: use the next_cursor of a page, or leave it out"
        raise InvalidInput(FieldError(field="cursor", message=message))
    return key[1:]


def listed(values: list[str] | None) -> list[str] | None:
    """Join what was given repeatedly and what was given between commas; None: nothing was."""
    found = [one.strip() for value in values or () for one in value.split(",")]
    return [one for one in found if one] or None


def sound(instant: datetime | None, field: str) -> datetime | None:
    """Return the instant if it can be compared with others.

    Raises:
        InvalidInput: it has no offset, or is out of range.
    """
    if error := instant_error(instant):
        raise InvalidInput(FieldError(field=field, message=error))
    return instant
