"""Finds the secrets of a target, by walking over its JSON along the target's type.

A value that the type does not expect counts as a secret: a row written in SQL can hold anything.
"""

import re
from collections.abc import Callable, Iterable
from enum import Enum
from functools import cache
from typing import Annotated, Any, cast

import msgspec.inspect as mi
from msgspec import Meta, Struct

from app.core.field_paths import joined

MASK = "***"

SECRET = Meta(extra={"secret": True})
"""Marks a field, of any type, that is a secret as a whole."""
Secret = Annotated[str, SECRET]
NAMED_SECRETS = Meta(extra={"secret": "by name"})
"""Marks headers: a header whose name sounds secret has a secret value."""
URL_SECRET = Meta(extra={"secret": "in url"})
"""Marks a URL: the password inside it is a secret."""

SOUNDS_SECRET = re.compile(
    "auth|cookie|credential|key|pass(word|wd|phrase)|secret|session|signature|token", re.IGNORECASE
)

MAX_NAME_LENGTH = 1000
"""The most characters of a header's name; a longer name cannot be sent and is not examined."""


class Nothing(Enum):
    """Stands for a missing value, as None stands for JSON's null."""

    NOTHING = "nothing"


NOTHING = Nothing.NOTHING


class Part(Enum):
    """Which part of a value is secret."""

    WHOLE = "whole"
    IN_URL = "in url"
    NONE = "none"
    """No part: the value of a header that does not sound secret, but may refer to a secret."""


Replace = Callable[[Part, object, object, str], object]
"""Returns the new value for (part, value, stored value or NOTHING, field)."""
Path = tuple[str | int, ...]
"""The names of fields and headers, and the indexes in lists, from the target to a value."""


class Spot(Struct, frozen=True):
    """A value in a target that is a secret or may refer to one."""

    part: Part
    value: object
    stored: object
    """What is stored in the same place, or NOTHING."""
    path: Path

    def __repr__(self) -> str:
        return f"Spot({self.part.name} at {self.field})"

    @property
    def field(self) -> str:
        """The path of the value: `target.auth.token`."""
        return joined("target", *self.path)

    @property
    def context(self) -> str:
        """The path as encrypted values are bound to it: no step is quoted, an index is a name."""
        return ".".join(("target", *map(str, self.path)))


def spots_in(
    target_type: type[Struct] | None, target: dict[str, Any], *, stored: object = NOTHING
) -> list[Spot]:
    """List every spot of a target, in one walk over it.

    Without a type, each value of the target counts as a secret. `stored` is another target, whose
    values in the same places stand beside the target's.
    """
    found: list[Spot] = []
    walk_struct(struct_fields(target_type) if target_type else {}, target, stored, (), found)
    return found


def change_spots(
    target: dict[str, Any], spots: Iterable[Spot], change: Callable[[Spot], object]
) -> dict[str, Any]:
    """Return the target with what `change` makes of each spot; all else is shared, not copied."""
    root = target
    copied: dict[Path, Any] = {}
    for spot in spots:
        value = change(spot)
        if value is spot.value:
            continue
        for depth in range(len(spot.path)):
            here = spot.path[:depth]
            if here in copied:
                continue
            if depth:
                container, key = copied[here[:-1]], here[-1]
                container[key] = copied[here] = container[key].copy()
            else:
                root = copied[here] = target.copy()
        copied[spot.path[:-1]][spot.path[-1]] = value
    return root


def replace_secrets(
    target_type: type[Struct] | None,
    target: dict[str, Any],
    replace: Replace,
    *,
    stored: object = NOTHING,
) -> dict[str, Any]:
    """Return the target in which `replace` was called for each value that may be secret.

    Without a type, each value of the target counts as a secret. `stored` is another target, whose
    values in the same places are passed to `replace`.
    """
    return change_spots(
        target,
        spots_in(target_type, target, stored=stored),
        lambda spot: replace(spot.part, spot.value, spot.stored, spot.field),
    )


class Form(Struct, frozen=True, kw_only=True):
    """The places of secrets in the values of a type."""

    is_nullable: bool
    is_whole: bool
    is_url: bool
    is_headers: bool
    structs: tuple[mi.StructType, ...]


Fields = dict[str, Form | None]
"""The fields of a Struct by their names; None for a field that can hold no secret."""


@cache
def struct_fields(target_type: type[Struct]) -> Fields:
    node = cast("mi.StructType", mi.type_info(target_type))
    return {
        field.encode_name: form_of(field.type) if holds_secrets(field.type) else None
        for field in node.fields
    }


UNEXPECTED = Form(is_nullable=False, is_whole=True, is_url=False, is_headers=False, structs=())
"""The form of a field that a Struct does not have."""


def form_of(node: mi.Type) -> Form:
    members = node.types if isinstance(node, mi.UnionType) else (node,)
    extras = [member.extra for member in members if isinstance(member, mi.Metadata)]
    marks = [extra.get("secret") for extra in extras if extra]
    return Form(
        is_nullable=any(isinstance(member, mi.NoneType) for member in members),
        is_whole=True in marks,
        is_url="in url" in marks,
        is_headers="by name" in marks,
        structs=tuple(member for member in members if isinstance(member, mi.StructType)),
    )


@cache
def secret_fields(target_type: type[Struct]) -> tuple[str, ...]:
    """Name the fields of a type that can hold a secret."""
    return tuple(name for name, form in struct_fields(target_type).items() if form is not None)


def walk_struct(
    fields: Fields, value: dict[str, Any], stored: object, path: Path, found: list[Spot]
) -> None:
    """Find the spots in the JSON of a Struct, which should have these fields."""
    for name, item in value.items():
        form = fields.get(name, UNEXPECTED)
        if form is not None:
            walk_value(form, item, inside(stored, name), (*path, name), found)


def walk_value(form: Form, value: object, stored: object, path: Path, found: list[Spot]) -> None:
    """Find the spots in a value, which should be of the type that has this form."""
    if value is None and form.is_nullable:
        return
    if form.is_whole:
        found.append(Spot(Part.WHOLE, value, stored, path))
    elif form.is_url and isinstance(value, str):
        found.append(Spot(Part.IN_URL, value, stored, path))
    elif form.is_headers and isinstance(value, dict):
        walk_headers(value, stored, path, found)
    elif isinstance(value, dict):
        walk_tagged(form.structs, value, stored, path, found)
    else:
        found.append(Spot(Part.WHOLE, value, stored, path))


def walk_tagged(
    structs: Iterable[mi.StructType],
    value: dict[str, Any],
    stored: object,
    path: Path,
    found: list[Spot],
) -> None:
    """Find the spots in a tagged Struct; a stored value with another tag is ignored."""
    tags = {struct.tag_field for struct in structs if struct.tag_field}
    tag = {name: value[name] for name in tags if is_tag(value.get(name))}
    fields: Fields = {}
    for struct in structs:
        if struct.tag_field is None or tag.get(struct.tag_field) == struct.tag:
            fields = struct_fields(struct.cls)
    if any(inside(stored, name) != written for name, written in tag.items()):
        stored = NOTHING
    rest = {name: item for name, item in value.items() if name not in tag}
    walk_struct(fields, rest, stored, path, found)


def is_tag(value: object) -> bool:
    """Return whether a tag may be shown: any value but a name is a mistake, and may be secret."""
    return isinstance(value, str) and value != MASK


def walk_headers(
    headers: dict[str, Any] | dict[int, Any], stored: object, path: Path, found: list[Spot]
) -> None:
    """Find the spots in headers, nested tables included; each name tells whether it is secret."""
    for key, value in headers.items():
        name = str(key)
        kept, at = inside(stored, name), (*path, key)
        if sounds_secret(name):
            found.append(Spot(Part.WHOLE, value, kept, at))
        elif isinstance(value, dict):
            walk_headers(value, kept, at, found)
        elif isinstance(value, list):
            walk_headers(dict(enumerate(value)), kept, at, found)
        else:
            found.append(Spot(Part.NONE, value, kept, at))


def sounds_secret(name: str) -> bool:
    """Return whether the value of a header with this name counts as a secret."""
    return len(name) > MAX_NAME_LENGTH or SOUNDS_SECRET.search(name) is not None


def holds_secrets(node: mi.Type) -> bool:
    match node:
        case mi.Metadata(extra={"secret": _}):
            return True
        case mi.Metadata():
            return holds_secrets(node.type)
        case mi.UnionType():
            return any(map(holds_secrets, node.types))
        case mi.StructType():
            return any(holds_secrets(field.type) for field in node.fields)
        case _:
            return False


def inside(stored: object, name: str) -> object:
    """Return the value stored under `name`, which is an index in a list; case is ignored."""
    if stored is NOTHING:
        return NOTHING
    match stored:
        case dict():
            if name in stored:
                return stored[name]
            folded = {str(key).lower(): value for key, value in stored.items()}
            return folded.get(name.lower(), NOTHING)
        case list() if name.isdecimal() and int(name) < len(stored):
            return stored[int(name)]
        case _:
            return NOTHING
