"""What people write into the search fields: words, and filters such as `tag:billing`."""

import re
from collections.abc import Mapping
from typing import Any

import msgspec
from msgspec import Struct

from app.errors import FieldError, InvalidInput
from app.wire.bulk import BulkFilter

TERM = re.compile(r'(?:(?P<filter>[a-z_.]+):)?(?P<value>"[^"]*"|\S+)')
MAX_LENGTH = 1000
OF_JOBS: Mapping[str, str] = {
    "tag": "tag",
    "state": "state",
    "kind": "kind",
    "name": "name",
    "last": "last_outcome",
    "host": "host",
    "target.host": "host",
    "failing": "failing",
}
"""The filters of jobs, each with the parameter of `GET /v1/jobs`."""
OF_EXECUTIONS: Mapping[str, str] = {
    "outcome": "outcome",
    "reason": "reason",
    "status": "status",
    "job": "job",
    "tag": "tag",
    "host": "host",
    "target.host": "host",
    "kind": "kind",
    "from": "from",
    "to": "to",
    "late": "late_by",
    "slow": "slower_than",
    "dead": "dead_letter",
}
"""The filters of executions, each with the parameter of `GET /v1/executions`."""
REPEATED = frozenset({"tag", "outcome", "last_outcome", "reason", "status"})
"""The parameters that take several values."""
MEANT = {"outcome": "last", "last": "outcome", "id": "job"}


class Search(Struct, frozen=True, kw_only=True):
    """A search as it was written, and what it filters by."""

    text: str
    wanted: BulkFilter
    error: str = ""
    """Why it cannot be; nothing is filtered then."""


def searched(text: str, filters: Mapping[str, str], *, words: str) -> Search:
    """Read a search; `words` is the parameter that words without a filter are for."""
    text = text.replace("\0", "").strip()[:MAX_LENGTH]
    try:
        return Search(text=text, wanted=read(text, filters, words=words))
    except InvalidInput as error:
        return Search(text=text, wanted=BulkFilter(), error=error.errors[0].message)


def read(text: str, filters: Mapping[str, str], *, words: str) -> BulkFilter:
    """Read a search into filters.

    Raises:
        InvalidInput: a filter is unknown, or does not take this value.
    """
    given: dict[str, Any] = {}
    plain: list[str] = []
    for term in TERM.finditer(text):
        name, value = term["filter"], term["value"].strip('"')
        if name is None or (name not in filters and value.startswith("//")):
            plain.append(term[0].strip('"'))
            continue
        if name not in filters:
            raise invalid(f"{name}: is not known here: {hint(name, filters)}")
        parameter = filters[name]
        if parameter in REPEATED:
            given.setdefault(parameter, []).append(value)
        else:
            given[parameter] = value
        try:
            msgspec.convert({parameter: given[parameter]}, BulkFilter, strict=False)
        except msgspec.ValidationError:
            raise invalid(f"{name}: does not take {value!r}") from None
    if plain:
        given[words] = " ".join(plain)
    return msgspec.convert(given, BulkFilter, strict=False)


def hint(name: str, filters: Mapping[str, str]) -> str:
    """Say which filter may have been meant, or which there are."""
    meant = MEANT.get(name)
    if meant in filters:
        return f"did you mean {meant}:?"
    return f"there are {', '.join(f'{one}:' for one in filters)}"


def invalid(message: str) -> InvalidInput:
    return InvalidInput(FieldError(field="q", message=message))
