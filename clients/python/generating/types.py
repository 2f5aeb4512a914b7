"""Writes the API's types for the client: Structs for answers, and types of arguments for requests.

What a newer server answers has to read as well: fields that a client does not know are passed over,
and words (`scheduled`, `run_once`) are plain texts in answers.
"""

import textwrap
from collections.abc import Mapping, Sequence
from datetime import datetime
from enum import Enum
from types import NoneType, UnionType
from typing import Annotated, Any, Literal, TypeVar, Union, get_args, get_origin
from uuid import UUID

import msgspec
from msgspec import UNSET, Meta, Raw, Struct, UnsetType
from msgspec.structs import FieldInfo, fields

from app.core.jobs.job import JobPatch

HEADER = '"""{what}: made by `make client`, not by hand."""\n\n'
PLAIN = {str: "str", int: "int", float: "float", bool: "bool", Any: "Any", Raw: "Any"}
UNSHOWN = {"NewKey": ("key",), "CheckAddress": ("token", "path")}
"""The fields that are secret of what is answered."""
WITH_ETAG = "Job"
"""The answer that has an ETag, in a header."""


def struct_of(type_: Any) -> type[Struct] | None:  # noqa: ANN401 - any type
    """Return the Struct that a type is, if it is one."""
    return type_ if isinstance(type_, type) and issubclass(type_, Struct) else None


def description_of(type_: Any) -> str:  # noqa: ANN401
    """Return what a type says of itself, be it inside a union."""
    if get_origin(type_) is Annotated:
        inner, *more = get_args(type_)
        said = [one.description for one in more if isinstance(one, Meta) and one.description]
        return said[0] if said else description_of(inner)
    if get_origin(type_) in (Union, UnionType):
        return next(filter(None, map(description_of, get_args(type_))), "")
    return ""


def first_paragraph(struct: type[Struct]) -> str:
    """Return the first paragraph of a docstring, on one line."""
    text = (struct.__doc__ or "").strip().partition("\n\n")[0]
    return " ".join(text.split())


def docstring(text: str, indent: str = "    ") -> str:
    """Write a docstring, in lines of at most 100 characters."""
    text = text.replace("\\", "\\\\")
    if len(text) + len(indent) + 6 <= 100:  # noqa: PLR2004 - the quotes
        return f'{indent}"""{text}"""\n'
    lines = textwrap.wrap(text, 96 - len(indent))
    first, rest = lines[0], lines[1:]
    inside = "".join(f"{indent}{line}\n" for line in rest)
    return f'{indent}"""{first}\n{inside}{indent}"""\n'


class Types:
    """The types of one direction, each of which is written once."""

    def __init__(self) -> None:
        self.written: dict[str, str] = {}
        """The text of each class or alias, by its name."""

    def __repr__(self) -> str:
        return f"<{type(self).__name__}: {len(self.written)}>"

    def name(self, type_: Any) -> str:  # noqa: ANN401, C901, PLR0911, PLR0912 - each kind of type
        """Return what the client calls a type, and write whatever that needs."""
        if type_ in PLAIN:
            return PLAIN[type_]
        if type_ in (None, NoneType):
            return "None"
        origin, arguments = get_origin(type_), get_args(type_)
        if origin is Annotated:
            return self.name(arguments[0])
        if origin in (Union, UnionType):
            names = [self.name(one) for one in arguments if one is not UnsetType]
            unique = [*dict.fromkeys(" | ".join(names).split(" | "))]
            return " | ".join(sorted(unique, key=lambda one: one == "None"))
        if origin is Literal:
            return self.words(arguments, None)
        if origin in (list, tuple, frozenset, set, Sequence):
            return self.several(self.name(arguments[0]))
        if origin in (dict, Mapping):
            return self.mapping(self.name(arguments[0]), self.name(arguments[1]))
        if type_ is dict:
            return self.mapping("str", "Any")
        if isinstance(type_, type) and issubclass(type_, Enum):
            return self.words([one.value for one in type_], type_.__name__)
        if type_ is datetime:
            return self.instant
        if type_ is UUID:
            return self.uuid
        if struct := struct_of(type_):
            return self.struct(struct)
        if isinstance(type_, TypeVar):
            return "Any"
        raise TypeError(f"{type_!r} is a type that the client has no words for: add it here")

    instant = "datetime"
    uuid = "UUID"

    def words(self, values: Any, name: str | None) -> str:  # noqa: ANN401, ARG002 - of subclasses
        return "str"

    def several(self, item: str) -> str:
        return f"list[{item}]"

    def mapping(self, key: str, value: str) -> str:
        return f"dict[{key}, {value}]"

    def struct(self, struct: type[Struct]) -> str:
        """Write a Struct, unless it was, and return its name."""
        name = struct.__name__
        if name not in self.written:
            self.written[name] = ""  # it may name itself
            text = self.class_of(struct)
            del self.written[name]
            self.written[name] = text  # after all that it names
        return name

    def class_of(self, struct: type[Struct]) -> str:
        raise NotImplementedError


class Answers(Types):
    """The Structs of what the API answers."""

    def class_of(self, struct: type[Struct]) -> str:
        secret = UNSHOWN.get(struct.__name__)
        base = "Unshown" if secret else "Struct"
        lines = [f"class {struct.__name__}({base}, frozen=True, kw_only=True):\n"]
        lines.append(docstring(first_paragraph(struct)) + "\n")
        if secret:
            lines.append(f"    unshown: ClassVar[tuple[str, ...]] = {secret}\n\n")
        for one in fields(struct):
            lines.append(self.field_of(one))
            if said := description_of(one.type):
                lines.append(docstring(said))
        if struct.__name__ == WITH_ETAG:
            lines.append("    etag: str | None = None\n")
            said = "Its version, for `if_match`; None where several jobs were answered."
            lines.append(docstring(said))
        return "".join(lines) + "\n\n"

    def field_of(self, one: FieldInfo) -> str:
        name, kind = one.encode_name, self.name(one.type)
        may_be_unset = UnsetType in get_args(one.type) or (
            get_origin(one.type) is Annotated and UnsetType in get_args(get_args(one.type)[0])
        )
        if may_be_unset and "None" not in kind.split(" | "):
            kind += " | None"
        default = " = None" if may_be_unset else default_of(one)
        return f"    {name}: {kind}{default}\n"

    def module(self) -> str:
        """Return the whole module."""
        head = HEADER.format(what="What the API answers")
        head += "from datetime import datetime\nfrom typing import Any, ClassVar\n"
        head += "from uuid import UUID\n\nfrom msgspec import Struct, field\n\n"
        head += "from tocsin.unshown import Unshown\n\n"
        names = ", ".join(f'"{name}"' for name in sorted(self.written))
        return head + f"__all__ = [{names}]\n\n\n" + "".join(self.written.values())


def default_of(one: FieldInfo) -> str:
    """Write the default of a field, as the server has it."""
    if one.default_factory is not msgspec.NODEFAULT:
        return f" = field(default_factory={one.default_factory.__name__})"
    if one.default is msgspec.NODEFAULT:
        return ""
    if one.default is UNSET:
        return " = None"
    if one.default == ():
        return " = field(default_factory=list)"
    if isinstance(one.default, Enum):
        return f" = {one.default.value!r}"
    return f" = {one.default!r}"


class Requests(Types):
    """The types of arguments, and of what is inside these."""

    instant = "datetime | str"
    uuid = "UUID | str"

    def words(self, values: Any, name: str | None) -> str:  # noqa: ANN401 - words
        text = f"Literal[{', '.join(repr(str(one)) for one in values)}]"
        if name is None:
            return text
        self.written[name] = f"{name} = {text}\n"
        return name

    def several(self, item: str) -> str:
        return f"Sequence[{item}]" if item != "str" else "list[str] | tuple[str, ...]"

    def mapping(self, key: str, value: str) -> str:
        return f"Mapping[{key}, {value}]"

    def class_of(self, struct: type[Struct]) -> str:
        items = {one.encode_name: self.item_of(one, struct) for one in fields(struct)}
        said = first_paragraph(struct)
        if not all(name.isidentifier() and name != "from" for name in items):
            inside = ", ".join(f'"{name}": {kind}' for name, kind in items.items())
            name = struct.__name__
            return (
                f'{name} = TypedDict("{name}", {{{inside}}}, total=False)\n{docstring(said, "")}\n'
            )
        lines = [f"class {struct.__name__}(TypedDict, total=False):\n", docstring(said), "\n"]
        lines += [f"    {name}: {kind}\n" for name, kind in items.items()]
        return "".join(lines) + "\n\n"

    def item_of(self, one: FieldInfo, struct: type[Struct]) -> str:
        kind = self.name(one.type)
        if struct is JobPatch and "None" not in kind.split(" | "):
            kind += " | None"
        return f"Required[{kind}]" if one.required else kind

    def module(self) -> str:
        """Return the whole module."""
        head = HEADER.format(what="What the API is asked with")
        head += "from collections.abc import Mapping, Sequence\nfrom datetime import datetime\n"
        head += "from typing import Any, Literal, Required, TypedDict\nfrom uuid import UUID\n\n"
        names = ", ".join(f'"{name}"' for name in sorted(self.written))
        return head + f"__all__ = [{names}]\n\n" + "".join(self.written.values())
