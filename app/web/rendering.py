"""Makes HTML of the templates."""

import gzip
from functools import lru_cache
from typing import Any
from urllib.parse import quote, urlencode

from jinja2 import Environment, PackageLoader, StrictUndefined
from litestar import Response
from markupsafe import Markup

from app.api.access import Caller
from app.api.headers import PAGE_POLICY
from app.api.problems import ApiRequest
from app.core.access.api_key import Scope
from app.telemetry.version import product_version
from app.web import static_files, words
from app.web.labels import names
from app.web.once import once_field
from app.web.pictures import by_minute, density, hour, meter, strip

HEADERS = {
    "Content-Security-Policy": PAGE_POLICY,
    "Cache-Control": "no-store",
    # With no-referrer, browsers would leave Origin out of forms, which sign-in looks at.
    "Referrer-Policy": "same-origin",
    "Vary": "Accept-Encoding, Cookie",
}
PLACES = (
    ("/", "Overview"),
    ("/jobs", "Jobs"),
    ("/executions", "Executions"),
    ("/flows", "Flows"),
    ("/calendars", "Calendars"),
    ("/alerts", "Alerts"),
    ("/instances", "Instances"),
)
"""The pages that every reader has, in their order, by address."""
OF_ADMINISTRATORS = (("/audit", "Audit log"), ("/keys", "API keys"))
SMALL_BYTES = 1000
"""Pages below this size are not compressed."""


@lru_cache(maxsize=8)
def environment(root: str) -> Environment:
    """Return the environment of all templates; `root` stands before the addresses of pages."""
    made = Environment(
        loader=PackageLoader("app.web"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    made.filters |= words.FILTERS | {"path": in_path}
    made.globals |= {
        "strip": strip,
        "density": density,
        "names": names,
        "hour": hour,
        "meter": meter,
        "by_minute": by_minute,
        "address": lambda path: f"{root}{path}",
        "static": lambda path: f"{root}{static_address(path)}",
        "live_parts": static_files.has_live_parts(),
        "query_with": query_with,
        "once": once_field,
        "version": product_version(),
    }
    return made


def static_address(path: str) -> str:
    return f"/static/{static_files.digest()}/{path}"


def in_path(text: object) -> str:
    """Write a text as one segment of an address."""
    return quote(str(text), safe="")


def query_with(given: dict[str, str], **more: str | None) -> str:
    """Write the query of an address with other or further parameters; None leaves one out."""
    wanted = {name: value for name, value in (given | more).items() if value}
    return f"?{urlencode(wanted)}" if wanted else "?"


def render(template: str, /, *, root: str, **context: Any) -> Markup:  # noqa: ANN401
    """Make the HTML of a template, with `root` before the addresses of pages."""
    return Markup(environment(root).get_template(template).render(**context))  # noqa: S704 - escaped by the environment


def page(
    request: ApiRequest,
    template: str,
    /,
    *,
    status: int = 200,
    headers: dict[str, str] | None = None,
    **context: Any,  # noqa: ANN401
) -> Response[bytes]:
    """Answer with a page."""
    caller: Caller | None = request.scope.get("user")
    may_administer = caller is not None and Scope.ADMIN in caller.scopes
    text = render(
        template,
        root=request.app.state.root_path,
        here=request.scope["path"],
        site_title=request.app.state.title,
        site_color=request.app.state.color,
        caller=caller,
        may_administer=may_administer,
        places=PLACES + (OF_ADMINISTRATORS if may_administer else ()),
        may_write=caller is not None and Scope.WRITE in caller.scopes,
        done=request.query_params.get("done", ""),
        said=words.DONE.get(request.query_params.get("done", "")),
        link=lambda **more: query_with(dict(request.query_params.items()), **more),
        **context,
    )
    return html(request, text, status=status, headers=headers or {})


def html(
    request: ApiRequest, text: str, *, status: int = 200, headers: dict[str, str]
) -> Response[bytes]:
    """Answer with HTML, compressed if the browser takes that."""
    body = text.encode()
    squeezed = len(body) > SMALL_BYTES and "gzip" in request.headers.get("Accept-Encoding", "")
    return Response(
        gzip.compress(body, compresslevel=5, mtime=0) if squeezed else body,
        media_type="text/html",
        status_code=status,
        headers=HEADERS | headers | ({"Content-Encoding": "gzip"} if squeezed else {}),
    )
