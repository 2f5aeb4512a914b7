"""Errors as they are answered."""

from msgspec import Struct

from app.errors import FieldError


class Problem(Struct, frozen=True, kw_only=True):
    """What went wrong (RFC 9457); `errors` names the fields that have to change."""

    type: str
    title: str
    status: int
    detail: str
    errors: list[FieldError]
