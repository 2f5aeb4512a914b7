"""Requests as data, and how answers are read: all of the client that needs no connection."""

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, Generic, TypeVar
from urllib.parse import quote
from uuid import UUID, uuid4

import msgspec
from msgspec import UNSET, Struct, UnsetType
from msgspec.structs import force_setattr

from tocsin.errors import UnexpectedAnswer, refusal

if TYPE_CHECKING:
    from tocsin.answers import Job

AnswerT = TypeVar("AnswerT")
ItemT = TypeVar("ItemT")
JSON = "application/json"
NO_CONTENT = 204
COUNTED_FROM_NOW = "run_in_seconds"
BEGINNING = 200
"""How much of an answer that is not the API's is shown, in characters."""


class Call(Struct, Generic[AnswerT], frozen=True):
    """One request, and what is answered to it."""

    method: str
    path: str
    """Below the address of the API, quoted."""
    answer: type[AnswerT] | None = None
    query: Mapping[str, Any] = {}
    """What is None is left out."""
    headers: Mapping[str, str | None] = {}
    body: Any = None
    media_type: str = JSON
    idempotency_key: str | UnsetType | None = UNSET
    """None: the request has no key, and is not sent twice. UNSET: it gets a new one."""
    is_reading: bool = False
    has_secret: bool = False
    """Whether the answer has a secret, which the API keeps for nobody without a key."""
    has_etag: bool = False

    def __repr__(self) -> str:
        """Show no body, which may have secrets: reports of errors have the locals of a function."""
        return f"<{type(self).__name__}: {self.method} {self.path}>"

    def __rich_repr__(self) -> list[tuple[str, Any]]:
        return [("method", self.method), ("path", self.path)]

    @property
    def is_repeatable(self) -> bool:
        """Whether it is done once however often it is sent."""
        if self.is_reading:
            return True
        if self.method == "POST":
            return isinstance(self.idempotency_key, str)
        # So many seconds from now are counted anew: what has run in between would run again.
        counts_anew = self.body is not None and COUNTED_FROM_NOW in self.body
        return self.method == "PUT" and not self.headers.get("If-Match") and not counts_anew


class Listing(Call[AnswerT], Generic[AnswerT, ItemT], frozen=True):
    """A list: the request for its first page."""

    def after(self, cursor: str | None) -> "Listing[AnswerT, ItemT]":
        """Return the request for the page at a cursor."""
        return msgspec.structs.replace(self, query={**self.query, "cursor": cursor})


class Sent(Struct, frozen=True, kw_only=True):
    """A call as it goes out: the same bytes at each attempt."""

    path: str
    query: tuple[tuple[str, str], ...]
    headers: dict[str, str]
    body: bytes | None

    def __repr__(self) -> str:
        return f"<Sent: {self.path}>"

    def __rich_repr__(self) -> list[tuple[str, Any]]:
        return [("path", self.path)]


def ready(call: Call[AnswerT], *, has_key: bool) -> Call[AnswerT]:
    """Give a call the idempotency key that it is to have."""
    is_keyed = call.method == "POST" and not call.is_reading
    if not is_keyed or call.idempotency_key is not UNSET:
        return call
    key = None if call.has_secret and not has_key else str(uuid4())
    return msgspec.structs.replace(call, idempotency_key=key)


def written(call: Call[Any]) -> Sent:
    """Write a call out."""
    headers = {"Accept": JSON} | {
        name: one for name, one in call.headers.items() if one is not None
    }
    if isinstance(call.idempotency_key, str):
        headers["Idempotency-Key"] = call.idempotency_key
    body = None
    if call.body is not None:
        headers["Content-Type"] = call.media_type
        body = msgspec.json.encode(call.body)
    pairs = tuple(
        (name, text_of(one))
        for name, several in call.query.items()
        for one in (several if isinstance(several, (list, tuple)) else [several])
        if one is not None
    )
    return Sent(path=call.path, query=pairs, headers=headers, body=body)


def text_of(value: object) -> str:
    """Write a value as it stands in a query.

    Raises:
        ValueError: it is an instant without a zone.
    """
    match value:
        case bool():
            return str(value).lower()
        case datetime():
            return aware(value).astimezone(UTC).isoformat()
        case timedelta():
            return str(value.total_seconds())
        case _:
            return str(value)


def aware(instant: datetime) -> datetime:
    """Return an instant that has a zone.

    Raises:
        ValueError: it has none.
    """
    if instant.tzinfo is None:
        message = f"{instant} has no time zone: write datetime(…, tzinfo=UTC) or a ZoneInfo"
        raise ValueError(message)
    return instant


def read(
    call: Call[AnswerT], status: int, headers: Mapping[str, str], body: bytes, *, url: str
) -> AnswerT:
    """Read an answer.

    Raises:
        Refused: the API refuses, as the class of the error says in particular.
        UnexpectedAnswer: something else than Tocsin's API answered.
    """
    if status >= 300:  # noqa: PLR2004 - redirections, too: the API has none
        raise refusal(status, headers, body, url=url)
    if call.answer is None or status == NO_CONTENT:
        return None  # type: ignore[return-value] # what is answered is None
    try:
        found: AnswerT = msgspec.json.decode(body, type=call.answer)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        said = body[:BEGINNING].decode(errors="replace")
        message = f"{url} answers {status}, but not as the API of Tocsin does: {error}: {said!r}"
        raise UnexpectedAnswer(message) from None
    if call.has_etag and "etag" in headers:
        force_setattr(found, "etag", headers["etag"])  # type: ignore[arg-type] # a Job, which nobody has seen
    return found


def items_of(page: object) -> list[Any]:
    """Return the items of a page."""
    items: list[Any] = page.items  # type: ignore[attr-defined] # what a Listing answers has some
    return items


def cursor_after(page: object) -> str | None:
    """Return where the next page begins; None after the last one."""
    return getattr(page, "next_cursor", None)


def address(path: str, *parts: str | int | UUID | object) -> str:
    """Return a path, with what is given in place of each `{}`.

    Raises:
        ValueError: a part is empty, or would lead somewhere else.
    """
    for one in parts:
        if str(one) in {"", ".", ".."}:
            message = f"{str(one)!r} is no name and no id: write which one is meant"
            raise ValueError(message)
    return path.format(*(quote(str(one), safe="") for one in parts))


def given(fields: Mapping[str, Any]) -> dict[str, Any]:
    """Return the fields that are given: None is null, and UNSET stands for those that are not.

    Raises:
        ValueError: an instant has no zone.
    """
    found = {name: one for name, one in fields.items() if one is not UNSET}
    for one in found.values():
        if isinstance(one, datetime):
            aware(one)
    return found


def tag_of(edited: "str | Job | None") -> str | None:
    """Return the ETag that an edit is for: that of a job as it was answered, or one as it is.

    Raises:
        ValueError: the job came without one, as those of lists do.
    """
    if edited is None or isinstance(edited, str):
        return edited
    if edited.etag is None:
        message = "jobs of lists and batches have no ETag: get the job first, and edit that"
        raise ValueError(message)
    return edited.etag
