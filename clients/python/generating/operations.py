"""Writes a function for each operation of the API, out of its handler."""

import re
import textwrap
from collections.abc import Iterable, Iterator
from typing import Annotated, Any, Union, get_args, get_origin, get_type_hints

from litestar import Litestar, Response
from litestar.handlers import HTTPRouteHandler
from litestar.params import HeaderParameter, PathParameter, QueryParameter
from litestar.routes import HTTPRoute
from msgspec import Struct
from msgspec.structs import FieldInfo, fields

from app.api.responses import ETAG
from app.core.access.api_key import Scope
from app.core.jobs.job import KEPT_FIELDS, JobPatch, JobReplacement
from app.wire.actions import NoFields
from clients.python.generating.types import HEADER, Answers, Requests, docstring, struct_of

RENAMED = {"from": "since", "from_": "since", "to": "until", "limit": "page_size"}
"""What cannot be the name of an argument, or would mean something else there."""
REFERENCES = {"job": "str | UUID"}
"""What names something by its id as well."""
NOT_ASKED = frozenset({"cursor"})
"""What iterators do by themselves."""
WRITES = frozenset({"POST", "PUT", "PATCH", "DELETE"})
PREVIEW = "preview_"
KEY = "idempotency_key: str | None | UnsetType = UNSET"
MERGE_PATCH = "application/merge-patch+json"


def operations_of(app: Litestar) -> Iterator["Operation"]:
    """Yield the operations that the API describes, and those that answer two things twice."""
    for route in app.routes:
        if not isinstance(route, HTTPRoute):
            continue
        for handler in route.route_handlers:
            if handler.operation_id is None or not handler.include_in_schema:
                continue
            first = Operation(route.path, handler)
            yield first
            if len(first.answers) > 1:
                yield Operation(route.path, handler, is_preview=True)


class Operation:
    """One operation; `is_preview`: the dry run of one that answers something else then."""

    def __init__(self, path: str, handler: HTTPRouteHandler, *, is_preview: bool = False) -> None:
        self.path = path
        self.handler = handler
        self.is_preview = is_preview
        self.id = str(handler.operation_id)
        words = re.sub(r"(?<=[a-z])(?=[A-Z])", "_", self.id).lower()
        self.name = f"{PREVIEW}{words}" if is_preview else words
        (self.method,) = [one for one in handler.http_methods if one not in ("HEAD", "OPTIONS")]
        self.hints = get_type_hints(handler.fn, include_extras=True)
        self.body: type[Struct] | None = handler.opt.get("body")

    def __repr__(self) -> str:
        return f"<Operation {self.name}: {self.method} {self.path}>"

    @property
    def answers(self) -> list[type[Struct]]:
        """The Structs that may be answered: none, one, or one and that of a dry run."""
        given = self.hints.get("return")
        if get_origin(given) is Response:
            (given,) = get_args(given)
        options = get_args(given) if get_args(given) and not struct_of(given) else (given,)
        return [one for option in options if (one := struct_of(option))]

    @property
    def is_list(self) -> bool:
        """Whether it answers items, page by page or all at once."""
        return self.method == "GET" and any(
            "items" in one.__struct_fields__ for one in self.answers
        )

    @property
    def is_reading(self) -> bool:
        return self.method not in WRITES or self.handler.opt.get("scope") == Scope.READ

    @property
    def body_fields(self) -> list[FieldInfo]:
        """The fields of the body that are arguments."""
        if self.body is None or self.body is NoFields:
            return []
        kept = KEPT_FIELDS if self.body is JobReplacement else ()
        fixed = {"dry_run"} if len(self.answers) > 1 else set()
        return [one for one in fields(self.body) if one.name not in kept and one.name not in fixed]

    def parameters(self, of: type) -> Iterator[tuple[str, str, Any]]:
        """Yield name in Python, name as it is sent, and type of the parameters of one place."""
        for name, hint in self.hints.items():
            kinds = [one for one in inside(hint) if isinstance(one, of)]
            if name != "return" and kinds:
                yield name, getattr(kinds[0], "name", None) or name, hint

    def written(self, answers: Answers, requests: Requests) -> str:
        """Write the function, and the types that it needs."""
        paths = list(self.parameters(PathParameter))
        first = [
            f"{name}: {REFERENCES.get(name) or requests.name(hint)}" for name, _, hint in paths
        ]
        required, optional, sent = self.arguments_of_body(requests)
        query = self.query_of(requests)
        optional += [f"{name}: {kind} | None = None" for name, _, kind in query]
        asked = [f'"{sent}": {name}' for name, sent, _ in query]
        more = []
        for name, header, _ in self.parameters(HeaderParameter):
            optional.append(f"{name}: str | Job | None = None")
            more.append(f'headers={{"{header}": tag_of({name})}}')
        if self.has_dry_run:
            optional.append("dry_run: bool = False")
            asked.append('"dry_run": dry_run or None')
        if self.is_keyed:
            optional.append(KEY)
            more.append("idempotency_key=idempotency_key")
        if self.body is not None and self.body is not NoFields:
            more.append(f"body=given({{{', '.join(sent)}}})")
        if asked:
            more.append(f"query={{{', '.join(asked)}}}")
        more += [f"{name}=True" for name in self.flags()]
        if self.media_type:
            more.append(f'media_type="{self.media_type}"')
        answer = answers.struct(self.answers[self.is_preview]) if self.answers else "None"
        place = re.sub(r"\{(\w+):\w+\}", r"{\1}", self.path)
        where = f'address("{re.sub(r"{.*?}", "{}", place)}"'
        where += "".join(f", {name}" for name in re.findall(r"\{(\w+)\}", place)) + ")"
        lone = not first and len(required) == 1 and len(self.body_fields) == 1
        star = [] if lone or not (required or optional) else ["*"]
        signature = [*first, *star, *required, *([*("*",), *optional] if lone else optional)]
        kind, result = (
            ("Listing", f"{answer}, {self.item(answers)}") if self.is_list else ("Call", answer)
        )
        arguments = [f'"{self.method}"', where, f"answer={answer}", *more]
        return (
            f"def {self.name}({', '.join(signature)}) -> {kind}[{result}]:\n{docstring(self.words)}"
            f"    return {kind}({', '.join(arguments)})\n\n\n"
        )

    @property
    def words(self) -> str:
        """What it does: the summary, and the beginning of what the handler says."""
        said = " ".join((self.handler.fn.__doc__ or "").strip().partition("\n\n")[0].split())
        summary = self.handler.summary or ""
        end = "" if summary.endswith("?") else "."
        what = f"Of the dry run: {summary[:1].lower()}{summary[1:]}" if self.is_preview else summary
        return f"{what}{end} {said}".strip()

    def item(self, answers: Answers) -> str:
        [items] = [one for one in fields(self.answers[0]) if one.name == "items"]
        return answers.name(get_args(items.type)[0])

    @property
    def has_dry_run(self) -> bool:
        in_body = self.body is not None and "dry_run" in self.body.__struct_fields__
        return not self.is_reading and not in_body and self.path.startswith("/v1")

    @property
    def is_keyed(self) -> bool:
        return self.method == "POST" and not self.is_reading and not self.is_preview

    @property
    def media_type(self) -> str | None:
        return MERGE_PATCH if self.body is JobPatch else None

    def flags(self) -> Iterator[str]:
        """Yield what else is known of the operation."""
        if self.is_reading or self.is_preview:
            yield "is_reading"
        if self.handler.opt.get("secret_answer"):
            yield "has_secret"
        if ETAG in self.handler.resolve_response_headers():
            yield "has_etag"

    def query_of(self, requests: Requests) -> list[tuple[str, str, str]]:
        """Return name, name as it is sent, and type of each parameter of the query."""
        found = []
        for _, sent, hint in self.parameters(QueryParameter):
            if sent in NOT_ASKED:
                continue
            kind = requests.name(hint).removesuffix(" | None")
            kind = f"str | {kind}" if kind.startswith("list[str]") else kind
            found.append((RENAMED.get(sent, sent), sent, kind))
        return found

    def arguments_of_body(self, requests: Requests) -> tuple[list[str], list[str], list[str]]:
        """Return the required and the optional arguments, and the items of the body."""
        required, optional, sent = [], [], []
        for one in self.body_fields:
            name = RENAMED.get(one.name, one.name)
            kind = requests.name(one.type)
            if self.body is JobPatch and "None" not in kind.split(" | "):
                kind += " | None"
            if one.required:
                required.append(f"{name}: {kind}")
            else:
                optional.append(f"{name}: {kind} | UnsetType = UNSET")
            sent.append(f'"{one.encode_name}": {name}')
        if self.body and len(self.answers) > 1:
            sent.append(f'"dry_run": {self.is_preview}')
        return required, optional, sent

    @staticmethod
    def module(functions: Iterable[str]) -> str:
        """Return the whole module."""
        text = "".join(functions)
        names = sorted(set(re.findall(r"(?:answer=|Listing\[\w+, |tag_of\()(\w+)", text)))
        answers = ", ".join(one for one in names if one[:1].isupper() and one != "None")
        words = set(
            re.findall(r"\b[A-Z]\w+", " ".join(re.findall(r"^def .*?:$", text, re.MULTILINE)))
        )
        asked = words - {"Call", "Listing", "Mapping", "Sequence", "Any", "UUID", "UNSET"}
        asked -= {"None", "True", "False", "UnsetType", "Literal", *names, "Job"}
        head = HEADER.format(what="A request for each operation of the API")
        return (
            textwrap.dedent(head)
            + (
                "from __future__ import annotations\n\n"
                "from typing import TYPE_CHECKING\n\n"
                "from msgspec import UNSET\n\n"
                f"from tocsin.answers import {answers}\n"
                "from tocsin.calls import Call, Listing, address, given, tag_of\n\n"
                "if TYPE_CHECKING:\n"
                "    from collections.abc import Mapping, Sequence\n"
                "    from datetime import datetime\n"
                "    from typing import Any, Literal\n"
                "    from uuid import UUID\n\n"
                "    from msgspec import UnsetType\n\n"
                f"    from tocsin.requests import {', '.join(sorted(asked))}\n\n\n"
            )
            + text
        )


def inside(hint: Any) -> Iterator[Any]:  # noqa: ANN401 - any type
    """Yield what annotates a type, be it inside a union."""
    if get_origin(hint) is Annotated:
        inner, *more = get_args(hint)
        yield from more
        yield from inside(inner)
    elif get_origin(hint) is Union:
        for one in get_args(hint):
            yield from inside(one)
