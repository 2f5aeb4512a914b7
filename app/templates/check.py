"""Checks templates when they are written, without evaluating any part of them."""

from collections.abc import Iterator, Mapping
from typing import Any

from jinja2 import TemplateSyntaxError, nodes
from jinja2.sandbox import ImmutableSandboxedEnvironment

from app.core.field_errors import MAX_ERRORS
from app.core.field_paths import joined
from app.core.net.urls import AUTHORITY
from app.core.secrets.places import NOTHING, Part, Path, Spot, change_spots
from app.errors import FieldError, InvalidInput
from app.templates.environment import VARIABLES, environment
from app.templates.fields import BEGINNINGS

MAX_LENGTH = 65_536
"""The most characters of all templates of a target together: so long takes a fifth of a second to
read."""
STAND_IN = "x"
"""Stands, in checks of a target, for what an expression becomes."""
MAX_SHOWN = 300
"""The most characters of an error."""
OWN_NAMES = frozenset({"loop", "caller", "varargs", "kwargs", "self"})
"""Names that the engine itself gives within loops and macros."""
ELSEWHERE = (nodes.Extends, nodes.Include, nodes.Import, nodes.FromImport)


def stood_in(target: dict[str, Any], templates: Mapping[Path, str]) -> dict[str, Any]:
    """Return a target to check in place of one with templates: their expressions become texts.

    Raises:
        InvalidInput: naming every field whose template is wrong.
    """
    if sum(map(len, templates.values())) > MAX_LENGTH:
        message = f"the templates may have {MAX_LENGTH} characters together: shorten them"
        raise InvalidInput(FieldError(field="target.templates", message=message))
    errors = [
        FieldError(field=joined("target", *path), message=message)
        for path, source in templates.items()
        for message in mistakes(source, str(path[0]))
    ]
    if errors:
        raise InvalidInput(*errors[:MAX_ERRORS])
    spots = [Spot(Part.NONE, source, NOTHING, path) for path, source in templates.items()]
    return change_spots(target, spots, lambda spot: literal(str(spot.value), str(spot.path[0])))


def mistakes(source: str, top: str) -> Iterator[str]:
    """Say what is wrong with a template in the field `top` of a target."""
    if top == "url" and not names_its_server(source):
        yield (
            "a template may stand behind the first / after the host only: write scheme, host and "
            "port out, as slots, names and bound secrets go by them"
        )
        return
    engine = environment(top)
    try:
        yield from misuses(engine.parse(source), engine)
    except TemplateSyntaxError as error:
        yield f"line {error.lineno}: {error.message}"[:MAX_SHOWN]
    except RecursionError:
        yield "is nested too deep for a template: write it flatter"


def misuses(tree: nodes.Template, engine: ImmutableSandboxedEnvironment) -> Iterator[str]:
    """Say what a template refers to that there is not."""
    for one in tree.find_all(ELSEWHERE):
        yield f"line {one.lineno}: a template can load no other one: write all of it here"
    for used in tree.find_all(nodes.Filter):
        if used.name not in engine.filters:
            yield f"line {used.lineno}: there is no filter {used.name!r}"[:MAX_SHOWN]
    for test in tree.find_all(nodes.Test):
        if test.name not in engine.tests:
            yield f"line {test.lineno}: there is no test {test.name!r}"[:MAX_SHOWN]
    yield from unknown_names(tree, engine)


def unknown_names(tree: nodes.Template, engine: ImmutableSandboxedEnvironment) -> Iterator[str]:
    """Say which variables, and which parts of ours, there are not."""
    names = list(tree.find_all(nodes.Name))
    set_here = {name.name for name in names if name.ctx != "load"}
    set_here |= {macro.name for macro in tree.find_all(nodes.Macro)}
    known = OWN_NAMES | set_here | VARIABLES.keys() | engine.globals.keys()
    for name in names:
        if name.name not in known:
            has = ", ".join(VARIABLES)
            yield f"line {name.lineno}: there is no {name.name!r}: there are {has}"[:MAX_SHOWN]
    for part in tree.find_all(nodes.Getattr):
        if not isinstance(part.node, nodes.Name) or part.node.name in set_here:
            continue
        parts = VARIABLES.get(part.node.name)
        if parts and part.attr not in parts and not hasattr(dict, part.attr):
            has = ", ".join(sorted(parts))
            of = f"{part.node.name}.{part.attr}"
            yield f"line {part.lineno}: there is no {of}: there are {has}"[:MAX_SHOWN]


def names_its_server(url: str) -> bool:
    """Return whether scheme, host and port of a URL stand before its first template."""
    begins = min(at for beginning in BEGINNINGS if (at := url.find(beginning)) >= 0)
    authority = AUTHORITY.match(url)
    return authority is not None and authority.end("text") < begins


def literal(source: str, top: str) -> str:
    """Return what a template has outside of its expressions, each of which becomes `STAND_IN`."""
    found = []
    for _, token, text in environment(top).lex(source):
        if token == "data":  # noqa: S105 - a kind of token
            found.append(text)
        elif token == "variable_begin":  # noqa: S105 - a kind of token
            found.append(STAND_IN)
    return "".join(found)
