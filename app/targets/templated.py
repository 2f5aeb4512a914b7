"""Renders the templates of a target as it is stored, before the target is carried out."""

from collections.abc import Awaitable, Callable

import msgspec

from app.core.field_paths import joined
from app.core.jobs.exact_json import DECODER
from app.core.secrets.places import NOTHING, Part, Path, Spot, change_spots, spots_in
from app.core.secrets.references import BEGINNING, REFERENCE
from app.targets.hosts import hosts_of
from app.targets.registry import target_type
from app.templates.fields import templates_in
from app.templates.messages import Text, Variables
from app.templates.renderer import Renderer, TemplateFailed


async def render_target(
    renderer: Renderer,
    kind: str,
    stored: str,
    variables: Callable[[list[Text]], Awaitable[Variables]],
) -> str:
    """Return a target, as stored, with its templates rendered; what is secret stays as it is.

    `variables`: finds what the templates can refer to; not asked where there are none.

    Raises:
        InvalidInput: a template is wrong, whatever the run.
        TemplateFailed: one cannot be rendered for this run.
        RendererCrowded, OutOfDescriptors: see `Renderer.render`.
    """
    type_ = target_type(kind)
    try:
        target = DECODER.decode(stored)
    except (ValueError, RecursionError):
        return stored  # decoding it again says what is wrong
    if not isinstance(target, dict):
        return stored
    templates = templates_in(type_.templatable, target, spots_in(type_, target))
    if not templates:
        return stored
    texts = [
        Text(field=joined("target", *path), top=str(path[0]), source=source)
        for path, source in templates.items()
    ]
    results = await renderer.render(texts, await variables(texts))
    new = dict(zip(templates, results, strict=True))
    for path, source in templates.items():
        check_references(path, source=source, result=new[path])
    spots = [Spot(Part.NONE, source, NOTHING, path) for path, source in templates.items()]
    done = msgspec.json.encode(change_spots(target, spots, lambda spot: new[spot.path])).decode()
    if hosts_of(kind, done) != hosts_of(kind, stored):
        raise TemplateFailed("target.url: a template may not change the host")
    return done


def check_references(path: Path, *, source: str, result: str) -> None:
    """Refuse a text that refers to a secret which its template does not.

    Raises:
        TemplateFailed: naming the field.
    """
    if BEGINNING not in result:
        return
    if {*REFERENCE.findall(result)} - {*REFERENCE.findall(source)}:
        field = joined("target", *path)
        raise TemplateFailed(f"{field}: what a template becomes may refer to no other secret")
