"""Judges the named secrets of a target: bound to another host, or not set."""

from collections.abc import Collection, Mapping, Sequence
from typing import Any

from msgspec import Struct

from app.core.secrets.bindings import Place, places_of, strangers
from app.core.secrets.references import fields_in, with_values
from app.db import secrets
from app.db.database import Runner
from app.errors import FieldError, InvalidInput
from app.targets.registry import target_type

STAND_IN = "x"
"""Stands for a secret that is known only by its name; fits into headers and URLs."""


class Referring(Struct, frozen=True, kw_only=True):
    """What a target refers to, and which hosts it is for."""

    fields: dict[str, str]
    """The names of secrets, each with a field that refers to it."""
    places: frozenset[Place]


def binding_error(name: str, bound_to: Collection[str], places: Collection[Place]) -> str | None:
    """Say why the secret may not be sent to these places; None: it may."""
    if bound_to and not places:
        return f"the secret {name!r} is bound to hosts, and the target names none"
    if wrong := strangers(bound_to, places):
        return (
            f"the secret {name!r} may not be sent to {said(wrong[0], bound_to)}: "
            "`tocsin secrets list` shows the hosts that it is bound to"
        )
    return None


def said(place: Place, bound_to: Collection[str]) -> str:
    """Name a place, by as much of it as counts."""
    if not place.host:
        return "an address without a host"
    return str(place) if any("://" in one for one in bound_to) else place.host


def referring(kind: str, target: dict[str, Any]) -> Referring:
    """Look at a valid target in clear."""
    type_ = target_type(kind)
    fields = fields_in(type_, target)
    filled = with_values(type_, target, dict.fromkeys(fields, STAND_IN)) if fields else {}
    return Referring(fields=fields, places=frozenset(places_of(filled)))


async def check_bindings(
    db: Runner, targets: Sequence[Referring]
) -> Mapping[int, list[FieldError]]:
    """Refuse targets that would send a named secret to a host that it is not bound to.

    Return, by the index of the target, a warning for each secret that is not set.

    Raises:
        InvalidInput: naming the target by its index where there are several.
    """
    names = frozenset[str]().union(*(one.fields for one in targets))
    if not names:
        return {}
    known = await secrets.read_values(db, names)
    errors = [
        FieldError(field="target" if len(targets) == 1 else f"[{index}].target", message=message)
        for index, one in enumerate(targets)
        for name in sorted(one.fields.keys() & known.keys())
        if (message := binding_error(name, known[name].hosts, one.places))
    ]
    if errors:
        raise InvalidInput(*errors[:100])
    return {
        index: missing for index, one in enumerate(targets) if (missing := unset(one.fields, known))
    }


async def find_unset(db: Runner, kind: str, target: dict[str, Any]) -> list[FieldError]:
    """Return a warning for each secret that a target refers to and that is not set."""
    fields = fields_in(target_type(kind), target)
    return unset(fields, await secrets.read_values(db, fields)) if fields else []


def unset(fields: Mapping[str, str], known: Collection[str]) -> list[FieldError]:
    """State which of the secrets are not known, and what to do."""
    return [
        FieldError(
            field=field,
            message=f"refers to the secret {name!r}, which is not set: "
            f"set it with `tocsin secrets set {name}`, as runs fail until then",
        )
        for name, field in sorted(fields.items())
        if name not in known
    ]
