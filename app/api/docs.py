"""The pages that show the API's description; they load files from this server alone."""

from collections.abc import Callable
from importlib.resources import files
from typing import Any

import msgspec
from litestar import MediaType, Request, Router, get
from litestar.datastructures import CacheControlHeader, ResponseHeader
from litestar.enums import OpenAPIMediaType
from litestar.openapi.plugins import OpenAPIRenderPlugin

from app.api.headers import DOCS_POLICY
from app.api.problems import ApiRequest

PAGE = b"""<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>Tocsin API</title>
<link rel="icon" href="data:,">
<link rel="stylesheet" href="docs/swagger-ui.css">
</head>
<body>
<div id="docs"></div>
<noscript>The description of the API is in <a href="openapi.json">openapi.json</a>.</noscript>
<script src="docs/swagger-ui.js"></script>
<script src="docs/start.js"></script>
</body>
</html>
"""

START = b"""SwaggerUIBundle({
  url: "openapi.json",
  dom_id: "#docs",
  deepLinking: true,
  validatorUrl: null,
});
"""

POLICY = ResponseHeader(name="Content-Security-Policy", value=DOCS_POLICY)
A_DAY = CacheControlHeader(max_age=86_400)
JAVASCRIPT = "text/javascript; charset=utf-8"

Describe = Callable[[ApiRequest], dict[str, Any]]


class DocsPage(OpenAPIRenderPlugin):
    """Swagger UI, from the package `offapi`: no request leaves the machine."""

    def __init__(self) -> None:
        super().__init__(path="/")

    def render(self, request: Request[Any, Any, Any], openapi_schema: dict[str, Any]) -> bytes:  # noqa: ARG002 - the plugin's interface
        """Return the page."""
        return PAGE


class OpenAPIJson(OpenAPIRenderPlugin):
    """The description itself, made once."""

    def __init__(self, describe: Describe) -> None:
        super().__init__(path="/openapi.json", media_type=OpenAPIMediaType.OPENAPI_JSON)
        self.describe = describe
        self.made: bytes | None = None

    def render(self, request: ApiRequest, openapi_schema: dict[str, Any]) -> bytes:  # noqa: ARG002 - the plugin's interface
        """Return the description."""
        if self.made is None:
            self.made = msgspec.json.encode(self.describe(request))
        return self.made


def docs_router() -> Router:
    """What the page loads; Litestar adds the pages of the plugins."""
    return Router(
        "/docs",
        route_handlers=[start_script, swagger_script, swagger_style],
        include_in_schema=False,
        response_headers=[POLICY],
    )


@get("/start.js", media_type=JAVASCRIPT)
async def start_script() -> bytes:
    """Start Swagger UI on the description."""
    return START


@get("/swagger-ui.js", media_type=JAVASCRIPT, cache_control=A_DAY, sync_to_thread=True)
def swagger_script() -> bytes:
    """Swagger UI."""
    return asset("swagger_bundle.js")


@get("/swagger-ui.css", media_type=MediaType.CSS, cache_control=A_DAY, sync_to_thread=True)
def swagger_style() -> bytes:
    """How it looks."""
    return asset("swagger_style.css")


def asset(name: str) -> bytes:
    return files("offapi").joinpath(name).read_bytes()
